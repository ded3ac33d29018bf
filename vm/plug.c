/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into a VM's ports: NICs, images and disks. See vm.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/vm_internal.h"

/* The number of a port that is free no more, or VM_PORTS. `pmem_bytes` are taken out of
 * the address space for images, with it or not at all. */
static unsigned int take_port(struct vm *vm, unsigned int reserved, uint64_t pmem_bytes)
{
	unsigned int port = VM_PORTS;

	pthread_mutex_lock(&vm->lock);
	if (ports_free(&vm->ports) > reserved &&
		pmem_bytes <= VM_IMAGES_BYTES - vm->image_bytes) {
		port = ports_take(&vm->ports);
		vm->image_bytes += pmem_bytes;
	}
	pthread_mutex_unlock(&vm->lock);
	return port;
}

static void give_port(struct vm *vm, unsigned int port, uint64_t pmem_bytes)
{
	pthread_mutex_lock(&vm->lock);
	ports_give(&vm->ports, port);
	vm->image_bytes -= pmem_bytes;
	pthread_mutex_unlock(&vm->lock);
}

static int all_ports_used(struct err *err)
{
	return err_set(
		err, -ENOSPC, "all %d hot-plug ports of the VM are in use", VM_PORTS);
}

int vm_plug_nic(
	struct vm *vm, const struct vm_nic *nic, unsigned int *ret_port, struct err *err)
{
	unsigned int port = take_port(vm, 0, 0);
	char id[16];
	struct plug_nic plug = {.id = id,
		.port = {.bus = VM_PORTS_BUS, .slot = port},
		.tap_fd = nic->tap_fd};
	int r;

	if (port == VM_PORTS)
		return all_ports_used(err);
	snprintf(id, sizeof(id), "nic%u", port);
	memcpy(plug.mac, nic->mac, sizeof(plug.mac));
	r = plug_nic(vm->qmp, &plug, vm_call_deadline(vm), err);
	/* After any other error QEMU may have it still. */
	if (r == -EREMOTEIO)
		give_port(vm, port, 0);
	if (r == 0)
		*ret_port = port;
	return r;
}

int vm_unplug_nic(struct vm *vm, unsigned int port, struct err *err)
{
	char id[16];
	int r;

	snprintf(id, sizeof(id), "nic%u", port);
	r = unplug_nic(vm->qmp, id, vm_call_deadline(vm), err);
	if (r == 0)
		give_port(vm, port, 0);
	return r;
}

int vm_plug_image(struct vm *vm, const struct vm_image *image,
	char ret_address[VM_PORT_ADDRESS_SIZE], struct err *err)
{
	bool pmem = image->bytes <= vm->config->images_dax_max;
	uint64_t pmem_bytes = pmem ? image->bytes : 0;
	unsigned int port = take_port(vm, image->reserved, pmem_bytes);
	char id[16];
	struct plug_image plug = {.id = id,
		.port = {.bus = VM_PORTS_BUS, .slot = port},
		.fd = image->fd,
		.bytes = image->bytes};
	int r;

	if (port == VM_PORTS)
		return err_set(err, -ENOSPC,
			"no hot-plug port of the VM is left for an image, or no address "
			"space for its %" PRIu64 " MiB",
			image->bytes / MiB);
	snprintf(id, sizeof(id), "image%u", port);
	trace_begin(vm->trace, TRACE_IMAGE);
	r = (pmem ? plug_pmem : plug_disk)(vm->qmp, &plug, vm_call_deadline(vm), err);
	if (r == -EREMOTEIO)
		give_port(vm, port, pmem_bytes);
	if (r < 0)
		return r;
	trace_end(vm->trace, TRACE_IMAGE);
	vm_port_address(port, ret_address);
	return 0;
}

static void name_disk(unsigned int port, char ret[16])
{
	snprintf(ret, 16, "disk%u", port);
}

int vm_plug_disk(struct vm *vm, const struct vm_disk *disk, struct vm_disk_port *ret,
	struct err *err)
{
	unsigned int port = take_port(vm, disk->reserved, 0);
	char id[16];
	struct plug_block plug = {.id = id,
		.port = {.bus = VM_PORTS_BUS, .slot = port},
		.fd = disk->fd,
		.is_device = disk->is_device,
		.readonly = disk->readonly,
		.logical_bytes = disk->logical_bytes,
		.physical_bytes = disk->physical_bytes};
	int r;

	if (port == VM_PORTS)
		return all_ports_used(err);
	name_disk(port, id);
	r = plug_block(vm->qmp, &plug, vm_call_deadline(vm), err);
	/* After any other error QEMU may have it still. */
	if (r == -EREMOTEIO)
		give_port(vm, port, 0);
	if (r < 0)
		return r;
	ret->number = port;
	vm_port_address(port, ret->address);
	return 0;
}

int vm_unplug_disk(struct vm *vm, const struct vm_disk_port *port, struct err *err)
{
	char id[16];
	int r;

	name_disk(port->number, id);
	r = unplug_block(vm->qmp, id, vm_call_deadline(vm), err);
	if (r == 0)
		give_port(vm, port->number, 0);
	return r;
}
