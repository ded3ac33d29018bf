/* SPDX-License-Identifier: Apache-2.0 */
/* Lock files: one templated for one path. */
#pragma once

#include "base/err.h"

/*
 * Takes <path>.lock for as long as this process lives or until lock_drop(), and writes
 * our pid into it; the folder is made if it is missing. Somebody else's is -EBUSY, and
 * the text names `what` (the configuration key), the path and the other's pid.
 */
int lock_take(const char *what, const char *path, int *ret_fd, struct err *err);
/* Removes the file and closes the descriptor. */
void lock_drop(const char *path, int fd);
