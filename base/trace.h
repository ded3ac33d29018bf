/* SPDX-License-Identifier: Apache-2.0 */
/* The phase trace: how long each step of a sandbox's start took. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* In the order of the log line; a phase that did not happen is left out of it. */
enum trace_phase {
	TRACE_GRANT,    /* asking templated */
	TRACE_SPAWN,    /* fork, confinement, exec */
	TRACE_QMP,      /* exec to QMP's greeting and capabilities */
	TRACE_RESTORED, /* device state read */
	TRACE_RESUMED,  /* cont to RESUME */
	TRACE_AGENT,    /* to the agent's first answer */
	TRACE_IDENTITY, /* identity gate */
	TRACE_CPU,      /* plugged and online */
	TRACE_MEMORY,
	TRACE_NETWORK,
	TRACE_IMAGE, /* an image of layers plugged */
	TRACE_ROOTFS,
	TRACE_CREATED, /* CreateContainer answered */
	TRACE_STARTED, /* StartContainer answered */
	TRACE_PHASES,
};

struct trace {
	pthread_mutex_t lock;
	uint64_t start_us;
	struct {
		uint64_t begin_us, end_us; /* CLOCK_MONOTONIC; 0: not reached */
	} phases[TRACE_PHASES];
};

/* Starts the clock. Every call below takes a NULL trace as "nobody wants to know". */
void trace_init(struct trace *t);
void trace_done(struct trace *t);
/* Phases may overlap, in threads. Each is entered and left once; later calls do
 * nothing. */
void trace_begin(struct trace *t, enum trace_phase phase);
void trace_end(struct trace *t, enum trace_phase phase);

/*
 * Logs "phases: grant=1.2 spawn=0.8 … total=203.4" (milliseconds, each phase's own
 * duration; total is from trace_init() to the last end), and appends to `file` (NULL or
 * "": not) one line of JSON:
 * {"sandbox":…,"factory":"direct|template|cache","reason":…,"total_ms":…,
 *  "phases":{"grant":{"at_ms":…,"ms":…},…}}. reason is why the factory is not the better
 * one, or NULL. A file that can't be written is logged.
 */
void trace_report(struct trace *t, const char *sandbox, const char *factory,
	const char *reason, const char *file);
