/* SPDX-License-Identifier: Apache-2.0 */
/* The agent protocol's methods: see service.h. */
#include "guest/service.h"

#include "agent-client/proto/agent.pb-c.h"
#include "agent-client/proto/empty.pb-c.h"
#include "agent-client/proto/health.pb-c.h"
#include "base/util.h"

/* Requests that wait for an event (a process's end, its output, that it reads its input,
 * an OOM) keep a thread each: up to four for each process of a busy pod. */
#define REQUESTS_MAX 2048
/* Handlers hold errors (1 KiB) and paths on their stacks; json-c and libnl some frames
 * more. */
#define STACK_BYTES (96 * 1024)

#define AGENT(method, request, response, fn)                                             \
	{                                                                                \
		"grpc.AgentService", method, &grpc__##request##__descriptor, response,   \
			fn                                                               \
	}
#define HEALTH(method, response, fn)                                                     \
	{                                                                                \
		"grpc.Health", method, &grpc__check_request__descriptor, response, fn    \
	}
#define EMPTY (&google__protobuf__empty__descriptor)

static const struct ttrpc_method methods[] = {
	HEALTH("Check", &grpc__health_check_response__descriptor, handle_check),
	HEALTH("Version", &grpc__version_check_response__descriptor, handle_version),
	AGENT("CreateSandbox", create_sandbox_request, EMPTY, handle_create_sandbox),
	AGENT("DestroySandbox", destroy_sandbox_request, EMPTY, handle_destroy_sandbox),
	AGENT("CreateContainer", create_container_request, EMPTY,
		handle_create_container),
	AGENT("StartContainer", start_container_request, EMPTY, handle_start_container),
	AGENT("RemoveContainer", remove_container_request, EMPTY,
		handle_remove_container),
	AGENT("UpdateContainer", update_container_request, EMPTY,
		handle_update_container),
	AGENT("PauseContainer", pause_container_request, EMPTY, handle_pause_container),
	AGENT("ResumeContainer", resume_container_request, EMPTY,
		handle_resume_container),
	AGENT("ListProcesses", list_processes_request,
		&grpc__list_processes_response__descriptor, handle_list_processes),
	AGENT("StatsContainer", stats_container_request,
		&grpc__stats_container_response__descriptor, handle_stats_container),
	AGENT("ExecProcess", exec_process_request, EMPTY, handle_exec_process),
	AGENT("SignalProcess", signal_process_request, EMPTY, handle_signal_process),
	AGENT("WaitProcess", wait_process_request,
		&grpc__wait_process_response__descriptor, handle_wait_process),
	AGENT("WriteStdin", write_stream_request,
		&grpc__write_stream_response__descriptor, handle_write_stdin),
	AGENT("ReadStdout", read_stream_request, &grpc__read_stream_response__descriptor,
		handle_read_stdout),
	AGENT("ReadStderr", read_stream_request, &grpc__read_stream_response__descriptor,
		handle_read_stderr),
	AGENT("CloseStdin", close_stdin_request, EMPTY, handle_close_stdin),
	AGENT("TtyWinResize", tty_win_resize_request, EMPTY, handle_tty_win_resize),
	AGENT("UpdateInterface", update_interface_request, &types__interface__descriptor,
		handle_update_interface),
	AGENT("ListInterfaces", list_interfaces_request, &grpc__interfaces__descriptor,
		handle_list_interfaces),
	AGENT("UpdateRoutes", update_routes_request, &grpc__routes__descriptor,
		handle_update_routes),
	AGENT("ListRoutes", list_routes_request, &grpc__routes__descriptor,
		handle_list_routes),
	AGENT("AddARPNeighbors", add_arpneighbors_request, EMPTY,
		handle_add_arp_neighbors),
	AGENT("UpdateNetwork", update_network_request, EMPTY, handle_update_network),
	AGENT("DialPort", dial_port_request, &grpc__dial_port_response__descriptor,
		handle_dial_port),
	AGENT("ReadPort", read_port_request, &grpc__read_stream_response__descriptor,
		handle_read_port),
	AGENT("WritePort", write_port_request, EMPTY, handle_write_port),
	AGENT("ClosePort", close_port_request, EMPTY, handle_close_port),
	AGENT("ServeNames", serve_names_request, EMPTY, handle_serve_names),
	AGENT("NextQuery", next_query_request, &grpc__query__descriptor,
		handle_next_query),
	AGENT("AnswerQuery", query, EMPTY, handle_answer_query),
	AGENT("OnlineCPUMem", online_cpumem_request, EMPTY, handle_online_cpu_mem),
	AGENT("ReseedRandomDev", reseed_random_dev_request, EMPTY,
		handle_reseed_random_dev),
	AGENT("SetGuestDateTime", set_guest_date_time_request, EMPTY,
		handle_set_guest_date_time),
	AGENT("GetGuestDetails", guest_details_request,
		&grpc__guest_details_response__descriptor, handle_get_guest_details),
	AGENT("CopyFile", copy_file_request, EMPTY, handle_copy_file),
	AGENT("GetOOMEvent", get_oomevent_request, &grpc__oomevent__descriptor,
		handle_get_oom_event),
};

/*
 * Not here, so UNIMPLEMENTED: UpdateEphemeralMounts, RemoveStaleVirtiofsShareMounts,
 * GetIPTables, SetIPTables, GetMetrics, MemHotplugByProbe, AddSwap, GetVolumeStats,
 * ResizeVolume, SetPolicy.
 */

int64_t service_deadline(const struct ttrpc_request *request)
{
	int64_t asked = ttrpc_request_deadline(request);

	return asked == DEADLINE_NONE ? deadline_after_ms(SERVICE_TIMEOUT_MS) : asked;
}

int service_new(struct sandbox *s, struct ttrpc_server **ret, struct err *err)
{
	const struct ttrpc_server_config config = {
		.tables = {{methods, ARRAY_SIZE(methods)}},
		.user = s,
		.thread_stack_bytes = STACK_BYTES,
		.max_requests = REQUESTS_MAX,
	};

	return ttrpc_server_new(&config, ret, err);
}
