/* SPDX-License-Identifier: Apache-2.0 */
/* What the shim's unit tests share: errors, a scratch folder, files in it. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "tests/lib/patience.h"

#define assert_ok(call)                                                                  \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		int r_ = (call);                                                         \
		if (r_ != 0)                                                             \
			fail_msg("%s: %d, %s", #call, r_, err_.text);                    \
	} while (0)

#define assert_err(call, code_, text_)                                                   \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		int r_ = (call);                                                         \
		if (r_ != (code_))                                                       \
			fail_msg("%s: %d (%s) where %d is wanted", #call, r_, err_.text, \
				(code_));                                                \
		assert_string_equal(err_.text, (text_));                                 \
	} while (0)

struct scratch {
	char path[64];
};

static inline void scratch_make(struct scratch *s)
{
	snprintf(s->path, sizeof(s->path), "/tmp/stencil-test-XXXXXX");
	assert_non_null(mkdtemp(s->path));
}

static inline void scratch_remove(struct scratch *s)
{
	assert_ok(remove_tree(AT_FDCWD, s->path, err));
}

/* The path of a name in the folder; the caller's. */
static inline char *scratch_path(const struct scratch *s, const char *name)
{
	return xasprintf("%s/%s", s->path, name);
}

static inline void scratch_write(
	const struct scratch *s, const char *name, const char *text)
{
	_cleanup_free_ char *path = scratch_path(s, name);

	assert_ok(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err));
}

static inline bool scratch_has(const struct scratch *s, const char *name)
{
	_cleanup_free_ char *path = scratch_path(s, name);
	struct stat st;

	return lstat(path, &st) == 0;
}

/* The log is for people; a test's output is TAP. */
static inline int quiet_log(void **state)
{
	(void)state;
	log_init("test", open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
	return 0;
}
