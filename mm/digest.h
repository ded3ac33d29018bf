/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of a file, as text. */
#pragma once

#define DIGEST_TEXT_SIZE 65 /* 64 hex digits and the NUL */

/* Of the whole file; its position does not count, nor change. 0 or a negative errno. */
int digest_file(int fd, char ret_text[DIGEST_TEXT_SIZE]);
