/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: one build at a time, however many ask. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "mm/generation.h"

struct daemon;
struct builder;

enum build_step {
	BUILD_STARTING,
	BUILD_BOOTING,
	BUILD_AGENT_UP,
	BUILD_COMPACTING,
	BUILD_SAVED,
	BUILD_STEPS,
};

const char *build_step_name(enum build_step step); /* "booting", "agent up", … */

struct builder *builder_new(struct daemon *d);
/* Ends a build that runs (its QEMU is killed), and waits for it. */
void builder_free(struct builder *b);

/*
 * Starts a build, or joins the one that runs. force: build even if the current generation
 * is sound and up to date. *ret_ticket names it for builder_follow(). -ECANCELED after
 * builder_close().
 */
int builder_start(struct builder *b, bool force, uint64_t *ret_ticket, struct err *err);

struct build_result {
	bool built; /* false: what was there is up to date */
	char id[GENERATION_ID_SIZE];
	int code; /* 0, or negative with the reason in err */
	struct err err;
};

/*
 * Waits until the build has gone beyond step *step (updated: true is returned), or has
 * ended: false and *ret. Begin with BUILD_STARTING.
 */
bool builder_follow(struct builder *b, uint64_t ticket, enum build_step *step,
	struct build_result *ret);

/* Ends the build that runs, if there is one, and returns when it has ended. */
void builder_cancel(struct builder *b);

/* The same, and starts none any more. */
void builder_close(struct builder *b);

/* A sentence on why there is no template: being built, why the last build failed, …
 * Returns whether one is being built. */
bool builder_excuse(struct builder *b, char *buf, size_t size);

/* {"running", "step", "ms", "last": {"ok", "error", "generation", "ms", "age_s"}} */
struct json_object *builder_status(struct builder *b);
