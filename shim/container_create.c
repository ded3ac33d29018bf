/* SPDX-License-Identifier: Apache-2.0 */
/* Making a container, and starting the pod for the first of them: see container.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/config_kept.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/annotations.h"
#include "shim/cmdline.h"
#include "shim/namespaces.h"
#include "shim/net.h"
#include "shim/options.h"
#include "shim/container.h"
#include "shim/container_hooks.h"
#include "shim/hooks.h"
#include "shim/pod_errands.h"
#include "shim/pod_images.h"
#include "shim/pod_standins.h"
#include "shim/sandbox.h"
#include "shim/task_events.h"

/* All that making a container needs until it is made. */
struct creation {
	struct pod *pod;
	const Containerd__Task__V2__CreateTaskRequest *request;
	struct errand errand;
	struct spec spec;
	struct hooks *hooks; /* until there is a container */
	struct container *container;
	char *hostname, *netns, *root, *folder, *cgroups_path;
	struct guest_spec guest;
	struct namespace_fit namespaces;
	bool is_pause; /* the agent needs no files for it, and runs no program */
	bool begun, started_pod;
	struct trees_config trees_config;
};

static void creation_done(struct creation *c)
{
	guest_spec_done(&c->guest);
	close_fd(c->namespaces.ipc_fd);
	close_fd(c->namespaces.uts_fd);
	hooks_free(c->hooks);
	spec_done(&c->spec);
	free(c->hostname);
	free(c->netns);
	free(c->cgroups_path);
	free(c->root);
	free(c->folder);
}

static bool has_container(struct pod *pod, const char *id)
{
	struct process *p = NULL;
	bool has = process_find(pod, id, "", &p, NULL) == 0;

	process_unref(p);
	return has;
}

/* The pod's configuration is its first container's. A further one can't change its VM,
 * but is refused what the first one would have been. */
static int load_config(struct creation *c, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	bool first = !pod_has_vm(c->pod);
	struct config config;
	struct err refused;
	int r = options_config_path(c->request->options, &path, err);

	if (r < 0)
		return r;
	config_init(&config);
	r = config_load_or_kept(&config, *path ? path : NULL, &refused, err);
	if (*refused.text)
		log_error("the configuration is refused, the one in force stays: %s",
			refused.text);
	if (r == 0)
		r = annotations_apply(&c->spec, &config, err);
	if (r == 0 && first) {
		config_done(&c->pod->config);
		c->pod->config = config;
		return 0;
	}
	config_done(&config);
	return r;
}

static int check_network(const struct creation *c, struct err *err)
{
	if (pod_has_vm(c->pod) || c->spec.netns)
		return 0;
	return err_set(err, -EINVAL,
		SPEC_FILE ": linux.namespaces has no network namespace: a VM can't use "
			  "the host's network; give the container a namespace of its own "
			  "(without a path it gets lo only)");
}

static void add_task(
	struct namespace_task **tasks, unsigned int *n, const struct namespace_task *task)
{
	*tasks = xreallocarray(*tasks, *n + 1, sizeof(**tasks));
	(*tasks)[(*n)++] = *task;
}

/* By these pids containerd lets a pod's further containers name its namespaces: a
 * task's, or the sandbox' where the shim makes that (sandbox_service.h). */
static unsigned int list_tasks(struct pod *pod, struct namespace_task **ret)
{
	unsigned int n = 0;

	pthread_mutex_lock(&pod->lock);
	for (struct container *other = pod->containers; other; other = other->next)
		add_task(ret, &n,
			&(struct namespace_task){.pid = (pid_t)other->init->pid,
				.container = other->id,
				.apart = other->apart});
	if (pod->vm)
		add_task(ret, &n, &(struct namespace_task){.pid = vm_pid(pod->vm)});
	pthread_mutex_unlock(&pod->lock);
	return n;
}

/* Of a pause container's program nothing is wanted but that it waits, which the agent
 * does for it; see guest/pause.h. */
static void find_pause(struct creation *c)
{
	struct json_object *annotations = json_at(c->spec.json, "annotations");

	c->is_pause = c->spec.is_pause && !c->request->terminal &&
		      !c->namespaces.own_users &&
		      !json_at(c->spec.json, "hooks.createContainer") &&
		      !json_at(c->spec.json, "hooks.startContainer");
	if (c->is_pause)
		json_set_string(annotations, AGENT_PAUSE_ANNOTATION, "true");
}

/* Nobody else makes or removes a container meanwhile. */
static int fit_namespaces(struct creation *c, struct err *err)
{
	_cleanup_free_ struct namespace_task *tasks = NULL;
	struct namespace_pod pod = {.n_tasks = list_tasks(c->pod, &tasks),
		.is_new = !pod_has_vm(c->pod),
		.ipc_fd = c->pod->ipcns_fd,
		.uts_fd = c->pod->utsns_fd};
	int r;

	pod.tasks = tasks;
	r = namespaces_fit(c->spec.json, &pod, &c->namespaces, err);
	return r < 0 ? err_wrap(err, SPEC_FILE) : 0;
}

static int read_spec(struct creation *c, struct err *err)
{
	_cleanup_close_ int fd = -1;
	const char *root;
	int r;

	fd = open(c->request->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open the bundle %s",
			err_quote(c->request->bundle, 256));
	r = spec_load(fd, &c->spec, err);
	if (r == 0)
		r = hooks_read(c->spec.json, &c->hooks, err);
	if (r == 0)
		r = load_config(c, err);
	if (r == 0)
		r = check_network(c, err);
	if (r < 0)
		return r;
	root = c->spec.root_path;
	c->root = *root == '/' ? xstrdup(root)
			       : xasprintf("%s/%s", c->request->bundle, root);
	/* A guest has to have some name of its own. */
	c->hostname = xstrndup(
		*c->spec.hostname ? c->spec.hostname : c->request->id, HOST_NAME_MAX);
	c->netns = xstrdup(c->spec.netns ? c->spec.netns : "");
	c->cgroups_path = xstrdup(c->spec.cgroups_path);
	json_set_bool(c->spec.process, "terminal", c->request->terminal);
	sandbox_add_sysctls(c->pod, c->spec.json);
	r = fit_namespaces(c, err);
	if (r == 0)
		find_pause(c);
	if (r == 0)
		r = spec_for_guest(&c->spec, c->request->id, &c->guest, err);
	if (r == 0)
		sandbox_redirect_binds(c->pod, &c->guest);
	return r;
}

static struct pod_size size_of_spec(const struct creation *c)
{
	return (struct pod_size){
		.cpu_millis = c->spec.cpu_millis, .memory_bytes = c->spec.memory_bytes};
}

static void new_container(struct creation *c)
{
	const Containerd__Task__V2__CreateTaskRequest *request = c->request;
	struct container *container = xnew0(struct container);

	container->pod = c->pod;
	container->id = xstrdup(request->id);
	container->bundle = xstrdup(request->bundle);
	container->size = size_of_spec(c);
	container->share =
		(struct pod_share){.of_sandbox = c->spec.of_cri && !c->spec.sandbox_id,
			.cpu_shares = c->spec.cpu_shares,
			.oom_score_adj = c->spec.oom_score_adj};
	container->apart = c->namespaces.apart;
	container->hooks = steal_ptr(c->hooks);
	container->init = process_new(container, "",
		&(struct process_streams){.terminal = request->terminal,
			.in = request->stdin,
			.out = request->stdout,
			.err = request->stderr});
	c->container = container;
}

static int open_disks(struct creation *c, struct err *err)
{
	const struct disks_config config = {.cid = c->request->id,
		.mounts = c->request->rootfs,
		.n_mounts = c->request->n_rootfs,
		.devices = c->guest.devices,
		.n_devices = c->guest.n_devices};

	return disks_open(&config, &c->container->disks, err);
}

static int start_trees(struct creation *c, struct err *err)
{
	c->folder = state_path(&c->pod->state, "rootfs");
	c->trees_config = (struct trees_config){.config = &c->pod->config,
		.cid = c->request->id,
		.folder = c->folder,
		.root = c->root,
		.readonly = c->spec.root_readonly,
		.mounts = c->request->rootfs,
		.n_mounts = c->request->n_rootfs,
		.root_is_disk = disks_have_root(c->container->disks),
		.binds = c->guest.binds,
		.n_binds = c->guest.n_binds};
	return trees_start(&c->trees_config, &c->container->trees, err);
}

/* The pod's namespaces on the host are those that the spec names, or, where it names
 * none, those that the first process is in from now on: whoever gives the pod an
 * interface finds it by that one's pid. */
static int stand_in(struct creation *c, struct err *err)
{
	struct process *init = c->container->init;
	struct pod *pod = c->pod;

	if (pod->netns_fd < 0 && *c->netns &&
		net_open_path(c->netns, &pod->netns_fd, err) < 0)
		return err_wrap(err, "network namespace %s", err_quote(c->netns, 256));
	if (pod->ipcns_fd < 0)
		pod->ipcns_fd = steal_fd(&c->namespaces.ipc_fd);
	if (pod->utsns_fd < 0)
		pod->utsns_fd = steal_fd(&c->namespaces.uts_fd);
	return process_stand_in(init, c->guest.oci->process,
		pod->sandbox ? pod->sandbox->hostname : c->hostname, err);
}

/* The pod starts with its first container. */
static int start_pod(struct creation *c, struct err *err)
{
	struct pod_needs needs = {.hostname = c->hostname,
		.netns = c->netns,
		.trees = c->container->trees,
		.disks = c->container->disks,
		.errand = &c->errand};
	struct pod_size wanted = {0};
	int r = pod_size_of_spec(&c->spec, &c->pod->size, err);

	if (c->spec.of_cri)
		cgroup_pod_of(c->cgroups_path, c->pod->cgroup);
	if (r == 0)
		r = pod_size_wanted(c->pod, &c->container->size, &wanted, err);
	if (r < 0)
		return r;
	needs.cpu_millis = wanted.cpu_millis;
	needs.memory_bytes = wanted.memory_bytes;
	r = pod_start(c->pod, &needs, err);

	c->started_pod = r == 0;
	return r;
}

/* The root file system before what is mounted into it. The list is the caller's, what is
 * in it is not. */
static Grpc__Storage **list_storages(const struct creation *c, size_t *ret_n)
{
	Grpc__Storage *root = disks_root(c->container->disks);
	size_t n_trees, n = 0;
	Grpc__Storage **trees = trees_storages(c->container->trees, &n_trees);
	Grpc__Storage **all = xreallocarray(NULL, n_trees + 2, sizeof(*all));

	if (root)
		all[n++] = root;
	memcpy(all + n, trees, n_trees * sizeof(*all));
	n += n_trees;
	if (c->guest.shm)
		all[n++] = c->guest.shm;
	*ret_n = n;
	return all;
}

/* As the list of storages. */
static Grpc__Device **list_devices(const struct creation *c, size_t *ret_n)
{
	size_t n_disks;
	Grpc__Device **disks = disks_devices(c->container->disks, &n_disks);
	const struct spec_nodes *nodes = &c->guest.nodes;
	Grpc__Device **all = xreallocarray(NULL, n_disks + nodes->n + 1, sizeof(*all));

	memcpy(all, disks, n_disks * sizeof(*all));
	for (size_t i = 0; i < nodes->n; i++)
		all[n_disks + i] = nodes->all[i];
	*ret_n = n_disks + nodes->n;
	return all;
}

static int create_in_guest(struct creation *c, const struct pod_use *use, struct err *err)
{
	Grpc__CreateContainerRequest request = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	_cleanup_free_ Grpc__Storage **storages = NULL;
	_cleanup_free_ Grpc__Device **devices = NULL;
	int r;

	if (!c->is_pause) {
		request.storages = storages = list_storages(c, &request.n_storages);
		request.devices = devices = list_devices(c, &request.n_devices);
	}
	request.container_id = c->container->id;
	request.exec_id = c->container->id;
	request.oci = c->guest.oci;
	request.sandbox_pidns = c->namespaces.sandbox_pidns;
	trace_begin(&c->pod->trace, TRACE_CREATED);
	r = agent_create_container(use->agent, &request,
		deadline_after_ms((int64_t)c->pod->config.call_timeout_ms), err);
	trace_end(&c->pod->trace, TRACE_CREATED);
	return r < 0 ? err_wrap(err, "create container %s", c->container->id) : 0;
}

static int give_trees(struct creation *c, const struct pod_use *use, struct err *err)
{
	int r;

	trace_begin(&c->pod->trace, TRACE_ROOTFS);
	r = vm_limit_files(use->vm, trees_memory_bytes(c->container->trees), err);
	if (r == 0)
		r = trees_give(c->container->trees, use->files, err);
	trace_end(&c->pod->trace, TRACE_ROOTFS);
	return r;
}

/* What the spec calls read-only is so for the host, too. */
static int seal_root(struct creation *c, const struct pod_use *use, struct err *err)
{
	int r = trees_seal(c->container->trees, use->files, err);

	if (r < 0)
		container_remove_in_guest(c->container, use);
	return r;
}

/* And its limits are. */
static int share_host(struct creation *c, const struct pod_use *use, struct err *err)
{
	int r = pod_share_apply(c->pod, c->container, err);

	if (r < 0)
		container_remove_in_guest(c->container, use);
	return r;
}

/* A pod's first container has its disks and its image already. */
static int plug_in_pod(struct creation *c, const struct pod_use *use, struct err *err)
{
	int r;

	if (c->started_pod)
		return 0;
	r = disks_plug(c->container->disks, use, err);
	return r == 0 ? pod_images_plug(c->pod, c->container->trees, err) : r;
}

static int build_with_files(
	struct creation *c, const struct pod_use *use, struct err *err)
{
	int r = plug_in_pod(c, use, err);

	if (r == 0)
		r = give_trees(c, use, err);
	if (r == 0)
		r = create_in_guest(c, use, err);
	if (r == 0)
		r = seal_root(c, use, err);
	if (r == 0)
		r = share_host(c, use, err);
	if (r < 0 && !c->started_pod) {
		trees_withdraw(c->container->trees, use->files);
		disks_unplug(c->container->disks, use);
	}
	return r;
}

/* In a pod that is there. */
static int build_in_pod(struct creation *c, struct err *err)
{
	struct pod_use use;
	int r = pod_use_begin(c->pod, &use, err);

	if (r < 0)
		return r;
	r = process_join_vm(c->container->init, &use, err);
	if (r == 0)
		r = c->is_pause ? create_in_guest(c, &use, err)
				: build_with_files(c, &use, err);
	if (r == 0 && c->is_pause)
		r = share_host(c, &use, err);
	pod_use_end(&use);
	return r;
}

/* One whose VM was lost just now would be told by nobody. */
static int add_container(struct creation *c, struct err *err)
{
	struct pod *pod = c->pod;

	pthread_mutex_lock(&pod->lock);
	if (pod->life != POD_READY || c->errand.is_void) {
		bool given_up = c->errand.is_void;

		pthread_mutex_unlock(&pod->lock);
		return err_set(err, -ECONNRESET, "%s",
			given_up ? "containerd has given it up" : "the VM has ended");
	}
	c->container->next = pod->containers;
	pod->containers = c->container;
	task_publish_create(pod, c->request, c->container->init->pid);
	pthread_mutex_unlock(&pod->lock);
	return 0;
}

/* They may last. The pod's first container has nobody beside it to wait for that; others
 * change the pod meanwhile. */
static int run_hooks(struct creation *c, struct err *err)
{
	int r;

	c->begun = true;
	if (!container_has_create_hooks(c->container))
		return 0;
	if (!pod_has_vm(c->pod))
		return container_run_create_hooks(c->container, &c->errand, err);
	pod_change_end(c->pod);
	r = container_run_create_hooks(c->container, &c->errand, err);
	pod_change_take_back(c->pod);
	if (r == 0 && !pod_has_vm(c->pod))
		return err_set(err, -ECONNRESET, "the pod has ended during its hooks");
	return r;
}

/* Side by side: the file trees in their thread, everything else here. */
static int build_container(struct creation *c, struct err *err)
{
	int r;

	r = process_open(c->container->init, err);
	if (r == 0 && !c->is_pause)
		r = open_disks(c, err);
	if (r == 0)
		r = stand_in(c, err);
	if (r == 0)
		r = run_hooks(c, err);
	if (r == 0 && !c->is_pause)
		r = start_trees(c, err);
	if (r == 0)
		r = pod_has_vm(c->pod) ? pod_size_fit(c->pod, &c->container->size, err)
				       : start_pod(c, err);
	if (r == 0)
		r = build_in_pod(c, err);
	if (r == 0)
		r = add_container(c, err);
	if (r < 0 && c->started_pod) {
		trees_settle(c->container->trees);
		pod_stop(c->pod);
	}
	if (r < 0 && !pod_has_vm(c->pod))
		pod_close_namespaces(c->pod);
	return r;
}

static int make_container(struct creation *c, struct err *err)
{
	int r;

	if (has_container(c->pod, c->request->id))
		return err_set(
			err, -EEXIST, "container %s exists already", c->request->id);
	if (*c->request->checkpoint)
		return err_set(
			err, -ENOSYS, "restoring from a checkpoint is not implemented");
	r = read_spec(c, err);
	if (r < 0)
		return r;
	new_container(c);
	r = build_container(c, err);
	if (r < 0) {
		trees_free(steal_ptr(c->container->trees));
		disks_free(steal_ptr(c->container->disks));
		process_join(c->container->init);
		standin_end(c->container->init->standin);
	}
	return r;
}

/* Nobody knows it. What its hooks have begun is theirs to end. */
static void drop_container(struct creation *c)
{
	if (c->begun)
		container_run_poststop(c->container);
	process_unref(c->container->init);
}

int container_create(struct pod *pod,
	const Containerd__Task__V2__CreateTaskRequest *request, struct err *err)
{
	struct creation c = {.pod = pod,
		.request = request,
		.namespaces = {.ipc_fd = -1, .uts_fd = -1}};
	int r;

	r = name_check("container id", request->id, err);
	if (r == 0)
		r = errand_begin(&c.errand, pod, ERRAND_CREATE, request->id, err);
	if (r < 0)
		return r;
	r = pod_change_begin(pod, err);
	if (r == 0) {
		r = make_container(&c, err);
		pod_change_end(pod);
	}
	errand_end(&c.errand, pod);
	if (r < 0 && c.container)
		drop_container(&c);
	creation_done(&c);
	if (r < 0)
		log_error("container %s was not made: %s", request->id, err->text);
	return r;
}
