/* SPDX-License-Identifier: Apache-2.0 */
/* What programs do with names and extended attributes, by the host's FUSE over a tree. */
#include "tests/unit/files_cases.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

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

/* Nobody has root's rights on the host: what the guest's
 * root makes is root's all the same. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_created_as),
		CASE(test_rename_flags),
		CASE(test_kinds),
		CASE(test_links),
		CASE(test_long_names),
		CASE(test_deep),
		CASE(test_many),
		CASE(test_xattrs),
		CASE(test_acl),
		JAILED(test_jailed),
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
