/* SPDX-License-Identifier: Apache-2.0 */
/* One build: from the inputs to a published generation. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "templated/builder.h"

struct build {
	struct daemon *daemon;
	enum build_how how;
	struct manifest avoid;     /* BUILD_AUTO: inputs not worth trying; empty: none */
	struct manifest inputs;    /* once they are known; the builder's to free */
	struct settings *settings; /* while it runs */
	/* Called at each step; a negative result ends the build with it. */
	int (*at_step)(void *user, enum build_step step);
	void *user;
	bool cancelled; /* the builder's, under its lock */
	char *dir;      /* of the VM; set before BUILD_BOOTING is announced, the
			 * builder's to free */
};

/* Returns 0 with *ret filled, or ret->err's code. */
int build_run(struct build *build, struct build_result *ret);

/* Undoes what a killed templated left of its VMs, below <state_dir>/.templated. */
int build_recover(const struct config *c, struct err *err);
