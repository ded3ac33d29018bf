/* SPDX-License-Identifier: Apache-2.0 */
/* containerd.runtime.sandbox.v1.Sandbox: the methods and what they call. */
#pragma once

#include "base/ttrpc/ttrpc.h"

/* Their user is a struct service. */
extern const struct ttrpc_method sandbox_methods[];
extern const size_t n_sandbox_methods;
