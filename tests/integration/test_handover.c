/* SPDX-License-Identifier: Apache-2.0 */
/* A real VM moves between two processes, and either of them is killed at each step. */
#include <dirent.h>
#include <poll.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/proc.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "tests/lib/template.h"
#include "tests/lib/test.h"
#include "vm/handover.h"
#include "vm/record.h"

/* In a forked child, which must not run the rest of the test. */
#define CHILD(expr)                                                                      \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		if ((expr) < 0) {                                                        \
			fprintf(stderr, "# %s: %s\n", #expr, err->text);                 \
			_exit(1);                                                        \
		}                                                                        \
	} while (0)

static char *giver_dir, *taker_dir;

static struct config *config(void)
{
	return &template_get()->config;
}

static struct vm *make_clone(struct vm_options *options)
{
	struct err err = ERR_INIT;
	int memory_fd, state_fd;
	struct vm *vm = NULL;

	options->config = config();
	options->id = "giver";
	options->dir = giver_dir;
	template_grant(&memory_fd, &state_fd);
	check_result(vm_clone(options, memory_fd, state_fd, &template_get()->g.manifest,
			     &vm, &err),
		&err);
	close(memory_fd);
	close(state_fd);
	return vm;
}

static struct vm_handover detach(void)
{
	struct vm_handover h = VM_HANDOVER_INIT;
	struct vm *vm = make_clone(&(struct vm_options){0});
	struct err err = ERR_INIT;

	if (vm_detach(vm, &h, &err) < 0)
		fail_msg("%s", err.text);
	return h;
}

/* How the child with this pid ended: exit status, or 1000 + signal. */
static int end_of(pid_t pid)
{
	int status;

	assert_int_equal(pid, waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static bool alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

static void reap(struct vm_handover *h)
{
	siginfo_t info;

	assert_int_equal(0, pidfd_wait(h->pid_fd, deadline_after_ms(10000)));
	assert_int_equal(0, waitid(P_PIDFD, (id_t)h->pid_fd, &info, WEXITED));
	assert_int_equal(SIGKILL, info.si_status);
	vm_handover_done(h);
}

static void assert_empty(const char *name)
{
	_cleanup_free_ char *path = xasprintf(TEMPLATE_DIR "/%s", name);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			fail_msg("%s/%s is left", name, entry->d_name);
}

static void assert_no_cgroup(const char *name)
{
	static const char *const roots[] = {"", "/memory", "/cpu", "/pids"};

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		_cleanup_free_ char *path =
			xasprintf("/sys/fs/cgroup%s/%s", roots[i], name);

		assert_int_equal(-1, access(path, F_OK));
	}
}

static void cgroup_name(const char *dir, char ret[CGROUP_PATH_BYTES])
{
	struct vm_record record;

	assert_int_equal(0, vm_record_read(dir, &record, NULL));
	snprintf(ret, CGROUP_PATH_BYTES, "%s", record.cgroup);
}

static int begin(void **state)
{
	(void)state;
	giver_dir = template_make_dir("giver");
	taker_dir = template_make_dir("taker");
	return 0;
}

static int end(void **state)
{
	(void)state;
	assert_empty("state/.uids");
	assert_empty("taker");
	assert_int_equal(0, remove_tree(AT_FDCWD, giver_dir, NULL));
	free(giver_dir);
	free(taker_dir);
	return 0;
}

/* ---- the limit while it is prepared --------------------------------------------------- */

/* The VM's quota: of one CPU, in percent; 0: none; -1: the host can't. */
static int quota_of(const char *dir)
{
	char cgroup[CGROUP_PATH_BYTES];

	cgroup_name(dir, cgroup);
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *path = NULL, *text = NULL;
		size_t len;

		path = xasprintf(i ? "/sys/fs/cgroup/cpu/%s/cpu.cfs_quota_us"
				   : "/sys/fs/cgroup/%s/cpu.max",
			cgroup);
		if (file_read(AT_FDCWD, path, 64, &text, &len, NULL) == 0)
			return (int)MAX(strtol(text, NULL, 10), 0L) / 1000;
	}
	return -1;
}

static int note_quota(void *user, const struct proc_id *qemu, struct err *err)
{
	(void)err;
	assert_true(qemu->pid > 0);
	*(int *)user = quota_of(giver_dir);
	return 0;
}

static void test_cpu_limit(void **state)
{
	int quota = 0;
	struct vm_options options = {
		.cpu_percent = 70, .spawned = note_quota, .user = &quota};
	struct vm *vm = make_clone(&options);
	struct vm_handover h;
	struct err err = ERR_INIT;

	(void)state;
	if (quota == -1)
		skip();
	assert_int_equal(70, quota);
	assert_int_equal(70, quota_of(giver_dir));
	assert_int_equal(0, vm_detach(vm, &h, &err));
	assert_int_equal(0, quota_of(giver_dir));
	assert_int_equal(0, vm_withdraw(config(), giver_dir, &err));
	reap(&h);
}

/* ---- the taker's steps --------------------------------------------------------------- */

enum kill_at {
	BEFORE_COMMIT,
	AFTER_COMMIT,
	AFTER_LINK,
	AFTER_RESUME,
	NOT,
};

static struct vm_options taker_options(void)
{
	return (struct vm_options){.config = config(), .id = "pod-1", .dir = taker_dir};
}

/* All that a shim does with its VM. */
static int use(struct vm *vm, struct err *err)
{
	_cleanup_close_ int folder =
		open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	unsigned int present, max;
	const char *bus;
	char why[2048];
	int r;

	r = vm_make_unique(vm, &(struct vm_identity){.hostname = "pod"}, err);
	if (r == 0)
		r = vm_resize(vm, 2, 128 * MiB, err);
	if (r == 0)
		r = plug_count_vcpus(vm_qmp(vm), &present, &max, now_ms() + 5000, err);
	if (r == 0 && present != 2)
		r = err_set(err, -EIO, "%u vCPUs", present);
	if (r == 0)
		r = vm_export_attach(vm, folder, "c1/rootfs", err);
	if (r == 0)
		r = vm_export_detach(vm, "c1", err);
	if (r == 0)
		r = vm_take_port(vm, &bus, err);
	if (r == 0 && strcmp(bus, "rp0") != 0)
		r = err_set(err, -EIO, "the first port is %s", bus);
	if (r < 0)
		return r;
	vm_post_mortem(vm, why, sizeof(why));
	return strstr(why, "exit status is not known here") && strstr(why, "console")
		       ? 0
		       : err_set(err, -EIO, "%s", why);
}

static void run_taker(struct vm_handover *h, enum kill_at at)
{
	struct vm_options options = taker_options();
	struct vm_record record;
	struct vm *vm;

	CHILD(vm_record_read(giver_dir, &record, err));
	if (at == AFTER_COMMIT || at == AFTER_LINK)
		CHILD(vm_record_move(giver_dir, taker_dir, err));
	if (at == AFTER_LINK)
		CHILD(vm_uid_move(config(), record.uid, taker_dir, err));
	if (at <= AFTER_LINK)
		raise(SIGKILL);
	CHILD(vm_adopt(&options, h, giver_dir, &vm, err));
	CHILD(vm_resume(vm, err));
	if (at == AFTER_RESUME)
		raise(SIGKILL);
	CHILD(use(vm, err));
	vm_free(vm);
	_exit(0);
}

static void take(enum kill_at at, int ended)
{
	struct vm_handover h = detach();
	char cgroup[CGROUP_PATH_BYTES];
	struct err err = ERR_INIT;
	pid_t pid;
	int r;

	cgroup_name(giver_dir, cgroup);
	assert_int_equal(0, vm_offer(giver_dir, &err));
	pid = fork();
	if (pid == 0)
		run_taker(&h, at);
	assert_int_equal(ended, end_of(pid));
	assert_int_equal(at != NOT, alive(h.pid_fd));
	r = vm_withdraw(config(), giver_dir, &err);
	if (at == BEFORE_COMMIT) {
		assert_int_equal(0, r);
		assert_int_equal(-1, access(giver_dir, F_OK));
	} else {
		assert_int_equal(1, r);
		assert_int_equal(at != NOT, alive(h.pid_fd));
	}
	/* What `delete` does, twice. */
	for (int i = 0; i < 2; i++)
		if (vm_cleanup(config(), taker_dir, &err) < 0)
			fail_msg("%s", err.text);
	assert_false(alive(h.pid_fd));
	assert_no_cgroup(cgroup);
	reap(&h);
	assert_int_equal(0, vm_forget(giver_dir, &err));
}

static void test_taken(void **state)
{
	(void)state;
	take(NOT, 0);
}

static void test_taker_killed_before_commit(void **state)
{
	(void)state;
	take(BEFORE_COMMIT, 1000 + SIGKILL);
}

static void test_taker_killed_after_commit(void **state)
{
	(void)state;
	take(AFTER_COMMIT, 1000 + SIGKILL);
}

static void test_taker_killed_after_link(void **state)
{
	(void)state;
	take(AFTER_LINK, 1000 + SIGKILL);
}

static void test_taker_killed_after_resume(void **state)
{
	(void)state;
	take(AFTER_RESUME, 1000 + SIGKILL);
}

/* ---- the giver's steps --------------------------------------------------------------- */

static void send_handover(int sock, const struct vm_handover *h)
{
	int fds[] = {h->qmp_fd, h->agent_fd, h->pid_fd, h->stderr_fd};

	CHILD(sock_send(sock, h, sizeof(*h), fds, 4, deadline_after_ms(5000)));
}

static struct vm_handover receive_handover(int sock)
{
	struct vm_handover h = VM_HANDOVER_INIT;
	int fds[4];

	assert_int_equal(sizeof(h),
		sock_recv(sock, &h, sizeof(h), fds, 4, deadline_after_ms(60000)));
	h.qmp_fd = fds[0];
	h.agent_fd = fds[1];
	h.pid_fd = fds[2];
	h.stderr_fd = fds[3];
	return h;
}

/* A giver in a process of its own that is killed when it has detached or offered. */
static struct vm_handover killed_giver(bool offers)
{
	struct vm_handover h;
	int pair[2];
	pid_t pid;

	assert_int_equal(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	if (pid == 0) {
		h = detach();
		if (offers)
			CHILD(vm_offer(giver_dir, err));
		send_handover(pair[1], &h);
		raise(SIGKILL);
	}
	h = receive_handover(pair[0]);
	assert_int_equal(1000 + SIGKILL, end_of(pid));
	assert_true(alive(h.pid_fd));
	close(pair[0]);
	close(pair[1]);
	return h;
}

static void withdraw_left(void)
{
	struct err err = ERR_INIT;

	for (int i = 0; i < 2; i++)
		if (vm_withdraw_left(config(), giver_dir, &err) < 0)
			fail_msg("%s", err.text);
}

static void giver_killed(bool offers)
{
	struct vm_handover h = killed_giver(offers);
	struct vm_options options = taker_options();
	struct err err = ERR_INIT;
	struct vm *vm;

	withdraw_left();
	assert_false(alive(h.pid_fd));
	assert_int_equal(-1, access(giver_dir, F_OK));
	/* A taker that comes late finds that out, and has nothing to undo. */
	assert_int_equal(-ESTALE, vm_adopt(&options, &h, giver_dir, &vm, &err));
	assert_int_equal(-1, h.pid_fd);
}

static void test_giver_killed_before_offer(void **state)
{
	(void)state;
	giver_killed(false);
}

static void test_giver_killed_after_offer(void **state)
{
	(void)state;
	giver_killed(true);
}

/* The next giver finds a VM that was taken from the one before. */
static void test_giver_killed_after_commit(void **state)
{
	struct vm_handover h = killed_giver(true);
	struct vm_options options = taker_options();
	struct err err = ERR_INIT;
	struct vm *vm;

	(void)state;
	if (vm_adopt(&options, &h, giver_dir, &vm, &err) < 0)
		fail_msg("%s", err.text);
	withdraw_left();
	assert_int_equal(-1, access(giver_dir, F_OK));
	if (vm_resume(vm, &err) < 0 || use(vm, &err) < 0)
		fail_msg("%s", err.text);
	vm_free(vm);
}

/* Between commit and link the folder stays: nobody else may take the uid. */
static void test_giver_restarts_between_commit_and_link(void **state)
{
	struct vm_handover h = killed_giver(true);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(0, vm_record_move(giver_dir, taker_dir, &err));
	withdraw_left();
	assert_int_equal(0, access(giver_dir, F_OK));
	assert_true(alive(h.pid_fd));
	assert_int_equal(0, vm_cleanup(config(), taker_dir, &err));
	withdraw_left();
	assert_int_equal(-1, access(giver_dir, F_OK));
	vm_handover_done(&h);
}

/* A guest that ends by itself while it is set aside is not handed out. */
static void test_dead_is_not_detached(void **state)
{
	struct vm *vm = make_clone(&(struct vm_options){0});
	struct vm_handover h = VM_HANDOVER_INIT;
	struct err err = ERR_INIT;

	(void)state;
	pidfd_kill(vm_pidfd(vm), SIGKILL);
	assert_int_equal(-ECONNRESET, vm_detach(vm, &h, &err));
	assert_non_null(strstr(err.text, "set the VM aside"));
	assert_int_equal(-1, h.pid_fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_cpu_limit),
		TEST(test_taken),
		TEST(test_taker_killed_before_commit),
		TEST(test_taker_killed_after_commit),
		TEST(test_taker_killed_after_link),
		TEST(test_taker_killed_after_resume),
		TEST(test_giver_killed_before_offer),
		TEST(test_giver_killed_after_offer),
		TEST(test_giver_killed_after_commit),
		TEST(test_giver_restarts_between_commit_and_link),
		TEST(test_dead_is_not_detached),
	};

	return cmocka_run_group_tests(tests, template_enter, template_leave);
}
