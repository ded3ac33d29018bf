/* SPDX-License-Identifier: Apache-2.0 */
/* What the file server and its keeper say to each other:
 * SOCK_SEQPACKET, one at a time. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "files/keeper.h"

/* With the descriptor that it is about. */
struct keeper_request {
	uint32_t kind; /* enum keeper_kind */
	int32_t flags;
	uint32_t size;  /* of the value; KEEPER_GET: the room for it */
	char name[256]; /* up to its NUL; zeros behind it */
	/* KEEPER_SET: so much of it as there is, is sent. */
	uint8_t value[KEEPER_VALUE_MAX];
};

struct keeper_answer {
	int32_t code; /* a negative errno, 0, or the length of what was read */
	union {
		uint8_t value[KEEPER_VALUE_MAX]; /* so much of it as there is, is sent */
		char text[sizeof(((struct err *)0)->text)]; /* of a start that failed */
	};
};

/* The keeper's process, which has the socket fd, until its end. */
void __attribute__((noreturn)) keeper_run(int fd, uid_t uid, pid_t parent);
