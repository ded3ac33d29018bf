/* SPDX-License-Identifier: Apache-2.0 */
/* How the fields of the OCI messages show in JSON. For what converts them. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* The wire has no place for "absent" in a number; which value stands for it. */
enum oci_absent {
	OCI_ABSENT_ZERO,  /* as with strings and lists: empty */
	OCI_ABSENT_NEVER, /* the schema requires the key, or zero is a value of its own */
	OCI_ABSENT_MINUS_ONE, /* zero is a value, and so is "every one" */
};

#define OCI_KEY_MAX 64

/* The field's JSON key, in buf. */
const char *oci_key(const ProtobufCMessageDescriptor *m,
	const ProtobufCFieldDescriptor *f, char buf[static OCI_KEY_MAX]);
enum oci_absent oci_absent(
	const ProtobufCMessageDescriptor *m, const ProtobufCFieldDescriptor *f);

/* A protobuf map is a repeated message of key and value; JSON has an object there. */
bool oci_is_map(const ProtobufCFieldDescriptor *f);

/* Size of one element in the array of a repeated field. */
size_t oci_element_size(const ProtobufCFieldDescriptor *f);

/* A field's place in its message, and its count (repeated) or case (oneof). */
static inline void *oci_member(
	const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return (char *)m + f->offset;
}

static inline size_t *oci_count(
	const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return (size_t *)((char *)m + f->quantifier_offset);
}

static inline unsigned int *oci_case(
	const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return (unsigned int *)((char *)m + f->quantifier_offset);
}

static inline bool oci_is_oneof(const ProtobufCFieldDescriptor *f)
{
	return f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}
