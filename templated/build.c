/* SPDX-License-Identifier: Apache-2.0 */
/* One build: see build.h. */
#include "templated/build.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "templated/cache.h"
#include "templated/daemon.h"

static int build_begin_step(struct build *build, enum build_step step, struct err *err)
{
	return build->at_step(build->user, step) ? 0
						 : err_set(err, -ECANCELED, "cancelled");
}

/* ---- the VM ---- */

/* For people only: an agent that can't tell is no reason to have no template. */
static void note_agent(struct vm *vm, const struct config *c, struct manifest *inputs)
{
	Grpc__VersionCheckResponse *version = NULL;
	struct err err = ERR_INIT;

	if (agent_version(vm_agent(vm), &version,
		    deadline_after_ms((int64_t)c->call_timeout_ms), &err) < 0)
		log_warn("the guest's agent does not tell its version: %s", err.text);
	manifest_set(inputs, MANIFEST_AGENT_VERSION,
		version && *version->agent_version ? version->agent_version : "-");
	if (version)
		protobuf_c_message_free_unpacked(&version->base, NULL);
}

static int boot_and_save(struct build *build, struct vm *vm, struct generation_build *g,
	struct manifest *inputs, struct err *err)
{
	int r;

	r = build_begin_step(build, BUILD_BOOTING, err);
	if (r < 0)
		return r;
	r = vm_boot(vm, g->memory_fd, err);
	if (r < 0)
		return r;
	r = build_begin_step(build, BUILD_AGENT_UP, err);
	if (r < 0)
		return r;
	note_agent(vm, &build->settings->config, inputs);
	return vm_save(vm, g->state_fd, err);
}

/* Fills the generation's files; QEMU has ended when this returns. */
static int build_fill_files(struct build *build, struct generation_build *g,
	struct manifest *inputs, struct err *err)
{
	struct vm_options options = {
		.config = &build->settings->config, .namespace = "", .sandbox = g->id};
	struct vm *vm;
	int r = vm_new(&options, &vm, err);

	if (r < 0)
		return r;
	build->holds(build->user, vm);
	r = boot_and_save(build, vm, g, inputs, err);
	build->holds(build->user, NULL);
	vm_free(vm);
	return r;
}

/* ---- the generation ---- */

static int build_publish(struct build *build, struct generation_build *g,
	const struct manifest *inputs, struct err *err)
{
	uint64_t resident;
	int r;

	/* The guest's half is done: what it does not use is zeros (guest/compact.h). */
	r = build_begin_step(build, BUILD_COMPACTING, err);
	if (r < 0)
		return r;
	r = generation_build_punch(g, &resident, err);
	if (r < 0)
		return r;
	r = daemon_check_inputs(build->daemon, &build->settings->config, inputs, err);
	if (r < 0)
		return r;
	r = generation_build_publish(g, inputs, err);
	if (r < 0)
		return r;
	log_info("generation %s: %llu of %llu KiB of memory are resident", g->id,
		(unsigned long long)resident / 1024,
		(unsigned long long)g->memory_bytes / 1024);
	return 0;
}

static int build_generation(struct build *build, int root_fd, struct manifest *inputs,
	struct build_result *ret, struct err *err)
{
	struct daemon *d = build->daemon;
	struct generation_build g;
	int r;

	r = generation_build_begin(
		root_fd, build->settings->config.default_memory * MiB, &g, err);
	if (r < 0)
		return r;
	r = build_fill_files(build, &g, inputs, err);
	if (r == 0)
		r = build_publish(build, &g, inputs, err);
	if (r == 0) {
		r = store_adopt(d->store, g.id, err);
		if (r < 0)
			generation_remove(root_fd, g.id, NULL);
	}
	if (r == 0) {
		memcpy(ret->id, g.id, sizeof(ret->id));
		ret->built = true;
		build->at_step(build->user, BUILD_SAVED);
	}
	generation_build_done(&g);
	return r;
}

/* Whether the inputs, which are collected here, want a generation that there is not. */
static int is_needed(struct build *build, struct build_result *ret, struct err *err)
{
	struct daemon *d = build->daemon;
	int r = vm_inputs_collect(
		d->inputs, &build->settings->config, &build->inputs, err);

	if (r < 0 || build->how >= BUILD_FORCE)
		return r < 0 ? r : 1;
	if (store_has(d->store, &build->inputs, ret->id))
		return 0;
	return !build->avoid.value[MANIFEST_ARGV] ||
	       manifest_match_all(&build->avoid, &build->inputs, NULL, NULL) < 0;
}

static int build_run_steps(struct build *build, struct build_result *ret, struct err *err)
{
	struct daemon *d = build->daemon;
	int r, root_fd;

	/* Whatever comes of the rest: what there is must not be granted any more. */
	if (build->how == BUILD_NOW) {
		store_retire(d->store);
		cache_drain(d->cache, "the template is retired");
	}
	r = daemon_open_store(d, &build->settings->config, err);
	if (r == 0 && build->how == BUILD_NOW)
		store_retire(d->store);
	if (r == 0)
		r = is_needed(build, ret, err);
	if (r <= 0)
		return r;
	r = store_pin(d->store, &root_fd, err);
	if (r == 0) {
		r = build_generation(build, root_fd, &build->inputs, ret, err);
		store_unpin(d->store);
	}
	return r;
}

int build_run(struct build *build, struct build_result *ret)
{
	int r;

	build->settings = daemon_settings(build->daemon);
	r = build_run_steps(build, ret, &ret->err);
	settings_put(steal_ptr(build->settings));
	return r;
}
