/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store's maker: one image after the other, see images.h.
 *
 * Each is made in a thread of its own, since that leaves the host's mount namespace
 * (image_jail.h); the maker waits for it and looks once more whether the layers are still
 * the same ones before it publishes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/events.h"
#include "templated/image_jail.h"
#include "templated/image_program.h"
#include "templated/images_internal.h"
#include "vm/number.h"

/* Left free on the store's file system. */
#define IMAGES_SPARE_BYTES (64 * MiB)
/* Of what mkfs.erofs says, the end. */
#define OUTPUT_BYTES 512

struct making {
	struct images *store;
	const struct image_job *job;
	const struct config *config;
	int dir_fd;   /* the store's folder */
	int image_fd; /* <key>.new */
	char name[IMAGE_NAME_SIZE];
	int *lower_fds;
	enum images_answer answer; /* IMAGES_GRANTED: it is made */
	struct err err;
};

/* ---- room ---- */

static bool goes_on(void *user)
{
	const struct making *m = user;

	return !atomic_load(&m->store->closing);
}

static enum images_answer make_room(struct making *m, uint64_t bytes)
{
	struct images *s = m->store;
	struct image_litter litter = {0};
	enum images_answer answer;

	pthread_mutex_lock(&s->lock);
	answer =
		images_make_room(s, bytes, m->config->images_max_bytes, &litter, &m->err);
	pthread_mutex_unlock(&s->lock);
	image_litter_done(&litter);
	return answer;
}

/* Room in the store and on its file system, or why there can't be. */
static enum images_answer prepare_room(struct making *m, const char *lower)
{
	struct layers_measure need;
	struct statvfs fs;
	uint64_t free_bytes;

	if (layers_look(lower, goes_on, m, &need, &m->err) < 0)
		return m->err.code == -EFBIG ? IMAGES_TOO_LARGE : IMAGES_FAILED;
	if (need.bytes > m->config->images_max_bytes) {
		err_set(&m->err, -EFBIG,
			"its image would have about %" PRIu64
			" bytes, max_bytes allows %" PRIu64,
			need.bytes, m->config->images_max_bytes);
		return IMAGES_TOO_LARGE;
	}
	if (need.holes_bytes > IMAGES_HOLES_MAX) {
		err_set(&m->err, -EFBIG,
			"its image would have %" PRIu64
			" bytes of zeros for holes of its files, %" PRIu64 " are allowed",
			need.holes_bytes, (uint64_t)IMAGES_HOLES_MAX);
		return IMAGES_TOO_LARGE;
	}
	if (make_room(m, need.bytes) != IMAGES_GRANTED)
		return IMAGES_FULL;
	if (fstatvfs(m->dir_fd, &fs) < 0) {
		err_sys(&m->err, errno, "cannot look at the store's file system");
		return IMAGES_FAILED;
	}
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes < need.bytes + IMAGES_SPARE_BYTES) {
		err_set(&m->err, -ENOSPC,
			"an image needs about %" PRIu64
			" bytes, and the store's file system has %" PRIu64 " left",
			need.bytes, free_bytes);
		return IMAGES_FULL;
	}
	return IMAGES_GRANTED;
}

/* ---- mkfs.erofs ---- */

struct group {
	char path[CGROUP_PATH_BYTES];
	int fds[CGROUP_MAX];
	bool there;
	int niceness;
};

static void tell_no_cpu(struct images *s, const struct err *err)
{
	if (!s->told_no_cpu)
		log_warn("images are made at the lowest priority instead of by "
			 "cpu_percent: %s",
			err->text);
	s->told_no_cpu = true;
}

/* A host without a cgroup for it has the lowest priority instead. */
static void group_make(struct group *g, struct making *m)
{
	_cleanup_(unlock) int lock_fd = -1;
	struct err err = ERR_INIT;
	int r;

	*g = (struct group){.fds = {-1, -1, -1, -1}};
	cgroup_path(m->config, IMAGES_CGROUP, g->path);
	lock_fd = vm_number_lock(&err);
	r = lock_fd < 0 ? lock_fd : cgroup_create(g->path, g->fds, &err);
	g->there = r == 0;
	if (r == 0)
		r = cgroup_limit(
			g->path, CGROUP_CPU, m->config->images_cpu_percent * 10, &err);
	if (r == 0 || m->config->images_cpu_percent == 0)
		return;
	tell_no_cpu(m->store, &err);
	g->niceness = 19;
}

static void group_remove(struct group *g)
{
	_cleanup_(unlock) int lock_fd = -1;
	struct err err = ERR_INIT;

	for (int i = 0; i < CGROUP_MAX; i++)
		close_fd(steal_fd(&g->fds[i]));
	if (!g->there)
		return;
	cgroup_kill(g->path);
	lock_fd = vm_number_lock(&err);
	if (lock_fd < 0 || cgroup_remove(g->path, &err) < 0)
		log_warn("a cgroup of the image store stays: %s", err.text);
}

/* The end of what it said, once it has said all. */
static void read_output(int fd, char ret[OUTPUT_BYTES + 1])
{
	char buf[OUTPUT_BYTES];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		size_t keep;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		keep = MIN(len, OUTPUT_BYTES - (size_t)n);
		memmove(ret, ret + len - keep, keep);
		memcpy(ret + keep, buf, (size_t)n);
		len = keep + (size_t)n;
	}
	while (len > 0 && ret[len - 1] == '\n')
		len--;
	ret[len] = '\0';
}

static enum images_answer judge_end(struct making *m, int status, const char *output)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return IMAGES_GRANTED;
	if (atomic_load(&m->store->closing)) {
		err_set(&m->err, -ECANCELED, "it was stopped");
		return IMAGES_FAILED;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) {
		err_set(&m->err, -EFBIG,
			"its image would have more than the %" PRIu64
			" bytes that max_bytes allows",
			m->config->images_max_bytes);
		return IMAGES_TOO_LARGE;
	}
	if (WIFSIGNALED(status))
		err_set(&m->err, -EIO, "mkfs.erofs was ended by signal %d",
			WTERMSIG(status));
	else
		err_set(&m->err, -EIO, "mkfs.erofs failed with %d: %s",
			WEXITSTATUS(status), err_quote(output, OUTPUT_BYTES));
	return IMAGES_FAILED;
}

/* Whoever closes the store finds the child from its start on, and until it is reaped. */
static int start_child(struct making *m, const struct image_maker *maker, pid_t *ret_pid)
{
	struct images *s = m->store;
	int r;

	pthread_mutex_lock(&s->lock);
	r = atomic_load(&s->closing) ? err_set(&m->err, -ECANCELED, "it was stopped")
				     : image_maker_start(maker, ret_pid, &m->err);
	if (r == 0)
		s->child = *ret_pid;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int reap_child(struct making *m, pid_t pid)
{
	struct images *s = m->store;
	siginfo_t info;
	int status = 0;

	/* Dead, but its pid is still its own. */
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&s->lock);
	s->child = 0;
	pthread_mutex_unlock(&s->lock);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static enum images_answer run_program(struct making *m, const struct image_jail *jail)
{
	char output[OUTPUT_BYTES + 1] = "";
	_cleanup_close_ int read_fd = -1;
	struct group group;
	struct image_maker maker = {.root = jail->root,
		.program = jail->program,
		.max_bytes = m->config->images_max_bytes};
	int fds[2], r, status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		err_sys(&m->err, errno, "pipe");
		return IMAGES_FAILED;
	}
	read_fd = fds[0];
	group_make(&group, m);
	maker.niceness = group.niceness;
	maker.cgroup_fds = group.fds;
	maker.output_fd = fds[1];
	r = start_child(m, &maker, &pid);
	close(fds[1]);
	if (r < 0) {
		group_remove(&group);
		return IMAGES_FAILED;
	}
	read_output(read_fd, output);
	status = reap_child(m, pid);
	group_remove(&group);
	return judge_end(m, status, output);
}

/* ---- the file ---- */

static int create_file(struct making *m)
{
	image_file_name(m->name, m->job->key, "new");
	unlinkat(m->dir_fd, m->name, 0);
	m->image_fd = openat(m->dir_fd, m->name,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	/* mkfs.erofs is nobody, and can't come here but by its jail. */
	if (m->image_fd < 0 || fchown(m->image_fd, 65534, 65534) < 0)
		return err_sys(&m->err, errno, "cannot create %s", m->name);
	return 0;
}

/* From here on nobody writes to it. */
static int finish_file(struct making *m)
{
	struct stat st;

	if (fstat(m->image_fd, &st) < 0)
		return err_sys(&m->err, errno, "cannot look at the image");
	if (ftruncate(m->image_fd, (off_t)align_up((uint64_t)st.st_size, IMAGES_ALIGN)) <
			0 ||
		fchown(m->image_fd, 0, 0) < 0 || fchmod(m->image_fd, 0444) < 0 ||
		fsync(m->image_fd) < 0)
		return err_sys(&m->err, errno, "cannot finish the image");
	return 0;
}

static enum images_answer make_in_jail(struct making *m, const char *program)
{
	struct image_jail jail = {
		.store = m->store->path, .file = m->name, .program = program};
	_cleanup_free_ char *lower = NULL;
	enum images_answer answer;

	if (image_jail_make(&jail, m->lower_fds, m->job->n, &m->err) < 0)
		return IMAGES_FAILED;
	layers_close(m->lower_fds, m->job->n);
	lower = xasprintf("%s/lower", jail.root);
	answer = prepare_room(m, lower);
	if (answer == IMAGES_GRANTED)
		answer = run_program(m, &jail);
	image_jail_leave(&jail);
	return answer;
}

/* Whether the layers are those that were asked for. */
static enum images_answer check_layers(struct making *m, int *ret_fds)
{
	char key[LAYERS_KEY_SIZE];

	if (layers_identify(m->job->lowers, m->job->n, ret_fds, key, &m->err) < 0)
		return IMAGES_FAILED;
	if (strcmp(key, m->job->key) == 0)
		return IMAGES_GRANTED;
	err_set(&m->err, -ESTALE, "its layers were replaced meanwhile");
	return IMAGES_FAILED;
}

static void *making_main(void *arg)
{
	struct making *m = arg;
	_cleanup_free_ char *program = NULL;

	m->answer = IMAGES_FAILED;
	if (image_program_find(&program, &m->err) < 0 || image_jail_enter(&m->err) < 0)
		return NULL;
	/* In this thread's mount namespace: the kernel takes no other's. */
	if (check_layers(m, m->lower_fds) == IMAGES_GRANTED && create_file(m) == 0)
		m->answer = make_in_jail(m, program);
	layers_close(m->lower_fds, m->job->n);
	return NULL;
}

/* ---- one image ---- */

static enum images_answer making_publish(struct making *m, struct image_facts *facts)
{
	struct images *s = m->store;
	struct image_litter litter = {0};
	enum images_answer answer;
	struct timespec now;
	struct stat st;

	if (check_layers(m, NULL) != IMAGES_GRANTED || finish_file(m) < 0)
		return IMAGES_FAILED;
	if (fstat(m->image_fd, &st) < 0) {
		err_sys(&m->err, errno, "cannot look at the image");
		return IMAGES_FAILED;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	*facts = (struct image_facts){
		.layers = m->job->n,
		.made_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
		.making_ms = (uint64_t)(now_ms() - m->job->began_ms),
	};
	pthread_mutex_lock(&s->lock);
	answer = images_make_room(
		s, (uint64_t)st.st_size, m->config->images_max_bytes, &litter, &m->err);
	if (answer == IMAGES_GRANTED &&
		images_publish(s, m->image_fd, m->job->key, facts, &m->err) < 0)
		answer = IMAGES_FAILED;
	pthread_mutex_unlock(&s->lock);
	image_litter_done(&litter);
	if (answer == IMAGES_GRANTED)
		fsync(m->dir_fd);
	return answer;
}

static void remember_failure(struct images *s, const struct making *m)
{
	struct image_failure *f = xnew0(struct image_failure), **p;
	bool for_good = m->answer == IMAGES_TOO_LARGE;
	unsigned int n = 0;

	str_copy(f->key, m->job->key);
	f->answer = m->answer;
	f->max_bytes = for_good ? m->config->images_max_bytes : 0;
	f->until_ms = for_good ? DEADLINE_NONE : deadline_after_ms(IMAGES_RETRY_MS);
	f->err = m->err;
	f->next = s->failures;
	s->failures = f;
	for (p = &s->failures; *p && n < IMAGES_FAILURES_MAX; p = &(*p)->next)
		n++;
	if (*p) {
		free(*p);
		*p = NULL;
	}
}

static void tell_made(const struct image_job *job, const struct image_facts *facts)
{
	char bytes[24], ms[24];

	snprintf(bytes, sizeof(bytes), "%" PRIu64, facts->bytes);
	snprintf(ms, sizeof(ms), "%" PRIu64, facts->making_ms);
	log_info("the image %.12s of %zu layers, %s bytes, is made after %s ms", job->key,
		job->n, bytes, ms);
	events_emit("image-made", "key", job->key, "bytes", bytes, "ms", ms, NULL);
}

static void note_end(
	struct images *s, const struct making *m, const struct image_facts *facts)
{
	if (m->err.code == -ECANCELED) /* templated ends: that is no failure */
		return;
	pthread_mutex_lock(&s->lock);
	if (m->answer == IMAGES_GRANTED) {
		s->made++;
		s->making_ms += facts->making_ms;
	} else {
		s->failed++;
		remember_failure(s, m);
	}
	pthread_mutex_unlock(&s->lock);
	if (m->answer == IMAGES_GRANTED) {
		tell_made(m->job, facts);
		return;
	}
	log_warn("no image of the %zu layers from %s down: %s", m->job->n,
		err_quote(m->job->lowers[0], 256), m->err.text);
	events_emit("image-failed", "key", m->job->key, "reason", m->err.text, NULL);
}

static void make_image(struct images *s, const struct image_job *job, int dir_fd)
{
	struct making m = {.store = s,
		.job = job,
		.config = &job->settings->config,
		.dir_fd = dir_fd,
		.image_fd = -1};
	struct image_facts facts = {0};
	pthread_t thread;
	int r;

	events_emit("image-started", "key", job->key, NULL);
	m.lower_fds = xmalloc(job->n * sizeof(*m.lower_fds));
	for (size_t i = 0; i < job->n; i++)
		m.lower_fds[i] = -1;
	r = thread_start(making_main, &m, 512u << 10, false, &thread);
	if (r == 0)
		pthread_join(thread, NULL);
	else
		err_sys(&m.err, r, "cannot start a thread");
	if (r < 0)
		m.answer = IMAGES_FAILED;
	if (m.answer == IMAGES_GRANTED)
		m.answer = making_publish(&m, &facts);
	if (m.answer != IMAGES_GRANTED && *m.name)
		unlinkat(dir_fd, m.name, 0);
	close_fd(m.image_fd);
	free(m.lower_fds);
	note_end(s, &m, &facts);
}

void *images_make_main(void *arg)
{
	struct images *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!atomic_load(&s->closing)) {
		struct image_job *job = s->queue;
		int dir_fd;

		if (!job) {
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		job->began_ms = now_ms();
		dir_fd = fcntl(s->dir_fd, F_DUPFD_CLOEXEC, 0);
		pthread_mutex_unlock(&s->lock);
		make_image(s, job, dir_fd);
		close_fd(dir_fd);
		pthread_mutex_lock(&s->lock);
		s->queue = job->next;
		s->n_queued--;
		pthread_cond_broadcast(&s->changed);
		image_job_free(job);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}
