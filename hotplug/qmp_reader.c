/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of a QMP session: lines into messages, messages to those who wait for
 * them. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/util.h"
#include "hotplug/qmp_internal.h"

#define READ_BYTES 4096
/* Two numbers of 20 digits stand before it. */
#define EVENT_NAME_WITHIN 128

/*
 * A guest makes events as fast as it runs (tens of thousands of _OST a second), and to
 * wake up for each costs a third of what it costs QEMU to make it (measured, emulated:
 * 317 to 933; 11 to 340 so). So when more have come than a guest has reason for, the next
 * ones gather for a moment, and are read at once; what the socket has no room for waits
 * in QEMU, and comes in one piece. Who waits for an answer meanwhile waits for that
 * moment, too: it is the same guest's.
 *
 * What it has reason for: a few for each vCPU and DIMM that is plugged.
 */
#define STORM_EVENTS   512
#define STORM_EVENT_MS 10 /* one more in this time */
#define STORM_PAUSE_MS 100
/* So much at once was in QEMU: it has more, and is waited for as usual. */
#define STORM_BULK (64u << 10)

/* Of a message as it was on the wire. */
struct qmp_size {
	size_t bytes, nodes;
};

void qmp_end(struct qmp *q, const struct err *why)
{
	pthread_mutex_lock(&q->lock);
	if (q->end.code == 0)
		q->end = *why;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	shutdown(q->fd, SHUT_RDWR); /* the reader's recv() returns */
}

int qmp_broken(struct err *err, const char *what)
{
	err_wrap(err, "%s", what);
	if (err)
		err->code = -EBADMSG;
	return -EBADMSG;
}

static int take_greeting(struct qmp *q, struct json_object *greeting, struct err *err)
{
	struct json_object *version, *qemu;
	uint64_t major, minor, micro;

	if (json_get_object(greeting, "version", &version, err) < 0 ||
		json_get_object(version, "qemu", &qemu, err) < 0 ||
		json_get_u64(qemu, "major", &major, err) < 0 ||
		json_get_u64(qemu, "minor", &minor, err) < 0 ||
		json_get_u64(qemu, "micro", &micro, err) < 0)
		return qmp_broken(err, "QMP greeting");
	if (major > 9999 || minor > 99 || micro > 99)
		return err_set(err, -EBADMSG, "QMP greeting: no QEMU has this version");
	q->version = (unsigned int)(major * 10000 + minor * 100 + micro);
	q->greeted = true;
	return 0;
}

/* Keeps an event; takes nothing of msg. */
static int take_event(struct qmp *q, struct json_object *msg, const struct qmp_size *size,
	struct err *err)
{
	struct qmp_event *slot = &q->events[q->n_events % QMP_EVENTS_KEPT];
	struct json_object *data = NULL;
	const char *name;

	if (json_get_string(msg, "event", &name, err) < 0)
		return qmp_broken(err, "QMP event");
	if (size->bytes > QMP_EVENT_MAX || size->nodes > QMP_EVENT_NODES_MAX) {
		q->n_dropped++;
		return 0;
	}
	json_object_object_get_ex(msg, "data", &data);
	free(slot->name);
	json_object_put(slot->data);
	slot->name = xstrdup(name);
	slot->data = json_object_get(data);
	q->n_events++;
	return 0;
}

/* Gives an answer to the call with its id; takes msg if there is one. */
static bool take_answer(struct qmp *q, struct json_object *msg)
{
	uint64_t id;

	/* An answer without id is QEMU's to a line it could not parse. */
	if (json_get_u64(msg, "id", &id, NULL) < 0)
		return false;
	for (struct qmp_call *c = q->calls; c; c = c->next) {
		if (c->id != id || c->done)
			continue;
		c->answer = msg;
		c->done = true;
		return true;
	}
	return false;
}

/* Called with the lock held; takes msg. */
static int sort_message(struct qmp *q, struct json_object *msg,
	const struct qmp_size *size, struct err *err)
{
	_cleanup_json_ struct json_object *owned = msg;
	struct json_object *greeting = NULL;

	if (!q->greeted) {
		if (json_get_object(msg, "QMP", &greeting, NULL) < 0)
			return err_set(err, -EBADMSG,
				"the QMP stream does not begin with a greeting");
		return take_greeting(q, greeting, err);
	}
	if (json_object_object_get_ex(msg, "event", NULL))
		return take_event(q, msg, size, err);
	if (!json_object_object_get_ex(msg, "return", NULL) &&
		!json_object_object_get_ex(msg, "error", NULL))
		return err_set(err, -EBADMSG,
			"a QMP message is neither event nor answer: %s",
			err_quote(json_object_to_json_string(msg), 120));
	if (++q->n_answered > q->n_sent)
		return err_set(err, -EBADMSG, "QEMU sends more answers than commands");
	if (take_answer(q, msg))
		steal_ptr(owned);
	else
		q->n_dropped++;
	return 0;
}

static bool is_blank(const char *line, size_t len)
{
	while (len > 0 && strchr(" \t\r", line[len - 1]) && line[len - 1])
		len--;
	return len == 0;
}

/*
 * Events that a guest makes as often as it likes, by writing to a device, and that nobody
 * here waits for: they are read no further than this, and take no place of another event.
 * QEMU writes "timestamp" before "event" and nothing but these two and "data" beside it,
 * so that no guest's text stands before the name.
 */
static bool is_guests_event(const char *line, size_t len)
{
	static const char *const names[] = {
		"ACPI_DEVICE_OST",
		"BALLOON_CHANGE",
		"MEMORY_DEVICE_SIZE_CHANGE",
		"NIC_RX_FILTER_CHANGED",
		"RTC_CHANGE",
		"VSERPORT_CHANGE",
		"WATCHDOG",
	};
	static const char begin[] = "{\"timestamp\": {", key[] = "\"event\": \"";
	const char *at;
	size_t left;

	if (len < strlen(begin) || memcmp(line, begin, strlen(begin)) != 0)
		return false;
	at = memmem(line, MIN(len, EVENT_NAME_WITHIN), key, strlen(key));
	if (!at)
		return false;
	at += strlen(key);
	left = len - (size_t)(at - line);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (n < left && memcmp(at, names[i], n) == 0 && at[n] == '"')
			return true;
	}
	return false;
}

static int take_line(struct qmp *q, struct qmp_input *in, const char *line, size_t len,
	struct err *err)
{
	struct qmp_size size = {.bytes = len};
	struct json_object *msg;
	int r;

	if (is_blank(line, len))
		return 0;
	if (is_guests_event(line, len)) {
		in->storm++;
		return 0;
	}
	size.nodes = json_count_nodes(line, len);
	if (size.nodes > QMP_NODES_MAX)
		return err_set(err, -EBADMSG, "a QMP message has more than %u values",
			QMP_NODES_MAX);
	r = json_parse("a QMP message", line, len, QMP_DEPTH_MAX, &msg, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(msg, json_type_object)) {
		json_object_put(msg);
		return err_set(err, -EBADMSG, "a QMP message is not an object");
	}
	pthread_mutex_lock(&q->lock);
	r = sort_message(q, msg, &size, err);
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return r;
}

/* Lets a storm's events gather, once all that there was is read (or QEMU would have to
 * keep more and more of them); unless the reader is to stop. */
static void let_gather(const struct qmp *q, struct qmp_input *in)
{
	struct pollfd stop = {.fd = q->stop_fd, .events = POLLIN};
	int64_t now, usual;

	if (in->storm <= STORM_EVENTS || !in->drained)
		return;
	now = now_ms();
	usual = (now - in->storm_ms) / STORM_EVENT_MS;
	in->storm_ms = now;
	in->storm = MAX(in->storm - usual, 0);
	if (in->storm <= STORM_EVENTS)
		return;
	in->storm = STORM_EVENTS;
	if (in->gathered < STORM_BULK)
		poll(&stop, 1, STORM_PAUSE_MS);
	in->gathered = 0;
}

/*
 * Waits for bytes: 0; -ECANCELED when the reader is to stop and stands between two lines,
 * -ETIMEDOUT when it was to stop and the rest of a line does not come.
 */
static int wait_input(struct qmp *q, const struct qmp_input *in)
{
	struct pollfd fds[] = {
		{.fd = q->fd, .events = POLLIN}, {.fd = q->stop_fd, .events = POLLIN}};
	int64_t deadline = DEADLINE_NONE;

	for (;;) {
		int n = poll(fds, 2, deadline_poll_ms(deadline));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0)
			continue;
		/* What is in the socket by now is for whoever reads it next. */
		if (fds[1].fd < 0 || !fds[1].revents)
			return 0;
		if (in->len == 0)
			return -ECANCELED;
		fds[1].fd = -1;
		pthread_mutex_lock(&q->lock);
		deadline = q->stop_deadline;
		pthread_mutex_unlock(&q->lock);
	}
}

/* Reads once; 0 is the end of the stream, or as wait_input(). */
static ssize_t read_more(struct qmp *q, struct qmp_input *in)
{
	if (in->size - in->len < READ_BYTES) {
		in->size = MAX(in->size * 2, (size_t)READ_BYTES * 2);
		in->data = xreallocarray(in->data, in->size, 1);
	}
	let_gather(q, in);
	for (;;) {
		int r = wait_input(q, in);
		ssize_t n;

		if (r < 0)
			return r;
		n = recv(q->fd, in->data + in->len, in->size - in->len, MSG_DONTWAIT);
		if (n >= 0) {
			in->drained = (size_t)n < in->size - in->len;
			in->len += (size_t)n;
			in->gathered += (size_t)n;
			return n;
		}
		if (errno != EINTR && errno != EAGAIN)
			return errno == ECONNRESET ? 0 : -errno;
	}
}

int qmp_take_lines(struct qmp *q, struct qmp_input *in, struct err *err)
{
	size_t begin = 0;
	char *end;
	int r;

	while ((end = memchr(in->data + in->scanned, '\n', in->len - in->scanned))) {
		size_t len = (size_t)(end - in->data) - begin;

		if (len > QMP_MESSAGE_MAX)
			break;
		r = take_line(q, in, in->data + begin, len, err);
		if (r < 0)
			return r;
		begin += len + 1;
		in->scanned = begin;
	}
	if (in->len - begin > QMP_MESSAGE_MAX)
		return err_set(err, -EBADMSG, "a QMP message is longer than %u bytes",
			QMP_MESSAGE_MAX);
	memmove(in->data, in->data + begin, in->len - begin);
	in->len -= begin;
	in->scanned = in->len;
	if (in->len == 0 &&
		in->size > 4 * READ_BYTES) { /* one long answer need not stay */
		free(in->data);
		in->data = NULL;
		in->size = 0;
	}
	return 0;
}

void *qmp_reader_main(void *arg)
{
	struct qmp *q = arg;
	struct qmp_input in = {0};
	struct err err = ERR_INIT;

	while (err.code == 0) {
		ssize_t n = read_more(q, &in);

		if (n == -ECANCELED) {
			free(in.data);
			return q;
		}
		if (n > 0)
			qmp_take_lines(q, &in, &err);
		else if (n == 0)
			err_set(&err, -ECONNRESET, "QEMU closed its QMP connection");
		else
			err_sys(&err, (int)n, "cannot read from QMP");
	}
	qmp_end(q, &err);
	free(in.data);
	return NULL;
}
