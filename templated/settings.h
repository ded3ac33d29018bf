/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration in force, as snapshots that never change. */
#pragma once

#include "base/config.h"
#include "base/util.h"

/*
 * A reload makes a new snapshot and leaves the old one to those who work with it: a build
 * or a request sees one configuration from its beginning to its end, and none needs a
 * lock to read it. Counted; each settings_ref() and settings_new() wants a
 * settings_put().
 */
struct settings {
	struct config config; /* not to be changed */
	unsigned int refs;    /* atomic */
};

struct settings *settings_new(struct config *c); /* *c is emptied */
struct settings *settings_ref(struct settings *s);
void settings_put(struct settings *s); /* NULL is fine */

DEFINE_CLEANUP(settings, struct settings *, settings_put);
#define _cleanup_settings_ _cleanup_(settings)
