/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that config.json wants run at points of a container's life ("hooks"): those of
 * the host. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The contract is that of the OCI runtime-spec: such a program begins in the bundle, in
 * the host's namespaces, and reads the container's state as JSON from its standard input.
 * The pid in it is that of the process which stands for the container's first one
 * (standin.h), so that the pod's network namespace can be found by it. As with runc a
 * hook without `env` has the environment of the shim, one without `args` its path as its
 * only argument.
 *
 * createContainer and startContainer are run by crun in the guest: spec_guest.h.
 */
enum hook_point {
	HOOK_PRESTART,
	HOOK_CREATE_RUNTIME,
	HOOK_POSTSTART,
	HOOK_POSTSTOP,
	HOOK_POINTS,
};

struct hooks;

/* Of a whole config.json, checked; NULL: it has none of these. */
int hooks_read(struct json_object *spec, struct hooks **ret, struct err *err);
void hooks_free(struct hooks *hooks); /* NULL is fine */

bool hooks_has(const struct hooks *hooks, enum hook_point point); /* NULL is fine */

struct hook_call {
	const char *container_id, *bundle;
	pid_t pid;   /* 0: it has ended */
	int void_fd; /* once it is readable, nobody wants them any more */
};

/*
 * Runs those of a point one after the other. Of prestart and createRuntime the first
 * failure is the outcome, and names hook and status; of the others each failure is
 * logged, and the next one is run. -ECANCELED: nobody wants them any more, and the one
 * that ran is killed with its process group.
 */
int hooks_run(const struct hooks *hooks, enum hook_point point,
	const struct hook_call *call, struct err *err);
