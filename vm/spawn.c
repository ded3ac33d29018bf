/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting QEMU confined: see spawn.h.
 *
 * Parent and child talk over a SOCK_SEQPACKET pair until exec closes the child's end:
 *
 *   parent                           child
 *   fork
 *   record the pid in a file         confine itself, as far as that goes
 *   make its filter
 *   the filter            -------->  wait for it; end, if the parent died unrecorded
 *                                    install it
 *                         <--------  its listener (one byte + SCM_RIGHTS)
 *   start the supervisor             exec
 *   let it pass                      held
 *                         <--------  end of stream: QEMU runs; or struct failure
 */
#include "vm/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/proc.h"
#include "base/util.h"
#include "vm/confine.h"
#include "vm/supervise.h"

/* What the child has to do takes milliseconds; a machine under load gets time. */
#define SPAWN_TIMEOUT_MS 60000
/* How long a killed process that is not our child may take to be gone. */
#define END_TIMEOUT_MS 60000

struct failure {
	int code;
	char step[124];
};

extern char **environ;

static void __attribute__((noreturn)) fail_child(int ctl, int code, const char *step)
{
	struct failure f = {.code = code};

	strncpy(f.step, step, sizeof(f.step) - 1);
	if (send(ctl, &f, sizeof(f), MSG_NOSIGNAL) < 0)
		_exit(126);
	_exit(127);
}

static int send_listener(int ctl, int listener)
{
	char byte = 'L';

	return sock_send(ctl, &byte, 1, &listener, 1, DEADLINE_NONE);
}

/* The forked child: system calls only. */
static void __attribute__((noreturn))
run_child(const struct confine *c, int ctl, int parents)
{
	char *const env[] = {(char[]){"LC_ALL=C"}, NULL};
	const char *step = "";
	struct sock_filter program[CONFINE_FILTER_MAX];
	int listener = -1, r;
	ssize_t n;

	close(parents); /* or its death would not end the stream */
	proc_reset_signals();
	r = confine_enter(c, &step);
	if (r < 0)
		fail_child(ctl, r, step);
	n = recv(ctl, program, sizeof(program), 0);
	if (n <= 0)
		_exit(125);
	r = confine_filter(
		&(struct sock_fprog){
			(unsigned short)((size_t)n / sizeof(*program)), program},
		&listener, &step);
	if (r < 0)
		fail_child(ctl, r, step);
	r = send_listener(ctl, listener);
	if (r < 0)
		_exit(125);
	syscall(SYS_execveat, (long)c->qemu_fd, confine_exec_path, c->spawn->argv, env,
		AT_EMPTY_PATH);
	fail_child(ctl, -errno, "execute it");
}

/* A message of the child: fails with what it failed with, or with its silence. */
static int read_child(int ctl, int *ret_listener, bool *ret_end, struct err *err)
{
	struct failure f = {0};
	ssize_t n = sock_recv(
		ctl, &f, sizeof(f), ret_listener, 1, deadline_after_ms(SPAWN_TIMEOUT_MS));

	*ret_end = n == 0;
	if (n < 0)
		return err_sys(
			err, (int)n, "no answer from the process that is to become QEMU");
	if (n == sizeof(f)) {
		f.step[sizeof(f.step) - 1] = '\0';
		return err_sys(err, f.code, "%s", f.step);
	}
	return 0;
}

/* While the child makes its namespaces, which takes it longer. */
static int send_filter(const struct confine *c, int ctl, pid_t pid, struct err *err)
{
	struct sock_fprog filter;
	int r = confine_make_filter(c, pid, &filter, err);

	if (r < 0)
		return r;
	/* A child that failed already has closed its end: its reason is there to read. */
	sock_send(ctl, filter.filter, filter.len * sizeof(*filter.filter), NULL, 0,
		deadline_after_ms(SPAWN_TIMEOUT_MS));
	free(filter.filter);
	return 0;
}

/* From the fork to a running QEMU. */
static int follow_child(
	const struct confine *c, int ctl, struct spawned *q, struct err *err)
{
	const struct spawn *s = c->spawn;
	_cleanup_close_ int listener = -1;
	bool end;
	int r;

	r = pidfd_of(q->pid, &q->pidfd);
	if (r < 0)
		return err_sys(err, r, "pidfd_open");
	r = s->record(s->user, q->pid, q->pidfd, err);
	if (r < 0)
		return r;
	r = send_filter(c, ctl, q->pid, err);
	if (r < 0)
		return r;
	r = read_child(ctl, &listener, &end, err);
	if (r == 0 && end)
		r = err_set(err, -ECHILD,
			"the process that was to become QEMU ended at once");
	if (r == 0 && listener >= 0) {
		r = supervise_start(steal_fd(&listener), q->pid, s, &q->supervisor, err);
		q->supervised = r == 0;
	}
	if (r == 0)
		r = read_child(ctl, &listener, &end, err);
	return r;
}

int spawn_qemu(const struct spawn *s, struct spawned *ret, struct err *err)
{
	_cleanup_close_ int ours = -1;
	struct confine confine;
	int pair[2], r;

	*ret = (struct spawned){.pidfd = -1};
	r = confine_init(&confine, s, err);
	if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		r = err_sys(err, errno, "socketpair");
	if (r < 0) {
		confine_done(&confine);
		return r;
	}
	ours = pair[0];
	pair[1] = confine_fd_high(pair[1]);
	confine.ctl_fd = pair[1];
	ret->pid = fork();
	if (ret->pid == 0)
		run_child(&confine, pair[1], ours);
	r = ret->pid < 0 ? err_sys(err, errno, "fork") : 0;
	close_fd(pair[1]);
	if (r == 0)
		r = follow_child(&confine, ours, ret, err);
	confine_done(&confine);
	return r < 0 ? err_wrap(err, "cannot start QEMU (%s)", s->qemu_path) : 0;
}

void spawned_kill(struct spawned *s)
{
	/* A child that was not reaped yet keeps its pid; a foreign one may not. */
	if (s->foreign)
		pidfd_kill(s->pidfd, SIGKILL);
	else if (s->pid > 0)
		kill(s->pid, SIGKILL);
}

static void forget_process(struct spawned *s)
{
	s->pid = 0;
	if (s->supervised)
		pthread_join(s->supervisor, NULL);
	s->supervised = false;
	close_fd(steal_fd(&s->pidfd));
}

void spawned_end(struct spawned *s)
{
	spawned_kill(s);
	if (s->foreign)
		pidfd_wait(s->pidfd, deadline_after_ms(END_TIMEOUT_MS));
	else if (s->pid > 0)
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
	forget_process(s);
}

void spawned_forget(struct spawned *s)
{
	if (!s->foreign && s->pid > 0)
		waitpid(s->pid, NULL, WNOHANG);
	forget_process(s);
}
