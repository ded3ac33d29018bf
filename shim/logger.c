/* SPDX-License-Identifier: Apache-2.0 */
/* A program that takes a process' output: see logger.h. */
#include "shim/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"

#define READY_MS 30000 /* until it listens */
#define END_MS   10000 /* from the end of its input to a SIGTERM */
#define TERM_MS  2000  /* from there to a SIGKILL */

#define WORDS_MAX 64
#define FD_FIRST  3
#define HIGH_FD   16 /* above those that the program gets */

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

/* [0] is the program's and high, [1] ours. */
static int make_pipe(int fds[2], bool we_write, struct err *err)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	fds[0] = fcntl(pair[we_write ? 0 : 1], F_DUPFD_CLOEXEC, HIGH_FD);
	fds[1] = pair[we_write ? 1 : 0];
	close(pair[we_write ? 0 : 1]);
	if (fds[0] < 0 || (we_write && fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0))
		return err_sys(err, errno, "cannot prepare a pipe");
	return 0;
}

static int spawn_program(
	char *const *argv, char *const *env, int pipes[3][2], pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	for (int fd = 0; fd < FD_FIRST; fd++)
		posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, pipes[i][0], FD_FIRST + i);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn(ret_pid, argv[0], &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int run_program(struct logger *l, const struct logger_config *config,
	int pipes[3][2], struct err *err)
{
	_cleanup_free_ char *uri = xstrdup(config->uri);
	_cleanup_free_ char *id = xasprintf("CONTAINER_ID=%s", config->container_id);
	_cleanup_free_ char *ns = xasprintf("CONTAINER_NAMESPACE=%s", config->namespace);
	char *const env[] = {id, ns, NULL};
	char *argv[WORDS_MAX];
	int r = split_uri(uri, argv, err);

	if (r < 0)
		return r;
	l->name = xstrdup(argv[0]);
	r = spawn_program(argv, env, pipes, &l->pid);
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
		while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
			;
	close_fd(l->pidfd);
	free(l->name);
	free(l);
}
