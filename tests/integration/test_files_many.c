/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that looks at many more files than the server may have descriptors. */
#include "tests/integration/files_server.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define FILES 1000u /* in each folder */

/* Without CAP_SYS_RESOURCE the server cannot raise what its parent had. */
static void limit_descriptors(rlim_t most)
{
	struct rlimit limit;

	assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_max = MIN(limit.rlim_max, most);
	limit.rlim_cur = MIN(limit.rlim_cur, limit.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void make_files(const char *folder, unsigned int folders)
{
	for (unsigned int i = 0; i < folders; i++) {
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

static void look_at_all(const char *folder, unsigned int folders)
{
	n_files = n_folders = n_others = 0;
	assert_int_equal(nftw(folder, look, 16, FTW_PHYS), 0);
	assert_int_equal(n_others, 0);
	assert_int_equal(n_files, folders * FILES);
	assert_int_equal(n_folders, folders + 1);
}

static void look_twice(enum tree_cache cache, unsigned int folders)
{
	struct files_server *f = files_server_new(&(struct files_tree){.cache = cache});

	make_files(f->folder, folders);
	for (unsigned int round = 0; round < 2; round++) {
		uint64_t from = now_us();

		look_at_all(f->mounted, folders);
		print_message("# %u files, %s cache: %.0f ms, asked %u times\n",
			folders * FILES, cache == TREE_CACHE_OWN ? "own" : "shared",
			(double)(now_us() - from) / 1000, f->asked);
	}
	assert_true(f->asked > 0);
	files_server_free(f);
}

/* What an ordinary host's limit may be. */
static void test_many_files(void **state)
{
	(void)state;
	limit_descriptors(20000);
	look_twice(TREE_CACHE_SHARED, 100);
	look_twice(TREE_CACHE_OWN, 100);
}

/* The least that one has. */
static void test_few_descriptors(void **state)
{
	(void)state;
	limit_descriptors(1024);
	look_twice(TREE_CACHE_SHARED, 5);
	look_twice(TREE_CACHE_OWN, 5);
}

/* Of memory: so many files take long to make elsewhere. */
static int setup(void **state)
{
	char *memory = test_folder_new();

	files_server_unshare();
	assert_int_equal(mount("tmpfs", memory, "tmpfs", 0, "mode=0700"), 0);
	assert_int_equal(setenv("TMPDIR", memory, 1), 0);
	*state = memory;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(umount2(*state, 0), 0);
	test_folder_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_files),
		cmocka_unit_test(test_few_descriptors),
	};

	if (files_server_missing()) {
		printf("1..0 # SKIP %s\n", files_server_missing());
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
