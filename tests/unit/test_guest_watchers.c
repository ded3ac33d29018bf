/* SPDX-License-Identifier: Apache-2.0 */
/* guest/watchers, guest/replay: who watches what,
 * and which changes are done once more. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
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

/* ---- a made-up /proc ---- */

#define LINE_OF(dev, mask, node)                                                         \
	"inotify wd:1 ino:2a sdev:" dev " mask:" mask " ignored_mask:0 fhandle-bytes:c " \
	"fhandle-type:81 f_handle:00000000" node "00000000\n"

struct proc {
	char *at;
	int fd;
	struct watchers ws;
};

static void add_process(struct proc *p, const char *pid)
{
	assert_int_equal(mkdirat(p->fd, pid, 0755), 0);
	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *folder =
			xasprintf("%s/%s", pid, i == 0 ? "fd" : "fdinfo");

		assert_int_equal(mkdirat(p->fd, folder, 0755), 0);
	}
}

static void add_descriptor(struct proc *p, const char *pid, int n, const char *to)
{
	_cleanup_free_ char *link = xasprintf("%s/fd/%d", pid, n);

	assert_int_equal(symlinkat(to, p->fd, link), 0);
}

static void add_inotify(struct proc *p, const char *pid, int n, const char *text)
{
	_cleanup_free_ char *info = xasprintf("%s/fdinfo/%d", pid, n);
	_cleanup_close_ int fd =
		openat(p->fd, info, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	add_descriptor(p, pid, n, "anon_inode:inotify");
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
}

static void read_all(struct proc *p)
{
	watchers_done(&p->ws);
	assert_int_equal(watchers_read(p->fd, makedev(0, 43), &p->ws, NULL), 0);
}

static int setup(void **state)
{
	struct proc *p = xnew0(struct proc);

	p->at = test_folder_new();
	p->fd = open(p->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	add_process(p, "1");
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct proc *p = *state;

	watchers_done(&p->ws);
	close(p->fd);
	test_folder_free(p->at);
	free(p);
	return 0;
}

static void test_watchers(void **state)
{
	struct proc *p = *state;

	add_process(p, "20");
	add_process(p, "self");
	add_inotify(p, "1", 3,
		"pos:\t0\nflags:\t00\n" LINE_OF("2b", "100", "02000000")
			LINE_OF("2c", "2", "02000000") LINE_OF("2b", "2", "01000000"));
	add_inotify(p, "20", 7, LINE_OF("2b", "200", "02000000"));
	add_inotify(p, "self", 3, LINE_OF("2b", "fff", "02000000"));
	add_descriptor(p, "1", 4, "anon_inode:[eventfd]");
	add_descriptor(p, "1", 5, "anon_inode:inotify, or longer");
	read_all(p);
	assert_false(watchers_none(&p->ws));
	assert_int_equal(p->ws.n, 2);
	assert_int_equal(watchers_mask(&p->ws, 1), IN_MODIFY);
	assert_int_equal(watchers_mask(&p->ws, 2), IN_CREATE | IN_DELETE);
	assert_int_equal(watchers_mask(&p->ws, 3), 0);
	assert_int_equal(watchers_mask(&p->ws, 0), 0);
}

static void test_nobody(void **state)
{
	struct proc *p = *state;

	add_inotify(p, "1", 3, LINE_OF("2c", "100", "02000000"));
	/* They have gone since they were listed. */
	add_descriptor(p, "1", 4, "anon_inode:inotify");
	assert_int_equal(mkdirat(p->fd, "2", 0755), 0);
	read_all(p);
	assert_true(watchers_none(&p->ws));
	assert_int_equal(watchers_mask(&p->ws, 2), 0);
}

static void assert_all(struct proc *p)
{
	read_all(p);
	assert_false(watchers_none(&p->ws));
	assert_int_equal(watchers_mask(&p->ws, 77), ~0u);
}

static void test_too_long(void **state)
{
	struct proc *p = *state;
	int fd;

	add_inotify(p, "1", 3, "");
	read_all(p);
	assert_true(watchers_none(&p->ws));
	fd = openat(p->fd, "1/fdinfo/3", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, (16 << 20) + 1), 0);
	close(fd);
	assert_all(p);
}

static void test_unreadable(void **state)
{
	struct proc *p = *state;

	add_descriptor(p, "1", 3, "anon_inode:inotify");
	assert_int_equal(mkdirat(p->fd, "1/fdinfo/3", 0755), 0);
	assert_all(p);
}

/* There is no descriptor left to look with. */
static void test_no_descriptor(void **state)
{
	struct proc *p = *state;
	struct rlimit old, none;
	int fd;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* One, for the list of the processes. */
	fd = dup(p->fd);
	none = (struct rlimit){(rlim_t)fd + 1, old.rlim_max};
	close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	read_all(p);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_false(watchers_none(&p->ws));
}

/* ---- steps ---- */

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
		cmocka_unit_test_setup_teardown(test_watchers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptor, setup, teardown),
		cmocka_unit_test(test_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
