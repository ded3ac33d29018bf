/* SPDX-License-Identifier: Apache-2.0 */
/* The pump's own: its state, and what its threads share. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "files/wire.h"
#include "guest/pump.h"

#define PUMP_PAGE 4096u

/* Invalidations that wait for their thread; more are dropped, and the log says so. */
#define PUMP_NOTES_BYTES (16u << 10)

/* Slots of the server's that are kept until a message takes them along. */
#define PUMP_DONE_LAZY ((FILES_SLOTS - FILES_GUEST_SLOTS) / 2)

struct pump_mount {
	bool used;
	bool gone;         /* the last pin closes the descriptors */
	unsigned int pins; /* threads that use them */
	int fuse_fd, abort_fd;
	char *at; /* may be NULL; stays until the number is used anew */
	dev_t dev;
	bool changed;     /* others have changed something in it... */
	int64_t due;      /* ...which is not to be looked at before */
	bool told_failed; /* the log has it that a replay failed */
};

struct pump {
	int port_fd, epoll_fd;
	/* wake_fd: there is something for the up thread; stop_fd: all threads end. */
	int wake_fd, stop_fd;
	uint8_t *window; /* NULL before there is one, and any mount */
	pthread_t up, down, notes, changes;
	unsigned int n_threads;

	pthread_mutex_t lock;   /* of what follows, held for moments: see pump.c */
	pthread_cond_t noted;   /* for the third thread */
	pthread_cond_t changed; /* for the fourth one */
	pthread_cond_t forgot;  /* a mount's number is free, or the pump has ended */
	bool stopped, broken;   /* broken: the server has gone */
	bool up_waits;          /* for a credit or a slot */
	unsigned int credits;
	unsigned int free_slots; /* bits: the guest's slots that it may fill */
	unsigned int done_slots; /* bits: the server's that it does not know to be free */
	unsigned int n_changed;  /* mounts that are */
	bool shrink;             /* the kernel shall drop what nobody uses */
	unsigned int notes_len;  /* bytes in notes_buf */
	unsigned int notes_missed; /* did not fit */

	/* Never moved, and there from the beginning: see pump.c. */
	uint8_t *memory;
	uint8_t *up_buf;   /* a page, of which the end is a frame; then a slot's bytes */
	uint8_t *down_buf; /* FILES_SLOT_BYTES: what was in a slot */
	uint8_t *in_buf;   /* two pages: the stream, and how much there is of it */
	unsigned int in_len;
	uint8_t *notes_buf;

	struct pump_mount mounts[FILES_MOUNTS_MAX];
};

/* ---- pump.c ---- */

/* What each thread begins with that uses much of its stack with the lock held, or that
 * the kernel may need to get memory. */
void pump_enter_thread(void);
/* The server has gone: why, once. Processes that wait for it are let go. */
void pump_break(struct pump *p, const char *why);
void pump_wake_up_thread(struct pump *p);
uint8_t *pump_slot(struct pump *p, unsigned int slot);

/* ---- pump_mounts.c ---- */

/* The mount's /dev/fuse, which stays open until pump_unpin(); -1 if there is no mount. */
int pump_pin(struct pump *p, unsigned int mount);
void pump_unpin(struct pump *p, unsigned int mount);
/* The mount's number is free again. */
void pump_forget(struct pump *p, unsigned int mount);
/* The kernel ends their requests, and takes no more. For how many that has failed.
 * p->lock is held. */
unsigned int pump_abort_mounts(struct pump *p);
/* No thread uses them any more. */
void pump_close_mounts(struct pump *p);

/* ---- the threads, each of a struct pump ---- */

void *pump_run_up(void *arg);
void *pump_run_down(void *arg);
void *pump_run_notes(void *arg);
void *pump_run_changes(void *arg);

/* Takes whole frames off in_buf. 0, or -EPROTO with *ret_why. */
int pump_take_frames(struct pump *p, const char **ret_why);
/* Others have changed something in the mount: for the fourth thread. */
void pump_changed(struct pump *p, unsigned int mount);
/* Keeps a notification for its thread. */
void pump_note(
	struct pump *p, unsigned int mount, const uint8_t *message, unsigned int len);
