/* SPDX-License-Identifier: Apache-2.0 */
/* CreateSandbox and DestroySandbox: the guest becomes somebody. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/io.h"
#include "guest/container.h"
#include "guest/files.h"
#include "guest/identity.h"
#include "guest/modules.h"
#include "guest/pidns.h"
#include "guest/service.h"
#include "guest/storage.h"

#define HOSTNAME_BYTES    64 /* __NEW_UTS_LEN */
#define DNS_LINES_MAX     64
#define DNS_LINE_BYTES    512
#define MODULE_PARAMS_MAX 1024 /* the kernel's own limit for one of them */

/* A random UUID of version 4 without dashes, as machine-id(5) wants it. */
static int write_machine_id(struct err *err)
{
	uint8_t id[16];
	char text[34];

	/* After ReseedRandomDev: another one in each clone. */
	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return err_sys(err, errno, "getrandom");
	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;
	hex_encode(id, sizeof(id), text);
	text[32] = '\n';
	return file_write_atomic(AT_FDCWD, MACHINE_ID_FILE, text, 33, 0444, err);
}

static int set_hostname(const char *name, struct err *err)
{
	size_t len = strlen(name);

	if (len == 0)
		return 0;
	if (len > HOSTNAME_BYTES)
		return err_set(err, -EINVAL, "hostname %s is longer than %d bytes",
			err_quote(name, 80), HOSTNAME_BYTES);
	if (sethostname(name, len) < 0)
		return err_sys(err, errno, "set the hostname");
	return 0;
}

static int write_dns(char *const *lines, size_t n, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, size;

	if (n == 0)
		return 0;
	if (n > DNS_LINES_MAX)
		return err_set(err, -E2BIG, "%zu lines of resolv.conf, at most %d fit", n,
			DNS_LINES_MAX);
	size = n * (DNS_LINE_BYTES + 2);
	text = xmalloc(size);
	for (size_t i = 0; i < n; i++) {
		if (strlen(lines[i]) > DNS_LINE_BYTES || strchr(lines[i], '\n'))
			return err_set(err, -EINVAL, "not a line of resolv.conf: %s",
				err_quote(lines[i], 64));
		len += (size_t)snprintf(text + len, size - len, "%s\n", lines[i]);
	}
	return file_write_atomic(AT_FDCWD, "/etc/resolv.conf", text, len, 0644, err);
}

/* With its parameters in one line, as finit_module(2) wants them. */
static int load_one_module(const Grpc__KernelModule *module, struct err *err)
{
	char params[MODULE_PARAMS_MAX + 1] = "";
	size_t len = 0;

	for (size_t i = 0; i < module->n_parameters; i++) {
		len += (size_t)snprintf(params + len, sizeof(params) - len, "%s%s",
			i ? " " : "", module->parameters[i]);
		if (len >= sizeof(params))
			return err_set(err, -E2BIG,
				"parameters of more than %d bytes for kernel module %s",
				MODULE_PARAMS_MAX, err_quote(module->name, 64));
	}
	return module_load(module->name, params, err);
}

static int load_modules(Grpc__KernelModule *const *modules, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = load_one_module(modules[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int set_up_guest(
	struct sandbox *s, const Grpc__CreateSandboxRequest *req, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	int r = set_hostname(req->hostname, err);

	if (r == 0)
		r = mkdir_parents("/etc", 0755, err);
	if (r == 0)
		r = write_machine_id(err);
	if (r == 0)
		r = write_dns(req->dns, req->n_dns, err);
	if (r == 0)
		r = load_modules(req->kernel_modules, req->n_kernel_modules, err);
	if (r == 0)
		r = storage_mount(
			req->storages, req->n_storages, &s->mounts, &s->n_mounts, err);
	if (r == 0 && req->sandbox_pidns) {
		r = pidns_get(s, &path, err);
		if (r < 0)
			storage_unmount(&s->mounts, &s->n_mounts);
	}
	return r;
}

/* Creating and destroying change what no other lock covers (hostname, mounts). */
static pthread_mutex_t setting_up = PTHREAD_MUTEX_INITIALIZER;

static int create_sandbox(
	struct sandbox *s, const Grpc__CreateSandboxRequest *req, struct err *err)
{
	int r;

	if (s->running)
		return err_set(err, -EEXIST, "the guest is sandbox %s already", s->id);
	r = set_up_guest(s, req, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	str_copy(s->id, req->sandbox_id);
	s->running = true;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

SERVICE_HANDLER(handle_create_sandbox)
{
	const Grpc__CreateSandboxRequest *req = (const Grpc__CreateSandboxRequest *)in;
	int r = 0;

	(void)request, (void)ret_out;
	/* Kata's shim may leave it out. */
	if (*req->sandbox_id)
		r = id_check("sandbox id", req->sandbox_id, err);
	if (r < 0)
		return r;
	/* The first container's files are mounted soon. */
	files_prepare_window();
	pthread_mutex_lock(&setting_up);
	r = create_sandbox(user, req, err);
	pthread_mutex_unlock(&setting_up);
	return r;
}

SERVICE_HANDLER(handle_destroy_sandbox)
{
	struct sandbox *s = user;
	int r;

	(void)in, (void)ret_out;
	pthread_mutex_lock(&setting_up);
	pthread_mutex_lock(&s->lock);
	s->running = false; /* no container comes any more */
	pthread_mutex_unlock(&s->lock);
	r = container_remove_all(s, service_deadline(request), err);
	if (r == 0) {
		pidns_end(s);
		storage_unmount(&s->mounts, &s->n_mounts);
		sync();
	}
	pthread_mutex_unlock(&setting_up);
	return r;
}
