/* SPDX-License-Identifier: Apache-2.0 */
/* templated/usage: what each clone has of its template's memory. */
#include "tests/unit/lease_fixture.h"

#include <sys/mman.h>

static void write_record(unsigned int number, const struct vm_record *record)
{
	_cleanup_free_ char *dir = xasprintf("/tmp/state/" VM_FOLDERS "/%u", number);
	_cleanup_close_ int dir_fd = -1;
	struct err err = ERR_INIT;

	assert_int_equal(mkdir_parents(dir, 0700, &err), 0);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(vm_record_write(dir_fd, record, &err), 0);
}

/* A process that maps a generation's memory as QEMU does, and has written to 3 pages of
 * it and read 2 more. Returns a descriptor at whose closing it ends. */
static int start_clone(
	const struct lease *lease, unsigned int number, const char *namespace)
{
	struct vm_record record = {.sandbox = "sandbox-1", .cgroup = "stencil/1"};
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
	str_copy(record.namespace, namespace);
	str_copy(record.generation, lease->generation);
	write_record(number, &record);
	return pipe_fds[1];
}

/* Of all clones of that name. */
static int sum_of(struct json_object *g, const char *name)
{
	struct json_object *clones = status_at(g, "clones");
	int sum = 0;

	for (size_t i = 0; i < json_object_array_length(clones); i++) {
		struct json_object *clone = json_object_array_get_idx(clones, i);
		struct json_object *bytes = status_at(clone, "private_bytes");

		if (strcmp(json_object_get_string(status_at(clone, "sandbox")), name) ==
			0)
			sum += bytes ? json_object_get_int(bytes) : 0;
	}
	return sum;
}

/* On a slow machine a look measures only one of the two: the second measures the other.
 * The answer is the caller's. */
static struct json_object *look_at_all(void)
{
	struct json_object *reply = NULL;
	struct err err = ERR_INIT;

	for (int i = 0; i < 2; i++) {
		json_object_put(steal_ptr(reply));
		assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	}
	return reply;
}

static void test_private_bytes(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct vm_record lying = {.qemu = {.pid = getpid(), .start_ticks = 1},
		.namespace = "x",
		.sandbox = "lying",
		.cgroup = "stencil/1"};
	struct err err = ERR_INIT;
	struct json_object *g;
	struct lease lease, second;
	int clone, other;

	(void)state;
	init_template();
	acquire_template(&lease);
	clone = start_clone(&lease, 1, "default");
	/* The same name in another namespace, one of another generation, and a record
	 * that lies. */
	other = start_clone(&lease, 2, "moby");
	str_copy(lying.generation, lease.generation);
	write_record(3, &lying);
	str_copy(lying.generation, "another");
	write_record(4, &lying);
	reply = look_at_all();
	g = status_at(reply, "status/template/generations/0");
	assert_int_equal(json_object_array_length(status_at(g, "clones")), 3);
	assert_int_equal(sum_of(g, "sandbox-1"), 6 * 4096);
	assert_int_equal(sum_of(g, "lying"), 0);
	assert_int_equal(json_object_get_int(status_at(g, "private_bytes")), 6 * 4096);
	assert_null(status_at(g, "sandboxes"));
	/* Two leases of that name: each clone has a QEMU of its own. */
	acquire_template(&second);
	json_object_put(steal_ptr(reply));
	reply = look_at_all();
	g = status_at(reply, "status/template/generations/0");
	assert_int_equal(json_object_array_length(status_at(g, "clones")), 3);
	/* A holder whose VM has not started is told by its name. */
	assert_int_equal(unlink("/tmp/state/" VM_FOLDERS "/2/vm.json"), 0);
	json_object_put(steal_ptr(reply));
	assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	g = status_at(reply, "status/template/generations/0");
	assert_int_equal(json_object_array_length(status_at(g, "clones")), 3);
	assert_int_equal(sum_of(g, "sandbox-1"), 3 * 4096);
	close(clone);
	close(other);
	while (wait(NULL) > 0)
		;
	/* Gone: the leases are still held. */
	assert_int_equal(status_number("status/template/generations/0/private_bytes"), 0);
	assert_int_equal(status_number("status/template/generations/0/leases"), 2);
	lease_release(&second);
	lease_release(&lease);
	assert_int_equal(remove_tree(AT_FDCWD, "/tmp/state/" VM_FOLDERS, &err), 0);
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
