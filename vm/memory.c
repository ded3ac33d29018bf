/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of plugging memory: see memory.h. */
#include "vm/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/meminfo.h"
#include "base/util.h"
#include "hotplug/plug.h"

/*
 * How it works. The kernel describes each page of 4 KiB by a struct page of 64 bytes: the
 * memory map, 1/64 of what it describes, has to be there before the memory itself can be
 * used. For 12 GiB it is 192 MiB, more than a guest booted with 256 MiB has left: its
 * kernel can't add them then, and tells only its own log. So the map of the first step
 * fits into what any guest has free, and that of each further one into the memory that
 * came before it. This grows so fast that few of the machine's slots are used: 1, 8 and
 * 3 GiB for 12.
 *
 * The kernel could put the map into the new memory itself
 * (memory_hotplug.memmap_on_memory), but Linux 6.1 does so for DIMMs of one block only:
 * 96 of them for 12 GiB.
 */
#define MAP_RATIO 64

/* The first step's map may have this part of the memory at boot. Of 96 MiB, the least, a
 * quarter is free; of 256 MiB more than half. */
#define BOOT_PART 16
/* A further step's may have this part of what is fresh. */
#define FRESH_PART 4

/* Steps up to this are not split further for the sake of time: call_timeout_ms is each
 * step's own, and emulation takes 0.15 s for 1 GiB. */
#define STEP_LONG (UINT64_C(8) << 30)
/* A larger growth is split into about this many steps, or it would use up the slots. */
#define STEPS 4

/* Linux, arch/x86/mm/init_64.c, probe_memory_block_size(): from this end of the boot's
 * memory on a guest's blocks are the largest, up to 2 GiB, that the end is a multiple
 * of. */
#define LARGE_END (UINT64_C(64) << 30)
#define BLOCK_MAX (UINT64_C(2) << 30)
/* q35 has the memory beyond this in its address space from 4 GiB on, hw/i386/pc_q35.c. */
#define LOW_BYTES (UINT64_C(2) << 30)
#define LOW_LIMIT UINT64_C(0xb0000000)
#define HIGH_BASE (UINT64_C(4) << 30)

uint64_t memory_block_bytes(uint64_t boot_bytes)
{
	uint64_t end =
		boot_bytes < LOW_LIMIT ? boot_bytes : boot_bytes - LOW_BYTES + HIGH_BASE;
	uint64_t block = BLOCK_MAX;

	if (end < LARGE_END)
		return PLUG_DIMM_ALIGN_BYTES;
	while (block > PLUG_DIMM_ALIGN_BYTES && end % block)
		block /= 2;
	return block;
}

uint64_t memory_next_step(const struct memory_growth *g)
{
	uint64_t block = memory_block_bytes(g->boot_bytes);
	uint64_t map =
		g->fresh_bytes ? g->fresh_bytes / FRESH_PART : g->boot_bytes / BOOT_PART;
	uint64_t longest = MAX(STEP_LONG, (g->fresh_bytes + g->wanted_bytes) / STEPS);
	uint64_t fits = align_down(MIN(map * MAP_RATIO, longest), block);

	return MIN(align_up(g->wanted_bytes, block), MAX(fits, block));
}

/* ---- what the host has ---- */

/* What a process that is not root's can't have of the kernel's limit
 * (admin_reserve_kbytes and user_reserve_kbytes, at most 136 MiB), and as much again for
 * QEMU itself. */
#define ROOM_KEPT (256 * MiB)

uint64_t memory_parse_room(const char *overcommit, const char *meminfo)
{
	uint64_t limit, promised;

	if (strcmp(overcommit, "2\n") != 0 ||
		meminfo_parse(meminfo, "CommitLimit", &limit) < 0 ||
		meminfo_parse(meminfo, "Committed_AS", &promised) < 0)
		return UINT64_MAX;
	promised += ROOM_KEPT;
	return limit > promised ? limit - promised : 0;
}

uint64_t memory_host_room(void)
{
	_cleanup_free_ char *overcommit = NULL, *meminfo = NULL;
	size_t len;

	if (file_read(AT_FDCWD, "/proc/sys/vm/overcommit_memory", 64, &overcommit, &len,
		    NULL) < 0 ||
		meminfo_read(&meminfo) < 0)
		return UINT64_MAX;
	return memory_parse_room(overcommit, meminfo);
}
