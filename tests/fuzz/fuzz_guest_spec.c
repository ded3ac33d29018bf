/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent makes of a container's spec: a CreateContainer request on the wire if
 * the first byte is w, else a document behind it. What is accepted holds nothing of the
 * host's, and is left alone the second time.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/json.h"
#include "base/util.h"
#include "guest/init.h"
#include "guest/oci/to_json.h"
#include "guest/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_object *member(struct json_object *obj, const char *key)
{
	struct json_object *found = NULL;

	if (json_object_is_type(obj, json_type_object))
		json_object_object_get_ex(obj, key, &found);
	return found;
}

static void check_adapted(struct json_object *spec, bool has_pidns)
{
	const char *root = json_object_get_string(member(member(spec, "root"), "path"));
	struct json_object *list = member(member(spec, "linux"), "namespaces");
	unsigned int n_pid = 0;

	if (!path_is_below(root, GUEST_SHARED_ROOT))
		abort();
	for (size_t i = 0; has_pidns && i < json_object_array_length(list); i++) {
		struct json_object *ns = json_object_array_get_idx(list, i);
		const char *type = json_object_get_string(member(ns, "type"));

		n_pid += type && strcmp(type, "pid") == 0;
	}
	if (n_pid != has_pidns)
		abort();
}

static void adapt(struct json_object *spec, bool has_pidns)
{
	const struct spec_place place = {
		.container_id = "c", .pidns_path = has_pidns ? "/proc/2/ns/pid" : NULL};
	_cleanup_json_ struct json_object *first = NULL;
	struct err err = ERR_INIT;

	if (spec_adapt(spec, &place, &err) < 0) {
		if (err.code >= 0 || !*err.text)
			abort();
		return;
	}
	check_adapted(spec, has_pidns);
	if (json_object_deep_copy(spec, &first, NULL) < 0 ||
		spec_adapt(spec, &place, NULL) < 0 || !json_object_equal(spec, first))
		abort();
}

static void adapt_wire(const uint8_t *data, size_t size)
{
	Grpc__CreateContainerRequest *req =
		grpc__create_container_request__unpack(NULL, size, data);
	_cleanup_json_ struct json_object *spec = NULL;

	if (req && req->oci && oci_spec_to_json(req->oci, &spec, NULL) == 0)
		adapt(spec, req->sandbox_pidns);
	if (req)
		grpc__create_container_request__free_unpacked(req, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ struct json_object *json = NULL;
	_cleanup_free_ char *text = NULL;

	if (size < 1)
		return 0;
	if (data[0] == 'w') {
		adapt_wire(data + 1, size - 1);
		return 0;
	}
	text = xstrndup((const char *)data + 1, size - 1);
	if (json_parse("input", text, strlen(text), 32, &json, NULL) == 0) {
		spec_adapt_process(member(json, "process"));
		adapt(json, data[0] == 'p');
	}
	return 0;
}
