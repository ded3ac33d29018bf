/* SPDX-License-Identifier: Apache-2.0 */
/* The one table between errno values and the status codes of a call. */
#include <errno.h>
#include <stdlib.h>

#include "agent-client/ttrpc.h"
#include "base/util.h"

/* From the top: the first row of an errno gives its code, the first row of a code its
 * errno. */
static const struct {
	int code;
	enum ttrpc_code status;
} table[] = {
	{0, TTRPC_OK},
	{ECANCELED, TTRPC_CANCELLED},
	{EINVAL, TTRPC_INVALID_ARGUMENT},
	{EBADMSG, TTRPC_INVALID_ARGUMENT},
	{E2BIG, TTRPC_INVALID_ARGUMENT},
	{ERANGE, TTRPC_INVALID_ARGUMENT},
	{ENAMETOOLONG, TTRPC_INVALID_ARGUMENT},
	{ENOTDIR, TTRPC_INVALID_ARGUMENT},
	{EISDIR, TTRPC_INVALID_ARGUMENT},
	{ELOOP, TTRPC_INVALID_ARGUMENT},
	{ENOEXEC, TTRPC_INVALID_ARGUMENT},
	{ETIMEDOUT, TTRPC_DEADLINE_EXCEEDED},
	{ENOENT, TTRPC_NOT_FOUND},
	{ESRCH, TTRPC_NOT_FOUND},
	{ENODEV, TTRPC_NOT_FOUND},
	{ENXIO, TTRPC_NOT_FOUND},
	{EEXIST, TTRPC_ALREADY_EXISTS},
	{EACCES, TTRPC_PERMISSION_DENIED},
	{EPERM, TTRPC_PERMISSION_DENIED},
	{ENOSPC, TTRPC_RESOURCE_EXHAUSTED},
	{ENOMEM, TTRPC_RESOURCE_EXHAUSTED},
	{EMSGSIZE, TTRPC_RESOURCE_EXHAUSTED},
	{EFBIG, TTRPC_RESOURCE_EXHAUSTED},
	{EMFILE, TTRPC_RESOURCE_EXHAUSTED},
	{ENFILE, TTRPC_RESOURCE_EXHAUSTED},
	{EAGAIN, TTRPC_RESOURCE_EXHAUSTED},
	{EDQUOT, TTRPC_RESOURCE_EXHAUSTED},
	{EBUSY, TTRPC_FAILED_PRECONDITION},
	{ENOTEMPTY, TTRPC_FAILED_PRECONDITION},
	{ENOTCONN, TTRPC_FAILED_PRECONDITION},
	{EOPNOTSUPP, TTRPC_UNIMPLEMENTED},
	{ENOSYS, TTRPC_UNIMPLEMENTED},
	{EIO, TTRPC_INTERNAL},
	{EPROTO, TTRPC_INTERNAL},
	{ECONNRESET, TTRPC_UNAVAILABLE},
	{ECONNREFUSED, TTRPC_UNAVAILABLE},
	{EPIPE, TTRPC_UNAVAILABLE},
	{EHOSTDOWN, TTRPC_UNAVAILABLE},
	{ESHUTDOWN, TTRPC_UNAVAILABLE},
};

enum ttrpc_code ttrpc_code_of_errno(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].code == abs(code))
			return table[i].status;
	return TTRPC_UNKNOWN;
}

int ttrpc_errno_of_code(enum ttrpc_code code)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].status == code)
			return -table[i].code;
	return -EREMOTEIO;
}
