/* SPDX-License-Identifier: Apache-2.0 */
/* From an OCI document to its message: see from_json.h. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "agent-client/oci/fields.h"
#include "base/util.h"
#include "shim/oci/from_json.h"

/*
 * The walk goes by the message's descriptor, so it is as deep as the message is, whatever
 * the document looks like. A message is always whole in protobuf-c's eyes: what fails
 * halfway is freed like any other.
 */
#define DROPPED_MAX 64

struct walk {
	const char *root; /* what the document is, for errors about all of it */
	char path[512];   /* where the walk is: "linux.devices[2].major" */
	void (*dropped)(void *user, const char *path);
	void *user;
	char *told[DROPPED_MAX]; /* paths given to dropped */
	unsigned int n_told;
	struct err *err;
};

/* Appends to the path; returns what path_pop() wants. A path that is too long is cut. */
static size_t path_push(struct walk *w, const char *key)
{
	size_t len = strlen(w->path);

	snprintf(w->path + len, sizeof(w->path) - len, "%s%s", len ? "." : "",
		err_quote(key, 64));
	return len;
}

static size_t path_push_index(struct walk *w, size_t i)
{
	size_t len = strlen(w->path);

	snprintf(w->path + len, sizeof(w->path) - len, "[%zu]", i);
	return len;
}

static void path_pop(struct walk *w, size_t len)
{
	w->path[len] = '\0';
}

static int fail_at(struct walk *w, int code, const char *what)
{
	return err_set(w->err, code, "%s %s", *w->path ? w->path : w->root, what);
}

static int wrong_type(struct walk *w, struct json_object *json, const char *wanted)
{
	return err_set(w->err, -EINVAL, "%s is of type %s; it must be %s",
		*w->path ? w->path : w->root,
		json_type_to_name(json_object_get_type(json)), wanted);
}

/* The path without indices, once. */
static void tell_dropped(struct walk *w)
{
	char path[sizeof(w->path)], *out = path;

	if (!w->dropped || w->n_told == DROPPED_MAX)
		return;
	for (const char *p = w->path; *p; p++) {
		*out++ = *p;
		if (*p == '[')
			p += strspn(p + 1, "0123456789");
	}
	*out = '\0';
	for (unsigned int i = 0; i < w->n_told; i++)
		if (strcmp(w->told[i], path) == 0)
			return;
	w->told[w->n_told++] = xstrdup(path);
	w->dropped(w->user, path);
}

/* ---- values ---- */

static int get_i64(
	struct walk *w, struct json_object *json, int64_t min, int64_t max, int64_t *ret)
{
	int64_t value;

	if (!json_object_is_type(json, json_type_int))
		return wrong_type(w, json, "an integer");
	value = json_object_get_int64(json);
	/* json-c answers INT64_MAX for what is larger. */
	if (value < min || value > max ||
		(value == INT64_MAX && json_object_get_uint64(json) > INT64_MAX))
		return fail_at(w, -ERANGE, "is out of range");
	*ret = value;
	return 0;
}

static int get_u64(struct walk *w, struct json_object *json, uint64_t *ret)
{
	if (!json_object_is_type(json, json_type_int))
		return wrong_type(w, json, "an integer");
	if (json_object_get_int64(json) < 0)
		return fail_at(w, -ERANGE, "is negative");
	*ret = json_object_get_uint64(json);
	return 0;
}

static int get_string(struct walk *w, struct json_object *json, char **ret)
{
	const char *text;

	if (!json_object_is_type(json, json_type_string))
		return wrong_type(w, json, "a string");
	text = json_object_get_string(json);
	if (strlen(text) != (size_t)json_object_get_string_len(json))
		return fail_at(w, -EINVAL, "has a NUL in it");
	*ret = xstrdup(text);
	return 0;
}

static int get_bool(struct walk *w, struct json_object *json, protobuf_c_boolean *ret)
{
	if (!json_object_is_type(json, json_type_boolean))
		return wrong_type(w, json, "true or false");
	*ret = json_object_get_boolean(json);
	return 0;
}

static int get_message(struct walk *w, struct json_object *json,
	const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret);

/* One value of the field's type to `place`, which is in the message or in a list. */
static int get_value(struct walk *w, struct json_object *json,
	const ProtobufCFieldDescriptor *f, void *place)
{
	int64_t i64;
	int r;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return get_string(w, json, place);
	case PROTOBUF_C_TYPE_BOOL:
		return get_bool(w, json, place);
	case PROTOBUF_C_TYPE_MESSAGE:
		return get_message(w, json, f->descriptor, place);
	case PROTOBUF_C_TYPE_UINT64:
		return get_u64(w, json, place);
	case PROTOBUF_C_TYPE_INT64:
		return get_i64(w, json, INT64_MIN, INT64_MAX, place);
	case PROTOBUF_C_TYPE_UINT32:
		r = get_i64(w, json, 0, UINT32_MAX, &i64);
		if (r == 0)
			*(uint32_t *)place = (uint32_t)i64;
		return r;
	case PROTOBUF_C_TYPE_INT32:
		r = get_i64(w, json, INT32_MIN, INT32_MAX, &i64);
		if (r == 0)
			*(int32_t *)place = (int32_t)i64;
		return r;
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_BYTES:
		break;
	}
	return fail_at(w, -EOPNOTSUPP, "has a type that the runtime spec has no use for");
}

static int get_list(struct walk *w, struct json_object *json,
	const ProtobufCFieldDescriptor *f, ProtobufCMessage *out)
{
	char **list = oci_member(out, f);
	size_t *n = oci_count(out, f), len, size = oci_element_size(f);

	if (!json_object_is_type(json, json_type_array))
		return wrong_type(w, json, "an array");
	len = json_object_array_length(json);
	if (len == 0)
		return 0;
	*list = xzalloc(len * size);
	for (size_t i = 0; i < len; i++) {
		size_t mark = path_push_index(w, i);
		int r = get_value(
			w, json_object_array_get_idx(json, i), f, *list + i * size);

		path_pop(w, mark);
		if (r < 0)
			return r;
		*n = i + 1;
	}
	return 0;
}

static int get_map(struct walk *w, struct json_object *json,
	const ProtobufCFieldDescriptor *f, ProtobufCMessage *out)
{
	const ProtobufCMessageDescriptor *type = f->descriptor;
	ProtobufCMessage ***list = oci_member(out, f);
	size_t *n = oci_count(out, f);

	if (!json_object_is_type(json, json_type_object))
		return wrong_type(w, json, "an object");
	*list = xzalloc((size_t)json_object_object_length(json) * sizeof(**list));
	json_object_object_foreach (json, key, value) {
		ProtobufCMessage *entry = xzalloc(type->sizeof_message);
		size_t mark = path_push(w, key);
		int r;

		protobuf_c_message_init(type, entry);
		(*list)[(*n)++] = entry;
		*(char **)oci_member(entry, &type->fields[0]) = xstrdup(key);
		r = get_value(
			w, value, &type->fields[1], oci_member(entry, &type->fields[1]));
		path_pop(w, mark);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- messages ---- */

static int get_field(struct walk *w, struct json_object *json,
	const ProtobufCFieldDescriptor *f, ProtobufCMessage *out)
{
	int r;

	if (oci_is_map(f))
		return get_map(w, json, f, out);
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return get_list(w, json, f, out);
	r = get_value(w, json, f, oci_member(out, f));
	if (r == 0 && oci_is_oneof(f))
		*oci_case(out, f) = f->id;
	return r;
}

static const ProtobufCFieldDescriptor *find_field(
	const ProtobufCMessageDescriptor *type, const char *key)
{
	char buf[OCI_KEY_MAX];

	for (unsigned int i = 0; i < type->n_fields; i++)
		if (strcasecmp(oci_key(type, &type->fields[i], buf), key) == 0)
			return &type->fields[i];
	return NULL;
}

static int get_fields(struct walk *w, struct json_object *json, ProtobufCMessage *out)
{
	const ProtobufCMessageDescriptor *type = out->descriptor;
	uint64_t given = 0;

	assert(type->n_fields <= 64);
	json_object_object_foreach (json, key, value) {
		const ProtobufCFieldDescriptor *f = find_field(type, key);
		size_t mark = path_push(w, key);
		uint64_t bit = f ? (uint64_t)1 << (f - type->fields) : 0;
		int r = 0;

		/* Which of two spellings counts would differ from reader to reader. */
		if (given & bit)
			r = fail_at(w, -EINVAL, "is given twice");
		else if (!f)
			tell_dropped(w);
		else if (value) /* null: as if it were not there */
			r = get_field(w, value, f, out);
		given |= bit;
		path_pop(w, mark);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Numbers whose absence is written -1 are that until the document says otherwise. */
static void set_absent(ProtobufCMessage *m)
{
	for (unsigned int i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];

		if (oci_absent(m->descriptor, f) == OCI_ABSENT_MINUS_ONE)
			*(int64_t *)oci_member(m, f) = -1;
	}
}

static int get_message(struct walk *w, struct json_object *json,
	const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
	ProtobufCMessage *m;
	int r;

	if (!json_object_is_type(json, json_type_object))
		return wrong_type(w, json, "an object");
	m = xzalloc(type->sizeof_message);
	protobuf_c_message_init(type, m);
	set_absent(m);
	r = get_fields(w, json, m);
	if (r < 0)
		protobuf_c_message_free_unpacked(m, NULL);
	else
		*ret = m;
	return r;
}

static int convert_message(struct walk *w, struct json_object *json,
	const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
	int r = get_message(w, json, type, ret);

	while (w->n_told)
		free(w->told[--w->n_told]);
	return r;
}

int oci_spec_from_json(struct json_object *json, Grpc__Spec **ret,
	void (*dropped)(void *user, const char *path), void *user, struct err *err)
{
	struct walk w = {
		.root = "the OCI spec", .dropped = dropped, .user = user, .err = err};
	ProtobufCMessage *m = NULL;
	int r = convert_message(&w, json, &grpc__spec__descriptor, &m);

	if (r == 0)
		*ret = (Grpc__Spec *)m;
	return r;
}

int oci_process_from_json(struct json_object *json, Grpc__Process **ret, struct err *err)
{
	struct walk w = {.root = "the OCI process", .err = err};
	ProtobufCMessage *m = NULL;
	int r = convert_message(&w, json, &grpc__process__descriptor, &m);

	if (r == 0)
		*ret = (Grpc__Process *)m;
	return r;
}

int oci_resources_from_json(
	struct json_object *json, Grpc__LinuxResources **ret, struct err *err)
{
	struct walk w = {.root = "the OCI resources", .err = err};
	ProtobufCMessage *m = NULL;
	int r = convert_message(&w, json, &grpc__linux_resources__descriptor, &m);

	if (r == 0)
		*ret = (Grpc__LinuxResources *)m;
	return r;
}
