/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl's conversation with templated: see ctl.h. */
#include "templated/ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/util.h"

/* Building takes as long as the guest takes to boot, which templated bounds. */
#define ANSWER_MS 10000

static int connect_to(const struct config *c, int *ret_fd, struct err *err)
{
	int r = unix_connect(c->template_endpoint, SOCK_SEQPACKET,
		deadline_after_ms(ANSWER_MS), ret_fd, err);

	if (r != -ENOENT && r != -ECONNREFUSED)
		return r;
	return err_set(err, -ENOTCONN,
		"templated is not running: nobody answers at %s; start it with "
		"`systemctl start templated` or `templated%s%s`",
		err_quote(c->template_endpoint, 256), *c->loaded_from ? " --config " : "",
		err_quote(c->loaded_from, 256));
}

/* 1: a step was told; 0: *ret is the reply. */
static int ctl_receive_reply(int fd, int64_t deadline, void (*progress)(const char *step),
	struct json_object **ret, struct err *err)
{
	_cleanup_json_ struct json_object *obj = NULL;
	const char *text, *result;
	int fds[2], r;

	r = lease_receive(fd, &obj, fds, deadline, err);
	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++)
		close_fd(fds[i]);
	if (json_get_string(obj, "progress", &text, NULL) == 0) {
		if (progress)
			progress(text);
		return 1;
	}
	r = json_get_string(obj, "result", &result, err);
	if (r == 0 && strcmp(result, "error") == 0) {
		r = json_get_string(obj, "error", &text, err);
		return r < 0 ? r : err_set(err, -EREMOTEIO, "%s", text);
	}
	if (r == 0)
		*ret = steal_ptr(obj);
	return r;
}

/* request: taken. */
static int open_with(
	const struct config *c, struct json_object *request, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r = connect_to(c, &fd, err);

	if (r < 0) {
		json_object_put(request);
		return r;
	}
	r = lease_send(fd, request, NULL, 0, deadline_after_ms(ANSWER_MS));
	if (r < 0)
		return err_sys(err, r, "templated does not take the request");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int ctl_open(const struct config *c, enum lease_verb verb, int *ret_fd, struct err *err)
{
	return open_with(c, lease_request_new(verb, NULL, NULL), ret_fd, err);
}

int ctl_ask(const struct config *c, enum lease_verb verb,
	void (*progress)(const char *step), struct json_object **ret, struct err *err)
{
	return ctl_send(c, verb, lease_request_new(verb, NULL, NULL), progress, ret, err);
}

int ctl_send(const struct config *c, enum lease_verb verb, struct json_object *request,
	void (*progress)(const char *step), struct json_object **ret, struct err *err)
{
	bool builds = verb == LEASE_VERB_INIT || verb == LEASE_VERB_REFRESH ||
		      verb == LEASE_VERB_DESTROY;
	_cleanup_close_ int fd = -1;
	int r = open_with(c, request, &fd, err);

	if (r < 0)
		return r;
	do
		r = ctl_receive_reply(fd,
			builds ? DEADLINE_NONE : deadline_after_ms(ANSWER_MS), progress,
			ret, err);
	while (r > 0);
	return r;
}
