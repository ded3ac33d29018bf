/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the cache: for cache.c (handing out), cache_fill.c and cache_keep.c. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "templated/cache.h"
#include "templated/daemon.h"
#include "vm/vm.h"

enum cached_state {
	CACHED_READY,   /* may be handed out */
	CACHED_OFFERED, /* a connection has it */
	CACHED_GIVEN,   /* a sandbox has it: only reaped here */
	CACHED_ENDING,  /* killed, or dead: the keeper undoes it */
};

/* How making a VM ends but for 0 and a negative errno. Neither is a failure. */
enum cache_outcome {
	CACHE_NO_TEMPLATE = 1, /* that one could be cloned of, or an old one only */
	CACHE_UNWANTED,        /* the cache was drained meanwhile, or is held */
};

#define CACHED_ID_SIZE 32

struct cached {
	struct cached *next;
	enum cached_state state;
	bool ended;              /* QEMU has, and was reaped */
	char id[CACHED_ID_SIZE]; /* "cache-<number>" */
	int64_t since_ms;
	struct settings *settings; /* that it was made under */
	struct vm *vm;
	struct vm_handover handover; /* its connections, once it is set aside */
	struct manifest want;        /* the inputs that it was made of */
	struct store_lease *lease;   /* of a clone; else NULL */
	char generation[GENERATION_ID_SIZE];
};

struct cache {
	struct daemon *daemon;
	int epoll_fd; /* pidfds of all, with their struct; stop_fd with NULL */
	int stop_fd;
	pthread_t filler, keeper;

	pthread_mutex_t lock; /* of what follows, and of each VM's state */
	pthread_cond_t changed;
	bool started, closed;
	struct cached *all; /* oldest first */
	unsigned int held;
	uint64_t events; /* that are a reason to try again */
	bool preparing, cancelled;
	struct vm *making;  /* the VM that is being prepared, once there is one */
	struct err failure; /* of the last try; code 0 if it succeeded */
};

/* Threads. */
void *cache_fill_main(void *cache);
void *cache_keep_main(void *cache);

uint64_t cache_wanted(struct cache *c); /* vm_cache_number */

/* Of states; the lock is held. */
unsigned int cache_count(const struct cache *c, enum cached_state state);
/* From any state to its end; killed if it lives. The keeper does the rest. */
void cached_end(struct cached *vm);
/* Something happened that may make a VM possible. */
void cache_note_event(struct cache *c);

/* The lock is not held. Adds one that was made, and has it watched: 0, CACHE_UNWANTED or
 * a negative errno. */
int cache_add(struct cache *c, struct cached *vm, struct err *err);
/* Takes one that has ended out of the list, undoes what is left of it, and frees it. */
void cache_remove(struct cache *c, struct cached *vm);
/* Of one that is in no list: ends what is not a sandbox's, and frees it. */
void cached_free(struct cache *c, struct cached *vm);
