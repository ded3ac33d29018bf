/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the image store share; nobody else's. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "templated/image_facts.h"
#include "templated/images.h"

/* Of the pages that a guest maps at once. */
#define IMAGES_ALIGN (2 * MiB)
/* Below cgroup_parent: mkfs.erofs while it runs. */
#define IMAGES_CGROUP "images"

struct image_entry {
	struct image_entry *next;
	char key[LAYERS_KEY_SIZE];
	struct image_facts facts;
	uint64_t used_ms;   /* since the epoch */
	char lock_name[48]; /* as /proc/locks has the file; "" before it was looked up */
};

/* An image to be made. */
struct image_job {
	struct image_job *next;
	char key[LAYERS_KEY_SIZE];
	char **lowers;
	size_t n;
	struct settings *settings;
	int64_t began_ms; /* 0 while it waits */
};

/* What could not be made. */
struct image_failure {
	struct image_failure *next;
	char key[LAYERS_KEY_SIZE];
	enum images_answer answer;
	uint64_t max_bytes; /* it was too large for */
	int64_t until_ms;
	struct err err;
};

#define IMAGES_FAILURES_MAX 256

struct images {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	char *path;
	int dir_fd;       /* the folder; -1: not open */
	int ro_fd;        /* the same through a read-only mount: what is given */
	int lock_fd;      /* nobody else has it */
	struct err error; /* why it could not be opened */
	struct image_entry *all;
	uint64_t bytes;
	struct image_failure *failures;

	struct image_job *queue; /* the first one is being made, if began_ms */
	unsigned int n_queued;
	pthread_t maker;
	bool has_maker;
	atomic_bool closing;
	pid_t child; /* mkfs.erofs, 0: none */
	bool told_no_cpu;

	uint64_t answers[IMAGES_ANSWERS];
	uint64_t made, making_ms, failed, removed;
};

const char *images_answer_name(enum images_answer answer);
void image_job_free(struct image_job *job);

/* ---- images_store.c; the lock is held ---- */

int images_open_store(struct images *s, const struct config *c, struct err *err);
void images_close_store(struct images *s);
struct image_entry *images_find(struct images *s, const char *key);
/* A descriptor to give away; IMAGES_GRANTED,
 * or IMAGES_MAKING if it has to be made again. */
enum images_answer images_grant(
	struct images *s, struct image_entry *e, struct image_grant *ret);
/* Files that were removed, to be closed without the lock: that frees their blocks. */
struct image_litter {
	int *fds;
	size_t n;
	uint64_t bytes;
};
void image_litter_done(struct image_litter *litter);
/* Removes those not used for longest until there is room for `bytes` more below
 * max_bytes. IMAGES_FULL with err, if the others are in use. */
enum images_answer images_make_room(struct images *s, uint64_t bytes, uint64_t max_bytes,
	struct image_litter *litter, struct err *err);
/* Removes one unless it is in use. */
bool images_remove(struct images *s, struct image_entry *e, const char *why,
	struct image_litter *litter);
/* <key>.new becomes an image. */
int images_publish(struct images *s, int fd, const char *key, struct image_facts *facts,
	struct err *err);
/* A descriptor of its own open file, through the read-only mount; -1 with errno. */
int images_open_file(const struct images *s, const char *key);

/* ---- images_users.c; the lock is held ---- */

/* How many have which image: counts[i] of the i-th entry, the caller's. */
uint64_t *images_count_users(struct images *s);

/* ---- images_make.c ---- */

void *images_make_main(void *arg);
