/* SPDX-License-Identifier: Apache-2.0 */
/* A tree's changes by others, from when they are heard of to when the guest asks. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct tree;

/* Of all trees of the process together; beyond, changes are not told. */
#define CHANGES_MAX 16384u

struct change {
	struct change *next;
	uint64_t mask;              /* fanotify's: FAN_CREATE and so on */
	uint64_t folder, to_folder; /* nodes; 0: one that is not watched */
	char *name, *to_name;       /* to_name: of FAN_RENAME, else NULL; in `text` */
	char text[];
};

struct changes {
	pthread_mutex_t lock; /* of what follows, held for moments */
	struct change *first, **end;
	uint32_t n, round; /* how many there are, and are left of the guest's round */
	bool told;         /* that there are some */
};

void changes_init(struct changes *changes);
/* Drops all. */
void changes_clear(struct changes *changes);
void changes_done(struct changes *changes);

/* names: to_name may be NULL. */
struct change *change_new(uint64_t mask, const char *name, const char *to_name);
/*
 * Takes the change. Merged with one that waits, where that says the same of the same name
 * and nothing has happened to the name since. True: the guest is to be told that there
 * are some. *ret_lost: there are too many, and it is dropped.
 */
bool changes_add(struct changes *changes, struct change *change, bool *ret_lost);

/* A round of all that there are now: how many. With none the next one is told of. */
uint32_t changes_begin(struct changes *changes);
/* The round's next, the caller's to free(); NULL: it is over. */
struct change *changes_take(struct changes *changes);
