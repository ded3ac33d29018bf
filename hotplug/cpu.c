/* SPDX-License-Identifier: Apache-2.0 */
/* Plugging vCPUs. See plug.h. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

/* One place for vCPUs, as query-hotpluggable-cpus tells it; strings and objects are its
 * answer's. */
struct cpu_slot {
	const char *type;
	struct json_object *props;
	uint64_t vcpus;
	bool present;
	uint64_t address[5]; /* socket … thread: the order in which we fill places */
};

struct cpu_slots {
	struct json_object *answer;
	struct cpu_slot *slot; /* ascending addresses; QEMU answers in descending order */
	size_t n;
	uint64_t present, max; /* vCPUs */
};

static void slots_done(struct cpu_slots *s)
{
	json_object_put(s->answer);
	free(s->slot);
}

static int read_slot(struct json_object *entry, struct cpu_slot *slot, struct err *err)
{
	static const char *const keys[] = {
		"socket-id", "die-id", "cluster-id", "core-id", "thread-id"};
	int r;

	_Static_assert(ARRAY_SIZE(keys) == ARRAY_SIZE(slot->address), "one place a key");
	r = json_get_string(entry, "type", &slot->type, err);
	if (r == 0)
		r = json_get_object(entry, "props", &slot->props, err);
	if (r == 0)
		r = json_get_u64(entry, "vcpus-count", &slot->vcpus, err);
	for (size_t i = 0; i < ARRAY_SIZE(keys) && r == 0; i++)
		r = json_get_u64_opt(slot->props, keys[i], 0, &slot->address[i], err);
	if (r == 0 && (slot->vcpus == 0 || slot->vcpus > 4096))
		r = err_set(err, -EBADMSG, "a place for %llu vCPUs",
			(unsigned long long)slot->vcpus);
	slot->present = json_object_object_get_ex(entry, "qom-path", NULL);
	return r;
}

static int compare_slots(const void *a, const void *b)
{
	const struct cpu_slot *x = a, *y = b;

	for (size_t i = 0; i < ARRAY_SIZE(x->address); i++)
		if (x->address[i] != y->address[i])
			return x->address[i] < y->address[i] ? -1 : 1;
	return 0;
}

static int read_slots(
	struct qmp *q, struct cpu_slots *s, int64_t deadline, struct err *err)
{
	int r;

	r = qmp_ask(q,
		&(struct qmp_request){
			.name = "query-hotpluggable-cpus", .deadline = deadline},
		&s->answer, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(s->answer, json_type_array))
		return err_set(err, -EBADMSG,
			"QMP query-hotpluggable-cpus: the answer is not an array");
	s->n = json_object_array_length(s->answer);
	s->slot = xreallocarray(NULL, s->n, sizeof(*s->slot));
	for (size_t i = 0; i < s->n; i++) {
		r = read_slot(json_object_array_get_idx(s->answer, i), &s->slot[i], err);
		if (r < 0) {
			err_wrap(err, "QMP query-hotpluggable-cpus");
			return r;
		}
		s->max += s->slot[i].vcpus;
		s->present += s->slot[i].present ? s->slot[i].vcpus : 0;
	}
	qsort(s->slot, s->n, sizeof(*s->slot), compare_slots);
	return 0;
}

static int plug_slot(struct qmp *q, const struct cpu_slot *slot, uint64_t number,
	int64_t deadline, struct err *err)
{
	struct json_object *args = NULL;
	char id[32];

	if (json_object_deep_copy(slot->props, &args, NULL) < 0)
		abort(); /* out of memory */
	snprintf(id, sizeof(id), "vcpu%llu", (unsigned long long)number);
	return plug_device(q, slot->type, id, args, deadline, err);
}

static int plug_up_to(struct qmp *q, struct cpu_slots *s, unsigned int total,
	int64_t deadline, struct err *err)
{
	int r;

	if (total > s->max)
		return err_set(err, -ERANGE,
			"%u vCPUs are wanted, the machine takes at most %llu", total,
			(unsigned long long)s->max);
	for (size_t i = 0; i < s->n && s->present < total; i++) {
		if (s->slot[i].present)
			continue;
		r = plug_slot(q, &s->slot[i], s->present, deadline, err);
		if (r < 0) {
			err_wrap(err, "cannot plug vCPU %llu of %u",
				(unsigned long long)s->present + 1, total);
			return r;
		}
		s->present += s->slot[i].vcpus;
	}
	return 0;
}

int plug_vcpus(struct qmp *q, unsigned int total, int64_t deadline, struct err *err)
{
	struct cpu_slots slots = {0};
	int r;

	r = read_slots(q, &slots, deadline, err);
	if (r == 0)
		r = plug_up_to(q, &slots, total, deadline, err);
	slots_done(&slots);
	return r;
}
