/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share; nobody else's. */
#pragma once

#include "templated/followers.h"
#include "templated/lease_note.h"
#include "templated/store.h"

struct store_lease {
	struct store_lease *next;
	struct held *held;
	const char *stale;      /* the field's name, or NULL */
	struct lease_note note; /* without a name where it is not written down */
	int64_t since_ms;
};

/* A generation in the store. */
struct held {
	struct held *next;
	struct generation g;
	struct store_lease *leases;
	/* Of its memory, from the first compaction on; the compacting thread's. */
	struct holes holes;
	bool grown; /* to be compacted */
	bool retired;
	bool unsound; /* at the last look; lost: for ever */
	bool lost; /* its files are removed or out of reach, only its leases are there */
	struct err why;
	/* The field in which it was older than wanted at the last look, or NULL. */
	const char *stale;
	struct err stale_why;
};

struct store {
	pthread_mutex_t lock;
	char *path;
	int rw_fd; /* through the mount at path: for building and removing */
	int ro_fd; /* through a detached read-only mount: what is granted */
	struct held *all, *current;
	struct followers *followers; /* of the holders of a former templated's leases */
	unsigned int pins;
	bool compacting;          /* a thread does, with a pin … */
	pthread_cond_t compacted; /* … and says so when it ends */
	bool retired_early;       /* there is no current one because of store_retire() */
	bool emptying;            /* unmount as soon as nothing is held */
	bool left_old;            /* there may be work for generation_remove_old() */
};

/* The lock is held. */
struct held *store_add(struct store *s, struct generation *g); /* *g is emptied */
void store_remove_unheld(struct store *s);
void store_finish_emptying(struct store *s); /* a failure is logged */
void store_look_for_growth(struct store *s); /* after every event that there is */
void store_await_compaction(struct store *s);
int store_recover(struct store *s, struct err *err);
