/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides do with daemon_status()'s answer. */
#pragma once

#include "base/json.h"

/* Bytes of a status that leave room for the reply around it. */
#define STATUS_BYTES_MAX (60u << 10)

/* Takes out of a status what makes it too long, and then adds "truncated": true. */
void status_fit(struct json_object *status);
