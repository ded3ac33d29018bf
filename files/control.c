/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of the talk with its shim: see control.h. */
#include "files/control.h"

#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "base/util.h"

int control_answer(int fd, uint32_t id, const struct err *err)
{
	struct control_answer answer = {.id = id, .code = err->code};

	if (err->code < 0)
		memcpy(answer.text, err->text, sizeof(answer.text));
	return sock_send(fd, &answer, sizeof(answer), NULL, 0, DEADLINE_NONE);
}

static int control_add(struct channel *channel, const struct control_request *request,
	int root_fd, const struct tree_options *options, struct err *err)
{
	struct tree_options own = *options;

	if (root_fd < 0)
		return err_set(
			err, -EBADF, "mount %u comes without a tree", request->mount);
	if (request->cache != TREE_CACHE_OWN && request->cache != TREE_CACHE_SHARED)
		return err_set(err, -EINVAL, "mount %u: there is no cache %u",
			request->mount, request->cache);
	own.cache = (enum tree_cache)request->cache;
	own.readonly = request->readonly;
	if (!request->overlay_upper)
		own.keeper = NULL;
	return channel_add(channel, request->mount, root_fd, &own, err);
}

static int control_serve(struct channel *channel, const struct control_request *request,
	int root_fd, const struct tree_options *options, struct err *err)
{
	switch (request->kind) {
	case CONTROL_ADD:
		return control_add(channel, request, root_fd, options, err);
	case CONTROL_REMOVE:
		channel_remove(channel, request->mount);
		return 0;
	case CONTROL_SHRINK:
		channel_shrink(channel);
		return 0;
	case CONTROL_FREEZE:
		return channel_freeze(channel, request->mount, err);
	case CONTROL_THAW:
		channel_thaw(channel, request->mount);
		return 0;
	}
	return err_set(err, -EINVAL, "there is no request %u", request->kind);
}

int control_run(int fd, struct channel *channel, const struct tree_options *options,
	struct err *err)
{
	for (;;) {
		_cleanup_close_ int root_fd = -1;
		struct control_request request;
		struct err outcome = ERR_INIT;
		ssize_t n;
		int r;

		n = sock_recv(fd, &request, sizeof(request), &root_fd, 1, DEADLINE_NONE);
		if (n == 0 || n == -ECONNRESET)
			return 0;
		if (n < 0)
			return err_sys(err, (int)n, "cannot read the shim's request");
		if (n != sizeof(request))
			return err_set(
				err, -EPROTO, "the shim's request has %zd bytes", n);
		control_serve(channel, &request, root_fd, options, &outcome);
		close_fd(steal_fd(&root_fd)); /* the tree has its own */
		r = control_answer(fd, request.id, &outcome);
		if (r == -EPIPE || r == -ECONNRESET)
			return 0;
		if (r < 0)
			return err_sys(err, r, "cannot answer the shim");
	}
}
