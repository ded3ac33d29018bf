/* SPDX-License-Identifier: Apache-2.0 */
/* crun, which makes the processes of containers: see crun.h. */
#include "guest/crun.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"
#include "guest/init.h"
#include "guest/terminal.h"

#define LOG_MAX 16384
/* What crun looks for to know a sealed copy of itself (its cloned_binary.c). */
#define CRUN_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* The copy, as /proc/self/fd/<n>: it is close-on-exec, not even crun inherits it. */
static char crun_path[32];

/* How long crun has to die of a SIGKILL: it is then in the kernel, ending a container's
 * boot. */
#define KILL_MS 10000

static int copy_sealed(int from, int to)
{
	struct stat st;
	off_t at = 0;

	if (fstat(from, &st) < 0)
		return -errno;
	while (at < st.st_size) {
		ssize_t n = sendfile(to, from, &at, (size_t)(st.st_size - at));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return fcntl(to, F_ADD_SEALS, CRUN_SEALS) < 0 ? -errno : 0;
}

int crun_init(struct err *err)
{
	_cleanup_close_ int from = open(CRUN_PATH, O_RDONLY | O_CLOEXEC);
	int to, r;

	if (from < 0)
		return err_sys(err, errno, "open " CRUN_PATH);
	to = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	r = to < 0 ? -errno : copy_sealed(from, to);
	if (r < 0) {
		close_fd(to);
		return err_sys(err, r, "copy " CRUN_PATH);
	}
	snprintf(crun_path, sizeof(crun_path), "/proc/self/fd/%d", to);
	unlink(CRUN_PATH);
	return 0;
}

/* The files of one invocation; removed at its end. */
struct paths {
	char *pid, *log, *console, *bundle;
};

static void paths_init(struct paths *p, const char *container_id, const char *process_id)
{
	static unsigned int serial;
	unsigned int n = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);

	p->bundle = xasprintf(BUNDLE_DIR "/%s", container_id);
	p->pid = xasprintf("%s/%s.pid", p->bundle, process_id);
	p->log = xasprintf("%s/%s.log", p->bundle, process_id);
	/* A socket's path is limited to 107 bytes, a container's id is not that short. */
	p->console = xasprintf(GUEST_RUN_DIR "/tty%u", n);
}

static void paths_done(struct paths *p)
{
	unlink(p->pid);
	unlink(p->log);
	unlink(p->console);
	free(p->pid);
	free(p->log);
	free(p->console);
	free(p->bundle);
}

const char *crun_log_message(const char *log)
{
	const char *line = log, *at, *msg = NULL;
	struct json_object *json = NULL;
	const char *quoted;

	/* Warnings may come first. */
	for (at = log; (at = strchr(at, '\n')) && at[1]; at++)
		line = at + 1;
	if (json_parse("crun's log", line, strcspn(line, "\n"), 4, &json, NULL) == 0)
		json_get_string(json, "msg", &msg, NULL);
	quoted = err_quote(msg ? msg : line, 512);
	json_object_put(json);
	return quoted;
}

/* errno's words as Go writes them: by "no such file or directory" and "permission
 * denied" docker tells a program that is not there (127) or is none (126) from its own
 * failures. Newer cruns say of the latter "not executable: Operation not permitted". */
static char *word_message(const char *message)
{
	const char *words = strrchr(message, ':');
	char *copy;

	if (!words || words[1] != ' ')
		return xstrdup(message);
	if (strstr(message, "is not executable"))
		return xasprintf(
			"%.*s: permission denied", (int)(words - message), message);
	copy = xstrdup(message);
	copy[words - message + 2] = (char)tolower((unsigned char)words[2]);
	return copy;
}

static int crun_failed(const struct paths *paths, int status, struct err *err)
{
	_cleanup_free_ char *log = NULL, *message = NULL;
	size_t len;

	if (file_read(AT_FDCWD, paths->log, LOG_MAX, &log, &len, NULL) < 0 || len == 0)
		return err_set(
			err, -EIO, "crun ended with status %d and no message", status);
	message = word_message(crun_log_message(log));
	return err_set(err, -EIO, "crun: %s", message);
}

static int run_crun(const struct crun_launch *how, const struct paths *paths,
	const int stdio[3], bool terminal, struct err *err)
{
	const char *argv[24] = {crun_path, "--root", CRUN_ROOT, "--cgroup-manager",
		"cgroupfs", "--log", paths->log, "--log-format", "json"};
	struct child crun = {0};
	size_t n = 9;
	int r;

	argv[n++] = how->process_json ? "exec" : "create";
	argv[n++] = "--pid-file";
	argv[n++] = paths->pid;
	if (terminal) {
		argv[n++] = "--console-socket";
		argv[n++] = paths->console;
	}
	if (how->process_json) {
		argv[n++] = "--detach";
		argv[n++] = "--process";
		argv[n++] = how->process_json;
	} else {
		argv[n++] = "--bundle";
		argv[n++] = paths->bundle;
	}
	argv[n++] = how->container_id;
	r = child_spawn(&crun, (char *const *)argv, stdio, err);
	if (r < 0)
		return r;
	r = child_wait(&crun, how->closed_fd, how->deadline);
	if (r < 0) {
		child_kill(&crun, SIGKILL);
		child_wait(&crun, -1, deadline_after_ms(KILL_MS));
		err_sys(err, r, "crun did not finish");
	} else if (crun.status != 0) {
		r = crun_failed(paths, crun.status, err);
	}
	child_done(&crun);
	return r;
}

/* Also after a failure: what crun has started by then must not stay. */
static int adopt_process(struct process *p, const struct paths *paths, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int pid, r;

	r = file_read(AT_FDCWD, paths->pid, 32, &text, &len, err);
	if (r < 0)
		return r;
	if (sscanf(text, "%d", &pid) != 1 || pid < 2)
		return err_set(err, -EIO, "crun's pid file says %s", err_quote(text, 32));
	return child_adopt(&p->child, pid, err);
}

static void abandon_process(struct process *p, const struct paths *paths)
{
	if (p->child.exit_fd <= 0 && adopt_process(p, paths, NULL) < 0)
		return;
	child_kill(&p->child, SIGKILL);
	child_wait(&p->child, -1, deadline_after_ms(KILL_MS));
	child_done(&p->child);
	p->child = (struct child){0};
}

/* ---- streams ---- */

static int open_pipes(struct process *p, int stdio[3], struct err *err)
{
	int in[2], out[2], errs[2];

	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	stdio[0] = in[0];
	p->in_fd = in[1];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	p->out_fd = out[0];
	stdio[1] = out[1];
	if (pipe2(errs, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	p->err_fd = errs[0];
	stdio[2] = errs[1];
	/* Ours alone: the container's ends stay blocking, as programs expect. */
	fcntl(p->in_fd, F_SETFL, O_NONBLOCK);
	fcntl(p->out_fd, F_SETFL, O_NONBLOCK);
	fcntl(p->err_fd, F_SETFL, O_NONBLOCK);
	return 0;
}

static int open_nulls(int stdio[3], struct err *err)
{
	for (int i = 0; i < 3; i++) {
		stdio[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (stdio[i] < 0)
			return err_sys(err, errno, "open /dev/null");
	}
	return 0;
}

/* crun connects and sends the terminal's master side before it ends: both are there
 * already. */
static int receive_master(
	int listen_fd, int64_t deadline, struct process *p, struct err *err)
{
	_cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	_cleanup_close_ int master = -1;
	char name[64];
	ssize_t n;

	if (fd < 0)
		return err_sys(err, errno, "crun did not connect to the console socket");
	n = sock_recv(fd, name, sizeof(name), &master, 1, deadline);
	if (n < 0 || master < 0)
		return err_sys(err, n < 0 ? (int)n : -EPROTO, "crun sent no terminal");
	fcntl(master, F_SETFL, O_NONBLOCK);
	p->in_fd = steal_fd(&master);
	return terminal_gather(p->in_fd, &p->out_fd, err);
}

static void close_streams(struct process *p)
{
	close_fd(p->in_fd);
	close_fd(p->out_fd);
	close_fd(p->err_fd);
	p->in_fd = p->out_fd = p->err_fd = -1;
}

int crun_launch(struct process *p, const struct crun_launch *how, struct err *err)
{
	_cleanup_close_ int console_fd = -1;
	int r, stdio[3] = {-1, -1, -1};
	struct paths paths;

	paths_init(&paths, how->container_id, p->id);
	r = p->terminal ? open_nulls(stdio, err) : open_pipes(p, stdio, err);
	if (r == 0 && p->terminal)
		r = unix_listen(paths.console, SOCK_STREAM, &console_fd, err);
	if (r == 0) {
		child_expect();
		r = run_crun(how, &paths, stdio, p->terminal, err);
		if (r == 0)
			r = adopt_process(p, &paths, err);
		if (r == 0 && p->terminal)
			r = receive_master(console_fd, how->deadline, p, err);
		if (r < 0)
			abandon_process(p, &paths);
		child_unexpect();
	}
	for (int i = 0; i < 3; i++)
		close_fd(stdio[i]);
	if (r < 0)
		close_streams(p);
	paths_done(&paths);
	return r;
}

int crun_release(const char *container_id, struct err *err)
{
	_cleanup_free_ char *path = xasprintf(CRUN_ROOT "/%s/exec.fifo", container_id);
	/* Without a reader, that is without an init that waits, the open fails. */
	_cleanup_close_ int fd =
		open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && (errno == ENXIO || errno == ENOENT))
		return err_set(err, -ESRCH, "the container's first process has ended");
	/* Gone first: crun exec takes its absence for "running". */
	if (fd < 0 || unlink(path) < 0 || write(fd, "1", 1) != 1)
		return err_sys(err, errno, "release the container's first process");
	return 0;
}

int crun_forget(const char *container_id, struct err *err)
{
	_cleanup_free_ char *path = xasprintf(CRUN_ROOT "/%s", container_id);

	return remove_tree(AT_FDCWD, path, err);
}
