/* SPDX-License-Identifier: Apache-2.0 */
/* crun's log, in which a container's own words stand: the host gets printable ASCII. */
#include <stdint.h>
#include <stdlib.h>

#include "base/util.h"
#include "guest/crun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *log = xstrndup((const char *)data, size);

	for (const char *p = crun_log_message(log); *p; p++)
		/* But for the sign that something was cut. */
		if ((*p < ' ' || *p == 0x7f) && (signed char)*p >= 0)
			abort();
	return 0;
}
