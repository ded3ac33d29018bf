/* SPDX-License-Identifier: Apache-2.0 */
/* Which accelerator a VM gets: KVM only where it has proved that it runs 64-bit guest
 * code. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "base/err.h"

struct accel {
	bool kvm;
	char reason[256]; /* why, for people: "KVM ran the probe in 3 ms" */
};

/*
 * accel = tcg: TCG. kvm: KVM, or an error if the probe fails. auto: KVM if the probe
 * succeeds, else TCG. The probe takes milliseconds where KVM works and at most
 * ACCEL_PROBE_MS where it doesn't; its outcome is kept in <state_dir>/.accel for the time
 * until the next boot of the host.
 */
#define ACCEL_PROBE_MS 1500
int accel_choose(const struct config *c, struct accel *ret, struct err *err);

/* The probe itself: 0, or a negative errno with what failed. */
int accel_probe_kvm(const char *device, unsigned int *ret_ms, struct err *err);
