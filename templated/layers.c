/* SPDX-License-Identifier: Apache-2.0 */
/* The lower folders of a root file system: see layers.h. */
#include "templated/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/magic.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/util.h"

/* Goes into each key: images of another format have other names. */
#define LAYERS_FORMAT "stencil image 1"

/* mkfs.erofs has all inodes in memory at once. */
#define LAYERS_INODES_MAX 4000000u
/* More data and hole segments than that in one file are counted as data. */
#define LAYERS_SEGMENTS_MAX 65536
/* What is less than that of a file is not worth a look at its holes. */
#define LAYERS_HOLE_MIN MiB

#define BLOCK 4096u

/* ---- identity ---- */

struct identity {
	struct sha256_ctx ctx;
	/* The device of the last layer, which is not an overlay's: layers share one. */
	uint32_t dev_major, dev_minor;
	bool dev_known;
};

/* fd: the layer's, or -1. */
static int check_device(struct identity *id, int fd, const char *path,
	const struct statx *stx, struct err *err)
{
	struct statfs fs;

	if (id->dev_known && id->dev_major == stx->stx_dev_major &&
		id->dev_minor == stx->stx_dev_minor)
		return 0;
	if ((fd >= 0 ? fstatfs(fd, &fs) : statfs(path, &fs)) < 0)
		return err_sys(
			err, errno, "cannot look at the layer %s", err_quote(path, 256));
	if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return err_set(err, -EINVAL, "the layer %s is on an overlay itself",
			err_quote(path, 256));
	id->dev_major = stx->stx_dev_major;
	id->dev_minor = stx->stx_dev_minor;
	id->dev_known = true;
	return 0;
}

static int check_layer(const char *path, const struct statx *stx, struct err *err)
{
	if (!S_ISDIR(stx->stx_mode))
		return err_set(
			err, -EINVAL, "the layer %s is no folder", err_quote(path, 256));
	if (stx->stx_mode & S_IWOTH)
		return err_set(err, -EINVAL,
			"everybody may write to the layer %s (mode %04o)",
			err_quote(path, 256), stx->stx_mode & 07777u);
	return 0;
}

/* A file system without birth times has the last change instead: a folder that was made
 * anew with the number of a former one still differs. */
static void hash_layer(struct sha256_ctx *ctx, const char *path, const struct statx *stx)
{
	bool born = stx->stx_mask & STATX_BTIME;
	const struct statx_timestamp *time = born ? &stx->stx_btime : &stx->stx_ctime;
	const uint64_t numbers[] = {
		stx->stx_dev_major,
		stx->stx_dev_minor,
		stx->stx_ino,
		born,
		(uint64_t)time->tv_sec,
		time->tv_nsec,
		strlen(path),
	};

	sha256_update(ctx, sizeof(numbers), (const uint8_t *)numbers);
	sha256_update(ctx, strlen(path), (const uint8_t *)path);
}

/* Hashes one, and opens it where a descriptor is wanted. */
static int identify_layer(
	const char *path, struct identity *id, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = ret_fd ? open(path, O_PATH | O_CLOEXEC) : -1;
	struct statx stx;
	int r = ret_fd && fd < 0 ? -1
				 : statx(ret_fd ? fd : AT_FDCWD, ret_fd ? "" : path,
					   ret_fd ? AT_EMPTY_PATH : 0,
					   STATX_BASIC_STATS | STATX_BTIME, &stx);

	if (r < 0)
		return err_sys(
			err, errno, "cannot open the layer %s", err_quote(path, 256));
	r = check_layer(path, &stx, err);
	if (r == 0)
		r = check_device(id, fd, path, &stx, err);
	if (r < 0)
		return r;
	hash_layer(&id->ctx, path, &stx);
	if (ret_fd)
		*ret_fd = steal_fd(&fd);
	return 0;
}

int layers_identify(char *const *lowers, size_t n, int *ret_fds,
	char ret_key[LAYERS_KEY_SIZE], struct err *err)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct identity id = {0};

	sha256_init(&id.ctx);
	sha256_update(&id.ctx, sizeof(LAYERS_FORMAT), (const uint8_t *)LAYERS_FORMAT);
	for (size_t i = 0; i < n; i++) {
		int fd = -1;
		int r = identify_layer(lowers[i], &id, ret_fds ? &fd : NULL, err);

		if (r < 0) {
			if (ret_fds)
				layers_close(ret_fds, i);
			return r;
		}
		if (ret_fds)
			ret_fds[i] = fd;
	}
	sha256_digest(&id.ctx, sizeof(digest), digest);
	hex_encode(digest, sizeof(digest), ret_key);
	return 0;
}

void layers_close(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close_fd(steal_fd(&fds[i]));
}

/* ---- size ---- */

static uint64_t holes_of(const char *path, uint64_t size)
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t holes = 0;
	off_t at = 0;

	for (int i = 0; fd >= 0 && i < LAYERS_SEGMENTS_MAX; i++) {
		off_t data = lseek(fd, at, SEEK_DATA);

		if (data < 0)
			return errno == ENXIO ? holes + size - (uint64_t)at : holes;
		holes += (uint64_t)(data - at);
		at = lseek(fd, data, SEEK_HOLE);
		if (at < 0 || (uint64_t)at >= size)
			break;
	}
	return holes;
}

/* A file system that compresses has fewer blocks than bytes, and no holes. */
static void measure_file(const FTSENT *entry, struct layers_measure *m)
{
	const struct stat *st = entry->fts_statp;
	uint64_t links = MAX((uint64_t)st->st_nlink, 1), size = (uint64_t)st->st_size;
	uint64_t stored = (uint64_t)st->st_blocks * 512;

	/* Of a file with several names each brings its part. */
	m->bytes += align_up(size, BLOCK) / links;
	if (size > stored && size - stored >= LAYERS_HOLE_MIN)
		m->holes_bytes += holes_of(entry->fts_accpath, size) / links;
}

static int measure_entry(const FTSENT *entry, struct layers_measure *m, struct err *err)
{
	switch (entry->fts_info) {
	case FTS_DP:
		return 0;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return err_sys(err, entry->fts_errno, "cannot look at %s",
			err_quote(entry->fts_path, 256));
	case FTS_F:
		measure_file(entry, m);
		break;
	default:
		/* A folder's entries, a link's target. */
		m->bytes += align_up((uint64_t)entry->fts_statp->st_size, BLOCK);
		break;
	}
	m->bytes += 64; /* an inode */
	if (++m->inodes > LAYERS_INODES_MAX)
		return err_set(
			err, -EFBIG, "there are more than %u files", LAYERS_INODES_MAX);
	return 0;
}

int layers_look(const char *root, bool (*goes_on)(void *user), void *user,
	struct layers_measure *ret, struct err *err)
{
	char *const paths[] = {(char *)(uintptr_t)root, NULL};
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	struct layers_measure m = {0};
	FTSENT *entry;
	int r = 0;

	if (!fts)
		return err_sys(err, errno, "cannot go through the layers");
	while (r == 0) {
		errno = 0;
		entry = fts_read(fts);
		if (!entry) {
			if (errno)
				r = err_sys(err, errno, "cannot go through the layers");
			break;
		}
		r = goes_on(user) ? measure_entry(entry, &m, err)
				  : err_set(err, -ECANCELED, "it was stopped");
	}
	fts_close(fts);
	if (r == 0)
		*ret = m;
	return r;
}
