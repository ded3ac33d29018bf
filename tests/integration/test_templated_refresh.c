/* SPDX-License-Identifier: Apache-2.0 */
/* templated follows its inputs and its configuration, and survives builds that fail. */
#include "tests/integration/templated_fixture.h"

#include <sys/sendfile.h>

#define INITRD DIR_ "/initrd.img"
#define OTHER  DIR_ "/other.img"

/* ---- inputs ---- */

/* A copy of the guest's initramfs, with `zeros` bytes behind it:
 * the kernel passes over them. */
static void copy_initrd(const char *to, size_t zeros)
{
	_cleanup_free_ char *from = guest_path("initrd.img");
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out =
		open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct stat st;

	assert_int_equal(fstat(in, &st), 0);
	for (off_t done = 0; done < st.st_size;)
		assert_true(sendfile(out, in, &done, (size_t)(st.st_size - done)) > 0);
	assert_int_equal(ftruncate(out, st.st_size + (off_t)zeros), 0);
}

static void write_conf(const char *more)
{
	_cleanup_free_ char *text =
		xasprintf("[hypervisor]\ninitrd = " INITRD "\n%s", more);

	configure(text);
}

/* ---- waiting ---- */

/* The log has `text`, now or within the time of a boot. */
static void wait_log(const char *text)
{
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC);
	int64_t deadline = soon();
	char events[4096];

	assert_true(inotify_add_watch(watch, DIR_ "/log", IN_MODIFY) >= 0);
	for (;;) {
		_cleanup_free_ char *log = read_text(DIR_ "/log");

		if (strstr(log, text))
			return;
		if (wait_fd(watch, POLLIN, deadline) < 0)
			fail_msg("\"%s\" does not come in: %s", text, log);
		assert_true(read(watch, events, sizeof(events)) > 0);
	}
}

/* Empties the log, so that the next wait is for something new.
 * O_APPEND goes on at the beginning. */
static void cut_log(void)
{
	assert_int_equal(truncate(DIR_ "/log", 0), 0);
}

static void assert_serving(const char *id)
{
	struct lease lease;

	acquire_template(&lease);
	assert_string_equal(lease.generation, id);
	lease_release(&lease);
}

/* ---- tests; they build on each other's template ---- */

/* A package manager's rename: the old template serves, stale, until the new one stands.
 * Nobody asks for it. */
static void test_input_replaced(void **state)
{
	_cleanup_free_ char *id = NULL, *next = NULL;

	(void)state;
	copy_initrd(INITRD, 0);
	write_conf("");
	start_daemon();
	ctl("init", 0, "generation 0");
	id = current_id();
	cut_log();
	copy_initrd(OTHER, 512);
	assert_int_equal(rename(OTHER, INITRD), 0);
	wait_log("template: booting");
	assert_serving(id);
	ctl("status", 0, "stale: initrd_sha256: wanted");
	ctl("status", 0, "of stale generations 1");
	wait_log("is published after");
	next = current_id();
	assert_string_not_equal(next, id);
	assert_serving(next);
}

/* The same bytes in another file: looked at, and nothing built. */
static void test_nothing_new(void **state)
{
	_cleanup_free_ char *id = current_id(), *same = NULL, *log = NULL;

	(void)state;
	cut_log();
	copy_initrd(OTHER, 512);
	assert_int_equal(rename(OTHER, INITRD), 0);
	wait_log("is up to date");
	log = read_text(DIR_ "/log");
	assert_null(strstr(log, "booting"));
	same = current_id();
	assert_string_equal(same, id);
}

static void test_hup(void **state)
{
	_cleanup_free_ char *id = current_id(), *next = NULL;

	(void)state;
	cut_log();
	write_conf("[hypervisor]\nkernel_params = quiet loglevel=1\n"
		   "[factory]\ntemplate_path = /mnt/elsewhere\n");
	assert_int_equal(kill(daemon_pid, SIGHUP), 0);
	wait_log("template_path = /mnt/elsewhere needs a restart of templated");
	wait_log("is published after");
	next = current_id();
	assert_string_not_equal(next, id);
	write_conf("[hypervisor]\nkernel_params = quiet loglevel=1\n");
	assert_serving(next);
}

static void test_hup_refused(void **state)
{
	_cleanup_free_ char *id = current_id();
	static const char bad[] = "[factory]\ncolour = red\n";
	struct err err = ERR_INIT;

	(void)state;
	cut_log();
	assert_int_equal(
		file_write_atomic(AT_FDCWD, CONF, bad, strlen(bad), 0600, &err), 0);
	assert_int_equal(kill(daemon_pid, SIGHUP), 0);
	wait_log(CONF ":2: unknown key colour");
	assert_serving(id);
	write_conf("[hypervisor]\nkernel_params = quiet loglevel=1\n");
	ctl("status", 0, "last ");
}

/* A security fix: nothing of the old one from the moment on that it was asked for. */
static void *now_thread(void *arg)
{
	struct json_object *request = lease_request_new(LEASE_VERB_REFRESH, NULL, NULL),
			   *reply = NULL;
	struct refresh *r = arg;

	json_set_bool(request, "now", true);
	r->result = ctl_send(&config, LEASE_VERB_REFRESH, request, NULL, &reply, &r->err);
	json_object_put(reply);
	return NULL;
}

static void test_now(void **state)
{
	_cleanup_free_ char *id = current_id(), *path = NULL, *next = NULL;
	struct refresh r = {0};

	(void)state;
	path = xasprintf(TEMPLATE "/%s", id);
	cut_log();
	assert_int_equal(thread_start(now_thread, &r, 1 << 20, false, &r.thread), 0);
	wait_log("template: booting");
	acquire_nothing("retired by refresh --now, the template is being built");
	assert_int_equal(access(path, F_OK), -1);
	pthread_join(r.thread, NULL);
	assert_int_equal(r.result, 0);
	next = current_id();
	assert_string_not_equal(next, id);
	assert_serving(next);
}

/* ---- builds that fail while the old one serves ---- */

/* What templated is configured to build can't be built;
 * who wants what there is gets it. */
static void fails(const char *lines, const char *why, const char *id)
{
	cut_log();
	/* It is followed: SIGHUP beside it would ask for two builds. */
	write_conf(lines);
	wait_log("no new template, what there was goes on serving");
	wait_log(why);
	assert_nothing_half_done();
	ctl("status", 0, "last build FAILED");
	write_conf("[hypervisor]\nkernel_params = quiet loglevel=1\n");
	assert_serving(id);
}

static void test_failing_guests(void **state)
{
	_cleanup_free_ char *id = current_id();

	(void)state;
	fails("[runtime]\nboot_timeout_ms = 3000\n"
	      "[hypervisor]\nkernel_params = rdinit=/no-such-init panic=0\n",
		"did not answer within 3000 ms", id);
	fails("[hypervisor]\nkernel_params = rdinit=/no-such-init\n", "Kernel panic", id);
	fails("[factory]\ntmpfs_size = 200M\n[hypervisor]\ndefault_memory = 2048\n",
		"MiB) are needed", id);
}

/* An initramfs without our agent: named, not tried again and again,
 * and mended by the next file. */
static void test_no_agent(void **state)
{
	_cleanup_free_ char *id = current_id(), *next = NULL, *log = NULL;
	struct err err = ERR_INIT;

	(void)state;
	cut_log();
	write_conf("");
	wait_log("is published after");
	free(id);
	id = current_id();
	cut_log();
	assert_int_equal(file_write_atomic(AT_FDCWD, OTHER, "no cpio", 7, 0644, &err), 0);
	assert_int_equal(rename(OTHER, INITRD), 0);
	wait_log("no new template, what there was goes on serving");
	wait_log("Kernel panic");
	/* Pods that come find it old; that is no reason for another attempt. */
	cut_log();
	assert_serving(id);
	assert_serving(id);
	ctl("status", 0, "last build FAILED");
	log = read_text(DIR_ "/log");
	assert_null(strstr(log, "template: booting"));
	copy_initrd(OTHER, 1024);
	assert_int_equal(rename(OTHER, INITRD), 0);
	wait_log("is published after");
	next = current_id();
	assert_string_not_equal(next, id);
}

/* QEMU dies when it is to save. */
static void kill_qemu(const char *step)
{
	struct proc_id qemu;
	int pidfd;

	if (strcmp(step, "agent up") != 0 || find_qemu(&qemu) < 0 ||
		proc_open(&qemu, &pidfd) < 0)
		return;
	pidfd_kill(pidfd, SIGKILL);
	close(pidfd);
}

static void test_qemu_dies_at_save(void **state)
{
	_cleanup_free_ char *id = current_id();
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(ctl_ask(&config, LEASE_VERB_REFRESH, kill_qemu, &reply, &err),
		-EREMOTEIO);
	assert_in(err.text, "save");
	assert_nothing_half_done();
	ctl("status", 0, "last build FAILED");
	assert_serving(id);
	ctl("destroy", 0, "template: ");
	stop_daemon(SIGTERM, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input_replaced),
		cmocka_unit_test(test_nothing_new),
		cmocka_unit_test(test_hup),
		cmocka_unit_test(test_hup_refused),
		cmocka_unit_test(test_now),
		cmocka_unit_test(test_failing_guests),
		cmocka_unit_test(test_no_agent),
		cmocka_unit_test(test_qemu_dies_at_save),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
