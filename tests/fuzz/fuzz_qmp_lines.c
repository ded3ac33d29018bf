/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzing what QEMU says, the reader alone: lines into messages, and to those who wait.
 * fuzz_qmp.c has whole sessions, which take a thread or two each. */
#include <stdint.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/qmp_internal.h"

/*
 * The input is what fuzz_qmp's is: chunks with a form feed between, each of which is one
 * read. Commands with the first numbers wait for their answers.
 */
#define CHUNK_END '\f'
#define CALLS     8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct qmp *session_new(struct qmp_call calls[CALLS])
{
	/* Nothing is written, and who reads is here. */
	struct qmp *q = qmp_alloc(-1);

	if (!q)
		abort();
	for (unsigned int i = 0; i < CALLS; i++) {
		calls[i] = (struct qmp_call){.id = i + 1, .next = q->calls};
		q->calls = &calls[i];
	}
	return q;
}

static int take_chunk(
	struct qmp *q, struct qmp_input *in, const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;

	if (size == 0)
		return 0;
	/* No byte more than was read: the sanitizer sees who looks further. */
	in->data = xreallocarray(in->data, in->len + size, 1);
	memcpy(in->data + in->len, data, size);
	in->len += size;
	in->size = in->len;
	return qmp_take_lines(q, in, &err);
}

static void look_at(struct qmp *q, const struct qmp_call calls[CALLS])
{
	uint64_t held = MIN(q->n_events, (uint64_t)QMP_EVENTS_KEPT);

	for (uint64_t i = 0; i < held; i++)
		if (!q->events[i].name)
			abort();
	for (unsigned int i = 0; i < CALLS; i++)
		if (calls[i].done != !!calls[i].answer)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size, *stop;
	struct qmp_call calls[CALLS];
	struct qmp *q = session_new(calls);
	struct qmp_input in = {0};

	for (; at < end; at = stop + 1) {
		stop = memchr(at, CHUNK_END, (size_t)(end - at));
		if (!stop)
			stop = end;
		if (take_chunk(q, &in, at, (size_t)(stop - at)) < 0)
			break;
	}
	look_at(q, calls);
	for (unsigned int i = 0; i < CALLS; i++)
		json_object_put(calls[i].answer);
	q->calls = NULL;
	free(in.data);
	qmp_free(q);
	return 0;
}
