/* SPDX-License-Identifier: Apache-2.0 */
/* The store: which generation is current, which are retired, and who leases which. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/json.h"
#include "mm/generation.h"
#include "mm/size.h"
#include "mm/tmpfs.h"
#include "templated/lease/protocol.h"

/*
 * Lifecycle of a generation in the store: adopted as current; retired when the next one
 * is adopted or the store is emptied; removed when it is retired and its last lease is
 * gone.
 *
 * A generation in use that has grown (generation_has_grown()) is compacted whenever a
 * lease of any generation is granted or given back, or somebody asks for the status, and
 * by a store that is opened.
 *
 * Lifecycle of the tmpfs: opened (mounted, checked, recovered) by store_open(), unmounted
 * by store_empty() or, where leases are left, with the last of them.
 *
 * Thread-safe. One lock: what is done under it is a few system calls, but for the
 * verification of a generation that changed and the removal of one.
 */
struct store;

struct store *store_new(const char *path);
/* Leaves tmpfs and generations as they are. All leases that were granted must have been
 * released or left. */
void store_free(struct store *s);

/*
 * Mounts or grows the tmpfs to `size_bytes`, and at the first time recovers what is in
 * it: the newest sound generation that was not retired becomes current; leases that were
 * written down go on while their process lives, and with them retired generations; all
 * else is removed. Cancels an emptying.
 */
int store_open(struct store *s, uint64_t size_bytes, struct err *err);

/* For building. The descriptor is valid until store_unpin(), which must follow: it keeps
 * the tmpfs mounted. */
int store_pin(struct store *s, int *ret_root_fd, struct err *err);
void store_unpin(struct store *s);

/* Verifies a published generation and makes it current. */
int store_adopt(struct store *s, const char *id, struct err *err);

/* Retires the current generation before there is a new one: until then store_grant() says
 * that this was done. */
void store_retire(struct store *s);

struct store_lease; /* borrowed from the store until store_release() */

enum store_answer {
	STORE_GRANTED,
	/* There is no current generation; err says more where it was retired. */
	STORE_NONE,
	/* There is one, but it is not what was published: err says what. */
	STORE_UNSOUND,
	/* err says in what, and the grant's `differs` in which field. */
	STORE_DIFFERS,
};

/* What is granted: a generation's files, and the right to go on using them. */
struct grant {
	struct store_lease *lease;
	int memory_fd, state_fd;     /* read-only, each grant's own */
	struct manifest manifest;    /* a copy */
	enum manifest_field differs; /* the first one that does, or MANIFEST_FIELDS */
};

#define GRANT_INIT                                                                       \
	((struct grant){.memory_fd = -1, .state_fd = -1, .differs = MANIFEST_FIELDS})

/*
 * want: the must-equal fields. *ret was GRANT_INIT; on STORE_GRANTED it is filled, for
 * grant_done() and, its lease, for store_release() or store_leave(). On STORE_DIFFERS
 * only `differs` is.
 */
enum store_answer store_grant(struct store *s, const struct manifest *want,
	const char *sandbox, struct grant *ret, struct err *err);
/* Closes the files and frees the manifest; the lease goes on. GRANT_INIT is fine. */
void grant_done(struct grant *g);
/* Writes down which process has the lease, so that it outlives templated: if we end, it
 * ends with that process. Again for a lease that changes hands. Failing is a warning in
 * the log. */
void store_lease_bind(struct store *s, struct store_lease *lease, pid_t pid);
const char *store_lease_generation(const struct store_lease *lease);
/* The field in which the generation was older than what was wanted, or NULL. */
const char *store_lease_stale(const struct store_lease *lease);
/* It passes to another sandbox; store_lease_bind() is to follow. */
void store_lease_rename(struct store *s, struct store_lease *lease, const char *sandbox);
void store_release(struct store *s, struct store_lease *lease);
/* templated ends, and the lease does not: what it holds stays as it is, for the next
 * templated to find. */
void store_leave(struct store *s, struct store_lease *lease);

/* Whether there is a current generation that is sound and equals `want`, in the fields
 * that may age as well. ret_id may be NULL. */
bool store_has(
	struct store *s, const struct manifest *want, char ret_id[GENERATION_ID_SIZE]);

/*
 * Retires everything and unmounts the tmpfs, now or with the last lease or pin. *ret_held
 * is an array of the sandboxes that hold a lease (at most STORE_HELD_MAX names), the
 * caller's.
 */
#define STORE_HELD_MAX 256
int store_empty(struct store *s, struct json_object **ret_held, struct err *err);

/* Adds "state", "reason", "generations" and "tmpfs" to obj. What is seen to have grown
 * beyond its bound is compacted behind it. */
void store_status(struct store *s, struct json_object *obj);
