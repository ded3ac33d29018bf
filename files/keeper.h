/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: sets and reads overlayfs' own attributes for
 * the file server, which could not. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/util.h"

/*
 * The guest mounts an overlay whose upper layer lies in a tree, and overlayfs marks
 * folders and files of it by attributes trusted.overlay.*. The host's overlayfs has to
 * find the same ones when containerd looks at what a container has changed, and the
 * host's kernel lets none set or read a trusted.* attribute but who has CAP_SYS_ADMIN in
 * the first user namespace. That is almost everything, and too much for a process that
 * reads a guest's messages.
 *
 * So these few calls have a process of their own, with nothing else in it: it takes a
 * request of one shape and a descriptor over a socket, makes one system call, and
 * answers. Whatever else comes ends it, and with it the server. It is forked and not
 * executed: what it needs is a page of code, and its memory stays shared with the
 * server's.
 *
 * Stages of the keeper, in this order; it starts as the server does, as root, with one
 * thread:
 *
 *   descriptors  nothing is open but the socket, and by the working folder /proc/self/fd:
 *                the path "1" is the descriptor that came with a request, whatever it is
 *                of
 *   namespaces   mount, network (empty), IPC, UTS, of its own
 *   root         an empty read-only tmpfs; the old root is gone
 *   limits       no core dumps; room for one descriptor at a time, and for little memory
 *   uid          the server's uid and gid; CAP_SYS_ADMIN and no other capability;
 *                no_new_privs; nobody traces it or reads its memory
 *   parent       it is killed when the server ends
 *   filter       recvmsg and sendmsg on its socket, getxattr, setxattr, removexattr,
 *                close, exit_group. Any other call kills it: no mount, no namespace, no
 *                device, nothing of what CAP_SYS_ADMIN is feared for
 *
 * What a server that was broken into gains by it: attributes trusted.overlay.* on files
 * that it has a descriptor of, that is of its pod's trees, which it may write anyhow.
 */
struct keeper;

#define KEEPER_PREFIX "trusted.overlay."
/* overlayfs' longest is a redirect, a path of at most 256 bytes;
 * a file handle has 150. */
#define KEEPER_VALUE_MAX 4096u

/* Forks it. The process has one thread and is root.
 * The caller's SIGCHLD says that it ended. */
int keeper_new(uid_t uid, struct keeper **ret, struct err *err);
/* Waits until its walls stand: why they do not. Once, before keeper_call(). */
int keeper_wait(struct keeper *keeper, struct err *err);
/* Ends it and waits for that. NULL is fine. */
void keeper_free(struct keeper *keeper);
DEFINE_CLEANUP(keeper, struct keeper *, keeper_free);

/* An attribute's name is one of those that it sees to. */
bool keeper_knows(const char *name);

enum keeper_kind { KEEPER_GET = 1, KEEPER_SET, KEEPER_REMOVE };

struct keeper_call {
	enum keeper_kind kind;
	const char *name; /* one that it knows */
	int flags;        /* KEEPER_SET: of setxattr(2) */
	/* KEEPER_SET: the value, which another may change meanwhile. KEEPER_GET: room for
	 * it; a size of 0 asks only for its length. */
	void *value;
	size_t size;
};

/*
 * As getxattr(2) and its like, for what fd is of (O_PATH is enough). Any thread. Returns
 * 0, or the length of what was read, or a negative errno: -E2BIG for a value that is
 * longer than any of overlayfs', -EIO where the keeper is gone.
 */
ssize_t keeper_call(struct keeper *keeper, int fd, const struct keeper_call *call);
