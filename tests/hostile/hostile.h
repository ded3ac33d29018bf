/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's kernel that is hostile: what the files of this module share. */
#pragma once

#include <linux/types.h>
#include <linux/virtio.h>

/*
 * How it works. The module is loaded by root of a privileged container, and its loading
 * is the attack: insmod(8) returns when the attack is over, which for most is the pod's
 * end or SIGKILL. One that speaks for the guest on its own channels takes the device away
 * from the kernel's driver first, and stops the agent, whose end would be the guest's.
 *
 * All that is random comes of one seed, which the test prints.
 *
 * Functions return 0 or a negative errno; -EINTR: somebody wants the attack to end.
 */
struct attack {
	const char *name;
	int (*run)(void);
};

/* How often it does what it does, before it ends; 0: for ever. Of a flood of the files
 * how many of each kind there are. */
extern unsigned int attack_amount;
/* How an attack of the file channel ends its pod: which of the illegal frames. */
extern unsigned int attack_frame;

/* How often it was done, for who asks in the guest. */
extern unsigned int attack_done;

u32 attack_random(void);
void attack_random_bytes(void *data, size_t size);
/* In each turn of a loop: lets others run, and counts. -EINTR as above. */
int attack_go_on(void);
/* Process 1 stands still from now on, with all its threads. */
void attack_stop_agent(void);

/* ---- device.c: one virtio device at a time, taken from its driver ---- */

#define DEVICE_QUEUES_MAX 8

struct device_wish {
	u32 id; /* VIRTIO_ID_* */
	const unsigned int *features;
	unsigned int n_features;
	unsigned int n_queues;
};

/* The device is reset and has its queues, empty. wish stays the caller's, and has to stay
 * there. */
int device_take(const struct device_wish *wish);
void device_give_back(void);
struct virtqueue *device_queue(unsigned int i);
/* Sends one buffer and waits until the device has read it. */
int device_send(unsigned int queue, const void *data, size_t size);
/* The queue's descriptors can be of any kind from now on: it is written to directly. */
int device_send_chain(unsigned int queue, unsigned int kind);
#define DEVICE_CHAIN_KINDS 8u

/* ---- serial.c: the console device, with the ports of the agent and of the files ---- */

#define SERIAL_CONTROL_OUT     3u
#define SERIAL_AGENT           1u
#define SERIAL_FILES           2u
#define SERIAL_QUEUE_OUT(port) (3u + 2u * (port))

/* Stops the agent, and takes the device. */
int serial_take(void);
int serial_control(u32 port, u16 event, u16 value);
int serial_send(unsigned int port, const void *data, size_t size);
/* All of size, as it comes. */
int serial_receive(unsigned int port, void *data, size_t size);

/* ---- channel.c: the file channel, spoken as the agent would (files/wire.h) ---- */

struct channel_call {
	u16 mount;
	u32 opcode;
	u64 node;
	const void *data; /* behind the header */
	size_t size;
};

#define CHANNEL_ANSWER_MAX 4096
struct channel_answer {
	int error; /* as FUSE has it: negative */
	size_t size;
	u8 data[CHANNEL_ANSWER_MAX];
};

/* A request is on its way. At most FILES_CREDITS are at a time. */
int channel_ask(const struct channel_call *call);
/* The next answer of any of them. */
int channel_hear(struct channel_answer *ret);
/* 1: a request for which there is no answer yet has its credit back; 0: an answer. */
int channel_hear_credit(struct channel_answer *ret);
/* Both, for one at a time: 0, or what the answer's error is. *ret may be NULL. */
int channel_call(const struct channel_call *call, struct channel_answer *ret);
int channel_unmounted(u16 mount);
/* One of those that no guest sends: see attack_frame. */
int channel_send_illegal(unsigned int kind);
/* One of these, after which the host ends the pod. */
int channel_end_pod(void);

/* ---- attacks ---- */

/* Takes the console device, finds the tree with "marker", and says in its "report" that
 * the attack has begun: the host has no other sign once the agent stands still. */
int files_begin(u16 *ret_mount, u64 *ret_marker);
int files_attack(void);
/* floods.c: what a guest may ask as often as it likes, of a tree in which `marker` is a
 * file's node. */
int floods_run(u16 mount, u64 marker);
/* Looks a name up until it is there, many times at once. */
int floods_look_up(u16 mount, const char *name);

int frames_attack(void);
int agent_attack(void);
int ports_attack(void);
int rings_attack(void);
int net_attack(void);
int ost_attack(void);
int hotplug_attack(void);
