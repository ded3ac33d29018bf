/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest: all that a clone must agree with, one row a field, one rule a row. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* How a field of the generation and what a sandbox wants are compared. */
enum manifest_rule {
	MANIFEST_IDENTITY,   /* of the generation itself: checked against its files */
	MANIFEST_MUST_EQUAL, /* a difference is a miss that names the field */
	/* A difference makes the generation old, not wrong, since what it was made of is
	 * in its memory: it is granted, and to be replaced. */
	MANIFEST_MAY_AGE,
	MANIFEST_IGNORED, /* compared with nothing */
};

enum manifest_field {
	MANIFEST_FORMAT,          /* identity: MANIFEST_FORMAT_VERSION */
	MANIFEST_ID,              /* identity: the folder's name */
	MANIFEST_MEMORY_BYTES,    /* identity and size of `memory`; must equal */
	MANIFEST_PUBLISHED_BYTES, /* ignored: what `memory` occupied at publication */
	MANIFEST_STATE_BYTES,     /* identity: size of `state` */
	MANIFEST_STATE_SHA256,    /* identity */
	MANIFEST_QEMU_PATH,
	MANIFEST_QEMU_VERSION, /* the first line of --version */
	MANIFEST_QEMU_SHA256,
	MANIFEST_FIRMWARE_SHA256, /* of QEMU's firmware, option ROMs and modules */
	MANIFEST_ARGV,     /* a clone's exact command line, its settable words as names */
	MANIFEST_ACCEL,    /* kvm or tcg */
	MANIFEST_HOST_CPU, /* KVM: vendor/family/model/stepping/microcode; TCG: "-" */
	MANIFEST_HOST_KERNEL, /* under KVM: uname -r; else "-" */
	MANIFEST_KERNEL_PATH, /* a sandbox that names another one wants another one */
	MANIFEST_INITRD_PATH,
	MANIFEST_KERNEL_SHA256, /* may age, as the next */
	MANIFEST_INITRD_SHA256,
	MANIFEST_CMDLINE,
	MANIFEST_AGENT_VERSION, /* ignored: the initrd's digest stands for it */
	MANIFEST_CREATED,       /* ignored: seconds since the epoch */
	MANIFEST_FIELDS,
};

#define MANIFEST_FORMAT_VERSION "3"

/* Values as text; NULL where not known. */
struct manifest {
	char *value[MANIFEST_FIELDS];
};

void manifest_init(struct manifest *m);
void manifest_done(struct manifest *m);
/* value is copied. */
void manifest_set(struct manifest *m, enum manifest_field field, const char *value);
/* Initialises *m. */
void manifest_copy(struct manifest *m, const struct manifest *from);
int manifest_get_u64(const struct manifest *m, enum manifest_field field, uint64_t *ret,
	struct err *err);
const char *manifest_field_name(enum manifest_field field); /* its key in the JSON */
enum manifest_rule manifest_field_rule(enum manifest_field field);

/* The file's text. Every field must be there, none twice, none unknown, all strings, at
 * most 64 KiB; errors name the key. */
int manifest_parse(const char *text, size_t len, struct manifest *ret, struct err *err);
struct json_object *manifest_to_json(const struct manifest *m); /* the caller's */

/*
 * Compares the must-equal fields of a generation (have) with what a sandbox wants: 0, or
 * -ESTALE with "<field>: wanted <a>, the template has <b>" and *ret_field the first that
 * differs.
 */
int manifest_match(const struct manifest *have, const struct manifest *want,
	enum manifest_field *ret_field, struct err *err);

/* Whether a may-age field differs, err and *ret_field as above. False: as new. */
bool manifest_aged(const struct manifest *have, const struct manifest *want,
	enum manifest_field *ret_field, struct err *err);

/* Both: 0 if a generation of these inputs would be what there is. */
int manifest_match_all(const struct manifest *have, const struct manifest *want,
	enum manifest_field *ret_field, struct err *err);

/* Whether a manifest is still the one that was published: 0, or -EUCLEAN with the first
 * field that differs, whatever its rule. */
int manifest_same(
	const struct manifest *published, const struct manifest *found, struct err *err);
