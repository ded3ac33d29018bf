/* SPDX-License-Identifier: Apache-2.0 */
/* What programs with injected faults and the test that injects share: a mapped file. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* Below the world's own /run, see world.sh. A program that finds none injects nothing. */
#define BOARD_PATH "/run/stencil-faults"
/* Several times what clean lives have: tests/fault/soak.t tells how many that are. */
#define BOARD_SITES  8192
#define BOARD_FRAMES 10

/*
 * A way on which a program comes to a system call: the call and who called whom. hash is
 * of both, and the same in each run of one build, whatever its threads do meanwhile.
 */
struct board_site {
	_Atomic uint64_t hash; /* 0: the slot is free */
	uint16_t program;      /* of enum fault_program */
	uint16_t call;         /* of enum fault_call */
	_Atomic uint32_t ready;
	_Atomic uint32_t count;        /* times come by since the last fault was armed */
	uint64_t frames[BOARD_FRAMES]; /* from the start of the program; 0: no more */
};

/* In the place of an error: the process is killed before the call. */
#define BOARD_KILL (-1)

struct board {
	/* The fault that is to be: the call of this site, the time that it is come by,
	 * and what it fails with. */
	_Atomic uint64_t armed; /* a hash; 0: none */
	uint32_t nth;
	int32_t error;
	_Atomic uint32_t fired;
	struct board_site sites[BOARD_SITES];
};
