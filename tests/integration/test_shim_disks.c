/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's disks: root file systems on block devices and files of the host, and block
 * devices that containers are given. */
#include "tests/integration/shim_world.h"

#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "shim/proto/containerd_types.pb-c.h"
#include "vm/argv.h"

/* ---- disks ---- */

static int run(const char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (dup2(null, 1) < 0 || dup2(null, 2) < 0)
			_exit(126);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The bundle's root file system as an ext4 in a file; its path, the caller's. */
static char *make_disk(const char *bundle)
{
	_cleanup_free_ char *root = xasprintf(DIR_ "/%s/rootfs", bundle);
	char *disk = xasprintf(DIR_ "/%s.ext4", bundle);
	const char *const argv[] = {
		"mke2fs", "-q", "-t", "ext4", "-d", root, disk, "16M", NULL};

	assert_int_equal(run(argv), 0);
	return disk;
}

/* What a file on such a disk has, by the disk alone. */
static void assert_on_disk(const char *disk, const char *path, const char *wanted)
{
	_cleanup_free_ char *command = xasprintf("dump %s " DIR_ "/dumped", path),
			    *text = NULL;
	const char *const argv[] = {"debugfs", "-R", command, disk, NULL};
	struct err err = ERR_INIT;
	size_t len;

	unlink(DIR_ "/dumped");
	assert_int_equal(run(argv), 0);
	if (file_read(AT_FDCWD, DIR_ "/dumped", 4096, &text, &len, &err) < 0)
		fail_msg("%s: %s", path, err.text);
	assert_string_equal(text, wanted);
}

struct loop {
	char path[32];
	int fd;
	dev_t dev;
};

/* It goes when nobody has it open any more; without one the test is skipped. */
static void loop_make(const char *file, struct loop *ret)
{
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int file_fd = open(file, O_RDWR | O_CLOEXEC);
	struct loop_config config = {
		.fd = (unsigned int)file_fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
	struct stat st;

	assert_true(file_fd >= 0);
	if (control < 0)
		skip();
	do {
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		assert_true(n >= 0);
		snprintf(ret->path, sizeof(ret->path), "/dev/loop%d", n);
		ret->fd = open(ret->path, O_RDWR | O_CLOEXEC);
		if (ret->fd < 0)
			skip();
	} while (ioctl(ret->fd, LOOP_CONFIGURE, &config) < 0 && errno == EBUSY &&
		 close(ret->fd) == 0);
	assert_int_equal(fstat(ret->fd, &st), 0);
	ret->dev = st.st_rdev;
}

static bool loop_has_file(const struct loop *loop)
{
	_cleanup_close_ int fd = open(loop->path, O_RDONLY | O_CLOEXEC);
	struct loop_info64 info;

	return ioctl(fd, LOOP_GET_STATUS64, &info) == 0;
}

/* ---- containers ---- */

static struct ttrpc_client *client; /* of the pod that the test is about */

#define IN_BOX                                                                           \
	"\"io.kubernetes.cri-o.ContainerType\":\"container\","                           \
	"\"io.kubernetes.cri-o.SandboxID\":\"box\""

/* A spec with the device at /disk. */
static char *make_device_spec(dev_t dev, const char *access, const char *script)
{
	_cleanup_free_ char *more = xasprintf(
		",\"devices\":[{\"path\":\"/disk\",\"type\":\"b\",\"major\":%u,"
		"\"minor\":%u,\"fileMode\":432}],\"resources\":{\"devices\":["
		"{\"allow\":false,\"access\":\"rwm\"},"
		"{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":3,\"access\":\"rwm\"},"
		"{\"allow\":true,\"type\":\"b\",\"major\":%u,\"minor\":%u,\"access\":\"%s\"}]}",
		major(dev), minor(dev), major(dev), minor(dev), access);

	return make_spec_with(IN_BOX, script, more);
}

/* With its root on that disk, unless it is NULL. */
static int try_create(const char *id, Containerd__Types__Mount *root, struct err *err)
{
	TASK(CreateTaskRequest) request = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	_cleanup_free_ char *bundle = xasprintf(DIR_ "/%s", id);

	request.id = (char *)(uintptr_t)id;
	request.bundle = bundle;
	request.rootfs = &root;
	request.n_rootfs = root ? 1 : 0;
	return try_call(client, "Create", &request, NULL, NULL, err);
}

static void start(const char *id, Containerd__Types__Mount *root)
{
	TASK(StartRequest) request = CONTAINERD__TASK__V2__START_REQUEST__INIT;
	struct err err = ERR_INIT;

	if (try_create(id, root, &err) < 0)
		fail_msg("%s", err.text);
	request.id = (char *)(uintptr_t)id;
	call(client, "Start", &request, NULL, NULL);
}

static void refuse(const char *id, Containerd__Types__Mount *root, const char *text)
{
	struct err err = ERR_INIT;

	if (try_create(id, root, &err) == 0 || !strstr(err.text, text))
		fail_msg("\"%s\" has no \"%s\"", err.text, text);
}

static Containerd__Types__Mount mount_of(const char *disk, char **options, size_t n)
{
	Containerd__Types__Mount m = CONTAINERD__TYPES__MOUNT__INIT;

	m.type = "ext4";
	m.source = (char *)(uintptr_t)disk;
	m.options = options;
	m.n_options = n;
	return m;
}

/* ---- a pod in which they are ---- */

static void end_shim(const char *id)
{
	TASK(ShutdownRequest) request = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;

	request.id = (char *)(uintptr_t)id;
	call(client, "Shutdown", &request, NULL, NULL);
	ttrpc_client_free(client);
}

static int start_box(void **state)
{
	_cleanup_free_ char *spec =
		make_spec("\"io.kubernetes.cri-o.ContainerType\":\"sandbox\"", "read x");
	_cleanup_free_ char *address = NULL;

	if (world_enter(state) < 0)
		return -1;
	service = "containerd.task.v2.Task";
	write_text(CONTAINERD, 0700, "#!/bin/sh\necho crio version 1.30.0\n");
	make_bundle("box", spec);
	address = start_shim_in("box", "", CONTAINERD);
	client = connect_to(address);
	start("box", NULL);
	return 0;
}

static int end_box(void **state)
{
	kill_task(client, "box");
	assert_int_equal(wait_task(client, "box"), 137);
	delete_task_of(client, "box");
	end_shim("box");
	shim_ends();
	return world_leave(state);
}

/* ---- root file systems ---- */

/* More often than the VM has ports: each is given back. */
static void test_root(void **state)
{
	_cleanup_free_ char *spec =
		make_spec(IN_BOX, "read n </count; echo $((n + 1)) >/count; exit 5");
	_cleanup_free_ char *disk = NULL, *wanted = NULL;
	Containerd__Types__Mount root;
	char *options[] = {"loop", "noatime"};
	unsigned int n;

	(void)state;
	make_bundle("root", spec);
	write_text(DIR_ "/root/rootfs/count", 0644, "0\n");
	disk = make_disk("root");
	root = mount_of(disk, options, 2);
	for (n = 0; n < VM_PORTS + 2; n++) {
		start("root", &root);
		assert_int_equal(wait_task(client, "root"), 5);
		delete_task_of(client, "root");
	}
	wanted = xasprintf("%u\n", n);
	assert_on_disk(disk, "/count", wanted);
}

/* A file system of each kind that the guest mounts, read-only. */
static void assert_readonly(const char *id, char *fstype, const char *const *make)
{
	_cleanup_free_ char *disk = xasprintf(DIR_ "/%s.disk", id);
	Containerd__Types__Mount root;
	char *options[] = {"ro", "loop"};

	assert_int_equal(run(make), 0);
	root = mount_of(disk, options, 2);
	root.type = fstype;
	start(id, &root);
	assert_int_equal(wait_task(client, id), 6);
	delete_task_of(client, id);
}

static void test_root_readonly(void **state)
{
	static const char proto[] = "/\n0 0\nd--755 0 0\n"
				    "sh ---755 0 0 " DIR_ "/view/rootfs/sh\n"
				    "dev d--755 0 0\n$\nproc d--755 0 0\n$\n$\n";
	const char *const erofs[] = {
		"mkfs.erofs", DIR_ "/view.disk", DIR_ "/view/rootfs", NULL};
	const char *const xfs[] = {"mkfs.xfs", "-f", "-p", DIR_ "/proto", "-d",
		"size=320m,file,name=" DIR_ "/view.disk", NULL};
	_cleanup_free_ char *spec = make_spec(IN_BOX, "echo x >/made || exit 6");

	(void)state;
	make_bundle("view", spec);
	write_text(DIR_ "/proto", 0600, proto);
	assert_readonly("view", "erofs", erofs);
	assert_readonly("view", "xfs", xfs);
}

/* The host can't mount it as long as the guest has it, nor the other way round. */
static void test_root_device(void **state)
{
	_cleanup_free_ char *spec = make_spec(IN_BOX, "echo made >/made; read x");
	_cleanup_free_ char *disk = NULL, *text = NULL;
	Containerd__Types__Mount root;
	struct loop loop;

	(void)state;
	make_bundle("device", spec);
	disk = make_disk("device");
	loop_make(disk, &loop);
	root = mount_of(loop.path, NULL, 0);
	assert_int_equal(mkdir(DIR_ "/on", 0700), 0);
	assert_int_equal(mount(loop.path, DIR_ "/on", "ext4", 0, NULL), 0);
	text = xasprintf(
		"root file system: %s is mounted, or in use otherwise", loop.path);
	refuse("device", &root, text);
	assert_int_equal(umount(DIR_ "/on"), 0);

	start("device", &root);
	assert_int_equal(mount(loop.path, DIR_ "/on", "ext4", 0, NULL), -1);
	assert_int_equal(errno, EBUSY);
	kill_task(client, "device");
	assert_int_equal(wait_task(client, "device"), 137);
	delete_task_of(client, "device");
	assert_int_equal(mount(loop.path, DIR_ "/on", "ext4", 0, NULL), 0);
	assert_int_equal(umount(DIR_ "/on"), 0);
	close(loop.fd);
	assert_false(loop_has_file(&loop));
}

static void test_root_refused(void **state)
{
	_cleanup_free_ char *spec = make_spec(IN_BOX, "exit 0");
	Containerd__Types__Mount root;
	char *options[] = {"loop"};

	(void)state;
	make_bundle("empty", spec);
	write_text(DIR_ "/empty.ext4", 0600, "no file system\n");
	root = mount_of(DIR_ "/empty.ext4", options, 1);
	refuse("empty", &root, "mount the block device at ");
}

/* The host's disk is full: the guest is told, and goes on. */
static void test_root_full(void **state)
{
	_cleanup_free_ char *spec = make_spec(IN_BOX,
		"/dd if=/dev/zero of=/big bs=64k count=128 conv=fsync && exit 4; exit 9");
	const char *const copy[] = {"cp", "--sparse=always", DIR_ "/full.ext4",
		DIR_ "/small/full.ext4", NULL};
	_cleanup_free_ char *disk = NULL;
	Containerd__Types__Mount root;
	char *options[] = {"loop"};

	(void)state;
	make_bundle("full", spec);
	assert_int_equal(symlink("sh", DIR_ "/full/rootfs/dd"), 0);
	disk = make_disk("full");
	assert_int_equal(mkdir(DIR_ "/small", 0700), 0);
	assert_int_equal(mount("small", DIR_ "/small", "tmpfs", 0, "size=6m"), 0);
	assert_int_equal(run(copy), 0);
	root = mount_of(DIR_ "/small/full.ext4", options, 1);
	start("full", &root);
	assert_int_equal(wait_task(client, "full"), 9);
	delete_task_of(client, "full");
	assert_int_equal(umount(DIR_ "/small"), 0);
}

/* ---- devices ---- */

static void make_data(const char *text)
{
	write_text(DIR_ "/data", 0600, text);
	assert_int_equal(truncate(DIR_ "/data", 1 << 20), 0);
}

/* Two containers see one device: what one of them has written the other one reads. */
static void test_device(void **state)
{
	_cleanup_free_ char *writes = NULL, *reads = NULL, *looks = NULL, *text = NULL;
	struct err err = ERR_INIT;
	struct loop loop;
	size_t len;

	(void)state;
	make_data("host\n");
	loop_make(DIR_ "/data", &loop);
	writes = make_device_spec(loop.dev, "rwm",
		"read x </disk; [ $x = host ] || exit 3; echo one >/disk; read x");
	reads = make_device_spec(loop.dev, "rw",
		"until [ x$x = xone ]; do read x </disk || exit 3; done; exit 7");
	looks = make_device_spec(
		loop.dev, "r", "read x </disk || exit 3; echo two >/disk || exit 8");
	make_bundle("writes", writes);
	make_bundle("reads", reads);
	make_bundle("looks", looks);
	start("writes", NULL);
	start("reads", NULL);
	assert_int_equal(wait_task(client, "reads"), 7);
	delete_task_of(client, "reads");
	start("looks", NULL);
	assert_int_equal(wait_task(client, "looks"), 8);
	delete_task_of(client, "looks");
	kill_task(client, "writes");
	assert_int_equal(wait_task(client, "writes"), 137);
	delete_task_of(client, "writes");
	close(loop.fd);
	assert_false(loop_has_file(&loop));
	if (file_read(AT_FDCWD, DIR_ "/data", 2 << 20, &text, &len, &err) < 0)
		fail_msg("%s", err.text);
	assert_memory_equal(text, "one\n", 4);
}

static void test_device_refused(void **state)
{
	_cleanup_free_ char *spec =
		make_device_spec(makedev(259, 1048000), "r", "exit 0");

	(void)state;
	make_bundle("nothing", spec);
	refuse("nothing", NULL,
		"device /disk: cannot open block device 259:1048000: No such device or "
		"address");
}

/* ---- a pod's last container ---- */

/* Its VM is killed, but not before what it has written is on the disk. */
static void test_last(void **state)
{
	_cleanup_free_ char *spec = make_spec("", "echo made >/made"), *disk = NULL,
			    *address = NULL;
	char *options[] = {"loop"};
	struct ttrpc_client *box = client;
	Containerd__Types__Mount root;

	(void)state;
	make_bundle("last", spec);
	disk = make_disk("last");
	root = mount_of(disk, options, 1);
	address = start_shim_in("last", "", CONTAINERD);
	client = connect_to(address);
	start("last", &root);
	assert_int_equal(wait_task(client, "last"), 0);
	delete_task_of(client, "last");
	assert_on_disk(disk, "/made", "made\n");
	end_shim("last");
	client = box;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_root_readonly),
		cmocka_unit_test(test_root_device),
		cmocka_unit_test(test_root_refused),
		cmocka_unit_test(test_root_full),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_device_refused),
		cmocka_unit_test(test_last),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root: VMs and mounts\n");
		return 0;
	}
	return cmocka_run_group_tests_name(
		"integration/shim_disks", tests, start_box, end_box);
}
