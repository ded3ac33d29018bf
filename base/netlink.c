/* SPDX-License-Identifier: Apache-2.0 */
/* libnl's errors as ours: see netlink.h. */
#include "base/netlink.h"

#include <errno.h>
#include <netlink/errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

static int errno_of(int nl_error)
{
	static const struct {
		int nl, code;
	} map[] = {
		{NLE_AF_NOSUPPORT, EINVAL},
		{NLE_BUSY, EBUSY},
		{NLE_EXIST, EEXIST},
		{NLE_INVAL, EINVAL},
		{NLE_NOADDR, EINVAL},
		{NLE_NODEV, ENODEV},
		{NLE_NOMEM, ENOMEM},
		{NLE_OBJ_NOTFOUND, ENOENT},
		{NLE_OPNOTSUPP, EOPNOTSUPP},
		{NLE_PERM, EPERM},
		{NLE_RANGE, ERANGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].nl == abs(nl_error))
			return -map[i].code;
	return -EIO;
}

int netlink_err(struct err *err, int nl_error, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(err, errno_of(nl_error), "%s: %s", what, nl_geterror(nl_error));
}
