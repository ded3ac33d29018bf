/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open supervisor: see supervise.h.
 *
 * Nothing may be able to write a published template, yet QEMU before 8.2 opens the file
 * of a memory backend with O_RDWR even where it maps it privately. So QEMU's open is held
 * by a seccomp user notification and answered by planting a descriptor that was opened
 * read-only (SECCOMP_IOCTL_NOTIF_ADDFD with SECCOMP_ADDFD_FLAG_SEND, Linux 5.14). A
 * private writable mapping asks no more of it. The name it opens leads nowhere.
 *
 * The filter can only look at numbers: it holds every openat(AT_FDCWD, …, O_RDWR). The
 * name is read from QEMU's memory here; QEMU has run no guest code yet, and the worst a
 * changed name could reach is the same read-only descriptor or QEMU's own empty file
 * system. Once the answer is given the listener is closed, and the kernel answers all
 * later opens of that kind with ENOSYS.
 */
#include "vm/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "vm/argv.h"

struct supervisor {
	int listener, memory_fd;
	pid_t pid;
};

static bool asks_for_memory(pid_t pid, uint64_t address)
{
	char path[sizeof(VM_PATH_MEMORY)];
	struct iovec local = {.iov_base = path, .iov_len = sizeof(path)};
	struct iovec remote = {
		.iov_base = (void *)(uintptr_t)address, .iov_len = sizeof(path)};

	/* A shorter string at the end of a page reads short: not ours either. */
	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof(path) &&
	       memcmp(path, VM_PATH_MEMORY, sizeof(path)) == 0;
}

/* Plants the memory's descriptor as the result of the system call. */
static int answer(const struct supervisor *s, uint64_t id)
{
	struct seccomp_notif_addfd add = {
		.id = id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)s->memory_fd,
		.newfd_flags = O_CLOEXEC,
	};

	return ioctl(s->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 ? -errno : 0;
}

/* One held system call; true when it was the one that is waited for. */
static bool serve_one(const struct supervisor *s)
{
	struct seccomp_notif request = {0};
	struct seccomp_notif_resp pass = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	int r;

	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
		return false; /* killed meanwhile: poll tells */
	if (asks_for_memory((pid_t)request.pid, request.data.args[1])) {
		r = answer(s, request.id);
		if (r < 0)
			log_error("cannot hand QEMU (pid %d) the template's memory: %s",
				s->pid, strerror(-r));
		return true;
	}
	pass.id = request.id;
	/* ENOENT: the caller died, there is nobody to answer. */
	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SEND, &pass) < 0 && errno != ENOENT)
		log_error("cannot let QEMU's system call pass (pid %d): %s", s->pid,
			strerror(errno));
	return false;
}

static void *supervise(void *arg)
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
	close(s->listener);
	close(s->memory_fd);
	free(s);
	return NULL;
}

int supervise_start(
	int listener, pid_t pid, int memory_fd, pthread_t *ret_thread, struct err *err)
{
	struct supervisor *s = xnew0(struct supervisor);
	int r = 0;

	s->listener = listener;
	s->pid = pid;
	s->memory_fd = fcntl(memory_fd, F_DUPFD_CLOEXEC, 3);
	if (s->memory_fd < 0)
		r = -errno;
	if (r == 0)
		r = thread_start(supervise, s, 0, false, ret_thread);
	if (r < 0) {
		close_fd(s->memory_fd);
		close(s->listener);
		free(s);
		return err_sys(err, r, "cannot start the open supervisor");
	}
	return 0;
}
