/* SPDX-License-Identifier: Apache-2.0 */
/* Where mkfs.erofs is. */
#pragma once

#include "base/err.h"

/* In templated's PATH, links followed; *ret is the caller's. -ENOENT: nowhere. */
int image_program_find(char **ret, struct err *err);
