/* SPDX-License-Identifier: Apache-2.0 */
/* The requests: see requests.h. */
#include "templated/requests.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "templated/builder.h"
#include "templated/cache.h"
#include "templated/events.h"
#include "templated/images.h"

static int connection_answer(struct connection *c, struct json_object *reply,
	const int *fds, unsigned int n_fds, struct err *err)
{
	int r = lease_send(c->fd, reply, fds, n_fds, deadline_after_ms(LEASE_SEND_MS));

	return r < 0 ? err_sys(err, r, "the client does not take its answer") : 0;
}

static int answer_error(struct connection *c, const struct err *why, struct err *err)
{
	struct json_object *reply = lease_reply_new("error");

	json_set_string(reply, "error", why->text);
	return connection_answer(c, reply, NULL, 0, err);
}

/* ---- acquire ---- */

static int answer_none(struct connection *c, const struct lease_request *request,
	enum manifest_field differs, const struct err *why, struct err *err)
{
	const char *field =
		differs == MANIFEST_FIELDS ? "" : manifest_field_name(differs);
	struct json_object *reply = lease_reply_new("none");

	log_info("no template for the sandbox %s: %s", request->sandbox, why->text);
	events_emit("miss", "sandbox", request->sandbox, "reason", why->text, "field",
		field, NULL);
	json_set_string(reply, "reason", why->text);
	json_set_string(reply, "field", field);
	return connection_answer(c, reply, NULL, 0, err);
}

/* A cached VM on its way: the connection waits for `taken` now. */
static int request_offer_vm(struct connection *c, struct cached *vm,
	const struct lease_request *request, struct err *err)
{
	const struct vm_handover *h = cached_handover(vm);
	const int fds[LEASE_VM_FDS] = {h->qmp_fd, h->agent_fd, h->pid_fd, h->stderr_fd,
		h->files_fd, h->window_fd};
	struct json_object *reply = lease_reply_new("vm");

	c->offer = vm;
	str_copy(c->sandbox, request->sandbox);
	json_set_string(reply, "generation", cached_generation(vm));
	json_set_u64(reply, "number", h->number);
	json_set_u64(reply, "qemu_version", h->qemu_version);
	return connection_answer(c, reply, fds, LEASE_VM_FDS, err);
}

static int request_taken(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	(void)request;
	(void)err;
	cache_settle(c->daemon->cache, steal_ptr(c->offer), c->sandbox, &c->lease);
	if (c->lease)
		store_lease_bind(c->daemon->store, c->lease, c->pid);
	c->given = true;
	return 0;
}

static int acquire_template(struct connection *c, const struct lease_request *request,
	const char *no_vm, struct err *err)
{
	struct err why = ERR_INIT;
	struct json_object *reply;
	struct grant grant;
	int fds[2], r;

	if (!daemon_acquire(c->daemon, request, &grant, &why))
		return answer_none(c, request, grant.differs, &why, err);
	c->lease = grant.lease;
	store_lease_bind(c->daemon->store, c->lease, c->pid);
	events_emit("grant", "sandbox", request->sandbox, "generation",
		store_lease_generation(c->lease), NULL);
	reply = lease_reply_new("template");
	json_set_string(reply, "generation", store_lease_generation(c->lease));
	json_object_object_add(reply, "manifest", manifest_to_json(&grant.manifest));
	if (*no_vm)
		json_set_string(reply, "reason", no_vm);
	fds[0] = grant.memory_fd;
	fds[1] = grant.state_fd;
	r = connection_answer(c, reply, fds, 2, err);
	grant_done(&grant);
	return r;
}

static int request_acquire(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	struct err no_vm = ERR_INIT;
	struct cached *vm = daemon_take_cached(c->daemon, request, &no_vm);

	if (vm)
		return request_offer_vm(c, vm, request, err);
	if (*no_vm.text)
		log_info("no cached VM for the sandbox %s: %s", request->sandbox,
			no_vm.text);
	if (request->template)
		return acquire_template(c, request, no_vm.text, err);
	if (!*no_vm.text)
		err_set(&no_vm, -ENOENT, "templated keeps no VMs ready");
	return answer_none(c, request, MANIFEST_FIELDS, &no_vm, err);
}

/* ---- init and refresh ---- */

static struct json_object *done_reply(
	const char *generation, bool built, const char *text)
{
	struct json_object *reply = lease_reply_new("done");

	json_set_string(reply, "generation", generation);
	json_set_bool(reply, "built", built);
	json_set_string(reply, "text", text);
	return reply;
}

static int follow_build(struct connection *c, uint64_t ticket,
	struct build_result *result, struct err *err)
{
	enum build_step step = BUILD_STARTING;

	while (builder_follow(c->daemon->builder, ticket, &step, result)) {
		struct json_object *progress = lease_reply_new(NULL);
		int r;

		json_set_string(progress, "progress", build_step_name(step));
		r = connection_answer(c, progress, NULL, 0, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int request_build(struct connection *c, enum build_how how, struct err *err)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);
	struct build_result result;
	struct err why = ERR_INIT;
	uint64_t ticket;
	int r;

	if (!s->config.enable_template) {
		err_set(&why, -EINVAL,
			"templates are switched off: enable_template = false");
		return answer_error(c, &why, err);
	}
	if (builder_start(c->daemon->builder, how, &ticket, &why) < 0)
		return answer_error(c, &why, err);
	r = follow_build(c, ticket, &result, err);
	if (r < 0)
		return r;
	if (result.code < 0)
		return answer_error(c, &result.err, err);
	return connection_answer(c,
		done_reply(result.id, result.built,
			result.built ? "published" : "up to date"),
		NULL, 0, err);
}

static int request_init(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	(void)request;
	return request_build(c, BUILD_LOOK, err);
}

static int request_refresh(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	return request_build(c, request->now ? BUILD_NOW : BUILD_FORCE, err);
}

/* ---- images ---- */

static int request_image(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);
	_cleanup_close_ int fd = -1;
	struct image_grant image;
	struct json_object *reply;
	struct err why = ERR_INIT;

	if (images_ask(c->daemon->images, s, request->lowers, request->n_lowers, &image,
		    &why) != IMAGES_GRANTED) {
		log_debug("no image for the layers from %s down: %s",
			err_quote(request->lowers[0], 256), why.text);
		reply = lease_reply_new("none");
		json_set_string(reply, "reason", why.text);
		return connection_answer(c, reply, NULL, 0, err);
	}
	fd = image.fd;
	reply = lease_reply_new("image");
	json_set_string(reply, "key", image.key);
	json_set_u64(reply, "bytes", image.bytes);
	return connection_answer(c, reply, &fd, 1, err);
}

static int request_images(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);
	struct json_object *reply = lease_reply_new("images");

	(void)request;
	json_object_object_add(
		reply, "images", images_list(c->daemon->images, &s->config));
	return connection_answer(c, reply, NULL, 0, err);
}

static int request_prune(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	struct json_object *reply = lease_reply_new("pruned");
	uint64_t count, bytes;

	(void)request;
	images_prune(c->daemon->images, &count, &bytes);
	json_set_u64(reply, "count", count);
	json_set_u64(reply, "bytes", bytes);
	return connection_answer(c, reply, NULL, 0, err);
}

/* ---- the others ---- */

static int request_destroy(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	struct json_object *held, *reply;
	struct err why = ERR_INIT;
	int r;

	(void)request;
	builder_cancel(c->daemon->builder);
	cache_hold(c->daemon->cache, "the template is destroyed");
	r = store_empty(c->daemon->store, &held, &why);
	cache_release(c->daemon->cache);
	if (r < 0)
		return answer_error(c, &why, err);
	reply = done_reply("", false,
		json_object_array_length(held) > 0
			? "retired; freed with the last of its sandboxes"
			: "removed");
	json_object_object_add(reply, "held", held);
	return connection_answer(c, reply, NULL, 0, err);
}

static int request_status(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	struct json_object *reply = lease_reply_new("status");

	(void)request;
	json_object_object_add(reply, "status", daemon_status(c->daemon));
	return connection_answer(c, reply, NULL, 0, err);
}

static int request_size(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);
	struct json_object *reply, *found;
	struct err why = ERR_INIT;

	(void)request;
	if (daemon_size(&s->config, &found, &why) < 0)
		return answer_error(c, &why, err);
	reply = lease_reply_new("size");
	json_object_object_add(reply, "size", found);
	return connection_answer(c, reply, NULL, 0, err);
}

static int request_watch(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	struct err why = ERR_INIT;
	int r = events_watch(c->fd, &why);

	(void)request;
	return r == EVENTS_FULL ? answer_error(c, &why, err) : r;
}

/* Every request, and whether it is the one that a sandbox with an offered VM sends. One
 * that holds a lease sends none. */
static const struct {
	bool with_offer;
	int (*handle)(struct connection *c, const struct lease_request *request,
		struct err *err);
} handlers[LEASE_VERBS] = {
	[LEASE_VERB_ACQUIRE] = {false, request_acquire},
	[LEASE_VERB_STATUS] = {false, request_status},
	[LEASE_VERB_INIT] = {false, request_init},
	[LEASE_VERB_REFRESH] = {false, request_refresh},
	[LEASE_VERB_DESTROY] = {false, request_destroy},
	[LEASE_VERB_SIZE] = {false, request_size},
	[LEASE_VERB_TAKEN] = {true, request_taken},
	[LEASE_VERB_WATCH] = {false, request_watch},
	[LEASE_VERB_IMAGE] = {false, request_image},
	[LEASE_VERB_IMAGES] = {false, request_images},
	[LEASE_VERB_PRUNE] = {false, request_prune},
};

int request_handle(
	struct connection *c, const struct lease_request *request, struct err *err)
{
	if (c->lease || c->given)
		return err_set(err, -EPROTO,
			"the request %s on a connection that is a lease",
			lease_verb_name(request->verb));
	if (!c->offer != !handlers[request->verb].with_offer)
		return err_set(err, -EPROTO, "the request %s on a connection %s",
			lease_verb_name(request->verb),
			c->offer ? "that a VM is offered on" : "without an offer");
	return handlers[request->verb].handle(c, request, err);
}
