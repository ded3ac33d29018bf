/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a QMP session, for the files of hotplug/qmp alone. */
#pragma once

#include <pthread.h>

#include "hotplug/qmp.h"

/*
 * How it works. The reader thread alone reads the socket. Everything below `lock` is
 * changed under it, and `changed` is broadcast after each change. A command puts a struct
 * qmp_call (on its own stack) into `calls`, writes its line while `sending` keeps others
 * out, and waits until the reader has put the answer there. A call that gives up unlinks
 * itself, so its late answer is one that nobody asked for. The first reason to end is
 * kept in `end` and is what every call is told.
 *
 * json-c counts references without atomics: no json_object is ever shared by two threads.
 * Answers are handed over, events are copied for whoever waited.
 */

/* A longer event is dropped: the ring is memory that QEMU's end fills without being
 * asked. */
#define QMP_EVENT_MAX       16384
#define QMP_EVENT_NODES_MAX 64

struct qmp_event {
	char *name;
	struct json_object *data; /* NULL if it has none */
};

struct qmp_call {
	uint64_t id;
	bool done;
	struct json_object *answer; /* the whole message */
	struct qmp_call *next;
};

struct qmp {
	int fd;
	pthread_t reader;
	bool reading; /* there is a reader to join */
	int stop_fd;  /* eventfd: the reader shall end at the next end of a line … */
	int64_t stop_deadline; /* … or at this time; set before stop_fd is written */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct err end; /* code is 0 while the session lasts */
	bool greeted;
	bool sending;
	unsigned int version;
	unsigned int users; /* threads inside a call: qmp_free() waits for them */
	uint64_t next_id;
	struct qmp_call *calls;
	uint64_t n_sent, n_answered; /* commands, and answers that came */
	uint64_t n_events; /* since the start: n is in events[n % QMP_EVENTS_KEPT] */
	struct qmp_event events[QMP_EVENTS_KEPT];
	uint64_t n_quiet;   /* n_events + n_dropped when it was quiesced */
	uint64_t n_dropped; /* answers nobody asked for, and events that were too long */
};

/* What was read and not handled. */
struct qmp_input {
	char *data;
	size_t len, size;
	size_t scanned;   /* bytes at the start known to hold no newline */
	bool drained;     /* the last read got less than it had room for */
	size_t gathered;  /* bytes since the last pause in a storm */
	int64_t storm;    /* guest's events that came, less what is usual since, … */
	int64_t storm_ms; /* … as of this time */
};

/* Handles every whole line of `in`, and keeps the beginning of the next. */
int qmp_take_lines(struct qmp *q, struct qmp_input *in, struct err *err);

/* The reader thread: arg is the struct qmp. Returns it if it ended for stop_fd, between
 * two lines; else NULL, and the session has ended. */
void *qmp_reader_main(void *arg);

/* A session without a reader; NULL and errno. Takes fd in any case. */
struct qmp *qmp_alloc(int fd);
int qmp_start_reader(struct qmp *q, struct err *err);
/* Frees it and all but its descriptor. The reader was joined. */
void qmp_destroy(struct qmp *q);

/* Ends the session for `why`, unless it has ended: shuts the socket down, ends all
 * waits. */
void qmp_end(struct qmp *q, const struct err *why);

/* Turns the error in *err into one of the protocol: "<what>: …" and -EBADMSG. */
int qmp_broken(struct err *err, const char *what);
