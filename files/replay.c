/* SPDX-License-Identifier: Apache-2.0 */
/* The guest does again what others did: see replay.h. */
#include "files/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fanotify.h>

#include "files/blanks.h"
#include "files/call.h"
#include "files/watch.h"
#include "files/wire.h"

static void name_init(struct replay_name *n)
{
	n->folder = 0;
	n->name[0] = '\0';
	n->fd = n->made_fd = -1;
	n->loses = false;
}

static void name_end(struct replay_name *n)
{
	close_fd(n->fd);
	close_fd(n->made_fd);
	name_init(n);
}

void replay_init(struct replay *replay)
{
	*replay = (struct replay){0};
	pthread_mutex_init(&replay->lock, NULL);
	name_init(&replay->from);
	name_init(&replay->to);
}

/* With the lock. */
static void end_change(struct replay *replay)
{
	name_end(&replay->from);
	name_end(&replay->to);
}

void replay_end(struct replay *replay)
{
	pthread_mutex_lock(&replay->lock);
	end_change(replay);
	replay->elsewhere = 0;
	pthread_mutex_unlock(&replay->lock);
}

void replay_done(struct replay *replay)
{
	replay_end(replay);
	pthread_mutex_destroy(&replay->lock);
}

/* ---- what there is ---- */

static int dup_fd(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* What a name leads to, or has led to. */
struct found {
	int fd;        /* -1: nothing */
	uint64_t node; /* 0: the guest knows none */
	mode_t type;
};

static const struct found nothing = {.fd = -1};

/* Takes fd. What is of another kind is nothing. */
static struct found find_fd(struct tree *tree, int fd, bool wants_folder)
{
	struct found found = {.fd = fd};
	struct inode *inode;
	struct statx st;

	if (fd < 0)
		return nothing;
	if (file_stat(fd, &st) < 0 || S_ISDIR(st.stx_mode) != wants_folder) {
		close(fd);
		return nothing;
	}
	found.type = st.stx_mode & S_IFMT;
	inode = inode_use_known(tree, &st);
	if (inode)
		found.node = inode->nodeid;
	inode_unuse(tree, inode);
	return found;
}

/* What has the name now. */
static struct found find_now(
	struct tree *tree, uint64_t folder, const char *name, bool wants_folder)
{
	struct inode *inode = inode_use(tree, folder);
	int fd = -1;

	if (!inode)
		return nothing;
	if (strcmp(name, ".") == 0)
		fd = dup_fd(inode->fd);
	else if (S_ISDIR(inode->type))
		fd = file_open_name(inode->fd, name);
	inode_unuse(tree, inode);
	return find_fd(tree, fd, wants_folder);
}

/* What the guest knew by this name. */
static struct found find_known(
	struct tree *tree, uint64_t folder, const char *name, bool wants_folder)
{
	struct inode *inode = known_find(tree, folder, name);
	struct found found = nothing;

	if (inode && S_ISDIR(inode->type) == wants_folder)
		found = (struct found){dup_fd(inode->fd), inode->nodeid, inode->type};
	inode_unuse(tree, inode);
	return found;
}

static struct found find_blank(const struct tree *tree, bool wants_folder)
{
	const struct blanks *blanks = tree->options.blanks;

	return wants_folder ? (struct found){dup_fd(blanks->folder), 0, S_IFDIR}
			    : (struct found){dup_fd(blanks->file), 0, S_IFREG};
}

static void found_drop(struct found *found)
{
	close_fd(found->fd);
	*found = nothing;
}

static struct found found_take(struct found *found)
{
	struct found taken = *found;

	*found = nothing;
	return taken;
}

/* ---- a change begins ---- */

static void set_name(struct replay_name *n, uint64_t folder, const char *name)
{
	n->folder = folder;
	str_copy(n->name, name);
}

static uint32_t steps_of(uint64_t mask)
{
	return (mask & FAN_CREATE ? FILES_STEP_MAKE : 0) |
	       (mask & FAN_ATTRIB ? FILES_STEP_ATTRIB : 0) |
	       (mask & FAN_MODIFY ? FILES_STEP_MODIFY : 0) |
	       (mask & FAN_CLOSE_WRITE ? FILES_STEP_CLOSE : 0) |
	       (mask & FAN_DELETE ? FILES_STEP_REMOVE : 0);
}

/*
 * A name that came and went, in whatever order: what is there now tells which was last.
 * A folder that the guest has found meanwhile is not made once more: its kernel would
 * have to forget the one that it knows, and what is mounted in that.
 */
static uint32_t choose_steps(uint64_t mask, int now_fd, bool known)
{
	uint32_t steps = steps_of(mask), both = FILES_STEP_MAKE | FILES_STEP_REMOVE;

	if ((steps & both) == both && now_fd >= 0)
		steps = (steps & ~FILES_STEP_REMOVE) | FILES_STEP_UNLINK;
	if (known && mask & FAN_ONDIR)
		steps &= ~(uint32_t)(FILES_STEP_MAKE | FILES_STEP_UNLINK);
	return steps;
}

/* False: nothing is left of it that could be told. */
static bool begin_at_name(
	struct tree *tree, const struct change *change, struct files_change *ret)
{
	struct replay_name *n = &tree->replay.from;
	bool folder = change->mask & FAN_ONDIR;
	struct found made = find_now(tree, change->folder, change->name, folder);
	struct found known = find_known(tree, change->folder, change->name, folder);
	struct found first = nothing;

	set_name(n, change->folder, change->name);
	*ret = (struct files_change){.folder = change->folder,
		.node = made.node,
		.steps = choose_steps(change->mask, made.fd, made.node),
		.name_len = (uint16_t)strlen(n->name)};
	/* It still is there, or again. */
	if (known.node == made.node)
		found_drop(&known);
	if (ret->steps & FILES_STEP_MAKE && made.fd < 0)
		made = find_blank(tree, folder);
	if (ret->steps & FILES_STEP_UNLINK ||
		(ret->steps & FILES_STEP_REMOVE && !(ret->steps & FILES_STEP_MAKE))) {
		first = known.fd >= 0 ? found_take(&known) : find_blank(tree, folder);
		n->loses = true;
		ret->lost = first.node;
	} else if (!(ret->steps & FILES_STEP_MAKE)) {
		first = found_take(&made);
	}
	found_drop(&known);
	n->fd = first.fd;
	n->made_fd = made.fd;
	ret->type = made.fd >= 0 ? made.type : first.type;
	return ret->steps != 0 && (n->fd >= 0 || n->made_fd >= 0);
}

/* What the move's second name had led to, and loses it. In an exchange that has the first
 * name now, of which another change will tell. What the guest knows moves, too. */
static struct found find_lost(struct tree *tree, uint64_t moved, bool folder)
{
	const struct replay_name *from = &tree->replay.from, *to = &tree->replay.to;
	struct found lost = find_known(tree, to->folder, to->name, folder);
	struct found now = nothing;

	if (lost.node && lost.node == moved) {
		found_drop(&lost);
		return lost;
	}
	if (lost.node)
		now = find_now(tree, from->folder, from->name, folder);
	if (now.node && now.node == lost.node) {
		found_drop(&lost);
		known_exchange(tree, from->folder, from->name, to->folder, to->name);
	} else {
		known_move(tree, from->folder, from->name, to->folder, to->name);
	}
	found_drop(&now);
	return lost;
}

static bool begin_move(
	struct tree *tree, const struct change *change, struct files_change *ret)
{
	struct replay_name *from = &tree->replay.from, *to = &tree->replay.to;
	bool folder = change->mask & FAN_ONDIR;
	struct found moved = nothing, lost = nothing;

	set_name(from, change->folder, change->name);
	set_name(to, change->to_folder, change->to_name);
	if (to->folder)
		moved = find_now(tree, to->folder, to->name, folder);
	if (moved.fd < 0 && from->folder)
		moved = find_known(tree, from->folder, from->name, folder);
	if (to->folder)
		lost = find_lost(tree, moved.node, folder);
	if (moved.fd < 0)
		moved = find_blank(tree, folder);
	from->fd = moved.fd;
	to->fd = lost.fd;
	to->loses = true;
	*ret = (struct files_change){.folder = from->folder,
		.to_folder = to->folder,
		.node = moved.node,
		.lost = lost.node,
		.steps = FILES_STEP_MOVE,
		.type = moved.type,
		.name_len = (uint16_t)strlen(from->name),
		.to_len = (uint16_t)strlen(to->name)};
	return from->fd >= 0;
}

/* One of the two names alone is a move from elsewhere, or to there. */
static bool begin_any_move(
	struct tree *tree, struct change *change, struct files_change *ret)
{
	if (!change->to_name)
		change->to_name = change->name;
	if (change->mask & FAN_MOVED_TO) {
		change->to_folder = change->folder;
		change->folder = 0;
	}
	return begin_move(tree, change, ret);
}

static bool begin_change(
	struct tree *tree, struct change *change, struct files_change *ret)
{
	bool is;

	if (change->mask & WATCH_MOVES)
		is = begin_any_move(tree, change, ret);
	else
		is = begin_at_name(tree, change, ret);
	if (!is)
		end_change(&tree->replay);
	return is;
}

/* ---- the attributes of the root ---- */

static int answer_begin(struct call *c)
{
	uint32_t n = changes_begin(&c->tree->heard);

	return call_put(c, &n, sizeof(n));
}

static int answer_next(struct call *c)
{
	struct replay *replay = &c->tree->replay;
	struct files_change out;
	bool begun = false;
	int r = 0;

	pthread_mutex_lock(&replay->lock);
	end_change(replay);
	while (!begun) {
		_cleanup_free_ struct change *change = changes_take(&c->tree->heard);

		if (!change)
			break;
		begun = begin_change(c->tree, change, &out);
	}
	if (begun) {
		uint8_t *at = call_room(c, sizeof(out) + out.name_len + out.to_len);

		r = at ? 0 : -ENOMEM;
		if (at) {
			memcpy(at, &out, sizeof(out));
			memcpy(at + sizeof(out), replay->from.name, out.name_len);
			memcpy(at + sizeof(out) + out.name_len, replay->to.name,
				out.to_len);
			c->out_len = sizeof(out) + out.name_len + out.to_len;
		}
	}
	pthread_mutex_unlock(&replay->lock);
	return r;
}

static int answer_skip(struct call *c)
{
	struct change *change;

	while ((change = changes_take(&c->tree->heard)))
		free(change);
	replay_end(&c->tree->replay);
	return 0;
}

static int serve_attribute(struct call *c, int (*usual)(struct call *c))
{
	static const struct {
		const char *name;
		uint32_t size; /* at least what the answer may need */
		int (*answer)(struct call *c);
	} rows[] = {
		{FILES_REPLAY_BEGIN, sizeof(uint32_t), answer_begin},
		{FILES_REPLAY_NEXT, sizeof(struct files_change) + 2 * FILES_NAME_MAX,
			answer_next},
		{FILES_REPLAY_SKIP, 0, answer_skip},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (c->header.nodeid == FUSE_ROOT_ID &&
			strcmp(c->names[0], rows[i].name) == 0)
			return c->in.getxattr.size < rows[i].size ? -ERANGE
								  : rows[i].answer(c);
	return usual(c);
}

/* ---- names ---- */

/* The one of the change that a request is for, or NULL. With the lock. */
static struct replay_name *find_name(struct call *c, uint64_t node, const char *name)
{
	struct replay *replay = &c->tree->replay;
	struct replay_name *names[] = {&replay->from, &replay->to};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t folder = names[i]->folder ? names[i]->folder : replay->elsewhere;

		if (names[i]->name[0] && folder == node &&
			strcmp(names[i]->name, name) == 0)
			return names[i];
	}
	return NULL;
}

/* Takes fd, what the name is to lead to. Without the lock: the guest may have to be told
 * that it knows too much. */
static int answer_entry(struct call *c, int fd, bool loses, uint64_t *ret_node)
{
	struct fuse_entry_out entry;
	int r;

	if (fd < 0)
		return errno == EMFILE ? -ENFILE : -errno;
	r = entry_enter(c->tree, fd, &entry);
	if (r < 0)
		return r;
	entry.attr.nlink += loses;
	*ret_node = entry.nodeid;
	return call_put(c, &entry, sizeof(entry));
}

static int look_up_elsewhere(struct call *c)
{
	struct replay *replay = &c->tree->replay;
	uint64_t node = 0;
	int r = answer_entry(c, dup_fd(c->tree->options.blanks->elsewhere), false, &node);

	pthread_mutex_lock(&replay->lock);
	replay->elsewhere = node;
	pthread_mutex_unlock(&replay->lock);
	return r;
}

static int serve_lookup(struct call *c, int (*usual)(struct call *c))
{
	struct replay *replay = &c->tree->replay;
	const struct replay_name *n;
	bool loses = false, is_nothing = false;
	uint64_t node;
	int fd = -1;

	pthread_mutex_lock(&replay->lock);
	n = find_name(c, c->header.nodeid, c->names[0]);
	if (n) {
		is_nothing = n->fd < 0;
		loses = n->loses;
		fd = dup_fd(n->fd);
	}
	pthread_mutex_unlock(&replay->lock);
	if (is_nothing)
		return -ENOENT;
	if (n)
		return answer_entry(c, fd, loses, &node);
	if (c->header.nodeid == FUSE_ROOT_ID &&
		strcmp(c->names[0], FILES_REPLAY_ELSEWHERE) == 0)
		return look_up_elsewhere(c);
	return usual(c);
}

/* What a name leads to when it is made; -1: it is none that is to be. */
static int dup_made(struct call *c)
{
	struct replay *replay = &c->tree->replay;
	const struct replay_name *n;
	int fd = -1;

	errno = EPERM;
	pthread_mutex_lock(&replay->lock);
	n = find_name(c, c->header.nodeid, c->names[0]);
	if (n)
		fd = dup_fd(n->made_fd);
	pthread_mutex_unlock(&replay->lock);
	return fd;
}

static int make_name(struct call *c)
{
	struct replay *replay = &c->tree->replay;
	struct replay_name *n;
	uint64_t node;
	int r = answer_entry(c, dup_made(c), false, &node);

	if (r < 0)
		return r;
	pthread_mutex_lock(&replay->lock);
	n = find_name(c, c->header.nodeid, c->names[0]);
	if (n && n->made_fd >= 0) {
		close_fd(n->fd);
		n->fd = steal_fd(&n->made_fd);
		n->loses = false;
	}
	pthread_mutex_unlock(&replay->lock);
	return 0;
}

static int remove_name(struct call *c)
{
	struct replay_name *n = find_name(c, c->header.nodeid, c->names[0]);

	if (!n)
		return -EPERM;
	close_fd(steal_fd(&n->fd));
	return 0;
}

static int move_name(struct call *c)
{
	struct replay_name *n = find_name(c, c->header.nodeid, c->names[0]);
	struct replay_name *to = find_name(c, c->in.rename.newdir, c->names[1]);

	if (!n || !to || n == to)
		return -EPERM;
	close_fd(to->fd);
	to->fd = steal_fd(&n->fd);
	return 0;
}

static int serve_locked(struct call *c, int (*handler)(struct call *c))
{
	struct replay *replay = &c->tree->replay;
	int r;

	pthread_mutex_lock(&replay->lock);
	r = handler(c);
	pthread_mutex_unlock(&replay->lock);
	return r;
}

/*
 * The guest's kernel takes the answer for the outcome of its own change, after which what
 * it has read of the file is as good as before. It is not: the time of the last change is
 * one that the file never has, so that the next who looks finds another one, and reads
 * anew (FUSE_AUTO_INVAL_DATA).
 */
static int answer_touched(struct call *c)
{
	struct fuse_attr_out out = {0};
	struct statx st;
	int r = file_stat(c->inode->fd, &st);

	if (r < 0)
		return r;
	attr_fill(c->tree, &st, &out.attr);
	out.attr.mtime = 0;
	out.attr.mtimensec = st.stx_mtime.tv_nsec == 1 ? 2 : 1;
	return call_put(c, &out, sizeof(out));
}

/* Nobody else's changes: those were made already. */
static int open_to_read(struct call *c, int (*usual)(struct call *c))
{
	c->in.open.flags = O_RDONLY;
	c->in.open.open_flags = 0;
	return usual(c);
}

int replay_serve(struct call *c, int (*usual)(struct call *c))
{
	switch (c->header.opcode) {
	case FUSE_GETXATTR:
		return serve_attribute(c, usual);
	case FUSE_LOOKUP:
		return serve_lookup(c, usual);
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
		return make_name(c);
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		return serve_locked(c, remove_name);
	case FUSE_RENAME:
		return serve_locked(c, move_name);
	case FUSE_SETATTR:
		return answer_touched(c);
	case FUSE_OPEN:
		return open_to_read(c, usual);
	case FUSE_CREATE:
	case FUSE_TMPFILE:
	case FUSE_LINK:
	case FUSE_RENAME2:
	case FUSE_WRITE:
	case FUSE_FALLOCATE:
	case FUSE_COPY_FILE_RANGE:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
		return -EPERM;
	}
	return usual(c);
}
