/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of times: what is set comes back whole, and what a change moves. */
#include "tests/system/files_probe/probe.h"

#include <sys/mman.h>
#include <time.h>

#define PAST 1000000000

static const struct timespec past[2] = {{PAST, 123456789}, {PAST + 1, 987654321}};

static void check_times(const char *name, const char *path)
{
	struct stat st;
	char text[128];

	if (lstat(path, &st) < 0) {
		check(name, -1);
		return;
	}
	snprintf(text, sizeof(text), "%lld.%09ld %lld.%09ld",
		(long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
		(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	check_text(name, text);
}

/* Now as far as files go: the host's clock and the guest's may differ a little. */
static bool time_is_now(struct timespec time)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return llabs((long long)now.tv_sec - time.tv_sec) < 600;
}

static void check_now(const char *name, const char *path)
{
	struct stat st = {0};

	lstat(path, &st);
	check_text(name, time_is_now(st.st_atim)
				 ? time_is_now(st.st_mtim) ? "both" : "atime"
			 : time_is_now(st.st_mtim) ? "mtime"
						   : "none");
}

static void times_set(void)
{
	static const struct timespec odd[][2] = {
		{{0, 0}, {0, 1}},
		{{-1, 500000000}, {-100000, 1}},
		{{2147483647, 999999999}, {2147483648, 0}},
		{{4294967296, 5}, {10000000000, 7}},
		{{1, 1000000000}, {1, 1}},
		{{1, -5}, {1, 1}},
	};
	struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
	int fd;

	check("set", utimensat(AT_FDCWD, "file", past, 0));
	check_times("are", "file");
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		check("odd ones", utimensat(AT_FDCWD, "file", odd[i], 0));
		check_times("are", "file");
	}
	utimensat(AT_FDCWD, "file", past, 0);
	check("UTIME_NOW, UTIME_OMIT", utimensat(AT_FDCWD, "file", now, 0));
	check_now("now", "file");
	now[0].tv_nsec = UTIME_OMIT;
	utimensat(AT_FDCWD, "file", past, 0);
	check("UTIME_OMIT twice", utimensat(AT_FDCWD, "file", now, 0));
	check_times("are", "file");
	check("none given", utimensat(AT_FDCWD, "file", NULL, 0));
	check_now("now", "file");
	fd = open("file", O_RDONLY);
	check("futimens", futimens(fd, past));
	close(fd);
	check_times("are", "file");
	check("of a link", utimensat(AT_FDCWD, "link", past, AT_SYMLINK_NOFOLLOW));
	check_times("are", "link");
	check("of a folder", utimensat(AT_FDCWD, "folder", past, 0));
	check_times("are", "folder");
	check("what is not there", utimensat(AT_FDCWD, "gone", past, 0));
	check("a bad flag", utimensat(AT_FDCWD, "file", past, 0x8000));
}

/* What moves when this is done: mtime and ctime, of the file and of its folder. */
static void check_moves(const char *name, long (*change)(void))
{
	static const char *const paths[] = {"file", "folder"};
	struct stat before[2], after[2];
	char text[128] = "";
	size_t used = 0;

	for (int i = 0; i < 2; i++)
		must("utimensat", utimensat(AT_FDCWD, paths[i], past, 0));
	for (int i = 0; i < 2; i++)
		must("stat", stat(paths[i], &before[i]));
	tick();
	check(name, change());
	for (int i = 0; i < 2; i++) {
		must("stat", stat(paths[i], &after[i]));
		used += snprintf(text + used, sizeof(text) - used, "%s%s%s ", paths[i],
			memcmp(&before[i].st_mtim, &after[i].st_mtim,
				sizeof(struct timespec))
				? " mtime"
				: "",
			memcmp(&before[i].st_ctim, &after[i].st_ctim,
				sizeof(struct timespec))
				? " ctime"
				: "");
	}
	check_text("moves", text);
}

static long change_nothing(void)
{
	return access("file", F_OK);
}

static long change_read(void)
{
	return file_text("file")[0] ? 0 : -1;
}

static long change_write(void)
{
	int fd = open("file", O_WRONLY | O_CLOEXEC);
	long result = write(fd, "x", 1);

	close(fd);
	return result;
}

static long change_write_nothing(void)
{
	int fd = open("file", O_WRONLY | O_CLOEXEC);
	long result = write(fd, "x", 0);

	close(fd);
	return result;
}

static long change_truncate(void)
{
	return truncate("file", 3);
}

static long change_truncate_same(void)
{
	int fd = open("file", O_WRONLY | O_CLOEXEC);
	long result = ftruncate(fd, 3);

	close(fd);
	return result;
}

static long change_mode(void)
{
	return chmod("file", 0640);
}

static long change_owner(void)
{
	return chown("file", 3, 3);
}

static long change_link(void)
{
	return link("file", "folder/link");
}

static long change_unlink(void)
{
	return unlink("folder/link");
}

static long change_rename(void)
{
	return rename("file", "folder/file") || rename("folder/file", "file") ? -1 : 0;
}

static long change_mapping(void)
{
	int fd = open("file", O_RDWR | O_CLOEXEC);
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	long result = -1;

	if (map != MAP_FAILED) {
		map[0] = 'm';
		result = msync(map, PAGE, MS_SYNC);
		munmap(map, PAGE);
	}
	close(fd);
	return result;
}

static long change_mkdir(void)
{
	return mkdir("folder/below", 0755);
}

static long change_open(void)
{
	int fd = open("file", O_WRONLY | O_TRUNC | O_CLOEXEC);

	return fd < 0 ? fd : close(fd);
}

static void times_user(void)
{
	static const struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};

	file_make("writable", 0666, "");
	if (!user_begin(USER))
		return;
	check("user: now, may write", utimensat(AT_FDCWD, "writable", now, 0));
	check("user: none given, may write", utimensat(AT_FDCWD, "writable", NULL, 0));
	check("user: a time, may write", utimensat(AT_FDCWD, "writable", past, 0));
	check("user: now, may not write", utimensat(AT_FDCWD, "folder", now, 0));
	user_end();
}

void section_times(void)
{
	static const struct {
		const char *name;
		long (*change)(void);
	} changes[] = {
		{"nothing", change_nothing},
		{"read", change_read},
		{"write", change_write},
		{"write of nothing", change_write_nothing},
		{"truncate", change_truncate},
		{"ftruncate to its size", change_truncate_same},
		{"chmod", change_mode},
		{"chown", change_owner},
		{"link", change_link},
		{"unlink", change_unlink},
		{"rename", change_rename},
		{"a store and msync", change_mapping},
		{"mkdir", change_mkdir},
		{"O_TRUNC", change_open},
	};

	file_make("file", 0644, "text");
	must("symlink", symlink("gone", "link"));
	must("mkdir", mkdir("folder", 0755));
	times_set();
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		check_moves(changes[i].name, changes[i].change);
	/* What cp -p does: the copy is not older than what it is of. */
	file_make("copy", 0644, "text");
	utimensat(AT_FDCWD, "copy", past, 0);
	check_times("survive a close", "copy");
	change_write();
	check("rename over the file", rename("copy", "file"));
	check_times("are", "file");
	times_user();
}

/* Linux before 6.6 does not ask a FUSE server for it. */
void section_birth(void)
{
	struct statx one = {0}, two = {0};

	file_make("file", 0644, "text");
	check("statx", statx(AT_FDCWD, "file", 0, STATX_BTIME, &one));
	check_true("has a birth time", one.stx_mask & STATX_BTIME);
	tick();
	file_make("file", 0600, "other");
	check("statx", statx(AT_FDCWD, "file", 0, STATX_BTIME, &two));
	check_true("never moves", memcmp(&one.stx_btime, &two.stx_btime, 12) == 0);
}
