/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM has made outside its memory: see record.h. */
#include "vm/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"

#define RECORD_BYTES_MAX 4096

int vm_record_write(const char *dir, const struct vm_record *record, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/vm.json", dir);
	_cleanup_json_ struct json_object *obj = json_object_new_object();
	const char *text;

	json_set_u64(obj, "uid", record->uid);
	json_set_string(obj, "cgroup", record->cgroup);
	json_set_u64(obj, "pid", (uint64_t)record->qemu.pid);
	json_set_u64(obj, "start_ticks", record->qemu.start_ticks);
	if (*record->born)
		json_set_string(obj, "born", record->born);
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN);
	return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

int vm_record_read(const char *dir, struct vm_record *ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/vm.json", dir);
	_cleanup_json_ struct json_object *obj = NULL;
	_cleanup_free_ char *text = NULL;
	uint64_t uid, pid, ticks;
	const char *cgroup, *born;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, path, RECORD_BYTES_MAX, &text, &len, err);
	if (r == 0)
		r = json_parse(path, text, len, 4, &obj, err);
	if (r == 0)
		r = json_get_u64(obj, "uid", &uid, err);
	if (r == 0)
		r = json_get_string(obj, "cgroup", &cgroup, err);
	if (r == 0)
		r = json_get_u64(obj, "pid", &pid, err);
	if (r == 0)
		r = json_get_u64(obj, "start_ticks", &ticks, err);
	if (r == 0)
		r = json_get_string_opt(obj, "born", "", &born, err);
	if (r < 0)
		return r;
	if ((*cgroup && !cgroup_path_valid(cgroup)) ||
		strlen(born) >= sizeof(ret->born) || pid > INT_MAX || uid > UINT32_MAX)
		return err_set(err, -EBADMSG, "%s: a value is out of its range", path);
	*ret = (struct vm_record){
		.uid = (uid_t)uid, .qemu = {.pid = (pid_t)pid, .start_ticks = ticks}};
	memcpy(ret->cgroup, cgroup, strlen(cgroup) + 1);
	memcpy(ret->born, born, strlen(born) + 1);
	return 0;
}

int vm_record_move(const char *from, const char *to, struct err *err)
{
	_cleanup_free_ char *old = xasprintf("%s/vm.json", from);
	_cleanup_free_ char *new = xasprintf("%s/vm.json", to);

	if (rename(old, new) < 0)
		return err_sys(err, errno, "cannot move %s to %s", old, to);
	return 0;
}

/* FNV-1a: spreads the VMs over the range, so that a uid is not reused at once. */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

/*
 * Who looks at a link and then removes it holds this: else another process may have put
 * its own there in between. It is held for a few system calls, and by a child of ours
 * until it executes something. Returns the descriptor that holds it.
 */
static int lock_uids(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	while ((r = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
		;
	if (r == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

/* Frees a link whose folder is gone; false if it is in use. */
static bool reclaim(const char *link)
{
	char target[PATH_MAX];
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	if (len < 0)
		return errno == ENOENT;
	target[len] = '\0';
	return access(target, F_OK) < 0 && errno == ENOENT && unlink(link) == 0;
}

int vm_uid_take(const struct config *c, const char *dir, uid_t *ret_uid, struct err *err)
{
	_cleanup_free_ char *folder = xasprintf("%s/.uids", c->state_dir);
	uint64_t first = hash(dir) % c->uid_count;
	_cleanup_close_ int lock_fd = -1;
	int r = mkdir_parents(folder, 0700, err);

	if (r < 0)
		return r;
	lock_fd = lock_uids(folder);
	if (lock_fd < 0)
		return err_sys(err, lock_fd, "cannot lock %s", folder);
	for (uint64_t i = 0; i < c->uid_count; i++) {
		uid_t uid = (uid_t)(c->uid_base + (first + i) % c->uid_count);
		_cleanup_free_ char *link = xasprintf("%s/%u", folder, uid);

		if (symlink(dir, link) == 0 ||
			(reclaim(link) && symlink(dir, link) == 0)) {
			*ret_uid = uid;
			return 0;
		}
		if (errno != EEXIST)
			return err_sys(
				err, errno, "cannot take the uid %u in %s", uid, folder);
	}
	return err_set(err, -EBUSY, "all %llu uids for QEMU are taken; raise uid_count",
		(unsigned long long)c->uid_count);
}

/* Whether the link leads to that folder. */
static bool leads_to(const char *link, const char *dir)
{
	char target[PATH_MAX];
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	return len > 0 && (size_t)len == strlen(dir) &&
	       memcmp(target, dir, (size_t)len) == 0;
}

void vm_uid_release(const struct config *c, const char *dir, const char *born, uid_t uid)
{
	_cleanup_free_ char *folder = xasprintf("%s/.uids", c->state_dir);
	_cleanup_free_ char *link = xasprintf("%s/%u", folder, uid);
	_cleanup_free_ char *new = xasprintf("%s.new", link); /* of a killed mover */
	_cleanup_close_ int lock_fd = lock_uids(folder);

	if (leads_to(link, dir) || (*born && leads_to(link, born)))
		unlink(link);
	if (leads_to(new, dir))
		unlink(new);
}

int vm_uid_move(const struct config *c, uid_t uid, const char *dir, struct err *err)
{
	_cleanup_free_ char *link = xasprintf("%s/.uids/%u", c->state_dir, uid);
	_cleanup_free_ char *new = xasprintf("%s.new", link);

	/* One that was left by a mover who was killed: the uid is ours alone. */
	if (unlink(new) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove %s", new);
	if (symlink(dir, new) < 0)
		return err_sys(err, errno, "cannot make the link %s", new);
	if (rename(new, link) < 0)
		return err_sys(err, errno, "cannot replace the link %s", link);
	return 0;
}

/* Whether there is a link to dir; with `release` it is removed, and all others, too. */
static bool find_links(const struct config *c, const char *dir, bool release)
{
	_cleanup_free_ char *folder = xasprintf("%s/.uids", c->state_dir);
	_cleanup_close_ int lock_fd = release ? lock_uids(folder) : -1;
	_cleanup_closedir_ DIR *all = opendir(folder);
	struct dirent *entry;
	bool found = false;

	while (all && (entry = readdir(all))) {
		_cleanup_free_ char *link = xasprintf("%s/%s", folder, entry->d_name);

		if (!leads_to(link, dir))
			continue;
		found = true;
		if (release)
			unlink(link);
	}
	return found;
}

void vm_uid_release_all(const struct config *c, const char *dir)
{
	find_links(c, dir, true);
}

bool vm_uid_is_held(const struct config *c, const char *dir)
{
	return find_links(c, dir, false);
}
