/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules: the list that came with the initramfs, loading by finit_module(2). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * One module a line, in the order of their dependencies: "[boot|later] <absolute path>
 * [parameters]". boot and later modules are both loaded before the agent serves (a
 * template must hold them), boot ones first: they lead to the channel. A third marker,
 * "ask", is for those that a CreateSandbox names in kernel_modules. No marker means boot.
 * Empty lines and lines starting with # say nothing.
 */
#define MODULE_LIST     "/lib/modules/stencil.list"
#define MODULE_LIST_MAX 65536

enum module_when {
	MODULE_BOOT,
	MODULE_LATER,
	MODULE_ASK,
};

struct module_line {
	enum module_when when;
	const char *path, *params; /* params: "" for none */
};

/*
 * Takes the next module line off *text (which is cut into strings): 1, 0 at the end, or
 * -EINVAL with the line quoted.
 */
int module_line_next(char **text, struct module_line *ret, struct err *err);

/* "…/virtio-net.ko" is the module "virtio_net": whether `name` (with - or _) names it. */
bool module_path_has_name(const char *path, const char *name);

/* Loads what the list marks boot, then later, and removes their files, which nobody needs
 * again. No list is fine: the kernel has all built in. */
int modules_load_listed(struct err *err);
/* Loads one module of the list by name; fine if it is in the kernel already. */
int module_load(const char *name, const char *params, struct err *err);
