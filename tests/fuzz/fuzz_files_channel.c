/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzing what a guest sends its file server: the input's bytes against a channel whose
 * tree is in memory. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/util.h"
#include "files/channel.h"
#include "tests/unit/memory_tree.h"

/*
 * The input: a length of two bytes, so many bytes for the beginning of each slot of the
 * guest's, and the stream. What the server says is read away; the end of the stream ends
 * it.
 */
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
	int fd;
	const uint8_t *data;
	size_t size;
};

static void *peer_write(void *arg)
{
	struct peer *p = arg;

	sock_send(p->fd, p->data, p->size, NULL, 0, DEADLINE_NONE);
	shutdown(p->fd, SHUT_WR);
	return NULL;
}

static void *peer_read(void *arg)
{
	struct peer *p = arg;
	char said[4096];

	while (recv(p->fd, said, sizeof(said), 0) > 0)
		;
	return NULL;
}

static int window_new(const uint8_t *data, size_t size)
{
	int fd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, FILES_WINDOW_BYTES) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		abort();
	for (unsigned int i = 0; i < FILES_GUEST_SLOTS; i++)
		if (pwrite(fd, data, size, (off_t)i * FILES_SLOT_BYTES) != (ssize_t)size)
			abort();
	return fd;
}

static void serve(int fd, int window_fd)
{
	_cleanup_(channel) struct channel *channel = NULL;
	struct tree_options options = {.inodes_max = 10, .handles_max = 10};
	struct err err;

	if (channel_new(fd, window_fd, &channel, &err) < 0)
		abort();
	for (unsigned int mount = 0; mount < 3; mount++) {
		if (channel_add(channel, mount, 0, &options, &err) < 0)
			abort();
		memory_tree_open_gate(memory_tree_last);
	}
	channel_run(channel, &err);
	channel_remove(channel, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer peer;
	pthread_t writer, reader;
	size_t slots;
	int pair[2], window_fd;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	slots = MIN((size_t)(data[0] | data[1] << 8), size - 2);
	window_fd = window_new(data + 2, slots);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	peer = (struct peer){
		.fd = pair[0], .data = data + 2 + slots, .size = size - 2 - slots};
	if (thread_start(peer_write, &peer, 256 << 10, false, &writer) < 0 ||
		thread_start(peer_read, &peer, 256 << 10, false, &reader) < 0)
		abort();
	serve(pair[1], window_fd);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	close(pair[0]);
	close(pair[1]);
	close(window_fd);
	if (memory_trees != 0)
		abort();
	return 0;
}
