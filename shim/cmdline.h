/* SPDX-License-Identifier: Apache-2.0 */
/* The shim's command line, as containerd calls it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/*
 * containerd's shims are Go programs: a flag is -name or --name; its value is the next
 * word, or stands behind "="; a boolean takes a value only behind "="; and the first word
 * that is no flag is the verb.
 */
enum cmdline_verb {
	CMDLINE_SERVE, /* no verb: the task service on descriptor SHIM_LISTEN_FD */
	CMDLINE_START,
	CMDLINE_DELETE,
	CMDLINE_VERSION,
	CMDLINE_INFO, /* what the runtime is, for containerd 2 */
	CMDLINE_HELP,
};

struct cmdline {
	enum cmdline_verb verb;
	/* "" where not given. */
	const char *namespace, *address, *publish_binary, *id, *bundle;
	bool debug;
};

/* Strings are borrowed from argv. Errors name the word; id and namespace have been
 * checked. */
int cmdline_parse(struct cmdline *ret, int argc, char **argv, struct err *err);
void cmdline_usage(FILE *out);

/* Longest name of a container, exec or namespace, containerd's limit. */
#define NAME_LENGTH_MAX 76

/* Whether a name may become part of a path: letters and digits, inside also . _ and -, at
 * most NAME_LENGTH_MAX bytes. `what` begins the error text. */
int name_check(const char *what, const char *name, struct err *err);
