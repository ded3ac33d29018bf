/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of templated and of its children. */
#pragma once

#include "base/err.h"

/*
 * For this process and for all that it will execute: QEMU, which adds a narrower filter
 * (vm/qemu_filter.h), also to one that a pod gets from the cache; mkfs.erofs, which adds
 * one; and both of them once more, to tell their version. After privileges_cut(), before
 * there are threads.
 */
int own_filter_enter(struct err *err);
