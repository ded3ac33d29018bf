/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the service manager: see notify.h. */
#include "templated/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

void notify_manager(const char *state)
{
	const char *path = secure_getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	socklen_t len;

	if (!path || (*path != '/' && *path != '@'))
		return;
	if (strlen(path) >= sizeof(addr.sun_path)) {
		log_warn("NOTIFY_SOCKET is longer than a socket's path can be");
		return;
	}
	memcpy(addr.sun_path, path, strlen(path));
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (*path == '@')
		addr.sun_path[0] = '\0'; /* the abstract namespace */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
			      (struct sockaddr *)&addr, len) < 0)
		log_warn("cannot tell the service manager: %s", strerror(errno));
}
