/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod may set itself, by annotations io.stencil.<section>.<key>. */
#pragma once

#include "base/config.h"
#include "base/err.h"
#include "shim/spec.h"

#define ANNOTATION_PREFIX "io.stencil."

/*
 * Sets keys of *config, which is the administrator's, as the annotations say. Whoever
 * writes a pod is not trusted, so:
 * - only names in enable_annotations may be set, and that key knows none that would
 *   choose what runs on the host, or where, or how long others wait: programs, paths,
 *   accel, time-outs;
 * - the administrator's values are ceilings: no more vCPUs or memory than they allow, no
 *   template where they want none, no cold boot where they want strict.
 * Anything else beginning with the prefix is an error that names it: what somebody asked
 * for does not just not happen.
 */
int annotations_apply(const struct spec *spec, struct config *config, struct err *err);
