/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what names may be, and of reading a folder. */
#include "tests/system/files_probe/probe.h"

#include <dirent.h>
#include <limits.h>

#define MANY 1000

static void names_odd(void)
{
	static const struct {
		const char *what, *name;
	} odd[] = {
		{"a newline", "two\nlines"},
		{"UTF-8", "na\xc3\xafve \xe2\x9c\x93"},
		{"bytes that are no UTF-8", "\xff\xfe\x80"},
		{"a control character", "\x01\x7f"},
		{"a backslash", "a\\b"},
		{"a space at the end", "space "},
		{"three dots", "..."},
		{"a dash", "-rf"},
		{"a colon and a star", "c:*?\"<>|"},
		{"one byte", "1"},
	};
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		check_fd(odd[i].what, open(odd[i].name, O_CREAT | O_EXCL | O_RDWR, 0600));
		check("is there", lstat(odd[i].name, &st));
		check("gone", unlink(odd[i].name));
	}
	file_make("Case", 0600, "upper");
	check("other case is another file", lstat("case", &st));
	file_make("case", 0600, "lower");
	check_text("upper", file_text("Case"));
	/* One letter in two Unicode forms. */
	file_make("\xc3\xa9", 0600, "composed");
	check("another form is another file", lstat("e\xcc\x81", &st));
	check_fd("a NUL ends a name", open("1\0two", O_CREAT | O_RDWR, 0600));
	check("is", unlink("1"));
}

/* A folder below others, until a path from the first one cannot name it any more. */
static void names_deep(void)
{
	char name[NAME_MAX + 1], path[PATH_MAX] = "";
	int fds[20], depth;

	memset(name, 'd', NAME_MAX);
	name[NAME_MAX] = '\0';
	fds[0] = open(".", O_RDONLY | O_DIRECTORY);
	for (depth = 1; depth < 20; depth++) {
		if (mkdirat(fds[depth - 1], name, 0755) < 0)
			break;
		fds[depth] =
			openat(fds[depth - 1], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fds[depth] < 0)
			break;
	}
	check_number("folders below one another", depth);
	check_fd("a file in the last",
		openat(fds[depth - 1], "file", O_CREAT | O_RDWR, 0600));
	for (size_t used = 0; used + NAME_MAX + 1 < PATH_MAX; used += NAME_MAX + 1)
		snprintf(path + used, sizeof(path) - used, "%s/", name);
	check("the longest path", access(path, F_OK));
	check_fd("dot dot from the last", openat(fds[depth - 1], "../..", O_RDONLY));
	for (int i = depth - 1; i >= 0; i--)
		close(fds[i]);
}

static void names_dots(void)
{
	struct stat here, up, top;
	int fd;

	must("mkdir", mkdir("a", 0755));
	must("mkdir", mkdir("a/b", 0755));
	must("stat", stat(".", &top));
	must("stat", stat("a", &here));
	must("stat", stat("a/b/..", &up));
	check_true("dot dot is the folder above",
		here.st_ino == up.st_ino && here.st_dev == up.st_dev);
	fd = open("a/b", O_RDONLY | O_DIRECTORY);
	must("rename", rename("a/b", "b"));
	must("stat", fstatat(fd, "..", &up, 0));
	check_true("after a rename, too", top.st_ino == up.st_ino);
	close(fd);
	check_number("links of a folder", file_links("a"));
	check("a/../b", stat("a/../b", &up));
	check("many slashes", stat(".///a//..//./b", &up));
	check("dot dot of a file", stat("case/..", &up));
}

void section_names(void)
{
	names_odd();
	names_dots();
	names_deep();
}

/* Counts entries and adds up the hash of each name, so that the order doesn't count. */
static void check_entries(const char *name, DIR *dir)
{
	struct dirent *entry;
	uint64_t sum = 0;
	int count = 0, dots = 0;

	while ((entry = readdir(dir))) {
		dots += strcmp(entry->d_name, ".") == 0 ||
			strcmp(entry->d_name, "..") == 0;
		sum += hash_bytes(HASH_INIT, entry->d_name, strlen(entry->d_name));
		count++;
	}
	check_number("dots", dots);
	check_hash(name, count, sum);
}

static void readdir_unlinking(void)
{
	DIR *dir = opendir("many");
	struct dirent *entry;
	int seen = 0;

	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		seen++;
		must("unlink", unlinkat(dirfd(dir), entry->d_name, 0));
	}
	closedir(dir);
	check_number("seen while unlinking each", seen);
	check("nothing is left", rmdir("many"));
}

/* Goes back to where it was after each hundredth entry. */
static void readdir_seek(void)
{
	static long places[MANY + 2];
	static char names[MANY + 2][16];
	DIR *dir = opendir("many");
	struct dirent *entry;
	int count = 0, wrong = 0;

	for (places[0] = telldir(dir); count < MANY + 2 && (entry = readdir(dir));
		count++) {
		snprintf(names[count], sizeof(names[count]), "%.15s", entry->d_name);
		if (count < MANY + 1)
			places[count + 1] = telldir(dir);
	}
	for (int i = count - 1; i >= 0; i -= 97) {
		seekdir(dir, places[i]);
		entry = readdir(dir);
		wrong += !entry || strcmp(entry->d_name, names[i]) != 0;
	}
	check_number("seekdir: wrong entries", wrong);
	rewinddir(dir);
	check_entries("rewinddir", dir);
	closedir(dir);
}

static void readdir_types(void)
{
	static const char letter[] = {[DT_REG] = 'f',
		[DT_DIR] = 'd',
		[DT_LNK] = 'l',
		[DT_FIFO] = 'p',
		[DT_SOCK] = 's',
		[DT_CHR] = 'c',
		[DT_BLK] = 'b',
		[DT_UNKNOWN] = '?'};
	struct dirent **list;
	char text[64] = "";
	int count;
	struct stat st;
	bool right = true;

	must("mkdir", mkdir("types", 0755));
	must("chdir", chdir("types"));
	file_make("1", 0600, "");
	must("mkdir", mkdir("2", 0755));
	must("symlink", symlink("x", "3"));
	check("make a FIFO", mkfifo("4", 0600));
	check("make a socket", mknod("5", S_IFSOCK | 0600, 0));
	count = scandir(".", &list, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		text[i] = letter[list[i]->d_type];
		/* Of dot dot, it is the mount's that counts. */
		right &=
			strcmp(list[i]->d_name, "..") == 0 ||
			(lstat(list[i]->d_name, &st) == 0 && st.st_ino == list[i]->d_ino);
		free(list[i]);
	}
	free(list);
	check_text("types", text);
	check_true("inodes are those of stat", right);
	must("chdir", chdir(".."));
}

void section_readdir(void)
{
	DIR *dir, *second;
	char name[16];

	must("mkdir", mkdir("many", 0755));
	dir = opendir("many");
	check_entries("an empty folder", dir);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many/%d", i * 7919);
		must("mknod", mknod(name, S_IFREG | 0644, 0));
	}
	rewinddir(dir);
	check_entries("made after opendir", dir);
	second = opendir("many");
	check_entries("by a second descriptor", second);
	closedir(second);
	must("rename", rename("many/0", "many/renamed"));
	rewinddir(dir);
	check_entries("after a rename", dir);
	closedir(dir);
	readdir_seek();
	readdir_unlinking();
	readdir_types();
}
