/* SPDX-License-Identifier: Apache-2.0 */
/* Hot-plug ports, taken and given back: see ports.h. */
#include "vm/ports.h"

#include <assert.h>

#include "vm/argv.h"

static_assert(VM_PORTS <= 32, "a bit for each port");

unsigned int ports_take(struct ports *p)
{
	unsigned int port = 0;

	while (port < VM_PORTS && p->taken & UINT32_C(1) << port)
		port++;
	if (port < VM_PORTS)
		p->taken |= UINT32_C(1) << port;
	return port;
}

unsigned int ports_free(const struct ports *p)
{
	return VM_PORTS - (unsigned int)__builtin_popcount(p->taken);
}

void ports_give(struct ports *p, unsigned int port)
{
	assert(port < VM_PORTS && p->taken & UINT32_C(1) << port);
	p->taken &= ~(UINT32_C(1) << port);
}
