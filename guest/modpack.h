/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel modules that the guest has but has not loaded: packed, for when one is
 * wanted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * A container with the right capability makes a kernel load what it needs: the kernel
 * executes its modprobe, which is this agent under another name (modprobe_main()), in the
 * guest's own namespaces.
 *
 * The pack is a file of zstd frames, each of some modules of one folder behind each
 * other: half a megabyte of them is compressed far better than each alone, and is what a
 * load unpacks. In the initramfs it is memory, but a template's, that all clones share.
 * The index is text, in names with _ for -:
 *
 *   module NAME FRAME-OFFSET FRAME-BYTES OFFSET BYTES [DEPENDENCY]...
 *   alias PATTERN NAME
 *   node PATH c|b MAJOR MINOR
 *
 * The dependencies are all of them, in the order of loading; one that is not in the index
 * was loaded when the guest started. A pattern is one of fnmatch(3). A node is a device
 * file that makes the kernel ask for its module when it is opened.
 */
#define MODPACK_FILE  "/lib/modules/stencil.pack"
#define MODPACK_INDEX "/lib/modules/stencil.index"
/* What the kernel executes, as a link to the agent. */
#define MODPROBE_PATH "/sbin/modprobe"

/* Loads the modules whose name or alias is `name`, with what they depend on; `params` are
 * for those alone. 0 if all are in the kernel then; -ENOENT, with no text, if there is
 * none of that name. */
int modpack_load(const char *name, const char *params, struct err *err);

/* Whether a module has this alias, say "char-major-10-200". No pack has none. */
bool modpack_has_alias(const char *alias);

struct modpack_node {
	char path[64]; /* below /dev */
	char type;     /* 'c' or 'b' */
	unsigned int major, minor;
};
/* Calls fn for each node of the index. */
void modpack_nodes(void (*fn)(void *user, const struct modpack_node *node), void *user);

/* Has the kernel execute MODPROBE_PATH. Without a pack nothing changes. */
int modpack_init(struct err *err);
/* Whether this program was started as the kernel's modprobe. */
bool modprobe_is_asked(const char *argv0);
/* modprobe -q -- NAME: the exit status. */
int modprobe_main(int argc, char **argv);
