/* SPDX-License-Identifier: Apache-2.0 */
/* Building a generation: see generation.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "mm/digest.h"
#include "mm/generation_internal.h"
#include "mm/holes.h"

#define DIR_MODE  0500
#define FILE_MODE 0400

static int generation_create_file(
	struct generation_build *b, const char *name, int *ret_fd, struct err *err)
{
	*ret_fd = openat(b->dir_fd, name,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*ret_fd < 0)
		return err_sys(
			err, errno, "cannot create %s of generation %s", name, b->id);
	return 0;
}

static int allocate_memory(struct generation_build *b, struct err *err)
{
	struct statvfs fs;
	uint64_t bytes = 0;
	int r;

	if (b->memory_bytes > INT64_MAX ||
		ftruncate(b->memory_fd, (off_t)b->memory_bytes) < 0)
		return err_sys(err, errno,
			"cannot size the memory file to %" PRIu64 " bytes",
			b->memory_bytes);
	if (fstatvfs(b->memory_fd, &fs) == 0)
		bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize;
	do
		r = fallocate(b->memory_fd, 0, 0, (off_t)b->memory_bytes) < 0 ? errno : 0;
	while (r == EINTR);
	if (r == ENOSPC)
		return err_set(err, -ENOSPC,
			"the template's tmpfs is too full: %" PRIu64 " bytes (%" PRIu64
			" MiB) are needed for the guest's memory, %" PRIu64 " (%" PRIu64
			" MiB) are free",
			b->memory_bytes, b->memory_bytes / MiB, bytes, bytes / MiB);
	return r ? err_sys(err, r, "cannot allocate the guest's memory") : 0;
}

static int build_begin(struct generation_build *b, struct err *err)
{
	char folder[GENERATION_ID_SIZE + sizeof(GENERATION_NEW)];
	int r = generation_id_next(b->root_fd, b->id, err);

	if (r < 0)
		return r;
	snprintf(folder, sizeof(folder), GENERATION_NEW "%s", b->id);
	if (mkdirat(b->root_fd, folder, 0700) < 0)
		return err_sys(
			err, errno, "cannot create the folder of generation %s", b->id);
	b->dir_fd = openat(
		b->root_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->dir_fd < 0)
		return err_sys(
			err, errno, "cannot open the folder of generation %s", b->id);
	r = generation_create_file(b, GENERATION_MEMORY, &b->memory_fd, err);
	if (r == 0)
		r = generation_create_file(b, GENERATION_STATE, &b->state_fd, err);
	if (r == 0)
		r = allocate_memory(b, err);
	return r;
}

int generation_build_begin(
	int root_fd, uint64_t memory_bytes, struct generation_build *ret, struct err *err)
{
	struct generation_build b = GENERATION_BUILD_INIT;
	int r;

	b.root_fd = root_fd;
	b.memory_bytes = memory_bytes;
	r = build_begin(&b, err);
	if (r < 0) {
		generation_build_done(&b);
		return r;
	}
	*ret = b;
	return 0;
}

void generation_build_done(struct generation_build *b)
{
	char folder[GENERATION_ID_SIZE + sizeof(GENERATION_NEW)];
	char old[GENERATION_ID_SIZE + sizeof(GENERATION_OLD)];
	struct err err = ERR_INIT;

	close_fd(steal_fd(&b->memory_fd));
	close_fd(steal_fd(&b->state_fd));
	close_fd(steal_fd(&b->dir_fd));
	if (b->root_fd >= 0 && *b->id && !b->published) {
		snprintf(folder, sizeof(folder), GENERATION_NEW "%s", b->id);
		snprintf(old, sizeof(old), GENERATION_OLD "%s", b->id);
		/* So that it is tried again if it can't be removed. */
		if (renameat(b->root_fd, folder, b->root_fd, old) == 0)
			str_copy(folder, old);
		if (remove_tree(b->root_fd, folder, &err) < 0)
			log_error("a half-built generation is left: %s", err.text);
	}
	*b = GENERATION_BUILD_INIT;
}

int generation_build_punch(
	struct generation_build *b, uint64_t *ret_bytes, struct err *err)
{
	struct holes holes;
	struct stat st;
	int r = holes_find(b->memory_fd, b->memory_bytes, &holes);

	if (r == 0) {
		r = holes_punch(b->memory_fd, &holes);
		holes_done(&holes);
	}
	if (r < 0)
		return err_sys(err, r, "cannot give back the zero pages of generation %s",
			b->id);
	if (fstat(b->memory_fd, &st) < 0)
		return err_sys(
			err, errno, "cannot look at the memory of generation %s", b->id);
	*ret_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}

/* ---- publishing ---- */

static void set_u64(struct manifest *m, enum manifest_field field, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	manifest_set(m, field, text);
}

/* The identity fields, from the files as they are. */
static int generation_set_identity(
	struct generation_build *b, struct manifest *m, struct err *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL)}};
	char digest[DIGEST_TEXT_SIZE];
	struct stat memory, state;
	int r;

	if (fstat(b->memory_fd, &memory) < 0 || fstat(b->state_fd, &state) < 0)
		return err_sys(err, errno, "cannot look at its files");
	if ((uint64_t)memory.st_size != b->memory_bytes)
		return err_set(err, -EIO, "memory has %jd bytes instead of %" PRIu64,
			(intmax_t)memory.st_size, b->memory_bytes);
	if (state.st_size == 0)
		return err_set(err, -EIO, "no device state was saved");
	r = digest_file(b->state_fd, digest);
	if (r < 0)
		return err_sys(err, r, "cannot read the device state");
	if (futimens(b->memory_fd, times) < 0)
		return err_sys(err, errno, "cannot set the time of the memory file");
	manifest_set(m, MANIFEST_FORMAT, MANIFEST_FORMAT_VERSION);
	manifest_set(m, MANIFEST_ID, b->id);
	manifest_set(m, MANIFEST_STATE_SHA256, digest);
	set_u64(m, MANIFEST_MEMORY_BYTES, b->memory_bytes);
	set_u64(m, MANIFEST_PUBLISHED_BYTES, (uint64_t)memory.st_blocks * 512);
	set_u64(m, MANIFEST_STATE_BYTES, (uint64_t)state.st_size);
	set_u64(m, MANIFEST_CREATED, (uint64_t)times[1].tv_sec);
	return 0;
}

static int write_manifest(
	struct generation_build *b, const struct manifest *m, struct err *err)
{
	_cleanup_json_ struct json_object *obj = manifest_to_json(m);
	const char *text = json_object_to_json_string_ext(
		obj, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
			     JSON_C_TO_STRING_NOSLASHESCAPE);
	struct manifest again;
	int r;

	/* What is published must be what a reader accepts. */
	r = manifest_parse(text, strlen(text), &again, err);
	if (r < 0)
		return r;
	manifest_done(&again);
	return file_write_atomic(
		b->dir_fd, GENERATION_MANIFEST, text, strlen(text), FILE_MODE, err);
}

static int generation_publish_files(
	struct generation_build *b, struct manifest *m, struct err *err)
{
	char folder[GENERATION_ID_SIZE + sizeof(GENERATION_NEW)];
	int r;

	r = generation_set_identity(b, m, err);
	if (r < 0)
		return r;
	if (fchmod(b->memory_fd, FILE_MODE) < 0 || fchmod(b->state_fd, FILE_MODE) < 0)
		return err_sys(err, errno, "cannot make its files read-only");
	/* From here on nobody of ours could write, either. */
	close_fd(steal_fd(&b->memory_fd));
	close_fd(steal_fd(&b->state_fd));
	r = write_manifest(b, m, err);
	if (r < 0)
		return r;
	snprintf(folder, sizeof(folder), GENERATION_NEW "%s", b->id);
	if (fchmod(b->dir_fd, DIR_MODE) < 0 ||
		renameat2(b->root_fd, folder, b->root_fd, b->id, RENAME_NOREPLACE) < 0)
		return err_sys(err, errno, "cannot give the folder its name");
	b->published = true;
	return 0;
}

int generation_build_publish(
	struct generation_build *b, const struct manifest *inputs, struct err *err)
{
	struct manifest m;
	int r;

	manifest_copy(&m, inputs);
	r = generation_publish_files(b, &m, err);
	manifest_done(&m);
	return r < 0 ? err_wrap(err, "publish generation %s", b->id) : 0;
}
