/* SPDX-License-Identifier: Apache-2.0 */
/* A tree (files/tree.h) that has no files:
 * it stands in for ours where the channel is tested. */
#pragma once

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>

#include "base/thread.h"
#include "base/util.h"
#include "files/tree.h"
#include "files/wire.h"

/*
 * FUSE_READ      bytes that follow from their offset
 * FUSE_WRITE     is remembered
 * FUSE_SETXATTR  its length is remembered, the answer is empty
 * FUSE_SETLKW    waits, until FUSE_SETLK or an end
 * FUSE_FSYNC, FUSE_RELEASE  last until the test opens the gate
 * FUSE_LOOKUP    crowds the tree
 * FUSE_GETATTR   sends a notification
 * FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_INTERRUPT  are counted
 * FUSE_READLINK  4096 bytes without grow()
 * FUSE_INIT, FUSE_GETLK  an empty answer
 * FUSE_ACCESS    the same, at once
 * FUSE_DESTROY   no answer at all
 * others         no kernel sends them
 */
struct tree {
	struct tree_options options;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ended, unlocked, gate, frozen, busy;
	unsigned int waiting, in_gate, forgets, interrupts, inits;
	size_t xattr_len, written_len;
	bool written_in_window;
	uint8_t *written;
};

/* The one that was made last; how many were reset, how many are there. */
static struct tree *memory_tree_last;
static unsigned int memory_tree_resets, memory_trees;

int tree_new(int root_fd, const struct tree_options *options, struct tree **ret,
	struct err *err)
{
	struct tree *tree;

	if (root_fd < 0)
		return err_set(err, -EBADF, "no root");
	tree = xnew0(struct tree);
	tree->options = *options;
	pthread_mutex_init(&tree->lock, NULL);
	cond_init(&tree->changed);
	memory_tree_last = tree;
	memory_trees++;
	*ret = tree;
	return 0;
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	memory_trees--;
	pthread_mutex_destroy(&tree->lock);
	pthread_cond_destroy(&tree->changed);
	free(tree->written);
	free(tree);
}

/* Changes nothing by itself: the test says whether it is busy. */
int tree_freeze(struct tree *tree, int64_t deadline)
{
	(void)deadline;
	tree->frozen = !tree->busy;
	return tree->busy ? -EBUSY : 0;
}

void tree_thaw(struct tree *tree)
{
	tree->frozen = false;
}

void tree_interrupt_all(struct tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	tree->ended = true;
	pthread_cond_broadcast(&tree->changed);
	pthread_mutex_unlock(&tree->lock);
}

void tree_reset(struct tree *tree)
{
	__atomic_add_fetch(&memory_tree_resets, 1, __ATOMIC_SEQ_CST);
	tree->ended = tree->unlocked = false;
}

static int memory_tree_answer(const struct fuse_in_header *in, struct tree_answer *answer,
	int error, const void *data, size_t len)
{
	struct fuse_out_header out = {.len = (uint32_t)(sizeof(out) + len),
		.error = error,
		.unique = in->unique};

	memcpy(answer->data, &out, sizeof(out));
	if (len > 0)
		memcpy(answer->data + sizeof(out), data, len);
	answer->len = out.len;
	return 0;
}

static int memory_tree_read(const struct fuse_in_header *in,
	const struct tree_request *request, struct tree_answer *answer)
{
	struct fuse_read_in read;
	struct fuse_out_header out = {.unique = in->unique};

	if (request->len != sizeof(*in) + sizeof(read))
		return -EPROTO;
	memcpy(&read, request->message + sizeof(*in), sizeof(read));
	out.len = (uint32_t)sizeof(out) + read.size;
	if (read.size > FILES_DATA_BYTES)
		return -EPROTO;
	if (out.len > answer->size) {
		uint8_t *grown = answer->grow(answer->user, out.len);

		if (!grown)
			return memory_tree_answer(in, answer, -ENOMEM, NULL, 0);
		answer->data = grown;
	}
	/* A file of 1 MiB. */
	if (read.offset >= MiB)
		out.len = sizeof(out);
	memcpy(answer->data, &out, sizeof(out));
	for (uint32_t i = 0; i < out.len - sizeof(out); i++)
		answer->data[sizeof(out) + i] = (uint8_t)((read.offset + i) * 7);
	answer->len = out.len;
	return 0;
}

static int memory_tree_write(struct tree *tree, const struct fuse_in_header *in,
	const struct tree_request *request, struct tree_answer *answer)
{
	const uint8_t *data = request->payload;
	size_t len = request->payload_len;
	struct fuse_write_out out = {0};

	if (request->len < TREE_WRITE_HEADER)
		return -EPROTO;
	if (!data) {
		data = request->message + TREE_WRITE_HEADER;
		len = request->len - TREE_WRITE_HEADER;
	}
	if (len > FILES_DATA_BYTES)
		return -EPROTO;
	pthread_mutex_lock(&tree->lock);
	tree->written = xreallocarray(tree->written, MAX(len, (size_t)1), 1);
	memcpy(tree->written, data, len);
	tree->written_len = len;
	tree->written_in_window = request->payload;
	pthread_mutex_unlock(&tree->lock);
	out.size = (uint32_t)len;
	return memory_tree_answer(in, answer, 0, &out, sizeof(out));
}

static int memory_tree_lock(
	struct tree *tree, const struct fuse_in_header *in, struct tree_answer *answer)
{
	int error;

	answer->waits(answer->user);
	pthread_mutex_lock(&tree->lock);
	tree->waiting++;
	pthread_cond_broadcast(&tree->changed);
	while (!tree->ended && !tree->unlocked)
		pthread_cond_wait(&tree->changed, &tree->lock);
	error = tree->unlocked ? 0 : -EINTR;
	tree->waiting--;
	pthread_mutex_unlock(&tree->lock);
	return memory_tree_answer(in, answer, error, NULL, 0);
}

static int memory_tree_count(struct tree *tree, unsigned int *counter)
{
	pthread_mutex_lock(&tree->lock);
	(*counter)++;
	pthread_cond_broadcast(&tree->changed);
	pthread_mutex_unlock(&tree->lock);
	return 0;
}

static int memory_tree_gate(
	struct tree *tree, const struct fuse_in_header *in, struct tree_answer *answer)
{
	pthread_mutex_lock(&tree->lock);
	tree->in_gate++;
	pthread_cond_broadcast(&tree->changed);
	while (!tree->gate)
		pthread_cond_wait(&tree->changed, &tree->lock);
	tree->in_gate--;
	pthread_mutex_unlock(&tree->lock);
	return memory_tree_answer(in, answer, 0, NULL, 0);
}

static int memory_tree_notify(
	struct tree *tree, const struct fuse_in_header *in, struct tree_answer *answer)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = 2};

	tree->options.notify(tree->options.user, &out, sizeof(out));
	return memory_tree_answer(in, answer, 0, NULL, 0);
}

int tree_serve_at_once(
	struct tree *tree, const struct tree_request *request, struct tree_answer *answer)
{
	struct fuse_in_header in;

	(void)tree;
	memcpy(&in, request->message, sizeof(in));
	if (in.opcode != FUSE_ACCESS)
		return 0;
	memory_tree_answer(&in, answer, 0, NULL, 0);
	return 1;
}

int tree_serve(
	struct tree *tree, const struct tree_request *request, struct tree_answer *answer)
{
	static const uint8_t zeros[4096 - sizeof(struct fuse_out_header)];
	struct fuse_in_header in;

	memcpy(&in, request->message, sizeof(in));
	switch (in.opcode) {
	case FUSE_INIT:
		memory_tree_count(tree, &tree->inits);
		return memory_tree_answer(&in, answer, 0, NULL, 0);
	case FUSE_ACCESS:
	case FUSE_GETLK:
		return memory_tree_answer(&in, answer, 0, NULL, 0);
	case FUSE_READ:
		return memory_tree_read(&in, request, answer);
	case FUSE_READLINK:
		return memory_tree_answer(&in, answer, 0, zeros, sizeof(zeros));
	case FUSE_WRITE:
		return memory_tree_write(tree, &in, request, answer);
	case FUSE_SETXATTR:
		tree->xattr_len = request->len;
		return memory_tree_answer(&in, answer, 0, NULL, 0);
	case FUSE_SETLKW:
		return memory_tree_lock(tree, &in, answer);
	case FUSE_SETLK:
		pthread_mutex_lock(&tree->lock);
		tree->unlocked = true;
		pthread_cond_broadcast(&tree->changed);
		pthread_mutex_unlock(&tree->lock);
		return memory_tree_answer(&in, answer, 0, NULL, 0);
	case FUSE_FSYNC:
	case FUSE_RELEASE:
		return memory_tree_gate(tree, &in, answer);
	case FUSE_LOOKUP:
		tree->options.crowded(tree->options.user);
		return memory_tree_answer(&in, answer, -ENOENT, NULL, 0);
	case FUSE_GETATTR:
		return memory_tree_notify(tree, &in, answer);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		return memory_tree_count(tree, &tree->forgets);
	case FUSE_INTERRUPT:
		return memory_tree_count(tree, &tree->interrupts);
	case FUSE_DESTROY:
		return 0;
	}
	return -EPROTO;
}

/* Waits until a counter of the tree has this value. */
static inline void memory_tree_await(
	struct tree *tree, const unsigned int *counter, unsigned int value)
{
	pthread_mutex_lock(&tree->lock);
	while (*counter != value)
		pthread_cond_wait(&tree->changed, &tree->lock);
	pthread_mutex_unlock(&tree->lock);
}

static inline void memory_tree_open_gate(struct tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	tree->gate = true;
	pthread_cond_broadcast(&tree->changed);
	pthread_mutex_unlock(&tree->lock);
}
