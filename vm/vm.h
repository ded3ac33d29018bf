/* SPDX-License-Identifier: Apache-2.0 */
/* A guest without a sandbox: boot, save, clone, identity gate, resize, destroy. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent-client/agent.h"
#include "base/config.h"
#include "base/err.h"
#include "base/proc.h"
#include "base/trace.h"
#include "hotplug/qmp.h"
#include "mm/manifest.h"

/*
 * One struct vm is one QEMU process and the connections to it. What it makes outside its
 * memory (process, cgroup, uid, control files) is recorded in its folder before it is
 * made, so that vm_cleanup() can undo it after the owner was killed. Calls on one vm may
 * come from several threads, except vm_free().
 */
struct vm;

struct vm_options {
	const struct config *config; /* outlives the vm */
	const char *id;              /* sandbox id, or the generation's for a template */
	const char *dir;     /* the VM's own existing folder, mode 0700; absolute */
	struct trace *trace; /* may be NULL; outlives the boot or clone */
	/* What QEMU may use of one CPU in percent until vm_detach(); 0: no limit. A host
	 * without the controller for it is told about in the log, once. */
	unsigned int cpu_percent;
	/* Called with QEMU's process before it is executed (may be NULL); a failure ends
	 * the start with it. */
	int (*spawned)(void *user, const struct proc_id *qemu, struct err *err);
	void *user;
};

/*
 * What this host and configuration make of a VM: `want` for manifest_match(), settings
 * resolved (accelerator proved, QEMU asked for its version). Digests of files are cached
 * by their stat identity in the struct, so a second call on the same struct costs a few
 * stat(2)s.
 */
struct vm_inputs;
struct vm_inputs *vm_inputs_new(void);
void vm_inputs_free(struct vm_inputs *inputs);
/* Errors name the file and what is wrong with it: a kernel that is missing or neither
 * bzImage nor ELF, a missing initrd, a QEMU that is not one. `ret` holds the fields of
 * the inputs only. */
int vm_inputs_collect(struct vm_inputs *inputs, const struct config *c,
	struct manifest *ret, struct err *err);
/* Calls fn for each file, and each folder with the files in it, that the above looks at;
 * some may be missing. */
void vm_inputs_paths(const struct config *c,
	void (*fn)(void *user, const char *path, bool folder), void *user);

/*
 * Cold boot; ready when the agent has answered. memory_fd: the template's memory file,
 * mapped shared and writable (not taken), or -1 for private memory (direct factory). A
 * template's guest has zeroed its free memory by the time it answers, so that its pages
 * can be punched out. A guest that does not answer in boot_timeout_ms is -ETIMEDOUT, with
 * the end of its console and of QEMU's standard error in the text.
 */
int vm_boot(const struct vm_options *options, int memory_fd, struct vm **ret,
	struct err *err);

/* A clone of a generation: its read-only fds (not taken) and its manifest. Ready when the
 * agent has answered; not unique until vm_make_unique(). */
int vm_clone(const struct vm_options *options, int memory_fd, int state_fd,
	const struct manifest *manifest, struct vm **ret, struct err *err);

/* Stops the guest and writes the device state; the VM is of no use afterwards but for
 * vm_free(). */
int vm_save(struct vm *vm, int state_fd, struct err *err);

struct vm_identity {
	const char *hostname; /* of the sandbox; "" leaves the guest's */
};
/* The identity gate: entropy, clock, hostname, machine-id and clone id reach the guest
 * and are acknowledged. Nothing of a workload may run before it returned 0. */
int vm_make_unique(struct vm *vm, const struct vm_identity *identity, struct err *err);

/*
 * Plugs vCPUs up to `vcpus` in all and memory up to `memory_bytes` beyond what the VM was
 * booted with (rounded up to 128 MiB), and waits until the agent has them online. Never
 * shrinks. What is more than the machine can have (default_maxvcpus, default_maxmemory)
 * is cut to that, with a warning in the log: limits above the host's size are common and
 * no promise.
 */
int vm_resize(struct vm *vm, unsigned int vcpus, uint64_t memory_bytes, struct err *err);

/*
 * The export: what the guest sees by 9p at AGENT_SHARED_DIR. A detached mount
 * (open_tree(2) or fsmount(2); not taken) is attached at <name> below it ("<cid>/rootfs",
 * "<cid>/mounts/0"; made as a folder or, for a file, an empty file) inside QEMU's own
 * mount namespace only: the host sees no mount, and the death of QEMU ends it.
 */
int vm_export_attach(struct vm *vm, int mount_fd, const char *name, struct err *err);
/* Detaches whatever is below <name> and removes it; fine if nothing is there. */
int vm_export_detach(struct vm *vm, const char *name, struct err *err);

/* A root port for hot-plugging ("rp0"…), -ENOSPC when all are used. Static string. */
int vm_take_port(struct vm *vm, const char **ret_bus, struct err *err);

/* Borrowed; valid until vm_free(). */
struct agent *vm_agent(struct vm *vm);
struct qmp *vm_qmp(struct vm *vm);
int vm_pidfd(const struct vm *vm); /* readable when QEMU has ended */
int vm_pid(const struct vm *vm);
/* Why QEMU ended or the guest is silent: the last of its standard error and console. Of
 * an adopted VM that no exit status can be known. */
void vm_post_mortem(struct vm *vm, char *buf, size_t size);

/* Kills QEMU, waits for its end, removes cgroup, uid and control files. NULL is fine. */
void vm_free(struct vm *vm);

/* Undoes, from its folder alone, what a killed owner left. Twice is fine; no folder is
 * fine. */
int vm_cleanup(const struct config *c, const char *dir, struct err *err);
