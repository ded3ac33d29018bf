/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzing what QEMU says: a session and typed commands against an input that answers
 * them. */
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/util.h"
#include "hotplug/plug.h"

/*
 * The input is what QEMU writes, in chunks with a form feed between (no JSON has one):
 * the first is said at once, each other one when the session has sent a line. A session
 * that waits for what the input does not have gets the next chunk after STALL_MS, and the
 * end after the last.
 */
#define INPUT_MAX 65536 /* one chunk always fits into the socket */
#define STALL_MS  1
#define CHUNK_END '\f'

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
	int fd;
	const uint8_t *data;
	size_t size;
};

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	const uint8_t *at = p->data, *end = p->data + p->size;
	char line[4096];

	while (at < end) {
		const uint8_t *stop = memchr(at, CHUNK_END, (size_t)(end - at));

		if (!stop)
			stop = end;
		if (stop > at && sock_send(p->fd, at, (size_t)(stop - at), NULL, 0,
					 DEADLINE_NONE) < 0)
			break;
		at = stop + 1;
		if (wait_fd(p->fd, POLLIN, deadline_after_ms(STALL_MS)) == 0 &&
			recv(p->fd, line, sizeof(line), 0) <= 0)
			break;
	}
	shutdown(p->fd, SHUT_WR);
	return NULL;
}

static bool any_device(void *user, struct json_object *data)
{
	const char *device;

	(void)user;
	return json_get_string(data, "device", &device, NULL) == 0;
}

/* Results are looked at by the sanitizers only. */
static void use_session(struct qmp *q)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ struct json_object *data = NULL;
	_cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
	int64_t deadline = deadline_after_ms(5000);
	struct err err;

	plug_vcpus(q, 3, deadline, &err);
	qmp_ringbuf_read(q, "console", 7, &text, deadline, &err);
	qmp_wait_event(q,
		&(struct qmp_event_wait){
			.name = "DEVICE_DELETED", .match = any_device, .deadline = 0},
		&data, &err);
	qmp_stop(q, deadline, &err);
	qmp_migrate_to_fd(q, state_fd, deadline, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer peer = {.data = data, .size = MIN(size, (size_t)INPUT_MAX)};
	struct qmp *q = NULL;
	pthread_t thread;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	peer.fd = fds[1];
	if (thread_start(peer_main, &peer, 256 << 10, false, &thread) < 0)
		abort();
	if (qmp_new(fds[0], deadline_after_ms(5000), &q, NULL) == 0)
		use_session(q);
	qmp_free(q);
	pthread_join(thread, NULL);
	close(peer.fd);
	return 0;
}
