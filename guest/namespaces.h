/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of other containers, as a spec names them. */
#pragma once

#include <json-c/json.h>

#include "base/err.h"
#include "guest/sandbox.h"

/* One of each type there is. */
#define NAMESPACES_MAX 8

/* What keeps them until crun has joined them. A zeroed one has none. */
struct namespaces {
	int fds[NAMESPACES_MAX];
	unsigned int n;
};

/*
 * Replaces AGENT_NAMESPACES_DIR/<container>/<file> in linux.namespaces of a spec, which
 * is what the container's first process has in /proc/<pid>/ns, by a path that crun can
 * open until namespaces_close(). Any other path is refused. Close it after a failure,
 * too.
 */
int namespaces_open(struct sandbox *s, struct json_object *spec, struct namespaces *ret,
	struct err *err);
void namespaces_close(struct namespaces *all);
