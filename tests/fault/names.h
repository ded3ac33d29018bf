/* SPDX-License-Identifier: Apache-2.0 */
/* The programs and the calls, by number and by name. */
#pragma once

#include <stdint.h>
#include <string.h>

#define FAULT_PROGRAMS                                                                   \
	PROGRAM("containerd-shim-stencil-v2")                                            \
	PROGRAM("templated") PROGRAM("stencil-files")

/* Those that a call's row of calls.h is expanded to here. */
enum fault_call {
#define CALL(type, name, ...)     FAULT_##name,
#define RETURNS(type, name, ...)  FAULT_##name,
#define ANYWAY(type, name, ...)   FAULT_##name,
#define VARIADIC(type, name, ...) FAULT_##name,
#define SYSCALL(...)              FAULT_syscall,
#include "tests/fault/calls.h"
#undef CALL
#undef RETURNS
#undef ANYWAY
#undef VARIADIC
#undef SYSCALL
};

#define PROGRAM(name) name,
static const char *const program_names[] = {FAULT_PROGRAMS};
#undef PROGRAM

/* The number of a program that the linker has put inject.c into. */
static inline uint16_t program_of(const char *name)
{
	const uint16_t n = sizeof(program_names) / sizeof(*program_names);
	uint16_t i = 0;

	while (i < n - 1 && strcmp(program_names[i], name) != 0)
		i++;
	return i;
}
