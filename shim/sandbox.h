/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's VM: where it comes from, what is plugged into it, and its end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "base/trace.h"
#include "shim/net.h"
#include "shim/state.h"
#include "templated/lease.h"
#include "vm/vm.h"

/* Told from threads of the sandbox; none of them comes after sandbox_free(). */
struct sandbox_events {
	/* QEMU has ended though nobody asked for it. */
	void (*died)(void *user);
	/* The guest's kernel killed something of a container. */
	void (*oom)(void *user, const char *container_id);
	void *user;
};

struct sandbox_config {
	const struct config *config; /* with the annotations; outlives the sandbox */
	struct state *state;         /* recorded in it: netns; outlives the sandbox */
	const char *hostname;        /* "" for none */
	const char *netns;           /* path; "" for none */
	uint64_t cpu_millis, memory_bytes; /* of the first container */
	struct sandbox_events events;
};

struct sandbox;

/*
 * A cached VM, or a lease and a clone of it, or a cold boot and its reason; the identity gate; then side
 * by side the network and what the pod needs of CPU and memory. Ready when the guest has
 * acknowledged all of it. On failure nothing stays.
 */
int sandbox_new(
	const struct sandbox_config *config, struct sandbox **ret, struct err *err);
/* Kills the VM and undoes the rest. NULL is fine. */
void sandbox_free(struct sandbox *s);
/* Kills the VM: calls of its agent end with -ECONNRESET, so that whoever makes them can
 * leave before sandbox_free(). */
void sandbox_kill(struct sandbox *s);
/* The guest did not answer what (a sentence) must not stay undone: ends the VM. Unlike
 * after sandbox_kill(), died() is told: as if it had ended by itself. */
void sandbox_give_up(struct sandbox *s, const char *what);

/* What the containers of the pod need in all. Never shrinks. */
int sandbox_resize(
	struct sandbox *s, uint64_t cpu_millis, uint64_t memory_bytes, struct err *err);

struct vm *sandbox_vm(struct sandbox *s);
struct agent *sandbox_agent(struct sandbox *s);
struct trace *sandbox_trace(struct sandbox *s);
/* Deadline of one agent call that does not wait for a process. */
int64_t sandbox_deadline(const struct sandbox *s);
/* The phases of the start, once, when the first process runs. */
void sandbox_report(struct sandbox *s);
