/* SPDX-License-Identifier: Apache-2.0 */
/* What programs do with files, by the host's FUSE over a tree, and the same in a plain folder. */
#include "tests/unit/files_mount.h"

#include <linux/fs.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

static int setup(void **state)
{
	*state = mount_new(*state);
	umask(022);
	return 0;
}

static int teardown(void **state)
{
	mount_free(*state);
	return 0;
}

static int make_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static struct stat stat_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st;
}

static void assert_reads(int fd, off_t at, const char *text)
{
	char buf[256] = {0};

	assert_int_equal(pread(fd, buf, sizeof(buf) - 1, at), strlen(text));
	assert_string_equal(buf, text);
}

static void assert_fails(int result, int error)
{
	assert_int_equal(result, -1);
	assert_int_equal(errno, error);
}

/* Runs as uid and gid 1000, in a process of its own. */
static void as_user(const char *path, void (*fn)(const char *path))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgid(1000) < 0 || setuid(1000) < 0)
			_exit(9);
		fn(path);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- files without a name ---- */

static void test_unlinked(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "hello world", 0644);
	struct stat st;
	char *map;

	assert_int_equal(unlink(file), 0);
	assert_fails(access(file, F_OK), ENOENT);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_reads(fd, 0, "hello");
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(fchown(fd, 5, 6), 0);
	assert_int_equal(futimens(fd, (struct timespec[]){{7, 8}, {9, 10}}), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_mtim.tv_sec, 9);
	assert_int_equal(st.st_mtim.tv_nsec, 10);
	assert_int_equal(ftruncate(fd, 4096), 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	memcpy(map, "J", 1);
	assert_int_equal(msync(map, 4096, MS_SYNC), 0);
	munmap(map, 4096);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_reads(fd, 0, "Jello");
	assert_int_equal(fsetxattr(fd, "trusted.x", "1", 1, 0), 0);
	close(fd);
}

static void test_tmpfile(void **state)
{
	struct files_mount *m = *state;
	PATH_OF(m, named);
	int fd = open(m->at, O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	char self[64];
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	assert_int_equal(linkat(AT_FDCWD, self, AT_FDCWD, named, AT_SYMLINK_FOLLOW), 0);
	close(fd);
	fd = open(named, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "text");
	close(fd);
	fd = open(m->at, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	close(fd);
}

/* ---- data ---- */

static void test_mapped_and_written(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);
	char *map;

	assert_int_equal(ftruncate(fd, 8192), 0);
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	/* A store and a write to the same page: neither loses the other, nor after a sync. */
	map[0] = 'a';
	assert_int_equal(pwrite(fd, "b", 1, 1), 1);
	assert_memory_equal(map, "ab", 2);
	map[2] = 'c';
	assert_int_equal(msync(map, 8192, MS_SYNC), 0);
	assert_int_equal(pwrite(fd, "d", 1, 3), 1);
	map[4] = 'e';
	assert_int_equal(fsync(fd), 0);
	munmap(map, 8192);
	close(fd);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(stat_of(file).st_size, 8192);
	map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_memory_equal(map, "abcde", 5);
	munmap(map, 4096);
	close(fd);
}

static void test_append(void **state)
{
	PATH_OF(*state, file);
	int one = make_file(file, "0", 0644);
	int two = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
	int three = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(write(two, "1", 1), 1);
	assert_int_equal(write(three, "2", 1), 1);
	assert_int_equal(write(two, "34", 2), 2);
	assert_int_equal(fcntl(one, F_SETFL, O_APPEND), 0);
	assert_int_equal(write(one, "5", 1), 1);
	assert_reads(one, 0, "012345");
	close(one);
	close(two);
	close(three);
}

static void fill(uint8_t *bytes, size_t n, unsigned int seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		bytes[i] = seed >> 16;
	}
}

static void test_large(void **state)
{
	size_t size = 3 * MiB + 123;
	_cleanup_free_ uint8_t *bytes = xmalloc(size), *back = xmalloc(size);
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);

	fill(bytes, size, 1);
	assert_int_equal(write_full(fd, bytes, size), 0);
	close(fd);
	assert_int_equal(stat_of(file).st_size, size);
	fd = open(file, O_RDWR | O_CLOEXEC);
	assert_int_equal(read_full(fd, back, size), 0);
	assert_memory_equal(bytes, back, size);
	assert_int_equal(pread(fd, back, 10, size), 0);
	fill(bytes + MiB + 7, 100, 2);
	assert_int_equal(pwrite(fd, bytes + MiB + 7, 100, MiB + 7), 100);
	assert_int_equal(fdatasync(fd), 0);
	assert_int_equal(pread(fd, back, MiB, MiB), MiB);
	assert_memory_equal(bytes + MiB, back, MiB);
	close(fd);
}

static void test_direct(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);
	uint8_t *page;

	close(fd);
	page = aligned_alloc(4096, 8192);
	fill(page, 8192, 3);
	fd = open(file, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		/* A tmpfs of before 6.6, as plain folder. */
		assert_int_equal(errno, EINVAL);
		free(page);
		return;
	}
	assert_int_equal(pwrite(fd, page, 8192, 4096), 8192);
	memset(page, 0, 8192);
	assert_int_equal(pread(fd, page, 4096, 8192), 4096);
	close(fd);
	free(page);
	assert_int_equal(stat_of(file).st_size, 12288);
}

static void test_holes(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);

	assert_int_equal(pwrite(fd, "x", 1, 1 << 20), 1);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(lseek(fd, 0, SEEK_DATA), 1 << 20);
	assert_int_equal(lseek(fd, 0, SEEK_HOLE), 0);
	assert_int_equal(lseek(fd, 1 << 20, SEEK_HOLE), (1 << 20) + 1);
	assert_fails(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
	assert_int_equal(lseek(fd, 0, SEEK_END), (1 << 20) + 1);
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 2 << 20), 0);
	assert_int_equal(stat_of(file).st_size, (1 << 20) + 1);
	assert_true(stat_of(file).st_blocks >= 4096);
	assert_int_equal(fallocate(fd, 0, 0, 2 << 20), 0);
	assert_int_equal(stat_of(file).st_size, 2 << 20);
	assert_int_equal(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 4096),
		0);
	assert_reads(fd, 2 << 20, "");
	close(fd);
}

static void test_copy_range(void **state)
{
	PATH_OF(*state, from);
	PATH_OF(*state, to);
	int in = make_file(from, "0123456789", 0644), out = make_file(to, "abc", 0644);
	off_t at = 2, to_at = 3;

	assert_int_equal(copy_file_range(in, &at, out, &to_at, 5, 0), 5);
	assert_reads(out, 0, "abc23456");
	close(in);
	close(out);
}

/* ---- attributes ---- */

static void test_times(void **state)
{
	PATH_OF(*state, file);
	struct timespec set[2] = {{1000000001, 123456789}, {1000000002, 987654321}};
	struct statx stx;
	struct stat st;

	close(make_file(file, "x", 0644));
	assert_int_equal(utimensat(AT_FDCWD, file, set, 0), 0);
	st = stat_of(file);
	assert_memory_equal(&st.st_atim, &set[0], sizeof(set[0]));
	assert_memory_equal(&st.st_mtim, &set[1], sizeof(set[1]));
	set[0].tv_nsec = UTIME_OMIT;
	set[1].tv_nsec = UTIME_NOW;
	assert_int_equal(utimensat(AT_FDCWD, file, set, 0), 0);
	st = stat_of(file);
	assert_int_equal(st.st_atim.tv_nsec, 123456789);
	assert_true(st.st_mtim.tv_sec > 1000000002);
	assert_int_equal(statx(AT_FDCWD, file, 0, STATX_ALL, &stx), 0);
	assert_int_equal(stx.stx_size, 1);
	assert_int_equal(symlink("nowhere", file), -1);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(symlink("nowhere", file), 0);
	set[0].tv_nsec = set[1].tv_nsec = 5;
	assert_int_equal(utimensat(AT_FDCWD, file, set, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(stat_of(file).st_mtim.tv_nsec, 5);
	assert_int_equal(lchown(file, 3, 4), 0);
	assert_int_equal(stat_of(file).st_gid, 4);
}

static void write_as_user(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) < 0)
		_exit(1);
}

static void truncate_as_user(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		_exit(1);
}

static mode_t mode_of(const char *path)
{
	return stat_of(path).st_mode & 07777;
}

/* Of what somebody without CAP_FSETID writes to the set-id bits go; root keeps them. */
static void test_kill_set_id(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "text", 0666);

	fchmod(fd, 06777);
	assert_int_equal(pwrite(fd, "y", 1, 0), 1);
	assert_int_equal(mode_of(file), 06777);
	as_user(file, write_as_user);
	assert_int_equal(mode_of(file), 0777);
	fchmod(fd,
		06767); /* not executable for the group: a set-gid bit of another kind */
	as_user(file, write_as_user);
	assert_int_equal(mode_of(file) & S_ISUID, 0);
	fchmod(fd, 06777);
	as_user(file, truncate_as_user);
	assert_int_equal(mode_of(file), 0777);
	fchmod(fd, 06777);
	assert_int_equal(chown(file, 7, 7), 0);
	assert_int_equal(mode_of(file), 0777);
	close(fd);
}

/* ---- names ---- */

static void create_as_user(const char *folder)
{
	_cleanup_free_ char *file = xasprintf("%s/made", folder);
	_cleanup_free_ char *sub = xasprintf("%s/sub", folder);
	int fd;

	umask(027);
	fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	if (fd < 0 || mkdir(sub, 0777) < 0)
		_exit(1);
}

static void test_created_as(void **state)
{
	PATH_OF(*state, folder);
	_cleanup_free_ char *made = xasprintf("%s/made", folder);
	_cleanup_free_ char *sub = xasprintf("%s/sub", folder);

	assert_int_equal(mkdir(folder, 0777), 0);
	assert_int_equal(chmod(folder, 02777), 0);
	assert_int_equal(chown(folder, 0, 77), 0);
	as_user(folder, create_as_user);
	assert_int_equal(stat_of(made).st_uid, 1000);
	assert_int_equal(stat_of(made).st_gid, 77);
	assert_int_equal(mode_of(made), 0640);
	assert_int_equal(stat_of(sub).st_uid, 1000);
	assert_int_equal(stat_of(sub).st_gid, 77);
	assert_int_equal(mode_of(sub), 02750);
	assert_int_equal(rmdir(sub), 0);
	assert_int_equal(unlink(made), 0);
}

static void test_rename_flags(void **state)
{
	PATH_OF(*state, a);
	PATH_OF(*state, b);
	int fd_a = make_file(a, "a", 0644), fd_b = make_file(b, "b", 0644);
	struct stat st_a = stat_of(a), st_b = stat_of(b);

	assert_fails(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE), EEXIST);
	assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
	assert_int_equal(stat_of(a).st_ino, st_b.st_ino);
	assert_int_equal(stat_of(b).st_ino, st_a.st_ino);
	assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_WHITEOUT), 0);
	assert_int_equal(stat_of(b).st_ino, st_b.st_ino);
	assert_int_equal(stat_of(a).st_mode & S_IFMT, S_IFCHR);
	assert_int_equal(stat_of(a).st_rdev, 0);
	assert_int_equal(unlink(a), 0);
	assert_int_equal(rename(b, a), 0);
	assert_fails(access(b, F_OK), ENOENT);
	close(fd_a);
	close(fd_b);
}

static void test_kinds(void **state)
{
	PATH_OF(*state, fifo);
	PATH_OF(*state, sock);
	PATH_OF(*state, dev);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int rd, wr, s, peer;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	rd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	wr = open(fifo, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(wr, "f", 1), 1);
	assert_int_equal(read(rd, address.sun_path, 1), 1);
	close(rd);
	close(wr);
	str_copy(address.sun_path, sock);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s, 1), 0);
	peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(peer, (struct sockaddr *)&address, sizeof(address)), 0);
	close(peer);
	close(s);
	assert_true(S_ISSOCK(stat_of(sock).st_mode));
	assert_int_equal(mknod(dev, S_IFCHR | 0600, makedev(1, 3)), 0);
	assert_int_equal(stat_of(dev).st_rdev, makedev(1, 3));
}

static void test_links(void **state)
{
	PATH_OF(*state, file);
	PATH_OF(*state, other);
	PATH_OF(*state, soft);
	char target[64] = {0};

	close(make_file(file, "x", 0644));
	assert_int_equal(link(file, other), 0);
	assert_int_equal(stat_of(other).st_nlink, 2);
	assert_int_equal(stat_of(other).st_ino, stat_of(file).st_ino);
	assert_int_equal(symlink("../../etc/passwd", soft), 0);
	assert_int_equal(readlink(soft, target, sizeof(target) - 1), 16);
	assert_string_equal(target, "../../etc/passwd");
	assert_int_equal(unlink(file), 0);
	assert_int_equal(stat_of(other).st_nlink, 1);
	assert_int_equal(link(soft, file), 0);
	assert_true(S_ISLNK(stat_of(file).st_mode));
}

static void test_long_names(void **state)
{
	struct files_mount *m = *state;
	char name[400];

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	{
		_cleanup_free_ char *path = mount_path(m, name);

		close(make_file(path, "x", 0644));
		assert_int_equal(unlink(path), 0);
	}
	name[255] = 'n';
	name[300] = '\0';
	{
		_cleanup_free_ char *path = mount_path(m, name);

		assert_fails(access(path, F_OK), ENAMETOOLONG);
		assert_fails(mkdir(path, 0777), ENAMETOOLONG);
	}
}

static void test_deep(void **state)
{
	struct files_mount *m = *state;
	int fd = open(m->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC), next;

	for (int i = 0; i < 60; i++) {
		assert_int_equal(mkdirat(fd, "down", 0755), 0);
		next = openat(fd, "down", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	assert_int_equal(mknodat(fd, "bottom", S_IFREG | 0600, 0), 0);
	close(fd);
}

#define MANY 2000

static void test_many(void **state)
{
	struct files_mount *m = *state;
	_cleanup_free_ bool *seen = xzalloc(MANY * sizeof(bool));
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	unsigned int n = 0;
	char name[32];
	int fd = open(m->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		assert_int_equal(mknodat(fd, name, S_IFREG | 0600, 0), 0);
	}
	dir = fdopendir(fd);
	while ((entry = readdir(dir))) {
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(st.st_ino, entry->d_ino);
		seen[strtol(entry->d_name + 5, NULL, 10)] = true;
		n++;
	}
	assert_int_equal(n, MANY);
	for (int i = 0; i < MANY; i++)
		assert_true(seen[i]);
	rewinddir(dir);
	assert_int_equal(unlinkat(fd, "file-7", 0), 0);
	assert_fails(faccessat(fd, "file-7", F_OK, 0), ENOENT);
}

/* ---- extended attributes ---- */

static void test_xattrs(void **state)
{
	/* cap_net_raw+ep, version 2 of the format (linux/capability.h) */
	static const uint8_t caps[20] = {1, 0, 0, 2, 0, 0x20};
	PATH_OF(*state, file);
	uint8_t value[64];
	char names[256];
	int fd = make_file(file, "x", 0755);

	assert_int_equal(setxattr(file, "security.capability", caps, sizeof(caps), 0), 0);
	assert_int_equal(getxattr(file, "security.capability", value, sizeof(value)), 20);
	assert_memory_equal(value, caps, sizeof(caps));
	assert_true(listxattr(file, names, sizeof(names)) > 0);
	assert_int_equal(pwrite(fd, "y", 1, 0), 1);
	assert_int_equal(fsync(fd), 0);
	assert_fails(
		getxattr(file, "security.capability", value, sizeof(value)), ENODATA);
	assert_int_equal(setxattr(file, "trusted.a", "12345", 5, XATTR_CREATE), 0);
	assert_fails(setxattr(file, "trusted.a", "1", 1, XATTR_CREATE), EEXIST);
	assert_fails(setxattr(file, "trusted.b", "1", 1, XATTR_REPLACE), ENODATA);
	assert_fails(getxattr(file, "trusted.a", value, 2), ERANGE);
	assert_int_equal(getxattr(file, "trusted.a", NULL, 0), 5);
	assert_int_equal(removexattr(file, "trusted.a"), 0);
	assert_fails(getxattr(file, "trusted.a", value, 2), ENODATA);
	close(fd);
}

struct acl {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} entries[5];
};

static void open_for_reading(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		_exit(1);
}

static void test_acl(void **state)
{
	/* u::rw-,u:1000:r--,g::---,m::r--,o::--- (linux/posix_acl_xattr.h) */
	static const struct acl acl = {2, {{0x01, 6, -1}, {0x02, 4, 1000}, {0x04, 0, -1},
						  {0x10, 4, -1}, {0x20, 0, -1}}};
	PATH_OF(*state, file);
	PATH_OF(*state, folder);
	_cleanup_free_ char *inner = xasprintf("%s/inner", folder);
	struct acl back;

	close(make_file(file, "x", 0600));
	assert_int_equal(
		setxattr(file, "system.posix_acl_access", &acl, sizeof(acl), 0), 0);
	assert_int_equal(mode_of(file), 0640);
	as_user(file, open_for_reading);
	assert_int_equal(getxattr(file, "system.posix_acl_access", &back, sizeof(back)),
		sizeof(acl));
	assert_memory_equal(&acl, &back, sizeof(acl));
	/* A default ACL is inherited, and the umask counts for nothing there. */
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(
		setxattr(folder, "system.posix_acl_default", &acl, sizeof(acl), 0), 0);
	umask(077);
	close(make_file(inner, "x", 0666));
	umask(022);
	assert_int_equal(mode_of(inner), 0640);
	as_user(inner, open_for_reading);
}

/* ---- the whole ---- */

static void test_mount_is_its_own(void **state)
{
	struct files_mount *m = *state;
	struct statfs served, plain;

	assert_int_equal(statfs(m->at, &served), 0);
	assert_int_equal(statfs(m->folder, &plain), 0);
	assert_int_equal(served.f_blocks, plain.f_blocks);
	assert_int_equal(served.f_namelen, 255);
	if (m->server)
		assert_int_not_equal(stat_of(m->at).st_dev, stat_of(m->folder).st_dev);
}

/* What one end writes the other end has, after a close. */
static void test_both_ends(void **state)
{
	struct files_mount *m = *state;
	_cleanup_free_ char *there = xasprintf("%s/file", m->folder);
	PATH_OF(m, file);
	int fd = make_file(file, "by the guest", 0644);

	close(fd);
	fd = open(there, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "by the guest");
	close(fd);
	assert_int_equal(stat_of(there).st_ino, stat_of(file).st_ino);
}

static struct mount_kind shared = {.cache = TREE_CACHE_SHARED},
			 own = {.cache = TREE_CACHE_OWN},
			 jailed = {.cache = TREE_CACHE_SHARED, .jailed = true};

/* The host changes a file of a tree that others write to: seen at once. */
static void test_host_changes(void **state)
{
	struct files_mount *m = mount_new(&shared);
	_cleanup_free_ char *there = xasprintf("%s/file", m->folder);
	PATH_OF(m, file);
	int host = make_file(there, "one", 0644), fd;

	(void)state;
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "one");
	assert_int_equal(pwrite(host, "three", 5, 0), 5);
	assert_int_equal(stat_of(file).st_size, 5);
	assert_reads(fd, 0, "three");
	close(fd);
	close(host);
	assert_int_equal(unlink(there), 0);
	assert_fails(access(file, F_OK), ENOENT);
	close(make_file(there, "again", 0644));
	assert_int_equal(stat_of(file).st_size, 5);
	mount_free(m);
}

/* Nobody has root's rights on the host: what the guest's root makes is root's all the same. */
static void test_jailed(void **state)
{
	PATH_OF(*state, file);
	PATH_OF(*state, dev);
	int fd = make_file(file, "x", 0600);

	close(fd);
	assert_int_equal(stat_of(file).st_uid, 0);
	assert_fails(mknod(dev, S_IFCHR | 0600, makedev(1, 3)), EPERM);
	assert_int_equal(mknod(dev, S_IFCHR | 0600, 0), 0);
	assert_fails(setxattr(file, "trusted.a", "1", 1, 0), EPERM);
	assert_int_equal(chown(file, 1000, 1000), 0);
	fd = open(file, O_RDWR | O_CLOEXEC);
	assert_reads(fd, 0, "x");
	close(fd);
}

#define JAILED(fn)                                                                       \
	{                                                                                \
#fn " (jailed)", fn, setup, teardown, &jailed                            \
	}
#define CASE(fn)                                                                         \
	{#fn " (plain)", fn, setup, teardown, NULL},                                     \
		{#fn " (shared)", fn, setup, teardown, &shared},                         \
	{                                                                                \
#fn " (own)", fn, setup, teardown, &own                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_unlinked),
		CASE(test_tmpfile),
		CASE(test_mapped_and_written),
		CASE(test_append),
		CASE(test_large),
		CASE(test_direct),
		CASE(test_holes),
		CASE(test_copy_range),
		CASE(test_times),
		CASE(test_kill_set_id),
		CASE(test_created_as),
		CASE(test_rename_flags),
		CASE(test_kinds),
		CASE(test_links),
		CASE(test_long_names),
		CASE(test_deep),
		CASE(test_many),
		CASE(test_xattrs),
		CASE(test_acl),
		CASE(test_mount_is_its_own),
		CASE(test_both_ends),
		cmocka_unit_test(test_host_changes),
		JAILED(test_jailed),
		JAILED(test_tmpfile),
		JAILED(test_large),
		JAILED(test_times),
		JAILED(test_kill_set_id),
		JAILED(test_created_as),
		JAILED(test_rename_flags),
		JAILED(test_links),
		JAILED(test_acl),
	};
	const char *missing = mount_missing();

	if (missing) {
		printf("1..0 # SKIP %s\n", missing);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
