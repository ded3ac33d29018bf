/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a process's life, whole: each request in each state. */
#include "shim/lifecycle.h"
#include "tests/unit/test_shim.h"

/* What follows, by state; '!' is a refusal, '?' not found. */
static const struct {
	enum lifecycle_request request;
	const char *verb;
	char next[LIFECYCLE_STATES + 1]; /* created running paused stopped deleted */
} table[] = {
	{LIFECYCLE_START, "start", "R!!!?"},
	{LIFECYCLE_EXEC, "exec in", "CR!!?"},
	{LIFECYCLE_KILL, "kill", "CRP??"},
	{LIFECYCLE_PAUSE, "pause", "!P!!?"},
	{LIFECYCLE_RESUME, "resume", "!!R!?"},
	{LIFECYCLE_RESIZE, "resize the terminal of", "CRP!?"},
	{LIFECYCLE_CLOSE_IO, "close the input of", "CRPS?"},
	{LIFECYCLE_UPDATE, "update", "CRP!?"},
	{LIFECYCLE_EXIT, "end", "SSS!?"},
	{LIFECYCLE_DELETE, "delete", "D!!D?"},
};

static const char letters[] = "CRPSD";
static const char *const names[LIFECYCLE_STATES] = {
	"created", "running", "paused", "stopped", "deleted"};

static void check(enum lifecycle_state state, size_t row)
{
	enum lifecycle_state next = LIFECYCLE_STATES;
	struct err err = ERR_INIT;
	int r = lifecycle_next(state, table[row].request, "c1", &next, &err);
	char text[128], wanted = table[row].next[state];

	if (wanted == '!') {
		snprintf(text, sizeof(text), "cannot %s a %s process: c1",
			table[row].verb, names[state]);
		assert_int_equal(r, LIFECYCLE_REFUSED);
		assert_string_equal(err.text, text);
	} else if (wanted == '?') {
		assert_int_equal(r, -ENOENT);
		assert_string_equal(err.text, state == LIFECYCLE_STOPPED
						      ? "process c1 already finished"
						      : "process c1 does not exist");
	} else {
		assert_int_equal(r, 0);
		assert_int_equal(letters[next], wanted);
	}
	if (r < 0)
		assert_int_equal(next, LIFECYCLE_STATES);
}

static void test_table(void **state)
{
	(void)state;
	assert_int_equal(ARRAY_SIZE(table), LIFECYCLE_REQUESTS);
	for (size_t row = 0; row < ARRAY_SIZE(table); row++) {
		assert_int_equal(table[row].request, row);
		for (int s = 0; s < LIFECYCLE_STATES; s++)
			check((enum lifecycle_state)s, row);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
