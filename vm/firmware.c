/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware, option ROMs and modules: see firmware.h.
 *
 * A saved device state has the contents of its ROMs in it, and their sizes: QEMU refuses
 * to restore it where a ROM file has grown ("Length mismatch"). Distributions update them
 * apart from QEMU (Debian: qemu-system-data, seabios, ipxe-qemu).
 */
#include "vm/firmware.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "mm/digest.h"

static const char *const below_prefix[] = {
	"share/qemu",
	"share/seabios",
	"lib/ipxe/qemu",
	"lib/x86_64-linux-gnu/qemu", /* modules: Debian's folder, and others' */
	"lib64/qemu",
	"lib/qemu",
	"lib64/qemu-kvm",
};

/* "/opt/qemu" of "/opt/qemu/bin/qemu-system-x86_64"; the caller's. */
static char *prefix_of(const char *qemu_path)
{
	char *prefix = xstrdup(qemu_path);

	for (int i = 0; i < 2; i++) {
		char *slash = strrchr(prefix, '/');

		if (slash)
			*slash = '\0';
	}
	return prefix;
}

char **firmware_folders_new(const char *qemu_path)
{
	_cleanup_free_ char *own = prefix_of(qemu_path);
	const char *const prefixes[] = {own, "/usr"};
	size_t n_prefixes = strcmp(own, "/usr") == 0 ? 1 : 2, n = 0;
	char **folders = xreallocarray(
		NULL, n_prefixes * ARRAY_SIZE(below_prefix) + 1, sizeof(*folders));

	for (size_t p = 0; p < n_prefixes; p++)
		for (size_t i = 0; i < ARRAY_SIZE(below_prefix); i++)
			folders[n++] = xasprintf("%s/%s", prefixes[p], below_prefix[i]);
	folders[n] = NULL;
	return folders;
}

void firmware_folders_free(char **folders)
{
	for (char **folder = folders; *folder; folder++)
		free(*folder);
	free(folders);
}

/* Does something with each regular file of a folder, in the order of their names. A
 * missing folder has none. */
static int for_each_file(const char *folder,
	int (*fn)(struct sha256_ctx *ctx, int dir_fd, const char *name,
		const struct stat *st),
	struct sha256_ctx *ctx)
{
	_cleanup_close_ int dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **names = NULL;
	int n = 0, r = 0;

	if (dir_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	n = scandirat(dir_fd, ".", &names, NULL, alphasort);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		struct stat st;

		if (r == 0 && fstatat(dir_fd, names[i]->d_name, &st, 0) == 0 &&
			S_ISREG(st.st_mode))
			r = fn(ctx, dir_fd, names[i]->d_name, &st);
		free(names[i]);
	}
	free(names);
	return r;
}

static void update_text(struct sha256_ctx *ctx, const char *text)
{
	sha256_update(ctx, strlen(text) + 1, (const uint8_t *)text);
}

static int add_stamp(
	struct sha256_ctx *ctx, int dir_fd, const char *name, const struct stat *st)
{
	const int64_t numbers[] = {(int64_t)st->st_dev, (int64_t)st->st_ino, st->st_size,
		st->st_mtim.tv_sec, st->st_mtim.tv_nsec, st->st_ctim.tv_sec,
		st->st_ctim.tv_nsec};

	(void)dir_fd;
	update_text(ctx, name);
	sha256_update(ctx, sizeof(numbers), (const uint8_t *)numbers);
	return 0;
}

static int add_content(
	struct sha256_ctx *ctx, int dir_fd, const char *name, const struct stat *st)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	char digest[DIGEST_TEXT_SIZE];
	int r;

	(void)st;
	if (fd < 0) /* gone since: whoever removed it is not done yet */
		return errno == ENOENT ? 0 : -errno;
	r = digest_file(fd, digest);
	update_text(ctx, name);
	update_text(ctx, digest);
	return r;
}

static int sum_folders(char *const *folders,
	int (*fn)(struct sha256_ctx *ctx, int dir_fd, const char *name,
		const struct stat *st),
	uint8_t ret[SHA256_DIGEST_SIZE], struct err *err)
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	for (; *folders; folders++) {
		int r;

		update_text(&ctx, *folders);
		r = for_each_file(*folders, fn, &ctx);
		if (r < 0)
			return err_sys(
				err, r, "cannot look at QEMU's files in %s", *folders);
	}
	sha256_digest(&ctx, SHA256_DIGEST_SIZE, ret);
	return 0;
}

int firmware_look(char *const *folders, struct firmware *f, struct err *err)
{
	uint8_t stamp[SHA256_DIGEST_SIZE], digest[SHA256_DIGEST_SIZE];
	int r = sum_folders(folders, add_stamp, stamp, err);

	if (r < 0 || (*f->digest && memcmp(stamp, f->stamp, sizeof(stamp)) == 0))
		return r;
	r = sum_folders(folders, add_content, digest, err);
	if (r < 0)
		return r;
	memcpy(f->stamp, stamp, sizeof(stamp));
	hex_encode(digest, sizeof(digest), f->digest);
	return 0;
}
