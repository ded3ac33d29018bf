/* SPDX-License-Identifier: Apache-2.0 */
/* A QMP session: greeting, capabilities, commands with ids and deadlines, events, fds. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

/*
 * QMP is JSON, one object a line, over a unix stream socket (QEMU docs/interop/qmp-spec).
 * The stream is hostile input: a message is at most QMP_MESSAGE_MAX bytes and
 * QMP_DEPTH_MAX levels and QMP_NODES_MAX values, and there are no more answers than
 * commands. Any number of threads may use one session; a reader thread sorts
 * answers by id and keeps the last QMP_EVENTS_KEPT events.
 */
#define QMP_MESSAGE_MAX (1u << 20)
#define QMP_NODES_MAX   (32u << 10) /* values in a message: QEMU 10's schema takes most */
#define QMP_DEPTH_MAX   32
#define QMP_EVENTS_KEPT 64

struct qmp;

/* Takes fd (also on failure). Reads the greeting and negotiates by `deadline`. */
int qmp_new(int fd, int64_t deadline, struct qmp **ret, struct err *err);
void qmp_free(struct qmp *q); /* commands in flight end with -ECONNRESET */
DEFINE_CLEANUP(qmp, struct qmp *, qmp_free);

/* QEMU's version from the greeting: major * 10000 + minor * 100 + micro. */
unsigned int qmp_version(const struct qmp *q);

/*
 * A session moves to another process by its descriptor. First qmp_quiesce(): commands and
 * waits for an event fail with -ECANCELED from now on; -EBUSY, and nothing has changed,
 * while a command is unanswered. When all who use q have left, qmp_detach() frees it in
 * any case: the reader ends between two lines, and what it did not read is still in the
 * socket. Where it fails the descriptor is closed: with -EBUSY if something was read
 * after the first step, since nobody will hear of it; with -ETIMEDOUT if QEMU is in the
 * middle of a line at the deadline; else with what ended the session. qmp_adopt() takes
 * fd (also on failure); version is qmp_version() of the session before.
 */
int qmp_quiesce(struct qmp *q, struct err *err);
int qmp_detach(struct qmp *q, int64_t deadline, int *ret_fd, struct err *err);
int qmp_adopt(int fd, unsigned int version, struct qmp **ret, struct err *err);

struct qmp_request {
	const char *name;
	struct json_object *args; /* taken; NULL: none */
	const int *fd;            /* sent along, not taken; NULL: none */
	int64_t deadline;
};

/*
 * One command. *ret (may be NULL) is the "return" value, the caller's. A QMP error is
 * -EREMOTEIO ("CommandNotFound" is -ENOSYS, "DeviceNotFound" -ENODEV) with command, class
 * and QEMU's sentence quoted in err; -ETIMEDOUT; -ECONNRESET when QEMU left; -EBADMSG
 * when it broke the protocol.
 */
int qmp_ask(struct qmp *q, const struct qmp_request *request, struct json_object **ret,
	struct err *err);
/* One whose answer says no more than that it was done. */
int qmp_command(struct qmp *q, const char *name, struct json_object *args,
	int64_t deadline, struct err *err);

/*
 * Events, without a race: take a mark, send the command, wait for the event that came
 * after the mark. *ret_data (may be NULL) is the event's "data", the caller's.
 */
struct qmp_event_wait {
	uint64_t mark;
	const char *name;
	/* Looks at the event's "data" (NULL if it has none); NULL: any of that name. */
	bool (*match)(void *user, struct json_object *data);
	void *user;
	int64_t deadline;
};
uint64_t qmp_mark(struct qmp *q);
int qmp_wait_event(struct qmp *q, const struct qmp_event_wait *wait,
	struct json_object **ret_data, struct err *err);
