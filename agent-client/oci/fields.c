/* SPDX-License-Identifier: Apache-2.0 */
/* The fields whose JSON is not what their names say: see fields.h. */
#include "agent-client/oci/fields.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent-client/proto/oci.pb-c.h"
#include "base/util.h"

/*
 * Go's zero values are the reason for most rows: a user with uid 0, a limit of 0 for core
 * files, a device 0:0 and the first argument of a system call all mean something.
 */
static const struct {
	const ProtobufCMessageDescriptor *message;
	const char *field; /* NULL: every one */
	const char *key;   /* NULL: by the rule */
	enum oci_absent absent;
} exceptions[] = {
	{&grpc__spec__descriptor, "Version", "ociVersion", OCI_ABSENT_ZERO},
	{&grpc__process__descriptor, "User", NULL, OCI_ABSENT_NEVER},
	{&grpc__user__descriptor, "UID", NULL, OCI_ABSENT_NEVER},
	{&grpc__user__descriptor, "GID", NULL, OCI_ABSENT_NEVER},
	{&grpc__box__descriptor, NULL, NULL, OCI_ABSENT_NEVER},
	{&grpc__posixrlimit__descriptor, NULL, NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_idmapping__descriptor, NULL, NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_device__descriptor, "Major", NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_device__descriptor, "Minor", NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_device_cgroup__descriptor, "Allow", NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_device_cgroup__descriptor, "Major", NULL, OCI_ABSENT_MINUS_ONE},
	{&grpc__linux_device_cgroup__descriptor, "Minor", NULL, OCI_ABSENT_MINUS_ONE},
	{&grpc__linux_weight_device__descriptor, "Major", NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_weight_device__descriptor, "Minor", NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_throttle_device__descriptor, NULL, NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_hugepage_limit__descriptor, "Pagesize", "pageSize",
		OCI_ABSENT_NEVER},
	{&grpc__linux_hugepage_limit__descriptor, "Limit", NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_interface_priority__descriptor, NULL, NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_syscall__descriptor, "errnoret", "errnoRet", OCI_ABSENT_ZERO},
	{&grpc__linux_seccomp_arg__descriptor, "Index", NULL, OCI_ABSENT_NEVER},
	{&grpc__linux_seccomp_arg__descriptor, "Value", NULL, OCI_ABSENT_NEVER},
};

/* The row of a field or -1. */
static int find_exception(
	const ProtobufCMessageDescriptor *m, const ProtobufCFieldDescriptor *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++)
		if (exceptions[i].message == m &&
			(!exceptions[i].field ||
				strcmp(exceptions[i].field, f->name) == 0))
			return (int)i;
	return -1;
}

/*
 * The rule is that of Go's names: the first word becomes small, and a first word of
 * capitals only ends before the capital that begins the next. OOMScoreAdj: oomScoreAdj,
 * UID: uid.
 */
static void by_rule(const char *name, char buf[static OCI_KEY_MAX])
{
	snprintf(buf, OCI_KEY_MAX, "%s", name);
	for (size_t i = 0; isupper((unsigned char)buf[i]); i++) {
		if (i > 0 && islower((unsigned char)buf[i + 1]))
			break;
		buf[i] = (char)tolower((unsigned char)buf[i]);
	}
}

const char *oci_key(const ProtobufCMessageDescriptor *m,
	const ProtobufCFieldDescriptor *f, char buf[static OCI_KEY_MAX])
{
	int i = find_exception(m, f);

	if (i >= 0 && exceptions[i].key)
		return exceptions[i].key;
	by_rule(f->name, buf);
	return buf;
}

enum oci_absent oci_absent(
	const ProtobufCMessageDescriptor *m, const ProtobufCFieldDescriptor *f)
{
	int i = find_exception(m, f);

	return i >= 0 ? exceptions[i].absent : OCI_ABSENT_ZERO;
}

bool oci_is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *m = f->descriptor;
	size_t len;

	/* protoc-c keeps no mark of it, but protoc reserves the name. */
	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	len = strlen(m->name);
	return len > 5 && strcmp(m->name + len - 5, "Entry") == 0 && m->n_fields == 2 &&
	       strcmp(m->fields[0].name, "key") == 0 &&
	       m->fields[0].type == PROTOBUF_C_TYPE_STRING;
}

size_t oci_element_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM:
		return 4;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	}
	return 0;
}
