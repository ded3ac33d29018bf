/* SPDX-License-Identifier: Apache-2.0 */
/* A pod that the Sandbox API makes and ends, and not its first and last container. */
#pragma once

#include <json-c/json.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "shim/pod.h"
#include "shim/proto/containerd_sandbox.pb-c.h"
#include "shim/spec_guest.h"

/*
 * With `sandboxer = "shim"` containerd's CRI has no pause container: it says here what
 * the pod is, gets a VM of that size, and makes its containers in it. What it else
 * prepares for a pause container to hold (hosts, hostname, resolv.conf) is made here,
 * in the pod's state folder.
 */
struct sandbox {
	char *hostname, *netns;
	struct json_object *sysctls; /* name: value, as in a spec; not NULL */
	struct timespec created_at, exited_at;
	bool started, ended; /* under the pod's lock, as is exited_at */
	int end_fd;          /* readable when it has ended */
};

/* Takes down what the pod is to be; nothing of it is there yet. */
int sandbox_create(struct pod *pod,
	const Containerd__Runtime__Sandbox__V1__CreateSandboxRequest *request,
	struct err *err);
/* The VM, of the pod's size at once. */
int sandbox_start(struct pod *pod, struct err *err);
/* The VM ends, and with it what still runs. Fine if it has ended. */
int sandbox_stop(struct pod *pod, struct err *err);
/* Nothing is left of the pod and its containers; the shim is about to end. */
int sandbox_shutdown(struct pod *pod, struct err *err);

/* For whoever ends the VM, under the pod's lock. Fine for a pod without a sandbox. */
void sandbox_note_end_locked(struct pod *pod);
void sandbox_free(struct sandbox *s); /* NULL is fine */

/* A bind mount of a file that a pause container's CRI would have made is one of the
 * pod's. */
void sandbox_redirect_binds(const struct pod *pod, struct guest_spec *spec);
/* The agent's protocol has sysctls in a container's spec alone: the first container
 * brings the pod's. config: config.json. */
void sandbox_add_sysctls(struct pod *pod, struct json_object *config);
