/* SPDX-License-Identifier: Apache-2.0 */
/* JSON over json-c: strict and bounded parsing, getters whose errors name the key. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/util.h"

static inline void json_put(struct json_object *o)
{
	json_object_put(o);
}
DEFINE_CLEANUP(json, struct json_object *, json_put);
#define _cleanup_json_ _cleanup_(json)

/* At most so many values are parsed, those in arrays and objects among them. What takes
 * most is a list of empty objects, of 800 bytes each: 25 MiB in all. */
#define JSON_NODES_MAX (64u << 10)
/* How many there are at most in a text, whether or not that is JSON. */
size_t json_count_nodes(const char *text, size_t len);

/*
 * Parses exactly one JSON value, of at most depth_max levels and JSON_NODES_MAX values,
 * that fills text[len] (white space around it allowed), and is UTF-8. `what` names it in
 * errors ("config.json"). The size is the caller's to bound (file_read(), a frame's
 * limit). *ret is the caller's (json_object_put()).
 */
int json_parse(const char *what, const char *text, size_t len, int depth_max,
	struct json_object **ret, struct err *err);

/*
 * Getters. obj must be an object. -ENOENT: the key is missing (or null); -EINVAL: another
 * type or out of range. The text names the key and what was found. Strings and objects
 * are borrowed from obj. The _opt forms give `otherwise` for a missing key, or NULL.
 */
int json_get_string(
	struct json_object *obj, const char *key, const char **ret, struct err *err);
int json_get_u64(
	struct json_object *obj, const char *key, uint64_t *ret, struct err *err);
int json_get_i64(struct json_object *obj, const char *key, int64_t *ret, struct err *err);
int json_get_bool(struct json_object *obj, const char *key, bool *ret, struct err *err);
int json_get_object(struct json_object *obj, const char *key, struct json_object **ret,
	struct err *err);
int json_get_array(struct json_object *obj, const char *key, struct json_object **ret,
	struct err *err);
int json_get_string_opt(struct json_object *obj, const char *key, const char *otherwise,
	const char **ret, struct err *err);
int json_get_object_opt(struct json_object *obj, const char *key,
	struct json_object **ret, struct err *err);
int json_get_array_opt(struct json_object *obj, const char *key, struct json_object **ret,
	struct err *err);
int json_get_i64_opt(struct json_object *obj, const char *key, int64_t otherwise,
	int64_t *ret, struct err *err);
int json_get_u64_opt(struct json_object *obj, const char *key, uint64_t otherwise,
	uint64_t *ret, struct err *err);
int json_get_bool_opt(struct json_object *obj, const char *key, bool otherwise, bool *ret,
	struct err *err);

/*
 * The value at a path of keys, "linux.resources.cpu", borrowed from obj; "" is obj
 * itself. NULL if it is missing or null, or if something on the way is no object.
 */
struct json_object *json_at(struct json_object *obj, const char *path);

/* Building; the value is copied. */
void json_set_string(struct json_object *obj, const char *key, const char *value);
void json_set_u64(struct json_object *obj, const char *key, uint64_t value);
void json_set_i64(struct json_object *obj, const char *key, int64_t value);
void json_set_bool(struct json_object *obj, const char *key, bool value);
