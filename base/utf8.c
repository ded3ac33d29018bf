/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bytes are UTF-8: see utf8.h. */
#include "base/utf8.h"

/*
 * The length of the character that begins at text[0], 0 if it is broken. This is the
 * Unicode standard's table of well-formed byte sequences: all that is wrong with a
 * character but a missing byte shows in its first two.
 */
static size_t utf8_character_length(const unsigned char *text, size_t len)
{
	unsigned char lowest = 0x80, highest = 0xbf;
	size_t n;

	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	n = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	if (n > len)
		return 0;
	switch (text[0]) {
	case 0xe0: /* overlong below */
		lowest = 0xa0;
		break;
	case 0xed: /* surrogates above */
		highest = 0x9f;
		break;
	case 0xf0: /* overlong below */
		lowest = 0x90;
		break;
	case 0xf4: /* over U+10FFFF above */
		highest = 0x8f;
		break;
	}
	if (text[1] < lowest || text[1] > highest)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

size_t utf8_valid_length(const char *text, size_t len)
{
	size_t at = 0, n;

	while (at < len) {
		n = utf8_character_length((const unsigned char *)text + at, len - at);
		if (n == 0)
			break;
		at += n;
	}
	return at;
}
