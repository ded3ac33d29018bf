/* SPDX-License-Identifier: Apache-2.0 */
/* Reading config.json: see spec.h. */
#include "shim/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"
#include "shim/cmdline.h"
#include "shim/pod_size.h"

/*
 * How the kinds of CRI say that a container belongs to a sandbox that exists, or that it
 * is there to hold one, which has a name. (Somebody who drives containerd by hand may
 * call any container a sandbox, and has no such name.)
 */
static const struct {
	const char *type_key, *sandbox_key, *name_key;
} cri_annotations[] = {
	{"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id",
		"io.kubernetes.cri.sandbox-name"},
	{"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID",
		"io.kubernetes.cri-o.SandboxName"},
};

static int read_group(struct spec *s, struct err *err)
{
	struct json_object *annotations;
	const char *type;
	int r;

	r = json_get_object_opt(s->json, "annotations", &annotations, err);
	if (r < 0 || !annotations)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(cri_annotations); i++) {
		r = json_get_string_opt(
			annotations, cri_annotations[i].type_key, "", &type, err);
		if (r < 0)
			return r;
		s->of_cri = s->of_cri || *type;
		s->is_pause |= strcmp(type, "sandbox") == 0 &&
			       json_object_object_get_ex(
				       annotations, cri_annotations[i].name_key, NULL);
		if (strcmp(type, "container") != 0)
			continue;
		r = json_get_string(
			annotations, cri_annotations[i].sandbox_key, &s->sandbox_id, err);
		if (r == 0)
			r = name_check(
				cri_annotations[i].sandbox_key, s->sandbox_id, err);
		return r;
	}
	return 0;
}

static int read_process(struct spec *s, struct err *err)
{
	struct json_object *args, *first;
	int r;

	r = json_get_object_opt(s->json, "process", &s->process, err);
	if (r < 0)
		return r;
	if (!s->process)
		return err_set(err, -EINVAL, "there is no process to run");
	r = json_get_array_opt(s->process, "args", &args, err);
	if (r < 0)
		return err_wrap(err, "process");
	first = args && json_object_array_length(args)
			? json_object_array_get_idx(args, 0)
			: NULL;
	if (!json_object_is_type(first, json_type_string))
		return err_set(err, -EINVAL, "process: args names no program to run");
	return 0;
}

static int read_root(struct spec *s, struct err *err)
{
	struct json_object *root;
	int r;

	r = json_get_object_opt(s->json, "root", &root, err);
	if (r == 0 && root)
		r = json_get_string_opt(root, "path", "", &s->root_path, err);
	if (r == 0 && root)
		r = json_get_bool_opt(root, "readonly", false, &s->root_readonly, err);
	if (r < 0)
		return r;
	if (!root || !*s->root_path)
		return err_set(err, -EINVAL, "there is no root.path");
	return 0;
}

static int read_netns(struct spec *s, struct json_object *linux_, struct err *err)
{
	struct json_object *list, *entry;
	const char *type;
	int r;

	r = json_get_array_opt(linux_, "namespaces", &list, err);
	for (size_t i = 0; r == 0 && list && i < json_object_array_length(list); i++) {
		entry = json_object_array_get_idx(list, i);
		if (!json_object_is_type(entry, json_type_object))
			return err_set(err, -EINVAL,
				"linux.namespaces has a member that is no object");
		r = json_get_string(entry, "type", &type, err);
		if (r < 0)
			return err_wrap(err, "linux.namespaces");
		if (strcmp(type, "network") == 0)
			return json_get_string_opt(entry, "path", "", &s->netns, err);
	}
	return r;
}

static int read_shares(struct spec *s, struct json_object *resources, struct err *err)
{
	struct json_object *cpu = NULL;
	int64_t shares = 0;
	int r = 0;

	if (resources)
		r = json_get_object_opt(resources, "cpu", &cpu, err);
	if (r == 0 && cpu)
		r = json_get_i64_opt(cpu, "shares", 0, &shares, err);
	if (r < 0)
		return err_wrap(err, "linux.resources.cpu");
	s->cpu_shares = (uint64_t)MAX(shares, 0);
	return 0;
}

static int read_limits(struct spec *s, struct json_object *linux_, struct err *err)
{
	struct pod_size size = {0};
	struct json_object *resources;
	int r = json_get_object_opt(linux_, "resources", &resources, err);

	if (r == 0)
		r = pod_size_of_resources(resources, &size, err);
	s->cpu_millis = size.cpu_millis;
	s->memory_bytes = size.memory_bytes;
	return r < 0 ? r : read_shares(s, resources, err);
}

/* proc(5): from -1000 to 1000. */
static int read_oom_score(struct spec *s, struct err *err)
{
	int64_t score;
	int r = json_get_i64_opt(s->process, "oomScoreAdj", 0, &score, err);

	if (r < 0)
		return err_wrap(err, "process");
	if (score < -1000 || score > 1000)
		return err_set(err, -EINVAL, "process: oomScoreAdj is out of range");
	s->oom_score_adj = (int)score;
	return 0;
}

static int read_all(struct spec *s, struct err *err)
{
	struct json_object *linux_;
	int r;

	s->cgroups_path = "";
	r = read_process(s, err);
	if (r == 0)
		r = read_oom_score(s, err);
	if (r == 0)
		r = read_root(s, err);
	if (r == 0)
		r = read_group(s, err);
	if (r == 0)
		r = json_get_string_opt(s->json, "hostname", "", &s->hostname, err);
	if (r < 0)
		return r;
	r = json_get_object_opt(s->json, "linux", &linux_, err);
	if (r < 0 || !linux_)
		return r;
	r = json_get_string_opt(linux_, "cgroupsPath", "", &s->cgroups_path, err);
	if (r == 0)
		r = read_netns(s, linux_, err);
	if (r == 0)
		r = read_limits(s, linux_, err);
	return r;
}

int spec_load(int bundle_fd, struct spec *ret, struct err *err)
{
	struct spec s = {0};
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(bundle_fd, SPEC_FILE, SPEC_BYTES_MAX, &text, &len, err);
	if (r < 0)
		return r;
	r = json_parse(SPEC_FILE, text, len, SPEC_DEPTH_MAX, &s.json, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(s.json, json_type_object))
		r = err_set(err, -EINVAL, SPEC_FILE " is no JSON object");
	else if ((r = read_all(&s, err)) < 0)
		err_wrap(err, SPEC_FILE);
	if (r < 0) {
		spec_done(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void spec_done(struct spec *spec)
{
	json_put(spec->json);
	*spec = (struct spec){0};
}
