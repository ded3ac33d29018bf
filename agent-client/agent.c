/* SPDX-License-Identifier: Apache-2.0 */
/* Typed calls to a guest's agent: see agent.h. */
#include "agent-client/agent.h"

#include <errno.h>

#include "base/util.h"

/* An agent is its connection; the type is there so that no other client is passed for
 * one. */
static struct ttrpc_client *client_of(const struct agent *a)
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
	ttrpc_client_free(client_of(a));
}

int agent_detach(struct agent *a, int *ret_fd, struct err *err)
{
	return ttrpc_client_detach(client_of(a), ret_fd, err);
}

/* The service's descriptor knows what a method answers; without ret nobody wants to. */
static int agent_call(struct agent *a, const ProtobufCServiceDescriptor *service,
	struct ttrpc_call *call, ProtobufCMessage **ret, struct err *err)
{
	call->service = service->name;
	if (ret)
		call->type = protobuf_c_service_descriptor_get_method_by_name(
			service, call->method)
				     ->output;
	return ttrpc_client_call(client_of(a), call, ret, err);
}

/* What most calls are. */
#define CALL_UNTIL(name, message, until)                                                 \
	(&(struct ttrpc_call){                                                           \
		.method = (name), .request = (message), .deadline = (until)})

int agent_check(struct agent *a, int64_t deadline, struct err *err)
{
	Grpc__CheckRequest req = GRPC__CHECK_REQUEST__INIT;
	Grpc__HealthCheckResponse *answer;
	ProtobufCMessage *m = NULL;
	int r;

	r = agent_call(a, &grpc__health__descriptor,
		CALL_UNTIL("Check", &req.base, deadline), &m, err);
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

	r = agent_call(a, &grpc__health__descriptor,
		CALL_UNTIL("Version", &req.base, deadline), &m, err);
	if (r == 0)
		*ret = (Grpc__VersionCheckResponse *)m;
	return r;
}

#define AGENT_CALL_DEFINE(name, method, request)                                         \
	int agent_##name(struct agent *a, const Grpc__##request *req, int64_t deadline,  \
		struct err *err)                                                         \
	{                                                                                \
		return agent_call(a, &grpc__agent_service__descriptor,                   \
			CALL_UNTIL(#method, &req->base, deadline), NULL, err);           \
	}

#define AGENT_CALL_RET_DEFINE(name, method, request, response)                           \
	int agent_##name(struct agent *a, const Grpc__##request *req, response **ret,    \
		int64_t deadline, struct err *err)                                       \
	{                                                                                \
		ProtobufCMessage *m = NULL;                                              \
		int r = agent_call(a, &grpc__agent_service__descriptor,                  \
			CALL_UNTIL(#method, &req->base, deadline), &m, err);             \
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
	struct ttrpc_call call = {.method = is_err ? "ReadStderr" : "ReadStdout",
		.request = &req->base,
		.deadline = DEADLINE_NONE,
		.cancel = cancel};
	ProtobufCMessage *m = NULL;
	int r = agent_call(a, &grpc__agent_service__descriptor, &call, &m, err);

	if (r == 0)
		*ret = (Grpc__ReadStreamResponse *)m;
	return r;
}

int agent_write_input(struct agent *a, const Grpc__WriteStreamRequest *req,
	Grpc__WriteStreamResponse **ret, const struct ttrpc_cancel *cancel,
	struct err *err)
{
	struct ttrpc_call call = {.method = "WriteStdin",
		.request = &req->base,
		.deadline = DEADLINE_NONE,
		.cancel = cancel};
	ProtobufCMessage *m = NULL;
	int r = agent_call(a, &grpc__agent_service__descriptor, &call, &m, err);

	if (r == 0)
		*ret = (Grpc__WriteStreamResponse *)m;
	return r;
}

void agent_cancel(struct agent *a, struct ttrpc_cancel *cancel)
{
	ttrpc_client_cancel(client_of(a), cancel);
}
