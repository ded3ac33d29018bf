/* SPDX-License-Identifier: Apache-2.0 */
/* base/trace: what is reported of phases that happened, overlapped, or did not. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/trace.h"
#include "base/util.h"

static char *folder, *trace_file;
static int log_fds[2];

static int set_up(void **state)
{
	(void)state;
	folder = test_folder_new();
	trace_file = xasprintf("%s/trace", folder);
	if (pipe2(log_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	log_init("prog", log_fds[1], LOG_LEVEL_INFO);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_folder_free(folder);
	free(trace_file);
	close(log_fds[0]);
	close(log_fds[1]);
	return 0;
}

static const char *logged(void)
{
	static char text[4096];
	ssize_t n = read(log_fds[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* A trace with fixed times: spawn 1.0 to 3.5 ms, qmp 2.0 to 4.25 ms after the start. */
static void fill(struct trace *t)
{
	trace_init(t);
	t->phases[TRACE_SPAWN].begin_us = t->start_us + 1000;
	t->phases[TRACE_SPAWN].end_us = t->start_us + 3500;
	t->phases[TRACE_QMP].begin_us = t->start_us + 2000;
	t->phases[TRACE_QMP].end_us = t->start_us + 4250;
	trace_begin(t, TRACE_AGENT); /* never ended */
}

static void test_report(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;
	struct trace t;
	size_t len;

	(void)state;
	fill(&t);
	trace_report(&t, "s\"1", "template", NULL, trace_file);
	assert_non_null(strstr(logged(),
		"msg=\"sandbox started by the template factory\" spawn=2.5 qmp=2.2 total=4.2"));
	trace_report(&t, "s2", "direct", "no template", trace_file);
	assert_non_null(strstr(logged(), "by the direct factory, because no template\""));
	assert_int_equal(file_read(AT_FDCWD, trace_file, 4096, &text, &len, &err), 0);
	assert_string_equal(text,
		"{\"sandbox\":\"s\\\"1\",\"factory\":\"template\",\"total_ms\":4.250,"
		"\"phases\":{\"spawn\":{\"at_ms\":1.000,\"ms\":2.500},"
		"\"qmp\":{\"at_ms\":2.000,\"ms\":2.250}}}\n"
		"{\"sandbox\":\"s2\",\"factory\":\"direct\",\"reason\":\"no template\","
		"\"total_ms\":4.250,\"phases\":{\"spawn\":{\"at_ms\":1.000,\"ms\":2.500},"
		"\"qmp\":{\"at_ms\":2.000,\"ms\":2.250}}}\n");
	trace_done(&t);
}

static void test_no_file(void **state)
{
	struct trace t;

	(void)state;
	fill(&t);
	trace_report(&t, "s", "template", NULL, "");
	assert_non_null(strstr(logged(), "spawn=2.5"));
	trace_report(&t, "s", "template", NULL, "/nonexistent/trace");
	assert_non_null(
		strstr(logged(), "cannot append the phase trace to /nonexistent/trace"));
	trace_done(&t);
}

static void test_phases(void **state)
{
	struct trace t;
	uint64_t begin, end;

	(void)state;
	trace_init(&t);
	trace_end(&t, TRACE_CPU); /* not begun: nothing */
	assert_int_equal(t.phases[TRACE_CPU].end_us, 0);
	trace_begin(&t, TRACE_CPU);
	begin = t.phases[TRACE_CPU].begin_us;
	assert_true(begin >= t.start_us);
	trace_end(&t, TRACE_CPU);
	end = t.phases[TRACE_CPU].end_us;
	assert_true(end >= begin);
	trace_begin(&t, TRACE_CPU);
	trace_end(&t, TRACE_CPU);
	assert_true(t.phases[TRACE_CPU].begin_us == begin &&
		    t.phases[TRACE_CPU].end_us == end);
	trace_begin(NULL, TRACE_CPU);
	trace_end(NULL, TRACE_CPU);
	trace_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_report, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_file, set_up, tear_down),
		cmocka_unit_test(test_phases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
