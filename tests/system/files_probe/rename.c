/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of rename and of renameat2's flags. */
#include "tests/system/files_probe/probe.h"

#include <limits.h>
#include <sys/sysmacros.h>

static void rename_prepare(void)
{
	file_make("file", 0644, "file");
	file_make("other", 0600, "other");
	must("mkdir", mkdir("folder", 0755));
	must("mkdir", mkdir("folder/below", 0755));
	must("mkdir", mkdir("empty", 0755));
	must("symlink", symlink("file", "link"));
	must("symlink", symlink("folder", "to-folder"));
	must("symlink", symlink("loop", "loop"));
	must("mkdir", mkdir("another", 0755));
	file_make("another/file", 0666, "");
}

static void rename_refused(void)
{
	char long_name[NAME_MAX + 2];

	memset(long_name, 'n', sizeof(long_name));
	long_name[NAME_MAX + 1] = '\0';
	check("what is not there", rename("gone", "x"));
	check("into what is not there", rename("file", "gone/x"));
	check("into a file", rename("file", "other/x"));
	check("from a file", rename("other/x", "y"));
	check("an empty path", rename("", "x"));
	check("to an empty path", rename("file", ""));
	check("a loop", rename("loop/x", "y"));
	check("a name too long", rename("file", long_name));
	check("from a name too long", rename(long_name, "x"));
	check("a file over a folder", rename("file", "empty"));
	check("a folder over a file", rename("empty", "file"));
	check("a folder over one that is not empty", rename("empty", "folder"));
	check("a folder into itself", rename("folder", "folder/x"));
	check("a folder below itself", rename("folder", "folder/below/x"));
	check("a folder over its parent", rename("folder/below", "folder"));
	check("dot", rename(".", "x"));
	check("dot dot", rename("folder/..", "x"));
	check("to dot", rename("empty", "folder/."));
	check("a file to a name with a slash", rename("file", "x/"));
	check("a folder over a link to a folder", rename("empty", "to-folder"));
	check("to another file system", rename("file", "/proc/self/x"));
}

static void rename_done(void)
{
	struct stat st;
	int fd;

	check("to itself", rename("file", "file"));
	check("a folder to a name with a slash", rename("empty", "void/"));
	check("over an empty folder", rename("void", "folder/below"));
	check("and back", rename("folder/below", "empty"));
	check_number("links of the folder", file_links("folder"));
	check("a folder into another", rename("empty", "folder/moved"));
	check_number("links of the folder", file_links("folder"));
	fd = open("other", O_RDONLY);
	check("over an open file", rename("file", "other"));
	check_number(
		"the open one has links", fstat(fd, &st) < 0 ? -1 : (long)st.st_nlink);
	check_number("the open one can be read", read(fd, (char[8]){0}, 8));
	close(fd);
	check_text("the new text", file_text("other"));
	fd = open("other", O_RDWR);
	check("of an open file", rename("other", "file"));
	check_number("write to it", pwrite(fd, "FI", 2, 0));
	close(fd);
	check_text("is seen", file_text("file"));
	check("a link over a file", rename("link", "file"));
	check("is the link", lstat("file", &st) < 0 || !S_ISLNK(st.st_mode) ? -1 : 0);
	must("unlink", unlink("file"));
	file_make("file", 0644, "");
	check("hard links", link("file", "hard"));
	check("one over the other", rename("file", "hard"));
	check_number("does nothing", file_links("file"));
	check("a FIFO", mkfifo("fifo", 0600) || rename("fifo", "FIFO") ? -1 : 0);
	fd = open("folder", O_RDONLY | O_DIRECTORY);
	check("of an open folder", rename("folder", "renamed"));
	check("stat below it", fstatat(fd, "moved", &st, 0));
	check("make below it", mkdirat(fd, "new", 0700));
	check("is there", lstat("renamed/new", &st));
	check("dot dot of it", fstatat(fd, "../renamed", &st, 0));
	close(fd);
}

static void rename_user(void)
{
	must("mkdir", mkdir("free", 0777));
	must("chmod", chmod("free", 0777));
	must("mkdir", mkdir("free/of-root", 0755));
	file_make("free/file", 0600, "");
	if (!user_begin(USER))
		return;
	check("user: out of another's folder", rename("another/file", "free/x"));
	check("user: into another's folder", rename("free/file", "another/x"));
	check("user: another's file in a free folder",
		rename("free/file", "free/renamed"));
	check("user: another's folder in place", rename("free/of-root", "free/in-place"));
	mkdir("free/mine", 0755);
	/* The dot dot of a folder that isn't the user's would have to be written. */
	check("user: another's folder elsewhere",
		rename("free/in-place", "free/mine/moved"));
	user_end();
}

void section_rename(void)
{
	rename_prepare();
	rename_refused();
	rename_done();
	rename_user();
}

static long rename_flags(const char *from, const char *to, unsigned flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

void section_rename_flags(void)
{
	struct stat st = {0};

	rename_prepare();
	check("NOREPLACE, it is there", rename_flags("file", "other", RENAME_NOREPLACE));
	check("NOREPLACE, itself", rename_flags("file", "file", RENAME_NOREPLACE));
	check("NOREPLACE, a link is there",
		rename_flags("file", "loop", RENAME_NOREPLACE));
	check("NOREPLACE, it is free", rename_flags("file", "free", RENAME_NOREPLACE));
	check_text("is there", file_text("free"));
	check("EXCHANGE with nothing", rename_flags("free", "gone", RENAME_EXCHANGE));
	check("EXCHANGE of files", rename_flags("free", "other", RENAME_EXCHANGE));
	check_text("one", file_text("free"));
	check_text("two", file_text("other"));
	check("EXCHANGE of a file and a folder",
		rename_flags("free", "folder", RENAME_EXCHANGE));
	check_text("the file", file_text("folder"));
	check("the folder", stat("free/below", &st));
	check("EXCHANGE with what is below",
		rename_flags("free", "free/below", RENAME_EXCHANGE));
	check("EXCHANGE with what is above",
		rename_flags("free/below", "free", RENAME_EXCHANGE));
	check("EXCHANGE across folders",
		rename_flags("free/below", "empty", RENAME_EXCHANGE));
	check("both flags",
		rename_flags("free", "other", RENAME_EXCHANGE | RENAME_NOREPLACE));
	check("a flag that is none", rename_flags("free", "other", 1 << 8));
	check("WHITEOUT and EXCHANGE",
		rename_flags("free", "other", RENAME_WHITEOUT | RENAME_EXCHANGE));
	check("WHITEOUT", rename_flags("other", "white", RENAME_WHITEOUT));
	if (lstat("other", &st) == 0)
		check_true(
			"leaves one", S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
	else
		check("leaves none", -1);
}
