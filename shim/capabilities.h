/* SPDX-License-Identifier: Apache-2.0 */
/* The capabilities of the serving process. */
#pragma once

#include "base/err.h"

/*
 * Gives up, for this process, all but those that it uses. Before there are threads. One
 * that the process does not have is not missed here; what needs it will say so.
 *
 * The bounding set stays: programs that it executes and does not confine itself (hooks,
 * loggers, containerd's publisher) get as root what the shim was started with, as they
 * would from runc. So this is a wall against a call that is made in the shim by mistake
 * or by force, not against one who can execute a program in it.
 */
int capabilities_cut(struct err *err);
