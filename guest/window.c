/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and mapping the window: see window.h.
 *
 * A clone wakes up with a device that the template did not have: its kernel has to be told
 * to look. Bus 0 is looked through, and what is behind it; that takes the lock of PCI
 * hot-plug, so that it is safe beside that.
 *
 * What kind of memory the mapping is. The BAR is ordinary memory of the host, which the
 * kernel can't know: it maps resource2 uncached, and resource2_wc (a prefetchable BAR has
 * it) write-combining, by PAT. Under TCG neither means anything. Under KVM on Intel all
 * RAM is write-back whatever a guest says (EPT's "ignore PAT"; not so with Linux 6.11 to
 * 6.14 on the host). On AMD the guest's PAT counts: uncached would be some 50 MB/s, while
 * write-combining writes at full speed and reads at it by streaming loads, see
 * window_copy.c. So it is resource2_wc where there is one.
 */
#include "guest/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "files/wire.h"

#define DEVICES_DIR "/sys/bus/pci/devices"
#define RESCAN      "/sys/devices/pci0000:00/pci_bus/0000:00/rescan"

static bool has_id(int device_fd, const char *file, unsigned long id)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return file_read(device_fd, file, 64, &text, &len, NULL) == 0 &&
	       strtoul(text, NULL, 16) == id;
}

/* The folder of the first device of our kind; -ENOENT if there is none. */
static int find_device(int *ret_fd)
{
	_cleanup_closedir_ DIR *dir = opendir(DEVICES_DIR);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		_cleanup_close_ int fd = openat(
			dirfd(dir), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (entry->d_name[0] == '.' || fd < 0 ||
			!has_id(fd, "vendor", FILES_WINDOW_VENDOR) ||
			!has_id(fd, "device", FILES_WINDOW_DEVICE))
			continue;
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	return -ENOENT;
}

static int find_or_scan(int *ret_fd, struct err *err)
{
	int r = find_device(ret_fd);

	if (r == -ENOENT) {
		r = file_write_text(AT_FDCWD, RESCAN, "1", err);
		if (r < 0)
			return r;
		r = find_device(ret_fd);
	}
	if (r < 0)
		return err_sys(err, r, "no PCI device %04x:%04x, the window of the files",
			FILES_WINDOW_VENDOR, FILES_WINDOW_DEVICE);
	return 0;
}

int window_open(void **ret, struct err *err)
{
	_cleanup_close_ int device = -1, fd = -1;
	void *map;
	int r;

	r = find_or_scan(&device, err);
	if (r == 0)
		r = file_write_text(device, "enable", "1", err);
	if (r < 0)
		return err_wrap(err, "the window of the files");
	fd = openat(device, "resource2_wc", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fd = openat(device, "resource2", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open the window of the files");
	map = mmap(NULL, FILES_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_sys(err, errno, "map the window of the files");
	*ret = map;
	return 0;
}
