/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of messages: what ends the channel, and what is an answer. */
#include "tests/unit/files_peer.h"

/* The right shape of each message, as the protocol has it: the fixed part's bytes, then
 * texts, then data. `node`: it is for an inode, `handle`: and for a handle of it. */
static const struct shape {
	uint32_t opcode;
	unsigned int fixed;
	const char *texts[2];
	bool node, handle;
} shapes[] = {
	{FUSE_LOOKUP, 0, {"name"}, true, false},
	{FUSE_FORGET, 8, {NULL}, false, false},
	{FUSE_GETATTR, 16, {NULL}, true, false},
	{FUSE_SETATTR, 88, {NULL}, true, false},
	{FUSE_READLINK, 0, {NULL}, true, false},
	{FUSE_SYMLINK, 0, {"soft", "target/of"}, true, false},
	{FUSE_MKNOD, 16, {"node"}, true, false},
	{FUSE_MKDIR, 8, {"folder"}, true, false},
	{FUSE_UNLINK, 0, {"gone"}, true, false},
	{FUSE_RMDIR, 0, {"gone"}, true, false},
	{FUSE_RENAME, 8, {"gone", "there"}, true, false},
	{FUSE_LINK, 8, {"link"}, true, false},
	{FUSE_OPEN, 8, {NULL}, true, false},
	{FUSE_READ, 40, {NULL}, true, true},
	{FUSE_WRITE, 40, {NULL}, true, true},
	{FUSE_STATFS, 0, {NULL}, true, false},
	{FUSE_RELEASE, 24, {NULL}, true, true},
	{FUSE_FSYNC, 16, {NULL}, true, true},
	{FUSE_SETXATTR, 16, {"user.a"}, true, false},
	{FUSE_GETXATTR, 8, {"user.a"}, true, false},
	{FUSE_LISTXATTR, 8, {NULL}, true, false},
	{FUSE_REMOVEXATTR, 0, {"user.a"}, true, false},
	{FUSE_FLUSH, 24, {NULL}, true, true},
	{FUSE_OPENDIR, 8, {NULL}, true, false},
	{FUSE_READDIR, 40, {NULL}, true, true},
	{FUSE_RELEASEDIR, 24, {NULL}, true, true},
	{FUSE_FSYNCDIR, 16, {NULL}, true, true},
	{FUSE_GETLK, 48, {NULL}, true, true},
	{FUSE_SETLK, 48, {NULL}, true, true},
	{FUSE_SETLKW, 48, {NULL}, true, true},
	{FUSE_CREATE, 16, {"created"}, true, false},
	{FUSE_INTERRUPT, 8, {NULL}, false, false},
	{FUSE_DESTROY, 0, {NULL}, false, false},
	{FUSE_IOCTL, 32, {NULL}, false, false},
	{FUSE_BATCH_FORGET, 8, {NULL}, false, false},
	{FUSE_FALLOCATE, 32, {NULL}, true, true},
	{FUSE_READDIRPLUS, 40, {NULL}, true, true},
	{FUSE_RENAME2, 16, {"gone", "there"}, true, false},
	{FUSE_LSEEK, 24, {NULL}, true, true},
	{FUSE_COPY_FILE_RANGE, 56, {NULL}, true, true},
	{FUSE_SYNCFS, 8, {NULL}, true, false},
	{FUSE_TMPFILE, 16, {"/"}, true, false},
	{FUSE_STATX, 24, {NULL}, true, false},
};

static const uint8_t zeros[128];

static void shape_build(struct talk *t, const struct shape *shape, uint64_t nodeid)
{
	talk_begin(t, shape->opcode, nodeid);
	talk_add(t, zeros, shape->fixed);
	for (int i = 0; i < 2 && shape->texts[i]; i++)
		talk_text(t, shape->texts[i]);
}

static bool has_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET &&
	       opcode != FUSE_INTERRUPT;
}

/* Serves it with a right length in its header. */
static int serve_whole(struct talk *t)
{
	talk_set_len(t);
	return talk_serve(t);
}

static void test_too_short_too_long(void **state)
{
	struct world *w = *state;
	struct talk *t = w->talk;

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		size_t whole;

		shape_build(t, &shapes[i], 77);
		whole = t->len;
		for (t->len = 0; t->len < whole; t->len++) {
			if (t->len >= 4)
				talk_set_len(t);
			if (talk_serve(t) != -EPROTO)
				fail_msg("opcode %u of %zu bytes passes",
					shapes[i].opcode, t->len);
			assert_int_equal(t->out_len, 0);
		}
		talk_add(t, zeros, 1);
		if (serve_whole(t) != -EPROTO)
			fail_msg("opcode %u with a byte too much passes",
				shapes[i].opcode);
		t->len = whole;
		assert_int_equal(serve_whole(t), 0);
		assert_int_equal(t->out_len > 0, has_answer(shapes[i].opcode));
	}
}

/* A wall's proof: docs/security.md. */
static void test_length_lies(void **state)
{
	struct world *w = *state;

	for (int wrong = -1; wrong <= 1; wrong += 2) {
		uint32_t len;

		talk_begin(w->talk, FUSE_STATFS, FUSE_ROOT_ID);
		len = w->talk->len + wrong;
		memcpy(w->talk->message, &len, sizeof(len));
		assert_int_equal(talk_serve(w->talk), -EPROTO);
	}
	/* Extensions that nobody asked for. */
	talk_begin(w->talk, FUSE_STATFS, FUSE_ROOT_ID);
	w->talk->message[offsetof(struct fuse_in_header, total_extlen)] = 1;
	assert_int_equal(serve_whole(w->talk), -EPROTO);
}

static int error_of(struct talk *t)
{
	struct fuse_out_header header;

	memcpy(&header, t->out, sizeof(header));
	return header.error;
}

static void test_unknown(void **state)
{
	static const uint64_t nobody[] = {0, 2, 1ull << 32 | 1, UINT64_MAX};
	struct world *w = *state;
	struct talk *t = w->talk;

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(nobody) && shapes[i].node; j++) {
			shape_build(t, &shapes[i], nobody[j]);
			assert_int_equal(serve_whole(t), 0);
			assert_int_equal(error_of(t), -ESTALE);
		}
		if (!shapes[i].handle)
			continue;
		shape_build(t, &shapes[i], FUSE_ROOT_ID);
		assert_int_equal(serve_whole(t), 0);
		assert_int_equal(error_of(t), -EBADF);
	}
	talk_begin(t, 4000, FUSE_ROOT_ID);
	talk_add(t, zeros, 3);
	assert_int_equal(talk_send(t), -ENOSYS);
	talk_begin(t, FUSE_ACCESS, FUSE_ROOT_ID);
	talk_add(t, zeros, 8);
	assert_int_equal(talk_send(t), -ENOSYS);
	talk_begin(t, FUSE_IOCTL, FUSE_ROOT_ID);
	talk_add(t, zeros, 32);
	assert_int_equal(talk_send(t), -ENOTTY);
}

/* A handle is one of the inode that it comes with. */
/* A wall's proof: docs/security.md. */
static void test_handle_of_another(void **state)
{
	struct world *w = *state;
	struct fuse_read_in in = {.size = 10};
	struct fuse_getattr_in get = {.getattr_flags = FUSE_GETATTR_FH};
	uint64_t a, b;

	world_file(w, "a");
	world_file(w, "b");
	a = nodeid_of(w, "a");
	b = nodeid_of(w, "b");
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, a, O_RDONLY, &in.fh), 0);
	talk_begin(w->talk, FUSE_READ, b);
	talk_add(w->talk, &in, sizeof(in));
	assert_int_equal(talk_send(w->talk), -EBADF);
	get.fh = in.fh;
	talk_begin(w->talk, FUSE_GETATTR, b);
	talk_add(w->talk, &get, sizeof(get));
	assert_int_equal(talk_send(w->talk), -EBADF);
	talk_begin(w->talk, FUSE_READ, a);
	talk_add(w->talk, &in, sizeof(in));
	assert_int_equal(talk_send(w->talk), 0);
	assert_int_equal(w->talk->out_len, 4);
}

static int mkdir_named(struct world *w, const char *name)
{
	struct fuse_mkdir_in in = {.mode = 0755};

	talk_begin(w->talk, FUSE_MKDIR, FUSE_ROOT_ID);
	talk_add(w->talk, &in, sizeof(in));
	talk_text(w->talk, name);
	return serve_whole(w->talk);
}

/* A wall's proof: docs/security.md. */
static void test_names(void **state)
{
	static const char *const wrong[] = {"", ".", "..", "/", "a/b", "../x", "/etc"};
	struct world *w = *state;
	char name[NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(mkdir_named(w, wrong[i]), -EPROTO);
	memset(name, 'n', sizeof(name));
	name[NAME_MAX + 1] = '\0';
	assert_int_equal(mkdir_named(w, name), 0);
	assert_int_equal(error_of(w->talk), -ENAMETOOLONG);
	name[NAME_MAX] = '\0';
	assert_int_equal(mkdir_named(w, name), 0);
	assert_int_equal(error_of(w->talk), 0);
	assert_int_equal(mkdir_named(w, "..."), 0);
	assert_int_equal(error_of(w->talk), 0);
	/* The second name is checked as the first. */
	talk_begin(w->talk, FUSE_RENAME, FUSE_ROOT_ID);
	talk_add(w->talk, zeros, 8);
	talk_text(w->talk, "a");
	talk_text(w->talk, "..");
	assert_int_equal(serve_whole(w->talk), -EPROTO);
	talk_begin(w->talk, FUSE_LOOKUP, FUSE_ROOT_ID);
	talk_text(w->talk, "../x");
	assert_int_equal(serve_whole(w->talk), -EPROTO);
}

static void test_sizes(void **state)
{
	struct world *w = *state;
	struct talk *t = w->talk;
	struct fuse_setxattr_in set = {.size = 5};
	struct fuse_batch_forget_in batch = {.count = UINT32_MAX};
	struct fuse_write_in write = {.size = 3};

	talk_begin(t, FUSE_SETXATTR, FUSE_ROOT_ID);
	talk_add(t, &set, sizeof(set));
	talk_text(t, "user.a");
	talk_add(t, "1234", 4);
	assert_int_equal(serve_whole(t), -EPROTO);
	talk_begin(t, FUSE_BATCH_FORGET, 0);
	talk_add(t, &batch, sizeof(batch));
	talk_add(t, zeros, 16);
	assert_int_equal(serve_whole(t), -EPROTO);
	world_file(w, "file");
	assert_int_equal(
		talk_open(t, FUSE_OPEN, nodeid_of(w, "file"), O_RDWR, &write.fh), 0);
	talk_begin(t, FUSE_WRITE, nodeid_of(w, "file"));
	talk_add(t, &write, sizeof(write));
	assert_int_equal(t->len, TREE_WRITE_HEADER);
	talk_add(t, "abcd", 4);
	assert_int_equal(serve_whole(t), -EPROTO);
	/* More than was agreed on. */
	write.size = FILES_DATA_BYTES + 1;
	talk_begin(t, FUSE_WRITE, nodeid_of(w, "file"));
	talk_add(t, &write, sizeof(write));
	t->len += write.size;
	assert_int_equal(serve_whole(t), -EPROTO);
}

/* The data of a write lies elsewhere, that of nothing else does. */
static void test_payload(void **state)
{
	struct world *w = *state;
	struct talk *t = w->talk;
	struct fuse_write_in write = {.size = 5, .offset = 2};
	struct fuse_read_in read = {.size = 100};
	uint64_t nodeid;

	world_file(w, "file");
	nodeid = nodeid_of(w, "file");
	assert_int_equal(talk_open(t, FUSE_OPEN, nodeid, O_RDWR, &write.fh), 0);
	talk_begin(t, FUSE_WRITE, nodeid);
	talk_add(t, &write, sizeof(write));
	t->payload = (const uint8_t *)"hello";
	t->payload_len = 5;
	assert_int_equal(talk_send(t), 0);
	t->payload_len = 4;
	assert_int_equal(serve_whole(t), -EPROTO);
	read.fh = write.fh;
	talk_begin(t, FUSE_READ, nodeid);
	talk_add(t, &read, sizeof(read));
	assert_int_equal(talk_send(t), 0);
	assert_int_equal(t->out_len, 7);
	assert_memory_equal(t->out, "tehello", 7);
	talk_begin(t, FUSE_STATFS, FUSE_ROOT_ID);
	t->payload = (const uint8_t *)"hello";
	t->payload_len = 5;
	assert_int_equal(serve_whole(t), -EPROTO);
}

/* ---- FUSE_INIT ---- */

static void test_init(void **state)
{
	struct world *w = *state;
	struct tree_options own = {
		.cache = TREE_CACHE_OWN, .inodes_max = 64, .handles_max = 16};
	struct tree *tree = tree_at(w->folder, &own);
	struct talk *t = talk_new(tree);
	struct fuse_init_in in = {.major = 8, .minor = 0};
	struct fuse_init_out out;

	talk_begin(t, FUSE_STATFS, FUSE_ROOT_ID);
	assert_int_equal(serve_whole(t), -EPROTO);
	/* A later major version is told ours, and comes again. */
	talk_begin(t, FUSE_INIT, 0);
	talk_add(t, &in, sizeof(in));
	assert_int_equal(talk_send(t), 0);
	talk_get(t, &out);
	assert_int_equal(out.major, 7);
	in = (struct fuse_init_in){.major = 7, .minor = 30};
	talk_begin(t, FUSE_INIT, 0);
	talk_add(t, &in, sizeof(in));
	assert_int_equal(talk_send(t), -EPROTO);
	assert_int_equal(talk_init(t, PEER_FLAGS, &out), 0);
	assert_int_equal(out.minor, FUSE_OUR_MINOR);
	assert_int_equal(out.max_write, FILES_DATA_BYTES);
	assert_int_equal(out.max_pages, FILES_DATA_BYTES / 4096);
	assert_false(out.flags & FUSE_WRITEBACK_CACHE);
	assert_false(out.flags & FUSE_AUTO_INVAL_DATA);
	assert_false(out.flags & (FUSE_EXPLICIT_INVAL_DATA | FUSE_NO_OPENDIR_SUPPORT |
					 FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV));
	assert_int_equal(out.flags2, 0);
	talk_begin(t, FUSE_INIT, 0);
	talk_add(t, &in, sizeof(in));
	assert_int_equal(serve_whole(t), -EPROTO);
	/* The guest has unmounted, and mounts again: an older one now. */
	tree_reset(tree);
	assert_int_equal(talk_init(t, FUSE_ASYNC_READ, &out), 0);
	assert_int_equal(out.flags, FUSE_ASYNC_READ);
	talk_free(t);
	tree_free(tree);
}

/* Without FUSE_SETXATTR_EXT the request is shorter. */
static void test_setxattr_short(void **state)
{
	struct world *w = *state;
	struct tree *tree = tree_at(w->folder, &world_shared);
	struct talk *t = talk_new(tree);
	struct fuse_setxattr_in set = {.size = 1};
	struct fuse_init_out out;

	assert_int_equal(talk_init(t, PEER_FLAGS & ~FUSE_SETXATTR_EXT, &out), 0);
	assert_true(out.flags & FUSE_AUTO_INVAL_DATA);
	assert_false(out.flags & (FUSE_WRITEBACK_CACHE | FUSE_CACHE_SYMLINKS));
	talk_begin(t, FUSE_SETXATTR, FUSE_ROOT_ID);
	talk_add(t, &set, FUSE_COMPAT_SETXATTR_IN_SIZE);
	talk_text(t, "trusted.a");
	talk_add(t, "1", 1);
	assert_int_equal(talk_send(t), 0);
	talk_free(t);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_too_short_too_long),
		world_test(test_length_lies),
		world_test(test_unknown),
		world_test(test_handle_of_another),
		world_test(test_names),
		world_test(test_sizes),
		world_test(test_payload),
		world_test(test_init),
		world_test(test_setxattr_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
