/* SPDX-License-Identifier: Apache-2.0 */
/* Published generations: see generation.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "mm/digest.h"
#include "mm/generation_internal.h"

#define MANIFEST_FILE_MAX (64u << 10)

static const char *const file_names[GENERATION_FILES] = {
	[GENERATION_FILE_MANIFEST] = GENERATION_MANIFEST,
	[GENERATION_FILE_MEMORY] = GENERATION_MEMORY,
	[GENERATION_FILE_STATE] = GENERATION_STATE,
};

/* ---- verification ---- */

/* The opened folder and files of one generation. */
struct files {
	int dir_fd;
	int fds[GENERATION_FILES];
	struct stat st[GENERATION_FILES];
};

static void files_close(struct files *f)
{
	close_fd(f->dir_fd);
	for (size_t i = 0; i < GENERATION_FILES; i++)
		close_fd(f->fds[i]);
}

static int check_owner(
	const struct stat *st, const char *name, mode_t mode, struct err *err)
{
	if (st->st_uid != 0 || st->st_gid != 0)
		return err_set(err, -EUCLEAN, "%s: belongs to %u:%u, wanted root", name,
			st->st_uid, st->st_gid);
	if ((st->st_mode & 07777) != mode)
		return err_set(err, -EUCLEAN, "%s: mode %04o, wanted %04o", name,
			st->st_mode & 07777, mode);
	return 0;
}

static int open_file(struct files *f, enum generation_file file, struct err *err)
{
	const char *name = file_names[file];

	f->fds[file] =
		openat(f->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (f->fds[file] < 0 || fstat(f->fds[file], &f->st[file]) < 0)
		return err_sys(err, errno, "%s: cannot be opened", name);
	if (!S_ISREG(f->st[file].st_mode))
		return err_set(err, -EUCLEAN, "%s: not a regular file", name);
	if (f->st[file].st_nlink != 1)
		return err_set(err, -EUCLEAN, "%s: has %lu names, wanted 1", name,
			(unsigned long)f->st[file].st_nlink);
	return check_owner(&f->st[file], name, 0400, err);
}

static int files_open(int root_fd, const char *id, struct files *ret, struct err *err)
{
	struct files f = {.dir_fd = -1, .fds = {-1, -1, -1}};
	struct stat st;
	int r = 0;

	f.dir_fd = openat(root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (f.dir_fd < 0 || fstat(f.dir_fd, &st) < 0)
		r = err_sys(err, errno, "its folder cannot be opened");
	if (r == 0)
		r = check_owner(&st, "its folder", 0500, err);
	for (int i = 0; i < GENERATION_FILES && r == 0; i++)
		r = open_file(&f, (enum generation_file)i, err);
	if (r < 0)
		files_close(&f);
	else
		*ret = f;
	return r;
}

static int read_manifest(const struct files *f, struct manifest *ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(
		f->dir_fd, GENERATION_MANIFEST, MANIFEST_FILE_MAX, &text, &len, err);
	if (r == 0)
		r = manifest_parse(text, len, ret, err);
	return r < 0 ? err_wrap(err, GENERATION_MANIFEST) : 0;
}

static int check_size(const struct files *f, enum generation_file file,
	const struct manifest *m, enum manifest_field field, struct err *err)
{
	uint64_t wanted, found = (uint64_t)f->st[file].st_size;
	int r = manifest_get_u64(m, field, &wanted, err);

	if (r == 0 && wanted != found)
		r = err_set(err, -EUCLEAN,
			"%s: the manifest says %" PRIu64 ", the file %s has %" PRIu64
			" bytes",
			manifest_field_name(field), wanted, file_names[file], found);
	return r;
}

static int check_state(const struct files *f, const struct manifest *m, struct err *err)
{
	char digest[DIGEST_TEXT_SIZE];
	int r = digest_file(f->fds[GENERATION_FILE_STATE], digest);

	if (r < 0)
		return err_sys(err, r, "%s: cannot be read", GENERATION_STATE);
	if (strcmp(digest, m->value[MANIFEST_STATE_SHA256]) != 0)
		return err_set(err, -EUCLEAN,
			"%s: the manifest says %s, the file %s has %s",
			manifest_field_name(MANIFEST_STATE_SHA256),
			m->value[MANIFEST_STATE_SHA256], GENERATION_STATE, digest);
	return 0;
}

/* Everything that the manifest says of the files. */
static int generation_verify(
	const struct files *f, const char *id, const struct manifest *m, struct err *err)
{
	uint64_t created;
	int r;

	if (strcmp(m->value[MANIFEST_ID], id) != 0)
		return err_set(err, -EUCLEAN,
			"%s: the manifest says %s, the folder is %s",
			manifest_field_name(MANIFEST_ID),
			err_quote(m->value[MANIFEST_ID], 64), id);
	r = check_size(f, GENERATION_FILE_MEMORY, m, MANIFEST_MEMORY_BYTES, err);
	if (r < 0)
		return r;
	r = check_size(f, GENERATION_FILE_STATE, m, MANIFEST_STATE_BYTES, err);
	if (r < 0)
		return r;
	r = check_state(f, m, err);
	if (r < 0)
		return r;
	r = manifest_get_u64(m, MANIFEST_CREATED, &created, err);
	if (r < 0)
		return r;
	if (created != (uint64_t)f->st[GENERATION_FILE_MEMORY].st_mtim.tv_sec)
		return err_set(err, -EUCLEAN,
			"%s: the manifest says %" PRIu64
			", the file %s was modified at %jd",
			manifest_field_name(MANIFEST_CREATED), created, GENERATION_MEMORY,
			(intmax_t)f->st[GENERATION_FILE_MEMORY].st_mtim.tv_sec);
	return 0;
}

struct generation_stamp generation_stamp_of(const struct stat *st)
{
	return (struct generation_stamp){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = st->st_size,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
	};
}

bool generation_stamp_is(const struct generation_stamp *a, const struct stat *st)
{
	return a->dev == st->st_dev && a->ino == st->st_ino && a->size == st->st_size &&
	       a->mtime.tv_sec == st->st_mtim.tv_sec &&
	       a->mtime.tv_nsec == st->st_mtim.tv_nsec &&
	       a->ctime.tv_sec == st->st_ctim.tv_sec &&
	       a->ctime.tv_nsec == st->st_ctim.tv_nsec;
}

static int generation_read(int root_fd, const char *id, struct generation *g,
	struct files *ret_files, struct err *err)
{
	struct files f;
	int r;

	r = files_open(root_fd, id, &f, err);
	if (r < 0)
		return r;
	r = read_manifest(&f, &g->manifest, err);
	if (r == 0) {
		r = generation_verify(&f, id, &g->manifest, err);
		if (r < 0)
			manifest_done(&g->manifest);
	}
	if (r < 0) {
		files_close(&f);
		return r;
	}
	snprintf(g->id, sizeof(g->id), "%s", id);
	for (size_t i = 0; i < GENERATION_FILES; i++)
		g->stamps[i] = generation_stamp_of(&f.st[i]);
	*ret_files = f;
	return 0;
}

int generation_load(int root_fd, const char *id, struct generation *ret, struct err *err)
{
	struct generation g = {0};
	struct files f;
	int r;

	if (!generation_id_valid(id))
		return err_set(err, -EINVAL, "\"%s\" is no generation's name",
			err_quote(id, 64));
	r = generation_read(root_fd, id, &g, &f, err);
	if (r < 0)
		return err_wrap(err, "generation %s", id);
	files_close(&f);
	*ret = g;
	return 0;
}

void generation_done(struct generation *g)
{
	manifest_done(&g->manifest);
	*g = (struct generation){0};
}

/* ---- grants ---- */

/* Verifies a generation that has changed since the last look. On success the stamps are
 * new. */
static int look_again(
	int root_fd, struct generation *g, struct files *ret, struct err *err)
{
	struct generation now = {0};
	struct files f;
	int r;

	r = generation_read(root_fd, g->id, &now, &f, err);
	if (r < 0)
		return r;
	r = manifest_same(&g->manifest, &now.manifest, err);
	manifest_done(&now.manifest);
	if (r < 0) {
		files_close(&f);
		return r;
	}
	memcpy(g->stamps, now.stamps, sizeof(g->stamps));
	*ret = f;
	return 0;
}

/* Whether a file is the one of the last look. The times of a memory that is compacted are
 * ours. */
static bool is_known(
	const struct generation *g, enum generation_file file, const struct stat *st)
{
	const struct generation_stamp *stamp = &g->stamps[file];

	if (file == GENERATION_FILE_MEMORY && g->compacting)
		return stamp->dev == st->st_dev && stamp->ino == st->st_ino &&
		       stamp->size == st->st_size;
	return generation_stamp_is(stamp, st);
}

int generation_grant(int root_fd, struct generation *g, int *ret_memory_fd,
	int *ret_state_fd, struct err *err)
{
	bool same = true;
	struct statvfs fs;
	struct files f;
	int r;

	/* QEMU may open it again by /proc/self/fd and has CAP_DAC_OVERRIDE: the mount is
	 * what stops it. */
	if (fstatvfs(root_fd, &fs) < 0)
		return err_sys(err, errno, "cannot look at the template's tmpfs");
	if (!(fs.f_flag & ST_RDONLY))
		return err_set(err, -EPERM,
			"generation %s is not granted through a mount that can be "
			"written to",
			g->id);
	r = files_open(root_fd, g->id, &f, err);
	for (size_t i = 0; r == 0 && i < GENERATION_FILES; i++)
		same = same && is_known(g, (enum generation_file)i, &f.st[i]);
	if (r == 0 && !same) {
		files_close(&f);
		r = look_again(root_fd, g, &f, err);
	}
	if (r < 0)
		return err_wrap(err, "generation %s", g->id);
	*ret_memory_fd = steal_fd(&f.fds[GENERATION_FILE_MEMORY]);
	*ret_state_fd = steal_fd(&f.fds[GENERATION_FILE_STATE]);
	files_close(&f);
	return 0;
}

int generation_resident(int root_fd, const char *id, uint64_t *ret_bytes, struct err *err)
{
	char path[GENERATION_ID_SIZE + sizeof(GENERATION_MEMORY) + 1];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" GENERATION_MEMORY, id);
	if (fstatat(root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(
			err, errno, "cannot look at the memory of generation %s", id);
	*ret_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}

int generation_remove(int root_fd, const char *id, struct err *err)
{
	char old[GENERATION_ID_SIZE + sizeof(GENERATION_OLD)];

	snprintf(old, sizeof(old), GENERATION_OLD "%s", id);
	if (renameat2(root_fd, id, root_fd, old, RENAME_NOREPLACE) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove generation %s", id);
	return remove_tree(root_fd, old, err) < 0;
}
