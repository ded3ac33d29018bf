/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest generation occupies, from its files alone. */
#pragma once

#include "base/json.h"

/* {"generation", "resident_bytes", "state_bytes"}, the caller's; NULL where there is none
 * or it may not be looked at. Needs no templated, changes nothing. */
struct json_object *measured_newest(const char *template_path);
