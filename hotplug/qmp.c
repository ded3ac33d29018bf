/* SPDX-License-Identifier: Apache-2.0 */
/* A QMP session, the callers' half: see qmp.h and, for how it works, qmp_internal.h. */
#include "hotplug/qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/util.h"
#include "hotplug/qmp_internal.h"

/* Enough for the reader's error texts and json-c; only touched pages count. */
#define READER_STACK_BYTES ((size_t)256 << 10)

/* ---- one command ---- */

/* A thread is in between these two while it uses the session; it holds the lock but for
 * waits. */
static int enter_session(struct qmp *q, struct err *err)
{
	pthread_mutex_lock(&q->lock);
	if (q->end.code < 0) {
		err_copy(err, &q->end);
		pthread_mutex_unlock(&q->lock);
		return q->end.code;
	}
	q->users++;
	return 0;
}

static void leave_session(struct qmp *q)
{
	q->users--;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

/* Waits with the lock held until *flag is `value`: 0, -ETIMEDOUT or how the session
 * ended. */
static int wait_flag(
	struct qmp *q, const bool *flag, bool value, int64_t deadline, struct err *err)
{
	while (*flag != value) {
		if (q->end.code < 0)
			return err_copy(err, &q->end);
		if (cond_wait(&q->changed, &q->lock, deadline) == -ETIMEDOUT &&
			*flag != value)
			return err_set(err, -ETIMEDOUT, "no answer from QEMU in time");
	}
	return 0;
}

static void unlink_call(struct qmp *q, struct qmp_call *call)
{
	struct qmp_call **at = &q->calls;

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
}

/* Writes one line, alone. Called and returns with the lock held. */
static int send_line(
	struct qmp *q, const char *line, int fd, int64_t deadline, struct err *err)
{
	struct err why = ERR_INIT;
	int r;

	r = wait_flag(q, &q->sending, false, deadline, err);
	if (r < 0)
		return r;
	q->sending = true;
	pthread_mutex_unlock(&q->lock);
	r = sock_send(q->fd, line, strlen(line), &fd, fd >= 0 ? 1 : 0, deadline);
	if (r < 0) {
		/* Part of the line may be on its way: nothing can follow it. */
		r = err_sys(&why, r == -EPIPE ? -ECONNRESET : r, "cannot write to QMP");
		qmp_end(q, &why);
		err_copy(err, &why);
	}
	pthread_mutex_lock(&q->lock);
	q->sending = false;
	pthread_cond_broadcast(&q->changed);
	return r;
}

static char *command_line(const char *name, struct json_object *args, uint64_t id)
{
	_cleanup_json_ struct json_object *msg = json_object_new_object();

	json_set_string(msg, "execute", name);
	if (args)
		json_object_object_add(msg, "arguments", args);
	json_set_u64(msg, "id", id);
	return xasprintf(
		"%s\n", json_object_to_json_string_ext(msg,
				JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Turns an answer into 0 and its "return" (a new reference), or an error. */
static int read_answer(
	struct json_object *answer, struct json_object **ret, struct err *err)
{
	struct json_object *error, *value = NULL;
	const char *class = "", *desc = "";
	int r;

	if (json_object_object_get_ex(answer, "return", &value)) {
		if (ret)
			*ret = json_object_get(value);
		return 0;
	}
	r = json_get_object(answer, "error", &error, err);
	if (r == 0)
		r = json_get_string(error, "class", &class, err);
	if (r == 0)
		r = json_get_string(error, "desc", &desc, err);
	if (r < 0)
		return qmp_broken(err, "QMP error");
	r = strcmp(class, "CommandNotFound") == 0  ? -ENOSYS
	    : strcmp(class, "DeviceNotFound") == 0 ? -ENODEV
						   : -EREMOTEIO;
	return err_set(err, r, "QEMU refused: \"%s\" (%s)", err_quote(desc, 400),
		err_quote(class, 40));
}

int qmp_ask(struct qmp *q, const struct qmp_request *request, struct json_object **ret,
	struct err *err)
{
	_cleanup_free_ char *line = NULL;
	struct qmp_call call = {0};
	int r;

	r = enter_session(q, err);
	if (r < 0) {
		json_object_put(request->args);
		err_wrap(err, "QMP %s", request->name);
		return r;
	}
	call.id = q->next_id++;
	call.next = q->calls;
	q->calls = &call;
	q->n_sent++;
	line = command_line(request->name, request->args, call.id);
	r = send_line(q, line, request->fd ? *request->fd : -1, request->deadline, err);
	if (r == 0)
		r = wait_flag(q, &call.done, true, request->deadline, err);
	unlink_call(q, &call);
	leave_session(q);
	if (r == 0)
		r = read_answer(call.answer, ret, err);
	json_object_put(call.answer);
	if (r < 0)
		err_wrap(err, "QMP %s", request->name);
	return r;
}

int qmp_command(struct qmp *q, const char *name, struct json_object *args,
	int64_t deadline, struct err *err)
{
	return qmp_ask(q,
		&(struct qmp_request){.name = name, .args = args, .deadline = deadline},
		NULL, err);
}

/* ---- events ---- */

uint64_t qmp_mark(struct qmp *q)
{
	uint64_t mark;

	pthread_mutex_lock(&q->lock);
	mark = q->n_events;
	pthread_mutex_unlock(&q->lock);
	return mark;
}

static bool is_wanted(const struct qmp_event_wait *w, const struct qmp_event *e)
{
	return strcmp(e->name, w->name) == 0 && (!w->match || w->match(w->user, e->data));
}

/* The first kept event from *next on that matches; *next moves behind what was seen. */
static const struct qmp_event *find_event(struct qmp *q, uint64_t *next, uint64_t *lost,
	const struct qmp_event_wait *wanted)
{
	uint64_t oldest =
		q->n_events > QMP_EVENTS_KEPT ? q->n_events - QMP_EVENTS_KEPT : 0;

	if (*next < oldest) {
		*lost += oldest - *next;
		*next = oldest;
	}
	while (*next < q->n_events) {
		const struct qmp_event *e = &q->events[(*next)++ % QMP_EVENTS_KEPT];

		if (is_wanted(wanted, e))
			return e;
	}
	return NULL;
}

int qmp_wait_event(struct qmp *q, const struct qmp_event_wait *wait,
	struct json_object **ret_data, struct err *err)
{
	const struct qmp_event *event;
	struct json_object *copy = NULL;
	uint64_t next = wait->mark, lost = 0;
	int r = 0;

	pthread_mutex_lock(&q->lock);
	q->users++;
	/* Also when the session has ended: what came before its end did come. */
	while (!(event = find_event(q, &next, &lost, wait)) && r == 0) {
		if (q->end.code < 0)
			r = err_copy(err, &q->end);
		else if (cond_wait(&q->changed, &q->lock, wait->deadline) == -ETIMEDOUT &&
			 next == q->n_events)
			r = err_set(err, -ETIMEDOUT,
				"it did not come in time (%llu others lost)",
				(unsigned long long)lost);
	}
	if (event && event->data && ret_data &&
		json_object_deep_copy(event->data, &copy, NULL) < 0)
		abort(); /* out of memory */
	leave_session(q);
	if (r < 0) {
		err_wrap(err, "waiting for QMP event %s", wait->name);
		return r;
	}
	if (ret_data)
		*ret_data = copy;
	return 0;
}

/* ---- the session ---- */

static int negotiate_session(struct qmp *q, int64_t deadline, struct err *err)
{
	int r;

	pthread_mutex_lock(&q->lock);
	r = wait_flag(q, &q->greeted, true, deadline, err);
	pthread_mutex_unlock(&q->lock);
	if (r < 0) {
		err_wrap(err, "waiting for QMP's greeting");
		return r;
	}
	return qmp_command(q, "qmp_capabilities", NULL, deadline, err);
}

int qmp_start_reader(struct qmp *q, struct err *err)
{
	int r = thread_start(qmp_reader_main, q, READER_STACK_BYTES, false, &q->reader);

	if (r < 0)
		return err_sys(err, r, "cannot start QMP's reader");
	q->reading = true;
	return 0;
}

struct qmp *qmp_alloc(int fd)
{
	struct qmp *q = xnew0(struct qmp);

	q->fd = fd;
	q->next_id = 1;
	pthread_mutex_init(&q->lock, NULL);
	cond_init(&q->changed);
	q->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->stop_fd >= 0)
		return q;
	close_fd(fd);
	qmp_destroy(q);
	return NULL;
}

void qmp_destroy(struct qmp *q)
{
	for (unsigned int i = 0; i < QMP_EVENTS_KEPT; i++) {
		free(q->events[i].name);
		json_object_put(q->events[i].data);
	}
	close_fd(q->stop_fd);
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

int qmp_new(int fd, int64_t deadline, struct qmp **ret, struct err *err)
{
	struct qmp *q = qmp_alloc(fd);
	int r;

	if (!q)
		return err_sys(err, errno, "cannot make an eventfd");
	r = qmp_start_reader(q, err);
	if (r == 0)
		r = negotiate_session(q, deadline, err);
	if (r < 0) {
		qmp_free(q);
		return r;
	}
	*ret = q;
	return 0;
}

void qmp_free(struct qmp *q)
{
	struct err freed = {-ECONNRESET, "the QMP session was closed"};

	if (!q)
		return;
	qmp_end(q, &freed);
	if (q->reading)
		pthread_join(q->reader, NULL);
	pthread_mutex_lock(&q->lock);
	while (q->users > 0)
		cond_wait(&q->changed, &q->lock, DEADLINE_NONE);
	pthread_mutex_unlock(&q->lock);
	close_fd(q->fd);
	qmp_destroy(q);
}

unsigned int qmp_version(const struct qmp *q)
{
	return q->version;
}
