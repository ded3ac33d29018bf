/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that config.json wants run: see hooks.h. */
#include "shim/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/util.h"
#include "shim/spec.h"

/* What an error tells of a hook's output. */
#define OUTPUT_MAX 400

struct hook {
	char *path;
	char **args, **env; /* NULL at the end; env NULL: the shim's */
	int64_t timeout_ms; /* 0: none */
};

struct hooks {
	struct hook *of[HOOK_POINTS];
	size_t n[HOOK_POINTS];
	char *oci_version, *annotations; /* JSON; NULL: none */
};

static const struct {
	const char *key, *status;
	bool must_succeed;
} points[HOOK_POINTS] = {
	[HOOK_PRESTART] = {"prestart", "creating", true},
	[HOOK_CREATE_RUNTIME] = {"createRuntime", "creating", true},
	[HOOK_POSTSTART] = {"poststart", "running", false},
	[HOOK_POSTSTOP] = {"poststop", "stopped", false},
};

/* ---- reading them ---- */

static void free_words(char **words)
{
	for (char **w = words; w && *w; w++)
		free(*w);
	free(words);
}

void hooks_free(struct hooks *hooks)
{
	if (!hooks)
		return;
	for (size_t p = 0; p < HOOK_POINTS; p++) {
		for (size_t i = 0; i < hooks->n[p]; i++) {
			free(hooks->of[p][i].path);
			free_words(hooks->of[p][i].args);
			free_words(hooks->of[p][i].env);
		}
		free(hooks->of[p]);
	}
	free(hooks->oci_version);
	free(hooks->annotations);
	free(hooks);
}

/* NULL for a missing list. */
static int read_words(
	struct json_object *o, const char *key, char ***ret, struct err *err)
{
	struct json_object *list;
	int r = json_get_array_opt(o, key, &list, err);
	size_t n;

	if (r < 0 || !list)
		return r;
	n = json_object_array_length(list);
	for (size_t i = 0; i < n; i++)
		if (!json_object_is_type(
			    json_object_array_get_idx(list, i), json_type_string))
			return err_set(err, -EINVAL,
				"\"%s\" has a member that is no string", key);
	*ret = xreallocarray(NULL, n + 1, sizeof(**ret));
	for (size_t i = 0; i < n; i++)
		(*ret)[i] = xstrdup(
			json_object_get_string(json_object_array_get_idx(list, i)));
	(*ret)[n] = NULL;
	return 0;
}

static int read_timeout(struct json_object *o, int64_t *ret_ms, struct err *err)
{
	int64_t seconds;
	int r;

	if (!json_object_object_get_ex(o, "timeout", NULL))
		return 0;
	r = json_get_i64(o, "timeout", &seconds, err);
	if (r < 0)
		return r;
	if (seconds <= 0 || __builtin_mul_overflow(seconds, 1000, ret_ms))
		return err_set(err, -EINVAL, "the timeout is no number of seconds");
	return 0;
}

static int read_hook(struct json_object *o, struct hook *hook, struct err *err)
{
	const char *path;
	int r;

	if (!json_object_is_type(o, json_type_object))
		return err_set(err, -EINVAL, "it is no object");
	r = json_get_string(o, "path", &path, err);
	if (r < 0)
		return r;
	if (*path != '/')
		return err_set(err, -EINVAL, "the path %s is not absolute",
			err_quote(path, 256));
	hook->path = xstrdup(path);
	r = read_words(o, "args", &hook->args, err);
	if (r == 0)
		r = read_words(o, "env", &hook->env, err);
	if (r == 0)
		r = read_timeout(o, &hook->timeout_ms, err);
	return r;
}

static int read_point(struct json_object *all, enum hook_point point, struct hooks *hooks,
	struct err *err)
{
	struct json_object *list;
	int r = json_get_array_opt(all, points[point].key, &list, err);
	size_t n = r == 0 && list ? json_object_array_length(list) : 0;

	if (n > 0)
		hooks->of[point] = xreallocarray(NULL, n, sizeof(*hooks->of[point]));
	for (size_t i = 0; i < n && r == 0; i++) {
		hooks->of[point][i] = (struct hook){0};
		hooks->n[point]++;
		r = read_hook(
			json_object_array_get_idx(list, i), &hooks->of[point][i], err);
		if (r < 0)
			err_wrap(err, "%s hook %zu", points[point].key, i);
	}
	return r;
}

static int read_rest(struct json_object *spec, struct hooks *hooks, struct err *err)
{
	struct json_object *annotations;
	const char *version;
	int r = json_get_string_opt(spec, "ociVersion", "1.0.2", &version, err);

	if (r == 0)
		r = json_get_object_opt(spec, "annotations", &annotations, err);
	if (r < 0)
		return r;
	hooks->oci_version = xstrdup(version);
	if (annotations)
		hooks->annotations = xstrdup(json_object_to_json_string_ext(annotations,
			JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	return 0;
}

int hooks_read(struct json_object *spec, struct hooks **ret, struct err *err)
{
	struct hooks *hooks = NULL;
	struct json_object *all;
	size_t n = 0;
	int r = json_get_object_opt(spec, "hooks", &all, err);

	if (r < 0)
		return r;
	if (all)
		hooks = xnew0(struct hooks);
	for (int p = 0; all && p < HOOK_POINTS && r == 0; p++) {
		r = read_point(all, (enum hook_point)p, hooks, err);
		n += hooks->n[p];
	}
	if (n > 0 && r == 0)
		r = read_rest(spec, hooks, err);
	if (r < 0 || n == 0)
		hooks_free(steal_ptr(hooks));
	if (r == 0)
		*ret = hooks;
	return r;
}

bool hooks_has(const struct hooks *hooks, enum hook_point point)
{
	return hooks && hooks->n[point] > 0;
}

/* ---- what they read ---- */

static int make_state(const struct hooks *hooks, enum hook_point point,
	const struct hook_call *call, struct json_object **ret, struct err *err)
{
	struct json_object *state = json_object_new_object(), *annotations;
	int r;

	json_set_string(state, "ociVersion", hooks->oci_version);
	json_set_string(state, "id", call->container_id);
	json_set_string(state, "status", points[point].status);
	if (call->pid > 0)
		json_set_i64(state, "pid", call->pid);
	json_set_string(state, "bundle", call->bundle);
	if (hooks->annotations) {
		r = json_parse("annotations", hooks->annotations,
			strlen(hooks->annotations), SPEC_DEPTH_MAX, &annotations, err);
		if (r < 0) {
			json_object_put(state);
			return r;
		}
		json_object_object_add(state, "annotations", annotations);
	}
	*ret = state;
	return 0;
}

/* A file and no pipe: whether a hook reads it makes no difference. */
static int open_state(struct json_object *state, int *ret_fd, struct err *err)
{
	const char *text = json_object_to_json_string_ext(
		state, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = fd < 0 ? -errno : write_full(fd, text, strlen(text));

	if (r == 0 && (lseek(fd, 0, SEEK_SET) < 0 ||
			      fcntl(fd, F_ADD_SEALS,
				      F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0))
		r = -errno;
	if (r < 0)
		return err_sys(err, r, "cannot write the state for a hook");
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* ---- running one ---- */

struct run {
	pid_t pid;
	int pidfd, out_fd;
	char output[OUTPUT_MAX + 1]; /* its first bytes */
	size_t len;
};

/* One piece of it: whether there was one. */
static bool read_output(struct run *run)
{
	char rest[4096];
	bool full = run->len == OUTPUT_MAX;
	ssize_t n = read(run->out_fd, full ? rest : run->output + run->len,
		full ? sizeof(rest) : OUTPUT_MAX - run->len);

	if (n == 0)
		close_fd(steal_fd(&run->out_fd));
	if (n > 0 && !full)
		run->len += (size_t)n;
	return n > 0;
}

static int wait_for_hook(
	struct run *run, const struct hook *hook, int void_fd, struct err *err)
{
	int64_t deadline =
		hook->timeout_ms ? deadline_after_ms(hook->timeout_ms) : DEADLINE_NONE;

	for (;;) {
		struct pollfd fds[] = {{.fd = run->pidfd, .events = POLLIN},
			{.fd = void_fd, .events = POLLIN},
			{.fd = run->out_fd, .events = POLLIN}};
		int n = poll(fds, ARRAY_SIZE(fds), deadline_poll_ms(deadline));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "poll");
		if (fds[2].revents)
			read_output(run);
		if (fds[0].revents)
			return 0;
		if (fds[1].revents)
			return err_set(err, -ECANCELED, "is ended: nobody waits for it");
		if (n == 0)
			return err_set(err, -ETIMEDOUT,
				"has not ended after %" PRId64 " s",
				hook->timeout_ms / 1000);
	}
}

static int judge_status(struct run *run, int status, struct err *err)
{
	while (run->len > 0 && strchr(" \n", run->output[run->len - 1]))
		run->len--;
	run->output[run->len] = '\0';
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(err, -EIO, "ended with %s %d%s%s",
		WIFEXITED(status) ? "status" : "signal",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
		run->len > 0 ? ": " : "", err_quote(run->output, OUTPUT_MAX));
}

static int finish_hook(
	struct run *run, const struct hook *hook, int void_fd, struct err *err)
{
	int r = pidfd_of(run->pid, &run->pidfd), status;

	if (r < 0)
		err_sys(err, r, "pidfd_open");
	else
		r = wait_for_hook(run, hook, void_fd, err);
	if (r < 0)
		kill(-run->pid, SIGKILL);
	status = proc_reap(run->pid);
	/* Who has inherited it may write on, and is not waited for. */
	while (r == 0 && run->len < OUTPUT_MAX && read_output(run))
		;
	close_fd(run->pidfd);
	return r < 0 ? r : judge_status(run, status, err);
}

static int run_hook(const struct hook *hook, const struct hook_call *call, int state_fd,
	struct err *err)
{
	char *no_args[] = {hook->path, NULL};
	struct run run = {.pidfd = -1};
	int out[2], r;

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	run.out_fd = out[0];
	fcntl(run.out_fd, F_SETFL, O_NONBLOCK); /* ours alone */
	r = proc_spawn(&(struct proc_program){.path = hook->path,
			       .argv = hook->args && *hook->args ? hook->args : no_args,
			       .env = hook->env,
			       .folder = call->bundle,
			       .fds = (int[]){state_fd, out[1], out[1]},
			       .n_fds = 3,
			       .session = true},
		&run.pid);
	close(out[1]);
	r = r < 0 ? err_sys(err, r, "cannot be run")
		  : finish_hook(&run, hook, call->void_fd, err);
	close_fd(run.out_fd);
	return r;
}

static int run_one(const struct hooks *hooks, enum hook_point point, size_t i,
	const struct hook_call *call, struct err *err)
{
	const struct hook *hook = &hooks->of[point][i];
	_cleanup_json_ struct json_object *state = NULL;
	_cleanup_close_ int state_fd = -1;
	struct err why = ERR_INIT;
	int r = make_state(hooks, point, call, &state, &why);

	if (r == 0)
		r = open_state(state, &state_fd, &why);
	if (r == 0)
		r = run_hook(hook, call, state_fd, &why);
	if (r < 0)
		return err_set(err, r, "%s hook %zu, %s, %s", points[point].key, i,
			err_quote(hook->path, 256), why.text);
	return 0;
}

int hooks_run(const struct hooks *hooks, enum hook_point point,
	const struct hook_call *call, struct err *err)
{
	for (size_t i = 0; hooks && i < hooks->n[point]; i++) {
		struct err why = ERR_INIT;
		int r = run_one(hooks, point, i, call, &why);

		if (r == -ECANCELED || (r < 0 && points[point].must_succeed))
			return err_copy(err, &why);
		if (r < 0)
			log_warn("container %s: %s", call->container_id, why.text);
	}
	return 0;
}
