/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM may use of its host, by its cgroup.
 *
 * Memory is the guest's, and what QEMU, the file server and the host's kernel need for
 * it; so a guest can't come to its end. Who does is a QEMU or a file server that uses
 * more than they have reason to, and the kernel kills in that cgroup alone.
 *
 * A clone's page counts from when the clone writes to it: it is a copy of the template's
 * then. And what it is a copy of counts, too, where it was a hole: the file system makes
 * a page of zeros for it at the first access, and charges it to whoever that was, until
 * templated punches it out again (measured: a guest that fills 120 MiB is charged with
 * 124 MiB of these). Pages with something in them are charged to templated. So a clone
 * has room for all of the template a second time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "vm/vm_internal.h"

/* Page tables: 1/512 of what is mapped, of QEMU's and again of KVM's; and as much for
 * what QEMU keeps of its memory slots. */
#define TABLES_SHARE 128

/* With as much memory plugged as that; 0: no limit. */
static uint64_t memory_bytes(const struct vm *vm, uint64_t dimm_bytes)
{
	uint64_t template = *vm->record.generation ? vm->config->default_memory * MiB : 0;
	uint64_t guest = vm->config->default_memory * MiB + dimm_bytes;
	uint64_t overhead = vm->config->memory_overhead * MiB;

	uint64_t sum = template + guest + guest / TABLES_SHARE + overhead;

	if (!overhead || __builtin_add_overflow(sum, vm->file_bytes, &sum))
		return 0;
	return sum;
}

/* A host that can't is no reason not to have the VM. */
static int set_limit(
	const struct vm *vm, enum cgroup_limit limit, uint64_t value, struct err *err)
{
	static atomic_flag told[CGROUP_LIMITS] = {[0] = ATOMIC_FLAG_INIT};
	struct err why = ERR_INIT;
	int r = cgroup_limit(vm->record.cgroup, limit, value, &why);

	if (r == 0 || (r == -EOPNOTSUPP && value == 0))
		return 0;
	if (r != -EOPNOTSUPP)
		return err_copy(err, &why);
	if (!atomic_flag_test_and_set(&told[limit]))
		log_warn("VMs may use more of this host than they should: %s", why.text);
	return 0;
}

int vm_limit_start(struct vm *vm, struct err *err)
{
	int r = set_limit(vm, CGROUP_MEMORY, memory_bytes(vm, 0), err);

	return r < 0 ? r : set_limit(vm, CGROUP_PIDS, vm->config->pids_max, err);
}

int vm_limit_memory(struct vm *vm, uint64_t dimm_bytes, struct err *err)
{
	return set_limit(vm, CGROUP_MEMORY, memory_bytes(vm, dimm_bytes), err);
}

int vm_limit_files(struct vm *vm, uint64_t bytes, struct err *err)
{
	if (!bytes)
		return 0;
	if (__builtin_add_overflow(vm->file_bytes, bytes, &vm->file_bytes))
		vm->file_bytes = UINT64_MAX;
	return vm_limit_memory(vm, vm->dimm_bytes, err);
}

int vm_limit_cpu(struct vm *vm, uint64_t millis, uint64_t shares, struct err *err)
{
	uint64_t quota = millis ? millis + VM_CPU_OVERHEAD_MILLIS : 0;
	int r = set_limit(vm, CGROUP_CPU, quota, err);

	return r < 0 ? r : set_limit(vm, CGROUP_SHARES, shares, err);
}

bool vm_ran_out_of_memory(struct vm *vm)
{
	return cgroup_oom_kills(vm->record.cgroup) > 0;
}

/* ---- the OOM score ---- */

/* Lowering it is the host's root's: said once. */
static int set_oom_score(int pid, int score, struct err *err)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	_cleanup_free_ char *path = xasprintf("/proc/%d/oom_score_adj", pid);
	struct err why = ERR_INIT;
	char text[12];
	int r;

	snprintf(text, sizeof(text), "%d", score);
	r = file_write_text(AT_FDCWD, path, text, &why);
	/* It has ended meanwhile. */
	if (r == 0 || r == -ENOENT || r == -ESRCH)
		return 0;
	if (r != -EACCES)
		return err_copy(err, &why);
	if (!atomic_flag_test_and_set(&told))
		log_info("the OOM score of the VM stays above %d: lowering it needs "
			 "CAP_SYS_RESOURCE",
			score);
	return 0;
}

int vm_set_oom_score(struct vm *vm, int score, struct err *err)
{
	char roots[CGROUP_MAX][64];
	_cleanup_free_ char *procs = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	int pid, r = 0;

	if (cgroup_hierarchies(roots) == 0)
		return set_oom_score(vm->qemu.pid, score, err);
	procs = xasprintf("%s/%s/cgroup.procs", roots[0], vm->record.cgroup);
	f = fopen(procs, "re");
	if (!f)
		return err_sys(err, errno, "cannot open %s", procs);
	while (r == 0 && fscanf(f, "%d", &pid) == 1)
		r = set_oom_score(pid, score, err);
	return r;
}
