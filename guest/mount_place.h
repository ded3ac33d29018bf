/* SPDX-License-Identifier: Apache-2.0 */
/* Where a mount lands in a root file system whose symbolic links lead to nothing yet. */
#pragma once

#include "base/err.h"

/*
 * crun makes the folders that a mount's destination lacks, but not those that a symbolic
 * link on the way points to ("/link/data" with /link -> /not/there). This follows the
 * links within the root by name: *ret, the caller's to free(), is the same place in a
 * path without links, of which any part may be missing. NULL: the destination can be
 * used as it is, or fails for another reason, which is crun's to tell. Nothing is made.
 */
int mount_place_find(
	const char *root, const char *destination, char **ret, struct err *err);
