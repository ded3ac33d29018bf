/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes base/config: any file is read or refused with an error that names it. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/config.h"
#include "base/io.h"
#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("fuzz.conf", MFD_CLOEXEC);
	_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);
	struct err err = ERR_INIT;
	struct config config;

	if (fd < 0 || write_full(fd, data, size) < 0)
		abort();
	config_init(&config);
	if (config_load(&config, path, &err) < 0 && !strstr(err.text, path))
		abort();
	config_done(&config);
	return 0;
}
