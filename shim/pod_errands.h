/* SPDX-License-Identifier: Apache-2.0 */
/* What is being done for a pod's containers and may last: it can be given up. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct pod;

enum errand_kind {
	ERRAND_CREATE = 1 << 0,       /* the container is being made, or waits to be */
	ERRAND_CREATE_HOOKS = 1 << 1, /* … and its hooks run: others may change the pod */
	ERRAND_POSTSTART = 1 << 2,
	ERRAND_POSTSTOP = 1 << 3,
	ERRAND_ALL = (1 << 4) - 1,
};

/* One of a thread's; all of it is under the pod's lock. */
struct errand {
	struct errand *next;
	enum errand_kind kind;
	const char *container_id;
	bool is_void; /* nobody wants it any more */
	int void_fd;  /* eventfd: readable from then on */
};

/* -EEXIST: a container of that name is being made. In a pod that is ending it is void
 * from the start. */
int errand_begin(struct errand *e, struct pod *pod, enum errand_kind kind,
	const char *container_id, struct err *err);
/* Between the two of a creation. */
void errand_become(struct errand *e, struct pod *pod, enum errand_kind kind);
void errand_end(struct errand *e, struct pod *pod);
/* Whether there is a creation. The pod's lock is held. */
bool pod_makes_container_locked(const struct pod *pod);

/* Those of a container, or of all (NULL); kinds: a set. Whether there is one. The pod's
 * lock is held. */
bool errands_give_up_locked(
	struct pod *pod, const char *container_id, unsigned int kinds);
