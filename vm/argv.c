/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's command line: see argv.h. */
#include "vm/argv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent-client/agent.h"
#include "base/util.h"
#include "files/wire.h"

/* pc-dimm slots: one to four a container's memory limit (vm/memory.c), for more
 * containers than a pod has. One costs a template 6 KB. */
#define VM_MEMORY_SLOTS 64

/*
 * The translation buffer is most of a TCG clone's private memory: bounded, it is thrown
 * away and refilled when full. In MiB.
 */
#define VM_TB_SIZE_MIB 48

struct words {
	char **word;
	size_t n, size;
};

static void __attribute__((format(printf, 2, 3)))
add_argument(struct words *w, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	if (w->n + 1 >= w->size) {
		w->size = MAX((size_t)64, w->size * 2);
		w->word = xreallocarray(w->word, w->size, sizeof(*w->word));
	}
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	w->word[w->n++] = text;
	w->word[w->n] = NULL;
}

static void __attribute__((format(printf, 3, 4)))
add_option(struct words *w, const char *option, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	add_argument(w, "%s", option);
	add_argument(w, "%s", text);
	free(text);
}

/*
 * What a distribution's kernel sets up for everyone, and no container of a VM looks at: a
 * clone has it in its memory, a boot waits for it. The names are functions of the kernel;
 * those that another kernel has not say nothing to it.
 *   tracer_init_tracefs  four files for each of 1300 trace events: 8.6 MB of inodes,
 *                        never to be dropped. /sys/kernel/tracing is empty, bpf(2) and
 *                        perf_event_open(2) do without.
 *   slab_sysfs_init      /sys/kernel/slab: 0.6 MB; /proc/slabinfo tells the same.
 *   init_zswap           0.6 MB of buffers to compress what is swapped, without a swap.
 */
#define UNUSED_INITCALLS                                                                 \
	"initcall_blacklist=tracer_init_tracefs,slab_sysfs_init,init_zswap"

/* The kernel adds up what it is told to leave out: who names some, names them all. */
static const char *unused_initcalls(const char *params)
{
	return strstr(params, "initcall_blacklist=") ? "" : UNUSED_INITCALLS " ";
}

/* Debian signs the modules of its kernels with a key that is in these. For a kernel whose
 * modules are not signed kernel_params says module.sig_enforce=0: the kernel itself knows
 * no way back. */
static const char *signed_modules(const char *params)
{
	return strstr(params, "module.sig_enforce=") ? "" : "module.sig_enforce=1 ";
}

/*
 * lsm=: of the security modules a container uses these two. The others are called for
 * each hook of each system call even without a policy, and hang something on each inode:
 * 4 % of a clone's time to the end of "true" under emulation. (selinux=0 is not enough:
 * Debian's kernel does not know it, and has SELinux.)
 *
 * lpj=: a vCPU that is plugged would else measure its delay loop by the other's ticks,
 * 1.8 s under emulation, where both have one thread. This is 4 GHz at 250 Hz: delays are
 * too long if anything.
 */
char *vm_cmdline(const struct vm_machine *m)
{
	const char *params = m->config->kernel_params;

	return xasprintf(
		"console=ttyS0 quiet loglevel=3 panic=-1 oops=panic reboot=t "
		"swiotlb=noforce memhp_default_state=online random.trust_cpu=on "
		"tsc=reliable no_timer_check cryptomgr.notests rcupdate.rcu_expedited=1 "
		"nowatchdog audit=0 lsm=landlock,yama i8042.noaux i8042.nokbd "
		"8250.nr_uarts=1 pci=lastbus=0 "
		"transparent_hugepage=madvise %s%s%s%s%s",
		unused_initcalls(params), signed_modules(params),
		m->kvm ? "" : "mitigations=off init_on_alloc=0 lpj=16000000",
		*params ? " " : "", params);
}

/* The machine without what it has no use for:
 * each device costs realize time and guest memory. */
static void add_machine(struct words *w, const struct vm_machine *m)
{
	const struct config *c = m->config;

	add_option(w, "-machine",
		"q35,memory-backend=ram,hpet=off,smbus=off,sata=off,usb=off,vmport=off,"
		"graphics=off,dump-guest-core=off,mem-merge=off");
	/* All vCPUs of an emulated machine in one thread. With one for each, QEMU 7.2
	 * may translate code that another vCPU is just writing, and keep what was
	 * there: Linux changes its own (jump labels), and both take a breakpoint for
	 * ever that memory has no more. And with one region for each in the
	 * translation buffer none may be left for a vCPU that is plugged. */
	if (m->kvm)
		add_option(w, "-accel", "kvm");
	else
		add_option(w, "-accel", "tcg,thread=single,tb-size=%d", VM_TB_SIZE_MIB);
	/* Under KVM without what no pod needs and holes were found in: nested guests, and
	 * the performance counters. Nehalem is x86-64-v2, what today's distributions ask
	 * for; TCG emulates newer vector units one lane after the other. */
	add_option(w, "-cpu", "%s",
		m->kvm ? "host,vmx=off,svm=off,pmu=off" : "Nehalem,+rdrand");
	add_option(w, "-smp", "cpus=%" PRIu64 ",maxcpus=%u,sockets=%u,cores=1,threads=1",
		c->default_vcpus, config_max_vcpus(c), config_max_vcpus(c));
	add_option(w, "-m", "size=%" PRIu64 "M,slots=%d,maxmem=%" PRIu64 "M",
		c->default_memory, VM_MEMORY_SLOTS,
		config_max_memory_bytes(c) / MiB + align_up(c->default_memory, 128) +
			VM_IMAGES_BYTES / MiB);
}

static void add_memory(struct words *w, const struct vm_machine *m, enum vm_role role)
{
	uint64_t mib = m->config->default_memory;

	switch (role) {
	case VM_ROLE_DIRECT:
		add_option(
			w, "-object", "memory-backend-ram,id=ram,size=%" PRIu64 "M", mib);
		return;
	case VM_ROLE_TEMPLATE:
		add_option(w, "-object",
			"memory-backend-file,id=ram,size=%" PRIu64
			"M,mem-path=" VM_PATH_MEMORY ",share=on",
			mib);
		return;
	case VM_ROLE_CLONE:
		add_option(w, "-object",
			"memory-backend-file,id=ram,size=%" PRIu64
			"M,mem-path=" VM_PATH_MEMORY ",share=off",
			mib);
		return;
	}
}

/*
 * A template has no window. Memory that is shared is not in the saved state, but the
 * address that the guest has it at is (x-ignore-shared), and a clone whose device is not
 * mapped yet has it nowhere: QEMU refuses such a state. One device more than the state
 * knows of is fine, and the clone's guest finds it by looking for new ones on its bus.
 */
static void add_window(struct words *w)
{
	add_option(w, "-object",
		"memory-backend-file,id=window,size=%uM,mem-path=" VM_PATH_WINDOW
		",share=on",
		FILES_WINDOW_BYTES >> 20);
	add_option(w, "-device", "ivshmem-plain,memdev=window,master=on,addr=0x3");
}

/*
 * A root port for each device would be what PCI Express has for it; eight of them cost a
 * clone's start 9 ms of CPU, 32 of them 55, this bridge 1 (docs/design.md). QEMU plugs
 * into its slots by ACPI: without shpc=off the bridge would have a controller of its own
 * for that, which nobody uses.
 *
 * mem-reserve and pref64-reserve: the firmware opens no window for a bridge without
 * devices, and the kernel makes none later. A virtio device has 4 KiB of the first kind
 * and 16 KiB of the second; 1 MiB is the smallest window.
 */
static void add_ports(struct words *w)
{
	add_option(w, "-device",
		"pci-bridge,id=" VM_PORTS_BUS
		",bus=pcie.0,addr=0x4,chassis_nr=1,shpc=off,"
		"mem-reserve=2M,pref64-reserve=2M");
}

/* The machine has no other bridge: the firmware calls the bus behind it 1. */
void vm_port_address(unsigned int port, char ret[VM_PORT_ADDRESS_SIZE])
{
	snprintf(ret, VM_PORT_ADDRESS_SIZE, "0000:01:%02x.0", port);
}

static void add_devices(struct words *w, enum vm_role role)
{
	/* Fixed slots: a clone's devices must sit where the template's did. */
	add_option(w, "-chardev", "ringbuf,id=" VM_CHARDEV_CONSOLE ",size=%d",
		VM_CONSOLE_BYTES);
	add_option(w, "-device", "isa-serial,chardev=" VM_CHARDEV_CONSOLE);
	add_option(w, "-device", "vmgenid,guid=auto");
	add_option(w, "-device", "virtio-serial-pci,id=serial,addr=0x2,max_ports=3");
	add_option(w, "-chardev", "socket,id=agent,fd=%d", VM_FD_AGENT);
	add_option(w, "-device",
		"virtserialport,bus=serial.0,nr=1,chardev=agent,name=" AGENT_SERIAL_PORT);
	add_option(w, "-chardev", "socket,id=files,fd=%d", VM_FD_FILES);
	add_option(w, "-device",
		"virtserialport,bus=serial.0,nr=2,chardev=files,name=" FILES_PORT);
	if (role != VM_ROLE_TEMPLATE)
		add_window(w);
	add_ports(w);
}

char **vm_argv_new(const struct vm_machine *m, enum vm_role role)
{
	struct words w = {0};
	char *cmdline;

	add_argument(&w, "%s", m->config->qemu_path);
	/* Threads named by what they do: a bench tells those of the vCPUs by it. */
	add_option(&w, "-name", "stencil,debug-threads=on");
	add_argument(&w, "-no-user-config");
	add_argument(&w, "-nodefaults");
	/* A guest that ends or panics (panic=-1 is a reboot)
	 * stays to be looked at: vm/watch.c. */
	add_option(&w, "-action", "reboot=shutdown,shutdown=pause");
	add_option(&w, "-display", "none");
	add_machine(&w, m);
	add_memory(&w, m, role);
	add_option(&w, "-chardev", "socket,id=qmp,fd=%d", VM_FD_QMP);
	add_option(&w, "-mon", "chardev=qmp,mode=control");
	add_devices(&w, role);
	if (role == VM_ROLE_CLONE) {
		/* No kernel: what the loader would read is in the
		 * template's memory already. */
		add_option(&w, "-incoming", "defer");
		return w.word;
	}
	cmdline = vm_cmdline(m);
	add_option(&w, "-kernel", VM_PATH_KERNEL);
	add_option(&w, "-initrd", VM_PATH_INITRD);
	add_option(&w, "-append", "%s%s", cmdline,
		role == VM_ROLE_TEMPLATE ? " " VM_WORD_COMPACT : "");
	free(cmdline);
	return w.word;
}

void vm_argv_free(char **argv)
{
	for (char **word = argv; word && *word; word++)
		free(*word);
	free(argv);
}
