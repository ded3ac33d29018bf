/* SPDX-License-Identifier: Apache-2.0 */
/* A pod by the Sandbox API: see sandbox.h. */
#include "shim/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/container.h"
#include "shim/net.h"
#include "shim/pod_errands.h"
#include "shim/pod_size.h"
#include "shim/proto/cri_sandbox.pb-c.h"

#define CRI_CONFIG_TYPE "runtime.v1.PodSandboxConfig"
#define HOST_FILE_MAX   (1u << 20)

/* ---- what the pod is to be ---- */

/* *ret is NULL where the options are something else: a sandbox without a CRI. */
static int unpack_config(const Google__Protobuf__Any *options,
	Runtime__V1__PodSandboxConfig **ret, struct err *err)
{
	const char *slash = options ? strrchr(options->type_url, '/') : NULL;

	*ret = NULL;
	if (!options ||
		strcmp(slash ? slash + 1 : options->type_url, CRI_CONFIG_TYPE) != 0)
		return 0;
	*ret = runtime__v1__pod_sandbox_config__unpack(
		NULL, options->value.len, options->value.data);
	return *ret ? 0
		    : err_set(err, -EBADMSG,
			      "the sandbox's options are no " CRI_CONFIG_TYPE);
}

static int read_size(const Runtime__V1__PodSandboxConfig *config, struct pod_size *ret,
	struct err *err)
{
	const Runtime__V1__LinuxContainerResources *r =
		config && config->linux ? config->linux->resources : NULL;

	*ret = (struct pod_size){0};
	if (!r)
		return 0;
	ret->memory_bytes = (uint64_t)MAX(r->memory_limit_in_bytes, 0);
	return pod_size_of_quota(r->cpu_quota, r->cpu_period, &ret->cpu_millis, err);
}

/* ---- the files of a pod ---- */

static int write_file(
	const struct pod *pod, const char *name, const char *text, struct err *err)
{
	_cleanup_free_ char *path = state_path(&pod->state, name);

	return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, err);
}

static void add_line(char **text, const char *word, char *const *values, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *longer =
			xasprintf("%s%s%s%s", *text, i == 0 ? word : "", " ", values[i]);

		free(*text);
		*text = longer;
	}
	if (n > 0) {
		char *longer = xasprintf("%s\n", *text);

		free(*text);
		*text = longer;
	}
}

/* Empty, where the host has none. */
static int copy_hosts_file(
	const struct pod *pod, const char *path, const char *name, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, HOST_FILE_MAX, &text, &len, err);

	if (r < 0 && r != -ENOENT)
		return r;
	return write_file(pod, name, text ? text : "", err);
}

/* The host's, where nothing is said: as the CRI does it. */
static int write_resolv_conf(
	const struct pod *pod, const Runtime__V1__DNSConfig *dns, struct err *err)
{
	_cleanup_free_ char *text = NULL;

	if (!dns || dns->n_servers + dns->n_searches + dns->n_options == 0)
		return copy_hosts_file(pod, "/etc/resolv.conf", "resolv.conf", err);
	text = xstrdup("");
	add_line(&text, "search", dns->searches, dns->n_searches);
	for (size_t i = 0; i < dns->n_servers; i++)
		add_line(&text, "nameserver", &dns->servers[i], 1);
	add_line(&text, "options", dns->options, dns->n_options);
	return write_file(pod, "resolv.conf", text, err);
}

static int write_files(const struct pod *pod, const Runtime__V1__PodSandboxConfig *config,
	struct err *err)
{
	_cleanup_free_ char *name = xasprintf("%s\n", pod->sandbox->hostname);
	int r = write_file(pod, "hostname", name, err);

	if (r == 0)
		r = copy_hosts_file(pod, "/etc/hosts", "hosts", err);
	return r < 0 ? r
		     : write_resolv_conf(pod, config ? config->dns_config : NULL, err);
}

void sandbox_redirect_binds(const struct pod *pod, struct guest_spec *spec)
{
	static const char *const names[] = {"hostname", "hosts", "resolv.conf"};

	for (unsigned int i = 0; pod->sandbox && i < spec->n_binds; i++) {
		struct rootfs_tree *tree = &spec->binds[i].tree;
		const char *base = strrchr(tree->path, '/');

		if (!base || access(tree->path, F_OK) == 0 || errno != ENOENT)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			if (strcmp(base + 1, names[k]) != 0)
				continue;
			free((char *)(uintptr_t)tree->path);
			tree->path = state_path(&pod->state, names[k]);
			break;
		}
	}
}

void sandbox_add_sysctls(struct pod *pod, struct json_object *config)
{
	struct json_object *linux_ = json_at(config, "linux"), *all;

	if (!pod->sandbox || pod->containers ||
		!json_object_is_type(linux_, json_type_object))
		return;
	all = json_at(linux_, "sysctl");
	if (!json_object_is_type(all, json_type_object)) {
		all = json_object_new_object();
		json_object_object_add(linux_, "sysctl", all);
	}
	json_object_object_foreach (pod->sandbox->sysctls, name, value)
		json_object_object_add(all, name, json_object_get(value));
}

/* ---- its life ---- */

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	free(s->hostname);
	free(s->netns);
	json_object_put(s->sysctls);
	close_fd(s->end_fd);
	free(s);
}

/* As the CRI names the cgroup of a container in it: a slice by its last name. */
static void find_cgroup(struct pod *pod, const Runtime__V1__PodSandboxConfig *config)
{
	const char *parent = config && config->linux ? config->linux->cgroup_parent : "";
	const char *base = strrchr(parent, '/') ? strrchr(parent, '/') + 1 : parent;
	size_t len = strlen(base);
	_cleanup_free_ char *path = len > 6 && strcmp(base + len - 6, ".slice") == 0
					    ? xasprintf("%s:stencil:x", base)
					    : xasprintf("%s/x", parent);

	cgroup_pod_of(path, pod->cgroup);
}

static struct json_object *copy_sysctls(const Runtime__V1__PodSandboxConfig *config)
{
	struct json_object *all = json_object_new_object();

	for (size_t i = 0; config && config->linux && i < config->linux->n_sysctls; i++)
		json_set_string(all, config->linux->sysctls[i]->key,
			config->linux->sysctls[i]->value);
	return all;
}

static int new_sandbox(const struct pod *pod,
	const Containerd__Runtime__Sandbox__V1__CreateSandboxRequest *request,
	const Runtime__V1__PodSandboxConfig *config, struct sandbox **ret,
	struct err *err)
{
	const char *hostname =
		config && *config->hostname ? config->hostname : pod->state.id;
	int fd = eventfd(0, EFD_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "cannot make an eventfd");
	*ret = xnew0(struct sandbox);
	(*ret)->end_fd = fd;
	(*ret)->hostname = xstrndup(hostname, HOST_NAME_MAX);
	(*ret)->netns = xstrdup(request->netns_path);
	(*ret)->sysctls = copy_sysctls(config);
	return 0;
}

static int make_sandbox(struct pod *pod,
	const Containerd__Runtime__Sandbox__V1__CreateSandboxRequest *request,
	const Runtime__V1__PodSandboxConfig *config, struct err *err)
{
	struct sandbox *s = NULL;
	int r;

	if (pod->sandbox || pod->containers)
		return err_set(err, -EEXIST, "sandbox %s exists already", pod->state.id);
	/* A CRI's pod with no namespace of its own has the host's. */
	if (config && !*request->netns_path)
		return err_set(err, -EINVAL,
			"sandbox %s has no network namespace: a VM can't use the host's network",
			pod->state.id);
	find_cgroup(pod, config);
	r = read_size(config, &pod->size, err);
	if (r == 0)
		r = new_sandbox(pod, request, config, &s, err);
	if (r < 0)
		return r;
	pod->sandbox = s;
	r = write_files(pod, config, err);
	if (r < 0)
		sandbox_free(steal_ptr(pod->sandbox));
	return r;
}

int sandbox_create(struct pod *pod,
	const Containerd__Runtime__Sandbox__V1__CreateSandboxRequest *request,
	struct err *err)
{
	Runtime__V1__PodSandboxConfig *config;
	int r;

	r = unpack_config(request->options, &config, err);
	if (r < 0)
		return r;
	r = pod_change_begin(pod, err);
	if (r == 0) {
		r = make_sandbox(pod, request, config, err);
		pod_change_end(pod);
	}
	if (config)
		runtime__v1__pod_sandbox_config__free_unpacked(config, NULL);
	return r;
}

static int start_sandbox(struct pod *pod, struct err *err)
{
	struct sandbox *s = pod->sandbox;
	struct pod_needs needs;
	int r;

	if (!s)
		return err_set(err, -ENOENT, "sandbox %s was not created", pod->state.id);
	if (s->started)
		return err_set(
			err, -EEXIST, "sandbox %s has been started", pod->state.id);
	needs = (struct pod_needs){.hostname = s->hostname,
		.netns = s->netns,
		.cpu_millis = pod->size.cpu_millis,
		.memory_bytes = pod->size.memory_bytes};
	if (*s->netns && net_open_path(s->netns, &pod->netns_fd, err) < 0)
		return err_wrap(err, "network namespace %s", err_quote(s->netns, 256));
	r = pod_start(pod, &needs, err);
	if (r < 0)
		return r;
	clock_gettime(CLOCK_REALTIME, &s->created_at);
	pthread_mutex_lock(&pod->lock);
	s->started = true;
	/* It may have been lost just now, when nobody could tell yet. */
	if (pod->life != POD_READY)
		sandbox_note_end_locked(pod);
	pthread_mutex_unlock(&pod->lock);
	return 0;
}

int sandbox_start(struct pod *pod, struct err *err)
{
	int r = pod_change_begin(pod, err);

	if (r < 0)
		return r;
	r = start_sandbox(pod, err);
	pod_change_end(pod);
	if (r < 0)
		log_error("the sandbox was not started: %s", err->text);
	return r;
}

void sandbox_note_end_locked(struct pod *pod)
{
	struct sandbox *s = pod->sandbox;

	if (!s || !s->started || s->ended)
		return;
	s->ended = true;
	clock_gettime(CLOCK_REALTIME, &s->exited_at);
	thread_wake(s->end_fd);
}

/* What still runs in it ends as if killed, and is there until it is deleted. */
static int end_vm(struct pod *pod, struct err *err)
{
	int r;

	if (!pod->containers) {
		pod_stop(pod);
		return 0;
	}
	pod_kill_vm(pod);
	r = wait_fd(pod->sandbox->end_fd, POLLIN,
		deadline_after_ms(pod->config.call_timeout_ms));
	return r < 0 ? err_set(err, r, "the VM does not end") : 0;
}

int sandbox_stop(struct pod *pod, struct err *err)
{
	int r = pod_change_begin(pod, err);

	if (r < 0)
		return r;
	if (pod->sandbox && pod->sandbox->started && !pod->sandbox->ended)
		r = end_vm(pod, err);
	pod_change_end(pod);
	return r;
}

int sandbox_shutdown(struct pod *pod, struct err *err)
{
	int r = pod_change_begin(pod, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&pod->lock);
	pod->ending = true;
	errands_give_up_locked(pod, NULL, ERRAND_ALL);
	pthread_mutex_unlock(&pod->lock);
	containers_end_all(pod);
	pod_remove_state(pod);
	pod_change_end(pod);
	return 0;
}
