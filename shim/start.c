/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `start`: see start.h. */
#include "shim/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config_kept.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/util.h"
#include "shim/bootstrap.h"
#include "shim/delete.h"
#include "shim/join.h"
#include "shim/options.h"
#include "shim/spec.h"
#include "shim/state.h"

#define OPTIONS_MAX        (64u << 10)
#define CONNECT_TIMEOUT_MS 2000
#define ADDRESS_FILE       "address"
#define ADDRESS_SCHEME     "unix://"

/* What containerd wrote to standard input; a terminal means that a person is trying
 * things. */
static int read_options(char **ret_path, struct err *err)
{
	_cleanup_free_ char *data = NULL;
	Google__Protobuf__Any *any;
	size_t len = 0;
	int r = 0;

	if (!isatty(STDIN_FILENO))
		r = file_read(AT_FDCWD, "/dev/stdin", OPTIONS_MAX, &data, &len, err);
	if (r < 0)
		return err_wrap(err, "runtime options");
	any = google__protobuf__any__unpack(NULL, len, (const uint8_t *)data);
	if (!any)
		return err_set(err, -EBADMSG, "the runtime options are no protobuf Any");
	r = options_config_path(any, ret_path, err);
	google__protobuf__any__free_unpacked(any, NULL);
	return r;
}

/* The options' file is the serving process's $STENCIL_CONFIG. */
static int load_config(struct config *c, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	struct err refused; /* what is wrong, the serving process says */
	int r = read_options(&path, err);

	if (r < 0)
		return r;
	if (*path && setenv(CONFIG_PATH_ENV, path, 1) < 0)
		return err_sys(err, errno, "cannot set " CONFIG_PATH_ENV);
	return config_load_or_kept(c, NULL, &refused, err);
}

static int write_address(
	const char *bundle, const char *socket, char **ret_address, struct err *err)
{
	_cleanup_free_ char *address = xasprintf(ADDRESS_SCHEME "%s", socket);
	_cleanup_free_ char *file = xasprintf("%s/%s", bundle, ADDRESS_FILE);
	int r = file_write_atomic(AT_FDCWD, file, address, strlen(address), 0600, err);

	if (r == 0)
		*ret_address = steal_ptr(address);
	return r;
}

/* Whether somebody serves a socket. */
static bool is_served(const char *socket)
{
	_cleanup_close_ int fd = -1;

	return unix_connect(socket, SOCK_STREAM, deadline_after_ms(CONNECT_TIMEOUT_MS),
		       &fd, NULL) == 0;
}

/* The serving process: own session, standard streams on /dev/null, the socket at its
 * place. */
static int spawn_server(const struct cmdline *cmd, int listen_fd, int told_fd,
	pid_t *ret_pid, struct err *err)
{
	char self[4096];
	const char *argv[12] = {self, "-namespace", cmd->namespace, "-id", cmd->id,
		"-address", cmd->address};
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* As SHIM_LISTEN_FD and SHIM_TOLD_FD say. */
	const int fds[] = {null, null, null, listen_fd, told_fd};
	const struct proc_program server = {.path = self,
		.argv = (char *const *)argv,
		.fds = fds,
		.n_fds = ARRAY_SIZE(fds),
		.session = true};
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t n = 7;
	int r;

	if (len < 0)
		return err_sys(err, errno, "cannot find this program");
	if (null < 0)
		return err_sys(err, errno, "cannot open /dev/null");
	self[len] = '\0';
	/* A host's own word stays. */
	if (setenv(TUNABLES_ENV, SHIM_TUNABLES, 0) < 0)
		return err_sys(err, errno, "cannot set " TUNABLES_ENV);
	if (*cmd->publish_binary) {
		argv[n++] = "-publish-binary";
		argv[n++] = cmd->publish_binary;
	}
	if (cmd->debug)
		argv[n++] = "-debug";
	r = proc_spawn(&server, ret_pid);
	return r < 0 ? err_sys(err, r, "cannot start the serving process") : 0;
}

/* With the socket made: the process, its identity in the record. */
static int start_server(const struct cmdline *cmd, struct state *s, int listen_fd,
	int *ret_told_fd, struct err *err)
{
	_cleanup_close_ int heard_fd = -1, told_fd = -1;
	pid_t pid = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "socketpair");
	heard_fd = pair[0];
	told_fd = pair[1];
	r = spawn_server(cmd, listen_fd, heard_fd, &pid, err);
	if (r < 0)
		return r;
	r = proc_id_of(pid, &s->shim);
	if (r < 0)
		err_sys(err, r, "the serving process ended at once");
	else
		r = state_save(s, err);
	if (r < 0)
		kill(pid, SIGKILL); /* our child, not reaped: the pid is still its own */
	else
		*ret_told_fd = steal_fd(&told_fd);
	return r;
}

/* With the state folder made. */
static int serve_state(const struct cmdline *cmd, struct state *s, char **ret_address,
	int *ret_told_fd, struct err *err)
{
	_cleanup_close_ int listen_fd = -1;
	int r;

	r = unix_listen(s->socket, SOCK_STREAM, &listen_fd, err);
	if (r == 0)
		r = write_address(s->bundle, s->socket, ret_address, err);
	return r < 0 ? r : start_server(cmd, s, listen_fd, ret_told_fd, err);
}

int start_told(int told_fd, struct err *err)
{
	int r = told_fd < 0 ? 0 : sock_send(told_fd, "t", 1, NULL, 0, now_ms());

	return r < 0 ? err_sys(err, r, "the serving process does not serve") : 0;
}

int start_wait_told(struct err *err)
{
	char byte;
	int r = read_full(SHIM_TOLD_FD, &byte, 1);

	close(SHIM_TOLD_FD);
	return r < 0 ? err_set(err, r,
			       "containerd was not told of it: `start` has ended "
			       "before that")
		     : 0;
}

/* What a shim of the same name left that nobody cleaned up. */
static int clear_stale(const struct config *c, const struct state *s, struct err *err)
{
	struct state old = {0};
	int r = state_load(s->dir, &old, NULL);

	if (r == 0 && is_served(old.socket))
		r = err_set(err, -EEXIST, "sandbox %s is served by another shim, pid %d",
			s->id, (int)old.shim.pid);
	else if (access(s->dir, F_OK) == 0)
		r = delete_state(c, s->dir, err);
	else
		r = 0;
	state_done(&old);
	return r;
}

static int start_sandbox(const struct cmdline *cmd, const struct config *c,
	const char *bundle, char **ret_address, int *ret_told_fd, struct err *err)
{
	struct state s;
	int r;

	state_init(&s, c, cmd, bundle);
	if (is_served(s.socket)) {
		/* Its first container comes again, while others of the pod live. */
		r = state_link(s.dir, bundle, err);
		if (r == 0)
			r = write_address(bundle, s.socket, ret_address, err);
	} else {
		r = clear_stale(c, &s, err);
		if (r == 0)
			r = state_create(&s, err);
		if (r == 0) {
			r = serve_state(cmd, &s, ret_address, ret_told_fd, err);
			if (r < 0)
				state_remove(&s, NULL);
		}
	}
	state_done(&s);
	return r;
}

/* The address of the shim that serves the container's sandbox. */
static int find_sandbox(const struct cmdline *cmd, const struct config *c,
	const char *sandbox, char **ret_socket, struct err *err)
{
	_cleanup_free_ char *socket =
		state_socket_path(c, cmd->address, cmd->namespace, sandbox);

	if (!is_served(socket))
		return err_set(err, -ENOENT,
			"container %s belongs to sandbox %s, which has no shim", cmd->id,
			sandbox);
	*ret_socket = steal_ptr(socket);
	return 0;
}

static int link_sandbox(const struct cmdline *cmd, const struct config *c,
	const char *sandbox, const char *bundle, struct err *err)
{
	_cleanup_free_ char *dir = state_folder(c, cmd->namespace, sandbox);

	return state_link(dir, bundle, err);
}

/* The sandbox that a container joins; NULL: it has its own. */
static char *choose_sandbox(
	const struct cmdline *cmd, const struct config *c, const struct spec *spec)
{
	if (spec->sandbox_id)
		return xstrdup(spec->sandbox_id);
	return spec->netns ? join_find_sandbox(spec->netns, c->state_dir, cmd->namespace)
			   : NULL;
}

static int start_or_join(const struct cmdline *cmd, const struct spec *spec,
	const char *bundle, char **ret_answer, int *ret_told_fd, struct err *err)
{
	_cleanup_free_ char *socket = NULL, *address = NULL, *sandbox = NULL;
	struct config config;
	int r;

	config_init(&config);
	r = load_config(&config, err);
	if (r == 0)
		sandbox = choose_sandbox(cmd, &config, spec);
	if (r == 0 && !sandbox) {
		r = start_sandbox(cmd, &config, bundle, &address, ret_told_fd, err);
	} else if (r == 0) {
		r = find_sandbox(cmd, &config, sandbox, &socket, err);
		if (r == 0)
			r = link_sandbox(cmd, &config, sandbox, bundle, err);
		if (r == 0)
			r = write_address(bundle, socket, &address, err);
	}
	if (r == 0)
		*ret_answer = bootstrap_answer(cmd, &config, address);
	config_done(&config);
	return r;
}

int start_shim(
	const struct cmdline *cmd, char **ret_answer, int *ret_told_fd, struct err *err)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	const char *bundle = *cmd->bundle ? cmd->bundle : cwd;
	_cleanup_close_ int bundle_fd = -1;
	struct spec spec = {0};
	int r;

	*ret_told_fd = -1;
	if (!bundle)
		return err_sys(err, errno, "cannot find the working directory");
	if (*bundle != '/')
		return err_set(err, -EINVAL, "-bundle %s is not absolute",
			err_quote(bundle, 256));
	bundle_fd = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (bundle_fd < 0)
		return err_sys(
			err, errno, "cannot open the bundle %s", err_quote(bundle, 256));
	if (faccessat(bundle_fd, SPEC_FILE, F_OK, 0) < 0 && errno == ENOENT)
		return start_or_join(cmd, &spec, bundle, ret_answer, ret_told_fd, err);
	r = spec_load(bundle_fd, &spec, err);
	if (r < 0)
		return r;
	r = start_or_join(cmd, &spec, bundle, ret_answer, ret_told_fd, err);
	spec_done(&spec);
	return r;
}
