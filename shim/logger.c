/* SPDX-License-Identifier: Apache-2.0 */
/* A program that takes a process' output: see logger.h. */
#include "shim/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"

#define READY_MS 30000 /* until it listens */
#define END_MS   10000 /* from the end of its input to a SIGTERM */
#define TERM_MS  2000  /* from there to a SIGKILL */

#define WORDS_MAX 64

struct logger {
	char *name;
	pid_t pid;
	int pidfd;
};

bool logger_is_uri(const char *path)
{
	return strncmp(path, LOGGER_SCHEME, strlen(LOGGER_SCHEME)) == 0;
}

/* ---- the words of the URI ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; a query's plus is a space. */
static void decode_word(char *word, bool is_query)
{
	char *to = word;

	for (const char *from = word; *from; to++) {
		int high = *from == '%' ? hex_digit(from[1]) : -1;
		int low = high >= 0 ? hex_digit(from[2]) : -1;

		if (low >= 0) {
			*to = (char)(high * 16 + low);
			from += 3;
		} else {
			*to = is_query && *from == '+' ? ' ' : *from;
			from++;
		}
	}
	*to = '\0';
}

/* argv borrows from uri, which is cut into pieces. */
static int split_uri(char *uri, char *argv[WORDS_MAX], struct err *err)
{
	char *query = strchr(uri, '?'), *save = NULL;
	size_t n = 0;

	if (query)
		*query++ = '\0';
	argv[n++] = uri + strlen(LOGGER_SCHEME);
	decode_word(argv[0], false);
	if (*argv[0] != '/')
		return err_set(
			err, -EINVAL, "%s names no absolute path", err_quote(uri, 256));
	for (char *pair = query ? strtok_r(query, "&", &save) : NULL; pair;
		pair = strtok_r(NULL, "&", &save)) {
		char *value = strchr(pair, '=');

		if (n + 3 > WORDS_MAX)
			return err_set(err, -E2BIG, "%s has too many words",
				err_quote(uri, 256));
		if (value)
			*value++ = '\0';
		else
			value = pair + strlen(pair);
		argv[n++] = pair;
		argv[n++] = value;
		decode_word(pair, true);
		decode_word(value, true);
	}
	argv[n] = NULL;
	return 0;
}

/* ---- starting it ---- */

/* [0] is the program's, [1] ours. */
static int make_pipe(int fds[2], bool we_write, struct err *err)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	fds[0] = pair[we_write ? 0 : 1];
	fds[1] = pair[we_write ? 1 : 0];
	if (we_write && fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0)
		return err_sys(err, errno, "cannot prepare a pipe");
	return 0;
}

static int run_program(struct logger *l, const struct logger_config *config,
	int pipes[3][2], struct err *err)
{
	_cleanup_free_ char *uri = xstrdup(config->uri);
	_cleanup_free_ char *id = xasprintf("CONTAINER_ID=%s", config->container_id);
	_cleanup_free_ char *ns = xasprintf("CONTAINER_NAMESPACE=%s", config->namespace);
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int fds[] = {
		null_fd, null_fd, null_fd, pipes[0][0], pipes[1][0], pipes[2][0]};
	char *const env[] = {id, ns, NULL};
	char *argv[WORDS_MAX];
	struct proc_program program = {
		.argv = argv, .env = env, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
	int r = split_uri(uri, argv, err);

	if (r < 0)
		return r;
	l->name = xstrdup(argv[0]);
	program.path = argv[0];
	r = proc_spawn(&program, &l->pid);
	if (r < 0)
		return err_sys(err, r, "cannot run %s", err_quote(l->name, 256));
	r = pidfd_of(l->pid, &l->pidfd);
	return r < 0 ? err_sys(err, r, "pidfd_open") : 0;
}

/* One that ends at once is told by what it does not take. */
static int wait_until_ready(struct logger *l, int fd, struct err *err)
{
	int r = wait_fd(fd, POLLIN, deadline_after_ms(READY_MS));

	return r < 0 ? err_sys(err, r, "%s does not say that it listens",
			       err_quote(l->name, 256))
		     : 0;
}

int logger_start(const struct logger_config *config, int ret_fds[2], struct logger **ret,
	struct err *err)
{
	int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, r = 0;
	struct logger *l = xnew0(struct logger);

	l->pid = l->pidfd = -1;
	for (int i = 0; i < 3 && r == 0; i++)
		r = make_pipe(pipes[i], i < 2, err);
	if (r == 0)
		r = run_program(l, config, pipes, err);
	for (int i = 0; i < 3; i++)
		close_fd(pipes[i][0]);
	if (r == 0)
		r = wait_until_ready(l, pipes[2][1], err);
	close_fd(pipes[2][1]);
	if (r < 0) {
		close_fd(pipes[0][1]);
		close_fd(pipes[1][1]);
		if (l->pid > 0)
			kill(l->pid, SIGKILL);
		logger_end(l);
		return r;
	}
	ret_fds[0] = pipes[0][1];
	ret_fds[1] = pipes[1][1];
	*ret = l;
	return 0;
}

void logger_end(struct logger *l)
{
	if (!l)
		return;
	if (l->pidfd >= 0 && pidfd_wait(l->pidfd, deadline_after_ms(END_MS)) < 0) {
		log_warn("%s does not end with its input", l->name);
		pidfd_kill(l->pidfd, SIGTERM);
		if (pidfd_wait(l->pidfd, deadline_after_ms(TERM_MS)) < 0)
			pidfd_kill(l->pidfd, SIGKILL);
	}
	if (l->pid > 0)
		proc_reap(l->pid);
	close_fd(l->pidfd);
	free(l->name);
	free(l);
}
