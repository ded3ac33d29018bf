/* SPDX-License-Identifier: Apache-2.0 */
/* A strict reader of Prometheus' text exposition format: see prometheus.h. */
#include "tests/lib/prometheus.h"

#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define DIGITS  "0123456789"

struct reader {
	const char *line;
	size_t number;
	char metric[128], type[16];
	char seen[16384]; /* "\nname" of each metric, "\nseries" of each sample */
};

static void refuse(const struct reader *r, const char *why)
{
	fail_msg("line %zu, \"%s\": %s", r->number, r->line, why);
}

/* Appends "\n<text>\n" to what was seen; it must be new. */
static void remember(struct reader *r, const char *text, size_t len)
{
	_cleanup_free_ char *key = xasprintf("\n%.*s\n", (int)len, text);

	if (strstr(r->seen, key))
		refuse(r, "twice");
	if (strlen(r->seen) + strlen(key) >= sizeof(r->seen))
		refuse(r, "the test has no room for more");
	memcpy(r->seen + strlen(r->seen), key, strlen(key) + 1);
}

static size_t name_length(const struct reader *r, const char *text, const char *more)
{
	_cleanup_free_ char *allowed = xasprintf(LETTERS DIGITS "%s", more);
	size_t len = strspn(text, allowed);

	if (len == 0 || strchr(DIGITS, *text))
		refuse(r, "a name is wanted");
	return len;
}

static void read_help(struct reader *r)
{
	const char *name = r->line + strlen("# HELP ");
	size_t len = name_length(r, name, ":");

	if (name[len] != ' ' || !name[len + 1] || strchr(name, '\\'))
		refuse(r, "a help text is wanted");
	if (len >= sizeof(r->metric) || strncmp(name, "stencil_", 8) != 0)
		refuse(r, "not a name of ours");
	remember(r, name, len);
	snprintf(r->metric, sizeof(r->metric), "%.*s", (int)len, name);
	*r->type = '\0';
}

static void read_type(struct reader *r)
{
	const char *rest = r->line + strlen("# TYPE ");
	size_t len = strlen(r->metric);
	bool total = len > 6 && strcmp(r->metric + len - 6, "_total") == 0;

	if (*r->type || len == 0 || strncmp(rest, r->metric, len) != 0 ||
		rest[len] != ' ')
		refuse(r, "TYPE follows HELP of the same metric");
	snprintf(r->type, sizeof(r->type), "%s", rest + len + 1);
	if (strcmp(r->type, "counter") != 0 && strcmp(r->type, "gauge") != 0)
		refuse(r, "a type is wanted");
	if (total != (strcmp(r->type, "counter") == 0))
		refuse(r, "counters end with _total");
	if (strstr(r->metric, "_ms") || strstr(r->metric, "_mib") ||
		strstr(r->metric, "_kib"))
		refuse(r, "base units are wanted");
}

/* From the { to behind the }. */
static const char *read_labels(struct reader *r, const char *p)
{
	do {
		size_t len = name_length(r, ++p, "");

		p += len;
		if (*p++ != '=' || *p++ != '"')
			refuse(r, "=\" is wanted behind a label");
		for (; *p && *p != '"'; p++)
			if (*p == '\\' && !strchr("\\\"n", *++p))
				refuse(r, "an unknown escape");
		if (*p++ != '"')
			refuse(r, "a label's value has no end");
	} while (*p == ',');
	if (*p != '}')
		refuse(r, "} is wanted");
	return p + 1;
}

static void read_sample(struct reader *r)
{
	const char *p = r->line + name_length(r, r->line, ":");
	double value;
	char *end;

	if ((size_t)(p - r->line) != strlen(r->metric) ||
		strncmp(r->line, r->metric, strlen(r->metric)) != 0 || !*r->type)
		refuse(r, "a sample of another metric than HELP and TYPE say");
	if (*p == '{')
		p = read_labels(r, p);
	/* Told apart from the metric's name by the space. */
	remember(r, r->line, (size_t)(p - r->line) + 1);
	if (*p != ' ' || !strchr(DIGITS, p[1]))
		refuse(r, "a number is wanted");
	value = strtod(p + 1, &end);
	if (*end || value < 0)
		refuse(r, "a number is wanted");
}

void assert_prometheus(const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct reader *r = xnew0(struct reader);
	char *rest = copy, *line;

	if (!*text || text[strlen(text) - 1] != '\n')
		fail_msg("the text does not end with a newline");
	copy[strlen(copy) - 1] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		r->line = line;
		r->number++;
		if (strncmp(line, "# HELP ", 7) == 0)
			read_help(r);
		else if (strncmp(line, "# TYPE ", 7) == 0)
			read_type(r);
		else
			read_sample(r);
	}
	free(r);
}

double prometheus_value(const char *text, const char *series)
{
	_cleanup_free_ char *key = xasprintf("\n%s ", series);
	const char *at = strstr(text, key);

	if (!at)
		fail_msg("%s is not in \"%s\"", series, text);
	return strtod(at + strlen(key), NULL);
}
