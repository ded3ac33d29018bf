/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's file server: see pod_files.h. */
#include "shim/pod_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "vm/cgroup.h"

/* Room for a few lines: it says what was wrong, and ends. */
#define LOG_BYTES 4096

/* Not the shim's log, of which a server that is broken into would make what it likes. */
static int make_log(struct pod *pod, struct err *err)
{
	close_fd(pod->files_log_fd);
	pod->files_log_fd = memfd_create("files-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (pod->files_log_fd < 0 || ftruncate(pod->files_log_fd, LOG_BYTES) < 0 ||
		fcntl(pod->files_log_fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		return err_sys(
			err, errno, "cannot make the file for the file server's log");
	return 0;
}

/* ": …", what it has said last; "" if nothing. To be freed. */
static char *last_words(const struct pod *pod)
{
	char text[LOG_BYTES + 1], *line;
	ssize_t n = pread(pod->files_log_fd, text, LOG_BYTES, 0);

	text[MAX(n, (ssize_t)0)] = '\0';
	n = (ssize_t)strlen(text);
	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	return *line ? xasprintf(": %s", err_quote(line, 400)) : xstrdup("");
}

/* Without it each access to a file in the guest fails or hangs: no pod any more. It ends
 * with a VM that was killed as well, by the end of its channel. */
static void on_files_ended(void *user)
{
	struct pod *pod = user;
	_cleanup_free_ char *said = last_words(pod), *why = NULL;
	struct pod_use use;

	if (pod_use_begin(pod, &use, NULL) < 0)
		return;
	why = xasprintf("the file server has ended%s%s",
		vm_ran_out_of_memory(use.vm) ? ": the VM's cgroup had used up its memory"
					     : "",
		said);
	if (!vm_is_killed(use.vm))
		pod_give_up(pod, why);
	pod_use_end(&use);
}

int pod_files_start(struct pod *pod, struct err *err)
{
	struct files_start start = {.program = pod->config.file_server,
		.uid = vm_files_uid(pod->vm),
		.n_cgroup_fds = CGROUP_MAX,
		.ended = on_files_ended,
		.user = pod};
	int cgroup_fds[CGROUP_MAX];
	struct files_client *files;
	int r = make_log(pod, err);

	if (r == 0)
		r = vm_open_cgroup(pod->vm, cgroup_fds, err);
	if (r < 0)
		return r;
	start.log_fd = pod->files_log_fd;
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
	close_fd(steal_fd(&pod->files_log_fd));
}
