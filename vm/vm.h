/* SPDX-License-Identifier: Apache-2.0 */
/* A guest without a sandbox: boot, save, clone, identity gate, resize, end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent-client/agent.h"
#include "base/config.h"
#include "base/err.h"
#include "base/trace.h"
#include "base/util.h"
#include "mm/manifest.h"
#include "vm/argv.h"
#include "vm/cgroup.h"

/*
 * One struct vm is one QEMU process, the connections to it, and what it has on the host:
 * a number, and by that a folder, a uid and a cgroup (vm/number.h). All of it is written
 * down before it is made (vm/record.h), so that vm_sweep() can undo it when its owner was
 * killed.
 *
 *	vm_new()
 *	vm_boot() | vm_clone() | vm_adopt(), vm_resume()
 *	any of the rest, once it is ready
 *	vm_free()
 *
 * A start that failed has undone itself: another one may follow. vm_kill() may come from
 * any thread at any time between vm_new() and vm_free(), a start that runs included. The
 * other calls may come from several threads at once, except the starts, vm_resize(),
 * which wants one at a time, and vm_free(). No lock is held while QEMU or the guest is
 * waited for.
 */
struct vm;

struct vm_options {
	const struct config *config; /* outlives the vm */
	const char *namespace;       /* of the sandbox; "" for a VM of templated's own */
	const char *sandbox; /* its id, told to the guest; both are in the record */
	/* The cgroup that the pod is in (cgroup_pod_of()); NULL or "": none. Outlives the
	 * vm. One that is taken over stays where it is. */
	const char *pod_cgroup;
	struct trace *trace; /* may be NULL; outlives the start */
	/* What QEMU may use of one CPU in percent until vm_set_aside(); 0: no limit. A
	 * host without the controller for it is told about in the log, once. */
	unsigned int cpu_percent;
	/*
	 * A VM that was ready has ended although nobody called vm_kill(): the guest
	 * powered off or panicked, or QEMU died. Called once, from the VM's own thread,
	 * maybe before the start has returned; not after vm_free() has. Who ends before
	 * it is ready fails its start instead. May be NULL.
	 */
	void (*ended)(void *user);
	void *user;
};

/* Takes a number, see vm_number_take() for the errors. */
int vm_new(const struct vm_options *options, struct vm **ret, struct err *err);

/* Ends QEMU, waits for that, undoes what the VM has on the host. One that another process
 * has taken over is left alone. NULL is fine. -EBUSY: something could not be undone,
 * which is logged; vm_sweep() does that once this process has ended. */
int vm_free(struct vm *vm);
DEFINE_CLEANUP(vm, struct vm *, vm_free);

/* Ends QEMU now, and each start from now on: with -ECANCELED, or with what a call to a
 * QEMU that dies fails with. `ended` is not called for it. Does not wait. */
void vm_kill(struct vm *vm);
bool vm_is_killed(struct vm *vm);

/*
 * Cold boot; ready when the agent has answered. memory_fd: the template's memory file,
 * mapped shared and writable (not taken), or -1 for private memory (direct factory). A
 * template's guest has zeroed its free memory by the time it answers, so that its pages
 * can be punched out. A guest that does not answer in boot_timeout_ms is -ETIMEDOUT, with
 * the end of its console and of QEMU's standard error in the text.
 */
int vm_boot(struct vm *vm, int memory_fd, struct err *err);

/* What a clone is made of: a generation's read-only descriptors and its manifest. */
struct vm_template {
	int memory_fd, state_fd; /* not taken */
	const struct manifest *manifest;
	const char *generation; /* its id, for the record */
};

/* Ready when the agent has answered; not unique until vm_make_unique(). */
int vm_clone(struct vm *vm, const struct vm_template *template, struct err *err);

/* Stops the guest and writes the device state;
 * the VM is of no use afterwards but for vm_free(). */
int vm_save(struct vm *vm, int state_fd, struct err *err);

/* The identity gate: entropy, clock, hostname ("" leaves the guest's), machine-id and
 * clone id reach the guest and are acknowledged. Nothing of a workload may run before it
 * returned 0. */
int vm_make_unique(struct vm *vm, const char *hostname, struct err *err);

/*
 * Plugs vCPUs up to `vcpus` in all and memory up to `memory_bytes` beyond what the VM was
 * booted with (rounded up to 128 MiB), and waits until the agent has them online. Large
 * memory is plugged in steps, each with call_timeout_ms of its own. Never shrinks. What
 * is more than the machine can have (default_maxvcpus, default_maxmemory, the host's
 * memory) is cut to that, with a warning in the log: limits above the host's size are
 * common and no promise.
 */
int vm_resize(struct vm *vm, unsigned int vcpus, uint64_t memory_bytes, struct err *err);

/*
 * What QEMU and the file server may use of the host's CPUs together, beside what the
 * guest is kept to by itself: `millis` thousandths of a CPU for containers and
 * VM_CPU_OVERHEAD_MILLIS for the VM, 0 is no limit; and how much against others (shares
 * as of cgroup v1), 0 is as much as any. A host without the controller is no error.
 */
#define VM_CPU_OVERHEAD_MILLIS 250
int vm_limit_cpu(struct vm *vm, uint64_t millis, uint64_t shares, struct err *err);

/* The file server will fill file systems that are memory (tmpfs), of so many bytes in
 * all: they are charged to it, and can't be dropped as other files can. UINT64_MAX: there
 * is no end. For who may call vm_resize(). */
int vm_limit_files(struct vm *vm, uint64_t bytes, struct err *err);

struct vm_nic {
	int tap_fd; /* an IFF_VNET_HDR tap; not taken, QEMU gets a duplicate */
	uint8_t mac[6];
};

/* Plugs a NIC into the first free port; -ENOSPC when all VM_PORTS (vm/argv.h) are used.
 * The guest finds it by its MAC. One that QEMU refuses (-EREMOTEIO) uses none. */
int vm_plug_nic(
	struct vm *vm, const struct vm_nic *nic, unsigned int *ret_port, struct err *err);
/* Takes it away, when the guest has let go of it; until then its port is in use. */
int vm_unplug_nic(struct vm *vm, unsigned int port, struct err *err);

/*
 * Plugs a file that nobody writes, of a multiple of 2 MiB, into the first free port: as
 * memory (virtio-pmem), or as a disk (virtio-blk) where it is larger than dax_max of
 * [images]. QEMU keeps a duplicate of image_fd (O_RDONLY, not taken). ret_address is the
 * port's (vm_port_address()), by which the guest finds it. `reserved`: ports that others
 * still need; -ENOSPC where no other one is left, or no address space.
 */
struct vm_image {
	int fd;
	uint64_t bytes;
	unsigned int reserved;
};
int vm_plug_image(struct vm *vm, const struct vm_image *image,
	char ret_address[VM_PORT_ADDRESS_SIZE], struct err *err);

/*
 * Plugs a block device or a regular file of the host as a disk (virtio-blk) into the
 * first free port; -ENOSPC when all are used. QEMU keeps a duplicate of fd (not taken)
 * until vm_unplug_disk(), which returns when the guest has let go of it; where that fails
 * the port stays taken.
 */
struct vm_disk {
	int fd; /* O_RDWR, or with readonly maybe O_RDONLY */
	bool is_device, readonly;
	unsigned int logical_bytes, physical_bytes; /* its sectors; 0: of 512 bytes */
	unsigned int reserved;                      /* ports that others still need */
};
struct vm_disk_port {
	unsigned int number;
	char address[VM_PORT_ADDRESS_SIZE]; /* by which the guest finds it */
};
int vm_plug_disk(struct vm *vm, const struct vm_disk *disk, struct vm_disk_port *ret,
	struct err *err);
int vm_unplug_disk(struct vm *vm, const struct vm_disk_port *port, struct err *err);

/*
 * The file channel, for the pod's file server (files/wire.h): its host end, and the
 * window's memory, a memfd whose size is sealed. Borrowed; valid until vm_free(). The VM
 * reads and writes neither.
 */
void vm_files(const struct vm *vm, int *ret_channel_fd, int *ret_window_fd);
/* Uid and gid for that server, nobody else's as long as the VM has its number. */
uid_t vm_files_uid(const struct vm *vm);
/* The VM's cgroup.procs of each hierarchy, as of cgroup_create(); the caller closes them.
 * Who joins is ended with the VM, at the latest, also by vm_sweep(). */
int vm_open_cgroup(const struct vm *vm, int ret_fds[CGROUP_MAX], struct err *err);

/* Borrowed; valid until vm_free(). */
struct agent *vm_agent(struct vm *vm);
unsigned int vm_number(const struct vm *vm);
int vm_pid(const struct vm *vm);   /* QEMU's */
int vm_pidfd(const struct vm *vm); /* readable when QEMU has ended */

/* proc(5)'s oom_score_adj of what is in its cgroup now. Where it may not be lowered, it
 * stays. */
int vm_set_oom_score(struct vm *vm, int score, struct err *err);
/* Whether the host's kernel has killed QEMU or the file server because their cgroup had
 * used up its memory. */
bool vm_ran_out_of_memory(struct vm *vm);

/* Why QEMU ended or the guest is silent: the last of its standard error and console. Of
 * an adopted VM that no exit status can be known. */
void vm_post_mortem(struct vm *vm, char *buf, size_t size);
