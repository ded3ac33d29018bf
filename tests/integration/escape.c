/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays a QEMU that its guest has taken over: executed in QEMU's place by spawn_qemu(),
 * it tries to write the template, to reach the host and other sandboxes, and reports each
 * attempt on its standard error as "<attempt> <outcome>": OK, or the name of an errno.
 * test_readonly.c knows what each has to come to.
 *
 *   escape all MEMORY WINDOW PARENT NEIGHBOUR PATH...
 *
 * MEMORY     the name under which QEMU would open its memory
 * WINDOW     and the window of its file channel
 * PARENT     the pid of the shim's place
 * NEIGHBOUR  the pid of another sandbox's QEMU
 * PATH       names on the host
 *
 * The state file and a device come as descriptors over the QMP socket, as in a clone.
 *
 *   escape deadly N NEIGHBOUR
 *
 * makes the Nth of the attempts that have to kill it, and says what it was. If there is
 * none it exits with 2.
 *
 *   escape again ADDRESS FD
 *
 * has itself executed as QEMU was: by the same descriptor, and the same address of an
 * empty name.
 *
 * With no arguments it waits for the end of its QMP connection: the neighbour.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FD_QMP 3
#define PAGE   4096

static const char *subject = "";

static void report(const char *attempt, long result)
{
	fprintf(stderr, "%s%s %s\n", subject, attempt,
		result >= 0 ? "OK" : strerrorname_np(errno));
}

/* TRY("name", call): errno is of the call. */
#define TRY(attempt, call) report(attempt, (long)(call))

static long try_map(long result)
{
	return result == -1 ? -1 : 0;
}

/* ---- a file of the template by its descriptor ---- */

static void attack_mappings(int fd)
{
	static const struct timespec now[2];
	char *shared, *private;

	TRY("mmap-shared-write", try_map((long)mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					 MAP_SHARED, fd, 0)));
	TRY("mmap-shared-validate-write",
		try_map((long)mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED_VALIDATE, fd, 0)));
	shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	TRY("mprotect-shared", mprotect(shared, PAGE, PROT_READ | PROT_WRITE));
	TRY("madvise-remove", madvise(shared, PAGE, MADV_REMOVE));
	TRY("madvise-populate-write", madvise(shared, PAGE, MADV_POPULATE_WRITE));
	TRY("madvise-hwpoison", madvise(shared, PAGE, MADV_HWPOISON));
	/* A system call's result, written into it. */
	TRY("read-into-shared", syscall(SYS_getrandom, shared, 16, 0));
	/* Ours to write: what it must not do is to show in the file. */
	private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memset(private, 0xa5, PAGE);
	TRY("msync-private", msync(private, PAGE, MS_SYNC));
	TRY("private-shows-in-shared",
		memcmp(private, shared, PAGE) == 0 ? 0 : (errno = EFAULT, -1));
	TRY("futimens", futimens(fd, now));
}

static void attack_descriptor(int fd)
{
	int flags = FS_IMMUTABLE_FL, other, pipes[2];
	struct iovec iov = {(char[]){"x"}, 1};
	struct flock lock = {.l_type = F_WRLCK};

	if (pipe2(pipes, O_CLOEXEC) < 0 || write(pipes[1], "x", 1) < 0)
		exit(3);
	other = pipes[0];
	TRY("access-mode",
		(fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? 0 : (errno = EBADFD, -1));
	TRY("write", write(fd, "x", 1));
	TRY("pwrite", pwrite(fd, "x", 1, 0));
	TRY("pwritev2", syscall(SYS_pwritev2, fd, &iov, 1, 0, 0, RWF_APPEND));
	TRY("ftruncate", ftruncate(fd, 0));
	TRY("fallocate", fallocate(fd, 0, 0, PAGE));
	TRY("punch-hole",
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	TRY("fchmod", fchmod(fd, 0666));
	TRY("fchown", fchown(fd, getuid(), getgid()));
	TRY("fchown-empty", fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH));
	TRY("fsetxattr", fsetxattr(fd, "user.x", "x", 1, 0));
	TRY("fsetxattr-capability", fsetxattr(fd, "security.capability", "x", 1, 0));
	TRY("fremovexattr", fremovexattr(fd, "user.x"));
	TRY("setflags", ioctl(fd, FS_IOC_SETFLAGS, &flags));
	TRY("copy-file-range", copy_file_range(other, NULL, fd, &(off64_t){0}, 1, 0));
	TRY("sendfile", sendfile(fd, other, &(off_t){0}, 1));
	TRY("splice", splice(pipes[0], NULL, fd, &(off64_t){0}, 1, 0));
	TRY("clone-range", ioctl(fd, FICLONE, other));
	TRY("seal", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	TRY("write-lease", fcntl(fd, F_SETLEASE, F_WRLCK));
	TRY("write-lock", fcntl(fd, F_OFD_SETLK, &lock));
	attack_mappings(fd);
	close(pipes[0]);
	close(pipes[1]);
}

static void attack_by_name(int fd)
{
	static const struct timespec now[2];
	char self[64], up[80];
	struct {
		unsigned long long flags, mode, resolve;
	} how = {.flags = O_RDWR};

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	snprintf(up, sizeof(up), "%s/..", self);
	TRY("reopen-rdwr", syscall(SYS_open, self, O_RDWR));
	TRY("reopen-rdwr-at", syscall(SYS_openat, AT_FDCWD, self, O_RDWR));
	TRY("reopen-rdwr-beside", syscall(SYS_openat, FD_QMP, self, O_RDWR));
	TRY("reopen-either", syscall(SYS_openat, AT_FDCWD, self, O_ACCMODE));
	TRY("reopen-either-old", syscall(SYS_open, self, O_ACCMODE));
	TRY("reopen-new", syscall(SYS_openat2, AT_FDCWD, self, &how, sizeof(how)));
	TRY("reopen-creat", syscall(SYS_creat, self, 0600));
	TRY("reopen-wronly-old", syscall(SYS_open, self, O_WRONLY));
	TRY("reopen-wronly-trunc", open(self, O_WRONLY | O_TRUNC));
	TRY("reopen-rdonly-trunc", open(self, O_RDONLY | O_TRUNC));
	TRY("truncate", truncate(self, 0));
	TRY("chmod", chmod(self, 0666));
	TRY("chown", chown(self, getuid(), getgid()));
	TRY("utimensat", utimensat(AT_FDCWD, self, now, 0));
	TRY("setxattr", setxattr(self, "user.x", "x", 1, 0));
	TRY("link-empty-path", linkat(fd, "", AT_FDCWD, "/link", AT_EMPTY_PATH));
	TRY("link-self-fd", linkat(AT_FDCWD, self, AT_FDCWD, "/link", AT_SYMLINK_FOLLOW));
	TRY("rename", rename(self, "/renamed"));
	TRY("rename-onto", rename("/usr", self));
	TRY("unlink", unlink(self));
	TRY("unlinkat-empty", unlinkat(fd, "", 0));
	TRY("parent-by-name", open(up, O_RDONLY));
	TRY("parent-by-fd", openat(fd, "..", O_RDONLY));
	TRY("fchdir", fchdir(fd));
}

/* ---- what QEMU opens by a name ---- */

static int open_name(const char *name)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC);

	TRY("open", fd);
	if (fd < 0)
		exit(2);
	return fd;
}

static void attack_name(const char *name)
{
	struct {
		unsigned long long flags, mode, resolve;
	} how = {.flags = O_RDWR};

	TRY("open-again", syscall(SYS_openat, AT_FDCWD, name, O_RDWR));
	TRY("open-again-at", syscall(SYS_openat, FD_QMP, name, O_RDWR));
	TRY("open-again-old", syscall(SYS_open, name, O_RDWR));
	TRY("open-again-new", syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof(how)));
	TRY("make", syscall(SYS_open, name, O_RDWR | O_CREAT, 0600));
}

/* It is there to be written to; its size is the host's, which has it mapped. */
static void attack_window(int fd)
{
	int seals = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

	TRY("map", try_map((long)mmap(
			   NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
	TRY("shrink", ftruncate(fd, 0));
	TRY("grow", ftruncate(fd, 64 << 20));
	TRY("append", pwrite(fd, "x", 1, 64 << 20));
	TRY("allocate", fallocate(fd, 0, 64 << 20, PAGE));
	TRY("seal", fcntl(fd, F_ADD_SEALS, seals));
	TRY("fchmod", fchmod(fd, 0));
	TRY("fchown", fchown(fd, getuid(), getgid()));
	TRY("set-append", fcntl(fd, F_SETFL, O_APPEND));
}

/* ---- walls ---- */

static void attack_root(void)
{
	unsigned long long clone_args[8] = {CLONE_NEWUSER | CLONE_NEWNS};
	char stack[64] __attribute__((aligned(16)));

	TRY("clone3", syscall(SYS_clone3, clone_args, sizeof(clone_args)));
	TRY("clone-thread-namespace",
		syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET,
			stack, 0, 0, 0));
	TRY("write-root", open("/made", O_WRONLY | O_CREAT, 0600));
	TRY("create-root", open("/made", O_RDONLY | O_CREAT, 0600));
	TRY("mkdir-root", mkdir("/made", 0700));
	TRY("rename-root", rename("/usr", "/made"));
	TRY("symlink-root", symlink("/usr", "/made"));
	TRY("write-lib", open("/usr/lib/made", O_WRONLY | O_CREAT, 0600));
	TRY("chmod-lib", chmod("/usr/lib", 0777));
	TRY("chmod-program", chmod("/usr/lib/x86_64-linux-gnu/libc.so.6", 0777));
}

/* One attempt against a process that is not ours. */
static void attack_process(pid_t pid)
{
	struct rlimit limit = {0};
	void *page = &limit;
	int node = 0, status;
	cpu_set_t cpus;
	char path[64];

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	TRY("limit", prlimit(pid, RLIMIT_NOFILE, &limit, NULL));
	TRY("priority", setpriority(PRIO_PROCESS, (id_t)pid, 19));
	TRY("affinity", sched_setaffinity(pid, sizeof(cpus), &cpus));
	TRY("move-pages", syscall(SYS_move_pages, pid, 1, &page, &node, &status, 0));
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	TRY("proc-mem", open(path, O_RDONLY));
	TRY("proc-mem-write", open(path, O_RDWR));
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	TRY("proc-root", open(path, O_PATH));
}

/* Of itself: what it may be, and ways into the kernel that some QEMU tries. */
static void attack_itself(void)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &none};
	int on = 1;

	TRY("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
	TRY("new-privs", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	TRY("dumpable", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	TRY("ptracer", prctl(PR_SET_PTRACER, -1, 0, 0, 0));
	TRY("seccomp-off", prctl(PR_SET_SECCOMP, 0, 0, 0, 0));
	TRY("seccomp-more", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	TRY("io-uring", syscall(SYS_io_uring_setup, 1, NULL));
	TRY("memfd", memfd_create("program", 0));
	TRY("dup-high", dup2(FD_QMP, 200));
	TRY("packet-filter", setsockopt(FD_QMP, SOL_SOCKET, SO_ATTACH_FILTER, &program,
				     sizeof(program)));
	TRY("async", ioctl(FD_QMP, FIOASYNC, &on));
	TRY("owner", fcntl(FD_QMP, F_SETOWN, 1));
	TRY("terminal", ioctl(FD_QMP, TIOCSTI, "x"));
	TRY("landlock", syscall(SYS_landlock_create_ruleset, NULL, 0, 1));
	TRY("lock-memory", mlock(&none, sizeof(none)));
	TRY("inotify", inotify_init1(0));
	TRY("unknown", syscall(1000));
}

/* ---- what must kill it ---- */

/* Instead of a number: the other process. */
#define OTHER (-4711)

static const struct deadly {
	const char *attempt;
	long call, args[5];
} deadly[] = {
	{"ptrace", SYS_ptrace, {PTRACE_ATTACH, OTHER}},
	{"vm-read", SYS_process_vm_readv, {OTHER}},
	{"vm-write", SYS_process_vm_writev, {OTHER}},
	{"pidfd", SYS_pidfd_open, {OTHER}},
	{"take-fd", SYS_pidfd_getfd, {FD_QMP, 0}},
	{"pidfd-kill", SYS_pidfd_send_signal, {FD_QMP, SIGCONT}},
	{"kill", SYS_kill, {OTHER, SIGCONT}},
	{"kill-init", SYS_kill, {1, SIGCONT}},
	{"kill-all", SYS_kill, {-1, SIGCONT}},
	{"tkill", SYS_tkill, {OTHER, SIGCONT}},
	{"tgkill", SYS_tgkill, {OTHER, OTHER, SIGCONT}},
	{"queue-signal", SYS_rt_sigqueueinfo, {OTHER, SIGCONT}},
	{"compare", SYS_kcmp, {OTHER, OTHER, KCMP_FILE}},
	{"madvise", SYS_process_madvise, {FD_QMP}},
	{"setns", SYS_setns, {FD_QMP, CLONE_NEWNS}},
	{"unshare-user", SYS_unshare, {CLONE_NEWUSER}},
	{"fork", SYS_fork, {0}},
	{"clone-process", SYS_clone, {SIGCHLD}},
	{"clone-user", SYS_clone, {CLONE_NEWUSER | SIGCHLD}},
	{"clone-net", SYS_clone, {CLONE_NEWNET | SIGCHLD}},
	{"mount", SYS_mount, {0}},
	{"umount", SYS_umount2, {(long)"/usr/lib", MNT_DETACH}},
	{"mount-setattr", SYS_mount_setattr, {AT_FDCWD, (long)"/"}},
	{"open-tree", SYS_open_tree, {AT_FDCWD, (long)"/", OPEN_TREE_CLONE}},
	{"move-mount", SYS_move_mount, {AT_FDCWD, (long)"/usr", AT_FDCWD, (long)"/"}},
	{"fsopen", SYS_fsopen, {(long)"tmpfs"}},
	{"fspick", SYS_fspick, {AT_FDCWD, (long)"/"}},
	{"pivot-root", SYS_pivot_root, {(long)"/usr", (long)"/usr"}},
	{"chroot", SYS_chroot, {(long)"/usr"}},
	{"mknod", SYS_mknod, {(long)"/disk", S_IFBLK | 0666, 0x800}},
	{"open-handle", SYS_open_by_handle_at, {AT_FDCWD, 0, O_RDONLY}},
	{"name-to-handle", SYS_name_to_handle_at,
		{FD_QMP, (long)"", 0, 0, AT_EMPTY_PATH}},
	/* open_by_handle_at(2), past a filter that looks at 64-bit numbers only. */
	{"open-handle-x32", 0x40000000 | SYS_open_by_handle_at, {AT_FDCWD}},
	{"exec", SYS_execve, {(long)"/usr/lib64/ld-linux-x86-64.so.2"}},
	{"exec-at", SYS_execveat, {AT_FDCWD, (long)"/usr/lib64/ld-linux-x86-64.so.2"}},
	{"exec-fd", SYS_execveat, {FD_QMP, (long)"", 0, 0, AT_EMPTY_PATH}},
	{"setuid", SYS_setuid, {0}},
	{"setgid", SYS_setgid, {0}},
	{"setgroups", SYS_setgroups, {0}},
	{"setfsuid", SYS_setfsuid, {0}},
	{"capset", SYS_capset, {0}},
	{"socket-unix", SYS_socket, {AF_UNIX, SOCK_STREAM}},
	{"socket-inet", SYS_socket, {AF_INET, SOCK_STREAM}},
	{"socket-packet", SYS_socket, {AF_PACKET, SOCK_RAW}},
	{"socket-netlink", SYS_socket, {AF_NETLINK, SOCK_RAW}},
	{"socket-vsock", SYS_socket, {AF_VSOCK, SOCK_STREAM}},
	{"connect", SYS_connect, {FD_QMP}},
	{"bind", SYS_bind, {FD_QMP}},
	{"accept", SYS_accept4, {FD_QMP}},
	{"io-uring-enter", SYS_io_uring_enter, {FD_QMP}},
	{"userfaultfd", SYS_userfaultfd, {0}},
	{"bpf", SYS_bpf, {0}},
	{"perf", SYS_perf_event_open, {0}},
	{"keyctl", SYS_keyctl, {0}},
	{"add-key", SYS_add_key, {0}},
	{"module", SYS_finit_module, {FD_QMP}},
	{"kexec", SYS_kexec_load, {0}},
	{"reboot", SYS_reboot, {0xfee1dead, 672274793, 0}},
	{"swapon", SYS_swapon, {(long)"/usr"}},
	{"iopl", SYS_iopl, {3}},
	{"personality", SYS_personality, {0xffffffff}},
	{"hostname", SYS_sethostname, {(long)"x", 1}},
	{"clock", SYS_settimeofday, {0}},
	{"shm", SYS_shmget, {IPC_PRIVATE, PAGE, IPC_CREAT | 0600}},
	{"shm-attach", SYS_shmat, {0}},
	{"msg-send", SYS_msgsnd, {0}},
	{"msg-receive", SYS_msgrcv, {0}},
	{"sem-op", SYS_semop, {0}},
	{"sem-op-timed", SYS_semtimedop, {0}},
	{"mq", SYS_mq_open, {(long)"stencil", O_RDWR}},
};

/* getpid(2) of 32-bit programs. SIGSEGV: the kernel runs none. */
static void attack_by_i386(void)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
	fprintf(stderr, "i386 survived: %d\n", result);
}

static int make_deadly_attempt(size_t n, pid_t other)
{
	const size_t n_deadly = sizeof(deadly) / sizeof(*deadly);
	long args[5];

	if (n > n_deadly)
		return 2;
	if (n == n_deadly) {
		fprintf(stderr, "i386\n");
		attack_by_i386();
		return 0;
	}
	fprintf(stderr, "%s\n", deadly[n].attempt);
	for (int i = 0; i < 5; i++)
		args[i] = deadly[n].args[i] == OTHER ? other : deadly[n].args[i];
	report("survived",
		syscall(deadly[n].call, args[0], args[1], args[2], args[3], args[4]));
	return 0;
}

static void attack_exec(const char *address, const char *number)
{
	char *name = (char *)strtoul(address, NULL, 16);
	char *page = (char *)((unsigned long)name & ~(PAGE - 1ul));
	char *const argv[] = {(char[]){"x"}, NULL};
	int fd = open("/usr/lib64/ld-linux-x86-64.so.2", O_RDONLY);
	int high = fcntl(fd, F_DUPFD, strtol(number, NULL, 10));

	if (fd < 0 || high != strtol(number, NULL, 10) ||
		mmap(page, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			0) != page)
		exit(4);
	TRY("exec-again", syscall(SYS_execveat, high, name, argv, argv, AT_EMPTY_PATH));
}

/* ---- descriptors ---- */

/* A device of the host, as the tap of a network card is. */
static void attack_device(int fd)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI, .ifr_name = "escape%d"};
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	TRY("fchmod", fchmod(fd, 0666));
	TRY("fchown", fchown(fd, getuid(), getgid()));
	TRY("futimens", futimens(fd, NULL));
	TRY("chmod", chmod(self, 0666));
	TRY("chown", chown(self, getuid(), getgid()));
	TRY("reopen", openat(fd, self, O_RDWR));
	TRY("reopen-readonly", openat(fd, self, O_RDONLY));
	TRY("make-tap", ioctl(fd, TUNSETIFF, &ifr));
}

/* As QEMU opens it: read-only, and so again. */
static void attack_image(int fd)
{
	char self[64];
	int again;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	again = open(self, O_RDONLY);
	TRY("open", again);
	attack_descriptor(again);
	attack_by_name(again);
	close(again);
}

/* Those that it was started with: no file of the host may change by them. */
static void attack_inherited(void)
{
	for (int fd = 0; fd <= 5; fd++) {
		char self[64];

		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		fchmod(fd, 0777);
		fchown(fd, getuid(), getgid());
		chmod(self, 0777);
	}
	TRY("write-stdin", pwrite(0, "x", 1, 0));
}

static void receive(int *fds, size_t n)
{
	char byte, control[CMSG_SPACE(sizeof(int) * 4)] __attribute__((aligned(8)));
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};

	if (recvmsg(FD_QMP, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		exit(7);
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), n * sizeof(*fds));
}

static void attack_paths(char **paths)
{
	static const char *const always[] = {
		"/etc/passwd",
		"/../etc/passwd",
		"/usr/../../etc/passwd",
		"/export",
		"/proc/self/root",
		"/proc/self/fd/../root",
		"/proc/self/fd/../../1",
		"/proc/self/mem",
		"/proc/1/root",
		"/proc/sys/kernel/core_pattern",
		"/sys/kernel",
		"/sys/fs/cgroup",
		"/dev/mem",
		"/dev/kmsg",
		"/dev/sda",
		"/dev/vda",
		"/dev/kvm",
		"/dev/net/tun",
		"/dev/vhost-net",
		"/dev/loop-control",
		"/dev/shm",
		"/dev/null",
		"/run/containerd/containerd.sock",
		"/run/stencil",
		"/var/lib/containerd",
		"/root",
		"/home",
		"/tmp",
		"/stencil",
	};

	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
		TRY("path", open(always[i], O_PATH));
	for (; *paths; paths++)
		TRY("path", open(*paths, O_PATH));
}

static void wait_for_the_end(void)
{
	char byte;

	while (read(FD_QMP, &byte, 1) > 0)
		;
	exit(0);
}

static void attack_all(char **argv)
{
	int fd, window, fds[3];

	receive(fds, 3);
	subject = "memory ";
	fd = open_name(argv[1]);
	TRY("open-twice", syscall(SYS_openat, AT_FDCWD, argv[1], O_RDWR));
	subject = "window ";
	window = open_name(argv[2]);
	attack_window(window);
	attack_name(argv[2]);
	subject = "memory ";
	attack_name(argv[1]);
	attack_descriptor(fd);
	attack_by_name(fd);
	subject = "state ";
	attack_descriptor(fds[0]);
	attack_by_name(fds[0]);
	subject = "image ";
	attack_image(fds[2]);
	subject = "device ";
	attack_device(fds[1]);
	subject = "parent ";
	attack_process((pid_t)strtol(argv[3], NULL, 10));
	subject = "neighbour ";
	attack_process((pid_t)strtol(argv[4], NULL, 10));
	subject = "";
	attack_root();
	attack_itself();
	attack_paths(argv + 5);
	attack_inherited();
	fprintf(stderr, "end OK\n");
}

int main(int argc, char **argv)
{
	if (argc < 2)
		wait_for_the_end();
	if (argc >= 6 && strcmp(argv[1], "all") == 0)
		attack_all(argv + 1);
	else if (argc == 4 && strcmp(argv[1], "deadly") == 0)
		return make_deadly_attempt(
			strtoul(argv[2], NULL, 10), (pid_t)strtol(argv[3], NULL, 10));
	else if (argc == 4 && strcmp(argv[1], "again") == 0)
		attack_exec(argv[2], argv[3]);
	else
		return 1;
	return 0;
}
