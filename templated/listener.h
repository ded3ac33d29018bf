/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting connections until one is told to stop, whoever else has the socket. */
#pragma once

/* How long one waits after a failure where no connection ends before: for memory or
 * descriptors of others. */
#define LISTENER_RETRY_MS 1000

struct listener {
	int listen_fd;    /* after listener_prepare() */
	int stop_fd;      /* an eventfd: readable once it is to stop */
	const char *what; /* for the log: "the <what> socket" */
	/* Gets each connection, and takes it: fd blocks and is O_CLOEXEC. */
	void (*admit)(void *user, int fd);
	/* After a failure: returns when a connection has ended, or after
	 * LISTENER_RETRY_MS. */
	void (*wait_for_room)(void *user);
	void *user;
};

/* Makes it non-blocking: 0 or a negative errno. */
int listener_prepare(int listen_fd);

/*
 * Accepts until it is told to stop. A failure is logged once, until it is over; a
 * connection that hung up before it was accepted is none.
 */
void listener_run(const struct listener *l);
