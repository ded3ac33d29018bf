/* SPDX-License-Identifier: Apache-2.0 */
/* guest/copy: files that come in pieces, and paths that lead elsewhere. */
#include "tests/unit/guest_agent.h"

#include <sys/stat.h>

#include "guest/init.h"

#define SHARED GUEST_SHARED_ROOT "/shared"

static struct guest guest;

static int begin(void **state)
{
	(void)state;
	assert_int_equal(mkdir_parents(SHARED, 0755, NULL), 0);
	guest_start(&guest);
	return 0;
}

static int end(void **state)
{
	(void)state;
	guest_stop(&guest);
	assert_int_equal(remove_tree(AT_FDCWD, GUEST_SHARED_ROOT, NULL), 0);
	return 0;
}

struct piece {
	const char *path;
	int64_t size, offset;
	const char *data;
	uint32_t mode;
};

static int copy(const struct piece *p, struct err *err)
{
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;

	req.path = (char *)p->path;
	req.file_size = p->size;
	req.offset = p->offset;
	req.file_mode = p->mode;
	req.data =
		(ProtobufCBinaryData){.data = (uint8_t *)p->data, .len = strlen(p->data)};
	return agent_copy_file(guest.agent, &req, soon(), err);
}

static void copy_ok(const char *path, int64_t size, int64_t offset, const char *data)
{
	struct piece p = {path, size, offset, data, S_IFREG | 0640};
	struct err err = ERR_INIT;

	if (copy(&p, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_pieces(void **state)
{
	struct stat st;
	unsigned int fds;

	(void)state;
	copy_ok(SHARED "/a/b//file", 10, 0, "01234");
	fds = count_fds();
	assert_int_equal(access(SHARED "/a/b/file", F_OK), -1);
	copy_ok(SHARED "/a/b/file", 10, 5, "56789");
	assert_file(SHARED "/a/b/file", "0123456789");
	assert_int_equal(stat(SHARED "/a/b/file", &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(stat(SHARED "/a", &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
	/* Again and shorter, over one that was begun and given up. */
	copy_ok(SHARED "/a/b/file", 10, 0, "abcdefg");
	assert_file(SHARED "/a/b/file", "0123456789");
	copy_ok(SHARED "/a/b/file", 3, 0, "xyz");
	assert_file(SHARED "/a/b/file", "xyz");
	copy_ok(SHARED "/empty", 0, 0, "");
	assert_file(SHARED "/empty", "");
	assert_int_equal(count_fds(), fds);
}

/* A file whose name looks like another's that is not complete. */
static void test_alike(void **state)
{
	(void)state;
	copy_ok(SHARED "/x.tmp", 3, 0, "one");
	copy_ok(SHARED "/x", 3, 0, "two");
	assert_file(SHARED "/x.tmp", "one");
	assert_file(SHARED "/x", "two");
}

static void test_links(void **state)
{
	struct piece through = {SHARED "/out/file", 1, 0, "x", 0600};
	struct piece onto = {SHARED "/link", 1, 0, "x", 0600};
	struct err err = ERR_INIT;

	(void)state;
	world_file("/run/secret", "kept");
	assert_int_equal(symlink("/run", SHARED "/out"), 0);
	assert_int_equal(symlink("/run/secret", SHARED "/link"), 0);
	assert_error(copy(&through, &err), -EINVAL,
		"CopyFile: copy " SHARED "/out/file: Not a directory");
	assert_int_equal(access("/run/file", F_OK), -1);
	/* The link itself is what gets replaced. */
	assert_int_equal(copy(&onto, &err), 0);
	assert_file("/run/secret", "kept");
	assert_file(SHARED "/link", "x");
}

static void test_refused(void **state)
{
	static const struct {
		struct piece piece;
		int code;
		const char *part;
	} bad[] = {
		{{"/etc/passwd", 1, 0, "x", 0}, -EINVAL, "is not a file below"},
		{{GUEST_SHARED_ROOT, 1, 0, "x", 0}, -EINVAL, "is not a file below"},
		{{GUEST_SHARED_ROOT "/", 1, 0, "x", 0}, -EINVAL, "is not a file below"},
		{{SHARED "/x/", 1, 0, "x", 0}, -EINVAL, "is not a file below"},
		{{SHARED "/../../x", 1, 0, "x", 0}, -EINVAL, "is not a file below"},
		{{"", 1, 0, "x", 0}, -EINVAL, "is not a file below"},
		{{SHARED "/x", 1, 0, "x", S_IFLNK | 0777}, -EOPNOTSUPP, "only regular"},
		{{SHARED "/x", -1, 0, "", 0}, -ENOSPC, "don't fit into a file of -1"},
		{{SHARED "/x", 1, -1, "x", 0}, -ENOSPC, "1 bytes at -1 don't fit"},
		{{SHARED "/x", 1, 1, "x", 0}, -ENOSPC, "1 bytes at 1 don't fit"},
		{{SHARED "/x", 1, INT64_MAX, "x", 0}, -ENOSPC, "don't fit"},
		{{SHARED "/x", (64 << 20) + 1, 0, "x", 0}, -ENOSPC, "don't fit"},
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_error_names(copy(&bad[i].piece, &err), bad[i].code, bad[i].part);
	assert_int_equal(rmdir(SHARED), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pieces),
		TEST(test_alike),
		TEST(test_links),
		TEST(test_refused),
	};

	world_enter(0);
	world_tmpfs("/run");
	return cmocka_run_group_tests_name("guest/copy", tests, NULL, NULL);
}
