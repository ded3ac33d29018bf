/* SPDX-License-Identifier: Apache-2.0 */
/* One build: from the inputs to a published generation. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "templated/builder.h"
#include "vm/vm.h"

struct build {
	struct daemon *daemon;
	enum build_how how;
	struct manifest avoid;     /* BUILD_AUTO: inputs not worth trying; empty: none */
	struct manifest inputs;    /* once they are known; the builder's to free */
	struct settings *settings; /* while it runs */
	/* Called at each step; false: the build is cancelled, and ends. */
	bool (*at_step)(void *user, enum build_step step);
	/* Called with the VM before it starts, and with NULL before it is freed: whoever
	 * cancels may vm_kill() it between the two. */
	void (*holds)(void *user, struct vm *vm);
	void *user;
};

/* Returns 0 with *ret filled, or ret->err's code. */
int build_run(struct build *build, struct build_result *ret);
