/* SPDX-License-Identifier: Apache-2.0 */
/* The log: see log.h. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

static struct {
	const char *prog;
	int fd;
	enum log_level level;
	char context[256];
} log_state = {.prog = "stencil", .fd = STDERR_FILENO, .level = LOG_LEVEL_INFO};

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void log_init(const char *prog, int fd, enum log_level level)
{
	log_state.prog = prog;
	log_state.fd = fd;
	log_state.level = level;
}

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_state.level, level, __ATOMIC_RELAXED);
}

void log_set_context(const char *context)
{
	snprintf(log_state.context, sizeof(log_state.context), "%s", context);
}

/* Appends msg with ", \ and control characters escaped, so that a line stays one line. */
static size_t append_quoted(char *line, size_t len, size_t size, const char *msg)
{
	for (; *msg && len + 4 < size; msg++) {
		unsigned char c = (unsigned char)*msg;

		if (c == '"' || c == '\\')
			line[len++] = '\\';
		if (c == '\n') {
			line[len++] = '\\';
			line[len++] = 'n';
		} else {
			line[len++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
		}
	}
	return len;
}

void log_line(enum log_level level, const char *fields, const char *fmt, ...)
{
	char msg[2048], line[4096];
	struct timespec now;
	struct tm tm;
	va_list ap;
	size_t len, n;

	if (level > __atomic_load_n(&log_state.level, __ATOMIC_RELAXED))
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(line, sizeof(line), "time=\"%FT%T", &tm);
	len += (size_t)snprintf(line + len, sizeof(line) - len,
		".%03ldZ\" level=%s prog=%s%s%s msg=\"", now.tv_nsec / 1000000,
		level_names[level], log_state.prog, *log_state.context ? " " : "",
		log_state.context);
	len = append_quoted(line, len, sizeof(line) - 512, msg);
	/* What does not fit is cut; the NUL's place is the newline's. */
	n = (size_t)snprintf(
		line + len, sizeof(line) - len, "\"%s%s", *fields ? " " : "", fields);
	len = MIN(len + n, sizeof(line) - 1);
	line[len++] = '\n';
	/* Nobody is left to tell if the log itself can't be written. */
	if (write(log_state.fd, line, len) < 0)
		return;
}
