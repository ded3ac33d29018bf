/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that looks at many more files than the server may have descriptors. */
#include "tests/integration/files_server.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define FOLDERS 10u
#define FILES   1000u /* in each */

/* A fifth of the files, as 20,000 are of 100,000.
 * Without CAP_SYS_RESOURCE the server cannot raise it. */
#define DESCRIPTORS_MAX 2000u

static void limit_descriptors(rlim_t most)
{
	struct rlimit limit;

	assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_max = MIN(limit.rlim_max, most);
	limit.rlim_cur = MIN(limit.rlim_cur, limit.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void make_files(const char *folder)
{
	for (unsigned int i = 0; i < FOLDERS; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%u", folder, i);
		_cleanup_close_ int dir = -1;

		assert_int_equal(mkdir(path, 0755), 0);
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		for (unsigned int j = 0; j < FILES; j++) {
			_cleanup_free_ char *name = xasprintf("file-%u", j);

			assert_int_equal(mknodat(dir, name, S_IFREG | 0644, 0), 0);
		}
	}
}

static unsigned int n_files, n_folders, n_others;

static int look(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)path;
	(void)at;
	n_files += kind == FTW_F && S_ISREG(st->st_mode);
	n_folders += kind == FTW_D;
	n_others += kind != FTW_F && kind != FTW_D;
	return 0;
}

static void look_at_all(const char *folder)
{
	n_files = n_folders = n_others = 0;
	assert_int_equal(nftw(folder, look, 16, FTW_PHYS), 0);
	assert_int_equal(n_others, 0);
	assert_int_equal(n_files, FOLDERS * FILES);
	assert_int_equal(n_folders, FOLDERS + 1);
}

static void test_many_files(void **state)
{
	static const enum tree_cache caches[] = {TREE_CACHE_SHARED, TREE_CACHE_OWN};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(caches); i++) {
		struct files_server *f =
			files_server_new(&(struct files_tree){.cache = caches[i]});
		uint64_t from;

		make_files(f->folder);
		for (unsigned int round = 0; round < 2; round++) {
			from = now_us();
			look_at_all(f->mounted);
			print_message("# %u files, %s cache: %.0f ms, asked %u times\n",
				FOLDERS * FILES, i == 0 ? "shared" : "own",
				(double)(now_us() - from) / 1000, files_server_asked(f));
		}
		assert_true(files_server_asked(f) > 0);
		files_server_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_files),
	};

	if (files_server_missing()) {
		printf("1..0 # SKIP %s\n", files_server_missing());
		return 0;
	}
	files_server_unshare();
	limit_descriptors(DESCRIPTORS_MAX);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
