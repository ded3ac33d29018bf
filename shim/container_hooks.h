/* SPDX-License-Identifier: Apache-2.0 */
/* When a container's hooks of the host (hooks.h) run. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct container;
struct errand;

/*
 * None of them holds up another request, or the pod's end, which ends it: prestart and
 * createRuntime run in the errand of the container's creation, when the process that
 * stands for it is there and before the pod's network is looked at, so that they can make
 * it; poststart after the start and before its answer, until the container is deleted;
 * poststop likewise with its removal, also of one that could not be made.
 */
bool container_has_create_hooks(const struct container *c);
int container_run_create_hooks(
	const struct container *c, struct errand *errand, struct err *err);
void container_run_poststart(const struct container *c);
void container_end_poststart(const struct container *c);
void container_run_poststop(const struct container *c);
