/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and mapping the window: see window.h.
 *
 * A clone wakes up with a device that the template did not have: its kernel has to be
 * told to look. Bus 0 is looked through, and what is behind it; that takes the lock of
 * PCI hot-plug, so that it is safe beside that.
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
#include "guest/hotplug.h"

#define DEVICES     "/proc/bus/pci/devices"
#define DEVICES_MAX 65536
#define SYSFS       "/sys/bus/pci/devices"
#define RESCAN      "/sys/devices/pci0000:00/pci_bus/0000:00/rescan"

/*
 * Whether the text has a device of our kind, and which folder of sysfs is its. Lines
 * begin with "<bus and devfn> <vendor and device> " in hexadecimal. One file instead of
 * two for each device: 24 files are 5 ms under emulation.
 */
static bool find_line(char *text, char *ret_name, size_t size)
{
	char *line;

	while ((line = strsep(&text, "\n"))) {
		char *end;
		unsigned long at = strtoul(line, &end, 16), id = strtoul(end, NULL, 16);

		if (id != (FILES_WINDOW_VENDOR << 16 | FILES_WINDOW_DEVICE))
			continue;
		snprintf(ret_name, size, SYSFS "/0000:%02lx:%02lx.%lx", at >> 8 & 0xff,
			at >> 3 & 0x1f, at & 7);
		return true;
	}
	return false;
}

/* The folder of the first device of our kind; -ENOENT if there is none. */
static int find_device(int *ret_fd)
{
	_cleanup_free_ char *text = NULL;
	char name[64];
	size_t len;
	int fd, r;

	r = file_read(AT_FDCWD, DEVICES, DEVICES_MAX, &text, &len, NULL);
	if (r < 0)
		return r;
	if (!find_line(text, name, sizeof(name)))
		return -ENOENT;
	fd = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int find_or_scan(int *ret_fd, struct err *err)
{
	int r = find_device(ret_fd);

	if (r == -ENOENT) {
		hotplug_hold_cpus();
		r = file_write_text(AT_FDCWD, RESCAN, "1", err);
		hotplug_let_cpus();
		if (r < 0)
			return r;
		r = find_device(ret_fd);
	}
	if (r < 0)
		return err_sys(err, r, "no PCI device %04x:%04x", FILES_WINDOW_VENDOR,
			FILES_WINDOW_DEVICE);
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
