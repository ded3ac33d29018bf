/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod's file server and its guest say to each other. */
#pragma once

#include <stdint.h>

/*
 * The guest's kernel speaks FUSE (linux/fuse.h) at /dev/fuse, one descriptor for each
 * mount. The agent moves these messages to the server and the answers back: over a
 * virtio-serial port, a stream of bytes, for all mounts of the pod together.
 *
 * The stream is frames: struct files_frame, then, unless the message lies in the window,
 * `length` bytes of it. Numbers are little-endian. What a peer may not send ends the
 * channel, and with it the pod: the peer is broken, or hostile.
 *
 * The window is memory that both see: FILES_WINDOW_BYTES, in the guest BAR 2 of an
 * ivshmem-plain device (PCI FILES_WINDOW_VENDOR:FILES_WINDOW_DEVICE), cut into
 * FILES_SLOTS slots of FILES_SLOT_BYTES from its beginning. A message of more than
 * FILES_INLINE_BYTES goes through a slot. (The guest's driver has receive buffers of 4
 * KiB, so large messages through the port are slow; a frame with what it carries fits one
 * buffer.)
 *
 *   slots 0 to FILES_GUEST_SLOTS - 1 are the guest's to fill. One is the server's from
 *   the frame that names it until a frame of the server has it in `done`. The others are
 *   the server's to fill, and the guest gives one back by `done` in the same way.
 *
 * A reader never trusts what it reads from a slot twice: the other side may change it.
 *
 * Credits bound what the server has to hold: the guest has at most FILES_CREDITS messages
 * with it. Each FILES_MESSAGE of the guest takes one, but for FUSE_FORGET,
 * FUSE_BATCH_FORGET and FUSE_INTERRUPT, which take none. Each FILES_MESSAGE of the server
 * with a unique other than 0 (an answer) gives one back, unless it was given back before
 * with FILES_CREDIT: a request that waits for a lock does not keep others waiting.
 */
#define FILES_PORT "stencil.files.0" /* the virtio-serial port's name */
/* The agent's storage driver; a storage's source is the mount's number. */
#define FILES_DRIVER "stencil-files"
/* Its neighbours: an image of layers, by its address on the guest's PCI bus
 * ("0000:01:1f.0"), and an overlay of one with a tree of the server. */
#define FILES_IMAGE_DRIVER   "stencil-image"
#define FILES_OVERLAY_DRIVER "overlay"
/* The overlay's mounter has this gid: what overlayfs itself asks of a tree is told by it
 * from what it asks for a process (files/stale.h). No file is ever given it. */
#define FILES_OVERLAY_GID 0x53746e6cu

#define FILES_WINDOW_BYTES  (4u << 20)
#define FILES_WINDOW_VENDOR 0x1af4 /* Red Hat; docs/specs/ivshmem-spec.txt of QEMU */
#define FILES_WINDOW_DEVICE 0x1110
#define FILES_SLOTS         15u
#define FILES_GUEST_SLOTS   7u
/* FILES_DATA_BYTES and the header of a FUSE_WRITE. A whole number of pages. */
#define FILES_SLOT_BYTES (260u << 10)
#define FILES_NO_SLOT    0xff

#define FILES_INLINE_BYTES 4000u
/* Most bytes of one FUSE_READ or FUSE_WRITE: the server's max_write and max_pages. */
#define FILES_DATA_BYTES (256u << 10)

#define FILES_CREDITS    64u
#define FILES_MOUNTS_MAX 4096u /* mounts have numbers below it */

enum files_kind {
	/* A FUSE message, whole: of the guest a request (struct fuse_in_header first), of
	 * the server an answer or a notification (struct fuse_out_header first). */
	FILES_MESSAGE = 1,
	/* Nothing but `done`. */
	FILES_DONE,
	/* Server: a credit comes back before the answer. */
	FILES_CREDIT,
	/* Guest: the mount is gone, and no message of it comes any more; the server
	 * forgets what it holds for it, and a later FUSE_INIT of the same number begins
	 * anew. */
	FILES_UNMOUNTED,
	/* Server: it holds more inodes than it likes;
	 * the guest's kernel should drop unused ones. */
	FILES_SHRINK,
	/* Server: somebody else has changed something in this mount: see struct
	 * files_change. */
	FILES_CHANGED,
};

struct files_frame {
	uint32_t length; /* of the message, in the slot or behind this */
	uint16_t mount;
	uint8_t kind; /* enum files_kind */
	uint8_t slot; /* where the message is, or FILES_NO_SLOT: it follows */
	uint8_t done; /* a slot of the peer's that is free again, or FILES_NO_SLOT */
	/* Server, with an answer: 1 if its credit was given
	 * back before, by FILES_CREDIT. */
	uint8_t credited;
	uint8_t zero[2];
};
_Static_assert(sizeof(struct files_frame) == 12, "the wire's layout");

/*
 * Changes by others: of the host, or of another pod.
 *
 * inotify in the guest tells of what the guest's kernel does. So what others have changed
 * the agent does once more, in the guest, on the mount itself: its kernel finds the name,
 * makes, changes, moves or removes it, and tells whoever watches. The server answers the
 * requests of this replay as if they had been done, and does nothing: it knows them by
 * the gid of who asks. (Whoever else had that gid in the guest would spare the host his
 * own changes, and get nothing else by it.)
 *
 * After FILES_CHANGED the agent reads these extended attributes of the mount's root, with
 * that gid:
 *
 *   FILES_REPLAY_BEGIN  a uint32_t: how many changes there are now, which are a round. 0:
 *                       none, and FILES_CHANGED will tell of the next one
 *   FILES_REPLAY_NEXT   the round's next change: a struct files_change with its names;
 *                       nothing: the round is over. Until the next one is read the server
 *                       answers requests for these names as the change wants it
 *   FILES_REPLAY_SKIP   nothing: the rest of the round is dropped, as nobody watches
 */
#define FILES_REPLAY_GID   0x53746e72u
#define FILES_REPLAY_BEGIN "trusted.stencil.begin"
#define FILES_REPLAY_NEXT  "trusted.stencil.next"
#define FILES_REPLAY_SKIP  "trusted.stencil.skip"
/* In the mount's root, for the replay alone: a folder that nobody watches, in place of
 * one that the guest does not know (node 0). */
#define FILES_REPLAY_ELSEWHERE ".stencil-elsewhere"

/* What was done to a name, in this order. */
enum files_step {
	FILES_STEP_UNLINK = 1 << 0, /* before it was made anew */
	FILES_STEP_MAKE = 1 << 1,
	FILES_STEP_ATTRIB = 1 << 2,
	FILES_STEP_MODIFY = 1 << 3,
	FILES_STEP_CLOSE = 1 << 4, /* after writing */
	FILES_STEP_REMOVE = 1 << 5,
	FILES_STEP_MOVE = 1 << 6, /* alone: from the first name to the second */
};

struct files_change {
	uint64_t folder, to_folder; /* nodes; 0: elsewhere */
	uint64_t node;              /* what the name leads to; 0: the guest knows none */
	uint64_t lost;              /* what has lost its name; 0: the guest knows none */
	uint32_t steps;
	uint32_t type; /* S_IFMT's, of all that the names lead to */
	/* Of the names, which follow without a NUL. to_len is 0 but for a move. A name of
	 * "." is the folder itself, or a root that is a file. */
	uint16_t name_len, to_len;
	uint32_t zero;
};
_Static_assert(sizeof(struct files_change) == 48, "the wire's layout");
#define FILES_NAME_MAX 255u
