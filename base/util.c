/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers: see util.h. */
#include "base/util.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

void *or_die(void *p)
{
	static const char msg[] = "stencil: out of memory\n";

	if (!p) {
		if (write(STDERR_FILENO, msg, sizeof(msg) - 1) < 0)
			_exit(70);
		abort();
	}
	return p;
}

void *xmalloc(size_t size)
{
	return or_die(malloc(size ? size : 1));
}

void *xzalloc(size_t size)
{
	return or_die(calloc(1, size ? size : 1));
}

void *xreallocarray(void *ptr, size_t n, size_t size)
{
	return or_die(reallocarray(ptr, n ? n : 1, size));
}

char *xstrdup(const char *s)
{
	return or_die(strdup(s));
}

char *xstrndup(const char *s, size_t max)
{
	return or_die(strndup(s, max));
}

char *xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return or_die(s);
}

void str_copy_to(char *to, size_t size, const char *s)
{
	size_t len = strlen(s);

	assert(len < size);
	memcpy(to, s, len + 1);
}

uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t n)
{
	const uint8_t *b = bytes;
	uint64_t hash = seed * 0x9e3779b97f4a7c15ull;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ b[i]) * 0x100000001b3ull;
	return hash ^ hash >> 32;
}

void hex_encode(const void *bytes, size_t n, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = bytes;

	for (size_t i = 0; i < n; i++) {
		ret_text[2 * i] = digits[b[i] >> 4];
		ret_text[2 * i + 1] = digits[b[i] & 0xf];
	}
	ret_text[2 * n] = '\0';
}

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int64_t now_ms(void)
{
	return (int64_t)(now_us() / 1000);
}

int64_t deadline_after_ms(int64_t ms)
{
	return now_ms() + ms;
}

int deadline_poll_ms(int64_t deadline)
{
	int64_t left;

	if (deadline == DEADLINE_NONE)
		return -1;
	left = deadline - now_ms();
	return (int)MAX(0, MIN(left, INT_MAX));
}
