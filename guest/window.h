/* SPDX-License-Identifier: Apache-2.0 */
/* The window: memory that the guest and its file server both see (files/wire.h). */
#pragma once

#include <stddef.h>

#include "base/err.h"

/*
 * Finds the device, asking the kernel to look for it where it knows of none, and maps its
 * memory: FILES_WINDOW_BYTES at *ret, for as long as the agent runs.
 */
int window_open(void **ret, struct err *err);

/* Copies out of the window and into it; what was copied in is there for the host when
 * window_write() returns. */
void window_read(void *to, const void *from, size_t len);
void window_write(void *to, const void *from, size_t len);
