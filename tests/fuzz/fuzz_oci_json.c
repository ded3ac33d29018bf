/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's config.json and a host's messages: any bytes. The first one says what the rest
 * is: a document of a spec (s), a process (p) or resources (r), or a spec on the wire
 * (w). What was understood is written as JSON, which must then be understood as the same
 * with nothing dropped.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/util.h"
#include "guest/oci/to_json.h"
#include "shim/oci/from_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *user, const char *path)
{
	(void)path;
	++*(unsigned int *)user;
}

/* to_json(from_json(j)) is j. */
static void check_stable(struct json_object *json)
{
	_cleanup_json_ struct json_object *again = NULL;
	unsigned int dropped = 0;
	Grpc__Spec *spec = NULL;

	if (oci_spec_from_json(json, &spec, count, &dropped, NULL) < 0)
		abort();
	assert(dropped == 0);
	if (oci_spec_to_json(spec, &again, NULL) < 0)
		abort();
	assert(json_object_equal(json, again));
	grpc__spec__free_unpacked(spec, NULL);
}

static void check_spec(Grpc__Spec *spec)
{
	_cleanup_json_ struct json_object *json = NULL;

	if (oci_spec_to_json(spec, &json, NULL) < 0)
		abort();
	check_stable(json);
	grpc__spec__free_unpacked(spec, NULL);
}

static void check_document(uint8_t kind, struct json_object *json)
{
	Grpc__Spec wrap = GRPC__SPEC__INIT;
	Grpc__Linux linux = GRPC__LINUX__INIT;
	_cleanup_json_ struct json_object *out = NULL;
	Grpc__LinuxResources *res = NULL;
	Grpc__Process *process = NULL;
	Grpc__Spec *spec = NULL;
	unsigned int dropped = 0;

	if (kind == 's' && oci_spec_from_json(json, &spec, count, &dropped, NULL) == 0)
		check_spec(spec);
	if (kind == 'p' && oci_process_from_json(json, &process, NULL) == 0) {
		wrap.process = process;
		if (oci_spec_to_json(&wrap, &out, NULL) < 0)
			abort();
		check_stable(out);
		grpc__process__free_unpacked(process, NULL);
	}
	if (kind == 'r' && oci_resources_from_json(json, &res, NULL) == 0) {
		wrap.linux = &linux;
		linux.resources = res;
		if (oci_spec_to_json(&wrap, &out, NULL) < 0)
			abort();
		check_stable(out);
		grpc__linux_resources__free_unpacked(res, NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ struct json_object *json = NULL;
	_cleanup_free_ char *text = NULL;
	Grpc__Spec *spec;

	if (size < 1)
		return 0;
	if (data[0] == 'w') {
		spec = grpc__spec__unpack(NULL, size - 1, data + 1);
		if (spec)
			check_spec(spec);
		return 0;
	}
	text = xmalloc(size);
	memcpy(text, data + 1, size - 1);
	if (json_parse("input", text, size - 1, 32, &json, NULL) == 0)
		check_document(data[0], json);
	return 0;
}
