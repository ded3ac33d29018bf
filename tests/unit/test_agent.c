/* SPDX-License-Identifier: Apache-2.0 */
/* agent-client/agent: every typed call arrives as the method of its name, and returns. */
#include "agent-client/agent.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/thread.h"
#include "base/util.h"
#include "tests/lib/patience.h"

/* ---- an agent ---- */

/* What the handler of every method does next; one call at a time. */
struct fake {
	struct ttrpc_server *server;
	pthread_t thread;
	int fd;
	struct ttrpc_method methods[64];
	const ProtobufCMessageDescriptor *got; /* type of the last request */
	char id[32];
	Grpc__HealthCheckResponse__ServingStatus status;
};

static ProtobufCMessage *new_message(const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *m = xmalloc(type->sizeof_message);

	protobuf_c_message_init(type, m);
	return m;
}

/* Answers an empty message of the right type: which one, the request's type tells. */
static int handle(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	struct fake *f = user;
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(
			in->descriptor, "container_id");

	(void)request;
	(void)err;
	f->got = in->descriptor;
	snprintf(f->id, sizeof(f->id), "%s",
		field ? *(char **)((char *)in + field->offset) : "");
	if (in->descriptor == &grpc__stats_container_request__descriptor) {
		*ret_out = new_message(&grpc__stats_container_response__descriptor);
		((Grpc__StatsContainerResponse *)*ret_out)->cgroup_stats =
			(Grpc__CgroupStats *)new_message(&grpc__cgroup_stats__descriptor);
	}
	if (in->descriptor == &grpc__wait_process_request__descriptor) {
		*ret_out = new_message(&grpc__wait_process_response__descriptor);
		((Grpc__WaitProcessResponse *)*ret_out)->status = 137;
	}
	return 0;
}

static int check(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	struct fake *f = user;

	(void)request;
	(void)in;
	(void)err;
	*ret_out = new_message(&grpc__health_check_response__descriptor);
	((Grpc__HealthCheckResponse *)*ret_out)->status = f->status;
	return 0;
}

static int version(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	(void)user;
	(void)request;
	(void)in;
	(void)err;
	*ret_out = new_message(&grpc__version_check_response__descriptor);
	((Grpc__VersionCheckResponse *)*ret_out)->agent_version = xstrdup("1.2.3");
	return 0;
}

/* The methods of a service as its descriptor has them, all served by handle(). */
static size_t add_service(
	struct fake *f, size_t n, const ProtobufCServiceDescriptor *service)
{
	for (unsigned int i = 0; i < service->n_methods; i++) {
		assert_true(n < ARRAY_SIZE(f->methods));
		f->methods[n++] = (struct ttrpc_method){service->name,
			service->methods[i].name, service->methods[i].input,
			service->methods[i].output, handle};
	}
	return n;
}

static void *serve(void *arg)
{
	struct fake *f = arg;

	ttrpc_server_serve(f->server, f->fd);
	return NULL;
}

static struct agent *fake_start(struct fake *f, bool with_service)
{
	struct ttrpc_server_config config = {.tables = {{f->methods, 2}}, .user = f};
	struct agent *agent = NULL;
	struct err err = ERR_INIT;
	int fds[2];

	*f = (struct fake){
		.status = GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING};
	f->methods[0] = (struct ttrpc_method){"grpc.Health", "Check",
		&grpc__check_request__descriptor,
		&grpc__health_check_response__descriptor, check};
	f->methods[1] = (struct ttrpc_method){"grpc.Health", "Version",
		&grpc__check_request__descriptor,
		&grpc__version_check_response__descriptor, version};
	if (with_service)
		config.tables[0].n = add_service(f, 2, &grpc__agent_service__descriptor);
	assert_int_equal(ttrpc_server_new(&config, &f->server, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->fd = fds[0];
	assert_int_equal(thread_start(serve, f, 0, false, &f->thread), 0);
	assert_int_equal(agent_new(fds[1], &agent, &err), 0);
	return agent;
}

static void fake_end(struct fake *f, struct agent *agent)
{
	agent_free(agent);
	pthread_join(f->thread, NULL);
	ttrpc_server_free(f->server);
}

/* ---- tests ---- */

static void init(const ProtobufCMessageDescriptor *type, void *m)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(type, "container_id");

	protobuf_c_message_init(type, m);
	if (field)
		*(const char **)((char *)m + field->offset) = "the-container";
}

static const ProtobufCMethodDescriptor *method_of(const char *name)
{
	const ProtobufCMethodDescriptor *m =
		protobuf_c_service_descriptor_get_method_by_name(
			&grpc__agent_service__descriptor, name);

	if (!m)
		fail_msg("the service has no method %s", name);
	return m;
}

static void assert_arrived(const struct fake *f, const char *method, size_t size)
{
	const ProtobufCMessageDescriptor *type = method_of(method)->input;
	bool has_id =
		protobuf_c_message_descriptor_get_field_by_name(type, "container_id");

	if (f->got != type)
		fail_msg("%s arrived as a %s", method, f->got->name);
	assert_int_equal(size, type->sizeof_message);
	assert_string_equal(f->id, has_id ? "the-container" : "");
}

#define TEST_CALL(name, method, request)                                                 \
	{                                                                                \
		Grpc__##request req;                                                     \
		init(method_of(#method)->input, &req);                                   \
		if (agent_##name(agent, &req, soon(), &err) != 0)                        \
			fail_msg("%s", err.text);                                        \
		assert_arrived(&f, #method, sizeof(req));                                \
	}

#define TEST_CALL_RET(name, method, request, response)                                   \
	{                                                                                \
		Grpc__##request req;                                                     \
		response *ret = NULL;                                                    \
		init(method_of(#method)->input, &req);                                   \
		if (agent_##name(agent, &req, &ret, soon(), &err) != 0)                  \
			fail_msg("%s", err.text);                                        \
		assert_arrived(&f, #method, sizeof(req));                                \
		assert_ptr_equal(ret->base.descriptor, method_of(#method)->output);      \
		assert_int_equal(sizeof(*ret), ret->base.descriptor->sizeof_message);    \
		protobuf_c_message_free_unpacked(&ret->base, NULL);                      \
	}

static void test_every_call(void **state)
{
	struct err err = ERR_INIT;
	struct agent *agent;
	struct fake f;

	(void)state;
	agent = fake_start(&f, true);
	AGENT_CALLS(TEST_CALL, TEST_CALL_RET)
	fake_end(&f, agent);
}

static void test_answers(void **state)
{
	Grpc__WaitProcessRequest wait = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__StatsContainerRequest stats = GRPC__STATS_CONTAINER_REQUEST__INIT;
	Grpc__WaitProcessResponse *waited = NULL;
	Grpc__StatsContainerResponse *found = NULL;
	struct err err = ERR_INIT;
	struct agent *agent;
	struct fake f;

	(void)state;
	agent = fake_start(&f, true);
	assert_int_equal(agent_wait_process(agent, &wait, &waited, soon(), &err), 0);
	assert_int_equal(waited->status, 137);
	grpc__wait_process_response__free_unpacked(waited, NULL);
	assert_int_equal(agent_stats_container(agent, &stats, &found, soon(), &err), 0);
	assert_non_null(found->cgroup_stats);
	grpc__stats_container_response__free_unpacked(found, NULL);
	fake_end(&f, agent);
}

static void test_health(void **state)
{
	Grpc__VersionCheckResponse *v = NULL;
	struct err err = ERR_INIT;
	struct agent *agent;
	struct fake f;

	(void)state;
	agent = fake_start(&f, false);
	assert_int_equal(agent_check(agent, soon(), &err), 0);
	assert_int_equal(agent_version(agent, &v, soon(), &err), 0);
	assert_string_equal(v->agent_version, "1.2.3");
	grpc__version_check_response__free_unpacked(v, NULL);
	f.status = GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
	assert_int_equal(agent_check(agent, soon(), &err), -EHOSTDOWN);
	assert_string_equal(err.text, "the agent is not serving: its status is 2");
	fake_end(&f, agent);
}

static void test_not_implemented(void **state)
{
	Grpc__UpdateRoutesRequest req = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	Grpc__PauseContainerRequest pause = GRPC__PAUSE_CONTAINER_REQUEST__INIT;
	Grpc__Routes *routes = NULL;
	struct err err = ERR_INIT;
	struct agent *agent;
	struct fake f;

	(void)state;
	agent = fake_start(&f, false);
	assert_int_equal(
		agent_update_routes(agent, &req, &routes, soon(), &err), -EOPNOTSUPP);
	assert_string_equal(err.text,
		"UpdateRoutes: /grpc.AgentService/UpdateRoutes is not implemented");
	assert_null(routes);
	assert_int_equal(agent_pause_container(agent, &pause, soon(), &err), -EOPNOTSUPP);
	assert_string_equal(err.text,
		"PauseContainer: /grpc.AgentService/PauseContainer is not implemented");
	fake_end(&f, agent);
}

static void test_agent_is_gone(void **state)
{
	struct err err = ERR_INIT;
	struct agent *agent;
	struct fake f;

	(void)state;
	agent = fake_start(&f, false);
	ttrpc_server_stop(f.server);
	pthread_join(f.thread, NULL);
	assert_int_equal(agent_check(agent, soon(), &err), -ECONNRESET);
	assert_string_equal(err.text, "Check: the peer has closed the connection");
	agent_free(agent);
	ttrpc_server_free(f.server);
	agent_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_call),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_not_implemented),
		cmocka_unit_test(test_agent_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
