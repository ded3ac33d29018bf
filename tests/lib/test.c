/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers for the C tests: see test.h. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/util.h"

char *test_folder_new(void)
{
	const char *tmp = getenv("TMPDIR");
	char *path = xasprintf("%s/stencil-test-XXXXXX", tmp ? tmp : "/tmp");

	if (!mkdtemp(path))
		fail_msg("mkdtemp %s", path);
	return path;
}

void test_folder_free(char *path)
{
	struct err err = ERR_INIT;

	if (remove_tree(AT_FDCWD, path, &err) < 0)
		fail_msg("%s", err.text);
	free(path);
}

char *test_file(const char *folder, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", folder, name);
	struct err err = ERR_INIT;

	if (file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err) < 0)
		fail_msg("%s", err.text);
	return path;
}

unsigned int test_entries(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n - 2;
}

void test_other_namespace(pid_t pid, const char *name)
{
	_cleanup_free_ char *own = xasprintf("/proc/self/ns/%s", name);
	_cleanup_free_ char *its = xasprintf("/proc/%d/ns/%s", (int)pid, name);
	struct stat a, b;

	assert_int_equal(stat(own, &a), 0);
	assert_int_equal(stat(its, &b), 0);
	assert_true(a.st_ino != b.st_ino);
}
