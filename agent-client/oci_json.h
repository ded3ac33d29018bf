/* SPDX-License-Identifier: Apache-2.0 */
/* The OCI runtime spec between its JSON (config.json) and the agent protocol's messages.
 */
#pragma once

#include <json-c/json.h>

#include "base/err.h"
#include "oci.pb-c.h"

/*
 * One converter driven by protobuf-c's descriptors serves both directions: JSON names and
 * message field names are matched ignoring case, with a short table for those that differ
 * (ociVersion). A type that does not fit is an error that names its path
 * ("process.user.uid"); a key the messages don't know is not carried over (the wire has
 * no place for it) and is reported to `dropped` once by path if that is given.
 */

/* *ret is the caller's: grpc__spec__free_unpacked(). */
int oci_spec_from_json(struct json_object *json, Grpc__Spec **ret,
	void (*dropped)(void *user, const char *path), void *user, struct err *err);
int oci_process_from_json(struct json_object *json, Grpc__Process **ret, struct err *err);
int oci_resources_from_json(
	struct json_object *json, Grpc__LinuxResources **ret, struct err *err);

/* Empty fields are left out, except those the OCI schema requires. *ret is the caller's.
 */
int oci_spec_to_json(const Grpc__Spec *spec, struct json_object **ret, struct err *err);
int oci_process_to_json(
	const Grpc__Process *process, struct json_object **ret, struct err *err);
int oci_resources_to_json(
	const Grpc__LinuxResources *res, struct json_object **ret, struct err *err);
