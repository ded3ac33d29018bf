/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays a QEMU that its guest has taken over: executed in QEMU's place by spawn_qemu(),
 * it tries to write the template, to reach the host and other sandboxes, and reports each
 * attempt on its standard error as "<attempt> <outcome>": OK, the name of an errno, or
 * the signal that ended it. test_readonly.c knows what each has to come to.
 *
 *   escape MEMORY WINDOW PARENT NEIGHBOUR HANDLE OBJECTS PATH...
 *
 * MEMORY     the name under which QEMU would open its memory
 * WINDOW     and the window of its file channel
 * PARENT     the pid of the shim's place
 * NEIGHBOUR  the pid of another sandbox's QEMU
 * HANDLE     the memory file's, in hexadecimal: "<type>:<bytes>"
 * OBJECTS    ids of the host's that everybody may use: "<queue>:<semaphores>:<memory>"
 * PATH       names on the host
 *
 * The state file and a device come as descriptors over the QMP socket, as in a clone.
 * With no arguments it waits for the end of its QMP connection: the neighbour.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kcmp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
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
	int other = memfd_create("other", MFD_CLOEXEC), flags = FS_IMMUTABLE_FL;
	struct iovec iov = {(char[]){"x"}, 1};
	struct flock lock = {.l_type = F_WRLCK};
	int pipes[2];

	TRY("access-mode",
		(fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? 0 : (errno = EBADFD, -1));
	TRY("write", write(fd, "x", 1));
	TRY("pwrite", pwrite(fd, "x", 1, 0));
	TRY("pwritev2", pwritev2(fd, &iov, 1, 0, RWF_APPEND));
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
	if (ftruncate(other, PAGE) < 0 || pipe(pipes) < 0 || write(pipes[1], "x", 1) < 0)
		exit(3);
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
	close(other);
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
	TRY("mount-setattr", syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH,
				     &(struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY},
				     sizeof(struct mount_attr)));
	TRY("remount", mount(NULL, self, NULL, MS_REMOUNT | MS_BIND, NULL));
	TRY("bind", mount(self, "/usr/lib", NULL, MS_BIND, NULL));
	TRY("open-tree", syscall(SYS_open_tree, fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE));
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

static void attack_mounts(void)
{
	char stack[64] __attribute__((aligned(16)));
	unsigned long long clone_args[8] = {CLONE_NEWUSER | CLONE_NEWNS};
	static const unsigned long spaces[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID,
		CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};

	TRY("mount-tmpfs", mount("x", "/usr", "tmpfs", 0, NULL));
	TRY("mount-proc", mount("x", "/usr", "proc", 0, NULL));
	TRY("remount-root", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	TRY("remount-lib", mount(NULL, "/usr/lib", NULL, MS_REMOUNT | MS_BIND, NULL));
	TRY("umount", umount2("/usr/lib", MNT_DETACH));
	TRY("open-tree-root", syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE));
	TRY("open-tree-plain", syscall(SYS_open_tree, AT_FDCWD, "/", 0));
	TRY("move-mount",
		syscall(SYS_move_mount, AT_FDCWD, "/usr/lib", AT_FDCWD, "/usr", 0));
	TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	TRY("fspick", syscall(SYS_fspick, AT_FDCWD, "/", 0));
	TRY("pivot-root", syscall(SYS_pivot_root, "/usr/lib", "/usr/lib"));
	TRY("chroot", chroot("/usr"));
	TRY("unshare-mount", unshare(CLONE_NEWNS));
	TRY("unshare-user", unshare(CLONE_NEWUSER));
	for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++)
		TRY("clone-namespace",
			syscall(SYS_clone, spaces[i] | SIGCHLD, stack, 0, 0, 0));
	TRY("clone3", syscall(SYS_clone3, clone_args, sizeof(clone_args)));
	TRY("write-root", open("/made", O_WRONLY | O_CREAT, 0600));
	TRY("mkdir-root", mkdir("/made", 0700));
	TRY("rename-root", rename("/usr", "/made"));
	TRY("symlink-root", symlink("/usr", "/made"));
	TRY("write-lib", open("/usr/lib/made", O_WRONLY | O_CREAT, 0600));
	TRY("chmod-lib", chmod("/usr/lib", 0777));
	TRY("chmod-program", chmod("/usr/lib/x86_64-linux-gnu/libc.so.6", 0777));
	TRY("mknod-block", mknod("/disk", S_IFBLK | 0666, makedev(8, 0)));
	TRY("mknod-mem", mknod("/mem", S_IFCHR | 0666, makedev(1, 1)));
	TRY("mknod-null", mknod("/null", S_IFCHR | 0666, makedev(1, 3)));
}

/* One attempt against a process that is not ours. */
static void attack_process(pid_t pid)
{
	static char byte;
	struct iovec local = {&byte, 1}, remote = {&byte, 1};
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct rlimit limit = {0};
	cpu_set_t cpus;
	void *page = &byte;
	int node = 0, status;
	char path[64];

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	TRY("ptrace-attach", ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	TRY("ptrace-seize", ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	TRY("vm-read", process_vm_readv(pid, &local, 1, &remote, 1, 0));
	TRY("vm-write", process_vm_writev(pid, &local, 1, &remote, 1, 0));
	TRY("take-fd", syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	TRY("setns", syscall(SYS_setns, pidfd, CLONE_NEWNS));
	TRY("kill", kill(pid, SIGCONT));
	TRY("tgkill", syscall(SYS_tgkill, pid, pid, SIGCONT));
	TRY("pidfd-kill", syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0));
	TRY("queue-signal", sigqueue(pid, SIGCONT, (union sigval){0}));
	TRY("limit", prlimit(pid, RLIMIT_NOFILE, &limit, NULL));
	TRY("priority", setpriority(PRIO_PROCESS, (id_t)pid, 19));
	TRY("affinity", sched_setaffinity(pid, sizeof(cpus), &cpus));
	TRY("move-pages", syscall(SYS_move_pages, pid, 1, &page, &node, &status, 0));
	TRY("compare", syscall(SYS_kcmp, getpid(), pid, KCMP_FILE, 0, 0));
	TRY("madvise", syscall(SYS_process_madvise, pidfd, &remote, 1, MADV_COLD, 0));
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	TRY("proc-mem", syscall(SYS_open, path, O_RDONLY));
	TRY("proc-mem-write", syscall(SYS_open, path, O_RDWR));
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	TRY("proc-root", open(path, O_PATH));
	close(pidfd);
}

static void attack_privileges(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{~0u, ~0u, ~0u}, {~0u, ~0u, ~0u}};

	TRY("setuid", setuid(0));
	TRY("setgid", setgid(0));
	TRY("setgroups", syscall(SYS_setgroups, 1, (gid_t[]){0}));
	TRY("setfsuid", (long)syscall(SYS_setfsuid, 0) == 0 ||
					(long)syscall(SYS_setfsuid, -1) == 0
				? 0
				: (errno = EPERM, -1));
	TRY("capset", syscall(SYS_capset, &header, data));
	TRY("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
	TRY("new-privs", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	TRY("seccomp-off", prctl(PR_SET_SECCOMP, 0, 0, 0, 0));
	TRY("kill-init", kill(1, SIGCONT));
}

/* Ways into the kernel with a history, and names that all of the host sees. */
static void attack_kernel(void)
{
	TRY("io-uring", syscall(SYS_io_uring_setup, 1, NULL));
	TRY("userfaultfd", syscall(SYS_userfaultfd, 0));
	TRY("bpf", syscall(SYS_bpf, 0, NULL, 0));
	TRY("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	TRY("keyctl", syscall(SYS_keyctl, 0, 0));
	TRY("add-key", syscall(SYS_add_key, "user", "x", "x", 1, -1));
	TRY("module", syscall(SYS_finit_module, 0, "", 0));
	TRY("kexec", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	TRY("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
	TRY("swapon", swapon("/usr", 0));
	TRY("iopl", syscall(SYS_iopl, 3));
	TRY("personality", syscall(SYS_personality, 0xffffffff));
	TRY("hostname", sethostname("x", 1));
	TRY("clock", syscall(SYS_settimeofday, &(struct timeval){1, 0}, NULL));
	TRY("shm", shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600));
	TRY("msg", msgget(IPC_PRIVATE, IPC_CREAT | 0600));
	TRY("sem", semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
	TRY("mq", syscall(SYS_mq_open, "stencil", O_CREAT | O_RDWR, 0600, NULL));
	TRY("mq-unlink", syscall(SYS_mq_unlink, "stencil"));
}

/* System V's, by an id alone. */
static void attack_objects(const char *ids)
{
	struct {
		long type;
		char text[8];
	} message = {1, "escaped"};
	struct sembuf up = {0, 1, IPC_NOWAIT};
	int queue, semaphores, memory;

	if (sscanf(ids, "%d:%d:%d", &queue, &semaphores, &memory) != 3)
		exit(8);
	TRY("msg-send", msgsnd(queue, &message, sizeof(message.text), IPC_NOWAIT));
	TRY("msg-receive", msgrcv(queue, &message, sizeof(message.text), 0, IPC_NOWAIT));
	TRY("msg-remove", msgctl(queue, IPC_RMID, NULL));
	TRY("sem-op", semop(semaphores, &up, 1));
	TRY("sem-op-old", syscall(SYS_semop, semaphores, &up, 1));
	TRY("sem-op-timed", semtimedop(semaphores, &up, 1, &(struct timespec){0}));
	TRY("sem-remove", semctl(semaphores, 0, IPC_RMID));
	TRY("shm-attach", try_map((long)shmat(memory, NULL, 0)));
	TRY("shm-remove", shmctl(memory, IPC_RMID, NULL));
	TRY("shm-detach", shmdt(&message));
}

static void attack_sockets(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	TRY("socket-unix", socket(AF_UNIX, SOCK_STREAM, 0));
	TRY("socket-inet", socket(AF_INET, SOCK_STREAM, 0));
	TRY("socket-packet", socket(AF_PACKET, SOCK_RAW, 0));
	TRY("socket-netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	TRY("socket-vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	TRY("connect", connect(FD_QMP, (struct sockaddr *)&addr, sizeof(addr)));
	TRY("bind", bind(FD_QMP, (struct sockaddr *)&addr, sizeof(addr)));
	TRY("listen", listen(FD_QMP, 1));
	TRY("accept", accept(FD_QMP, NULL, NULL));
}

static void attack_exec(void)
{
	/* A program that could run: it would end the report. */
	static const char script[] = "#!/usr/bin/env true\n";
	int fd = memfd_create("program", 0);
	char *const argv[] = {(char[]){"x"}, NULL};
	char path[64];

	if (fd < 0 || write(fd, script, sizeof(script) - 1) < 0)
		exit(4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	TRY("exec-memfd", syscall(SYS_execveat, fd, "", argv, argv, AT_EMPTY_PATH));
	TRY("exec-memfd-name", execve(path, argv, argv));
	TRY("exec-lib", execve("/lib64/ld-linux-x86-64.so.2", argv, argv));
	for (int copy = 64; copy < 80; copy++) {
		if (dup2(fd, copy) < 0)
			exit(4);
		TRY("exec-planted",
			syscall(SYS_execveat, copy, "", argv, argv, AT_EMPTY_PATH));
		close(copy);
	}
	close(fd);
}

/* ---- file handles ---- */

static struct file_handle *parse_handle(const char *text)
{
	struct file_handle *h = calloc(1, sizeof(*h) + MAX_HANDLE_SZ);
	unsigned int byte;
	int used = 0;

	if (!h || sscanf(text, "%d:%n", &h->handle_type, &used) < 1)
		exit(5);
	for (text += used; sscanf(text, "%2x", &byte) == 1; text += 2)
		h->f_handle[h->handle_bytes++] = (unsigned char)byte;
	return h;
}

/* 32-bit and x32 numbers pass by a filter that looks at the 64-bit ones only. */
static void attack_other_abi(
	const char *attempt, void (*call)(struct file_handle *), struct file_handle *h)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		call(h);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		exit(6);
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s SIG%s\n", attempt, sigabbrev_np(WTERMSIG(status)));
	else
		fprintf(stderr, "%s OK\n", attempt);
}

static void call_i386(struct file_handle *h)
{
	int result;

	/* open_by_handle_at(2) is 342 there; what its arguments are matters no more. */
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(342), "b"(0), "c"(0), "d"(0)
			 : "memory");
	(void)h;
}

static void call_x32(struct file_handle *h)
{
	syscall(0x40000000 | SYS_open_by_handle_at, FD_QMP, h, O_RDWR);
}

static void attack_handles(const char *text, int fd)
{
	struct file_handle *h = parse_handle(text);
	struct file_handle *mine = parse_handle("0:");
	int root = open("/", O_RDONLY | O_DIRECTORY), id;

	TRY("handle-by-root", open_by_handle_at(root, h, O_RDWR));
	TRY("handle-by-file", open_by_handle_at(fd, h, O_RDWR));
	TRY("handle-by-cwd", open_by_handle_at(AT_FDCWD, h, O_RDWR));
	mine->handle_bytes = MAX_HANDLE_SZ;
	TRY("name-to-handle", name_to_handle_at(fd, "", mine, &id, AT_EMPTY_PATH));
	attack_other_abi("handle-i386", call_i386, h);
	attack_other_abi("handle-x32", call_x32, h);
	free(h);
	free(mine);
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

int main(int argc, char **argv)
{
	int fd, window, fds[3];

	if (argc < 2)
		wait_for_the_end();
	if (argc < 8)
		return 1;
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
	attack_handles(argv[5], fd);
	attack_mounts();
	attack_privileges();
	attack_kernel();
	attack_objects(argv[6]);
	attack_sockets(argv[7]);
	attack_paths(argv + 7);
	attack_exec();
	attack_inherited();
	fprintf(stderr, "end OK\n");
	return 0;
}
