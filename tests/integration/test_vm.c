/* SPDX-License-Identifier: Apache-2.0 */
/* vm/ with the real QEMU and the real guest: one template is booted,
 * all else are its clones. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <nettle/sha2.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "files/wire.h"
#include "hotplug/plug.h"
#include "tests/lib/template.h"
#include "tests/lib/test.h"
#include "vm/number.h"
#include "vm/sweep.h"
#include "vm/vm_internal.h"

static uint8_t template_digest[SHA256_DIGEST_SIZE];

static int open_memory(void)
{
	_cleanup_free_ char *path = template_file(GENERATION_FILE_MEMORY);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void digest_memory(uint8_t *ret)
{
	size_t size = template_get()->config.default_memory * MiB;
	_cleanup_close_ int fd = open_memory();
	const uint8_t *mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	struct sha256_ctx ctx;

	assert_true(mem != MAP_FAILED);
	sha256_init(&ctx);
	sha256_update(&ctx, size, mem);
	sha256_digest(&ctx, SHA256_DIGEST_SIZE, ret);
	munmap((void *)(uintptr_t)mem, size);
}

static int enter(void **state)
{
	int r = template_enter(state);

	digest_memory(template_digest);
	return r;
}

/* The value behind "<key>:" in /proc/<pid>/status. */
static void proc_status(int pid, const char *key, char *ret, size_t size)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", pid);
	_cleanup_free_ char *text = NULL;
	const char *line;
	size_t len;

	assert_int_equal(0, file_read(AT_FDCWD, path, 65536, &text, &len, NULL));
	line = strstr(text, key);
	assert_non_null(line);
	line += strlen(key) + 1;
	line += strspn(line, " \t");
	snprintf(ret, size, "%.*s", (int)strcspn(line, "\t\n"), line);
}

/* How QEMU holds the file that `stat` says: the flags in its fdinfo, octal. */
static int held_flags(int pid, const struct stat *st)
{
	for (int fd = 0; fd < 64; fd++) {
		_cleanup_free_ char *link = xasprintf("/proc/%d/fd/%d", pid, fd);
		_cleanup_free_ char *info = xasprintf("/proc/%d/fdinfo/%d", pid, fd);
		_cleanup_free_ char *text = NULL;
		struct stat held;
		size_t len;

		if (stat(link, &held) < 0 || held.st_ino != st->st_ino ||
			held.st_dev != st->st_dev)
			continue;
		assert_int_equal(0, file_read(AT_FDCWD, info, 4096, &text, &len, NULL));
		return (int)strtol(strstr(text, "flags:") + 6, NULL, 8);
	}
	fail_msg("QEMU does not hold the memory file");
	return -1;
}

/* A wall's proof: docs/security.md. */
static void test_walls(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("walls");
	static const char *const sets[] = {
		"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
	_cleanup_close_ int fd = open_memory();
	char value[64];
	struct stat st;

	(void)state;
	assert_int_equal(0, fstat(fd, &st));
	assert_int_equal(O_RDONLY, held_flags(vm_pid(vm), &st) & O_ACCMODE);
	proc_status(vm_pid(vm), "Seccomp", value, sizeof(value));
	assert_string_equal("2", value);
	proc_status(vm_pid(vm), "NoNewPrivs", value, sizeof(value));
	assert_string_equal("1", value);
	proc_status(vm_pid(vm), "Uid", value, sizeof(value));
	assert_true(strtoull(value, NULL, 10) >= template_get()->config.uid_base);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		proc_status(vm_pid(vm), sets[i], value, sizeof(value));
		assert_string_equal("0000000000000000", value);
	}
}

/* A clone works and grows; its template stays as it was. */
/* A wall's proof: docs/security.md. */
static void test_clone(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("clone");
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct err err = ERR_INIT;

	(void)state;
	if (vm_make_unique(vm, "pod", &err) < 0)
		fail_msg("%s", err.text);
	if (vm_resize(vm, 2, 128 * MiB, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(2, template_count_vcpus(vm));
	digest_memory(digest);
	assert_memory_equal(template_digest, digest, sizeof(digest));
}

/* The host's ends of the file channel, which the guest has not said anything to yet. */
static void test_files(void **state)
{
	const struct config *config = &template_get()->config;
	_cleanup_(vm) struct vm *vm = template_clone("files");
	int channel_fd, window_fd;
	struct stat st;
	char byte;

	(void)state;
	vm_files(vm, &channel_fd, &window_fd);
	assert_int_equal(0, fstat(window_fd, &st));
	assert_int_equal(FILES_WINDOW_BYTES, st.st_size);
	assert_int_equal(
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, fcntl(window_fd, F_GET_SEALS));
	assert_int_equal(
		config->uid_base + config->uid_count + vm_number(vm), vm_files_uid(vm));
	assert_int_equal(-1, recv(channel_fd, &byte, 1, MSG_DONTWAIT));
	assert_int_equal(EAGAIN, errno);
	vm_kill(vm);
	assert_int_equal(0, wait_fd(channel_fd, POLLIN, soon()));
	assert_int_equal(0, recv(channel_fd, &byte, 1, MSG_DONTWAIT));
}

/* Not in the saved state, so not in the template. */
static void check_template_has_no_window(struct vm *vm)
{
	int channel_fd, window_fd;

	vm_files(vm, &channel_fd, &window_fd);
	assert_true(channel_fd >= 0);
	assert_int_equal(-1, window_fd);
}

/* ---- ports ---- */

/* A tap of the test's own network namespace. */
static int make_tap(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(0, ioctl(fd, TUNSETIFF, &ifr));
	return fd;
}

static int plug_nic_number(struct vm *vm, int tap_fd, unsigned int i, struct err *err)
{
	struct vm_nic nic = {.tap_fd = tap_fd, .mac = {2, 0, 0, 0, 0, (uint8_t)i}};
	unsigned int port;

	return vm_plug_nic(vm, &nic, &port, err);
}

/* The guest has a driver on it, and says so once it has. */
static void expect_nic_in_guest(struct vm *vm, unsigned int i)
{
	Grpc__UpdateInterfaceRequest request = GRPC__UPDATE_INTERFACE_REQUEST__INIT;
	Types__Interface interface = TYPES__INTERFACE__INIT, *answer = NULL;
	_cleanup_free_ char *mac = xasprintf("02:00:00:00:00:%02x", i);
	_cleanup_free_ char *name = xasprintf("nic%u", i);
	struct err err = ERR_INIT;

	interface.hwaddr = mac;
	interface.device = interface.name = name;
	request.interface = &interface;
	check_result(
		agent_update_interface(vm_agent(vm), &request, &answer, soon(), &err),
		&err);
	types__interface__free_unpacked(answer, NULL);
}

/* 2 MiB that are no file system. */
static int make_zeros(void)
{
	static const char zeros[2 * MiB];
	int fd;

	assert_int_equal(0, file_write_atomic(AT_FDCWD, TEMPLATE_DIR "/zeros", zeros,
				    sizeof(zeros), 0644, NULL));
	fd = open(TEMPLATE_DIR "/zeros", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* The guest has a block device of it, `name`,
 * and finds nothing on it that it could mount. */
static void expect_image_in_guest(struct vm *vm, const char *address, const char *name)
{
	Grpc__CreateSandboxRequest request = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__Storage storage = GRPC__STORAGE__INIT, *storages[] = {&storage};
	_cleanup_free_ char *text =
		xasprintf("mount the image at %s (%s) on", address, name);
	_cleanup_free_ char *source = xstrdup(address);
	char driver[] = FILES_IMAGE_DRIVER, at[] = AGENT_SHARED_DIR "/image";
	struct err err = ERR_INIT;

	storage.driver = driver;
	storage.source = source;
	storage.mount_point = at;
	request.storages = storages;
	request.n_storages = 1;
	assert_true(agent_create_sandbox(vm_agent(vm), &request, soon(), &err) < 0);
	if (!strstr(err.text, text))
		fail_msg("\"%s\" is not in: %s", text, err.text);
}

/* The first two, as memory and as a disk. */
static void plug_images(struct vm *vm)
{
	struct config *config = &template_get()->config;
	_cleanup_close_ int fd = make_zeros();
	struct vm_image image = {.fd = fd, .bytes = 2 * MiB};
	uint64_t dax_max = config->images_dax_max;
	char memory[VM_PORT_ADDRESS_SIZE], disk[VM_PORT_ADDRESS_SIZE];
	struct err err = ERR_INIT;

	image.reserved = VM_PORTS;
	assert_error_names(vm_plug_image(vm, &image, memory, &err), -ENOSPC,
		"no hot-plug port of the VM is left for an image");
	image.reserved = VM_PORTS - 1;
	check_result(vm_plug_image(vm, &image, memory, &err), &err);
	assert_string_equal("0000:01:00.0", memory);
	image.reserved = VM_PORTS - 2;
	config->images_dax_max = 0;
	check_result(vm_plug_image(vm, &image, disk, &err), &err);
	config->images_dax_max = dax_max;
	assert_string_equal("0000:01:01.0", disk);
	expect_image_in_guest(vm, memory, "pmem0");
	expect_image_in_guest(vm, disk, "vda");
}

/* Each of them reaches the guest, with room for what it brings; then they have an end.
 * What QEMU refuses uses none. */
static void test_ports_run_out(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("ports");
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int tap_fd = -1;
	struct err err = ERR_INIT;

	(void)state;
	plug_images(vm);
	for (unsigned int i = 0; i < 2; i++)
		assert_error_names(plug_nic_number(vm, null_fd, 0, &err), -EREMOTEIO,
			"cannot plug network card nic2");
	for (unsigned int i = 2; i < VM_PORTS; i++) {
		_cleanup_close_ int fd = make_tap();

		check_result(plug_nic_number(vm, fd, i, &err), &err);
	}
	for (unsigned int i = 2; i < VM_PORTS; i++)
		expect_nic_in_guest(vm, i);
	assert_error(plug_nic_number(vm, null_fd, VM_PORTS, &err), -ENOSPC,
		"all 32 hot-plug ports of the VM are in use");
	/* One that goes leaves its port to the next, in the guest, too. */
	check_result(vm_unplug_nic(vm, 7, &err), &err);
	tap_fd = make_tap();
	check_result(plug_nic_number(vm, tap_fd, VM_PORTS, &err), &err);
	expect_nic_in_guest(vm, VM_PORTS);
}

/* ---- ends ---- */

static bool has_ended(int pidfd)
{
	return wait_fd(pidfd, 1 /* POLLIN */, now_ms()) == 0;
}

/* A process that has joined the VM's cgroup, as its file server has; says that it has. */
static void run_member(struct vm *vm, int said_fd)
{
	int fds[CGROUP_MAX];

	if (vm_open_cgroup(vm, fds, NULL) < 0)
		_exit(1);
	for (int i = 0; i < CGROUP_MAX; i++)
		if (fds[i] >= 0 && write(fds[i], "0", 1) != 1)
			_exit(1);
	if (write(said_fd, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* An owner that is killed leaves its VM to the sweep, which undoes it once, with all that
 * is in its cgroup. */
static void test_sweep(void **state)
{
	struct config *config = &template_get()->config;
	_cleanup_free_ char *vms = xasprintf("%s/" VM_FOLDERS, config->state_dir);
	struct err err = ERR_INIT;
	int status, member[2];
	pid_t pid;
	char byte;

	(void)state;
	assert_int_equal(0, pipe2(member, O_CLOEXEC));
	pid = fork();
	if (pid == 0) {
		struct vm *vm = template_clone("orphan");

		if (fork() == 0)
			run_member(vm, member[1]);
		if (read(member[0], &byte, 1) != 1)
			_exit(1);
		raise(SIGKILL);
	}
	close(member[1]);
	assert_int_equal(pid, waitpid(pid, &status, 0));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(0, access(vms, F_OK));
	/* It lives: its end of the pipe is open. */
	assert_int_equal(-ETIMEDOUT, wait_fd(member[0], POLLIN, now_ms()));
	for (int i = 0; i < 2; i++)
		check_result(vm_sweep(config, "test", "orphan", &err), &err);
	assert_int_equal(-1, access(vms, F_OK));
	assert_int_equal(0, wait_fd(member[0], POLLIN, soon()));
	assert_int_equal(0, read(member[0], &byte, 1));
	close(member[0]);
}

/* Told once when QEMU dies, not at all when it is killed by us. */
static void count_end(void *user)
{
	__atomic_add_fetch((int *)user, 1, __ATOMIC_SEQ_CST);
}

static struct vm *start_counted(int *ends)
{
	struct vm_template template = {.manifest = &template_get()->g.manifest,
		.generation = template_get()->g.id};
	struct vm_options options = {.config = &template_get()->config,
		.namespace = "test",
		.sandbox = "counted",
		.ended = count_end,
		.user = ends};
	struct err err = ERR_INIT;
	struct vm *vm;

	check_result(vm_new(&options, &vm, &err), &err);
	template_grant(&template.memory_fd, &template.state_fd);
	check_result(vm_clone(vm, &template, &err), &err);
	close(template.memory_fd);
	close(template.state_fd);
	return vm;
}

static void test_ended(void **state)
{
	int ends = 0;
	struct vm *vm = start_counted(&ends);

	(void)state;
	vm_free(vm);
	assert_int_equal(0, ends);
	vm = start_counted(&ends);
	pidfd_kill(vm_pidfd(vm), SIGKILL);
	vm_unwatch(vm);
	assert_int_equal(1, ends);
	vm_free(vm);
	assert_int_equal(1, ends);
	vm = start_counted(&ends);
	vm_kill(vm);
	vm_unwatch(vm);
	assert_true(has_ended(vm_pidfd(vm)));
	vm_free(vm);
	assert_int_equal(1, ends);
}

/* As its filter does. */
/* A wall's proof: docs/security.md. */
static void test_filtered(void **state)
{
	int ends = 0;
	struct vm *vm = start_counted(&ends);
	char why[800];

	(void)state;
	vm_post_mortem(vm, why, sizeof(why));
	assert_null(strstr(why, "SIGSYS"));
	pidfd_kill(vm_pidfd(vm), SIGSYS);
	vm_unwatch(vm);
	assert_int_equal(1, ends);
	vm_post_mortem(vm, why, sizeof(why));
	assert_non_null(strstr(why, "it made a system call that no QEMU makes"));
	vm_free(vm);
}

/* A start that failed leaves nothing that the next one on the same handle could stumble
 * over: the factory falls back so. */
static void test_start_after_failure(void **state)
{
	struct vm_template template = {.manifest = &template_get()->g.manifest,
		.generation = template_get()->g.id};
	int ends = 0;
	struct vm_options options = {.config = &template_get()->config,
		.namespace = "test",
		.sandbox = "fallback",
		.ended = count_end,
		.user = &ends};
	struct err err = ERR_INIT;
	struct vm *vm;
	int good_fd;

	(void)state;
	check_result(vm_new(&options, &vm, &err), &err);
	template_grant(&template.memory_fd, &good_fd);
	template.state_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(vm_clone(vm, &template, &err) < 0);
	assert_non_null(strstr(err.text, "clone: "));
	close(template.state_fd);
	template.state_fd = good_fd;
	err = ERR_INIT;
	check_result(vm_clone(vm, &template, &err), &err);
	check_result(vm_make_unique(vm, "pod", &err), &err);
	assert_int_equal(0, ends);
	close(template.memory_fd);
	close(template.state_fd);
	vm_free(vm);
	assert_int_equal(0, ends);
}

/* A start that runs is ended from another thread, wherever it is. */
struct start {
	struct vm *vm;
	bool cold;
	int r;
};

static void *run_start(void *arg)
{
	struct start *s = arg;
	struct vm_template template = {.manifest = &template_get()->g.manifest,
		.generation = template_get()->g.id};
	struct err err = ERR_INIT;

	if (s->cold) {
		s->r = vm_boot(s->vm, -1, &err);
		return NULL;
	}
	template_grant(&template.memory_fd, &template.state_fd);
	s->r = vm_clone(s->vm, &template, &err);
	close(template.memory_fd);
	close(template.state_fd);
	return NULL;
}

/* delay_us: how far the start has come is left to chance, what comes of it is not. */
static void kill_start(bool cold, int64_t delay_us)
{
	struct start s = {.vm = template_vm("killed"), .cold = cold};
	struct timespec delay = {.tv_nsec = delay_us * 1000};
	struct err err = ERR_INIT;
	int64_t killed_ms;
	pthread_t thread;

	assert_int_equal(0, pthread_create(&thread, NULL, run_start, &s));
	clock_nanosleep(CLOCK_MONOTONIC, 0, &delay, NULL);
	vm_kill(s.vm);
	killed_ms = now_ms();
	pthread_join(thread, NULL);
	print_message("# %s, killed after %lld us: ended after %lld ms\n",
		cold ? "boot" : "clone", (long long)delay_us,
		(long long)(now_ms() - killed_ms));
	/* The clone may have been ready by then. */
	assert_true(cold ? s.r < 0 : true);
	/* It starts no more. */
	assert_true(vm_boot(s.vm, -1, &err) < 0);
	vm_free(s.vm);
}

static void test_killed_while_starting(void **state)
{
	_cleanup_free_ char *vms =
		xasprintf("%s/" VM_FOLDERS, template_get()->config.state_dir);

	(void)state;
	for (int64_t us = 0; us <= 40000; us += 10000) {
		kill_start(true, us);
		kill_start(false, us);
	}
	kill_start(true, 400000);
	assert_int_equal(-1, access(vms, F_OK));
}

/* `timeout_ms` for the boot; NULL: as long as all else. */
static void boot_fails(const char *key, const char *value, const char *timeout_ms,
	int code, const char *const *parts)
{
	struct vm_options options = {.namespace = "test", .sandbox = "fails"};
	struct err err = ERR_INIT;
	struct config config;
	struct vm *vm;

	config_init(&config);
	template_set_guest(&config, "kernel", "vmlinuz");
	template_set_guest(&config, "initrd", "initrd.img");
	template_set(&config, "runtime", "state_dir", TEMPLATE_DIR "/state");
	template_set_patience(&config);
	if (timeout_ms)
		template_set(&config, "runtime", "boot_timeout_ms", timeout_ms);
	template_set(&config, "hypervisor", key, value);
	options.config = &config;
	check_result(vm_new(&options, &vm, &err), &err);
	assert_int_equal(code, vm_boot(vm, -1, &err));
	for (; *parts; parts++)
		if (!strstr(err.text, *parts))
			fail_msg("\"%s\" is not in: %s", *parts, err.text);
	vm_free(vm);
	config_done(&config);
}

/* The guest panics (its initramfs is none): the error has the end of its console. */
static void test_guest_panics(void **state)
{
	_cleanup_free_ char *file = xasprintf("%s/none.img", TEMPLATE_DIR "/state");

	(void)state;
	assert_int_equal(
		0, file_write_atomic(AT_FDCWD, file, "not an initramfs", 16, 0644, NULL));
	boot_fails("initrd", file, NULL, -ECONNRESET,
		(const char *[]){
			"agent does not answer", "console ends with", "panic", NULL});
}

static void test_guest_is_silent(void **state)
{
	(void)state;
	boot_fails("default_memory", "256", "300", -ETIMEDOUT,
		(const char *[]){"agent did not answer within", "console", NULL});
}

static void test_not_qemu(void **state)
{
	(void)state;
	boot_fails("path", "/bin/true", NULL, -ECONNRESET,
		(const char *[]){"QEMU (/bin/true) does not answer", NULL});
	boot_fails("path", "/nowhere/qemu", NULL, -ENOENT,
		(const char *[]){"/nowhere/qemu", "key path", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walls),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_ports_run_out),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_start_after_failure),
		cmocka_unit_test(test_killed_while_starting),
		cmocka_unit_test(test_guest_panics),
		cmocka_unit_test(test_guest_is_silent),
		cmocka_unit_test(test_filtered),
		cmocka_unit_test(test_not_qemu),
	};

	/* Taps end with this namespace. */
	if (unshare(CLONE_NEWNET) < 0) {
		perror("unshare");
		return 1;
	}
	template_on_save(check_template_has_no_window);
	return cmocka_run_group_tests(tests, enter, template_leave);
}
