/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside a container and reports what makes its VM one of a kind, a key and a value
 * a line. The random bytes are the first that this container asks the kernel for.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
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

int main(void)
{
	unsigned char bytes[16];
	struct timespec now;

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
