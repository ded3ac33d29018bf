/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting connections until one is told to stop, whoever else has the socket. */
#pragma once

/* How long one waits after a failure where no connection ends before: for memory or
 * descriptors of others. */
#define LISTENER_RETRY_MS 1000

/*
 * The next connection at listen_fd, which is non-blocking (listener_prepare()): a
 * descriptor that blocks and is O_CLOEXEC, -ECANCELED once stop_fd (an eventfd) is
 * readable, or another errno. One that hung up before it was accepted is passed over.
 */
int listener_accept(int listen_fd, int stop_fd);
int listener_prepare(int listen_fd); /* 0 or a negative errno */
