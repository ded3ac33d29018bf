/* SPDX-License-Identifier: Apache-2.0 */
/* What tells this guest from the other clones of its template. */
#pragma once

/* Made anew by each CreateSandbox; also bound into containers that have an empty one. */
#define MACHINE_ID_FILE "/etc/machine-id"
