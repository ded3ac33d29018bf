/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: grants and misses, clients and servers that do not behave. */
#include "tests/unit/lease_fixture.h"

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
		{"kernel_params", "debug",
			"cmdline: wanted debug, the template has quiet"},
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
		assert_int_equal(config_set(&client, "hypervisor", cases[i].key,
					 cases[i].value, "", &err),
			0);
		if (i > 0)
			change_config("hypervisor", "default_memory", "128");
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
	change_config("factory", "enable_template", "false");
	acquire_nothing("enable_template = false");
	assert_true(ask(LEASE_VERB_INIT, NULL, &err) < 0);
	assert_error(err, "enable_template = false");
}

/* ---- clients that don't behave ---- */

static int raw_connect(void)
{
	struct err err = ERR_INIT;
	int fd;

	if (unix_connect("/tmp/sock", SOCK_SEQPACKET, soon(), &fd, &err) < 0)
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
	assert_int_equal(sock_send(fd, text, len, NULL, 0, soon()), 0);
	assert_int_equal(lease_receive(fd, &reply, fds, soon(), &err), 0);
	assert_int_equal(json_get_string(reply, "error", &error, &err), 0);
	if (!strstr(error, why))
		fail_msg("\"%s\" is not in \"%s\"", why, error);
	assert_int_equal(sock_recv(fd, &byte, 1, NULL, 0, soon()), 0);
}

static void test_garbage(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"\x01\x02", "not valid JSON"},
		{"[1]", "not a JSON object"},
		{"{}", "\"version\" is missing"},
		{"{\"version\":9,\"request\":\"status\"}", "version 9"},
		{"{\"version\":2}", "\"request\" is missing"},
		{"{\"version\":2,\"request\":\"dance\"}", "unknown request \"dance\""},
		{"{\"version\":2,\"request\":\"acquire\"}", "\"sandbox\" is missing"},
		{"{\"version\":2,\"request\":\"acquire\",\"sandbox\":\"../"
		 "x\",\"config\":{}}",
			"no sandbox id"},
		{"{\"version\":2,\"request\":\"acquire\",\"sandbox\":\"x\",\"config\":{}"
		 "}",
			"has 0 keys"},
		{"{\"version\":2,\"request\":\"image\"}", "\"lowers\" is missing"},
		{"{\"version\":2,\"request\":\"image\",\"lowers\":[]}",
			"has 0 paths, 1 to 500 are allowed"},
		{"{\"version\":2,\"request\":\"image\",\"lowers\":[\"/a\",\"b\"]}",
			"\"b\", which is no absolute path"},
		{"{\"version\":2,\"request\":\"image\",\"lowers\":[\"/a\\u0000b\"]}",
			"no absolute path"},
		{"{\"version\":2,\"request\":\"image\",\"lowers\":[\"/a\",7]}",
			"something that is no string"},
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
	assert_int_equal(lease_send(fd, request, &fd, 1, soon()), 0);
	assert_int_equal(wait_fd(fd, POLLIN, soon()), 0);
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
	assert_int_equal(lease_send(lease.conn_fd,
				 lease_request_new(LEASE_VERB_STATUS, NULL, NULL), NULL,
				 0, soon()),
		0);
	assert_int_equal(lease_receive(lease.conn_fd, &reply, fds, soon(), &err), 0);
	assert_int_equal(json_get_string(reply, "error", &error, &err), 0);
	assert_non_null(
		strstr(error, "the request status on a connection that is a lease"));
	lease_release(&lease);
}

/* Somebody who is not root gets a sentence, even where the socket lets him in. */
/* A wall's proof: docs/security.md. */
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
		if (unix_connect("/tmp/sock", SOCK_SEQPACKET, DEADLINE_NONE, &fd, &err) <
			0)
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
		sock_send(fd, p->answer, strlen(p->answer), p->fds, p->n_fds,
			DEADLINE_NONE);
	if (!p->answer || *p->answer)
		sock_recv(fd, &byte, 1, NULL, 0,
			DEADLINE_NONE); /* until the client is gone */
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
	assert_int_equal(config_set(&client, "factory", "template_endpoint", "/tmp/peer",
				 "", &err),
		0);
	assert_int_equal(
		unix_listen("/tmp/peer", SOCK_SEQPACKET, &peer.listen_fd, &err), 0);
	assert_int_equal(thread_start(peer_thread, &peer, 1 << 20, false, &thread), 0);
	assert_int_equal(
		lease_acquire(&client, "s", deadline_after_ms(ms), &lease, &err), 0);
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
	misbehave("{\"version\":2,\"result\":\"none\"}", 5000, "\"reason\" is missing");
	misbehave(
		"{\"version\":2,\"result\":\"error\",\"error\":\"busy\"}", 5000, "busy");
	misbehave("{\"version\":2,\"result\":\"template\"}", 5000,
		"\"generation\" is missing");
	misbehave("{\"version\":2,\"result\":\"template\",\"generation\":\"x\","
		  "\"manifest\":{}}",
		5000, "format: the field is missing");
	assert_int_equal(config_set(&client, "factory", "template_endpoint",
				 "/tmp/nobody", "", &err),
		0);
	assert_int_equal(lease_acquire(&client, "s", soon(), &lease, &err), 0);
	assert_non_null(strstr(
		lease.reason, "templated is not there: cannot connect to /tmp/nobody"));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(
		config_set(&client, "factory", "template_endpoint", longer, "", &err), 0);
	assert_int_equal(
		lease_acquire(&client, "s", soon(), &lease, &err), -ENAMETOOLONG);
	assert_int_equal(ctl_ask(&client, LEASE_VERB_STATUS, NULL,
				 &(struct json_object *){NULL}, &err),
		-ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_grant, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_miss_names_the_field, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disabled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_talking_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client, setup, teardown),
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
