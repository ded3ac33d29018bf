/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what makes and removes names: open, mkdir, mknod, link,
 * symlink, unlink, rmdir. */
#include "tests/system/files_probe/probe.h"

#include <limits.h>
#include <sys/sysmacros.h>

/* What every call that takes a path must refuse, with something that is there and
 * something that isn't. */
static void paths_refused(const char *call, int (*try)(const char *path))
{
	static const struct {
		const char *what, *path;
	} paths[] = {
		{"empty path", ""},
		{"no such folder", "gone/name"},
		{"a file as folder", "file/name"},
		{"a loop", "loop/name"},
		{"through a dangling link", "dangling/name"},
		{"an existing file", "file"},
		{"an existing folder", "folder"},
		{"a file with a slash", "file/"},
		{"a name that is free, with a slash", "free/"},
		{"dot", "."},
		{"dot in a folder", "folder/."},
		{"dot dot", ".."},
	};
	char name[128], longest[NAME_MAX + 2], path[PATH_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		snprintf(name, sizeof(name), "%s %s", call, paths[i].what);
		check(name, try(paths[i].path));
	}
	memset(longest, 'x', sizeof(longest));
	longest[NAME_MAX + 1] = '\0';
	snprintf(name, sizeof(name), "%s a name too long", call);
	check(name, try(longest));
	longest[NAME_MAX] = '\0';
	snprintf(name, sizeof(name), "%s the longest name", call);
	check(name, try(longest));
	for (size_t i = 0; i < PATH_MAX; i += 2)
		memcpy(path + i, "./", 2);
	path[PATH_MAX] = '\0';
	snprintf(name, sizeof(name), "%s a path too long", call);
	check(name, try(path));
	memcpy(path + PATH_MAX - 2, "p", 2);
	snprintf(name, sizeof(name), "%s the longest path", call);
	check(name, try(path));
}

static void paths_prepare(void)
{
	file_make("file", 0644, "text");
	must("mkdir", mkdir("folder", 0755));
	must("symlink", symlink("loop", "loop"));
	must("symlink", symlink("gone", "dangling"));
	must("symlink", symlink("file", "to-file"));
	must("symlink", symlink("folder", "to-folder"));
	must("mkdir", mkdir("closed", 0700));
	file_make("closed/file", 0666, "");
	must("mkdir", mkdir("read-only", 0755));
}

static int try_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? fd : close(fd);
}

static int try_create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? fd : close(fd);
}

static void open_flags(void)
{
	int fd;

	check_fd("O_CREAT of a file that is there", open("file", O_CREAT | O_RDWR, 0));
	check_fd("O_CREAT of a folder", open("folder", O_CREAT | O_RDWR, 0600));
	check_fd("O_CREAT through a dangling link",
		open("dangling", O_CREAT | O_RDWR, 0600));
	check("made what the link names", unlink("gone"));
	check_fd("O_CREAT O_EXCL on a link",
		open("dangling", O_CREAT | O_EXCL | O_RDWR, 0600));
	check_fd("O_NOFOLLOW on a link", open("to-file", O_RDONLY | O_NOFOLLOW));
	check_fd("O_NOFOLLOW through a link", open("to-folder/.", O_RDONLY | O_NOFOLLOW));
	check_fd("O_PATH O_NOFOLLOW on a link", open("to-file", O_PATH | O_NOFOLLOW));
	check_fd("O_DIRECTORY on a file", open("file", O_RDONLY | O_DIRECTORY));
	check_fd("O_DIRECTORY on a folder", open("folder", O_RDONLY | O_DIRECTORY));
	check_fd("a folder for writing", open("folder", O_WRONLY));
	check_fd("a folder with O_TRUNC", open("folder", O_RDONLY | O_TRUNC));
	check_fd("O_NOATIME", open("file", O_RDONLY | O_NOATIME));
	check_fd("O_NONBLOCK", open("file", O_RDONLY | O_NONBLOCK));
	check_fd("O_SYNC", open("file", O_WRONLY | O_SYNC));
	check_fd("O_DSYNC", open("file", O_WRONLY | O_DSYNC));
	fd = open("file", O_RDONLY | O_TRUNC);
	check_number("size after O_TRUNC for reading", file_size("file"));
	close(fd);
	fd = open("mode-zero", O_CREAT | O_EXCL | O_RDWR, 0);
	check_number("write to a new file of mode 0", write(fd, "abc", 3));
	close(fd);
	check_mode("its mode", file_mode("mode-zero"));
	fd = open("folder", O_RDONLY);
	check("read a folder", read(fd, (char[1]){0}, 1));
	close(fd);
	fd = open("file", O_RDONLY);
	check("write to what is open for reading", write(fd, "a", 1));
	check("ftruncate of what is open for reading", ftruncate(fd, 0));
	close(fd);
}

static void open_path_fd(void)
{
	struct stat st;
	char magic[64];
	int fd = open("file", O_PATH | O_CLOEXEC);

	check("O_PATH: fstat", fstat(fd, &st));
	check("O_PATH: read", read(fd, (char[1]){0}, 1));
	check("O_PATH: fchmod", fchmod(fd, 0600));
	check("O_PATH: fsync", fsync(fd));
	snprintf(magic, sizeof(magic), "/proc/self/fd/%d", fd);
	check("O_PATH: chmod by /proc", chmod(magic, 0640));
	check_mode("O_PATH: its mode", file_mode("file"));
	check_fd("O_PATH: reopened", open(magic, O_RDWR));
	check("O_PATH: linkat",
		linkat(AT_FDCWD, magic, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
	check_number("O_PATH: links", file_links("file"));
	close(fd);
}

void section_open(void)
{
	paths_prepare();
	paths_refused("read", try_open);
	unlink("p");
	paths_refused("create", try_create);
	open_flags();
	open_path_fd();
	file_make("secret", 0600, "");
	file_make("readable", 0644, "");
	if (user_begin(USER)) {
		check_fd("user: no right to read", open("secret", O_RDONLY));
		check_fd("user: O_PATH needs none", open("secret", O_PATH));
		check_fd("user: no right to write", open("readable", O_WRONLY));
		check_fd("user: no right to truncate",
			open("readable", O_RDONLY | O_TRUNC));
		check_fd("user: may read", open("readable", O_RDONLY));
		check_fd("user: O_NOATIME of another's",
			open("readable", O_RDONLY | O_NOATIME));
		check_fd("user: no right to search", open("closed/file", O_RDONLY));
		check_fd("user: no right to make",
			open("read-only/new", O_CREAT | O_RDWR, 0600));
		user_end();
	}
}

static int try_mkdir(const char *path)
{
	return mkdir(path, 0755);
}

static int try_rmdir(const char *path)
{
	return rmdir(path);
}

void section_mkdir(void)
{
	paths_prepare();
	paths_refused("mkdir", try_mkdir);
	paths_refused("rmdir", try_rmdir);
	mkdir("folder", 0755);
	check("mkdir a link", mkdir("dangling", 0755));
	check_number("links of an empty folder", file_links("folder"));
	check("mkdir below", mkdir("folder/below", 0755));
	check("rmdir of what is not empty", rmdir("folder"));
	check("rmdir a link to a folder", rmdir("to-folder"));
	check("rmdir with slashes", rmdir("folder/below///"));
	check("mkdir with a mode beyond 0777", mkdir("special", 07777));
	check_mode("its mode", file_mode("special") & ~02000);
	must("mkdir", mkdir("mine", 0777));
	must("chmod", chmod("mine", 0777));
	if (user_begin(USER)) {
		check("user: mkdir", mkdir("mine/folder", 0777));
		check_mode("user: its mode", file_mode("mine/folder"));
		check("user: mkdir without the right", mkdir("read-only/folder", 0777));
		check("user: rmdir without the right", rmdir("closed/file"));
		check("user: rmdir", rmdir("mine/folder"));
		user_end();
	}
	check("chdir into it", chdir("mine"));
	check("rmdir of the working folder", rmdir("../mine"));
	check("mkdir in a removed folder", mkdir("new", 0700));
	check_fd("open in a removed folder", open("new", O_CREAT | O_RDWR, 0600));
	check_fd("a removed folder itself", open(".", O_RDONLY));
}

static int try_mkfifo(const char *path)
{
	return mkfifo(path, 0644);
}

void section_mknod(void)
{
	struct stat st = {0};

	paths_prepare();
	paths_refused("mkfifo", try_mkfifo);
	check("a file", mknod("node-file", S_IFREG | 0640, 0));
	check_mode("its mode", file_mode("node-file"));
	check("a socket", mknod("node-socket", S_IFSOCK | 0600, 0));
	check("a folder", mknod("node-folder", S_IFDIR | 0700, 0));
	check("a character device", mknod("node-null", S_IFCHR | 0666, makedev(1, 3)));
	check("stat of it", stat("node-null", &st));
	check_number("its major", major(st.st_rdev));
	check_number("its minor", minor(st.st_rdev));
	check("a block device of large numbers",
		mknod("node-disk", S_IFBLK | 0600, makedev(259, 70000)));
	check("stat of it", stat("node-disk", &st));
	check_number("its major", major(st.st_rdev));
	check_number("its minor", minor(st.st_rdev));
	if (user_begin(USER)) {
		check("user: a FIFO", mknod("user-fifo", S_IFIFO | 0600, 0));
		check("user: a device",
			mknod("user-null", S_IFCHR | 0600, makedev(1, 3)));
		check("user: a FIFO without the right", mkfifo("read-only/fifo", 0600));
		user_end();
	}
}

static int try_link_to(const char *path)
{
	return link("source", path);
}

static int try_link_from(const char *path)
{
	unlink("target");
	return link(path, "target");
}

void section_link(void)
{
	struct stat one = {0}, two = {0};

	paths_prepare();
	file_make("source", 0644, "text");
	paths_refused("link to", try_link_to);
	paths_refused("link from", try_link_from);
	tree_remove("target");
	check("link", link("file", "again"));
	check_number("links", file_links("file"));
	stat("file", &one);
	stat("again", &two);
	check_true("are one file", one.st_ino == two.st_ino && one.st_dev == two.st_dev);
	check("chmod of one", chmod("again", 0611));
	check_mode("is of both", file_mode("file"));
	check("unlink the first", unlink("file"));
	check_number("links", file_links("again"));
	check_text("its text", file_text("again"));
	check("a link to a link", link("dangling", "dangling-too"));
	check_true(
		"is the link", lstat("dangling-too", &one) == 0 && S_ISLNK(one.st_mode));
	check("followed", linkat(AT_FDCWD, "to-file", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
	check("a FIFO", mkfifo("fifo", 0600) || link("fifo", "fifo-too") ? -1 : 0);
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "many%d", i);
		must("link", link("again", name));
	}
	check_number("a hundred links", file_links("many99"));
	/* Of another's file it would depend on fs.protected_hardlinks. */
	must("chown", chown("again", USER, USER));
	if (user_begin(USER)) {
		check("user: link without the right", link("again", "read-only/file"));
		check("user: link of what is closed", link("closed/file", "x"));
		user_end();
	}
}

static int try_symlink(const char *path)
{
	return symlink("anything", path);
}

void section_symlink(void)
{
	char target[PATH_MAX + 1], seen[PATH_MAX + 1];
	struct stat st;

	paths_prepare();
	paths_refused("symlink", try_symlink);
	check("an empty target", symlink("", "empty"));
	for (size_t size = 1; size < PATH_MAX; size = size * 4 + 3) {
		char name[32];

		memset(target, 't', size);
		target[size] = '\0';
		snprintf(name, sizeof(name), "target of %zu", size);
		check(name, symlink(target, name));
		check_number("readlink", readlink(name, seen, sizeof(seen)));
		check_true("is the same", memcmp(target, seen, size) == 0);
		check_number("size", file_size(name));
	}
	memset(target, 't', PATH_MAX);
	target[PATH_MAX] = '\0';
	check("a target too long", symlink(target, "too-long"));
	check_number("readlink cut", readlink("to-folder", seen, 3));
	check_number("readlink of a file", readlink("file", seen, sizeof(seen)));
	check_mode("mode of a link", file_mode("to-file"));
	check("chmod through it", chmod("to-file", 0604));
	check_mode("is the file's", file_mode("file"));
	check("chown of the link", lchown("to-file", 5, 6));
	check_true("is the link's",
		lstat("to-file", &st) == 0 && st.st_uid == 5 && st.st_gid == 6);
	check_true("not the file's", stat("to-file", &st) == 0 && st.st_uid == 0);
	check("unlink of the link", unlink("to-file"));
	check_text("leaves the file", file_text("file"));
	for (int i = 0; i < 41; i++) {
		char from[16], to[16];

		snprintf(from, sizeof(from), "chain%d", i);
		snprintf(to, sizeof(to), "chain%d", i - 1);
		must("symlink", symlink(i ? to : "file", from));
	}
	/* At 40 it depends on what is cached: Linux counts those
	 * of a first try without locks, too. */
	check_fd("a chain of 20", open("chain19", O_RDONLY));
	check_fd("a chain of 41", open("chain40", O_RDONLY));
}

static int try_unlink(const char *path)
{
	return unlink(path);
}

void section_unlink(void)
{
	paths_prepare();
	paths_refused("unlink", try_unlink);
	file_make("file", 0644, "");
	check("what is a device",
		mknod("null", S_IFCHR | 0600, makedev(1, 3)) || unlink("null") ? -1 : 0);
	check("a link to a folder", unlink("to-folder"));
	check("AT_REMOVEDIR of a file", unlinkat(AT_FDCWD, "file", AT_REMOVEDIR));
	check("a flag that is none", unlinkat(AT_FDCWD, "file", 0x40000));
	check("a file without rights", chmod("file", 0) || unlink("file") ? -1 : 0);
	file_make("other", 0666, "");
	must("chmod", chmod(".", 0755));
	if (user_begin(USER)) {
		check("user: in another's folder", unlink("other"));
		check("user: in a closed folder", unlink("closed/file"));
		user_end();
	}
}
