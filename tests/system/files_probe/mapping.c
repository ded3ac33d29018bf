/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of mappings: what a store and a write see of one another,
 * and where mappings end. */
#include "tests/system/files_probe/probe.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGES 8

static int map_file(char **map, const char *path)
{
	static char bytes[PAGES * PAGE];
	int fd = must("open", open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644));

	memset(bytes, 'A', sizeof(bytes));
	must("write", write(fd, bytes, sizeof(bytes)));
	*map = mmap(NULL, sizeof(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check("mmap", *map == MAP_FAILED ? -1 : 0);
	if (*map == MAP_FAILED)
		must("mmap", -1);
	return fd;
}

/* Eight bytes as text, wherever they are. */
static void check_bytes(const char *name, const char *bytes)
{
	char text[9] = "";

	memcpy(text, bytes, 8);
	check_text(name, text);
}

static void mapping_one_page(char *map, int fd)
{
	char seen[8];

	memcpy(map, "STORE", 5);
	pread(fd, seen, 8, 0);
	check_bytes("a store is read", seen);
	pwrite(fd, "WRITE", 5, 100);
	check_bytes("a write is mapped", map + 100);
	memcpy(map + 50, "S2", 2);
	pwrite(fd, "W2", 2, 52);
	memcpy(map + 54, "S3", 2);
	pread(fd, seen, 8, 50);
	check_bytes("mixed in one page: read", seen);
	check_bytes("mixed in one page: mapped", map + 50);
	check("msync", msync(map, PAGE, MS_SYNC));
	pread(fd, seen, 8, 50);
	check_bytes("after msync: read", seen);
	check("fsync", fsync(fd));
	check("MADV_DONTNEED", madvise(map, PAGE, MADV_DONTNEED));
	check_bytes("mapped anew", map + 50);
	check("dropped from the cache",
		(errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) ? -1 : 0);
	check_bytes("mapped", map + 100);
	pread(fd, seen, 8, 0);
	check_bytes("read", seen);
}

static void mapping_other_process(char *map, int fd)
{
	char seen[8];
	int other, pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		other = must("open", open("file", O_RDWR | O_CLOEXEC));
		pwrite(other, "CHILD", 5, 3 * PAGE);
		memcpy(map + 4 * PAGE, "CHILD", 5);
		_exit(0);
	}
	child_end(pid);
	check_bytes("another process's write", map + 3 * PAGE);
	pread(fd, seen, 8, 4 * PAGE);
	check_bytes("another process's store", seen);
}

void section_mapping(void)
{
	char *map, *second, *private, seen[8];
	int fd = map_file(&map, "file"), other;

	mapping_one_page(map, fd);
	mapping_other_process(map, fd);
	other = open("file", O_RDWR | O_CLOEXEC);
	second = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, PAGE);
	memcpy(second, "SECOND", 6);
	check_bytes("a second mapping", map + PAGE);
	private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memcpy(private, "PRIVATE", 7);
	pread(fd, seen, 8, 0);
	check_bytes("a private store is not read", seen);
	check_bytes("a private store is private", private);
	close(fd);
	close(other);
	memcpy(map + 2 * PAGE, "CLOSED", 6);
	other = open("file", O_RDONLY | O_CLOEXEC);
	pread(other, seen, 8, 2 * PAGE);
	check_bytes("a store after close", seen);
	munmap(map, PAGES * PAGE);
	munmap(second, PAGE);
	munmap(private, PAGE);
	pread(other, seen, 8, 0);
	check_bytes("after munmap", seen);
	close(other);
}

/* A child touches an address: the signal that ends it. */
static void check_touch(const char *name, volatile char *address)
{
	int pid, status = 0;

	fflush(stdout);
	pid = must("fork", fork());
	if (pid == 0) {
		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		*address = 'x';
		_exit(0);
	}
	waitpid(pid, &status, 0);
	check_text(
		name, WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "no signal");
}

static void check_map(const char *name, int fd, int prot, int flags)
{
	void *map = mmap(NULL, PAGE, prot, flags, fd, 0);

	check(name, map == MAP_FAILED ? -1 : 0);
	if (map != MAP_FAILED)
		munmap(map, PAGE);
}

void section_mapping_edge(void)
{
	char *map, seen[8];
	int fd = map_file(&map, "file"), other;

	must("ftruncate", ftruncate(fd, PAGE + 100));
	check_touch("beyond the end, in its page", map + PAGE + 200);
	check_touch("beyond the end's page", map + 2 * PAGE);
	must("ftruncate", ftruncate(fd, 3 * PAGE));
	check_true("what was cut is zeros", map[PAGE + 100] == 0 && map[2 * PAGE] == 0);
	check_touch("within the file again", map + 2 * PAGE);
	pread(fd, seen, 8, 2 * PAGE);
	check_true("is read", seen[0] == 'x');
	must("ftruncate", ftruncate(fd, 0));
	check_touch("an empty file", map);
	close(fd);
	fd = open("file", O_RDONLY | O_CLOEXEC);
	check_map("shared, for writing, of what is open for reading", fd, PROT_WRITE,
		MAP_SHARED);
	check_map("private, for writing, of what is open for reading", fd, PROT_WRITE,
		MAP_PRIVATE);
	check_map("for executing", fd, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	close(fd);
	fd = open("file", O_WRONLY | O_CLOEXEC);
	check_map("of what is open for writing", fd, PROT_WRITE, MAP_SHARED);
	close(fd);
	fd = open(".", O_RDONLY | O_CLOEXEC);
	check_map("of a folder", fd, PROT_READ, MAP_SHARED);
	close(fd);
	/* Longer by a write, then seen through a mapping that was there before. */
	fd = map_file(&map, "grows");
	must("ftruncate", ftruncate(fd, PAGE));
	other = open("grows", O_WRONLY | O_APPEND | O_CLOEXEC);
	must("write", write(other, "GROWN...", 8));
	check_bytes("what was appended", map + PAGE);
	close(other);
	close(fd);
}
