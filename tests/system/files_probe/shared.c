/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAP_SHARED and write(2) on the same file, bit by bit.
 *
 * "both": two processes of one machine, one that stores through a mapping and one that
 * writes, in turns of 64 bytes of every page at the same time. After each round both are
 * seen by either way.
 *
 * "even" and "odd": two machines that each own every other page, as standard input says:
 *	write ROUND	own pages, by store or pwrite as the seed has it, then msync and
 *			fsync; "done"
 *	verify ROUND	the file is opened anew, and all pages must be those of this
 *			round; "ok"
 * Both may write at the same time: nobody's page may carry what a neighbour was.
 */
#include "tests/system/files_probe/probe.h"

#include <sys/mman.h>
#include <sys/wait.h>

#define PAGES  64
#define SIZE   (PAGES * PAGE)
#define SLOT   64
#define ROUNDS 30

/* The byte that is right in this place after this round. */
static unsigned char right(uint64_t seed, unsigned round, size_t at)
{
	uint64_t mixed = seed + round * UINT64_C(0x9E3779B97F4A7C15) +
			 at * UINT64_C(0xD1B54A32D192ED03);

	return (mixed ^ mixed >> 29) * UINT64_C(0xBF58476D1CE4E5B9) >> 56;
}

static void right_fill(
	unsigned char *to, uint64_t seed, unsigned round, size_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = right(seed, round, at + i);
}

/* Says the first byte that is wrong. */
static bool right_check(
	const unsigned char *seen, uint64_t seed, unsigned round, const char *way)
{
	for (size_t i = 0; i < SIZE; i++)
		if (seen[i] != right(seed, round, i)) {
			printf("round %u, %s: page %zu, byte %zu: %02x, right is %02x, in the round before %02x\n",
				round, way, i / PAGE, i % PAGE, seen[i],
				right(seed, round, i), right(seed, round - 1, i));
			return false;
		}
	return true;
}

static unsigned char *map_file(int fd)
{
	void *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		must("mmap", -1);
	return map;
}

static int open_file(const char *path)
{
	int fd = must("open", open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666));
	struct stat st;

	must("fstat", fstat(fd, &st));
	if (st.st_size < SIZE)
		must("ftruncate", ftruncate(fd, SIZE));
	return fd;
}

/* One side's slots of a round: the even ones by stores, the odd ones by writes. */
static void slots_write(int fd, unsigned char *map, uint64_t seed, unsigned round)
{
	unsigned char bytes[SLOT];

	for (size_t at = map ? 0 : SLOT; at < SIZE; at += 2 * SLOT) {
		right_fill(bytes, seed, round, at, SLOT);
		if (map)
			memcpy(map + at, bytes, SLOT);
		else
			must("pwrite", pwrite(fd, bytes, SLOT, at));
	}
}

static bool both_check(
	const char *path, const unsigned char *map, uint64_t seed, unsigned round)
{
	static unsigned char seen[SIZE];
	int fd = open_file(path);
	bool ok = pread(fd, seen, SIZE, 0) == SIZE &&
		  right_check(seen, seed, round, "read");

	close(fd);
	return ok && right_check(map, seed, round, "mapped");
}

static int shared_both(const char *path, uint64_t seed)
{
	int fd = open_file(path);
	unsigned char *map = map_file(fd);

	for (unsigned round = 1; round <= ROUNDS; round++) {
		int pids[2];

		for (int side = 0; side < 2; side++) {
			pids[side] = must("fork", fork());
			if (pids[side] == 0) {
				slots_write(fd, side ? map : NULL, seed, round);
				_exit(0);
			}
		}
		if (child_end(pids[0]) != 0 || child_end(pids[1]) != 0) {
			printf("a writer failed\n");
			return 1;
		}
		if (round % 4 == 0)
			must("fsync", fsync(fd));
		if (round % 8 == 0)
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		if (!both_check(path, map, seed, round))
			return 1;
	}
	printf("ok %d\n", ROUNDS);
	return 0;
}

/* The pages of one machine. */
static void pages_write(const char *path, size_t first, uint64_t seed, unsigned round)
{
	unsigned char bytes[PAGE];
	int fd = open_file(path);
	unsigned char *map = map_file(fd);

	for (size_t page = first; page < PAGES; page += 2) {
		right_fill(bytes, seed, round, page * PAGE, PAGE);
		/* Half of a page each way, so that one page sees both. */
		memcpy(map + page * PAGE, bytes, PAGE / 2);
		if (right(seed, round, page) % 2)
			memcpy(map + page * PAGE + PAGE / 2, bytes + PAGE / 2, PAGE / 2);
		else
			must("pwrite", pwrite(fd, bytes + PAGE / 2, PAGE / 2,
					       page * PAGE + PAGE / 2));
	}
	must("msync", msync(map, SIZE, MS_SYNC));
	must("fsync", fsync(fd));
	munmap(map, SIZE);
	close(fd);
}

static void pages_verify(const char *path, uint64_t seed, unsigned round)
{
	static unsigned char seen[SIZE];
	int fd = open_file(path);
	unsigned char *map = map_file(fd);

	must("pread", pread(fd, seen, SIZE, 0));
	if (right_check(seen, seed, round, "read") &&
		right_check(map, seed, round, "mapped"))
		printf("ok\n");
	munmap(map, SIZE);
	close(fd);
}

/* FILE both|even|odd SEED */
int mode_shared(char **args)
{
	uint64_t seed = strtoull(args[2], NULL, 10);
	char line[64];
	unsigned round;

	if (strcmp(args[1], "both") == 0)
		return shared_both(args[0], seed);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "write %u", &round) == 1) {
			pages_write(args[0], strcmp(args[1], "odd") == 0, seed, round);
			printf("done\n");
		} else if (sscanf(line, "verify %u", &round) == 1) {
			pages_verify(args[0], seed, round);
		} else {
			printf("what?\n");
		}
		fflush(stdout);
	}
	return 0;
}
