/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that make, change, rename, link and remove files in one tree at once, and
 * what it comes to.
 *
 * Each worker draws what it does from a seed of its own and works in a folder of its own;
 * in the shared folder all do what comes to the same in any order. So the tree at the end
 * follows from the seed alone.
 */
#include "tests/system/files_probe/probe.h"

#include <dirent.h>
#include <sys/wait.h>

#define NAMES 40

/* A name below the worker's folder, some of them in one of four folders. */
static void stress_name(uint64_t *random, char path[32])
{
	unsigned name = draw(random) % NAMES, folder = draw(random) % 8;

	if (folder < 4)
		snprintf(path, 32, "d%u/n%u", folder, name);
	else
		snprintf(path, 32, "n%u", name);
}

static void stress_write(uint64_t *random, const char *path)
{
	unsigned char bytes[3000];
	size_t size = 1 + draw(random) % sizeof(bytes), at = draw(random) % 20000;
	int flags = draw(random) % 4 ? 0 : O_TRUNC;
	int fd;

	for (size_t i = 0; i < size; i++)
		bytes[i] = draw(random);
	fd = open(path, O_CREAT | O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | flags,
		0644);
	if (fd < 0)
		return;
	must("pwrite", pwrite(fd, bytes, size, at));
	close(fd);
}

static void stress_step(uint64_t *random)
{
	char one[32], two[32];

	stress_name(random, one);
	stress_name(random, two);
	/* What the names are by now decides whether a call succeeds;
	 * so that is the seed's, too. */
	switch (draw(random) % 10) {
	case 0:
		mkdir(one, 0755);
		return;
	case 1:
		unlink(one);
		return;
	case 2:
		rmdir(one);
		return;
	case 3:
		rename(one, two);
		return;
	case 4:
		link(one, two);
		return;
	case 5:
		symlink(one, two);
		return;
	case 6:
		fchmodat(AT_FDCWD, one, 0600 + draw(random) % 0200, AT_SYMLINK_NOFOLLOW);
		return;
	}
	stress_write(random, one);
}

/* In the shared folder. */
static void stress_shared(unsigned worker, unsigned step)
{
	char path[64], other[64], line[32];
	int fd;

	snprintf(path, sizeof(path), "../shared/d%u", step % 16);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "../shared/d%u/f%u-%u", step % 16, worker, step);
	fd = must("create", open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
	must("write", write(fd, path, strlen(path)));
	close(fd);
	snprintf(other, sizeof(other), "../shared/r%u-%u", worker, step);
	must("rename", rename(path, other));
	if (step % 3 == 0)
		must("unlink", unlink(other));
	if (step % 3 == 1)
		must("link", link("../shared/common", path));
	/* Lines of one size: in any order they add up to the same. */
	snprintf(line, sizeof(line), "%07u %07u\n", worker % 10000000, step % 10000000);
	fd = must("open",
		open("../shared/log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644));
	must("append", write(fd, line, 16));
	close(fd);
}

static void stress_worker(unsigned worker, uint64_t seed, unsigned ops)
{
	uint64_t random = hash_bytes(HASH_INIT + worker, &seed, sizeof(seed)) | 1;
	char name[32];

	snprintf(name, sizeof(name), "w%u", worker);
	must("mkdir", mkdir(name, 0755));
	must("chdir", chdir(name));
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		must("mkdir", mkdir(name, 0755));
	}
	for (unsigned i = 0; i < ops; i++) {
		stress_step(&random);
		if (i % 8 == 0)
			stress_shared(worker, i);
	}
	fflush(stdout);
	_exit(0);
}

static uint64_t stress_content(int dir_fd, const struct stat *st, const char *name)
{
	static unsigned char bytes[65536];
	bool lines = strcmp(name, "log") == 0;
	uint64_t hash = HASH_INIT;
	ssize_t n;
	int fd;

	if (S_ISLNK(st->st_mode)) {
		n = must("readlink",
			readlinkat(dir_fd, name, (char *)bytes, sizeof(bytes)));
		return hash_bytes(hash, bytes, n);
	}
	if (!S_ISREG(st->st_mode))
		return hash;
	fd = must("open", openat(dir_fd, name, O_RDONLY | O_CLOEXEC));
	for (off_t at = 0; (n = must("pread", pread(fd, bytes, sizeof(bytes), at))) > 0;
		at += n) {
		if (!lines)
			hash = hash_bytes(hash, bytes, n);
		for (ssize_t i = 0; lines && i < n; i += 16)
			hash += hash_bytes(HASH_INIT, bytes + i, 16);
	}
	close(fd);
	return hash;
}

static int stress_not_dots(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

struct stress_sum {
	uint64_t hash;
	unsigned long entries, bytes;
};

/* Adds a folder's names, types, modes, links, sizes and contents. */
static void stress_add(struct stress_sum *sum, int dir_fd, const char *name)
{
	int fd = must("open", openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent **list;
	int count =
		must("scandir", scandirat(fd, ".", &list, stress_not_dots, alphasort));

	for (int i = 0; i < count; i++) {
		const char *entry = list[i]->d_name;
		uint64_t facts[4] = {0};
		struct stat st;

		must("stat", fstatat(fd, entry, &st, AT_SYMLINK_NOFOLLOW));
		facts[0] = st.st_mode;
		/* Of a folder these are the file system's own. */
		facts[1] = S_ISDIR(st.st_mode) ? 0 : st.st_nlink;
		facts[2] = S_ISDIR(st.st_mode) ? 0 : st.st_size;
		facts[3] = stress_content(fd, &st, entry);
		sum->hash = hash_bytes(sum->hash, entry, strlen(entry) + 1);
		sum->hash = hash_bytes(sum->hash, facts, sizeof(facts));
		sum->entries++;
		sum->bytes += facts[2];
		if (S_ISDIR(st.st_mode))
			stress_add(sum, fd, entry);
		free(list[i]);
	}
	free(list);
	close(fd);
}

/* DIR SEED OPS WORKERS */
int mode_stress(char **args)
{
	unsigned long seed = strtoul(args[1], NULL, 10), ops = strtoul(args[2], NULL, 10);
	unsigned workers = strtoul(args[3], NULL, 10), failed = 0;
	struct stress_sum sum = {.hash = HASH_INIT};

	umask(022);
	must("chdir", chdir(args[0]));
	tree_remove("stress");
	must("mkdir", mkdir("stress", 0755));
	must("chdir", chdir("stress"));
	must("mkdir", mkdir("shared", 0755));
	file_make("shared/common", 0644, "common");
	for (unsigned i = 0; i < workers; i++)
		if (must("fork", fork()) == 0)
			stress_worker(i, seed, ops);
	for (unsigned i = 0; i < workers; i++) {
		int status;

		must("wait", wait(&status));
		failed += status != 0;
	}
	stress_add(&sum, AT_FDCWD, ".");
	printf("%u failed, %lu entries, %lu bytes, %016llx\n", failed, sum.entries,
		sum.bytes, (unsigned long long)sum.hash);
	must("chdir", chdir(".."));
	tree_remove("stress");
	return failed != 0;
}
