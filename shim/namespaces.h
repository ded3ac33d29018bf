/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces of a spec: whose they are, and which of them the guest gets to see. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The VM is the pod: the guest's own ipc, uts and network namespaces are those that the
 * pod's containers share. The first container makes or names them, as it would on the
 * host; the further ones name them by a path. On the host they are the namespaces that
 * the pod's stand-ins are in (standin.h), and are known by what they are, whatever the
 * path. Those below /proc/<pid>/ns of a stand-in are its container's. In the guest's spec
 *
 *   - what is the pod's is left out: a container without it is in the guest's;
 *   - what is another container's own is AGENT_NAMESPACES_DIR/<container>/<file>, "file"
 *     as in /proc/<pid>/ns;
 *   - what has no path is a new one.
 *
 * The host's own, and those of processes that are not the pod's, are refused.
 */

/* Is this (of a file in nsfs) the namespace of that type of process 1, or of this one?
 * type: as in a spec ("network", "mount", …). */
bool namespace_is_hosts(const char *type, const struct stat *st);

/* Of "/proc/7/ns/ipc" and all paths that lead there: 7. Of others 0. */
pid_t namespace_pid_of_path(const char *path);

/* -EPERM with this ending for each refusal. */
int namespace_refuse(const char *type, const char *path, struct err *err);

/* A process of the host by whose pid a spec may name namespaces of the pod. */
struct namespace_task {
	pid_t pid;
	const char *container; /* NULL: the pod's own, with all that is shared */
	unsigned int apart;    /* of its container, see below */
};

struct namespace_pod {
	const struct namespace_task *tasks;
	unsigned int n_tasks;
	bool is_new;        /* the container is its first */
	int ipc_fd, uts_fd; /* its namespaces on the host; -1: none yet */
};

struct namespace_fit {
	unsigned int apart; /* a bit for each type in which it is not in the guest's */
	bool own_users;     /* … and it has users of its own */
	bool sandbox_pidns; /* it wants the pid namespace that the agent has */
	/* Those that a new pod's spec names, the caller's; else -1: new ones. */
	int ipc_fd, uts_fd;
};

/* Fits linux.namespaces of config.json, and with them hostname and domainname. */
int namespaces_fit(struct json_object *spec, const struct namespace_pod *pod,
	struct namespace_fit *ret, struct err *err);
