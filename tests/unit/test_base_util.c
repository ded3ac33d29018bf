/* SPDX-License-Identifier: Apache-2.0 */
/* base/util, base/mount_word, base/thread: bytes as digits, words as flags, a wake. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mount_word.h"
#include "base/thread.h"
#include "base/util.h"
#include "tests/lib/test.h"

static void test_hex(void **state)
{
	const uint8_t bytes[] = {0x00, 0x0f, 0xa0, 0xff};
	char text[sizeof(bytes) * 2 + 2];

	(void)state;
	memset(text, '!', sizeof(text));
	hex_encode(bytes, sizeof(bytes), text);
	assert_string_equal(text, "000fa0ff");
	assert_int_equal(text[sizeof(text) - 1], '!');
	hex_encode(bytes, 0, text);
	assert_string_equal(text, "");
}

static void test_hash(void **state)
{
	unsigned int buckets[256] = {0};

	(void)state;
	assert_true(hash_bytes(1, "abc", 2) == hash_bytes(1, "abd", 2));
	assert_true(hash_bytes(1, "ab", 2) != hash_bytes(2, "ab", 2));
	assert_true(hash_bytes(1, "ab", 2) != hash_bytes(1, "ba", 2));
	for (unsigned int i = 0; i < 4096; i++) {
		_cleanup_free_ char *name = xasprintf("%u", i);

		buckets[hash_bytes(1, name, strlen(name)) % 256]++;
	}
	for (unsigned int i = 0; i < 256; i++)
		assert_in_range(buckets[i], 1, 48);
}

static void test_mount_word(void **state)
{
	unsigned long flags = 0;

	(void)state;
	assert_true(mount_word("ro", &flags));
	assert_true(mount_word("rbind", &flags));
	assert_int_equal(flags, MS_RDONLY | MS_BIND | MS_REC);
	assert_true(mount_word("rw", &flags)); /* the last one counts */
	assert_int_equal(flags, MS_BIND | MS_REC);
	assert_true(mount_word("defaults", &flags));
	assert_false(mount_word("mode=0755", &flags));
	assert_false(mount_word("", &flags));
	assert_false(mount_word("rprivate", &flags)); /* a call of its own */
	assert_int_equal(flags, MS_BIND | MS_REC);
}

/* Of a size that only the program knows as it runs: libc's own check ends it, which level
 * 2 of _FORTIFY_SOURCE would not. */
static void test_fortified(void **state)
{
#ifdef _FORTIFY_SOURCE
	static const char text[64];
	volatile size_t size = 16, more = 17;
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		char *room = malloc(size);

		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		memcpy(room, text, more);
		_exit(*room);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
#else
	(void)state;
	print_message("a sanitizer looks for what it would find\n");
	skip();
#endif
}

/* Whoever waits is woken, also by one wake too many. */
static void test_thread_wake(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(-ETIMEDOUT, wait_fd(fd, POLLIN, 0));
	errno = EXDEV;
	thread_wake(fd);
	assert_int_equal(EXDEV, errno);
	assert_int_equal(0, wait_fd(fd, POLLIN, soon()));
	assert_int_equal(0, eventfd_write(fd, UINT64_MAX - 2));
	thread_wake(fd);
	assert_int_equal(EXDEV, errno);
	assert_int_equal(0, wait_fd(fd, POLLIN, soon()));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_mount_word),
		cmocka_unit_test(test_fortified),
		cmocka_unit_test(test_thread_wake),
	};

	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
