/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: see supervise.h.
 *
 * Nothing may be able to write a published template, yet QEMU before 8.2 opens the file
 * of a memory backend with O_RDWR even where it maps it privately. So QEMU's open is held
 * by a seccomp user notification and answered by planting a descriptor that was opened
 * read-only (SECCOMP_IOCTL_NOTIF_ADDFD with SECCOMP_ADDFD_FLAG_SEND, Linux 5.14). A
 * private writable mapping asks no more of it. The name it opens leads nowhere. (From 8.2
 * on QEMU can be told to open it O_RDONLY, but would need a name that leads there.)
 *
 * The window of the file channel, which QEMU maps shared, comes in the same way: it is a
 * memfd, and a QEMU without /proc has no name for one.
 *
 * QEMU's own execution is held, too: the first one passes, and there is no second. No
 * filter could tell them apart, since who is broken into has the same numbers to call
 * with.
 *
 * The filter can only look at numbers: it holds every openat(AT_FDCWD, …, O_RDWR). The
 * name is read from QEMU's memory here; QEMU has run no guest code yet, and the worst a
 * changed name could reach is one of the same descriptors or QEMU's own empty file
 * system. Once each answer is given the listener is closed, and the kernel answers all
 * later calls of these kinds with ENOSYS.
 */
#include "vm/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"

struct supervisor {
	int listener;
	pid_t pid;
	bool executed;
	struct supervised {
		char *path;
		int fd; /* -1: it has been answered */
	} opens[SPAWN_OPENS_MAX];
	unsigned int n_opens;
};

static bool is_name(pid_t pid, uint64_t address, const char *path)
{
	size_t size = strlen(path) + 1;
	_cleanup_free_ char *name = xmalloc(size);
	struct iovec local = {.iov_base = name, .iov_len = size};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};

	/* A shorter string at the end of a page reads short: not that one either. */
	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size &&
	       memcmp(name, path, size) == 0;
}

static struct supervised *find_open(struct supervisor *s, const struct seccomp_notif *n)
{
	for (unsigned int i = 0; i < s->n_opens; i++)
		if (s->opens[i].fd >= 0 &&
			is_name((pid_t)n->pid, n->data.args[1], s->opens[i].path))
			return &s->opens[i];
	return NULL;
}

/* Plants the descriptor as the result of the system call. */
static int answer_open(const struct supervisor *s, struct supervised *open, uint64_t id)
{
	struct seccomp_notif_addfd add = {
		.id = id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)open->fd,
		.newfd_flags = O_CLOEXEC,
	};
	int r = ioctl(s->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 ? -errno : 0;

	close_fd(steal_fd(&open->fd));
	return r;
}

static void answer_call(const struct supervisor *s, struct seccomp_notif_resp answer)
{
	/* ENOENT: the caller died, there is nobody to answer. */
	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 && errno != ENOENT)
		log_error("cannot answer QEMU's system call (pid %d): %s", s->pid,
			strerror(errno));
}

static void let_pass(const struct supervisor *s, uint64_t id)
{
	answer_call(s, (struct seccomp_notif_resp){
			       .id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

static void answer_exec(struct supervisor *s, uint64_t id)
{
	if (s->executed)
		answer_call(s, (struct seccomp_notif_resp){.id = id, .error = -ENOSYS});
	else
		let_pass(s, id);
	s->executed = true;
}

static bool all_answered(const struct supervisor *s)
{
	if (!s->executed)
		return false;
	for (unsigned int i = 0; i < s->n_opens; i++)
		if (s->opens[i].fd >= 0)
			return false;
	return true;
}

/* One held system call; true when none more is waited for. */
static bool serve_one(struct supervisor *s)
{
	struct seccomp_notif request = {0};
	struct supervised *open;
	int r;

	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
		return false; /* killed meanwhile: poll tells */
	if (request.data.nr == SYS_execveat) {
		answer_exec(s, request.id);
		return all_answered(s);
	}
	open = find_open(s, &request);
	if (!open) {
		let_pass(s, request.id);
		return false;
	}
	r = answer_open(s, open, request.id);
	if (r == 0)
		return all_answered(s);
	/* The call is held until the listener closes. */
	log_error("cannot hand QEMU (pid %d) %s: %s", s->pid, open->path, strerror(-r));
	return true;
}

static void supervisor_free(struct supervisor *s)
{
	for (unsigned int i = 0; i < s->n_opens; i++) {
		free(s->opens[i].path);
		close_fd(s->opens[i].fd);
	}
	close_fd(s->listener);
	free(s);
}

static void *supervisor_main(void *arg)
{
	struct supervisor *s = arg;
	struct pollfd pfd = {.fd = s->listener, .events = POLLIN};

	for (;;) {
		if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
			break;
		if (pfd.revents & POLLIN) {
			if (serve_one(s))
				break;
		} else if (pfd.revents) {
			break; /* POLLHUP: the last task under the filter has ended */
		}
	}
	supervisor_free(s);
	return NULL;
}

int supervise_start(int listener, pid_t pid, const struct spawn *spawn,
	pthread_t *ret_thread, struct err *err)
{
	struct supervisor *s = xnew0(struct supervisor);
	int r = 0;

	s->listener = listener;
	s->pid = pid;
	for (unsigned int i = 0; r == 0 && i < spawn->n_opens; i++) {
		struct supervised *open = &s->opens[s->n_opens++];

		open->path = xstrdup(spawn->opens[i].path);
		open->fd = fcntl(spawn->opens[i].fd, F_DUPFD_CLOEXEC, 3);
		if (open->fd < 0)
			r = -errno;
	}
	if (r == 0)
		r = thread_start(supervisor_main, s, 0, false, ret_thread);
	if (r < 0) {
		supervisor_free(s);
		return err_sys(err, r, "cannot start the supervisor");
	}
	return 0;
}
