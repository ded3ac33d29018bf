/* SPDX-License-Identifier: Apache-2.0 */
/* More processes in a container; signals to them, waiting for them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/io.h"
#include "base/json.h"
#include "guest/cgroup.h"
#include "guest/crun.h"
#include "guest/init.h"
#include "guest/message.h"
#include "guest/oci/to_json.h"
#include "guest/service.h"
#include "guest/spec.h"

/* ---- exec ---- */

static int write_process(const char *path, const Grpc__Process *process, struct err *err)
{
	_cleanup_json_ struct json_object *json = NULL;
	const char *text;
	int r = oci_process_to_json(process, &json, err);

	if (r < 0)
		return r;
	spec_adapt_process(json);
	text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
	return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

static int launch_exec(struct sandbox *s, struct container *c,
	const Grpc__ExecProcessRequest *req, struct ttrpc_request *request,
	struct err *err)
{
	_cleanup_(process) struct process *p =
		process_new(req->exec_id, req->process->terminal);
	/* Not .json: an exec may be called "config". */
	_cleanup_free_ char *json = xasprintf(BUNDLE_DIR "/%s/%s.process", c->id, p->id);
	int r = container_add_process(s, c, p, err);

	if (r < 0)
		return r;
	r = write_process(json, req->process, err);
	if (r == 0)
		r = crun_launch(p,
			&(struct crun_launch){
				.container_id = c->id,
				.process_json = json,
				.closed_fd = ttrpc_request_closed_fd(request),
				.deadline = service_deadline(request),
			},
			err);
	unlink(json);
	if (r < 0)
		container_drop_process(s, c, p);
	else
		process_set_launched(s, p);
	return r;
}

SERVICE_HANDLER(handle_exec_process)
{
	const Grpc__ExecProcessRequest *req = (const Grpc__ExecProcessRequest *)in;
	_cleanup_(container) struct container *c = NULL;
	enum container_state before;
	struct sandbox *s = user;
	int r;

	(void)ret_out;
	if (!req->process)
		return err_set(err, -EINVAL, "an exec needs a process");
	r = id_check("exec id", req->exec_id, err);
	if (r == 0)
		r = sandbox_find(s, req->container_id, &c, err);
	if (r == 0 && c->is_pause)
		return err_set(err, -EOPNOTSUPP,
			"container %s holds its pod, and has no files: nothing can be run "
			"in it",
			c->id);
	if (r == 0)
		r = container_enter(s, c, CONTAINER_DO_EXEC, &before, err);
	if (r < 0)
		return r;
	r = launch_exec(s, c, req, request, err);
	container_leave(s, c);
	return r < 0 ? err_wrap(err, "exec %s in container %s", req->exec_id, c->id) : 0;
}

/* ---- signal ---- */

static int signal_container(
	struct sandbox *s, const char *id, int signal, struct err *err)
{
	_cleanup_(container) struct container *c = NULL;
	int r = sandbox_find(s, id, &c, err);

	return r < 0 ? r : cgroup_signal(c->id, signal, err);
}

SERVICE_HANDLER(handle_signal_process)
{
	const Grpc__SignalProcessRequest *req = (const Grpc__SignalProcessRequest *)in;
	_cleanup_(process) struct process *p = NULL;
	int r;

	(void)request, (void)ret_out;
	if (req->signal > (unsigned int)SIGRTMAX)
		return err_set(err, -EINVAL, "%u is no signal", req->signal);
	if (*req->exec_id == '\0')
		return signal_container(user, req->container_id, (int)req->signal, err);
	r = sandbox_find_process(user, req->container_id, req->exec_id, &p, err);
	if (r < 0)
		return r;
	r = child_kill(&p->child, (int)req->signal);
	if (r == -ESRCH)
		return err_set(err, r, "process %s of container %s has ended",
			req->exec_id, req->container_id);
	return r < 0 ? err_sys(err, r, "signal process %s", req->exec_id) : 0;
}

/* ---- wait ---- */

SERVICE_HANDLER(handle_wait_process)
{
	const Grpc__WaitProcessRequest *req = (const Grpc__WaitProcessRequest *)in;
	_cleanup_(process) struct process *p = NULL;
	Grpc__WaitProcessResponse *out;
	int r;

	r = sandbox_find_process(user, req->container_id, req->exec_id, &p, err);
	if (r < 0)
		return r;
	r = child_wait(&p->child, ttrpc_request_closed_fd(request),
		ttrpc_request_deadline(request));
	if (r < 0)
		return err_sys(err, r, "wait for process %s of container %s",
			err_quote(req->exec_id, 64), req->container_id);
	out = message_new(&grpc__wait_process_response__descriptor);
	out->status = p->child.status;
	*ret_out = &out->base;
	process_done_with(user, req->container_id, p, PROCESS_WAITED);
	return 0;
}
