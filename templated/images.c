/* SPDX-License-Identifier: Apache-2.0 */
/* The image store, as its users see it: see images.h. */
#include "templated/images.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/util.h"
#include "templated/image_program.h"
#include "templated/images_internal.h"
#include "templated/status.h"

static const char *const answer_names[IMAGES_ANSWERS] = {
	[IMAGES_GRANTED] = "granted",
	[IMAGES_DISABLED] = "disabled",
	[IMAGES_UNAVAILABLE] = "unavailable",
	[IMAGES_REFUSED] = "refused",
	[IMAGES_MAKING] = "making",
	[IMAGES_TOO_LARGE] = "too_large",
	[IMAGES_FULL] = "full",
	[IMAGES_FAILED] = "failed",
};

const char *images_answer_name(enum images_answer answer)
{
	return answer_names[answer];
}

struct images *images_new(const char *path)
{
	struct images *s = xnew0(struct images);

	s->path = xstrdup(path);
	s->dir_fd = s->ro_fd = s->lock_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->changed);
	return s;
}

void image_job_free(struct image_job *job)
{
	for (size_t i = 0; i < job->n; i++)
		free(job->lowers[i]);
	free(job->lowers);
	settings_put(job->settings);
	free(job);
}

/* The lock is held, or nobody else is there. */
static void forget_failures(struct images *s)
{
	while (s->failures) {
		struct image_failure *f = s->failures;

		s->failures = f->next;
		free(f);
	}
}

void images_close(struct images *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	atomic_store(&s->closing, true);
	if (s->child > 0)
		kill(s->child, SIGKILL);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (s->has_maker)
		pthread_join(s->maker, NULL);
	s->has_maker = false;
}

void images_free(struct images *s)
{
	if (!s)
		return;
	images_close(s);
	while (s->queue) {
		struct image_job *job = s->queue;

		s->queue = job->next;
		image_job_free(job);
	}
	forget_failures(s);
	images_close_store(s);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

int images_open(struct images *s, const struct config *c, struct err *err)
{
	int r;

	if (!c->images_enable)
		return 0;
	pthread_mutex_lock(&s->lock);
	r = images_open_store(s, c, err);
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		images_trim(s, c);
	return r;
}

void images_trim(struct images *s, const struct config *c)
{
	struct image_litter litter = {0};

	pthread_mutex_lock(&s->lock);
	/* Where those in use are too many there is nothing to be done about it. */
	images_make_room(s, 0, c->images_max_bytes, &litter, NULL);
	pthread_mutex_unlock(&s->lock);
	image_litter_done(&litter);
}

/* ---- asking; the lock is held ---- */

/* What is known to be in vain, with err; or IMAGES_GRANTED. One whose time is over is
 * forgotten. */
static enum images_answer recall_failure(
	struct images *s, const struct config *c, const char *key, struct err *err)
{
	for (struct image_failure **p = &s->failures; *p; p = &(*p)->next) {
		struct image_failure *f = *p;

		if (strcmp(f->key, key) != 0)
			continue;
		if (now_ms() < f->until_ms &&
			(f->max_bytes == 0 || f->max_bytes >= c->images_max_bytes)) {
			err_copy(err, &f->err);
			return f->answer;
		}
		*p = f->next;
		free(f);
		return IMAGES_GRANTED;
	}
	return IMAGES_GRANTED;
}

static enum images_answer tell_queued(const struct image_job *job, struct err *err)
{
	if (job->began_ms)
		err_set(err, -EAGAIN, "its image is being made since %.1f s",
			(double)(now_ms() - job->began_ms) / 1000);
	else
		err_set(err, -EAGAIN, "its image will be made: others come first");
	return IMAGES_MAKING;
}

static int start_maker(struct images *s, struct err *err)
{
	int r;

	if (s->has_maker)
		return 0;
	r = thread_start(images_make_main, s, 256u << 10, false, &s->maker);
	s->has_maker = r == 0;
	return r < 0 ? err_sys(err, r, "cannot start a thread that makes images") : 0;
}

static enum images_answer enqueue_job(struct images *s, struct settings *settings,
	char *const *lowers, size_t n, const char *key, struct err *err)
{
	struct image_job **p = &s->queue, *job;

	for (; *p; p = &(*p)->next)
		if (strcmp((*p)->key, key) == 0)
			return tell_queued(*p, err);
	if (atomic_load(&s->closing)) {
		err_set(err, -ECANCELED, "templated is ending");
		return IMAGES_UNAVAILABLE;
	}
	if (s->n_queued == IMAGES_QUEUE_MAX) {
		err_set(err, -EAGAIN, "%u images are to be made already", s->n_queued);
		return IMAGES_MAKING;
	}
	if (start_maker(s, err) < 0)
		return IMAGES_UNAVAILABLE;
	job = xnew0(struct image_job);
	str_copy(job->key, key);
	job->lowers = xzalloc(n * sizeof(*job->lowers));
	for (job->n = 0; job->n < n; job->n++)
		job->lowers[job->n] = xstrdup(lowers[job->n]);
	job->settings = settings_ref(settings);
	*p = job;
	s->n_queued++;
	pthread_cond_broadcast(&s->changed);
	err_set(err, -EAGAIN, "there is no image of its layers yet; it will be made");
	return IMAGES_MAKING;
}

static enum images_answer ask_for(struct images *s, struct settings *settings,
	char *const *lowers, size_t n, struct image_grant *ret, struct err *err)
{
	_cleanup_free_ char *program = NULL;
	struct image_entry *e;
	enum images_answer answer;

	if (images_open_store(s, &settings->config, err) < 0)
		return IMAGES_UNAVAILABLE;
	e = images_find(s, ret->key);
	if (e && images_grant(s, e, ret) == IMAGES_GRANTED)
		return IMAGES_GRANTED;
	answer = recall_failure(s, &settings->config, ret->key, err);
	if (answer != IMAGES_GRANTED)
		return answer;
	if (image_program_find(&program, err) < 0)
		return IMAGES_UNAVAILABLE;
	return enqueue_job(s, settings, lowers, n, ret->key, err);
}

enum images_answer images_ask(struct images *s, struct settings *settings,
	char *const *lowers, size_t n, struct image_grant *ret, struct err *err)
{
	enum images_answer answer = IMAGES_GRANTED;
	struct image_grant grant = {.fd = -1};

	if (!settings->config.images_enable) {
		err_set(err, -ENOENT,
			"templated is configured without images: enable = "
			"false");
		answer = IMAGES_DISABLED;
	} else if (layers_identify(lowers, n, NULL, grant.key, err) < 0) {
		answer = IMAGES_REFUSED;
	}
	pthread_mutex_lock(&s->lock);
	if (answer == IMAGES_GRANTED)
		answer = ask_for(s, settings, lowers, n, &grant, err);
	s->answers[answer]++;
	pthread_mutex_unlock(&s->lock);
	if (answer == IMAGES_GRANTED)
		*ret = grant;
	return answer;
}

void images_prune(struct images *s, uint64_t *ret_count, uint64_t *ret_bytes)
{
	struct image_litter litter = {0};

	pthread_mutex_lock(&s->lock);
	forget_failures(s);
	for (struct image_entry *e = s->all, *next; e; e = next) {
		next = e->next;
		images_remove(s, e, "pruned", &litter);
	}
	pthread_mutex_unlock(&s->lock);
	*ret_count = litter.n;
	*ret_bytes = litter.bytes;
	image_litter_done(&litter);
}

/* ---- status; the lock is held ---- */

static void add_making(struct images *s, struct json_object *obj)
{
	const struct image_job *job = s->queue;
	struct json_object *making;
	char name[IMAGE_NAME_SIZE];
	struct stat st = {0};

	if (!job || !job->began_ms)
		return;
	image_file_name(name, job->key, "new");
	fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW);
	making = json_object_new_object();
	json_set_string(making, "key", job->key);
	json_set_u64(making, "layers", job->n);
	json_set_i64(making, "ms", now_ms() - job->began_ms);
	json_set_u64(making, "bytes", (uint64_t)st.st_size);
	json_object_object_add(obj, "making", making);
}

static struct json_object *misses_to_json(const struct images *s)
{
	struct json_object *obj = json_object_new_object();
	uint64_t total = 0;

	for (int i = IMAGES_GRANTED + 1; i < IMAGES_ANSWERS; i++) {
		if (s->answers[i])
			json_set_u64(obj, answer_names[i], s->answers[i]);
		total += s->answers[i];
	}
	json_set_u64(obj, "total", total);
	return obj;
}

static void add_totals(struct images *s, struct json_object *obj)
{
	_cleanup_free_ uint64_t *users = images_count_users(s);
	uint64_t count = 0, all = 0, shared = 0;

	for (struct image_entry *e = s->all; e; e = e->next, count++) {
		all += users[count];
		if (users[count] > 1)
			shared += (users[count] - 1) * e->facts.bytes;
	}
	json_set_u64(obj, "count", count);
	json_set_u64(obj, "bytes", s->bytes);
	json_set_u64(obj, "users", all);
	json_set_u64(obj, "shared_bytes", shared);
}

struct json_object *images_status(struct images *s, const struct config *c)
{
	struct json_object *obj = json_object_new_object();

	json_set_bool(obj, "enabled", c->images_enable);
	json_set_string(obj, "path", s->path);
	json_set_u64(obj, "max_bytes", c->images_max_bytes);
	pthread_mutex_lock(&s->lock);
	add_totals(s, obj);
	json_set_u64(obj, "hits", s->answers[IMAGES_GRANTED]);
	json_object_object_add(obj, "misses", misses_to_json(s));
	json_set_u64(obj, "made", s->made);
	json_set_u64(obj, "making_ms", s->making_ms);
	json_set_u64(obj, "failures", s->failed);
	json_set_u64(obj, "removed", s->removed);
	json_set_u64(obj, "queued", s->n_queued);
	add_making(s, obj);
	if (*s->error.text)
		json_set_string(obj, "error", s->error.text);
	pthread_mutex_unlock(&s->lock);
	return obj;
}

static struct json_object *entry_to_json(const struct image_entry *e, uint64_t users)
{
	struct json_object *obj = json_object_new_object();

	json_set_string(obj, "key", e->key);
	json_set_u64(obj, "bytes", e->facts.bytes);
	json_set_u64(obj, "users", users);
	json_set_u64(obj, "layers", e->facts.layers);
	json_set_u64(obj, "made", e->facts.made_ms / 1000);
	json_set_u64(obj, "making_ms", e->facts.making_ms);
	json_set_u64(obj, "used", e->used_ms / 1000);
	return obj;
}

static int later_used(const void *a, const void *b)
{
	uint64_t x = 0, y = 0;

	json_get_u64(*(struct json_object *const *)a, "used", &x, NULL);
	json_get_u64(*(struct json_object *const *)b, "used", &y, NULL);
	return (x < y) - (x > y);
}

struct json_object *images_list(struct images *s, const struct config *c)
{
	/* Of one entry, and what is around them. */
	const size_t fits = (STATUS_BYTES_MAX - 4096) / 256;
	struct json_object *obj = json_object_new_object(),
			   *list = json_object_new_array();
	_cleanup_free_ uint64_t *users = NULL;
	size_t i = 0;

	json_set_string(obj, "path", s->path);
	json_set_u64(obj, "max_bytes", c->images_max_bytes);
	pthread_mutex_lock(&s->lock);
	json_set_u64(obj, "bytes", s->bytes);
	users = images_count_users(s);
	for (struct image_entry *e = s->all; e; e = e->next)
		json_object_array_add(list, entry_to_json(e, users[i++]));
	add_making(s, obj);
	pthread_mutex_unlock(&s->lock);
	json_object_array_sort(list, later_used);
	if (i > fits) {
		json_object_array_del_idx(list, fits, i - fits);
		json_set_bool(obj, "truncated", true);
	}
	json_object_object_add(obj, "images", list);
	return obj;
}
