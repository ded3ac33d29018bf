/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections to the guest's loopback, for the host: port-forward; and others' of the
 * guest: see dial.h. */
#include "guest/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/util.h"
#include "guest/message.h"
#include "guest/service.h"
#include "guest/wait.h"

#define READ_MAX 65536
/* Each costs the agent a descriptor, and the kernel gives process 1 no more than 1024.
 * The host keeps below the first; the second is for those of the guest's own
 * processes. */
#define DIALS_MAX        512
#define GUESTS_DIALS_MAX 256

struct dial {
	struct dial *next;
	uint64_t id;
	unsigned int refs; /* the list's, and of each call */
	bool is_guests;
	int fd;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dial *dials;
static unsigned int n_dials, n_guests_dials; /* all, and the guest's own of them */
static uint64_t last_id;

/* ---- the list ---- */

static void dial_put(struct dial *d)
{
	bool last;

	if (!d)
		return;
	pthread_mutex_lock(&lock);
	last = --d->refs == 0;
	pthread_mutex_unlock(&lock);
	if (!last)
		return;
	close_fd(d->fd);
	free(d);
}

DEFINE_CLEANUP(dial, struct dial *, dial_put);

static int dial_add(int fd, bool is_guests, uint64_t *ret_id, struct err *err)
{
	struct dial *d = NULL;

	pthread_mutex_lock(&lock);
	if (n_dials < DIALS_MAX && (!is_guests || n_guests_dials < GUESTS_DIALS_MAX)) {
		d = xnew0(struct dial);
		*d = (struct dial){.next = dials,
			.id = ++last_id,
			.refs = 1,
			.is_guests = is_guests,
			.fd = fd};
		dials = d;
		n_dials++;
		n_guests_dials += is_guests;
		*ret_id = d->id;
	}
	pthread_mutex_unlock(&lock);
	if (d)
		return 0;
	close(fd);
	return err_set(err, -EMFILE, "there are %d connections already",
		is_guests ? GUESTS_DIALS_MAX : DIALS_MAX);
}

int dial_add_guests(int fd, uint64_t *ret_id, struct err *err)
{
	return dial_add(fd, true, ret_id, err);
}

static int dial_find(uint64_t id, struct dial **ret, struct err *err)
{
	struct dial *d;

	pthread_mutex_lock(&lock);
	for (d = dials; d && d->id != id; d = d->next)
		;
	if (d)
		d->refs++;
	pthread_mutex_unlock(&lock);
	*ret = d;
	return d ? 0 : err_set(err, -ENOENT, "there is no such connection");
}

/* The list's reference is the caller's; NULL: it is not there. */
static struct dial *dial_take(uint64_t id)
{
	struct dial **at = &dials, *d;

	pthread_mutex_lock(&lock);
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	d = *at;
	if (d) {
		*at = d->next;
		n_dials--;
		n_guests_dials -= d->is_guests;
	}
	pthread_mutex_unlock(&lock);
	return d;
}

/* ---- connecting ---- */

static socklen_t make_address(
	const ProtobufCBinaryData *ip, in_port_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (ip->len == 4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, ip->data, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	memcpy(&v6->sin6_addr, ip->data, 16);
	return sizeof(*v6);
}

/* Loopback answers at once, or never: a listener whose queue is full. */
static int connect_to(const ProtobufCBinaryData *ip, in_port_t port,
	struct ttrpc_request *request, int *ret_fd)
{
	struct sockaddr_storage to;
	socklen_t len = make_address(ip, port, &to), size = sizeof(int);
	_cleanup_close_ int fd = socket(
		to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	int error = 0, r;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
		return -errno;
	r = wait_either(
		fd, POLLOUT, ttrpc_request_closed_fd(request), service_deadline(request));
	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	if (error)
		return -error;
	*ret_fd = steal_fd(&fd);
	return 0;
}

SERVICE_HANDLER(handle_dial_port)
{
	static uint8_t v4[] = {127, 0, 0, 1};
	static uint8_t v6[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	const Grpc__DialPortRequest *req = (const Grpc__DialPortRequest *)in;
	const ProtobufCBinaryData other = req->address.len == 4
						  ? (ProtobufCBinaryData){16, v6}
						  : (ProtobufCBinaryData){4, v4};
	Grpc__DialPortResponse *out;
	uint64_t id = 0;
	int fd = -1, r;

	(void)user;
	if ((req->address.len != 4 && req->address.len != 16) || req->port == 0 ||
		req->port > 65535)
		return err_set(err, -EINVAL, "no address, or no port");
	r = connect_to(&req->address, (in_port_t)req->port, request, &fd);
	if (r == -ECONNREFUSED &&
		connect_to(&other, (in_port_t)req->port, request, &fd) == 0)
		r = 0;
	if (r < 0)
		return err_sys(err, r, "cannot connect to port %u", req->port);
	r = dial_add(fd, false, &id, err);
	if (r < 0)
		return r;
	out = message_new(&grpc__dial_port_response__descriptor);
	out->id = id;
	*ret_out = &out->base;
	return 0;
}

/* ---- the streams ---- */

/* Waits before it allocates. */
static ssize_t read_some(
	int fd, struct ttrpc_request *request, uint8_t **ret_data, size_t size)
{
	uint8_t *data;
	ssize_t n;
	int r;

	r = wait_either(fd, POLLIN, ttrpc_request_closed_fd(request),
		ttrpc_request_deadline(request));
	if (r < 0)
		return r;
	data = xmalloc(size);
	n = recv(fd, data, size, 0);
	if (n <= 0) {
		free(data);
		return n < 0 ? -errno : 0;
	}
	*ret_data = xreallocarray(data, (size_t)n, 1);
	return n;
}

SERVICE_HANDLER(handle_read_port)
{
	const Grpc__ReadPortRequest *req = (const Grpc__ReadPortRequest *)in;
	_cleanup_(dial) struct dial *d = NULL;
	Grpc__ReadStreamResponse *out;
	uint8_t *data = NULL;
	ssize_t n;

	(void)user;
	if (req->len == 0)
		return err_set(err, -EINVAL, "a read of 0 bytes");
	if (dial_find(req->id, &d, err) < 0)
		return err->code;
	do
		n = read_some(d->fd, request, &data, MIN((size_t)req->len, READ_MAX));
	while (n == -EAGAIN);
	if (n < 0)
		return err_sys(err, (int)n, "read from the connection");
	out = message_new(&grpc__read_stream_response__descriptor);
	out->data.len = (size_t)n;
	out->data.data = data;
	*ret_out = &out->base;
	return 0;
}

static int write_all(
	int fd, const ProtobufCBinaryData *data, struct ttrpc_request *request)
{
	size_t done = 0;

	while (done < data->len) {
		ssize_t n = send(fd, data->data + done, data->len - done, MSG_NOSIGNAL);
		int r = 0;

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EAGAIN)
			return -errno;
		else
			r = wait_either(fd, POLLOUT, ttrpc_request_closed_fd(request),
				ttrpc_request_deadline(request));
		if (r < 0)
			return r;
	}
	return 0;
}

SERVICE_HANDLER(handle_write_port)
{
	const Grpc__WritePortRequest *req = (const Grpc__WritePortRequest *)in;
	_cleanup_(dial) struct dial *d = NULL;
	int r = dial_find(req->id, &d, err);

	(void)user, (void)ret_out;
	if (r < 0)
		return r;
	if (req->data.len > 0)
		r = write_all(d->fd, &req->data, request);
	else if (shutdown(d->fd, SHUT_WR) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "write to the connection") : 0;
}

SERVICE_HANDLER(handle_close_port)
{
	struct dial *d = dial_take(((const Grpc__ClosePortRequest *)in)->id);

	(void)user, (void)request, (void)ret_out, (void)err;
	/* Who waits for it sees that. */
	if (d)
		shutdown(d->fd, SHUT_RDWR);
	dial_put(d);
	return 0;
}
