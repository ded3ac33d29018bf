/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside a container and reports what makes its VM one of a kind, a key and a value
 * a line. The random bytes are the first that this container asks the kernel for.
 *
 * "probe fill MIB" uses memory instead: it reports how much of it was found to be zeros,
 * and how much kept what was then written to it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
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

static int fill(size_t mib)
{
	size_t words = mib * MIB_WORDS, zeros = 0, kept = 0;
	uint64_t *memory = mmap(NULL, words * sizeof(*memory), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

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

int main(int argc, char **argv)
{
	unsigned char bytes[16];
	struct timespec now;

	if (argc == 3 && strcmp(argv[1], "fill") == 0)
		return fill(strtoul(argv[2], NULL, 10));
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
