/* SPDX-License-Identifier: Apache-2.0 */
/* Generations: built aside, published by one rename, verified, granted, removed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "mm/holes.h"
#include "mm/manifest.h"

/*
 * <tmpfs>/<id>/{memory,state,manifest.json}, all root's, files mode 0400, folder 0500.
 * The states of a folder are its names, so that a crash at any point leaves one that
 * recovery understands:
 *
 *   .new-<id>   being built; nobody else looks at it
 *   <id>        published: never written again
 *   .old-<id>   being removed
 *
 * and beside a published one
 *
 *   .compact-<id>  holes of its memory are being punched again; a link to the time in
 *                  seconds that the memory then gets back
 *
 * An id is <number>-<random>. The order of ids, as text, is the order in which the
 * generations of a tmpfs were begun, whatever the clock did meanwhile; the random half
 * tells them from those of another tmpfs that was at the same path.
 *
 * The manifest binds the files: sizes, the state's digest, and the second in which the
 * memory was last modified (the generation's `created`; QEMU's writes by mmap(2) leave a
 * tmpfs file's time alone, so it is set at publication). The memory itself has no digest:
 * reading it all would cost more than the boot saves.
 *
 * root_fd is tmpfs_open()'s: the read-only one for verifying and granting, the other for
 * the rest.
 *
 * Nobody writes a published generation. Who is granted it has descriptors of a read-only
 * mount, through which no file can be opened for writing, and maps it privately. Only
 * templated has the other mount, and could write: its CAP_DAC_OVERRIDE passes mode 0400.
 * (A seal is no way to give that up: files of a mounted tmpfs take none.) It opens the
 * memory again in one place, generation_compact_begin(), to punch pages that it has read
 * and found to be zeros: what others read of the file does not change.
 */
#define GENERATION_ID_SIZE  18 /* with the NUL: "00000042-9f3a2b1c" */
#define GENERATION_MEMORY   "memory"
#define GENERATION_STATE    "state"
#define GENERATION_MANIFEST "manifest.json"

/* Not a generation: a folder beside them, for notes on who uses which. */
#define GENERATION_LEASES "leases"

bool generation_id_valid(const char *id);

/* ---- building ---- */

struct generation_build {
	char id[GENERATION_ID_SIZE];
	int root_fd; /* borrowed */
	int dir_fd;
	int memory_fd; /* O_RDWR: the template guest's memory */
	int state_fd;  /* O_RDWR, empty */
	uint64_t memory_bytes;
	bool published;
};

#define GENERATION_BUILD_INIT                                                            \
	((struct generation_build){                                                      \
		.root_fd = -1, .dir_fd = -1, .memory_fd = -1, .state_fd = -1})

/*
 * Makes the folder, the memory file with all its blocks (a tmpfs that is too full is
 * -ENOSPC with the numbers here, instead of a SIGBUS in QEMU later) and the state file.
 * One at a time on a tmpfs.
 */
int generation_build_begin(int root_fd, uint64_t memory_bytes,
	struct generation_build *ret, struct err *err);

/* Gives the memory file's all-zero pages back to the host; *ret_bytes: what stays
 * resident. For when the guest has ended. */
int generation_build_punch(
	struct generation_build *b, uint64_t *ret_bytes, struct err *err);

/* Completes `inputs` with the identity fields, writes the manifest last, makes all of it
 * read-only and renames it to its name. */
int generation_build_publish(
	struct generation_build *b, const struct manifest *inputs, struct err *err);

/* Closes; removes what was not published. Idempotent. */
void generation_build_done(struct generation_build *b);

/* ---- published ones ---- */

enum generation_file {
	GENERATION_FILE_MANIFEST,
	GENERATION_FILE_MEMORY,
	GENERATION_FILE_STATE,
	GENERATION_FILES,
};

/* A file's identity: as long as it is the same, so is the file. */
struct generation_stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct generation {
	char id[GENERATION_ID_SIZE];
	struct manifest manifest;
	struct generation_stamp stamps[GENERATION_FILES];
	bool compacting; /* between generation_compact_begin() and _end() */
};

/*
 * Reads and verifies one: owner, mode and kind of folder and files, the manifest, the id
 * in it, the sizes, the state's digest, the memory's time. Errors name the generation,
 * the file or field, what was wanted and what was found.
 */
int generation_load(int root_fd, const char *id, struct generation *ret, struct err *err);
void generation_done(struct generation *g);

/*
 * Opens memory and state read-only, each call its own open file descriptions, the
 * caller's. root_fd: the read-only one, or -EPERM. Where a stamp differs from the last
 * look everything is verified again, and the manifest must still be the one that was
 * loaded; otherwise it costs a few system calls. Fails as generation_load() does.
 */
int generation_grant(int root_fd, struct generation *g, int *ret_memory_fd,
	int *ret_state_fd, struct err *err);

/* What the memory file occupies. */
int generation_resident(
	int root_fd, const char *id, uint64_t *ret_bytes, struct err *err);

/* ---- keeping it compact ---- */

/*
 * A clone's first access to a hole of the memory, be it a read or a write, makes the
 * kernel allocate a page of zeros in the file, which stays when the clone has gone:
 * access by access the file grows back to the size of the guest, but not beyond, however
 * many clones there are.
 *
 * True where it has grown by more than a part in GENERATION_GROWTH since its publication;
 * one system call. Those who use the generation go on while it is compacted; to them a
 * hole costs another fault.
 */
#define GENERATION_GROWTH 20
bool generation_has_grown(int root_fd, const struct generation *g);

/*
 * Compaction is begin, punch, end. begin and end change *g, under the caller's lock;
 * punch takes its time, and needs no lock. In between the memory's time is another one
 * than published, which generation_grant() allows for; a templated that is killed there
 * leaves a note of it for generation_recover(). After begin, end must follow. Where the
 * memory is not what was loaded, begin fails and leaves it alone.
 */
int generation_compact_begin(
	int root_fd, struct generation *g, int *ret_fd, struct err *err);
/* *holes: HOLES_INIT, or what an earlier call has found in the same generation. */
int generation_compact_punch(int fd, struct holes *holes);
/* Closes fd. *ret_bytes: what stays resident. */
int generation_compact_end(
	int root_fd, struct generation *g, int fd, uint64_t *ret_bytes, struct err *err);

/* ---- the end ---- */

/* Renames it away and removes it. Its memory is freed when its last clone has unmapped
 * it. 1: it is away, but something of it is left for generation_remove_old(), and err
 * says why; a negative errno: it is there as before. */
int generation_remove(int root_fd, const char *id, struct err *err);
/* Tries once more what generation_remove() and generation_build_done() have left. Whether
 * anything is left now, which is logged. */
bool generation_remove_old(int root_fd);

/* What was found at start: sound ones are loaded, of the others there is the id only. */
struct generation_found {
	struct generation g;
	bool sound;
	struct err why; /* unsound: what is wrong with it */
};

/*
 * At start: removes what was half built or half removed, loads the others, removes the
 * files of the unsound ones, as generation_remove(), and says so in the log. *ret, oldest
 * first, is the caller's (generation_done() each, then free()). Names that are none of
 * ours are logged and left alone, GENERATION_LEASES in silence.
 */
int generation_recover(
	int root_fd, struct generation_found **ret, size_t *ret_n, struct err *err);
