/* SPDX-License-Identifier: Apache-2.0 */
/* Typed calls to a guest's agent: see agent.h. */
#include "agent-client/agent.h"

#include <errno.h>

#include "base/util.h"

/* An agent is its connection; the type is there so that no other client is passed for
 * one. */
static struct ttrpc_client *client(const struct agent *a)
{
	return (struct ttrpc_client *)a;
}

int agent_new(int fd, struct agent **ret, struct err *err)
{
	struct ttrpc_client *c;
	int r;

	r = ttrpc_client_new(fd, &c, err);
	if (r == 0)
		*ret = (struct agent *)c;
	return r;
}

void agent_free(struct agent *a)
{
	ttrpc_client_free(client(a));
}

int agent_detach(struct agent *a, int *ret_fd, struct err *err)
{
	return ttrpc_client_detach(client(a), ret_fd, err);
}

/* The service's descriptor knows what a method answers. */
static int call_until(struct agent *a, const ProtobufCServiceDescriptor *service,
	const char *method, const ProtobufCMessage *req, ProtobufCMessage **ret,
	int64_t deadline, const struct ttrpc_cancel *cancel, struct err *err)
{
	const ProtobufCMethodDescriptor *m;

	if (!ret)
		return ttrpc_client_call(
			client(a), service->name, method, req, NULL, NULL, deadline, err);
	m = protobuf_c_service_descriptor_get_method_by_name(service, method);
	return ttrpc_client_call_until(client(a), service->name, method, req, m->output,
		ret, deadline, cancel, err);
}

static int call(struct agent *a, const ProtobufCServiceDescriptor *service,
	const char *method, const ProtobufCMessage *req, ProtobufCMessage **ret,
	int64_t deadline, struct err *err)
{
	return call_until(a, service, method, req, ret, deadline, NULL, err);
}

int agent_check(struct agent *a, int64_t deadline, struct err *err)
{
	Grpc__CheckRequest req = GRPC__CHECK_REQUEST__INIT;
	Grpc__HealthCheckResponse *answer;
	ProtobufCMessage *m = NULL;
	int r;

	r = call(a, &grpc__health__descriptor, "Check", &req.base, &m, deadline, err);
	if (r < 0)
		return r;
	answer = (Grpc__HealthCheckResponse *)m;
	if (answer->status != GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
		r = err_set(err, -EHOSTDOWN, "the agent is not serving: its status is %d",
			(int)answer->status);
	protobuf_c_message_free_unpacked(m, NULL);
	return r;
}

int agent_version(struct agent *a, Grpc__VersionCheckResponse **ret, int64_t deadline,
	struct err *err)
{
	Grpc__CheckRequest req = GRPC__CHECK_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	int r;

	r = call(a, &grpc__health__descriptor, "Version", &req.base, &m, deadline, err);
	if (r == 0)
		*ret = (Grpc__VersionCheckResponse *)m;
	return r;
}

#define AGENT_CALL_DEFINE(name, method, request)                                         \
	int agent_##name(struct agent *a, const Grpc__##request *req, int64_t deadline,  \
		struct err *err)                                                         \
	{                                                                                \
		return call(a, &grpc__agent_service__descriptor, #method, &req->base,    \
			NULL, deadline, err);                                            \
	}

#define AGENT_CALL_RET_DEFINE(name, method, request, response)                           \
	int agent_##name(struct agent *a, const Grpc__##request *req, response **ret,    \
		int64_t deadline, struct err *err)                                       \
	{                                                                                \
		ProtobufCMessage *m = NULL;                                              \
		int r = call(a, &grpc__agent_service__descriptor, #method, &req->base,   \
			&m, deadline, err);                                              \
                                                                                         \
		if (r == 0)                                                              \
			*ret = (response *)m;                                            \
		return r;                                                                \
	}

AGENT_CALLS(AGENT_CALL_DEFINE, AGENT_CALL_RET_DEFINE)

int agent_read_output(struct agent *a, bool is_err, const Grpc__ReadStreamRequest *req,
	Grpc__ReadStreamResponse **ret, const struct ttrpc_cancel *cancel,
	struct err *err)
{
	ProtobufCMessage *m = NULL;
	int r = call_until(a, &grpc__agent_service__descriptor,
		is_err ? "ReadStderr" : "ReadStdout", &req->base, &m, DEADLINE_NONE,
		cancel, err);

	if (r == 0)
		*ret = (Grpc__ReadStreamResponse *)m;
	return r;
}

int agent_write_input(struct agent *a, const Grpc__WriteStreamRequest *req,
	Grpc__WriteStreamResponse **ret, const struct ttrpc_cancel *cancel,
	struct err *err)
{
	ProtobufCMessage *m = NULL;
	int r = call_until(a, &grpc__agent_service__descriptor, "WriteStdin", &req->base,
		&m, DEADLINE_NONE, cancel, err);

	if (r == 0)
		*ret = (Grpc__WriteStreamResponse *)m;
	return r;
}

void agent_cancel(struct agent *a, struct ttrpc_cancel *cancel)
{
	ttrpc_client_cancel(client(a), cancel);
}
