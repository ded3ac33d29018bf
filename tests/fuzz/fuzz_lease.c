/* SPDX-License-Identifier: Apache-2.0 */
/* Lease requests: what a client may send to templated. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "templated/lease/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct lease_request *request)
{
	struct config base, c;

	if (request->verb == LEASE_VERB_IMAGE) {
		if (request->n_lowers == 0 || request->n_lowers > LEASE_LOWERS_MAX)
			abort();
		for (size_t i = 0; i < request->n_lowers; i++)
			if (*request->lowers[i] != '/')
				abort();
	}
	if (request->verb != LEASE_VERB_ACQUIRE)
		return;
	if (!*request->sandbox || strchr(request->sandbox, '/'))
		abort();
	config_init(&base);
	if (lease_request_config(request, &base, &c, NULL) == 0) {
		lease_request_is_own(request, &c);
		config_done(&c);
	}
	config_done(&base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lease_request request;
	struct err err = ERR_INIT;
	/* The server puts a NUL behind what it received. */
	_cleanup_free_ char *text = xmalloc(size + 1);

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (lease_request_parse(text, size, &request, &err) < 0) {
		if (err.code >= 0 || !*err.text)
			abort();
		return 0;
	}
	use(&request);
	lease_request_done(&request);
	return 0;
}
