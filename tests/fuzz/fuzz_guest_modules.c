/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's list of kernel modules: each line is a path and parameters, or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest/modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct err err = ERR_INIT;
	struct module_line line;
	char *at = text;
	int r;

	while ((r = module_line_next(&at, &line, &err)) > 0) {
		if (line.path[0] != '/' || strpbrk(line.path, " \t\n") ||
			strchr(line.params, '\n'))
			abort();
		module_path_has_name(line.path, "virtio_net");
		module_path_has_name("/x/virtio-net.ko", line.params);
	}
	if (r < 0 && (err.code != r || !*err.text))
		abort();
	return 0;
}
