/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside a container and reports what makes its VM one of a kind, a key and a value
 * a line. The random bytes are the first that this container asks the kernel for.
 *
 * "probe fill MIB" uses memory instead: it reports how much of it was found to be zeros,
 * and how much kept what was then written to it.
 *
 * "probe dirty MIB FILE" does the same with a file mapped shared, which may be larger
 * than the memory: the kernel has to write pages back to have memory to go on. Then the
 * file is read as well.
 *
 * "probe queue KEY" makes a System V message queue of that key, which is there until its
 * ipc namespace ends; ipcs(1) shows it.
 * "probe until COMMAND" runs a shell command again after each change of the network,
 * until it succeeds.
 *
 * "probe serve ADDRESS PORT COMMAND" listens there, and is done; each connection is then
 * a shell command's standard streams.
 *
 * "probe latency COUNT FILE" opens, reads and closes a file so often, and tells what one
 * of these took in the median, in microseconds.
 *
 * "probe memory" reads all physical memory of its VM once, by /proc/kcore, which needs a
 * privileged container.
 */
#include <arpa/inet.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void print_hex(const char *key, const unsigned char bytes[16])
{
	printf("%s ", key);
	for (size_t i = 0; i < 16; i++)
		printf("%02x", bytes[i]);
	printf("\n");
}

static void print_file(const char *key, const char *path)
{
	char text[256];
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[n > 0 ? n - (text[n - 1] == '\n') : 0] = '\0';
	printf("%s %s\n", key, text);
}

#define MIB_WORDS (1024 * 1024 / sizeof(uint64_t))

/* fd -1: memory of its own. */
static int fill(size_t mib, int fd)
{
	size_t words = mib * MIB_WORDS, zeros = 0, kept = 0;
	uint64_t *memory = mmap(NULL, words * sizeof(*memory), PROT_READ | PROT_WRITE,
		fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	/* Read and written by turns: what is only read is the one page of zeros. */
	for (size_t i = 0; i < words; i++) {
		memory[i] += i;
		zeros += memory[i] == i;
	}
	for (size_t i = 0; i < words; i++)
		kept += memory[i] == i;
	printf("zero_mib %zu\nkept_mib %zu\n", zeros / MIB_WORDS, kept / MIB_WORDS);
	return 0;
}

static int dirty(size_t mib, const char *path)
{
	static uint64_t part[MIB_WORDS];
	size_t read_back = 0;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)(mib * sizeof(part))) < 0) {
		perror(path);
		return 1;
	}
	if (fill(mib, fd) != 0)
		return 1;
	for (size_t at = 0; at < mib; at++) {
		size_t right = 0;

		if (read(fd, part, sizeof(part)) != sizeof(part))
			break;
		for (size_t i = 0; i < MIB_WORDS; i++)
			right += part[i] == at * MIB_WORDS + i;
		read_back += right == MIB_WORDS;
	}
	printf("read_mib %zu\n", read_back);
	return fsync(fd) < 0;
}

/* How many bytes of a range could be read: all, or those before an error. */
static uint64_t read_range(int fd, const Elf64_Phdr *range)
{
	static char part[1024 * 1024];
	uint64_t at = 0;

	while (at < range->p_memsz) {
		uint64_t left = range->p_memsz - at;
		ssize_t n = pread(fd, part, left < sizeof(part) ? left : sizeof(part),
			(off_t)(range->p_offset + at));

		if (n <= 0)
			break;
		at += (uint64_t)n;
	}
	return at;
}

static int read_memory(void)
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	uint64_t bytes = 0;
	Elf64_Ehdr head;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head)) {
		perror("/proc/kcore");
		return 1;
	}
	for (size_t i = 0; i < head.e_phnum; i++) {
		off_t at = (off_t)(head.e_phoff + i * sizeof(Elf64_Phdr));
		Elf64_Phdr range;

		/* What has no physical address is vmalloc()'s: pages that others are,
		 * too. */
		if (pread(fd, &range, sizeof(range), at) == sizeof(range) &&
			range.p_type == PT_LOAD && range.p_paddr != UINT64_MAX)
			bytes += read_range(fd, &range);
	}
	close(fd);
	printf("memory_mib %llu\n", (unsigned long long)bytes / (1024 * 1024));
	return 0;
}

static int make_queue(key_t key)
{
	if (msgget(key, IPC_CREAT | IPC_EXCL | 0600) < 0) {
		perror("msgget");
		return 1;
	}
	return 0;
}

/* Its exit status. */
static int run_shell(const char *command)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* It hears of changes before it looks for the first time, so it misses none. */
static int run_until(const char *command)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_IFADDR,
		RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE};
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	char message[8192];

	/* One without an address is passed over where the kernel itself is the sender. */
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0) {
		perror("netlink");
		return 1;
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			    sizeof(groups[i])) < 0) {
			perror("netlink");
			return 1;
		}
	while (run_shell(command) != 0)
		if (recv(fd, message, sizeof(message), 0) < 0) {
			perror("netlink");
			return 1;
		}
	return 0;
}

static int listen_on(const char *address, const char *port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET,
		.sin_port = htons((in_port_t)strtoul(port, NULL, 10))};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
	int is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
	int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if ((!is_v4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1) ||
		bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
			is_v4 ? sizeof(v4) : sizeof(v6)) < 0 ||
		listen(fd, 1024) < 0) {
		perror(address);
		return -1;
	}
	return fd;
}

static void serve_one(int fd, const char *command)
{
	if (fork() == 0) {
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(fd);
}

static int run_server(const char *address, const char *port, const char *command)
{
	int fd = listen_on(address, port);

	if (fd < 0 || daemon(0, 0) < 0)
		return 1;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (connection >= 0)
			serve_one(connection, command);
	}
}

static int compare_numbers(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double read_once(const char *path)
{
	struct timespec from, to;
	char byte;
	int fd;

	clock_gettime(CLOCK_MONOTONIC, &from);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &byte, 1) < 0 || close(fd) < 0)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from.tv_sec) * 1e6 +
	       (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static int tell_latency(size_t count, const char *path)
{
	double *took = calloc(count, sizeof(*took));

	if (!took || count == 0)
		return 1;
	for (size_t i = 0; i < count; i++) {
		took[i] = read_once(path);
		if (took[i] < 0) {
			perror(path);
			return 1;
		}
	}
	qsort(took, count, sizeof(*took), compare_numbers);
	printf("latency_us %.1f\n", took[count / 2]);
	free(took);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned char bytes[16];
	struct timespec now;

	if (argc == 3 && strcmp(argv[1], "fill") == 0)
		return fill(strtoul(argv[2], NULL, 10), -1);
	if (argc == 4 && strcmp(argv[1], "dirty") == 0)
		return dirty(strtoul(argv[2], NULL, 10), argv[3]);
	if (argc == 3 && strcmp(argv[1], "queue") == 0)
		return make_queue((key_t)strtol(argv[2], NULL, 0));
	if (argc == 3 && strcmp(argv[1], "until") == 0)
		return run_until(argv[2]);
	if (argc == 5 && strcmp(argv[1], "serve") == 0)
		return run_server(argv[2], argv[3], argv[4]);
	if (argc == 4 && strcmp(argv[1], "latency") == 0)
		return tell_latency(strtoul(argv[2], NULL, 10), argv[3]);
	if (argc == 2 && strcmp(argv[1], "memory") == 0)
		return read_memory();
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return 1;
	print_hex("getrandom", bytes);
	/* Drawn by the kernel at exec, before any instruction of this program. */
	memcpy(bytes, (const void *)getauxval(AT_RANDOM), sizeof(bytes));
	print_hex("at_random", bytes);
	print_file("uuid", "/proc/sys/kernel/random/uuid");
	print_file("boot_id", "/proc/sys/kernel/random/boot_id");
	print_file("machine_id", "/etc/machine-id");
	clock_gettime(CLOCK_REALTIME, &now);
	printf("clock_ms %lld\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	return 0;
}
