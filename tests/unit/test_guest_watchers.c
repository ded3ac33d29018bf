/* SPDX-License-Identifier: Apache-2.0 */
/* guest/watchers, guest/replay: who watches what,
 * and which changes are done once more. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "guest/replay.h"

static void assert_line(const char *line, bool is, uint64_t node, uint32_t mask)
{
	struct watcher w = {0};
	dev_t dev = 0;

	assert_int_equal(watchers_parse_line(line, &dev, &w), is);
	if (is) {
		assert_int_equal(dev, makedev(0, 43));
		assert_int_equal(w.node, node);
		assert_int_equal(w.mask, mask);
	}
}

static void test_lines(void **state)
{
	(void)state;
	assert_line("inotify wd:1 ino:2a sdev:2b mask:100 ignored_mask:0 fhandle-bytes:c "
		    "fhandle-type:81 f_handle:000000000200000000000000",
		true, 2, IN_CREATE);
	assert_line(
		"inotify wd:ff ino:2a sdev:2b mask:fc6 ignored_mask:0 fhandle-bytes:c "
		"fhandle-type:81 f_handle:010000000403020100000000 ",
		true, 0x101020304, 0xfc6);
	/* Another file system's handle, one of another length, none. */
	assert_line("inotify wd:1 ino:2a sdev:2b mask:100 ignored_mask:0 fhandle-bytes:8 "
		    "fhandle-type:1 f_handle:0200000000000000",
		false, 0, 0);
	assert_line("inotify wd:1 ino:2a sdev:2b mask:100 ignored_mask:0 fhandle-bytes:c "
		    "fhandle-type:81 f_handle:0000000002000000",
		false, 0, 0);
	assert_line("inotify wd:1 ino:2a sdev:2b mask:100 ignored_mask:0 ", false, 0, 0);
	assert_line("pos:\t0", false, 0, 0);
	assert_line("", false, 0, 0);
}

/* This process' own, on no FUSE file system: found or not by its device alone. */
static void test_watchers(void **state)
{
	_cleanup_close_ int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct watchers ws;

	(void)state;
	assert_int_equal(watchers_read(proc, makedev(0, 999), &ws, NULL), 0);
	assert_int_equal(ws.n, 0);
	assert_int_equal(watchers_mask(&ws, 1), 0);
	watchers_done(&ws);
}

static void test_steps(void **state)
{
	struct watcher item[] = {{2, IN_CREATE | IN_DELETE}, {3, IN_DELETE_SELF}};
	struct watchers ws = {item, 2, false}, all = {.all = true};
	struct files_change c = {.folder = 2, .node = 3};

	(void)state;
	c.steps = FILES_STEP_MODIFY | FILES_STEP_CLOSE;
	assert_int_equal(replay_steps(&c, &ws), 0);
	assert_int_equal(replay_steps(&c, &all), c.steps);
	c.steps |= FILES_STEP_MAKE;
	assert_int_equal(replay_steps(&c, &ws), FILES_STEP_MAKE);
	/* What is to be removed has to be made. */
	c.folder = 4;
	assert_int_equal(replay_steps(&c, &ws), 0);
	c.steps |= FILES_STEP_REMOVE;
	assert_int_equal(replay_steps(&c, &ws), FILES_STEP_MAKE | FILES_STEP_REMOVE);
	c.steps = FILES_STEP_MOVE;
	assert_int_equal(replay_steps(&c, &ws), 0);
	c.lost = 3;
	assert_int_equal(replay_steps(&c, &ws), FILES_STEP_MOVE);
	/* Nobody watches what the guest does not know. */
	c = (struct files_change){.steps = FILES_STEP_REMOVE};
	assert_int_equal(replay_steps(&c, &all), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_watchers),
		cmocka_unit_test(test_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
