/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugging files share: descriptors in sets, devices, taking steps back. */
#pragma once

#include "hotplug/plug.h"

/* Steps taken back after a failure have their own time: the failure may have been a
 * timeout. What fails among them is not told, the first failure is. */
#define PLUG_UNDO_MS 2000
int64_t plug_undo_deadline(void);

/* ---- sets of descriptors (QAPI: misc.json, add-fd) ---- */

struct plug_file {
	const char *name; /* the set's label */
	int fd;           /* not taken */
	int access;       /* O_RDONLY, O_WRONLY, O_RDWR */
};

struct plug_fdset {
	uint64_t id;
	uint64_t fd;   /* the descriptor's number in QEMU */
	char path[40]; /* "/dev/fdset/<id>": opens as the descriptor */
};

/* Adds a file in a new set. QEMU finds a set's member by its access mode: if the
 * descriptor's is another one than `access` the file is opened again with that. */
int plug_fdset_add(struct qmp *q, const struct plug_file *file, struct plug_fdset *ret,
	int64_t deadline, struct err *err);
/* QEMU closes it when its last user has. */
int plug_fdset_remove(
	struct qmp *q, const struct plug_fdset *set, int64_t deadline, struct err *err);

/* ---- devices ---- */

/* The properties that put a virtio device into a port. */
void plug_set_port(struct json_object *args, const struct plug_port *port);
/* device_add; args (taken) are the driver's properties without "driver" and "id". */
int plug_device(struct qmp *q, const char *driver, const char *id,
	struct json_object *args, int64_t deadline, struct err *err);

/* plug_block(), without a word about what the disk is. */
int plug_add_block(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err);
/* device_del, and the event that says that it has gone. */
int unplug_device(struct qmp *q, const char *id, int64_t deadline, struct err *err);
