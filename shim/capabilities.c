/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capabilities that the shim keeps: see capabilities.h.
 *
 *   CAP_SYS_ADMIN         mounts, namespaces, cgroups; the mount namespaces of QEMU and
 *                         of the file server
 *   CAP_NET_ADMIN         taps, and what is joined to the pod's interfaces
 *   CAP_BPF               where port-forward's connections go: shim/port_steer.c
 *   CAP_NET_BIND_SERVICE  its listener
 *   CAP_SYS_PTRACE        the namespaces of other processes by their /proc; the name in
 *                         QEMU's open(2) that is answered for it
 *   CAP_SYS_RESOURCE      the pod's OOM score, which may be lower than the shim's
 *   CAP_SYS_CHROOT        the root of stand-ins
 *   CAP_KILL              ending QEMU and the file server, which have other uids
 *   CAP_SETUID, CAP_SETGID, CAP_SETPCAP
 *                         making these other users without capabilities
 *   CAP_CHOWN, CAP_MKNOD  QEMU's /dev/kvm; the pod's cgroup
 *   CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID
 *                         volumes, streams, devices and root file systems, whoever owns
 *                         them
 *   CAP_SETFCAP           user namespaces that uid 0 is mapped into (Linux 5.12)
 *
 * Not among them: modules, raw devices, reboot, clock, scheduling, accounting, audit, the
 * kernel's log, security modules, files' immutable flag.
 */
#include "shim/capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

static const unsigned int kept[] = {
	CAP_SYS_ADMIN,
	CAP_NET_ADMIN,
	CAP_BPF,
	CAP_NET_BIND_SERVICE,
	CAP_SYS_PTRACE,
	CAP_SYS_RESOURCE,
	CAP_SYS_CHROOT,
	CAP_KILL,
	CAP_SETUID,
	CAP_SETGID,
	CAP_SETPCAP,
	CAP_CHOWN,
	CAP_MKNOD,
	CAP_DAC_OVERRIDE,
	CAP_DAC_READ_SEARCH,
	CAP_FOWNER,
	CAP_FSETID,
	CAP_SETFCAP,
};

/* Not by libcap-ng: each pod's shim would read and keep what it knows. */
int capabilities_cut(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint64_t keep = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		keep |= UINT64_C(1) << kept[i];
	if (syscall(SYS_capget, &header, data) < 0)
		return err_sys(err, errno, "cannot read our capabilities");
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)(keep >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, errno, "cannot give up capabilities");
	return 0;
}
