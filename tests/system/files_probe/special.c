/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of FIFOs, sockets, statfs, inotify and programs on the file system. */
#include "tests/system/files_probe/probe.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>

void section_fifo(void)
{
	char bytes[32] = "";
	struct stat st = {0};
	int fd, pid, status;

	must("mkfifo", mkfifo("fifo", 0600));
	check("stat", stat("fifo", &st));
	check_true("is one", S_ISFIFO(st.st_mode));
	check_fd("for writing, nobody reads", open("fifo", O_WRONLY | O_NONBLOCK));
	fd = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	check("for reading, nobody writes", fd);
	check_number("read", read(fd, bytes, 8));
	close(fd);
	fd = open("fifo", O_RDWR | O_CLOEXEC);
	check("for both", fd);
	check_number("write", write(fd, "through", 7));
	check_number("read", read(fd, bytes, sizeof(bytes)));
	check_text("is", bytes);
	check("seek", lseek(fd, 0, SEEK_SET));
	check("truncate", ftruncate(fd, 0));
	close(fd);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fd = open("fifo", O_WRONLY | O_CLOEXEC);
		for (int i = 0; i < 10; i++)
			must("write", write(fd, "0123456789", 10));
		_exit(0);
	}
	/* Blocks until the other side is there. */
	fd = open("fifo", O_RDONLY | O_CLOEXEC);
	check("from another process", fd);
	status = 0;
	for (ssize_t n; (n = read(fd, bytes, sizeof(bytes))) > 0;)
		status += n;
	check_number("bytes until its end", status);
	check_number("exit code", child_end(pid));
	must("unlink", unlink("fifo"));
	check("unlinked: fstat", fstat(fd, &st));
	check("unlinked: fchmod", fchmod(fd, 0640));
	close(fd);
}

void section_socket(void)
{
	struct sockaddr_un address = {AF_UNIX, "socket"}, gone = {AF_UNIX, "gone"};
	char bytes[32] = "";
	struct stat st = {0};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), other, pid;

	check("connect to nothing", connect(fd, (struct sockaddr *)&gone, sizeof(gone)));
	check("bind", bind(fd, (struct sockaddr *)&address, sizeof(address)));
	check("stat", stat("socket", &st));
	check_true("is one", S_ISSOCK(st.st_mode));
	check_mode("mode", st.st_mode & 07777);
	check_fd("open", open("socket", O_RDWR));
	other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check("bind again", bind(other, (struct sockaddr *)&address, sizeof(address)));
	check("connect, nobody listens",
		connect(other, (struct sockaddr *)&address, sizeof(address)));
	close(other);
	check("listen", listen(fd, 1));
	check("rename", rename("socket", "renamed"));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		snprintf(address.sun_path, sizeof(address.sun_path), "renamed");
		other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		must("connect",
			connect(other, (struct sockaddr *)&address, sizeof(address)));
		must("write", write(other, "through", 7));
		_exit(0);
	}
	other = accept(fd, NULL, NULL);
	check("accept", other);
	check_number("read", read(other, bytes, sizeof(bytes)));
	check_text("is", bytes);
	check_number("exit code", child_end(pid));
	check("unlink", unlink("renamed"));
	close(fd);
	close(other);
}

void section_statfs(void)
{
	struct statvfs fs = {0};
	int fd = open(".", O_RDONLY | O_CLOEXEC);

	check("statvfs", statvfs(".", &fs));
	check_number("longest name", fs.f_namemax);
	check_true("block size", fs.f_bsize >= 512 && fs.f_frsize >= 512);
	check_true("blocks", fs.f_blocks >= fs.f_bfree && fs.f_bfree >= fs.f_bavail &&
				     fs.f_bavail > 0);
	check_true("files", fs.f_files >= fs.f_ffree && fs.f_files > 0);
	check_true("writable", !(fs.f_flag & ST_RDONLY));
	check("fstatvfs", fstatvfs(fd, &fs));
	close(fd);
	check("what is not there", statvfs("gone", &fs));
}

/* The names of the events that came, without those that came twice in a row. */
static void check_events(const char *name, int fd)
{
	static const char *const names[] = {"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE",
		"CLOSE_NOWRITE", "OPEN", "MOVED_FROM", "MOVED_TO", "CREATE", "DELETE",
		"DELETE_SELF", "MOVE_SELF"};
	char bytes[8192] __attribute__((aligned(8))), text[1024] = "", last[64] = "",
						      one[64];
	struct pollfd ready = {fd, POLLIN, 0};
	size_t used = 0;

	while (poll(&ready, 1, 0) > 0) {
		ssize_t size = read(fd, bytes, sizeof(bytes));

		for (char *at = bytes; at < bytes + size;) {
			struct inotify_event *event = (struct inotify_event *)at;

			for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
				if (!(event->mask & (1U << i)))
					continue;
				snprintf(one, sizeof(one), "%s(%.20s) ", names[i],
					event->len ? event->name : "");
				if (strcmp(one, last) != 0 && used < sizeof(text) - 64)
					used += snprintf(text + used, sizeof(text) - used,
						"%s", one);
				memcpy(last, one, sizeof(last));
			}
			at += sizeof(*event) + event->len;
		}
	}
	check_text(name, text);
}

void section_inotify(void)
{
	int fd = must("inotify", inotify_init1(IN_CLOEXEC)), file;

	must("mkdir", mkdir("folder", 0755));
	check("watch", inotify_add_watch(fd, "folder", IN_ALL_EVENTS) < 0 ? -1 : 0);
	file = open("folder/file", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	check_events("create", fd);
	must("write", write(file, "text", 4));
	check_events("write", fd);
	must("pread", pread(file, (char[4]){0}, 4, 0));
	check_events("read", fd);
	must("ftruncate", ftruncate(file, 1));
	check_events("truncate", fd);
	close(file);
	check_events("close", fd);
	must("chmod", chmod("folder/file", 0600));
	check_events("chmod", fd);
	must("link", link("folder/file", "folder/link"));
	check_events("link", fd);
	must("rename", rename("folder/file", "folder/moved"));
	check_events("rename", fd);
	must("rename",
		rename("folder/moved", "folder/link") || rename("folder/moved", "out")
			? -1
			: 0);
	check_events("rename out", fd);
	must("mkdir", mkdir("folder/below", 0755));
	check_events("mkdir", fd);
	must("rmdir", rmdir("folder/below"));
	check_events("rmdir", fd);
	check("watch the file",
		inotify_add_watch(fd, "folder/link", IN_ALL_EVENTS) < 0 ? -1 : 0);
	must("unlink", unlink("folder/link"));
	must("unlink", unlink("out"));
	check_events("unlink", fd);
	must("rmdir", rmdir("folder"));
	check_events("its own end", fd);
	close(fd);
}

static int copy_self(const char *path)
{
	int from = must("open", open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	int to = must("open", open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755));
	struct stat st;

	must("fstat", fstat(from, &st));
	for (off_t at = 0; at < st.st_size;)
		must("sendfile", sendfile(to, from, &at, st.st_size - at));
	close(from);
	return close(to);
}

/* Runs it: its exit code, or 100 and what execve said. */
static int run(const char *path, const char *argument)
{
	int pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execl(path, path, argument, NULL);
		check("execve", -1);
		fflush(stdout);
		_exit(100);
	}
	return child_end(pid);
}

void section_exec(void)
{
	int fd;

	must("copy", copy_self("program"));
	check_number("a program", run("./program", "seven"));
	check_number("again", run("./program", "seven"));
	fd = open("program", O_WRONLY | O_CLOEXEC);
	check_number("while it is open for writing", run("./program", "seven"));
	close(fd);
	check("chmod", chmod("program", 0644));
	check_number("without the bit", run("./program", "seven"));
	check("chmod", chmod("program", 0711));
	if (user_begin(USER)) {
		check_number("user: may execute but not read", run("./program", "seven"));
		user_end();
	}
	file_make("script", 0755, "#! ./program seven\n");
	check_number("a script", run("./script", NULL));
	file_make("empty", 0755, "");
	check_number("an empty one", run("./empty", NULL));
	file_make("wrong", 0755, "#!./gone\n");
	check_number("without its interpreter", run("./wrong", NULL));
	check_number("a folder", run(".", NULL));
	check("rename", rename("program", "renamed"));
	check_number("renamed", run("./renamed", "seven"));
	check("unlink", unlink("renamed"));
	check_number("unlinked", run("./renamed", "seven"));
}
