/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: see config.h.
 *
 * One row a key drives the parser, the range check, the dump and with it the
 * documentation: add a key by adding its member and its row.
 */
#include "base/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"

enum key_type {
	KEY_STRING, /* any text */
	KEY_PATH,   /* absolute, or empty where min is 0 */
	KEY_UINT,   /* decimal, min..max */
	KEY_SIZE,   /* bytes with K, M or G behind; "auto" is 0 */
	KEY_BOOL,   /* true or false */
	KEY_ENUM,   /* one of the names in `values` */
};

struct config_key {
	const char *section, *name;
	enum key_type type;
	size_t offset;
	const char *otherwise; /* the default, as it would be written */
	uint64_t min, max;
	const char
		*values; /* KEY_ENUM: names in the order of their numbers, '|' between */
	const char *help;
};

#define KEY(section, name, type, member, otherwise, min, max, values, help)              \
	{                                                                                \
		section, name, type, offsetof(struct config, member), otherwise, min,    \
			max, values, help                                                \
	}

static const struct config_key keys[] = {
	KEY("hypervisor", "path", KEY_PATH, qemu_path, "/usr/bin/qemu-system-x86_64", 1,
		0, NULL, "The QEMU to run (7.2 or later)."),
	KEY("hypervisor", "kernel", KEY_PATH, kernel, "/usr/lib/stencil/vmlinuz", 1, 0,
		NULL, "The guest's kernel, a bzImage."),
	KEY("hypervisor", "initrd", KEY_PATH, initrd, "/usr/lib/stencil/initrd.img", 1, 0,
		NULL, "The guest's initramfs, with the agent in it."),
	KEY("hypervisor", "kernel_params", KEY_STRING, kernel_params, "", 0, 0, NULL,
		"Put behind the guest kernel's command line; an initcall_blacklist= of it "
		"is in place of ours."),
	KEY("hypervisor", "accel", KEY_ENUM, accel, "auto", 0, 0, "auto|kvm|tcg",
		"auto uses KVM where it proves to run guest code, else TCG."),
	KEY("hypervisor", "default_vcpus", KEY_UINT, default_vcpus, "1", 1, 240, NULL,
		"vCPUs a VM is booted with; a pod's CPU limit adds to them."),
	KEY("hypervisor", "default_maxvcpus", KEY_UINT, default_maxvcpus, "0", 0, 240,
		NULL, "Most vCPUs of a VM; 0 is the number of the host's CPUs."),
	KEY("hypervisor", "default_memory", KEY_UINT, default_memory, "256", 96, 1 << 20,
		NULL, "MiB a VM is booted with; a pod's memory limit is added."),
	KEY("hypervisor", "default_maxmemory", KEY_UINT, default_maxmemory, "0", 0,
		1 << 24, NULL, "Most MiB of a VM; 0 is the host's memory."),
	KEY("hypervisor", "uid_base", KEY_UINT, uid_base, "1879048192", 1000, 4294900000,
		NULL, "First uid of the range that QEMU processes run as."),
	KEY("hypervisor", "uid_count", KEY_UINT, uid_count, "4096", 1, 65536, NULL,
		"Number of uids in that range: one for each VM at a time."),
	KEY("factory", "enable_template", KEY_BOOL, enable_template, "true", 0, 0, NULL,
		"Clone VMs from a template instead of booting them."),
	KEY("factory", "template_path", KEY_PATH, template_path, "/run/stencil/template",
		1, 0, NULL, "Where the template's tmpfs is mounted."),
	KEY("factory", "template_endpoint", KEY_PATH, template_endpoint,
		"/run/stencil/templated.sock", 1, 0, NULL,
		"The socket at which templated grants templates."),
	KEY("factory", "tmpfs_size", KEY_SIZE, tmpfs_size, "auto", 0, UINT64_MAX, NULL,
		"Size of that tmpfs in bytes (K, M, G); auto calculates it."),
	KEY("factory", "vm_cache_number", KEY_UINT, vm_cache_number, "0", 0, 256, NULL,
		"VMs that templated keeps ready to be handed over."),
	KEY("factory", "vm_cache_cpu_percent", KEY_UINT, vm_cache_cpu_percent, "50", 0,
		100000, NULL, "Percent of one CPU for preparing those; 0 is no limit."),
	KEY("factory", "strict", KEY_BOOL, strict, "false", 0, 0, NULL,
		"Fail instead of a cold boot where no template can be used."),
	KEY("runtime", "state_dir", KEY_PATH, state_dir, "/run/stencil/sandboxes", 1, 0,
		NULL, "Holds one folder for each sandbox."),
	KEY("runtime", "log_level", KEY_ENUM, log_level, "info", 0, 0,
		"error|warn|info|debug", "The least important lines to log."),
	KEY("runtime", "boot_timeout_ms", KEY_UINT, boot_timeout_ms, "60000", 100,
		3600000, NULL, "How long a guest may take to its first answer."),
	KEY("runtime", "call_timeout_ms", KEY_UINT, call_timeout_ms, "30000", 100,
		3600000, NULL, "How long one request to QEMU or to the agent may take."),
	KEY("runtime", "trace", KEY_PATH, trace_file, "", 0, 0, NULL,
		"File that gets each start's phases as a line of JSON."),
};

static void *member(struct config *c, const struct config_key *key)
{
	return (char *)c + key->offset;
}

static int parse_uint(const char *value, uint64_t *ret, const char **ret_end)
{
	unsigned long long n;
	char *end;

	if (*value < '0' || *value > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(value, &end, 10);
	if (errno)
		return -ERANGE;
	*ret = n;
	*ret_end = end;
	return 0;
}

static int parse_size(const char *value, uint64_t *ret)
{
	static const char units[] = "KMG";
	const char *end, *unit;
	uint64_t n;
	int r;

	if (strcmp(value, "auto") == 0) {
		*ret = 0;
		return 0;
	}
	r = parse_uint(value, &n, &end);
	if (r < 0)
		return r;
	if (*end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			return -EINVAL;
		if (__builtin_mul_overflow(
			    n, (uint64_t)1 << (10 * (unit - units + 1)), &n))
			return -ERANGE;
	}
	*ret = n;
	return 0;
}

/* The number of `value` in "a|b|c", or -EINVAL. */
static int parse_enum(const char *values, const char *value)
{
	size_t len = strlen(value);

	for (int i = 0; values; i++) {
		const char *bar = strchrnul(values, '|');

		if ((size_t)(bar - values) == len && memcmp(values, value, len) == 0)
			return i;
		values = *bar ? bar + 1 : NULL;
	}
	return -EINVAL;
}

static int set_string(struct config *c, const struct config_key *key, const char *value,
	const char *where, struct err *err)
{
	char **p = member(c, key);

	if (key->type == KEY_PATH && *value != '/' && (*value || key->min > 0))
		return err_set(err, -EINVAL, "%s: %s = %s: an absolute path is wanted",
			where, key->name, err_quote(value, 128));
	free(*p);
	*p = xstrdup(value);
	return 0;
}

static int set_number(struct config *c, const struct config_key *key, const char *value,
	const char *where, struct err *err)
{
	const char *end = "";
	uint64_t n;
	int r;

	r = key->type == KEY_SIZE ? parse_size(value, &n) : parse_uint(value, &n, &end);
	if (r == 0 && *end)
		r = -EINVAL;
	if (r == 0 && (n < key->min || n > key->max))
		r = -ERANGE;
	if (r == -EINVAL)
		return err_set(err, r, "%s: %s = %s: %s is wanted", where, key->name,
			err_quote(value, 128),
			key->type == KEY_SIZE ? "auto or a number with K, M or G behind"
					      : "a whole number");
	if (r < 0)
		return err_set(err, r,
			"%s: %s = %s: out of range, %" PRIu64 " to %" PRIu64
			" is allowed",
			where, key->name, err_quote(value, 128), key->min, key->max);
	*(uint64_t *)member(c, key) = n;
	return 0;
}

static int set_value(struct config *c, const struct config_key *key, const char *value,
	const char *where, struct err *err)
{
	int n;

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
		return set_string(c, key, value, where, err);
	case KEY_UINT:
	case KEY_SIZE:
		return set_number(c, key, value, where, err);
	case KEY_BOOL:
		n = parse_enum("false|true", value);
		if (n < 0)
			return err_set(err, n, "%s: %s = %s: true or false is wanted",
				where, key->name, err_quote(value, 128));
		*(bool *)member(c, key) = n;
		return 0;
	case KEY_ENUM:
		n = parse_enum(key->values, value);
		if (n < 0)
			return err_set(err, n, "%s: %s = %s: one of %s is wanted", where,
				key->name, err_quote(value, 128), key->values);
		*(int *)member(c, key) = n;
		return 0;
	}
	abort();
}

void config_init(struct config *c)
{
	*c = (struct config){.loaded_from = xstrdup("")};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (set_value(c, &keys[i], keys[i].otherwise, "default", NULL) < 0)
			abort();
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].type == KEY_STRING || keys[i].type == KEY_PATH)
			free(*(char **)member(c, &keys[i]));
	free(c->loaded_from);
	*c = (struct config){0};
}

int config_set(struct config *c, const char *section, const char *name, const char *value,
	const char *where, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].section, section) == 0 &&
			strcmp(keys[i].name, name) == 0)
			return set_value(c, &keys[i], value, where, err);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].name, name) == 0)
			return err_set(err, -EINVAL,
				"%s: the key %s belongs to [%s], not to [%s]", where,
				name, keys[i].section, err_quote(section, 64));
	return err_set(err, -EINVAL, "%s: unknown key %s in [%s]; see stencil.conf(5)",
		where, err_quote(name, 64), err_quote(section, 64));
}

/*
 * Debian's libinih does not tell line numbers to its handler, but it asks its reader for
 * one line at a time: count there.
 */
struct load {
	struct config *c;
	const char *path, *rest;
	struct err *err;
	int line, result;
};

static char *load_line(char *line, int size, void *user)
{
	struct load *load = user;
	size_t len = strcspn(load->rest, "\n");

	len += load->rest[len] == '\n';
	if (len == 0 || load->result < 0)
		return NULL;
	load->line++;
	if (len >= (size_t)size) {
		load->result = err_set(load->err, -EFBIG, "%s:%d: longer than %d bytes",
			load->path, load->line, size - 1);
		return NULL;
	}
	memcpy(line, load->rest, len);
	line[len] = '\0';
	load->rest += len;
	return line;
}

static int load_entry(
	void *user, const char *section, const char *name, const char *value)
{
	struct load *load = user;
	_cleanup_free_ char *where = xasprintf("%s:%d", load->path, load->line);

	if (load->result == 0)
		load->result =
			config_set(load->c, section, name, value, where, load->err);
	return load->result == 0;
}

static int load_file(struct config *c, const char *path, struct err *err)
{
	struct load load = {.c = c, .path = path, .err = err};
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, path, MiB, &text, &len, err);
	if (r < 0)
		return err_wrap(err, "configuration");
	if (strlen(text) != len)
		return err_set(err, -EBADMSG, "%s: not a text file", path);
	load.rest = text;
	r = ini_parse_stream(load_line, &load, load_entry, &load);
	if (load.result < 0)
		return load.result;
	if (r > 0)
		return err_set(err, -EBADMSG,
			"%s:%d: neither a [section] nor key = value", path, r);
	return r < 0 ? err_set(err, -ENOMEM, "%s: out of memory", path) : 0;
}

static int is_drop_in(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && entry->d_name[0] != '.' &&
	       strcmp(entry->d_name + len - 5, ".conf") == 0;
}

int config_load(struct config *c, const char *path, struct err *err)
{
	_cleanup_free_ char *folder = xasprintf("%s.d", path);
	struct dirent **entries = NULL;
	int n, r;

	r = load_file(c, path, err);
	n = scandir(folder, &entries, is_drop_in, alphasort);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file =
			xasprintf("%s/%s", folder, entries[i]->d_name);

		if (r == 0)
			r = load_file(c, file, err);
		free(entries[i]);
	}
	free(entries);
	if (r < 0)
		return r;
	free(c->loaded_from);
	c->loaded_from = xstrdup(path);
	return 0;
}

static const char default_path[] = CONFIG_PATH_DEFAULT;

const char *config_default_path(const char *path)
{
	if (!path)
		path = secure_getenv(CONFIG_PATH_ENV);
	return path && *path ? path : default_path;
}

int config_load_default(struct config *c, const char *path, struct err *err)
{
	const char *file = config_default_path(path);

	/* The default one by itself may be missing, one that was named may not. */
	if (file == default_path && access(file, F_OK) < 0 && errno == ENOENT)
		return 0;
	return config_load(c, file, err);
}

static void dump_value(struct config *c, const struct config_key *key, FILE *out)
{
	const char *name = key->values;

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
		fprintf(out, "%s", *(char **)member(c, key));
		return;
	case KEY_UINT:
	case KEY_SIZE:
		if (key->type == KEY_SIZE && *(uint64_t *)member(c, key) == 0)
			fprintf(out, "auto");
		else
			fprintf(out, "%" PRIu64, *(uint64_t *)member(c, key));
		return;
	case KEY_BOOL:
		fprintf(out, "%s", *(bool *)member(c, key) ? "true" : "false");
		return;
	case KEY_ENUM:
		for (int i = *(int *)member(c, key); i > 0; i--)
			name = strchr(name, '|') + 1;
		fprintf(out, "%.*s", (int)strcspn(name, "|"), name);
		return;
	}
}

void config_dump(const struct config *c, FILE *out)
{
	const char *section = "";

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(section, keys[i].section) != 0) {
			section = keys[i].section;
			fprintf(out, "%s[%s]\n", i ? "\n" : "", section);
		}
		fprintf(out, "# %s\n%s = ", keys[i].help, keys[i].name);
		dump_value((struct config *)(uintptr_t)c, &keys[i], out);
		fputc('\n', out);
	}
}

static char *text_of(const struct config *c, const struct config_key *key)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	dump_value((struct config *)(uintptr_t)c, key, out);
	fclose(out);
	return text;
}

char *config_text(const struct config *c, const char *section, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].section, section) == 0 &&
			strcmp(keys[i].name, name) == 0)
			return text_of(c, &keys[i]);
	abort();
}

void config_compare(const struct config *a, const struct config *b,
	void (*differs)(void *user, const char *section, const char *key), void *user)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_free_ char *x = text_of(a, &keys[i]), *y = text_of(b, &keys[i]);

		if (strcmp(x, y) != 0)
			differs(user, keys[i].section, keys[i].name);
	}
}

unsigned int config_max_vcpus(const struct config *c)
{
	uint64_t n = c->default_maxvcpus ? c->default_maxvcpus : (uint64_t)get_nprocs();

	return (unsigned int)MAX(n, c->default_vcpus);
}

uint64_t config_max_memory_bytes(const struct config *c)
{
	struct sysinfo info;
	uint64_t bytes = c->default_maxmemory * MiB;

	if (bytes == 0 && sysinfo(&info) == 0)
		bytes = (uint64_t)info.totalram * info.mem_unit;
	/* Hot-plugged memory comes in blocks of 128 MiB (x86-64's smallest memory
	 * section). */
	return align_up(MAX(bytes, c->default_memory * MiB), 128 * MiB);
}
