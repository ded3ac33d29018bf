/* SPDX-License-Identifier: Apache-2.0 */
/* A status as metrics, in Prometheus' text exposition format. */
#pragma once

#include <stdio.h>

#include "base/json.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Writes every metric with its HELP and TYPE; a sample that the status does not have is
 * left out. status: daemon_status()'s. */
void metrics_print(struct json_object *status, FILE *out);
