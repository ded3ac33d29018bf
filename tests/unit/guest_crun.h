/* SPDX-License-Identifier: Apache-2.0 */
/* A crun of the test's own: the test's program, which finds itself executed as crun. */
#pragma once

#include <sys/sendfile.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/json.h"
#include "guest/crun.h"
#include "tests/unit/guest_world.h"

/*
 * It is asked what crun is (create, exec) and leaves behind what crun does: a process,
 * its pid in a file, a fifo that a container's waits at, a terminal sent to a socket. The
 * process does what its first argument says:
 *	exit N      ends with N
 *	cat         writes what it reads until there is no more, and ends with 0
 *	fail TEXT   crun leaves a process, and fails with TEXT in its log
 *	hang        crun does not end
 */

struct crun_args {
	const char *pid_file, *log, *console, *bundle, *process, *id;
};

static inline struct crun_args crun_parse(char **argv)
{
	struct crun_args a = {0};

	for (; *argv; argv++) {
		if (strcmp(*argv, "--pid-file") == 0)
			a.pid_file = argv[1];
		else if (strcmp(*argv, "--log") == 0)
			a.log = argv[1];
		else if (strcmp(*argv, "--console-socket") == 0)
			a.console = argv[1];
		else if (strcmp(*argv, "--bundle") == 0)
			a.bundle = argv[1];
		else if (strcmp(*argv, "--process") == 0)
			a.process = argv[1];
		a.id = *argv;
	}
	return a;
}

/* The process's first arguments; the object they are of stays. */
static inline void crun_read_args(const struct crun_args *a, const char *ret[2])
{
	_cleanup_free_ char *path =
		a->process ? xstrdup(a->process) : xasprintf("%s/config.json", a->bundle);
	_cleanup_free_ char *text = NULL;
	struct json_object *json, *args;
	size_t len;

	if (file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL) < 0 ||
		json_parse("spec", text, len, 32, &json, NULL) < 0 ||
		(!a->process && json_get_object(json, "process", &json, NULL) < 0) ||
		json_get_array(json, "args", &args, NULL) < 0)
		_exit(101);
	for (size_t i = 0; i < 2; i++)
		ret[i] = json_object_get_string(json_object_array_get_idx(args, i));
	if (!ret[0] || !ret[1])
		_exit(101);
}

static inline void crun_workload(const char *const args[2])
{
	char buf[256];
	ssize_t n;

	if (strcmp(args[0], "exit") == 0)
		_exit((int)strtol(args[1], NULL, 10));
	while ((n = read(STDIN_FILENO, buf, sizeof(buf))) > 0)
		if (write(STDOUT_FILENO, buf, (size_t)n) != n)
			_exit(102);
	_exit(n < 0);
}

/* The slave side is the process's; the master goes to who listens. */
static inline void crun_send_terminal(const char *path)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), fd, slave;
	struct termios t;

	if (master < 0 || unlockpt(master) < 0)
		_exit(103);
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	if (slave < 0 || tcgetattr(slave, &t) < 0)
		_exit(103);
	cfmakeraw(&t);
	tcsetattr(slave, TCSANOW, &t);
	if (unix_connect(path, SOCK_STREAM, soon(), &fd, NULL) < 0 ||
		sock_send(fd, "/dev/pts/0", 10, &master, 1, soon()) < 0)
		_exit(104);
	for (int i = 0; i < 3; i++)
		dup2(slave, i);
	close(master);
	close(fd);
	close(slave);
}

/* As crun's, a container's process has the fifo open before crun ends. */
static inline void crun_child(int fifo_fd, const char *const args[2])
{
	char byte;

	if (fifo_fd >= 0 && read(fifo_fd, &byte, 1) != 1)
		_exit(105);
	crun_workload(args);
}

static inline int crun_make_fifo(const char *id)
{
	_cleanup_free_ char *dir = xasprintf(CRUN_ROOT "/%s", id);
	_cleanup_free_ char *fifo = xasprintf("%s/exec.fifo", dir);
	int fd;

	if (mkdir_parents(dir, 0700, NULL) < 0 || mkfifo(fifo, 0600) < 0)
		_exit(106);
	fd = open(fifo, O_RDWR);
	if (fd < 0)
		_exit(106);
	return fd;
}

static inline int crun_main(char **argv)
{
	struct crun_args a = crun_parse(argv);
	int fifo_fd = a.process ? -1 : crun_make_fifo(a.id);
	_cleanup_free_ char *log = NULL;
	const char *args[2];
	char text[16];
	pid_t pid;

	crun_read_args(&a, args);
	if (a.console)
		crun_send_terminal(a.console);
	if (strcmp(args[0], "hang") == 0)
		for (;;)
			pause();
	pid = fork();
	if (pid == 0)
		crun_child(fifo_fd, args);
	snprintf(text, sizeof(text), "%d", (int)pid);
	if (file_write_atomic(AT_FDCWD, a.pid_file, text, strlen(text), 0600, NULL) < 0)
		return 107;
	if (strcmp(args[0], "fail") != 0)
		return 0;
	log = xasprintf("{\"msg\":\"a warning\"}\n{\"msg\":\"%s\"}\n", args[1]);
	world_file(a.log, log);
	return 1;
}

/* Where the agent looks for it. Nothing else can be executed by a path afterwards. */
static inline void crun_install(void)
{
	_cleanup_close_ int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int to = -1;
	struct err err = ERR_INIT;
	struct stat st;

	world_tmpfs("/usr/bin");
	to = open(CRUN_PATH, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (self < 0 || to < 0 || fstat(self, &st) < 0 ||
		sendfile(to, self, NULL, (size_t)st.st_size) != st.st_size)
		world_skip("no crun can be made");
	if (crun_init(&err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
}
