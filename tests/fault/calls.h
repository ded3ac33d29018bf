/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that faults are injected into, as libc's functions are called.
 *
 * CALL(type, name, failed, parameters, arguments, errors): one that fails by returning
 * `failed`, with one of `errors` in errno. errors are what the manual names for a host
 * that runs out of something, or whose disk fails: what can come to a right program.
 * RETURNS: the same, but the error is what is returned. VARIADIC: one with one more
 * argument, or none. ANYWAY: one that does what it shall, and then fails.
 */
#define CANNOT_HAVE_FD E(EMFILE) E(ENFILE) E(ENOMEM)
#define DISK_IS_BAD    E(EIO) E(ENOSPC) E(ENOMEM)

/* files */
VARIADIC(int, open, -1, (const char *path, int flags, ...), flags, (path, flags, more),
	CANNOT_HAVE_FD E(EIO))
VARIADIC(int, openat, -1, (int dir, const char *path, int flags, ...), flags,
	(dir, path, flags, more), CANNOT_HAVE_FD E(EIO))
CALL(int, __open_2, -1, (const char *path, int flags), (path, flags),
	CANNOT_HAVE_FD E(EIO))
CALL(int, __openat_2, -1, (int dir, const char *path, int flags), (dir, path, flags),
	CANNOT_HAVE_FD E(EIO))
CALL(FILE *, fopen, NULL, (const char *path, const char *mode), (path, mode),
	CANNOT_HAVE_FD E(EIO))
CALL(FILE *, fdopen, NULL, (int fd, const char *mode), (fd, mode), E(ENOMEM))
CALL(ssize_t, __getdelim, -1, (char **line, size_t *size, int end, FILE *file),
	(line, size, end, file), E(EIO) E(ENOMEM))
ANYWAY(int, fclose, EOF, (FILE * file), (file), E(EIO) E(ENOSPC))
CALL(DIR *, opendir, NULL, (const char *path), (path), CANNOT_HAVE_FD)
CALL(DIR *, fdopendir, NULL, (int fd), (fd), E(ENOMEM))
CALL(struct dirent *, readdir, NULL, (DIR * dir), (dir), E(EIO))
CALL(int, scandir, -1,
	(const char *path, struct dirent ***list, int (*filter)(const struct dirent *),
		int (*compare)(const struct dirent **, const struct dirent **)),
	(path, list, filter, compare), CANNOT_HAVE_FD)
CALL(int, scandirat, -1,
	(int dir, const char *path, struct dirent ***list,
		int (*filter)(const struct dirent *),
		int (*compare)(const struct dirent **, const struct dirent **)),
	(dir, path, list, filter, compare), CANNOT_HAVE_FD)
ANYWAY(int, close, -1, (int fd), (fd), E(EIO))
CALL(ssize_t, read, -1, (int fd, void *data, size_t len), (fd, data, len),
	E(EIO) E(ENOMEM))
CALL(ssize_t, pread, -1, (int fd, void *data, size_t len, off_t at), (fd, data, len, at),
	E(EIO) E(ENOMEM))
CALL(ssize_t, write, -1, (int fd, const void *data, size_t len), (fd, data, len),
	DISK_IS_BAD)
CALL(ssize_t, pwrite, -1, (int fd, const void *data, size_t len, off_t at),
	(fd, data, len, at), DISK_IS_BAD)
CALL(ssize_t, copy_file_range, -1,
	(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned int flags),
	(in, in_at, out, out_at, len, flags), DISK_IS_BAD)
CALL(off_t, lseek, -1, (int fd, off_t at, int whence), (fd, at, whence), E(EIO))
CALL(int, ftruncate, -1, (int fd, off_t len), (fd, len), DISK_IS_BAD)
CALL(int, fallocate, -1, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len),
	DISK_IS_BAD)
CALL(int, fsync, -1, (int fd), (fd), E(EIO) E(ENOSPC))
CALL(int, fdatasync, -1, (int fd), (fd), E(EIO) E(ENOSPC))
VARIADIC(int, fcntl, -1, (int fd, int command, ...), command, (fd, command, more),
	E(EMFILE) E(ENOMEM))
VARIADIC(int, ioctl, -1, (int fd, unsigned long request, ...), request,
	(fd, request, more), E(ENOMEM) E(EBUSY) E(EIO))
CALL(int, flock, -1, (int fd, int operation), (fd, operation), E(ENOLCK))
CALL(int, stat, -1, (const char *path, struct stat *st), (path, st), E(ENOMEM) E(EIO))
CALL(int, lstat, -1, (const char *path, struct stat *st), (path, st), E(ENOMEM) E(EIO))
CALL(int, fstat, -1, (int fd, struct stat *st), (fd, st), E(ENOMEM) E(EIO))
CALL(int, fstatat, -1, (int dir, const char *path, struct stat *st, int flags),
	(dir, path, st, flags), E(ENOMEM) E(EIO))
CALL(int, statx, -1,
	(int dir, const char *path, int flags, unsigned int mask, struct statx *st),
	(dir, path, flags, mask, st), E(ENOMEM) E(EIO))
CALL(int, statfs, -1, (const char *path, struct statfs *st), (path, st), E(ENOMEM) E(EIO))
CALL(int, fstatfs, -1, (int fd, struct statfs *st), (fd, st), E(ENOMEM) E(EIO))
CALL(int, fstatvfs, -1, (int fd, struct statvfs *st), (fd, st), E(ENOMEM) E(EIO))
CALL(int, access, -1, (const char *path, int mode), (path, mode), E(ENOMEM) E(EIO))
CALL(int, faccessat, -1, (int dir, const char *path, int mode, int flags),
	(dir, path, mode, flags), E(ENOMEM) E(EIO))
CALL(ssize_t, readlink, -1, (const char *path, char *target, size_t len),
	(path, target, len), E(ENOMEM) E(EIO))
CALL(ssize_t, readlinkat, -1, (int dir, const char *path, char *target, size_t len),
	(dir, path, target, len), E(ENOMEM) E(EIO))
CALL(char *, realpath, NULL, (const char *path, char *resolved), (path, resolved),
	E(ENOMEM) E(EIO))
CALL(char *, getcwd, NULL, (char *path, size_t len), (path, len), E(ENOMEM))
CALL(int, chdir, -1, (const char *path), (path), E(ENOMEM) E(EIO))
CALL(int, fchdir, -1, (int fd), (fd), E(EIO))
CALL(int, chroot, -1, (const char *path), (path), E(ENOMEM))
CALL(int, mkdir, -1, (const char *path, mode_t mode), (path, mode), DISK_IS_BAD)
CALL(int, mkdirat, -1, (int dir, const char *path, mode_t mode), (dir, path, mode),
	DISK_IS_BAD)
CALL(int, mknod, -1, (const char *path, mode_t mode, dev_t dev), (path, mode, dev),
	DISK_IS_BAD)
CALL(int, mknodat, -1, (int dir, const char *path, mode_t mode, dev_t dev),
	(dir, path, mode, dev), DISK_IS_BAD)
CALL(int, symlink, -1, (const char *target, const char *path), (target, path),
	DISK_IS_BAD)
CALL(int, symlinkat, -1, (const char *target, int dir, const char *path),
	(target, dir, path), DISK_IS_BAD)
CALL(int, rename, -1, (const char *from, const char *to), (from, to), DISK_IS_BAD)
CALL(int, renameat, -1, (int from_dir, const char *from, int to_dir, const char *to),
	(from_dir, from, to_dir, to), DISK_IS_BAD)
CALL(int, renameat2, -1,
	(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags),
	(from_dir, from, to_dir, to, flags), DISK_IS_BAD)
CALL(int, unlink, -1, (const char *path), (path), E(EIO) E(ENOMEM))
CALL(int, unlinkat, -1, (int dir, const char *path, int flags), (dir, path, flags),
	E(EIO) E(ENOMEM))
CALL(int, rmdir, -1, (const char *path), (path), E(EIO) E(ENOMEM) E(EBUSY))
CALL(int, chmod, -1, (const char *path, mode_t mode), (path, mode), E(EIO) E(ENOMEM))
CALL(int, fchmod, -1, (int fd, mode_t mode), (fd, mode), E(EIO))
CALL(int, chown, -1, (const char *path, uid_t uid, gid_t gid), (path, uid, gid),
	E(EIO) E(ENOMEM))
CALL(int, fchown, -1, (int fd, uid_t uid, gid_t gid), (fd, uid, gid), E(EIO))
CALL(int, fchownat, -1, (int dir, const char *path, uid_t uid, gid_t gid, int flags),
	(dir, path, uid, gid, flags), E(EIO) E(ENOMEM))
CALL(int, utimensat, -1,
	(int dir, const char *path, const struct timespec times[2], int flags),
	(dir, path, times, flags), E(EIO) E(ENOMEM))
CALL(ssize_t, fgetxattr, -1, (int fd, const char *name, void *value, size_t len),
	(fd, name, value, len), E(EIO))
CALL(int, fsetxattr, -1,
	(int fd, const char *name, const void *value, size_t len, int flags),
	(fd, name, value, len, flags), DISK_IS_BAD)

/* descriptors of other things */
CALL(int, dup, -1, (int fd), (fd), E(EMFILE))
CALL(int, dup2, -1, (int fd, int to), (fd, to), E(EMFILE))
CALL(int, dup3, -1, (int fd, int to, int flags), (fd, to, flags), E(EMFILE))
CALL(int, pipe2, -1, (int fds[2], int flags), (fds, flags), E(EMFILE) E(ENFILE))
CALL(int, eventfd, -1, (unsigned int value, int flags), (value, flags), CANNOT_HAVE_FD)
CALL(int, eventfd_write, -1, (int fd, eventfd_t value), (fd, value), E(EAGAIN))
CALL(int, memfd_create, -1, (const char *name, unsigned int flags), (name, flags),
	CANNOT_HAVE_FD)
CALL(int, signalfd, -1, (int fd, const sigset_t *signals, int flags),
	(fd, signals, flags), CANNOT_HAVE_FD)
CALL(int, timerfd_create, -1, (int clock, int flags), (clock, flags), CANNOT_HAVE_FD)
CALL(int, inotify_init1, -1, (int flags), (flags), CANNOT_HAVE_FD)
CALL(int, inotify_add_watch, -1, (int fd, const char *path, uint32_t mask),
	(fd, path, mask), E(ENOSPC) E(ENOMEM))
CALL(int, epoll_create1, -1, (int flags), (flags), CANNOT_HAVE_FD)
CALL(int, epoll_ctl, -1, (int epoll, int operation, int fd, struct epoll_event *event),
	(epoll, operation, fd, event), E(ENOMEM) E(ENOSPC))
CALL(int, epoll_wait, -1, (int epoll, struct epoll_event *events, int n, int timeout),
	(epoll, events, n, timeout), E(EINTR))
CALL(int, poll, -1, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout),
	E(ENOMEM) E(EINTR))

/* sockets */
CALL(int, socket, -1, (int domain, int type, int protocol), (domain, type, protocol),
	E(EMFILE) E(ENFILE) E(ENOBUFS))
CALL(int, socketpair, -1, (int domain, int type, int protocol, int fds[2]),
	(domain, type, protocol, fds), E(EMFILE) E(ENFILE) E(ENOMEM))
CALL(int, bind, -1, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len),
	E(ENOMEM) E(EADDRINUSE))
CALL(int, listen, -1, (int fd, int backlog), (fd, backlog), E(EADDRINUSE))
CALL(int, connect, -1, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len),
	E(EAGAIN) E(ECONNREFUSED) E(ENOMEM))
CALL(int, accept4, -1, (int fd, struct sockaddr *from, socklen_t *len, int flags),
	(fd, from, len, flags), E(EMFILE) E(ENFILE) E(ENOBUFS) E(ECONNABORTED))
CALL(int, setsockopt, -1, (int fd, int level, int name, const void *value, socklen_t len),
	(fd, level, name, value, len), E(ENOMEM) E(ENOBUFS))
CALL(int, getsockopt, -1, (int fd, int level, int name, void *value, socklen_t *len),
	(fd, level, name, value, len), E(ENOBUFS))
CALL(int, getsockname, -1, (int fd, struct sockaddr *name, socklen_t *len),
	(fd, name, len), E(ENOBUFS))
CALL(ssize_t, send, -1, (int fd, const void *data, size_t len, int flags),
	(fd, data, len, flags), E(ENOBUFS) E(ENOMEM) E(EPIPE))
CALL(ssize_t, sendto, -1,
	(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
		socklen_t to_len),
	(fd, data, len, flags, to, to_len), E(ENOBUFS) E(ENOMEM))
CALL(ssize_t, sendmsg, -1, (int fd, const struct msghdr *message, int flags),
	(fd, message, flags), E(ENOBUFS) E(ENOMEM) E(EPIPE))
CALL(ssize_t, recv, -1, (int fd, void *data, size_t len, int flags),
	(fd, data, len, flags), E(ENOMEM) E(ECONNRESET))
CALL(ssize_t, recvmsg, -1, (int fd, struct msghdr *message, int flags),
	(fd, message, flags), E(ENOMEM) E(ECONNRESET))

/* processes */
CALL(pid_t, fork, -1, (void), (), E(EAGAIN) E(ENOMEM))
CALL(int, execve, -1, (const char *path, char *const argv[], char *const env[]),
	(path, argv, env), E(ENOMEM) E(EIO))
RETURNS(int, posix_spawn,
	(pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const env[]),
	(pid, path, actions, attr, argv, env), E(EAGAIN) E(ENOMEM))
RETURNS(int, pthread_create,
	(pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *),
		void *arg),
	(thread, attr, start, arg), E(EAGAIN))
CALL(int, waitid, -1, (idtype_t type, id_t id, siginfo_t *info, int options),
	(type, id, info, options), E(EINTR))
CALL(pid_t, waitpid, -1, (pid_t pid, int *status, int options), (pid, status, options),
	E(EINTR))
CALL(int, setrlimit, -1, (enum __rlimit_resource resource, const struct rlimit *limit),
	(resource, limit), E(EPERM))
CALL(int, getrlimit, -1, (enum __rlimit_resource resource, struct rlimit *limit),
	(resource, limit), E(EPERM))
CALL(int, setpriority, -1, (enum __priority_which which, id_t who, int value),
	(which, who, value), E(EPERM))
CALL(pid_t, setsid, -1, (void), (), E(EPERM))
CALL(int, setgroups, -1, (size_t n, const gid_t *list), (n, list), E(ENOMEM))
CALL(int, setresuid, -1, (uid_t r, uid_t e, uid_t s), (r, e, s), E(EAGAIN))
CALL(int, setresgid, -1, (gid_t r, gid_t e, gid_t s), (r, e, s), E(EAGAIN))
CALL(int, sethostname, -1, (const char *name, size_t len), (name, len), E(EPERM))
CALL(void *, mmap, MAP_FAILED,
	(void *at, size_t len, int protection, int flags, int fd, off_t offset),
	(at, len, protection, flags, fd, offset), E(ENOMEM) E(ENFILE))
CALL(ssize_t, process_vm_readv, -1,
	(pid_t pid, const struct iovec *to, unsigned long n_to, const struct iovec *from,
		unsigned long n_from, unsigned long flags),
	(pid, to, n_to, from, n_from, flags), E(ENOMEM))

/* mounts and namespaces */
CALL(int, mount, -1,
	(const char *source, const char *target, const char *type, unsigned long flags,
		const void *data),
	(source, target, type, flags, data), E(ENOMEM) E(ENOSPC))
CALL(int, umount2, -1, (const char *target, int flags), (target, flags),
	E(ENOMEM) E(EBUSY))
CALL(int, open_tree, -1, (int dir, const char *path, unsigned int flags),
	(dir, path, flags), CANNOT_HAVE_FD E(ENOSPC))
CALL(int, move_mount, -1,
	(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags),
	(from_dir, from, to_dir, to, flags), E(ENOMEM) E(ENOSPC))
CALL(int, mount_setattr, -1,
	(int dir, const char *path, unsigned int flags, struct mount_attr *attr,
		size_t len),
	(dir, path, flags, attr, len), E(ENOMEM) E(EBUSY))
CALL(int, fsopen, -1, (const char *type, unsigned int flags), (type, flags),
	CANNOT_HAVE_FD)
CALL(int, fsconfig, -1,
	(int fd, unsigned int command, const char *key, const void *value, int aux),
	(fd, command, key, value, aux), E(ENOMEM))
CALL(int, fsmount, -1, (int fd, unsigned int flags, unsigned int attr), (fd, flags, attr),
	CANNOT_HAVE_FD)
CALL(int, unshare, -1, (int flags), (flags), E(ENOMEM) E(ENOSPC))
CALL(int, setns, -1, (int fd, int type), (fd, type), E(ENOMEM))

/* what a hardened build makes of some of these */
CALL(ssize_t, __read_chk, -1, (int fd, void *data, size_t len, size_t room),
	(fd, data, len, room), E(EIO) E(ENOMEM))
CALL(ssize_t, __pread_chk, -1, (int fd, void *data, size_t len, off_t at, size_t room),
	(fd, data, len, at, room), E(EIO) E(ENOMEM))
CALL(ssize_t, __recv_chk, -1, (int fd, void *data, size_t len, size_t room, int flags),
	(fd, data, len, room, flags), E(ENOMEM) E(ECONNRESET))
CALL(ssize_t, __readlink_chk, -1,
	(const char *path, char *target, size_t len, size_t room),
	(path, target, len, room), E(ENOMEM) E(EIO))
CALL(ssize_t, __readlinkat_chk, -1,
	(int dir, const char *path, char *target, size_t len, size_t room),
	(dir, path, target, len, room), E(ENOMEM) E(EIO))
CALL(int, __poll_chk, -1, (struct pollfd * fds, nfds_t n, int timeout, size_t room),
	(fds, n, timeout, room), E(ENOMEM) E(EINTR))

/* those without a function of libc's: pidfd_open, openat2, clone, seccomp, bpf, … */
SYSCALL(E(ENOMEM) E(EMFILE) E(EAGAIN))
