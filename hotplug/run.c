/* SPDX-License-Identifier: Apache-2.0 */
/* Typed QMP commands: run state, descriptors, the console. See plug.h. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/plug.h"

/* More than any ring buffer of ours; fits one message with every byte escaped. */
#define RINGBUF_READ_MAX 65536

/*
 * QEMU sends STOP or RESUME before it answers, but only on a change: its state tells in
 * either case. Waiting for incoming state it takes `cont` as a wish for later, which is
 * no success here.
 */
static int set_running(struct qmp *q, const char *command, bool wanted, int64_t deadline,
	struct err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	const char *status = "";
	bool running = false;
	int r;

	r = qmp_command(q, command, NULL, deadline, err);
	if (r == 0)
		r = qmp_ask(q,
			&(struct qmp_request){
				.name = "query-status", .deadline = deadline},
			&answer, err);
	if (r == 0)
		r = json_get_bool(answer, "running", &running, err);
	if (r == 0)
		r = json_get_string(answer, "status", &status, err);
	if (r == 0 && running != wanted)
		r = err_set(err, -EBUSY, "after QMP %s the VM is in state \"%s\"",
			command, err_quote(status, 40));
	return r;
}

int qmp_stop(struct qmp *q, int64_t deadline, struct err *err)
{
	return set_running(q, "stop", false, deadline, err);
}

int qmp_cont(struct qmp *q, int64_t deadline, struct err *err)
{
	return set_running(q, "cont", true, deadline, err);
}

int qmp_getfd(struct qmp *q, const char *name, int fd, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "fdname", name);
	return qmp_ask(q,
		&(struct qmp_request){
			.name = "getfd", .args = args, .fd = &fd, .deadline = deadline},
		NULL, err);
}

int qmp_closefd(struct qmp *q, const char *name, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "fdname", name);
	return qmp_command(q, "closefd", args, deadline, err);
}

int qmp_ringbuf_read(struct qmp *q, const char *chardev, uint64_t max, char **ret_text,
	int64_t deadline, struct err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	struct json_object *args = json_object_new_object();
	const char *text;
	size_t len;
	int r;

	/* QEMU hands out the oldest bytes first: take all there are, keep the last. */
	json_set_string(args, "device", chardev);
	json_set_u64(args, "size", RINGBUF_READ_MAX);
	json_set_string(args, "format", "utf8");
	r = qmp_ask(q,
		&(struct qmp_request){
			.name = "ringbuf-read", .args = args, .deadline = deadline},
		&answer, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(answer, json_type_string))
		return err_set(
			err, -EBADMSG, "QMP ringbuf-read: the answer is not a string");
	text = json_object_get_string(answer); /* up to a NUL, if the guest wrote one */
	len = strlen(text);
	if (len > max) {
		text += len - max;
		while ((*text & 0xc0) == 0x80) /* not from the middle of a character */
			text++;
	}
	*ret_text = xstrdup(text);
	return 0;
}
