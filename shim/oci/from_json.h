/* SPDX-License-Identifier: Apache-2.0 */
/* OCI documents (config.json, an exec's process, resources) as the agent's messages. */
#pragma once

#include <json-c/json.h>

#include "agent-client/proto/oci.pb-c.h"
#include "base/err.h"

/*
 * JSON names and message field names are matched ignoring case, with a short table for
 * those that differ (agent-client/oci/fields.c). A type that does not fit is an error
 * that names its path ("process.user.uid is of type string; it must be an integer"). A
 * key that the messages don't know is left out, as the wire has no place for it, and its
 * path is given to `dropped` once, if that is not NULL.
 *
 * *ret is the caller's: grpc__spec__free_unpacked() and the like.
 */
int oci_spec_from_json(struct json_object *json, Grpc__Spec **ret,
	void (*dropped)(void *user, const char *path), void *user, struct err *err);
int oci_process_from_json(struct json_object *json, Grpc__Process **ret, struct err *err);
int oci_resources_from_json(
	struct json_object *json, Grpc__LinuxResources **ret, struct err *err);
