/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl: what an administrator does with the template. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/config_kept.h"
#include "base/util.h"
#include "templated/ctl.h"
#include "templated/daemon.h"
#include "templated/metrics.h"

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_RUNNING = 3,
	EXIT_NOT_ROOT = 4,
};

static const char usage[] =
	"Usage: templatectl [--config FILE] VERB [prune] [--json]\n"
	"\n"
	"  init      mount the template's tmpfs and build the template, unless there is "
	"a\n"
	"            sound one that is up to date\n"
	"  status    what there is, who uses it, what was granted and refused\n"
	"  metrics   the same for Prometheus, in its text format\n"
	"  watch     what happens, a line an event, until SIGINT or templated's end\n"
	"  refresh   build a new template; the old one serves until it stands, with "
	"--now\n"
	"            it is retired first and sandboxes are booted meanwhile\n"
	"  destroy   remove the template and unmount; what sandboxes still use goes "
	"with\n"
	"            the last of them\n"
	"  images    the images of layers that templated keeps, and who uses them;\n"
	"            images prune removes those that nobody uses\n"
	"  size      calculate the tmpfs, and print its lines for fstab and systemd\n"
	"\n"
	"  --config FILE    read FILE instead of " CONFIG_PATH_DEFAULT "\n"
	"  --now            refresh: grant nothing of the old template any more\n"
	"  --json           status, images, size, watch: for programs; keys stay the same\n"
	"  --help           this text\n"
	"  --version        version\n"
	"\n"
	"Exit status: 0 done, 1 failed, 2 wrong options or configuration, 3 templated is "
	"not\n"
	"running, 4 only root may.\n";

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"json", no_argument, NULL, 'j'},
	{"now", no_argument, NULL, 'n'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'v'},
	{0},
};

struct command {
	struct config config;
	bool json, now, prune;
};

/* ---- progress ---- */

static uint64_t began_us;

/* On a terminal one line that changes, elsewhere a line a step. */
static void show_step(const char *step)
{
	double seconds = (double)(now_us() - began_us) / 1e6;

	if (isatty(STDOUT_FILENO))
		printf("\r\033[K%s (%.1f s)…", step, seconds);
	else
		printf("%s\n", step);
	fflush(stdout);
}

static void end_steps(void)
{
	if (isatty(STDOUT_FILENO))
		fputs("\r\033[K", stdout);
}

/* ---- verbs ---- */

static void print_json(struct json_object *obj)
{
	puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
							 JSON_C_TO_STRING_SPACED |
							 JSON_C_TO_STRING_NOSLASHESCAPE));
}

static int run_build(const struct command *cmd, enum lease_verb verb, struct err *err)
{
	struct json_object *request = lease_request_new(verb, NULL, NULL);
	_cleanup_json_ struct json_object *reply = NULL;
	const char *id, *what;
	int r;

	began_us = now_us();
	if (cmd->now)
		json_set_bool(request, "now", true);
	r = ctl_send(&cmd->config, verb, request, show_step, &reply, err);
	end_steps();
	if (r == 0)
		r = json_get_string(reply, "generation", &id, err);
	if (r == 0)
		r = json_get_string(reply, "text", &what, err);
	if (r == 0)
		printf("generation %s: %s after %.1f s\n", id, what,
			(double)(now_us() - began_us) / 1e6);
	return r;
}

static int run_init(const struct command *cmd, struct err *err)
{
	return run_build(cmd, LEASE_VERB_INIT, err);
}

static int run_refresh(const struct command *cmd, struct err *err)
{
	return run_build(cmd, LEASE_VERB_REFRESH, err);
}

static int run_destroy(const struct command *cmd, struct err *err)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *held;
	const char *what;
	int r;

	r = ctl_ask(&cmd->config, LEASE_VERB_DESTROY, NULL, &reply, err);
	if (r == 0)
		r = json_get_string(reply, "text", &what, err);
	if (r == 0)
		r = json_get_array(reply, "held", &held, err);
	if (r < 0)
		return r;
	printf("template: %s\n", what);
	for (size_t i = 0; i < json_object_array_length(held); i++)
		printf("held by %s\n",
			json_object_get_string(json_object_array_get_idx(held, i)));
	return 0;
}

static int run_status(const struct command *cmd, struct err *err)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *status;
	int r;

	r = ctl_ask(&cmd->config, LEASE_VERB_STATUS, NULL, &reply, err);
	if (r == 0)
		r = json_get_object(reply, "status", &status, err);
	if (r < 0)
		return r;
	if (cmd->json)
		print_json(status);
	else
		ctl_print_status(status, stdout);
	return 0;
}

static int run_metrics(const struct command *cmd, struct err *err)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *status;
	int r;

	r = ctl_ask(&cmd->config, LEASE_VERB_STATUS, NULL, &reply, err);
	if (r == 0)
		r = json_get_object(reply, "status", &status, err);
	if (r == 0)
		metrics_print(status, stdout);
	return r;
}

static int run_watch(const struct command *cmd, struct err *err)
{
	return ctl_watch(&cmd->config, cmd->json, stdout, err);
}

static int run_size(const struct command *cmd, struct err *err)
{
	_cleanup_json_ struct json_object *size = NULL;
	int r = daemon_size(&cmd->config, &size, err);

	if (r < 0)
		return r;
	if (cmd->json)
		print_json(size);
	else
		ctl_print_size(size, stdout);
	return 0;
}

static int run_prune(const struct command *cmd, struct err *err)
{
	_cleanup_json_ struct json_object *reply = NULL;
	uint64_t count, bytes;
	int r;

	r = ctl_ask(&cmd->config, LEASE_VERB_PRUNE, NULL, &reply, err);
	if (r == 0)
		r = json_get_u64(reply, "count", &count, err);
	if (r == 0)
		r = json_get_u64(reply, "bytes", &bytes, err);
	if (r == 0)
		printf("removed %" PRIu64 " images, %" PRIu64 " bytes\n", count, bytes);
	return r;
}

static int run_images(const struct command *cmd, struct err *err)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *images;
	int r;

	if (cmd->prune)
		return run_prune(cmd, err);
	r = ctl_ask(&cmd->config, LEASE_VERB_IMAGES, NULL, &reply, err);
	if (r == 0)
		r = json_get_object(reply, "images", &images, err);
	if (r < 0)
		return r;
	if (cmd->json)
		print_json(images);
	else
		ctl_print_images(images, stdout);
	return 0;
}

static const struct verb {
	const char *name;
	bool json, needs_root;
	int (*run)(const struct command *cmd, struct err *err);
} verbs[] = {
	{"init", false, true, run_init},
	{"status", true, true, run_status},
	{"metrics", false, true, run_metrics},
	{"watch", true, true, run_watch},
	{"refresh", false, true, run_refresh},
	{"destroy", false, true, run_destroy},
	{"images", true, true, run_images},
	{"size", true, false, run_size},
};

#define VERB_NAMES "init, status, metrics, watch, refresh, destroy, images or size"

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

/* ---- options ---- */

static int print_failure(int status, const char *message)
{
	fprintf(stderr, "templatectl: %s\n", message);
	return status;
}

/* -1, or the exit status to end with at once. */
static int parse_options(
	int argc, char **argv, struct command *cmd, const char **ret_config)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			*ret_config = optarg;
			break;
		case 'j':
			cmd->json = true;
			break;
		case 'n':
			cmd->now = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("templatectl " STENCIL_VERSION);
			return 0;
		default:
			return print_failure(EXIT_USAGE, "see templatectl --help");
		}
	}
	return -1;
}

static int find_command(int argc, char **argv, struct command *cmd,
	const struct verb **ret, struct err *err)
{
	const struct verb *verb;
	int next;

	if (optind >= argc)
		return err_set(err, -EINVAL, "a verb is missing: " VERB_NAMES);
	verb = find_verb(argv[optind]);
	if (!verb)
		return err_set(err, -EINVAL, "unknown verb \"%s\": " VERB_NAMES,
			err_quote(argv[optind], 64));
	next = optind + 1;
	cmd->prune = next < argc && strcmp(verb->name, "images") == 0 &&
		     strcmp(argv[next], "prune") == 0;
	next += cmd->prune;
	if (next < argc)
		return err_set(err, -EINVAL, "unexpected argument \"%s\"",
			err_quote(argv[next], 64));
	if (cmd->json && (!verb->json || cmd->prune))
		return err_set(err, -EINVAL,
			"--json goes with status, images, watch and size only");
	if (cmd->now && strcmp(verb->name, "refresh") != 0)
		return err_set(err, -EINVAL, "--now goes with refresh only");
	*ret = verb;
	return 0;
}

static int run_verb(const struct verb *verb, struct command *cmd)
{
	struct err err = ERR_INIT;
	int r;

	if (verb->needs_root && geteuid() != 0)
		return print_failure(EXIT_NOT_ROOT, "only root may ask templated");
	r = verb->run(cmd, &err);
	if (r < 0)
		return print_failure(
			r == -ENOTCONN ? EXIT_NOT_RUNNING : EXIT_FAILED, err.text);
	return 0;
}

int main(int argc, char **argv)
{
	struct command cmd = {0};
	struct err err = ERR_INIT, refused = ERR_INIT;
	const struct verb *verb = NULL;
	const char *config = NULL;
	int r = parse_options(argc, argv, &cmd, &config);

	if (r >= 0)
		return r;
	if (find_command(argc, argv, &cmd, &verb, &err) < 0)
		return print_failure(EXIT_USAGE, err.text);
	config_init(&cmd.config);
	if (config_load_or_kept(&cmd.config, config, &refused, &err) < 0)
		r = print_failure(EXIT_USAGE, err.text);
	if (*refused.text)
		fprintf(stderr,
			"templatectl: the configuration is refused, the one in force stays: %s\n",
			refused.text);
	if (r < 0)
		r = run_verb(verb, &cmd);
	config_done(&cmd.config);
	return r;
}
