/* SPDX-License-Identifier: Apache-2.0 */
/* A folder and mounts of its own for tests of mm/ and templated/:
 * gone with the process. */
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/util.h"
#include "mm/manifest.h"
#include "tests/lib/patience.h"

/* A tmpfs that only this process sees, at /tmp:
 * what a failed test leaves goes with it. */
static inline void fixture_enter(void)
{
	if (geteuid() != 0) {
		print_message("needs root\n");
		exit(1);
	}
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("test", "/run", "tmpfs", 0, "mode=0755") < 0 ||
		mount("test", "/tmp", "tmpfs", 0, "mode=1777") < 0) {
		perror("private mounts");
		exit(1);
	}
}

/* The text of an error holds `part`. */
#define assert_error(err, part)                                                          \
	do {                                                                             \
		if (!strstr((err).text, (part)))                                         \
			fail_msg("\"%s\" is not in \"%s\"", (part), (err).text);         \
	} while (0)

static inline void fixture_write(const char *path, const char *text, mode_t mode)
{
	struct err err = ERR_INIT;

	if (file_write_atomic(AT_FDCWD, path, text, strlen(text), mode, &err) < 0)
		fail_msg("%s", err.text);
}

#define DIGEST_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* The fields of the inputs, as vm_inputs_collect() would fill them. */
static inline void fixture_inputs(struct manifest *m, const char *memory_bytes)
{
	static const char *const values[MANIFEST_FIELDS] = {
		[MANIFEST_QEMU_PATH] = "/usr/bin/qemu",
		[MANIFEST_QEMU_VERSION] = "QEMU emulator version 7.2.22",
		[MANIFEST_QEMU_SHA256] = DIGEST_A,
		[MANIFEST_FIRMWARE_SHA256] = DIGEST_A,
		[MANIFEST_ARGV] = "qemu -m 8M -machine q35",
		[MANIFEST_ACCEL] = "tcg",
		[MANIFEST_HOST_CPU] = "-",
		[MANIFEST_HOST_KERNEL] = "-",
		[MANIFEST_KERNEL_PATH] = "/boot/vmlinuz",
		[MANIFEST_INITRD_PATH] = "/boot/initrd.img",
		[MANIFEST_KERNEL_SHA256] = DIGEST_A,
		[MANIFEST_INITRD_SHA256] = DIGEST_B,
		[MANIFEST_CMDLINE] = "console=ttyS0",
	};

	manifest_init(m);
	for (int i = 0; i < MANIFEST_FIELDS; i++)
		if (values[i])
			manifest_set(m, (enum manifest_field)i, values[i]);
	manifest_set(m, MANIFEST_MEMORY_BYTES, memory_bytes);
}
