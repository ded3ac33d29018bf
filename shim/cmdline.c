/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: see cmdline.h. */
#include "shim/cmdline.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"

/* The offset of the member that a flag sets; a flag is a string or a boolean. */
struct flag {
	const char *name, *value_name, *help;
	size_t string, boolean;
};

struct flags {
	struct cmdline c;
	bool version, info, help;
};

#define NOT_THERE SIZE_MAX

static const struct flag flags[] = {
	{"namespace", "NAME", "containerd namespace of the task",
		offsetof(struct flags, c.namespace), NOT_THERE},
	{"address", "PATH", "containerd's socket", offsetof(struct flags, c.address),
		NOT_THERE},
	{"publish-binary", "PATH", "program that publishes events without TTRPC_ADDRESS",
		offsetof(struct flags, c.publish_binary), NOT_THERE},
	{"id", "ID", "the task", offsetof(struct flags, c.id), NOT_THERE},
	{"bundle", "PATH", "the task's bundle, if it is not the working directory",
		offsetof(struct flags, c.bundle), NOT_THERE},
	{"debug", NULL, "log more", NOT_THERE, offsetof(struct flags, c.debug)},
	{"v", NULL, "print the version and exit", NOT_THERE,
		offsetof(struct flags, version)},
	{"info", NULL, "describe the runtime, packed, to standard output and exit",
		NOT_THERE, offsetof(struct flags, info)},
	{"help", NULL, "print this and exit", NOT_THERE, offsetof(struct flags, help)},
};

static const struct flag *find_flag(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
			return &flags[i];
	return NULL;
}

static int set_boolean(bool *ret, const char *word, const char *value, struct err *err)
{
	if (!value || strcmp(value, "true") == 0 || strcmp(value, "1") == 0) {
		*ret = true;
		return 0;
	}
	if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0) {
		*ret = false;
		return 0;
	}
	return err_set(err, -EINVAL, "%s: neither true nor false", err_quote(word, 64));
}

/* Parses the flag at argv[*i] and leaves *i at its last word. */
static int parse_flag(struct flags *f, int argc, char **argv, int *i, struct err *err)
{
	const char *word = argv[*i], *name = word + (word[1] == '-' ? 2 : 1);
	size_t len = strcspn(name, "=");
	const char *value = name[len] == '=' ? name + len + 1 : NULL;
	const struct flag *flag = find_flag(name, len);

	if (!flag)
		return err_set(err, -EINVAL, "unknown flag %s", err_quote(word, 64));
	if (flag->boolean != NOT_THERE)
		return set_boolean((bool *)((char *)f + flag->boolean), word, value, err);
	if (!value) {
		if (*i + 1 >= argc)
			return err_set(
				err, -EINVAL, "flag -%s needs a value", flag->name);
		value = argv[++*i];
	}
	*(const char **)((char *)f + flag->string) = value;
	return 0;
}

static int parse_verb(struct cmdline *c, int argc, char **argv, int i, struct err *err)
{
	if (i == argc) {
		c->verb = CMDLINE_SERVE;
		return 0;
	}
	if (i + 1 < argc)
		return err_set(
			err, -EINVAL, "unexpected word %s", err_quote(argv[i + 1], 64));
	if (strcmp(argv[i], "start") == 0)
		c->verb = CMDLINE_START;
	else if (strcmp(argv[i], "delete") == 0)
		c->verb = CMDLINE_DELETE;
	else
		return err_set(err, -EINVAL, "unknown verb %s", err_quote(argv[i], 64));
	return 0;
}

int cmdline_parse(struct cmdline *ret, int argc, char **argv, struct err *err)
{
	struct flags f = {.c = {CMDLINE_SERVE, "", "", "", "", "", false}};
	int i, r;

	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		r = parse_flag(&f, argc, argv, &i, err);
		if (r < 0)
			return r;
	}
	if (f.help || f.version || f.info) {
		f.c.verb = f.help      ? CMDLINE_HELP
			   : f.version ? CMDLINE_VERSION
				       : CMDLINE_INFO;
		*ret = f.c;
		return 0;
	}
	r = parse_verb(&f.c, argc, argv, i, err);
	if (r == 0)
		r = name_check("-namespace", f.c.namespace, err);
	if (r == 0)
		r = name_check("-id", f.c.id, err);
	if (r == 0)
		*ret = f.c;
	return r;
}

void cmdline_usage(FILE *out)
{
	fputs("Usage: containerd-shim-stencil-v2 -namespace NAME -id ID [FLAG…] "
	      "[start|delete]\n"
	      "containerd runs this program; without a verb it serves the task on "
	      "descriptor 3.\n",
		out);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		fprintf(out, "  -%s%s%s\t%s\n", flags[i].name,
			flags[i].value_name ? " " : "",
			flags[i].value_name ? flags[i].value_name : "", flags[i].help);
}

int name_check(const char *what, const char *name, struct err *err)
{
	size_t len = strlen(name);

	if (len == 0)
		return err_set(err, -EINVAL, "%s is empty", what);
	if (len > NAME_LENGTH_MAX)
		return err_set(err, -EINVAL, "%s %s is longer than %d bytes", what,
			err_quote(name, 16), NAME_LENGTH_MAX);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x80 && isalnum(c))
			continue;
		if (i == 0 || i + 1 == len || !strchr("._-", c))
			return err_set(err, -EINVAL,
				"%s %s has a character that names don't have", what,
				err_quote(name, NAME_LENGTH_MAX));
	}
	return 0;
}
