/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's number on its host: see number.h. */
#include "vm/number.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"

/* A range of uids, both ends in it. */
struct range {
	unsigned int first, last;
};

static struct range range_of(const struct config *c)
{
	return (struct range){.first = vm_number_uid(c, 0),
		.last = vm_number_files_uid(c, (unsigned int)c->uid_count - 1)};
}

void vm_unlock(int fd)
{
	if (fd >= 0)
		flock(fd, LOCK_UN);
	close_fd(fd);
}

int vm_number_lock(struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r = mkdir_parents(VM_CLAIMS, 0700, err);

	if (r < 0)
		return r;
	fd = open(VM_CLAIMS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open " VM_CLAIMS);
	while ((r = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
		;
	return r < 0 ? err_sys(err, errno, "cannot lock " VM_CLAIMS) : steal_fd(&fd);
}

/* ---- the host's uids; its lock is held ---- */

/* One link in VM_CLAIMS. */
struct claim {
	char name[32];
	struct range uids;
	char state_dir[PATH_MAX];
};

static bool read_claim(int claims_fd, const char *name, struct claim *ret)
{
	ssize_t len =
		readlinkat(claims_fd, name, ret->state_dir, sizeof(ret->state_dir) - 1);
	int end = 0;

	if (len < 0 ||
		sscanf(name, "%u-%u%n", &ret->uids.first, &ret->uids.last, &end) != 2)
		return false;
	ret->state_dir[len] = '\0';
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	return !name[end];
}

/* Whether there are VMs below a state_dir; a folder of none is removed. */
static bool has_vms(const char *state_dir)
{
	_cleanup_free_ char *vms = xasprintf("%s/" VM_FOLDERS, state_dir);

	return rmdir(vms) < 0 && errno != ENOENT && errno != ENOTDIR;
}

/* Whether another claim leaves ours alone; one that nobody needs any more is removed. */
static int check_claim(int claims_fd, const struct claim *other, const char *state_dir,
	const struct range *ours, struct err *err)
{
	if (other->uids.last < ours->first || other->uids.first > ours->last)
		return 0;
	/* Our own of another uid_count: see is_clear(). */
	if (other->uids.first == ours->first && strcmp(other->state_dir, state_dir) == 0)
		return 0;
	if (!has_vms(other->state_dir))
		return unlinkat(claims_fd, other->name, 0) < 0 && errno != ENOENT
			       ? err_sys(err, errno, "cannot remove " VM_CLAIMS "/%s",
					 other->name)
			       : 0;
	return err_set(err, -EADDRINUSE,
		"the uids %u to %u (keys uid_base and uid_count of [hypervisor]) are not "
		"free: the VMs below %s have %u to %u; set another uid_base",
		ours->first, ours->last, other->state_dir, other->uids.first,
		other->uids.last);
}

static int claim_uids(int claims_fd, const struct config *c, struct err *err)
{
	_cleanup_closedir_ DIR *all = opendir(VM_CLAIMS);
	const struct range ours = range_of(c);
	struct dirent *entry;
	struct claim other;
	char name[32];
	int r = 0;

	snprintf(name, sizeof(name), "%u-%u", ours.first, ours.last);
	while (r == 0 && all && (entry = readdir(all))) {
		if (!read_claim(claims_fd, entry->d_name, &other))
			continue;
		if (strcmp(entry->d_name, name) == 0 &&
			strcmp(other.state_dir, c->state_dir) == 0)
			return 0;
		r = check_claim(claims_fd, &other, c->state_dir, &ours, err);
	}
	if (r == 0 && symlinkat(c->state_dir, claims_fd, name) < 0)
		r = err_sys(err, errno, "cannot claim uids in " VM_CLAIMS);
	return r;
}

/* All that lead to a state_dir without a VM, whatever its range is today. */
static void drop_claims(int claims_fd, const struct config *c)
{
	_cleanup_closedir_ DIR *all = opendir(VM_CLAIMS);
	struct dirent *entry;
	struct claim claim;

	if (has_vms(c->state_dir))
		return;
	while (all && (entry = readdir(all)))
		if (read_claim(claims_fd, entry->d_name, &claim) &&
			strcmp(claim.state_dir, c->state_dir) == 0)
			unlinkat(claims_fd, entry->d_name, 0);
}

/* ---- numbers; the host's lock is held ---- */

/* Whether there is a VM with that number, and its file server has that uid. */
static bool has_files_uid(const char *vms, int64_t number, uid_t uid)
{
	_cleanup_free_ char *dir = xasprintf("%s/%" PRId64, vms, number);
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vm_record record;

	return dir_fd >= 0 && vm_record_read(dir_fd, &record, NULL) == 0 &&
	       record.files_uid == uid;
}

/*
 * Whether the uids of a free number are no VM's. Under another uid_count the file servers
 * have other uids: that of a VM which was made so may be what is QEMU's or the file
 * server's here, and the other way round.
 */
static bool is_clear(
	int claims_fd, const struct config *c, const char *vms, unsigned int number)
{
	_cleanup_closedir_ DIR *all = opendir(VM_CLAIMS);
	const uid_t qemu = vm_number_uid(c, number),
		    files = vm_number_files_uid(c, number);
	_cleanup_free_ char *dir = xasprintf("%s/%u", vms, files - vm_number_uid(c, 0));
	struct dirent *entry;
	struct claim claim;

	if (access(dir, F_OK) == 0)
		return false;
	while (all && (entry = readdir(all))) {
		int64_t theirs;

		if (!read_claim(claims_fd, entry->d_name, &claim) ||
			claim.uids.first != vm_number_uid(c, 0) ||
			strcmp(claim.state_dir, c->state_dir) != 0)
			continue;
		theirs = ((int64_t)claim.uids.last - claim.uids.first + 1) / 2;
		if (has_files_uid(vms, number - theirs, qemu) ||
			has_files_uid(
				vms, number + (int64_t)c->uid_count - theirs, files))
			return false;
	}
	return true;
}

static int make_folder(int claims_fd, const struct config *c, unsigned int *ret,
	char **ret_dir, struct err *err)
{
	_cleanup_free_ char *vms = xasprintf("%s/" VM_FOLDERS, c->state_dir);
	uint64_t first;
	int r = mkdir_parents(vms, 0700, err);

	if (r < 0)
		return r;
	/* Drawn, so that a uid is not reused at once. */
	if (getrandom(&first, sizeof(first), 0) != sizeof(first))
		return err_sys(err, errno, "getrandom");
	first %= c->uid_count;
	for (uint64_t i = 0; i < c->uid_count; i++) {
		unsigned int number = (unsigned int)((first + i) % c->uid_count);
		_cleanup_free_ char *dir = xasprintf("%s/%u", vms, number);

		if (access(dir, F_OK) < 0 && !is_clear(claims_fd, c, vms, number))
			continue;
		if (mkdir(dir, 0700) == 0) {
			*ret = number;
			*ret_dir = steal_ptr(dir);
			return 0;
		}
		if (errno != EEXIST)
			return err_sys(err, errno, "cannot make the VM's folder %s", dir);
	}
	return err_set(err, -EBUSY,
		"all %llu uids for VMs are taken; raise uid_count of [hypervisor]",
		(unsigned long long)c->uid_count);
}

/* As record->cgroup names it. */
static int make_group(const char *dir, const struct vm_record *record,
	int procs_fds[CGROUP_MAX], struct err *err)
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (dir_fd < 0)
		return err_sys(err, errno, "cannot open %s", dir);
	r = vm_record_write(dir_fd, record, err);
	return r < 0 ? r : cgroup_create(record->cgroup, procs_fds, err);
}

/* -ENOENT: there is no such pod's. */
static int make_group_in_pod(const char *pod, const char *dir, const char *name,
	struct vm_record *record, int procs_fds[CGROUP_MAX])
{
	struct err why = ERR_INIT;
	int r;

	if (!*pod)
		return -ENOENT;
	r = cgroup_path_in_pod(pod, name, record->cgroup, &why);
	if (r == 0)
		r = make_group(dir, record, procs_fds, &why);
	if (r < 0)
		log_warn("the VM is not in its pod's cgroup: %s", why.text);
	return r;
}

static int remove_all(int claims_fd, const struct config *c, const char *dir,
	const char *cgroup, struct err *err)
{
	int r = cgroup_remove(cgroup, err);

	if (r == 0)
		r = remove_tree(AT_FDCWD, dir, err);
	drop_claims(claims_fd, c);
	return r;
}

int vm_number_take(const struct config *c, const char *pod, struct vm_record *record,
	char **ret_dir, int procs_fds[CGROUP_MAX], struct err *err)
{
	_cleanup_(unlock) int claims_fd = vm_number_lock(err);
	_cleanup_free_ char *dir = NULL;
	unsigned int number = 0;
	char name[16];
	int r;

	if (claims_fd < 0)
		return claims_fd;
	r = claim_uids(claims_fd, c, err);
	if (r == 0)
		r = make_folder(claims_fd, c, &number, &dir, err);
	if (r < 0) {
		drop_claims(claims_fd, c);
		return r;
	}
	record->files_uid = vm_number_files_uid(c, number);
	snprintf(name, sizeof(name), "%u", vm_number_uid(c, number));
	if (make_group_in_pod(pod, dir, name, record, procs_fds) < 0) {
		cgroup_path(c, name, record->cgroup);
		r = make_group(dir, record, procs_fds, err);
	}
	if (r < 0) {
		remove_all(claims_fd, c, dir, record->cgroup, NULL);
		return r;
	}
	*ret_dir = steal_ptr(dir);
	return (int)number;
}

int vm_number_give(
	const struct config *c, const char *dir, const char *cgroup, struct err *err)
{
	_cleanup_(unlock) int claims_fd = -1;

	/* Whoever is left in the group may take a moment to end: not under the lock. */
	cgroup_kill(cgroup);
	claims_fd = vm_number_lock(err);
	return claims_fd < 0 ? claims_fd : remove_all(claims_fd, c, dir, cgroup, err);
}

int vm_number_give_unrecorded(const struct config *c, const char *dir, struct err *err)
{
	_cleanup_(unlock) int claims_fd = vm_number_lock(err);
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vm_record record;
	int r;

	if (claims_fd < 0)
		return claims_fd;
	if (dir_fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot open %s", dir);
	if (vm_record_read(dir_fd, &record, NULL) != -ENOENT)
		return 0;
	r = remove_tree(AT_FDCWD, dir, err);
	drop_claims(claims_fd, c);
	return r;
}

void vm_number_drop_claims(const struct config *c)
{
	/* Where nobody has claimed anything nothing is made. */
	_cleanup_(unlock) int claims_fd =
		access(VM_CLAIMS, F_OK) == 0 ? vm_number_lock(NULL) : -1;

	if (claims_fd >= 0)
		drop_claims(claims_fd, c);
}
