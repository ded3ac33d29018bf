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

static int print_answer(const void *data, size_t len, struct err *err)
{
	int r = write_full(STDOUT_FILENO, data, len);

	return r < 0 ? err_sys(err, r, "cannot write the answer") : 0;
}

/* containerd does not ask a shim that did not start for anything. */
static void undo_start(const struct cmdline *cmd)
{
	_cleanup_free_ void *data = NULL;
	struct err err = ERR_INIT;
	size_t len;

	if (delete_task(cmd, &data, &len, &err) < 0)
		log_error("what was started is left: %s", err.text);
}

static int print_start(const struct cmdline *cmd, struct err *err)
{
	_cleanup_free_ char *answer = NULL;
	_cleanup_close_ int told_fd = -1;
	int r = start_shim(cmd, &answer, &told_fd, err);

	if (r < 0)
		return r;
	r = print_answer(answer, strlen(answer), err);
	if (r == 0)
		r = start_told(told_fd, err);
	if (r < 0 && told_fd >= 0) {
		/* It ends, and answers who asks it to. */
		close_fd(steal_fd(&told_fd));
		undo_start(cmd);
	}
	return r;
}

static int print_delete(const struct cmdline *cmd, struct err *err)
{
	_cleanup_free_ void *data = NULL;
	size_t len;
	int r = delete_task(cmd, &data, &len, err);

	return r == 0 ? print_answer(data, len, err) : r;
}

static int print_info(struct err *err)
{
	_cleanup_free_ void *data = NULL;
	size_t len;

	bootstrap_info(&data, &len);
	return print_answer(data, len, err);
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
		return print_info(err);
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
