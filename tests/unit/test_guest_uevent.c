/* SPDX-License-Identifier: Apache-2.0 */
/* guest/uevent on the kernel's events of a network namespace,
 * and on messages as bytes. */
#include "tests/unit/guest_world.h"

#include <poll.h>

#include "guest/uevent.h"

static void test_messages(void **state)
{
	static const char add[] =
		"add@/devices/virtual/net/lo\0ACTION=add\0"
		"DEVPATH=/devices/virtual/net/lo\0SUBSYSTEM=net\0SEQNUM=9";
	static const char odd[] = "SUBSYSTEM=mem\0\0\0SUBSYSTEM=\0xSUBSYSTEM=cpu";
	char many[200] = "SUBSYSTEM=", name[101];

	(void)state;
	assert_true(uevent_has_subsystem(add, sizeof(add), "net"));
	assert_true(uevent_has_subsystem(add, sizeof(add) - 1, "net"));
	assert_false(uevent_has_subsystem(add, sizeof(add), "ne"));
	assert_false(uevent_has_subsystem(add, sizeof(add), "netx"));
	assert_false(uevent_has_subsystem(add, sizeof(add), "virtual"));
	/* Cut in the middle of the value, and before it. */
	assert_false(uevent_has_subsystem("SUBSYSTEM=net", 12, "net"));
	assert_true(uevent_has_subsystem("SUBSYSTEM=net", 12, "ne"));
	assert_false(uevent_has_subsystem(add, 0, "net"));
	assert_true(uevent_has_subsystem(odd, sizeof(odd), "mem"));
	assert_true(uevent_has_subsystem(odd, sizeof(odd), ""));
	assert_false(uevent_has_subsystem(odd, sizeof(odd), "cpu"));
	/* A name of any length. */
	memset(name, 'n', 100);
	name[100] = '\0';
	memset(many + 10, 'n', 100);
	assert_true(uevent_has_subsystem(many, 111, name));
	many[109] = 'x';
	assert_false(uevent_has_subsystem(many, 111, name));
}

/* Has the kernel tell of lo once more. */
static void cause_event(void)
{
	struct err err = ERR_INIT;

	if (file_write_text(AT_FDCWD, "/sys/class/net/lo/uevent", "change", &err) < 0)
		fail_msg("%s", err.text);
}

static void test_wait(void **state)
{
	_cleanup_close_ int fd = -1;
	struct err err = ERR_INIT;
	int closed[2];

	(void)state;
	if (world_lacks_root("causing device events"))
		return;
	assert_int_equal(uevent_open(&fd, &err), 0);
	assert_int_equal(pipe2(closed, O_CLOEXEC), 0);
	assert_int_equal(uevent_wait(fd, NULL, closed[0], now_ms()), -ETIMEDOUT);
	cause_event();
	assert_int_equal(uevent_wait(fd, "net", closed[0], soon()), 0);
	/* All that had come were taken. */
	cause_event();
	cause_event();
	assert_int_equal(uevent_wait(fd, NULL, closed[0], soon()), 0);
	assert_int_equal(uevent_wait(fd, NULL, closed[0], now_ms()), -ETIMEDOUT);
	/* Another's event is none. */
	cause_event();
	assert_int_equal(uevent_wait(fd, "cpu", closed[0], now_ms()), -ETIMEDOUT);
	close(closed[1]);
	assert_int_equal(uevent_wait(fd, "cpu", closed[0], soon()), -ECONNRESET);
	close(closed[0]);
	assert_int_equal(uevent_wait(STDIN_FILENO, NULL, -1, soon()), -ENOTSOCK);
}

/* What did not fit may have been the event. */
static void test_overrun(void **state)
{
	_cleanup_close_ int fd = -1;
	struct err err = ERR_INIT;
	int size = 1;

	(void)state;
	if (world_lacks_root("causing device events"))
		return;
	assert_int_equal(uevent_open(&fd, &err), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	for (int i = 0; i < 64; i++)
		cause_event();
	assert_int_equal(uevent_wait(fd, "cpu", -1, soon()), 0);
	assert_int_equal(uevent_wait(fd, "cpu", -1, now_ms()), -ETIMEDOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_overrun),
	};

	world_enter(0);
	if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		world_skip("/sys");
	return cmocka_run_group_tests_name("guest/uevent", tests, NULL, NULL);
}
