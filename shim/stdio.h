/* SPDX-License-Identifier: Apache-2.0 */
/* The standard streams of one process: containerd's FIFOs on one side, the agent on the
 * other. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent-client/agent.h"
#include "base/err.h"

/*
 * A thread for each stream, since reading a stream of the guest is an agent call that
 * blocks; each holds at most STDIO_CHUNK bytes. Output that nobody asked for is read and
 * thrown away, so that the process never blocks on it.
 *
 * FIFOs are opened read-write or with their other end held open, so that a client may
 * come, go and come again. Input ends when the client has asked for it
 * (stdio_close_stdin()) and has closed its end: what is in the FIFO by then still
 * arrives.
 */
#define STDIO_CHUNK 65536

struct stdio_config {
	const char *container_id, *exec_id; /* as the agent knows them */
	const char *namespace;              /* told to a logger */
	bool terminal;                      /* one stream for both outputs */
	/* "" for none, the path of a FIFO or file, or file:///path (appended to, made if
	 * missing). binary:///path?… as `out` is a program that takes both (logger.h). */
	const char *in, *out, *err;
};

struct stdio;

/* Opens; nothing flows yet. Errors name the path; other URI schemes are -EOPNOTSUPP. */
int stdio_open(const struct stdio_config *config, struct stdio **ret, struct err *err);
/* The process runs: starts the threads. The agent outlives them. */
int stdio_start(struct stdio *s, struct agent *agent, struct err *err);
void stdio_close_stdin(struct stdio *s);
/* Waits until all output of the process is in its FIFOs: 0, or -ETIMEDOUT (a client that
 * does not read, or a child that keeps the stream). */
int stdio_drain(struct stdio *s, int64_t deadline);
/* For a process that did not start: closes the FIFOs, so that clients see the end of the
 * output. */
void stdio_hang_up(struct stdio *s);
/* Ends the threads, wherever they are: a child of the process may keep its output open
 * for ever, or its input unread. */
void stdio_free(struct stdio *s);
