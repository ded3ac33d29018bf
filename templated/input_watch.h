/* SPDX-License-Identifier: Apache-2.0 */
/* Hearing of changed files: one call once they have settled. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct input_watch;

struct input_watch_options {
	/* All in the watch's own thread, one after the other, whenever something changed:
	 * reload(), then the list of paths is asked for anew and watched, then look().
	 * Whatever changes after look() has begun is a change of its own. */
	void (*reload)(void *user);
	void (*list)(void *user, struct input_watch *w); /* calls input_watch_add() */
	void (*look)(void *user, bool asked); /* asked: by input_watch_poke() */
	void *user;
	int64_t settle_ms; /* so long nothing must happen … */
	int64_t limit_ms;  /* … but never longer than this after the first event */
};

/* A package manager's many files are one change; a folder that is never quiet is looked
 * at all the same. */
#define INPUT_SETTLE_MS 2000
#define INPUT_LIMIT_MS  30000

/* When it returns, the paths are watched, and reload() was called once since they are. */
int input_watch_start(const struct input_watch_options *options, struct input_watch **ret,
	struct err *err);
void input_watch_stop(struct input_watch *w); /* NULL is fine */

/* As if something had changed and settled. */
void input_watch_poke(struct input_watch *w);

/*
 * For list(): a file, or a folder with the files in it. It may be missing, and any part
 * of its path may be a symbolic link. Files are replaced by rename(2), and with them
 * folders and links on the way: every folder on the way is watched for the one name that
 * leads on.
 */
void input_watch_add(struct input_watch *w, const char *path, bool folder);
