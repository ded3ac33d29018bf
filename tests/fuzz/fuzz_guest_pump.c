/* SPDX-License-Identifier: Apache-2.0 */
/* The stream that a pump gets from the host:
 * the first two bytes are credits and slots. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "guest/pump_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A pump without threads. Mount 1's messages go nowhere. */
static struct pump *pump_make(void)
{
	struct pump *p = xnew0(struct pump);

	log_init("fuzz", open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->noted, NULL);
	pthread_cond_init(&p->forgot, NULL);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->window = xzalloc(FILES_WINDOW_BYTES);
	p->down_buf = xzalloc(FILES_SLOT_BYTES);
	p->in_buf = xzalloc(2 * PUMP_PAGE);
	p->notes_buf = xzalloc(PUMP_NOTES_BYTES);
	p->mounts[1] = (struct pump_mount){.used = true,
		.fuse_fd = open("/dev/null", O_WRONLY | O_CLOEXEC),
		.abort_fd = -1};
	return p;
}

static void check(const struct pump *p)
{
	const unsigned int guest = (1u << FILES_GUEST_SLOTS) - 1,
			   all = (1u << FILES_SLOTS) - 1;

	if (p->credits > FILES_CREDITS || (p->free_slots & ~guest) ||
		(p->done_slots & ~(all & ~guest)) || p->notes_len > PUMP_NOTES_BYTES ||
		p->in_len >= sizeof(struct files_frame) + FILES_INLINE_BYTES ||
		p->mounts[1].pins != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pump *p;
	const char *why = NULL;
	uint64_t wakes;
	int r = 0;

	if (!p)
		p = pump_make();
	if (size < 2)
		return 0;
	p->credits = data[0] % (FILES_CREDITS + 1);
	p->free_slots = data[1] & ((1u << FILES_GUEST_SLOTS) - 1);
	p->up_waits = data[1] >> 7;
	p->done_slots = p->in_len = p->notes_len = p->notes_missed = 0;
	for (size_t at = 2, n; r == 0 && at < size; at += n) {
		n = MIN(size - at, 2 * PUMP_PAGE - p->in_len);
		memcpy(p->in_buf + p->in_len, data + at, n);
		p->in_len += (unsigned int)n;
		r = pump_take_frames(p, &why);
		if ((r < 0) != (why != NULL))
			abort();
		if (r == 0)
			check(p);
	}
	if (read(p->wake_fd, &wakes, sizeof(wakes)) < 0)
		wakes = 0;
	return 0;
}
