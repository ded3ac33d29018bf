/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections of the guest's that the host reads and writes by their ids. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* One that a process of the guest's has made: fd (O_NONBLOCK) is taken, also on failure.
 * The id is for ReadPort, WritePort and ClosePort. -EMFILE: there are too many. */
int dial_add_guests(int fd, uint64_t *ret_id, struct err *err);
