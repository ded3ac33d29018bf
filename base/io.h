/* SPDX-License-Identifier: Apache-2.0 */
/* Files, directories and sockets: bounded reads, atomic writes, fds in messages. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* All descriptors these return are O_CLOEXEC. */

/* Reads or writes all of it, or fails; read_full() answers -ENODATA at an early end. */
int read_full(int fd, void *buf, size_t len);
int write_full(int fd, const void *buf, size_t len);

/*
 * A whole file of at most max bytes; *ret_data is the caller's to free() and has a NUL
 * behind ret_len bytes. -EFBIG if there is more. dirfd as for openat(2).
 */
int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len,
	struct err *err);

/* Writes data to path by way of <path>.new and a rename, so that readers see all or
 * nothing. Writers of one path, whichever process they are in, take turns; the last one's
 * data stays. */
int file_write_atomic(int dirfd, const char *path, const void *data, size_t len,
	mode_t mode, struct err *err);

/* Writes text into a file that exists (sysfs, cgroup, procfs). */
int file_write_text(int dirfd, const char *path, const char *text, struct err *err);

/* mkdir -p; what exists stays as it is. */
int mkdir_parents(const char *path, mode_t mode, struct err *err);

/*
 * Removes a tree without following a symbolic link or crossing into another file system
 * below `name` (a mount point found below is an error that names it). A name that is not
 * there is success. name: one component relative to dirfd, or an absolute path with
 * AT_FDCWD.
 */
int remove_tree(int dirfd, const char *name, struct err *err);

/* openat2(RESOLVE_IN_ROOT) and openat2(RESOLVE_BENEATH|NO_MAGICLINKS): for names from a
 * pod or a guest. Return the fd or a negative errno. */
int open_in_root(int rootfd, const char *path, int flags);
int open_beneath(int dirfd, const char *path, int flags);

/* The folder for readdir(3), not through a symbolic link; "." reads dirfd's own from the
 * start and leaves its offset alone. *ret is the caller's to closedir(). 0 or a negative
 * errno. */
int dir_open(int dirfd, const char *name, DIR **ret);

/*
 * open(2) through a read-only mount made for it: whoever is handed the descriptor can
 * change neither mode nor owner of what it leads to, nor open it again for writing by
 * /proc/self/fd, whatever its capabilities. A device opens as asked, once: not again, for
 * reading either. Takes CAP_SYS_ADMIN. Returns the fd or a negative errno.
 */
int open_readonly_mount(const char *path, int flags);

/* A tmpfs that is mounted nowhere, with room for one empty file: its root's descriptor,
 * or a negative errno. attributes: fsmount(2)'s. Takes CAP_SYS_ADMIN. */
int mount_nowhere(unsigned int attributes);

/* Waits with poll(2) until fd has one of `events`, or its peer is gone: 0 or
 * -ETIMEDOUT. */
int wait_fd(int fd, short events, int64_t deadline);

/* Raises lo in the network namespace of this thread: 0 or a negative errno. System calls
 * only, as a forked child needs it. */
int loopback_raise(void);

/* ---- Unix sockets ---- */

/* A listening socket at path (mode 0600, an old socket file is replaced; longer than
 * sun_path is -ENAMETOOLONG with the limit in the text). type: SOCK_STREAM or
 * SOCK_SEQPACKET. */
int unix_listen(const char *path, int type, int *ret_fd, struct err *err);
int unix_connect(
	const char *path, int type, int64_t deadline, int *ret_fd, struct err *err);
int unix_peer_credentials(int fd, uid_t *ret_uid, pid_t *ret_pid);

#define SOCK_FDS_MAX 8

/* One message with up to SOCK_FDS_MAX descriptors (not taken). */
int sock_send(int fd, const void *data, size_t len, const int *fds, unsigned int n_fds,
	int64_t deadline);
/*
 * One message of at most `size` bytes. Returns its length, 0 at the end of the stream,
 * -EMSGSIZE if it was longer, -EPROTO if it brought more descriptors than n_fds (all are
 * closed), -ETIMEDOUT. fds (n_fds places) are filled, unused places with -1; the caller
 * owns them.
 */
ssize_t sock_recv(
	int fd, void *buf, size_t size, int *fds, unsigned int n_fds, int64_t deadline);
