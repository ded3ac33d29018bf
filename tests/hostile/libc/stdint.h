/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's header of that name, as far as a kernel has it: for files/wire.h. */
#pragma once

#include <linux/types.h>
