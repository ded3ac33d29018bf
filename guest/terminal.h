/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal's output, gathered in a pipe, as a process without a terminal has one. */
#pragma once

#include "base/err.h"

/*
 * Starts a thread that moves what is written to a terminal from its master's side,
 * which has O_NONBLOCK and stays the caller's, into a pipe whose reading end is
 * *ret_fd, the caller's, with O_NONBLOCK. The pipe ends when nobody has the terminal
 * open any more. The thread, and with it its descriptor of the master, ends when that
 * is so or *ret_fd is closed.
 */
int terminal_gather(int master_fd, int *ret_fd, struct err *err);
