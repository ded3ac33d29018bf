/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of a file: see digest.h. */
#include "mm/digest.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"

#define READ_BYTES (128u << 10)

int digest_file(int fd, char ret_text[DIGEST_TEXT_SIZE])
{
	_cleanup_free_ uint8_t *buf = xmalloc(READ_BYTES);
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;
	off_t offset = 0;

	sha256_init(&ctx);
	for (;;) {
		ssize_t n = pread(fd, buf, READ_BYTES, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		sha256_update(&ctx, (size_t)n, buf);
		offset += n;
	}
	sha256_digest(&ctx, sizeof(digest), digest);
	hex_encode(digest, sizeof(digest), ret_text);
	return 0;
}
