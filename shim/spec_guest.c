/* SPDX-License-Identifier: Apache-2.0 */
/* The host's half of fitting a spec to the guest: see spec_guest.h. */
#include "shim/spec_guest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mount_word.h"
#include "base/util.h"
#include "shim/mount_source.h"

/* What names something of the host, and so nothing in the guest. */
static const struct {
	const char *parent; /* "" is the top */
	const char *key;
	const char *why;
} host_only[] = {
	{"linux", "intelRdt", "classes of the cache are the host's"},
	{"linux.resources", "blockIO", "block devices have other numbers in the guest"},
	{"linux.resources", "network", "traffic classes are the host's"},
	{"linux.resources", "rdma", "RDMA devices are the host's"},
	{"linux.resources", "unified",
		"cgroup files of the host may not exist in the guest"},
	{"linux.resources.cpu", "cpus", "CPU numbers are the host's"},
	{"linux.resources.cpu", "mems", "NUMA nodes are the host's"},
};

static bool is_empty(struct json_object *o)
{
	if (json_object_is_type(o, json_type_array))
		return json_object_array_length(o) == 0;
	if (json_object_is_type(o, json_type_object))
		return json_object_object_length(o) == 0;
	if (json_object_is_type(o, json_type_string))
		return json_object_get_string_len(o) == 0;
	return !o;
}

static void drop_host_only(struct json_object *spec, const char *cid)
{
	for (size_t i = 0; i < ARRAY_SIZE(host_only); i++) {
		struct json_object *parent = json_at(spec, host_only[i].parent), *value;

		if (!parent ||
			!json_object_object_get_ex(parent, host_only[i].key, &value))
			continue;
		if (!is_empty(value))
			log_info("container %s: %s%s%s is left out: %s", cid,
				host_only[i].parent, *host_only[i].parent ? "." : "",
				host_only[i].key, host_only[i].why);
		json_object_object_del(parent, host_only[i].key);
	}
}

struct mount_words {
	const char *type, *source, *destination;
	bool bind, recursive;
	bool secluded; /* from the host's later mounts */
	enum rootfs_readonly readonly;
};

/* Of a bind mount, or of the root ("linux.rootfsPropagation"), from which runc's
 * start. */
static bool is_secluded(const char *word)
{
	static const char *const words[] = {
		"private", "rprivate", "unbindable", "runbindable"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

static int read_mount(struct json_object *m, struct mount_words *ret, struct err *err)
{
	struct json_object *options = NULL;
	unsigned long flags = 0;
	int r;

	*ret = (struct mount_words){0};
	r = json_get_string(m, "destination", &ret->destination, err);
	if (r == 0)
		r = json_get_string_opt(m, "type", "", &ret->type, err);
	if (r == 0)
		r = json_get_string_opt(m, "source", "", &ret->source, err);
	if (r < 0)
		return r;
	ret->bind = strcmp(ret->type, "bind") == 0;
	if (!json_object_object_get_ex(m, "options", &options) || !options)
		return 0;
	r = json_get_array(m, "options", &options, err);
	for (size_t i = 0; r == 0 && i < json_object_array_length(options); i++) {
		const char *o =
			json_object_get_string(json_object_array_get_idx(options, i));

		if (o && strcmp(o, "rro") == 0)
			ret->readonly = ROOTFS_READONLY_ALL;
		else if (o && !mount_word(o, &flags))
			ret->secluded |= is_secluded(o);
	}
	ret->bind |= flags & MS_BIND;
	ret->recursive = flags & MS_REC;
	if (ret->readonly == ROOTFS_WRITABLE && flags & MS_RDONLY)
		ret->readonly = ROOTFS_READONLY_TOP;
	return r;
}

/* ---- shared memory ---- */

/*
 * A tmpfs on /dev/shm is memory that processes share, and so the guest's: as large as the
 * host's, and one for all containers that have the same. One that is not there is what a
 * CRI would have made for a pause container, which a pod of the Sandbox API has not.
 */
static bool is_shm(const struct mount_words *words)
{
	return strcmp(words->destination, "/dev/shm") == 0 && *words->source == '/' &&
	       (mount_source_tmpfs(words->source, NULL) ||
		       access(words->source, F_OK) < 0);
}

/* What containerd's CRI gives a pod. */
static const struct mount_tmpfs default_shm = {
	.flags = MS_NOSUID | MS_NODEV | MS_NOEXEC, .mode = 01777, .bytes = 64 * MiB};

static void add_option(Grpc__Storage *s, char *option)
{
	s->options = xreallocarray(s->options, s->n_options + 1, sizeof(*s->options));
	s->options[s->n_options++] = option;
}

static Grpc__Storage *new_shm(const char *source)
{
	static const struct {
		unsigned long flag;
		const char *word;
	} words[] = {{MS_NOSUID, "nosuid"}, {MS_NODEV, "nodev"}, {MS_NOEXEC, "noexec"}};
	struct mount_tmpfs fs = default_shm;
	Grpc__Storage *s = xnew0(Grpc__Storage);

	grpc__storage__init(s);
	s->driver = xstrdup(AGENT_SHM_DRIVER);
	s->source = xstrdup("shm");
	s->fstype = xstrdup("tmpfs");
	s->mount_point = mount_source_tmpfs(source, &fs)
				 ? xasprintf(AGENT_SHM_DIR "/%jx-%jx",
					   (uintmax_t)fs.device, (uintmax_t)fs.inode)
				 : xstrdup(AGENT_SHM_DIR "/pod");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (fs.flags & words[i].flag)
			add_option(s, xstrdup(words[i].word));
	add_option(s, xasprintf("mode=%o", fs.mode));
	add_option(s, xasprintf("uid=%u", fs.uid));
	add_option(s, xasprintf("gid=%u", fs.gid));
	if (fs.bytes > 0)
		add_option(s, xasprintf("size=%" PRIu64, fs.bytes));
	return s;
}

/* ---- mounts ---- */

static int guest_mount(
	struct json_object *m, const char *cid, struct guest_spec *g, struct err *err)
{
	_cleanup_free_ char *place = NULL;
	struct mount_words words;
	int r = read_mount(m, &words, err);

	if (r < 0)
		return r;
	if (!words.bind)
		return 0;
	if (is_shm(&words) && !g->shm) {
		g->shm = new_shm(words.source);
		json_set_string(m, "source", g->shm->mount_point);
		return 0;
	}
	if (*words.source != '/')
		return err_set(err, -EINVAL,
			"the source %s of the bind mount on %s is not absolute",
			err_quote(words.source, 256), err_quote(words.destination, 256));
	if (mount_source_is_kernels(words.source))
		return 0;
	if (g->n_binds >= SPEC_BINDS_MAX)
		return err_set(err, -E2BIG, "there are more than %d bind mounts",
			SPEC_BINDS_MAX);
	g->binds[g->n_binds] = (struct spec_bind){
		{xstrdup(words.source), words.recursive, words.readonly},
		.follows = !words.secluded};
	place = xasprintf(AGENT_SHARED_DIR "/%s/mounts/%u", cid, g->n_binds++);
	json_set_string(m, "source", place);
	return 0;
}

static void free_binds(struct spec_bind *binds, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		free((char *)(uintptr_t)binds[i].tree.path);
	free(binds);
}

/* What a private root is made of has no part in the host's mounts any more. */
static int seclude_all(struct json_object *spec, struct guest_spec *g, struct err *err)
{
	struct json_object *linux_ = json_at(spec, "linux");
	const char *root = "";

	if (linux_ &&
		json_get_string_opt(linux_, "rootfsPropagation", "", &root, err) < 0)
		return err_wrap(err, "linux");
	for (unsigned int i = 0; is_secluded(root) && i < g->n_binds; i++)
		g->binds[i].follows = false;
	return 0;
}

static int guest_mounts(struct json_object *spec, const char *cid, struct guest_spec *ret,
	struct err *err)
{
	struct json_object *mounts;
	size_t n;

	if (!json_object_object_get_ex(spec, "mounts", &mounts) || !mounts)
		return 0;
	if (!json_object_is_type(mounts, json_type_array))
		return err_set(err, -EINVAL, "mounts is no array");
	n = json_object_array_length(mounts);
	ret->binds = xreallocarray(NULL, MIN(n, SPEC_BINDS_MAX) + 1, sizeof(*ret->binds));
	for (size_t i = 0; i < n; i++) {
		int r = guest_mount(json_object_array_get_idx(mounts, i), cid, ret, err);

		if (r < 0)
			return err_wrap(err, "mounts");
	}
	return seclude_all(spec, ret, err);
}

void guest_spec_done(struct guest_spec *g)
{
	if (g->oci)
		grpc__spec__free_unpacked(g->oci, NULL);
	free_binds(g->binds, g->n_binds);
	spec_nodes_done(&g->nodes);
	if (g->shm)
		grpc__storage__free_unpacked(g->shm, NULL);
	spec_devices_free(g->devices, g->n_devices);
	*g = (struct guest_spec){0};
}

static void note_dropped(void *user, const char *path)
{
	log_info("container %s: %s of " SPEC_FILE
		 " is not known to the agent and left out",
		(const char *)user, err_quote(path, 128));
}

/* What is found on the host, and executed where the guest's kernel runs. */
static int share_hook(
	struct json_object *hook, const char *cid, struct guest_spec *g, struct err *err)
{
	_cleanup_free_ char *place = NULL;
	const char *path;
	int r;

	if (!json_object_is_type(hook, json_type_object))
		return err_set(err, -EINVAL, "it is no object");
	r = json_get_string(hook, "path", &path, err);
	if (r < 0)
		return r;
	if (*path != '/')
		return err_set(err, -EINVAL, "the path %s is not absolute",
			err_quote(path, 256));
	if (g->n_binds >= SPEC_BINDS_MAX)
		return err_set(err, -E2BIG, "there are more than %d bind mounts",
			SPEC_BINDS_MAX);
	g->binds = xreallocarray(g->binds, g->n_binds + 1, sizeof(*g->binds));
	g->binds[g->n_binds] = (struct spec_bind){
		{xstrdup(path), false, ROOTFS_READONLY_TOP}, .follows = false};
	place = xasprintf(AGENT_SHARED_DIR "/%s/mounts/%u", cid, g->n_binds++);
	json_set_string(hook, "path", place);
	return 0;
}

/*
 * crun's are createContainer's, in the container's namespaces before it has its root, and
 * startContainer's, in its root. The former's paths are the host's: each file is shared
 * with the guest as the source of a bind mount is. The others are the host's, hooks.h.
 */
static int guest_hooks(
	struct json_object *spec, const char *cid, struct guest_spec *g, struct err *err)
{
	struct json_object *all, *list, *kept;
	int r = json_get_object_opt(spec, "hooks", &all, err);

	if (r < 0 || !all)
		return r;
	r = json_get_array_opt(all, "createContainer", &list, err);
	for (size_t i = 0; r == 0 && list && i < json_object_array_length(list); i++) {
		r = share_hook(json_object_array_get_idx(list, i), cid, g, err);
		if (r < 0)
			err_wrap(err, "createContainer hook %zu", i);
	}
	if (r < 0)
		return r;
	kept = json_object_new_object();
	if (list)
		json_object_object_add(kept, "createContainer", json_object_get(list));
	if (json_object_object_get_ex(all, "startContainer", &list))
		json_object_object_add(kept, "startContainer", json_object_get(list));
	json_object_object_del(spec, "hooks");
	if (json_object_object_length(kept) > 0)
		json_object_object_add(spec, "hooks", kept);
	else
		json_object_put(kept);
	return 0;
}

static int fit_to_guest(
	struct spec *spec, const char *cid, struct guest_spec *g, struct err *err)
{
	_cleanup_free_ char *root = xasprintf(AGENT_SHARED_DIR "/%s/rootfs", cid);
	int r;

	drop_host_only(spec->json, cid);
	r = spec_take_devices(spec->json, cid, &g->devices, &g->n_devices, err);
	if (r == 0)
		r = spec_take_nodes(spec->json, &g->nodes, err);
	if (r == 0)
		r = guest_mounts(spec->json, cid, g, err);
	if (r == 0)
		r = guest_hooks(spec->json, cid, g, err);
	if (r < 0)
		return r;
	json_set_string(json_at(spec->json, "root"), "path", root);
	/* Borrowed strings that have just been replaced or dropped. */
	spec->root_path = spec->netns = NULL;
	spec->hostname = spec->cgroups_path = "";
	return oci_spec_from_json(spec->json, &g->oci, note_dropped, (void *)cid, err);
}

int spec_for_guest(
	struct spec *spec, const char *cid, struct guest_spec *ret, struct err *err)
{
	int r;

	*ret = (struct guest_spec){0};
	r = fit_to_guest(spec, cid, ret, err);
	if (r == 0)
		return 0;
	guest_spec_done(ret);
	return err_wrap(err, SPEC_FILE);
}
