/* SPDX-License-Identifier: Apache-2.0 */
/* Things with numbers for the other side: each number is given out once, and bounded. */
#pragma once

#include <stdint.h>

/*
 * A number is a place in the low half (counted from 1) and in the high half how often
 * that place was used before. So a number of something that is gone is found out, and
 * never means its successor. The caller has the lock.
 */
struct slots {
	struct slot *slots;
	uint32_t n_slots, n_used, max;
	uint32_t free; /* first free place, n_slots: none */
};

struct slot {
	void *item; /* NULL: free */
	uint32_t generation, next_free;
};

void slots_init(struct slots *slots, uint32_t max);
void slots_done(struct slots *slots);
/* The number, 0 where max are in use. */
uint64_t slots_add(struct slots *slots, void *item);
/* NULL: there is none of that number. */
void *slots_get(const struct slots *slots, uint64_t number);
void slots_remove(struct slots *slots, uint64_t number);
