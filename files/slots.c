/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered places with generations: see slots.h. */
#include "files/slots.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

#define SLOTS_FIRST 64u

void slots_init(struct slots *slots, uint32_t max)
{
	*slots = (struct slots){.max = max};
}

void slots_done(struct slots *slots)
{
	free(slots->slots);
	*slots = (struct slots){.max = slots->max};
}

static uint64_t slots_number(const struct slots *slots, uint32_t place)
{
	return (uint64_t)slots->slots[place].generation << 32 | (place + 1);
}

/* The list of free places is empty, and ends at n_slots: the new ones are its next. */
static void slots_grow(struct slots *slots)
{
	uint32_t from = slots->n_slots;
	uint32_t n =
		from ? MIN((uint64_t)from * 2, slots->max) : MIN(SLOTS_FIRST, slots->max);

	slots->slots = xreallocarray(slots->slots, n, sizeof(slots->slots[0]));
	for (uint32_t i = from; i < n; i++)
		slots->slots[i] = (struct slot){.next_free = i + 1};
	slots->n_slots = n;
}

uint64_t slots_add(struct slots *slots, void *item)
{
	uint32_t place;

	assert(item);
	if (slots->n_used >= slots->max)
		return 0;
	if (slots->free == slots->n_slots)
		slots_grow(slots);
	place = slots->free;
	slots->free = slots->slots[place].next_free;
	slots->slots[place].item = item;
	slots->n_used++;
	return slots_number(slots, place);
}

static struct slot *slots_find(const struct slots *slots, uint64_t number)
{
	uint32_t place = (uint32_t)number - 1; /* 0 becomes one that is never there */
	struct slot *slot;

	if (place >= slots->n_slots)
		return NULL;
	slot = &slots->slots[place];
	if (!slot->item || slot->generation != number >> 32)
		return NULL;
	return slot;
}

void *slots_get(const struct slots *slots, uint64_t number)
{
	const struct slot *slot = slots_find(slots, number);

	return slot ? slot->item : NULL;
}

void slots_remove(struct slots *slots, uint64_t number)
{
	struct slot *slot = slots_find(slots, number);

	assert(slot);
	slot->item = NULL;
	slot->generation++;
	slot->next_free = slots->free;
	slots->free = (uint32_t)number - 1;
	slots->n_used--;
}
