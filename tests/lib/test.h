/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka with the headers that it wants before it, and checks for our error value. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/types.h>

#include "base/err.h"
#include "tests/lib/patience.h"

/* The call failed with this code and exactly this text, and then the error is emptied. */
#define assert_error(result, error_code, error_text)                                     \
	do {                                                                             \
		assert_int_equal((result), (error_code));                                \
		assert_int_equal(err.code, (error_code));                                \
		assert_string_equal(err.text, (error_text));                             \
		err = ERR_INIT;                                                          \
	} while (0)

/* The same where the text only has to contain something. */
#define assert_error_names(result, error_code, part)                                     \
	do {                                                                             \
		assert_int_equal((result), (error_code));                                \
		assert_int_equal(err.code, (error_code));                                \
		if (!strstr(err.text, (part)))                                           \
			fail_msg("\"%s\" does not name \"%s\"", err.text, (part));       \
		err = ERR_INIT;                                                          \
	} while (0)

/* A folder of the test's own, removed at the end. */
char *test_folder_new(void);
void test_folder_free(char *path);
/* "<folder>/<name>" with this text in it; the caller frees the path. */
char *test_file(const char *folder, const char *name, const char *text);
/* How much a folder holds, but for . and .. */
unsigned int test_entries(const char *path);
/* A process has another namespace than the test: "net", "mnt", … */
void test_other_namespace(pid_t pid, const char *name);
