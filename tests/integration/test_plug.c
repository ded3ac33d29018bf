/* SPDX-License-Identifier: Apache-2.0 */
/* hotplug/ against the real QEMU: an empty machine that never runs a guest. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "tests/integration/qmp_schema.h"

/*
 * Between the session and QEMU stands a relay that keeps every line the session sends, so
 * that the last test can hold all of them against QEMU's own schema.
 */
struct machine {
	pid_t pid;
	struct qmp *q;
	pthread_t relay;
	int relay_a, relay_b;
};

static char *sent; /* what all sessions sent, one command a line */
static size_t sent_len;
static struct machine shared; /* the one most tests use */

#define assert_ok(expr)                                                                  \
	do {                                                                             \
		struct err err_ = ERR_INIT;                                              \
		struct err *err = &err_;                                                 \
		int r_ = (expr);                                                         \
		if (r_ < 0)                                                              \
			fail_msg("%s: %d %s", #expr, r_, err_.text);                     \
		(void)err;                                                               \
	} while (0)

/* expr fails with `code` and a text that has `part` in it. */
#define assert_err(expr, code_, part)                                                    \
	do {                                                                             \
		struct err err_ = ERR_INIT;                                              \
		struct err *err = &err_;                                                 \
		int r_ = (expr);                                                         \
		if (r_ != (code_) || err_.code != r_ || !strstr(err_.text, part))        \
			fail_msg("%s: %d (%d) \"%s\"", #expr, r_, err_.code, err_.text); \
		(void)err;                                                               \
	} while (0)

/* ---- a QEMU and the relay ---- */

/* Passes on what there is, with a descriptor beside it; false at the end. */
static bool pass(int from, int to, bool keep)
{
	char buf[65536];
	int fd = -1;
	ssize_t n = sock_recv(from, buf, sizeof(buf), &fd, 1, DEADLINE_NONE);
	int r;

	if (n <= 0)
		return false;
	if (keep) {
		sent = xreallocarray(sent, sent_len + (size_t)n, 1);
		memcpy(sent + sent_len, buf, (size_t)n);
		sent_len += (size_t)n;
	}
	r = sock_send(to, buf, (size_t)n, &fd, fd >= 0 ? 1 : 0, DEADLINE_NONE);
	close_fd(fd);
	return r == 0;
}

static void *relay_main(void *arg)
{
	struct machine *m = arg;
	struct pollfd p[2] = {{m->relay_a, POLLIN, 0}, {m->relay_b, POLLIN, 0}};
	bool alive = true;

	while (alive && poll(p, 2, -1) > 0) {
		if (p[0].revents)
			alive = pass(m->relay_a, m->relay_b, true);
		if (alive && p[1].revents)
			alive = pass(m->relay_b, m->relay_a, false);
	}
	shutdown(m->relay_a, SHUT_RDWR);
	shutdown(m->relay_b, SHUT_RDWR);
	return NULL;
}

#define QEMU "/usr/bin/qemu-system-x86_64"

static const char *const common_args[] = {QEMU, "-machine",
	"q35,accel=tcg,memory-backend=ram", "-cpu", "Nehalem", "-nodefaults", "-display",
	"none", "-S", "-smp", "1,maxcpus=4,sockets=4", "-m", "128M,slots=2,maxmem=1G",
	"-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control", "-chardev",
	"ringbuf,id=console,size=1024", "-device", "isa-serial,chardev=console",
	"-device", "pci-bridge,id=ports,chassis_nr=1,shpc=off"};

/* memory_fd is the child's descriptor 4. */
static void exec_qemu(int qmp_fd, int memory_fd, const char *backend, bool incoming)
{
	const char *argv[64];
	size_t n = 0;

	for (; n < ARRAY_SIZE(common_args); n++)
		argv[n] = common_args[n];
	argv[n++] = "-object";
	argv[n++] = backend;
	if (incoming) {
		argv[n++] = "-incoming";
		argv[n++] = "defer";
	}
	argv[n] = NULL;
	/* Not to outlive a test that failed; else it also keeps prove
	 * waiting for the end of its output. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Its complaints about what these tests do to it are not theirs. */
	if (dup2(open("/dev/null", O_WRONLY), 2) < 0 || dup2(qmp_fd, 3) < 0 ||
		(memory_fd >= 0 && dup2(memory_fd, 4) < 0))
		_exit(126);
	execv(QEMU, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void machine_start(
	struct machine *m, int memory_fd, const char *backend, bool incoming)
{
	int session[2], qemu[2], high, memory_high = -1;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, session), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qemu), 0);
	/* Out of the way of 3 and 4. */
	high = fcntl(qemu[1], F_DUPFD_CLOEXEC, 10);
	if (memory_fd >= 0)
		memory_high = fcntl(memory_fd, F_DUPFD_CLOEXEC, 10);
	m->pid = fork();
	assert_true(m->pid >= 0);
	if (m->pid == 0)
		exec_qemu(high, memory_high, backend, incoming);
	close(qemu[1]);
	close(high);
	close_fd(memory_high);
	m->relay_a = session[1];
	m->relay_b = qemu[0];
	assert_int_equal(thread_start(relay_main, m, 256 << 10, false, &m->relay), 0);
	assert_ok(qmp_new(session[0], soon(), &m->q, err));
}

static void machine_end(struct machine *m)
{
	kill(m->pid, SIGKILL);
	assert_int_equal(waitpid(m->pid, NULL, 0), m->pid);
	qmp_free(m->q);
	pthread_join(m->relay, NULL);
	close(m->relay_a);
	close(m->relay_b);
	*m = (struct machine){0};
}

#define RAM "memory-backend-ram,id=ram,size=128M"

static int start_shared(void **state)
{
	(void)state;
	machine_start(&shared, -1, RAM, false);
	return 0;
}

static int end_shared(void **state)
{
	(void)state;
	machine_end(&shared);
	free(sent);
	return 0;
}

/* A command's arguments; NULL: none. */
static struct json_object *parse(const char *args)
{
	struct json_object *parsed = NULL;

	if (args)
		assert_ok(json_parse("args", args, strlen(args), 8, &parsed, err));
	return parsed;
}

/* A command whose answer is wanted as text, without spaces. */
static char *ask(const char *name, const char *args)
{
	_cleanup_json_ struct json_object *answer = NULL;

	assert_ok(qmp_ask(shared.q,
		&(struct qmp_request){
			.name = name, .args = parse(args), .deadline = soon()},
		&answer, err));
	return xstrdup(json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN));
}

static void assert_asked(const char *name, const char *args, const char *answer)
{
	_cleanup_free_ char *text = ask(name, args);

	assert_string_equal(text, answer);
}

/* ---- session ---- */

static void test_version(void **state)
{
	(void)state;
	assert_in_range(qmp_version(shared.q), 70000, 990000);
}

static void test_refusals(void **state)
{
	(void)state;
	assert_err(qmp_command(shared.q, "no-such", NULL, soon(), err), -ENOSYS,
		"QMP no-such: QEMU refused: \"");
	assert_err(qmp_command(shared.q, "device_del", parse("{\"id\":\"nobody\"}"),
			   soon(), err),
		-ENODEV, "QMP device_del: QEMU refused: \"");
	assert_err(
		qmp_closefd(shared.q, "nobody", soon(), err), -EREMOTEIO, "QMP closefd");
}

static void test_console(void **state)
{
	_cleanup_free_ char *text = NULL;
	static const char write[] =
		"{\"device\":\"console\",\"data\":\"one\\ntw\\u00f6\"}";

	(void)state;
	assert_ok(qmp_ringbuf_read(shared.q, "console", 100, &text, soon(), err));
	assert_string_equal(text, "");
	free(text);
	assert_asked("ringbuf-write", write, "{}");
	assert_ok(qmp_ringbuf_read(shared.q, "console", 100, &text, soon(), err));
	assert_string_equal(text, "one\ntwö");
	free(text);
	assert_asked("ringbuf-write", write, "{}");
	assert_ok(qmp_ringbuf_read(shared.q, "console", 1, &text, soon(), err));
	assert_string_equal(text, ""); /* not half a character */
	assert_err(qmp_ringbuf_read(shared.q, "nobody", 1, &text, soon(), err),
		-EREMOTEIO, "QMP ringbuf-read");
}

/* ---- plugging ---- */

static size_t count_vcpus(void)
{
	_cleanup_json_ struct json_object *cpus = NULL;

	assert_ok(qmp_ask(shared.q,
		&(struct qmp_request){.name = "query-cpus-fast", .deadline = soon()},
		&cpus, err));
	return json_object_array_length(cpus);
}

static void test_vcpus(void **state)
{
	_cleanup_free_ char *cpus = NULL;

	(void)state;
	assert_int_equal(count_vcpus(), 1);
	assert_ok(plug_vcpus(shared.q, 3, soon(), err));
	assert_ok(plug_vcpus(shared.q, 2, soon(), err)); /* fewer is no change */
	assert_int_equal(count_vcpus(), 3);
	/* The lowest places are filled first. */
	cpus = ask("query-cpus-fast", NULL);
	assert_non_null(strstr(cpus, "\"socket-id\":0"));
	assert_non_null(strstr(cpus, "\"socket-id\":1"));
	assert_non_null(strstr(cpus, "\"socket-id\":2"));
	assert_null(strstr(cpus, "\"socket-id\":3"));
	assert_err(plug_vcpus(shared.q, 5, soon(), err), -ERANGE,
		"5 vCPUs are wanted, the machine takes at most 4");
}

static void test_dimm(void **state)
{
	_cleanup_free_ char *devices = NULL, *before = NULL, *after = NULL;

	(void)state;
	assert_ok(plug_dimm(shared.q, "mem0", 256 * MiB, soon(), err));
	devices = ask("query-memory-devices", NULL);
	assert_non_null(strstr(devices, "\"size\":268435456"));
	assert_non_null(strstr(devices, "\"id\":\"dev-mem0\""));
	assert_asked("qom-get", "{\"path\":\"/objects/mem0\",\"property\":\"share\"}",
		"false");

	before = ask("qom-list", "{\"path\":\"/objects\"}");
	assert_err(plug_dimm(shared.q, "mem1", 2048 * MiB, soon(), err), -EREMOTEIO,
		"cannot plug 2048 MiB of memory: QMP device_add: QEMU refused: \"");
	assert_err(plug_dimm(shared.q, "mem0", 128 * MiB, soon(), err), -EREMOTEIO,
		"QMP object-add");
	after = ask("qom-list", "{\"path\":\"/objects\"}");
	assert_string_equal(before, after);
	assert_err(plug_dimm(shared.q, "mem1", 100 * MiB, soon(), err), -EINVAL,
		"not a multiple of 134217728");
	assert_err(plug_dimm(shared.q, "mem1", 0, soon(), err), -EINVAL,
		"cannot plug 0 bytes");
}

static int make_tap(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static int open_fds_of(pid_t pid)
{
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

#define NIC_GET(property)                                                                \
	"{\"path\":\"/machine/peripheral/dev-nic0\",\"property\":\"" property "\"}"

static void test_nic(void **state)
{
	_cleanup_close_ int tap_fd = make_tap();
	struct plug_nic nic = {.id = "nic0",
		.port = {.bus = "nowhere", .slot = 31},
		.tap_fd = tap_fd,
		.mac = {0x02, 0, 0, 0xab, 0xcd, 0xef}};
	int before = open_fds_of(shared.pid);

	(void)state;
	assert_err(plug_nic(shared.q, &nic, soon(), err), -EREMOTEIO,
		"cannot plug network card nic0: QMP device_add: QEMU refused: \"Bus "
		"'nowhere' not");
	assert_int_equal(open_fds_of(shared.pid), before);

	nic.port.bus = "ports";
	assert_ok(plug_nic(shared.q, &nic, soon(), err));
	assert_asked("qom-get", NIC_GET("mac"), "\"02:00:00:ab:cd:ef\"");
	/* None is offered. */
	assert_asked("qom-get", NIC_GET("host_mtu"), "0");
	assert_asked("qom-get", NIC_GET("romfile"), "\"\"");
	assert_asked("qom-get", NIC_GET("addr"), "248"); /* slot 31, function 0 */
	/* The name is taken: the tap must not stay behind. */
	before = open_fds_of(shared.pid);
	assert_err(plug_nic(shared.q, &nic, soon(), err), -EREMOTEIO, "QMP netdev_add");
	assert_int_equal(open_fds_of(shared.pid), before);

	nic.id = "nic1";
	nic.port.slot = 0;
	assert_ok(plug_nic(shared.q, &nic, soon(), err));

	/* Something that is no tap. */
	nic.tap_fd = STDIN_FILENO;
	assert_err(plug_nic(shared.q, &nic, soon(), err), -EREMOTEIO, "QMP netdev_add");
}

static int make_image(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	return fd;
}

/* ---- run state ---- */

static void assert_status(struct qmp *q, const char *wanted)
{
	_cleanup_json_ struct json_object *answer = NULL;

	assert_ok(qmp_ask(q,
		&(struct qmp_request){.name = "query-status", .deadline = soon()},
		&answer, err));
	assert_string_equal(field(answer, "status"), wanted);
}

/* The names that QEMU's descriptors have for files called so. */
static unsigned int count_open(pid_t pid, const char *name)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	unsigned int n = 0;
	struct dirent *e;

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		char target[128];
		ssize_t len =
			readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);

		target[MAX(len, 0)] = '\0';
		n += strstr(target, name) != NULL;
	}
	closedir(dir);
	return n;
}

/* A file that nobody may write to, by a descriptor that can't. */
static int make_layers(char path[], uint64_t bytes)
{
	int fd = mkstemp(path), ro;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(fchmod(fd, 0444), 0);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	close(fd);
	assert_int_equal(unlink(path), 0);
	return ro;
}

static void test_image(void **state)
{
	char path[] = "/tmp/stencil-image-XXXXXX";
	_cleanup_close_ int fd = make_layers(path, 4 * MiB);
	struct plug_image image = {"image0", {"nowhere", 2}, fd, 4 * MiB};
	_cleanup_free_ char *before = NULL, *after = NULL, *devices = NULL;

	(void)state;
	/* Only a QEMU that runs closes what was taken out of its sets. */
	assert_ok(qmp_cont(shared.q, soon(), err));
	before = ask("qom-list", "{\"path\":\"/objects\"}");
	assert_err(plug_pmem(shared.q, &image, soon(), err), -EREMOTEIO,
		"cannot plug image image0 as memory: QMP device_add: QEMU refused: \"Bus "
		"'nowhere' not");
	assert_err(plug_disk(shared.q, &image, soon(), err), -EREMOTEIO,
		"cannot plug image image0 as a disk: QMP device_add: QEMU refused: \"Bus "
		"'nowhere' not");
	after = ask("qom-list", "{\"path\":\"/objects\"}");
	assert_string_equal(before, after);
	assert_int_equal(count_open(shared.pid, "stencil-image"), 0);

	image.port.bus = "ports";
	assert_ok(plug_pmem(shared.q, &image, soon(), err));
	devices = ask("query-memory-devices", NULL);
	assert_non_null(strstr(devices, "\"id\":\"dev-image0\""));
	assert_non_null(strstr(devices, "\"size\":4194304"));
	assert_asked("qom-get",
		"{\"path\":\"/objects/image0\",\"property\":\"readonly\"}", "true");
	assert_asked("qom-get", "{\"path\":\"/objects/image0\",\"property\":\"share\"}",
		"true");
	/* The descriptor of before is kept, with what hangs on it. */
	assert_true(count_open(shared.pid, "stencil-image") >= 1);
	image.id = "image1";
	image.port.slot = 3;
	assert_ok(plug_disk(shared.q, &image, soon(), err));
	free(steal_ptr(devices));
	devices = ask("query-named-block-nodes", NULL);
	assert_non_null(strstr(devices, "\"node-name\":\"image1\""));
	assert_non_null(strstr(devices, "\"ro\":true"));
	assert_ok(qmp_stop(shared.q, soon(), err));
}

static void test_block(void **state)
{
	char path[] = "/tmp/stencil-disk-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	struct plug_block block = {.id = "disk0",
		.port = {"nowhere", 4},
		.fd = fd,
		.logical_bytes = 4096,
		.physical_bytes = 4096};
	_cleanup_free_ char *nodes = NULL;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(fd, 1 * MiB), 0);
	assert_ok(qmp_cont(shared.q, soon(), err));
	assert_err(plug_block(shared.q, &block, soon(), err), -EREMOTEIO,
		"cannot plug disk disk0: QMP device_add: QEMU refused: \"Bus 'nowhere'");
	block.port.bus = "ports";
	block.is_device = true;
	assert_err(plug_block(shared.q, &block, soon(), err), -EREMOTEIO,
		"cannot plug disk disk0: QMP blockdev-add: QEMU refused: \"");
	assert_int_equal(count_open(shared.pid, "stencil-disk"), 0);
	block.is_device = false;
	assert_ok(plug_block(shared.q, &block, soon(), err));
	nodes = ask("query-named-block-nodes", NULL);
	assert_non_null(strstr(nodes, "\"node-name\":\"disk0\""));
	assert_non_null(strstr(nodes, "\"ro\":false"));
	/* The node's duplicate, and none in a set. */
	assert_int_equal(count_open(shared.pid, "stencil-disk"), 1);
	assert_ok(qmp_stop(shared.q, soon(), err));
}

static void test_stop_cont(void **state)
{
	(void)state;
	assert_status(shared.q, "prelaunch");
	assert_ok(qmp_stop(shared.q, soon(), err)); /* does not run anyway */
	assert_ok(qmp_cont(shared.q, soon(), err));
	assert_status(shared.q, "running");
	assert_ok(qmp_cont(shared.q, soon(), err));
	assert_ok(qmp_stop(shared.q, soon(), err));
	assert_status(shared.q, "paused");
}

#define TEMPLATE_RAM                                                                     \
	"memory-backend-file,id=ram,size=128M,mem-path=/proc/self/fd/4,share=on"
#define CLONE_RAM                                                                        \
	"memory-backend-file,id=ram,size=128M,mem-path=/proc/self/fd/4,share=off"

static void test_save_restore(void **state)
{
	_cleanup_close_ int memory_fd = make_image(), state_fd = make_image();
	struct machine m = {0};
	struct stat st;

	(void)state;
	assert_int_equal(ftruncate(memory_fd, 128 * MiB), 0);
	assert_int_equal(ftruncate(state_fd, 0), 0);
	machine_start(&m, memory_fd, TEMPLATE_RAM, false);
	assert_ok(qmp_migrate_set_template_capabilities(m.q, soon(), err));
	assert_ok(qmp_cont(m.q, soon(), err));
	assert_ok(qmp_stop(m.q, soon(), err));
	assert_ok(qmp_migrate_to_fd(m.q, state_fd, soon(), err));
	assert_status(m.q, "postmigrate");
	machine_end(&m);
	assert_int_equal(fstat(state_fd, &st), 0);
	assert_in_range(st.st_size, 10000, 4 << 20); /* without the memory */

	assert_int_equal(lseek(state_fd, 0, SEEK_SET), 0);
	machine_start(&m, memory_fd, CLONE_RAM, true);
	assert_ok(qmp_migrate_set_template_capabilities(m.q, soon(), err));
	assert_status(m.q, "inmigrate");
	assert_err(qmp_cont(m.q, soon(), err), -EBUSY,
		"after QMP cont the VM is in state \"inmigrate\"");
	assert_ok(qmp_stop(m.q, soon(), err));
	assert_ok(qmp_migrate_from_fd(m.q, state_fd, soon(), err));
	assert_status(m.q, "paused");
	assert_ok(qmp_cont(m.q, soon(), err));
	assert_ok(plug_vcpus(m.q, 2, soon(), err));
	machine_end(&m);

	/* Cut short: this QEMU gives up by exiting. */
	assert_int_equal(ftruncate(state_fd, st.st_size / 2), 0);
	assert_int_equal(lseek(state_fd, 0, SEEK_SET), 0);
	machine_start(&m, memory_fd, CLONE_RAM, true);
	assert_ok(qmp_migrate_set_template_capabilities(m.q, soon(), err));
	assert_err(qmp_migrate_from_fd(m.q, state_fd, soon(), err), -EREMOTEIO,
		"cannot restore the device state: migration failed");
	assert_err(qmp_wait_event(m.q,
			   &(struct qmp_event_wait){.name = "RESUME", .deadline = soon()},
			   NULL, err),
		-ECONNRESET,
		"waiting for QMP event RESUME: QEMU closed its QMP connection");
	machine_end(&m);
}

static void test_save_fails(void **state)
{
	_cleanup_close_ int full_fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_ok(qmp_cont(shared.q, soon(), err));
	assert_ok(qmp_migrate_set_template_capabilities(shared.q, soon(), err));
	assert_err(qmp_migrate_to_fd(shared.q, full_fd, soon(), err), -EREMOTEIO,
		"cannot save the device state: migration failed: \"");
	assert_status(shared.q, "running"); /* as before */
	/* At once again: to a pipe whose other end is closed. */
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	close(fds[0]);
	assert_err(qmp_migrate_to_fd(shared.q, fds[1], soon(), err), -EREMOTEIO,
		"cannot save the device state: migration failed: \"");
	assert_status(shared.q, "running");
	close(fds[1]);
}

static void test_killed(void **state)
{
	struct machine m = {0};
	uint64_t mark;

	(void)state;
	machine_start(&m, -1, RAM, false);
	mark = qmp_mark(m.q);
	kill(m.pid, SIGKILL);
	assert_err(qmp_wait_event(m.q,
			   &(struct qmp_event_wait){
				   .mark = mark, .name = "RESUME", .deadline = soon()},
			   NULL, err),
		-ECONNRESET,
		"waiting for QMP event RESUME: QEMU closed its QMP connection");
	assert_err(qmp_cont(m.q, soon(), err), -ECONNRESET, "QMP cont");
	machine_end(&m);
}

/* ---- every command against QEMU's schema ---- */

static void test_schema(void **state)
{
	size_t begin = 0, len = sent_len;
	_cleanup_free_ char *lines = xmalloc(len);
	unsigned int n = 0;

	(void)state;
	/* Nothing is in flight: the relay leaves the buffer
	 * alone until the next command. */
	memcpy(lines, sent, len);
	assert_ok(qmp_ask(shared.q,
		&(struct qmp_request){.name = "query-qmp-schema", .deadline = soon()},
		&schema, err));
	for (size_t i = 0; i < len; i++) {
		_cleanup_json_ struct json_object *msg = NULL;

		if (lines[i] != '\n')
			continue;
		assert_ok(json_parse("sent", lines + begin, i - begin, 16, &msg, err));
		if (strcmp(field(msg, "execute"), "no-such") != 0)
			check_command(shared.q, msg);
		begin = i + 1;
		n++;
	}
	assert_int_equal(begin, len);
	assert_true(n > 60);
	json_object_put(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_vcpus),
		cmocka_unit_test(test_dimm),
		cmocka_unit_test(test_nic),
		cmocka_unit_test(test_stop_cont),
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_save_fails),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_schema),
	};

	/* Taps end with this namespace. */
	if (unshare(CLONE_NEWNET) < 0) {
		perror("unshare");
		return 1;
	}
	return cmocka_run_group_tests_name("plug", tests, start_shared, end_shared);
}
