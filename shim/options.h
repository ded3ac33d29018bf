/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's options, as containerd hands them to `start` and to Create. */
#pragma once

#include "base/err.h"
#include "shim/proto/any.pb-c.h"

/* The absolute ConfigPath of a runtimeoptions.v1.Options; *ret_path is "" where there is
 * none (also for NULL and for options of another runtime), the caller's to free(). */
int options_config_path(
	const Google__Protobuf__Any *options, char **ret_path, struct err *err);
