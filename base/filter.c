/* SPDX-License-Identifier: Apache-2.0 */
/* System call filters: see filter.h. */
#include "base/filter.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

int filter_add_calls(
	scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n_calls)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_calls; i++)
		r = seccomp_rule_add(ctx, action, calls[i], 0);
	return r;
}

int filter_export(scmp_filter_ctx ctx, struct sock_fprog *ret)
{
	_cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
	_cleanup_free_ struct sock_filter *filter = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	filter = xmalloc((size_t)st.st_size);
	r = read_full(fd, filter, (size_t)st.st_size);
	if (r < 0)
		return r;
	ret->len = (unsigned short)((size_t)st.st_size / sizeof(*filter));
	ret->filter = steal_ptr(filter);
	return 0;
}
