/* SPDX-License-Identifier: Apache-2.0 */
/* Devices by their numbers, in sysfs: see device.h. */
#include "base/device.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

char *device_sysfs_path(bool is_block, dev_t dev, const char *file)
{
	return xasprintf("/sys/dev/%s/%u:%u%s%s", is_block ? "block" : "char", major(dev),
		minor(dev), *file ? "/" : "", file);
}

bool device_is_virtual(bool is_block, dev_t dev)
{
	_cleanup_free_ char *path = device_sysfs_path(is_block, dev, "");
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return strstr(target, "/devices/virtual/");
}

bool device_has_driver(bool is_block, dev_t dev)
{
	_cleanup_free_ char *path = device_sysfs_path(is_block, dev, "");

	return access(path, F_OK) == 0;
}

char *device_node_path(bool is_block, dev_t dev)
{
	_cleanup_free_ char *path = device_sysfs_path(is_block, dev, "uevent");
	_cleanup_free_ char *text = NULL;
	const char *at;
	size_t len;

	if (file_read(AT_FDCWD, path, 4096, &text, &len, NULL) < 0)
		return NULL;
	at = strstr(text, "DEVNAME=");
	if (!at)
		return NULL;
	at += strlen("DEVNAME=");
	return xasprintf("/dev/%.*s", (int)strcspn(at, "\n"), at);
}
