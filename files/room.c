/* SPDX-License-Identifier: Apache-2.0 */
/* How much the guest may hold: see room.h. */
#include "files/room.h"

#include "base/thread.h"

void room_init(struct room *room, uint32_t inodes_max, uint32_t handles_max, int wait_ms)
{
	*room = (struct room){.max = {inodes_max, handles_max}, .wait_ms = wait_ms};
	pthread_mutex_init(&room->lock, NULL);
	cond_init(&room->given);
}

void room_done(struct room *room)
{
	pthread_cond_destroy(&room->given);
	pthread_mutex_destroy(&room->lock);
}

bool room_take(struct room *room, enum room_kind kind)
{
	bool has;

	pthread_mutex_lock(&room->lock);
	has = room->used[kind] < room->max[kind];
	room->used[kind] += has;
	pthread_mutex_unlock(&room->lock);
	return has;
}

void room_take_always(struct room *room, enum room_kind kind)
{
	pthread_mutex_lock(&room->lock);
	room->used[kind]++;
	pthread_mutex_unlock(&room->lock);
}

static void tell_given(struct room *room)
{
	room->gives++;
	pthread_cond_broadcast(&room->given);
}

void room_give(struct room *room, enum room_kind kind)
{
	pthread_mutex_lock(&room->lock);
	room->used[kind]--;
	if (room->used[ROOM_INODES] < room->max[ROOM_INODES] / 2)
		room->crowded = false;
	tell_given(room);
	pthread_mutex_unlock(&room->lock);
}

bool room_has(struct room *room, enum room_kind kind)
{
	bool has;

	pthread_mutex_lock(&room->lock);
	has = room->used[kind] < room->max[kind];
	pthread_mutex_unlock(&room->lock);
	return has;
}

bool room_crowds(struct room *room)
{
	bool first;

	pthread_mutex_lock(&room->lock);
	first = !room->crowded &&
		room->used[ROOM_INODES] > room->max[ROOM_INODES] / 4 * 3;
	if (first)
		room->crowded = true;
	pthread_mutex_unlock(&room->lock);
	return first;
}

bool room_is_crowded(struct room *room)
{
	bool crowded;

	pthread_mutex_lock(&room->lock);
	crowded = room->crowded;
	pthread_mutex_unlock(&room->lock);
	return crowded;
}

uint64_t room_gives(struct room *room)
{
	uint64_t gives;

	pthread_mutex_lock(&room->lock);
	gives = room->gives;
	pthread_mutex_unlock(&room->lock);
	return gives;
}

bool room_wait(struct room *room, uint64_t gives, int64_t deadline)
{
	int r = 0;

	pthread_mutex_lock(&room->lock);
	while (r == 0 && room->gives == gives)
		r = cond_wait(&room->given, &room->lock, deadline);
	pthread_mutex_unlock(&room->lock);
	return r == 0;
}

void room_wake(struct room *room)
{
	pthread_mutex_lock(&room->lock);
	tell_given(room);
	pthread_mutex_unlock(&room->lock);
}
