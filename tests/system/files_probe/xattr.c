/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of extended attributes: a user's own, ACLs, capabilities. */
#include "tests/system/files_probe/probe.h"

#include <linux/capability.h>
#include <sys/xattr.h>

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a file's attributes below user. and security.cap, sorted:
 * others are the host's. */
static void check_list(const char *name, const char *path)
{
	char list[4096], text[512] = "", *names[64];
	ssize_t size = listxattr(path, list, sizeof(list));
	size_t count = 0, used = 0;

	if (size < 0) {
		check(name, -1);
		return;
	}
	for (char *at = list; at < list + size && count < 64; at += strlen(at) + 1)
		if (strncmp(at, "user.", 5) == 0 ||
			strcmp(at, "security.capability") == 0 ||
			strncmp(at, "system.posix", 12) == 0)
			names[count++] = at;
	qsort(names, count, sizeof(names[0]), compare_names);
	for (size_t i = 0; i < count && used < sizeof(text); i++)
		used += snprintf(text + used, sizeof(text) - used, "%s ", names[i]);
	check_text(name, text);
}

static void xattr_sizes(void)
{
	static const size_t sizes[] = {0, 1, 255, 2000, 5000, 65536, 65537};
	static char value[70000], seen[70000];
	char name[64];

	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(name, sizeof(name), "set %zu bytes", sizes[i]);
		check(name, setxattr("sizes", "user.a", value, sizes[i], 0));
		check_number("their size", getxattr("sizes", "user.a", NULL, 0));
		memset(seen, 0, sizeof(seen));
		check_number("get", getxattr("sizes", "user.a", seen, sizeof(seen)));
		check_true("are the same", memcmp(seen, value, sizes[i]) == 0);
		removexattr("sizes", "user.a");
	}
}

void section_xattr(void)
{
	char name[300] = "user.", bytes[16];

	file_make("file", 0644, "");
	file_make("sizes", 0644, "");
	must("mkdir", mkdir("folder", 0755));
	must("symlink", symlink("file", "link"));
	check("make a FIFO", mkfifo("fifo", 0600));
	check("get what is not there", getxattr("file", "user.a", bytes, 16));
	check("remove what is not there", removexattr("file", "user.a"));
	check("XATTR_REPLACE of what is not there",
		setxattr("file", "user.a", "1", 1, XATTR_REPLACE));
	check("XATTR_CREATE", setxattr("file", "user.a", "12345", 5, XATTR_CREATE));
	check("XATTR_CREATE of what is there",
		setxattr("file", "user.a", "1", 1, XATTR_CREATE));
	check("both", setxattr("file", "user.a", "1", 1, XATTR_CREATE | XATTR_REPLACE));
	check("get with too small a buffer", getxattr("file", "user.a", bytes, 2));
	check("list with too small a buffer", listxattr("file", bytes, 1));
	check("a second", setxattr("file", "user.b", "\0x\0", 3, 0));
	check_list("list", "file");
	check("through a link", setxattr("link", "user.c", "3", 1, 0));
	check_list("list", "file");
	check("of a link", lsetxattr("link", "user.d", "4", 1, 0));
	check("of a FIFO", setxattr("fifo", "user.d", "4", 1, 0));
	check("of a folder", setxattr("folder", "user.d", "4", 1, 0));
	check_list("list", "folder");
	check("no prefix", setxattr("file", "plain", "1", 1, 0));
	check("a prefix that is none", setxattr("file", "none.x", "1", 1, 0));
	check("prefix alone", setxattr("file", "user.", "1", 1, 0));
	check("no name", setxattr("file", "", "1", 1, 0));
	check("trusted. without the capability",
		setxattr("file", "trusted.x", "1", 1, 0));
	check("what is not there", setxattr("gone", "user.a", "1", 1, 0));
	memset(name + 5, 'n', sizeof(name) - 5);
	name[256] = '\0';
	check("a name too long", setxattr("file", name, "1", 1, 0));
	name[255] = '\0';
	check("the longest name", setxattr("file", name, "1", 1, 0));
	check("removed", removexattr("file", name));
	check("removed", removexattr("file", "user.a"));
	check_list("list", "file");
	check("rename keeps them", rename("file", "renamed"));
	check_list("list", "renamed");
	xattr_sizes();
	must("chmod", chmod("renamed", 0640));
	must("mkdir", mkdir("sticky", 0777));
	must("chmod", chmod("sticky", 01777));
	if (user_begin(USER)) {
		check("user: get without the right",
			getxattr("renamed", "user.b", bytes, 16));
		check("user: set without the right",
			setxattr("renamed", "user.b", "1", 1, 0));
		check("user: another's sticky folder",
			setxattr("sticky", "user.b", "1", 1, 0));
		check_list("user: list", "renamed");
		user_end();
	}
}

static void check_capability(const char *name)
{
	check_number(name, getxattr("file", "security.capability", NULL, 0));
}

static void capability_give(void)
{
	struct vfs_cap_data caps = {
		.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
		.data[0].permitted = 1 << CAP_NET_RAW,
	};

	check("set", setxattr("file", "security.capability", &caps, sizeof(caps), 0));
}

void section_capability(void)
{
	struct vfs_cap_data seen = {0};
	int fd;

	file_make("file", 0777, "text");
	capability_give();
	check_capability("size");
	getxattr("file", "security.capability", &seen, sizeof(seen));
	check_number("permitted", seen.data[0].permitted);
	check_list("list", "file");
	check("chmod keeps it", chmod("file", 0766));
	check_capability("size");
	check("link keeps it", link("file", "hard"));
	check_capability("size");
	fd = open("file", O_WRONLY);
	check_number("write takes it", write(fd, "x", 1));
	check_capability("size");
	capability_give();
	check_number("and so once more on the same descriptor", write(fd, "x", 1));
	check_capability("size");
	close(fd);
	capability_give();
	check("truncate takes it", truncate("file", 1));
	check_capability("size");
	capability_give();
	check("chown takes it", chown("file", 1, 1));
	check_capability("size");
	capability_give();
	check_fd("O_TRUNC takes it", open("file", O_WRONLY | O_TRUNC));
	check_capability("size");
	capability_give();
	if (user_begin(USER)) {
		fd = open("file", O_WRONLY);
		check_number("user: write takes it", write(fd, "x", 1));
		check_capability("user: size");
		check("user: set",
			setxattr("file", "security.capability", &seen, sizeof(seen), 0));
		user_end();
	}
	check("nonsense", setxattr("file", "security.capability", "nonsense", 8, 0));
}

/* system.posix_acl_*: a version and then entries, all little-endian; see acl(5). */
struct acl {
	uint32_t version;
	struct acl_entry {
		uint16_t tag, perm;
		uint32_t id;
	} entries[6];
};

enum {
	ACL_OWNER = 1,
	ACL_USER = 2,
	ACL_GROUP = 4,
	ACL_NAMED_GROUP = 8,
	ACL_MASK = 16,
	ACL_OTHER = 32
};
#define NO_ID UINT32_MAX

/* rwx for the owner, rw for USER, r for group 7, a mask, nothing for others. */
static struct acl acl_of(uint16_t mask)
{
	return (struct acl){2, {
				       {ACL_OWNER, 7, NO_ID},
				       {ACL_USER, 6, USER},
				       {ACL_GROUP, 5, NO_ID},
				       {ACL_NAMED_GROUP, 4, 7},
				       {ACL_MASK, mask, NO_ID},
				       {ACL_OTHER, 0, NO_ID},
			       }};
}

static void check_acl(const char *name, const char *path, const char *kind)
{
	struct acl acl;
	char text[256], key[64];
	ssize_t size;
	size_t used = 0;

	snprintf(key, sizeof(key), "system.posix_acl_%s", kind);
	size = getxattr(path, key, &acl, sizeof(acl));
	if (size < 0) {
		check(name, -1);
		return;
	}
	for (size_t i = 0; i < (size_t)size / sizeof(acl.entries[0]) && i < 6; i++)
		used += snprintf(text + used, sizeof(text) - used, "%u:%u:%d ",
			acl.entries[i].tag, acl.entries[i].perm, (int)acl.entries[i].id);
	check_text(name, text);
}

static void acl_access(void)
{
	struct acl acl = acl_of(7);

	file_make("file", 0600, "text");
	check("set", setxattr("file", "system.posix_acl_access", &acl, sizeof(acl), 0));
	check_acl("is", "file", "access");
	check_mode("group bits are the mask", file_mode("file"));
	if (user_begin(USER)) {
		check_fd("user: named, may read and write", open("file", O_RDWR));
		check("user: named, may not execute", access("file", X_OK));
		user_end();
	}
	if (user_begin(USER + 1)) {
		check_fd("other: may not", open("file", O_RDONLY));
		user_end();
	}
	check("chmod sets the mask", chmod("file", 0740));
	check_acl("is", "file", "access");
	if (user_begin(USER)) {
		check_fd("user: masked, may not write", open("file", O_RDWR));
		check_fd("user: masked, may read", open("file", O_RDONLY));
		check("user: set", setxattr("file", "system.posix_acl_access", &acl,
					   sizeof(acl), 0));
		user_end();
	}
	check("of what is no folder",
		setxattr("file", "system.posix_acl_default", &acl, sizeof(acl), 0));
	acl.version = 3;
	check("version",
		setxattr("file", "system.posix_acl_access", &acl, sizeof(acl), 0));
	acl = acl_of(7);
	acl.entries[5].tag = 64;
	check("a bad tag",
		setxattr("file", "system.posix_acl_access", &acl, sizeof(acl), 0));
	check("half an entry", setxattr("file", "system.posix_acl_access", &acl, 9, 0));
	check("removed", removexattr("file", "system.posix_acl_access"));
	check_acl("is", "file", "access");
	check_mode("mode", file_mode("file"));
}

static void acl_default(void)
{
	struct acl acl = acl_of(6);

	must("mkdir", mkdir("folder", 0777));
	check("set",
		setxattr("folder", "system.posix_acl_default", &acl, sizeof(acl), 0));
	check_acl("is", "folder", "default");
	check_mode("mode", file_mode("folder"));
	umask(077);
	check_fd("umask does not count: a file",
		open("folder/file", O_CREAT | O_WRONLY, 0666));
	check_mode("its mode", file_mode("folder/file"));
	check_acl("its list", "folder/file", "access");
	check("a folder", mkdir("folder/below", 0777));
	check_mode("its mode", file_mode("folder/below"));
	check_acl("its list", "folder/below", "access");
	check_acl("its default", "folder/below", "default");
	check("a FIFO", mkfifo("folder/fifo", 0622));
	check_mode("its mode", file_mode("folder/fifo"));
	check_acl("its list", "folder/fifo", "access");
	check("a link", symlink("x", "folder/link"));
	check("removed", removexattr("folder", "system.posix_acl_default"));
	check_fd("umask counts again", open("folder/after", O_CREAT | O_WRONLY, 0666));
	check_mode("its mode", file_mode("folder/after"));
}

void section_acl(void)
{
	acl_access();
	acl_default();
}
