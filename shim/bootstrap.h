/* SPDX-License-Identifier: Apache-2.0 */
/* What `start` and -info tell containerd of this shim. */
#pragma once

#include <stddef.h>

#include "base/config.h"
#include "base/err.h"
#include "shim/cmdline.h"

/*
 * The answer of `start`. containerd 2 and later reads JSON that says which version of
 * the Task service the address has; with version 3 it uses the address for the
 * containers of the pod, too, and the Sandbox service. An earlier one knows the address
 * alone (1.6), or refuses the version (1.7). It does not say which one it is, its
 * environment is the same for both: so the program that it names by -publish-binary,
 * which is itself, is asked, once for each that is installed; the answer is kept in
 * <state_dir>/.containerd. One that cannot be asked gets the address, which all
 * understand. The caller's to free().
 */
char *bootstrap_answer(
	const struct cmdline *cmd, const struct config *c, const char *address);

/* The major number in what `containerd --version` says, or 0. */
unsigned int bootstrap_major(const char *line);

/* A packed containerd.types.RuntimeInfo, the caller's. */
void bootstrap_info(void **ret_data, size_t *ret_len);
