/* SPDX-License-Identifier: Apache-2.0 */
/* Typed QMP commands: run state, migration through a descriptor, plugging. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hotplug/qmp.h"

/* ---- run state and migration (QAPI: run-state.json, migration.json, misc.json) ---- */

int qmp_stop(struct qmp *q, int64_t deadline, struct err *err); /* 0: it no longer runs */
int qmp_cont(struct qmp *q, int64_t deadline, struct err *err); /* 0: it runs */
/* Hands fd (not taken) to QEMU under a name for later commands: getfd. */
int qmp_getfd(struct qmp *q, const char *name, int fd, int64_t deadline, struct err *err);
int qmp_closefd(struct qmp *q, const char *name, int64_t deadline, struct err *err);
/* Switches x-ignore-shared and events on, both sides of a template. */
int qmp_migrate_set_template_capabilities(
	struct qmp *q, int64_t deadline, struct err *err);
/* Writes the device state to state_fd (not taken), waits for MIGRATION completed and
 * until QEMU has let go of the stream: it is whole, the VM "postmigrate", or as before if
 * it failed, and may be saved again. failed and cancelled are errors with QEMU's
 * reason. */
int qmp_migrate_to_fd(struct qmp *q, int state_fd, int64_t deadline, struct err *err);
/* Reads it from state_fd in a QEMU started with -incoming defer, until completed. */
int qmp_migrate_from_fd(struct qmp *q, int state_fd, int64_t deadline, struct err *err);
/* The end of the guest's console as kept by a chardev of backend "ringbuf": at most max
 * bytes, *ret_text is the caller's to free(). */
int qmp_ringbuf_read(struct qmp *q, const char *chardev, uint64_t max, char **ret_text,
	int64_t deadline, struct err *err);

/* ---- vCPUs ---- */

/*
 * Plugs vCPUs until `total` are there (lowest socket, core and thread first; fewer than
 * there are is no change). -ERANGE if the machine's maxcpus is lower, with the number.
 * The guest must bring them online (agent_online_cpu_mem()).
 */
int plug_vcpus(struct qmp *q, unsigned int total, int64_t deadline, struct err *err);
/* ---- memory ---- */

/* The smallest memory block of Linux on x86-64 (memory_block_size). */
#define PLUG_DIMM_ALIGN_BYTES (128ull << 20)

/* Adds one pc-dimm of `bytes` (a multiple of PLUG_DIMM_ALIGN_BYTES) on a private
 * memory-backend-ram, both named after `id`. On failure nothing stays. */
int plug_dimm(
	struct qmp *q, const char *id, uint64_t bytes, int64_t deadline, struct err *err);

/* ---- virtio devices ---- */

/* Where one goes: a slot of a conventional PCI bus. */
struct plug_port {
	const char *bus; /* the bridge's id */
	unsigned int slot;
};

/* ---- network ---- */

struct plug_nic {
	const char *id; /* "nic0": the netdev's; the device is "dev-nic0" */
	struct plug_port port;
	int tap_fd; /* an IFF_VNET_HDR tap; not taken, QEMU gets a duplicate */
	uint8_t mac[6];
};
/* No MTU is offered: the guest could never have a larger one later. */
int plug_nic(
	struct qmp *q, const struct plug_nic *nic, int64_t deadline, struct err *err);
/* Asks the guest to let go of it, waits until it has, and closes QEMU's end of the tap.
 * -ETIMEDOUT: it has not, and may yet. */
int unplug_nic(struct qmp *q, const char *id, int64_t deadline, struct err *err);

/* ---- images: files that nobody writes ---- */

/*
 * QEMU keeps a duplicate of fd (O_RDONLY, not taken) until it ends, and with it whatever
 * hangs on the open file: a lock. On failure nothing stays.
 */
struct plug_image {
	const char *id; /* "image0": the backend's; the device is "dev-image0" */
	struct plug_port port;
	int fd;
	uint64_t bytes; /* the file's, a multiple of PLUG_PMEM_ALIGN_BYTES */
};
#define PLUG_PMEM_ALIGN_BYTES (2ull << 20)

/* As memory that the guest can map, virtio-pmem: pages of the host's page cache. QEMU
 * opens it by /proc/self/fd. It comes out of the machine's maxmem. */
int plug_pmem(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err);
/* As a disk that can't be written to, virtio-blk. */
int plug_disk(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err);

/* ---- disks: block devices of the host, and files ---- */

struct plug_block {
	const char *id; /* "disk0": the block node's; the device is "dev-disk0" */
	struct plug_port port;
	int fd;         /* not taken: QEMU gets a duplicate, with all that it claims */
	bool is_device; /* else fd is of a regular file */
	bool readonly;  /* fd may be O_RDONLY, else it is O_RDWR */
	/* What the guest takes for its sectors; 0: QEMU's, of 512 bytes. */
	unsigned int logical_bytes, physical_bytes;
};
/* As virtio-blk. On failure nothing stays. */
int plug_block(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err);
/* Returns when the guest has let go of the disk and QEMU has closed it. Where it fails
 * QEMU may still have it, and its port. */
int unplug_block(struct qmp *q, const char *id, int64_t deadline, struct err *err);
