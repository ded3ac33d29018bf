/* SPDX-License-Identifier: Apache-2.0 */
/* Containers that ran out of memory. */
#pragma once

#include "guest/sandbox.h"

/* Tells GetOOMEvent of the container's memory.events; a container without them (no memory
 * controller) has no such events. */
void oom_watch(struct sandbox *s, struct container *c);
/* Before the container is removed: what was not told yet is kept for the next
 * GetOOMEvent. */
void oom_unwatch(struct sandbox *s, struct container *c);
