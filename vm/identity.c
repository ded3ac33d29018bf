/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity gate: what makes a clone another machine than its template.
 *
 * The order matters. The guest's RNG comes first: QEMU gave the clone a new VM generation
 * id and the kernel has reseeded on its notification, but that arrives as an interrupt
 * like any other; the agent's answer to ReseedRandomDev closes the window. Then the
 * clock, which stood still since the save. Then name, machine-id (drawn by the agent from
 * the RNG of now) and the sandbox id, with CreateSandbox.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/util.h"
#include "vm/vm_internal.h"

/* The kernel's pool digests to 256 bits (drivers/char/random.c); twice that, to be on the
 * safe side. */
#define ENTROPY_BYTES 64

static int reseed_guest(struct vm *vm, struct err *err)
{
	Grpc__ReseedRandomDevRequest request = GRPC__RESEED_RANDOM_DEV_REQUEST__INIT;
	uint8_t entropy[ENTROPY_BYTES];
	int r;

	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return err_sys(err, errno, "getrandom");
	request.data.data = entropy;
	request.data.len = sizeof(entropy);
	r = agent_reseed_random_dev(vm->agent, &request, vm_call_deadline(vm), err);
	explicit_bzero(entropy, sizeof(entropy));
	return r < 0 ? err_wrap(err, "reseed the guest's RNG") : 0;
}

static int set_clock(struct vm *vm, struct err *err)
{
	Grpc__SetGuestDateTimeRequest request = GRPC__SET_GUEST_DATE_TIME_REQUEST__INIT;
	struct timespec now;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	request.sec = now.tv_sec;
	request.usec = now.tv_nsec / 1000;
	r = agent_set_guest_date_time(vm->agent, &request, vm_call_deadline(vm), err);
	return r < 0 ? err_wrap(err, "set the guest's clock") : 0;
}

static int create_sandbox(struct vm *vm, const char *hostname, struct err *err)
{
	Grpc__CreateSandboxRequest request = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	int r;

	request.hostname = (char *)(uintptr_t)hostname;
	request.sandbox_id = vm->record.sandbox;
	r = agent_create_sandbox(vm->agent, &request, vm_call_deadline(vm), err);
	return r < 0 ? err_wrap(err, "create the sandbox in the guest") : 0;
}

int vm_make_unique(struct vm *vm, const char *hostname, struct err *err)
{
	int r;

	trace_begin(vm->trace, TRACE_IDENTITY);
	r = reseed_guest(vm, err);
	if (r == 0)
		r = set_clock(vm, err);
	if (r == 0)
		r = create_sandbox(vm, hostname, err);
	if (r < 0)
		return err_wrap(err, "identity gate");
	trace_end(vm->trace, TRACE_IDENTITY);
	return 0;
}
