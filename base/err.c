/* SPDX-License-Identifier: Apache-2.0 */
/* The error value: see err.h. */
#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ELLIPSIS "…"

/* Marks a text that did not fit. */
static void mark_cut(char *text, size_t size)
{
	memcpy(text + size - sizeof(ELLIPSIS), ELLIPSIS, sizeof(ELLIPSIS));
}

__attribute__((format(printf, 3, 0))) static int set_va(
	struct err *err, int code, const char *fmt, va_list ap)
{
	int n;

	if (code > 0)
		code = -code;
	if (!err)
		return code;
	err->code = code;
	n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	if (n >= (int)sizeof(err->text))
		mark_cut(err->text, sizeof(err->text));
	return code;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = set_va(err, code, fmt, ap);
	va_end(ap);
	return r;
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t len;
	int r;

	va_start(ap, fmt);
	r = set_va(err, code, fmt, ap);
	va_end(ap);
	if (!err)
		return r;
	len = strlen(err->text);
	if (snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(-r)) >=
		(int)(sizeof(err->text) - len))
		mark_cut(err->text, sizeof(err->text));
	return r;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char inner[sizeof(err->text)];
	va_list ap;
	size_t len;
	int code;

	if (!err)
		return 0;
	memcpy(inner, err->text, sizeof(inner));
	code = err->code;
	va_start(ap, fmt);
	set_va(err, code, fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	if (snprintf(err->text + len, sizeof(err->text) - len, ": %s", inner) >=
		(int)(sizeof(err->text) - len))
		mark_cut(err->text, sizeof(err->text));
	return code;
}

void err_keep_first(struct err *first, const struct err *e)
{
	if (first->code == 0)
		*first = *e;
}

int err_copy(struct err *err, const struct err *from)
{
	if (err)
		*err = *from;
	return from->code;
}

const char *err_quote(const char *text, unsigned int max)
{
	static _Thread_local char bufs[4][1024];
	static _Thread_local unsigned int turn;
	char *buf = bufs[turn++ % 4];
	size_t out = 0, room = sizeof(bufs[0]) - sizeof(ELLIPSIS) - 4;
	unsigned int i;

	for (i = 0; text[i] && i < max && out < room; i++) {
		unsigned char c = (unsigned char)text[i];
		bool plain = c >= 0x20 && c < 0x7f && c != '\\';

		if (plain)
			buf[out++] = (char)c;
		else
			out += (size_t)snprintf(buf + out, 5, "\\x%02x", c);
	}
	if (text[i])
		memcpy(buf + out, ELLIPSIS, sizeof(ELLIPSIS));
	else
		buf[out] = '\0';
	return buf;
}
