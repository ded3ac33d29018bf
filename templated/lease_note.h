/* SPDX-License-Identifier: Apache-2.0 */
/* Leases written down beside the generations, so that they survive templated. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/proc.h"
#include "mm/generation.h"
#include "templated/lease/protocol.h"

/*
 * <tmpfs>/leases/, root's, mode 0700:
 *
 *   <pid>-<ticks>-<n>.json  a lease: {"generation", "sandbox", "pid", "start_ticks"};
 *                           written at the grant, removed at the release
 *   <generation>.retired    empty: a generation that is held and must not become current
 *                           again, not even where its successor never came to be
 *
 * A lease is a connection while templated lives. One that starts anew has the notes:
 * whose process still lives goes on, by its pidfd.
 */
#define LEASE_NOTE_NAME_SIZE 80

struct lease_note {
	char name[LEASE_NOTE_NAME_SIZE]; /* of the file; "" as long as there is none */
	char generation[GENERATION_ID_SIZE];
	char sandbox[LEASE_SANDBOX_MAX];
	struct proc_id holder;
};

/* root_fd: the writable one. Fills note->name. */
int lease_note_write(int root_fd, struct lease_note *note, struct err *err);
/* Nothing happens where the name is "" or the file is gone. */
void lease_note_remove(int root_fd, const char *name);

/* All notes, whether their holders live or not; files that are none are logged and
 * removed. *ret is the caller's to free(). */
int lease_notes_read(
	int root_fd, struct lease_note **ret, size_t *ret_n, struct err *err);

int lease_retired_mark(int root_fd, const char *generation, struct err *err);
void lease_retired_unmark(int root_fd, const char *generation);
bool lease_retired_is_marked(int root_fd, const char *generation);
