/* SPDX-License-Identifier: Apache-2.0 */
/* Containers: see container.h. */
#include "guest/container.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/io.h"
#include "base/json.h"
#include "guest/cgroup.h"
#include "guest/crun.h"
#include "guest/devices.h"
#include "guest/identity.h"
#include "guest/init.h"
#include "guest/namespaces.h"
#include "guest/oci/to_json.h"
#include "guest/oom.h"
#include "guest/pause.h"
#include "guest/pidns.h"
#include "guest/service.h"
#include "guest/spec.h"
#include "guest/storage.h"

/* How long undoing a failed creation may take. */
#define UNDO_MS 10000

/* ---- create ---- */

static int write_bundle(struct sandbox *s, const struct container *c,
	const Grpc__CreateContainerRequest *req, struct namespaces *joined,
	struct err *err)
{
	_cleanup_free_ char *dir = xasprintf(BUNDLE_DIR "/%s", c->id);
	_cleanup_free_ char *config = xasprintf("%s/config.json", dir);
	_cleanup_free_ char *pidns = NULL;
	_cleanup_json_ struct json_object *spec = NULL;
	const char *text;
	int r;

	r = oci_spec_to_json(req->oci, &spec, err);
	if (r == 0)
		r = namespaces_open(s, spec, joined, err);
	if (r == 0 && req->sandbox_pidns)
		r = pidns_get(s, &pidns, err);
	if (r == 0)
		r = spec_apply_sysctls(spec, err);
	if (r == 0)
		r = spec_adapt(spec,
			&(struct spec_place){
				.container_id = c->id,
				.pidns_path = pidns,
				.machine_id = MACHINE_ID_FILE,
			},
			err);
	if (r == 0)
		r = devices_find(req->devices, req->n_devices, spec, err);
	if (r == 0)
		r = spec_place_mounts(spec, err);
	if (r == 0)
		r = mkdir_parents(dir, 0700, err);
	if (r < 0)
		return r;
	text = json_object_to_json_string_ext(spec, JSON_C_TO_STRING_PLAIN);
	return file_write_atomic(AT_FDCWD, config, text, strlen(text), 0600, err);
}

static int launch_init(struct sandbox *s, struct container *c, bool terminal,
	struct ttrpc_request *request, struct err *err)
{
	_cleanup_(process) struct process *p = process_new(c->id, terminal);
	int r = container_add_process(s, c, p, err);

	if (r < 0)
		return r;
	r = crun_launch(p,
		&(struct crun_launch){
			.container_id = c->id,
			.closed_fd = ttrpc_request_closed_fd(request),
			.deadline = service_deadline(request),
		},
		err);
	if (r < 0)
		container_drop_process(s, c, p);
	else
		process_set_launched(s, p);
	return r;
}

/* Everything a container has outside the lists; twice is fine. */
static int tear_down(struct container *c, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *bundle = xasprintf(BUNDLE_DIR "/%s", c->id);
	int r = cgroup_destroy(c->id, deadline, err);

	/* Its init is ours to reap: "removed" means that no zombie of it is left. */
	if (r == 0 && c->init && c->init->launched)
		r = child_wait(&c->init->child, -1, deadline);
	if (r == 0)
		r = crun_forget(c->id, err);
	if (r == 0)
		r = remove_tree(AT_FDCWD, bundle, err);
	if (r == 0)
		storage_unmount(&c->mounts, &c->n_mounts);
	return r;
}

static int create_container(struct sandbox *s, struct container *c,
	const Grpc__CreateContainerRequest *req, struct ttrpc_request *request,
	struct err *err)
{
	struct namespaces joined = {.n = 0};
	int r;

	c->is_pause = pause_is_asked(req);
	if (c->is_pause)
		return pause_create(s, c, req, err);
	r = storage_mount(req->storages, req->n_storages, &c->mounts, &c->n_mounts, err);
	if (r == 0)
		r = write_bundle(s, c, req, &joined, err);
	if (r == 0)
		r = launch_init(s, c, req->oci->process->terminal, request, err);
	namespaces_close(&joined);
	return r;
}

static int check_request(const Grpc__CreateContainerRequest *req, struct err *err)
{
	if (!req->oci || !req->oci->process || !req->oci->root || !req->oci->linux)
		return err_set(err, -EINVAL,
			"an OCI spec with process, root and linux is needed");
	if (req->n_shared_mounts > 0)
		return err_set(err, -EOPNOTSUPP, "shared mounts are not known");
	return 0;
}

SERVICE_HANDLER(handle_create_container)
{
	const Grpc__CreateContainerRequest *req =
		(const Grpc__CreateContainerRequest *)in;
	_cleanup_(container) struct container *c = NULL;
	struct sandbox *s = user;
	int r;

	(void)ret_out;
	r = check_request(req, err);
	if (r == 0)
		r = sandbox_add(s, req->container_id, &c, err);
	if (r < 0)
		return r;
	r = create_container(s, c, req, request, err);
	if (r == 0)
		oom_watch(s, c);
	if (r < 0) {
		tear_down(c, deadline_after_ms(UNDO_MS), NULL);
		sandbox_drop(s, c);
		return err_wrap(err, "create container %s", c->id);
	}
	container_set_state(s, c, CONTAINER_CREATED);
	return 0;
}

/* ---- start, pause, resume, update ---- */

struct action {
	enum container_request what;
	int (*act)(struct container *c, const ProtobufCMessage *in, int64_t deadline,
		struct err *err);
};

/* Finds the container, asks the state table, acts, goes back to the old state if that
 * failed. */
static int act_on_container(struct sandbox *s, const char *id,
	const struct action *action, const ProtobufCMessage *in, int64_t deadline,
	struct err *err)
{
	_cleanup_(container) struct container *c = NULL;
	enum container_state before;
	int r = sandbox_find(s, id, &c, err);

	if (r == 0)
		r = container_enter(s, c, action->what, &before, err);
	if (r < 0)
		return r;
	r = action->act(c, in, deadline, err);
	if (r < 0)
		container_set_state(s, c, before);
	container_leave(s, c);
	return r;
}

static int release_init(struct container *c, const ProtobufCMessage *in, int64_t deadline,
	struct err *err)
{
	(void)in, (void)deadline;
	if (!c->is_pause)
		return crun_release(c->id, err);
	return child_has_ended(&c->init->child)
		       ? err_set(err, -ESRCH, "the container's first process has ended")
		       : 0;
}

static int freeze_container(struct container *c, const ProtobufCMessage *in,
	int64_t deadline, struct err *err)
{
	(void)in;
	return cgroup_freeze(c->id, true, deadline, err);
}

static int thaw_container(struct container *c, const ProtobufCMessage *in,
	int64_t deadline, struct err *err)
{
	(void)in;
	return cgroup_freeze(c->id, false, deadline, err);
}

static int update_container(struct container *c, const ProtobufCMessage *in,
	int64_t deadline, struct err *err)
{
	const Grpc__UpdateContainerRequest *req =
		(const Grpc__UpdateContainerRequest *)in;

	(void)deadline;
	return req->resources ? cgroup_update(c->id, req->resources, err) : 0;
}

SERVICE_HANDLER(handle_start_container)
{
	const Grpc__StartContainerRequest *req = (const Grpc__StartContainerRequest *)in;
	static const struct action action = {CONTAINER_DO_START, release_init};

	(void)ret_out;
	return act_on_container(
		user, req->container_id, &action, in, service_deadline(request), err);
}

SERVICE_HANDLER(handle_pause_container)
{
	const Grpc__PauseContainerRequest *req = (const Grpc__PauseContainerRequest *)in;
	static const struct action action = {CONTAINER_DO_PAUSE, freeze_container};

	(void)ret_out;
	return act_on_container(
		user, req->container_id, &action, in, service_deadline(request), err);
}

SERVICE_HANDLER(handle_resume_container)
{
	const Grpc__ResumeContainerRequest *req =
		(const Grpc__ResumeContainerRequest *)in;
	static const struct action action = {CONTAINER_DO_RESUME, thaw_container};

	(void)ret_out;
	return act_on_container(
		user, req->container_id, &action, in, service_deadline(request), err);
}

SERVICE_HANDLER(handle_update_container)
{
	const Grpc__UpdateContainerRequest *req =
		(const Grpc__UpdateContainerRequest *)in;
	static const struct action action = {CONTAINER_DO_UPDATE, update_container};

	(void)ret_out;
	return act_on_container(
		user, req->container_id, &action, in, service_deadline(request), err);
}

/* ---- remove ---- */

static int remove_container(
	struct sandbox *s, struct container *c, int64_t deadline, struct err *err)
{
	enum container_state before;
	int r = container_enter(s, c, CONTAINER_DO_REMOVE, &before, err);

	if (r < 0)
		return r;
	/* An exec under way would put a process into the group that is being emptied. */
	r = container_wait_idle(s, c, deadline);
	if (r < 0)
		err_sys(err, r, "wait for other requests");
	if (r == 0) {
		oom_unwatch(s, c);
		r = tear_down(c, deadline, err);
	}
	if (r < 0) {
		container_set_state(s, c, before);
		err_wrap(err, "remove container %s", c->id);
	}
	container_leave(s, c);
	if (r == 0)
		sandbox_drop(s, c);
	return r;
}

SERVICE_HANDLER(handle_remove_container)
{
	const Grpc__RemoveContainerRequest *req =
		(const Grpc__RemoveContainerRequest *)in;
	_cleanup_(container) struct container *c = NULL;
	int64_t deadline = service_deadline(request);
	struct sandbox *s = user;

	(void)ret_out;
	if (req->timeout)
		deadline = MIN(deadline, deadline_after_ms((int64_t)req->timeout * 1000));
	/* Removed before, or never there: what was asked for is so. */
	if (sandbox_find(s, req->container_id, &c, NULL) == -ENOENT)
		return 0;
	return remove_container(s, c, deadline, err);
}

static struct container *first_container(struct sandbox *s)
{
	struct container *c;

	pthread_mutex_lock(&s->lock);
	c = s->containers;
	if (c)
		__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
	return c;
}

int container_remove_all(struct sandbox *s, int64_t deadline, struct err *err)
{
	for (;;) {
		_cleanup_(container) struct container *c = first_container(s);
		int r;

		if (!c)
			return 0;
		r = remove_container(s, c, deadline, err);
		if (r < 0)
			return r;
	}
}
