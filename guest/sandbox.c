/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's one sandbox, its containers and their processes: see sandbox.h. */
#include "guest/sandbox.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/thread.h"

void sandbox_init(struct sandbox *s)
{
	*s = (struct sandbox){.oom_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->idle);
}

int id_check(const char *what, const char *id, struct err *err)
{
	size_t len = strlen(id);
	bool good = len > 0 && len <= GUEST_ID_MAX && isalnum((unsigned char)id[0]);

	for (size_t i = 0; good && i < len; i++)
		good = isalnum((unsigned char)id[i]) || strchr("_.-", id[i]);
	if (!good)
		return err_set(err, -EINVAL,
			"%s \"%s\" is not valid: 1 to %d of A-Z a-z 0-9 _ . -, a letter "
			"or digit first",
			what, err_quote(id, 64), GUEST_ID_MAX);
	return 0;
}

static struct container *find_container(struct sandbox *s, const char *id)
{
	for (struct container *c = s->containers; c; c = c->next)
		if (strcmp(c->id, id) == 0)
			return c;
	return NULL;
}

static struct container *container_get(struct container *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

static int add_locked(
	struct sandbox *s, const char *id, struct container **ret, struct err *err)
{
	struct container *c;

	if (!s->running)
		return err_set(
			err, -ENOTCONN, "there is no sandbox: CreateSandbox comes first");
	if (find_container(s, id))
		return err_set(err, -EEXIST, "container %s exists", id);
	if (s->n_containers >= CONTAINERS_MAX)
		return err_set(err, -ENOSPC, "there are %d containers, no more fit",
			CONTAINERS_MAX);
	c = xnew0(struct container);
	c->refs = 1;
	c->state = CONTAINER_CREATING;
	str_copy(c->id, id);
	c->next = s->containers;
	s->containers = c;
	s->n_containers++;
	*ret = container_get(c);
	return 0;
}

int sandbox_add(
	struct sandbox *s, const char *id, struct container **ret, struct err *err)
{
	int r = id_check("container id", id, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	r = add_locked(s, id, ret, err);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void sandbox_drop(struct sandbox *s, struct container *c)
{
	bool listed = false;

	pthread_mutex_lock(&s->lock);
	for (struct container **at = &s->containers; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			s->n_containers--;
			listed = true;
			break;
		}
	}
	pthread_mutex_unlock(&s->lock);
	if (listed)
		container_put(c);
}

int sandbox_find(
	struct sandbox *s, const char *id, struct container **ret, struct err *err)
{
	struct container *c;

	pthread_mutex_lock(&s->lock);
	c = find_container(s, id);
	if (c)
		*ret = container_get(c);
	pthread_mutex_unlock(&s->lock);
	if (!c)
		return err_set(
			err, -ENOENT, "there is no container %s", err_quote(id, 64));
	return 0;
}

void container_put(struct container *c)
{
	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (struct process *p = c->processes; p;) {
		struct process *next = p->next;

		process_put(p);
		p = next;
	}
	for (size_t i = 0; i < c->n_mounts; i++)
		free(c->mounts[i]);
	free(c->mounts);
	free(c);
}

/* ---- states ---- */

static const char *const state_names[] = {
	[CONTAINER_CREATING] = "being created",
	[CONTAINER_CREATED] = "created and not started",
	[CONTAINER_RUNNING] = "started",
	[CONTAINER_PAUSED] = "paused",
	[CONTAINER_REMOVING] = "being removed",
};

static const char *const request_names[] = {
	[CONTAINER_DO_START] = "started",
	[CONTAINER_DO_EXEC] = "given another process",
	[CONTAINER_DO_PAUSE] = "paused",
	[CONTAINER_DO_RESUME] = "resumed",
	[CONTAINER_DO_UPDATE] = "updated",
	[CONTAINER_DO_REMOVE] = "removed",
};

/* Whatever is not in the table is refused. */
static const struct {
	enum container_state state;
	enum container_request request;
	enum container_state next;
} transitions[] = {
	{CONTAINER_CREATED, CONTAINER_DO_START, CONTAINER_RUNNING},
	{CONTAINER_CREATED, CONTAINER_DO_UPDATE, CONTAINER_CREATED},
	{CONTAINER_CREATED, CONTAINER_DO_REMOVE, CONTAINER_REMOVING},
	{CONTAINER_RUNNING, CONTAINER_DO_EXEC, CONTAINER_RUNNING},
	{CONTAINER_RUNNING, CONTAINER_DO_PAUSE, CONTAINER_PAUSED},
	{CONTAINER_RUNNING, CONTAINER_DO_UPDATE, CONTAINER_RUNNING},
	{CONTAINER_RUNNING, CONTAINER_DO_REMOVE, CONTAINER_REMOVING},
	{CONTAINER_PAUSED, CONTAINER_DO_RESUME, CONTAINER_RUNNING},
	{CONTAINER_PAUSED, CONTAINER_DO_UPDATE, CONTAINER_PAUSED},
	{CONTAINER_PAUSED, CONTAINER_DO_REMOVE, CONTAINER_REMOVING},
};

int container_enter(struct sandbox *s, struct container *c,
	enum container_request request, enum container_state *ret_before, struct err *err)
{
	int r = -EBUSY;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < ARRAY_SIZE(transitions); i++) {
		if (transitions[i].state != c->state || transitions[i].request != request)
			continue;
		*ret_before = c->state;
		c->state = transitions[i].next;
		c->busy++;
		r = 0;
		break;
	}
	if (r < 0)
		err_set(err, r, "container %s is %s and can't be %s", c->id,
			state_names[c->state], request_names[request]);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void container_leave(struct sandbox *s, struct container *c)
{
	pthread_mutex_lock(&s->lock);
	c->busy--;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

void container_set_state(
	struct sandbox *s, struct container *c, enum container_state state)
{
	pthread_mutex_lock(&s->lock);
	c->state = state;
	pthread_mutex_unlock(&s->lock);
}

int container_wait_idle(struct sandbox *s, struct container *c, int64_t deadline)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	while (r == 0 && c->busy > 1)
		r = cond_wait(&s->idle, &s->lock, deadline);
	pthread_mutex_unlock(&s->lock);
	return r;
}
