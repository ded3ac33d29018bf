/* SPDX-License-Identifier: Apache-2.0 */
/* Leases and generations that outlive templated. */
#include "tests/unit/lease_fixture.h"

#include <sys/mount.h>

#define LEASES PATH "/" GENERATION_LEASES

/* ---- a sandbox: a process that holds a lease ---- */

static pid_t sandbox_start(char ret_generation[GENERATION_ID_SIZE])
{
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct lease lease;

		acquire(&lease);
		if (write(ready[1], lease.generation, GENERATION_ID_SIZE) ==
			GENERATION_ID_SIZE)
			pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read_full(ready[0], ret_generation, GENERATION_ID_SIZE), 0);
	assert_true(generation_id_valid(ret_generation));
	close(ready[0]);
	return pid;
}

static void sandbox_end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static bool exists(const char *id)
{
	_cleanup_free_ char *path = xasprintf(PATH "/%s/memory", id);

	return access(path, F_OK) == 0;
}

/* Names in the folder of leases. */
static int notes(void)
{
	_cleanup_closedir_ DIR *dir = opendir(LEASES);
	struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir)))
		n += *entry->d_name != '.';
	return n;
}

/* The followers' thread hears of an end in its own time. */
static void wait_for(const char *path, int value)
{
	while (status_number(path) != value)
		;
}

static void refresh(void)
{
	struct err err = ERR_INIT;

	if (ask(LEASE_VERB_REFRESH, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

/* ---- tests ---- */

/* A retired generation with one sandbox, through two lives of templated. */
static void test_survives(void **state)
{
	char old[GENERATION_ID_SIZE];
	pid_t pid;

	(void)state;
	init_template();
	pid = sandbox_start(old);
	assert_int_equal(notes(), 1);
	refresh();
	assert_int_equal(notes(), 2); /* and that it is retired */
	for (int i = 0; i < 2; i++) {
		restart();
		assert_true(exists(old));
		assert_text("status/template/generations/0/state", "retired");
		assert_text(
			"status/template/generations/0/clones/0/sandbox", "sandbox-1");
		assert_text("status/template/generations/1/state", "current");
		assert_int_equal(
			status_number("status/template/generations/1/leases"), 0);
	}
	sandbox_end(pid);
	wait_for("status/template/generations/1/leases", -1);
	assert_false(exists(old));
	assert_int_equal(notes(), 0);
	assert_text("status/template/state", "ready");
}

/* It ended while templated was away. */
static void test_ended_meanwhile(void **state)
{
	char old[GENERATION_ID_SIZE];
	pid_t pid;

	(void)state;
	init_template();
	pid = sandbox_start(old);
	refresh();
	stop();
	assert_true(exists(old));
	sandbox_end(pid);
	start();
	assert_false(exists(old));
	assert_int_equal(notes(), 0);
	assert_int_equal(status_number("status/template/generations/1/leases"), -1);
}

static void test_destroy(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	_cleanup_close_ int folder = -1;
	char id[GENERATION_ID_SIZE];
	struct json_object *held;
	struct err err = ERR_INIT;
	pid_t pid;

	(void)state;
	init_template();
	pid = sandbox_start(id);
	restart();
	assert_text("status/template/generations/0/state", "current");
	assert_int_equal(ask(LEASE_VERB_DESTROY, &reply, &err), 0);
	assert_int_equal(json_get_array(reply, "held", &held, &err), 0);
	assert_int_equal(json_object_array_length(held), 1);
	/* What was destroyed does not come back. */
	restart();
	assert_text("status/template/state", "none");
	assert_text("status/template/generations/0/state", "retired");
	acquire_nothing("there is no template");
	json_put(steal_ptr(reply));
	assert_int_equal(ask(LEASE_VERB_DESTROY, &reply, &err), 0);
	/* Whoever looks at it just then does not keep it. */
	folder = open(PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(folder >= 0);
	sandbox_end(pid);
	wait_for("status/template/tmpfs/mounted", 0);
}

/* One that was damaged while templated was away: named, never offered, its files gone. */
static void test_unsound(void **state)
{
	_cleanup_free_ char *path = NULL;
	char id[GENERATION_ID_SIZE];
	pid_t pid;

	(void)state;
	init_template();
	pid = sandbox_start(id);
	path = xasprintf(PATH "/%s/state", id);
	assert_int_equal(truncate(path, 5), 0);
	restart();
	assert_false(exists(id));
	acquire_nothing("there is no template");
	assert_text("status/template/generations/0/id", id);
	assert_text("status/template/generations/0/state", "unsound");
	assert_text("status/template/generations/0/reason",
		"the manifest says 12, the file state has 5");
	assert_text("status/template/generations/0/clones/0/sandbox", "sandbox-1");
	init_template();
	restart();
	assert_text("status/template/generations/0/state", "current");
	assert_text("status/template/generations/1/reason", "its files are gone");
	sandbox_end(pid);
	wait_for("status/template/generations/1/leases", -1);
}

/* A process of the same number, but another one. */
static void test_reused_pid(void **state)
{
	struct lease_note note = {.sandbox = "other"};
	struct err err = ERR_INIT;
	struct lease lease;
	int root_fd;

	(void)state;
	init_template();
	acquire_template(&lease);
	str_copy(note.generation, lease.generation);
	lease_release(&lease);
	assert_int_equal(proc_id_of(getpid(), &note.holder), 0);
	note.holder.start_ticks++;
	assert_int_equal(store_pin(daemon_.store, &root_fd, &err), 0);
	assert_int_equal(lease_note_write(root_fd, &note, &err), 0);
	store_unpin(daemon_.store);
	restart();
	assert_int_equal(status_number("status/template/generations/0/leases"), 0);
	assert_int_equal(notes(), 0);
}

/* Files that are no notes, and a mark of nothing. */
static void test_garbage(void **state)
{
	static const struct {
		const char *name, *text;
	} files[] = {
		{"1-1-1.json", ""},
		{"1-1-2.json", "[]"},
		{"1-1-3.json", "{\"generation\":\"../x\",\"sandbox\":\"s\",\"pid\":1,"
			       "\"start_ticks\":0}"},
		{"1-1-4.json", "{\"generation\":\"00000042-9f3a2b1c\","
			       "\"sandbox\":\"s\",\"pid\":0,\"start_ticks\":0}"},
		{"1-1-5.json", "{\"generation\":\"00000042-9f3a2b1c\","
			       "\"pid\":1,\"start_ticks\":0}"},
		{"note", "{}"},
		{"00000042-9f3a2b1c.retired", ""},
	};

	(void)state;
	init_template();
	assert_true(mkdir(LEASES, 0700) == 0 || errno == EEXIST);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = xasprintf(LEASES "/%s", files[i].name);

		fixture_write(path, files[i].text, 0400);
	}
	assert_int_equal(symlink("/etc/passwd", LEASES "/1-1-6.json"), 0);
	restart();
	assert_int_equal(notes(), 0);
	assert_text("status/template/state", "ready");
}

/* The lease goes on where nothing can be written down. */
static void test_no_place_for_notes(void **state)
{
	struct lease lease;

	(void)state;
	init_template();
	rmdir(LEASES);
	fixture_write(LEASES, "not a folder", 0600);
	acquire_template(&lease);
	lease_release(&lease);
	restart();
	assert_text("status/template/state", "ready");
}

/* What a clone still maps is in the calculation, whoever else has forgotten it. */
static void test_size_counts_unlinked(void **state)
{
	_cleanup_json_ struct json_object *before = NULL, *after = NULL;
	struct err err = ERR_INIT;
	struct lease lease;
	int64_t more;

	(void)state;
	init_template();
	assert_int_equal(daemon_size(&client, &before, &err), 0);
	acquire_template(&lease);
	/* As if the lease had been lost: the generation goes, the clone has the file. */
	close(steal_fd(&lease.conn_fd));
	wait_for("status/template/generations/0/leases", 0);
	refresh();
	assert_int_equal(daemon_size(&client, &after, &err), 0);
	more = json_object_get_int64(status_at(after, "plan/retained_bytes")) -
	       json_object_get_int64(status_at(before, "plan/retained_bytes"));
	assert_true(more >= 4096);
	lease_release(&lease);
}

/* The tmpfs is replaced under a sandbox: what that has never becomes the current one. */
static void test_replaced_tmpfs(void **state)
{
	struct err err = ERR_INIT;
	struct lease lease;

	(void)state;
	init_template();
	acquire_template(&lease);
	assert_int_equal(umount2(PATH, MNT_DETACH), 0);
	assert_int_equal(daemon_open_store(&daemon_, &client, &err), 0);
	assert_text("status/template/state", "none");
	acquire_nothing("there is no template");
	assert_text("status/template/generations/0/id", lease.generation);
	assert_text("status/template/generations/0/state", "unsound");
	assert_text("status/template/generations/0/reason", "replaced by another one");
	init_template();
	assert_text("status/template/generations/1/state", "current");
	lease_release(&lease);
	wait_for("status/template/generations/0/leases", 0);
	assert_text("status/template/state", "ready");
}

/* Passes fd as the service manager does; what was in its place goes to *ret_old. */
static void pass_socket(int fd, int *ret_old)
{
	_cleanup_free_ char *pid = xasprintf("%d", (int)getpid());

	*ret_old = fcntl(3, F_DUPFD_CLOEXEC, 10);
	assert_int_equal(dup2(fd, 3), 3);
	assert_int_equal(setenv("LISTEN_PID", pid, 1), 0);
	assert_int_equal(setenv("LISTEN_FDS", "1", 1), 0);
}

/* The service manager's socket serves one templated after the other, and keeps those who
 * connect in between. */
static void test_activated(void **state)
{
	struct err err = ERR_INIT;
	int listener, waiting, old;

	(void)state;
	stop();
	assert_int_equal(unix_listen("/tmp/sock", SOCK_SEQPACKET, &listener, &err), 0);
	for (int i = 0; i < 3; i++) {
		pass_socket(listener, &old);
		start();
		assert_int_equal(status_number("status/template/enabled"), 1);
		stop();
		if (old >= 0) {
			assert_int_equal(dup2(old, 3), 3);
			close(old);
		}
		assert_int_equal(access("/tmp/sock", F_OK), 0);
		assert_int_equal(
			unix_connect("/tmp/sock", SOCK_SEQPACKET, soon(), &waiting, &err),
			0);
		assert_int_equal(wait_fd(waiting, POLLIN, 0), -ETIMEDOUT);
		close(waiting);
	}
	close(listener);
	start();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_survives),
		T(test_ended_meanwhile),
		T(test_destroy),
		T(test_unsound),
		T(test_reused_pid),
		T(test_garbage),
		T(test_no_place_for_notes),
		T(test_size_counts_unlinked),
		T(test_replaced_tmpfs),
		T(test_activated),
#undef T
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
