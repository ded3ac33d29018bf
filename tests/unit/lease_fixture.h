/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templated's server, store and builder in a test's own process, with a scripted VM in
 * the place of QEMU. For one file of a program: it defines functions.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/mm_fixture.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/proc.h"
#include "templated/builder.h"
#include "templated/cache.h"
#include "templated/ctl.h"
#include "templated/daemon.h"
#include "templated/lease/client.h"
#include "templated/lease_note.h"
#include "templated/lock.h"
#include "templated/server.h"
#include "vm/handover.h"
#include "vm/inputs.h"
#include "vm/number.h"
#include "vm/vm_internal.h"

#define PATH "/tmp/template"

/* ---- the scripted VM ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hold;        /* vm_boot() waits while it is set … */
	bool release_one; /* … but for one */
	unsigned int booting, boots;
	int boot_result, clone_result;
	bool hold_clones; /* a clone ends only by its QEMU's death */
	unsigned int clones;
	const char *qemu_version, *kernel;
} script = {.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.qemu_version = "7.2.22",
	.kernel = DIGEST_A};

struct vm_inputs *vm_inputs_new(void)
{
	return NULL;
}

void vm_inputs_free(struct vm_inputs *inputs)
{
	(void)inputs;
}

int vm_inputs_collect(struct vm_inputs *inputs, const struct config *c,
	struct manifest *ret, struct err *err)
{
	char number[24];

	(void)inputs;
	if (strcmp(c->kernel, "/missing") == 0)
		return err_set(err, -ENOENT, "cannot find the guest's kernel /missing");
	snprintf(number, sizeof(number), "%llu",
		(unsigned long long)(c->default_memory * MiB));
	fixture_inputs(ret, number);
	pthread_mutex_lock(&script.lock);
	manifest_set(ret, MANIFEST_QEMU_VERSION, script.qemu_version);
	manifest_set(ret, MANIFEST_KERNEL_SHA256, script.kernel);
	pthread_mutex_unlock(&script.lock);
	manifest_set(ret, MANIFEST_QEMU_PATH, c->qemu_path);
	manifest_set(ret, MANIFEST_KERNEL_PATH, c->kernel);
	manifest_set(
		ret, MANIFEST_CMDLINE, *c->kernel_params ? c->kernel_params : "quiet");
	return 0;
}

void vm_inputs_paths(const struct config *c,
	void (*fn)(void *user, const char *path, bool folder), void *user)
{
	fn(user, c->kernel, false);
}

static struct config client;

#include "tests/unit/handover_script.h"

int vm_boot(struct vm *vm, int memory_fd, struct err *err)
{
	int r;

	assert_int_equal(access(vm->dir, F_OK), 0);
	pthread_mutex_lock(&script.lock);
	script.booting++;
	script.boots++;
	pthread_cond_broadcast(&script.changed);
	r = script.boot_result;
	while (script.hold && !script.release_one)
		pthread_cond_wait(&script.changed, &script.lock);
	script.release_one = false;
	script.booting--;
	if (r == 0)
		r = script.boot_result;
	pthread_mutex_unlock(&script.lock);
	if (r < 0) {
		vm_undo(vm);
		return err_set(err, r, "boot: the guest is silent");
	}
	if (memory_fd < 0)
		return script_spawn(vm, err);
	return pwrite(memory_fd, "guest", 5, 8192) == 5 ? 0 : -EIO;
}

int vm_save(struct vm *vm, int state_fd, struct err *err)
{
	(void)vm;
	(void)err;
	return write_full(state_fd, "device state", 12);
}

/* A scripted guest has no agent. */
void agent_free(struct agent *a)
{
	assert_null(a);
}

int agent_version(struct agent *a, Grpc__VersionCheckResponse **ret, int64_t deadline,
	struct err *err)
{
	(void)a;
	(void)ret;
	(void)deadline;
	return err_set(err, -ENOSYS, "an agent without a version");
}

static inline void script_hold(bool hold)
{
	pthread_mutex_lock(&script.lock);
	script.hold = hold;
	pthread_cond_broadcast(&script.changed);
	pthread_mutex_unlock(&script.lock);
}

/* The VM that waits, or the next one, boots on. */
static inline void script_release_one(void)
{
	pthread_mutex_lock(&script.lock);
	script.release_one = true;
	pthread_cond_broadcast(&script.changed);
	pthread_mutex_unlock(&script.lock);
}

static inline unsigned int script_boots(void)
{
	unsigned int n;

	pthread_mutex_lock(&script.lock);
	n = script.boots;
	pthread_mutex_unlock(&script.lock);
	return n;
}

static inline void script_wait_booting(void)
{
	pthread_mutex_lock(&script.lock);
	while (script.booting == 0)
		pthread_cond_wait(&script.changed, &script.lock);
	pthread_mutex_unlock(&script.lock);
}

/* ---- a daemon ---- */

static struct daemon daemon_;
static struct server *server;

static inline void set_config(struct config *c)
{
	_cleanup_free_ char *group = xasprintf("stencil-unit-%d", (int)getpid());
	struct err err = ERR_INIT;

	config_init(c);
	if (config_set(c, "factory", "template_path", PATH, "", &err) < 0 ||
		config_set(c, "factory", "template_endpoint", "/tmp/sock", "", &err) <
			0 ||
		config_set(c, "runtime", "state_dir", "/tmp/state", "", &err) < 0 ||
		config_set(c, "images", "path", "/tmp/images", "", &err) < 0 ||
		config_set(c, "runtime", "cgroup_parent", group, "", &err) < 0)
		fail_msg("%s", err.text);
	c->default_memory = 8;
}

/* templated's configuration but for one value. */
static inline void change_config(const char *section, const char *key, const char *value)
{
	struct err err = ERR_INIT;
	struct config c;

	set_config(&c);
	if (config_set(&c, section, key, value, "", &err) < 0)
		fail_msg("%s", err.text);
	daemon_change_settings(&daemon_, settings_new(&c));
}

static inline int setup(void **state)
{
	struct config c;
	struct err err = ERR_INIT;

	(void)state;
	script.boots = script.clones = 0;
	script.boot_result = script.clone_result = 0;
	script.hold = script.release_one = script.hold_clones = false;
	script.qemu_version = "7.2.22";
	script.kernel = DIGEST_A;
	set_config(&c);
	set_config(&client);
	daemon_init(&daemon_, &c, NULL);
	if (server_start(&daemon_, &server, &err) < 0)
		fail_msg("%s", err.text);
	return 0;
}

static inline int teardown(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	script_hold(false);
	builder_close(daemon_.builder);
	cache_close(daemon_.cache);
	server_stop(server);
	daemon_done(&daemon_);
	if (tmpfs_unmount(PATH, &err) < 0)
		fail_msg("%s", err.text);
	config_done(&client);
	return access("/tmp/sock", F_OK) == 0 ||
	       access("/tmp/state/" VM_FOLDERS, F_OK) == 0;
}

/* templated ends as by SIGTERM, and starts anew on what is on the tmpfs. */
static inline void stop(void)
{
	builder_close(daemon_.builder);
	cache_close(daemon_.cache);
	server_stop(server);
	daemon_done(&daemon_);
}

static inline void start(void)
{
	struct err err = ERR_INIT;
	struct config c;

	set_config(&c);
	daemon_init(&daemon_, &c, NULL);
	if (daemon_open_store(&daemon_, &client, &err) < 0 ||
		server_start(&daemon_, &server, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void restart(void)
{
	stop();
	start();
}

static inline int ask(enum lease_verb verb, struct json_object **ret, struct err *err)
{
	struct json_object *reply = NULL;
	int r = ctl_ask(&client, verb, NULL, &reply, err);

	if (ret)
		*ret = reply;
	else
		json_object_put(reply);
	return r;
}

static inline void init_template(void)
{
	struct err err = ERR_INIT;

	if (ask(LEASE_VERB_INIT, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void acquire(struct lease *lease)
{
	struct err err = ERR_INIT;

	assert_int_equal(lease_acquire(&client, "sandbox-1", soon(), lease, &err), 0);
}

static inline void acquire_nothing(const char *why)
{
	struct lease lease;

	acquire(&lease);
	assert_int_equal(lease.kind, LEASE_NONE);
	if (!strstr(lease.reason, why))
		fail_msg("\"%s\" is not in \"%s\"", why, lease.reason);
	assert_int_equal(lease.conn_fd, -1);
	assert_int_equal(lease.memory_fd, -1);
	lease_release(&lease);
}

static inline void acquire_template(struct lease *lease)
{
	acquire(lease);
	if (lease->kind != LEASE_TEMPLATE)
		fail_msg("no template: %s", lease->reason);
}

/* status' value at "a/b/c". */
static inline struct json_object *status_at(struct json_object *status, const char *path)
{
	struct json_object *at = status;
	_cleanup_free_ char *copy = xstrdup(path);

	for (char *rest = copy, *key; (key = strsep(&rest, "/"));) {
		if (json_object_is_type(at, json_type_array))
			at = json_object_array_get_idx(at, strtoul(key, NULL, 10));
		else if (!json_object_object_get_ex(at, key, &at))
			return NULL;
	}
	return at;
}

static inline int status_number(const char *path)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;
	struct json_object *value;

	assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	value = status_at(reply, path);
	return value ? json_object_get_int(value) : -1;
}

static inline void assert_text(const char *path, const char *part)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;
	struct json_object *value;

	assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	value = status_at(reply, path);
	assert_non_null(value);
	if (!strstr(json_object_get_string(value), part))
		fail_msg("\"%s\" is not in \"%s\"", part, json_object_get_string(value));
}
