/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of programs by the host's FUSE over trees: between two pods,
 * and against the host. */
#include "tests/unit/files_mount.h"

#include <sys/file.h>

/* Two mounts of one folder, each with a server of its own: two pods with one volume. */
static struct files_mount *one, *two;
static char *path_host, *path_one, *path_two;

static int setup(void **state)
{
	static const struct mount_kind shared = {.cache = TREE_CACHE_SHARED};

	(void)state;
	one = mount_new(&shared);
	two = xnew0(struct files_mount);
	two->folder = xstrdup(one->folder);
	mount_over(two, &shared);
	path_host = test_file(one->folder, "file", "0123456789");
	path_one = mount_path(one, "file");
	path_two = mount_path(two, "file");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(path_host);
	free(path_one);
	free(path_two);
	assert_int_equal(umount2(two->at, MNT_FORCE | MNT_DETACH), 0);
	assert_int_equal(waitpid(two->server, NULL, 0), two->server);
	rmdir(two->at);
	close(two->waits_fd);
	free(two->at);
	free(two->folder);
	free(two);
	mount_free(one);
	return 0;
}

static int open_rw(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int posix(int fd, int command, short type, off_t start, off_t len)
{
	struct flock lock = {.l_type = type, .l_start = start, .l_len = len};

	return fcntl(fd, command, &lock) < 0 ? -errno : 0;
}

static int flocked(int fd, int operation)
{
	return flock(fd, operation) < 0 ? -errno : 0;
}

/* In a process of its own, and so by another owner: the result of a fcntl lock. */
static int posix_elsewhere(const char *path, short type, off_t start, off_t len)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(-posix(open(path, O_RDWR | O_CLOEXEC), F_SETLK, type, start, len));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static void test_posix(void **state)
{
	int fd = open_rw(path_one), again;

	(void)state;
	assert_int_equal(posix(fd, F_SETLK, F_WRLCK, 2, 3), 0);
	assert_int_equal(posix_elsewhere(path_one, F_WRLCK, 4, 1), -EAGAIN);
	assert_int_equal(posix_elsewhere(path_two, F_WRLCK, 4, 1), -EAGAIN);
	assert_int_equal(posix_elsewhere(path_host, F_WRLCK, 4, 1), -EAGAIN);
	assert_int_equal(posix_elsewhere(path_two, F_RDLCK, 4, 0), -EAGAIN);
	assert_int_equal(posix_elsewhere(path_two, F_WRLCK, 5, 0), 0);
	/* A range in the middle is given back, one is made a read lock. */
	assert_int_equal(posix(fd, F_SETLK, F_UNLCK, 3, 1), 0);
	assert_int_equal(posix(fd, F_SETLK, F_RDLCK, 4, 1), 0);
	assert_int_equal(posix_elsewhere(path_two, F_WRLCK, 3, 1), 0);
	assert_int_equal(posix_elsewhere(path_two, F_RDLCK, 4, 1), 0);
	assert_int_equal(posix_elsewhere(path_two, F_WRLCK, 4, 1), -EAGAIN);
	/* Any close of the file ends the process's locks. */
	again = open_rw(path_one);
	close(again);
	assert_int_equal(posix_elsewhere(path_two, F_WRLCK, 0, 0), 0);
	close(fd);
}

static void test_posix_query(void **state)
{
	int fd = open_rw(path_one), other = open_rw(path_two), host = open_rw(path_host);
	struct flock lock = {.l_type = F_WRLCK};
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(posix(fd, F_SETLK, F_WRLCK, 2, 3), 0);
	assert_int_equal(fcntl(other, F_GETLK, &lock), 0);
	assert_int_equal(lock.l_type, F_WRLCK);
	assert_int_equal(lock.l_start, 2);
	assert_int_equal(lock.l_len, 3);
	/* Of another process in the same guest also who it is. */
	pid = fork();
	if (pid == 0) {
		lock = (struct flock){.l_type = F_RDLCK};
		fcntl(open(path_one, O_RDWR | O_CLOEXEC), F_GETLK, &lock);
		_exit(lock.l_pid == getppid() ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(posix(fd, F_SETLK, F_UNLCK, 0, 0), 0);
	assert_int_equal(posix(host, F_SETLK, F_RDLCK, 7, 0), 0);
	lock = (struct flock){.l_type = F_WRLCK};
	assert_int_equal(fcntl(fd, F_GETLK, &lock), 0);
	assert_int_equal(lock.l_type, F_RDLCK);
	assert_int_equal(lock.l_start, 7);
	assert_int_equal(lock.l_len, 0);
	close(host);
	close(other);
	close(fd);
}

static void test_flock(void **state)
{
	int a = open_rw(path_one), b = open_rw(path_one), c = open_rw(path_two),
	    host = open_rw(path_host);

	(void)state;
	assert_int_equal(flocked(a, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(flocked(b, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
	assert_int_equal(flocked(c, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
	assert_int_equal(flocked(host, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
	/* The other kind of lock has nothing to do with it. */
	assert_int_equal(posix(c, F_SETLK, F_WRLCK, 0, 0), 0);
	assert_int_equal(posix_elsewhere(path_one, F_RDLCK, 0, 0), -EAGAIN);
	assert_int_equal(flocked(a, LOCK_SH), 0);
	assert_int_equal(flocked(host, LOCK_SH | LOCK_NB), 0);
	close(host);
	/* A close(2) does not wait for FUSE_RELEASE, so the lock goes a moment later. */
	close(a);
	assert_int_equal(flocked(c, LOCK_EX), 0);
	close(b);
	close(c);
}

/* ---- waits ---- */

/* Starts a process that waits for a lock, and returns when its server is about to wait in
 * the host's kernel: what comes then must find it, however early. */
static pid_t waiter_start(
	int (*wait)(int fd), const struct files_mount *m, const char *path)
{
	pid_t pid = fork();
	uint64_t n;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(-wait(open(path, O_RDWR | O_CLOEXEC)));
	}
	assert_int_equal(read_full(m->waits_fd, &n, sizeof(n)), 0);
	assert_int_equal(n, 1);
	return pid;
}

static int posix_wait(int fd)
{
	return posix(fd, F_SETLKW, F_WRLCK, 0, 1);
}

static int flock_wait(int fd)
{
	return flocked(fd, LOCK_EX);
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_wait_ends(void **state)
{
	int fd = open_rw(path_host);
	pid_t pid;

	(void)state;
	assert_int_equal(posix(fd, F_SETLK, F_WRLCK, 0, 0), 0);
	pid = waiter_start(posix_wait, one, path_one);
	assert_int_equal(posix(fd, F_SETLK, F_UNLCK, 0, 0), 0);
	assert_int_equal(status_of(pid), 0);
	assert_int_equal(flocked(fd, LOCK_EX), 0);
	pid = waiter_start(flock_wait, two, path_two);
	assert_int_equal(flocked(fd, LOCK_UN), 0);
	assert_int_equal(status_of(pid), 0);
	assert_int_equal(posix(fd, F_SETLK, F_WRLCK, 0, 0), 0);
	close(fd);
}

/* Killed while it waits: the process ends, and nobody waits for it any more. */
static void test_wait_killed(void **state)
{
	static int (*const waits[])(int) = {posix_wait, flock_wait};
	int fd = open_rw(path_two), other;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		pid_t pid;

		assert_int_equal(posix(fd, F_SETLK, F_WRLCK, 0, 0), 0);
		assert_int_equal(flocked(fd, LOCK_EX), 0);
		pid = waiter_start(waits[i], one, path_one);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(status_of(pid), SIGKILL);
		assert_int_equal(posix(fd, F_SETLK, F_UNLCK, 0, 0), 0);
		assert_int_equal(flocked(fd, LOCK_UN), 0);
		other = open_rw(path_host);
		assert_int_equal(flocked(other, LOCK_EX), 0);
		assert_int_equal(posix(other, F_SETLKW, F_WRLCK, 0, 0), 0);
		close(other);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_posix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_posix_query, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wait_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wait_killed, setup, teardown),
	};
	const char *missing = mount_missing();

	if (missing) {
		printf("1..0 # SKIP %s\n", missing);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
