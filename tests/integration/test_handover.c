/* SPDX-License-Identifier: Apache-2.0 */
/* A real VM moves between two processes, and either of them is killed at each step. */
#include <poll.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
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
#include "vm/number.h"
#include "vm/sweep.h"
#include "vm/vm_internal.h"

/* In a forked child, which must not run the rest of the test. */
#define CHILD(expr)                                                                      \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		if ((expr) < 0) {                                                        \
			fprintf(stderr, "# %s: %s\n", #expr, err->text);                 \
			_exit(1);                                                        \
		}                                                                        \
	} while (0)

/* In the window. */
#define WORD "from the giver"

static struct config *config(void)
{
	return &template_get()->config;
}

static char *folder_of(unsigned int number)
{
	return xasprintf("%s/" VM_FOLDERS "/%u", config()->state_dir, number);
}

static bool is_there(unsigned int number)
{
	_cleanup_free_ char *dir = folder_of(number);

	return access(dir, F_OK) == 0;
}

static struct vm *set_aside(struct vm_handover *ret)
{
	struct vm *vm = template_clone("giver");
	struct err err = ERR_INIT;
	int channel_fd, window_fd;

	vm_files(vm, &channel_fd, &window_fd);
	assert_int_equal(sizeof(WORD), pwrite(window_fd, WORD, sizeof(WORD), 0));
	if (vm_set_aside(vm, ret, &err) < 0)
		fail_msg("%s", err.text);
	return vm;
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

static void sweep_twice(void)
{
	struct err err = ERR_INIT;

	for (int i = 0; i < 2; i++)
		if (vm_sweep(config(), NULL, NULL, &err) < 0)
			fail_msg("%s", err.text);
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

static void cgroup_of(unsigned int number, char ret[CGROUP_PATH_BYTES])
{
	_cleanup_free_ char *dir = folder_of(number);
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vm_record record;

	assert_int_equal(0, vm_record_read(dir_fd, &record, NULL));
	str_copy_to(ret, CGROUP_PATH_BYTES, record.cgroup);
}

/* No VM, so no claim of uids either. */
static int end(void **state)
{
	_cleanup_free_ char *vms = xasprintf("%s/" VM_FOLDERS, config()->state_dir);

	(void)state;
	assert_int_equal(-1, access(vms, F_OK));
	return 0;
}

/* ---- the limit while it is prepared
 * --------------------------------------------------- */

/* The VM's quota: of one CPU, in percent; 0: none; -1: the host can't. */
static int quota_of(unsigned int number)
{
	char cgroup[CGROUP_PATH_BYTES];

	cgroup_of(number, cgroup);
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

static void test_cpu_limit(void **state)
{
	struct vm_options options = {.config = config(),
		.namespace = "",
		.sandbox = "limited",
		.cpu_percent = 70};
	struct vm_template template = {.manifest = &template_get()->g.manifest,
		.generation = template_get()->g.id};
	_cleanup_(vm) struct vm *vm = NULL;
	struct vm_handover h;
	struct err err = ERR_INIT;

	(void)state;
	check_result(vm_new(&options, &vm, &err), &err);
	if (quota_of(vm_number(vm)) == -1) {
		print_message("# skipped: the host has no cpu controller for a VM\n");
		skip();
	}
	template_grant(&template.memory_fd, &template.state_fd);
	check_result(vm_clone(vm, &template, &err), &err);
	close(template.memory_fd);
	close(template.state_fd);
	assert_int_equal(70, quota_of(vm_number(vm)));
	assert_int_equal(0, vm_set_aside(vm, &h, &err));
	assert_int_equal(0, quota_of(vm_number(vm)));
	vm_handover_done(&h);
}

/* ---- the taker's steps
 * --------------------------------------------------------------- */

enum kill_at {
	BEFORE_COMMIT,
	AFTER_COMMIT,
	AFTER_RESUME,
	NOT,
};

/* The file channel is the one that the giver had. */
static int check_files(struct vm *vm, struct err *err)
{
	int channel_fd, window_fd;
	char word[sizeof(WORD)] = "";

	vm_files(vm, &channel_fd, &window_fd);
	if (pread(window_fd, word, sizeof(word), 0) != sizeof(word) ||
		strcmp(word, WORD) != 0)
		return err_set(err, -EIO, "the window is another one");
	if (wait_fd(channel_fd, POLLIN, now_ms()) != -ETIMEDOUT)
		return err_set(err, -EIO, "the channel is closed");
	if (vm_files_uid(vm) != config()->uid_base + config()->uid_count + vm_number(vm))
		return err_set(err, -EIO, "the uid is another one");
	return 0;
}

/* All that a shim does with its VM. */
static int use(struct vm *vm, struct err *err)
{
	char why[2048];
	int r;

	r = check_files(vm, err);
	if (r == 0)
		r = vm_make_unique(vm, "pod", err);
	if (r == 0)
		r = vm_resize(vm, 2, 128 * MiB, err);
	if (r == 0 && template_count_vcpus(vm) != 2)
		r = err_set(err, -EIO, "it has not 2 vCPUs");
	if (r < 0)
		return r;
	vm_post_mortem(vm, why, sizeof(why));
	return strstr(why, "exit status is not known here") && strstr(why, "console")
		       ? 0
		       : err_set(err, -EIO, "%s", why);
}

static void run_taker(struct vm_handover *h, enum kill_at at)
{
	struct vm *vm = template_vm("pod-1");

	if (at == BEFORE_COMMIT)
		raise(SIGKILL);
	CHILD(vm_adopt(vm, h, err));
	if (at == AFTER_COMMIT)
		raise(SIGKILL);
	CHILD(vm_resume(vm, err));
	if (at == AFTER_RESUME)
		raise(SIGKILL);
	CHILD(use(vm, err));
	vm_free(vm);
	_exit(0);
}

static void take(enum kill_at at, int ended)
{
	struct vm_handover h;
	struct vm *giver = set_aside(&h);
	char cgroup[CGROUP_PATH_BYTES];
	struct err err = ERR_INIT;
	pid_t pid;

	cgroup_of(h.number, cgroup);
	assert_int_equal(0, vm_offer(giver, &err));
	pid = fork();
	if (pid == 0)
		run_taker(&h, at);
	assert_int_equal(ended, end_of(pid));
	assert_int_equal(at != NOT, alive(h.pid_fd));
	assert_int_equal(
		at == BEFORE_COMMIT ? VM_OURS : VM_TAKEN, vm_withdraw(giver, &err));
	/* What `delete` does for a taker that is gone. */
	sweep_twice();
	assert_int_equal(at == BEFORE_COMMIT, alive(h.pid_fd));
	assert_int_equal(at == BEFORE_COMMIT, is_there(h.number));
	vm_free(giver);
	assert_false(alive(h.pid_fd));
	assert_false(is_there(h.number));
	assert_no_cgroup(cgroup);
	vm_handover_done(&h);
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

static void test_taker_killed_after_resume(void **state)
{
	(void)state;
	take(AFTER_RESUME, 1000 + SIGKILL);
}

/* ---- the giver's steps
 * --------------------------------------------------------------- */

static void send_handover(int sock, const struct vm_handover *h)
{
	int fds[] = {h->qmp_fd, h->agent_fd, h->pid_fd, h->stderr_fd, h->files_fd,
		h->window_fd};

	CHILD(sock_send(sock, h, sizeof(*h), fds, ARRAY_SIZE(fds), soon()));
}

static struct vm_handover receive_handover(int sock)
{
	struct vm_handover h = VM_HANDOVER_INIT;
	int fds[6];

	assert_int_equal(sizeof(h), sock_recv(sock, &h, sizeof(h), fds, 6, soon()));
	h.qmp_fd = fds[0];
	h.agent_fd = fds[1];
	h.pid_fd = fds[2];
	h.stderr_fd = fds[3];
	h.files_fd = fds[4];
	h.window_fd = fds[5];
	return h;
}

/* A giver in a process of its own that is killed when it
 * has set the VM aside or offered it. */
static struct vm_handover killed_giver(bool offers)
{
	struct vm_handover h;
	struct vm *vm;
	int pair[2];
	pid_t pid;

	assert_int_equal(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	if (pid == 0) {
		vm = set_aside(&h);
		if (offers)
			CHILD(vm_offer(vm, err));
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

static void giver_killed(bool offers)
{
	struct vm_handover h = killed_giver(offers);
	_cleanup_(vm) struct vm *vm = template_vm("pod-1");
	unsigned int number = h.number;
	struct err err = ERR_INIT;

	sweep_twice();
	assert_false(alive(h.pid_fd));
	assert_false(is_there(number));
	/* A taker that comes late finds that out, and is as before. */
	assert_int_equal(VM_WITHDRAWN, vm_adopt(vm, &h, &err));
	assert_non_null(strstr(err.text, "withdrawn"));
	assert_int_equal(-1, h.pid_fd);
	assert_true(is_there(vm_number(vm)));
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

/* The giver is gone, and the taker has the VM: nobody else may undo it. */
static void test_giver_killed_after_commit(void **state)
{
	struct vm_handover h = killed_giver(true);
	struct vm *vm = template_vm("pod-1");
	unsigned int number = h.number;
	struct err err = ERR_INIT;

	(void)state;
	check_result(vm_adopt(vm, &h, &err), &err);
	assert_int_equal(number, vm_number(vm));
	sweep_twice();
	check_result(vm_resume(vm, &err), &err);
	check_result(use(vm, &err), &err);
	vm_free(vm);
	assert_false(is_there(number));
}

/* One that was not offered can't be taken. */
static void test_not_offered(void **state)
{
	struct vm_handover h;
	struct vm *giver = set_aside(&h);
	_cleanup_(vm) struct vm *vm = template_vm("pod-1");
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(VM_WITHDRAWN, vm_adopt(vm, &h, &err));
	assert_int_equal(VM_OURS, vm_withdraw(giver, &err));
	vm_free(giver);
}

/* A guest that ends by itself while it is set aside is not handed out. */
static void test_dead_is_not_detached(void **state)
{
	struct vm *vm = template_clone("giver");
	struct vm_handover h = VM_HANDOVER_INIT;
	struct err err = ERR_INIT;

	(void)state;
	pidfd_kill(vm_pidfd(vm), SIGKILL);
	assert_int_equal(-ECONNRESET, vm_set_aside(vm, &h, &err));
	assert_non_null(strstr(err.text, "set the VM aside"));
	assert_int_equal(-1, h.pid_fd);
	vm_free(vm);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
	const struct CMUnitTest tests[] = {
		TEST(test_cpu_limit),
		TEST(test_taken),
		TEST(test_taker_killed_before_commit),
		TEST(test_taker_killed_after_commit),
		TEST(test_taker_killed_after_resume),
		TEST(test_giver_killed_before_offer),
		TEST(test_giver_killed_after_offer),
		TEST(test_giver_killed_after_commit),
		TEST(test_not_offered),
		TEST(test_dead_is_not_detached),
	};

	return cmocka_run_group_tests(tests, template_enter, template_leave);
}
