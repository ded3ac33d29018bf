/* SPDX-License-Identifier: Apache-2.0 */
/* From a message to its OCI document: see to_json.h. */
#include <errno.h>

#include "agent-client/oci/fields.h"
#include "base/json.h"
#include "base/util.h"
#include "guest/oci/to_json.h"

static int message_to_json(
	const ProtobufCMessage *m, struct json_object **ret, struct err *err);

static int unused_type(const ProtobufCFieldDescriptor *f, struct err *err)
{
	return err_set(err, -EOPNOTSUPP,
		"%s has a type that the runtime spec has no use for", f->name);
}

/* One value of the field's type from `place`, which is in the message or in a list. */
static int value_to_json(const ProtobufCFieldDescriptor *f, const void *place,
	struct json_object **ret, struct err *err)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*ret = json_object_new_string(*(char *const *)place);
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		*ret = json_object_new_boolean(*(const protobuf_c_boolean *)place);
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return message_to_json(*(ProtobufCMessage *const *)place, ret, err);
	case PROTOBUF_C_TYPE_UINT64:
		*ret = json_object_new_uint64(*(const uint64_t *)place);
		return 0;
	case PROTOBUF_C_TYPE_INT64:
		*ret = json_object_new_int64(*(const int64_t *)place);
		return 0;
	case PROTOBUF_C_TYPE_UINT32:
		*ret = json_object_new_int64(*(const uint32_t *)place);
		return 0;
	case PROTOBUF_C_TYPE_INT32:
		*ret = json_object_new_int64(*(const int32_t *)place);
		return 0;
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
	return unused_type(f, err);
}

static int list_to_json(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
	struct json_object **ret, struct err *err)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();
	const char *list = *(char *const *)oci_member(m, f);
	size_t n = *oci_count(m, f), size = oci_element_size(f);

	for (size_t i = 0; i < n; i++) {
		struct json_object *value = NULL;
		int r = value_to_json(f, list + i * size, &value, err);

		if (r < 0)
			return r;
		json_object_array_add(array, value);
	}
	*ret = steal_ptr(array);
	return 0;
}

static int map_to_json(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
	struct json_object **ret, struct err *err)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();
	ProtobufCMessage *const *list = *(ProtobufCMessage ***)oci_member(m, f);
	const ProtobufCMessageDescriptor *type = f->descriptor;

	for (size_t i = 0; i < *oci_count(m, f); i++) {
		struct json_object *value = NULL;
		int r = value_to_json(&type->fields[1],
			oci_member(list[i], &type->fields[1]), &value, err);

		if (r < 0)
			return r;
		json_object_object_add(object,
			*(char *const *)oci_member(list[i], &type->fields[0]), value);
	}
	*ret = steal_ptr(object);
	return 0;
}

/* Is it a number, a truth or a string that stands for "not there"? */
static bool is_absent(
	const void *place, const ProtobufCFieldDescriptor *f, enum oci_absent absent)
{
	if (absent == OCI_ABSENT_NEVER)
		return false;
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return !**(char *const *)place;
	if (oci_element_size(f) == 8)
		return *(const int64_t *)place ==
		       (absent == OCI_ABSENT_MINUS_ONE ? -1 : 0);
	return *(const int32_t *)place == 0;
}

/* A message that the schema requires but the wire didn't bring: with its zero values. */
static int default_to_json(
	const ProtobufCFieldDescriptor *f, struct json_object **ret, struct err *err)
{
	const ProtobufCMessageDescriptor *type = f->descriptor;
	_cleanup_free_ ProtobufCMessage *m = xzalloc(type->sizeof_message);

	protobuf_c_message_init(type, m);
	return message_to_json(m, ret, err);
}

/* Leaves *ret NULL for a field that is not to be written. */
static int field_to_json(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
	struct json_object **ret, struct err *err)
{
	enum oci_absent absent = oci_absent(m->descriptor, f);
	const void *place = oci_member(m, f);

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		if (*oci_count(m, f) == 0)
			return 0;
		return oci_is_map(f) ? map_to_json(m, f, ret, err)
				     : list_to_json(m, f, ret, err);
	}
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		if (*(ProtobufCMessage *const *)place)
			return value_to_json(f, place, ret, err);
		return absent == OCI_ABSENT_NEVER ? default_to_json(f, ret, err) : 0;
	}
	if (oci_is_oneof(f) ? *oci_case(m, f) != f->id : is_absent(place, f, absent))
		return 0;
	return value_to_json(f, place, ret, err);
}

static int message_to_json(
	const ProtobufCMessage *m, struct json_object **ret, struct err *err)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();
	char buf[OCI_KEY_MAX];

	for (unsigned int i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		struct json_object *value = NULL;
		int r = field_to_json(m, f, &value, err);

		if (r < 0)
			return r;
		if (value)
			json_object_object_add(
				object, oci_key(m->descriptor, f, buf), value);
	}
	*ret = steal_ptr(object);
	return 0;
}

int oci_spec_to_json(const Grpc__Spec *spec, struct json_object **ret, struct err *err)
{
	return message_to_json(&spec->base, ret, err);
}

int oci_process_to_json(
	const Grpc__Process *process, struct json_object **ret, struct err *err)
{
	return message_to_json(&process->base, ret, err);
}
