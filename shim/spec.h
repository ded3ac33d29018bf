/* SPDX-License-Identifier: Apache-2.0 */
/* A container's config.json: what the host must know of it. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Hostile input: at most this many bytes, and json.h's strictness at this depth. */
#define SPEC_BYTES_MAX (4u << 20)
#define SPEC_DEPTH_MAX 32
#define SPEC_FILE      "config.json"

struct spec {
	struct json_object *json;
	/* Borrowed from json. */
	struct json_object *process;
	/* Of the pod that it is in; NULL: it is a sandbox itself. */
	const char *sandbox_id;
	bool is_pause;            /* it is there to hold a pod, as its CRI says */
	bool of_cri;              /* one of the kinds of CRI made it … */
	const char *cgroups_path; /* … in this cgroup; "" if none is named */
	const char *hostname;     /* "" if none */
	const char *root_path;    /* as written: relative to the bundle, or absolute */
	bool root_readonly;
	const char *netns; /* path; "" is a new and so empty one; NULL: the host's */
	/* Limits; 0: none. */
	uint64_t cpu_millis; /* thousandths of a CPU */
	uint64_t memory_bytes;
	uint64_t cpu_shares; /* against others, as cgroup v1 counts; 0: nothing is said */
	int oom_score_adj;   /* of its processes on a host */
};

/* Reads and checks config.json in a bundle: an object with a process that has args, and a
 * root. */
int spec_load(int bundle_fd, struct spec *ret, struct err *err);
void spec_done(struct spec *spec);
