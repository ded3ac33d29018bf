/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of files without a name: unlinked while they are open,
 * or made with O_TMPFILE. */
#include "tests/system/files_probe/probe.h"

#include <sys/mman.h>
#include <sys/xattr.h>

static void magic_path(char path[64], int fd)
{
	snprintf(path, 64, "/proc/self/fd/%d", fd);
}

/* Whatever can be done by a descriptor. */
static void nameless(int fd)
{
	char path[64], bytes[32] = "", *map;
	struct timespec times[2] = {{1000000000, 1}, {1000000001, 2}};
	struct stat st = {0};
	int again;

	magic_path(path, fd);
	check_number("write", pwrite(fd, "0123456789", 10, 0));
	check_number("read", pread(fd, bytes, 5, 2));
	check_text("is", bytes);
	check("fstat", fstat(fd, &st));
	check_number("links", st.st_nlink);
	check_number("size", st.st_size);
	check("ftruncate", ftruncate(fd, 3 * PAGE));
	check("fchmod", fchmod(fd, 0640));
	check("fchown", fchown(fd, 1, 2));
	check("futimens", futimens(fd, times));
	check("fsetxattr", fsetxattr(fd, "user.a", "1", 1, 0));
	check_number("fgetxattr", fgetxattr(fd, "user.a", NULL, 0));
	check("fsync", fsync(fd));
	check("fallocate", fallocate(fd, 0, 0, 5 * PAGE));
	check("fstat", fstat(fd, &st));
	check_mode("mode", st.st_mode & 07777);
	check_number("owner", st.st_uid);
	check_true("time",
		st.st_mtim.tv_sec == 1000000001 || st.st_mtim.tv_sec > 1700000000);
	check_number("size", st.st_size);
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check("mmap", map == MAP_FAILED ? -1 : 0);
	if (map != MAP_FAILED) {
		map[0] = 'M';
		check_number("read after a store", pread(fd, bytes, 1, 0));
		check_true("is it", bytes[0] == 'M');
		check("msync", msync(map, PAGE, MS_SYNC));
		munmap(map, PAGE);
	}
	again = open(path, O_RDWR | O_CLOEXEC);
	check("open by /proc", again);
	check_number("write by it", pwrite(again, "again", 5, 100));
	check_number("read by the first", pread(fd, bytes, 5, 100));
	check_true("is it", memcmp(bytes, "again", 5) == 0);
	check("truncate by /proc", truncate(path, 20));
	check("chmod by /proc", chmod(path, 0600));
	check("fstat", fstat(fd, &st));
	check_number("size", st.st_size);
	close(again);
}

void section_unlinked(void)
{
	char path[64];
	struct stat st = {0};
	int fd, folder;

	fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	must("unlink", unlink("file"));
	nameless(fd);
	magic_path(path, fd);
	check("linkat", linkat(AT_FDCWD, path, AT_FDCWD, "back", AT_SYMLINK_FOLLOW));
	file_make("file", 0600, "new");
	check("a new file of that name", unlink("file"));
	check("is not it", fstat(fd, &st));
	check_number("size", st.st_size);
	close(fd);
	fd = open("replaced", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	file_make("other", 0600, "other");
	must("rename", rename("other", "replaced"));
	check_number("replaced by rename: write", write(fd, "old", 3));
	check("ftruncate", ftruncate(fd, 2));
	check("fstat", fstat(fd, &st));
	check_number("links", st.st_nlink);
	check_text("the new one's text", file_text("replaced"));
	close(fd);
	must("mkdir", mkdir("folder", 0755));
	folder = open("folder", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must("rmdir", rmdir("folder"));
	check("a removed folder: fstat", fstat(folder, &st));
	check_number("links", st.st_nlink);
	check("fchmod", fchmod(folder, 0700));
	check_fd("create in it", openat(folder, "x", O_CREAT | O_RDWR, 0600));
	check_fd("open it", openat(folder, ".", O_RDONLY));
	close(folder);
}

void section_tmpfile(void)
{
	char path[64];
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	check("open", fd);
	if (fd < 0)
		return;
	nameless(fd);
	magic_path(path, fd);
	check("linkat", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	check_number("links", file_links("named"));
	check_number("size", file_size("named"));
	check("linkat again",
		linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	close(fd);
	fd = open(".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	check("O_EXCL", fd);
	magic_path(path, fd);
	check("linkat of that",
		linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
	close(fd);
	check_fd("for reading", open(".", O_TMPFILE | O_RDONLY, 0600));
	check_fd("in a file", open("named", O_TMPFILE | O_RDWR, 0600));
	check_fd("in nothing", open("gone", O_TMPFILE | O_RDWR, 0600));
}
