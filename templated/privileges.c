/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capabilities that templated keeps: see privileges.h.
 *
 *   CAP_SYS_ADMIN     the tmpfs (mount, remount, unmount); QEMU's mount namespace and
 *                     pivot_root
 *   CAP_SYS_PTRACE    reading the name in QEMU's one open(2) that is answered for it
 *   CAP_SETUID        QEMU's uid …
 *   CAP_SETGID        … and gid
 *   CAP_SETPCAP       emptying QEMU's bounding set
 *   CAP_CHOWN         QEMU's /dev/kvm
 *   CAP_MKNOD         the same
 *   CAP_KILL          ending QEMU, which has another uid
 *   CAP_DAC_OVERRIDE  removing a generation (its folder is 0500), punching holes of its
 *                     memory (0400), cgroup files of a delegated tree
 *
 * For making images: CAP_SYS_ADMIN mounts the overlay of the layers, in a mount namespace
 * of the maker's; CAP_SETUID, CAP_SETGID and CAP_SETPCAP take from mkfs.erofs all but
 *
 *   CAP_DAC_READ_SEARCH  layers have files that only their owners may read
 *
 * and CAP_CHOWN gives it the file that it writes, and takes that back.
 *
 * Not among them: anything with the network, modules, raw devices, reboot, clock, audit,
 * bpf.
 */
#include "templated/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "base/util.h"

static const unsigned int kept[] = {
	CAP_SYS_ADMIN,
	CAP_SYS_PTRACE,
	CAP_SETUID,
	CAP_SETGID,
	CAP_SETPCAP,
	CAP_CHOWN,
	CAP_MKNOD,
	CAP_KILL,
	CAP_DAC_OVERRIDE,
	CAP_DAC_READ_SEARCH,
};

int privileges_cut(struct err *err)
{
	bool have[ARRAY_SIZE(kept)];
	int r;

	if (capng_get_caps_process() < 0)
		return err_set(err, -EPERM, "cannot read our capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (have[i])
			capng_update(CAPNG_ADD,
				CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				kept[i]);
	r = capng_apply(CAPNG_SELECT_BOTH);
	if (r < 0)
		return err_set(err, -EPERM, "cannot give up capabilities (%d)", r);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot set no_new_privs");
	return 0;
}
