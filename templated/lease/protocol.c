/* SPDX-License-Identifier: Apache-2.0 */
/* The lease protocol: see protocol.h. */
#include "templated/lease/protocol.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

static const char *const verb_names[LEASE_VERBS] = {
	[LEASE_VERB_ACQUIRE] = "acquire",
	[LEASE_VERB_STATUS] = "status",
	[LEASE_VERB_INIT] = "init",
	[LEASE_VERB_REFRESH] = "refresh",
	[LEASE_VERB_DESTROY] = "destroy",
	[LEASE_VERB_SIZE] = "size",
	[LEASE_VERB_TAKEN] = "taken",
	[LEASE_VERB_WATCH] = "watch",
	[LEASE_VERB_IMAGE] = "image",
	[LEASE_VERB_IMAGES] = "images",
	[LEASE_VERB_PRUNE] = "prune",
};

enum want_type {
	WANT_STRING,
	WANT_NUMBER,
	WANT_ACCEL,
};

/* All are keys of [hypervisor], under their names there. */
static const struct {
	const char *name;
	enum want_type type;
	size_t offset;
} wants[LEASE_WANTS] = {
/* clang-format off */
#define WANT(name, type, member) {name, type, offsetof(struct config, member)}
	[LEASE_WANT_QEMU_PATH]     = WANT("path", WANT_STRING, qemu_path),
	[LEASE_WANT_KERNEL]        = WANT("kernel", WANT_STRING, kernel),
	[LEASE_WANT_INITRD]        = WANT("initrd", WANT_STRING, initrd),
	[LEASE_WANT_KERNEL_PARAMS] = WANT("kernel_params", WANT_STRING, kernel_params),
	[LEASE_WANT_ACCEL]         = WANT("accel", WANT_ACCEL, accel),
	[LEASE_WANT_VCPUS]         = WANT("default_vcpus", WANT_NUMBER, default_vcpus),
	[LEASE_WANT_MAXVCPUS]      = WANT("default_maxvcpus", WANT_NUMBER, default_maxvcpus),
	[LEASE_WANT_MEMORY]        = WANT("default_memory", WANT_NUMBER, default_memory),
	[LEASE_WANT_MAXMEMORY]     = WANT("default_maxmemory", WANT_NUMBER, default_maxmemory),
#undef WANT
	/* clang-format on */
};

static const char *const accel_names[] = {
	[CONFIG_ACCEL_AUTO] = "auto",
	[CONFIG_ACCEL_KVM] = "kvm",
	[CONFIG_ACCEL_TCG] = "tcg",
};

const char *lease_verb_name(enum lease_verb verb)
{
	return verb_names[verb];
}

/* A value as it would stand in the file; the caller's to free(). */
static char *want_text(const struct config *c, enum lease_want want)
{
	const void *member = (const char *)c + wants[want].offset;

	switch (wants[want].type) {
	case WANT_STRING:
		return xstrdup(*(char *const *)member);
	case WANT_NUMBER:
		return xasprintf("%" PRIu64, *(const uint64_t *)member);
	case WANT_ACCEL:
		return xstrdup(accel_names[*(const int *)member]);
	}
	abort();
}

/* ---- requests ---- */

struct json_object *lease_request_new(
	enum lease_verb verb, const char *sandbox, const struct config *c)
{
	struct json_object *obj = json_object_new_object(), *config;

	json_set_u64(obj, "version", LEASE_VERSION);
	json_set_string(obj, "request", verb_names[verb]);
	if (verb != LEASE_VERB_ACQUIRE)
		return obj;
	json_set_string(obj, "sandbox", sandbox);
	config = json_object_new_object();
	for (int i = 0; i < LEASE_WANTS; i++) {
		_cleanup_free_ char *text = want_text(c, (enum lease_want)i);

		json_set_string(config, wants[i].name, text);
	}
	json_object_object_add(obj, "config", config);
	return obj;
}

static int check_version(struct json_object *obj, const char *who, struct err *err)
{
	uint64_t version;
	int r;

	if (!json_object_is_type(obj, json_type_object))
		return err_set(err, -EBADMSG, "the message is not a JSON object");
	r = json_get_u64(obj, "version", &version, err);
	if (r == 0 && version != LEASE_VERSION)
		r = err_set(err, -EPROTONOSUPPORT,
			"%s speaks version %" PRIu64
			" of the lease protocol, this program "
			"version %d",
			who, version, LEASE_VERSION);
	return r;
}

static int parse_verb(struct json_object *obj, enum lease_verb *ret, struct err *err)
{
	const char *name;
	int r = json_get_string(obj, "request", &name, err);

	if (r < 0)
		return r;
	for (int i = 0; i < LEASE_VERBS; i++) {
		if (strcmp(verb_names[i], name) == 0) {
			*ret = (enum lease_verb)i;
			return 0;
		}
	}
	return err_set(err, -EOPNOTSUPP, "unknown request \"%s\"", err_quote(name, 64));
}

static int parse_sandbox(struct json_object *obj, char *ret, struct err *err)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789_.-";
	const char *id;
	int r = json_get_string(obj, "sandbox", &id, err);

	if (r < 0)
		return r;
	if (!*id || strlen(id) >= LEASE_SANDBOX_MAX || id[strspn(id, allowed)])
		return err_set(err, -EINVAL,
			"\"sandbox\" is \"%s\", which is no sandbox id",
			err_quote(id, 64));
	memcpy(ret, id, strlen(id) + 1);
	return 0;
}

static int parse_wants(struct json_object *obj, char *want[LEASE_WANTS], struct err *err)
{
	struct json_object *config;
	const char *value;
	int r = json_get_object(obj, "config", &config, err);

	if (r < 0)
		return r;
	if (json_object_object_length(config) != LEASE_WANTS)
		return err_set(err, -EINVAL, "\"config\" has %d keys, %d are wanted",
			json_object_object_length(config), LEASE_WANTS);
	for (int i = 0; i < LEASE_WANTS; i++) {
		r = json_get_string(config, wants[i].name, &value, err);
		if (r < 0)
			return err_wrap(err, "\"config\"");
		want[i] = xstrdup(value);
	}
	return 0;
}

/* What it will take instead of, or beside, a template. */
static int parse_options(
	struct json_object *obj, struct lease_request *request, struct err *err)
{
	const char *dir;
	int r = json_get_bool_opt(obj, "template", true, &request->template, err);

	if (r == 0)
		r = json_get_string_opt(obj, "state_dir", "", &dir, err);
	if (r == 0 && *dir)
		request->state_dir = xstrdup(dir);
	return r;
}

/* One of the lowers: a path, not two with a NUL between. */
static int parse_lower(struct json_object *value, char **ret, struct err *err)
{
	const char *path = json_object_get_string(value);
	size_t len;

	if (!json_object_is_type(value, json_type_string))
		return err_set(
			err, -EINVAL, "\"lowers\" has something that is no string");
	len = (size_t)json_object_get_string_len(value);
	if (*path != '/' || strlen(path) != len || len >= PATH_MAX)
		return err_set(err, -EINVAL,
			"\"lowers\" has \"%s\", which is no absolute path",
			err_quote(path, 128));
	*ret = xstrdup(path);
	return 0;
}

static int parse_lowers(
	struct json_object *obj, struct lease_request *request, struct err *err)
{
	struct json_object *list;
	size_t n;
	int r = json_get_array(obj, "lowers", &list, err);

	if (r < 0)
		return r;
	n = json_object_array_length(list);
	if (n == 0 || n > LEASE_LOWERS_MAX)
		return err_set(err, -EINVAL,
			"\"lowers\" has %zu paths, 1 to %d are allowed", n,
			LEASE_LOWERS_MAX);
	request->lowers = xzalloc(n * sizeof(*request->lowers));
	for (; request->n_lowers < n; request->n_lowers++) {
		r = parse_lower(json_object_array_get_idx(list, request->n_lowers),
			&request->lowers[request->n_lowers], err);
		if (r < 0)
			return r;
	}
	return 0;
}

int lease_request_parse(
	const char *text, size_t len, struct lease_request *ret, struct err *err)
{
	_cleanup_json_ struct json_object *obj = NULL;
	struct lease_request request = {0};
	int r;

	r = json_parse("the request", text, len, LEASE_DEPTH_MAX, &obj, err);
	if (r == 0)
		r = check_version(obj, "the client", err);
	if (r == 0)
		r = parse_verb(obj, &request.verb, err);
	if (r == 0 && request.verb == LEASE_VERB_ACQUIRE) {
		r = parse_sandbox(obj, request.sandbox, err);
		if (r == 0)
			r = parse_wants(obj, request.want, err);
		if (r == 0)
			r = parse_options(obj, &request, err);
	}
	if (r == 0 && request.verb == LEASE_VERB_REFRESH)
		r = json_get_bool_opt(obj, "now", false, &request.now, err);
	if (r == 0 && request.verb == LEASE_VERB_IMAGE)
		r = parse_lowers(obj, &request, err);
	if (r < 0)
		lease_request_done(&request);
	else
		*ret = request;
	return r;
}

void lease_request_done(struct lease_request *request)
{
	for (int i = 0; i < LEASE_WANTS; i++)
		free(request->want[i]);
	free(request->state_dir);
	for (size_t i = 0; i < request->n_lowers; i++)
		free(request->lowers[i]);
	free(request->lowers);
	*request = (struct lease_request){0};
}

bool lease_request_is_own(const struct lease_request *request, const struct config *c)
{
	bool own = true;

	for (int i = 0; i < LEASE_WANTS && own; i++) {
		_cleanup_free_ char *text = want_text(c, (enum lease_want)i);

		own = strcmp(text, request->want[i]) == 0;
	}
	return own;
}

int lease_request_config(const struct lease_request *request, const struct config *base,
	struct config *ret, struct err *err)
{
	struct config c;
	int r;

	config_init(&c);
	/* The accelerator's probe keeps its outcome there. */
	r = config_set(&c, "runtime", "state_dir", base->state_dir, "templated", err);
	for (int i = 0; i < LEASE_WANTS && r == 0; i++)
		r = config_set(&c, "hypervisor", wants[i].name, request->want[i],
			"the request", err);
	if (r < 0)
		config_done(&c);
	else
		*ret = c;
	return r;
}

/* ---- messages ---- */

struct json_object *lease_reply_new(const char *result)
{
	struct json_object *obj = json_object_new_object();

	json_set_u64(obj, "version", LEASE_VERSION);
	if (result)
		json_set_string(obj, "result", result);
	return obj;
}

int lease_send(int fd, struct json_object *obj, const int *fds, unsigned int n_fds,
	int64_t deadline)
{
	_cleanup_json_ struct json_object *message = obj;
	const char *text = json_object_to_json_string_ext(
		message, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	if (strlen(text) > LEASE_MESSAGE_MAX)
		return -EMSGSIZE;
	return sock_send(fd, text, strlen(text), fds, n_fds, deadline);
}

int lease_receive(
	int fd, struct json_object **ret, int fds[2], int64_t deadline, struct err *err)
{
	return lease_receive_fds(fd, ret, fds, 2, deadline, err);
}

int lease_receive_fds(int fd, struct json_object **ret, int *fds, unsigned int n_fds,
	int64_t deadline, struct err *err)
{
	_cleanup_free_ char *buf = xmalloc(LEASE_MESSAGE_MAX + 1);
	_cleanup_json_ struct json_object *obj = NULL;
	ssize_t n = sock_recv(fd, buf, LEASE_MESSAGE_MAX, fds, n_fds, deadline);
	int r;

	if (n <= 0)
		return err_set(err, n ? (int)n : -ECONNRESET, "templated %s",
			n == 0            ? "closed the connection"
			: n == -ETIMEDOUT ? "does not answer"
					  : strerror((int)-n));
	buf[n] = '\0';
	r = json_parse("templated's answer", buf, (size_t)n, LEASE_DEPTH_MAX, &obj, err);
	if (r == 0)
		r = check_version(obj, "templated", err);
	if (r < 0) {
		for (unsigned int i = 0; i < n_fds; i++)
			close_fd(steal_fd(&fds[i]));
		return r;
	}
	*ret = steal_ptr(obj);
	return 0;
}
