/* SPDX-License-Identifier: Apache-2.0 */
/* The line of a check, files to check, a user without rights. */
#include "tests/system/files_probe/probe.h"

#include <dirent.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#define SECTION_SECONDS 60 /* one that takes longer hangs */

static const char *check_section = "";

void check_begin(const char *section)
{
	check_section = section;
}

static const char *errno_name(int code)
{
	const char *name = strerrorname_np(code);

	return name ? name : "unknown";
}

void check_text(const char *name, const char *text)
{
	printf("%s/%s: %s\n", check_section, name, text);
}

void check(const char *name, long result)
{
	check_text(name, result < 0 ? errno_name(errno) : "ok");
}

void check_fd(const char *name, int fd)
{
	check(name, fd);
	if (fd >= 0)
		close(fd);
}

void check_number(const char *name, long long result)
{
	if (result < 0)
		check(name, -1);
	else
		printf("%s/%s: %lld\n", check_section, name, result);
}

void check_mode(const char *name, long result)
{
	if (result < 0)
		check(name, -1);
	else
		printf("%s/%s: %04lo\n", check_section, name, result);
}

void check_true(const char *name, bool result)
{
	check_text(name, result ? "yes" : "no");
}

void check_hash(const char *name, long long size, uint64_t hash)
{
	printf("%s/%s: %lld, %016llx\n", check_section, name, size,
		(unsigned long long)hash);
}

long must(const char *what, long result)
{
	if (result >= 0)
		return result;
	printf("%s/%s: cannot: %s\n", check_section, what, errno_name(errno));
	fflush(stdout);
	_exit(1);
}

void file_make(const char *path, mode_t mode, const char *text)
{
	int fd = must(path, open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));

	must("write", write(fd, text, strlen(text)));
	close(fd);
	must("chmod", chmod(path, mode));
}

const char *file_text(const char *path)
{
	static char text[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

long file_mode(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 ? -1 : (long)(st.st_mode & 07777);
}

long file_links(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 ? -1 : (long)st.st_nlink;
}

long long file_size(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 ? -1 : (long long)st.st_size;
}

static void tree_remove_at(int dir_fd, const char *name)
{
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (unlinkat(dir_fd, name, 0) == 0)
		return;
	fchmodat(dir_fd, name, 0700, 0);
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			tree_remove_at(dirfd(dir), entry->d_name);
	closedir(dir);
	unlinkat(dir_fd, name, AT_REMOVEDIR);
}

void tree_remove(const char *path)
{
	tree_remove_at(AT_FDCWD, path);
}

int child_end(int pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

bool user_begin(unsigned uid)
{
	int pid;

	fflush(stdout);
	pid = must("fork", fork());
	if (pid == 0) {
		must("setgroups", setgroups(0, NULL));
		must("setresgid", setresgid(uid, uid, uid));
		must("setresuid", setresuid(uid, uid, uid));
		/* Else its own /proc/self/fd would be root's. */
		prctl(PR_SET_DUMPABLE, 1);
		return true;
	}
	if (child_end(pid) != 0)
		check_text("user", "did not come to its end");
	return false;
}

void user_end(void)
{
	fflush(stdout);
	_exit(0);
}

/* Files get the time of the last tick, which is 10 ms old at most. */
void tick(void)
{
	struct itimerspec in = {.it_value.tv_nsec = 20 * 1000 * 1000};
	int fd = must("timer", timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	uint64_t count;

	must("timer", timerfd_settime(fd, 0, &in, NULL));
	must("timer", read(fd, &count, sizeof(count)));
	close(fd);
}

/* xorshift64*: what it draws is no secret. */
uint64_t draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * UINT64_C(0x2545F4914F6CDD1D)) >> 16;
}

/* FNV-1a. */
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
	const unsigned char *byte = bytes;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static void section_child(const struct section *section)
{
	check_begin(section->name);
	umask(022);
	alarm(SECTION_SECONDS);
	must("mkdir", mkdir(section->name, 0755));
	must("chmod", chmod(section->name, 0777));
	must("chdir", chdir(section->name));
	section->run();
	fflush(stdout);
	_exit(0);
}

int sections_run(const char *folder, const struct section *sections, size_t count)
{
	int status = 0;

	must("chdir", chdir(folder));
	for (size_t i = 0; i < count; i++) {
		int pid;

		fflush(stdout);
		tree_remove(sections[i].name);
		pid = must("fork", fork());
		if (pid == 0)
			section_child(&sections[i]);
		if (child_end(pid) != 0) {
			check_begin(sections[i].name);
			check_text("end", "did not come to it");
			status = 1;
		}
		tree_remove(sections[i].name);
	}
	return status;
}
