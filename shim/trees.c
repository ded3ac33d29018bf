/* SPDX-License-Identifier: Apache-2.0 */
/* The file trees of one container: see trees.h. */
#include "shim/trees.h"

#include <errno.h>
#include <pthread.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent-client/agent.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "files/wire.h"
#include "shim/follow.h"
#include "shim/layers.h"
#include "shim/mount_source.h"
#include "shim/rootfs.h"

struct tree_place {
	int mount_fd;
	unsigned int mode; /* its root's, of stat(2) */
	enum tree_cache cache;
	bool readonly;
	bool overlay_upper;
	bool given;
	unsigned int mount;        /* its number, if given */
	bool sealed_later;         /* mount_fd is kept until then */
	struct follower *follower; /* the host's later mounts appear in it */

	Grpc__Storage storage;
	char *option;
};

/* Before the trees' own: what the guest makes of an image. */
struct image_storage {
	Grpc__Storage storage;
	char *options[3];
};

struct trees {
	char *cid;
	const struct trees_config *config; /* of the thread that makes them */
	pthread_t thread;
	bool running;
	struct tree_place *place; /* the rootfs, then the bind mounts */
	bool root_is_disk;
	size_t n;
	struct image image;     /* fd -1: there is none, or it has been taken */
	struct layers layers;   /* of the image; no lowers: the rootfs is a tree */
	char image_address[16]; /* in the guest */
	struct image_storage image_storage, overlay_storage;
	Grpc__Storage **storages;
	int r;
	struct err err;
};

/* Somebody else has made it, and may go on writing: docker cp, for one. */
static int clone_root(struct trees *t, struct err *err)
{
	const struct rootfs_tree tree = {t->config->root, true, ROOTFS_WRITABLE};

	t->place[0].cache = TREE_CACHE_SHARED;
	return rootfs_clone(&tree, &t->place[0].mount_fd, err);
}

static int assemble_root(struct trees *t, struct err *err)
{
	const struct trees_config *c = t->config;

	t->place[0].cache = TREE_CACHE_OWN;
	return rootfs_assemble(
		c->folder, c->mounts, c->n_mounts, &t->place[0].mount_fd, err);
}

/* Whether there is an image of the layers; with it, if they are written to, the tree of
 * their upper and work folders. */
static int find_image(struct trees *t, bool *ret_found)
{
	const struct trees_config *c = t->config;
	struct rootfs_tree tree = {.readonly = ROOTFS_WRITABLE};
	struct err why = ERR_INIT;
	int r;

	*ret_found = false;
	if (!layers_parse(c->mounts, c->n_mounts, &t->layers))
		return 0;
	r = image_ask(c->config, t->layers.lowers, t->layers.n_lowers, &t->image, &why);
	if (r < 0)
		return err_copy(&t->err, &why);
	if (r == IMAGE_NONE) {
		log_info("container %s has its rootfs without an image: %s", t->cid,
			why.text);
		return 0;
	}
	if (t->image.bytes < c->config->images_min_bytes) {
		image_release(&t->image);
		return 0;
	}
	*ret_found = t->place[0].overlay_upper = true;
	t->place[0].cache = TREE_CACHE_OWN;
	tree.path = t->layers.parent;
	return tree.path ? rootfs_clone(&tree, &t->place[0].mount_fd, &t->err) : 0;
}

static int make_root(struct trees *t)
{
	bool found;
	int r;

	if (t->root_is_disk)
		return 0;
	if (!t->config->n_mounts)
		return clone_root(t, &t->err);
	r = find_image(t, &found);
	if (r < 0 || found)
		return r;
	layers_done(&t->layers);
	return assemble_root(t, &t->err);
}

/* What is read of the root changes nothing from the beginning: a time of access would,
 * and the mount could not be made read-only at that moment. */
static int prepare_sealing(struct trees *t, struct err *err)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOATIME, .attr_clr = MOUNT_ATTR__ATIME};
	struct tree_place *p = &t->place[0];

	p->sealed_later = t->config->readonly && p->mount_fd >= 0;
	if (p->sealed_later &&
		mount_setattr(p->mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot restrict the root file system");
	return 0;
}

static int make_bind(struct trees *t, unsigned int i)
{
	const struct spec_bind *bind = &t->config->binds[i];
	struct tree_place *p = &t->place[i + 1];
	int r;

	p->cache = TREE_CACHE_SHARED;
	p->readonly = bind->tree.readonly == ROOTFS_READONLY_ALL;
	r = bind->follows ? follow_start(&bind->tree, &p->mount_fd, &p->follower, &t->err)
			  : rootfs_clone(&bind->tree, &p->mount_fd, &t->err);
	return r == 0 ? mount_source_check(p->mount_fd, bind->tree.path, &t->err) : r;
}

/* An image alone has no tree, and a disk has none. */
static bool has_tree(const struct trees *t, size_t i)
{
	return i > 0 || (!t->root_is_disk && (!t->layers.n_lowers || t->layers.parent));
}

static int look_at(struct trees *t, struct err *err)
{
	for (size_t i = 0; i < t->n; i++) {
		struct stat st;

		if (!has_tree(t, i))
			continue;
		if (fstat(t->place[i].mount_fd, &st) < 0)
			return err_sys(err, errno, "cannot look at what is to be shared");
		t->place[i].mode = st.st_mode & S_IFMT;
	}
	return 0;
}

static void *make_trees(void *arg)
{
	struct trees *t = arg;

	t->r = make_root(t);
	if (t->r == 0)
		t->r = prepare_sealing(t, &t->err);
	for (unsigned int i = 0; t->r == 0 && i < t->config->n_binds; i++)
		t->r = make_bind(t, i);
	if (t->r == 0)
		t->r = look_at(t, &t->err);
	return NULL;
}

int trees_start(const struct trees_config *config, struct trees **ret, struct err *err)
{
	struct trees *t = xnew0(struct trees);
	int r;

	t->cid = xstrdup(config->cid);
	t->config = config;
	t->root_is_disk = config->root_is_disk;
	t->n = config->n_binds + 1;
	t->image = IMAGE_INIT;
	t->place = xreallocarray(NULL, t->n, sizeof(*t->place));
	for (size_t i = 0; i < t->n; i++)
		t->place[i] = (struct tree_place){.mount_fd = -1};
	r = thread_start(make_trees, t, 0, false, &t->thread);
	if (r < 0) {
		trees_free(t);
		return err_sys(err, r, "cannot start a thread");
	}
	t->running = true;
	*ret = t;
	return 0;
}

static void join_thread(struct trees *t)
{
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
}

/* ---- the image ---- */

const struct image *trees_image(struct trees *t)
{
	join_thread(t);
	return t->r == 0 && t->image.fd >= 0 ? &t->image : NULL;
}

void trees_take_image(struct trees *t, const char *address)
{
	str_copy(t->image_address, address);
	/* QEMU has it, and with it the lock. */
	close_fd(steal_fd(&t->image.fd));
}

int trees_refuse_image(struct trees *t, struct err *err)
{
	int r;

	image_release(&t->image);
	layers_done(&t->layers);
	t->place[0].overlay_upper = false;
	close_fd(steal_fd(&t->place[0].mount_fd));
	r = assemble_root(t, err);
	if (r == 0)
		r = prepare_sealing(t, err);
	return r == 0 ? look_at(t, err) : r;
}

static void describe_image(struct trees *t)
{
	static char driver[] = FILES_IMAGE_DRIVER, fstype[] = "erofs";
	Grpc__Storage *s = &t->image_storage.storage;

	grpc__storage__init(s);
	s->driver = driver;
	s->fstype = fstype;
	s->source = t->image_address;
	s->mount_point = t->layers.parent
				 ? xasprintf(AGENT_IMAGES_DIR "/%s", t->image.key)
				 : xasprintf(AGENT_SHARED_DIR "/%s/rootfs", t->cid);
}

static void describe_overlay(struct trees *t)
{
	static char driver[] = FILES_OVERLAY_DRIVER, fstype[] = "overlay",
		    source[] = "overlay";
	struct image_storage *o = &t->overlay_storage;
	Grpc__Storage *s = &o->storage;

	grpc__storage__init(s);
	s->driver = driver;
	s->fstype = fstype;
	s->source = source;
	s->mount_point = xasprintf(AGENT_SHARED_DIR "/%s/rootfs", t->cid);
	o->options[0] = xasprintf("lowerdir=%s", t->image_storage.storage.mount_point);
	o->options[1] = xasprintf(
		"upperdir=" AGENT_SHARED_DIR "/%s/upper/%s", t->cid, t->layers.upper);
	o->options[2] = xasprintf(
		"workdir=" AGENT_SHARED_DIR "/%s/upper/%s", t->cid, t->layers.work);
	s->options = o->options;
	s->n_options = ARRAY_SIZE(o->options);
}

/* ---- giving them ---- */

/* An overlay's files are on its upper layer's file system. */
static uint64_t upper_memory_bytes(const struct trees_config *c)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->n_mounts; i++) {
		const Containerd__Types__Mount *m = c->mounts[i];

		for (size_t k = 0; k < m->n_options; k++) {
			_cleanup_close_ int fd = -1;

			if (strncmp(m->options[k], "upperdir=", 9) != 0)
				continue;
			fd = open(m->options[k] + 9, O_PATH | O_CLOEXEC);
			bytes = MAX(bytes, fd < 0 ? 0 : mount_source_memory_bytes(fd));
		}
	}
	return bytes;
}

uint64_t trees_memory_bytes(struct trees *t)
{
	uint64_t sum;

	join_thread(t);
	sum = upper_memory_bytes(t->config);
	for (size_t i = 0; i < t->n; i++) {
		int fd = t->place[i].mount_fd;
		uint64_t one = fd < 0 ? 0 : mount_source_memory_bytes(fd);

		if (__builtin_add_overflow(sum, one, &sum))
			return UINT64_MAX;
	}
	return sum;
}

/* The host may want the device, and the guest's kernel remembers files of it. */
static void on_unmounted(void *user)
{
	struct files_client *files = user;
	struct err err = ERR_INIT;

	if (files_client_shrink(files, &err) < 0)
		log_warn("a file system that the host has unmounted stays in use: %s",
			err.text);
}

static int give_one(struct tree_place *p, struct files_client *files, struct err *err)
{
	struct files_tree tree = {.mount_fd = p->mount_fd,
		.cache = p->cache,
		.readonly = p->readonly,
		.overlay_upper = p->overlay_upper};
	int r = files_client_add(files, &tree, &p->mount, err);

	p->given = r == 0;
	if (p->given && p->follower)
		follow_tell(p->follower, on_unmounted, files);
	/* The server has its own descriptor. */
	if (!p->sealed_later)
		close_fd(steal_fd(&p->mount_fd));
	return r;
}

int trees_give(struct trees *t, struct files_client *files, struct err *err)
{
	int r = 0;

	join_thread(t);
	if (t->r < 0)
		return err_copy(err, &t->err);
	for (size_t i = 0; r == 0 && i < t->n; i++)
		if (has_tree(t, i))
			r = give_one(&t->place[i], files, err);
	return r;
}

static int seal_mount(
	const struct tree_place *p, struct files_client *files, struct err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	int r = files_client_freeze(files, p->mount, err);

	if (r < 0)
		return r;
	if (mount_setattr(p->mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
		return files_client_thaw(files, p->mount, err);
	r = err_sys(err, errno, "mount_setattr");
	files_client_thaw(files, p->mount, NULL);
	return r;
}

int trees_seal(struct trees *t, struct files_client *files, struct err *err)
{
	struct tree_place *p = &t->place[0];
	int r;

	if (!p->sealed_later)
		return 0;
	r = seal_mount(p, files, err);
	p->sealed_later = false;
	close_fd(steal_fd(&p->mount_fd));
	return r < 0 ? err_wrap(err, "cannot make the root file system read-only") : 0;
}

static void describe_storage(struct trees *t, size_t i)
{
	static char driver[] = FILES_DRIVER, fstype[] = "fuse";
	struct tree_place *p = &t->place[i];
	Grpc__Storage *s = &p->storage;

	grpc__storage__init(s);
	p->option = xasprintf("rootmode=%o", p->mode);
	s->driver = driver;
	s->fstype = fstype;
	s->source = xasprintf("%u", p->mount);
	if (i == 0)
		s->mount_point = xasprintf(AGENT_SHARED_DIR "/%s/%s", t->cid,
			t->layers.n_lowers ? "upper" : "rootfs");
	else
		s->mount_point =
			xasprintf(AGENT_SHARED_DIR "/%s/mounts/%zu", t->cid, i - 1);
	s->options = &p->option;
	s->n_options = 1;
}

/* The rootfs before what is mounted into it,
 * and the overlay behind what it is made of. */
Grpc__Storage **trees_storages(struct trees *t, size_t *ret_n)
{
	size_t n = 0;

	t->storages = xreallocarray(NULL, t->n + 2, sizeof(*t->storages));
	for (size_t i = 0; i < t->n; i++) {
		if (has_tree(t, i)) {
			describe_storage(t, i);
			t->storages[n++] = &t->place[i].storage;
		}
		if (i > 0 || !t->layers.n_lowers)
			continue;
		describe_image(t);
		t->storages[n++] = &t->image_storage.storage;
		if (t->layers.parent) {
			describe_overlay(t);
			t->storages[n++] = &t->overlay_storage.storage;
		}
	}
	*ret_n = n;
	return t->storages;
}

void trees_withdraw(struct trees *t, struct files_client *files)
{
	if (!t)
		return;
	trees_settle(t);
	for (size_t i = 0; i < t->n; i++) {
		struct tree_place *p = &t->place[i];
		struct err err = ERR_INIT;

		if (p->given && files_client_remove(files, p->mount, &err) < 0)
			log_error("the file server keeps a tree of container %s: %s",
				t->cid, err.text);
		p->given = false;
	}
}

void trees_settle(struct trees *t)
{
	if (!t)
		return;
	join_thread(t);
	for (size_t i = 0; i < t->n; i++)
		follow_end(steal_ptr(t->place[i].follower));
}

void trees_free(struct trees *t)
{
	if (!t)
		return;
	trees_settle(t);
	for (size_t i = 0; i < t->n; i++) {
		close_fd(t->place[i].mount_fd);
		if (t->storages && has_tree(t, i)) {
			free(t->place[i].storage.source);
			free(t->place[i].storage.mount_point);
			free(t->place[i].option);
		}
	}
	if (t->storages && t->layers.n_lowers)
		free(t->image_storage.storage.mount_point);
	if (t->storages && t->layers.parent)
		free(t->overlay_storage.storage.mount_point);
	for (size_t i = 0; i < ARRAY_SIZE(t->overlay_storage.options); i++)
		free(t->overlay_storage.options[i]);
	image_release(&t->image);
	layers_done(&t->layers);
	free(t->storages);
	free(t->place);
	free(t->cid);
	free(t);
}
