/* SPDX-License-Identifier: Apache-2.0 */
/* The file trees of one container: see trees.h. */
#include "shim/trees.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/thread.h"
#include "base/util.h"
#include "shim/rootfs.h"

struct trees {
	const struct trees_config *config;
	pthread_t thread;
	bool running;
	int root_fd;
	int *bind_fds;
	int r;
	struct err err;
};

static int make(struct trees *t)
{
	const struct trees_config *c = t->config;
	int r;

	r = c->n_mounts ? rootfs_assemble(
				  c->folder, c->mounts, c->n_mounts, &t->root_fd, &t->err)
			: rootfs_clone(c->root, true, false, &t->root_fd, &t->err);
	for (unsigned int i = 0; r == 0 && i < c->n_binds; i++)
		r = rootfs_clone(c->binds[i].source, c->binds[i].recursive,
			c->binds[i].readonly, &t->bind_fds[i], &t->err);
	return r;
}

static void *run(void *arg)
{
	struct trees *t = arg;

	t->r = make(t);
	return NULL;
}

int trees_start(const struct trees_config *config, struct trees **ret, struct err *err)
{
	struct trees *t = xnew0(struct trees);
	int r;

	t->config = config;
	t->root_fd = -1;
	t->bind_fds = xreallocarray(NULL, config->n_binds + 1, sizeof(*t->bind_fds));
	for (unsigned int i = 0; i < config->n_binds; i++)
		t->bind_fds[i] = -1;
	r = thread_start(run, t, 0, false, &t->thread);
	if (r < 0) {
		trees_free(t);
		return err_sys(err, r, "cannot start a thread");
	}
	t->running = true;
	*ret = t;
	return 0;
}

static void join(struct trees *t)
{
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
}

int trees_wait(struct trees *t, struct err *err)
{
	join(t);
	return t->r < 0 ? err_copy(err, &t->err) : 0;
}

void trees_free(struct trees *t)
{
	if (!t)
		return;
	join(t);
	close_fd(t->root_fd);
	for (unsigned int i = 0; i < t->config->n_binds; i++)
		close_fd(t->bind_fds[i]);
	free(t->bind_fds);
	free(t);
}
