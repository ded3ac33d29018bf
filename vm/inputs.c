/* SPDX-License-Identifier: Apache-2.0 */
/* The files and the host that a generation depends on: see inputs.h. */
#include "vm/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "vm/accel.h"
#include "vm/argv.h"
#include "vm/firmware.h"
#include "vm/qemu_version.h"

/* x86 boot protocol (Documentation/arch/x86/boot.rst): "HdrS" stands at 0x202. */
#define BZIMAGE_MAGIC_OFFSET 0x202
#define BZIMAGE_MAGIC        "HdrS"

/* ---- plain checks ---- */

static int check_file(const char *path, const char *key, const char *what,
	struct stat *ret_st, struct err *err)
{
	if (stat(path, ret_st) < 0)
		return err_sys(err, errno,
			"cannot find the guest's %s %s (key %s of [hypervisor])", what,
			err_quote(path, 256), key);
	if (!S_ISREG(ret_st->st_mode) || ret_st->st_size == 0)
		return err_set(err, -EINVAL,
			"%s, the guest's %s (key %s of [hypervisor]), is %s",
			err_quote(path, 256), what, key,
			S_ISREG(ret_st->st_mode) ? "empty" : "not a regular file");
	return 0;
}

int vm_check_kernel(const struct config *c, struct err *err)
{
	_cleanup_close_ int fd = -1;
	char magic[4] = "", elf[4] = "";
	struct stat st;
	int r;

	r = check_file(c->kernel, "kernel", "kernel", &st, err);
	if (r < 0)
		return r;
	fd = open(c->kernel, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open the guest's kernel %s",
			err_quote(c->kernel, 256));
	if (pread(fd, magic, sizeof(magic), BZIMAGE_MAGIC_OFFSET) == sizeof(magic) &&
		memcmp(magic, BZIMAGE_MAGIC, sizeof(magic)) == 0)
		return 0;
	if (pread(fd, elf, sizeof(elf), 0) == sizeof(elf) &&
		memcmp(elf, "\177ELF", 4) == 0)
		return 0;
	return err_set(err, -ENOEXEC,
		"%s, the guest's kernel (key kernel of [hypervisor]), is neither a bzImage nor "
		"an ELF file; Debian's is /boot/vmlinuz-<version> of a linux-image package",
		err_quote(c->kernel, 256));
}

int vm_check_initrd(const struct config *c, struct err *err)
{
	struct stat st;

	return check_file(c->initrd, "initrd", "initramfs", &st, err);
}

/* ---- digests, kept while the file stays the same ---- */

struct cached {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
	char *path;
	char digest[SHA256_DIGEST_SIZE * 2 + 1];
	char *version; /* of QEMU only */
};

enum cached_file {
	CACHED_QEMU,
	CACHED_KERNEL,
	CACHED_INITRD,
	CACHED_FILES,
};

struct vm_inputs {
	pthread_mutex_t lock;
	struct cached files[CACHED_FILES];
	struct firmware firmware;
};

struct vm_inputs *vm_inputs_new(void)
{
	struct vm_inputs *inputs = xnew0(struct vm_inputs);

	pthread_mutex_init(&inputs->lock, NULL);
	return inputs;
}

static void forget_file(struct cached *file)
{
	free(file->path);
	free(file->version);
	*file = (struct cached){0};
}

void vm_inputs_free(struct vm_inputs *inputs)
{
	if (!inputs)
		return;
	for (size_t i = 0; i < CACHED_FILES; i++)
		forget_file(&inputs->files[i]);
	pthread_mutex_destroy(&inputs->lock);
	free(inputs);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_unchanged(
	const struct cached *file, const char *path, const struct stat *st)
{
	return file->path && strcmp(file->path, path) == 0 && file->dev == st->st_dev &&
	       file->ino == st->st_ino && file->size == st->st_size &&
	       same_time(file->mtime, st->st_mtim) && same_time(file->ctime, st->st_ctim);
}

static int digest_fd(int fd, char *ret_hex)
{
	_cleanup_free_ uint8_t *buf = xmalloc(MiB);
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	for (;;) {
		ssize_t n = read(fd, buf, MiB);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		sha256_update(&ctx, (size_t)n, buf);
	}
	sha256_digest(&ctx, sizeof(digest), digest);
	hex_encode(digest, sizeof(digest), ret_hex);
	return 0;
}

/* Looks at a file; what is known of it is renewed if it is another one than the last
 * time. */
static int look_at(struct cached *file, const char *path, bool is_qemu, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int r = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(path, 256));
	if (is_unchanged(file, path, &st))
		return 0;
	forget_file(file);
	if (is_qemu)
		r = vm_qemu_version(path, &file->version, err);
	if (r < 0)
		return r;
	r = digest_fd(fd, file->digest);
	if (r < 0)
		return err_sys(err, r, "cannot read %s", err_quote(path, 256));
	file->path = xstrdup(path);
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	file->size = st.st_size;
	file->mtime = st.st_mtim;
	file->ctime = st.st_ctim;
	return 0;
}

static int look_at_firmware(
	struct firmware *firmware, const char *qemu_path, struct err *err)
{
	char **folders = firmware_folders_new(qemu_path);
	int r = firmware_look(folders, firmware, err);

	firmware_folders_free(folders);
	return r;
}

/* ---- the host under KVM ---- */

/* "vendor/family/model/stepping/microcode" of the first CPU: what a saved state depends
 * on. */
static char *host_cpu(void)
{
	static const char *const keys[] = {
		"vendor_id", "cpu family", "model", "stepping", "microcode"};
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "re");
	char *values[ARRAY_SIZE(keys)] = {0}, line[1024], *text;

	while (f && fgets(line, sizeof(line), f) && *line != '\n') {
		char *colon = strchr(line, ':');
		size_t len = strcspn(line, "\t:");

		for (size_t i = 0; colon && i < ARRAY_SIZE(keys); i++)
			if (!values[i] && strlen(keys[i]) == len &&
				memcmp(line, keys[i], len) == 0)
				values[i] = xstrndup(colon + 1 + strspn(colon + 1, " "),
					strcspn(colon + 1 + strspn(colon + 1, " "),
						"\n"));
	}
	text = xasprintf("%s/%s/%s/%s/%s", values[0] ? values[0] : "?",
		values[1] ? values[1] : "?", values[2] ? values[2] : "?",
		values[3] ? values[3] : "?", values[4] ? values[4] : "?");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		free(values[i]);
	return text;
}

static void set_host(struct manifest *m, bool kvm)
{
	_cleanup_free_ char *cpu = kvm ? host_cpu() : xstrdup("-");
	struct utsname name;

	manifest_set(m, MANIFEST_HOST_CPU, cpu);
	manifest_set(
		m, MANIFEST_HOST_KERNEL, kvm && uname(&name) == 0 ? name.release : "-");
}

/* ---- all of it ---- */

static void set_machine(struct manifest *m, const struct vm_machine *machine)
{
	_cleanup_free_ char *cmdline = vm_cmdline(machine);
	char **argv = vm_argv_new(machine, VM_ROLE_CLONE);
	char *line = xstrdup(argv[0]), number[32];

	for (char **word = argv + 1; *word; word++) {
		char *longer = xasprintf("%s %s", line, *word);

		free(line);
		line = longer;
	}
	vm_argv_free(argv);
	manifest_set(m, MANIFEST_ARGV, line);
	free(line);
	manifest_set(m, MANIFEST_CMDLINE, cmdline);
	manifest_set(m, MANIFEST_ACCEL, machine->kvm ? "kvm" : "tcg");
	snprintf(number, sizeof(number), "%" PRIu64,
		machine->config->default_memory * MiB);
	manifest_set(m, MANIFEST_MEMORY_BYTES, number);
	manifest_set(m, MANIFEST_QEMU_PATH, machine->config->qemu_path);
	set_host(m, machine->kvm);
}

int vm_inputs_collect(struct vm_inputs *inputs, const struct config *c,
	struct manifest *ret, struct err *err)
{
	struct vm_machine machine = {.config = c};
	struct cached *files = inputs->files;
	struct accel accel;
	int r;

	r = vm_check_kernel(c, err);
	if (r == 0)
		r = vm_check_initrd(c, err);
	if (r == 0)
		r = accel_choose(c, &accel, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&inputs->lock);
	r = look_at(&files[CACHED_QEMU], c->qemu_path, true, err);
	if (r == 0)
		r = look_at(&files[CACHED_KERNEL], c->kernel, false, err);
	if (r == 0)
		r = look_at(&files[CACHED_INITRD], c->initrd, false, err);
	if (r == 0)
		r = look_at_firmware(&inputs->firmware, c->qemu_path, err);
	if (r == 0) {
		machine.kvm = accel.kvm;
		manifest_init(ret);
		manifest_set(ret, MANIFEST_QEMU_VERSION, files[CACHED_QEMU].version);
		manifest_set(ret, MANIFEST_QEMU_SHA256, files[CACHED_QEMU].digest);
		manifest_set(ret, MANIFEST_FIRMWARE_SHA256, inputs->firmware.digest);
		manifest_set(ret, MANIFEST_KERNEL_PATH, c->kernel);
		manifest_set(ret, MANIFEST_INITRD_PATH, c->initrd);
		manifest_set(ret, MANIFEST_KERNEL_SHA256, files[CACHED_KERNEL].digest);
		manifest_set(ret, MANIFEST_INITRD_SHA256, files[CACHED_INITRD].digest);
		set_machine(ret, &machine);
	}
	pthread_mutex_unlock(&inputs->lock);
	return r;
}

void vm_inputs_paths(const struct config *c,
	void (*fn)(void *user, const char *path, bool folder), void *user)
{
	char **folders = firmware_folders_new(c->qemu_path);

	fn(user, c->qemu_path, false);
	fn(user, c->kernel, false);
	fn(user, c->initrd, false);
	for (char **folder = folders; *folder; folder++)
		fn(user, *folder, true);
	firmware_folders_free(folders);
}
