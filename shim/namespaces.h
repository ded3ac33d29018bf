/* SPDX-License-Identifier: Apache-2.0 */
/* The host's own namespaces, which no container may name: known by what they are, not by
 * the path that leads to them. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

/* Is this (of a file in nsfs) the namespace of that type of process 1, or of this one?
 * type: as in a spec ("network", "mount", …). */
bool namespace_is_hosts(const char *type, const struct stat *st);

/* -EPERM with this ending for each refusal. */
int namespace_refuse(const char *type, const char *path, struct err *err);

/*
 * Each namespace of a spec that has a path: none may be the host's, by whatever path.
 * Those below /proc/<pid>/ns are fine for the pids that containerd knows tasks of this
 * pod by: so a pod's containers name the namespaces that they share. spec: config.json.
 */
int namespaces_check(
	struct json_object *spec, const pid_t *own, unsigned int n_own, struct err *err);
