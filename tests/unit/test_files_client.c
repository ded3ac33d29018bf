/* SPDX-License-Identifier: Apache-2.0 */
/* files/client with the real stencil-files: a tree served through the channel and the
 * window, its walls, its end. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/mount.h>

#include "base/proc.h"
#include "base/thread.h"
#include "files/client.h"
#include "files/tree.h"
#include "tests/unit/files_guest.h"

#define SERVER_UID 1879100000u

struct fixture {
	struct guest guest;
	struct files_client *client;
	char *folder, *program;
	unsigned int mount;
	pid_t pid;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int ended;
};

static void note_end(void *user)
{
	struct fixture *f = user;

	pthread_mutex_lock(&f->lock);
	f->ended++;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static struct files_start start_of(struct fixture *f)
{
	return (struct files_start){.program = f->program,
		.uid = SERVER_UID,
		.channel_fd = f->guest.peer_fd,
		.window_fd = f->guest.window_fd,
		.log_fd = STDERR_FILENO,
		.ended = note_end,
		.user = f};
}

static pid_t pid_of(int pidfd)
{
	_cleanup_free_ char *path = xasprintf("/proc/self/fdinfo/%d", pidfd);
	_cleanup_free_ char *text = NULL;
	const char *line;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, path, 4096, &text, &len, NULL), 0);
	line = strstr(text, "\nPid:");
	assert_non_null(line);
	return (pid_t)strtol(line + 5, NULL, 10);
}

static int open_tree_of(const char *folder)
{
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, folder,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	assert_true(fd >= 0);
	return fd;
}

static void add_tree(struct fixture *f)
{
	_cleanup_close_ int fd = open_tree_of(f->folder);
	struct files_tree tree = {.mount_fd = fd, .cache = TREE_CACHE_OWN};
	struct err err = ERR_INIT;

	if (files_client_add(f->client, &tree, &f->mount, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct fixture *f = xnew0(struct fixture);
	struct files_start start;
	struct err err = ERR_INIT;

	f->program = xasprintf("%s/stencil-files", getenv("STENCIL_BUILD"));
	f->folder = test_folder_new();
	free(test_file(f->folder, "hello", "hello, guest\n"));
	guest_init(&f->guest);
	pthread_mutex_init(&f->lock, NULL);
	cond_init(&f->changed);
	start = start_of(f);
	if (files_client_new(&start, &f->client, &err) < 0)
		fail_msg("%s", err.text);
	close(steal_fd(&f->guest.peer_fd));
	f->pid = pid_of(files_client_pidfd(f->client));
	add_tree(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	files_client_free(f->client);
	guest_done(&f->guest);
	test_folder_free(f->folder);
	free(f->program);
	free(f);
	return 0;
}

/* ---- serving ---- */

static void start_mount(struct fixture *f)
{
	struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 128 << 10,
		.flags = FUSE_MAX_PAGES | FUSE_BIG_WRITES | FUSE_INIT_EXT};
	struct guest_message m = guest_message(FUSE_INIT, 2, &init, sizeof(init));
	struct fuse_init_out out;
	struct guest_got got;

	guest_send_message(&f->guest, f->mount, &m, FILES_NO_SLOT);
	got = guest_expect_answer(&f->guest, f->mount, 2, 0);
	memcpy(&out, got.data + sizeof(got.out), sizeof(out));
	assert_int_equal(out.max_write, FILES_DATA_BYTES);
}

static uint64_t look_up(struct fixture *f, const char *name)
{
	struct guest_message m = guest_message(FUSE_LOOKUP, 4, name, strlen(name) + 1);
	struct fuse_entry_out entry;
	struct guest_got got;

	guest_send_message(&f->guest, f->mount, &m, FILES_NO_SLOT);
	got = guest_expect_answer(&f->guest, f->mount, 4, 0);
	memcpy(&entry, got.data + sizeof(got.out), sizeof(entry));
	return entry.nodeid;
}

static uint64_t open_node(struct fixture *f, uint64_t node)
{
	struct fuse_open_in open = {.flags = O_RDWR};
	struct guest_message m = guest_message(FUSE_OPEN, 6, &open, sizeof(open));
	struct fuse_open_out out;
	struct guest_got got;

	m.in.nodeid = node;
	guest_send_message(&f->guest, f->mount, &m, FILES_NO_SLOT);
	got = guest_expect_answer(&f->guest, f->mount, 6, 0);
	memcpy(&out, got.data + sizeof(got.out), sizeof(out));
	return out.fh;
}

static void write_by_window(struct fixture *f, uint64_t node, uint64_t fh, uint32_t size)
{
	struct fuse_write_in write = {.fh = fh, .size = size};
	struct guest_message m = guest_message(FUSE_WRITE, 8, &write, sizeof(write));
	uint8_t *slot = guest_slot(&f->guest, 3);
	struct fuse_write_out out;
	struct guest_got got;

	m.in.nodeid = node;
	m.in.len = TREE_WRITE_HEADER + size;
	memcpy(slot, &m, TREE_WRITE_HEADER);
	for (uint32_t i = 0; i < size; i++)
		slot[TREE_WRITE_HEADER + i] = (uint8_t)(i * 13);
	guest_send_slot(&f->guest, f->mount, 3, m.in.len);
	got = guest_expect_answer(&f->guest, f->mount, 8, 0);
	assert_int_equal(got.frame.done, 3);
	memcpy(&out, got.data + sizeof(got.out), sizeof(out));
	assert_int_equal(out.size, size);
}

static void read_by_window(struct fixture *f, uint64_t node, uint64_t fh, uint32_t size)
{
	struct fuse_read_in read = {.fh = fh, .size = FILES_DATA_BYTES};
	struct guest_message m = guest_message(FUSE_READ, 10, &read, sizeof(read));
	struct guest_got got;
	const uint8_t *data;

	m.in.nodeid = node;
	guest_send_message(&f->guest, f->mount, &m, FILES_NO_SLOT);
	got = guest_expect_answer(&f->guest, f->mount, 10, 0);
	assert_int_not_equal(got.frame.slot, FILES_NO_SLOT);
	assert_int_equal(got.frame.length, sizeof(got.out) + size);
	data = guest_slot(&f->guest, got.frame.slot) + sizeof(got.out);
	for (uint32_t i = 0; i < size; i++)
		if (data[i] != (uint8_t)(i * 13))
			fail_msg("byte %u of what was written is wrong", i);
	guest_send_note(&f->guest, 0, FILES_DONE, got.frame.slot);
}

static void test_serve(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/hello", f->folder);
	struct err err = ERR_INIT;
	uint64_t node, fh;
	struct stat st;

	start_mount(f);
	node = look_up(f, "hello");
	fh = open_node(f, node);
	write_by_window(f, node, fh, 200000);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 200000);
	read_by_window(f, node, fh, 200000);
	assert_int_equal(files_client_remove(f->client, f->mount, &err), 0);
	assert_int_equal(files_client_remove(f->client, f->mount, &err), 0);
	guest_send(&f->guest, f->mount, FUSE_GETATTR, 12);
	guest_expect_answer(&f->guest, f->mount, 12, -ENOTCONN);
}

/* POSIX lock requests of two owners: the second waits, is interrupted, waits again and
 * gets the lock. The signal and the system calls of waits pass the filter. */
static void send_lock(struct fixture *f, uint32_t opcode, uint64_t unique, uint64_t owner,
	const struct fuse_lk_in *like)
{
	struct fuse_lk_in lk = *like;
	struct guest_message m;

	lk.owner = owner;
	m = guest_message(opcode, unique, &lk, sizeof(lk));
	m.in.nodeid = look_up(f, "hello");
	guest_send_message(&f->guest, f->mount, &m, FILES_NO_SLOT);
}

static void test_lock_waits(void **state)
{
	struct fixture *f = *state;
	struct fuse_lk_in lk = {.lk = {.start = 0, .end = 9, .type = F_WRLCK, .pid = 1}};
	struct fuse_interrupt_in interrupt = {.unique = 22};
	struct guest_message m =
		guest_message(FUSE_INTERRUPT, 23, &interrupt, sizeof(interrupt));

	start_mount(f);
	lk.fh = open_node(f, look_up(f, "hello"));
	send_lock(f, FUSE_SETLK, 20, 1, &lk);
	guest_expect_answer(&f->guest, f->mount, 20, 0);
	send_lock(f, FUSE_SETLK, 21, 2, &lk);
	guest_expect_answer(&f->guest, f->mount, 21, -EAGAIN);
	send_lock(f, FUSE_SETLKW, 22, 2, &lk);
	guest_expect(&f->guest, FILES_CREDIT);
	guest_send_message(&f->guest, f->mount, &m, FILES_NO_SLOT);
	guest_expect_answer(&f->guest, f->mount, 22, -EINTR);
	send_lock(f, FUSE_SETLKW, 24, 2, &lk);
	guest_expect(&f->guest, FILES_CREDIT);
	lk.lk.type = F_UNLCK;
	send_lock(f, FUSE_SETLK, 26, 1, &lk);
	for (unsigned int i = 0; i < 2; i++) {
		struct guest_got got = guest_expect(&f->guest, FILES_MESSAGE);

		assert_int_equal(got.out.error, 0);
		assert_true(got.out.unique == 24 || got.out.unique == 26);
	}
}

static void test_unmounted(void **state)
{
	struct fixture *f = *state;
	uint64_t node;

	start_mount(f);
	node = look_up(f, "hello");
	open_node(f, node);
	guest_send_note(&f->guest, f->mount, FILES_UNMOUNTED, FILES_NO_SLOT);
	start_mount(f);
	open_node(f, look_up(f, "hello"));
}

static void test_many_trees(void **state)
{
	struct fixture *f = *state;
	unsigned int first = f->mount;
	struct err err = ERR_INIT;
	struct files_tree tree = {.mount_fd = f->guest.fd};

	for (unsigned int i = 1; i < 5; i++) {
		add_tree(f);
		assert_int_equal(f->mount, first + i);
	}
	/* A number is not soon given out again. */
	assert_int_equal(files_client_remove(f->client, first + 1, &err), 0);
	add_tree(f);
	assert_int_equal(f->mount, first + 5);
	assert_int_equal(files_client_remove(f->client, 4711, &err), 0);
	assert_error_names(files_client_add(f->client, &tree, &f->mount, &err), -EINVAL,
		"cannot serve a file tree: the root of a tree is no O_PATH");
}

/* ---- walls ---- */

static char *status_of(const struct fixture *f)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)f->pid);
	char *text;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, path, 65536, &text, &len, NULL), 0);
	return text;
}

static void assert_status(const char *status, const char *line)
{
	_cleanup_free_ char *whole = xasprintf("\n%s\n", line);

	if (!strstr(status, whole))
		fail_msg("\"%s\" is not in:\n%s", line, status);
}

/* The only child of the server's. */
static pid_t keeper_of(const struct fixture *f)
{
	_cleanup_free_ char *path =
		xasprintf("/proc/%d/task/%d/children", (int)f->pid, (int)f->pid);
	_cleanup_free_ char *text = NULL;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, path, 4096, &text, &len, NULL), 0);
	return (pid_t)strtol(text, NULL, 10);
}

/* Of each folder that the server holds, and of where its threads are: what is above it is
 * the folder itself. */
static unsigned int count_dead_ends(pid_t pid, const char *below)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int)pid, below);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct stat own, parent;
	struct dirent *entry;
	unsigned int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *name = xasprintf(
			"%s%s", entry->d_name, strcmp(below, "task") == 0 ? "/cwd" : "");
		_cleanup_close_ int fd =
			*name == '.' ? -1 : openat(dirfd(dir), name, O_PATH | O_CLOEXEC);

		if (fd < 0 || fstat(fd, &own) < 0 || !S_ISDIR(own.st_mode))
			continue;
		assert_int_equal(fstatat(fd, "..", &parent, 0), 0);
		assert_int_equal(own.st_ino, parent.st_ino);
		assert_int_equal(own.st_dev, parent.st_dev);
		n++;
	}
	return n;
}

/* A wall's proof: docs/security.md. */
static void test_nothing_above(void **state)
{
	struct fixture *f = *state;

	start_mount(f);
	look_up(f, "hello"); /* by a thread that has /proc/self/fd as its folder */
	/* /proc/self/fd, two blanks, the tree's root. */
	assert_int_equal(count_dead_ends(f->pid, "fd"), 4);
	assert_true(count_dead_ends(f->pid, "task") >= 2);
	assert_int_equal(count_dead_ends(keeper_of(f), "task"), 1);
}

/* A wall's proof: docs/security.md. */
static void test_walls(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *status = status_of(f);
	_cleanup_free_ char *root = xasprintf("/proc/%d/root/", (int)f->pid);
	_cleanup_free_ char *fds = xasprintf("/proc/%d/fd", (int)f->pid);
	_cleanup_free_ char *into = xasprintf("%sx", root);
	static const char *const namespaces[] = {"mnt", "net", "ipc", "uts"};

	assert_status(status, "Uid:\t1879100000\t1879100000\t1879100000\t1879100000");
	assert_status(status, "Gid:\t1879100000\t1879100000\t1879100000\t1879100000");
	assert_status(status, "Groups:\t ");
	/* CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID,
	 * SETUID, MKNOD, SETFCAP */
	assert_status(status, "CapInh:\t0000000000000000");
	assert_status(status, "CapPrm:\t00000000880000df");
	assert_status(status, "CapEff:\t00000000880000df");
	assert_status(status, "CapBnd:\t00000000880000df");
	assert_status(status, "CapAmb:\t0000000000000000");
	assert_status(status, "NoNewPrivs:\t1");
	assert_status(status, "Seccomp:\t2");
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		test_other_namespace(f->pid, namespaces[i]);
	assert_int_equal(test_entries(root), 0);
	assert_int_equal(mkdir(into, 0700), -1);
	assert_int_equal(errno, EROFS);
	/* Log, control, channel, window, the keeper, /proc/self/fd, three blanks, the
	 * tree: no other. */
	assert_int_equal(test_entries(fds), 12);
}

/* ---- ends ---- */

static void wait_for_end(struct fixture *f)
{
	pthread_mutex_lock(&f->lock);
	while (f->ended == 0)
		assert_int_equal(cond_wait(&f->changed, &f->lock, soon()), 0);
	pthread_mutex_unlock(&f->lock);
}

static void test_killed(void **state)
{
	struct fixture *f = *state;
	struct files_tree tree = {.mount_fd = STDERR_FILENO};
	struct err err = ERR_INIT;
	unsigned int mount;

	assert_int_equal(kill(f->pid, SIGKILL), 0);
	wait_for_end(f);
	assert_error(files_client_add(f->client, &tree, &mount, &err), -EPIPE,
		"cannot serve a file tree: the file server has ended");
	files_client_free(f->client);
	f->client = NULL;
	assert_int_equal(f->ended, 1);
}

/* Overlays would lose their marks: so the server ends, and with it the pod. */
static void test_keeper_killed(void **state)
{
	struct fixture *f = *state;
	pid_t keeper = keeper_of(f);

	assert_true(keeper > 0);
	assert_int_equal(kill(keeper, SIGKILL), 0);
	wait_for_end(f);
}

static void test_keeper_ends(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int pidfd = -1;

	assert_int_equal(pidfd_of(keeper_of(f), &pidfd), 0);
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	assert_int_equal(pidfd_wait(pidfd, soon()), 0);
}

static void test_freed(void **state)
{
	struct fixture *f = *state;

	files_client_free(f->client);
	f->client = NULL;
	assert_int_equal(f->ended, 0);
	assert_int_equal(kill(f->pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

/* A guest that breaks the rules ends its own server. */
static void test_hostile_guest(void **state)
{
	struct fixture *f = *state;

	guest_send(&f->guest, 4095, FUSE_GETATTR, 0);
	wait_for_end(f);
}

/* ---- starts that fail ---- */

static void test_bad_starts(void **state)
{
	struct fixture *f = *state;
	struct files_start start = start_of(f);
	struct files_client *client = NULL;
	struct err err = ERR_INIT;
	_cleanup_free_ char *text = xasprintf("%s/hello", f->folder);
	_cleanup_close_ int small = guest_window_new(4096, F_SEAL_SHRINK);
	int none = -1;

	start.channel_fd = f->guest.fd;
	start.program = "/missing";
	assert_error(files_client_new(&start, &client, &err), -ENOENT,
		"cannot start the file server (/missing): cannot open it (key file_server of "
		"[runtime]): No such file or directory");
	start.program = text;
	assert_error_names(files_client_new(&start, &client, &err), -EACCES,
		"execute it: Permission denied");
	start.program = f->program;
	start.uid = 0;
	assert_error_names(files_client_new(&start, &client, &err), -EINVAL,
		"0 is no uid that it may have");
	start.uid = SERVER_UID;
	start.window_fd = small;
	assert_error_names(files_client_new(&start, &client, &err), -EINVAL,
		"the window has 4096 bytes, not 4194304");
	start.window_fd = f->guest.window_fd;
	start.cgroup_fds = &small;
	start.n_cgroup_fds = 1;
	start.log_fd = none;
	assert_error_names(files_client_new(&start, &client, &err), -EBADF,
		"arrange descriptors: Bad file descriptor");
	start.program = "/bin/true";
	start.log_fd = STDERR_FILENO;
	assert_error_names(files_client_new(&start, &client, &err), -EPIPE,
		"the file server has ended");
	assert_null(client);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SERVER(test_serve),
		WITH_SERVER(test_lock_waits),
		WITH_SERVER(test_unmounted),
		WITH_SERVER(test_many_trees),
		WITH_SERVER(test_walls),
		WITH_SERVER(test_nothing_above),
		WITH_SERVER(test_killed),
		WITH_SERVER(test_keeper_killed),
		WITH_SERVER(test_keeper_ends),
		WITH_SERVER(test_freed),
		WITH_SERVER(test_hostile_guest),
		WITH_SERVER(test_bad_starts),
	};

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
