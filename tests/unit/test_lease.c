/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templated's server, store and builder in this process, with a scripted VM in the place of QEMU,
 * and the lease client against them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/mm_fixture.h"

#include "base/log.h"
#include "base/thread.h"
#include "templated/builder.h"
#include "templated/ctl.h"
#include "templated/daemon.h"
#include "templated/lease.h"
#include "templated/lock.h"
#include "templated/server.h"
#include "vm/vm.h"

#define PATH "/tmp/template"

/* ---- the scripted VM ---- */

struct vm {
	int memory_fd;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hold; /* vm_boot() waits while it is set */
	unsigned int booting, boots, followers;
	int boot_result;
	const char *qemu_version;
} script = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER,
		.qemu_version = "7.2.22"};

struct vm_inputs *vm_inputs_new(void)
{
	return NULL;
}

void vm_inputs_free(struct vm_inputs *inputs)
{
	(void)inputs;
}

int vm_inputs_collect(struct vm_inputs *inputs, const struct config *c, struct manifest *ret,
		struct err *err)
{
	char number[24];

	(void)inputs;
	if (strcmp(c->kernel, "/missing") == 0)
		return err_set(err, -ENOENT, "cannot find the guest's kernel /missing");
	snprintf(number, sizeof(number), "%llu", (unsigned long long)(c->default_memory * MiB));
	fixture_inputs(ret, number);
	pthread_mutex_lock(&script.lock);
	manifest_set(ret, MANIFEST_QEMU_VERSION, script.qemu_version);
	pthread_mutex_unlock(&script.lock);
	manifest_set(ret, MANIFEST_QEMU_PATH, c->qemu_path);
	manifest_set(ret, MANIFEST_CMDLINE, *c->kernel_params ? c->kernel_params : "quiet");
	return 0;
}

int vm_boot(const struct vm_options *options, int memory_fd, struct vm **ret, struct err *err)
{
	int r;

	assert_int_equal(access(options->dir, F_OK), 0);
	pthread_mutex_lock(&script.lock);
	script.booting++;
	script.boots++;
	pthread_cond_broadcast(&script.changed);
	while (script.hold)
		pthread_cond_wait(&script.changed, &script.lock);
	script.booting--;
	r = script.boot_result;
	pthread_mutex_unlock(&script.lock);
	if (r < 0)
		return err_set(err, r, "boot: the guest is silent");
	*ret = xnew0(struct vm);
	(*ret)->memory_fd = memory_fd;
	return pwrite(memory_fd, "guest", 5, 8192) == 5 ? 0 : -EIO;
}

int vm_save(struct vm *vm, int state_fd, struct err *err)
{
	(void)vm;
	(void)err;
	return write_full(state_fd, "device state", 12);
}

void vm_free(struct vm *vm)
{
	free(vm);
}

struct agent *vm_agent(struct vm *vm)
{
	(void)vm;
	return NULL;
}

int agent_version(struct agent *a, Grpc__VersionCheckResponse **ret, int64_t deadline,
		struct err *err)
{
	(void)a;
	(void)ret;
	(void)deadline;
	return err_set(err, -ENOSYS, "an agent without a version");
}

int vm_cleanup(const struct config *c, const char *dir, struct err *err)
{
	(void)c;
	(void)dir;
	(void)err;
	return 0;
}

static void script_hold(bool hold)
{
	pthread_mutex_lock(&script.lock);
	script.hold = hold;
	pthread_cond_broadcast(&script.changed);
	pthread_mutex_unlock(&script.lock);
}

static void script_wait_booting(void)
{
	pthread_mutex_lock(&script.lock);
	while (script.booting == 0)
		pthread_cond_wait(&script.changed, &script.lock);
	pthread_mutex_unlock(&script.lock);
}

/* ---- a daemon ---- */

static struct daemon daemon_;
static struct server *server;
static struct config client;

static void set_config(struct config *c)
{
	struct err err = ERR_INIT;

	config_init(c);
	if (config_set(c, "factory", "template_path", PATH, "", &err) < 0 ||
			config_set(c, "factory", "template_endpoint", "/tmp/sock", "", &err) < 0 ||
			config_set(c, "runtime", "state_dir", "/tmp/state", "", &err) < 0)
		fail_msg("%s", err.text);
	c->default_memory = 8;
}

static int setup(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	script.boots = script.followers = 0;
	script.boot_result = 0;
	script.hold = false;
	script.qemu_version = "7.2.22";
	set_config(&daemon_.config);
	set_config(&client);
	daemon_init(&daemon_);
	if (server_start(&daemon_, &server, &err) < 0)
		fail_msg("%s", err.text);
	return 0;
}

static int teardown(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	script_hold(false);
	builder_close(daemon_.builder);
	server_stop(server);
	daemon_done(&daemon_);
	if (tmpfs_unmount(PATH, &err) < 0)
		fail_msg("%s", err.text);
	config_done(&daemon_.config);
	config_done(&client);
	return access("/tmp/sock", F_OK) == 0 || access("/tmp/state/.templated", F_OK) == 0;
}

static int ask(enum lease_verb verb, struct json_object **ret, struct err *err)
{
	struct json_object *reply = NULL;
	int r = ctl_ask(&client, verb, NULL, &reply, err);

	if (ret)
		*ret = reply;
	else
		json_object_put(reply);
	return r;
}

static void init_template(void)
{
	struct err err = ERR_INIT;

	if (ask(LEASE_VERB_INIT, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static void acquire(struct lease *lease)
{
	struct err err = ERR_INIT;

	assert_int_equal(lease_acquire(&client, "sandbox-1", deadline_after_ms(5000), lease, &err),
			0);
}

static void acquire_nothing(const char *why)
{
	struct lease lease;

	acquire(&lease);
	assert_int_equal(lease.kind, LEASE_NONE);
	if (!strstr(lease.reason, why))
		fail_msg("\"%s\" is not in \"%s\"", why, lease.reason);
	assert_int_equal(lease.conn_fd, -1);
	assert_int_equal(lease.memory_fd, -1);
	lease_release(&lease);
}

static void acquire_template(struct lease *lease)
{
	acquire(lease);
	if (lease->kind != LEASE_TEMPLATE)
		fail_msg("no template: %s", lease->reason);
}

/* status' value at "a/b/c". */
static struct json_object *status_at(struct json_object *status, const char *path)
{
	struct json_object *at = status;
	_cleanup_free_ char *copy = xstrdup(path);

	for (char *rest = copy, *key; (key = strsep(&rest, "/"));) {
		if (json_object_is_type(at, json_type_array))
			at = json_object_array_get_idx(at, (size_t)atoi(key));
		else if (!json_object_object_get_ex(at, key, &at))
			return NULL;
	}
	return at;
}

static int status_number(const char *path)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;
	struct json_object *value;

	assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	value = status_at(reply, path);
	return value ? json_object_get_int(value) : -1;
}

/* ---- tests ---- */

static void test_grant(void **state)
{
	struct lease one, two;
	char buf[5];

	(void)state;
	acquire_nothing("templatectl init makes one");
	init_template();
	acquire_template(&one);
	acquire_template(&two);
	assert_string_equal(one.generation, two.generation);
	assert_string_equal(one.manifest.value[MANIFEST_ID], one.generation);
	assert_int_equal(pread(one.memory_fd, buf, 5, 8192), 5);
	assert_memory_equal(buf, "guest", 5);
	assert_int_equal(pwrite(one.memory_fd, buf, 5, 0), -1);
	assert_int_equal(status_number("status/template/generations/0/leases"), 2);
	assert_int_equal(status_number("status/counters/hits"), 2);
	assert_int_equal(status_number("status/counters/misses/none"), 1);
	/* Own open file descriptions: a lock of one is in the way of the other. */
	assert_int_equal(flock(one.memory_fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(flock(two.memory_fd, LOCK_EX | LOCK_NB), -1);
	lease_release(&one);
	lease_release(&two);
	lease_release(&two);
}

static void test_miss_names_the_field(void **state)
{
	static const struct {
		const char *key, *value, *why;
	} cases[] = {
			{"default_memory", "128",
					"memory_bytes: wanted 134217728, the template has 8388608"},
			{"path", "/opt/qemu",
					"qemu_path: wanted /opt/qemu, the template has /usr/bin/qemu"},
			{"kernel_params", "debug", "cmdline: wanted debug, the template has quiet"},
			{"kernel", "/missing", "cannot find the guest's kernel /missing"},
	};
	struct err err = ERR_INIT;

	(void)state;
	init_template();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		config_done(&client);
		set_config(&client);
		/* The fixture's 8 MiB are less than a sandbox may ask for. */
		client.default_memory = 128;
		assert_int_equal(config_set(&client, "hypervisor", cases[i].key, cases[i].value, "",
						 &err), 0);
		if (i > 0)
			daemon_.config.default_memory = 128;
		if (i == 1)
			assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), 0);
		acquire_nothing(cases[i].why);
	}
	assert_int_equal(status_number("status/counters/misses/memory_bytes"), 1);
	assert_int_equal(status_number("status/counters/misses/qemu_path"), 1);
	assert_int_equal(status_number("status/counters/misses/cmdline"), 1);
	assert_int_equal(status_number("status/counters/misses/inputs"), 1);
	assert_int_equal(status_number("status/counters/misses/total"), 4);
	/* The host's QEMU was upgraded since. */
	config_done(&client);
	set_config(&client);
	client.default_memory = 128;
	script.qemu_version = "7.2.23";
	acquire_nothing("qemu_version: wanted 7.2.23, the template has 7.2.22");
}

static void test_disabled(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	daemon_.config.enable_template = false;
	acquire_nothing("enable_template = false");
	assert_true(ask(LEASE_VERB_INIT, NULL, &err) < 0);
	assert_error(err, "enable_template = false");
}

/* Counts those who were told of a step, so wait for the build. */
static void count_follower(const char *step)
{
	if (strcmp(step, "booting") != 0)
		return;
	pthread_mutex_lock(&script.lock);
	script.followers++;
	pthread_cond_broadcast(&script.changed);
	pthread_mutex_unlock(&script.lock);
}

static void *refresh_thread(void *arg)
{
	struct err err = ERR_INIT;
	struct json_object *reply = NULL;
	const char *id;

	if (ctl_ask(&client, LEASE_VERB_REFRESH, count_follower, &reply, &err) < 0 ||
			json_get_string(reply, "generation", &id, &err) < 0)
		id = err.text;
	strcpy(arg, id);
	json_object_put(reply);
	return NULL;
}

/* Four ask at once, one build answers all; the old generation serves meanwhile. */
static void test_one_build_for_all(void **state)
{
	pthread_t threads[4];
	char ids[4][1024];
	struct lease old, new;
	struct err err = ERR_INIT;
	uint64_t ticket;

	(void)state;
	init_template();
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, true, &ticket, &err), 0);
	script_wait_booting();
	assert_int_equal(status_number("status/build/running"), 1);
	acquire_template(&old);
	for (int i = 0; i < 4; i++)
		assert_int_equal(thread_start(refresh_thread, ids[i], 1 << 20, false, &threads[i]),
				0);
	pthread_mutex_lock(&script.lock);
	while (script.followers < 4)
		pthread_cond_wait(&script.changed, &script.lock);
	pthread_mutex_unlock(&script.lock);
	script_hold(false);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(script.boots, 2);
	acquire_template(&new);
	assert_string_not_equal(old.generation, new.generation);
	for (int i = 0; i < 4; i++)
		assert_string_equal(ids[i], new.generation);
	assert_int_equal(status_number("status/template/generations/0/leases"), 1);
	lease_release(&old);
	lease_release(&new);
}

static void test_building_is_the_reason(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, false, NULL, &err), 0);
	script_wait_booting();
	acquire_nothing("the template is being built (booting)");
	script_hold(false);
	init_template();
	assert_int_equal(script.boots, 1);
	assert_int_equal(status_number("status/counters/misses/building"), 1);
}

static void test_failed_build(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	script.boot_result = -ETIMEDOUT;
	assert_int_equal(ask(LEASE_VERB_INIT, NULL, &err), -EREMOTEIO);
	assert_error(err, "boot: the guest is silent");
	acquire_nothing("its last build failed: boot: the guest is silent");
	script.boot_result = 0;
	init_template();
	script.boot_result = -ETIMEDOUT;
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), -EREMOTEIO);
	acquire_template(&lease);
	lease_release(&lease);
	assert_int_equal(status_number("status/counters/build_failures"), 2);
	assert_int_equal(status_number("status/counters/builds"), 1);
	/* What the failed one had allocated is free again. */
	assert_true(status_number("status/template/tmpfs/used_bytes") < 65536);
}

static void test_too_small(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	daemon_.config.tmpfs_size = 12 * MiB;
	assert_int_equal(ask(LEASE_VERB_INIT, NULL, &err), -EREMOTEIO);
	assert_error(err, "too small");
	assert_error(err, "(41 MiB) are needed");
	assert_int_equal(script.boots, 0);
	assert_int_equal(status_number("status/template/tmpfs/mounted"), 0);
}

static void test_inputs_change_meanwhile(void **state)
{
	struct err err = ERR_INIT;
	struct build_result result;
	enum build_step step = BUILD_STARTING;
	uint64_t ticket;

	(void)state;
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, false, &ticket, &err), 0);
	script_wait_booting();
	pthread_mutex_lock(&script.lock);
	script.qemu_version = "7.2.23";
	pthread_mutex_unlock(&script.lock);
	script_hold(false);
	while (builder_follow(daemon_.builder, ticket, &step, &result))
		;
	assert_int_equal(result.code, -ESTALE);
	assert_error(result.err, "qemu_version changed while the template was built");
}

static void test_tampered(void **state)
{
	_cleanup_free_ char *path = NULL;
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	init_template();
	acquire_template(&lease);
	path = xasprintf(PATH "/%s/state", lease.generation);
	lease_release(&lease);
	assert_int_equal(truncate(path, 5), 0);
	acquire_nothing("state_bytes: the manifest says 12, the file state has 5");
	assert_int_equal(status_number("status/counters/misses/unsound"), 1);
	/* Not taken for up to date. */
	init_template();
	assert_int_equal(script.boots, 2);
	acquire_template(&lease);
	lease_release(&lease);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(ask(LEASE_VERB_INIT, NULL, &err), 0);
	assert_int_equal(script.boots, 2);
}

/* A retired generation lives as long as its leases; one ends with its process. */
static void test_retired(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;
	int ready[2], status;
	char byte;
	pid_t pid;

	(void)state;
	init_template();
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	acquire_template(&lease);
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	lease_release(&lease); /* the child has it still */
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), 0);
	assert_int_equal(status_number("status/template/generations/0/leases"), 1);
	assert_int_equal(status_number("status/template/generations/1/leases"), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(ready[0]);
	/* The server's thread hears of it in its own time. */
	while (status_number("status/template/generations/1/leases") >= 0)
		;
	assert_int_equal(status_number("status/template/generations/0/leases"), 0);
}

static void test_destroy(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *held;
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	init_template();
	acquire_template(&lease);
	assert_int_equal(ask(LEASE_VERB_DESTROY, &reply, &err), 0);
	assert_int_equal(json_get_array(reply, "held", &held, &err), 0);
	assert_int_equal(json_object_array_length(held), 1);
	assert_string_equal(json_object_get_string(json_object_array_get_idx(held, 0)),
			"sandbox-1");
	acquire_nothing("templatectl init makes one");
	assert_int_equal(status_number("status/template/tmpfs/mounted"), 1);
	lease_release(&lease);
	while (status_number("status/template/tmpfs/mounted") == 1)
		;
	init_template();
	acquire_template(&lease);
	lease_release(&lease);
}

/* A build that runs when everything is destroyed comes to nothing. */
static void test_destroy_during_build(void **state)
{
	struct build_result result;
	enum build_step step = BUILD_STARTING;
	struct err err = ERR_INIT;
	uint64_t ticket;

	(void)state;
	script.boot_result = -ECONNRESET;
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, false, &ticket, &err), 0);
	script_wait_booting();
	script_hold(false); /* the scripted VM dies as a killed QEMU would */
	assert_int_equal(ask(LEASE_VERB_DESTROY, NULL, &err), 0);
	while (builder_follow(daemon_.builder, ticket, &step, &result))
		;
	assert_true(result.code < 0);
	assert_int_equal(status_number("status/template/tmpfs/mounted"), 0);
}

/* ---- clients that don't behave ---- */

static int raw_connect(void)
{
	struct err err = ERR_INIT;
	int fd;

	if (unix_connect("/tmp/sock", SOCK_SEQPACKET, deadline_after_ms(5000), &fd, &err) < 0)
		fail_msg("%s", err.text);
	return fd;
}

/* Sends a message, expects an error with `why` and the end of the connection. */
static void send_garbage(const char *text, size_t len, const char *why)
{
	_cleanup_json_ struct json_object *reply = NULL;
	_cleanup_close_ int fd = raw_connect();
	int fds[2], buffer = 1 << 20;
	struct err err = ERR_INIT;
	const char *error;
	char byte;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	assert_int_equal(sock_send(fd, text, len, NULL, 0, deadline_after_ms(5000)), 0);
	assert_int_equal(lease_receive(fd, &reply, fds, deadline_after_ms(5000), &err), 0);
	assert_int_equal(json_get_string(reply, "error", &error, &err), 0);
	if (!strstr(error, why))
		fail_msg("\"%s\" is not in \"%s\"", why, error);
	assert_int_equal(sock_recv(fd, &byte, 1, NULL, 0, deadline_after_ms(5000)), 0);
}

static void test_garbage(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
			{"\x01\x02", "not valid JSON"},
			{"[1]", "not a JSON object"},
			{"{}", "\"version\" is missing"},
			{"{\"version\":2,\"request\":\"status\"}", "version 2"},
			{"{\"version\":1}", "\"request\" is missing"},
			{"{\"version\":1,\"request\":\"dance\"}", "unknown request \"dance\""},
			{"{\"version\":1,\"request\":\"acquire\"}", "\"sandbox\" is missing"},
			{"{\"version\":1,\"request\":\"acquire\",\"sandbox\":\"../x\",\"config\":{}}",
					"no sandbox id"},
			{"{\"version\":1,\"request\":\"acquire\",\"sandbox\":\"x\",\"config\":{}}",
					"has 0 keys"},
			{"[[[[[[[[[[[[[[[[[[[[[[[[", "nesting too deep"},
	};
	_cleanup_free_ char *big = xzalloc(100000);
	struct lease lease;
	int fd;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		send_garbage(cases[i].text, strlen(cases[i].text), cases[i].why);
	send_garbage(big, 100000, "more than 65536 bytes");
	assert_int_equal(status_number("status/counters/refused"), ARRAY_SIZE(cases) + 1);
	/* One that stalls and one that vanishes harm nobody. */
	fd = raw_connect();
	close(raw_connect());
	init_template();
	acquire_template(&lease);
	lease_release(&lease);
	close(fd);
}

/* A descriptor sent along is refused, and closed. */
static void test_descriptor_sent(void **state)
{
	_cleanup_close_ int fd = raw_connect();
	struct json_object *request;

	(void)state;
	request = lease_request_new(LEASE_VERB_STATUS, NULL, NULL);
	assert_int_equal(lease_send(fd, request, &fd, 1, deadline_after_ms(5000)), 0);
	assert_int_equal(wait_fd(fd, POLLIN, deadline_after_ms(5000)), 0);
	assert_int_equal(status_number("status/counters/refused"), 1);
}

/* A lease says nothing more. */
static void test_talking_lease(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct lease lease;
	struct err err = ERR_INIT;
	const char *error;
	int fds[2];

	(void)state;
	init_template();
	acquire_template(&lease);
	assert_int_equal(lease_send(lease.conn_fd, lease_request_new(LEASE_VERB_STATUS, NULL, NULL),
					 NULL, 0, deadline_after_ms(5000)), 0);
	assert_int_equal(lease_receive(lease.conn_fd, &reply, fds, deadline_after_ms(5000), &err),
			0);
	assert_int_equal(json_get_string(reply, "error", &error, &err), 0);
	assert_non_null(strstr(error, "the request status on a connection that is a lease"));
	lease_release(&lease);
}

/* Somebody who is not root gets a sentence, even where the socket lets him in. */
static void test_not_root(void **state)
{
	int status, fds[2];
	struct err err = ERR_INIT;
	pid_t pid;

	(void)state;
	assert_int_equal(chmod("/tmp/sock", 0666), 0);
	pid = fork();
	if (pid == 0) {
		struct json_object *reply;
		const char *error;
		int fd;

		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(2);
		if (unix_connect("/tmp/sock", SOCK_SEQPACKET, DEADLINE_NONE, &fd, &err) < 0)
			_exit(3);
		if (lease_receive(fd, &reply, fds, DEADLINE_NONE, &err) < 0)
			_exit(4);
		if (json_get_string(reply, "error", &error, &err) < 0 ||
				strcmp(error, "only root may ask templated") != 0)
			_exit(5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the client and servers that don't behave ---- */

struct peer {
	int listen_fd;
	const char *answer; /* NULL: none */
	int fds[2];
	unsigned int n_fds;
};

static void *peer_thread(void *arg)
{
	struct peer *p = arg;
	char buf[4096], byte;
	int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock_recv(fd, buf, sizeof(buf), NULL, 0, DEADLINE_NONE) > 0 && p->answer)
		sock_send(fd, p->answer, strlen(p->answer), p->fds, p->n_fds, DEADLINE_NONE);
	if (!p->answer || *p->answer)
		sock_recv(fd, &byte, 1, NULL, 0, DEADLINE_NONE); /* until the client is gone */
	close(fd);
	return NULL;
}

static void misbehave(const char *answer, int64_t ms, const char *why)
{
	struct peer peer = {.answer = answer};
	struct err err = ERR_INIT;
	struct lease lease;
	pthread_t thread;

	config_done(&client);
	set_config(&client);
	assert_int_equal(config_set(&client, "factory", "template_endpoint", "/tmp/peer", "", &err),
			0);
	assert_int_equal(unix_listen("/tmp/peer", SOCK_SEQPACKET, &peer.listen_fd, &err), 0);
	assert_int_equal(thread_start(peer_thread, &peer, 1 << 20, false, &thread), 0);
	assert_int_equal(lease_acquire(&client, "s", deadline_after_ms(ms), &lease, &err), 0);
	assert_int_equal(lease.kind, LEASE_NONE);
	if (!strstr(lease.reason, why))
		fail_msg("\"%s\" is not in \"%s\"", why, lease.reason);
	pthread_join(thread, NULL);
	close(peer.listen_fd);
}

static void test_client(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;
	char longer[200];

	(void)state;
	misbehave(NULL, 50, "templated does not answer");
	misbehave("nonsense", 5000, "not valid JSON");
	misbehave("{\"version\":3}", 5000, "version 3");
	misbehave("{\"version\":1,\"result\":\"none\"}", 5000, "\"reason\" is missing");
	misbehave("{\"version\":1,\"result\":\"error\",\"error\":\"busy\"}", 5000, "busy");
	misbehave("{\"version\":1,\"result\":\"template\"}", 5000, "\"generation\" is missing");
	misbehave("{\"version\":1,\"result\":\"template\",\"generation\":\"x\",\"manifest\":{}}",
			5000, "format: the field is missing");
	assert_int_equal(config_set(&client, "factory", "template_endpoint", "/tmp/nobody", "",
					 &err), 0);
	assert_int_equal(lease_acquire(&client, "s", deadline_after_ms(50), &lease, &err), 0);
	assert_non_null(strstr(lease.reason, "templated is not there: cannot connect to /tmp/nobody"));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(config_set(&client, "factory", "template_endpoint", longer, "", &err), 0);
	assert_int_equal(lease_acquire(&client, "s", deadline_after_ms(50), &lease, &err),
			-ENAMETOOLONG);
	assert_int_equal(ctl_ask(&client, LEASE_VERB_STATUS, NULL, &(struct json_object *){NULL},
					 &err), -ENAMETOOLONG);
}

static void test_lock(void **state)
{
	struct err err = ERR_INIT;
	char why[128];
	int fd, other;

	(void)state;
	snprintf(why, sizeof(why), "another templated (pid %d) has the template_path /tmp/x/y",
			(int)getpid());
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &fd, &err), 0);
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &other, &err), -EBUSY);
	assert_error(err, why);
	lock_drop("/tmp/x/y", fd);
	assert_int_equal(access("/tmp/x/y.lock", F_OK), -1);
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &fd, &err), 0);
	lock_drop("/tmp/x/y", fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
			T(test_grant),
			T(test_miss_names_the_field),
			T(test_disabled),
			T(test_one_build_for_all),
			T(test_building_is_the_reason),
			T(test_failed_build),
			T(test_too_small),
			T(test_inputs_change_meanwhile),
			T(test_tampered),
			T(test_retired),
			T(test_destroy),
			T(test_destroy_during_build),
			T(test_garbage),
			T(test_descriptor_sent),
			T(test_talking_lease),
			T(test_not_root),
			T(test_client),
			cmocka_unit_test(test_lock),
#undef T
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
