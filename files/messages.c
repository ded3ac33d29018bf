/* SPDX-License-Identifier: Apache-2.0 */
/* The table of FUSE's messages: what shape each has, and who answers it. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "files/call.h"
#include "files/caller.h"
#include "files/wire.h"

/*
 * How it works. A message is a header, a part of fixed size, up to two texts with a NUL
 * behind each, and data: what a row says, and nothing behind it. Whatever else comes is
 * no kernel's message and ends the channel. What a program in the guest can bring about
 * (a name that is too long, a handle that is gone) is an answer.
 */

enum text {
	TEXT_NONE,
	TEXT_NAME,      /* one component */
	TEXT_LOOKUP,    /* the same, or "." or "..", which file handles are resolved by */
	TEXT_ATTRIBUTE, /* an extended attribute's name */
	TEXT_TARGET,    /* of a symbolic link */
	TEXT_ANY,       /* not used: FUSE_TMPFILE has "/" there */
};

enum flag {
	HAS_DATA = 1 << 0,
	HAS_MORE = 1 << 1,   /* the fixed part may be longer than we know */
	FOR_NODE = 1 << 2,   /* header.nodeid is one that we gave out */
	FOR_HANDLE = 1 << 3, /* and in.fh is a handle of it */
	NO_ANSWER = 1 << 4,
	AT_ONCE = 1 << 5, /* can be tried without waiting */
};

#define FOR_OPEN (FOR_NODE | FOR_HANDLE)

struct row {
	uint16_t opcode;
	uint16_t fixed; /* bytes of the fixed part */
	uint8_t texts[2];
	uint8_t flags;
	int (*handler)(struct call *c);
};

#define IN(member) sizeof(((union call_in *)0)->member)
#define TEXT1(a)                                                                         \
	{                                                                                \
		TEXT_##a, TEXT_NONE                                                      \
	}
#define NAMES                                                                            \
	{                                                                                \
		TEXT_NAME, TEXT_NAME                                                     \
	}
#define NOTHING                                                                          \
	{                                                                                \
		TEXT_NONE, TEXT_NONE                                                     \
	}

/* Of fuse_init_in, what kernels before flags2 send. */
#define INIT_FIXED offsetof(struct fuse_init_in, flags2)

static const struct row rows[] = {
	{FUSE_LOOKUP, 0, TEXT1(LOOKUP), FOR_NODE | AT_ONCE, call_lookup},
	{FUSE_FORGET, IN(forget), NOTHING, NO_ANSWER, call_forget},
	{FUSE_GETATTR, IN(getattr), NOTHING, FOR_NODE | AT_ONCE, call_getattr},
	{FUSE_SETATTR, IN(setattr), NOTHING, FOR_NODE, call_setattr},
	{FUSE_READLINK, 0, NOTHING, FOR_NODE, call_readlink},
	{FUSE_SYMLINK, 0, {TEXT_NAME, TEXT_TARGET}, FOR_NODE, call_symlink},
	{FUSE_MKNOD, IN(mknod), TEXT1(NAME), FOR_NODE, call_mknod},
	{FUSE_MKDIR, IN(mkdir), TEXT1(NAME), FOR_NODE, call_mkdir},
	{FUSE_UNLINK, 0, TEXT1(NAME), FOR_NODE, call_unlink},
	{FUSE_RMDIR, 0, TEXT1(NAME), FOR_NODE, call_rmdir},
	{FUSE_RENAME, IN(rename), NAMES, FOR_NODE, call_rename},
	{FUSE_LINK, IN(link), TEXT1(NAME), FOR_NODE, call_link},
	{FUSE_OPEN, IN(open), NOTHING, FOR_NODE, call_open},
	{FUSE_READ, IN(read), NOTHING, FOR_OPEN, call_read},
	{FUSE_WRITE, IN(write), NOTHING, FOR_OPEN | HAS_DATA, call_write},
	{FUSE_STATFS, 0, NOTHING, FOR_NODE, call_statfs},
	{FUSE_RELEASE, IN(release), NOTHING, FOR_OPEN, call_release},
	{FUSE_FSYNC, IN(fsync), NOTHING, FOR_OPEN, call_fsync},
	/* Shorter without FUSE_SETXATTR_EXT: row_fixed(). */
	{FUSE_SETXATTR, IN(setxattr), TEXT1(ATTRIBUTE), FOR_NODE | HAS_DATA,
		call_setxattr},
	{FUSE_GETXATTR, IN(getxattr), TEXT1(ATTRIBUTE), FOR_NODE, call_getxattr},
	{FUSE_LISTXATTR, IN(getxattr), NOTHING, FOR_NODE, call_listxattr},
	{FUSE_REMOVEXATTR, 0, TEXT1(ATTRIBUTE), FOR_NODE, call_removexattr},
	{FUSE_FLUSH, IN(flush), NOTHING, FOR_OPEN, call_flush},
	{FUSE_INIT, INIT_FIXED, NOTHING, HAS_MORE, call_init},
	{FUSE_OPENDIR, IN(open), NOTHING, FOR_NODE, call_opendir},
	{FUSE_READDIR, IN(read), NOTHING, FOR_OPEN, call_readdir},
	{FUSE_RELEASEDIR, IN(release), NOTHING, FOR_OPEN, call_release},
	{FUSE_FSYNCDIR, IN(fsync), NOTHING, FOR_OPEN, call_fsync},
	{FUSE_GETLK, IN(lk), NOTHING, FOR_OPEN, call_getlk},
	{FUSE_SETLK, IN(lk), NOTHING, FOR_OPEN, call_setlk},
	{FUSE_SETLKW, IN(lk), NOTHING, FOR_OPEN, call_setlkw},
	{FUSE_CREATE, IN(create), TEXT1(NAME), FOR_NODE, call_create},
	{FUSE_INTERRUPT, IN(interrupt), NOTHING, NO_ANSWER, call_interrupt},
	{FUSE_DESTROY, 0, NOTHING, 0, call_destroy},
	{FUSE_IOCTL, IN(ioctl), NOTHING, HAS_DATA, call_ioctl},
	{FUSE_BATCH_FORGET, IN(batch_forget), NOTHING, NO_ANSWER | HAS_DATA,
		call_batch_forget},
	{FUSE_FALLOCATE, IN(fallocate), NOTHING, FOR_OPEN, call_fallocate},
	{FUSE_READDIRPLUS, IN(read), NOTHING, FOR_OPEN, call_readdirplus},
	{FUSE_RENAME2, IN(rename2), NAMES, FOR_NODE, call_rename2},
	{FUSE_LSEEK, IN(lseek), NOTHING, FOR_OPEN, call_lseek},
	{FUSE_COPY_FILE_RANGE, IN(copy), NOTHING, FOR_OPEN, call_copy_file_range},
	{FUSE_SYNCFS, sizeof(struct fuse_syncfs_in), NOTHING, FOR_NODE, call_syncfs},
	{FUSE_TMPFILE, IN(create), TEXT1(ANY), FOR_NODE, call_tmpfile},
	{FUSE_STATX, IN(statx), NOTHING, FOR_NODE | AT_ONCE, call_statx},
};

static const struct row *row_find(uint32_t opcode)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].opcode == opcode)
			return &rows[i];
	return NULL;
}

static size_t row_fixed(const struct row *row, const struct tree *tree)
{
	if (row->opcode == FUSE_SETXATTR && !tree->setxattr_ext)
		return FUSE_COMPAT_SETXATTR_IN_SIZE;
	return row->fixed;
}

/* ---- shapes ---- */

/* What is left of a message. */
struct rest {
	const uint8_t *at;
	size_t len;
};

/* 0, or an errno that is an answer: a program may ask for such a name. -EPROTO:
 * no kernel lets it pass. */
static int text_check(enum text kind, const char *text, size_t len)
{
	bool dots = strcmp(text, ".") == 0 || strcmp(text, "..") == 0;

	switch (kind) {
	case TEXT_NONE:
	case TEXT_ANY:
		return 0;
	case TEXT_ATTRIBUTE:
		if (len == 0)
			return -EPROTO;
		return len > XATTR_NAME_MAX ? -ERANGE : 0;
	case TEXT_TARGET:
		if (len == 0)
			return -EPROTO;
		return len >= PATH_MAX ? -ENAMETOOLONG : 0;
	case TEXT_NAME:
		if (dots)
			return -EPROTO;
		break;
	case TEXT_LOOKUP:
		break;
	}
	if (len == 0 || memchr(text, '/', len))
		return -EPROTO;
	/* FUSE_NAME_MAX of the guest's kernel is more. */
	return len > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* The first answer of a text's check goes into *answer. */
static int texts_read(
	const struct row *row, struct rest *rest, struct call *c, int *answer)
{
	for (int i = 0; i < 2 && row->texts[i] != TEXT_NONE; i++) {
		const uint8_t *end = memchr(rest->at, '\0', rest->len);
		size_t len;
		int r;

		if (!end)
			return -EPROTO;
		len = end - rest->at;
		c->names[i] = (const char *)rest->at;
		rest->at = end + 1;
		rest->len -= len + 1;
		r = text_check(row->texts[i], c->names[i], len);
		if (r == -EPROTO)
			return r;
		if (r < 0 && *answer == 0)
			*answer = r;
	}
	return 0;
}

/* How much data a request says it has. */
static uint64_t data_said(const struct row *row, const struct call *c)
{
	switch (row->opcode) {
	case FUSE_WRITE:
		return c->in.write.size;
	case FUSE_SETXATTR:
		return c->in.setxattr.size;
	case FUSE_BATCH_FORGET:
		return (uint64_t)c->in.batch_forget.count *
		       sizeof(struct fuse_forget_one);
	case FUSE_IOCTL:
		return c->in.ioctl.in_size;
	}
	return 0;
}

static int data_read(const struct row *row, const struct tree_request *request,
	struct rest *rest, struct call *c)
{
	if (request->payload) {
		if (row->opcode != FUSE_WRITE || rest->len > 0)
			return -EPROTO;
		*rest = (struct rest){request->payload, request->payload_len};
	}
	if (!(row->flags & (HAS_DATA | HAS_MORE)))
		return rest->len > 0 ? -EPROTO : 0;
	if (row->flags & HAS_DATA && data_said(row, c) != rest->len)
		return -EPROTO;
	if (row->opcode == FUSE_WRITE && rest->len > FILES_DATA_BYTES)
		return -EPROTO;
	c->data = rest->at;
	c->data_len = rest->len;
	return 0;
}

static int header_read(const struct tree_request *request, struct call *c)
{
	size_t whole;

	if (request->len < sizeof(c->header))
		return -EPROTO;
	memcpy(&c->header, request->message, sizeof(c->header));
	if (__builtin_add_overflow(
		    request->len, request->payload ? request->payload_len : 0, &whole))
		return -EPROTO;
	/* Extensions come only to a server that asked for them. */
	if (c->header.len != whole || c->header.total_extlen > 0)
		return -EPROTO;
	if (c->tree->options.keeper && c->header.gid == FILES_OVERLAY_GID) {
		c->by_overlay = true;
		c->header.gid = 0;
	}
	if (c->tree->options.blanks && c->header.gid == FILES_REPLAY_GID) {
		c->by_replay = true;
		c->header.gid = 0;
	}
	return 0;
}

static int message_read(const struct row *row, const struct tree_request *request,
	struct call *c, int *answer)
{
	struct rest rest = {
		request->message + sizeof(c->header), request->len - sizeof(c->header)};
	size_t fixed = row_fixed(row, c->tree);
	int r;

	if (rest.len < fixed)
		return -EPROTO;
	if (row->flags & HAS_MORE)
		fixed = MIN(rest.len, sizeof(c->in));
	memcpy(&c->in, rest.at, fixed);
	rest = (struct rest){rest.at + fixed, rest.len - fixed};
	r = texts_read(row, &rest, c, answer);
	if (r < 0)
		return r;
	return data_read(row, request, &rest, c);
}

/* ---- answers ---- */

uint8_t *call_room(struct call *c, size_t size)
{
	struct tree_answer *answer = c->answer;
	size_t whole = sizeof(struct fuse_out_header) + size;
	uint8_t *data = answer->data;

	if (whole > answer->size) {
		data = answer->grow(answer->user, whole);
		if (!data)
			return NULL;
		answer->data = data;
		answer->size = whole;
	}
	return data + sizeof(struct fuse_out_header);
}

int call_put(struct call *c, const void *data, size_t size)
{
	uint8_t *room = call_room(c, size);

	if (!room)
		return -ENOMEM;
	memcpy(room, data, size);
	c->out_len = size;
	return 0;
}

static void call_answer(struct call *c, int r)
{
	struct fuse_out_header out = {.unique = c->header.unique};

	out.error = r < 0 ? r : 0;
	out.len = sizeof(out) + (r < 0 ? 0 : c->out_len);
	memcpy(c->answer->data, &out, sizeof(out));
	c->answer->len = out.len;
}

/* ---- serving ---- */

static bool tree_started(struct tree *tree)
{
	bool started;

	pthread_mutex_lock(&tree->lock);
	started = tree->started;
	pthread_mutex_unlock(&tree->lock);
	return started;
}

/* There is no room: for an inode, an open file, or by the process' own limit. */
static bool call_may_wait(struct call *c)
{
	bool ends;

	pthread_mutex_lock(&c->tree->lock);
	ends = c->tree->waits.ended;
	pthread_mutex_unlock(&c->tree->lock);
	return !ends && !c->made;
}

/* Where there is no room the guest is asked to forget, and what waits for that is out of
 * the others' way. A handler that fails so has done nothing yet, or says that it has. */
static int call_handle(const struct row *row, struct call *c)
{
	struct room *room = c->tree->room;
	int64_t deadline = DEADLINE_NONE;

	for (;;) {
		uint64_t gives = room_gives(room);
		int r = c->by_replay ? replay_serve(c, row->handler) : row->handler(c);

		if (r != -ENFILE || room->wait_ms == 0 || c->at_once || !call_may_wait(c))
			return r;
		if (deadline == DEADLINE_NONE) {
			deadline = deadline_after_ms(room->wait_ms);
			if (c->answer->waits)
				c->answer->waits(c->answer->user);
		}
		inodes_tell_crowded(c->tree);
		if (!room_wait(room, gives, deadline))
			return r;
	}
}

/* What is mounted within may be anything. */
static bool inode_is_local(const struct tree *tree, const struct inode *inode)
{
	return tree->is_local && inode->key.dev == tree->inodes.root->key.dev;
}

static int call_run(const struct row *row, struct call *c)
{
	int r = caller_thread();

	if (r < 0)
		return r;
	if (row->flags & FOR_NODE) {
		c->inode = inode_use(c->tree, c->header.nodeid);
		if (!c->inode)
			return -ESTALE;
	}
	if (c->at_once && !inode_is_local(c->tree, c->inode))
		return -EAGAIN;
	if (row->flags & FOR_HANDLE) {
		c->handle = handle_use(c->tree, c->in.fh, c->inode);
		if (!c->handle)
			return -EBADF;
	}
	return call_handle(row, c);
}

static int call_serve(
	struct call *c, const struct row *row, const struct tree_request *request)
{
	int wrong = 0, r;

	r = message_read(row, request, c, &wrong);
	if (r < 0)
		return r;
	r = wrong < 0 ? wrong : call_run(row, c);
	call_end_changes(c);
	handle_unuse(c->tree, c->handle);
	inode_unuse(c->tree, c->inode);
	if (c->at_once && (r == -EAGAIN || r == -ENFILE))
		return 0;
	if (!(row->flags & NO_ANSWER))
		call_answer(c, r);
	return 1;
}

int tree_serve(
	struct tree *tree, const struct tree_request *request, struct tree_answer *answer)
{
	struct call c = {.tree = tree, .answer = answer};
	const struct row *row;
	int r;

	answer->len = 0;
	r = header_read(request, &c);
	if (r < 0)
		return r;
	/* The guest's kernel sends nothing before FUSE_INIT
	 * is answered, and that once. */
	if (tree_started(tree) != (c.header.opcode != FUSE_INIT))
		return -EPROTO;
	row = row_find(c.header.opcode);
	if (!row) {
		call_answer(&c, -ENOSYS);
		return 0;
	}
	r = call_serve(&c, row, request);
	return MIN(r, 0);
}

/* A name that is in the host's cache, and what is known of an inode that is held. */
int tree_serve_at_once(
	struct tree *tree, const struct tree_request *request, struct tree_answer *answer)
{
	struct call c = {.tree = tree, .answer = answer, .at_once = true};
	const struct row *row;
	int r;

	answer->len = 0;
	r = header_read(request, &c);
	if (r < 0)
		return r;
	row = row_find(c.header.opcode);
	if (!row || !(row->flags & AT_ONCE) || !tree_started(tree))
		return 0;
	return call_serve(&c, row, request);
}
