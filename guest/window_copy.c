/* SPDX-License-Identifier: Apache-2.0 */
/* Copying from and to the window: see window.h and, for the kind of memory, window.c. */
#include "guest/window.h"

#include <smmintrin.h>
#include <stdint.h>
#include <string.h>

/*
 * A streaming load fetches a whole line of write-combining memory, any other load 16
 * bytes at most, each all the way to memory. On other memory it is a load like any. All
 * four loads of a line come first, so that they use the same fetch.
 */
__attribute__((target("sse4.1"))) static size_t read_lines(
	uint8_t *to, const uint8_t *from, size_t len)
{
	size_t at = 0;

	for (; at + 64 <= len; at += 64) {
		__m128i *line = (__m128i *)(from + at);
		__m128i a = _mm_stream_load_si128(line);
		__m128i b = _mm_stream_load_si128(line + 1);
		__m128i c = _mm_stream_load_si128(line + 2);
		__m128i d = _mm_stream_load_si128(line + 3);

		_mm_storeu_si128((__m128i *)(to + at), a);
		_mm_storeu_si128((__m128i *)(to + at + 16), b);
		_mm_storeu_si128((__m128i *)(to + at + 32), c);
		_mm_storeu_si128((__m128i *)(to + at + 48), d);
	}
	return at;
}

void window_read(void *to, const void *from, size_t len)
{
	size_t done = 0;

	/* Streaming loads are not ordered behind the loads that told us to read. */
	_mm_mfence();
	if ((uintptr_t)from % 16 == 0 && __builtin_cpu_supports("sse4.1"))
		done = read_lines(to, from, len);
	memcpy((uint8_t *)to + done, (const uint8_t *)from + done, len - done);
}

void window_write(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
	_mm_sfence();
}
