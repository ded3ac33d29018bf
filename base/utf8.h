/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bytes are UTF-8. */
#pragma once

#include <stddef.h>

/*
 * How many bytes of text[len] are well-formed UTF-8 from its start on: len if all are,
 * else where the first broken character begins. Broken are also overlong forms,
 * surrogates, characters above U+10FFFF, and one that is cut off at the end. A NUL is a
 * character.
 */
size_t utf8_valid_length(const char *text, size_t len);
