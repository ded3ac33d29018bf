/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `delete`: see delete.h. */
#include "shim/delete.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/config_kept.h"
#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/util.h"
#include "shim/net.h"
#include "shim/peer.h"
#include "shim/proto/containerd_task.pb-c.h"
#include "shim/state.h"
#include "vm/own_cgroup.h"
#include "vm/sweep.h"

#define KILL_TIMEOUT_MS 5000

/* Keeps the first of several errors. */
static int first_error(int r, struct err *err, int r_next, const struct err *next)
{
	if (r < 0 || r_next == 0)
		return r;
	return err_copy(err, next);
}

static int kill_shim(const struct proc_id *shim, struct err *err)
{
	int r = 0;

	if (shim->pid > 0 && shim->pid != getpid())
		r = proc_end(shim, deadline_after_ms(KILL_TIMEOUT_MS));
	return r < 0 ? err_sys(err, r, "cannot end the shim, pid %d", (int)shim->pid) : 0;
}

static int undo_recorded(const struct config *c, const struct state *s, struct err *err)
{
	struct err e = ERR_INIT;
	int r, r_next;

	/* First the shim: it must not go on making things. */
	r = kill_shim(&s->shim, err);
	r_next = vm_sweep(c, s->namespace, s->id, &e);
	r = first_error(r, err, r_next, &e);
	if (*s->netns) {
		r_next = net_cleanup(s->netns, &e);
		r = first_error(r, err, r_next, &e);
	}
	/* What could not be undone is still to be found by the record. */
	return r < 0 ? r : state_remove(s, err);
}

int delete_state(const struct config *c, const char *dir, struct err *err)
{
	struct config of_sandbox;
	struct state s = {0};
	struct err e = ERR_INIT;
	int r;

	if (access(dir, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = state_load(dir, &s, &e);
	if (r < 0)
		/* Without a record: `start` was killed between the two, before anything
		 * else was made. */
		return r == -ENOENT || r == -EBADMSG ? remove_tree(AT_FDCWD, dir, err)
						     : err_copy(err, &e);
	config_init(&of_sandbox);
	if (*s.config_path && access(s.config_path, R_OK) == 0 &&
		config_load(&of_sandbox, s.config_path, NULL) == 0)
		c = &of_sandbox;
	r = undo_recorded(c, &s, err);
	config_done(&of_sandbox);
	state_done(&s);
	return r;
}

/*
 * containerd runs this after each end of a connection, and so also after the orderly end
 * of a pod's first container while others of the pod live, or when it could not reach a
 * shim just after its own start. So the shim is asked first; see delete.h for the rule.
 */
static int undo_dead(
	const struct config *c, const char *dir, const char *id, struct err *err)
{
	enum peer_outcome outcome = PEER_IS_MUTE;
	struct state s = {0};
	int r;

	if (state_load(dir, &s, NULL) == 0)
		outcome = peer_discard(&s, id);
	state_done(&s);
	switch (outcome) {
	case PEER_GOES_ON:
		return 0;
	case PEER_IS_BUSY:
		log_warn("container %s is still being removed by its shim, which lives",
			id);
		return 0;
	case PEER_ENDS:
	case PEER_IS_MUTE:
		break;
	}
	r = delete_state(c, dir, err);
	/* Not by the record: a shim may be killed when that is gone already. */
	own_cgroup_sweep(c->cgroup_parent, SHIM_CGROUP);
	return r;
}

/* The state folder of a bundle, or NULL: its link, else the place it would have by
 * default. */
static char *find_dir(
	const struct config *c, const struct cmdline *cmd, const char *bundle)
{
	_cleanup_free_ char *link = xasprintf("%s/%s", bundle, STATE_LINK);
	char target[PATH_MAX];
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	if (len > 0) {
		target[len] = '\0';
		return xstrdup(target);
	}
	return state_folder(c, cmd->namespace, cmd->id);
}

static void pack_response(void **ret_data, size_t *ret_len)
{
	Google__Protobuf__Timestamp exited_at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Containerd__Task__V2__DeleteResponse out =
		CONTAINERD__TASK__V2__DELETE_RESPONSE__INIT;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	exited_at.seconds = now.tv_sec;
	exited_at.nanos = (int32_t)now.tv_nsec;
	out.exit_status = DELETE_EXIT_STATUS;
	out.exited_at = &exited_at;
	*ret_len = containerd__task__v2__delete_response__get_packed_size(&out);
	*ret_data = xmalloc(*ret_len);
	containerd__task__v2__delete_response__pack(&out, *ret_data);
}

int delete_task(
	const struct cmdline *cmd, void **ret_data, size_t *ret_len, struct err *err)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0), *dir = NULL;
	const char *bundle = *cmd->bundle ? cmd->bundle : cwd ? cwd : ".";
	struct config config;
	struct err refused;
	int r = 0;

	config_init(&config);
	/* Without a usable configuration the defaults must do. */
	if (config_load_or_kept(&config, NULL, &refused, NULL) < 0) {
		config_done(&config);
		config_init(&config);
	}
	dir = find_dir(&config, cmd, bundle);
	r = undo_dead(&config, dir, cmd->id, err);
	config_done(&config);
	if (r == 0)
		pack_response(ret_data, ret_len);
	return r;
}
