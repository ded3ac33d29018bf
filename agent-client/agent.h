/* SPDX-License-Identifier: Apache-2.0 */
/* Typed calls to a guest's agent: grpc.AgentService and grpc.Health over ttrpc. */
#pragma once

#include <stdint.h>

#include "agent-client/proto/agent.pb-c.h"
#include "agent-client/proto/health.pb-c.h"
#include "base/err.h"
#include "base/ttrpc/ttrpc.h"

/*
 * The protocol is Kata's (same service, method and field names and numbers), so that
 * either side can be Kata's. Messages are protobuf-c's: the caller builds requests on its
 * stack or heap, and owns what comes back (protobuf_c_message_free_unpacked(&m->base,
 * NULL)).
 *
 * Where the agent listens in the guest: the virtio-serial port AGENT_SERIAL_PORT, and
 * vsock port AGENT_VSOCK_PORT where there is vsock.
 */
#define AGENT_SERIAL_PORT "agent.channel.0" /* Kata's port name */
#define AGENT_VSOCK_PORT  1024

/* In the guest: where a pod's files are mounted, one folder <container id>/ for
 * each container with rootfs/ and mounts/<n> in it. Kata's place. */
#define AGENT_SHARED_DIR "/run/kata-containers/shared/containers"
/* Images of layers, each mounted once for all containers that have it. */
#define AGENT_IMAGES_DIR "/run/kata-containers/images"
/* Shared memory: each tmpfs that the host's containers would share, for all of the pod's
 * that have it. By this driver, which leaves it mounted until the guest ends. */
#define AGENT_SHM_DIR    "/run/kata-containers/shm"
#define AGENT_SHM_DRIVER "stencil-shm"
/* A device of the guest's own by its name, vm_path: its numbers take the place of those
 * that linux.devices has for container_path. With "/dev": all that it has. */
#define AGENT_NODE_DEVICE "stencil-node"
/* Of a spec: the container holds what its pod shares, and its program is never run. */
#define AGENT_PAUSE_ANNOTATION "io.stencil.pause"
/* No folder, but how a spec names another container's namespace: <container id>/ and its
 * file in /proc/<pid>/ns. */
#define AGENT_NAMESPACES_DIR "/run/kata-containers/namespaces"

/* Where Docker answers names in each container's network namespace on the host, UDP and
 * TCP, and where resolv.conf says so: 127.0.0.11. In the host's byte order. */
#define DOCKER_NAMES_ADDRESS 0x7f00000bu
#define DOCKER_NAMES_PORT    53

/* The most routes, neighbours, or addresses of an interface that one request has. Kata's
 * agent has no limit; a pod's namespace is not trusted to be small. */
#define AGENT_NET_LIST_MAX 1024

struct agent;

/* Takes fd. */
int agent_new(int fd, struct agent **ret, struct err *err);
void agent_free(struct agent *a);
/* As ttrpc_client_detach(): the stream, for an agent_new() elsewhere. */
int agent_detach(struct agent *a, int *ret_fd, struct err *err);

/* Health.Check: 0 when the agent answers SERVING; -EHOSTDOWN if it says anything else. */
int agent_check(struct agent *a, int64_t deadline, struct err *err);
/* Health.Version. */
int agent_version(struct agent *a, Grpc__VersionCheckResponse **ret, int64_t deadline,
	struct err *err);

/*
 * Every other call is
 *	int agent_<name>(struct agent *a, const <Request> *req, [<Response> **ret,]
 *			int64_t deadline, struct err *err);
 * and returns what ttrpc_client_call() does; *ret is the caller's. CALL(name, Method,
 * Request) is a method that answers nothing, CALL_RET(name, Method, Request, Response)
 * one that does. Methods of grpc.AgentService that nobody calls are not in the list.
 */
#define AGENT_CALLS(CALL, CALL_RET)                                                      \
	CALL(create_container, CreateContainer, CreateContainerRequest)                  \
	CALL(start_container, StartContainer, StartContainerRequest)                     \
	CALL(remove_container, RemoveContainer, RemoveContainerRequest)                  \
	CALL(exec_process, ExecProcess, ExecProcessRequest)                              \
	CALL(signal_process, SignalProcess, SignalProcessRequest)                        \
	CALL_RET(wait_process, WaitProcess, WaitProcessRequest,                          \
		Grpc__WaitProcessResponse)                                               \
	CALL_RET(list_processes, ListProcesses, ListProcessesRequest,                    \
		Grpc__ListProcessesResponse)                                             \
	CALL(update_container, UpdateContainer, UpdateContainerRequest)                  \
	CALL_RET(stats_container, StatsContainer, StatsContainerRequest,                 \
		Grpc__StatsContainerResponse)                                            \
	CALL(pause_container, PauseContainer, PauseContainerRequest)                     \
	CALL(resume_container, ResumeContainer, ResumeContainerRequest)                  \
	CALL(close_stdin, CloseStdin, CloseStdinRequest)                                 \
	CALL(tty_win_resize, TtyWinResize, TtyWinResizeRequest)                          \
	CALL_RET(update_interface, UpdateInterface, UpdateInterfaceRequest,              \
		Types__Interface)                                                        \
	CALL_RET(update_routes, UpdateRoutes, UpdateRoutesRequest, Grpc__Routes)         \
	CALL(add_arp_neighbors, AddARPNeighbors, AddARPNeighborsRequest)                 \
	CALL(update_network, UpdateNetwork, UpdateNetworkRequest)                        \
	CALL_RET(dial_port, DialPort, DialPortRequest, Grpc__DialPortResponse)           \
	CALL_RET(read_port, ReadPort, ReadPortRequest, Grpc__ReadStreamResponse)         \
	CALL(write_port, WritePort, WritePortRequest)                                    \
	CALL(close_port, ClosePort, ClosePortRequest)                                    \
	CALL(serve_names, ServeNames, ServeNamesRequest)                                 \
	CALL_RET(next_query, NextQuery, NextQueryRequest, Grpc__Query)                   \
	CALL(answer_query, AnswerQuery, Query)                                           \
	CALL(create_sandbox, CreateSandbox, CreateSandboxRequest)                        \
	CALL(destroy_sandbox, DestroySandbox, DestroySandboxRequest)                     \
	CALL_RET(list_interfaces, ListInterfaces, ListInterfacesRequest,                 \
		Grpc__Interfaces)                                                        \
	CALL_RET(list_routes, ListRoutes, ListRoutesRequest, Grpc__Routes)               \
	CALL_RET(get_guest_details, GetGuestDetails, GuestDetailsRequest,                \
		Grpc__GuestDetailsResponse)                                              \
	CALL(online_cpu_mem, OnlineCPUMem, OnlineCPUMemRequest)                          \
	CALL(reseed_random_dev, ReseedRandomDev, ReseedRandomDevRequest)                 \
	CALL(set_guest_date_time, SetGuestDateTime, SetGuestDateTimeRequest)             \
	CALL(copy_file, CopyFile, CopyFileRequest)                                       \
	CALL_RET(get_oom_event, GetOOMEvent, GetOOMEventRequest, Grpc__OOMEvent)

/*
 * A process's streams: ReadStdout or ReadStderr, and WriteStdin. They have no deadline,
 * but return -ECANCELED once agent_cancel() was called with the same *cancel, see
 * struct ttrpc_cancel.
 */
int agent_read_output(struct agent *a, bool is_err, const Grpc__ReadStreamRequest *req,
	Grpc__ReadStreamResponse **ret, const struct ttrpc_cancel *cancel,
	struct err *err);
int agent_write_input(struct agent *a, const Grpc__WriteStreamRequest *req,
	Grpc__WriteStreamResponse **ret, const struct ttrpc_cancel *cancel,
	struct err *err);
void agent_cancel(struct agent *a, struct ttrpc_cancel *cancel);

#define AGENT_CALL_DECLARE(name, method, request)                                        \
	int agent_##name(struct agent *a, const Grpc__##request *req, int64_t deadline,  \
		struct err *err);
#define AGENT_CALL_RET_DECLARE(name, method, request, response)                          \
	int agent_##name(struct agent *a, const Grpc__##request *req, response **ret,    \
		int64_t deadline, struct err *err);
AGENT_CALLS(AGENT_CALL_DECLARE, AGENT_CALL_RET_DECLARE)
