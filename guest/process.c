/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of a container, kept until their output and status have been taken: see
 * sandbox.h. */
#include <errno.h>
#include <string.h>

#include "guest/sandbox.h"

struct process *process_new(const char *id, bool terminal)
{
	struct process *p = xnew0(struct process);

	p->refs = 1;
	p->terminal = terminal;
	p->in_fd = p->out_fd = p->err_fd = -1;
	str_copy(p->id, id);
	return p;
}

static struct process *process_get(struct process *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void process_put(struct process *p)
{
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	child_done(&p->child);
	close_fd(p->in_fd);
	close_fd(p->out_fd);
	close_fd(p->err_fd);
	free(p);
}

static bool is_init_id(const struct container *c, const char *exec_id)
{
	return *exec_id == '\0' || strcmp(exec_id, c->id) == 0;
}

static struct process *find_process(const struct container *c, const char *exec_id)
{
	if (is_init_id(c, exec_id))
		return c->init;
	for (struct process *p = c->processes; p; p = p->next)
		if (p != c->init && strcmp(p->id, exec_id) == 0)
			return p;
	return NULL;
}

/* Returns whether it was there; the list's reference is then the caller's to put. */
static bool unlink_locked(struct container *c, struct process *p)
{
	for (struct process **at = &c->processes; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			if (c->init == p)
				c->init = NULL;
			return true;
		}
	}
	return false;
}

/* The oldest process that somebody waited for but whose output nobody read to the end. */
static struct process *is_forgettable(const struct container *c)
{
	struct process *oldest = NULL;

	for (struct process *p = c->processes; p; p = p->next)
		if (p != c->init && p->waited)
			oldest = p;
	return oldest;
}

static int add_locked(struct container *c, struct process *p,
	struct process **ret_forgotten, struct err *err)
{
	unsigned int n = 0;

	if (c->init && find_process(c, p->id))
		return err_set(
			err, -EEXIST, "process %s of container %s exists", p->id, c->id);
	for (const struct process *q = c->processes; q; q = q->next)
		n++;
	if (n >= PROCESSES_MAX) {
		*ret_forgotten = is_forgettable(c);
		if (!*ret_forgotten)
			return err_set(err, -ENOSPC,
				"container %s has %d processes nobody waited for, no "
				"more fit",
				c->id, PROCESSES_MAX);
		unlink_locked(c, *ret_forgotten);
	}
	p->next = c->processes;
	c->processes = process_get(p);
	if (!c->init)
		c->init = p;
	return 0;
}

int container_add_process(
	struct sandbox *s, struct container *c, struct process *p, struct err *err)
{
	_cleanup_(process) struct process *forgotten = NULL;
	int r;

	pthread_mutex_lock(&s->lock);
	r = add_locked(c, p, &forgotten, err);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void process_set_launched(struct sandbox *s, struct process *p)
{
	pthread_mutex_lock(&s->lock);
	p->launched = true;
	pthread_mutex_unlock(&s->lock);
}

void container_drop_process(struct sandbox *s, struct container *c, struct process *p)
{
	bool listed;

	pthread_mutex_lock(&s->lock);
	listed = unlink_locked(c, p);
	pthread_mutex_unlock(&s->lock);
	if (listed)
		process_put(p);
}

int sandbox_find_process(struct sandbox *s, const char *container_id, const char *exec_id,
	struct process **ret, struct err *err)
{
	_cleanup_(container) struct container *c = NULL;
	struct process *p;
	int r = sandbox_find(s, container_id, &c, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	p = find_process(c, exec_id);
	if (p && p->launched)
		*ret = process_get(p);
	else
		r = err_set(err, -ENOENT, "container %s has no process %s", c->id,
			err_quote(exec_id, 64));
	pthread_mutex_unlock(&s->lock);
	return r;
}

void process_done_with(struct sandbox *s, const char *container_id, struct process *p,
	enum process_done what)
{
	_cleanup_(container) struct container *c = NULL;
	bool forget, listed = false;

	sandbox_find(s, container_id, &c, NULL);
	pthread_mutex_lock(&s->lock);
	switch (what) {
	case PROCESS_WAITED:
		p->waited = true;
		break;
	case PROCESS_OUT_ENDED:
		p->out_ended = true;
		break;
	case PROCESS_ERR_ENDED:
		p->err_ended = true;
		break;
	}
	forget = p->waited && p->out_ended && (p->err_ended || p->err_fd < 0);
	if (c && forget && p != c->init)
		listed = unlink_locked(c, p);
	pthread_mutex_unlock(&s->lock);
	if (listed)
		process_put(p);
}
