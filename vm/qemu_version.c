/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a QEMU program for its version: see qemu_version.h. */
#include "vm/qemu_version.h"

#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "base/version_line.h"

int qemu_version_parse(const char *line)
{
	unsigned int major, minor, micro;

	if (sscanf(line, "QEMU emulator version %u.%u.%u", &major, &minor, &micro) != 3 ||
		major > 1000 || minor > 99 || micro > 99)
		return -EINVAL;
	return (int)(major * 10000 + minor * 100 + micro);
}

int vm_qemu_version(const char *path, char **ret_line, struct err *err)
{
	_cleanup_free_ char *line = NULL;
	int r = version_line_of(path, &line), version;

	if (r < 0)
		return err_sys(err, r, "cannot run %s (key path of [hypervisor])",
			err_quote(path, 256));
	version = qemu_version_parse(line);
	if (version < 0)
		return err_set(err, -ENOEXEC,
			"%s (key path of [hypervisor]) is not a QEMU: to --version it says \"%s\"",
			err_quote(path, 256), err_quote(line, 80));
	if (version < QEMU_VERSION_MIN)
		return err_set(err, -EOPNOTSUPP,
			"%s is %s; Stencil needs QEMU 7.2 or later", err_quote(path, 256),
			err_quote(line, 80));
	*ret_line = steal_ptr(line);
	return 0;
}
