/* SPDX-License-Identifier: Apache-2.0 */
/* The guest does again what others did: its requests for that, answered without a deed.
 * What is said, and by whom, is in files/wire.h. */
#pragma once

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct call;

/*
 * How it works. Each change has one or two names. What each leads to at first is chosen
 * when the guest takes the change (nothing before something is made; what the guest knew
 * by that name before it goes), and then follows from what the guest does: a name that it
 * makes leads to what is there, one that it removes to nothing. What the guest never knew
 * and is gone is a blank (files/blanks.h). All of that is the guest's alone: on the host
 * nothing is done, and the guest asks for each name again when anybody uses it.
 */
struct replay_name {
	uint64_t folder; /* 0: elsewhere */
	char name[NAME_MAX + 1];
	int fd, made_fd; /* what it leads to, and when it was made; O_PATH, -1: nothing */
	/* The guest takes a link from what it leads to: it had one more before. */
	bool loses;
};

struct replay {
	pthread_mutex_t lock; /* of the rest; taken before the tree's */
	struct replay_name from, to;
	uint64_t elsewhere; /* its node, when the guest has looked it up */
};

void replay_init(struct replay *replay);
/* No change is being done again any more. */
void replay_end(struct replay *replay);
void replay_done(struct replay *replay);

/* A request of the replay's: a handler as in files/call.h; `usual` is the one that such a
 * request has otherwise. */
int replay_serve(struct call *c, int (*usual)(struct call *c));
