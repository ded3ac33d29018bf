/* SPDX-License-Identifier: Apache-2.0 */
/* The serving process: see serve.h. */
#include "shim/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config_kept.h"
#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/capabilities.h"
#include "shim/service.h"
#include "shim/start.h"
#include "vm/cgroup.h"
#include "vm/own_cgroup.h"

/* How long the last events may take when the shim is about to end. */
#define EVENTS_FLUSH_MS 5000

/* Of a shim and of the stand-ins of its processes: many times what they use. */
#define MEMORY_MAX (512u << 20)
#define PIDS_MAX   8192u

#define LOG_FIFO "log" /* made by containerd in the bundle, and read by it */

static struct ttrpc_server *signalled_server;

static void on_signal(int signal)
{
	(void)signal;
	ttrpc_server_stop(signalled_server);
}

/*
 * There is one shim for each pod on a host: one arena for all threads instead of one for
 * each (a few calls a second don't fight for it), and freed memory goes back to the
 * kernel early.
 */
static void limit_memory(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, 64 * 1024);
	mallopt(M_MMAP_THRESHOLD, 64 * 1024);
}

/* What was said to this process's libc is not for what it starts. */
static void forget_tunables(void)
{
	const char *said = getenv(TUNABLES_ENV);

	if (said && strcmp(said, SHIM_TUNABLES) == 0)
		unsetenv(TUNABLES_ENV);
}

/* Opened read-write, so that neither opening nor writing waits for a containerd that is
 * away. */
static void open_log(const struct cmdline *cmd)
{
	int fd = open(LOG_FIFO, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	_cleanup_free_ char *context =
		xasprintf("namespace=%s sandbox=%s", cmd->namespace, cmd->id);

	log_init("shim", fd >= 0 ? fd : STDERR_FILENO,
		cmd->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	log_set_context(context);
}

/* Each process of the pod has up to six descriptors here, each connection two. What is
 * started from here is fine with as many. */
static void raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
			return;
	}
	log_warn("the limit of open files stays as it is: %s", strerror(errno));
}

/* A little above containerd's, which this process inherited: the shim is the smaller
 * loss. */
static void raise_oom_score(void)
{
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;
	char value[24];
	size_t len;
	long score;

	if (file_read(AT_FDCWD, "/proc/self/oom_score_adj", 16, &text, &len, &err) == 0) {
		score = strtol(text, NULL, 10);
		snprintf(value, sizeof(value), "%ld", MIN(score + 1, 1000L));
		if (file_write_text(AT_FDCWD, "/proc/self/oom_score_adj", value, &err) ==
			0)
			return;
	}
	log_warn("the OOM score stays as it is: %s", err.text);
}

/*
 * A cgroup of its own, so that a shim that is made to use more than it has reason to ends
 * alone. A host without cgroups, or with one that is not ours to change, has shims all
 * the same. In a thread: to move a process the kernel waits for others (5 to 30 ms on a
 * busy machine), and a pod that starts need not.
 */
struct limiter {
	char path[CGROUP_PATH_BYTES];
	pthread_t thread;
	bool started;
};

static void *limit_shim(void *arg)
{
	const struct limiter *l = arg;
	struct err err = ERR_INIT;
	int r = own_cgroup_enter(l->path, &err);

	if (r == 0)
		r = cgroup_limit(l->path, CGROUP_MEMORY, MEMORY_MAX, &err);
	if (r == 0 || r == -EOPNOTSUPP)
		r = cgroup_limit(l->path, CGROUP_PIDS, PIDS_MAX, &err);
	if (r < 0 && r != -EOPNOTSUPP)
		log_warn("the shim itself is not limited: %s", err.text);
	return NULL;
}

static void limiter_start(struct limiter *l, const struct config *c)
{
	_cleanup_free_ char *name = xasprintf(SHIM_CGROUP "%d", (int)getpid());

	cgroup_path(c, name, l->path);
	l->started = thread_start(limit_shim, l, 0, false, &l->thread) == 0;
	if (!l->started)
		log_warn("the shim itself is not limited: there is no thread for it");
}

static void limiter_end(struct limiter *l)
{
	if (!l->started)
		return;
	pthread_join(l->thread, NULL);
	own_cgroup_leave();
}

static int load_state(struct state *ret, struct err *err)
{
	char dir[PATH_MAX];
	ssize_t len = readlink(STATE_LINK, dir, sizeof(dir) - 1);
	int r;

	if (len < 0)
		return err_sys(
			err, errno, "cannot read the link " STATE_LINK " in the bundle");
	dir[len] = '\0';
	r = state_load(dir, ret, err);
	if (r == 0 && proc_id_of(getpid(), &ret->shim) < 0)
		r = err_set(err, -ESRCH, "cannot find this process in /proc");
	/* Whoever started it may have been killed before it wrote that down. */
	return r < 0 ? r : state_save(ret, err);
}

/* *pod is for pod_done() in any case. */
static int make_pod(struct pod *pod, const struct cmdline *cmd,
	struct events **ret_events, struct err *err)
{
	const char *ttrpc_address = getenv("TTRPC_ADDRESS");
	struct events_config events = {
		.ttrpc_address = ttrpc_address ? ttrpc_address : "",
		.publish_binary = cmd->publish_binary,
		.address = cmd->address,
		.namespace = cmd->namespace};
	struct err refused;
	int r;

	config_init(&pod->config);
	r = load_state(&pod->state, err);
	if (r == 0)
		r = config_load_or_kept(&pod->config, NULL, &refused, err);
	if (r == 0 && !cmd->debug)
		log_set_level((enum log_level)pod->config.log_level);
	if (r == 0)
		r = events_new(&events, ret_events, err);
	pod_init(pod, *ret_events);
	return r;
}

static void handle_signals(struct ttrpc_server *server)
{
	struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	signalled_server = server;
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
}

static void ignore_stop_signals(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
}

/* After Shutdown nothing is left, and the names of what was may be another shim's
 * already. After a signal everything is still there: calls under way end with the VM, new
 * ones find that the shim is ending. */
static void end_pod(struct service *service)
{
	struct pod *pod = service->pod;
	bool by_signal = pod_begin_end(pod);

	ignore_stop_signals();
	ttrpc_server_free(service->server);
	if (!by_signal)
		return;
	containers_end_all(pod);
	pod_remove_state(pod);
}

int serve_pod(const struct cmdline *cmd, struct err *err)
{
	struct pod pod = {0};
	struct service service = {.pod = &pod};
	struct limiter limiter = {.started = false};
	struct events *events = NULL;
	int r;

	limit_memory();
	forget_tunables();
	open_log(cmd);
	signal(SIGPIPE, SIG_IGN);
	raise_oom_score();
	raise_open_files();
	r = capabilities_cut(err);
	if (r == 0)
		r = make_pod(&pod, cmd, &events, err);
	if (r == 0)
		limiter_start(&limiter, &pod.config);
	if (r == 0)
		r = service_new_server(&service, err);
	if (r == 0) {
		handle_signals(service.server);
		r = start_wait_told(err);
	}
	if (r == 0) {
		r = ttrpc_server_accept_loop(service.server, SHIM_LISTEN_FD, err);
		end_pod(&service);
	} else if (pod.state.dir) {
		/* containerd never reached it, and asks for no delete */
		pod_remove_state(&pod);
	}
	if (r < 0)
		log_error("the shim ends: %s", err->text);
	events_free(events, deadline_after_ms(EVENTS_FLUSH_MS));
	limiter_end(&limiter);
	pod_done(&pod);
	return r;
}
