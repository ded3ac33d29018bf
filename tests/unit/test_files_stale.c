/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that are an overlay's upper layer: names that files have lost,
 * and what else differs. */
#include "tests/unit/files_peer.h"

#include <sys/xattr.h>

#include "files/fuse.h"

/* Never called: these tests ask for none of overlayfs' own attributes. */
#define A_KEEPER ((struct keeper *)16)

static const struct tree_options upper = {
	.cache = TREE_CACHE_OWN, .inodes_max = 64, .handles_max = 16, .keeper = A_KEEPER};

enum asker { OVERLAY = 0, FIRST = 101, SECOND = 102 };

static void set_asker(struct talk *t, uint32_t pid)
{
	struct fuse_in_header header;

	memcpy(&header, t->message, sizeof(header));
	header.pid = pid == OVERLAY ? 1 : pid;
	header.gid = pid == OVERLAY ? FILES_OVERLAY_GID : 0;
	memcpy(t->message, &header, sizeof(header));
}

static struct fuse_entry_out look(struct world *w, uint32_t pid, const char *name)
{
	struct fuse_entry_out entry;

	talk_begin(w->talk, FUSE_LOOKUP, FUSE_ROOT_ID);
	set_asker(w->talk, pid);
	talk_text(w->talk, name);
	assert_int_equal(talk_send(w->talk), 0);
	talk_get(w->talk, &entry);
	return entry;
}

static void link_to(struct world *w, uint64_t nodeid, const char *name)
{
	struct fuse_link_in in = {.oldnodeid = nodeid};

	talk_begin(w->talk, FUSE_LINK, FUSE_ROOT_ID);
	set_asker(w->talk, OVERLAY);
	talk_add(w->talk, &in, sizeof(in));
	talk_text(w->talk, name);
	assert_int_equal(talk_send(w->talk), 0);
}

static void remove_name(struct world *w, const char *name)
{
	talk_begin(w->talk, FUSE_UNLINK, FUSE_ROOT_ID);
	set_asker(w->talk, OVERLAY);
	talk_text(w->talk, name);
	assert_int_equal(talk_send(w->talk), 0);
}

static void move_name(struct world *w, const char *from, const char *to)
{
	struct fuse_rename_in in = {.newdir = FUSE_ROOT_ID};

	talk_begin(w->talk, FUSE_RENAME, FUSE_ROOT_ID);
	set_asker(w->talk, OVERLAY);
	talk_add(w->talk, &in, sizeof(in));
	talk_text(w->talk, from);
	talk_text(w->talk, to);
	assert_int_equal(talk_send(w->talk), 0);
}

static uint64_t make_name(struct world *w, uint32_t pid, const char *name)
{
	struct fuse_mknod_in in = {.mode = S_IFREG | 0600};
	struct fuse_entry_out entry;

	talk_begin(w->talk, FUSE_MKNOD, FUSE_ROOT_ID);
	set_asker(w->talk, pid);
	talk_add(w->talk, &in, sizeof(in));
	talk_text(w->talk, name);
	assert_int_equal(talk_send(w->talk), 0);
	talk_get(w->talk, &entry);
	return entry.nodeid;
}

/* A file that has lost the name "a" and goes on as another. */
static uint64_t lose_name(struct world *w, const char *other)
{
	uint64_t nodeid = make_name(w, OVERLAY, "a");

	link_to(w, nodeid, other);
	remove_name(w, "a");
	return nodeid;
}

static void test_second_time(void **state)
{
	struct world *w = *state;
	uint64_t lost = lose_name(w, "b");
	struct fuse_entry_out entry = look(w, FIRST, "a");

	assert_int_equal(entry.nodeid, 0);
	assert_int_equal(entry.entry_valid, 0);
	/* Another one's first time is no second one. */
	assert_int_equal(look(w, SECOND, "a").nodeid, 0);
	entry = look(w, SECOND, "a");
	assert_int_equal(entry.nodeid, lost);
	assert_true(entry.entry_valid > 0);
	assert_int_equal(entry.attr.nlink, 1);
	/* Asked for again all the same. */
	assert_int_equal(look(w, FIRST, "a").nodeid, 0);
	assert_int_equal(look(w, FIRST, "a").nodeid, lost);
	/* Overlayfs' own work sees what there is. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(look(w, OVERLAY, "a").nodeid, 0);
	assert_int_equal(look(w, FIRST, "b").nodeid, lost);
}

static void test_made_between(void **state)
{
	struct world *w = *state;
	uint64_t lost = lose_name(w, "b"), made;

	assert_int_equal(look(w, FIRST, "a").nodeid, 0);
	made = make_name(w, FIRST, "a");
	assert_int_not_equal(made, lost);
	/* Who was never answered first, then the file that has the name, and so on. */
	assert_int_equal(look(w, FIRST, "a").nodeid, lost);
	assert_int_equal(look(w, FIRST, "a").nodeid, made);
	assert_int_equal(look(w, FIRST, "a").nodeid, made);
	assert_int_equal(look(w, FIRST, "a").nodeid, lost);
	assert_int_equal(look(w, OVERLAY, "a").nodeid, made);
	/* Made in vain: the next one's first time is one. */
	remove_name(w, "a");
	assert_int_equal(look(w, FIRST, "a").nodeid, 0);
	make_name(w, FIRST, "a");
	remove_name(w, "a");
	assert_int_equal(look(w, FIRST, "a").nodeid, 0);
}

/* As dpkg does it: a link for the way back, then the new file in its place. */
static void test_replaced(void **state)
{
	struct world *w = *state;
	uint64_t old = make_name(w, OVERLAY, "a"), new;

	link_to(w, old, "a.back");
	new = make_name(w, OVERLAY, "a.new");
	move_name(w, "a.new", "a");
	assert_int_equal(look(w, FIRST, "a").nodeid, old);
	assert_int_equal(look(w, SECOND, "a").nodeid, new);
	assert_int_equal(look(w, SECOND, "a").nodeid, old);
	/* The last name is no loss. */
	remove_name(w, "a.back");
	talk_forget(w->talk, old, UINT64_MAX);
	for (int i = 0; i < 3; i++)
		assert_int_equal(look(w, FIRST, "a").nodeid, new);
}

static void test_several(void **state)
{
	static const char *const others[] = {"b", "c", "d"};
	struct world *w = *state;
	bool seen[ARRAY_SIZE(others)] = {false};
	uint64_t lost[ARRAY_SIZE(others)];

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		lost[i] = lose_name(w, others[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		uint64_t nodeid;

		assert_int_equal(look(w, FIRST, "a").nodeid, 0);
		nodeid = look(w, FIRST, "a").nodeid;
		for (size_t k = 0; k < ARRAY_SIZE(others); k++)
			seen[k] = seen[k] || nodeid == lost[k];
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_true(seen[i]);
}

static void test_forgotten(void **state)
{
	struct world *w = *state;
	uint64_t lost = lose_name(w, "b");
	struct fuse_entry_out entry;

	talk_forget(w->talk, lost, UINT64_MAX);
	for (int i = 0; i < 2; i++) {
		entry = look(w, FIRST, "a");
		assert_int_equal(entry.nodeid, 0);
		assert_true(entry.entry_valid > 0);
	}
	/* Nor what had only one name, nor a folder. */
	make_name(w, OVERLAY, "x");
	remove_name(w, "x");
	assert_true(look(w, FIRST, "x").entry_valid > 0);
	/* All at once. */
	lose_name(w, "c");
	lose_name(w, "d");
	tree_reset(w->tree);
}

/* ---- what else is different ---- */

static int set_owner(struct world *w, uint64_t nodeid, struct fuse_setattr_in in)
{
	talk_begin(w->talk, FUSE_SETATTR, nodeid);
	talk_add(w->talk, &in, sizeof(in));
	return talk_send(w->talk);
}

#define CAPABILITY                                                                       \
	"\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0" /* cap_net_raw=ep, version 2 */

static bool has_capability(const char *path)
{
	char value[64];

	return getxattr(path, "security.capability", value, sizeof(value)) ==
	       sizeof(CAPABILITY);
}

/* Copied up with them: size and owner come last. */
static void test_privileges(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *path = xasprintf("%s/a", w->folder);
	uint64_t nodeid = make_name(w, OVERLAY, "a");
	struct stat st;

	if (setxattr(path, "security.capability", CAPABILITY, sizeof(CAPABILITY), 0) < 0)
		skip();
	assert_int_equal(chmod(path, 06755), 0);
	assert_int_equal(set_owner(w, nodeid,
				 (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_GID,
					 .uid = getuid(),
					 .gid = getgid()}),
		0);
	assert_int_equal(
		set_owner(w, nodeid,
			(struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 100}),
		0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 06755);
	assert_int_equal(st.st_size, 100);
	assert_true(has_capability(path));
	/* As it says. */
	assert_int_equal(set_owner(w, nodeid,
				 (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_MODE,
					 .uid = getuid(),
					 .mode = 0755}),
		0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void test_init(void **state)
{
	struct world *w = *state;
	struct fuse_create_in create = {.flags = O_RDWR, .mode = S_IFREG | 0600};
	struct fuse_init_out init;

	tree_reset(w->tree);
	assert_int_equal(talk_init(w->talk, PEER_FLAGS, &init), 0);
	assert_false(init.flags & FUSE_HANDLE_KILLPRIV_V2);
	talk_begin(w->talk, FUSE_TMPFILE, FUSE_ROOT_ID);
	talk_add(w->talk, &create, sizeof(create));
	talk_text(w->talk, "#1");
	assert_int_equal(talk_send(w->talk), -ENOSYS);
	/* Nobody's files have this group. */
	make_name(w, OVERLAY, "a");
	assert_int_equal(look(w, FIRST, "a").attr.gid, getgid());
}

int main(void)
{
#define TEST(name)                                                                       \
	cmocka_unit_test_prestate_setup_teardown(                                        \
		name, world_setup, world_teardown, (void *)(uintptr_t)&upper)
	const struct CMUnitTest tests[] = {
		TEST(test_second_time),
		TEST(test_made_between),
		TEST(test_replaced),
		TEST(test_several),
		TEST(test_forgotten),
		TEST(test_privileges),
		TEST(test_init),
	};

	return cmocka_run_group_tests_name("files/stale", tests, NULL, NULL);
}
