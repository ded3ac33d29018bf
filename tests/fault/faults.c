/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test's hand on the board of injected faults:
 *
 *   faults new                  an empty board
 *   faults sites                a line for each: program, call, hash, how often it was
 *                               come by, errors ("EIO,ENOMEM"), return addresses
 *   faults arm HASH NTH ERROR   that call fails when it is come by for the n-th time from
 *                               now on (SIGKILL: its process is killed); no other does
 *   faults disarm
 *   faults fired                status 0: it has failed
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fault/board.h"
#include "tests/fault/names.h"

#define ERRORS_MAX 8

struct call {
	const char *name;
	int errors[ERRORS_MAX];
};

static const struct call calls[] = {
#define E(error)                                               error,
#define CALL(type, name, failed, parameters, arguments, ...)   {#name, {__VA_ARGS__}},
#define RETURNS(type, name, parameters, arguments, ...)        {#name, {__VA_ARGS__}},
#define ANYWAY(type, name, failed, parameters, arguments, ...) {#name, {__VA_ARGS__}},
#define VARIADIC(type, name, failed, parameters, last, arguments, ...)                   \
	{#name, {__VA_ARGS__}},
#define SYSCALL(...) {"syscall", {__VA_ARGS__}},
#include "tests/fault/calls.h"
};

static void __attribute__((noreturn)) fail_with(const char *what)
{
	fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
	exit(2);
}

static struct board *board_map(int flags)
{
	int fd = open(BOARD_PATH, O_RDWR | O_CLOEXEC | flags, 0600);
	struct board *board;

	if (fd < 0 || ftruncate(fd, sizeof(*board)) < 0)
		fail_with(BOARD_PATH);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED)
		fail_with(BOARD_PATH);
	close(fd);
	return board;
}

static void print_sites(const struct board *board)
{
	for (const struct board_site *s = board->sites; s < board->sites + BOARD_SITES;
		s++) {
		const struct call *call = &calls[s->call];

		if (!s->ready)
			continue;
		printf("%s %s %016llx %u ", program_names[s->program], call->name,
			(unsigned long long)s->hash, s->count);
		for (int i = 0; call->errors[i]; i++)
			printf("%s%s", i ? "," : "", strerrorname_np(call->errors[i]));
		for (int i = 0; i < BOARD_FRAMES && s->frames[i]; i++)
			printf(" %llx", (unsigned long long)s->frames[i] - 1);
		printf("\n");
	}
}

static int error_of(const char *name)
{
	if (strcmp(name, "SIGKILL") == 0)
		return BOARD_KILL;
	for (int error = 1; error < 256; error++) {
		const char *known = strerrorname_np(error);

		if (known && strcmp(known, name) == 0)
			return error;
	}
	errno = EINVAL;
	fail_with(name);
}

static void arm(struct board *board, const char *hash, const char *nth, int error)
{
	board->armed = 0;
	for (unsigned int i = 0; i < BOARD_SITES; i++)
		board->sites[i].count = 0;
	board->fired = 0;
	board->nth = (uint32_t)strtoul(nth, NULL, 10);
	board->error = error;
	board->armed = strtoull(hash, NULL, 16);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "new") == 0)
		board_map(O_CREAT | O_EXCL);
	else if (strcmp(verb, "sites") == 0)
		print_sites(board_map(0));
	else if (strcmp(verb, "arm") == 0 && argc == 5)
		arm(board_map(0), argv[2], argv[3], error_of(argv[4]));
	else if (strcmp(verb, "disarm") == 0)
		arm(board_map(0), "0", "0", 0);
	else if (strcmp(verb, "fired") == 0)
		return !board_map(0)->fired;
	else
		return 2;
	return 0;
}
