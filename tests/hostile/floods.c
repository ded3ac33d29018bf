/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are right, and too many: see hostile.h. */
#include <linux/fcntl.h>
#include <linux/fuse.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "files/wire.h"
#include "tests/hostile/hostile.h"

/* Requests at a time. */
#define AT_ONCE 32u
/* More than may wait for a lock (files/channel.h). */
#define LOCKERS 1100u

#define ATTRIBUTE_BYTES 3000u

static struct channel_answer answer;

static union {
	char name[32];
	struct fuse_open_in open;
	struct {
		struct fuse_create_in in;
		char name[32];
	} create;
	struct {
		/* As it is without FUSE_SETXATTR_EXT. */
		u32 size, flags;
		char rest[32 + ATTRIBUTE_BYTES];
	} setxattr;
	struct {
		struct fuse_getxattr_in in;
		char name[32];
	} getxattr;
	struct fuse_lk_in lock;
} in;

/* The i-th request of a kind: fills `in` and all of the call but the mount. */
typedef void (*fill_fn)(unsigned int i, u64 marker, struct channel_call *call);

static void fill_lookup(unsigned int i, u64 marker, struct channel_call *call)
{
	call->opcode = FUSE_LOOKUP;
	call->node = FUSE_ROOT_ID;
	call->size = scnprintf(in.name, sizeof(in.name), "missing%u", i) + 1;
}

static void fill_create(unsigned int i, u64 marker, struct channel_call *call)
{
	in.create.in =
		(struct fuse_create_in){.flags = O_RDWR | O_CREAT, .mode = 0100600};
	call->opcode = FUSE_CREATE;
	call->node = FUSE_ROOT_ID;
	call->size = sizeof(in.create.in) + 1 +
		     scnprintf(in.create.name, sizeof(in.create.name), "made%u", i);
}

static void fill_open(unsigned int i, u64 marker, struct channel_call *call)
{
	in.open = (struct fuse_open_in){.flags = O_RDONLY};
	call->opcode = FUSE_OPEN;
	call->node = marker;
	call->size = sizeof(in.open);
}

static void fill_setxattr(unsigned int i, u64 marker, struct channel_call *call)
{
	size_t size = scnprintf(in.setxattr.rest, 32, "user.a%u", i) + 1;

	memset(in.setxattr.rest + size, 'x', ATTRIBUTE_BYTES);
	in.setxattr.size = ATTRIBUTE_BYTES;
	in.setxattr.flags = 0;
	call->opcode = FUSE_SETXATTR;
	call->node = marker;
	call->size = 8 + size + ATTRIBUTE_BYTES;
}

static void fill_getxattr(unsigned int i, u64 marker, struct channel_call *call)
{
	in.getxattr.in = (struct fuse_getxattr_in){.size = 65536};
	call->opcode = FUSE_GETXATTR;
	call->node = marker;
	call->size =
		sizeof(in.getxattr.in) + 1 +
		scnprintf(in.getxattr.name, sizeof(in.getxattr.name), "user.a%u", i % 16);
}

/* `count` of them, AT_ONCE at a time. What is answered is the server's to decide. */
static int flood(u16 mount, u64 marker, unsigned int count, fill_fn fill)
{
	unsigned int asked = 0, heard = 0;
	int r = 0;

	while (r == 0 && heard < count) {
		struct channel_call call = {.mount = mount, .data = &in};

		if (asked < count && asked - heard < AT_ONCE) {
			fill(asked++, marker, &call);
			r = channel_ask(&call);
		} else {
			heard++;
			r = channel_hear(&answer);
		}
	}
	return r;
}

int floods_look_up(u16 mount, const char *name)
{
	struct channel_call call = {
		mount, FUSE_LOOKUP, FUSE_ROOT_ID, name, strlen(name) + 1};
	int r;

	do {
		r = flood(mount, 0, 4 * AT_ONCE, fill_lookup);
		if (r == 0)
			r = channel_call(&call, &answer);
		else
			return r;
	} while (r == -ENOENT);
	return r;
}

/* ---- locks ---- */

/* The whole of a file, for one owner of many. */
static int ask_lock(u16 mount, u64 node, u64 fh, u64 owner)
{
	struct channel_call call = {mount, FUSE_SETLKW, node, &in, sizeof(in.lock)};

	in.lock = (struct fuse_lk_in){.fh = fh,
		.owner = owner,
		.lk = {.end = OFFSET_MAX, .type = F_WRLCK, .pid = 1}};
	return channel_ask(&call);
}

/* One has it, the others wait for ever, as many as may. */
static int flood_locks(u16 mount)
{
	struct fuse_open_out *opened;
	struct channel_call call = {.mount = mount, .data = &in};
	u64 node, fh;
	int r;

	fill_create(~0u, 0, &call);
	r = channel_call(&call, &answer);
	if (r < 0)
		return r;
	node = ((struct fuse_entry_out *)answer.data)->nodeid;
	opened = (void *)answer.data + sizeof(struct fuse_entry_out);
	fh = opened->fh;
	for (unsigned int i = 0; r >= 0 && i < LOCKERS; i++) {
		r = ask_lock(mount, node, fh, 1000 + i);
		/* The first has it, the last are refused: these are answered. */
		if (r == 0)
			r = channel_hear_credit(&answer);
	}
	return min(r, 0);
}

int floods_run(u16 mount, u64 marker)
{
	int r = flood(mount, marker, attack_amount, fill_lookup);

	if (r == 0)
		r = flood(mount, marker, attack_amount, fill_create);
	if (r == 0)
		r = flood(mount, marker, attack_amount, fill_open);
	if (r == 0)
		r = flood(mount, marker, attack_amount, fill_setxattr);
	if (r == 0)
		r = flood(mount, marker, attack_amount, fill_getxattr);
	return r == 0 ? flood_locks(mount) : r;
}
