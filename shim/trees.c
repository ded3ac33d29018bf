/* SPDX-License-Identifier: Apache-2.0 */
/* The file trees of one container: see trees.h. */
#include "shim/trees.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent-client/agent.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "files/wire.h"
#include "shim/rootfs.h"

struct tree_place {
	int mount_fd;
	unsigned int mode; /* its root's, of stat(2) */
	enum tree_cache cache;
	bool readonly;
	bool given;
	unsigned int mount; /* its number, if given */

	Grpc__Storage storage;
	char *option;
};

struct trees {
	char *cid;
	const struct trees_config *config; /* of the thread that makes them */
	pthread_t thread;
	bool running;
	struct tree_place *place; /* the rootfs, then the bind mounts */
	size_t n;
	Grpc__Storage **storages;
	int r;
	struct err err;
};

static int make_root(struct trees *t)
{
	const struct trees_config *c = t->config;
	struct tree_place *p = &t->place[0];

	if (c->n_mounts) {
		p->cache = TREE_CACHE_OWN;
		return rootfs_assemble(
			c->folder, c->mounts, c->n_mounts, &p->mount_fd, &t->err);
	}
	/* Somebody else has made it, and may go on writing: docker cp, for one. */
	p->cache = TREE_CACHE_SHARED;
	return rootfs_clone(c->root, true, ROOTFS_WRITABLE, &p->mount_fd, &t->err);
}

static int make_bind(struct trees *t, unsigned int i)
{
	const struct spec_bind *bind = &t->config->binds[i];
	struct tree_place *p = &t->place[i + 1];

	p->cache = TREE_CACHE_SHARED;
	p->readonly = bind->readonly == ROOTFS_READONLY_ALL;
	return rootfs_clone(
		bind->source, bind->recursive, bind->readonly, &p->mount_fd, &t->err);
}

static int look_at(struct trees *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct stat st;

		if (fstat(t->place[i].mount_fd, &st) < 0)
			return err_sys(
				&t->err, errno, "cannot look at what is to be shared");
		t->place[i].mode = st.st_mode & S_IFMT;
	}
	return 0;
}

static void *make_trees(void *arg)
{
	struct trees *t = arg;

	t->r = make_root(t);
	for (unsigned int i = 0; t->r == 0 && i < t->config->n_binds; i++)
		t->r = make_bind(t, i);
	if (t->r == 0)
		t->r = look_at(t);
	return NULL;
}

int trees_start(const struct trees_config *config, struct trees **ret, struct err *err)
{
	struct trees *t = xnew0(struct trees);
	int r;

	t->cid = xstrdup(config->cid);
	t->config = config;
	t->n = config->n_binds + 1;
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

static int give_one(struct tree_place *p, struct files_client *files, struct err *err)
{
	struct files_tree tree = {
		.mount_fd = p->mount_fd, .cache = p->cache, .readonly = p->readonly};
	int r = files_client_add(files, &tree, &p->mount, err);

	p->given = r == 0;
	/* The server has its own descriptor. */
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
		r = give_one(&t->place[i], files, err);
	return r;
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
	s->mount_point =
		i == 0 ? xasprintf(AGENT_SHARED_DIR "/%s/rootfs", t->cid)
		       : xasprintf(AGENT_SHARED_DIR "/%s/mounts/%zu", t->cid, i - 1);
	s->options = &p->option;
	s->n_options = 1;
}

Grpc__Storage **trees_storages(struct trees *t, size_t *ret_n)
{
	t->storages = xreallocarray(NULL, t->n, sizeof(*t->storages));
	for (size_t i = 0; i < t->n; i++) {
		describe_storage(t, i);
		t->storages[i] = &t->place[i].storage;
	}
	*ret_n = t->n;
	return t->storages;
}

void trees_withdraw(struct trees *t, struct files_client *files)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		struct tree_place *p = &t->place[i];
		struct err err = ERR_INIT;

		if (p->given && files_client_remove(files, p->mount, &err) < 0)
			log_error("the file server keeps a tree of container %s: %s",
				t->cid, err.text);
		p->given = false;
	}
}

void trees_free(struct trees *t)
{
	if (!t)
		return;
	join_thread(t);
	for (size_t i = 0; i < t->n; i++) {
		close_fd(t->place[i].mount_fd);
		if (t->storages) {
			free(t->place[i].storage.source);
			free(t->place[i].storage.mount_point);
			free(t->place[i].option);
		}
	}
	free(t->storages);
	free(t->place);
	free(t->cid);
	free(t);
}
