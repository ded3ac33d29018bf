/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-ins of a pod's processes: see pod_standins.h. */
#include "shim/pod_standins.h"

#include "base/log.h"
#include "base/util.h"
#include "shim/container.h"
#include "vm/cgroup.h"

/* To a process that has just ended it is late, as it would be with one of the host's. */
static void on_signalled(
	void *user, const char *container_id, const char *exec_id, int signal)
{
	_cleanup_(process) struct process *p = NULL;
	struct err err = ERR_INIT;

	if (process_find(user, container_id, exec_id, &p, &err) == 0 &&
		process_kill(p, (uint32_t)signal, false, &err) == 0)
		log_info("signal %d of the host is passed on to %s%s%s", signal,
			container_id, *exec_id ? ", " : "", exec_id);
	else
		log_debug("signal %d of the host reaches nobody: %s", signal, err.text);
}

static struct standins *find_standins(struct pod *pod)
{
	struct standins *all;

	pthread_mutex_lock(&pod->lock);
	all = pod->standins;
	pthread_mutex_unlock(&pod->lock);
	return all;
}

/* The first process of a pod is made by whoever changes the pod: nobody else is here. */
static int get_standins(struct pod *pod, struct standins **ret, struct err *err)
{
	int r;

	*ret = find_standins(pod);
	if (*ret)
		return 0;
	r = standins_new(on_signalled, pod, ret, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&pod->lock);
	pod->standins = *ret;
	pthread_mutex_unlock(&pod->lock);
	return 0;
}

/* Without arguments it is the guest that refuses it. */
static char **make_argv(const Grpc__Process *spec)
{
	static char none[] = "?";
	char **argv = xreallocarray(NULL, spec->n_args + 2, sizeof(*argv));
	size_t n = 0;

	for (; n < spec->n_args; n++)
		argv[n] = spec->args[n];
	if (n == 0)
		argv[n++] = none;
	argv[n] = NULL;
	return argv;
}

/* The first one's are the pod's. */
static int keep_namespaces(struct pod *pod, const struct standin *s, struct err *err)
{
	const struct {
		const char *file;
		int *fd;
	} all[] = {{"net", &pod->netns_fd}, {"ipc", &pod->ipcns_fd},
		{"uts", &pod->utsns_fd}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(all); i++)
		if (*all[i].fd < 0)
			r = standin_open_namespace(s, all[i].file, all[i].fd, err);
	return r;
}

int process_stand_in(struct process *p, const Grpc__Process *spec, const char *hostname,
	struct err *err)
{
	struct pod *pod = p->container->pod;
	_cleanup_free_ char *root = state_path(&pod->state, "rootfs");
	_cleanup_free_ char **argv = make_argv(spec);
	struct standin_config config = {.file_server = pod->config.file_server,
		.root = root,
		.netns_fd = pod->netns_fd,
		.ipcns_fd = pod->ipcns_fd,
		.utsns_fd = pod->utsns_fd,
		.hostname = hostname,
		.container_id = p->container->id,
		.exec_id = p->exec_id,
		.argv = argv};
	struct standins *all;
	struct standin *s;
	int r;

	r = get_standins(pod, &all, err);
	if (r == 0)
		r = standin_new(all, &config, &s, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&pod->lock);
	p->standin = s;
	p->pid = (uint32_t)standin_pid(s);
	pthread_mutex_unlock(&pod->lock);
	return keep_namespaces(pod, s, err);
}

int process_join_vm(struct process *p, const struct pod_use *use, struct err *err)
{
	int fds[CGROUP_MAX], r;

	r = vm_open_cgroup(use->vm, fds, err);
	if (r < 0)
		return r;
	r = standin_join_cgroup(p->standin, fds, CGROUP_MAX, err);
	for (int i = 0; i < CGROUP_MAX; i++)
		close_fd(fds[i]);
	return r;
}
