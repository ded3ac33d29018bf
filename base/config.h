/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: one struct, one table of keys, one file with drop-ins. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define CONFIG_PATH_DEFAULT "/etc/stencil/stencil.conf"
#define CONFIG_PATH_ENV     "STENCIL_CONFIG"
#define CONFIG_LINE_MAX     4096 /* bytes of a line, without its newline */

enum config_accel {
	CONFIG_ACCEL_AUTO,
	CONFIG_ACCEL_KVM,
	CONFIG_ACCEL_TCG,
};

/*
 * Keys keep Kata's names where they mean the same. Strings are owned by the struct and
 * never NULL. The file is INI: `[section]`, `key = value`, comments with # or ; at the
 * start of a line only: a value may have them in it. A value ends with its line; one that
 * begins with white space, and is not a comment, is an error. Drop-ins are
 * <file>.d/<name>.conf, read after it in the order of their names.
 */
struct config {
	/* [hypervisor] */
	char *qemu_path;            /* path: absolute */
	char *kernel;               /* kernel */
	char *initrd;               /* initrd */
	char *kernel_params;        /* kernel_params: put behind ours */
	int accel;                  /* accel: enum config_accel */
	uint64_t default_vcpus;     /* vCPUs of a VM before its pod's limits */
	uint64_t default_maxvcpus;  /* most vCPUs of a VM; 0: the host's CPUs */
	uint64_t default_memory;    /* MiB of a template, and of a VM before limits */
	uint64_t default_maxmemory; /* MiB; 0: the host's memory */
	uint64_t memory_growth;     /* MiB that a VM may get when it needs them */
	uint64_t memory_overhead; /* MiB of a VM's cgroup beyond the guest's; 0: no end */
	uint64_t pids_max;        /* processes and threads of a VM's cgroup; 0: no end */
	uint64_t uid_base;        /* first uid of the range for VMs */
	uint64_t uid_count;       /* how many VMs at once; twice as many uids */
	char *enable_annotations; /* what pods may set themselves: section.key … */
	/* [factory] */
	bool enable_template;
	char *template_path;           /* where the template tmpfs is mounted */
	char *template_endpoint;       /* templated's lease socket */
	char *metrics_endpoint;        /* its metrics' socket; "": none */
	uint64_t tmpfs_size;           /* bytes; 0: by calculation ("auto") */
	uint64_t vm_cache_number;      /* VMs kept ready */
	uint64_t vm_cache_cpu_percent; /* of one CPU, for preparing them; 0: no limit */
	bool strict;                   /* no cold boot behind a miss: an error instead */
	/* [images] */
	bool images_enable;          /* enable */
	char *images_path;           /* path */
	uint64_t images_max_bytes;   /* max_bytes */
	uint64_t images_min_bytes;   /* min_bytes */
	uint64_t images_dax_max;     /* dax_max */
	uint64_t images_cpu_percent; /* cpu_percent: of one CPU; 0: no limit */
	/* [runtime] */
	char *file_server;        /* the program that serves a pod's files */
	char *state_dir;          /* one folder a sandbox */
	char *cgroup_parent;      /* the VMs' cgroups are below it */
	int log_level;            /* enum log_level */
	uint64_t boot_timeout_ms; /* deadline for a guest's first answer */
	uint64_t call_timeout_ms; /* deadline for one agent or QMP request */
	char *trace_file;         /* phase lines as JSON; "": none. STENCIL_TRACE wins */

	char *loaded_from; /* the file that was read, or "" for the built-in values */
};

/* A cgroup's path below a hierarchy's root: no slash first or last, no "." or "..". */
#define CONFIG_CGROUP_MAX 128 /* bytes of cgroup_parent */
bool config_cgroup_valid(const char *path);

/* Fills *c with the defaults; always before anything else. */
void config_init(struct config *c);
void config_done(struct config *c);

/*
 * Reads path and its drop-ins over what *c holds. Errors name file, line, key and value:
 * an unknown section or key, a value of another type or out of its range, a line that is
 * neither; and one socket for two purposes. A folder of drop-ins that is there and can't
 * be read is an error, too.
 */
int config_load(struct config *c, const char *path, struct err *err);

/*
 * The file a program uses: `path` if given (a --config option: must exist), else
 * $STENCIL_CONFIG (must exist), else the default path (may be missing; its drop-ins are
 * read all the same).
 */
int config_load_default(struct config *c, const char *path, struct err *err);
/* Which one that is. */
const char *config_default_path(const char *path);
/* What can be understood of a file and its drop-ins; wrong lines are passed over. */
void config_load_leniently(struct config *c, const char *path);

/* Sets one key as if it stood in `section`;
 * `where` begins the error text. For annotations. */
int config_set(struct config *c, const char *section, const char *key, const char *value,
	const char *where, struct err *err);

/* Whether name is one of a list of names, as enable_annotations is one: blanks or commas
 * between. */
bool config_names_have(const char *names, const char *name);

/* Writes every key with its help and present value, in the syntax config_load() reads. */
void config_dump(const struct config *c, FILE *out);

/* The value of a key as it would stand in the file; the caller's. Asking for a key that
 * does not exist is our own bug. */
char *config_text(const struct config *c, const char *section, const char *key);

/* Calls differs() for each key whose values are not the same;
 * where they were read from does not count. */
void config_compare(const struct config *a, const struct config *b,
	void (*differs)(void *user, const char *section, const char *key), void *user);

/* A line for each key: section, name, default, values, help; tabs between.
 * For the manual page. */
void config_list_keys(FILE *out);

/* default_maxvcpus and default_maxmemory with 0 resolved from the host. The memory is a
 * multiple of 128 MiB and never more than the host has. */
unsigned int config_max_vcpus(const struct config *c);
uint64_t config_max_memory_bytes(const struct config *c);
