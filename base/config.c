/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: see config.h.
 *
 * One row a key drives the parser, the range check, the dump, the manual page and the
 * tests: add a key by adding its member and its row.
 */
#include "base/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/log.h"
#include "base/util.h"

enum key_type {
	KEY_STRING, /* any text */
	KEY_PATH,   /* absolute, or empty where min is 0 */
	KEY_CGROUP, /* relative, see config_cgroup_valid() */
	KEY_NAMES,  /* any of the names in `values`, see config_names_have() */
	KEY_UINT,   /* decimal, min..max */
	KEY_SIZE,   /* bytes with K, M or G behind; "auto", where min is 0, is 0 */
	KEY_BOOL,   /* true or false */
	KEY_ENUM,   /* one of the names in `values` */
};

struct config_key {
	const char *section, *name;
	enum key_type type;
	size_t offset;
	const char *otherwise; /* the default, as it would be written */
	uint64_t min, max;
	/* Names, '|' between; of KEY_ENUM in the order of their numbers. */
	const char *values;
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
		NULL,
		"The guest's kernel: a bzImage, or an ELF vmlinux with a PVH entry."),
	KEY("hypervisor", "initrd", KEY_PATH, initrd, "/usr/lib/stencil/initrd.img", 1, 0,
		NULL, "The guest's initramfs, with the agent in it."),
	KEY("hypervisor", "kernel_params", KEY_STRING, kernel_params, "", 0, 0, NULL,
		"Put behind the guest kernel's command line; an initcall_blacklist= or a "
		"module.sig_enforce= of it is in place of ours."),
	KEY("hypervisor", "accel", KEY_ENUM, accel, "auto", 0, 0, "auto|kvm|tcg",
		"auto uses KVM where it proves to run guest code, else TCG."),
	KEY("hypervisor", "default_vcpus", KEY_UINT, default_vcpus, "1", 1, 240, NULL,
		"vCPUs a VM starts with, and the least it has; a CPU limit above raises them."),
	KEY("hypervisor", "default_maxvcpus", KEY_UINT, default_maxvcpus, "0", 0, 240,
		NULL, "Most vCPUs of a VM; 0 is the number of the host's CPUs."),
	KEY("hypervisor", "default_memory", KEY_UINT, default_memory, "256", 128, 1 << 20,
		NULL,
		"MiB a VM starts with, and the template's size; memory limits come on top."),
	KEY("hypervisor", "default_maxmemory", KEY_UINT, default_maxmemory, "0", 0,
		1 << 24, NULL,
		"Most MiB that memory limits may add to that, at most the host's memory; 0 is "
		"all of it."),
	KEY("hypervisor", "memory_growth", KEY_UINT, memory_growth, "2048", 0, 1 << 24,
		NULL,
		"MiB that a pod may get beyond its limits when containers without one need "
		"them; 0 is none."),
	KEY("hypervisor", "memory_overhead", KEY_UINT, memory_overhead, "192", 0, 1 << 20,
		NULL,
		"MiB that a VM's cgroup may have beyond its guest's memory, for QEMU, the file "
		"server and the host's kernel; 0 is no limit."),
	KEY("hypervisor", "pids_max", KEY_UINT, pids_max, "2048", 0, 4194304, NULL,
		"Processes and threads that a VM's cgroup may have; 0 is no limit."),
	KEY("hypervisor", "uid_base", KEY_UINT, uid_base, "1879048192", 1000, 4294800000,
		NULL,
		"First uid of the range that QEMU processes and file servers run as."),
	KEY("hypervisor", "uid_count", KEY_UINT, uid_count, "4096", 1, 65536, NULL,
		"How many VMs at a time: each has two uids of that range, one for QEMU, and a "
		"second one for its file server."),
	KEY("hypervisor", "enable_annotations", KEY_NAMES, enable_annotations, "", 0, 0,
		"hypervisor.default_vcpus|hypervisor.default_maxvcpus|"
		"hypervisor.default_memory|hypervisor.default_maxmemory|"
		"factory.enable_template|factory.strict",
		"What pods may set by annotations io.stencil.<name>: names of this list, "
		"blanks between; empty is nothing."),
	KEY("factory", "enable_template", KEY_BOOL, enable_template, "true", 0, 0, NULL,
		"Clone VMs from a template instead of booting them."),
	KEY("factory", "template_path", KEY_PATH, template_path, "/run/stencil/template",
		1, 0, NULL, "Where the template's tmpfs is mounted."),
	KEY("factory", "template_endpoint", KEY_PATH, template_endpoint,
		"/run/stencil/templated.sock", 1, 0, NULL,
		"The socket at which templated grants templates."),
	KEY("factory", "metrics_endpoint", KEY_PATH, metrics_endpoint, "", 0, 0, NULL,
		"A socket at which templated answers GET /metrics; empty for none."),
	KEY("factory", "tmpfs_size", KEY_SIZE, tmpfs_size, "auto", 0, UINT64_MAX, NULL,
		"Size of that tmpfs in bytes (K, M, G); auto calculates it."),
	KEY("factory", "vm_cache_number", KEY_UINT, vm_cache_number, "0", 0, 256, NULL,
		"VMs that templated keeps ready to be handed over."),
	KEY("factory", "vm_cache_cpu_percent", KEY_UINT, vm_cache_cpu_percent, "50", 0,
		100000, NULL, "Percent of one CPU for preparing those; 0 is no limit."),
	KEY("factory", "strict", KEY_BOOL, strict, "false", 0, 0, NULL,
		"Fail instead of a cold boot where no template can be used."),
	KEY("images", "enable", KEY_BOOL, images_enable, "false", 0, 0, NULL,
		"Make and use images of the layers that containers' root file systems have."),
	KEY("images", "path", KEY_PATH, images_path, "/var/lib/stencil/images", 1, 0,
		NULL, "Where templated keeps them."),
	KEY("images", "max_bytes", KEY_SIZE, images_max_bytes, "10G", 1, UINT64_MAX, NULL,
		"Most bytes of all images (K, M, G); those not used for longest go first."),
	KEY("images", "cpu_percent", KEY_UINT, images_cpu_percent, "50", 0, 100000, NULL,
		"Percent of one CPU for making one; 0 is no limit."),
	KEY("images", "min_bytes", KEY_SIZE, images_min_bytes, "16M", 0, UINT64_MAX, NULL,
		"Smallest image (K, M, G) that is used: plugging one takes longer than a "
		"small one saves."),
	KEY("images", "dax_max", KEY_SIZE, images_dax_max, "1G", 0, 16ull << 30, NULL,
		"Largest image (K, M, G) that guests map as memory, for 16 KiB of their own "
		"for each MiB; a larger one is a disk to them."),
	KEY("runtime", "file_server", KEY_PATH, file_server,
		"/usr/lib/stencil/stencil-files", 1, 0, NULL,
		"The program that serves a pod's files."),
	KEY("runtime", "state_dir", KEY_PATH, state_dir, "/run/stencil/sandboxes", 1, 0,
		NULL, "Holds one folder for each sandbox."),
	KEY("runtime", "cgroup_parent", KEY_CGROUP, cgroup_parent, "stencil", 1, 0, NULL,
		"The cgroup, below each hierarchy's root, with one for each VM in it."),
	KEY("runtime", "log_level", KEY_ENUM, log_level, "info", 0, 0,
		"error|warn|info|debug", "The least important lines to log."),
	KEY("runtime", "boot_timeout_ms", KEY_UINT, boot_timeout_ms, "60000", 100,
		3600000, NULL, "How long a guest may take to its first answer."),
	KEY("runtime", "call_timeout_ms", KEY_UINT, call_timeout_ms, "30000", 100,
		3600000, NULL, "How long one request to QEMU or to the agent may take."),
	KEY("runtime", "trace", KEY_PATH, trace_file, "", 0, 0, NULL,
		"File that gets each start's phases as a line of JSON."),
};

static void *member_of(struct config *c, const struct config_key *key)
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

static int parse_size(const char *value, bool may_be_auto, uint64_t *ret)
{
	static const char units[] = "KMG";
	const char *end, *unit;
	uint64_t n;
	int r;

	if (may_be_auto && strcmp(value, "auto") == 0) {
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

bool config_cgroup_valid(const char *path)
{
	for (const char *p = path;; p++) {
		size_t len = strcspn(p, "/");

		if (len == 0 || (len == 1 && *p == '.') ||
			(len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += len;
		if (!*p)
			return true;
	}
}

#define NAMES_SPACE ", \t"

/* The next of a list of names and its length; NULL at the end. */
static const char *next_name(const char *list, const char *between, size_t *ret_len)
{
	list += strspn(list, between);
	*ret_len = strcspn(list, between);
	return *ret_len ? list : NULL;
}

bool config_names_have(const char *names, const char *name)
{
	size_t len = 0, want = strlen(name);

	for (const char *p = names; (p = next_name(p, NAMES_SPACE, &len)); p += len)
		if (len == want && memcmp(p, name, len) == 0)
			return true;
	return false;
}

/* The first of `names` that is none of `values`; NULL: all are. */
static const char *find_stranger(const char *names, const char *values, size_t *ret_len)
{
	for (const char *p = names; (p = next_name(p, NAMES_SPACE, ret_len));
		p += *ret_len) {
		_cleanup_free_ char *name = xstrndup(p, *ret_len);

		if (parse_enum(values, name) < 0)
			return p;
	}
	return NULL;
}

static bool is_string(const struct config_key *key)
{
	return key->type == KEY_STRING || key->type == KEY_PATH ||
	       key->type == KEY_CGROUP || key->type == KEY_NAMES;
}

static int set_string(struct config *c, const struct config_key *key, const char *value,
	const char *where, struct err *err)
{
	char **p = member_of(c, key);
	const char *stranger;
	size_t len;

	stranger =
		key->type == KEY_NAMES ? find_stranger(value, key->values, &len) : NULL;
	if (stranger) {
		_cleanup_free_ char *name = xstrndup(stranger, len);

		return err_set(err, -EINVAL, "%s: %s: %s is none of %s", where, key->name,
			err_quote(name, 128), key->values);
	}
	if (key->type == KEY_PATH && *value != '/' && (*value || key->min > 0))
		return err_set(err, -EINVAL, "%s: %s = %s: an absolute path is wanted",
			where, key->name, err_quote(value, 128));
	if (key->type == KEY_CGROUP &&
		(strlen(value) > CONFIG_CGROUP_MAX || !config_cgroup_valid(value)))
		return err_set(err, -EINVAL,
			"%s: %s = %s: a path like \"stencil\" or \"a.slice/stencil\" is "
			"wanted, of at most %d bytes",
			where, key->name, err_quote(value, 128), CONFIG_CGROUP_MAX);
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

	r = key->type == KEY_SIZE ? parse_size(value, key->min == 0, &n)
				  : parse_uint(value, &n, &end);
	if (r == 0 && *end)
		r = -EINVAL;
	if (r == 0 && (n < key->min || n > key->max))
		r = -ERANGE;
	if (r == -EINVAL)
		return err_set(err, r, "%s: %s = %s: %s is wanted", where, key->name,
			err_quote(value, 128),
			key->type != KEY_SIZE ? "a whole number"
			: key->min == 0       ? "auto or a number with K, M or G behind"
					      : "a number with K, M or G behind");
	if (r < 0)
		return err_set(err, r,
			"%s: %s = %s: out of range, %" PRIu64 " to %" PRIu64
			" is allowed",
			where, key->name, err_quote(value, 128), key->min, key->max);
	*(uint64_t *)member_of(c, key) = n;
	return 0;
}

static int set_value(struct config *c, const struct config_key *key, const char *value,
	const char *where, struct err *err)
{
	int n;

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
	case KEY_CGROUP:
	case KEY_NAMES:
		return set_string(c, key, value, where, err);
	case KEY_UINT:
	case KEY_SIZE:
		return set_number(c, key, value, where, err);
	case KEY_BOOL:
		n = parse_enum("false|true", value);
		if (n < 0)
			return err_set(err, n, "%s: %s = %s: true or false is wanted",
				where, key->name, err_quote(value, 128));
		*(bool *)member_of(c, key) = n;
		return 0;
	case KEY_ENUM:
		n = parse_enum(key->values, value);
		if (n < 0)
			return err_set(err, n, "%s: %s = %s: one of %s is wanted", where,
				key->name, err_quote(value, 128), key->values);
		*(int *)member_of(c, key) = n;
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
		if (is_string(&keys[i]))
			free(*(char **)member_of(c, &keys[i]));
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

/* As short as it can be written. */
static void dump_size(uint64_t n, const struct config_key *key, FILE *out)
{
	static const char units[] = "KMG";
	int unit = -1;

	if (n == 0 && key->min == 0) {
		fputs("auto", out);
		return;
	}
	for (; n > 0 && n % 1024 == 0 && unit < 2; unit++)
		n /= 1024;
	fprintf(out, "%" PRIu64 "%.*s", n, unit >= 0, unit >= 0 ? units + unit : "");
}

static void dump_value(struct config *c, const struct config_key *key, FILE *out)
{
	const char *name = key->values;

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
	case KEY_CGROUP:
	case KEY_NAMES:
		fprintf(out, "%s", *(char **)member_of(c, key));
		return;
	case KEY_SIZE:
		dump_size(*(uint64_t *)member_of(c, key), key, out);
		return;
	case KEY_UINT:
		fprintf(out, "%" PRIu64, *(uint64_t *)member_of(c, key));
		return;
	case KEY_BOOL:
		fprintf(out, "%s", *(bool *)member_of(c, key) ? "true" : "false");
		return;
	case KEY_ENUM:
		for (int i = *(int *)member_of(c, key); i > 0; i--)
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

static void list_values(const struct config_key *key, FILE *out)
{
	switch (key->type) {
	case KEY_STRING:
		fputs("text", out);
		return;
	case KEY_PATH:
		fputs(key->min > 0 ? "path" : "path or nothing", out);
		return;
	case KEY_CGROUP:
		fputs("relative path", out);
		return;
	case KEY_UINT:
		fprintf(out, "%" PRIu64 " to %" PRIu64, key->min, key->max);
		return;
	case KEY_SIZE:
		fputs(key->min > 0 ? "bytes (K, M, G)" : "auto or bytes (K, M, G)", out);
		return;
	case KEY_BOOL:
		fputs("true|false", out);
		return;
	case KEY_NAMES:
		fprintf(out, "any of %s", key->values);
		return;
	case KEY_ENUM:
		fputs(key->values, out);
		return;
	}
}

void config_list_keys(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		fprintf(out, "%s\t%s\t%s\t", keys[i].section, keys[i].name,
			keys[i].otherwise);
		list_values(&keys[i], out);
		fprintf(out, "\t%s\n", keys[i].help);
	}
}

unsigned int config_max_vcpus(const struct config *c)
{
	uint64_t n = c->default_maxvcpus ? c->default_maxvcpus : (uint64_t)get_nprocs();

	return (unsigned int)MAX(n, c->default_vcpus);
}

uint64_t config_max_memory_bytes(const struct config *c)
{
	/* Hot-plugged memory comes in blocks of 128 MiB (x86-64's smallest memory
	 * section). */
	const uint64_t block = 128 * MiB;
	uint64_t max = c->default_maxmemory ? align_up(c->default_maxmemory * MiB, block)
					    : UINT64_MAX;
	struct sysinfo info;

	/* A mapping of more than the host has is refused (vm.overcommit_memory=0). */
	if (sysinfo(&info) == 0)
		max = MIN(max, (uint64_t)info.totalram * info.mem_unit);
	return align_down(max, block);
}
