/* SPDX-License-Identifier: Apache-2.0 */
/* What a tree holds: inodes counted, bounded and never mixed up, handles,
 * and nothing outside. */
#include "tests/unit/files_peer.h"

#include <sched.h>
#include <sys/mount.h>

/* In a mount namespace of its own. */
static bool may_mount;

static void test_lookups_are_counted(void **state)
{
	struct world *w = *state;
	struct fuse_attr_out attr;
	struct fuse_entry_out entry;
	uint64_t first;

	world_file(w, "file");
	first = nodeid_of(w, "file");
	assert_int_equal(nodeid_of(w, "file"), first);
	talk_forget(w->talk, first, 1);
	assert_int_equal(talk_getattr(w->talk, first, &attr), 0);
	assert_int_equal(attr.attr_valid, 0);
	assert_int_equal(attr.attr.size, 4);
	talk_forget(w->talk, first, 1);
	assert_int_equal(talk_getattr(w->talk, first, &attr), -ESTALE);
	/* Its place is used again, its number is not. */
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "file", &entry), 0);
	assert_int_not_equal(entry.nodeid, first);
	assert_int_equal((uint32_t)entry.nodeid, (uint32_t)first);
	assert_int_equal(talk_getattr(w->talk, first, &attr), -ESTALE);
	/* More than there are, of one that there is not, of the root: nothing happens. */
	talk_forget(w->talk, entry.nodeid, UINT64_MAX);
	assert_int_equal(talk_getattr(w->talk, entry.nodeid, &attr), -ESTALE);
	talk_forget(w->talk, 12345, 1);
	talk_forget(w->talk, FUSE_ROOT_ID, UINT64_MAX);
	assert_int_equal(talk_getattr(w->talk, FUSE_ROOT_ID, &attr), 0);
}

static void test_batch_forget(void **state)
{
	struct world *w = *state;
	struct fuse_batch_forget_in in = {.count = 2};
	struct fuse_forget_one ones[2];
	struct fuse_attr_out attr;

	world_file(w, "a");
	world_file(w, "b");
	ones[0] = (struct fuse_forget_one){nodeid_of(w, "a"), 1};
	ones[1] = (struct fuse_forget_one){nodeid_of(w, "b"), 1};
	talk_begin(w->talk, FUSE_BATCH_FORGET, 0);
	talk_add(w->talk, &in, sizeof(in));
	talk_add(w->talk, ones, sizeof(ones));
	talk_tell(w->talk);
	for (int i = 0; i < 2; i++)
		assert_int_equal(talk_getattr(w->talk, ones[i].nodeid, &attr), -ESTALE);
}

/* A name that is another file's now has another nodeid, though the host may use the
 * number of the first inode again: that is still held. */
static void test_replaced(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *path = xasprintf("%s/file", w->folder);
	struct fuse_attr_out attr;
	uint64_t first;

	world_file(w, "file");
	first = nodeid_of(w, "file");
	assert_int_equal(unlink(path), 0);
	world_file(w, "file");
	assert_int_not_equal(nodeid_of(w, "file"), first);
	assert_int_equal(talk_getattr(w->talk, first, &attr), 0);
	assert_int_equal(attr.attr.nlink, 0);
}

/* An open file stays, though a kernel has forgotten its inode. */
static void test_forgotten_but_open(void **state)
{
	struct world *w = *state;
	struct fuse_attr_out attr;
	uint64_t nodeid, fh = 0;

	world_file(w, "file");
	nodeid = nodeid_of(w, "file");
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDONLY, &fh), 0);
	talk_forget(w->talk, nodeid, 1);
	assert_int_equal(talk_getattr(w->talk, nodeid, &attr), 0);
	assert_int_equal(talk_release(w->talk, FUSE_RELEASE, nodeid, fh), 0);
	assert_int_equal(talk_getattr(w->talk, nodeid, &attr), -ESTALE);
	assert_int_equal(talk_release(w->talk, FUSE_RELEASE, nodeid, fh), -ESTALE);
}

/* ---- bounds ---- */

static void count_crowded(void *user)
{
	++*(unsigned int *)user;
}

#define BOUND 16

static void names_number(struct world *w, int i, char name[16])
{
	(void)w;
	snprintf(name, 16, "f%d", i);
}

/* How many entries of a listing came with an inode. */
static unsigned int list_plus_entered(struct world *w, uint64_t fh)
{
	struct fuse_read_in in = {.fh = fh, .size = 16384};
	unsigned int n = 0;

	talk_begin(w->talk, FUSE_READDIRPLUS, FUSE_ROOT_ID);
	talk_add(w->talk, &in, sizeof(in));
	assert_int_equal(talk_send(w->talk), 0);
	assert_true(w->talk->out_len > 0);
	for (size_t i = 0; i < w->talk->out_len;) {
		struct fuse_direntplus *plus = (void *)(w->talk->out + i);

		n += plus->entry_out.nodeid != 0;
		i += FUSE_DIRENTPLUS_SIZE(plus);
	}
	return n;
}

/* A wall's proof: docs/security.md. */
static void test_inodes_bound(void **state)
{
	unsigned int crowded = 0;
	struct tree_options options = {.inodes_max = BOUND,
		.handles_max = 4,
		.crowded = count_crowded,
		.user = &crowded};
	struct world *w = world_new(&options);
	struct fuse_entry_out entry;
	uint64_t nodeids[BOUND], fh = 0;
	char name[16];

	(void)state;
	for (int i = 0; i < BOUND; i++) {
		names_number(w, i, name);
		world_file(w, name);
	}
	/* The root is one of them. */
	for (int i = 0; i < BOUND - 1; i++) {
		names_number(w, i, name);
		nodeids[i] = nodeid_of(w, name);
		assert_int_equal(crowded, i + 2 > BOUND / 4 * 3);
	}
	names_number(w, BOUND - 1, name);
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, name, &entry), -ENFILE);
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "f0", &entry), 0);
	talk_forget(w->talk, nodeids[0], 2);
	/* Not below half of it: nothing new. */
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, name, &entry), 0);
	assert_int_equal(crowded, 1);
	/* A listing enters none then that nobody has asked for. */
	assert_int_equal(
		talk_open(w->talk, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &fh), 0);
	assert_int_equal(list_plus_entered(w, fh), 0);
	for (int i = 1; i < BOUND - 1; i++)
		talk_forget(w->talk, nodeids[i], 1);
	for (int i = 1; i < BOUND - 1; i++) {
		names_number(w, i, name);
		nodeid_of(w, name);
	}
	assert_int_equal(crowded, 2);
	world_free(w);
}

static int create(struct world *w, const char *name, uint32_t flags, uint64_t *ret_fh)
{
	struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = S_IFREG | 0644};
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	int r;

	talk_begin(w->talk, FUSE_CREATE, FUSE_ROOT_ID);
	talk_add(w->talk, &in, sizeof(in));
	talk_text(w->talk, name);
	r = talk_send(w->talk);
	if (r < 0)
		return r;
	talk_get(w->talk, &out);
	*ret_fh = out.open.fh;
	return 0;
}

/* Files, folders and owners of locks together. What is refused was not made. */
/* A wall's proof: docs/security.md. */
static void test_handles_bound(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *path = xasprintf("%s/new", w->folder);
	uint64_t fhs[16], fh, nodeid;
	struct fuse_lk_in lk = {.owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}};

	world_file(w, "file");
	nodeid = nodeid_of(w, "file");
	for (int i = 0; i < 16; i++)
		assert_int_equal(
			talk_open(w->talk, FUSE_OPEN, nodeid, O_RDWR, &fhs[i]), 0);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDWR, &fh), -ENFILE);
	assert_int_equal(
		talk_open(w->talk, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &fh), -ENFILE);
	assert_int_equal(create(w, "new", O_RDWR, &fh), -ENFILE);
	assert_int_equal(access(path, F_OK), -1);
	lk.fh = fhs[0];
	assert_int_equal(talk_lock(w->talk, FUSE_SETLK, nodeid, lk), -ENOLCK);
	assert_int_equal(talk_release(w->talk, FUSE_RELEASE, nodeid, fhs[15]), 0);
	assert_int_equal(talk_lock(w->talk, FUSE_SETLK, nodeid, lk), 0);
	lk.lk.type = F_UNLCK;
	assert_int_equal(talk_lock(w->talk, FUSE_SETLK, nodeid, lk), 0);
	assert_int_equal(create(w, "new", O_RDWR, &fh), 0);
}

/* ---- made ---- */

static void test_create_what_is_there(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *fifo = xasprintf("%s/fifo", w->folder);
	_cleanup_free_ char *soft = xasprintf("%s/soft", w->folder);
	_cleanup_free_ char *file = xasprintf("%s/file", w->folder);
	struct stat st;
	uint64_t fh;

	world_file(w, "file");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(symlink("file", soft), 0);
	assert_int_equal(create(w, "file", O_RDWR | O_EXCL, &fh), -EEXIST);
	assert_int_equal(create(w, "file", O_RDWR, &fh), 0);
	/* Neither opened nor followed: the guest's kernel looks again. */
	assert_int_equal(create(w, "fifo", O_RDWR, &fh), -ESTALE);
	assert_int_equal(create(w, "soft", O_RDWR, &fh), -ESTALE);
	assert_int_equal(create(w, "file", O_RDWR | O_TRUNC, &fh), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, 0);
}

/* A wall's proof: docs/security.md. */
static void test_open_only_files(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *fifo = xasprintf("%s/fifo", w->folder);
	_cleanup_free_ char *soft = xasprintf("%s/soft", w->folder);
	uint64_t fh;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(symlink("/etc/passwd", soft), 0);
	assert_int_equal(
		talk_open(w->talk, FUSE_OPEN, nodeid_of(w, "fifo"), O_RDONLY, &fh),
		-ENXIO);
	assert_int_equal(
		talk_open(w->talk, FUSE_OPEN, nodeid_of(w, "soft"), O_RDONLY, &fh),
		-ELOOP);
	assert_int_equal(
		talk_open(w->talk, FUSE_OPEN, FUSE_ROOT_ID, O_RDONLY, &fh), -EISDIR);
	assert_int_equal(
		talk_open(w->talk, FUSE_OPENDIR, nodeid_of(w, "fifo"), O_RDONLY, &fh),
		-ENOTDIR);
}

static void test_caller_is_none(void **state)
{
	struct world *w = *state;
	struct fuse_mkdir_in in = {.mode = 0755};
	uint32_t nobody = UINT32_MAX;

	talk_begin(w->talk, FUSE_MKDIR, FUSE_ROOT_ID);
	memcpy(w->talk->message + offsetof(struct fuse_in_header, uid), &nobody, 4);
	talk_add(w->talk, &in, sizeof(in));
	talk_text(w->talk, "folder");
	assert_int_equal(talk_send(w->talk), -EPERM);
	talk_begin(w->talk, FUSE_MKDIR, FUSE_ROOT_ID);
	talk_add(w->talk, &in, sizeof(in));
	talk_text(w->talk, "folder");
	assert_int_equal(talk_send(w->talk), 0);
}

static void test_readonly(void **state)
{
	struct tree_options options = {.cache = TREE_CACHE_OWN,
		.readonly = true,
		.inodes_max = 64,
		.handles_max = 16};
	struct world *w = world_new(&options);
	struct fuse_setattr_in set = {.valid = FATTR_MODE, .mode = 0777};
	struct fuse_mkdir_in dir = {.mode = 0755};
	uint64_t nodeid, fh;

	(void)state;
	world_file(w, "file");
	nodeid = nodeid_of(w, "file");
	assert_int_equal(create(w, "new", O_RDWR, &fh), -EROFS);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_WRONLY, &fh), -EROFS);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_TRUNC, &fh), -EROFS);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDONLY, &fh), 0);
	talk_begin(w->talk, FUSE_SETATTR, nodeid);
	talk_add(w->talk, &set, sizeof(set));
	assert_int_equal(talk_send(w->talk), -EROFS);
	talk_begin(w->talk, FUSE_MKDIR, FUSE_ROOT_ID);
	talk_add(w->talk, &dir, sizeof(dir));
	talk_text(w->talk, "dir");
	assert_int_equal(talk_send(w->talk), -EROFS);
	talk_begin(w->talk, FUSE_UNLINK, FUSE_ROOT_ID);
	talk_text(w->talk, "file");
	assert_int_equal(talk_send(w->talk), -EROFS);
	talk_begin(w->talk, FUSE_REMOVEXATTR, nodeid);
	talk_text(w->talk, "user.a");
	assert_int_equal(talk_send(w->talk), -EROFS);
	world_free(w);
}

/* Not while a file is open for writing; then nothing changes. */
static void test_freeze(void **state)
{
	struct world *w = *state;
	uint64_t nodeid, writer = 0, reader = 0, fh;

	world_file(w, "file");
	nodeid = nodeid_of(w, "file");
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDONLY, &reader), 0);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDWR, &writer), 0);
	assert_int_equal(tree_freeze(w->tree, now_ms()), -EBUSY);
	assert_int_equal(create(w, "after all", O_RDWR, &fh), 0);
	assert_int_equal(tree_freeze(w->tree, now_ms()), -EBUSY);
	assert_int_equal(talk_release(w->talk, FUSE_RELEASE, nodeid, writer), 0);
	assert_int_equal(tree_freeze(w->tree, now_ms()), -EBUSY);
	assert_int_equal(
		talk_release(w->talk, FUSE_RELEASE, nodeid_of(w, "after all"), fh), 0);
	assert_int_equal(tree_freeze(w->tree, now_ms()), 0);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDWR, &fh), -EROFS);
	assert_int_equal(create(w, "new", O_RDWR, &fh), -EROFS);
	assert_int_equal(talk_release(w->talk, FUSE_RELEASE, nodeid, reader), 0);
	tree_thaw(w->tree);
	assert_int_equal(create(w, "new", O_RDWR, &fh), 0);
}

static void test_negative_entries(void **state)
{
	struct tree_options options = {
		.cache = TREE_CACHE_OWN, .inodes_max = 64, .handles_max = 16};
	struct world *own = world_new(&options), *w = *state;
	struct fuse_entry_out entry;

	assert_int_equal(talk_look_up(own->talk, FUSE_ROOT_ID, "none", &entry), 0);
	assert_int_equal(entry.nodeid, 0);
	assert_int_equal(entry.entry_valid, 24 * 60 * 60);
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "none", &entry), -ENOENT);
	world_file(w, "file");
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "file", &entry), 0);
	assert_int_equal(entry.entry_valid, 0);
	world_free(own);
}

/* ---- listing ---- */

static unsigned int list_plus(struct world *w, uint64_t fh, uint32_t size, uint64_t *at)
{
	struct fuse_read_in in = {.fh = fh, .size = size, .offset = *at};
	unsigned int n = 0;
	size_t i = 0;

	talk_begin(w->talk, FUSE_READDIRPLUS, FUSE_ROOT_ID);
	talk_add(w->talk, &in, sizeof(in));
	assert_int_equal(talk_send(w->talk), 0);
	assert_true(w->talk->out_len <= size);
	while (i < w->talk->out_len) {
		const struct fuse_direntplus *entry = (const void *)(w->talk->out + i);

		*at = entry->dirent.off;
		if (entry->dirent.name[0] != '.')
			n++;
		assert_int_equal(
			entry->dirent.name[0] == '.', entry->entry_out.nodeid == 0);
		i += FUSE_DIRENTPLUS_SIZE(entry);
	}
	assert_int_equal(i, w->talk->out_len);
	return n;
}

/* Each that was in an answer counts, and none that did not fit: once all are forgotten as
 * often as they were seen, none is left. */
static void test_listing_counts(void **state)
{
	struct tree_options options = {.inodes_max = 40, .handles_max = 4};
	struct world *w = world_new(&options);
	uint64_t fh = 0, at = 0;
	unsigned int n, all = 0;
	struct fuse_entry_out entry;
	char name[64];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "a-name-that-is-not-so-short-%d", i);
		world_file(w, name);
	}
	assert_int_equal(
		talk_open(w->talk, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &fh), 0);
	do {
		n = list_plus(w, fh, 700, &at);
		all += n;
	} while (w->talk->out_len > 0);
	assert_int_equal(all, 20);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "a-name-that-is-not-so-short-%d", i);
		assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, name, &entry), 0);
		talk_forget(w->talk, entry.nodeid, 1);
		talk_forget(w->talk, entry.nodeid, 1);
		assert_int_equal(
			talk_look_up(w->talk, entry.nodeid, "x", &entry), -ESTALE);
	}
	/* From the start again, in one answer; with no room for one more byte, none. */
	at = 0;
	assert_int_equal(list_plus(w, fh, 16384, &at), 20);
	at = 0;
	{
		struct fuse_read_in in = {.fh = fh, .size = 100};

		talk_begin(w->talk, FUSE_READDIRPLUS, FUSE_ROOT_ID);
		talk_add(w->talk, &in, sizeof(in));
		assert_int_equal(talk_send(w->talk), -EINVAL);
	}
	world_free(w);
}

/* ---- nothing outside ---- */

static int look_up_dots(struct world *w, uint64_t nodeid, const char *dots, uint64_t *ret)
{
	struct fuse_entry_out entry;
	int r = talk_look_up(w->talk, nodeid, dots, &entry);

	if (r == 0)
		*ret = entry.nodeid;
	return r;
}

/* A folder that the host moves out of the tree is still held, but leads nowhere else. */
/* A wall's proof: docs/security.md. */
static void test_moved_out(void **state)
{
	struct world *w = *state;
	char *elsewhere = test_folder_new();
	_cleanup_free_ char *outer = xasprintf("%s/outer", w->folder);
	_cleanup_free_ char *inner = xasprintf("%s/inner", outer);
	_cleanup_free_ char *moved = xasprintf("%s/inner", elsewhere);
	struct fuse_entry_out entry;
	uint64_t parent, nodeid, found;

	assert_int_equal(mkdir(outer, 0755), 0);
	assert_int_equal(mkdir(inner, 0755), 0);
	parent = nodeid_of(w, "outer");
	assert_int_equal(talk_look_up(w->talk, parent, "inner", &entry), 0);
	nodeid = entry.nodeid;
	assert_int_equal(look_up_dots(w, nodeid, "..", &found), 0);
	assert_int_equal(found, parent);
	assert_int_equal(look_up_dots(w, nodeid, ".", &found), 0);
	assert_int_equal(found, nodeid);
	assert_int_equal(rename(inner, moved), 0);
	assert_int_equal(look_up_dots(w, nodeid, "..", &found), -ESTALE);
	assert_int_equal(look_up_dots(w, nodeid, ".", &found), 0);
	assert_int_equal(look_up_dots(w, FUSE_ROOT_ID, "..", &found), -ESTALE);
	test_folder_free(elsewhere);
}

static void test_root_is_a_file(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *path = test_file(w->folder, "file", "0123");
	struct tree *tree = tree_at(path, &world_shared);
	struct talk *t = talk_new(tree);
	struct fuse_read_in in = {.size = 10};
	struct fuse_init_out init;
	struct fuse_attr_out attr;
	struct fuse_entry_out entry;

	assert_int_equal(talk_init(t, PEER_FLAGS, &init), 0);
	assert_int_equal(talk_getattr(t, FUSE_ROOT_ID, &attr), 0);
	assert_true(S_ISREG(attr.attr.mode));
	assert_int_equal(talk_look_up(t, FUSE_ROOT_ID, "x", &entry), -ENOTDIR);
	assert_int_equal(talk_open(t, FUSE_OPEN, FUSE_ROOT_ID, O_RDONLY, &in.fh), 0);
	talk_begin(t, FUSE_READ, FUSE_ROOT_ID);
	talk_add(t, &in, sizeof(in));
	assert_int_equal(talk_send(t), 0);
	assert_memory_equal(t->out, "0123", 4);
	talk_free(t);
	tree_free(tree);
}

static void test_root_is_nothing_to_serve(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *path = xasprintf("%s/soft", w->folder);
	struct err err = ERR_INIT;
	struct tree *tree;
	int fd;

	assert_int_equal(symlink("file", path), 0);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	assert_error(tree_new(fd, &world_shared, &tree, &err), -EINVAL,
		"the root of a tree is nothing that is mounted: 120777");
	close(fd);
	fd = open(w->folder, O_RDONLY | O_CLOEXEC);
	assert_error(tree_new(fd, &world_shared, &tree, &err), -EINVAL,
		"the root of a tree is no O_PATH descriptor");
	close(fd);
}

/* Mounts within: one of another file system has numbers that meet none of the root's, and
 * by a read-only one a file is not written to that another mount has, too. */
static void test_mounts_within(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *mnt = xasprintf("%s/mnt", w->folder);
	_cleanup_free_ char *ro = xasprintf("%s/ro", w->folder);
	struct fuse_entry_out root, entry, same;
	uint64_t folder, rw_nodeid, fh;

	if (!may_mount)
		skip();
	mkdir(mnt, 0755);
	mkdir(ro, 0755);
	assert_int_equal(mount("inner", mnt, "tmpfs", 0, "size=64k"), 0);
	assert_int_equal(mount(mnt, ro, NULL, MS_BIND, NULL), 0);
	assert_int_equal(
		mount(NULL, ro, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	free(test_file(mnt, "file", "text"));
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, ".", &root), 0);
	folder = nodeid_of(w, "mnt");
	assert_int_equal(talk_look_up(w->talk, folder, "file", &entry), 0);
	rw_nodeid = entry.nodeid;
	assert_true(entry.attr.ino >> 48);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, rw_nodeid, O_RDWR, &fh), 0);
	assert_int_equal(talk_look_up(w->talk, nodeid_of(w, "ro"), "file", &same), 0);
	assert_int_not_equal(same.nodeid, rw_nodeid);
	assert_int_equal(same.attr.ino, entry.attr.ino);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, same.nodeid, O_RDWR, &fh), -EROFS);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, same.nodeid, O_RDONLY, &fh), 0);
	tree_reset(w->tree);
	assert_int_equal(umount(ro), 0);
	assert_int_equal(umount(mnt), 0);
}

/* Nothing is left of what the guest had: the mount of before could be unmounted, and
 * numbers of before are none. */
static void test_reset(void **state)
{
	struct world *w = *state;
	struct fuse_lk_in lk = {.owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}};
	struct fuse_init_out init;
	struct fuse_attr_out attr;
	uint64_t nodeid, fh;
	_cleanup_free_ char *path = xasprintf("%s/file", w->folder);
	int fd;

	world_file(w, "file");
	nodeid = nodeid_of(w, "file");
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDWR, &lk.fh), 0);
	assert_int_equal(talk_lock(w->talk, FUSE_SETLK, nodeid, lk), 0);
	tree_reset(w->tree);
	assert_int_equal(talk_init(w->talk, PEER_FLAGS, &init), 0);
	assert_int_equal(talk_getattr(w->talk, nodeid, &attr), -ESTALE);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK}), 0);
	close(fd);
	nodeid = nodeid_of(w, "file");
	for (int i = 0; i < 16; i++)
		assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDWR, &fh), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_lookups_are_counted),
		world_test(test_batch_forget),
		world_test(test_replaced),
		world_test(test_forgotten_but_open),
		cmocka_unit_test(test_inodes_bound),
		world_test(test_handles_bound),
		world_test(test_create_what_is_there),
		world_test(test_open_only_files),
		world_test(test_caller_is_none),
		cmocka_unit_test(test_readonly),
		world_test(test_freeze),
		world_test(test_negative_entries),
		cmocka_unit_test(test_listing_counts),
		world_test(test_moved_out),
		world_test(test_root_is_a_file),
		world_test(test_root_is_nothing_to_serve),
		world_test(test_mounts_within),
		world_test(test_reset),
	};

	may_mount = unshare(CLONE_NEWNS) == 0 &&
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
