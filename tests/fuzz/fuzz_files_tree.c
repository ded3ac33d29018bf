/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile guest's messages against a tree: nothing outside of it is touched. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/thread.h"
#include "base/util.h"
#include "files/blanks.h"
#include "files/call.h"
#include "files/watch.h"
#include "files/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * An input is messages one behind the other, each as long as its first two bytes say
 * (little endian, what is there at most). Two things are put right, or hardly one would
 * get through: the length in the header, and FUSE_INIT goes before. The tree is a tmpfs
 * in a mount namespace of our own, beside the canary. Without the rights for that, or
 * without a mount, there is nothing to serve, and the shapes are still read.
 */
#define WORLD  "/mnt"
#define TREE   WORLD "/tree"
#define CANARY WORLD "/canary"

static bool world_mounted;
static struct blanks blanks;

static void must(bool what)
{
	if (!what)
		abort();
}

static void world_enter(void)
{
	world_mounted = unshare(CLONE_NEWNS) == 0 &&
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			mount("world", WORLD, "tmpfs", 0, "size=4m") == 0;
	if (world_mounted)
		must(mkdir(TREE, 0755) == 0 && blanks_open(&blanks, NULL) == 0);
}

static void file_make(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* A small tree, and ways out of it that must lead nowhere. */
static int tree_make(void)
{
	must(mount("tree", TREE, "tmpfs", MS_NODEV, "size=1m,nr_inodes=256") == 0);
	file_make(TREE "/file", "text");
	must(mkdir(TREE "/folder", 0755) == 0);
	file_make(TREE "/folder/inner", "more");
	must(symlink("../canary/file", TREE "/soft") == 0);
	must(symlink("../canary", TREE "/out") == 0);
	must(mkfifo(TREE "/fifo", 0644) == 0);
	return open(TREE, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void canary_make(void)
{
	must(mkdir(CANARY, 0755) == 0);
	file_make(CANARY "/file", "alive");
	must(chmod(CANARY "/file", 0640) == 0);
}

static void canary_check(void)
{
	char text[8] = {0};
	struct stat st;
	int fd = open(CANARY "/file", O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && read(fd, text, sizeof(text)) == 5 && strcmp(text, "alive") == 0);
	close(fd);
	must(stat(CANARY "/file", &st) == 0 && st.st_nlink == 1);
	must((st.st_mode & 07777) == 0640 && st.st_uid == 0);
	/* And nothing else came to be there. */
	must(unlink(CANARY "/file") == 0 && rmdir(CANARY) == 0);
}

static uint8_t *answer_grow(void *user, size_t size)
{
	uint8_t **large = user;

	must(size <= FILES_SLOT_BYTES && !*large);
	*large = xmalloc(size);
	return *large;
}

static int message_serve(struct tree *tree, const uint8_t *message, size_t len)
{
	uint8_t small[4096], *large = NULL;
	struct tree_answer answer = {.data = small,
		.size = sizeof(small),
		.grow = answer_grow,
		.user = &large};
	struct tree_request request = {.message = message, .len = len};
	/* As the channel does it. */
	int r = tree_serve_at_once(tree, &request, &answer);
	struct fuse_out_header out;

	if (r > 0)
		r = 0;
	else
		r = tree_serve(tree, &request, &answer);
	must(r == 0 || r == -EPROTO);
	if (answer.len > 0) {
		must(answer.len >= sizeof(out));
		memcpy(&out, answer.data, sizeof(out));
		must(out.len == answer.len && out.error <= 0 && out.error > -512);
	}
	free(large);
	return r;
}

static void tree_start(struct tree *tree)
{
	struct {
		struct fuse_in_header header;
		struct fuse_init_in in;
	} init = {{.len = sizeof(init), .opcode = FUSE_INIT, .unique = 2},
		{.major = 7, .minor = 40, .flags = 0x73fffffb}};

	must(message_serve(tree, (const uint8_t *)&init, sizeof(init)) == 0);
}

/* What others have done, which the guest does once more with FILES_REPLAY_GID. */
static void changes_make(struct tree *tree)
{
	static const struct {
		uint64_t mask, to_folder;
		const char *name, *to_name;
	} rows[] = {
		{FAN_CREATE | FAN_MODIFY | FAN_CLOSE_WRITE, 0, "new", NULL},
		{FAN_ATTRIB, 0, "file", NULL},
		{FAN_CREATE | FAN_DELETE, 0, "file", NULL},
		{FAN_DELETE | FAN_ONDIR, 0, "gone", NULL},
		{FAN_RENAME, FUSE_ROOT_ID, "soft", "file"},
		{FAN_RENAME, 0, "fifo", "fifo"},
		{FAN_ATTRIB | FAN_ONDIR, 0, ".", NULL},
	};
	bool lost;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct change *change =
			change_new(rows[i].mask, rows[i].name, rows[i].to_name);

		change->folder = FUSE_ROOT_ID;
		change->to_folder = rows[i].to_folder;
		changes_add(&tree->heard, change, &lost);
		must(!lost);
	}
}

static void messages_serve(struct tree *tree, const uint8_t *data, size_t size)
{
	while (size >= 2) {
		size_t len = MIN((size_t)(data[0] | data[1] << 8), size - 2);
		uint8_t *exact = xmalloc(len);
		uint32_t len32 = len;

		if (len > 0)
			memcpy(exact, data + 2, len);
		if (len >= sizeof(struct fuse_in_header))
			memcpy(exact, &len32, sizeof(len32));
		message_serve(tree, exact, len);
		free(exact);
		data += 2 + len;
		size -= 2 + len;
	}
}

struct input {
	const uint8_t *data;
	size_t size;
};

static void *input_serve(void *arg)
{
	const struct input *in = arg;
	struct tree_options options = {
		.inodes_max = 32, .handles_max = 16, .blanks = &blanks};
	struct tree *tree;
	int root;

	options.cache = in->data[0] & 1 ? TREE_CACHE_OWN : TREE_CACHE_SHARED;
	canary_make();
	root = tree_make();
	must(tree_new(root, &options, &tree, NULL) == 0);
	close(root);
	tree_start(tree);
	changes_make(tree);
	/* A lock that is waited for would be waited for in vain: there is one thread. */
	tree_interrupt_all(tree);
	messages_serve(tree, in->data + 1, in->size - 1);
	tree_free(tree);
	must(umount(TREE) == 0);
	canary_check();
	return NULL;
}

/* In a thread of its own: one that serves loses its working folder,
 * and the fuzzer needs it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool entered;
	struct input in = {data, size};
	pthread_t thread;

	if (!entered)
		world_enter();
	entered = true;
	if (!world_mounted || size == 0)
		return 0;
	must(thread_start(input_serve, &in, 256 << 10, false, &thread) == 0);
	must(pthread_join(thread, NULL) == 0);
	return 0;
}
