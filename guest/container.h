/* SPDX-License-Identifier: Apache-2.0 */
/* Containers: making, starting, changing and removing them. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "guest/sandbox.h"

/* Removes every container there is; stops at the first that can't be. */
int container_remove_all(struct sandbox *s, int64_t deadline, struct err *err);
