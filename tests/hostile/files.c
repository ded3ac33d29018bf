/* SPDX-License-Identifier: Apache-2.0 */
/* The attack of the files: raw FUSE, for what lies outside of the trees. */
#include <linux/fcntl.h>
#include <linux/fuse.h>
#include <linux/kernel.h>
#include <linux/kdev_t.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/string.h>

#include "files/wire.h"
#include "tests/hostile/hostile.h"

/*
 * The test has put "marker" into a volume, and "canary" beside that volume's folder. That
 * it has begun, and what was found out, is written to "report" in the volume, over the
 * same channel: so it was spoken well, and what it refused it has refused.
 */
#define MOUNTS_TRIED 16

static struct channel_answer answer;
static char report[2048];
static unsigned int wrong;

static void __printf(1, 2) report_line(const char *fmt, ...)
{
	size_t at = strlen(report);
	va_list ap;

	va_start(ap, fmt);
	vscnprintf(report + at, sizeof(report) - at, fmt, ap);
	va_end(ap);
}

static int call_named(u16 mount, u32 opcode, u64 node, const char *name)
{
	return channel_call(
		&(struct channel_call){mount, opcode, node, name, strlen(name) + 1},
		&answer);
}

/* The node of a name, 0: there is none. */
static u64 look_up(u16 mount, u64 folder, const char *name)
{
	if (call_named(mount, FUSE_LOOKUP, folder, name) < 0)
		return 0;
	return ((struct fuse_entry_out *)answer.data)->nodeid;
}

/* The guest's own sessions end, and new ones begin. */
static int begin_mount(u16 mount)
{
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION,
		.minor = 36,
		.max_readahead = 65536,
		.flags = FUSE_POSIX_LOCKS | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES};
	struct channel_call call = {mount, FUSE_INIT, 0, &in, sizeof(in)};
	int r = channel_unmounted(mount);

	return r < 0 ? r : channel_call(&call, &answer);
}

static int find_mount(u16 *ret, u64 *ret_marker)
{
	for (u16 mount = 0; mount < MOUNTS_TRIED; mount++) {
		int r = begin_mount(mount);

		if (r == -EINTR)
			return r;
		*ret = mount;
		*ret_marker = r < 0 ? 0 : look_up(mount, FUSE_ROOT_ID, "marker");
		if (*ret_marker)
			return 0;
	}
	return -ENOENT;
}

/* ---- what must be refused ---- */

static void must_fail(const char *what, int r)
{
	if (r < 0 && r != -EINTR && r != -EIO)
		return;
	report_line("wrong: %s: %d\n", what, r);
	wrong++;
}

static int open_node(u16 mount, u64 node, u32 flags)
{
	struct fuse_open_in in = {.flags = flags};

	return channel_call(
		&(struct channel_call){mount, FUSE_OPEN, node, &in, sizeof(in)}, &answer);
}

static u64 make_node(u16 mount, const char *name, u32 mode, dev_t dev)
{
	struct {
		struct fuse_mknod_in in;
		char name[16];
	} in = {.in = {.mode = mode, .rdev = new_encode_dev(dev)}};
	size_t size = sizeof(in.in) + strscpy(in.name, name, sizeof(in.name)) + 1;

	if (channel_call(
		    &(struct channel_call){mount, FUSE_MKNOD, FUSE_ROOT_ID, &in, size},
		    &answer) < 0)
		return 0;
	return ((struct fuse_entry_out *)answer.data)->nodeid;
}

static u64 make_link(u16 mount, const char *name, const char *target)
{
	char names[64];
	size_t size = strscpy(names, name, 32) + 1;

	size += strscpy(names + size, target, sizeof(names) - size) + 1;
	if (channel_call(&(struct channel_call){mount, FUSE_SYMLINK, FUSE_ROOT_ID, names,
				 size},
		    &answer) < 0)
		return 0;
	return ((struct fuse_entry_out *)answer.data)->nodeid;
}

/* The folder above a tree's is that tree's, or none. */
static void try_above(u16 mount)
{
	u64 node = FUSE_ROOT_ID;

	for (int i = 0; i < 4 && node; i++) {
		node = look_up(mount, node, "..");
		if (node && look_up(mount, node, "canary"))
			must_fail("what lies above the tree", 0);
	}
}

static void try_links(u16 mount)
{
	static const char *const targets[] = {
		"../canary", "..", "/etc", "/proc/self/root"};
	char name[] = "link0";

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		u64 node;

		name[4] = '0' + i;
		node = make_link(mount, name, targets[i]);
		if (!node) {
			must_fail("a link could not be made", 0);
			continue;
		}
		must_fail("a link is opened", open_node(mount, node, O_RDONLY));
		must_fail(
			"a link is written to", open_node(mount, node, O_RDWR | O_TRUNC));
		must_fail("a name below a link",
			call_named(mount, FUSE_LOOKUP, node, "canary"));
		must_fail("a name below a link is removed",
			call_named(mount, FUSE_UNLINK, node, "canary"));
	}
}

/* The host's disk and memory, and what an open waits for. */
static void try_nodes(u16 mount)
{
	static const struct {
		const char *name;
		u32 mode;
		unsigned int major, minor;
	} nodes[] = {
		{"disk", S_IFBLK | 0666, 254, 0},
		{"memory", S_IFCHR | 0666, 1, 1},
		{"fifo", S_IFIFO | 0666, 0, 0},
		{"socket", S_IFSOCK | 0666, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		u64 node = make_node(mount, nodes[i].name, nodes[i].mode,
			MKDEV(nodes[i].major, nodes[i].minor));

		if (node)
			must_fail(nodes[i].name, open_node(mount, node, O_RDWR));
	}
}

static void try_unknown(u16 mount, u64 marker)
{
	static const u64 numbers[] = {0, 2, 77777, 1ull << 32, ~0ull, 1ull << 63};
	struct fuse_getattr_in attr = {};

	for (size_t i = 0; i < ARRAY_SIZE(numbers) + 32; i++) {
		u64 node = i < ARRAY_SIZE(numbers)
				   ? numbers[i]
				   : (u64)attack_random() << 32 | attack_random();

		if (node == marker)
			continue;
		must_fail("a node that nobody gave",
			channel_call(&(struct channel_call){mount, FUSE_GETATTR, node,
					     &attr, sizeof(attr)},
				&answer));
		must_fail("it is opened", open_node(mount, node, O_RDWR));
		must_fail("a name in it", call_named(mount, FUSE_LOOKUP, node, "x"));
	}
}

static int read_with(u16 mount, u64 node, u64 fh)
{
	struct fuse_read_in in = {.fh = fh, .size = 64};

	return channel_call(
		&(struct channel_call){mount, FUSE_READ, node, &in, sizeof(in)}, &answer);
}

/* One that is another file's, another tree's, or nobody's. */
static void try_handles(u16 mount, u64 marker)
{
	u64 other = make_node(mount, "other", S_IFREG | 0600, 0);
	u64 fh;

	if (!other || open_node(mount, other, O_RDWR) < 0) {
		must_fail("a file could not be opened", 0);
		return;
	}
	fh = ((struct fuse_open_out *)answer.data)->fh;
	if (read_with(mount, other, fh) < 0)
		must_fail("a handle of one's own", 0);
	must_fail("another file's handle", read_with(mount, marker, fh));
	must_fail("another tree's", read_with(mount ? 0 : 1, FUSE_ROOT_ID, fh));
	for (int i = 0; i < 32; i++) {
		u64 random = (u64)attack_random() << 32 | attack_random();

		must_fail("nobody's",
			read_with(mount, other, i < 16 ? fh + 1 + i : random));
	}
}

/* ---- the report ---- */

static int write_report(u16 mount)
{
	struct {
		struct fuse_create_in in;
		char name[8];
	} create = {{.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644}, "report"};
	struct {
		struct fuse_write_in in;
		char text[sizeof(report)];
	} *write = kzalloc(sizeof(*write), GFP_KERNEL);
	struct fuse_open_out *opened;
	u64 node;
	int r;

	if (!write)
		return -ENOMEM;
	r = channel_call(&(struct channel_call){mount, FUSE_CREATE, FUSE_ROOT_ID, &create,
				 sizeof(create.in) + sizeof("report")},
		&answer);
	if (r == 0) {
		node = ((struct fuse_entry_out *)answer.data)->nodeid;
		opened = (void *)answer.data + sizeof(struct fuse_entry_out);
		write->in.fh = opened->fh;
		write->in.size = strlen(report);
		memcpy(write->text, report, write->in.size);
		r = channel_call(&(struct channel_call){mount, FUSE_WRITE, node, write,
					 sizeof(write->in) + write->in.size},
			&answer);
	}
	kfree(write);
	return r;
}

int files_begin(u16 *ret_mount, u64 *ret_marker)
{
	int r = serial_take();

	if (r == 0)
		r = find_mount(ret_mount, ret_marker);
	report_line("begun\n");
	return r == 0 ? write_report(*ret_mount) : r;
}

int files_attack(void)
{
	u64 marker = 0;
	u16 mount = 0;
	int r = files_begin(&mount, &marker);

	if (r < 0)
		return r;
	try_above(mount);
	try_links(mount);
	try_nodes(mount);
	try_unknown(mount, marker);
	try_handles(mount, marker);
	r = floods_run(mount, marker);
	report_line("over: %u wrong\n", wrong);
	if (r == 0)
		r = write_report(mount);
	/* The host looks at what that has cost, and says when it has. */
	if (r == 0)
		r = floods_look_up(mount, "go");
	return r == 0 ? channel_end_pod() : r;
}

int frames_attack(void)
{
	u64 marker;
	u16 mount;
	int r = files_begin(&mount, &marker);

	return r == 0 ? channel_end_pod() : r;
}
