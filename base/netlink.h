/* SPDX-License-Identifier: Apache-2.0 */
/* libnl's errors as ours. What uses it is linked with libnl. */
#pragma once

#include "base/err.h"

/*
 * An error of libnl's (negative) as a negative errno, with its sentence behind ours:
 * "<fmt>: <libnl's>". Those that no errno stands for are -EIO.
 */
int netlink_err(struct err *err, int nl_error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
