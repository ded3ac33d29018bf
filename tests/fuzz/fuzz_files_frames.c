/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzing what a guest sends its file server, the reader alone: frames, messages, and
 * what is answered at once. fuzz_files_channel.c has its workers, too: threads. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "files/channel_internal.h"
#include "tests/unit/memory_tree.h"

/*
 * The input is fuzz_files_channel's: a length of two bytes, so many bytes for the
 * beginning of each slot of the guest's, and the stream. What is answered to one of this
 * length fits into a socket, and goes with it.
 */
#define STREAM_MAX 2048
#define MOUNTS     3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int window_fd(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	fd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, FILES_WINDOW_BYTES) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		abort();
	return fd;
}

static struct channel *channel_start(int fd)
{
	struct tree_options options = {.inodes_max = 10, .handles_max = 10};
	struct channel *channel;
	struct err err;

	if (channel_new(fd, window_fd(), &channel, &err) < 0)
		abort();
	/* As many as are ever needed: none is started. */
	channel->idle = UINT16_MAX;
	for (unsigned int mount = 0; mount < MOUNTS; mount++) {
		if (channel_add(channel, mount, 0, &options, &err) < 0)
			abort();
		memory_tree_open_gate(memory_tree_last);
	}
	return channel;
}

static void serve(int fd, const uint8_t *data, size_t slots, size_t stream)
{
	struct channel *channel = channel_start(fd);
	struct err err = ERR_INIT;
	uint8_t *exact = xmalloc(stream);
	size_t used = 0;

	for (unsigned int i = 0; i < FILES_GUEST_SLOTS; i++)
		memcpy(channel_slot(channel, i), data, MIN(slots, FILES_SLOT_BYTES));
	memcpy(exact, data + slots, stream);
	if (channel_take_frames(channel, exact, stream, &used, &err) < 0 && err.code == 0)
		abort();
	if (used > stream || channel->held > FILES_CREDITS)
		abort();
	free(exact);
	channel_free(channel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t slots;
	int pair[2];

	if (size < 2)
		return 0;
	slots = MIN((size_t)(data[0] | data[1] << 8), size - 2);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	serve(pair[1], data + 2, slots, MIN(size - 2 - slots, (size_t)STREAM_MAX));
	close(pair[0]);
	close(pair[1]);
	if (memory_trees != 0)
		abort();
	return 0;
}
