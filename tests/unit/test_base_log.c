/* SPDX-License-Identifier: Apache-2.0 */
/* base/log: the shape of a line, its escapes, levels, and lines that are too long. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

static int pipe_fds[2];

/* What was logged since the last call, without the time in front; "" if nothing. */
static const char *logged(void)
{
	static char text[8192];
	ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);
	const char *level;

	if (n < 0)
		return errno == EAGAIN ? "" : "?";
	text[n] = '\0';
	assert_memory_equal(text, "time=\"20", 8);
	level = strstr(text, "Z\" ");
	assert_non_null(level);
	assert_ptr_equal(strchr(text, '\n'), text + n - 1);
	text[n - 1] = '\0';
	return level + 3;
}

static int set_up(void **state)
{
	(void)state;
	return pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK);
}

static int reset(void **state)
{
	(void)state;
	log_init("prog", pipe_fds[1], LOG_LEVEL_INFO);
	log_set_context("");
	return 0;
}

static void test_line(void **state)
{
	(void)state;
	log_info("three %d", 3);
	assert_string_equal(logged(), "level=info prog=prog msg=\"three 3\"");
	log_set_context("sandbox=a namespace=b");
	log_line(LOG_LEVEL_WARN, "ms=1", "slow");
	assert_string_equal(
		logged(), "level=warn prog=prog sandbox=a namespace=b msg=\"slow\" ms=1");
}

static void test_levels(void **state)
{

	(void)state;
	log_debug("not seen");
	assert_string_equal(logged(), "");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("seen");
	assert_string_equal(logged(), "level=debug prog=prog msg=\"seen\"");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("not seen");
	assert_string_equal(logged(), "");
	log_error("seen");
	assert_string_equal(logged(), "level=error prog=prog msg=\"seen\"");
}

/* Text of others can neither end the quotes nor begin a line. */
static void test_escapes(void **state)
{
	(void)state;
	log_info("a\"b\\c\nlevel=error\x1b[0m");
	assert_string_equal(
		logged(), "level=info prog=prog msg=\"a\\\"b\\\\c\\nlevel=error?[0m\"");
}

static void test_long(void **state)
{
	char big[6000];
	const char *line;

	(void)state;
	memset(big, '"', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_line(LOG_LEVEL_INFO, "key=value", "%s", big);
	line = logged();
	assert_true(strlen(line) < 4096);
	assert_string_equal(line + strlen(line) - strlen("\" key=value"), "\" key=value");
	log_line(LOG_LEVEL_INFO, big, "x");
	assert_true(strlen(logged()) < 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_line, reset),
		cmocka_unit_test_setup(test_levels, reset),
		cmocka_unit_test_setup(test_escapes, reset),
		cmocka_unit_test_setup(test_long, reset),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
