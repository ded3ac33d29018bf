/* SPDX-License-Identifier: Apache-2.0 */
/* shim/capabilities: what the shim keeps, and what a hook gets. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "shim/capabilities.h"

struct sets {
	unsigned long long inheritable, permitted, effective, bounding;
};

static void parse_sets(const char *status, struct sets *ret)
{
	const char *at = strstr(status, "CapInh:");

	assert_non_null(at);
	assert_int_equal(sscanf(at, "CapInh: %llx CapPrm: %llx CapEff: %llx CapBnd: %llx",
				 &ret->inheritable, &ret->permitted, &ret->effective,
				 &ret->bounding),
		4);
}

/* Of a child that has cut its own, or of what that one executes. */
static void read_sets(bool executes, struct sets *ret)
{
	char *const argv[] = {(char[]){"cat"}, (char[]){"/proc/self/status"}, NULL};
	char text[8192] = "";
	int out[2], status;
	size_t len = 0;
	pid_t pid;
	ssize_t n;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		_cleanup_free_ char *own = NULL;
		struct err err = ERR_INIT;
		size_t size;

		if (capabilities_cut(&err) < 0 || dup2(out[1], STDOUT_FILENO) < 0)
			_exit(1);
		if (executes) {
			execvp("cat", argv);
			_exit(2);
		}
		if (file_read(AT_FDCWD, "/proc/self/status", 8192, &own, &size, &err) <
				0 ||
			write_full(STDOUT_FILENO, own, size) < 0)
			_exit(3);
		_exit(0);
	}
	close(out[1]);
	while ((n = read(out[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	parse_sets(text, ret);
}

static bool has(unsigned long long set, unsigned int capability)
{
	return set >> capability & 1;
}

/* Our own. */
static void read_own(struct sets *ret)
{
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;
	size_t len;

	assert_int_equal(
		file_read(AT_FDCWD, "/proc/self/status", 8192, &text, &len, &err), 0);
	parse_sets(text, ret);
}

/* A wall's proof: docs/security.md. */
static void test_cut(void **state)
{
	static const unsigned int never[] = {CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT,
		CAP_SYS_TIME, CAP_SYS_NICE, CAP_SYSLOG, CAP_MAC_ADMIN, CAP_MAC_OVERRIDE,
		CAP_AUDIT_CONTROL, CAP_LINUX_IMMUTABLE, CAP_SYS_PACCT, CAP_WAKE_ALARM};
	static const unsigned int always[] = {CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF,
		CAP_KILL, CAP_DAC_OVERRIDE, CAP_SETFCAP};
	struct sets own, sets;

	(void)state;
	read_own(&own);
	read_sets(false, &sets);
	assert_true(sets.permitted == sets.effective);
	assert_true(sets.inheritable == 0);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (has(sets.permitted, never[i]))
			fail_msg("capability %u is kept", never[i]);
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (has(own.permitted, always[i]) && !has(sets.permitted, always[i]))
			fail_msg("capability %u is not kept", always[i]);
}

/* A hook is root's program as it would be for runc. */
static void test_hooks(void **state)
{
	struct sets before, after, hook;

	(void)state;
	read_own(&before);
	read_sets(false, &after);
	read_sets(true, &hook);
	assert_true(after.bounding == before.bounding);
	assert_true(hook.effective == before.bounding);
	/* And of what is kept none was not there. */
	assert_true((after.permitted & ~before.permitted) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_hooks),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root: capabilities to give up\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
