/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store's folder: see images.h.
 *
 * The .json is written last, with what the file is after its rename: whatever changes the
 * file afterwards changes its change time, and that can't be set back.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "templated/events.h"
#include "templated/images_internal.h"
#include "templated/lock.h"
#include "vm/cgroup.h"
#include "vm/number.h"

int images_open_file(const struct images *s, const char *key)
{
	char name[IMAGE_NAME_SIZE];

	image_file_name(name, key, "erofs");
	return openat(s->ro_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* ---- entries ---- */

struct image_entry *images_find(struct images *s, const char *key)
{
	for (struct image_entry *e = s->all; e; e = e->next)
		if (strcmp(e->key, key) == 0)
			return e;
	return NULL;
}

static struct image_entry *add_entry(
	struct images *s, const char *key, const struct image_facts *facts)
{
	struct image_entry *e = xnew0(struct image_entry);

	str_copy(e->key, key);
	e->facts = *facts;
	e->used_ms = facts->made_ms;
	e->next = s->all;
	s->all = e;
	s->bytes += facts->bytes;
	return e;
}

static void drop_entry(struct images *s, struct image_entry *e)
{
	struct image_entry **p = &s->all;

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	s->bytes -= e->facts.bytes;
	free(e);
}

static void unlink_files(struct images *s, const char *key)
{
	static const char *const endings[] = {"json", "json.new", "erofs", "new"};
	char name[IMAGE_NAME_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		image_file_name(name, key, endings[i]);
		if (unlinkat(s->dir_fd, name, 0) < 0 && errno != ENOENT)
			log_warn("cannot remove %s/%s: %s", s->path, name,
				strerror(errno));
	}
}

/* One that is not what it should be: others may have it open still. */
static void discard_entry(struct images *s, struct image_entry *e, const char *why)
{
	log_warn("the image %.12s is removed: %s", e->key, why);
	events_emit("image-removed", "key", e->key, "reason", why, NULL);
	s->removed++;
	unlink_files(s, e->key);
	drop_entry(s, e);
}

enum images_answer images_grant(
	struct images *s, struct image_entry *e, struct image_grant *ret)
{
	_cleanup_close_ int fd = images_open_file(s, e->key);
	char name[IMAGE_NAME_SIZE];
	struct err err = ERR_INIT;
	struct timespec now;
	int r = 0;

	if (fd < 0)
		r = err_sys(&err, errno, "cannot open it");
	if (r == 0)
		r = image_facts_check(fd, &e->facts, &err);
	if (r == 0 && flock(fd, LOCK_SH | LOCK_NB) < 0)
		r = err_sys(&err, errno, "cannot lock it");
	if (r < 0) {
		discard_entry(s, e, err.text);
		return IMAGES_MAKING;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	e->used_ms = image_time_ns(&now) / 1000000;
	image_file_name(name, e->key, "json");
	/* For the next templated alone. */
	utimensat(s->dir_fd, name, (struct timespec[]){now, now}, AT_SYMLINK_NOFOLLOW);
	ret->fd = steal_fd(&fd);
	ret->bytes = e->facts.bytes;
	return IMAGES_GRANTED;
}

void image_litter_done(struct image_litter *litter)
{
	for (size_t i = 0; i < litter->n; i++)
		close(litter->fds[i]);
	free(litter->fds);
	*litter = (struct image_litter){0};
}

bool images_remove(struct images *s, struct image_entry *e, const char *why,
	struct image_litter *litter)
{
	_cleanup_close_ int fd = images_open_file(s, e->key);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	log_info("the image %.12s of %" PRIu64 " bytes is removed: %s", e->key,
		e->facts.bytes, why);
	events_emit("image-removed", "key", e->key, "reason", why, NULL);
	s->removed++;
	unlink_files(s, e->key);
	litter->bytes += e->facts.bytes;
	litter->fds = xreallocarray(litter->fds, litter->n + 1, sizeof(*litter->fds));
	litter->fds[litter->n++] = fd < 0 ? dup(s->dir_fd) : steal_fd(&fd);
	drop_entry(s, e);
	return true;
}

/* The one not used for longest, of those used after `after` (with its key, as two may
 * have been used in one millisecond). */
static struct image_entry *oldest_after(struct images *s, uint64_t after, const char *key)
{
	struct image_entry *found = NULL;

	for (struct image_entry *e = s->all; e; e = e->next) {
		if (e->used_ms < after ||
			(e->used_ms == after && strcmp(e->key, key) <= 0))
			continue;
		if (!found || e->used_ms < found->used_ms ||
			(e->used_ms == found->used_ms && strcmp(e->key, found->key) < 0))
			found = e;
	}
	return found;
}

enum images_answer images_make_room(struct images *s, uint64_t bytes, uint64_t max_bytes,
	struct image_litter *litter, struct err *err)
{
	char key[LAYERS_KEY_SIZE] = "";
	uint64_t after = 0;

	while (s->bytes > max_bytes || bytes > max_bytes - s->bytes) {
		struct image_entry *e = oldest_after(s, after, key);

		if (!e) {
			err_set(err, -ENOSPC,
				"an image needs about %" PRIu64 " bytes, and images that "
				"are in use have %" PRIu64 " of the %" PRIu64
				" that max_bytes allows",
				bytes, s->bytes, max_bytes);
			return IMAGES_FULL;
		}
		after = e->used_ms;
		str_copy(key, e->key);
		images_remove(s, e, "it makes room", litter);
	}
	return IMAGES_GRANTED;
}

int images_publish(struct images *s, int fd, const char *key, struct image_facts *facts,
	struct err *err)
{
	char from[IMAGE_NAME_SIZE], to[IMAGE_NAME_SIZE];
	struct image_entry *e;
	struct stat st;
	int r;

	image_file_name(from, key, "new");
	image_file_name(to, key, "erofs");
	r = image_facts_digest(fd, facts->head_sha256, err);
	if (r < 0)
		return r;
	if (renameat(s->dir_fd, from, s->dir_fd, to) < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot publish %s", from);
	facts->bytes = (uint64_t)st.st_size;
	facts->inode = st.st_ino;
	facts->mtime_ns = image_time_ns(&st.st_mtim);
	facts->ctime_ns = image_time_ns(&st.st_ctim);
	r = image_facts_write(s->dir_fd, key, facts, err);
	if (r < 0)
		return r;
	e = images_find(s, key);
	if (e)
		drop_entry(s, e);
	add_entry(s, key, facts);
	return 0;
}

/* ---- opening ---- */

/* The key of a name that is one of ours, or false. */
static bool key_of(const char *name, char ret[LAYERS_KEY_SIZE])
{
	static const char *const endings[] = {".new", ".erofs", ".json", ".json.new"};

	if (strspn(name, "0123456789abcdef") != LAYERS_KEY_SIZE - 1)
		return false;
	memcpy(ret, name, LAYERS_KEY_SIZE - 1);
	ret[LAYERS_KEY_SIZE - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		if (strcmp(name + LAYERS_KEY_SIZE - 1, endings[i]) == 0)
			return true;
	return false;
}

/* What a former templated left with this key: an image, or nothing. */
static void recover_key(struct images *s, const char *key)
{
	_cleanup_close_ int fd = images_open_file(s, key);
	char name[IMAGE_NAME_SIZE];
	struct err err = ERR_INIT;
	struct image_facts facts;
	struct image_entry *e;
	struct stat st;
	int r;

	r = image_facts_read(s->dir_fd, key, &facts, &err);
	if (r == 0 && fd < 0)
		r = err_set(&err, -ENOENT, "the file is gone");
	if (r == 0)
		r = image_facts_check(fd, &facts, &err);
	if (r < 0) {
		log_info(
			"what there is of the image %.12s is removed: %s", key, err.text);
		unlink_files(s, key);
		return;
	}
	image_file_name(name, key, "new");
	unlinkat(s->dir_fd, name, 0);
	e = add_entry(s, key, &facts);
	image_file_name(name, key, "json");
	if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		e->used_ms = image_time_ns(&st.st_mtim) / 1000000;
}

static int recover_images(struct images *s, struct err *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	size_t n = 0;
	_cleanup_free_ char(*keys)[LAYERS_KEY_SIZE] = NULL;
	char key[LAYERS_KEY_SIZE];
	int r = dir_open(s->dir_fd, ".", &dir);

	if (r < 0)
		return err_sys(err, r, "cannot read it");
	/* First the names: removing disturbs readdir(3). */
	while ((entry = readdir(dir))) {
		if (!key_of(entry->d_name, key))
			continue;
		keys = xreallocarray(keys, n + 1, sizeof(*keys));
		memcpy(keys[n++], key, sizeof(key));
	}
	for (size_t i = 0; i < n; i++)
		if (!images_find(s, keys[i]))
			recover_key(s, keys[i]);
	return 0;
}

/* Only root may come here: the layers of containers are nobody else's to read. */
static int make_folder(const char *path, int *ret_fd, struct err *err)
{
	_cleanup_free_ char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = 0;

	if (slash > parent) {
		*slash = '\0';
		r = mkdir_parents(parent, 0755, err);
	}
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make it");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot open it");
	if (st.st_uid != 0)
		return err_set(
			err, -EPERM, "it belongs to uid %u, not to root", st.st_uid);
	if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) < 0)
		return err_sys(err, errno, "cannot make it root's alone");
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Of a templated that was killed: PDEATHSIG has ended mkfs.erofs,
 * if nothing was in the way. */
static void remove_group(const struct config *c)
{
	char group[CGROUP_PATH_BYTES];
	_cleanup_(unlock) int lock_fd = -1;

	cgroup_path(c, IMAGES_CGROUP, group);
	cgroup_kill(group);
	lock_fd = vm_number_lock(NULL);
	if (lock_fd >= 0)
		cgroup_remove(group, NULL);
}

static int open_folder(struct images *s, const struct config *c, struct err *err)
{
	int r = lock_take("images path", s->path, &s->lock_fd, err);

	if (r == 0)
		r = make_folder(s->path, &s->dir_fd, err);
	if (r < 0)
		return r;
	s->ro_fd = open_readonly_mount(s->path, O_PATH | O_DIRECTORY);
	if (s->ro_fd < 0)
		return err_sys(err, s->ro_fd, "cannot mount it read-only");
	remove_group(c);
	return recover_images(s, err);
}

/* Whether the folder is still where it was. */
static bool is_in_place(const struct images *s)
{
	struct stat ours, there;

	return fstat(s->dir_fd, &ours) == 0 && stat(s->path, &there) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

int images_open_store(struct images *s, const struct config *c, struct err *err)
{
	struct err why = ERR_INIT;
	int r;

	if (s->dir_fd >= 0 && is_in_place(s))
		return 0;
	images_close_store(s);
	r = open_folder(s, c, &why);
	if (r < 0) {
		images_close_store(s);
		err_wrap(&why, "the image store %s", err_quote(s->path, 256));
		if (strcmp(why.text, s->error.text) != 0)
			log_error("there will be no images: %s", why.text);
	}
	s->error = why;
	return r < 0 ? err_copy(err, &why) : 0;
}

void images_close_store(struct images *s)
{
	while (s->all)
		drop_entry(s, s->all);
	close_fd(steal_fd(&s->dir_fd));
	close_fd(steal_fd(&s->ro_fd));
	lock_drop(s->path, steal_fd(&s->lock_fd));
}
