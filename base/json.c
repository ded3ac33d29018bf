/* SPDX-License-Identifier: Apache-2.0 */
/* JSON over json-c: see json.h. */
#include "base/json.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/utf8.h"

struct json_text {
	const char *what;
	const char *text;
	size_t len;
	int depth_max;
};

/* The flags are those of json-c's tokener. */
static int json_parse_text(
	const struct json_text *in, int flags, struct json_object **ret, struct err *err)
{
	struct json_tokener *tok = json_tokener_new_ex(in->depth_max);
	struct json_object *obj;
	enum json_tokener_error e;
	size_t end;

	if (!tok)
		return err_set(err, -ENOMEM, "%s: out of memory", in->what);
	json_tokener_set_flags(tok, flags);
	/* The NUL behind the text ends a number or a word that stands last. */
	obj = json_tokener_parse_ex(tok, in->text, (int)in->len);
	e = json_tokener_get_error(tok);
	end = MIN(json_tokener_get_parse_end(tok), in->len);
	if (e == json_tokener_continue) {
		obj = json_tokener_parse_ex(tok, "", 1);
		e = json_tokener_get_error(tok);
		end = in->len;
	}
	json_tokener_free(tok);
	if (e != json_tokener_success || !obj) {
		json_object_put(obj);
		return err_set(err, -EBADMSG, "%s is not valid JSON: %s at byte %zu",
			in->what,
			e == json_tokener_success ? "null" : json_tokener_error_desc(e),
			end);
	}
	while (end < in->len && strchr(" \t\r\n", in->text[end]) && in->text[end])
		end++;
	if (end < in->len) {
		json_object_put(obj);
		return err_set(err, -EBADMSG,
			"%s is not valid JSON: more text at byte %zu", in->what, end);
	}
	*ret = obj;
	return 0;
}

/* One, and one more behind each comma and in each bracket. In what is no JSON the count
 * may be anything: the parser refuses that. */
size_t json_count_nodes(const char *text, size_t len)
{
	bool in_string = false;
	size_t n = 1;

	for (size_t i = 0; i < len; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string &&
			 (text[i] == ',' || text[i] == '[' || text[i] == '{'))
			n++;
	}
	return n;
}

/* An x for each byte that is not ASCII. NULL if all are. */
static char *json_ascii_form(const char *text, size_t len)
{
	char *ascii = NULL;

	for (size_t i = 0; i < len; i++) {
		if (!((unsigned char)text[i] & 0x80))
			continue;
		if (!ascii) {
			ascii = xmalloc(len);
			memcpy(ascii, text, len);
		}
		ascii[i] = 'x';
	}
	return ascii;
}

/*
 * json-c 0.18's strict parser compares a signed char with 0x1f and so takes every byte
 * from 0x80 on for a control character, which no string may have; and what any version
 * calls UTF-8 may be an overlong form, a surrogate or above U+10FFFF. So UTF-8 is looked
 * at here, and a text with more than ASCII is parsed twice: strictly with an x for each
 * such byte, which is valid in the same places only, inside a string and not behind a
 * backslash; and then as it is, but not strictly.
 */
int json_parse(const char *what, const char *text, size_t len, int depth_max,
	struct json_object **ret, struct err *err)
{
	struct json_text in = {what, text, len, depth_max};
	_cleanup_json_ struct json_object *checked = NULL;
	_cleanup_free_ char *ascii = NULL;
	size_t valid;
	int r;

	if (len >= INT_MAX)
		return err_set(err, -EFBIG, "%s: %zu bytes are too many", what, len);
	if (json_count_nodes(text, len) > JSON_NODES_MAX)
		return err_set(
			err, -E2BIG, "%s has more than %u values", what, JSON_NODES_MAX);
	valid = utf8_valid_length(text, len);
	if (valid < len)
		return err_set(err, -EBADMSG,
			"%s is not valid JSON: no UTF-8 at byte %zu", what, valid);
	ascii = json_ascii_form(text, len);
	if (!ascii)
		return json_parse_text(&in, JSON_TOKENER_STRICT, ret, err);
	in.text = ascii;
	r = json_parse_text(&in, JSON_TOKENER_STRICT, &checked, err);
	if (r < 0)
		return r;
	in.text = text;
	return json_parse_text(&in, 0, ret, err);
}

static int get_member(struct json_object *obj, const char *key, enum json_type type,
	struct json_object **ret, struct err *err)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(obj, json_type_object))
		return err_set(err, -EINVAL,
			"\"%s\" is looked for in something that is not an object", key);
	if (!json_object_object_get_ex(obj, key, &value) || !value)
		return err_set(err, -ENOENT, "\"%s\" is missing", key);
	if (!json_object_is_type(value, type))
		return err_set(err, -EINVAL, "\"%s\" is %s where %s is wanted", key,
			json_type_to_name(json_object_get_type(value)),
			json_type_to_name(type));
	*ret = value;
	return 0;
}

int json_get_string(
	struct json_object *obj, const char *key, const char **ret, struct err *err)
{
	struct json_object *value;
	const char *text;
	int r = get_member(obj, key, json_type_string, &value, err);

	if (r < 0)
		return r;
	text = json_object_get_string(value);
	if (strlen(text) != (size_t)json_object_get_string_len(value))
		return err_set(err, -EINVAL, "\"%s\" has a NUL in it", key);
	*ret = text;
	return 0;
}

int json_get_u64(struct json_object *obj, const char *key, uint64_t *ret, struct err *err)
{
	struct json_object *value;
	int r = get_member(obj, key, json_type_int, &value, err);

	if (r < 0)
		return r;
	/* json-c answers 0 for a negative number. */
	if (json_object_get_int64(value) < 0)
		return err_set(err, -EINVAL, "\"%s\" is %s; it must not be negative", key,
			json_object_to_json_string(value));
	*ret = json_object_get_uint64(value);
	return 0;
}

int json_get_i64(struct json_object *obj, const char *key, int64_t *ret, struct err *err)
{
	struct json_object *value;
	int r = get_member(obj, key, json_type_int, &value, err);

	if (r < 0)
		return r;
	/* json-c saturates a number above INT64_MAX. */
	if (json_object_get_int64(value) == INT64_MAX &&
		json_object_get_uint64(value) > INT64_MAX)
		return err_set(err, -ERANGE, "\"%s\" is %s, which is too large", key,
			json_object_to_json_string(value));
	*ret = json_object_get_int64(value);
	return 0;
}

int json_get_bool(struct json_object *obj, const char *key, bool *ret, struct err *err)
{
	struct json_object *value;
	int r = get_member(obj, key, json_type_boolean, &value, err);

	if (r == 0)
		*ret = json_object_get_boolean(value);
	return r;
}

int json_get_object(struct json_object *obj, const char *key, struct json_object **ret,
	struct err *err)
{
	return get_member(obj, key, json_type_object, ret, err);
}

int json_get_array(struct json_object *obj, const char *key, struct json_object **ret,
	struct err *err)
{
	return get_member(obj, key, json_type_array, ret, err);
}

/* Missing is fine for the _opt getters: says whether that is what r means. */
static bool missing_member(int r, struct err *err)
{
	if (r != -ENOENT)
		return false;
	if (err)
		*err = ERR_INIT;
	return true;
}

int json_get_string_opt(struct json_object *obj, const char *key, const char *otherwise,
	const char **ret, struct err *err)
{
	int r = json_get_string(obj, key, ret, err);

	if (!missing_member(r, err))
		return r;
	*ret = otherwise;
	return 0;
}

static int get_member_opt(struct json_object *obj, const char *key, enum json_type type,
	struct json_object **ret, struct err *err)
{
	int r = get_member(obj, key, type, ret, err);

	if (!missing_member(r, err))
		return r;
	*ret = NULL;
	return 0;
}

int json_get_object_opt(struct json_object *obj, const char *key,
	struct json_object **ret, struct err *err)
{
	return get_member_opt(obj, key, json_type_object, ret, err);
}

int json_get_array_opt(struct json_object *obj, const char *key, struct json_object **ret,
	struct err *err)
{
	return get_member_opt(obj, key, json_type_array, ret, err);
}

int json_get_i64_opt(struct json_object *obj, const char *key, int64_t otherwise,
	int64_t *ret, struct err *err)
{
	int r = json_get_i64(obj, key, ret, err);

	if (!missing_member(r, err))
		return r;
	*ret = otherwise;
	return 0;
}

int json_get_u64_opt(struct json_object *obj, const char *key, uint64_t otherwise,
	uint64_t *ret, struct err *err)
{
	int r = json_get_u64(obj, key, ret, err);

	if (!missing_member(r, err))
		return r;
	*ret = otherwise;
	return 0;
}

int json_get_bool_opt(struct json_object *obj, const char *key, bool otherwise, bool *ret,
	struct err *err)
{
	int r = json_get_bool(obj, key, ret, err);

	if (!missing_member(r, err))
		return r;
	*ret = otherwise;
	return 0;
}

static void set_member(
	struct json_object *obj, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(obj, key, value) < 0)
		abort();
}

struct json_object *json_at(struct json_object *obj, const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	char *rest = *copy ? copy : NULL, *key;

	while (obj && (key = strsep(&rest, ".")))
		if (!json_object_is_type(obj, json_type_object) ||
			!json_object_object_get_ex(obj, key, &obj))
			return NULL;
	return obj;
}

void json_set_string(struct json_object *obj, const char *key, const char *value)
{
	set_member(obj, key, json_object_new_string(value));
}

void json_set_u64(struct json_object *obj, const char *key, uint64_t value)
{
	set_member(obj, key, json_object_new_uint64(value));
}

void json_set_i64(struct json_object *obj, const char *key, int64_t value)
{
	set_member(obj, key, json_object_new_int64(value));
}

void json_set_bool(struct json_object *obj, const char *key, bool value)
{
	set_member(obj, key, json_object_new_boolean(value));
}
