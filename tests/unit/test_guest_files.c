/* SPDX-License-Identifier: Apache-2.0 */
/* guest/files: mounts of this machine's own FUSE, by storages, with a small server. */
#include "tests/unit/guest_world.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "base/thread.h"
#include "guest/init.h"
#include "guest/port.h"
#include "guest/storage.h"
#include "guest/window.h"
#include "tests/unit/pump_peer.h"

/*
 * The server has one file "file" of MAX_BYTES in each tree, and trees that are a file. A
 * number of NO_TREE and above it does not know. It answers each request before the next.
 */
#define MAX_BYTES (3u << 20)
#define NO_TREE   4000
#define NODE_FILE 2
#define A         GUEST_SHARED_ROOT "/shared/a"

static struct {
	struct files_peer peer;
	pthread_t thread;
	int port, window_fd, files_fd;
	uint8_t *data;           /* the file's */
	unsigned int free_slots; /* bits */
	struct waiting {
		struct waiting *next;
		struct peer_frame frame;
	} * waiting, **waiting_end; /* read, not served */
	unsigned int unmounted, big_reads, big_writes;
	pthread_mutex_t lock;
	pthread_cond_t changed;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- in place of the guest's devices ---- */

int port_open(const char *name, int flags, int64_t deadline, int *ret_fd, struct err *err)
{
	(void)deadline, (void)err;
	assert_string_equal(name, FILES_PORT);
	assert_int_equal(flags, O_RDWR | O_NONBLOCK);
	*ret_fd = steal_fd(&server.port);
	return 0;
}

int port_wait_connected(int fd, int64_t deadline, struct err *err)
{
	(void)fd, (void)deadline, (void)err;
	return 0;
}

int window_open(void **ret, struct err *err)
{
	(void)err;
	*ret = mmap(NULL, FILES_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		server.window_fd, 0);
	return *ret == MAP_FAILED ? -errno : 0;
}

/* ---- the server ---- */

static unsigned int read_count(const unsigned int *counter)
{
	unsigned int n;

	pthread_mutex_lock(&server.lock);
	n = *counter;
	pthread_mutex_unlock(&server.lock);
	return n;
}

static void count(unsigned int *counter)
{
	pthread_mutex_lock(&server.lock);
	(*counter)++;
	pthread_cond_broadcast(&server.changed);
	pthread_mutex_unlock(&server.lock);
}

static void wait_count(const unsigned int *counter, unsigned int n)
{
	pthread_mutex_lock(&server.lock);
	while (*counter < n)
		pthread_cond_wait(&server.changed, &server.lock);
	pthread_mutex_unlock(&server.lock);
}

/* Odd numbers are of trees that are a file. */
#define MOUNT_SOCKET 4

static struct fuse_attr attr_of(uint64_t node, unsigned int mount)
{
	bool is_file = node == NODE_FILE || mount % 2;
	struct fuse_attr attr = {.ino = node,
		.mode = is_file ? S_IFREG | 0644 : S_IFDIR | 0755,
		.nlink = 1,
		.size = is_file ? MAX_BYTES : 0};

	if (mount == MOUNT_SOCKET)
		attr.mode = S_IFSOCK | 0660;
	return attr;
}

struct call {
	const struct fuse_in_header *in;
	const void *arg;
	unsigned int mount;
	uint8_t out[sizeof(struct fuse_out_header) + FILES_DATA_BYTES];
	size_t out_len; /* without the header */
	int error;
};

static void serve_attr(struct call *c)
{
	struct fuse_entry_out entry = {.nodeid = NODE_FILE,
		.attr = attr_of(NODE_FILE, c->mount),
		.entry_valid = 100,
		.attr_valid = 100};
	struct fuse_attr_out attr = {
		.attr_valid = 100, .attr = attr_of(c->in->nodeid, c->mount)};
	uint8_t *at = c->out + sizeof(struct fuse_out_header);

	if (c->in->opcode == FUSE_LOOKUP && strcmp(c->arg, "file") != 0) {
		c->error = -ENOENT;
	} else if (c->in->opcode == FUSE_LOOKUP) {
		memcpy(at, &entry, sizeof(entry));
		c->out_len = sizeof(entry);
	} else {
		memcpy(at, &attr, sizeof(attr));
		c->out_len = sizeof(attr);
	}
}

static void serve_data(struct call *c)
{
	uint8_t *at = c->out + sizeof(struct fuse_out_header);

	if (c->in->opcode == FUSE_READ) {
		const struct fuse_read_in *in = c->arg;

		assert_in_range(in->size, 1, FILES_DATA_BYTES);
		c->out_len = in->offset < MAX_BYTES
				     ? MIN(in->size, MAX_BYTES - in->offset)
				     : 0;
		memcpy(at, server.data + in->offset, c->out_len);
		if (c->out_len == FILES_DATA_BYTES)
			count(&server.big_reads);
	} else {
		const struct fuse_write_in *in = c->arg;
		struct fuse_write_out out = {.size = in->size};

		assert_in_range(in->offset + in->size, 1, MAX_BYTES);
		pthread_mutex_lock(&server.lock);
		memcpy(server.data + in->offset, in + 1, in->size);
		pthread_mutex_unlock(&server.lock);
		memcpy(at, &out, sizeof(out));
		c->out_len = sizeof(out);
		if (in->size == FILES_DATA_BYTES)
			count(&server.big_writes);
	}
}

static void serve_other(struct call *c)
{
	const struct fuse_init_in *in = c->arg;
	struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = FILES_DATA_BYTES,
		.flags = FUSE_BIG_WRITES | FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS |
			 FUSE_WRITEBACK_CACHE | FUSE_MAX_PAGES,
		.max_background = 32,
		.congestion_threshold = 24,
		.max_write = FILES_DATA_BYTES,
		.max_pages = FILES_DATA_BYTES / 4096,
		.time_gran = 1};
	struct fuse_open_out open = {.fh = 1};
	uint8_t *at = c->out + sizeof(struct fuse_out_header);

	switch (c->in->opcode) {
	case FUSE_INIT:
		/* Its kernel would believe its own size of the root, which is 0. */
		if (c->mount % 2)
			init.flags &= ~(uint32_t)FUSE_WRITEBACK_CACHE;
		init.flags &= in->flags;
		memcpy(at, &init, sizeof(init));
		c->out_len = sizeof(init);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		memcpy(at, &open, sizeof(open));
		c->out_len = sizeof(open);
		break;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
		break;
	default:
		c->error = -ENOSYS;
	}
}

/* False at the end of the stream. */
static bool read_frame(void)
{
	struct waiting *w = xnew0(struct waiting);

	if (!peer_read(&server.peer, &w->frame)) {
		free(w);
		return false;
	}
	if (w->frame.head.done != FILES_NO_SLOT) {
		assert_false(server.free_slots & 1u << w->frame.head.done);
		server.free_slots |= 1u << w->frame.head.done;
	}
	*server.waiting_end = w;
	server.waiting_end = &w->next;
	return true;
}

static unsigned int take_slot(void)
{
	unsigned int slot;

	while (!server.free_slots && read_frame())
		continue;
	assert_true(server.free_slots);
	slot = (unsigned int)__builtin_ctz(server.free_slots);
	server.free_slots &= server.free_slots - 1;
	return slot;
}

static void send_answer(struct call *c)
{
	struct files_frame frame = peer_frame_of(FILES_MESSAGE, c->mount);
	struct fuse_out_header head = {.unique = c->in->unique, .error = c->error};

	head.len = (uint32_t)(sizeof(head) + (c->error ? 0 : c->out_len));
	memcpy(c->out, &head, sizeof(head));
	frame.length = head.len;
	if (head.len > FILES_INLINE_BYTES) {
		frame.slot = (uint8_t)take_slot();
		memcpy(peer_slot(&server.peer, frame.slot), c->out, head.len);
	}
	peer_send(&server.peer, &frame, c->out);
}

static void give_back_slot(unsigned int slot)
{
	struct files_frame frame = peer_frame_of(FILES_DONE, 0);

	frame.done = (uint8_t)slot;
	peer_send(&server.peer, &frame, NULL);
}

static void serve(const struct peer_frame *got)
{
	struct call *c = xnew0(struct call);

	c->in = (const struct fuse_in_header *)got->message;
	c->arg = c->in + 1;
	c->mount = got->head.mount;
	assert_int_equal(c->in->len, got->head.length);
	if (c->mount >= NO_TREE)
		c->error = -EIO;
	else if (c->in->opcode == FUSE_LOOKUP || c->in->opcode == FUSE_GETATTR ||
		 c->in->opcode == FUSE_SETATTR)
		serve_attr(c);
	else if (c->in->opcode == FUSE_READ || c->in->opcode == FUSE_WRITE)
		serve_data(c);
	else
		serve_other(c);
	if (got->head.slot != FILES_NO_SLOT)
		give_back_slot(got->head.slot);
	if (c->in->opcode != FUSE_FORGET && c->in->opcode != FUSE_BATCH_FORGET &&
		c->in->opcode != FUSE_INTERRUPT)
		send_answer(c);
	free(c);
}

static struct waiting *next_frame(void)
{
	struct waiting *w;

	if (!server.waiting && !read_frame())
		return NULL;
	w = server.waiting;
	server.waiting = w->next;
	if (!server.waiting)
		server.waiting_end = &server.waiting;
	return w;
}

static void *run_server(void *arg)
{
	struct waiting *w;

	(void)arg;
	while ((w = next_frame())) {
		if (w->frame.head.kind == FILES_MESSAGE)
			serve(&w->frame);
		else if (w->frame.head.kind == FILES_UNMOUNTED)
			count(&server.unmounted);
		else
			assert_int_equal(w->frame.head.kind, FILES_DONE);
		free(w);
	}
	return NULL;
}

static void start_server(void)
{
	server.data = xzalloc(MAX_BYTES);
	for (size_t i = 0; i < MAX_BYTES; i++)
		server.data[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	server.waiting_end = &server.waiting;
	server.free_slots = (1u << FILES_SLOTS) - (1u << FILES_GUEST_SLOTS);
	peer_init(&server.peer, &server.port, &server.window_fd);
	assert_int_equal(
		thread_start(run_server, NULL, 256 << 10, false, &server.thread), 0);
}

/* ---- storages ---- */

static char *folder_words[] = {"rootmode=40000", "nosuid", "nodev"},
	    *file_words[] = {"rootmode=100000", "ro"},
	    *socket_words[] = {"rootmode=140000"};

static Grpc__Storage storage_of(char *number, char *at)
{
	Grpc__Storage s = GRPC__STORAGE__INIT;

	s.driver = "stencil-files";
	s.source = number;
	s.fstype = "fuse";
	s.mount_point = at;
	s.options = folder_words;
	s.n_options = ARRAY_SIZE(folder_words);
	return s;
}

struct mounts {
	char **paths;
	size_t n;
};

static void mount_it(char *number, char *at, struct mounts *ret)
{
	Grpc__Storage s = storage_of(number, at), *list[] = {&s};
	struct err err = ERR_INIT;

	if (storage_mount(list, 1, &ret->paths, &ret->n, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(ret->n, 1);
}

static void test_mount(void **state)
{
	_cleanup_free_ char *mountinfo = NULL;
	struct mounts m = {0};
	unsigned int unmounted = read_count(&server.unmounted);
	struct stat st;
	size_t len;

	(void)state;
	mount_it("2", A, &m);
	assert_int_equal(stat(A, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
	assert_int_equal(stat(A "/file", &st), 0);
	assert_int_equal(st.st_size, MAX_BYTES);
	assert_int_equal(stat(A "/none", &st), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &mountinfo,
				 &len, NULL),
		0);
	assert_non_null(strstr(mountinfo, A " rw,nosuid,nodev"));
	assert_non_null(strstr(mountinfo, "- fuse.stencil stencil "));
	storage_unmount(&m.paths, &m.n);
	wait_count(&server.unmounted, unmounted + 1);
	assert_int_equal(access(A, F_OK), 0);
}

static void test_limits(void **state)
{
	struct mounts m = {0};
	struct stat st;
	const char *const files[][2] = {
		{"max_ratio", "100\n"},
		{"read_ahead_kb", "256\n"},
	};

	(void)state;
	mount_it("2", A, &m);
	assert_int_equal(stat(A, &st), 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = xasprintf("/sys/class/bdi/%u:%u/%s",
			major(st.st_dev), minor(st.st_dev), files[i][0]);

		assert_file(path, files[i][1]);
	}
	storage_unmount(&m.paths, &m.n);
}

/* A tree that is a file lies on a file. */
static void test_file_root(void **state)
{
	Grpc__Storage s = storage_of("3", A "-folder/one"), *list[] = {&s};
	struct mounts m = {0};
	struct err err = ERR_INIT;
	struct stat st;

	(void)state;
	s.options = file_words;
	s.n_options = ARRAY_SIZE(file_words);
	if (storage_mount(list, 1, &m.paths, &m.n, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(stat(A "-folder/one", &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_size, MAX_BYTES);
	assert_int_equal(open(A "-folder/one", O_RDWR | O_CLOEXEC), -1);
	assert_int_equal(errno, EROFS);
	storage_unmount(&m.paths, &m.n);
	assert_int_equal(stat(A "-folder/one", &st), 0);
	assert_int_equal(st.st_size, 0);
}

/* As a bind mount of docker.sock. */
static void test_socket(void **state)
{
	Grpc__Storage s = storage_of("4", A "-socket"), *list[] = {&s};
	struct mounts m = {0};
	struct err err = ERR_INIT;
	struct stat st;

	(void)state;
	s.options = socket_words;
	s.n_options = ARRAY_SIZE(socket_words);
	if (storage_mount(list, 1, &m.paths, &m.n, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(stat(A "-socket", &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0660);
	storage_unmount(&m.paths, &m.n);
	assert_int_equal(stat(A "-socket", &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void test_refused(void **state)
{
	Grpc__Storage s = storage_of("4000", A), *list[] = {&s};
	struct mounts m = {0};
	struct err err = ERR_INIT;
	unsigned int unmounted = read_count(&server.unmounted);

	(void)state;
	assert_int_equal(storage_mount(list, 1, &m.paths, &m.n, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "the file server, about " A));
	wait_count(&server.unmounted, unmounted + 1);
	s = storage_of("2", A);
	mount_it("2", A, &m);
	assert_error(storage_mount(list, 1, &m.paths, &m.n, &err), -EBUSY,
		"something is mounted on " A " already");
	storage_unmount(&m.paths, &m.n);
}

/* ---- data ---- */

static void assert_data(int fd, uint8_t *buf)
{
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(read_full(fd, buf, MAX_BYTES), 0);
	pthread_mutex_lock(&server.lock);
	assert_memory_equal(buf, server.data, MAX_BYTES);
	pthread_mutex_unlock(&server.lock);
}

static void test_data(void **state)
{
	_cleanup_free_ uint8_t *buf = xzalloc(MAX_BYTES);
	unsigned int reads = read_count(&server.big_reads),
		     writes = read_count(&server.big_writes);
	struct mounts m = {0};
	int fd;

	(void)state;
	mount_it("2", A, &m);
	fd = open(A "/file", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_data(fd, buf);
	assert_true(read_count(&server.big_reads) > reads);
	for (size_t i = 0; i < MAX_BYTES; i++)
		buf[i] = (uint8_t)(i * 13);
	assert_int_equal(pwrite(fd, buf, MAX_BYTES - 5, 5), MAX_BYTES - 5);
	/* What is dirty is written before the mount ends. */
	close(fd);
	storage_unmount(&m.paths, &m.n);
	assert_true(read_count(&server.big_writes) > writes);
	pthread_mutex_lock(&server.lock);
	assert_memory_equal(server.data + 5, buf, MAX_BYTES - 5);
	assert_int_equal(server.data[1], 1);
	pthread_mutex_unlock(&server.lock);
	mount_it("2", A, &m);
	fd = open(A "/file", O_RDONLY | O_CLOEXEC);
	assert_data(fd, buf);
	close(fd);
	storage_unmount(&m.paths, &m.n);
}

/* Many at once, each by a thread, which mounts, reads and unmounts. */
static void *use_mount(void *arg)
{
	_cleanup_free_ char *number = xasprintf("%u", *(unsigned int *)arg),
			    *at = xasprintf(A "-%s", number),
			    *path = xasprintf("%s/file", at);
	_cleanup_free_ uint8_t *buf = xzalloc(MAX_BYTES);
	struct mounts m = {0};
	int fd;

	mount_it(number, at, &m);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_data(fd, buf);
	close(fd);
	storage_unmount(&m.paths, &m.n);
	return NULL;
}

static void test_parallel(void **state)
{
	enum { N = 12 };
	unsigned int numbers[N];
	pthread_t threads[N];

	(void)state;
	for (unsigned int i = 0; i < N; i++) {
		numbers[i] = 10 + 2 * i;
		assert_int_equal(thread_start(use_mount, &numbers[i], 256 << 10, false,
					 &threads[i]),
			0);
	}
	for (unsigned int i = 0; i < N; i++)
		pthread_join(threads[i], NULL);
}

/* One in use is detached, and ends with its user. */
static void test_detached(void **state)
{
	unsigned int unmounted = read_count(&server.unmounted);
	struct mounts m = {0};
	char c;
	int fd;

	(void)state;
	mount_it("2", A, &m);
	fd = open(A "/file", O_RDONLY | O_CLOEXEC);
	storage_unmount(&m.paths, &m.n);
	assert_int_equal(access(A "/file", F_OK), -1);
	assert_int_equal(pread(fd, &c, 1, MAX_BYTES - 1), 1);
	assert_int_equal((uint8_t)c, server.data[MAX_BYTES - 1]);
	close(fd);
	wait_count(&server.unmounted, unmounted + 1);
}

/* The last: nobody waits for a server that is not there. */
static void test_server_ends(void **state)
{
	Grpc__Storage s = storage_of("4", A "-2"), *list[] = {&s};
	struct mounts m = {0}, other = {0};
	struct err err = ERR_INIT;
	struct stat st;

	(void)state;
	mount_it("2", A, &m);
	shutdown(server.peer.fd, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	/* Not cached, so that it asks. */
	assert_int_equal(stat(A "/none", &st), -1);
	assert_true(errno == ENOTCONN || errno == ECONNABORTED);
	assert_int_equal(storage_mount(list, 1, &other.paths, &other.n, &err), -ENOTCONN);
	assert_string_equal(err.text, "the file server has gone");
	storage_unmount(&m.paths, &m.n);
}

/* The pump's threads end with the server, and nobody waits for them:
 * the agent goes on. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0";
}

static bool has_fuse(void)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	return fd >= 0 && geteuid() == 0 && !world_in_user_namespace;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mount),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_file_root),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_parallel),
		cmocka_unit_test(test_detached),
		cmocka_unit_test(test_server_ends),
	};

	world_enter(0);
	if (!has_fuse())
		world_skip("FUSE");
	world_tmpfs("/run");
	if (mkdir_parents(GUEST_SHARED_ROOT "/shared", 0755, NULL) < 0)
		world_skip(GUEST_SHARED_ROOT);
	log_init("test", open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
	start_server();
	return cmocka_run_group_tests_name("guest/files", tests, NULL, NULL);
}
