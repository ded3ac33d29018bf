/* SPDX-License-Identifier: Apache-2.0 */
/* Typed QMP commands: device state out of a VM and into one. See plug.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "hotplug/plug.h"
#include "hotplug/plug_internal.h"

#define STATE_NAME "stencil-state"

int qmp_migrate_set_template_capabilities(
	struct qmp *q, int64_t deadline, struct err *err)
{
	/* events: else there is no MIGRATION to wait for. x-ignore-shared: the memory,
	 * mapped shared in the template, is not part of the stream (the name says
	 * experimental since 4.0). */
	static const char *const names[] = {"events", "x-ignore-shared"};
	struct json_object *args = json_object_new_object(),
			   *list = json_object_new_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct json_object *one = json_object_new_object();

		json_set_string(one, "capability", names[i]);
		json_set_bool(one, "state", true);
		json_object_array_add(list, one);
	}
	json_object_object_add(args, "capabilities", list);
	return qmp_command(q, "migrate-set-capabilities", args, deadline, err);
}

/* ---- handing the descriptor over ---- */

struct stream {
	bool in_fdset;
	struct plug_fdset fdset;
	char uri[64];
};

/*
 * QEMU up to 9.0 takes any descriptor as fd:NAME. From 9.1 that is deprecated for files
 * and file:/dev/fdset/N is the way; QEMU then wants one opened with exactly the access it
 * needs.
 */
static int stream_open(struct qmp *q, int fd, int access, struct stream *ret,
	int64_t deadline, struct err *err)
{
	struct plug_file file = {.name = STATE_NAME, .fd = fd, .access = access};
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot stat the state file");
	ret->in_fdset = S_ISREG(st.st_mode) && qmp_version(q) >= 90100;
	if (ret->in_fdset) {
		r = plug_fdset_add(q, &file, &ret->fdset, deadline, err);
		if (r == 0)
			snprintf(ret->uri, sizeof(ret->uri), "file:%s", ret->fdset.path);
		return r;
	}
	snprintf(ret->uri, sizeof(ret->uri), "fd:" STATE_NAME);
	return qmp_getfd(q, STATE_NAME, fd, deadline, err);
}

/* A name that was handed to a migration is used up; one that never got there is taken
 * back. */
static void stream_close(struct qmp *q, const struct stream *s, bool used)
{
	if (s->in_fdset)
		plug_fdset_remove(q, &s->fdset, plug_undo_deadline(), NULL);
	else if (!used)
		qmp_closefd(q, STATE_NAME, plug_undo_deadline(), NULL);
}

/* ---- until it has completed ---- */

static bool match_end(void *user, struct json_object *data)
{
	const char **ret_status = user;
	static const char *const ends[] = {"completed", "failed", "cancelled"};
	const char *status;

	if (json_get_string(data, "status", &status, NULL) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (strcmp(status, ends[i]) == 0) {
			*ret_status = ends[i];
			return true;
		}
	}
	return false;
}

/* QEMU's reason of a migration that failed, as far as it gives one: restoring, it exits
 * (< 9.1). */
static int tell_failure(
	struct qmp *q, const char *status, int64_t deadline, struct err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	struct err why = ERR_INIT;
	const char *desc = NULL;

	if (qmp_ask(q,
		    &(struct qmp_request){.name = "query-migrate", .deadline = deadline},
		    &answer, &why) < 0)
		return err_set(err, -EREMOTEIO, "migration %s (%s)", status, why.text);
	if (json_get_string(answer, "error-desc", &desc, NULL) < 0)
		return err_set(
			err, -EREMOTEIO, "migration %s; QEMU gives no reason", status);
	return err_set(
		err, -EREMOTEIO, "migration %s: \"%s\"", status, err_quote(desc, 400));
}

static bool has_migration(struct json_object *instances)
{
	const char *type;

	for (size_t i = 0; i < json_object_array_length(instances); i++) {
		struct json_object *one = json_object_array_get_idx(instances, i);

		if (json_get_string(one, "type", &type, NULL) == 0 &&
			strcmp(type, "migration") == 0)
			return true;
	}
	return false;
}

/*
 * Waits until QEMU has put an outgoing migration away. It tells of the end from the
 * migration's thread, before it has the lock for the rest: the run state, and a bottom
 * half that closes the stream and, last, takes the migration off the list of what can be
 * yanked (migration_iteration_finish(), migrate_fd_cleanup()). A `migrate` in between is
 * "duplicate yank instance", and has then already reset what the first still uses. No
 * event tells of this. Asking took 0.15 ms in most cases, 6 ms at worst (one busy core).
 */
static int wait_put_away(struct qmp *q, int64_t deadline, struct err *err)
{
	for (;;) {
		_cleanup_json_ struct json_object *answer = NULL;
		int r;

		r = qmp_ask(q,
			&(struct qmp_request){.name = "query-yank", .deadline = deadline},
			&answer, err);
		if (r < 0)
			return r;
		if (!json_object_is_type(answer, json_type_array))
			return err_set(err, -EBADMSG,
				"QMP query-yank: the answer is not an array");
		if (!has_migration(answer))
			return 0;
		/* QEMU answers however often it is asked. */
		if (deadline_poll_ms(deadline) == 0)
			return err_set(err, -ETIMEDOUT,
				"QEMU did not put the migration away in time");
	}
}

static int wait_end(
	struct qmp *q, uint64_t mark, bool outgoing, int64_t deadline, struct err *err)
{
	const char *status;
	int r, put_away;

	r = qmp_wait_event(q,
		&(struct qmp_event_wait){.mark = mark,
			.name = "MIGRATION",
			.match = match_end,
			.user = &status,
			.deadline = deadline},
		NULL, err);
	if (r < 0)
		return r;
	if (strcmp(status, "completed") != 0)
		r = tell_failure(q, status, deadline, err);
	/* Of an incoming one QEMU tells when all else is done. */
	put_away = outgoing ? wait_put_away(q, deadline, r < 0 ? NULL : err) : 0;
	return r < 0 ? r : put_away;
}

static int migrate_by_fd(
	struct qmp *q, bool outgoing, int fd, int64_t deadline, struct err *err)
{
	struct json_object *args;
	struct stream stream;
	uint64_t mark;
	int r;

	r = stream_open(q, fd, outgoing ? O_WRONLY : O_RDONLY, &stream, deadline, err);
	if (r < 0)
		return r;
	args = json_object_new_object();
	json_set_string(args, "uri", stream.uri);
	mark = qmp_mark(q);
	r = qmp_command(
		q, outgoing ? "migrate" : "migrate-incoming", args, deadline, err);
	if (r < 0) {
		stream_close(q, &stream, false);
		return r;
	}
	r = wait_end(q, mark, outgoing, deadline, err);
	stream_close(q, &stream, true);
	return r;
}

int qmp_migrate_to_fd(struct qmp *q, int state_fd, int64_t deadline, struct err *err)
{
	int r = migrate_by_fd(q, true, state_fd, deadline, err);

	if (r < 0)
		err_wrap(err, "cannot save the device state");
	return r;
}

int qmp_migrate_from_fd(struct qmp *q, int state_fd, int64_t deadline, struct err *err)
{
	int r = migrate_by_fd(q, false, state_fd, deadline, err);

	if (r < 0)
		err_wrap(err, "cannot restore the device state");
	return r;
}
