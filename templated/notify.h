/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the service manager how we are: sd_notify(3)'s protocol, not its library. */
#pragma once

/* state: "READY=1", "STOPPING=1", "STATUS=…"; several with newlines between. Without
 * $NOTIFY_SOCKET nothing happens; a failure is logged. */
void notify_manager(const char *state);
