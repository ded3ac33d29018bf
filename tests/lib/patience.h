/* SPDX-License-Identifier: Apache-2.0 */
/* The one deadline of all tests, for a wait that something is to end. */
#pragma once

#include "base/util.h"

/* It tells a test that hangs from a machine that is slow, and is no measure of anything:
 * a calm machine's longest wait is for a template that is built in emulation, some ten
 * seconds. The worlds' guests, QEMUs and containerd get as long. instance.sh reads this
 * line, too. */
#define PATIENCE_SECONDS 600
#define PATIENCE_MS      (PATIENCE_SECONDS * 1000)

static inline int64_t soon(void)
{
	return deadline_after_ms(PATIENCE_MS);
}

/* A deadline that is to pass, and not before the thread that waits, and one that it talks
 * to, have done a few steps. */
static inline int64_t too_soon(void)
{
	return deadline_after_ms(1000);
}
