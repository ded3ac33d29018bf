/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of particular mounts: one that is read-only, an image's files,
 * one that is full. */
#include "tests/system/files_probe/probe.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

/* DIR, which has a file "file" and an empty folder "folder" */
int mode_readonly(char **args)
{
	static const struct timespec past[2] = {{1, 1}, {1, 1}};
	struct sockaddr_un address = {AF_UNIX, "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check_begin("readonly");
	must("chdir", chdir(args[0]));
	check_text("text", file_text("file"));
	check_fd("open for writing", open("file", O_RDWR));
	check_fd("O_TRUNC", open("file", O_RDONLY | O_TRUNC));
	check_fd("create", open("new", O_CREAT | O_RDWR, 0600));
	check_fd("O_CREAT of what is there", open("file", O_CREAT | O_RDONLY, 0600));
	check_fd("O_CREAT O_EXCL of what is there",
		open("file", O_CREAT | O_EXCL | O_RDWR, 0600));
	check_fd("O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0600));
	check("mkdir", mkdir("new", 0755));
	check("mkdir of what is there", mkdir("folder", 0755));
	check("mkfifo", mkfifo("new", 0600));
	check("symlink", symlink("x", "new"));
	check("link", link("file", "new"));
	check("unlink", unlink("file"));
	check("unlink of what is not there", unlink("gone"));
	check("rmdir", rmdir("folder"));
	check("rename", rename("file", "new"));
	check("chmod", chmod("file", 0600));
	check("chown", chown("file", 1, 1));
	check("truncate", truncate("file", 0));
	check("utimensat", utimensat(AT_FDCWD, "file", past, 0));
	check("setxattr", setxattr("file", "user.a", "1", 1, 0));
	check("access for writing", access("file", W_OK));
	check("access for reading", access("file", R_OK));
	check("bind", bind(fd, (struct sockaddr *)&address, sizeof(address)));
	close(fd);
	return 0;
}

/* A file of the image, changed in every way; nothing of what it was is lost. */
static void lower_file(const char *path)
{
	struct stat before = {0}, after = {0};
	int reader = open(path, O_RDONLY | O_CLOEXEC), writer;
	char byte = 0;

	must("stat", stat(path, &before));
	check("chmod", chmod(path, 0700));
	must("stat", stat(path, &after));
	check_true("keeps its size", before.st_size == after.st_size);
	check_true("keeps its time",
		memcmp(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim)) == 0);
	check_number("links", after.st_nlink);
	writer = open(path, O_WRONLY | O_CLOEXEC);
	check("open for writing", writer);
	check_number("write", pwrite(writer, "!", 1, 0));
	check_number("read by what was open before", pread(reader, &byte, 1, 0));
	check_number("is the old byte", byte == '!');
	close(reader);
	close(writer);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	check_number("read", pread(reader, &byte, 1, 0));
	check_number("is the new byte", byte == '!');
	close(reader);
}

/* DIR is the root of a container of the test's image */
int mode_lower(char **args)
{
	struct vfs_cap_data caps = {
		.magic_etc = VFS_CAP_REVISION_2, .data[0].permitted = 1};
	struct stat st = {0};

	check_begin("lower");
	must("chdir", chdir(args[0]));
	lower_file("etc/passwd");
	check("link", link("etc/group", "etc/group-too"));
	check_number("links", file_links("etc/group"));
	check("rename of a file", rename("etc/group", "etc/renamed"));
	check("is there", stat("etc/renamed", &st));
	check("is gone", stat("etc/group", &st));
	check("unlink", unlink("etc/renamed"));
	check("a new file in its place", mknod("etc/group", S_IFREG | 0644, 0));
	check_number("size", file_size("etc/group"));
	check("a link", unlink("bin/awk"));
	check("mkdir in its place", mkdir("bin/awk", 0755));
	check("rename of a folder",
		rename("var", "renamed") < 0 && errno != EXDEV ? -1 : 0);
	check("rmdir of what is not empty", rmdir("var"));
	check("rmdir", rmdir("var/tmp"));
	check("mkdir in its place", mkdir("var/tmp", 0711));
	check_mode("its mode", file_mode("var/tmp"));
	check("setxattr",
		setxattr("bin/busybox", "security.capability", &caps, sizeof(caps), 0));
	check_number("its size", getxattr("bin/busybox", "security.capability", NULL, 0));
	check("chown", chown("bin/busybox", 5, 6));
	check_number("takes it", getxattr("bin/busybox", "security.capability", NULL, 0));
	return 0;
}

static long full_write(int fd, const char *bytes, size_t size)
{
	for (int i = 0; i < 1024; i++)
		if (write(fd, bytes, size) < 0)
			return -1;
	return fsync(fd);
}

/* DIR is a file system of a few MiB. Where there is a write cache, fsync tells. */
int mode_full(char **args)
{
	static char bytes[65536];
	int fd;

	check_begin("full");
	must("chdir", chdir(args[0]));
	fd = must("open", open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	check("write until it is full", full_write(fd, bytes, sizeof(bytes)));
	check("fallocate", fallocate(fd, 0, 0, (off_t)64 << 20));
	check("close", close(fd));
	check("unlink", unlink("file"));
	fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	check_number("write again", write(fd, bytes, sizeof(bytes)));
	check("fsync", fsync(fd));
	close(fd);
	check("unlink", unlink("file"));
	return 0;
}
