/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent says about itself and its guest. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "agent-client/proto/health.pb-c.h"
#include "base/io.h"
#include "base/util.h"
#include "files/wire.h"
#include "guest/message.h"
#include "guest/service.h"

#define MEMORY_DIR "/sys/devices/system/memory"

SERVICE_HANDLER(handle_check)
{
	Grpc__HealthCheckResponse *out =
		message_new(&grpc__health_check_response__descriptor);

	(void)user, (void)request, (void)in, (void)err;
	out->status = GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	*ret_out = &out->base;
	return 0;
}

SERVICE_HANDLER(handle_version)
{
	Grpc__VersionCheckResponse *out =
		message_new(&grpc__version_check_response__descriptor);

	(void)user, (void)request, (void)in, (void)err;
	/* The version of Kata's protocol that the messages are of. */
	out->grpc_version = xstrdup("0.0.1");
	out->agent_version = xstrdup(STENCIL_VERSION);
	*ret_out = &out->base;
	return 0;
}

static int read_block_size(uint64_t *ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, MEMORY_DIR "/block_size_bytes", 64, &text, &len, err);

	if (r == 0)
		*ret = strtoull(text, NULL, 16);
	return r;
}

static Grpc__AgentDetails *details_new(void)
{
	static const char *const handlers[] = {FILES_DRIVER, "ephemeral", "local"};
	Grpc__AgentDetails *d = message_new(&grpc__agent_details__descriptor);

	d->version = xstrdup(STENCIL_VERSION);
	d->init_daemon = getpid() == 1;
	d->supports_seccomp = true; /* crun's */
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		MESSAGE_APPEND(
			d->n_storage_handlers, d->storage_handlers, xstrdup(handlers[i]));
	return d;
}

SERVICE_HANDLER(handle_get_guest_details)
{
	const Grpc__GuestDetailsRequest *req = (const Grpc__GuestDetailsRequest *)in;
	Grpc__GuestDetailsResponse *out;
	uint64_t block_size = 0;
	int r;

	(void)user, (void)request;
	if (req->mem_block_size) {
		r = read_block_size(&block_size, err);
		if (r < 0)
			return r;
	}
	out = message_new(&grpc__guest_details_response__descriptor);
	out->mem_block_size_bytes = block_size;
	if (req->mem_hotplug_probe)
		out->support_mem_hotplug_probe = access(MEMORY_DIR "/probe", F_OK) == 0;
	out->agent_details = details_new();
	*ret_out = &out->base;
	return 0;
}
