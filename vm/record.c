/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down of a VM: see record.h. */
#include "vm/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"

#define RECORD           "vm.json"
#define RECORD_BYTES_MAX 4096
#define RECORD_DEPTH     3

static struct json_object *process_to_json(const struct proc_id *id)
{
	struct json_object *obj = json_object_new_object();

	json_set_u64(obj, "pid", (uint64_t)id->pid);
	json_set_u64(obj, "start_ticks", id->start_ticks);
	return obj;
}

int vm_record_write(int dir_fd, const struct vm_record *record, struct err *err)
{
	_cleanup_json_ struct json_object *obj = json_object_new_object();
	const char *text;

	json_object_object_add(obj, "owner", process_to_json(&record->owner));
	json_set_bool(obj, "offered", record->offered);
	json_set_string(obj, "namespace", record->namespace);
	json_set_string(obj, "sandbox", record->sandbox);
	json_set_string(obj, "generation", record->generation);
	json_set_string(obj, "cgroup", record->cgroup);
	json_set_u64(obj, "files_uid", record->files_uid);
	json_object_object_add(obj, "qemu", process_to_json(&record->qemu));
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN);
	return file_write_atomic(dir_fd, RECORD, text, strlen(text), 0600, err);
}

static int take_process(
	struct json_object *obj, const char *key, struct proc_id *ret, struct err *err)
{
	struct json_object *process;
	uint64_t pid;
	int r;

	r = json_get_object(obj, key, &process, err);
	if (r == 0)
		r = json_get_u64(process, "pid", &pid, err);
	if (r == 0)
		r = json_get_u64(process, "start_ticks", &ret->start_ticks, err);
	if (r == 0 && pid > INT_MAX)
		r = err_set(err, -EBADMSG, "\"%s\": there is no such process", key);
	if (r == 0)
		ret->pid = (pid_t)pid;
	return r;
}

static int take_text(
	struct json_object *obj, const char *key, char *ret, size_t size, struct err *err)
{
	const char *value;
	int r = json_get_string(obj, key, &value, err);

	if (r < 0)
		return r;
	if (strlen(value) >= size)
		return err_set(err, -EBADMSG, "\"%s\" is too long", key);
	memcpy(ret, value, strlen(value) + 1);
	return 0;
}

/* One of a version that had no file server is still there to be swept. */
static int take_files_uid(struct json_object *obj, uid_t *ret, struct err *err)
{
	uint64_t uid;
	int r = json_get_u64_opt(obj, "files_uid", 0, &uid, err);

	if (r < 0)
		return r;
	if (uid >= UINT32_MAX)
		return err_set(err, -EBADMSG, "\"files_uid\": there is no such uid");
	*ret = (uid_t)uid;
	return 0;
}

static int parse_record(struct json_object *obj, struct vm_record *ret, struct err *err)
{
	int r;

	r = take_process(obj, "owner", &ret->owner, err);
	if (r == 0)
		r = json_get_bool(obj, "offered", &ret->offered, err);
	if (r == 0)
		r = take_text(obj, "namespace", ret->namespace, VM_NAME_SIZE, err);
	if (r == 0)
		r = take_text(obj, "sandbox", ret->sandbox, VM_NAME_SIZE, err);
	if (r == 0)
		r = take_text(
			obj, "generation", ret->generation, GENERATION_ID_SIZE, err);
	if (r == 0)
		r = take_text(obj, "cgroup", ret->cgroup, CGROUP_PATH_BYTES, err);
	if (r == 0)
		r = take_files_uid(obj, &ret->files_uid, err);
	if (r == 0)
		r = take_process(obj, "qemu", &ret->qemu, err);
	if (r == 0 && !cgroup_path_valid(ret->cgroup))
		r = err_set(err, -EBADMSG, "\"cgroup\": that is no path of ours");
	/* A value that is missing is no record that is missing. */
	return r == -ENOENT ? err_set(err, -EBADMSG, "a value is missing") : r;
}

int vm_record_read(int dir_fd, struct vm_record *ret, struct err *err)
{
	_cleanup_json_ struct json_object *obj = NULL;
	_cleanup_free_ char *text = NULL;
	struct vm_record record = {0};
	size_t len;
	int r;

	r = file_read(dir_fd, RECORD, RECORD_BYTES_MAX, &text, &len, err);
	if (r < 0)
		return r;
	r = json_parse(RECORD, text, len, RECORD_DEPTH, &obj, err);
	if (r == 0)
		r = parse_record(obj, &record, err);
	if (r < 0)
		return err_wrap(err, "a VM's " RECORD);
	*ret = record;
	return 0;
}

int vm_record_lock(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;

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
