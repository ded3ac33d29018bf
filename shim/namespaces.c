/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces of a spec: see namespaces.h. */
#include "shim/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/json.h"
#include "base/util.h"

/* A type's name in a spec and its file in /proc/<pid>/ns. */
static const struct {
	const char *type, *file, *remedy;
} types[] = {
	{"network", "net",
		"give the container a namespace of its own (without a path it gets lo "
		"only)"},
	{"ipc", "ipc", "leave the path out"},
	{"uts", "uts", "leave the path out"},
	{"pid", "pid", "leave the path out"},
	{"mount", "mnt", "leave the path out"},
	{"user", "user", "leave the path out"},
	{"cgroup", "cgroup", "leave the path out"},
	{"time", "time", "leave the path out"},
};

/* Their places in the table. */
enum { TYPE_NETWORK, TYPE_IPC, TYPE_UTS, TYPE_PID };

#define BIT(type) (1u << (type))

static size_t find_type(const char *type)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(types) && strcmp(types[i].type, type) != 0)
		i++;
	return i;
}

/* ---- the host's ---- */

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_of_process(const char *process, const char *file, const struct stat *st)
{
	char path[64];
	struct stat other;

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, file);
	return stat(path, &other) == 0 && is_same(&other, st);
}

bool namespace_is_hosts(const char *type, const struct stat *st)
{
	size_t i = find_type(type);

	return i < ARRAY_SIZE(types) && (is_of_process("1", types[i].file, st) ||
						is_of_process("self", types[i].file, st));
}

int namespace_refuse(const char *type, const char *path, struct err *err)
{
	size_t i = find_type(type);

	return err_set(err, -EPERM,
		"%s is the host's %s namespace, and a VM can't use that; %s",
		err_quote(path, 256), type,
		i < ARRAY_SIZE(types) ? types[i].remedy : "leave the path out");
}

/* ---- whose it is ---- */

enum owner {
	OWNER_NEW,
	OWNER_POD,
	OWNER_TASK,    /* *ret_task's container */
	OWNER_ADOPTED, /* the pod's from now on */
};

pid_t namespace_pid_of_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	_cleanup_free_ char *real = realpath(folder, NULL);
	int pid, task, end = 0;

	if (!real)
		return 0;
	if (sscanf(real, "/proc/%d/ns%n", &pid, &end) == 1 && end > 0 && !real[end])
		return pid;
	if (sscanf(real, "/proc/%d/task/%d/ns%n", &pid, &task, &end) == 2 && end > 0 &&
		!real[end])
		return pid;
	return 0;
}

static const struct namespace_task *find_task(const struct namespace_pod *pod, pid_t pid)
{
	for (unsigned int i = 0; pid > 0 && i < pod->n_tasks; i++)
		if (pod->tasks[i].pid == pid)
			return &pod->tasks[i];
	return NULL;
}

static int fd_of_pod(const struct namespace_pod *pod, size_t type)
{
	return type == TYPE_IPC ? pod->ipc_fd : type == TYPE_UTS ? pod->uts_fd : -1;
}

static bool is_pods(const struct namespace_pod *pod, size_t type, const struct stat *st)
{
	int fd = fd_of_pod(pod, type);
	struct stat other;

	return fd >= 0 && fstat(fd, &other) == 0 && is_same(&other, st);
}

/* One that an engine has made for the pod, and that is kept by a file: the first
 * container brings it. That of a process is in use already, and not by this pod. */
static bool is_adoptable(const struct namespace_pod *pod, size_t type, pid_t pid)
{
	return pod->is_new && pid == 0 && (type == TYPE_IPC || type == TYPE_UTS);
}

static int find_owner(const struct namespace_pod *pod, size_t type, const char *path,
	const struct namespace_task **ret_task, struct err *err)
{
	pid_t pid = namespace_pid_of_path(path);
	struct stat st;

	*ret_task = find_task(pod, pid);
	if (*ret_task)
		return OWNER_TASK;
	if (stat(path, &st) < 0) {
		/* Whoever needs the network says so. */
		if (type == TYPE_NETWORK)
			return OWNER_POD;
		return err_sys(err, errno, "%s namespace %s", types[type].type,
			err_quote(path, 256));
	}
	if (namespace_is_hosts(types[type].type, &st))
		return namespace_refuse(types[type].type, path, err);
	if (type == TYPE_NETWORK || is_pods(pod, type, &st))
		return OWNER_POD;
	if (is_adoptable(pod, type, pid))
		return OWNER_ADOPTED;
	return err_set(err, -EPERM,
		"%s is the %s namespace of none of the pod's containers, and a VM can't "
		"use that; %s",
		err_quote(path, 256), types[type].type, types[type].remedy);
}

/* ---- what becomes of it ---- */

struct fitting {
	const struct namespace_pod *pod;
	struct namespace_fit *ret;
	struct json_object *kept;
	bool has_user; /* a namespace of users: what it owns can't be the guest's */
};

static bool is_shared(const struct fitting *f, size_t type)
{
	return type == TYPE_NETWORK ||
	       (f->pod->is_new && !f->has_user && (type == TYPE_IPC || type == TYPE_UTS));
}

static int open_adopted(const char *path, int *ret_fd, struct err *err)
{
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, errno, "open %s", err_quote(path, 256)) : 0;
}

static void keep_entry(struct fitting *f, size_t type, struct json_object *entry)
{
	f->ret->apart |= BIT(type);
	json_object_array_add(f->kept, json_object_get(entry));
}

static void join_task(struct fitting *f, size_t type, const struct namespace_task *task,
	struct json_object *entry)
{
	_cleanup_free_ char *path = NULL;

	if (!task->container && type == TYPE_PID) {
		f->ret->sandbox_pidns = true;
		f->ret->apart |= BIT(type);
	}
	if (!task->container || !(task->apart & BIT(type)))
		return;
	path = xasprintf(
		AGENT_NAMESPACES_DIR "/%s/%s", task->container, types[type].file);
	json_set_string(entry, "path", path);
	keep_entry(f, type, entry);
}

static int fit_one(struct fitting *f, struct json_object *entry, struct err *err)
{
	const struct namespace_task *task = NULL;
	const char *name, *path;
	size_t type;
	int r = json_get_string(entry, "type", &name, err);

	if (r == 0)
		r = json_get_string_opt(entry, "path", "", &path, err);
	if (r < 0)
		return r;
	type = find_type(name);
	if (type == ARRAY_SIZE(types))
		return err_set(
			err, -EINVAL, "%s is no type of namespaces", err_quote(name, 64));
	r = *path ? find_owner(f->pod, type, path, &task, err) : OWNER_NEW;
	if (r == OWNER_NEW && !is_shared(f, type))
		keep_entry(f, type, entry);
	else if (r == OWNER_TASK)
		join_task(f, type, task, entry);
	else if (r == OWNER_ADOPTED)
		return open_adopted(
			path, type == TYPE_IPC ? &f->ret->ipc_fd : &f->ret->uts_fd, err);
	return r < 0 ? r : 0;
}

static bool has_type(struct json_object *list, const char *type)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o =
			json_at(json_object_array_get_idx(list, i), "type");

		if (json_object_is_type(o, json_type_string) &&
			strcmp(json_object_get_string(o), type) == 0)
			return true;
	}
	return false;
}

static int fit_list(struct fitting *f, struct json_object *list, struct err *err)
{
	int r = 0;

	f->has_user = f->ret->own_users = has_type(list, "user");
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++)
		r = fit_one(f, json_object_array_get_idx(list, i), err);
	return r;
}

/*
 * The pod's hostname was set before its first container. The agent's protocol has no
 * domainname: the sysctl of that name is the same, and lands where the container's uts
 * namespace is.
 */
static void fit_names(
	struct json_object *spec, struct json_object *linux_, const struct fitting *f)
{
	bool own = f->ret->apart & BIT(TYPE_UTS);
	struct json_object *domain = json_at(spec, "domainname"),
			   *sysctl = json_at(linux_, "sysctl");

	if (!own)
		json_object_object_del(spec, "hostname");
	if ((own || f->pod->is_new) && json_object_get_string_len(domain) > 0) {
		if (!sysctl) {
			sysctl = json_object_new_object();
			json_object_object_add(linux_, "sysctl", sysctl);
		}
		if (json_object_is_type(sysctl, json_type_object))
			json_object_object_add(
				sysctl, "kernel.domainname", json_object_get(domain));
	}
	json_object_object_del(spec, "domainname");
}

int namespaces_fit(struct json_object *spec, const struct namespace_pod *pod,
	struct namespace_fit *ret, struct err *err)
{
	struct namespace_fit fit = {.ipc_fd = -1, .uts_fd = -1};
	_cleanup_json_ struct json_object *kept = json_object_new_array();
	struct fitting f = {.pod = pod, .ret = &fit, .kept = kept};
	struct json_object *linux_, *list = NULL;
	int r = json_get_object_opt(spec, "linux", &linux_, err);

	if (r == 0 && linux_)
		r = json_get_array_opt(linux_, "namespaces", &list, err);
	if (r == 0 && list)
		r = fit_list(&f, list, err);
	if (r < 0) {
		close_fd(fit.ipc_fd);
		close_fd(fit.uts_fd);
		return err_wrap(err, "linux.namespaces");
	}
	*ret = fit;
	if (!linux_)
		return 0;
	json_object_object_add(linux_, "namespaces", json_object_get(kept));
	fit_names(spec, linux_, &f);
	return 0;
}
