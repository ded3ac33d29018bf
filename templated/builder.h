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

/* Weaker ones first. */
enum build_how {
	/* Nobody asked: as the next, but not what failed the last time with the same
	 * inputs, and nothing after builder_cancel(). */
	BUILD_AUTO = -1,
	BUILD_LOOK,  /* unless there is a sound generation that is up to date */
	BUILD_FORCE, /* in any case; the old one serves meanwhile */
	BUILD_NOW,   /* the same, with the old one retired first */
};

const char *build_step_name(enum build_step step); /* "booting", "agent up", … */

struct builder *builder_new(struct daemon *d);
/* Ends a build that runs (its QEMU is killed), and waits for it. */
void builder_free(struct builder *b);

/*
 * Starts a build, or where one runs has another one follow it: the inputs of the one that
 * runs may be older than the request. All who ask meanwhile share that one. BUILD_NOW
 * ends the one that runs, for the same reason; those who follow it get the next.
 * *ret_ticket names the build for builder_follow(). Fails after builder_close().
 */
int builder_start(
	struct builder *b, enum build_how how, uint64_t *ret_ticket, struct err *err);

/* What there is was found to be old: BUILD_AUTO, unless a build runs or is to follow, or
 * the last one failed with these inputs. */
void builder_nudge(struct builder *b, const struct manifest *want);

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

/* Ends the build that runs, if there is one, and returns when it has ended. None starts
 * by itself until somebody asks for one. */
void builder_cancel(struct builder *b);

/* The same, and starts none any more. */
void builder_close(struct builder *b);

/* A sentence on why there is no template: being built, why the last build failed, …
 * Returns whether one is being built. */
bool builder_excuse(struct builder *b, char *buf, size_t size);

/* {"running", "step", "ms", "phases", "queued", "last": {"ok", "error", "generation",
 * "ms", "age_s", "phases"}}; "last" is of those that built or failed, "phases" is
 * {<step>: ms}. */
struct json_object *builder_status(struct builder *b);
