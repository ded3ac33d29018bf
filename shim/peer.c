/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to the shim that serves a sandbox: see peer.h. */
#include "shim/peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/ttrpc/ttrpc.h"
#include "base/util.h"
#include "shim/proto/containerd_task.pb-c.h"

#define SERVICE "containerd.task.v2.Task"

static int call_task(struct ttrpc_client *client, const char *method,
	const ProtobufCMessage *request, int timeout_ms)
{
	struct err ignored = ERR_INIT;

	return ttrpc_client_call(client,
		&(struct ttrpc_call){.service = SERVICE,
			.method = method,
			.request = request,
			.deadline = deadline_after_ms(timeout_ms)},
		NULL, &ignored);
}

static bool shim_answers(struct ttrpc_client *client, const char *id)
{
	Containerd__Task__V2__ConnectRequest request =
		CONTAINERD__TASK__V2__CONNECT_REQUEST__INIT;

	request.id = (char *)id;
	return call_task(client, "Connect", &request.base, PEER_ANSWER_MS) == 0;
}

static enum peer_outcome discard_container(
	struct ttrpc_client *client, const struct state *s, const char *id)
{
	Containerd__Task__V2__ShutdownRequest request =
		CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;
	int r;

	request.id = (char *)id;
	request.now = true;
	r = call_task(client, "Shutdown", &request.base, PEER_DISCARD_MS);
	/* One that ends removes its folder before it answers. */
	if (access(s->dir, F_OK) < 0)
		return PEER_ENDS;
	if (r == 0)
		return PEER_GOES_ON;
	return r == -ETIMEDOUT ? PEER_IS_BUSY : PEER_IS_MUTE;
}

enum peer_outcome peer_discard(const struct state *s, const char *id)
{
	struct ttrpc_client *client;
	enum peer_outcome outcome;
	int fd;

	if (unix_connect(s->socket, SOCK_STREAM, deadline_after_ms(PEER_ANSWER_MS), &fd,
		    NULL) < 0 ||
		ttrpc_client_new(fd, &client, NULL) < 0)
		return PEER_IS_MUTE;
	outcome = shim_answers(client, id) ? discard_container(client, s, id)
					   : PEER_IS_MUTE;
	ttrpc_client_free(client);
	return outcome;
}
