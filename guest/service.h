/* SPDX-License-Identifier: Apache-2.0 */
/* The agent protocol's methods: one table of {service, method, types, handler}. */
#pragma once

#include "base/err.h"
#include "base/ttrpc/ttrpc.h"
#include "guest/sandbox.h"

/*
 * A server with every method this agent has, for a sandbox that sandbox_init() has made
 * and that outlives it. What grpc.AgentService has beyond them answers UNIMPLEMENTED by
 * name.
 */
int service_new(struct sandbox *s, struct ttrpc_server **ret, struct err *err);

/* Handlers, ttrpc_handler each; `user` is the sandbox. */
#define SERVICE_HANDLER(name)                                                            \
	int name(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,  \
		ProtobufCMessage **ret_out, struct err *err)

/* Longest time for a request that came without a deadline and isn't one that waits for an
 * event. */
#define SERVICE_TIMEOUT_MS 60000
/* The request's own deadline, or SERVICE_TIMEOUT_MS from now. */
int64_t service_deadline(const struct ttrpc_request *request);

SERVICE_HANDLER(handle_check); /* health.c */
SERVICE_HANDLER(handle_version);
SERVICE_HANDLER(handle_get_guest_details);

SERVICE_HANDLER(handle_create_sandbox); /* identity.c */
SERVICE_HANDLER(handle_destroy_sandbox);
SERVICE_HANDLER(handle_reseed_random_dev); /* clock.c */
SERVICE_HANDLER(handle_set_guest_date_time);

SERVICE_HANDLER(handle_create_container); /* container.c */
SERVICE_HANDLER(handle_start_container);
SERVICE_HANDLER(handle_remove_container);
SERVICE_HANDLER(handle_update_container);
SERVICE_HANDLER(handle_pause_container);
SERVICE_HANDLER(handle_resume_container);

SERVICE_HANDLER(handle_exec_process); /* exec.c */
SERVICE_HANDLER(handle_signal_process);
SERVICE_HANDLER(handle_wait_process);

SERVICE_HANDLER(handle_write_stdin); /* stdio.c */
SERVICE_HANDLER(handle_read_stdout);
SERVICE_HANDLER(handle_read_stderr);
SERVICE_HANDLER(handle_close_stdin);
SERVICE_HANDLER(handle_tty_win_resize);

SERVICE_HANDLER(handle_stats_container); /* stats.c */
SERVICE_HANDLER(handle_list_processes);  /* list.c */
SERVICE_HANDLER(handle_get_oom_event);   /* oom.c */

SERVICE_HANDLER(handle_update_interface); /* network.c */
SERVICE_HANDLER(handle_list_interfaces);
SERVICE_HANDLER(handle_update_routes); /* routes.c */
SERVICE_HANDLER(handle_list_routes);
SERVICE_HANDLER(handle_add_arp_neighbors);
SERVICE_HANDLER(handle_update_network); /* network_update.c */

SERVICE_HANDLER(handle_dial_port); /* dial.c */
SERVICE_HANDLER(handle_read_port);
SERVICE_HANDLER(handle_write_port);
SERVICE_HANDLER(handle_close_port);
SERVICE_HANDLER(handle_serve_names); /* names.c */
SERVICE_HANDLER(handle_next_query);
SERVICE_HANDLER(handle_answer_query);

SERVICE_HANDLER(handle_online_cpu_mem); /* hotplug.c */
SERVICE_HANDLER(handle_copy_file);      /* copy.c */
