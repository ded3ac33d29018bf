/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's file server: see pod_files.h. */
#include "shim/pod_files.h"

#include "base/util.h"
#include "vm/cgroup.h"

/* Without it each access to a file in the guest fails or hangs: no pod any more. It ends
 * with a VM that was killed as well, by the end of its channel. */
static void on_files_ended(void *user)
{
	struct pod *pod = user;
	struct pod_use use;
	const char *why = "the file server has ended";

	if (pod_use_begin(pod, &use, NULL) < 0)
		return;
	if (vm_ran_out_of_memory(use.vm))
		why = "the file server has ended: the VM's cgroup had used up its memory";
	if (!vm_is_killed(use.vm))
		pod_give_up(pod, why);
	pod_use_end(&use);
}

int pod_files_start(struct pod *pod, struct err *err)
{
	struct files_start start = {.program = pod->config.file_server,
		.uid = vm_files_uid(pod->vm),
		.n_cgroup_fds = CGROUP_MAX,
		.log_fd = STDERR_FILENO,
		.ended = on_files_ended,
		.user = pod};
	int cgroup_fds[CGROUP_MAX];
	struct files_client *files;
	int r = vm_open_cgroup(pod->vm, cgroup_fds, err);

	if (r < 0)
		return r;
	start.cgroup_fds = cgroup_fds;
	vm_files(pod->vm, &start.channel_fd, &start.window_fd);
	r = files_client_new(&start, &files, err);
	for (int i = 0; i < CGROUP_MAX; i++)
		close_fd(cgroup_fds[i]);
	if (r < 0)
		return err_wrap(err, "file server");
	pthread_mutex_lock(&pod->lock);
	pod->files = files;
	pthread_mutex_unlock(&pod->lock);
	return 0;
}

void pod_files_stop(struct pod *pod)
{
	struct files_client *files;

	pthread_mutex_lock(&pod->lock);
	files = steal_ptr(pod->files);
	pthread_mutex_unlock(&pod->lock);
	files_client_free(files);
}
