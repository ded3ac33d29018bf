/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images by the real templated: asked for as a shim does, made behind the answer, given,
 * dropped for others and pruned; templated ends and is killed in the middle.
 */
#include "tests/integration/templated_fixture.h"

#include <sys/file.h>

#include "templated/layers.h"
#include "templated/lease/image.h"

#define STORE DIR_ "/images"

static int leave_images(void **state)
{
	int r = leave(state);

	config_done(&config);
	return r;
}

/* Layers on a disk would do as well; a tmpfs goes with the test. */
static char *layer_path(const char *name)
{
	return xasprintf(DIR_ "/layers/%s", name);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	struct err err = ERR_INIT;

	if (file_write_atomic(AT_FDCWD, path, text, strlen(text), mode, &err) < 0)
		fail_msg("%s", err.text);
}

static char *make_layer(const char *name)
{
	char *path = layer_path(name);
	_cleanup_free_ char *file = xasprintf("%s/file", path);
	struct err err = ERR_INIT;

	assert_int_equal(mkdir_parents(path, 0755, &err), 0);
	write_file(file, name, 0644);
	return path;
}

/* No template is needed; whatever else is told by `more`. */
static void begin(const char *more)
{
	_cleanup_free_ char *text = xasprintf(
		"cgroup_parent = stencil-images-%d\n[factory]\nenable_template = false\n"
		"[images]\nenable = true\n%s",
		(int)getpid(), more);

	configure(text);
	start_daemon();
}

static void end(void)
{
	stop_daemon(SIGTERM, 0);
}

/* ---- asking ---- */

static int ask_for(char *const *lowers, size_t n, struct image *ret, struct err *err)
{
	int r;

	*err = ERR_INIT;
	r = image_ask(&config, lowers, n, ret, err);
	if (r < 0)
		fail_msg("%s", err->text);
	return r;
}

static void ask_in_vain(const char *layer, const char *why)
{
	char *lowers[] = {(char *)(uintptr_t)layer};
	struct image image;
	struct err err;

	assert_int_equal(ask_for(lowers, 1, &image, &err), IMAGE_NONE);
	assert_int_equal(image.fd, -1);
	assert_in(err.text, why);
}

/* Everything that templated tells from here on. */
static int watch_events(void)
{
	_cleanup_json_ struct json_object *message = NULL;
	struct err err = ERR_INIT;
	int fd, fds[2];

	if (ctl_open(&config, LEASE_VERB_WATCH, &fd, &err) < 0 ||
		lease_receive(fd, &message, fds, soon(), &err) < 0)
		fail_msg("%s", err.text);
	return fd;
}

static void wait_event(int fd, const char *name)
{
	for (;;) {
		_cleanup_json_ struct json_object *message = NULL;
		struct err err = ERR_INIT;
		const char *event;
		int fds[2];

		if (lease_receive(fd, &message, fds, soon(), &err) < 0 ||
			json_get_string(message, "event", &event, &err) < 0)
			fail_msg("%s", err.text);
		if (strcmp(event, name) == 0)
			return;
		if (strcmp(event, "image-failed") == 0)
			fail_msg("%s", json_object_to_json_string(message));
	}
}

static struct image obtain(const char *layer)
{
	char *lowers[] = {(char *)(uintptr_t)layer};
	_cleanup_close_ int events = watch_events();
	struct image image;
	struct err err;

	if (ask_for(lowers, 1, &image, &err) == IMAGE_READY)
		return image;
	wait_event(events, "image-made");
	if (ask_for(lowers, 1, &image, &err) != IMAGE_READY)
		fail_msg("%s", err.text);
	return image;
}

static bool is_there(const struct image *image)
{
	_cleanup_free_ char *path = xasprintf(STORE "/%.64s.erofs", image->key);

	return access(path, F_OK) == 0;
}

static uint64_t status_number(const char *path)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;
	struct json_object *value;

	if (ctl_ask(&config, LEASE_VERB_STATUS, NULL, &reply, &err) < 0)
		fail_msg("%s", err.text);
	value = json_at(reply, path);
	return value ? json_object_get_uint64(value) : 0;
}

/* Runs `templatectl images prune`. */
static void prune(const char *says)
{
	pid_t pid = fork();

	if (pid == 0) {
		_cleanup_free_ char *path = build_path("templatectl");
		int fd =
			open(DIR_ "/out", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
			_exit(120);
		execl(path, path, "--config", CONF, "images", "prune", NULL);
		_exit(122);
	}
	assert_int_equal(end_of(pid), 0);
	{
		_cleanup_free_ char *text = read_text(DIR_ "/out");

		assert_in(text, says);
	}
}

/* ---- tests ---- */

static void test_ask(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *gone = layer_path("gone");
	char *lowers[] = {a};
	struct image one, two;
	struct err err;
	struct stat st;
	uint64_t began;

	(void)state;
	begin("");
	ask_in_vain(a, "there is no image of its layers yet");
	one = obtain(a);
	assert_int_equal(fstat(one.fd, &st), 0);
	assert_int_equal(st.st_size, one.bytes);
	assert_int_equal(one.bytes % (2 << 20), 0);
	assert_int_equal(strlen(one.key), 64);
	ask_in_vain(gone, "No such file");
	began = now_us();
	for (int i = 0; i < 200; i++) {
		assert_int_equal(ask_for(lowers, 1, &two, &err), IMAGE_READY);
		image_release(&two);
	}
	print_message("a hit takes %llu us with its connection\n",
		(unsigned long long)(now_us() - began) / 200);
	two = obtain(a);
	assert_int_equal(status_number("status.images.users"), 2);
	assert_int_equal(status_number("status.images.shared_bytes"), two.bytes);
	assert_int_equal(status_number("status.images.count"), 1);
	assert_int_equal(status_number("status.images.made"), 1);
	assert_int_equal(status_number("status.images.misses.refused"), 1);
	ctl("images", 0, "IMAGE");
	ctl("images", 0, "     2      1  ");
	ctl("status", 0, "images     1, 2.0 of 10240 MiB;");
	ctl("metrics", 0, "stencil_images_made_total 1\n");
	ctl("metrics", 0, "stencil_image_misses_total{reason=\"refused\"} 1\n");
	prune("removed 0 images, 0 bytes");
	image_release(&one);
	image_release(&one);
	image_release(&two);
	prune("removed 1 images, 2097152 bytes");
	assert_int_equal(status_number("status.images.count"), 0);
	assert_int_equal(chmod(CONF, 0644), 0);
	ctl_as(1000, "images", 4, "only root");
	end();
	ask_in_vain(a, "templated is not there");
}

static void test_switched_off(void **state)
{
	_cleanup_free_ char *a = make_layer("a");

	(void)state;
	begin("[images]\nenable = false\n");
	ask_in_vain(a, "switched off");
	/* The shim's configuration may be another one than templated's. */
	config.images_enable = true;
	ask_in_vain(a, "templated is configured without images");
	ctl("status", 0, "images     switched off");
	end();
}

static void test_least_recently_used(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *b = make_layer("b"),
			    *c = make_layer("c");
	struct image of_a, of_b, of_c;

	(void)state;
	begin("[images]\nmax_bytes = 4M\n");
	of_a = obtain(a);
	image_release(&of_a);
	of_b = obtain(b);
	image_release(&of_b);
	of_a = obtain(a);
	/* Who used which one last is known after a restart, and who has one. */
	end();
	start_daemon();
	assert_int_equal(status_number("status.images.count"), 2);
	of_b = (struct image){.fd = -1};
	of_c = obtain(c);
	assert_true(is_there(&of_a));
	assert_true(is_there(&of_c));
	assert_int_equal(status_number("status.images.bytes"), 4 << 20);
	assert_int_equal(status_number("status.images.count"), 2);
	image_release(&of_a);
	image_release(&of_c);
	end();
}

/* ---- killed in the middle ---- */

/* A mkfs.erofs that writes something and then waits for a line from the layer. */
static void use_waiting_program(void)
{
	struct err err = ERR_INIT;

	assert_int_equal(mkdir_parents(DIR_ "/bin", 0755, &err), 0);
	write_file(DIR_ "/bin/mkfs.erofs",
		"#!/usr/bin/perl\n"
		"open F, q(>/image); print F q(half) x 10000; close F;\n"
		"open F, q(/lower/tell); <F>; exec q(/usr/bin/mkfs.erofs), @ARGV\n",
		0755);
}

static char *layer_that_waits(const char *name)
{
	char *path = make_layer(name);
	_cleanup_free_ char *fifo = xasprintf("%s/tell", path);

	assert_int_equal(mkfifo(fifo, 0666), 0);
	assert_int_equal(chmod(fifo, 0666), 0);
	return path;
}

/* Where it is being made: the other end of what mkfs.erofs waits for. */
static int begin_making(const char *layer)
{
	_cleanup_free_ char *fifo = xasprintf("%s/tell", layer);
	int fd;

	ask_in_vain(layer, "it will be made");
	fd = open(fifo, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int count_store(const char *ending)
{
	_cleanup_closedir_ DIR *dir = opendir(STORE);
	struct dirent *entry;
	int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		const char *dot = strchr(entry->d_name, '.');

		n += dot && dot != entry->d_name && strcmp(dot, ending) == 0;
	}
	return n;
}

/* Files of the group of mkfs.erofs, in each hierarchy. */
static char *group_file(const char *hierarchy, const char *file)
{
	return xasprintf("/sys/fs/cgroup%s/stencil-images-%d/images/%s", hierarchy,
		(int)getpid(), file);
}

static void assert_limited(void)
{
	_cleanup_free_ char *v2 = group_file("", "cpu.max"),
			    *v1 = group_file("/cpu", "cpu.cfs_quota_us");
	_cleanup_free_ char *text = NULL;
	const char *file = access(v2, F_OK) == 0 ? v2 : access(v1, F_OK) == 0 ? v1 : NULL;

	if (!file) {
		print_message("there is no cpu controller: only told in the log\n");
		text = read_text(DIR_ "/log");
		assert_in(text, "at the lowest priority instead of by cpu_percent");
		return;
	}
	text = read_text(file);
	assert_in(text, "30000");
}

static void assert_no_group(void)
{
	static const char *const hierarchies[] = {"", "/cpu", "/memory", "/pids"};

	for (size_t i = 0; i < ARRAY_SIZE(hierarchies); i++) {
		_cleanup_free_ char *group = group_file(hierarchies[i], "");

		assert_int_equal(access(group, F_OK), -1);
	}
}

static char *mounts_of_daemon(void)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/mountinfo", (int)daemon_pid);

	return read_text(path);
}

static void test_killed_while_making(void **state)
{
	_cleanup_free_ char *a = layer_that_waits("killed"), *before = NULL,
			    *meanwhile = NULL;
	struct image image;
	int fd;

	(void)state;
	use_waiting_program();
	begin("[images]\ncpu_percent = 30\n");
	before = mounts_of_daemon();
	fd = begin_making(a);
	assert_limited();
	meanwhile = mounts_of_daemon();
	assert_string_equal(before, meanwhile);
	ask_in_vain(a, "its image is being made since");
	assert_int_equal(count_store(".new"), 1);
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	/* With it mkfs.erofs: a writer of the fifo hears that its only reader is gone. */
	{
		struct pollfd pfd = {.fd = fd};

		assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
		assert_true(pfd.revents & POLLERR);
	}
	close(fd);
	unlink(DIR_ "/bin/mkfs.erofs");
	start_daemon();
	assert_int_equal(count_store(".new"), 0);
	assert_int_equal(count_store(".erofs"), 0);
	image = obtain(a);
	assert_int_equal(count_store(".erofs"), 1);
	image_release(&image);
	end();
	assert_no_group();
}

static void test_ended_while_making(void **state)
{
	_cleanup_free_ char *a = layer_that_waits("ended");
	int fd;

	(void)state;
	use_waiting_program();
	begin("");
	fd = begin_making(a);
	end();
	assert_int_equal(count_store(".new"), 0);
	assert_no_group();
	close(fd);
	unlink(DIR_ "/bin/mkfs.erofs");
}

/* The real one, with enough to do. */
static void test_killed_while_writing(void **state)
{
	_cleanup_free_ char *a = make_layer("large"), *file = NULL;
	int watch = inotify_init1(IN_CLOEXEC), fd;
	struct image image;
	char events[4096];

	(void)state;
	file = xasprintf("%s/zeros", a);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(fallocate(fd, 0, 0, 64 << 20), 0);
	close(fd);
	begin("[images]\ncpu_percent = 5\n");
	assert_true(inotify_add_watch(watch, STORE, IN_MODIFY) >= 0);
	ask_in_vain(a, "it will be made");
	assert_int_equal(wait_fd(watch, POLLIN, soon()), 0);
	assert_true(read(watch, events, sizeof(events)) > 0);
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	close(watch);
	begin("[images]\ncpu_percent = 0\n");
	assert_int_equal(count_store(".new"), 0);
	image = obtain(a);
	assert_true(image.bytes >= 64 << 20);
	image_release(&image);
	end();
	assert_no_group();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ask, enter, leave_images),
		cmocka_unit_test_setup_teardown(test_switched_off, enter, leave_images),
		cmocka_unit_test_setup_teardown(
			test_least_recently_used, enter, leave_images),
		cmocka_unit_test_setup_teardown(
			test_killed_while_making, enter, leave_images),
		cmocka_unit_test_setup_teardown(
			test_ended_while_making, enter, leave_images),
		cmocka_unit_test_setup_teardown(
			test_killed_while_writing, enter, leave_images),
	};
	const char *path = getenv("PATH");
	_cleanup_free_ char *first = xasprintf(DIR_ "/bin:%s", path ? path : "/usr/bin");

	setenv("PATH", first, 1);
	return cmocka_run_group_tests_name("templated-images", tests, NULL, NULL);
}
