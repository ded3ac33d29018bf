/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of modes and owners: chmod, chown, who may,
 * and which bits a change takes away. */
#include "tests/system/files_probe/probe.h"

#include <sys/fsuid.h>
#include <sys/syscall.h>

static long owner_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 ? -1 : (long)st.st_uid * 10000 + st.st_gid;
}

/* Makes a file of this user with this mode. */
static void file_of(const char *path, unsigned uid, mode_t mode)
{
	unlink(path);
	file_make(path, 0600, "text");
	must("chown", chown(path, uid, uid));
	must("chmod", chmod(path, mode));
}

void section_chmod(void)
{
	static const mode_t modes[] = {
		0, 0111, 0222, 0444, 0755, 01777, 02755, 04755, 07777};
	int fd;

	file_make("file", 0644, "");
	must("mkdir", mkdir("folder", 0755));
	must("symlink", symlink("gone", "dangling"));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		check("file", chmod("file", modes[i]));
		check_mode("is", file_mode("file"));
		check("folder", chmod("folder", modes[i]));
		check_mode("is", file_mode("folder"));
	}
	check("what is not there", chmod("gone", 0600));
	check("below a file", chmod("file/x", 0600));
	check("a dangling link", chmod("dangling", 0600));
	fd = open("file", O_RDONLY);
	check("fchmod", fchmod(fd, 0640));
	check_mode("is", file_mode("file"));
	close(fd);
	file_of("of-user", USER, 0644);
	if (user_begin(USER)) {
		check("user: another's", chmod("file", 0777));
		check("user: of its own", chmod("of-user", 0700));
		check("user: S_ISGID for its own group", chmod("of-user", 02755));
		check_mode("user: is", file_mode("of-user"));
		user_end();
	}
	must("chown", chown("of-user", USER, 7));
	if (user_begin(USER)) {
		check("user: S_ISGID for another group", chmod("of-user", 02755));
		check_mode("user: is", file_mode("of-user"));
		check("user: S_ISVTX on a file", chmod("of-user", 01755));
		check_mode("user: is", file_mode("of-user"));
		user_end();
	}
}

void section_chown(void)
{
	static const mode_t modes[] = {04755, 02755, 02745, 06711, 06666};
	int fd;

	file_of("file", 0, 0644);
	check("both", chown("file", 11, 12));
	check_number("are", owner_of("file"));
	check("user alone", chown("file", 13, -1));
	check_number("are", owner_of("file"));
	check("group alone", chown("file", -1, 14));
	check_number("are", owner_of("file"));
	check("none", chown("file", -1, -1));
	check_number("are", owner_of("file"));
	check("large ones", chown("file", 4000000000U, 3000000000U));
	check_true("are", owner_of("file") == 4000000000L * 10000 + 3000000000L);
	fd = open("file", O_RDONLY);
	check("fchown", fchown(fd, 0, 0));
	check_number("are", owner_of("file"));
	close(fd);
	check("what is not there", chown("gone", 0, 0));
	check("a bad flag", fchownat(AT_FDCWD, "file", 0, 0, 0x8000));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		file_of("bits", 0, modes[i]);
		check("root takes bits", chown("bits", 1, 1));
		check_mode("left", file_mode("bits"));
	}
	must("mkdir", mkdir("folder", 0755));
	must("chmod", chmod("folder", 06755));
	check("a folder keeps them", chown("folder", 1, 1));
	check_mode("left", file_mode("folder"));
	file_of("of-user", USER, 06755);
	if (user_begin(USER)) {
		check("user: gives away", chown("of-user", 0, -1));
		check("user: to another group", chown("of-user", -1, 0));
		check("user: to its own group", chown("of-user", USER, USER));
		check_mode("user: left", file_mode("of-user"));
		check("user: nothing of another's", chown("file", -1, -1));
		check("user: another's", chown("file", USER, USER));
		user_end();
	}
}

void section_sticky(void)
{
	must("mkdir", mkdir("sticky", 0777));
	must("chmod", chmod("sticky", 01777));
	file_of("sticky/of-root", 0, 0666);
	file_of("sticky/of-user", USER, 0666);
	must("mkdir", mkdir("sticky/folder", 0777));
	if (user_begin(USER)) {
		check("another's: unlink", unlink("sticky/of-root"));
		check("another's: rename", rename("sticky/of-root", "sticky/x"));
		check("another's: rename over",
			rename("sticky/of-user", "sticky/of-root"));
		check("another's: rmdir", rmdir("sticky/folder"));
		check("its own: rename", rename("sticky/of-user", "sticky/x"));
		check("its own: unlink", unlink("sticky/x"));
		user_end();
	}
	must("chown", chown("sticky", USER, USER));
	if (user_begin(USER)) {
		check("its own folder: unlink another's", unlink("sticky/of-root"));
		user_end();
	}
}

/* What a change leaves of a mode, by a user without rights and by root. */
static void setid_left(const char *what, mode_t mode, void (*change)(const char *path))
{
	char name[64];

	file_of("file", 0, mode);
	change("file");
	snprintf(name, sizeof(name), "%s by root", what);
	check_mode(name, file_mode("file"));
	file_of("file", 0, mode);
	if (user_begin(USER)) {
		change("file");
		user_end();
	}
	snprintf(name, sizeof(name), "%s by a user", what);
	check_mode(name, file_mode("file"));
}

static void change_write(const char *path)
{
	int fd = must("open", open(path, O_WRONLY | O_CLOEXEC));

	check_number("write", write(fd, "x", 1));
	close(fd);
}

static void change_truncate(const char *path)
{
	check("truncate", truncate(path, 2));
}

static void change_open(const char *path)
{
	check_fd("open", open(path, O_WRONLY | O_TRUNC));
}

static void change_fallocate(const char *path)
{
	int fd = must("open", open(path, O_WRONLY | O_CLOEXEC));

	check("fallocate", fallocate(fd, 0, 0, 100));
	close(fd);
}

void section_setid(void)
{
	static const mode_t modes[] = {04777, 02777, 06766};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		setid_left("write", modes[i], change_write);
		setid_left("truncate", modes[i], change_truncate);
		setid_left("O_TRUNC", modes[i], change_open);
		setid_left("fallocate", modes[i], change_fallocate);
	}
	/* A folder hands its group and the bit on. */
	must("mkdir", mkdir("folder", 0777));
	must("chown", chown("folder", 0, 7));
	must("chmod", chmod("folder", 02777));
	check("mkdir", mkdir("folder/below", 0755));
	check_number("its owners", owner_of("folder/below"));
	check_mode("its mode", file_mode("folder/below"));
	file_make("folder/file", 0644, "");
	check_number("a file's owners", owner_of("folder/file"));
	if (user_begin(USER)) {
		check("user: mknod", mknod("folder/fifo", S_IFIFO | 0600, 0));
		check_number("user: its owners", owner_of("folder/fifo"));
		check_fd("user: create", open("folder/mine", O_CREAT | O_WRONLY, 02775));
		check_number("user: its owners", owner_of("folder/mine"));
		check_mode("user: its mode", file_mode("folder/mine"));
		check("user: mkdir", mkdir("folder/of-mine", 0700));
		check_mode("user: its mode", file_mode("folder/of-mine"));
		user_end();
	}
}

void section_access(void)
{
	static const mode_t modes[] = {0, 0700, 0070, 0007, 0444, 0222, 0111};
	static const unsigned users[] = {0, USER, USER + 1};
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		file_of("file", USER, modes[i]);
		for (size_t u = 0; u < ARRAY_SIZE(users); u++) {
			if (!user_begin(users[u]))
				continue;
			snprintf(name, sizeof(name), "%04o as %u", modes[i], users[u]);
			check(name, access("file", R_OK));
			check(name, access("file", W_OK));
			check(name, access("file", X_OK));
			check_fd(name, open("file", O_RDWR));
			user_end();
		}
	}
	check("what is not there", access("gone", F_OK));
	check("below a file", access("file/x", F_OK));
	check("faccessat of the real user",
		faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS));
	/* A thread's user for files alone, as a file server
	 * of the container's own has it. */
	file_of("file", USER, 0600);
	syscall(SYS_setfsuid, USER);
	check_fd("setfsuid: its own", open("file", O_RDWR));
	file_make("made", 0600, "");
	syscall(SYS_setfsuid, 0);
	check_number("setfsuid: what it made", owner_of("made"));
}

void section_umask(void)
{
	static const mode_t masks[] = {0, 002, 027, 077, 0777};

	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		umask(masks[i]);
		check_fd("file", open("file", O_CREAT | O_RDWR, 0777));
		check_mode("its mode", file_mode("file"));
		check("folder", mkdir("folder", 0777));
		check_mode("its mode", file_mode("folder"));
		check("FIFO", mkfifo("fifo", 0777));
		check_mode("its mode", file_mode("fifo"));
		check("link", symlink("x", "link"));
		check_mode("its mode", file_mode("link"));
		tree_remove("file");
		tree_remove("folder");
		tree_remove("fifo");
		tree_remove("link");
	}
}
