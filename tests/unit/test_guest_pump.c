/* SPDX-License-Identifier: Apache-2.0 */
/* guest/pump: frames, slots, credits and the end, with a scripted host and kernel. */
#include "tests/unit/guest_world.h"

#include <sys/stat.h>

#include "base/log.h"
#include "guest/pump.h"
#include "guest/pump_internal.h"
#include "tests/unit/pump_peer.h"

/*
 * The kernel's end of a /dev/fuse is a socket that keeps messages apart; a test closes it
 * to unmount. Of messages only the header means anything here.
 */
#define MOUNT 7
#define BIG   150000 /* a socket's buffer takes it */

struct rig {
	struct files_peer host;
	struct pump *pump;
	int window_fd, kernel, aborted; /* aborted: reads "1" when the mount is aborted */
	uint8_t *window;
	struct peer_frame got;
};

static void add_mount(
	struct rig *rig, unsigned int mount, int *ret_kernel, int *ret_aborted)
{
	struct pump_source fds;
	struct err err = ERR_INIT;
	int pair[2], pipe_fds[2], size = 1 << 20;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	fds = (struct pump_source){.fuse_fd = pair[1], .abort_fd = pipe_fds[1]};
	if (pump_add(rig->pump, mount, &fds, soon(), &err) < 0)
		fail_msg("%s", err.text);
	*ret_kernel = pair[0];
	*ret_aborted = pipe_fds[0];
}

static int setup(void **state)
{
	struct rig *rig = xnew0(struct rig);
	struct err err = ERR_INIT;
	int port;

	peer_init(&rig->host, &port, &rig->window_fd);
	rig->window = mmap(NULL, FILES_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		rig->window_fd, 0);
	assert_ptr_not_equal(rig->window, MAP_FAILED);
	if (pump_new(port, &rig->pump, &err) < 0)
		fail_msg("%s", err.text);
	pump_set_window(rig->pump, rig->window);
	add_mount(rig, MOUNT, &rig->kernel, &rig->aborted);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	pump_free(rig->pump);
	peer_done(&rig->host);
	munmap(rig->window, FILES_WINDOW_BYTES);
	close(rig->window_fd);
	close_fd(rig->kernel);
	close(rig->aborted);
	free(rig);
	return 0;
}

/* ---- messages ---- */

static void fill(uint8_t *data, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(seed + i * 7);
}

static void request_on(int kernel, unsigned int opcode, uint64_t unique, size_t len)
{
	_cleanup_free_ uint8_t *message = xzalloc(len);
	struct fuse_in_header head = {
		.len = (uint32_t)len, .opcode = opcode, .unique = unique};

	fill(message, len, unique);
	memcpy(message, &head, sizeof(head));
	assert_int_equal(write(kernel, message, len), len);
}

static void request(struct rig *rig, unsigned int opcode, uint64_t unique, size_t len)
{
	request_on(rig->kernel, opcode, unique, len);
}

/* The frame's message is the request that was made. */
static void assert_request(struct rig *rig, uint64_t unique, size_t len)
{
	_cleanup_free_ uint8_t *message = xzalloc(len);
	struct fuse_in_header head;

	assert_int_equal(rig->got.head.kind, FILES_MESSAGE);
	assert_int_equal(rig->got.head.length, len);
	assert_int_equal(rig->got.head.credited, 0);
	memcpy(&head, rig->got.message, sizeof(head));
	assert_int_equal(head.unique, unique);
	fill(message, len, unique);
	assert_memory_equal(message + sizeof(head), rig->got.message + sizeof(head),
		len - sizeof(head));
}

static void answer_frame(struct rig *rig, struct files_frame *frame, uint64_t unique)
{
	_cleanup_free_ uint8_t *message = xzalloc(frame->length);
	struct fuse_out_header head = {.len = frame->length, .unique = unique};

	fill(message, frame->length, unique + 1);
	memcpy(message, &head, sizeof(head));
	if (frame->slot != FILES_NO_SLOT)
		memcpy(peer_slot(&rig->host, frame->slot), message, frame->length);
	peer_send(&rig->host, frame, message);
}

static void answer(struct rig *rig, uint64_t unique, size_t len, unsigned int slot)
{
	struct files_frame frame = peer_frame_of(FILES_MESSAGE, MOUNT);

	frame.length = (uint32_t)len;
	frame.slot = (uint8_t)slot;
	answer_frame(rig, &frame, unique);
}

static void assert_answer_on(int kernel, uint64_t unique, size_t len)
{
	_cleanup_free_ uint8_t *message = xzalloc(len), *got = xzalloc(len + 1);
	struct fuse_out_header head;

	assert_int_equal(wait_fd(kernel, POLLIN, soon()), 0);
	assert_int_equal(read(kernel, got, len + 1), len);
	memcpy(&head, got, sizeof(head));
	assert_int_equal(head.unique, unique);
	fill(message, len, unique + 1);
	assert_memory_equal(
		message + sizeof(head), got + sizeof(head), len - sizeof(head));
}

static void expect(struct rig *rig)
{
	peer_expect(&rig->host, &rig->got);
}

/* ---- moving messages ---- */

static void test_small(void **state)
{
	struct rig *rig = *state;
	const size_t lens[] = {sizeof(struct fuse_in_header), 41, 3999, 4000};

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		request(rig, FUSE_GETATTR, i + 1, lens[i]);
		expect(rig);
		assert_request(rig, i + 1, lens[i]);
		assert_int_equal(rig->got.head.slot, FILES_NO_SLOT);
		assert_int_equal(rig->got.head.done, FILES_NO_SLOT);
		assert_int_equal(rig->got.head.mount, MOUNT);
		answer(rig, i + 1, i == 0 ? sizeof(struct fuse_out_header) : lens[i],
			FILES_NO_SLOT);
		assert_answer_on(rig->kernel, i + 1,
			i == 0 ? sizeof(struct fuse_out_header) : lens[i]);
	}
}

static void test_big(void **state)
{
	struct rig *rig = *state;
	const size_t lens[] = {4001, BIG, BIG + 13};

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		request(rig, FUSE_WRITE, i + 1, lens[i]);
		expect(rig);
		assert_request(rig, i + 1, lens[i]);
		assert_int_equal(rig->got.head.slot, i);
		/* The slot of the answer before goes along. */
		assert_int_equal(rig->got.head.done,
			i == 0 ? FILES_NO_SLOT : FILES_GUEST_SLOTS + i - 1);
		answer(rig, i + 1, lens[i], FILES_GUEST_SLOTS + (unsigned int)i);
		assert_answer_on(rig->kernel, i + 1, lens[i]);
	}
}

/* The stream has no borders but the frames'. */
static void test_stream(void **state)
{
	struct rig *rig = *state;
	struct files_frame frame = peer_frame_of(FILES_MESSAGE, MOUNT);
	uint8_t all[3 * (sizeof(frame) + 100)], *at = all;

	for (uint64_t i = 1; i <= 3; i++) {
		struct fuse_out_header head = {.len = 100, .unique = i};

		request(rig, FUSE_GETATTR, i, 56);
		expect(rig);
		frame.length = 100;
		memcpy(at, &frame, sizeof(frame));
		fill(at + sizeof(frame), 100, i + 1);
		memcpy(at + sizeof(frame), &head, sizeof(head));
		at += sizeof(frame) + 100;
	}
	for (size_t i = 0; i < 113; i++)
		assert_int_equal(write(rig->host.fd, all + i, 1), 1);
	assert_answer_on(rig->kernel, 1, 100);
	assert_int_equal(write_full(rig->host.fd, all + 113, sizeof(all) - 113), 0);
	assert_answer_on(rig->kernel, 2, 100);
	assert_answer_on(rig->kernel, 3, 100);
}

static void test_many_mounts(void **state)
{
	enum { N = 64 };
	struct rig *rig = *state;
	int kernels[N], aborts[N];

	for (unsigned int i = 0; i < N; i++) {
		add_mount(rig, FILES_MOUNTS_MAX - 1 - i, &kernels[i], &aborts[i]);
		request_on(kernels[i], FUSE_GETATTR, 100 + i, 56);
	}
	for (unsigned int i = 0; i < N; i++) {
		struct files_frame frame = peer_frame_of(FILES_MESSAGE, 0);
		struct fuse_in_header head;

		expect(rig);
		memcpy(&head, rig->got.message, sizeof(head));
		assert_int_equal(
			FILES_MOUNTS_MAX - 1 - rig->got.head.mount, head.unique - 100);
		frame.mount = rig->got.head.mount;
		frame.length = 40;
		answer_frame(rig, &frame, head.unique);
	}
	for (unsigned int i = 0; i < N; i++) {
		assert_answer_on(kernels[i], 100 + i, 40);
		close(kernels[i]);
		close(aborts[i]);
	}
}

/* ---- slots ---- */

static void test_slots_run_out(void **state)
{
	struct rig *rig = *state;
	struct files_frame done = peer_frame_of(FILES_DONE, 0);

	for (unsigned int i = 0; i < FILES_GUEST_SLOTS; i++) {
		request(rig, FUSE_WRITE, i + 1, 5000);
		expect(rig);
		assert_int_equal(rig->got.head.slot, i);
	}
	request(rig, FUSE_WRITE, 100, 5000);
	request(rig, FUSE_WRITE, 101, 5001);
	peer_silent(&rig->host);
	done.done = 3;
	peer_send(&rig->host, &done, NULL);
	expect(rig);
	assert_request(rig, 100, 5000);
	assert_int_equal(rig->got.head.slot, 3);
	/* An answer gives one back as well. */
	done = peer_frame_of(FILES_MESSAGE, MOUNT);
	done.length = 16;
	done.done = 5;
	answer_frame(rig, &done, 6);
	assert_answer_on(rig->kernel, 6, 16);
	expect(rig);
	assert_request(rig, 101, 5001);
	assert_int_equal(rig->got.head.slot, 5);
}

/* Slots of the server's go back along with a message, or when they are many. */
static void test_server_slots(void **state)
{
	struct rig *rig = *state;

	for (uint64_t i = 0; i < PUMP_DONE_LAZY; i++) {
		request(rig, FUSE_READ, i + 1, 80);
		expect(rig);
		assert_int_equal(rig->got.head.done, FILES_NO_SLOT);
	}
	for (unsigned int i = 0; i < PUMP_DONE_LAZY - 1; i++) {
		answer(rig, i + 1, 20000, FILES_GUEST_SLOTS + i);
		assert_answer_on(rig->kernel, i + 1, 20000);
	}
	peer_silent(&rig->host);
	answer(rig, PUMP_DONE_LAZY, 20000, FILES_SLOTS - 1);
	assert_answer_on(rig->kernel, PUMP_DONE_LAZY, 20000);
	for (unsigned int i = 0; i < PUMP_DONE_LAZY; i++) {
		expect(rig);
		assert_int_equal(rig->got.head.kind, FILES_DONE);
		assert_int_equal(rig->got.head.length, 0);
		assert_int_equal(rig->got.head.done,
			i < PUMP_DONE_LAZY - 1 ? FILES_GUEST_SLOTS + i : FILES_SLOTS - 1);
	}
}

/* ---- credits ---- */

static void take_credits(struct rig *rig, unsigned int n)
{
	for (uint64_t i = 1; i <= n; i++) {
		request(rig, FUSE_READ, i, 80);
		expect(rig);
		assert_request(rig, i, 80);
	}
}

static void test_credits_run_out(void **state)
{
	struct rig *rig = *state;

	take_credits(rig, FILES_CREDITS);
	/* These take none. */
	request(rig, FUSE_FORGET, 500, 48);
	request(rig, FUSE_BATCH_FORGET, 501, BIG);
	request(rig, FUSE_INTERRUPT, 502, 48);
	for (uint64_t i = 500; i <= 502; i++) {
		expect(rig);
		assert_request(rig, i, i == 501 ? BIG : 48);
	}
	request(rig, FUSE_READ, 100, 80);
	request(rig, FUSE_READ, 101, 80);
	peer_silent(&rig->host);
	answer(rig, 1, 16, FILES_NO_SLOT);
	expect(rig);
	assert_request(rig, 100, 80);
	peer_silent(&rig->host);
	answer(rig, 2, 16, FILES_NO_SLOT);
	expect(rig);
	assert_request(rig, 101, 80);
}

/* A credit that came back early does not come back again. */
static void test_credit_early(void **state)
{
	struct rig *rig = *state;
	struct files_frame frame = peer_frame_of(FILES_CREDIT, MOUNT);

	take_credits(rig, FILES_CREDITS);
	request(rig, FUSE_READ, 100, 80);
	peer_send(&rig->host, &frame, NULL);
	expect(rig);
	assert_request(rig, 100, 80);
	request(rig, FUSE_READ, 101, 80);
	frame = peer_frame_of(FILES_MESSAGE, MOUNT);
	frame.length = 16;
	frame.credited = 1;
	answer_frame(rig, &frame, 1);
	assert_answer_on(rig->kernel, 1, 16);
	peer_silent(&rig->host);
	answer(rig, 2, 16, FILES_NO_SLOT);
	expect(rig);
	assert_request(rig, 101, 80);
}

/* While credits are waited for the server's slots still go back. */
static void test_slots_without_credits(void **state)
{
	struct rig *rig = *state;

	take_credits(rig, FILES_CREDITS);
	request(rig, FUSE_READ, 100, 80);
	for (unsigned int i = 0; i < PUMP_DONE_LAZY; i++) {
		struct files_frame frame = peer_frame_of(FILES_MESSAGE, MOUNT);

		frame.length = 5000;
		frame.slot = (uint8_t)(FILES_GUEST_SLOTS + i);
		frame.credited = 1;
		answer_frame(rig, &frame, i + 1);
	}
	for (unsigned int i = 0; i < PUMP_DONE_LAZY; i++) {
		expect(rig);
		assert_int_equal(rig->got.head.kind, FILES_DONE);
	}
	peer_silent(&rig->host);
}

/* ---- notifications ---- */

static void test_notify(void **state)
{
	struct rig *rig = *state;
	struct files_frame frame = peer_frame_of(FILES_MESSAGE, MOUNT);

	frame.length = 60;
	for (unsigned int i = 0; i < 2 * FILES_CREDITS; i++) {
		answer_frame(rig, &frame, 0);
		assert_answer_on(rig->kernel, 0, 60);
	}
	/* Of a mount that is not there. */
	frame.mount = 9;
	answer_frame(rig, &frame, 0);
	frame.mount = MOUNT;
	answer_frame(rig, &frame, 0);
	assert_answer_on(rig->kernel, 0, 60);
}

static void test_shrink(void **state)
{
	struct rig *rig = *state;
	struct files_frame frame = peer_frame_of(FILES_SHRINK, 0);
	_cleanup_close_ int fd = -1;
	char text[8] = "";

	world_tmpfs("/proc/sys/vm");
	assert_int_equal(mkfifo("/proc/sys/vm/drop_caches", 0600), 0);
	fd = open("/proc/sys/vm/drop_caches", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	peer_send(&rig->host, &frame, NULL);
	assert_int_equal(wait_fd(fd, POLLIN, soon()), 0);
	assert_int_equal(read(fd, text, sizeof(text)), 1);
	assert_string_equal(text, "2");
	assert_int_equal(umount2("/proc/sys/vm", MNT_DETACH), 0);
}

/* ---- ends ---- */

static void test_unmount(void **state)
{
	struct rig *rig = *state;
	int kernel, aborted;
	unsigned int fds = count_fds();

	add_mount(rig, 12, &kernel, &aborted);
	close(kernel);
	expect(rig);
	assert_int_equal(rig->got.head.kind, FILES_UNMOUNTED);
	assert_int_equal(rig->got.head.mount, 12);
	assert_int_equal(rig->got.head.length, 0);
	/* Its end, and nobody wrote to it. */
	assert_int_equal(wait_fd(aborted, POLLHUP, soon()), 0);
	assert_int_equal(read(aborted, &kernel, 1), 0);
	close(aborted);
	assert_int_equal(count_fds(), fds);
	/* The number may be used again, and the others go on. */
	add_mount(rig, 12, &kernel, &aborted);
	request_on(kernel, FUSE_INIT, 1, 104);
	expect(rig);
	assert_request(rig, 1, 104);
	assert_int_equal(rig->got.head.mount, 12);
	request(rig, FUSE_READ, 2, 80);
	expect(rig);
	assert_request(rig, 2, 80);
	close(kernel);
	close(aborted);
}

/* An answer that comes after its mount has gone gives back what it has to. */
static void test_late_answer(void **state)
{
	struct rig *rig = *state;

	take_credits(rig, FILES_CREDITS);
	close(steal_fd(&rig->kernel));
	expect(rig);
	assert_int_equal(rig->got.head.kind, FILES_UNMOUNTED);
	for (uint64_t i = 1; i <= FILES_CREDITS; i++)
		answer(rig, i, 16, FILES_NO_SLOT);
	close(rig->aborted);
	add_mount(rig, MOUNT, &rig->kernel, &rig->aborted);
	take_credits(rig, FILES_CREDITS);
}

static void assert_broken(struct rig *rig)
{
	struct pump_source fds = {.fuse_fd = -1, .abort_fd = -1};
	struct err err = ERR_INIT;
	char c = 0;

	assert_int_equal(wait_fd(rig->aborted, POLLIN, soon()), 0);
	assert_int_equal(read(rig->aborted, &c, 1), 1);
	assert_int_equal(c, '1');
	assert_error(pump_add(rig->pump, 99, &fds, soon(), &err), -ENOTCONN,
		"the file server has gone");
}

static void test_server_ends(void **state)
{
	struct rig *rig = *state;

	close(steal_fd(&rig->host.fd));
	assert_broken(rig);
}

/* The up thread may be waiting for anything. */
static void test_server_ends_waited_for(void **state)
{
	struct rig *rig = *state;

	take_credits(rig, FILES_CREDITS);
	request(rig, FUSE_READ, 100, 80);
	peer_silent(&rig->host);
	close(steal_fd(&rig->host.fd));
	assert_broken(rig);
}

/* A port that is full: nobody reads it. */
static void test_server_ends_full(void **state)
{
	struct rig *rig = *state;
	int size = 2048;

	setsockopt(rig->pump->port_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (uint64_t i = 1; i <= 20; i++)
		request(rig, FUSE_READ, i, 3000);
	assert_int_equal(wait_fd(rig->host.fd, POLLIN, soon()), 0);
	close(steal_fd(&rig->host.fd));
	assert_broken(rig);
}

static void test_number_in_use(void **state)
{
	struct rig *rig = *state;
	struct pump_source fds = {.fuse_fd = -1, .abort_fd = -1};
	struct err err = ERR_INIT;

	assert_error(pump_add(rig->pump, MOUNT, &fds, deadline_after_ms(10), &err),
		-EBUSY, "mount 7 is still in use");
	assert_error(pump_add(rig->pump, FILES_MOUNTS_MAX, &fds, soon(), &err), -ERANGE,
		"mount 4096, they end at 4096");
	assert_error(pump_add(rig->pump, 8, &fds, soon(), &err), -EBADF,
		"watch the mount: Bad file descriptor");
}

/* ---- what a server may not send ---- */

#define NO FILES_NO_SLOT
static const struct {
	const char *what;
	struct files_frame frame;
	uint32_t len;    /* in the message's header */
	uint64_t unique; /* 1 and 2 are asked for, 1 lies in slot 0 */
} wrong[] = {
	{"kind 0", {0, MOUNT, 0, NO, NO, 0, {0}}, 0, 0},
	{"kind 7", {0, MOUNT, 7, NO, NO, 0, {0}}, 0, 0},
	{"the guest's kind", {0, MOUNT, FILES_UNMOUNTED, NO, NO, 0, {0}}, 0, 0},
	{"zero", {0, MOUNT, FILES_DONE, NO, 0, 0, {0, 1}}, 0, 0},
	{"credited without a message", {0, MOUNT, FILES_DONE, NO, 0, 1, {0}}, 0, 0},
	{"credited twice", {16, MOUNT, FILES_MESSAGE, NO, NO, 2, {0}}, 16, 1},
	{"mount", {16, FILES_MOUNTS_MAX, FILES_MESSAGE, NO, NO, 0, {0}}, 16, 1},
	{"a free slot", {0, 0, FILES_DONE, NO, 1, 0, {0}}, 0, 0},
	{"its own slot back", {0, 0, FILES_DONE, NO, FILES_GUEST_SLOTS, 0, {0}}, 0, 0},
	{"no slot at all", {0, 0, FILES_DONE, NO, FILES_SLOTS, 0, {0}}, 0, 0},
	{"a length without message", {4, 0, FILES_DONE, NO, 0, 0, {0}}, 0, 0},
	{"a slot without message", {0, 0, FILES_CREDIT, FILES_GUEST_SLOTS, NO, 0, {0}}, 0,
		0},
	{"the guest's slot", {16, MOUNT, FILES_MESSAGE, 0, NO, 0, {0}}, 16, 1},
	{"no slot for a message", {16, MOUNT, FILES_MESSAGE, FILES_SLOTS, NO, 0, {0}}, 16,
		1},
	{"too short", {15, MOUNT, FILES_MESSAGE, NO, NO, 0, {0}}, 15, 1},
	{"too long inline", {4001, MOUNT, FILES_MESSAGE, NO, NO, 0, {0}}, 4001, 1},
	{"too long for a slot",
		{FILES_SLOT_BYTES + 1, MOUNT, FILES_MESSAGE, FILES_GUEST_SLOTS, NO, 0,
			{0}},
		0, 1},
	{"two lengths", {17, MOUNT, FILES_MESSAGE, NO, NO, 0, {0}}, 16, 1},
	{"two lengths in a slot",
		{5000, MOUNT, FILES_MESSAGE, FILES_GUEST_SLOTS, NO, 0, {0}}, 5001, 1},
};

static void test_wrong_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t message[sizeof(struct files_frame) + FILES_SLOT_BYTES] = {0};
		struct fuse_out_header head = {
			.len = wrong[i].len, .unique = wrong[i].unique};
		const struct files_frame *f = &wrong[i].frame;
		struct rig *rig;

		setup((void **)&rig);
		request(rig, FUSE_WRITE, 1, 5000);
		request(rig, FUSE_READ, 2, 80);
		expect(rig);
		expect(rig);
		memcpy(message, f, sizeof(*f));
		memcpy(message + sizeof(*f), &head, sizeof(head));
		memcpy(peer_slot(&rig->host, FILES_GUEST_SLOTS), &head, sizeof(head));
		print_message("# %s\n", wrong[i].what);
		assert_int_equal(write_full(rig->host.fd, message,
					 sizeof(*f) + (f->slot == NO ? f->length : 0)),
			0);
		assert_broken(rig);
		teardown((void **)&rig);
	}
}

/* What was given back already does not come again. */
static void test_given_twice(void **state)
{
	struct rig *rig = *state;
	struct files_frame frame = peer_frame_of(FILES_CREDIT, MOUNT);

	take_credits(rig, 2);
	peer_send(&rig->host, &frame, NULL);
	answer(rig, 2, 16, FILES_NO_SLOT);
	assert_answer_on(rig->kernel, 2, 16);
	peer_send(&rig->host, &frame, NULL);
	assert_broken(rig);
}

/* A slot that the guest has not given back is not the server's. */
static void test_slot_twice(void **state)
{
	struct rig *rig = *state;

	take_credits(rig, 2);
	answer(rig, 1, 5000, FILES_GUEST_SLOTS);
	assert_answer_on(rig->kernel, 1, 5000);
	answer(rig, 2, 5000, FILES_GUEST_SLOTS);
	assert_broken(rig);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIGGED(test_small),
		RIGGED(test_big),
		RIGGED(test_stream),
		RIGGED(test_many_mounts),
		RIGGED(test_slots_run_out),
		RIGGED(test_server_slots),
		RIGGED(test_credits_run_out),
		RIGGED(test_credit_early),
		RIGGED(test_slots_without_credits),
		RIGGED(test_notify),
		RIGGED(test_shrink),
		RIGGED(test_unmount),
		RIGGED(test_late_answer),
		RIGGED(test_server_ends),
		RIGGED(test_server_ends_waited_for),
		RIGGED(test_server_ends_full),
		RIGGED(test_number_in_use),
		cmocka_unit_test(test_wrong_frames),
		RIGGED(test_given_twice),
		RIGGED(test_slot_twice),
	};

	world_enter(0);
	/* Broken channels are logged as errors; here they are meant. */
	log_init("test", open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("guest/pump", tests, NULL, NULL);
}
