/* SPDX-License-Identifier: Apache-2.0 */
/* stencil-agent: PID 1 of a guest; boots it, serves the agent protocol, reaps. */
#include <netdb.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "base/log.h"
#include "guest/channel.h"
#include "guest/child.h"
#include "guest/compact.h"
#include "guest/crun.h"
#include "guest/files.h"
#include "guest/init.h"
#include "guest/modpack.h"
#include "guest/service.h"

/*
 * How it works. This thread boots the guest and then reaps for ever. The channel has a
 * thread that reads requests; each request has a thread while it lasts
 * (base/ttrpc/ttrpc.h). Waiting is always on a descriptor: a process's end, output,
 * netlink, inotify, the end of the connection.
 */
int main(int argc, char **argv)
{
	static struct sandbox sandbox;
	struct ttrpc_server *server = NULL;
	struct err err = ERR_INIT;
	int r;

	if (argc > 0 && modprobe_is_asked(argv[0]))
		return modprobe_main(argc, argv);
	log_init("agent", STDERR_FILENO, LOG_LEVEL_WARN);
	child_init();
	r = init_guest(&err);
	if (r == 0)
		r = crun_init(&err);
	if (r == 0)
		r = compact_guest(&err);
	sandbox_init(&sandbox);
	if (r == 0)
		r = service_new(&sandbox, &server, &err);
	if (r == 0) {
		files_prepare();
		r = channel_start(server, &err);
	}
	if (r < 0) {
		log_error("the guest cannot start, it powers off: %s", err.text);
		if (getpid() == 1)
			reboot(RB_POWER_OFF);
		return 1;
	}
	child_reap_forever();
}

/*
 * libnl can look names up. A static program does that by loading glibc's libraries when
 * it runs, which the guest has not, and pays a third of its size for the way there:
 * nobody calls these.
 */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
	struct addrinfo **ret)
{
	(void)node, (void)service, (void)hints, (void)ret;
	return EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *info)
{
	(void)info;
}

struct protoent *getprotobyname(const char *name)
{
	(void)name;
	return NULL;
}

struct protoent *getprotobynumber(int number)
{
	(void)number;
	return NULL;
}
