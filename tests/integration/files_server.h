/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real stencil-files under a real kernel's FUSE: this host's. The test plays the
 * guest's agent, which moves messages between /dev/fuse and the channel.
 */
#pragma once

#include "tests/lib/test.h"

#include <errno.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/thread.h"
#include "files/client.h"
#include "tests/unit/files_guest.h"

#define SERVER_UID 1879100001u

struct files_server {
	struct guest guest;
	struct files_client *client;
	struct files_tree tree; /* how it is served; its mount_fd is not there any more */
	char *folder,
		*root; /* what is served of it: its path, NULL for the folder itself */
	char *mounted; /* where it is seen */
	mode_t root_mode;
	unsigned int mount;
	int fuse_fd;
	pthread_t to_server, to_kernel, forgetting;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int credits;
	unsigned int asked, done; /* to forget inodes, and done so */
	bool ended;
	bool slots[FILES_GUEST_SLOTS]; /* with the server */
	pthread_mutex_t send_lock;
};

/* ---- the pump ---- */

static void pump_send(
	struct files_server *f, const struct files_frame *frame, const void *data)
{
	pthread_mutex_lock(&f->send_lock);
	guest_send_frame(&f->guest, frame, data);
	pthread_mutex_unlock(&f->send_lock);
}

/* A credit and a slot for the next request, whatever it is. */
static uint8_t pump_reserve(struct files_server *f)
{
	uint8_t slot = FILES_NO_SLOT;

	pthread_mutex_lock(&f->lock);
	while (slot == FILES_NO_SLOT) {
		for (uint8_t i = 0; i < FILES_GUEST_SLOTS; i++)
			if (!f->slots[i])
				slot = i;
		if (slot != FILES_NO_SLOT && f->credits > 0)
			break;
		slot = FILES_NO_SLOT;
		pthread_cond_wait(&f->changed, &f->lock);
	}
	f->credits--;
	f->slots[slot] = true;
	pthread_mutex_unlock(&f->lock);
	return slot;
}

static void pump_give(struct files_server *f, bool credit, uint8_t slot)
{
	pthread_mutex_lock(&f->lock);
	f->credits += credit;
	if (slot != FILES_NO_SLOT)
		f->slots[slot] = false;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static bool is_one_way(const uint8_t *message)
{
	struct fuse_in_header in;

	memcpy(&in, message, sizeof(in));
	return in.opcode == FUSE_FORGET || in.opcode == FUSE_BATCH_FORGET ||
	       in.opcode == FUSE_INTERRUPT;
}

/* Ends when the mount does. */
static void *pump_to_server(void *arg)
{
	struct files_server *f = arg;

	for (;;) {
		uint8_t slot = pump_reserve(f), *data = guest_slot(&f->guest, slot);
		ssize_t n = read(f->fuse_fd, data, FILES_SLOT_BYTES);
		struct files_frame frame = {.length = (uint32_t)n,
			.mount = (uint16_t)f->mount,
			.kind = FILES_MESSAGE,
			.slot = slot,
			.done = FILES_NO_SLOT};

		if (n < 0) {
			bool ended = errno == ENODEV;

			pump_give(f, true, slot);
			if (ended)
				return NULL;
			continue; /* a request that was given up before it was read */
		}
		if (is_one_way(data))
			pump_give(f, true, FILES_NO_SLOT);
		if (n <= FILES_INLINE_BYTES)
			frame.slot = FILES_NO_SLOT;
		pump_send(f, &frame, data);
		if (frame.slot == FILES_NO_SLOT)
			pump_give(f, false, slot);
	}
}

/* As the guest's pump does, in a thread of its own. */
static void *pump_forget(void *arg)
{
	struct files_server *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->ended) {
		if (f->done == f->asked) {
			pthread_cond_wait(&f->changed, &f->lock);
			continue;
		}
		f->done = f->asked;
		pthread_mutex_unlock(&f->lock);
		assert_int_equal(
			file_write_text(AT_FDCWD, "/proc/sys/vm/drop_caches", "2", NULL),
			0);
		pthread_mutex_lock(&f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void pump_ask_forget(struct files_server *f)
{
	pthread_mutex_lock(&f->lock);
	f->asked++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

/* How often it was asked to forget inodes. */
static inline unsigned int files_server_asked(struct files_server *f)
{
	unsigned int asked;

	pthread_mutex_lock(&f->lock);
	asked = f->asked;
	pthread_mutex_unlock(&f->lock);
	return asked;
}

static void *pump_to_kernel(void *arg)
{
	struct files_server *f = arg;
	struct guest_got got;

	while (read_full(f->guest.fd, &got.frame, sizeof(got.frame)) == 0) {
		uint8_t slot = got.frame.slot;
		const uint8_t *message = got.data;
		struct files_frame done = {
			.kind = FILES_DONE, .slot = FILES_NO_SLOT, .done = slot};
		struct fuse_out_header out;

		if (slot != FILES_NO_SLOT)
			message = guest_slot(&f->guest, slot);
		else if (read_full(f->guest.fd, got.data, got.frame.length) < 0)
			return NULL;
		if (got.frame.kind == FILES_MESSAGE) {
			memcpy(&out, message, sizeof(out));
			/* ENOENT: the request was given up. */
			if (write(f->fuse_fd, message, got.frame.length) < 0 &&
				errno != ENOENT && errno != ENODEV)
				fail_msg("/dev/fuse refuses an answer: %s",
					strerror(errno));
		}
		if (got.frame.kind == FILES_SHRINK)
			pump_ask_forget(f);
		pump_give(f,
			got.frame.kind == FILES_CREDIT ||
				(got.frame.kind == FILES_MESSAGE && out.unique != 0),
			got.frame.done);
		if (slot != FILES_NO_SLOT)
			pump_send(f, &done, NULL);
	}
	return NULL;
}

/* ---- the mount ---- */

static void note_end(void *user)
{
	(void)user;
}

static void start_server(struct files_server *f)
{
	_cleanup_free_ char *program =
		xasprintf("%s/stencil-files", getenv("STENCIL_BUILD"));
	struct files_start start = {.program = program,
		.uid = SERVER_UID,
		.channel_fd = f->guest.peer_fd,
		.window_fd = f->guest.window_fd,
		.log_fd = STDERR_FILENO,
		.ended = note_end};
	struct err err = ERR_INIT;

	if (files_client_new(&start, &f->client, &err) < 0)
		fail_msg("%s", err.text);
	close(steal_fd(&f->guest.peer_fd));
	f->tree.mount_fd = (int)syscall(SYS_open_tree, AT_FDCWD,
		f->root ? f->root : f->folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	assert_true(f->tree.mount_fd >= 0);
	if (files_client_add(f->client, &f->tree, &f->mount, &err) < 0)
		fail_msg("%s", err.text);
	close(f->tree.mount_fd);
}

static void mount_it(struct files_server *f)
{
	_cleanup_free_ char *options = NULL;
	int fd;

	/* Each mount has its own, here under the same number. */
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	if (f->fuse_fd < 0)
		f->fuse_fd = fd;
	else
		assert_int_equal(dup3(fd, f->fuse_fd, O_CLOEXEC), f->fuse_fd);
	if (fd != f->fuse_fd)
		close(fd);
	options = xasprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other,"
			    "default_permissions,max_read=%u",
		f->fuse_fd, f->root_mode, FILES_DATA_BYTES);
	assert_int_equal(
		mount("stencil", f->mounted, "fuse", MS_NOSUID | MS_NODEV, options), 0);
	assert_int_equal(
		thread_start(pump_to_server, f, 256 << 10, false, &f->to_server), 0);
}

static inline void files_server_start(struct files_server *f)
{
	f->credits = FILES_CREDITS;
	guest_init(&f->guest);
	pthread_mutex_init(&f->lock, NULL);
	pthread_mutex_init(&f->send_lock, NULL);
	cond_init(&f->changed);
	start_server(f);
	f->fuse_fd = -1;
	mount_it(f);
	assert_int_equal(
		thread_start(pump_to_kernel, f, 256 << 10, false, &f->to_kernel), 0);
	assert_int_equal(
		thread_start(pump_forget, f, 256 << 10, false, &f->forgetting), 0);
}

/* In the mount namespace that it is called in. */
static inline struct files_server *files_server_new(const struct files_tree *tree)
{
	struct files_server *f = xnew0(struct files_server);

	f->tree = *tree;
	f->folder = test_folder_new();
	f->mounted = test_folder_new();
	f->root_mode = S_IFDIR;
	files_server_start(f);
	return f;
}

/* Of a file that make() makes. */
static inline struct files_server *files_server_new_at(
	const struct files_tree *tree, void (*make)(const char *path))
{
	struct files_server *f = xnew0(struct files_server);
	struct stat st;

	f->tree = *tree;
	f->folder = test_folder_new();
	f->root = xasprintf("%s/root", f->folder);
	make(f->root);
	assert_int_equal(stat(f->root, &st), 0);
	f->root_mode = st.st_mode & S_IFMT;
	f->mounted = test_file(f->folder, "mounted", "");
	files_server_start(f);
	return f;
}

static inline void files_server_free(struct files_server *f)
{
	/* A test that failed has files open, and its end would wait for this very process
	 * to serve their closing: by force then. */
	if (umount2(f->mounted, 0) < 0) {
		umount2(f->mounted, MNT_FORCE | MNT_DETACH);
		fail_msg("the mount is in use");
	}
	pthread_join(f->to_server, NULL);
	files_client_free(f->client);
	pthread_join(f->to_kernel, NULL);
	pthread_mutex_lock(&f->lock);
	f->ended = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->forgetting, NULL);
	close(f->fuse_fd);
	guest_done(&f->guest);
	if (f->root)
		free(f->mounted);
	else
		test_folder_free(f->mounted);
	free(f->root);
	test_folder_free(f->folder);
	free(f);
}

/* Mounts of this test end with it. */
static inline void files_server_unshare(void)
{
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

static inline const char *files_server_missing(void)
{
	if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0)
		return "needs root and /dev/fuse";
	return NULL;
}
