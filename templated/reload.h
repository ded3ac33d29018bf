/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping up with the world: the configuration and the template's inputs are followed. */
#pragma once

#include "templated/daemon.h"

/*
 * Reads the configuration again. A bad one is refused, with file and line in the log and
 * in the status, and the one in force stays; so do values that only a restart can change,
 * with a warning. Not for two threads at once.
 */
void reload_config(struct daemon *d);
/* What is in force, for pods and templatectl (base/config_kept.h). */
void reload_keep_config(const struct config *c);

struct reload;

/* Watches QEMU, its firmware, the guest's files and the configuration: once a change has
 * settled, the configuration is read again and a build started if it is needed. */
int reload_start(struct daemon *d, struct reload **ret, struct err *err);
/* The same as for a change, at once; and what has failed before is tried again. For
 * SIGHUP. */
void reload_now(struct reload *r);
void reload_stop(struct reload *r); /* NULL is fine */
