/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line an event, key=value, to a file descriptor. */
#pragma once

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/*
 * Whoever handles an error logs it once and says the consequence. A line is
 *   time="2026-01-02T03:04:05.678Z" level=warn prog=templated <context> msg="…" <fields>
 * and is written with a single write(2). Thread-safe once set up. Before log_init() lines
 * go to standard error. Setters are for start-up, before threads exist; but for the
 * level's, which may be called at any time.
 */

/* prog: static string. fd: not taken; must stay open as long as lines are written. */
void log_init(const char *prog, int fd, enum log_level level);
void log_set_level(enum log_level level);
/* "sandbox=abc namespace=default": put on every line from now on; copied, at most 255
 * bytes. */
void log_set_context(const char *context);

/* msg is a sentence without newline; fields are further key=value text ("" for none). */
void log_line(enum log_level level, const char *fields, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, "", __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, "", __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, "", __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, "", __VA_ARGS__)
