/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl watch: see ctl.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/util.h"
#include "templated/ctl.h"

/* "12:34:56.789  grant               sandbox=a generation=…" */
static void print_line(struct json_object *event, FILE *out)
{
	const char *name = "";
	char clock[16] = "";
	int64_t ms = 0;
	time_t seconds;
	struct tm tm;

	json_get_string(event, "event", &name, NULL);
	json_get_i64(event, "time", &ms, NULL);
	seconds = (time_t)(ms / 1000);
	if (localtime_r(&seconds, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	fprintf(out, "%s.%03d  %-18s", clock, (int)(ms % 1000), name);
	json_object_object_foreach (event, key, value) {
		const char *text = json_object_get_string(value);

		if (strcmp(key, "version") == 0 || strcmp(key, "time") == 0 ||
			strcmp(key, "event") == 0 || !*text)
			continue;
		fprintf(out, strchr(text, ' ') ? "  %s=\"%s\"" : "  %s=%s", key,
			err_quote(text, 400));
	}
	fputc('\n', out);
}

static void print_event(struct json_object *event, bool json, FILE *out)
{
	if (!json) {
		print_line(event, out);
	} else {
		json_object_object_del(event, "version");
		fprintf(out, "%s\n",
			json_object_to_json_string_ext(event,
				JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	fflush(out);
}

/* 1: goes on; 0: templated has ended. */
static int take_message(int fd, bool json, FILE *out, struct err *err)
{
	_cleanup_json_ struct json_object *message = NULL;
	const char *event, *text;
	int fds[2], r;

	r = lease_receive(fd, &message, fds, now_ms(), err);
	if (r == -ECONNRESET)
		return err_set(err, r,
			"templated gives no more events: they were not read fast "
			"enough, or it was killed");
	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++)
		close_fd(fds[i]);
	if (json_get_string(message, "error", &text, NULL) == 0)
		return err_set(err, -EREMOTEIO, "%s", text);
	if (json_get_string(message, "event", &event, NULL) < 0)
		return 1; /* "watching" */
	print_event(message, json, out);
	return strcmp(event, "end") != 0;
}

static int ctl_follow_events(int fd, int signal_fd, bool json, FILE *out, struct err *err)
{
	struct pollfd fds[2] = {
		{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};

	for (;;) {
		int r;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return err_sys(err, errno, "poll");
		if (fds[1].revents)
			return 0;
		r = fds[0].revents ? take_message(fd, json, out, err) : 1;
		if (r <= 0)
			return r;
	}
}

int ctl_watch(const struct config *c, bool json, FILE *out, struct err *err)
{
	_cleanup_close_ int fd = -1, signal_fd = -1;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (signal_fd < 0)
		return err_sys(err, errno, "signalfd");
	r = ctl_open(c, LEASE_VERB_WATCH, &fd, err);
	return r < 0 ? r : ctl_follow_events(fd, signal_fd, json, out, err);
}
