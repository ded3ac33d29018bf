/* SPDX-License-Identifier: Apache-2.0 */
/* The phase trace: see trace.h. */
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/util.h"

static const char *const phase_names[TRACE_PHASES] = {
	[TRACE_GRANT] = "grant",
	[TRACE_SPAWN] = "spawn",
	[TRACE_QMP] = "qmp",
	[TRACE_RESTORED] = "restored",
	[TRACE_RESUMED] = "resumed",
	[TRACE_AGENT] = "agent",
	[TRACE_IDENTITY] = "identity",
	[TRACE_CPU] = "cpu",
	[TRACE_MEMORY] = "memory",
	[TRACE_NETWORK] = "network",
	[TRACE_IMAGE] = "image",
	[TRACE_ROOTFS] = "rootfs",
	[TRACE_CREATED] = "created",
	[TRACE_STARTED] = "started",
};

void trace_init(struct trace *t)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	t->start_us = now_us();
}

void trace_done(struct trace *t)
{
	pthread_mutex_destroy(&t->lock);
}

void trace_begin(struct trace *t, enum trace_phase phase)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	if (t->phases[phase].begin_us == 0)
		t->phases[phase].begin_us = now_us();
	pthread_mutex_unlock(&t->lock);
}

void trace_end(struct trace *t, enum trace_phase phase)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	if (t->phases[phase].begin_us != 0 && t->phases[phase].end_us == 0)
		t->phases[phase].end_us = now_us();
	pthread_mutex_unlock(&t->lock);
}

static double span_ms(uint64_t from_us, uint64_t to_us)
{
	return (double)(to_us - from_us) / 1000.0;
}

static void append_json(const char *file, struct json_object *line)
{
	_cleanup_free_ char *text = xasprintf(
		"%s\n", json_object_to_json_string_ext(line, JSON_C_TO_STRING_PLAIN));
	_cleanup_close_ int fd =
		open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	/* One write(2), so that lines of several shims don't mix. */
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		log_warn(
			"cannot append the phase trace to %s: %s", file, strerror(errno));
}

static void set_ms(struct json_object *obj, const char *key, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", value);
	json_object_object_add(obj, key, json_object_new_double_s(value, text));
}

void trace_report(struct trace *t, const char *sandbox, const char *factory,
	const char *reason, const char *file)
{
	_cleanup_json_ struct json_object *line = json_object_new_object();
	struct json_object *phases = json_object_new_object();
	uint64_t last_us = t->start_us;
	char text[1024];
	size_t len = 0;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < TRACE_PHASES; i++) {
		uint64_t begin = t->phases[i].begin_us, end = t->phases[i].end_us;
		struct json_object *phase;

		if (begin == 0 || end == 0)
			continue;
		last_us = MAX(last_us, end);
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %s=%.1f",
			phase_names[i], span_ms(begin, end));
		phase = json_object_new_object();
		set_ms(phase, "at_ms", span_ms(t->start_us, begin));
		set_ms(phase, "ms", span_ms(begin, end));
		json_object_object_add(phases, phase_names[i], phase);
	}
	pthread_mutex_unlock(&t->lock);
	snprintf(text + len, sizeof(text) - len, " total=%.1f",
		span_ms(t->start_us, last_us));
	log_line(LOG_LEVEL_INFO, text + 1, "sandbox started by the %s factory%s%s",
		factory, reason ? ", because " : "", reason ? reason : "");
	if (!file || !*file) {
		json_object_put(phases);
		return;
	}
	json_set_string(line, "sandbox", sandbox);
	json_set_string(line, "factory", factory);
	if (reason)
		json_set_string(line, "reason", reason);
	set_ms(line, "total_ms", span_ms(t->start_us, last_us));
	json_object_object_add(line, "phases", phases);
	append_json(file, line);
}
