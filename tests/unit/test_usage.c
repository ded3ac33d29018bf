/* SPDX-License-Identifier: Apache-2.0 */
/* templated/usage: what each clone has of its template's memory. */
#include "tests/unit/lease_fixture.h"

#include <sys/mman.h>

#include "vm/record.h"

/* A process that maps a generation's memory as QEMU does, and has written to 3 pages of
 * it and read 2 more. Returns a descriptor at whose closing it ends. */
static int start_clone(const struct lease *lease, const char *dir)
{
	struct vm_record record = {0};
	struct err err = ERR_INIT;
	int pipe_fds[2], ready[2];
	char byte;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC) + pipe2(ready, O_CLOEXEC), 0);
	record.qemu.pid = fork();
	if (record.qemu.pid == 0) {
		volatile char *m = mmap(NULL, 8 * MiB, PROT_READ | PROT_WRITE,
			MAP_PRIVATE, lease->memory_fd, 0);

		close(pipe_fds[1]);
		if (m == MAP_FAILED)
			_exit(1);
		for (int i = 0; i < 3; i++)
			m[i * 4096] = 1;
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		_exit(read(pipe_fds[0], &byte, 1) != 0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(pipe_fds[0]);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(proc_id_of(record.qemu.pid, &record.qemu), 0);
	assert_int_equal(mkdir_parents(dir, 0700, &err), 0);
	assert_int_equal(vm_record_write(dir, &record, &err), 0);
	return pipe_fds[1];
}

static void test_private_bytes(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;
	struct json_object *g;
	struct lease lease, second;
	int clone, other;

	(void)state;
	init_template();
	acquire_template(&lease);
	clone = start_clone(&lease, "/tmp/state/default/sandbox-1/vm");
	/* The same name in another namespace, and a record that lies. */
	other = start_clone(&lease, "/tmp/state/moby/sandbox-1/vm");
	assert_int_equal(mkdir_parents("/tmp/state/x/sandbox-1/vm", 0700, &err), 0);
	assert_int_equal(
		vm_record_write("/tmp/state/x/sandbox-1/vm",
			&(struct vm_record){.qemu = {.pid = getpid(), .start_ticks = 1}},
			&err),
		0);
	assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	g = status_at(reply, "status/template/generations/0");
	assert_string_equal(
		json_object_get_string(status_at(g, "clones/0/sandbox")), "sandbox-1");
	assert_int_equal(
		json_object_get_int(status_at(g, "clones/0/private_bytes")), 3 * 4096);
	assert_int_equal(json_object_get_int(status_at(g, "private_bytes")), 6 * 4096);
	assert_null(status_at(g, "sandboxes"));
	/* Two leases of that name: each clone has a QEMU of its own. */
	acquire_template(&second);
	json_object_put(steal_ptr(reply));
	assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	g = status_at(reply, "status/template/generations/0");
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			json_object_get_int(status_at(g,
				i ? "clones/1/private_bytes" : "clones/0/private_bytes")),
			3 * 4096);
	assert_int_not_equal(json_object_get_int(status_at(g, "clones/0/pid")),
		json_object_get_int(status_at(g, "clones/1/pid")));
	assert_int_equal(json_object_get_int(status_at(g, "private_bytes")), 6 * 4096);
	close(clone);
	close(other);
	while (wait(NULL) > 0)
		;
	/* Gone: the leases are still held. */
	assert_int_equal(status_number("status/template/generations/0/private_bytes"), 0);
	assert_int_equal(status_number("status/template/generations/0/leases"), 2);
	lease_release(&second);
	lease_release(&lease);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_private_bytes, setup, teardown),
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
