/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builder: see builder.h.
 *
 * A build goes straight from the inputs to the published generation (build.c), in a
 * thread that goes on with the next one if one is queued, and else ends. Whoever asked
 * for a build follows its steps by number: the ticket counts builds, so that one who
 * wakes up late sees that his has ended, and its result is kept until the next one ends.
 *
 * Cancelling: the builder knows the VM of the build from before it starts until it is
 * freed; whoever cancels kills it, and the build fails at the step that it is in.
 */
#include "templated/builder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/build.h"
#include "templated/cache.h"
#include "templated/daemon.h"
#include "templated/events.h"
#include "templated/phases.h"

/* How one ended that built or failed, for the status. */
struct report {
	struct build_result result;
	int64_t took_ms, ended_ms; /* ended_ms 0: there was none */
	struct phases phases;
};

/* Of so many builds that ended last the results are kept, for clients that are slow. */
#define RESULTS_KEPT 16

struct builder {
	struct daemon *daemon;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool running, closed;
	bool queued; /* another one follows, in queued_how */
	enum build_how queued_how;
	bool resting;        /* BUILD_AUTO does nothing */
	uint64_t builds;     /* the number of the one that runs, or ran last */
	uint64_t superseded; /* up to that number they count as their successor */
	enum build_step step;
	int64_t began_ms;
	struct phases phases;
	struct build_result results[RESULTS_KEPT]; /* by the build's number, modulo */
	struct report report;
	struct manifest failed; /* the inputs of the last one, if it failed; else empty */
	struct build build;     /* the thread's */
	bool cancelled;         /* the build that runs is to end */
	struct vm *vm;          /* its VM, while there is one */
};

static const char *const step_names[BUILD_STEPS] = {
	[BUILD_STARTING] = "starting",
	[BUILD_BOOTING] = "booting",
	[BUILD_AGENT_UP] = "agent up",
	[BUILD_COMPACTING] = "compacting",
	[BUILD_SAVED] = "saved",
};

const char *build_step_name(enum build_step step)
{
	return step_names[step];
}

struct builder *builder_new(struct daemon *d)
{
	struct builder *b = xnew0(struct builder);

	b->daemon = d;
	pthread_mutex_init(&b->lock, NULL);
	cond_init(&b->changed);
	return b;
}

void builder_free(struct builder *b)
{
	if (!b)
		return;
	builder_cancel(b);
	manifest_done(&b->failed);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* ---- the thread ---- */

/* Called by the build between its steps: where it is, and whether it shall go on. */
static bool builder_note_step(void *user, enum build_step step)
{
	struct builder *b = user;
	bool goes_on;

	pthread_mutex_lock(&b->lock);
	b->step = step;
	phases_begin(&b->phases, step);
	goes_on = !b->cancelled;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	log_info("template: %s", step_names[step]);
	if (step == BUILD_BOOTING)
		stats_boot(&b->daemon->stats);
	events_emit("build-step", "step", step_names[step], NULL);
	return goes_on;
}

static void builder_hold_vm(void *user, struct vm *vm)
{
	struct builder *b = user;

	pthread_mutex_lock(&b->lock);
	b->vm = vm;
	if (vm && b->cancelled)
		vm_kill(vm);
	pthread_mutex_unlock(&b->lock);
}

static void emit_result(const struct build_result *result)
{
	if (result->code < 0)
		events_emit("build-failed", "error", result->err.text, NULL);
	else
		events_emit(result->built ? "build-published" : "build-up-to-date",
			"generation", result->id, NULL);
}

static void log_result(const struct build_result *result, int64_t ms)
{
	if (result->code < 0)
		log_error("no new template, what there was goes on serving: %s",
			result->err.text);
	else if (result->built)
		log_info("generation %s is published after %lld ms", result->id,
			(long long)ms);
	else if (*result->id)
		log_info("generation %s is up to date", result->id);
	else
		log_info("no new template: these inputs have failed before");
}

/* Everything that the next build needs; the lock is held. */
static void builder_begin_build(struct builder *b, enum build_how how)
{
	b->build = (struct build){.daemon = b->daemon,
		.how = how,
		.at_step = builder_note_step,
		.holds = builder_hold_vm,
		.user = b};
	b->cancelled = false;
	if (how == BUILD_AUTO && b->failed.value[MANIFEST_ARGV])
		manifest_copy(&b->build.avoid, &b->failed);
	b->step = BUILD_STARTING;
	phases_begin(&b->phases, BUILD_STARTING);
	b->began_ms = b->phases.began_ms[BUILD_STARTING];
	b->running = true;
	b->builds++;
	events_emit(
		"build-started", "forced", how >= BUILD_FORCE ? "true" : "false", NULL);
}

/* Keeps what is to be known of a build that ended; the lock is held. */
static void builder_keep_result(
	struct builder *b, const struct build_result *result, int64_t now)
{
	b->results[b->builds % RESULTS_KEPT] = *result;
	if (result->built || result->code < 0)
		b->report = (struct report){.result = *result,
			.took_ms = now - b->began_ms,
			.ended_ms = now,
			.phases = b->phases};
	if (result->built || (result->code < 0 && !b->cancelled)) {
		manifest_done(&b->failed);
		if (result->code < 0) {
			b->failed = b->build.inputs;
			manifest_init(&b->build.inputs);
		}
	}
	manifest_done(&b->build.inputs);
	manifest_done(&b->build.avoid);
}

/*
 * Whether another one is to follow, which has begun then. Told with the lock held: who
 * hears of an end and asks for the status finds what he heard.
 */
static bool builder_end_build(struct builder *b, const struct build_result *result)
{
	int64_t now, took_ms;
	bool more;

	pthread_mutex_lock(&b->lock);
	/* Read once: the phases add up to the whole. */
	now = now_ms();
	took_ms = now - b->began_ms;
	emit_result(result);
	builder_keep_result(b, result, now);
	more = b->queued;
	b->running = b->queued = false;
	if (more)
		builder_begin_build(b, b->queued_how);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	log_result(result, took_ms);
	return more;
}

static void *builder_main(void *arg)
{
	struct builder *b = arg;
	struct build_result result;

	do {
		result = (struct build_result){0};
		result.code = build_run(&b->build, &result);
		pthread_mutex_lock(&b->lock);
		/* Whatever a killed QEMU looked like from inside. */
		if (result.code < 0 && b->cancelled)
			result.code = err_set(
				&result.err, -ECANCELED, "the build was cancelled");
		pthread_mutex_unlock(&b->lock);
		if (result.built || result.code < 0)
			stats_build(&b->daemon->stats, result.code);
		if (result.built)
			cache_drain(b->daemon->cache, "there is a new template");
		else if (result.code == 0)
			cache_kick(b->daemon->cache);
	} while (builder_end_build(b, &result));
	return NULL;
}

static int builder_start_thread(struct builder *b, enum build_how how, struct err *err)
{
	int r;

	builder_begin_build(b, how);
	r = thread_start(builder_main, b, 512 << 10, true, NULL);
	if (r == 0)
		return 0;
	b->running = false;
	b->builds--;
	manifest_done(&b->build.avoid);
	return err_sys(err, r, "cannot start a thread");
}

static void builder_queue_build(struct builder *b, enum build_how how)
{
	b->queued_how = b->queued ? MAX(b->queued_how, how) : how;
	b->queued = true;
}

/* Begins to end the build that runs; the lock is held. */
static void builder_kill_build(struct builder *b)
{
	b->cancelled = true;
	if (b->vm)
		vm_kill(b->vm);
}

int builder_start(
	struct builder *b, enum build_how how, uint64_t *ret_ticket, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&b->lock);
	b->resting = b->resting && how == BUILD_AUTO;
	if (b->closed) {
		r = err_set(err, -ECANCELED, "templated is ending");
	} else if (b->running) {
		builder_queue_build(b, how);
		if (how == BUILD_NOW) {
			b->superseded = b->builds;
			builder_kill_build(b);
		}
	} else if (!b->resting) {
		r = builder_start_thread(b, how, err);
	}
	if (r == 0 && ret_ticket)
		*ret_ticket = b->builds + b->queued;
	pthread_mutex_unlock(&b->lock);
	return r;
}

void builder_nudge(struct builder *b, const struct manifest *want)
{
	struct err err = ERR_INIT;
	bool due;

	pthread_mutex_lock(&b->lock);
	due = !b->closed && !b->running && !b->resting &&
	      (!b->failed.value[MANIFEST_ARGV] ||
		      manifest_match_all(&b->failed, want, NULL, NULL) < 0);
	pthread_mutex_unlock(&b->lock);
	if (due && builder_start(b, BUILD_AUTO, NULL, &err) < 0)
		log_error("the template is old and can't be refreshed: %s", err.text);
}

/* Waits while there is nothing to tell; the lock is held. */
static void builder_await_step(struct builder *b, uint64_t ticket, enum build_step step)
{
	for (;;) {
		uint64_t number = ticket <= b->superseded ? b->superseded + 1 : ticket;
		bool waits = number > b->builds ? b->queued
						: number == b->builds && b->running &&
							  b->step <= step;

		if (!waits)
			return;
		pthread_cond_wait(&b->changed, &b->lock);
	}
}

bool builder_follow(struct builder *b, uint64_t ticket, enum build_step *step,
	struct build_result *ret)
{
	bool goes_on;

	pthread_mutex_lock(&b->lock);
	builder_await_step(b, ticket, *step);
	if (ticket <= b->superseded)
		ticket = b->superseded + 1;
	/* A step that was missed while the client was slow is told before the end. */
	goes_on = b->builds == ticket && b->step > *step;
	if (goes_on) {
		*step = *step + 1;
	} else if (ticket > b->builds) {
		*ret = (struct build_result){0};
		ret->code = err_set(&ret->err, -ECANCELED, "the build was cancelled");
	} else if (b->builds - ticket < RESULTS_KEPT) {
		*ret = b->results[ticket % RESULTS_KEPT];
	} else {
		*ret = (struct build_result){0};
		ret->code = err_set(&ret->err, -ESTALE,
			"the build has ended, and %d others since: see templatectl status",
			RESULTS_KEPT);
	}
	pthread_mutex_unlock(&b->lock);
	return goes_on;
}

/* ---- cancelling ---- */

void builder_cancel(struct builder *b)
{
	uint64_t number;

	pthread_mutex_lock(&b->lock);
	number = b->builds;
	b->resting = true;
	b->queued = false;
	pthread_cond_broadcast(&b->changed);
	if (b->running)
		builder_kill_build(b);
	while (b->running && b->builds == number)
		pthread_cond_wait(&b->changed, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

void builder_close(struct builder *b)
{
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	pthread_mutex_unlock(&b->lock);
	builder_cancel(b);
}

/* ---- what it says of itself ---- */

bool builder_excuse(struct builder *b, char *buf, size_t size)
{
	bool running;

	pthread_mutex_lock(&b->lock);
	running = b->running;
	if (running)
		snprintf(buf, size, "the template is being built (%s)",
			step_names[b->step]);
	else if (b->report.result.code < 0)
		snprintf(buf, size, "there is no template, its last build failed: %.400s",
			b->report.result.err.text);
	else
		snprintf(buf, size, "there is no template; templatectl init makes one");
	pthread_mutex_unlock(&b->lock);
	return running;
}

static struct json_object *report_to_json(const struct report *report)
{
	struct json_object *obj = json_object_new_object();

	json_set_bool(obj, "ok", report->result.code == 0);
	if (report->result.code < 0)
		json_set_string(obj, "error", report->result.err.text);
	else
		json_set_string(obj, "generation", report->result.id);
	json_set_i64(obj, "ms", report->took_ms);
	json_set_i64(obj, "age_s", (now_ms() - report->ended_ms) / 1000);
	json_object_object_add(
		obj, "phases", phases_to_json(&report->phases, report->ended_ms));
	return obj;
}

struct json_object *builder_status(struct builder *b)
{
	struct json_object *obj = json_object_new_object();
	int64_t now;

	pthread_mutex_lock(&b->lock);
	now = now_ms();
	json_set_bool(obj, "running", b->running);
	json_set_bool(obj, "queued", b->queued);
	if (b->running) {
		json_set_string(obj, "step", step_names[b->step]);
		json_set_i64(obj, "ms", now - b->began_ms);
		json_object_object_add(obj, "phases", phases_to_json(&b->phases, now));
	}
	if (b->report.ended_ms)
		json_object_object_add(obj, "last", report_to_json(&b->report));
	pthread_mutex_unlock(&b->lock);
	return obj;
}
