/* SPDX-License-Identifier: Apache-2.0 */
/* OnlineCPUMem: brings CPUs and memory that were plugged online,
 * waiting until they are there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/io.h"
#include "base/util.h"
#include "guest/hotplug.h"
#include "guest/service.h"
#include "guest/tasks.h"
#include "guest/uevent.h"

#define CPU_DIR    "/sys/devices/system/cpu"
#define MEMORY_DIR "/sys/devices/system/memory"
#define ACPI_DIR   "/sys/bus/acpi/devices"
#define DIMM_ID    "PNP0C80" /* ACPI's memory device: a pc-dimm's slot */
#define STA_ON     0x3       /* present and enabled, bits of _STA */

/*
 * How it works. The number of CPUs is known, so CPUs are counted. How much memory to
 * expect is not said; but every slot's _STA, evaluated anew at each reading of its
 * `status`, tells whether QEMU has a DIMM there, and the slot has a link `physical_node`
 * once the kernel has made memory blocks of it. The kernel adds a DIMM under its hot-plug
 * lock, announcing the blocks before it makes the link; writing to a block's `online`
 * takes that lock, and so waits for the end of the adding.
 */

static pthread_mutex_t cpus = PTHREAD_MUTEX_INITIALIZER;

void hotplug_hold_cpus(void)
{
	pthread_mutex_lock(&cpus);
}

void hotplug_let_cpus(void)
{
	pthread_mutex_unlock(&cpus);
}

/* ---- reading sysfs ---- */

static int read_text(int dirfd, const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

unsigned int hotplug_count_cpus(const char *list)
{
	unsigned int n = 0, from, to;
	int used;

	while (*list) {
		if (sscanf(list, "%u-%u%n", &from, &to, &used) == 2 && to >= from)
			n += to - from + 1;
		else if (sscanf(list, "%u%n", &from, &used) == 1)
			n++;
		else
			break;
		list += used;
		list += *list == ',';
	}
	return n;
}

/* Of "online" or "possible". */
static unsigned int count_cpus(const char *which)
{
	_cleanup_free_ char *path = xasprintf(CPU_DIR "/%s", which);
	char text[4096];

	return read_text(AT_FDCWD, path, text, sizeof(text)) < 0
		       ? 0
		       : hotplug_count_cpus(text);
}

/* ---- switching on ---- */

static bool is_numbered(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && name[len] >= '0' && name[len] <= '9';
}

/* Every <prefix>N that is offline; one that the kernel is
 * just bringing online itself is fine. */
static int switch_on(const char *path, const char *prefix, struct err *err)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return err_sys(err, errno, "open %s", path);
	while ((entry = readdir(dir))) {
		char name[NAME_MAX + 32], state[32];
		int r;

		if (!is_numbered(entry->d_name, prefix))
			continue;
		snprintf(name, sizeof(name), "%s/online", entry->d_name);
		/* CPU 0 has no such file where it can't be taken offline. */
		if (read_text(dirfd(dir), name, state, sizeof(state)) < 0 ||
			strcmp(state, "0") != 0)
			continue;
		r = file_write_text(dirfd(dir), name, "1", err);
		if (r < 0)
			return err_wrap(err, "in %s", path);
	}
	return 0;
}

/* ---- memory ---- */

static void wait_for_adding(void)
{
	/* Block 0 is online: nothing else happens. A kernel without the file needs no
	 * barrier, it can't add memory. */
	file_write_text(AT_FDCWD, MEMORY_DIR "/memory0/online", "1", NULL);
}

static bool is_unused_dimm(int dirfd, const char *slot)
{
	char path[NAME_MAX + 32], text[32];

	snprintf(path, sizeof(path), "%s/physical_node", slot);
	if (faccessat(dirfd, path, F_OK, 0) == 0)
		return false;
	snprintf(path, sizeof(path), "%s/status", slot);
	return read_text(dirfd, path, text, sizeof(text)) == 0 &&
	       (strtoul(text, NULL, 10) & STA_ON) == STA_ON;
}

/* DIMMs that are in their slots and not memory of the guest yet. */
static unsigned int dimms_missing(void)
{
	_cleanup_closedir_ DIR *dir = opendir(ACPI_DIR);
	struct dirent *entry;
	unsigned int n = 0;

	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, DIMM_ID, strlen(DIMM_ID)) == 0 &&
			is_unused_dimm(dirfd(dir), entry->d_name))
			n++;
	return n;
}

/* ---- the request ---- */

struct missing {
	unsigned int cpus, dimms;
};

/*
 * While the driver of a PCI device looks at it, CPUs can be neither added nor removed:
 * EBUSY (pci_call_probe()). One that takes the device, as of a NIC that is plugged at the
 * same time, is followed by an event ("bind").
 */
static int switch_cpus_on(
	const Grpc__OnlineCPUMemRequest *req, unsigned int *ret_missing, struct err *err)
{
	unsigned int n;
	int r;

	hotplug_hold_cpus();
	r = switch_on(CPU_DIR, "cpu", err);
	hotplug_let_cpus();
	n = count_cpus("online");
	*ret_missing = req->nb_cpus > n ? req->nb_cpus - n : 0;
	if (r == -EBUSY && req->wait) {
		*ret_missing += req->nb_cpus == 0;
		return 0;
	}
	return r;
}

static int bring_online(
	const Grpc__OnlineCPUMemRequest *req, struct missing *ret, struct err *err)
{
	int r;

	*ret = (struct missing){0};
	r = switch_cpus_on(req, &ret->cpus, err);
	if (r < 0)
		return r;
	if (req->cpu_only)
		return 0;
	wait_for_adding();
	ret->dimms = dimms_missing();
	r = switch_on(MEMORY_DIR, "memory", err);
	return r < 0 ? r : tasks_follow_memory(err);
}

SERVICE_HANDLER(handle_online_cpu_mem)
{
	const Grpc__OnlineCPUMemRequest *req = (const Grpc__OnlineCPUMemRequest *)in;
	int64_t deadline = service_deadline(request);
	_cleanup_close_ int events = -1;
	struct missing missing;
	int r;

	(void)user, (void)ret_out;
	/* What a kernel takes is decided at its boot. Debian's 6.12.117 counts CPUs that
	 * may be plugged only under a hypervisor that it knows, and emulation is none
	 * (acpi_is_processor_usable()); its 6.1.192 counts them all. */
	if (req->nb_cpus > count_cpus("possible"))
		return err_set(err, -EOPNOTSUPP,
			"%u CPUs are wanted, the guest's kernel takes %u at most",
			req->nb_cpus, count_cpus("possible"));
	/* Before the first look: what comes after it is an event. */
	r = uevent_open(&events, err);
	if (r < 0)
		return r;
	for (;;) {
		r = bring_online(req, &missing, err);
		if (r < 0 || !req->wait || (missing.cpus == 0 && missing.dimms == 0))
			return r;
		r = uevent_wait(events, NULL, ttrpc_request_closed_fd(request), deadline);
		if (r < 0)
			return err_sys(err, r, "wait for %u CPUs and %u DIMMs to appear",
				missing.cpus, missing.dimms);
	}
}
