/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of containerd.runtime.sandbox.v1.Sandbox: see sandbox_service.h. */
#include "shim/sandbox_service.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "shim/sandbox.h"
#include "shim/service.h"

/* protoc-c's names of containerd.runtime.sandbox.v1. */
#define MESSAGE(name) Containerd__Runtime__Sandbox__V1__##name
#define INIT(name)    containerd__runtime__sandbox__v1__##name##__init

#define HANDLER(method, in_type)                                                         \
	static int handle_##method(struct service *service, struct ttrpc_request *call,  \
		const MESSAGE(in_type) * in, ProtobufCMessage * *ret_out,                \
		struct err * err);                                                       \
	static int on_##method(void *user, struct ttrpc_request *call,                   \
		const ProtobufCMessage *in, ProtobufCMessage **ret_out, struct err *err) \
	{                                                                                \
		return handle_##method(user, call, (const void *)in, ret_out, err);      \
	}                                                                                \
	static int handle_##method(struct service *service,                              \
		__attribute__((unused)) struct ttrpc_request *call,                      \
		__attribute__((unused)) const MESSAGE(in_type) * in,                     \
		__attribute__((unused)) ProtobufCMessage * *ret_out, struct err * err)

/* The one that this shim is. */
static int check_id(const struct service *service, const char *id, struct err *err)
{
	const struct pod *pod = service->pod;

	if (strcmp(id, pod->state.id) != 0)
		return err_set(err, -ENOENT, "this shim's sandbox is %s, not %s",
			pod->state.id, err_quote(id, 128));
	return pod->sandbox ? 0
			    : err_set(err, -ENOENT, "sandbox %s was not created",
				      pod->state.id);
}

HANDLER(create, CreateSandboxRequest)
{
	if (strcmp(in->sandbox_id, service->pod->state.id) != 0)
		return check_id(service, in->sandbox_id, err);
	return sandbox_create(service->pod, in, err);
}

static uint32_t sandbox_pid(struct pod *pod)
{
	uint32_t pid;

	pthread_mutex_lock(&pod->lock);
	pid = pod->vm ? (uint32_t)vm_pid(pod->vm) : 0;
	pthread_mutex_unlock(&pod->lock);
	return pid;
}

HANDLER(start, StartSandboxRequest)
{
	MESSAGE(StartSandboxResponse) * out;
	int r = check_id(service, in->sandbox_id, err);

	if (r == 0)
		r = sandbox_start(service->pod, err);
	if (r < 0)
		return r;
	out = xnew0(MESSAGE(StartSandboxResponse));
	INIT(start_sandbox_response)(out);
	out->pid = sandbox_pid(service->pod);
	out->created_at = service_new_timestamp(&service->pod->sandbox->created_at);
	*ret_out = &out->base;
	return 0;
}

HANDLER(platform, PlatformRequest)
{
	MESSAGE(PlatformResponse) * out;
	int r = check_id(service, in->sandbox_id, err);

	if (r < 0)
		return r;
	out = xnew0(MESSAGE(PlatformResponse));
	INIT(platform_response)(out);
	out->platform = xnew0(MESSAGE(Platform));
	INIT(platform)(out->platform);
	out->platform->os = xstrdup("linux");
	out->platform->architecture = xstrdup("amd64");
	*ret_out = &out->base;
	return 0;
}

/* One that was never started, or is stopped already, is no error. */
HANDLER(stop, StopSandboxRequest)
{
	int r = check_id(service, in->sandbox_id, err);

	return r < 0 ? r : sandbox_stop(service->pod, err);
}

HANDLER(wait, WaitSandboxRequest)
{
	MESSAGE(WaitSandboxResponse) * out;
	int r = check_id(service, in->sandbox_id, err);

	if (r == 0)
		r = service_wait_end(
			service->pod->sandbox->end_fd, "the sandbox", call, err);
	if (r < 0)
		return r;
	out = xnew0(MESSAGE(WaitSandboxResponse));
	INIT(wait_sandbox_response)(out);
	pthread_mutex_lock(&service->pod->lock);
	out->exit_status = EXIT_STATUS_KILLED;
	out->exited_at = service_new_timestamp(&service->pod->sandbox->exited_at);
	pthread_mutex_unlock(&service->pod->lock);
	*ret_out = &out->base;
	return 0;
}

HANDLER(status, SandboxStatusRequest)
{
	struct pod *pod = service->pod;
	MESSAGE(SandboxStatusResponse) * out;
	int r = check_id(service, in->sandbox_id, err);

	if (r < 0)
		return r;
	out = xnew0(MESSAGE(SandboxStatusResponse));
	INIT(sandbox_status_response)(out);
	out->sandbox_id = xstrdup(pod->state.id);
	out->pid = sandbox_pid(pod);
	pthread_mutex_lock(&pod->lock);
	out->state = xstrdup(pod->sandbox->started && !pod->sandbox->ended
				     ? "SANDBOX_READY"
				     : "SANDBOX_NOTREADY");
	out->created_at = service_new_timestamp(&pod->sandbox->created_at);
	out->exited_at = service_new_timestamp(&pod->sandbox->exited_at);
	pthread_mutex_unlock(&pod->lock);
	*ret_out = &out->base;
	return 0;
}

HANDLER(ping, PingRequest)
{
	return check_id(service, in->sandbox_id, err);
}

/* Also of one that was not created: whoever could not create it ends the shim by this.
 */
HANDLER(shutdown, ShutdownSandboxRequest)
{
	int r = sandbox_shutdown(service->pod, err);

	ttrpc_request_stop_server(call);
	return r == -ESHUTDOWN ? 0 : r;
}

/* What the VM costs its host, in the shape of a cgroup's. */
HANDLER(metrics, SandboxMetricsRequest)
{
	MESSAGE(SandboxMetricsResponse) * out;
	struct timespec now;
	void *data;
	size_t len;
	int r = check_id(service, in->sandbox_id, err);

	if (r == 0)
		r = pod_metrics(service->pod, &data, &len, err);
	if (r < 0)
		return r;
	clock_gettime(CLOCK_REALTIME, &now);
	out = xnew0(MESSAGE(SandboxMetricsResponse));
	INIT(sandbox_metrics_response)(out);
	out->metrics = xnew0(MESSAGE(Metric));
	INIT(metric)(out->metrics);
	out->metrics->timestamp = service_new_timestamp(&now);
	out->metrics->id = xstrdup(service->pod->state.id);
	out->metrics->data = xnew0(Google__Protobuf__Any);
	google__protobuf__any__init(out->metrics->data);
	out->metrics->data->type_url = xstrdup(STATS_TYPE_URL);
	out->metrics->data->value.data = data;
	out->metrics->data->value.len = len;
	*ret_out = &out->base;
	return 0;
}

#define METHOD(name, handler, in, out)                                                   \
	{                                                                                \
		"containerd.runtime.sandbox.v1.Sandbox", name,                           \
			&containerd__runtime__sandbox__v1__##in##__descriptor,           \
			&containerd__runtime__sandbox__v1__##out##__descriptor,          \
			on_##handler                                                     \
	}

const struct ttrpc_method sandbox_methods[] = {
	METHOD("CreateSandbox", create, create_sandbox_request, create_sandbox_response),
	METHOD("StartSandbox", start, start_sandbox_request, start_sandbox_response),
	METHOD("Platform", platform, platform_request, platform_response),
	METHOD("StopSandbox", stop, stop_sandbox_request, stop_sandbox_response),
	METHOD("WaitSandbox", wait, wait_sandbox_request, wait_sandbox_response),
	METHOD("SandboxStatus", status, sandbox_status_request, sandbox_status_response),
	METHOD("PingSandbox", ping, ping_request, ping_response),
	METHOD("ShutdownSandbox", shutdown, shutdown_sandbox_request,
		shutdown_sandbox_response),
	METHOD("SandboxMetrics", metrics, sandbox_metrics_request,
		sandbox_metrics_response),
};
const size_t n_sandbox_methods = ARRAY_SIZE(sandbox_methods);
