/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of a VM's file channel: see vm.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "files/wire.h"
#include "vm/cgroup.h"
#include "vm/vm_internal.h"

int vm_make_window(struct vm *vm, struct err *err)
{
	vm->window_fd = memfd_create("stencil-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Nobody who has it mapped can be made to die of SIGBUS. */
	if (vm->window_fd < 0 || ftruncate(vm->window_fd, FILES_WINDOW_BYTES) < 0 ||
		fcntl(vm->window_fd, F_ADD_SEALS,
			F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(err, errno, "cannot make the window's memory");
	return 0;
}

int vm_open_window(const struct vm *vm, struct err *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", vm->window_fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "cannot open the window's memory again") : fd;
}

void vm_files(const struct vm *vm, int *ret_channel_fd, int *ret_window_fd)
{
	*ret_channel_fd = vm->files_fd;
	*ret_window_fd = vm->window_fd;
}

uid_t vm_files_uid(const struct vm *vm)
{
	return vm->record.files_uid;
}

int vm_open_cgroup(const struct vm *vm, int ret_fds[CGROUP_MAX], struct err *err)
{
	return cgroup_open(vm->record.cgroup, ret_fds, err);
}
