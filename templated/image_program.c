/* SPDX-License-Identifier: Apache-2.0 */
/* Where mkfs.erofs is: see image_program.h. */
#include "templated/image_program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

/* A service manager's PATH may be without the folders for root. */
#define MORE_FOLDERS "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

int image_program_find(char **ret, struct err *err)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *folders =
		xasprintf("%s:" MORE_FOLDERS, path && *path ? path : MORE_FOLDERS);
	char *rest = folders, *folder;

	while ((folder = strsep(&rest, ":"))) {
		_cleanup_free_ char *file = xasprintf("%s/mkfs.erofs", folder);
		char *found;

		if (*folder != '/' || access(file, X_OK) < 0)
			continue;
		found = realpath(file, NULL);
		if (!found)
			continue;
		*ret = found;
		return 0;
	}
	return err_set(err, -ENOENT,
		"mkfs.erofs is not in templated's PATH; Debian has it in erofs-utils");
}
