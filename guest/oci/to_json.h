/* SPDX-License-Identifier: Apache-2.0 */
/* The agent protocol's OCI messages as the JSON that crun reads. */
#pragma once

#include <json-c/json.h>

#include "agent-client/proto/oci.pb-c.h"
#include "base/err.h"

/*
 * Empty fields are left out, except those that the OCI schema requires. A message that
 * came from JSON by oci_..._from_json() gives the same JSON again, without the keys that
 * were dropped then. *ret is the caller's.
 */
int oci_spec_to_json(const Grpc__Spec *spec, struct json_object **ret, struct err *err);
int oci_process_to_json(
	const Grpc__Process *process, struct json_object **ret, struct err *err);
