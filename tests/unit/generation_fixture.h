/* SPDX-License-Identifier: Apache-2.0 */
/* A tmpfs for generations, and small ones on it. For one file of a program: it defines
 * functions. */
#pragma once

#include <errno.h>
#include <fcntl.h>

#include "tests/unit/mm_fixture.h"

#include "base/log.h"
#include "mm/generation.h"
#include "mm/tmpfs.h"

#define PATH         "/tmp/template"
#define MEMORY_BYTES (4 * MiB)
#define PAGE         4096

static int rw_fd = -1, ro_fd = -1;

static inline int setup(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	if (tmpfs_ensure(PATH, 16 * MiB, &err) < 0 ||
		tmpfs_open(PATH, false, &rw_fd, &err) < 0 ||
		tmpfs_open(PATH, true, &ro_fd, &err) < 0)
		fail_msg("%s", err.text);
	return 0;
}

static inline int teardown(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	close(steal_fd(&rw_fd));
	close(steal_fd(&ro_fd));
	return tmpfs_unmount(PATH, &err);
}

/* Pages 1 and 700 have something in them, pages 2-9 were written with zeros. */
static inline void fill(const struct generation_build *b)
{
	static const char zeros[8 * PAGE];

	assert_int_equal(pwrite(b->memory_fd, "one", 3, PAGE + 100), 3);
	assert_int_equal(
		pwrite(b->memory_fd, zeros, sizeof(zeros), 2 * PAGE), sizeof(zeros));
	assert_int_equal(pwrite(b->memory_fd, "x", 1, 701 * PAGE - 1), 1);
	assert_int_equal(write_full(b->state_fd, "device state", 12), 0);
}

static inline void publish(char *ret_id)
{
	struct generation_build b;
	struct manifest inputs;
	struct err err = ERR_INIT;
	uint64_t resident;

	fixture_inputs(&inputs, "4194304");
	manifest_set(&inputs, MANIFEST_AGENT_VERSION, "1");
	assert_int_equal(generation_build_begin(rw_fd, MEMORY_BYTES, &b, &err), 0);
	fill(&b);
	assert_int_equal(generation_build_punch(&b, &resident, &err), 0);
	assert_int_equal(generation_build_publish(&b, &inputs, &err), 0);
	memcpy(ret_id, b.id, sizeof(b.id));
	generation_build_done(&b);
	manifest_done(&inputs);
}
