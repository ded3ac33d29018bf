/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that only wait: see pause.h. */
#include "guest/pause.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/json.h"
#include "base/util.h"
#include "guest/cgroup.h"
#include "guest/oci/to_json.h"
#include "guest/spec.h"

/* ---- the process ---- */

/* A copy of a process with threads: system calls only. All signals are blocked, as in its
 * parent. */
static _Noreturn void pause_forever(bool obeys)
{
	sigset_t awaited;

	prctl(PR_SET_NAME, "pause");
	syscall(SYS_close_range, 0, ~0u, 0);
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	if (obeys) {
		sigaddset(&awaited, SIGTERM);
		sigaddset(&awaited, SIGINT);
	}
	for (;;) {
		int signal;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		signal = sigwaitinfo(&awaited, NULL);
		if (signal == SIGTERM || signal == SIGINT)
			_exit(0);
	}
}

int pause_start(const struct pause_config *config, struct child *ret, struct err *err)
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	long pid;
	int r;

	if (config->own_pidns)
		args.flags |= CLONE_NEWPID;
	if (config->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)config->cgroup_fd;
	}
	child_expect();
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		pause_forever(config->obeys);
	if (pid < 0)
		r = err_sys(err, errno, "start a process that waits");
	else
		r = child_adopt(ret, (pid_t)pid, err);
	child_unexpect();
	return r;
}

/* ---- a pause container ---- */

bool pause_is_asked(const Grpc__CreateContainerRequest *req)
{
	for (size_t i = 0; i < req->oci->n_annotations; i++)
		if (strcmp(req->oci->annotations[i]->key, AGENT_PAUSE_ANNOTATION) == 0)
			return true;
	return false;
}

/* Those of the namespaces that it shares with the guest, which are all that it has. */
static int apply_sysctls(const Grpc__Spec *oci, struct err *err)
{
	_cleanup_json_ struct json_object *spec = NULL;
	struct json_object *left;
	int r = oci_spec_to_json(oci, &spec, err);

	if (r == 0)
		r = spec_apply_sysctls(spec, err);
	if (r < 0)
		return r;
	left = json_at(spec, "linux.sysctl");
	if (!json_object_is_type(left, json_type_object))
		return 0;
	json_object_object_foreach (left, name, value) {
		(void)value;
		return err_set(err, -EINVAL, "sysctl %s is of no namespace of the pod's",
			err_quote(name, 128));
	}
	return 0;
}

static bool has_own_pidns(const Grpc__Spec *oci)
{
	for (size_t i = 0; i < oci->linux->n_namespaces; i++)
		if (strcmp(oci->linux->namespaces[i]->type, "pid") == 0)
			return true;
	return false;
}

/* Read, they are at their end. */
static int open_ended(struct process *p, struct err *err)
{
	int *const streams[] = {&p->out_fd, &p->err_fd};

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		*streams[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (*streams[i] < 0)
			return err_sys(err, errno, "open /dev/null");
	}
	return 0;
}

static int launch_pause(const struct container *c, const Grpc__Spec *oci,
	struct process *p, struct err *err)
{
	_cleanup_close_ int cgroup_fd = -1;
	struct pause_config config = {.own_pidns = has_own_pidns(oci), .obeys = true};
	int r = open_ended(p, err);

	if (r == 0)
		r = cgroup_create(c->id, &cgroup_fd, err);
	config.cgroup_fd = cgroup_fd;
	return r < 0 ? r : pause_start(&config, &p->child, err);
}

int pause_create(struct sandbox *s, struct container *c,
	const Grpc__CreateContainerRequest *req, struct err *err)
{
	_cleanup_(process) struct process *p = process_new(c->id, false);
	int r = apply_sysctls(req->oci, err);

	if (r == 0)
		r = container_add_process(s, c, p, err);
	if (r < 0)
		return r;
	r = launch_pause(c, req->oci, p, err);
	if (r < 0)
		container_drop_process(s, c, p);
	else
		process_set_launched(s, p);
	return r;
}
