/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templated: the daemon that owns the template, one on each host.
 *
 * Stages:
 *   early   options, configuration; nothing is changed yet
 *   setup   signals become a descriptor, locks, a cgroup of its own, then capabilities
 *           are cut and system calls filtered
 *   serve   tmpfs and image store and what is in them, socket, first build; then it waits
 *           for signals
 *   end     SIGTERM, SIGINT: a build, its VM, the cached VMs and an image's making end,
 *           the socket goes; the tmpfs, the published template and the images stay, for
 *           the next start and for the VMs that use them
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/config_kept.h"
#include "base/log.h"
#include "base/util.h"
#include "templated/builder.h"
#include "templated/cache.h"
#include "templated/daemon.h"
#include "templated/images.h"
#include "templated/lock.h"
#include "templated/metrics_server.h"
#include "templated/notify.h"
#include "templated/own_filter.h"
#include "templated/privileges.h"
#include "templated/reload.h"
#include "templated/server.h"
#include "vm/cgroup.h"
#include "vm/own_cgroup.h"
#include "vm/sweep.h"

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

static const char usage[] =
	"Usage: templated [--config FILE]\n"
	"Boots a VM once and grants it as a template to Stencil's shims.\n"
	"\n"
	"  --config FILE    read FILE instead of " CONFIG_PATH_DEFAULT "\n"
	"  --check-config   read the configuration, say whether it is right, and end\n"
	"  --dump-config    write the configuration in effect, and end\n"
	"  --dump-defaults  write the built-in values, whatever is configured, and end\n"
	"  --list-keys      a line for each key: section, name, default, values, help\n"
	"  --help           this text\n"
	"  --version        version\n"
	"\n"
	"It stays in the foreground and logs to standard error. SIGTERM ends it and "
	"leaves\n"
	"the template in place; SIGHUP reads the configuration again and builds a new "
	"one\n"
	"if anything differs. See templatectl for the rest.\n"
	"Exit status: 0 ended by a signal, 1 failed, 2 wrong options or configuration.\n";

enum mode {
	MODE_SERVE,
	MODE_CHECK,
	MODE_DUMP,
	MODE_DEFAULTS,
	MODE_KEYS,
};

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check-config", no_argument, NULL, 'k'},
	{"dump-config", no_argument, NULL, 'd'},
	{"dump-defaults", no_argument, NULL, 'D'},
	{"list-keys", no_argument, NULL, 'K'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'v'},
	{0},
};

/* -1, or the exit status to end with at once. */
static int parse_options(
	int argc, char **argv, enum mode *ret_mode, const char **ret_config)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			*ret_config = optarg;
			break;
		case 'k':
			*ret_mode = MODE_CHECK;
			break;
		case 'd':
			*ret_mode = MODE_DUMP;
			break;
		case 'D':
			*ret_mode = MODE_DEFAULTS;
			break;
		case 'K':
			*ret_mode = MODE_KEYS;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("templated " STENCIL_VERSION);
			return 0;
		default:
			fputs("templated: see templated --help\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"templated: unexpected argument \"%s\"; see templated --help\n",
			err_quote(argv[optind], 64));
		return EXIT_USAGE;
	}
	return -1;
}

/* ---- setup ---- */

/* What no two templated may share. */
struct locks {
	char *path[4]; /* "": none */
	int fd[4];
};

static int take_locks(const struct config *c, struct locks *l, struct err *err)
{
	static const char *const what[] = {
		"template_path", "template_endpoint", "state_dir", "metrics_endpoint"};
	int r = 0;

	*l = (struct locks){{xstrdup(c->template_path), xstrdup(c->template_endpoint),
				    xasprintf("%s/.templated", c->state_dir),
				    xstrdup(c->metrics_endpoint)},
		{-1, -1, -1, -1}};
	for (size_t i = 0; i < ARRAY_SIZE(l->fd) && r == 0; i++)
		if (*l->path[i])
			r = lock_take(what[i], l->path[i], &l->fd[i], err);
	return r;
}

static void drop_locks(struct locks *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(l->fd); i++) {
		lock_drop(l->path[i], l->fd[i]);
		free(l->path[i]);
	}
}

static int make_signal_fd(struct err *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "signalfd") : fd;
}

/* ---- serve ---- */

/* A failure here is not the end: sandboxes get it as the reason for a miss. */
static void begin_templates(struct daemon *d, const struct config *c)
{
	struct err err = ERR_INIT;

	if (c->enable_template && daemon_open_store(d, c, &err) < 0)
		log_error("the templates that may be there cannot be used: %s", err.text);
}

static void wait_for_signals(struct reload *reload, int signal_fd)
{
	struct signalfd_siginfo info;

	for (;;) {
		ssize_t n = read(signal_fd, &info, sizeof(info));

		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(info)) {
			log_error("cannot read signals: %s", strerror(errno));
			return;
		}
		if (info.ssi_signo != SIGHUP) {
			log_info("ending: signal %u from pid %u", info.ssi_signo,
				info.ssi_pid);
			return;
		}
		reload_now(reload);
	}
}

/* Before the first build, so that no change of its inputs goes unnoticed. */
static int templated_serve_until_signal(struct daemon *d, int signal_fd, struct err *err)
{
	_cleanup_settings_ struct settings *now = NULL;
	struct reload *reload;
	int r = reload_start(d, &reload, err);

	if (r < 0)
		return r;
	now = daemon_settings(d); /* as the file was when it was first watched */
	notify_manager("READY=1\nSTATUS=Granting templates");
	log_info("templated " STENCIL_VERSION " answers at %s",
		now->config.template_endpoint);
	if (now->config.enable_template)
		r = builder_start(d->builder, BUILD_LOOK, NULL, err);
	else
		cache_kick(d->cache);
	if (r == 0)
		wait_for_signals(reload, signal_fd);
	notify_manager("STOPPING=1\nSTATUS=Ending");
	reload_stop(reload);
	return r;
}

static int templated_serve(
	struct daemon *d, const struct config *c, int signal_fd, struct err *err)
{
	struct metrics_server *metrics;
	struct err left = ERR_INIT;
	struct server *server;
	int r;

	/* What can't be undone keeps its number, and nothing else of this start. */
	if (vm_sweep(c, NULL, NULL, &left) < 0)
		log_error("something of a VM is left behind: %s", left.text);
	begin_templates(d, c);
	/* Told in the log, and to whoever asks for an image. */
	images_open(d->images, c, NULL);
	r = server_start(d, &server, err);
	if (r < 0)
		return r;
	r = metrics_server_start(d, &metrics, err);
	if (r < 0) {
		server_stop(server);
		return r;
	}
	r = templated_serve_until_signal(d, signal_fd, err);
	builder_close(d->builder);
	cache_close(d->cache);
	images_close(d->images);
	metrics_server_stop(metrics);
	server_stop(server);
	return r;
}

/* Takes c. */
/*
 * The pages of the template belong to the cgroup of the process that allocated them, and
 * stay after it has ended. In one of its own the template is counted by itself.
 */
static void enter_own_cgroup(const struct config *c)
{
	char path[CGROUP_PATH_BYTES];
	struct err err = ERR_INIT;

	cgroup_path(c, "templated", path);
	if (own_cgroup_is_shared() && own_cgroup_enter(path, &err) < 0)
		log_warn("the template's memory is charged to a cgroup that is shared "
			 "with others: %s",
			err.text);
}

static int templated_run(struct config *c, const char *config_path, struct err *err)
{
	_cleanup_settings_ struct settings *first = NULL;
	_cleanup_close_ int signal_fd = -1;
	struct locks locks;
	struct daemon d;
	int r;

	/* Requests are rare and short: two arenas for all threads instead of one for each
	 * of some, which all keep what they once had. */
	mallopt(M_ARENA_MAX, 2);
	log_init("templated", STDERR_FILENO, (enum log_level)c->log_level);
	signal_fd = make_signal_fd(err);
	if (signal_fd < 0)
		return signal_fd;
	r = take_locks(c, &locks, err);
	if (r == 0)
		enter_own_cgroup(c);
	if (r == 0)
		r = privileges_cut(err);
	if (r == 0)
		r = own_filter_enter(err);
	if (r == 0) {
		daemon_init(&d, c, config_path);
		first = daemon_settings(&d);
		reload_keep_config(&first->config);
		r = templated_serve(&d, &first->config, signal_fd, err);
		config_forget(&first->config);
		daemon_done(&d);
	}
	own_cgroup_leave();
	drop_locks(&locks);
	return r;
}

/* What needs no configuration of this host. */
static int print_built_in(enum mode mode)
{
	struct config c;

	if (mode == MODE_KEYS) {
		config_list_keys(stdout);
		return 0;
	}
	config_init(&c);
	config_dump(&c, stdout);
	config_done(&c);
	return 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	const char *config = NULL;
	enum mode mode = MODE_SERVE;
	struct config c;
	int r = parse_options(argc, argv, &mode, &config);

	if (r >= 0)
		return r;
	if (mode == MODE_DEFAULTS || mode == MODE_KEYS)
		return print_built_in(mode);
	config_init(&c);
	r = config_load_default(&c, config, &err);
	if (r < 0) {
		fprintf(stderr, "templated: %s\n", err.text);
		config_done(&c);
		return EXIT_USAGE;
	}
	if (mode == MODE_DUMP)
		config_dump(&c, stdout);
	else if (mode == MODE_CHECK)
		printf("%s: the configuration is right\n",
			*c.loaded_from ? c.loaded_from : "built-in values");
	else if (geteuid() != 0)
		r = err_set(&err, -EPERM, "only root can run it");
	else
		r = templated_run(&c, config, &err);
	if (r < 0)
		fprintf(stderr, "templated: %s\n", err.text);
	config_done(&c);
	return r < 0 ? EXIT_FAILED : 0;
}
