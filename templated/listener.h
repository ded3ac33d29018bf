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

/*
 * Accepts until it is told to stop. admit() gets each connection, and takes it. A failure
 * is logged once, until it is over, as that of "the <what> socket"; after one,
 * wait_for_room() returns when a connection has ended, or after LISTENER_RETRY_MS.
 */
void listener_run(int listen_fd, int stop_fd, const char *what,
	void (*admit)(void *user, int fd), void (*wait_for_room)(void *user), void *user);
