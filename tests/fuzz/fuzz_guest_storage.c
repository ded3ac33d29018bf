/* SPDX-License-Identifier: Apache-2.0 */
/* Mount options of a CreateSandbox request:
 * what is left of them fits into mount(2)'s page. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/util.h"
#include "guest/spec.h"
#include "guest/storage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const Grpc__Storage *s)
{
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;
	unsigned long flags;

	path_is_below(s->mount_point, "/run");
	if (storage_parse_options(s->options, s->n_options, &flags, &text, &err) < 0) {
		if (err.code >= 0 || !*err.text)
			abort();
		return;
	}
	if (strlen(text) > 4095)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Grpc__CreateSandboxRequest *req =
		grpc__create_sandbox_request__unpack(NULL, size, data);

	if (!req)
		return 0;
	for (size_t i = 0; i < req->n_storages; i++)
		parse(req->storages[i]);
	grpc__create_sandbox_request__free_unpacked(req, NULL);
	return 0;
}
