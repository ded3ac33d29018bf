/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the three kinds of locks within one machine. */
#include "tests/system/files_probe/probe.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

static int open_file(void)
{
	return must("open", open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0644));
}

static long lock_range(int fd, int command, short type, off_t start, off_t size)
{
	struct flock lock = {.l_type = type, .l_start = start, .l_len = size};

	return fcntl(fd, command, &lock);
}

/*
 * Who holds the first lock that is in the way: "free", or type, range, and whether its
 * pid is this one. Asked for locks of the kind that the holder's is: for the other one
 * FUSE has no word.
 */
static void check_holder(const char *name, int fd, int command, int pid)
{
	struct flock lock = {.l_type = F_WRLCK};
	char text[128];

	if (fcntl(fd, command, &lock) < 0) {
		check(name, -1);
		return;
	}
	snprintf(text, sizeof(text), "%s %lld %lld %s",
		lock.l_type == F_WRLCK ? "write" : "read", (long long)lock.l_start,
		(long long)lock.l_len,
		lock.l_pid == pid  ? "by the holder"
		: lock.l_pid == -1 ? "by an open file"
				   : "by another");
	check_text(name, lock.l_type == F_UNLCK ? "free" : text);
}

/* A child that runs part of a check while the parent goes on:
 * each waits for the other's byte. */
struct partner {
	int pid, in, out;
};

/* True in the child. */
static bool partner_begin(struct partner *partner)
{
	int down[2], up[2];

	fflush(stdout);
	must("pipe", pipe(down));
	must("pipe", pipe(up));
	partner->pid = must("fork", fork());
	partner->in = partner->pid ? up[0] : down[0];
	partner->out = partner->pid ? down[1] : up[1];
	close(partner->pid ? up[1] : down[1]);
	close(partner->pid ? down[0] : up[0]);
	return partner->pid == 0;
}

static void partner_go(struct partner *partner)
{
	fflush(stdout);
	must("write", write(partner->out, "x", 1));
}

static void partner_wait(struct partner *partner)
{
	if (must("read", read(partner->in, (char[1]){0}, 1)) != 1) {
		fflush(stdout);
		_exit(1);
	}
}

static void partner_end(struct partner *partner)
{
	close(partner->out);
	close(partner->in);
	if (child_end(partner->pid) != 0)
		check_text("partner", "did not come to its end");
}

void section_flock(void)
{
	struct partner partner;
	int one = open_file(), two = open_file(), copy;

	check("shared", flock(one, LOCK_SH | LOCK_NB));
	check("shared by another", flock(two, LOCK_SH | LOCK_NB));
	check("exclusive, busy", flock(one, LOCK_EX | LOCK_NB));
	check("unlock", flock(two, LOCK_UN));
	check("exclusive", flock(one, LOCK_EX | LOCK_NB));
	check("shared, busy", flock(two, LOCK_SH | LOCK_NB));
	copy = dup(one);
	check("again by a copy", flock(copy, LOCK_EX | LOCK_NB));
	check("close of the copy", close(copy));
	check("is still held", flock(two, LOCK_EX | LOCK_NB));
	check("a bad operation", flock(one, 0));
	check("fcntl is another matter", lock_range(two, F_SETLK, F_WRLCK, 0, 0));
	close(two);
	two = open_file();
	if (partner_begin(&partner)) {
		check("child: inherited", flock(one, LOCK_EX | LOCK_NB));
		close(one);
		check("child: another's", flock(two, LOCK_EX | LOCK_NB));
		partner_go(&partner);
		user_end();
	}
	partner_wait(&partner);
	partner_end(&partner);
	check("a child's close leaves it", flock(two, LOCK_EX | LOCK_NB));
	check("close", close(one));
	check("releases", flock(two, LOCK_EX | LOCK_NB));
	close(two);
	if (partner_begin(&partner)) {
		one = open_file();
		check("child: holds", flock(one, LOCK_EX | LOCK_NB));
		partner_go(&partner);
		partner_wait(&partner);
		_exit(0);
	}
	two = open_file();
	partner_wait(&partner);
	check("busy", flock(two, LOCK_EX | LOCK_NB));
	kill(partner.pid, SIGKILL);
	waitpid(partner.pid, NULL, 0);
	check("its end releases", flock(two, LOCK_EX));
	one = open("file", O_RDONLY | O_CLOEXEC);
	close(two);
	check("exclusive by a reader", flock(one, LOCK_EX | LOCK_NB));
	close(one);
}

/* The child holds some ranges; the parent meets them. */
static void posix_ranges(struct partner *partner, int fd)
{
	check("busy", lock_range(fd, F_SETLK, F_WRLCK, 0, 0));
	check_holder("holder", fd, F_GETLK, partner->pid);
	check("beside it", lock_range(fd, F_SETLK, F_WRLCK, 30, 10));
	check("read beside it", lock_range(fd, F_SETLK, F_RDLCK, 100, 50));
	check("in the middle of what it gave back",
		lock_range(fd, F_SETLK, F_WRLCK, 14, 2));
	check("over its edge", lock_range(fd, F_SETLK, F_WRLCK, 12, 3));
	check("flock is another matter", flock(fd, LOCK_EX | LOCK_NB));
}

void section_posix(void)
{
	struct partner partner;
	int fd, other;

	if (partner_begin(&partner)) {
		fd = open_file();
		check("child: lock", lock_range(fd, F_SETLK, F_WRLCK, 10, 10));
		check("child: read lock", lock_range(fd, F_SETLK, F_RDLCK, 100, 100));
		check("child: unlock the middle",
			lock_range(fd, F_SETLK, F_UNLCK, 14, 2));
		partner_go(&partner);
		partner_wait(&partner);
		check("child: to reading", lock_range(fd, F_SETLK, F_RDLCK, 10, 10));
		partner_go(&partner);
		partner_wait(&partner);
		other = open_file();
		close(other);
		partner_go(&partner);
		partner_wait(&partner);
		_exit(0);
	}
	fd = open_file();
	partner_wait(&partner);
	posix_ranges(&partner, fd);
	lock_range(fd, F_SETLK, F_UNLCK, 0, 0);
	partner_go(&partner);
	partner_wait(&partner);
	check("readers share", lock_range(fd, F_SETLK, F_RDLCK, 10, 10));
	check("a writer is busy", lock_range(fd, F_SETLK, F_WRLCK, 10, 10));
	lock_range(fd, F_SETLK, F_UNLCK, 0, 0);
	partner_go(&partner);
	partner_wait(&partner);
	/* Whichever descriptor a process closes, its locks of that file are gone. */
	check_holder("after a close", fd, F_GETLK, partner.pid);
	partner_go(&partner);
	partner_end(&partner);
	check("own locks never meet", lock_range(fd, F_SETLK, F_WRLCK, 0, 0));
	other = open_file();
	check("by another descriptor", lock_range(other, F_SETLK, F_WRLCK, 0, 0));
	check_holder("holder", other, F_GETLK, getpid());
	check("negative start", lock_range(fd, F_SETLK, F_WRLCK, -5, 1));
	check("negative length", lock_range(fd, F_SETLK, F_WRLCK, 5, -5));
	check("a bad type", lock_range(fd, F_SETLK, 77, 0, 1));
	close(other);
	other = open("file", O_RDONLY | O_CLOEXEC);
	check("to write by a reader", lock_range(other, F_SETLK, F_WRLCK, 0, 0));
	check("to read by a reader", lock_range(other, F_SETLK, F_RDLCK, 0, 0));
	close(other);
	close(fd);
}

void section_ofd(void)
{
	struct partner partner;
	int one = open_file(), two = open_file(), three;

	check("lock", lock_range(one, F_OFD_SETLK, F_WRLCK, 0, 100));
	check("another open file of this process",
		lock_range(two, F_OFD_SETLK, F_WRLCK, 50, 10));
	check_holder("holder", two, F_OFD_GETLK, getpid());
	check("a process's lock is in the way, too",
		lock_range(one, F_SETLK, F_WRLCK, 0, 10));
	check("beside it", lock_range(two, F_SETLK, F_WRLCK, 200, 10));
	check("and the other way", lock_range(one, F_OFD_SETLK, F_WRLCK, 200, 10));
	check("flock is another matter", flock(two, LOCK_EX | LOCK_NB));
	three = open_file();
	close(three);
	check("a close of another keeps it",
		lock_range(two, F_OFD_SETLK, F_WRLCK, 50, 10));
	if (partner_begin(&partner)) {
		check("child: inherited", lock_range(one, F_OFD_SETLK, F_WRLCK, 0, 50));
		close(one);
		check("child: another's", lock_range(two, F_OFD_SETLK, F_WRLCK, 0, 10));
		user_end();
	}
	partner_end(&partner);
	check("a child's close leaves it", lock_range(two, F_OFD_SETLK, F_WRLCK, 0, 10));
	check("close", close(one));
	check("releases", lock_range(two, F_OFD_SETLK, F_WRLCK, 0, 10));
	close(two);
}

static void on_alarm(int number)
{
	(void)number;
}

static long take_posix(int fd, bool wait)
{
	return lock_range(fd, wait ? F_SETLKW : F_SETLK, F_WRLCK, 0, 0);
}

static long take_ofd(int fd, bool wait)
{
	return lock_range(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, F_WRLCK, 0, 0);
}

static long take_flock(int fd, bool wait)
{
	return flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
}

/* A lock that is waited for, and a signal comes: how the call ends. */
static void check_interrupted(const char *name, long (*take)(int fd, bool wait), int fd)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerspec again = {{0, 50000000}, {0, 50000000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	must("timer", timer_create(CLOCK_MONOTONIC, &event, &timer));
	/* More than once: the first may come before the wait begins. */
	must("timer", timer_settime(timer, 0, &again, NULL));
	check(name, take(fd, true));
	timer_delete(timer);
}

static void lock_interrupted(long (*take)(int fd, bool wait))
{
	struct partner partner;
	int fd;

	if (partner_begin(&partner)) {
		fd = open_file();
		check("child: holds", take(fd, false));
		partner_go(&partner);
		partner_wait(&partner);
		close(fd);
		fd = open_file();
		check("child: what was interrupted is not had later", take(fd, false));
		user_end();
	}
	fd = open_file();
	partner_wait(&partner);
	check_interrupted("interrupted", take, fd);
	partner_go(&partner);
	partner_end(&partner);
	close(fd);
}

/* Waits in the child; the parent lets go. Whether it waits already
 * cannot be seen: both are right. */
static void lock_handed_over(long (*take)(int fd, bool wait))
{
	struct partner partner;
	int fd = open_file();

	check("held", take(fd, false));
	if (partner_begin(&partner)) {
		close(fd);
		fd = open_file();
		check("child: busy", take(fd, false));
		partner_go(&partner);
		check("child: handed over", take(fd, true));
		user_end();
	}
	partner_wait(&partner);
	tick();
	close(fd);
	partner_end(&partner);
}

/* Each holds one byte and wants the other's: one of them is refused,
 * whichever waits last. */
static void lock_deadlock(void)
{
	struct partner partner;
	int fd = open_file(), deadlocks = 0;
	long result;

	if (partner_begin(&partner)) {
		close(fd);
		fd = open_file();
		must("lock", lock_range(fd, F_SETLKW, F_WRLCK, 1, 1));
		partner_go(&partner);
		partner_wait(&partner);
		result = lock_range(fd, F_SETLKW, F_WRLCK, 0, 1);
		_exit(result < 0 && errno == EDEADLK ? 10 : result < 0 ? 20 : 0);
	}
	must("lock", lock_range(fd, F_SETLKW, F_WRLCK, 0, 1));
	partner_wait(&partner);
	partner_go(&partner);
	result = lock_range(fd, F_SETLKW, F_WRLCK, 1, 1);
	deadlocks += result < 0 && errno == EDEADLK;
	check("deadlock: an end", result < 0 && errno != EDEADLK ? -1 : 0);
	lock_range(fd, F_SETLK, F_UNLCK, 0, 0);
	deadlocks += child_end(partner.pid) == 10;
	check_number("deadlock: refused", deadlocks);
	close(fd);
}

void section_lock_wait(void)
{
	static long (*const kinds[])(int fd, bool wait) = {
		take_posix, take_ofd, take_flock};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		lock_interrupted(kinds[i]);
		lock_handed_over(kinds[i]);
	}
	/* Last: without the answer EDEADLK it hangs. */
	lock_deadlock();
}
