/* SPDX-License-Identifier: Apache-2.0 */
/* The lease protocol: what travels between templated, shims and templatectl. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "base/json.h"
#include "templated/lease/client.h"

/*
 * SOCK_SEQPACKET on template_endpoint, root only; a message is one JSON object of at most
 * LEASE_MESSAGE_MAX bytes. The client speaks first, and has LEASE_REQUEST_MS to do so.
 *
 *   request   {"version": 2, "request": <verb>, …}
 *     acquire   "sandbox": <id>,
 *               "config": {<every key of enum lease_want>: <its value as in the file>},
 *               where a VM is welcome "state_dir": <path>,
 *               where no template is "template": false
 *     taken     the VM that was offered is the sandbox's now; no reply
 *     refresh   "now": <bool>, may be missing: retire what there is before building
 *     image     "lowers": [<absolute path>…], as image.h has it
 *     status, init, destroy, size, watch, images, prune       nothing more
 *
 *   reply     {"version": 2, "result": <result>, …}
 *     template  "generation", "manifest": {…} and, where a VM was welcome,
 *               "reason": <sentence on why there is none>;
 *               beside it the descriptors of memory and state
 *     vm        "generation" (or ""), "number", "qemu_version";
 *               beside it the descriptors of QMP, agent, process, standard error, file
 *               channel and window: see vm/handover.h
 *     none      "reason": <sentence>, "field": <manifest field or "">; of image without
 *               "field"
 *     image     "key", "bytes"; beside it the image's descriptor
 *     images    "images": {…}, see images.h
 *     pruned    "count", "bytes"
 *     done      of init, refresh, destroy: "generation", "built", "text",
 *               "held": [<sandbox>…] (of destroy)
 *     status    "status": {…}
 *     size      "size": {…}
 *     watching  and then events, see events.h, until the client says something or hangs
 *               up
 *     error     "error": <sentence>
 *
 * Before their reply init and refresh send any number of
 * {"version": 2, "progress": <step>}.
 *
 * After `template` the connection is the lease: it lasts until the client closes it, and
 * nothing more may be sent. After `vm` the client takes the VM and sends `taken` within
 * LEASE_REQUEST_MS, or loses it; then the connection is the lease. After any other reply
 * the next request may follow. A message that is not understood is answered with `error`
 * and the connection is closed.
 */
#define LEASE_VERSION     2
#define LEASE_REQUEST_MS  5000
#define LEASE_SEND_MS     5000
#define LEASE_DEPTH_MAX   8
#define LEASE_VM_FDS      6   /* beside the reply `vm` */
#define LEASE_SANDBOX_MAX 128 /* bytes of a sandbox id, with the NUL */
#define LEASE_LOWERS_MAX  500 /* what an overlay can have (OVL_MAX_STACK) */

enum lease_verb {
	LEASE_VERB_ACQUIRE,
	LEASE_VERB_STATUS,
	LEASE_VERB_INIT,
	LEASE_VERB_REFRESH,
	LEASE_VERB_DESTROY,
	LEASE_VERB_SIZE,
	LEASE_VERB_TAKEN,
	LEASE_VERB_WATCH,
	LEASE_VERB_IMAGE,
	LEASE_VERB_IMAGES,
	LEASE_VERB_PRUNE,
	LEASE_VERBS,
};

/* The values of a configuration that a template depends on. */
enum lease_want {
	LEASE_WANT_QEMU_PATH,
	LEASE_WANT_KERNEL,
	LEASE_WANT_INITRD,
	LEASE_WANT_KERNEL_PARAMS,
	LEASE_WANT_ACCEL,
	LEASE_WANT_VCPUS,
	LEASE_WANT_MAXVCPUS,
	LEASE_WANT_MEMORY,
	LEASE_WANT_MAXMEMORY,
	LEASE_WANTS,
};

struct lease_request {
	enum lease_verb verb;
	char sandbox[LEASE_SANDBOX_MAX]; /* acquire: letters, digits, "_.-" */
	char *want[LEASE_WANTS];         /* acquire; else NULL */
	bool now;                        /* refresh */
	char *state_dir; /* acquire: a VM whose record can go below it will do; or NULL */
	bool template;   /* acquire: so will a template */
	char **lowers;   /* image: 1 to LEASE_LOWERS_MAX absolute paths, topmost first */
	size_t n_lowers;
};

const char *lease_verb_name(enum lease_verb verb);

/* A request's JSON, the caller's. c: acquire only. */
struct json_object *lease_request_new(
	enum lease_verb verb, const char *sandbox, const struct config *c);
/* Errors say what a client got wrong. *ret is for lease_request_done(). */
int lease_request_parse(
	const char *text, size_t len, struct lease_request *ret, struct err *err);
void lease_request_done(struct lease_request *request);

/* Whether those values are c's own. */
bool lease_request_is_own(const struct lease_request *request, const struct config *c);
/* A configuration with those values and otherwise `base`'s, for config_done(); errors as
 * config_set(). */
int lease_request_config(const struct lease_request *request, const struct config *base,
	struct config *ret, struct err *err);

/* {"version": 2, "result": result}, to add to. */
struct json_object *lease_reply_new(const char *result);

/* Sends obj (taken) with n_fds descriptors: 0, -EMSGSIZE if it is too large, else as
 * sock_send(). */
int lease_send(int fd, struct json_object *obj, const int *fds, unsigned int n_fds,
	int64_t deadline);

/*
 * Client: receives one message and checks its form and version. 0 with *ret (the
 * caller's); *fds (2 places, or n_fds) as sock_recv(). A message with "progress" is one,
 * too.
 */
int lease_receive(
	int fd, struct json_object **ret, int fds[2], int64_t deadline, struct err *err);
int lease_receive_fds(int fd, struct json_object **ret, int *fds, unsigned int n_fds,
	int64_t deadline, struct err *err);
