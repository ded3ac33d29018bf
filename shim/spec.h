/* SPDX-License-Identifier: Apache-2.0 */
/* A container's config.json: what the host must know of it, and what of it goes to the
 * guest. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "shim/oci/from_json.h"

/* Hostile input: at most this many bytes, and json.h's strictness at this depth. */
#define SPEC_BYTES_MAX (4u << 20)
#define SPEC_DEPTH_MAX 32
#define SPEC_FILE      "config.json"

struct spec {
	struct json_object *json;
	/* Borrowed from json. */
	struct json_object *process;
	const char *sandbox_id; /* of the pod it is a part of; NULL: it is a sandbox of
				   its own */
	const char *hostname;   /* "" if none */
	const char *root_path;  /* as written: relative to the bundle, or absolute */
	const char *netns;      /* path; "" is a new and so empty one; NULL: the host's */
	/* Limits; 0: none. */
	uint64_t cpu_millis; /* thousandths of a CPU */
	uint64_t memory_bytes;
};

/* Reads and checks config.json in a bundle: an object with a process that has args, and a
 * root. */
int spec_load(int bundle_fd, struct spec *ret, struct err *err);
void spec_done(struct spec *spec);

/*
 * Annotations io.stencil.<section>.<key> set configuration keys of one sandbox. Those
 * that would let a pod choose what runs on the host, or where, can't be set; they and
 * unknown ones are errors.
 */
#define SPEC_ANNOTATION_PREFIX "io.stencil."
int spec_apply_annotations(
	const struct spec *spec, struct config *config, struct err *err);

/*
 * Bind mounts whose source is on the host. spec_for_guest() replaces each source by the
 * place where the guest finds it: AGENT_SHARED_DIR/<cid>/mounts/<n>, n from 0 in the
 * order of the spec.
 */
struct spec_bind {
	char *source;
	bool recursive, readonly;
};

/*
 * The spec as the agent gets it: root and binds by their places in the guest; without
 * what means something on the host only (namespace paths, cgroup path, hooks, devices,
 * labels, limits by the host's CPU and device numbers), each dropped thing logged once.
 * *ret_sandbox_pidns: it wants the pod's pid namespace. The caller owns *ret_spec
 * (grpc__spec__free_unpacked()) and *ret_binds (spec_binds_free()). Changes spec->json.
 */
int spec_for_guest(struct spec *spec, const char *cid, Grpc__Spec **ret_spec,
	struct spec_bind **ret_binds, unsigned int *ret_n_binds, bool *ret_sandbox_pidns,
	struct err *err);
void spec_binds_free(struct spec_bind *binds, unsigned int n);
#define SPEC_BINDS_MAX 256
