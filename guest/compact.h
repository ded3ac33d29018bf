/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's half of a template's compaction: free memory holds zeros. */
#pragma once

#include "base/err.h"

/* The word on the kernel's command line that asks for it; vm/ gives it to a template
 * only. */
#define COMPACT_WORD "stencil.compact"

/*
 * Drops the caches and writes zeros over free memory, if the command line asks for it.
 * The host punches pages of zeros out of the saved memory file, so that a template
 * stores, and its clones share, only what is in use. Before the first answer, so that
 * nobody needs to ask for it.
 */
int compact_guest(struct err *err);
