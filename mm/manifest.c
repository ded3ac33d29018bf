/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: see manifest.h.
 *
 * One row a field drives writing, reading, checking, matching and the messages: add a
 * field by adding its enumerator and its row.
 */
#include "mm/manifest.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/util.h"

#define MANIFEST_BYTES_MAX (64u << 10)

enum value_kind {
	VALUE_TEXT,   /* anything but nothing */
	VALUE_NUMBER, /* decimal, fits into uint64_t, no leading zero */
	VALUE_SHA256, /* 64 lower-case hexadecimal digits */
	VALUE_PATH,   /* absolute */
	VALUE_ACCEL,  /* kvm or tcg */
};

static const struct manifest_row {
	const char *name;
	enum manifest_rule rule;
	enum value_kind kind;
} rows[MANIFEST_FIELDS] = {
	/* clang-format off */
	[MANIFEST_FORMAT]        = {"format",        MANIFEST_IDENTITY,   VALUE_NUMBER},
	[MANIFEST_ID]            = {"id",            MANIFEST_IDENTITY,   VALUE_TEXT},
	[MANIFEST_MEMORY_BYTES]  = {"memory_bytes",  MANIFEST_MUST_EQUAL, VALUE_NUMBER},
	[MANIFEST_PUBLISHED_BYTES] = {"published_bytes", MANIFEST_IGNORED, VALUE_NUMBER},
	[MANIFEST_STATE_BYTES]   = {"state_bytes",   MANIFEST_IDENTITY,   VALUE_NUMBER},
	[MANIFEST_STATE_SHA256]  = {"state_sha256",  MANIFEST_IDENTITY,   VALUE_SHA256},
	[MANIFEST_QEMU_PATH]     = {"qemu_path",     MANIFEST_MUST_EQUAL, VALUE_PATH},
	[MANIFEST_QEMU_VERSION]  = {"qemu_version",  MANIFEST_MUST_EQUAL, VALUE_TEXT},
	[MANIFEST_QEMU_SHA256]   = {"qemu_sha256",   MANIFEST_MUST_EQUAL, VALUE_SHA256},
	[MANIFEST_FIRMWARE_SHA256] = {"firmware_sha256", MANIFEST_MUST_EQUAL, VALUE_SHA256},
	[MANIFEST_ARGV]          = {"argv",          MANIFEST_MUST_EQUAL, VALUE_TEXT},
	[MANIFEST_ACCEL]         = {"accel",         MANIFEST_MUST_EQUAL, VALUE_ACCEL},
	[MANIFEST_HOST_CPU]      = {"host_cpu",      MANIFEST_MUST_EQUAL, VALUE_TEXT},
	[MANIFEST_HOST_KERNEL]   = {"host_kernel",   MANIFEST_MUST_EQUAL, VALUE_TEXT},
	[MANIFEST_KERNEL_PATH]   = {"kernel_path",   MANIFEST_MUST_EQUAL, VALUE_PATH},
	[MANIFEST_INITRD_PATH]   = {"initrd_path",   MANIFEST_MUST_EQUAL, VALUE_PATH},
	[MANIFEST_KERNEL_SHA256] = {"kernel_sha256", MANIFEST_MAY_AGE,    VALUE_SHA256},
	[MANIFEST_INITRD_SHA256] = {"initrd_sha256", MANIFEST_MAY_AGE,    VALUE_SHA256},
	[MANIFEST_CMDLINE]       = {"cmdline",       MANIFEST_MUST_EQUAL, VALUE_TEXT},
	[MANIFEST_AGENT_VERSION] = {"agent_version", MANIFEST_IGNORED,    VALUE_TEXT},
	[MANIFEST_CREATED]       = {"created",       MANIFEST_IGNORED,    VALUE_NUMBER},
	/* clang-format on */
};

void manifest_init(struct manifest *m)
{
	*m = (struct manifest){0};
}

void manifest_done(struct manifest *m)
{
	for (size_t i = 0; i < MANIFEST_FIELDS; i++)
		free(m->value[i]);
	manifest_init(m);
}

void manifest_set(struct manifest *m, enum manifest_field field, const char *value)
{
	char *copy = xstrdup(value);

	free(m->value[field]);
	m->value[field] = copy;
}

void manifest_copy(struct manifest *m, const struct manifest *from)
{
	manifest_init(m);
	for (size_t i = 0; i < MANIFEST_FIELDS; i++)
		if (from->value[i])
			manifest_set(m, (enum manifest_field)i, from->value[i]);
}

const char *manifest_field_name(enum manifest_field field)
{
	return rows[field].name;
}

enum manifest_rule manifest_field_rule(enum manifest_field field)
{
	return rows[field].rule;
}

static bool is_number(const char *s)
{
	size_t len = strspn(s, "0123456789");

	if (len == 0 || s[len] || (*s == '0' && len > 1))
		return false;
	errno = 0;
	strtoull(s, NULL, 10);
	return errno == 0;
}

static int check_value(enum manifest_field field, const char *value, struct err *err)
{
	const char *wanted = NULL;

	switch (rows[field].kind) {
	case VALUE_TEXT:
		wanted = *value ? NULL : "some text";
		break;
	case VALUE_NUMBER:
		wanted = is_number(value) ? NULL : "a decimal number";
		break;
	case VALUE_SHA256:
		wanted = strspn(value, "0123456789abcdef") == 64 && !value[64]
				 ? NULL
				 : "64 hex digits";
		break;
	case VALUE_PATH:
		wanted = *value == '/' ? NULL : "an absolute path";
		break;
	case VALUE_ACCEL:
		wanted = strcmp(value, "kvm") == 0 || strcmp(value, "tcg") == 0
				 ? NULL
				 : "kvm or tcg";
		break;
	}
	if (wanted)
		return err_set(err, -EBADMSG, "%s: \"%s\" is not %s", rows[field].name,
			err_quote(value, 80), wanted);
	return 0;
}

int manifest_get_u64(const struct manifest *m, enum manifest_field field, uint64_t *ret,
	struct err *err)
{
	if (!m->value[field])
		return err_set(err, -ENOENT, "%s: not known", rows[field].name);
	if (!is_number(m->value[field]))
		return err_set(err, -EBADMSG, "%s: \"%s\" is not a decimal number",
			rows[field].name, err_quote(m->value[field], 80));
	*ret = strtoull(m->value[field], NULL, 10);
	return 0;
}

static int take_field(struct json_object *obj, enum manifest_field field,
	struct manifest *m, struct err *err)
{
	const char *value;
	int r;

	r = json_get_string(obj, rows[field].name, &value, err);
	if (r < 0)
		return r == -ENOENT ? err_set(err, -EBADMSG, "%s: the field is missing",
					      rows[field].name)
				    : r;
	r = check_value(field, value, err);
	if (r == 0)
		manifest_set(m, field, value);
	return r;
}

static bool is_known(const char *key)
{
	for (size_t i = 0; i < MANIFEST_FIELDS; i++)
		if (strcmp(rows[i].name, key) == 0)
			return true;
	return false;
}

static int note_key(
	const char *key, size_t len, bool seen[MANIFEST_FIELDS], struct err *err)
{
	for (size_t f = 0; f < MANIFEST_FIELDS; f++) {
		if (strlen(rows[f].name) != len || memcmp(rows[f].name, key, len) != 0)
			continue;
		if (seen[f])
			return err_set(err, -EBADMSG, "%s: the field is there twice",
				rows[f].name);
		seen[f] = true;
		return 0;
	}
	return err_set(err, -EBADMSG, "a field's name is written with escapes");
}

/*
 * json-c keeps the last of several values of one key in silence, and cuts a key at a NUL.
 * Once the text is known to be an object of strings only, its strings are key, value,
 * key, value, …: look at the keys as they are written.
 */
static int check_keys(const char *text, size_t len, struct err *err)
{
	bool seen[MANIFEST_FIELDS] = {false}, is_key = true;
	int r = 0;

	for (size_t i = 0; i < len && r == 0; i++) {
		size_t start = i + 1;

		if (text[i] != '"')
			continue;
		for (i++; i < len && text[i] != '"'; i++)
			i += text[i] == '\\';
		if (is_key)
			r = note_key(text + start, i - start, seen, err);
		is_key = !is_key;
	}
	return r;
}

int manifest_parse(const char *text, size_t len, struct manifest *ret, struct err *err)
{
	_cleanup_json_ struct json_object *obj = NULL;
	struct manifest m;
	int r;

	if (len > MANIFEST_BYTES_MAX)
		return err_set(err, -EFBIG, "the manifest has %zu bytes, %u are allowed",
			len, MANIFEST_BYTES_MAX);
	r = json_parse("the manifest", text, len, 2, &obj, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(obj, json_type_object))
		return err_set(err, -EBADMSG, "the manifest is not a JSON object");
	json_object_object_foreach (obj, key, unused) {
		(void)unused;
		if (!is_known(key))
			return err_set(
				err, -EBADMSG, "%s: unknown field", err_quote(key, 64));
	}
	manifest_init(&m);
	for (int i = 0; i < MANIFEST_FIELDS && r == 0; i++)
		r = take_field(obj, (enum manifest_field)i, &m, err);
	if (r == 0)
		r = check_keys(text, len, err);
	if (r == 0 && strcmp(m.value[MANIFEST_FORMAT], MANIFEST_FORMAT_VERSION) != 0)
		r = err_set(err, -EPROTONOSUPPORT,
			"format: %s, this version of Stencil "
			"reads " MANIFEST_FORMAT_VERSION,
			m.value[MANIFEST_FORMAT]);
	if (r < 0)
		manifest_done(&m);
	else
		*ret = m;
	return r;
}

struct json_object *manifest_to_json(const struct manifest *m)
{
	struct json_object *obj = json_object_new_object();

	for (size_t i = 0; i < MANIFEST_FIELDS; i++)
		if (m->value[i])
			json_set_string(obj, rows[i].name, m->value[i]);
	return obj;
}

/* Where two texts part, a little before it: long command lines differ late. */
static const char *from_difference(const char *value, const char *other)
{
	size_t i = 0;

	while (value[i] && value[i] == other[i])
		i++;
	return i > 40 ? value + i - 16 : value;
}

static int explain_difference(
	const char *name, const char *want, const char *have, struct err *err)
{
	const char *w = from_difference(want, have), *h = from_difference(have, want);

	return err_set(err, -ESTALE, "%s: wanted %s%s, the template has %s%s", name,
		w == want ? "" : "…", err_quote(w, 100), h == have ? "" : "…",
		err_quote(h, 100));
}

static int match_rule(enum manifest_rule rule, const struct manifest *have,
	const struct manifest *want, enum manifest_field *ret_field, struct err *err)
{
	for (size_t i = 0; i < MANIFEST_FIELDS; i++) {
		const char *h = have->value[i] ? have->value[i] : "nothing";
		const char *w = want->value[i] ? want->value[i] : "nothing";

		if (rows[i].rule != rule)
			continue;
		if (have->value[i] && want->value[i] && strcmp(h, w) == 0)
			continue;
		if (ret_field)
			*ret_field = (enum manifest_field)i;
		return explain_difference(rows[i].name, w, h, err);
	}
	return 0;
}

int manifest_match(const struct manifest *have, const struct manifest *want,
	enum manifest_field *ret_field, struct err *err)
{
	return match_rule(MANIFEST_MUST_EQUAL, have, want, ret_field, err);
}

bool manifest_aged(const struct manifest *have, const struct manifest *want,
	enum manifest_field *ret_field, struct err *err)
{
	return match_rule(MANIFEST_MAY_AGE, have, want, ret_field, err) < 0;
}

int manifest_match_all(const struct manifest *have, const struct manifest *want,
	enum manifest_field *ret_field, struct err *err)
{
	int r = manifest_match(have, want, ret_field, err);

	return r < 0 ? r : match_rule(MANIFEST_MAY_AGE, have, want, ret_field, err);
}

int manifest_same(
	const struct manifest *published, const struct manifest *found, struct err *err)
{
	for (size_t i = 0; i < MANIFEST_FIELDS; i++) {
		const char *p = published->value[i] ? published->value[i] : "nothing";
		const char *f = found->value[i] ? found->value[i] : "nothing";

		if (strcmp(p, f) != 0)
			return err_set(err, -EUCLEAN, "%s: published as %s, found %s",
				rows[i].name, err_quote(p, 100), err_quote(f, 100));
	}
	return 0;
}
