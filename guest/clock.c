/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's entropy and wall clock, both as old as its template until these two are
 * called. */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/util.h"
#include "guest/service.h"

#define ENTROPY_MAX 4096

SERVICE_HANDLER(handle_reseed_random_dev)
{
	const Grpc__ReseedRandomDevRequest *req =
		(const Grpc__ReseedRandomDevRequest *)in;
	_cleanup_close_ int fd = -1;
	union {
		struct rand_pool_info info; /* ends in an array without a size */
		uint8_t space[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool;
	int r;

	(void)user, (void)request, (void)ret_out;
	if (req->data.len == 0 || req->data.len > ENTROPY_MAX)
		return err_set(err, -EINVAL, "%zu bytes of entropy: 1 to %d are wanted",
			req->data.len, ENTROPY_MAX);
	fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open /dev/urandom");
	pool.info.entropy_count = (int)req->data.len * 8;
	pool.info.buf_size = (int)req->data.len;
	memcpy(pool.info.buf, req->data.data, req->data.len);
	r = ioctl(fd, RNDADDENTROPY, &pool.info);
	explicit_bzero(&pool, sizeof(pool));
	/* Adding credits the pool; the generator in use is rekeyed from it only when
	 * told. */
	if (r < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return err_sys(err, errno, "reseed the random number generator");
	return 0;
}

SERVICE_HANDLER(handle_set_guest_date_time)
{
	const Grpc__SetGuestDateTimeRequest *req =
		(const Grpc__SetGuestDateTimeRequest *)in;
	struct timespec ts = {.tv_sec = req->sec};

	(void)user, (void)request, (void)ret_out;
	if (req->sec < 0 || req->usec < 0 || req->usec >= 1000000)
		return err_set(err, -EINVAL, "%lld s and %lld us are no time",
			(long long)req->sec, (long long)req->usec);
	ts.tv_nsec = req->usec * 1000;
	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_sys(err, errno, "set the clock");
	return 0;
}
