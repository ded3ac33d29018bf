/* SPDX-License-Identifier: Apache-2.0 */
/* A published generation of the real guest, built in the order of templated/build.c. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "base/util.h"
#include "mm/generation.h"
#include "vm/vm.h"

/* A tmpfs of the test's own mount namespace. */
#define TEMPLATE_DIR  "/mnt"
#define TEMPLATE_PATH TEMPLATE_DIR "/template"

struct template
{
	struct config config; /* its QEMU is STENCIL_QEMU where that is set */
	int rw_fd, ro_fd;     /* tmpfs_open()'s */
	struct generation g;
};

/* Group fixtures of cmocka: *template_get() is there between them. Leaving ends the VMs
 * of tests that failed. */
int template_enter(void **state);
int template_leave(void **state);
/* Before template_enter(): gets the running guest before it is saved. */
void template_on_save(void (*fn)(struct vm *vm));
struct template *template_get(void);

/* "<TEMPLATE_DIR>/<name>", made if it isn't there. All paths are the caller's to free. */
char *template_make_dir(const char *name);
char *template_file(enum generation_file file);
/* The descriptors that a sandbox gets. */
void template_grant(int *ret_memory_fd, int *ret_state_fd);
/* A VM that was not started, of a sandbox of this name in the namespace "test". */
struct vm *template_vm(const char *name);
/* A clone, not unique yet. */
struct vm *template_clone(const char *name);
/* How many vCPUs it has now. */
size_t template_count_vcpus(struct vm *vm);

/* Guests, their agents and QEMUs are waited for as long as all else that should come. */
void template_set_patience(struct config *c);
void template_set(
	struct config *c, const char *section, const char *key, const char *value);
/* `key` of [hypervisor] becomes a file of the guest that the tests use. */
void template_set_guest(struct config *c, const char *key, const char *name);

/* Whether anybody, by a descriptor or a mapping, could write the file now. */
bool template_has_writer(const char *path);

/* Fails the test with the error's text where r is negative. */
void check_result(int r, const struct err *err);
