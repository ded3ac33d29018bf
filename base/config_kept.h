/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration in force, beside templated's socket, for who finds an error in the
 * file. */
#pragma once

#include "base/config.h"
#include "base/err.h"

/*
 * templated goes on with the configuration that it has when a wrong line appears in
 * the file or in a drop-in. So that pods and templatectl go on with it, too, it writes
 * what is in force to <template_endpoint>.conf, with the name of the file that it comes
 * from, and removes that when it ends.
 */
int config_keep(const struct config *c, struct err *err);
void config_forget(const struct config *c);

/*
 * config_load_default(), or, where that fails, what is kept of the same file. The first
 * failure is then in *refused, for the caller to say loudly, and 0 is returned;
 * *refused is empty otherwise. *c is initialized. template_endpoint is what can be
 * understood of it.
 */
int config_load_or_kept(
	struct config *c, const char *path, struct err *refused, struct err *err);
