/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump's third thread: what may wait for answers that the down thread brings.
 *
 * A notification that drops a cached entry takes the lock of the folder that it is in,
 * one that drops pages waits for those that are being read: somebody may hold them who
 * waits for an answer. Dropping inodes may wait for write-back. None is needed for other
 * memory to come free, so this thread is one like any.
 */
#include "guest/pump_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"

struct note {
	uint16_t mount, len; /* of the message behind it */
};
_Static_assert(
	FILES_INLINE_BYTES <= UINT16_MAX && FILES_MOUNTS_MAX <= UINT16_MAX, "16 bits");

void pump_note(
	struct pump *p, unsigned int mount, const uint8_t *message, unsigned int len)
{
	struct note note = {(uint16_t)mount, (uint16_t)len};
	uint8_t *at;

	pthread_mutex_lock(&p->lock);
	if (len > FILES_INLINE_BYTES ||
		p->notes_len + sizeof(note) + len > PUMP_NOTES_BYTES) {
		p->notes_missed++;
	} else {
		at = p->notes_buf + p->notes_len;
		memcpy(at, &note, sizeof(note));
		memcpy(at + sizeof(note), message, len);
		p->notes_len += (unsigned int)sizeof(note) + len;
	}
	pthread_cond_signal(&p->noted);
	pthread_mutex_unlock(&p->lock);
}

static void send_note(
	struct pump *p, unsigned int mount, const uint8_t *message, size_t len)
{
	int fd = pump_pin(p, mount);

	if (fd < 0)
		return;
	/* ENOENT: the kernel has no such entry; it is what was wanted. */
	if (write(fd, message, len) < 0 && errno != ENOENT && errno != ENOTDIR &&
		errno != ENODEV && errno != ECONNABORTED)
		log_warn("mount %u: the kernel refuses a notification: %s", mount,
			strerror(errno));
	pump_unpin(p, mount);
}

static void drop_caches(void)
{
	struct err err = ERR_INIT;

	/* 2: dentries and inodes that nobody uses. */
	if (file_write_text(AT_FDCWD, "/proc/sys/vm/drop_caches", "2", &err) < 0)
		log_warn("the file server holds inodes that nobody uses: %s", err.text);
}

/* Takes the oldest note: its message's length, 0 if there is none. */
static unsigned int take_note(struct pump *p, uint8_t *ret, unsigned int *ret_mount)
{
	struct note note;
	unsigned int all;

	if (p->notes_len == 0)
		return 0;
	memcpy(&note, p->notes_buf, sizeof(note));
	memcpy(ret, p->notes_buf + sizeof(note), note.len);
	all = (unsigned int)sizeof(note) + note.len;
	p->notes_len -= all;
	memmove(p->notes_buf, p->notes_buf + all, p->notes_len);
	*ret_mount = note.mount;
	return note.len;
}

/* Handles one thing that there is to do, the lock not held meanwhile; false: nothing. */
static bool do_next(struct pump *p)
{
	uint8_t message[FILES_INLINE_BYTES];
	unsigned int mount = 0, len = take_note(p, message, &mount);
	/* Told once the others are through, and not after each of them. */
	unsigned int missed = len == 0 ? p->notes_missed : 0;
	bool wants_shrink = len == 0 && p->shrink;

	if (len == 0 && !missed && !wants_shrink)
		return false;
	p->notes_missed -= missed;
	p->shrink = p->shrink && !wants_shrink;
	pthread_mutex_unlock(&p->lock);
	if (missed)
		log_warn(
			"%u changes by the host are seen late: too many at once", missed);
	if (len > 0)
		send_note(p, mount, message, len);
	if (wants_shrink)
		drop_caches();
	pthread_mutex_lock(&p->lock);
	return true;
}

void *pump_run_notes(void *arg)
{
	struct pump *p = arg;

	/* It uses its stack with the lock held. */
	pump_enter_thread();
	pthread_mutex_lock(&p->lock);
	while (!p->stopped && !p->broken)
		if (!do_next(p))
			pthread_cond_wait(&p->noted, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}
