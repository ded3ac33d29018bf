/* SPDX-License-Identifier: Apache-2.0 */
/* Events to containerd: one queue, one thread, so that they arrive in the order they
 * happened. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "base/err.h"

/*
 * With TTRPC_ADDRESS they go to containerd.services.events.ttrpc.v1.Events; without it
 * through the program that containerd named by -publish-binary; without any address
 * (CRI-O) nobody is told. A containerd that is away (restarting) is waited for: until
 * its socket appears again, and at most EVENTS_RETRY_MS for an event. What is lost
 * then, or finds EVENTS_QUEUE_MAX waiting, is logged by topic.
 */
#define EVENTS_QUEUE_MAX 1024
#define EVENTS_CALL_MS   5000
#define EVENTS_RETRY_MS  60000

struct events_config {
	const char *ttrpc_address; /* containerd's ttrpc socket; "" if there is none */
	const char *publish_binary, *address; /* for the other way; "" if not known */
	const char *namespace;
};

struct events;

/* Strings are copied. Starts the thread; connects with the first event. */
int events_new(const struct events_config *config, struct events **ret, struct err *err);
/* Never waits. topic: static string. The message is packed before this returns. */
void events_publish(struct events *e, const char *topic, const ProtobufCMessage *message);
/* Sends what is queued until the deadline, then frees. */
void events_free(struct events *e, int64_t deadline);
