/* SPDX-License-Identifier: Apache-2.0 */
/* hotplug/plug against a scripted QEMU: the exact commands, and what is taken back on
 * failure. */
#include "hotplug/plug.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "tests/unit/qmp_peer.h"

static struct peer peer;

/* Runs expr with a session `q` over the steps given; then all of them were taken. */
#define WITH(expr, greeting, ...)                                                        \
	do {                                                                             \
		static const struct peer_step steps_[] = {{NULL, greeting, PEER_NONE},   \
			{CAPABILITIES, OK(1), PEER_NONE}, __VA_ARGS__};                  \
		struct qmp *q = NULL;                                                    \
		assert_ok(qmp_new(peer_start(&peer, steps_, ARRAY_SIZE(steps_)), soon(), \
			&q, err));                                                       \
		expr;                                                                    \
		qmp_free(q);                                                             \
		peer_end(&peer);                                                         \
	} while (0)

#define SUCCEEDS(call, ...) WITH(assert_ok(call), GREETING, __VA_ARGS__)
#define FAILS(call, code, text, ...)                                                     \
	WITH(assert_err(call, code, text), GREETING, __VA_ARGS__)

#define COMMAND(id, name) "{\"execute\":\"" name "\",\"id\":" #id "}"
#define COMMAND_ARGS(id, name, args)                                                     \
	"{\"execute\":\"" name "\",\"arguments\":" args ",\"id\":" #id "}"
#define ANSWER(id, value) "{\"return\": " value ", \"id\": " #id "}\n"
#define NO(id)            REFUSED(id, "GenericError", "no")
#define REFUSAL           "QEMU refused: \"no\" (GenericError)"

/* ---- run state ---- */

#define STATUS(id, running, status)                                                      \
	ANSWER(id, "{\"running\": " running ", \"status\": \"" status "\"}")

static void test_run_state(void **state)
{
	(void)state;
	SUCCEEDS(qmp_stop(q, soon(), err), {COMMAND(2, "stop"), OK(2), PEER_NONE},
		{COMMAND(3, "query-status"), STATUS(3, "false", "paused"), PEER_NONE});
	SUCCEEDS(qmp_cont(q, soon(), err), {COMMAND(2, "cont"), OK(2), PEER_NONE},
		{COMMAND(3, "query-status"), STATUS(3, "true", "running"), PEER_NONE});
	FAILS(qmp_stop(q, soon(), err), -EBUSY,
		"after QMP stop the VM is in state \"running\"",
		{COMMAND(2, "stop"), OK(2), PEER_NONE},
		{COMMAND(3, "query-status"), STATUS(3, "true", "running"), PEER_NONE});
	FAILS(qmp_cont(q, soon(), err), -EREMOTEIO, "QMP cont: " REFUSAL,
		{COMMAND(2, "cont"), NO(2), PEER_NONE});
}

#define RINGBUF_READ                                                                     \
	COMMAND_ARGS(2, "ringbuf-read",                                                  \
		"{\"device\":\"c\",\"size\":65536,\"format\":\"utf8\"}")

static void check_console(const char *reply, uint64_t max, const char *wanted)
{
	struct peer_step steps[] = {{NULL, GREETING, PEER_NONE},
		{CAPABILITIES, OK(1), PEER_NONE}, {RINGBUF_READ, reply, PEER_NONE}};
	_cleanup_free_ char *text = NULL;
	_cleanup_(qmp) struct qmp *q = NULL;

	assert_ok(qmp_new(peer_start(&peer, steps, ARRAY_SIZE(steps)), soon(), &q, err));
	assert_ok(qmp_ringbuf_read(q, "c", max, &text, soon(), err));
	assert_string_equal(text, wanted);
	peer_end(&peer);
}

static void test_console(void **state)
{
	char *text = NULL;

	(void)state;
	check_console(ANSWER(2, "\"abc\""), 100, "abc");
	check_console(ANSWER(2, "\"abc\""), 2, "bc");
	check_console(ANSWER(2, "\"abc\""), 0, "");
	check_console(ANSWER(2, "\"a\\u00f6b\""), 2, "b"); /* not half a character */
	check_console(ANSWER(2, "\"a\\u0000b\""), 100, "a");
	FAILS(qmp_ringbuf_read(q, "c", 1, &text, soon(), err), -EBADMSG,
		"QMP ringbuf-read: the answer is not a string",
		{RINGBUF_READ, OK(2), PEER_NONE});
	assert_null(text);
}

/* ---- migration ---- */

#define STATE_GETFD       COMMAND_ARGS(2, "getfd", "{\"fdname\":\"stencil-state\"}")
#define STATE_URI         "{\"uri\":\"fd:stencil-state\"}"
#define MIGRATION(status) EVENT("MIGRATION", "{\"status\": \"" status "\"}")
/* QEMU has put the migration away: it is not among what can be yanked. */
#define PUT_AWAY(id)                                                                     \
	{                                                                                \
		COMMAND(id, "query-yank"),                                               \
			ANSWER(id, "[{\"type\": \"chardev\", \"id\": \"qmp\"}]"),        \
			PEER_NONE                                                        \
	}
#define NOT_YET(id)                                                                      \
	{                                                                                \
		COMMAND(id, "query-yank"), ANSWER(id, "[3, {\"type\": \"migration\"}]"), \
			PEER_NONE                                                        \
	}

static void test_capabilities(void **state)
{
	(void)state;
	SUCCEEDS(qmp_migrate_set_template_capabilities(q, soon(), err),
		{COMMAND_ARGS(2, "migrate-set-capabilities",
			 "{\"capabilities\":[{\"capability\":\"events\",\"state\":true},"
			 "{\"capability\":\"x-ignore-shared\",\"state\":true}]}"),
			OK(2), PEER_NONE});
}

static void test_migrate(void **state)
{
	int fd = STDERR_FILENO;

	(void)state;
	/* A status that is no end, and one of an earlier migration, are passed over. */
	SUCCEEDS(qmp_migrate_to_fd(q, fd, soon(), err),
		{STATE_GETFD, MIGRATION("failed") OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI),
			MIGRATION("setup") OK(3) MIGRATION("active")
				EVENT("MIGRATION", "{}") MIGRATION("completed"),
			PEER_NONE},
		NOT_YET(4), NOT_YET(5), PUT_AWAY(6));
	SUCCEEDS(qmp_migrate_from_fd(q, fd, soon(), err), {STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate-incoming", STATE_URI),
			OK(3) MIGRATION("completed"), PEER_NONE});
	FAILS(qmp_migrate_to_fd(q, fd, soon(), err), -EREMOTEIO,
		"cannot save the device state: migration failed: \"disk full\"",
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI), OK(3) MIGRATION("failed"),
			PEER_NONE},
		{COMMAND(4, "query-migrate"),
			ANSWER(4, "{\"error-desc\": \"disk full\"}"), PEER_NONE},
		NOT_YET(5), PUT_AWAY(6));
	FAILS(qmp_migrate_to_fd(q, fd, soon(), err), -EREMOTEIO,
		"cannot save the device state: migration cancelled; QEMU gives no reason",
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI), OK(3) MIGRATION("cancelled"),
			PEER_NONE},
		{COMMAND(4, "query-migrate"), OK(4), PEER_NONE}, PUT_AWAY(5));
	/* The failure told is the first one. */
	FAILS(qmp_migrate_to_fd(q, fd, soon(), err), -EREMOTEIO,
		"cannot save the device state: migration failed; QEMU gives no reason",
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI), OK(3) MIGRATION("failed"),
			PEER_NONE},
		{COMMAND(4, "query-migrate"), OK(4), PEER_NONE},
		{COMMAND(5, "query-yank"), NO(5), PEER_NONE});
	FAILS(qmp_migrate_to_fd(q, fd, soon(), err), -EREMOTEIO,
		"cannot save the device state: QMP query-yank: " REFUSAL,
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI), OK(3) MIGRATION("completed"),
			PEER_NONE},
		{COMMAND(4, "query-yank"), NO(4), PEER_NONE});
	FAILS(qmp_migrate_to_fd(q, fd, soon(), err), -EBADMSG,
		"cannot save the device state: QMP query-yank: the answer is not an "
		"array",
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI), OK(3) MIGRATION("completed"),
			PEER_NONE},
		{COMMAND(4, "query-yank"), OK(4), PEER_NONE});
	/* It exits after a state it cannot read. */
	FAILS(qmp_migrate_from_fd(q, fd, soon(), err), -EREMOTEIO,
		"cannot restore the device state: migration failed (QMP query-migrate: "
		"QEMU "
		"closed its QMP connection)",
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate-incoming", STATE_URI),
			OK(3) MIGRATION("failed"), PEER_NONE},
		{COMMAND(4, "query-migrate"), NULL, PEER_HANGS_UP});
	/* Refused: the descriptor is taken back. */
	FAILS(qmp_migrate_from_fd(q, fd, soon(), err), -EREMOTEIO,
		"cannot restore the device state: QMP migrate-incoming: " REFUSAL,
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate-incoming", STATE_URI), NO(3), PEER_NONE},
		{COMMAND_ARGS(4, "closefd", "{\"fdname\":\"stencil-state\"}"), OK(4),
			PEER_NONE});
	FAILS(qmp_migrate_to_fd(q, fd, soon(), err), -EREMOTEIO,
		"cannot save the device state: QMP getfd: " REFUSAL,
		{STATE_GETFD, NO(2), PEER_FD});
	FAILS(qmp_migrate_to_fd(q, fd, too_soon(), err), -ETIMEDOUT,
		"cannot save the device state: waiting for QMP event MIGRATION: it did "
		"not come "
		"in time (0 others lost)",
		{STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI), OK(3), PEER_NONE});
	FAILS(qmp_migrate_to_fd(q, -1, soon(), err), -EBADF,
		"cannot save the device state: cannot stat the state file: Bad file "
		"descriptor",
		{NULL, NULL, PEER_NONE});
}

/* From 9.1 on: a file goes by a set, with the access that QEMU will ask for. */
static void test_migrate_new(void **state)
{
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	WITH(assert_ok(qmp_migrate_to_fd(q, fd, soon(), err)), GREETING_VERSION(9, 1, 0),
		{COMMAND_ARGS(2, "add-fd", "{\"opaque\":\"stencil-state\"}"),
			ANSWER(2, "{\"fdset-id\": 7, \"fd\": 3}"), PEER_FD},
		{COMMAND_ARGS(3, "migrate", "{\"uri\":\"file:/dev/fdset/7\"}"),
			OK(3) MIGRATION("completed"), PEER_NONE},
		PUT_AWAY(4),
		{COMMAND_ARGS(5, "remove-fd", "{\"fdset-id\":7}"), OK(5), PEER_NONE});
	WITH(assert_err(qmp_migrate_to_fd(q, fd, soon(), err), -EREMOTEIO,
		     "cannot save the device state: QMP migrate: " REFUSAL),
		GREETING_VERSION(9, 1, 0),
		{COMMAND_ARGS(2, "add-fd", "{\"opaque\":\"stencil-state\"}"),
			ANSWER(2, "{\"fdset-id\": 7, \"fd\": 3}"), PEER_FD},
		{COMMAND_ARGS(3, "migrate", "{\"uri\":\"file:/dev/fdset/7\"}"), NO(3),
			PEER_NONE},
		{COMMAND_ARGS(4, "remove-fd", "{\"fdset-id\":7}"), OK(4), PEER_NONE});
	/* What is no file goes as before. */
	WITH(assert_ok(qmp_migrate_to_fd(q, null_fd, soon(), err)),
		GREETING_VERSION(9, 1, 0), {STATE_GETFD, OK(2), PEER_FD},
		{COMMAND_ARGS(3, "migrate", STATE_URI), OK(3) MIGRATION("completed"),
			PEER_NONE},
		PUT_AWAY(4));
	close(null_fd);
}

/* ---- vCPUs ---- */

#define CPU(socket, more)                                                                \
	"{\"type\": \"T\", \"vcpus-count\": 1" more                                      \
	", \"props\": {\"core-id\": 0, \"socket-id\": " #socket "}}"
#define HERE  ", \"qom-path\": \"/x\""
#define QUERY COMMAND(2, "query-hotpluggable-cpus")
#define FOUR  "[" CPU(3, "") "," CPU(2, "") "," CPU(1, HERE) "," CPU(0, HERE) "]"
#define ADD_CPU(id, socket, name)                                                        \
	COMMAND_ARGS(id, "device_add",                                                   \
		"{\"core-id\":0,\"socket-id\":" #socket                                  \
		",\"driver\":\"T\",\"id\":\"" name "\"}")

static void test_vcpus(void **state)
{
	(void)state;
	SUCCEEDS(plug_vcpus(q, 4, soon(), err), {QUERY, ANSWER(2, FOUR), PEER_NONE},
		{ADD_CPU(3, 2, "vcpu2"), OK(3), PEER_NONE},
		{ADD_CPU(4, 3, "vcpu3"), OK(4), PEER_NONE});
	SUCCEEDS(plug_vcpus(q, 1, soon(), err), {QUERY, ANSWER(2, FOUR), PEER_NONE});
	FAILS(plug_vcpus(q, 5, soon(), err), -ERANGE,
		"5 vCPUs are wanted, the machine takes at most 4",
		{QUERY, ANSWER(2, FOUR), PEER_NONE});
	FAILS(plug_vcpus(q, 4, soon(), err), -EREMOTEIO,
		"cannot plug vCPU 4 of 4: QMP device_add: " REFUSAL,
		{QUERY, ANSWER(2, FOUR), PEER_NONE},
		{ADD_CPU(3, 2, "vcpu2"), OK(3), PEER_NONE},
		{ADD_CPU(4, 3, "vcpu3"), NO(4), PEER_NONE});
	FAILS(plug_vcpus(q, 1, soon(), err), -ERANGE,
		"1 vCPUs are wanted, the machine takes at most 0",
		{QUERY, ANSWER(2, "[]"), PEER_NONE});
}

#define BAD_CPUS(text, answer)                                                           \
	FAILS(plug_vcpus(q, 2, soon(), err), -EINVAL,                                    \
		"QMP query-hotpluggable-cpus: " text,                                    \
		{QUERY, ANSWER(2, answer), PEER_NONE})

static void test_bad_cpus(void **state)
{
	(void)state;
	FAILS(plug_vcpus(q, 2, soon(), err), -EBADMSG,
		"QMP query-hotpluggable-cpus: the answer is not an array",
		{QUERY, OK(2), PEER_NONE});
	BAD_CPUS("\"type\" is looked for in something that is not an object", "[3]");
	BAD_CPUS("\"type\" is int where string is wanted", "[{\"type\": 1}]");
	BAD_CPUS("\"props\" is array where object is wanted",
		"[{\"type\": \"T\", \"props\": []}]");
	BAD_CPUS("\"socket-id\" is -1; it must not be negative", "[" CPU(-1, "") "]");
	FAILS(plug_vcpus(q, 2, soon(), err), -EBADMSG,
		"QMP query-hotpluggable-cpus: a place for 4097 vCPUs",
		{QUERY,
			ANSWER(2, "[{\"type\": \"T\", \"props\": {}, \"vcpus-count\": "
				  "4097}]"),
			PEER_NONE});
}

/* ---- memory ---- */

#define ADD_RAM                                                                          \
	COMMAND_ARGS(2, "object-add",                                                    \
		"{\"qom-type\":\"memory-backend-ram\",\"id\":\"m\",\"size\":134217728,"  \
		"\"share\":false,\"prealloc\":false}")
#define ADD_DIMM                                                                         \
	COMMAND_ARGS(3, "device_add",                                                    \
		"{\"memdev\":\"m\",\"driver\":\"pc-dimm\",\"id\":\"dev-m\"}")

static void test_dimm(void **state)
{
	(void)state;
	SUCCEEDS(plug_dimm(q, "m", 128 * MiB, soon(), err), {ADD_RAM, OK(2), PEER_NONE},
		{ADD_DIMM, OK(3), PEER_NONE});
	FAILS(plug_dimm(q, "m", 128 * MiB, soon(), err), -EREMOTEIO,
		"cannot plug 128 MiB of memory: QMP object-add: " REFUSAL,
		{ADD_RAM, NO(2), PEER_NONE});
	FAILS(plug_dimm(q, "m", 128 * MiB, soon(), err), -EREMOTEIO,
		"cannot plug 128 MiB of memory: QMP device_add: " REFUSAL,
		{ADD_RAM, OK(2), PEER_NONE}, {ADD_DIMM, NO(3), PEER_NONE},
		{COMMAND_ARGS(4, "object-del", "{\"id\":\"m\"}"), OK(4), PEER_NONE});
	/* The failure told is the first one. */
	FAILS(plug_dimm(q, "m", 128 * MiB, soon(), err), -EREMOTEIO,
		"cannot plug 128 MiB of memory: QMP device_add: " REFUSAL,
		{ADD_RAM, OK(2), PEER_NONE}, {ADD_DIMM, NO(3), PEER_NONE},
		{COMMAND_ARGS(4, "object-del", "{\"id\":\"m\"}"),
			REFUSED(4, "GenericError", "not that either"), PEER_NONE});
	/* Too late for the card, in time for taking the memory back. */
	FAILS(plug_dimm(q, "m", 128 * MiB, too_soon(), err), -ETIMEDOUT,
		"cannot plug 128 MiB of memory: QMP device_add: no answer from QEMU in "
		"time",
		{ADD_RAM, OK(2), PEER_NONE}, {ADD_DIMM, NULL, PEER_NONE},
		{COMMAND_ARGS(4, "object-del", "{\"id\":\"m\"}"), OK(4), PEER_NONE});
}

/* ---- network ---- */

#define NIC_GETFD COMMAND_ARGS(2, "getfd", "{\"fdname\":\"fd-n\"}")
#define ADD_NETDEV                                                                       \
	COMMAND_ARGS(3, "netdev_add",                                                    \
		"{\"type\":\"tap\",\"id\":\"n\",\"fd\":\"fd-n\",\"vhost\":false}")
#define ADD_NIC                                                                          \
	COMMAND_ARGS(4, "device_add",                                                    \
		"{\"bus\":\"ports\",\"addr\":\"1f\",\"disable-legacy\":\"on\","          \
		"\"netdev\":\"n\",\"mac\":\"02:00:00:00:ab:ff\","                        \
		"\"romfile\":\"\",\"driver\":\"virtio-net-pci\","                        \
		"\"id\":\"dev-n\"}")
#define DEL_NETDEV(number) COMMAND_ARGS(number, "netdev_del", "{\"id\":\"n\"}")

static void test_nic(void **state)
{
	const struct plug_nic nic = {.id = "n",
		.port = {.bus = "ports", .slot = 31},
		.tap_fd = STDERR_FILENO,
		.mac = {2, 0, 0, 0, 0xab, 0xff}};

	(void)state;
	SUCCEEDS(plug_nic(q, &nic, soon(), err), {NIC_GETFD, OK(2), PEER_FD},
		{ADD_NETDEV, OK(3), PEER_NONE}, {ADD_NIC, OK(4), PEER_NONE});
	FAILS(plug_nic(q, &nic, soon(), err), -EREMOTEIO,
		"cannot plug network card n: QMP getfd: " REFUSAL,
		{NIC_GETFD, NO(2), PEER_FD});
	FAILS(plug_nic(q, &nic, soon(), err), -EREMOTEIO,
		"cannot plug network card n: QMP netdev_add: " REFUSAL,
		{NIC_GETFD, OK(2), PEER_FD}, {ADD_NETDEV, NO(3), PEER_NONE},
		{COMMAND_ARGS(4, "closefd", "{\"fdname\":\"fd-n\"}"), OK(4), PEER_NONE});
	FAILS(plug_nic(q, &nic, soon(), err), -EREMOTEIO,
		"cannot plug network card n: QMP device_add: " REFUSAL,
		{NIC_GETFD, OK(2), PEER_FD}, {ADD_NETDEV, OK(3), PEER_NONE},
		{ADD_NIC, NO(4), PEER_NONE}, {DEL_NETDEV(5), OK(5), PEER_NONE});
}

#define DEL_NIC   "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"dev-n\"},\"id\":2}"
#define GONE(who) EVENT("DEVICE_DELETED", "{\"device\": \"" who "\", \"path\": \"/x\"}")
#define PART_GONE EVENT("DEVICE_DELETED", "{\"path\":\"/p/virtio-backend\"}")

/* Not before the guest has let go of it. */
static void test_nic_unplugged(void **state)
{
	(void)state;
	SUCCEEDS(unplug_nic(q, "n", soon(), err),
		{DEL_NIC, OK(2) GONE("dev-m") PART_GONE GONE("dev-n"), PEER_NONE},
		{DEL_NETDEV(3), OK(3), PEER_NONE});
	FAILS(unplug_nic(q, "n", too_soon(), err), -ETIMEDOUT,
		"cannot unplug network card n: waiting for QMP event "
		"DEVICE_DELETED: it did not come in time (0 others lost)",
		{DEL_NIC, OK(2) GONE("dev-m"), PEER_NONE});
	FAILS(unplug_nic(q, "n", soon(), err), -EREMOTEIO,
		"cannot unplug network card n: QMP device_del: " REFUSAL,
		{DEL_NIC, NO(2), PEER_NONE});
}

/* ---- images ---- */

#define ADD_FD                                                                           \
	{                                                                                \
		COMMAND_ARGS(2, "add-fd", "{\"opaque\":\"i\"}"),                         \
			ANSWER(2, "{\"fdset-id\": 7, \"fd\": 31}"), PEER_FD              \
	}
#define ADD_FILE                                                                         \
	COMMAND_ARGS(3, "object-add",                                                    \
		"{\"qom-type\":\"memory-backend-file\",\"id\":\"i\","                    \
		"\"mem-path\":\"/proc/self/fd/31\",\"size\":4194304,\"share\":true,"     \
		"\"readonly\":true}")
#define ADD_PMEM                                                                         \
	COMMAND_ARGS(4, "device_add",                                                    \
		"{\"bus\":\"ports\",\"addr\":\"a\",\"disable-legacy\":\"on\","           \
		"\"memdev\":\"i\",\"driver\":\"virtio-pmem-pci\","                       \
		"\"id\":\"dev-i\"}")
#define ADD_NODE                                                                          \
	COMMAND_ARGS(3, "blockdev-add",                                                   \
		"{\"driver\":\"file\",\"node-name\":\"i\",\"filename\":\"/dev/fdset/7\"," \
		"\"locking\":\"off\",\"read-only\":true}")
#define ADD_BLK ADD_BLK_WITH("")
#define ADD_BLK_WITH(sectors)                                                            \
	COMMAND_ARGS(4, "device_add",                                                    \
		"{\"bus\":\"ports\",\"addr\":\"a\",\"disable-legacy\":\"on\","           \
		"\"drive\":\"i\",\"werror\":\"report\",\"rerror\":\"report\"," sectors   \
		"\"driver\":\"virtio-blk-pci\","                                         \
		"\"id\":\"dev-i\"}")
#define REMOVE_FD(id)                                                                    \
	{                                                                                \
		COMMAND_ARGS(id, "remove-fd", "{\"fdset-id\":7}"), OK(id), PEER_NONE     \
	}

static int open_readonly_copy(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void test_image(void **state)
{
	_cleanup_close_ int fd = memfd_create("image", MFD_CLOEXEC);
	struct plug_image image = {"i", {"ports", 10}, -1, 4 * MiB};

	(void)state;
	/* As the store gives it: a descriptor that is O_RDONLY. */
	image.fd = open_readonly_copy(fd);
	SUCCEEDS(plug_pmem(q, &image, soon(), err), ADD_FD, {ADD_FILE, OK(3), PEER_NONE},
		{ADD_PMEM, OK(4), PEER_NONE});
	SUCCEEDS(plug_disk(q, &image, soon(), err), ADD_FD, {ADD_NODE, OK(3), PEER_NONE},
		{ADD_BLK, OK(4), PEER_NONE}, REMOVE_FD(5));
	FAILS(plug_pmem(q, &image, soon(), err), -EREMOTEIO,
		"cannot plug image i as memory: QMP add-fd: " REFUSAL,
		{COMMAND_ARGS(2, "add-fd", "{\"opaque\":\"i\"}"), NO(2), PEER_FD});
	FAILS(plug_pmem(q, &image, soon(), err), -EREMOTEIO,
		"cannot plug image i as memory: QMP object-add: " REFUSAL, ADD_FD,
		{ADD_FILE, NO(3), PEER_NONE}, REMOVE_FD(4));
	FAILS(plug_pmem(q, &image, soon(), err), -EREMOTEIO,
		"cannot plug image i as memory: QMP device_add: " REFUSAL, ADD_FD,
		{ADD_FILE, OK(3), PEER_NONE}, {ADD_PMEM, NO(4), PEER_NONE},
		{COMMAND_ARGS(5, "object-del", "{\"id\":\"i\"}"), OK(5), PEER_NONE},
		REMOVE_FD(6));
	FAILS(plug_disk(q, &image, soon(), err), -EREMOTEIO,
		"cannot plug image i as a disk: QMP device_add: " REFUSAL, ADD_FD,
		{ADD_NODE, OK(3), PEER_NONE}, {ADD_BLK, NO(4), PEER_NONE},
		{COMMAND_ARGS(5, "blockdev-del", "{\"node-name\":\"i\"}"), OK(5),
			PEER_NONE},
		REMOVE_FD(6));
	image.bytes = 3 * MiB;
	FAILS(plug_pmem(q, &image, soon(), err), -EINVAL,
		"an image of 3145728 bytes: not a multiple of 2097152",
		{NULL, NULL, PEER_NONE});
	image.bytes = 0;
	FAILS(plug_disk(q, &image, soon(), err), -EINVAL,
		"an image of 0 bytes: not a multiple of 2097152",
		{NULL, NULL, PEER_NONE});
	close(image.fd);
}

/* ---- disks ---- */

#define ADD_DEVICE_NODE                                                                  \
	COMMAND_ARGS(3, "blockdev-add",                                                  \
		"{\"driver\":\"host_device\",\"node-name\":\"i\","                       \
		"\"filename\":\"/dev/fdset/7\",\"locking\":\"off\","                     \
		"\"read-only\":false,\"discard\":\"unmap\"}")
#define DEL_NODE(id)                                                                     \
	COMMAND_ARGS(id, "blockdev-del", "{\"node-name\":\"i\"}"), OK(id), PEER_NONE
#define DEL_BLK COMMAND_ARGS(2, "device_del", "{\"id\":\"dev-i\"}")

static void test_block(void **state)
{
	_cleanup_close_ int fd = memfd_create("disk", MFD_CLOEXEC);
	struct plug_block block = {
		.id = "i", .port = {"ports", 10}, .fd = fd, .is_device = true};

	(void)state;
	SUCCEEDS(plug_block(q, &block, soon(), err), ADD_FD,
		{ADD_DEVICE_NODE, OK(3), PEER_NONE}, {ADD_BLK, OK(4), PEER_NONE},
		REMOVE_FD(5));
	FAILS(plug_block(q, &block, soon(), err), -EREMOTEIO,
		"cannot plug disk i: QMP blockdev-add: " REFUSAL, ADD_FD,
		{ADD_DEVICE_NODE, NO(3), PEER_NONE}, REMOVE_FD(4));
	FAILS(plug_block(q, &block, soon(), err), -EREMOTEIO,
		"cannot plug disk i: QMP device_add: " REFUSAL, ADD_FD,
		{ADD_DEVICE_NODE, OK(3), PEER_NONE}, {ADD_BLK, NO(4), PEER_NONE},
		{DEL_NODE(5)}, REMOVE_FD(6));
	block.logical_bytes = 4096;
	block.physical_bytes = 8192;
	SUCCEEDS(plug_block(q, &block, soon(), err), ADD_FD,
		{ADD_DEVICE_NODE, OK(3), PEER_NONE},
		{ADD_BLK_WITH(
			 "\"logical_block_size\":4096,\"physical_block_size\":8192,"),
			OK(4), PEER_NONE},
		REMOVE_FD(5));
	block.logical_bytes = 0;
	block.is_device = false;
	block.readonly = true;
	SUCCEEDS(plug_block(q, &block, soon(), err), ADD_FD, {ADD_NODE, OK(3), PEER_NONE},
		{ADD_BLK, OK(4), PEER_NONE}, REMOVE_FD(5));
}

/* It has gone when the guest has let go of it: not before the event, and not by another
 * device's. */
static void test_unplug_block(void **state)
{
	(void)state;
	SUCCEEDS(unplug_block(q, "i", soon(), err),
		{DEL_BLK, OK(2) GONE("dev-j") EVENT("DEVICE_DELETED", "{}") GONE("dev-i"),
			PEER_NONE},
		{DEL_NODE(3)});
	FAILS(unplug_block(q, "i", soon(), err), -EREMOTEIO,
		"cannot unplug disk i: QMP device_del: " REFUSAL,
		{DEL_BLK, NO(2), PEER_NONE});
	FAILS(unplug_block(q, "i", deadline_after_ms(50), err), -ETIMEDOUT,
		"cannot unplug disk i: waiting for QMP event DEVICE_DELETED: it did not "
		"come in time (0 others lost)",
		{DEL_BLK, OK(2) GONE("dev-j"), PEER_NONE});
	FAILS(unplug_block(q, "i", soon(), err), -EREMOTEIO,
		"cannot unplug disk i: QMP blockdev-del: " REFUSAL,
		{DEL_BLK, GONE("dev-i") OK(2), PEER_NONE},
		{COMMAND_ARGS(3, "blockdev-del", "{\"node-name\":\"i\"}"), NO(3),
			PEER_NONE});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_state),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_migrate),
		cmocka_unit_test(test_migrate_new),
		cmocka_unit_test(test_vcpus),
		cmocka_unit_test(test_bad_cpus),
		cmocka_unit_test(test_dimm),
		cmocka_unit_test(test_nic),
		cmocka_unit_test(test_nic_unplugged),
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_unplug_block),
	};

	return cmocka_run_group_tests_name("plug", tests, NULL, NULL);
}
