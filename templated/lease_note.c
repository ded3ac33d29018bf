/* SPDX-License-Identifier: Apache-2.0 */
/* Leases written down: see lease_note.h. */
#include "templated/lease_note.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"

#define NOTE_BYTES_MAX 4096
#define NOTE_SUFFIX    ".json"
#define RETIRED_SUFFIX ".retired"

/* The folder, made if it is missing; a negative errno. */
static int open_folder(int root_fd, bool make)
{
	int fd;

	if (make && mkdirat(root_fd, GENERATION_LEASES, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(root_fd, GENERATION_LEASES,
		O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	return len > n && strcmp(name + len - n, suffix) == 0;
}

/* ---- writing ---- */

int lease_note_write(int root_fd, struct lease_note *note, struct err *err)
{
	/* Grants of one microsecond are told apart by the counter, and those of a
	 * former templated to the same process by the time. */
	static atomic_uint count;
	_cleanup_close_ int dir_fd = open_folder(root_fd, true);
	_cleanup_json_ struct json_object *obj = json_object_new_object();
	char name[LEASE_NOTE_NAME_SIZE];
	const char *text;
	int r;

	if (dir_fd < 0)
		return err_sys(err, dir_fd, "cannot open the folder of leases");
	json_set_string(obj, "generation", note->generation);
	json_set_string(obj, "sandbox", note->sandbox);
	json_set_i64(obj, "pid", note->holder.pid);
	json_set_u64(obj, "start_ticks", note->holder.start_ticks);
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN);
	snprintf(name, sizeof(name), "%d-%" PRIu64 "-%" PRIx64 "%03x" NOTE_SUFFIX,
		(int)note->holder.pid, note->holder.start_ticks, now_us(),
		atomic_fetch_add(&count, 1) & 0xfff);
	r = file_write_atomic(dir_fd, name, text, strlen(text), 0400, err);
	if (r == 0)
		memcpy(note->name, name, sizeof(name));
	return r;
}

static void remove_file(int root_fd, const char *name)
{
	char path[sizeof(GENERATION_LEASES) + 1 + NAME_MAX];

	snprintf(path, sizeof(path), GENERATION_LEASES "/%s", name);
	if (unlinkat(root_fd, path, 0) < 0 && errno != ENOENT)
		log_warn("%s in the template's tmpfs is left: %s", err_quote(path, 128),
			strerror(errno));
}

void lease_note_remove(int root_fd, const char *name)
{
	if (*name && root_fd >= 0)
		remove_file(root_fd, name);
}

/* ---- reading ---- */

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

static int lease_note_parse(
	const char *text, size_t len, struct lease_note *note, struct err *err)
{
	_cleanup_json_ struct json_object *obj = NULL;
	uint64_t pid;
	int r;

	r = json_parse("the note", text, len, 2, &obj, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(obj, json_type_object))
		return err_set(err, -EBADMSG, "the note is not a JSON object");
	r = take_text(obj, "generation", note->generation, sizeof(note->generation), err);
	if (r < 0)
		return r;
	r = take_text(obj, "sandbox", note->sandbox, sizeof(note->sandbox), err);
	if (r < 0)
		return r;
	r = json_get_u64(obj, "pid", &pid, err);
	if (r < 0)
		return r;
	r = json_get_u64(obj, "start_ticks", &note->holder.start_ticks, err);
	if (r < 0)
		return r;
	if (!generation_id_valid(note->generation) || pid == 0 || pid > INT_MAX)
		return err_set(err, -EBADMSG, "no such generation or process can be");
	note->holder.pid = (pid_t)pid;
	return 0;
}

static int read_note(
	int dir_fd, const char *name, struct lease_note *ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	struct lease_note note = {0};
	size_t len;
	int r;

	if (strlen(name) >= sizeof(note.name) || !ends_with(name, NOTE_SUFFIX))
		return err_set(err, -EBADMSG, "not a name of a note");
	r = file_read(dir_fd, name, NOTE_BYTES_MAX, &text, &len, err);
	if (r == 0)
		r = lease_note_parse(text, len, &note, err);
	if (r < 0)
		return r;
	memcpy(note.name, name, strlen(name) + 1);
	*ret = note;
	return 0;
}

/* A mark whose generation is gone: templated was killed between the two. */
static void look_at_mark(int root_fd, const char *name)
{
	_cleanup_free_ char *id = xstrndup(name, strlen(name) - strlen(RETIRED_SUFFIX));

	if (faccessat(root_fd, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		remove_file(root_fd, name);
}

/* Whether it is a note: *ret then. */
static bool look_at(int root_fd, int dir_fd, const char *name, struct lease_note *ret)
{
	struct err why = ERR_INIT;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	if (ends_with(name, RETIRED_SUFFIX)) {
		look_at_mark(root_fd, name);
		return false;
	}
	if (read_note(dir_fd, name, ret, &why) == 0)
		return true;
	log_warn("removing %s from the leases: %s", err_quote(name, 64), why.text);
	remove_file(root_fd, name);
	return false;
}

int lease_notes_read(int root_fd, struct lease_note **ret, size_t *ret_n, struct err *err)
{
	_cleanup_close_ int dir_fd = open_folder(root_fd, false);
	struct dirent **names = NULL;
	struct lease_note *notes;
	size_t count = 0;
	int n = 0;

	if (dir_fd >= 0)
		n = scandirat(dir_fd, ".", &names, NULL, alphasort);
	else if (dir_fd != -ENOENT)
		return err_sys(err, dir_fd, "cannot open the folder of leases");
	if (n < 0)
		return err_sys(err, errno, "cannot read the folder of leases");
	notes = xreallocarray(NULL, (size_t)n + 1, sizeof(*notes));
	for (int i = 0; i < n; i++) {
		if (look_at(root_fd, dir_fd, names[i]->d_name, &notes[count]))
			count++;
		free(names[i]);
	}
	free(names);
	*ret = notes;
	*ret_n = count;
	return 0;
}

/* ---- retired ones ---- */

static void retired_name(const char *generation, char *ret, size_t size)
{
	snprintf(ret, size, "%s" RETIRED_SUFFIX, generation);
}

int lease_retired_mark(int root_fd, const char *generation, struct err *err)
{
	_cleanup_close_ int dir_fd = open_folder(root_fd, true);
	char name[GENERATION_ID_SIZE + sizeof(RETIRED_SUFFIX)];
	int fd;

	retired_name(generation, name, sizeof(name));
	fd = dir_fd < 0 ? dir_fd
			: openat(dir_fd, name,
				  O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (fd < 0)
		return err_sys(err, dir_fd < 0 ? dir_fd : errno,
			"cannot write down that generation %s is retired", generation);
	close(fd);
	return 0;
}

void lease_retired_unmark(int root_fd, const char *generation)
{
	char name[GENERATION_ID_SIZE + sizeof(RETIRED_SUFFIX)];

	retired_name(generation, name, sizeof(name));
	if (root_fd >= 0)
		remove_file(root_fd, name);
}

bool lease_retired_is_marked(int root_fd, const char *generation)
{
	char name[GENERATION_ID_SIZE + sizeof(RETIRED_SUFFIX)];
	char path[sizeof(GENERATION_LEASES) + sizeof(name)];

	retired_name(generation, name, sizeof(name));
	snprintf(path, sizeof(path), GENERATION_LEASES "/%s", name);
	return faccessat(root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
