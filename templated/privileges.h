/* SPDX-License-Identifier: Apache-2.0 */
/* The capabilities that templated keeps. */
#pragma once

#include "base/err.h"

/*
 * Cuts the capabilities of this process, bounding set included, to those that it needs,
 * and forbids gaining others. Before there are threads. One that the process does not
 * have is not missed here; what needs it will say so.
 */
int privileges_cut(struct err *err);
