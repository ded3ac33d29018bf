/* SPDX-License-Identifier: Apache-2.0 */
/* A process that only waits: what holds a pid namespace, and a pause container's. */
#pragma once

#include <stdbool.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"
#include "guest/child.h"
#include "guest/sandbox.h"

struct pause_config {
	bool own_pidns; /* it is the first one of a new pid namespace, and reaps there */
	bool obeys;     /* SIGTERM and SIGINT end it with 0, as Kubernetes' pause */
	int cgroup_fd;  /* where it begins; -1: where we are */
};

int pause_start(const struct pause_config *config, struct child *ret, struct err *err);

/*
 * A pod's pause container holds what the pod shares, and of that the guest has all but
 * the pid namespace: it needs neither files nor crun. The host says which container is
 * one, by AGENT_PAUSE_ANNOTATION in its spec.
 */
bool pause_is_asked(const Grpc__CreateContainerRequest *req);
/* Its sysctls, its cgroup, and its process as the container's first. */
int pause_create(struct sandbox *s, struct container *c,
	const Grpc__CreateContainerRequest *req, struct err *err);
