/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the channel share. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "files/channel.h"
#include "files/wire.h"

/*
 * Locks: `lock` is for all of struct channel and its mounts, held for moments.
 * `send_lock` is held while a frame is written, which may take as long as the guest
 * likes; nobody waits for it with `lock` held. A tree is never called with either, and
 * its callbacks may take both.
 */

enum job_kind {
	JOB_MESSAGE,
	JOB_DONE,      /* give the guest its slot back */
	JOB_CHANGED,   /* tell the guest that others have changed something */
	JOB_RESET,     /* the guest has unmounted, and nobody uses the tree */
	JOB_UNMOUNTED, /* among the held ones only: the guest has unmounted once more */
};

struct job {
	struct job *next;
	enum job_kind kind;
	unsigned int number;
	struct mount *mount; /* NULL: there is no such mount */
	uint8_t slot;        /* the guest's, to be given back; or FILES_NO_SLOT */
	bool credited;       /* the guest has its credit back */
	uint32_t opcode;
	uint64_t unique;
	uint64_t turn;            /* see struct turns */
	struct job *next_release; /* in its mount's turns */
	const uint8_t *payload;   /* a FUSE_WRITE's data, in the window */
	size_t payload_len;
	size_t len;
	_Alignas(8)
		uint8_t message[]; /* private; of a FUSE_WRITE with payload the header */
};

struct job_list {
	struct job *first, **end;
};

/*
 * Who closes a file has no lock on it any more, but the guest's kernel waits for no
 * answer to FUSE_RELEASE. So a request for a lock waits for the releases that came before
 * it: each has a turn, and a lock's is the last release's before it.
 */
struct turns {
	uint64_t last;
	struct job *releases, **releases_end; /* not served yet, in their order */
	struct job_list locks;                /* that wait for them */
};

/*
 * A tree and who uses it. Each message is a user of its mount from when it is queued, and
 * so is whoever else calls the tree. When the guest has unmounted, what it sends for this
 * number is held back; the last user has the tree reset, and then the held ones are
 * queued.
 */
struct mount {
	struct channel *channel;
	unsigned int number;
	struct tree *tree;
	unsigned int users;
	bool used;       /* a message came since it was new, or unmounted */
	bool unmounting; /* a reset comes; others are held */
	bool resetting;  /* by a job; it has no other user */
	bool removing;
	struct job_list held;
	struct turns turns;
};

enum slot_state {
	SLOT_FREE,  /* whoever fills it may take it */
	SLOT_OURS,  /* the server's: it fills it, or reads it */
	SLOT_GUEST, /* one of the server's that the guest reads */
};

struct channel {
	int fd;
	uint8_t *window;

	pthread_mutex_t lock;
	pthread_cond_t work;       /* the queue has something, or the end has come */
	pthread_cond_t slot_freed; /* or the end has come, or a mount is removed */
	pthread_cond_t left; /* a mount that is removed has no users, or a thread ended */
	bool ended;
	struct err err; /* why; code 0: the peer closed it */
	struct job_list queue;
	unsigned int queued;  /* jobs in it */
	unsigned int held;    /* messages for which the guest has no credit back yet */
	unsigned int threads; /* all workers */
	unsigned int pool, idle, waiters, lockers;
	enum slot_state slots[FILES_SLOTS];
	struct mount *mounts[FILES_MOUNTS_MAX];
	unsigned int mounts_end; /* no mount ever had this number or a greater one */

	pthread_mutex_t send_lock;
};

/* A frame to the guest, and what it carries. */
struct outgoing {
	enum files_kind kind;
	unsigned int number;
	const void *data;
	size_t len;
	uint8_t slot;  /* where the data is, or FILES_NO_SLOT */
	uint8_t done;  /* a slot of the guest's to give back, or FILES_NO_SLOT */
	bool credited; /* an answer whose credit the guest has back */
};

/* ---- channel_frames.c ---- */

int channel_window_map(struct channel *c, int window_fd, struct err *err);
void channel_window_unmap(struct channel *c);
static inline uint8_t *channel_slot(const struct channel *c, unsigned int slot)
{
	return c->window + (size_t)slot * FILES_SLOT_BYTES;
}

/* Ends the channel; the first error stays. */
void channel_fail(struct channel *c, const struct err *err);
/* Writes one frame. A failure ends the channel. */
void channel_send(struct channel *c, const struct outgoing *o);
/* Waits for a free slot of the server's. FILES_NO_SLOT: the channel has ended, or the
 * mount is removed (mount may be NULL). */
uint8_t channel_slot_take(struct channel *c, const struct mount *mount);
void channel_slot_free(struct channel *c, uint8_t slot);

/* ---- channel_read.c ---- */

/* Checks and takes the frames at data[0..size); *ret_used bytes of it are done with. */
int channel_take_frames(struct channel *c, const uint8_t *data, size_t size,
	size_t *ret_used, struct err *err);

/* ---- channel_work.c ---- */

struct job *channel_job_new(enum job_kind kind, unsigned int number, size_t len);
void channel_jobs_init(struct job_list *list);
void channel_jobs_add(struct job_list *list, struct job *job);
struct job *channel_jobs_take(struct job_list *list);
void channel_jobs_free(struct job_list *list);
/* With the lock. Takes the job. */
void channel_queue(struct channel *c, struct job *job);

/* ---- channel_mounts.c: with the lock, where nothing else is said ---- */

/* What is in a new one, and what is left of one that has no users. */
void channel_turns_init(struct turns *turns);
void channel_turns_free(struct turns *turns);
/* The job was served, for what waits for it. */
void channel_mount_served(struct mount *mount, struct job *job);
/* One user less. */
void channel_mount_leave(struct mount *mount);
/* Queues a message for its mount, or holds it back, or queues it for an answer that there
 * is none. Takes the job. */
void channel_mount_message(struct channel *c, struct job *job);
/* A user more of a tree that is neither reset nor removed, or NULL. */
struct mount *channel_mount_enter(struct channel *c, unsigned int number);
/* Takes the lock itself. */
void channel_mount_unmounted(struct channel *c, unsigned int number);
/* Ends its requests' waits for locks; one that is reset has none.
 * Takes the lock itself. */
void channel_mount_interrupt(struct mount *mount);
/* JOB_RESET. Takes the lock itself. */
void channel_mount_reset(struct mount *mount);
