/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping published generations compact: see generation.h.
 *
 * Punching a hole sets the memory's times, and by the time of its last change one knows a
 * generation that somebody wrote to. So it is set back to what it was, and the stamps are
 * taken anew. A kill in between must not cost the generation: the time is written down
 * before the first hole is punched, as the target of a link, which takes no block.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "mm/generation_internal.h"

#define NOTE_SIZE (GENERATION_COMPACT_PREFIX_LEN + GENERATION_ID_SIZE)

bool generation_has_grown(int root_fd, const struct generation *g)
{
	uint64_t published, resident;

	return manifest_get_u64(
		       &g->manifest, MANIFEST_PUBLISHED_BYTES, &published, NULL) == 0 &&
	       generation_resident(root_fd, g->id, &resident, NULL) == 0 &&
	       resident > published + published / GENERATION_GROWTH;
}

/* ---- the note ---- */

static void note_name(const char *id, char ret[NOTE_SIZE])
{
	snprintf(ret, NOTE_SIZE, GENERATION_COMPACT "%s", id);
}

static int compact_write_note(int root_fd, const struct generation *g, struct err *err)
{
	char name[NOTE_SIZE], target[24];

	note_name(g->id, name);
	snprintf(target, sizeof(target), "%jd",
		(intmax_t)g->stamps[GENERATION_FILE_MEMORY].mtime.tv_sec);
	/* -EEXIST: the end of the last one could not set the time back. */
	if (symlinkat(target, root_fd, name) < 0 && errno != EEXIST)
		return err_sys(
			err, errno, "cannot write down that holes are being punched");
	return 0;
}

static int compact_remove_note(int root_fd, const char *name, struct err *err)
{
	if (unlinkat(root_fd, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove %s", name);
	return 0;
}

int generation_compact_recover(int root_fd, const char *name, struct err *err)
{
	char path[GENERATION_ID_SIZE + sizeof(GENERATION_MEMORY) + 1], target[24] = "";
	const char *id = name + GENERATION_COMPACT_PREFIX_LEN;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 0}};

	/* Of a generation that is gone, or none of ours: nothing to set back. */
	if (generation_id_valid(id) &&
		readlinkat(root_fd, name, target, sizeof(target) - 1) > 0) {
		log_warn("holes of generation %s were being punched when templated ended",
			id);
		times[1].tv_sec = strtoll(target, NULL, 10);
		snprintf(path, sizeof(path), "%s/" GENERATION_MEMORY, id);
		if (utimensat(root_fd, path, times, AT_SYMLINK_NOFOLLOW) < 0 &&
			errno != ENOENT)
			return err_sys(err, errno,
				"cannot set the time of the memory of generation %s", id);
	}
	return compact_remove_note(root_fd, name, err);
}

/* ---- compaction ---- */

static int open_memory(int root_fd, const struct generation *g, struct err *err)
{
	char path[GENERATION_ID_SIZE + sizeof(GENERATION_MEMORY) + 1];
	_cleanup_close_ int fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), "%s/" GENERATION_MEMORY, g->id);
	fd = openat(root_fd, path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s: cannot be opened", GENERATION_MEMORY);
	if (!generation_stamp_is(&g->stamps[GENERATION_FILE_MEMORY], &st))
		return err_set(err, -EUCLEAN, "%s: has been changed", GENERATION_MEMORY);
	return steal_fd(&fd);
}

int generation_compact_begin(
	int root_fd, struct generation *g, int *ret_fd, struct err *err)
{
	int r, fd = open_memory(root_fd, g, err);

	r = fd < 0 ? fd : compact_write_note(root_fd, g, err);
	if (r < 0) {
		close_fd(fd);
		return err_wrap(err, "generation %s", g->id);
	}
	g->compacting = true;
	*ret_fd = fd;
	return 0;
}

int generation_compact_punch(int fd, struct holes *holes)
{
	struct stat st;
	int r = 0;

	/* By content, and not from a list that was kept: that is right whatever has
	 * happened since publication, and can't punch a page that holds something. */
	if (holes->n == 0)
		r = fstat(fd, &st) < 0 ? -errno
				       : holes_find(fd, (uint64_t)st.st_size, holes);
	return r < 0 ? r : holes_punch_filled(fd, holes);
}

int generation_compact_end(
	int root_fd, struct generation *g, int fd, uint64_t *ret_bytes, struct err *err)
{
	struct generation_stamp *stamp = &g->stamps[GENERATION_FILE_MEMORY];
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, stamp->mtime};
	char name[NOTE_SIZE];
	struct stat st;
	int r = 0;

	note_name(g->id, name);
	if (futimens(fd, times) < 0 || fstat(fd, &st) < 0)
		r = err_sys(err, errno, "%s: its time cannot be set", GENERATION_MEMORY);
	if (r == 0) {
		*stamp = generation_stamp_of(&st);
		*ret_bytes = (uint64_t)st.st_blocks * 512;
		r = compact_remove_note(root_fd, name, err);
	}
	g->compacting = false;
	close(fd);
	return r < 0 ? err_wrap(err, "generation %s", g->id) : 0;
}
