/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside a container and reports what makes its VM one of a kind, a key and a value
 * a line. The random bytes are the first that this container asks the kernel for.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

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
	printf("getrandom ");
	for (size_t i = 0; i < sizeof(bytes); i++)
		printf("%02x", bytes[i]);
	printf("\n");
	print_file("uuid", "/proc/sys/kernel/random/uuid");
	print_file("boot_id", "/proc/sys/kernel/random/boot_id");
	print_file("machine_id", "/etc/machine-id");
	clock_gettime(CLOCK_REALTIME, &now);
	printf("clock_ms %lld\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	return 0;
}
