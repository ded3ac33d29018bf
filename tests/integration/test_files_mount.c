/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real stencil-files under a real kernel's FUSE: this host's. The test plays the guest's
 * agent, which moves messages between /dev/fuse and the channel. It prints how long things
 * take, against the folder itself.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "base/thread.h"
#include "files/client.h"
#include "tests/unit/files_guest.h"

#define SERVER_UID  1879100001u
#define FILES       500u
#define BULK_BYTES  (32u << 20)
#define BLOCK_BYTES (1u << 20)

struct fixture {
	struct guest guest;
	struct files_client *client;
	char *folder, *mounted; /* what is served, and where it is seen */
	unsigned int mount;
	int fuse_fd;
	pthread_t to_server, to_kernel;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int credits;
	bool slots[FILES_GUEST_SLOTS]; /* with the server */
	pthread_mutex_t send_lock;
};

/* ---- the pump ---- */

static void pump_send(
	struct fixture *f, const struct files_frame *frame, const void *data)
{
	pthread_mutex_lock(&f->send_lock);
	guest_send_frame(&f->guest, frame, data);
	pthread_mutex_unlock(&f->send_lock);
}

/* A credit and a slot for the next request, whatever it is. */
static uint8_t pump_reserve(struct fixture *f)
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

static void pump_give(struct fixture *f, bool credit, uint8_t slot)
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
	struct fixture *f = arg;

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

static void *pump_to_kernel(void *arg)
{
	struct fixture *f = arg;
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

static void start_server(struct fixture *f)
{
	_cleanup_free_ char *program =
		xasprintf("%s/stencil-files", getenv("STENCIL_BUILD"));
	struct files_start start = {.program = program,
		.uid = SERVER_UID,
		.channel_fd = f->guest.peer_fd,
		.window_fd = f->guest.window_fd,
		.log_fd = STDERR_FILENO,
		.ended = note_end};
	struct files_tree tree = {.cache = TREE_CACHE_OWN};
	struct err err = ERR_INIT;

	if (files_client_new(&start, &f->client, &err) < 0)
		fail_msg("%s", err.text);
	close(steal_fd(&f->guest.peer_fd));
	tree.mount_fd = (int)syscall(
		SYS_open_tree, AT_FDCWD, f->folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	assert_true(tree.mount_fd >= 0);
	if (files_client_add(f->client, &tree, &f->mount, &err) < 0)
		fail_msg("%s", err.text);
	close(tree.mount_fd);
}

static void mount_it(struct fixture *f)
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
	options = xasprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,"
			    "default_permissions,max_read=%u",
		f->fuse_fd, FILES_DATA_BYTES);
	assert_int_equal(
		mount("stencil", f->mounted, "fuse", MS_NOSUID | MS_NODEV, options), 0);
	assert_int_equal(
		thread_start(pump_to_server, f, 256 << 10, false, &f->to_server), 0);
}

static int setup(void **state)
{
	struct fixture *f = xnew0(struct fixture);

	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	f->folder = test_folder_new();
	f->mounted = test_folder_new();
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
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(umount2(f->mounted, 0), 0);
	pthread_join(f->to_server, NULL);
	close(f->fuse_fd);
	files_client_free(f->client);
	pthread_join(f->to_kernel, NULL);
	guest_done(&f->guest);
	test_folder_free(f->folder);
	test_folder_free(f->mounted);
	free(f);
	return 0;
}

/* ---- tests ---- */

static void test_semantics(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/file", f->mounted);
	_cleanup_free_ char *host = xasprintf("%s/file", f->folder);
	struct stat st;
	char text[8] = "";
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "before", 6), 6);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(fchown(fd, 1000, 1001), 0);
	assert_int_equal(stat(host, &st), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(setxattr(path, "user.x", "y", 1, 0), 0);
	assert_int_equal(getxattr(host, "user.x", text, sizeof(text)), 1);
	/* A file without a name is still one. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(access(host, F_OK), -1);
	assert_int_equal(ftruncate(fd, 3), 0);
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 3);
	assert_memory_equal(text, "bef", 3);
	close(fd);
}

/* What a folder holds, but for . and .. */
static unsigned int entries_of(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n - 2;
}

/* One of each: what serves it passes the server's filter, also where it is asked with
 * another's ids. */
static void test_all_calls(void **state)
{
	struct fixture *f = *state;
	int dir = open(f->mounted, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, other;
	const struct timespec times[] = {{1, 123456789}, {2, 987654321}};
	char text[256];
	struct statfs fs;
	struct stat st;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	assert_int_equal(setegid(1001), 0);
	assert_int_equal(mkdirat(dir, "d", 0777), 0);
	assert_int_equal(fchownat(dir, "d", 1000, 1001, 0), 0);
	assert_int_equal(symlinkat("d/none", dir, "link"), 0);
	assert_int_equal(readlinkat(dir, "link", text, sizeof(text)), 6);
	assert_int_equal(mknodat(dir, "fifo", S_IFIFO | 0600, 0), 0);
	assert_int_equal(fchmodat(dir, "fifo", 0640, 0), 0);
	fd = openat(dir, "d/a", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(linkat(dir, "d/a", dir, "d/b", 0), 0);
	assert_int_equal(renameat2(dir, "d/b", dir, "b2", 0), 0);
	assert_int_equal(renameat2(dir, "b2", dir, "c", RENAME_NOREPLACE), 0);
	assert_int_equal(renameat2(dir, "c", dir, "fifo", RENAME_EXCHANGE), 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 65536), 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_true(lseek(fd, 0, SEEK_DATA) >= 0);
	assert_true(lseek(fd, 0, SEEK_HOLE) > 0);
	assert_int_equal(futimens(fd, times), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	assert_int_equal(fsetxattr(fd, "user.a", "b", 1, 0), 0);
	assert_int_equal(flistxattr(fd, text, sizeof(text)), sizeof("user.a"));
	assert_int_equal(fremovexattr(fd, "user.a"), 0);
	other = openat(dir, "copy", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(other >= 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(copy_file_range(fd, NULL, other, NULL, 4, 0), 4);
	assert_int_equal(fdatasync(other), 0);
	assert_int_equal(syncfs(other), 0);
	assert_int_equal(fcntl(other, F_SETLKW, &lock), 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	close(fd);
	close(other);
	assert_int_equal(fstatfs(dir, &fs), 0);
	assert_int_equal(unlinkat(dir, "d/a", 0), 0);
	assert_int_equal(unlinkat(dir, "d", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(dir, "copy", 0), 0);
	close(dir);
	assert_int_equal(entries_of(f->mounted), 3); /* c, fifo, link */
	assert_int_equal(entries_of(f->folder), 3);
	assert_int_equal(setegid(0), 0);
}

static uint64_t us_of(void (*act)(const char *folder, uint8_t *block), const char *folder,
	uint8_t *block)
{
	uint64_t from = now_us();

	act(folder, block);
	return now_us() - from;
}

static char *file_of(const char *folder, unsigned int i)
{
	return xasprintf("%s/many-%u", folder, i);
}

static void make_files(const char *folder, uint8_t *block)
{
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, block, 1000), 1000);
		close(fd);
	}
}

static void stat_files(const char *folder, uint8_t *block)
{
	struct stat st;

	(void)block;
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);

		assert_int_equal(stat(path, &st), 0);
	}
}

static void read_files(const char *folder, uint8_t *block)
{
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(read(fd, block, BLOCK_BYTES), 1000);
		close(fd);
	}
}

static void remove_files(const char *folder, uint8_t *block)
{
	(void)block;
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);

		assert_int_equal(unlink(path), 0);
	}
}

static void write_bulk(const char *folder, uint8_t *block)
{
	_cleanup_free_ char *path = xasprintf("%s/bulk", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	for (unsigned int i = 0; i < BULK_BYTES / BLOCK_BYTES; i++) {
		memset(block, (int)i, BLOCK_BYTES);
		assert_int_equal(write(fd, block, BLOCK_BYTES), BLOCK_BYTES);
	}
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

static void read_bulk(const char *folder, uint8_t *block)
{
	_cleanup_free_ char *path = xasprintf("%s/bulk", folder);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (unsigned int i = 0; i < BULK_BYTES / BLOCK_BYTES; i++) {
		assert_int_equal(read(fd, block, BLOCK_BYTES), BLOCK_BYTES);
		assert_int_equal(block[0], i);
		assert_int_equal(block[BLOCK_BYTES - 1], i);
	}
	close(fd);
}

/* The kernel knows nothing of it any more, nor does the server. */
static void mount_anew(struct fixture *f)
{
	assert_int_equal(umount2(f->mounted, 0), 0);
	pthread_join(f->to_server, NULL);
	guest_send_note(&f->guest, f->mount, FILES_UNMOUNTED, FILES_NO_SLOT);
	mount_it(f);
}

static void test_speed(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ uint8_t *block = xmalloc(BLOCK_BYTES);
	static const struct {
		const char *what;
		void (*act)(const char *folder, uint8_t *block);
		bool cold;
	} rows[] = {
		{"make 500 files", make_files, false},
		{"stat 500 files", stat_files, true},
		{"stat them again", stat_files, false},
		{"open, read, close 500 files", read_files, true},
		{"write 32 MiB, fsync", write_bulk, false},
		{"read 32 MiB", read_bulk, true},
		{"read them again", read_bulk, false},
		{"remove 500 files", remove_files, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t us;

		if (rows[i].cold)
			mount_anew(f);
		us = us_of(rows[i].act, f->mounted, block);
		print_message("# %s: %.1f ms\n", rows[i].what, (double)us / 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_semantics),
		cmocka_unit_test(test_all_calls),
		cmocka_unit_test(test_speed),
	};

	if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0) {
		puts("1..0 # SKIP needs root and /dev/fuse");
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
