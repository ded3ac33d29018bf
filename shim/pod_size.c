/* SPDX-License-Identifier: Apache-2.0 */
/* The sizes of pods: see pod_size.h. */
#include "shim/pod_size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/util.h"
#include "shim/container.h"

#define DEFAULT_PERIOD 100000 /* the kernel's */
#define ANNOTATION_MAX (64u << 10)

int pod_size_of_quota(
	int64_t quota, int64_t period, uint64_t *ret_millis, struct err *err)
{
	uint64_t scaled;

	*ret_millis = 0;
	if (quota <= 0)
		return 0;
	if (period <= 0)
		period = DEFAULT_PERIOD;
	if (__builtin_mul_overflow((uint64_t)quota, 1000u, &scaled))
		return err_set(err, -EINVAL, "the CPU quota %lld is out of range",
			(long long)quota);
	*ret_millis = (scaled + (uint64_t)period - 1) / (uint64_t)period;
	return 0;
}

int pod_size_of_resources(
	struct json_object *resources, struct pod_size *size, struct err *err)
{
	struct json_object *cpu, *memory;
	int64_t quota = INT64_MIN, period = 0, limit = INT64_MIN;
	int r;

	if (!resources)
		return 0;
	r = json_get_object_opt(resources, "cpu", &cpu, err);
	if (r == 0 && cpu)
		r = json_get_i64_opt(cpu, "quota", quota, &quota, err);
	if (r == 0 && cpu)
		r = json_get_i64_opt(cpu, "period", period, &period, err);
	if (r < 0)
		return err_wrap(err, "linux.resources.cpu");
	r = json_get_object_opt(resources, "memory", &memory, err);
	if (r == 0 && memory)
		r = json_get_i64_opt(memory, "limit", limit, &limit, err);
	if (r < 0)
		return err_wrap(err, "linux.resources.memory");
	if (limit != INT64_MIN)
		size->memory_bytes = (uint64_t)MAX(limit, 0);
	return quota == INT64_MIN
		       ? 0
		       : pod_size_of_quota(quota, period, &size->cpu_millis, err);
}

/* ---- annotations ---- */

static int get_number(
	struct json_object *annotations, const char *key, int64_t *ret, struct err *err)
{
	const char *text;
	char *end;
	int r = json_get_string_opt(annotations, key, "0", &text, err);

	if (r < 0)
		return r;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return err_set(err, -EINVAL, "annotation %s: %s is no number", key,
			err_quote(text, 32));
	return 0;
}

struct linux_limits {
	int64_t quota, period, memory;
};

/* containerd's CRI: a number in each. */
static int read_containerd(
	struct json_object *annotations, struct linux_limits *ret, struct err *err)
{
	int r = get_number(
		annotations, "io.kubernetes.cri.sandbox-cpu-quota", &ret->quota, err);

	if (r == 0)
		r = get_number(annotations, "io.kubernetes.cri.sandbox-cpu-period",
			&ret->period, err);
	if (r == 0)
		r = get_number(annotations, "io.kubernetes.cri.sandbox-memory",
			&ret->memory, err);
	return r;
}

/* CRI-O: the CRI's resources as JSON. */
static int read_crio(struct json_object *annotations, const char *key,
	struct linux_limits *ret, struct err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	const char *text;
	int r = json_get_string_opt(annotations, key, "", &text, err);

	if (r < 0 || !*text || strcmp(text, "null") == 0)
		return r;
	if (strlen(text) > ANNOTATION_MAX)
		return err_set(err, -E2BIG, "annotation %s is too long", key);
	r = json_parse(key, text, strlen(text), 4, &o, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(o, json_type_object))
		return err_set(err, -EINVAL, "annotation %s is no JSON object", key);
	r = json_get_i64_opt(o, "cpu_quota", ret->quota, &ret->quota, err);
	if (r == 0)
		r = json_get_i64_opt(o, "cpu_period", ret->period, &ret->period, err);
	if (r == 0)
		r = json_get_i64_opt(
			o, "memory_limit_in_bytes", ret->memory, &ret->memory, err);
	return r < 0 ? err_wrap(err, "annotation %s", key) : 0;
}

int pod_size_of_spec(const struct spec *spec, struct pod_size *ret, struct err *err)
{
	struct json_object *annotations = json_at(spec->json, "annotations");
	struct linux_limits limits = {0};
	int r;

	*ret = (struct pod_size){0};
	if (!json_object_is_type(annotations, json_type_object))
		return 0;
	r = read_containerd(annotations, &limits, err);
	if (r == 0)
		r = read_crio(annotations, "io.kubernetes.cri-o.PodLinuxResources",
			&limits, err);
	if (r == 0)
		r = read_crio(annotations, "pod-linux-resources.crio.io", &limits, err);
	if (r < 0)
		return err_wrap(err, SPEC_FILE);
	ret->memory_bytes = (uint64_t)MAX(limits.memory, 0);
	return pod_size_of_quota(limits.quota, limits.period, &ret->cpu_millis, err);
}

/* ---- the VM ---- */

static bool add_size(struct pod_size *sum, const struct pod_size *other)
{
	return __builtin_add_overflow(
		       sum->cpu_millis, other->cpu_millis, &sum->cpu_millis) ||
	       __builtin_add_overflow(
		       sum->memory_bytes, other->memory_bytes, &sum->memory_bytes);
}

int pod_size_wanted(struct pod *pod, const struct pod_size *extra, struct pod_size *ret,
	struct err *err)
{
	struct pod_size sum = extra ? *extra : (struct pod_size){0};

	for (struct container *c = pod->containers; c; c = c->next)
		if (add_size(&sum, &c->size))
			return err_set(err, -ERANGE, "the pod's limits are out of range");
	ret->cpu_millis = MAX(sum.cpu_millis, pod->size.cpu_millis);
	ret->memory_bytes = MAX(sum.memory_bytes, pod->size.memory_bytes);
	return 0;
}

int pod_size_fit(struct pod *pod, const struct pod_size *extra, struct err *err)
{
	struct pod_size wanted = {0};
	int r = pod_size_wanted(pod, extra, &wanted, err);

	return r < 0 ? r : pod_resize(pod, wanted.cpu_millis, wanted.memory_bytes, err);
}
