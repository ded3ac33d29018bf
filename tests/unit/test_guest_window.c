/* SPDX-License-Identifier: Apache-2.0 */
/* guest/window: finding the device, asking the kernel to look for it,
 * mapping and copying. */
#include "tests/unit/guest_world.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "files/wire.h"
#include "guest/window.h"

#define LIST   "/proc/bus/pci/devices"
#define DEVICE "/sys/bus/pci/devices/0000:00:1d.3"
#define BUS    "/sys/devices/pci0000:00/pci_bus/0000:00"

#define OTHERS                                                                           \
	"0000\t808629c0\t0\t               0\n"                                          \
	"0010\t1af41003\tb\t        fe800000\tvirtio-pci\n"
#define OURS "00eb\t1af41110\t0\t        febf1000\t               0\t       10000000c\n"

/* A machine without the device. */
static int setup(void **state)
{
	(void)state;
	world_tmpfs("/proc/bus");
	world_tmpfs("/sys");
	world_file(LIST, OTHERS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return umount2("/proc/bus", MNT_DETACH) || umount2("/sys", MNT_DETACH);
}

static void add_device(const char *resource)
{
	_cleanup_free_ char *path = xasprintf(DEVICE "/%s", resource);

	world_file(path, "");
	assert_int_equal(truncate(path, FILES_WINDOW_BYTES), 0);
	world_file(DEVICE "/enable", "0");
	world_file(LIST, OTHERS OURS);
}

/* What is written by the mapping is in the file. */
static void assert_maps(const char *resource)
{
	_cleanup_free_ char *path = xasprintf(DEVICE "/%s", resource);
	_cleanup_close_ int fd = -1;
	struct err err = ERR_INIT;
	void *window;
	char text[6];

	if (window_open(&window, &err) < 0)
		fail_msg("%s", err.text);
	assert_file(DEVICE "/enable", "1");
	window_write((char *)window + FILES_WINDOW_BYTES - 6, "window", 6);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, text, 6, FILES_WINDOW_BYTES - 6), 6);
	assert_memory_equal(text, "window", 6);
	assert_int_equal(munmap(window, FILES_WINDOW_BYTES), 0);
}

static void test_there(void **state)
{
	(void)state;
	add_device("resource2");
	assert_maps("resource2");
	/* The better one. */
	add_device("resource2_wc");
	assert_maps("resource2_wc");
}

/* Writing 1 to "rescan" makes the device known, as in a kernel: here it makes the list's
 * line one that can be read. (Of the number in front the last 16 bits count.) */
static void test_rescan(void **state)
{
	(void)state;
	add_device("resource2_wc");
	world_file(LIST, "#" OURS);
	assert_int_equal(mkdir_parents(BUS, 0755, NULL), 0);
	assert_int_equal(symlink(LIST, BUS "/rescan"), 0);
	assert_maps("resource2_wc");
	assert_file(LIST, "1" OURS);
}

static void test_absent(void **state)
{
	struct err err = ERR_INIT;
	void *window = NULL;

	(void)state;
	assert_error(window_open(&window, &err), -ENOENT,
		"the window of the files: cannot write 1 to " BUS
		"/rescan: No such file or directory");
	world_file(BUS "/rescan", "");
	assert_error(window_open(&window, &err), -ENOENT,
		"the window of the files: no PCI device 1af4:1110: No such file or "
		"directory");
	assert_file(BUS "/rescan", "1");
	assert_null(window);
}

/* The device is there, and what belongs to it is not. */
static void test_broken(void **state)
{
	struct err err = ERR_INIT;
	void *window;

	(void)state;
	add_device("resource0");
	assert_error(window_open(&window, &err), -ENOENT,
		"open the window of the files: No such file or directory");
	assert_int_equal(unlink(DEVICE "/enable"), 0);
	assert_error_names(
		window_open(&window, &err), -ENOENT, "the window of the files: ");
}

static void test_copy(void **state)
{
	enum { N = 1000 };
	_Alignas(64) uint8_t from[N + 64], to[N + 64];

	(void)state;
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 5 + 1);
	for (size_t offset = 0; offset < 64; offset += 8) {
		for (size_t len = 0; len < N; len += 31) {
			memset(to, 0, sizeof(to));
			window_read(to + offset / 8, from + offset, len);
			assert_memory_equal(to + offset / 8, from + offset, len);
			assert_int_equal(to[offset / 8 + len], 0);
			memset(to, 0, sizeof(to));
			window_write(to + offset, from, len);
			assert_memory_equal(to + offset, from, len);
			assert_int_equal(to[offset + len], 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rescan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test(test_copy),
	};

	world_enter(0);
	return cmocka_run_group_tests_name("guest/window", tests, NULL, NULL);
}
