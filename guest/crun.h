/* SPDX-License-Identifier: Apache-2.0 */
/* crun, which makes the processes of containers. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "guest/sandbox.h"

/*
 * crun is executed once for a container and once for each exec; all else it can do is
 * done without it, because an execution costs more than anything it does (hundreds of
 * milliseconds under emulation): starting is a byte into the fifo that the container's
 * init waits at, killing, pausing, updating and removing are writes to cgroup files.
 */
#define CRUN_PATH "/usr/bin/crun"
#define CRUN_ROOT "/run/crun"
/* Where a container's config.json is, and the small files of its crun invocations. */
#define BUNDLE_DIR GUEST_RUN_DIR "/bundle"

struct crun_launch {
	const char *container_id;
	const char *process_json; /* file: this is an exec; NULL: it is the container */
	int closed_fd;            /* gives up when this becomes readable; -1: none */
	int64_t deadline;
};

/*
 * Once, before any launch. crun executes a sealed copy of itself unless it is one
 * already, so that no container can write to it: that doubles the price of each launch.
 * This makes the copy, and removes the file.
 */
int crun_init(struct err *err);

/*
 * Runs crun create or exec for p (made with process_new()), and fills its streams and
 * child. What crun said against it is in err. On failure no process is left, p is as it
 * was.
 */
int crun_launch(struct process *p, const struct crun_launch *how, struct err *err);

/* Lets a created container's init go on to its program. -ESRCH if it has ended. */
int crun_release(const char *container_id, struct err *err);

/* Forgets the container: crun's own state of it. Fine if there is none. */
int crun_forget(const char *container_id, struct err *err);

/* The sentence in crun's log of JSON lines (the last error's), or its end as it is;
 * quoted. */
const char *crun_log_message(const char *log);
