/* SPDX-License-Identifier: Apache-2.0 */
/* containerd-shim-stencil-v2: what containerd runs for each sandbox. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/bootstrap.h"
#include "shim/cmdline.h"
#include "shim/delete.h"
#include "shim/serve.h"
#include "shim/start.h"

static int print_start(const struct cmdline *cmd, struct err *err)
{
	_cleanup_free_ char *answer = NULL;
	int r = start_shim(cmd, &answer, err);

	return r == 0 ? write_full(STDOUT_FILENO, answer, strlen(answer)) : r;
}

static int print_delete(const struct cmdline *cmd, struct err *err)
{
	_cleanup_free_ void *data = NULL;
	size_t len;
	int r = delete_task(cmd, &data, &len, err);

	return r == 0 ? write_full(STDOUT_FILENO, data, len) : r;
}

static int print_info(void)
{
	_cleanup_free_ void *data = NULL;
	size_t len;

	bootstrap_info(&data, &len);
	return write_full(STDOUT_FILENO, data, len);
}

static int run_verb(const struct cmdline *cmd, struct err *err)
{
	switch (cmd->verb) {
	case CMDLINE_SERVE:
		return serve_pod(cmd, err);
	case CMDLINE_START:
		return print_start(cmd, err);
	case CMDLINE_DELETE:
		return print_delete(cmd, err);
	case CMDLINE_VERSION:
		printf("containerd-shim-stencil-v2 " STENCIL_VERSION "\n");
		return 0;
	case CMDLINE_INFO:
		return print_info();
	case CMDLINE_HELP:
		cmdline_usage(stdout);
		return 0;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct cmdline cmd;

	/* What `start` and `delete` say goes into containerd's error text: only what
	 * matters. */
	log_init("shim", STDERR_FILENO, LOG_LEVEL_WARN);
	if (cmdline_parse(&cmd, argc, argv, &err) < 0) {
		fprintf(stderr, "containerd-shim-stencil-v2: %s\n", err.text);
		cmdline_usage(stderr);
		return 2;
	}
	if (run_verb(&cmd, &err) < 0) {
		fprintf(stderr, "containerd-shim-stencil-v2: %s\n", err.text);
		return 1;
	}
	return 0;
}
