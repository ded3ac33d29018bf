/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accelerator a VM gets: see accel.h.
 *
 * That /dev/kvm opens proves little. Under nested virtualization without hardware help
 * KVM may run each guest instruction through its emulator: every ioctl succeeds, a few
 * instructions even finish, and a kernel never boots. So the probe enters 64-bit mode and
 * counts down a few million times, which takes a CPU milliseconds and an emulator many
 * seconds.
 *
 * It runs in a child process, the one fork without exec of the project: a vCPU that does
 * not come back can be ended for certain only by killing the process that runs it.
 */
#include "vm/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/util.h"

/* Guest-physical layout of the probe, a megabyte in all. */
enum {
	PROBE_BYTES = 1 << 20,
	PROBE_CODE = 0x1000,
	PROBE_PML4 = 0x2000,
	PROBE_PDPT = 0x3000,
	PROBE_PD = 0x4000,
	PROBE_STACK = 0x8000,
};

#define PTE_PRESENT_WRITE 0x3u
#define PTE_HUGE          0x80u
#define CR0_64BIT         0x80050033u /* PG AM WP NE ET MP PE */
#define CR4_PAE           0x20u
#define EFER_LME_LMA      0x500u

/* Step of the child that failed, as its exit status. */
enum probe_step {
	PROBE_OK,
	PROBE_OPEN,
	PROBE_VM,
	PROBE_VCPU,
	PROBE_STATE,
	PROBE_RUN,
	PROBE_ANSWER,
};

static const char *const probe_step_text[] = {
	[PROBE_OK] = "ok",
	[PROBE_OPEN] = "the device does not open",
	[PROBE_VM] = "no VM can be made",
	[PROBE_VCPU] = "no vCPU can be made",
	[PROBE_STATE] = "the vCPU refuses 64-bit mode",
	[PROBE_RUN] = "KVM_RUN fails",
	[PROBE_ANSWER] = "64-bit code gives a wrong answer",
};

static const uint8_t probe_code[] = {
	0xb9, 0x40, 0x4b, 0x4c, 0x00, /* mov $5000000,%ecx */
	0xff, 0xc9,                   /* 1: dec %ecx */
	0x75, 0xfc,                   /* jnz 1b */
	0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* movabs …,%rax */
	0x50,                                                       /* push %rax */
	0x5b,                                                       /* pop %rbx */
	0x48, 0xc1, 0xeb, 0x38,                                     /* shr $56,%rbx */
	0x88, 0xd8,                                                 /* mov %bl,%al */
	0xe6, 0x80,                                                 /* out %al,$0x80 */
};
#define PROBE_PORT   0x80
#define PROBE_RESULT 0x11

static bool set_state(int vcpu)
{
	struct kvm_segment data = {.limit = UINT32_MAX,
		.selector = 16,
		.present = 1,
		.type = 3,
		.s = 1,
		.db = 1,
		.g = 1};
	struct kvm_segment code = {.limit = UINT32_MAX,
		.selector = 8,
		.present = 1,
		.type = 11,
		.s = 1,
		.l = 1,
		.g = 1};
	struct kvm_regs regs = {.rip = PROBE_CODE, .rsp = PROBE_STACK, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = CR0_64BIT;
	sregs.cr3 = PROBE_PML4;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME_LMA;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 &&
	       ioctl(vcpu, KVM_SET_REGS, &regs) == 0;
}

static uint8_t *make_memory(int vm)
{
	uint8_t *mem = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.memory_size = PROBE_BYTES, .userspace_addr = (uintptr_t)mem};

	if (mem == MAP_FAILED)
		return NULL;
	*(uint64_t *)(mem + PROBE_PML4) = PROBE_PDPT | PTE_PRESENT_WRITE;
	*(uint64_t *)(mem + PROBE_PDPT) = PROBE_PD | PTE_PRESENT_WRITE;
	*(uint64_t *)(mem + PROBE_PD) = PTE_HUGE | PTE_PRESENT_WRITE;
	memcpy(mem + PROBE_CODE, probe_code, sizeof(probe_code));
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? NULL : mem;
}

/* System calls only: this is a forked child of a process with threads. */
static enum probe_step probe_kvm(const char *device)
{
	int kvm = open(device, O_RDWR | O_CLOEXEC), vm, vcpu, size;
	struct kvm_run *run;

	if (kvm < 0)
		return PROBE_OPEN;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || !make_memory(vm))
		return PROBE_VM;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu < 0 || size < (int)sizeof(*run))
		return PROBE_VCPU;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return PROBE_VCPU;
	if (!set_state(vcpu))
		return PROBE_STATE;
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return PROBE_RUN;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PROBE_PORT ||
		*((uint8_t *)run + run->io.data_offset) != PROBE_RESULT)
		return PROBE_ANSWER;
	return PROBE_OK;
}

int accel_probe_kvm(const char *device, unsigned int *ret_ms, struct err *err)
{
	_cleanup_close_ int pidfd = -1;
	int64_t start = now_ms();
	siginfo_t info = {0};
	pid_t pid;
	int r;

	pid = fork();
	if (pid == 0)
		_exit(probe_kvm(device));
	if (pid < 0)
		return err_sys(err, errno, "cannot fork the KVM probe");
	r = pidfd_of(pid, &pidfd);
	if (r == 0)
		r = pidfd_wait(pidfd, start + ACCEL_PROBE_MS);
	if (r < 0)
		kill(pid, SIGKILL);
	if (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0)
		return err_sys(err, errno, "cannot wait for the KVM probe");
	if (r == -ETIMEDOUT)
		return err_set(err, r,
			"%s opens, but 64-bit guest code had not finished after %d ms (each "
			"instruction is emulated: nested virtualization without hardware help?)",
			device, ACCEL_PROBE_MS);
	if (r < 0)
		return err_sys(err, r, "cannot wait for the KVM probe");
	if (info.si_code != CLD_EXITED || info.si_status < 0 ||
		info.si_status >= (int)ARRAY_SIZE(probe_step_text))
		return err_set(err, -EIO, "%s: the probe was killed by signal %d", device,
			info.si_status);
	if (info.si_status != PROBE_OK)
		return err_set(
			err, -EIO, "%s: %s", device, probe_step_text[info.si_status]);
	*ret_ms = (unsigned int)(now_ms() - start);
	return 0;
}

/* ---- the outcome, kept until the next boot ---- */

static int boot_id(char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(
		AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text, &len, NULL);

	if (r == 0)
		snprintf(buf, size, "%.*s", (int)strcspn(text, "\n"), text);
	return r;
}

/* "<boot id> kvm|tcg <reason>" */
static bool recall_accel(const char *path, const char *boot, struct accel *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len, boot_len = strlen(boot);

	if (file_read(AT_FDCWD, path, 1024, &text, &len, NULL) < 0 ||
		len < boot_len + 6 || memcmp(text, boot, boot_len) != 0 ||
		text[boot_len] != ' ')
		return false;
	ret->kvm = strncmp(text + boot_len + 1, "kvm ", 4) == 0;
	snprintf(ret->reason, sizeof(ret->reason), "%s", text + boot_len + 5);
	return true;
}

static void probe_or_recall(const struct config *c, struct accel *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/.accel", c->state_dir);
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;
	char boot[64] = "";
	unsigned int ms;

	if (boot_id(boot, sizeof(boot)) == 0 && recall_accel(path, boot, ret))
		return;
	ret->kvm = accel_probe_kvm("/dev/kvm", &ms, &err) == 0;
	if (ret->kvm)
		snprintf(ret->reason, sizeof(ret->reason), "KVM ran 64-bit code in %u ms",
			ms);
	else
		snprintf(ret->reason, sizeof(ret->reason), "%.250s", err.text);
	text = xasprintf("%s %s %s", boot, ret->kvm ? "kvm" : "tcg", ret->reason);
	/* Without it the next start only probes again. */
	if (*boot && mkdir_parents(c->state_dir, 0711, &err) == 0 &&
		file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err) < 0)
		log_debug("the outcome of the KVM probe is not kept: %s", err.text);
}

int accel_choose(const struct config *c, struct accel *ret, struct err *err)
{
	if (c->accel == CONFIG_ACCEL_TCG) {
		*ret = (struct accel){.reason = "accel = tcg"};
		return 0;
	}
	probe_or_recall(c, ret);
	if (c->accel == CONFIG_ACCEL_KVM && !ret->kvm)
		return err_set(err, -EOPNOTSUPP,
			"accel = kvm, but %s; set accel = auto to let Stencil use TCG here",
			ret->reason);
	return 0;
}
