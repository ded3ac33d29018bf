/* SPDX-License-Identifier: Apache-2.0 */
/* What stands for files that are gone: two empty folders and an empty file. */
#pragma once

#include "base/err.h"

/*
 * They lie in read-only file systems of their own, which nobody else can reach, and are
 * named by O_PATH descriptors. In a replay (files/replay.h) the guest sees them under the
 * name of something that it never knew and that is not there any more.
 */
struct blanks {
	int elsewhere, folder, file;
};

/* Needs CAP_SYS_ADMIN. The descriptors stay for as long as the process is there. */
int blanks_open(struct blanks *ret, struct err *err);
