/* SPDX-License-Identifier: Apache-2.0 */
/* A published generation of the real guest, built in the order of templated/build.c. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "mm/generation.h"

/* A tmpfs of the test's own mount namespace. */
#define TEMPLATE_DIR  "/mnt"
#define TEMPLATE_PATH TEMPLATE_DIR "/template"

struct template
{
	struct config config; /* its QEMU is STENCIL_QEMU where that is set */
	int rw_fd, ro_fd;     /* tmpfs_open()'s */
	struct generation g;
};

/* Group fixtures of cmocka: *template_get() is there between them. */
int template_enter(void **state);
int template_leave(void **state);
struct template *template_get(void);

/* "<TEMPLATE_DIR>/<name>", made if it isn't there. All paths are the caller's to free. */
char *template_make_dir(const char *name);
char *template_file(enum generation_file file);
/* The descriptors that a sandbox gets. */
void template_grant(int *ret_memory_fd, int *ret_state_fd);

/* Whether anybody, by a descriptor or a mapping, could write the file now. */
bool template_has_writer(const char *path);

/* Fails the test with the error's text where r is negative. */
void check_result(int r, const struct err *err);
