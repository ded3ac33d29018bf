/* SPDX-License-Identifier: Apache-2.0 */
/* The lease protocol, client side: see client.h. */
#include "templated/lease/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"
#include "templated/lease/protocol.h"

/* What is broken on this side, and not a templated that is not there. */
static bool is_ours(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENAMETOOLONG;
}

static int lease_set_none(struct lease *lease, const char *reason)
{
	size_t len = strnlen(reason, sizeof(lease->reason) - 1);

	lease_release(lease);
	memcpy(lease->reason, reason, len);
	return 0;
}

/* A granted file: regular, of the manifest's size, not open for writing, and not to be
 * opened so again: QEMU could, by /proc/self/fd, but for a read-only mount. */
static int check_fd(int fd, const char *name, const struct manifest *m,
	enum manifest_field size_field, struct err *err)
{
	uint64_t size;
	struct statvfs fs;
	struct stat st;
	int flags, r = manifest_get_u64(m, size_field, &size, err);

	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(
			err, -EPROTO, "templated granted no descriptor of %s", name);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0 || fstatvfs(fd, &fs) < 0)
		return err_sys(err, errno, "cannot look at the granted %s", name);
	if ((flags & O_ACCMODE) != O_RDONLY || !S_ISREG(st.st_mode))
		return err_set(
			err, -EPROTO, "the granted %s is not a read-only file", name);
	if (!(fs.f_flag & ST_RDONLY))
		return err_set(err, -EPROTO,
			"the granted %s was not opened through a read-only mount", name);
	if ((uint64_t)st.st_size != size)
		return err_set(err, -EPROTO,
			"the granted %s has %jd bytes, its manifest says %" PRIu64, name,
			(intmax_t)st.st_size, size);
	return 0;
}

static int take_template(struct json_object *reply, struct lease *lease, struct err *err)
{
	struct json_object *manifest;
	const char *id, *text, *no_vm;
	int r;

	r = json_get_string(reply, "generation", &id, err);
	if (r == 0)
		r = json_get_object(reply, "manifest", &manifest, err);
	if (r == 0)
		r = json_get_string_opt(reply, "reason", "", &no_vm, err);
	if (r < 0)
		return r;
	text = json_object_to_json_string_ext(manifest, JSON_C_TO_STRING_PLAIN);
	r = manifest_parse(text, strlen(text), &lease->manifest, err);
	if (r == 0)
		r = check_fd(lease->memory_fd, "memory", &lease->manifest,
			MANIFEST_MEMORY_BYTES, err);
	if (r == 0)
		r = check_fd(lease->state_fd, "state", &lease->manifest,
			MANIFEST_STATE_BYTES, err);
	if (r < 0)
		return r;
	snprintf(lease->generation, sizeof(lease->generation), "%s", id);
	snprintf(lease->reason, sizeof(lease->reason), "%s", no_vm);
	lease->kind = LEASE_TEMPLATE;
	return 0;
}

/* A cached VM: its descriptors are there already. */
static int take_vm(struct json_object *reply, struct lease *lease, struct err *err)
{
	uint64_t version, number;
	const char *id;
	int r;

	r = json_get_string(reply, "generation", &id, err);
	if (r == 0)
		r = json_get_u64(reply, "number", &number, err);
	if (r == 0)
		r = json_get_u64(reply, "qemu_version", &version, err);
	if (r < 0)
		return r;
	if (lease->vm.window_fd < 0 || version > INT_MAX || number > INT_MAX)
		return err_set(err, -EPROTO, "templated offered half a VM");
	lease->vm.qemu_version = (unsigned int)version;
	lease->vm.number = (unsigned int)number;
	snprintf(lease->generation, sizeof(lease->generation), "%s", id);
	lease->kind = LEASE_VM;
	return 0;
}

/* The descriptors are what the result says; what it has no name for is closed. */
static void sort_fds(const char *result, struct lease *lease, int fds[LEASE_VM_FDS])
{
	if (strcmp(result, "template") == 0) {
		lease->memory_fd = steal_fd(&fds[0]);
		lease->state_fd = steal_fd(&fds[1]);
	} else if (strcmp(result, "vm") == 0) {
		lease->vm.qmp_fd = steal_fd(&fds[0]);
		lease->vm.agent_fd = steal_fd(&fds[1]);
		lease->vm.pid_fd = steal_fd(&fds[2]);
		lease->vm.stderr_fd = steal_fd(&fds[3]);
		lease->vm.files_fd = steal_fd(&fds[4]);
		lease->vm.window_fd = steal_fd(&fds[5]);
	}
}

static int take_reply(struct json_object *reply, struct lease *lease,
	int fds[LEASE_VM_FDS], struct err *err)
{
	const char *result, *reason;
	int r = json_get_string(reply, "result", &result, err);

	if (r < 0)
		return r;
	sort_fds(result, lease, fds);
	if (strcmp(result, "vm") == 0)
		return take_vm(reply, lease, err);
	if (strcmp(result, "template") == 0)
		return take_template(reply, lease, err);
	if (strcmp(result, "none") == 0)
		r = json_get_string(reply, "reason", &reason, err);
	else
		r = json_get_string(reply, "error", &reason, err);
	return r < 0 ? r : lease_set_none(lease, reason);
}

static struct json_object *new_request(
	const struct config *c, const char *sandbox, bool vm)
{
	struct json_object *request = lease_request_new(LEASE_VERB_ACQUIRE, sandbox, c);

	if (vm)
		json_set_string(request, "state_dir", c->state_dir);
	if (!c->enable_template)
		json_set_bool(request, "template", false);
	return request;
}

/* Takes request. */
static int lease_ask(const char *endpoint, struct json_object *request, int64_t deadline,
	struct lease *ret, struct err *err)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct lease lease = LEASE_INIT;
	struct err why = ERR_INIT;
	int fds[LEASE_VM_FDS] = {-1, -1, -1, -1, -1, -1}, r;

	r = unix_connect(endpoint, SOCK_SEQPACKET, deadline, &lease.conn_fd, &why);
	if (r < 0)
		json_object_put(request);
	if (is_ours(r))
		return err_copy(err, &why);
	if (r < 0) {
		err_wrap(&why, "templated is not there");
		*ret = lease;
		return lease_set_none(ret, why.text);
	}
	r = lease_send(lease.conn_fd, request, NULL, 0, deadline);
	if (r < 0)
		err_sys(&why, r, "templated does not take the request");
	if (r == 0)
		r = lease_receive_fds(
			lease.conn_fd, &reply, fds, LEASE_VM_FDS, deadline, &why);
	if (r == 0)
		r = take_reply(reply, &lease, fds, &why);
	for (int i = 0; i < LEASE_VM_FDS; i++)
		close_fd(fds[i]);
	*ret = lease;
	return r < 0 ? lease_set_none(ret, why.text) : 0;
}

int lease_acquire(const struct config *c, const char *sandbox, int64_t deadline,
	struct lease *ret, struct err *err)
{
	return lease_ask(c->template_endpoint,
		new_request(c, sandbox, c->vm_cache_number > 0), deadline, ret, err);
}

int lease_acquire_template(const struct config *c, const char *sandbox, int64_t deadline,
	struct lease *ret, struct err *err)
{
	return lease_ask(
		c->template_endpoint, new_request(c, sandbox, false), deadline, ret, err);
}

int lease_taken(struct lease *lease, int64_t deadline, struct err *err)
{
	int r = lease_send(lease->conn_fd,
		lease_request_new(LEASE_VERB_TAKEN, NULL, NULL), NULL, 0, deadline);

	return r < 0 ? err_sys(err, r, "templated does not hear that its VM was taken")
		     : 0;
}

void lease_release(struct lease *lease)
{
	close_fd(steal_fd(&lease->memory_fd));
	close_fd(steal_fd(&lease->state_fd));
	close_fd(steal_fd(&lease->conn_fd));
	vm_handover_done(&lease->vm);
	manifest_done(&lease->manifest);
	*lease = LEASE_INIT;
}
