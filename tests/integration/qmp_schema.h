/* SPDX-License-Identifier: Apache-2.0 */
/* Holding QMP commands against the schema that a QEMU tells of itself
 * (query-qmp-schema). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "hotplug/qmp.h"
#include "tests/lib/patience.h"

static struct json_object *schema; /* an array of entities; the program's to put */

static inline void schema_query(struct qmp *q)
{
	assert_int_equal(qmp_ask(q,
				 &(struct qmp_request){
					 .name = "query-qmp-schema", .deadline = soon()},
				 &schema, NULL),
		0);
}

static inline struct json_object *schema_entity(const char *name)
{
	for (size_t i = 0; i < json_object_array_length(schema); i++) {
		struct json_object *one = json_object_array_get_idx(schema, i);

		if (strcmp(json_object_get_string(json_object_object_get(one, "name")),
			    name) == 0)
			return one;
	}
	fail_msg("the schema has no %s", name);
	return NULL;
}

static inline const char *field(struct json_object *obj, const char *key)
{
	return json_object_get_string(json_object_object_get(obj, key));
}

static inline struct json_object *find_named(
	struct json_object *array, const char *key, const char *name)
{
	for (size_t i = 0; array && i < json_object_array_length(array); i++) {
		struct json_object *one = json_object_array_get_idx(array, i);

		if (strcmp(field(one, key), name) == 0)
			return one;
	}
	return NULL;
}

static inline void check_value(
	const char *type, struct json_object *value, const char *where);

/* The members of an object type plus those of the variant that its tag chooses. */
static inline struct json_object *find_member(
	struct json_object *entity, struct json_object *value, const char *name)
{
	struct json_object *m =
		find_named(json_object_object_get(entity, "members"), "name", name);
	const char *tag = field(entity, "tag");
	struct json_object *variant;

	if (m || !tag || !json_object_object_get(value, tag))
		return m;
	variant = find_named(
		json_object_object_get(entity, "variants"), "case", field(value, tag));
	return variant ? find_member(schema_entity(field(variant, "type")), value, name)
		       : NULL;
}

static inline void check_object(
	struct json_object *entity, struct json_object *value, const char *where)
{
	struct json_object *members = json_object_object_get(entity, "members"), *m;

	for (size_t i = 0; i < json_object_array_length(members); i++) {
		m = json_object_array_get_idx(members, i);
		if (!json_object_object_get_ex(m, "default", NULL) &&
			!json_object_object_get(value, field(m, "name")))
			fail_msg("%s: %s is mandatory", where, field(m, "name"));
	}
	json_object_object_foreach (value, key, one) {
		m = find_member(entity, value, key);
		if (!m)
			fail_msg("%s: %s is not in QEMU's schema", where, key);
		check_value(field(m, "type"), one, where);
	}
}

static inline bool is_one_of(struct json_object *values, const char *text)
{
	for (size_t i = 0; i < json_object_array_length(values); i++)
		if (strcmp(json_object_get_string(json_object_array_get_idx(values, i)),
			    text) == 0)
			return true;
	return false;
}

static inline void check_builtin(
	struct json_object *entity, struct json_object *value, const char *where)
{
	const char *type = field(entity, "json-type");

	if (strcmp(type, json_type_to_name(json_object_get_type(value))) != 0 &&
		strcmp(type, "value") != 0)
		fail_msg("%s: %s where %s is wanted", where,
			json_object_to_json_string(value), type);
}

static inline void check_value(
	const char *type, struct json_object *value, const char *where)
{
	struct json_object *entity = schema_entity(type), *members;
	const char *meta = field(entity, "meta-type");

	if (strcmp(meta, "builtin") == 0) {
		check_builtin(entity, value, where);
	} else if (strcmp(meta, "enum") == 0) {
		if (!is_one_of(json_object_object_get(entity, "values"),
			    json_object_get_string(value)))
			fail_msg("%s: unknown value %s", where,
				json_object_get_string(value));
	} else if (strcmp(meta, "array") == 0) {
		for (size_t i = 0; i < json_object_array_length(value); i++)
			check_value(field(entity, "element-type"),
				json_object_array_get_idx(value, i), where);
	} else if (strcmp(meta, "object") == 0) {
		check_object(entity, value, where);
	} else {
		/* alternate: ours are objects */
		assert_string_equal(meta, "alternate");
		members = json_object_object_get(entity, "members");
		for (size_t i = 0; i < json_object_array_length(members); i++) {
			const char *one =
				field(json_object_array_get_idx(members, i), "type");

			if (strcmp(field(schema_entity(one), "meta-type"), "object") == 0)
				check_value(one, value, where);
		}
	}
}

/* device_add takes any property of its driver; they are not in the schema. */
static inline void check_device(struct qmp *q, struct json_object *args)
{
	_cleanup_json_ struct json_object *properties = NULL;
	struct json_object *ask_args = json_object_new_object();

	json_set_string(ask_args, "typename", field(args, "driver"));
	assert_int_equal(qmp_ask(q,
				 &(struct qmp_request){.name = "device-list-properties",
					 .args = ask_args,
					 .deadline = soon()},
				 &properties, NULL),
		0);
	json_object_object_foreach (args, key, one) {
		(void)one;
		if (strcmp(key, "driver") != 0 && strcmp(key, "id") != 0 &&
			strcmp(key, "bus") != 0 && !find_named(properties, "name", key))
			fail_msg("%s has no property %s", field(args, "driver"), key);
	}
}

/* A whole message as it was sent: {"execute": …, "arguments": …, …}. */
static inline void check_command(struct qmp *q, struct json_object *msg)
{
	const char *name = field(msg, "execute");
	struct json_object *args = json_object_object_get(msg, "arguments"), *command,
			   *empty;

	command = schema_entity(name);
	assert_string_equal(field(command, "meta-type"), "command");
	if (strcmp(name, "device_add") == 0) {
		check_device(q, args);
		return;
	}
	empty = json_object_new_object();
	check_object(
		schema_entity(field(command, "arg-type")), args ? args : empty, name);
	json_object_put(empty);
}
