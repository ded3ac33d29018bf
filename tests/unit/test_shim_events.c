/* SPDX-License-Identifier: Apache-2.0 */
/* Events: order, envelope, a containerd that goes and comes, one that stays away. */
#include <sys/socket.h>

#include "agent-client/proto/empty.pb-c.h"
#include "base/thread.h"
#include "base/ttrpc/ttrpc.h"
#include "shim/events.h"
#include "shim/proto/containerd_events.pb-c.h"
#include "shim/proto/containerd_forward.pb-c.h"
#include "tests/unit/test_shim.h"

static struct scratch scratch;
static char *socket_path;

/* A containerd: keeps what it was told. */
static struct {
	struct ttrpc_server *server;
	int listen_fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int n;
	char log[256];
	bool refuses;
	bool holds; /* its answers, until it is stopped: too late then */
	bool stopped;
} peer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(const Containerd__Services__Events__Ttrpc__V1__Envelope *e)
{
	Containerd__Events__TaskOOM *oom;
	size_t len = strlen(peer.log);

	assert_true(e->timestamp->seconds > 0);
	assert_string_equal(e->namespace_, "ns");
	assert_string_equal(e->event->type_url, "containerd.events.TaskOOM");
	oom = containerd__events__task_oom__unpack(
		NULL, e->event->value.len, e->event->value.data);
	assert_non_null(oom);
	snprintf(peer.log + len, sizeof(peer.log) - len, "%s %s;", e->topic,
		oom->container_id);
	containerd__events__task_oom__free_unpacked(oom, NULL);
}

static int on_forward(void *user, struct ttrpc_request *request,
	const ProtobufCMessage *in, ProtobufCMessage **ret_out, struct err *err)
{
	(void)user, (void)request, (void)ret_out;
	pthread_mutex_lock(&peer.lock);
	note(((const Containerd__Services__Events__Ttrpc__V1__ForwardRequest *)in)
			->envelope);
	peer.n++;
	pthread_cond_broadcast(&peer.changed);
	while (peer.holds && !peer.stopped)
		pthread_cond_wait(&peer.changed, &peer.lock);
	pthread_mutex_unlock(&peer.lock);
	return peer.refuses ? err_set(err, -EINVAL, "no such topic") : 0;
}

static const struct ttrpc_method methods[] = {
	{"containerd.services.events.ttrpc.v1.Events", "Forward",
		&containerd__services__events__ttrpc__v1__forward_request__descriptor,
		&google__protobuf__empty__descriptor, on_forward},
};

static void *run_peer(void *arg)
{
	struct err err = ERR_INIT;

	(void)arg;
	ttrpc_server_accept_loop(peer.server, peer.listen_fd, &err);
	return NULL;
}

static void start_peer(void)
{
	struct ttrpc_server_config config = {.tables = {{methods, 1}}, .max_requests = 8};

	peer.n = 0;
	peer.log[0] = '\0';
	peer.refuses = peer.holds = peer.stopped = false;
	cond_init(&peer.changed);
	assert_ok(ttrpc_server_new(&config, &peer.server, err));
	assert_ok(unix_listen(socket_path, SOCK_STREAM, &peer.listen_fd, err));
	assert_int_equal(thread_start(run_peer, NULL, 0, false, &peer.thread), 0);
}

static void stop_peer(void)
{
	ttrpc_server_stop(peer.server);
	pthread_mutex_lock(&peer.lock);
	peer.stopped = true;
	pthread_cond_broadcast(&peer.changed);
	pthread_mutex_unlock(&peer.lock);
	pthread_join(peer.thread, NULL);
	ttrpc_server_free(peer.server);
	close(peer.listen_fd);
}

static void wait_peer(unsigned int n)
{
	int r = 0;

	pthread_mutex_lock(&peer.lock);
	while (peer.n < n && r == 0)
		r = cond_wait(&peer.changed, &peer.lock, soon());
	pthread_mutex_unlock(&peer.lock);
	assert_int_equal(peer.n, n);
}

static struct events *start_events(const char *ttrpc, const char *binary)
{
	struct events_config config = {ttrpc, binary, "/run/c.sock", "ns"};
	struct events *e = NULL;

	assert_ok(events_new(&config, &e, err));
	return e;
}

static void publish(struct events *e, const char *id)
{
	Containerd__Events__TaskOOM event = CONTAINERD__EVENTS__TASK_OOM__INIT;

	event.container_id = (char *)id;
	events_publish(e, "/tasks/oom", &event.base);
}

static void test_order(void **state)
{
	struct events *e;

	(void)state;
	start_peer();
	e = start_events(socket_path, "");
	publish(e, "a");
	publish(e, "b");
	publish(e, "c");
	events_free(e, soon());
	assert_string_equal(peer.log, "/tasks/oom a;/tasks/oom b;/tasks/oom c;");
	stop_peer();
}

static void test_refusal(void **state)
{
	struct events *e;

	(void)state;
	start_peer();
	peer.refuses = true;
	e = start_events(socket_path, "");
	publish(e, "a");
	publish(e, "b");
	events_free(e, soon());
	/* Said once each: a refusal is an answer. */
	assert_string_equal(peer.log, "/tasks/oom a;/tasks/oom b;");
	stop_peer();
}

static void test_restart(void **state)
{
	struct events *e;

	(void)state;
	start_peer();
	peer.holds = true;
	e = start_events(socket_path, "");
	publish(e, "a");
	wait_peer(1);
	stop_peer();
	assert_int_equal(unlink(socket_path), 0);
	publish(e, "b");
	publish(e, "c");
	start_peer();
	wait_peer(3);
	/* Nobody said that the first was taken: it is told again. */
	assert_string_equal(peer.log, "/tasks/oom a;/tasks/oom b;/tasks/oom c;");
	events_free(e, soon());
	stop_peer();
}

static void test_away(void **state)
{
	struct events *e = start_events(socket_path, "");

	(void)state;
	publish(e, "a");
	/* Lost, and the end does not wait for it. */
	events_free(e, soon());
}

static void test_binary(void **state)
{
	_cleanup_free_ char *program = scratch_path(&scratch, "publish"), *got = NULL;
	_cleanup_free_ char *script =
		xasprintf("#!/bin/sh\necho \"$@\" > %s/args\ncat > %s/any\n",
			scratch.path, scratch.path);
	_cleanup_free_ char *args = scratch_path(&scratch, "args");
	_cleanup_free_ char *any = scratch_path(&scratch, "any"), *bytes = NULL;
	struct events *e;
	size_t len;

	(void)state;
	scratch_write(&scratch, "publish", script);
	assert_int_equal(chmod(program, 0700), 0);
	e = start_events("", program);
	publish(e, "a");
	events_free(e, soon());
	assert_ok(file_read(AT_FDCWD, args, 256, &got, &len, err));
	assert_string_equal(
		got, "--address /run/c.sock publish --topic /tasks/oom --namespace ns\n");
	assert_ok(file_read(AT_FDCWD, any, 256, &bytes, &len, err));
	assert_memory_equal(bytes,
		"\x0a\x19"
		"containerd.events.TaskOOM"
		"\x12\x03\x0a\x01"
		"a",
		len);
	assert_int_equal(len, 32);
}

static int setup(void **state)
{
	scratch_make(&scratch);
	socket_path = scratch_path(&scratch, "c.sock");
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	scratch_remove(&scratch);
	free(socket_path);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_refusal),
		TEST(test_restart),
		TEST(test_away),
		TEST(test_binary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
