/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's folder: see state.h. */
#include "shim/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"
#include "shim/cmdline.h"

#define RECORD       "sandbox.json"
#define RECORD_MAX   (64u << 10)
#define RECORD_DEPTH 2

void state_done(struct state *s)
{
	free(s->dir);
	free(s->namespace);
	free(s->id);
	free(s->bundle);
	free(s->socket);
	free(s->config_path);
	free(s->netns);
	*s = (struct state){0};
}

char *state_socket_path(const struct config *c, const char *address,
	const char *namespace, const char *id)
{
	char hex[2 * SHA256_DIGEST_SIZE + 1];
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	/* With the NULs, so that ("a", "bc") and ("ab", "c") differ. */
	sha256_update(&ctx, strlen(address) + 1, (const uint8_t *)address);
	sha256_update(&ctx, strlen(namespace) + 1, (const uint8_t *)namespace);
	sha256_update(&ctx, strlen(id) + 1, (const uint8_t *)id);
	sha256_digest(&ctx, sizeof(digest), digest);
	hex_encode(digest, sizeof(digest), hex);
	/* 128 bits are enough not to meet by chance. */
	return xasprintf("%s/%.32s.sock", c->state_dir, hex);
}

char *state_folder(const struct config *c, const char *namespace, const char *id)
{
	return xasprintf("%s/%s:%s", c->state_dir, namespace, id);
}

void state_init(struct state *s, const struct config *c, const struct cmdline *cmd,
	const char *bundle)
{
	*s = (struct state){
		.dir = state_folder(c, cmd->namespace, cmd->id),
		.namespace = xstrdup(cmd->namespace),
		.id = xstrdup(cmd->id),
		.bundle = xstrdup(bundle),
		.socket = state_socket_path(c, cmd->address, cmd->namespace, cmd->id),
		.config_path = xstrdup(c->loaded_from),
		.netns = xstrdup(""),
	};
}

char *state_path(const struct state *s, const char *name)
{
	return xasprintf("%s/%s", s->dir, name);
}

int state_save(const struct state *s, struct err *err)
{
	_cleanup_json_ struct json_object *o = json_object_new_object();
	_cleanup_free_ char *path = state_path(s, RECORD);
	const char *text;
	size_t len;

	json_set_string(o, "namespace", s->namespace);
	json_set_string(o, "id", s->id);
	json_set_string(o, "bundle", s->bundle);
	json_set_string(o, "socket", s->socket);
	json_set_string(o, "config", s->config_path);
	json_set_string(o, "netns", s->netns);
	json_set_u64(o, "shim_pid", (uint64_t)s->shim.pid);
	json_set_u64(o, "shim_start", s->shim.start_ticks);
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &len);
	return file_write_atomic(AT_FDCWD, path, text, len, 0600, err);
}

static int copy_string(
	struct json_object *o, const char *key, char **ret, struct err *err)
{
	const char *value;
	int r = json_get_string(o, key, &value, err);

	if (r == 0)
		*ret = xstrdup(value);
	return r == -ENOENT ? -EBADMSG : r;
}

static int parse_record(struct json_object *o, struct state *s, struct err *err)
{
	uint64_t pid = 0;
	int r;

	r = copy_string(o, "namespace", &s->namespace, err);
	if (r == 0)
		r = copy_string(o, "id", &s->id, err);
	if (r == 0)
		r = copy_string(o, "bundle", &s->bundle, err);
	if (r == 0)
		r = copy_string(o, "socket", &s->socket, err);
	if (r == 0)
		r = copy_string(o, "config", &s->config_path, err);
	if (r == 0)
		r = copy_string(o, "netns", &s->netns, err);
	if (r == 0)
		r = json_get_u64_opt(o, "shim_pid", 0, &pid, err);
	if (r == 0)
		r = json_get_u64_opt(o, "shim_start", 0, &s->shim.start_ticks, err);
	if (r == 0 && pid > INT_MAX)
		r = err_set(err, -EBADMSG, "shim_pid is out of range");
	s->shim.pid = (pid_t)pid;
	return r;
}

int state_load(const char *dir, struct state *s, struct err *err)
{
	_cleanup_free_ char *text = NULL, *path = xasprintf("%s/%s", dir, RECORD);
	_cleanup_json_ struct json_object *o = NULL;
	struct state loaded = {.dir = xstrdup(dir)};
	size_t len;
	int r;

	r = file_read(AT_FDCWD, path, RECORD_MAX, &text, &len, err);
	if (r == 0)
		r = json_parse(path, text, len, RECORD_DEPTH, &o, err);
	if (r == 0 && (r = parse_record(o, &loaded, err)) < 0)
		err_wrap(err, "%s", path);
	if (r < 0) {
		state_done(&loaded);
		return r;
	}
	*s = loaded;
	return 0;
}

int state_link(const char *dir, const char *bundle, struct err *err)
{
	_cleanup_free_ char *link = xasprintf("%s/%s", bundle, STATE_LINK);

	if (unlink(link) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot replace %s", link);
	if (symlink(dir, link) < 0)
		return err_sys(err, errno, "cannot make the link %s", link);
	return 0;
}

static int make_contents(const struct state *s, struct err *err)
{
	_cleanup_free_ char *rootfs = state_path(s, "rootfs");
	int r;

	if (mkdir(rootfs, 0700) < 0)
		return err_sys(err, errno, "cannot make the state folder %s", rootfs);
	r = state_save(s, err);
	return r < 0 ? r : state_link(s->dir, s->bundle, err);
}

int state_create(struct state *s, struct err *err)
{
	_cleanup_free_ char *parent =
		xstrndup(s->dir, (size_t)(strrchr(s->dir, '/') - s->dir));
	int r = mkdir_parents(parent, 0700, err);

	if (r < 0)
		return r;
	if (mkdir(s->dir, 0700) < 0)
		return err_sys(err, errno, "cannot make the state folder %s", s->dir);
	r = make_contents(s, err);
	if (r < 0)
		state_remove(s, NULL);
	return r;
}

int state_remove(const struct state *s, struct err *err)
{
	_cleanup_free_ char *link = xasprintf("%s/%s", s->bundle, STATE_LINK);
	int r;

	/* containerd removes the bundle itself, so the link may be gone with it. */
	if (unlink(s->socket) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove the socket %s", s->socket);
	r = remove_tree(AT_FDCWD, s->dir, err);
	if (r < 0)
		return r;
	if (unlink(link) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(err, errno, "cannot remove %s", link);
	return 0;
}
