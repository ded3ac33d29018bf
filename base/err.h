/* SPDX-License-Identifier: Apache-2.0 */
/* The error value: a negative errno for programs and one sentence for people. */
#pragma once

#include <stdarg.h>

/*
 * A function that can fail for a reason a user should read takes `struct err *err` as its
 * last argument, returns 0 or a negative errno, and fills *err exactly when it fails.
 * Callers add context on the way up with err_wrap(), so that the text reads outermost
 * first: "clone: restore: QEMU refused migrate-incoming: …". err may be NULL where nobody
 * will read it. Output arguments (ret_…) are untouched on failure.
 */
struct err {
	int code;        /* negative errno, 0 while nothing failed */
	char text[1024]; /* no newline at the end; cut at the end with "…" if too long */
};

#define ERR_INIT ((struct err){0})

/* Sets code (made negative if it is not) and text; returns the code. */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with ": <strerror(code)>" behind the text. */
int err_sys(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<context>: " before the text there is; returns the code there is. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* For what goes on after a failure, so that one thing in the way leaves only itself: e
 * becomes *first unless there is one. */
void err_keep_first(struct err *first, const struct err *e);

/* Copies an error (for one that was kept by an object and is told to several callers). */
int err_copy(struct err *err, const struct err *from);

/*
 * Untrusted text for a message: printable ASCII as it is, all else as \xNN, cut at `max`
 * source bytes with "…" behind. Returns one of four per-thread buffers, each valid until
 * the fourth call after it.
 */
const char *err_quote(const char *text, unsigned int max);
