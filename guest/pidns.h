/* SPDX-License-Identifier: Apache-2.0 */
/* The pid namespace that containers of one pod may share. */
#pragma once

#include "base/err.h"
#include "guest/sandbox.h"

/*
 * Makes the namespace if there is none, or none any more: its first process does nothing
 * but reap, and lives until pidns_end(). *ret_path ("/proc/<pid>/ns/pid") is the caller's
 * to free().
 */
int pidns_get(struct sandbox *s, char **ret_path, struct err *err);
void pidns_end(struct sandbox *s);
