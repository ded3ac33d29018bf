/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures: "<key> <milliseconds>" a line, the median of N rounds.
 *
 * With N = 0 it makes what is measured, for a first look that no cache of the measuring
 * machine has.
 */
#include "tests/system/files_probe/probe.h"

#include <sys/sendfile.h>
#include <sys/wait.h>
#include <time.h>

#define FILES    500
#define SMALL    2000
#define BULK_MIB 32
#define EXECS    20
#define MIB      (1024 * 1024)

static char *mib_bytes(void)
{
	static char bytes[MIB];

	return bytes;
}

static void stat_all(void)
{
	char path[32];
	struct stat st;

	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "many/%d", i);
		must("stat", stat(path, &st));
	}
}

static void open_all(void)
{
	char path[32];

	for (int i = 0; i < FILES; i++) {
		int fd;

		snprintf(path, sizeof(path), "many/%d", i);
		fd = must("open", open(path, O_RDONLY | O_CLOEXEC));
		must("read", read(fd, mib_bytes(), 4096));
		close(fd);
	}
}

static void exec_all(void)
{
	for (int i = 0; i < EXECS; i++) {
		int pid = must("fork", fork());

		if (pid == 0) {
			execl("./program", "program", "seven", NULL);
			_exit(1);
		}
		if (child_end(pid) != 7)
			must("program", -1);
	}
}

static void read_bulk(void)
{
	int fd = must("open", open("bulk", O_RDONLY | O_CLOEXEC));
	ssize_t n;

	while ((n = must("read", read(fd, mib_bytes(), MIB))) > 0)
		continue;
	close(fd);
}

static void write_bulk(void)
{
	int fd = must(
		"open", open("written", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644));

	for (int i = 0; i < BULK_MIB; i++)
		must("write", write(fd, mib_bytes(), MIB));
	must("fsync", fsync(fd));
	close(fd);
}

/* What a package's unpacking does for each file: a new name, a mode, times, a rename. */
static void unpack(void)
{
	static const struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
	char path[64], temporary[80];

	tree_remove("unpacked");
	must("mkdir", mkdir("unpacked", 0755));
	for (int i = 0; i < SMALL; i++) {
		int fd;

		if (i % 50 == 0) {
			snprintf(path, sizeof(path), "unpacked/%d", i / 50);
			must("mkdir", mkdir(path, 0755));
		}
		snprintf(path, sizeof(path), "unpacked/%d/%d", i / 50, i);
		snprintf(temporary, sizeof(temporary), "%s.new", path);
		fd = must("open",
			open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
		must("write", write(fd, mib_bytes(), 2000));
		must("fchown", fchown(fd, 0, 0));
		must("fchmod", fchmod(fd, 0644));
		must("futimens", futimens(fd, times));
		close(fd);
		must("rename", rename(temporary, path));
	}
}

static int prepare(void)
{
	int from = must("open", open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), to;
	char path[32];
	struct stat st;

	tree_remove("many");
	must("mkdir", mkdir("many", 0755));
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "many/%d", i);
		file_make(path, 0644, "some text");
	}
	write_bulk();
	must("rename", rename("written", "bulk"));
	to = must(
		"open", open("program", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0755));
	must("fstat", fstat(from, &st));
	for (off_t at = 0; at < st.st_size;)
		must("sendfile", sendfile(to, from, &at, st.st_size - at));
	close(to);
	close(from);
	return 0;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int compare_ms(const void *a, const void *b)
{
	double one = *(const double *)a, two = *(const double *)b;

	return (one > two) - (one < two);
}

static const struct {
	const char *key;
	void (*run)(void);
	bool once;
} measured[] = {
	{"stat_500_first", stat_all, true},
	{"stat_500_again", stat_all, false},
	{"open_500_first", open_all, true},
	{"open_500_again", open_all, false},
	{"exec_20_first", exec_all, true},
	{"exec_20_again", exec_all, false},
	{"read_32m_first", read_bulk, true},
	{"read_32m_again", read_bulk, false},
	{"write_32m_fsync", write_bulk, false},
	{"unpack_2000", unpack, false},
};

#define ROUNDS_MAX 100

/* N DIR */
int mode_times(char **args)
{
	unsigned long rounds = strtoul(args[0], NULL, 10);
	double ms[ROUNDS_MAX];

	must("chdir", chdir(args[1]));
	if (rounds == 0)
		return prepare();
	if (rounds > ROUNDS_MAX)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(measured); i++) {
		unsigned long count = measured[i].once ? 1 : rounds;

		for (unsigned long k = 0; k < count; k++) {
			double start = now_ms();

			measured[i].run();
			ms[k] = now_ms() - start;
		}
		qsort(ms, count, sizeof(ms[0]), compare_ms);
		printf("%s %.1f\n", measured[i].key, ms[count / 2]);
		fflush(stdout);
	}
	tree_remove("unpacked");
	unlink("written");
	return 0;
}
