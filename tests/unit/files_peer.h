/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's kernel as far as tests need one:
 * makes FUSE's messages and gives them to a tree. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/lib/test.h"

#include "base/util.h"
#include "files/fuse.h"
#include "files/tree.h"
#include "files/wire.h"

/* What Linux 6.12 offers, but for what is behind flags2. */
#define PEER_FLAGS 0x73fffffbu

/* A message as it grows, and its answer. */
struct talk {
	struct tree *tree;
	uint8_t *message;
	size_t len, payload_len;
	const uint8_t *payload;
	void (*waits)(void *user);
	void *user;
	uint8_t short_answer[4096], *long_answer;
	/* The answer. */
	const uint8_t *out;
	size_t out_len;
	bool at_once; /* the last one was served so */
};

static inline struct talk *talk_new(struct tree *tree)
{
	struct talk *t = xnew0(struct talk);

	t->tree = tree;
	t->message = xzalloc(FILES_SLOT_BYTES + 4096);
	return t;
}

static inline void talk_free(struct talk *t)
{
	free(t->message);
	free(t->long_answer);
	free(t);
}

static inline uint64_t talk_begin(struct talk *t, uint32_t opcode, uint64_t nodeid)
{
	static uint64_t unique;
	struct fuse_in_header header = {.opcode = opcode,
		.unique = __atomic_add_fetch(&unique, 2, __ATOMIC_RELAXED),
		.nodeid = nodeid,
		.pid = 1};

	memcpy(t->message, &header, sizeof(header));
	t->len = sizeof(header);
	t->payload = NULL;
	t->payload_len = 0;
	return header.unique;
}

static inline void talk_add(struct talk *t, const void *data, size_t len)
{
	if (len > 0)
		memcpy(t->message + t->len, data, len);
	t->len += len;
}

static inline void talk_text(struct talk *t, const char *text)
{
	talk_add(t, text, strlen(text) + 1);
}

static inline uint8_t *talk_grow(void *user, size_t size)
{
	struct talk *t = user;

	assert_null(t->long_answer);
	t->long_answer = xmalloc(size);
	return t->long_answer;
}

static inline void talk_waits(void *user)
{
	struct talk *t = user;

	if (t->waits)
		t->waits(t->user);
}

/* The message served as it is, in a block of just its size, as the channel does it: at
 * once, or else by tree_serve(); its result. */
static inline int talk_serve(struct talk *t)
{
	struct tree_answer answer = {.data = t->short_answer,
		.size = sizeof(t->short_answer),
		.grow = talk_grow,
		.waits = talk_waits,
		.user = t};
	_cleanup_free_ uint8_t *exact = xmalloc(t->len);
	struct tree_request request = {.message = exact,
		.len = t->len,
		.payload = t->payload,
		.payload_len = t->payload_len};
	int r;

	free(t->long_answer);
	t->long_answer = NULL;
	memcpy(exact, t->message, t->len);
	r = t->payload ? 0 : tree_serve_at_once(t->tree, &request, &answer);
	t->at_once = r > 0;
	r = r > 0 ? 0 : tree_serve(t->tree, &request, &answer);
	t->out = answer.data;
	t->out_len = answer.len;
	return r;
}

static inline void talk_set_len(struct talk *t)
{
	uint32_t len = t->len + t->payload_len;

	memcpy(t->message, &len, sizeof(len));
}

/* Sends it; the answer's error, and what follows the answer's header in out. */
static inline int talk_send(struct talk *t)
{
	struct fuse_out_header header;

	talk_set_len(t);
	assert_int_equal(talk_serve(t), 0);
	assert_true(t->out_len >= sizeof(header));
	memcpy(&header, t->out, sizeof(header));
	assert_int_equal(header.len, t->out_len);
	assert_memory_equal(&header.unique, t->message + 8, 8);
	t->out += sizeof(header);
	t->out_len -= sizeof(header);
	if (header.error < 0)
		assert_int_equal(t->out_len, 0);
	return header.error;
}

/* Sends one that has no answer. */
static inline void talk_tell(struct talk *t)
{
	talk_set_len(t);
	assert_int_equal(talk_serve(t), 0);
	assert_int_equal(t->out_len, 0);
}

#define talk_get(t, value)                                                               \
	do {                                                                             \
		assert_int_equal((t)->out_len, sizeof(*(value)));                        \
		memcpy((value), (t)->out, sizeof(*(value)));                             \
	} while (0)

static inline int talk_init(struct talk *t, uint32_t flags, struct fuse_init_out *ret)
{
	struct fuse_init_in in = {
		.major = 7, .minor = 40, .max_readahead = 1 << 20, .flags = flags};
	int r;

	talk_begin(t, FUSE_INIT, 0);
	talk_add(t, &in, sizeof(in));
	r = talk_send(t);
	if (r == 0)
		talk_get(t, ret);
	return r;
}

static inline int talk_look_up(
	struct talk *t, uint64_t parent, const char *name, struct fuse_entry_out *ret)
{
	int r;

	talk_begin(t, FUSE_LOOKUP, parent);
	talk_text(t, name);
	r = talk_send(t);
	if (r == 0)
		talk_get(t, ret);
	return r;
}

static inline void talk_forget(struct talk *t, uint64_t nodeid, uint64_t lookups)
{
	struct fuse_forget_in in = {.nlookup = lookups};

	talk_begin(t, FUSE_FORGET, nodeid);
	talk_add(t, &in, sizeof(in));
	talk_tell(t);
}

static inline int talk_getattr(struct talk *t, uint64_t nodeid, struct fuse_attr_out *ret)
{
	struct fuse_getattr_in in = {0};
	int r;

	talk_begin(t, FUSE_GETATTR, nodeid);
	talk_add(t, &in, sizeof(in));
	r = talk_send(t);
	if (r == 0)
		talk_get(t, ret);
	return r;
}

/* opcode: FUSE_OPEN or FUSE_OPENDIR */
static inline int talk_open(struct talk *t, uint32_t opcode, uint64_t nodeid,
	uint32_t flags, uint64_t *ret_fh)
{
	struct fuse_open_in in = {.flags = flags};
	struct fuse_open_out out;
	int r;

	talk_begin(t, opcode, nodeid);
	talk_add(t, &in, sizeof(in));
	r = talk_send(t);
	if (r < 0)
		return r;
	talk_get(t, &out);
	*ret_fh = out.fh;
	return 0;
}

static inline int talk_release(
	struct talk *t, uint32_t opcode, uint64_t nodeid, uint64_t fh)
{
	struct fuse_release_in in = {.fh = fh};

	talk_begin(t, opcode, nodeid);
	talk_add(t, &in, sizeof(in));
	return talk_send(t);
}

static inline int talk_lock(
	struct talk *t, uint32_t opcode, uint64_t nodeid, struct fuse_lk_in in)
{
	talk_begin(t, opcode, nodeid);
	talk_add(t, &in, sizeof(in));
	return talk_send(t);
}

/* ---- a folder and its tree ---- */

struct world {
	char *folder;
	struct tree *tree;
	struct talk *talk;
};

static inline struct tree *tree_at(const char *path, const struct tree_options *options)
{
	int root = open(path, O_PATH | O_CLOEXEC);
	struct err err = ERR_INIT;
	struct tree *tree;

	assert_true(root >= 0);
	if (tree_new(root, options, &tree, &err) < 0)
		fail_msg("%s", err.text);
	close(root);
	return tree;
}

static const struct tree_options world_shared = {
	.cache = TREE_CACHE_SHARED, .inodes_max = 64, .handles_max = 16};

/* Started already. */
static inline struct world *world_new(const struct tree_options *options)
{
	struct world *w = xnew0(struct world);
	struct fuse_init_out init;

	w->folder = test_folder_new();
	w->tree = tree_at(w->folder, options);
	w->talk = talk_new(w->tree);
	assert_int_equal(talk_init(w->talk, PEER_FLAGS, &init), 0);
	return w;
}

static inline void world_free(struct world *w)
{
	talk_free(w->talk);
	tree_free(w->tree);
	test_folder_free(w->folder);
	free(w);
}

static inline int world_setup(void **state)
{
	*state = world_new(*state ? *state : &world_shared);
	return 0;
}

static inline int world_teardown(void **state)
{
	world_free(*state);
	return 0;
}

static inline void world_file(struct world *w, const char *name)
{
	free(test_file(w->folder, name, "text"));
}

static inline uint64_t nodeid_of(struct world *w, const char *name)
{
	struct fuse_entry_out entry;

	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, name, &entry), 0);
	return entry.nodeid;
}

#define world_test(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
