/* SPDX-License-Identifier: Apache-2.0 */
/* files/watch, files/replay, guest/replay: what others change in a folder is told to who
 * watches it by inotify through a mount of this machine's own FUSE. */
#include "tests/unit/files_watching.h"

#include <sys/fsuid.h>
#include <sys/xattr.h>

#define ALL                                                                              \
	(IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVE |      \
		IN_DELETE_SELF | IN_MOVE_SELF)

/* ---- tests ---- */

static void test_made(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	HOST(m, file);
	HOST(m, folder);
	HOST(m, link);
	HOST(m, fifo);

	watch_name(&w, ".", ALL);
	host_write(file, "text");
	assert_told(&w, "CREATE file, MODIFY file, CLOSE_WRITE file, ");
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_told(&w, "CREATE/ folder, ");
	assert_int_equal(symlink("file", link), 0);
	assert_told(&w, "CREATE link, ");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_told(&w, "CREATE fifo, ");
	watch_end(&w);
}

static void test_changed(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	PATH_OF(m, folder);
	HOST(m, file);
	struct stat st;
	int fd;

	fd = make_file(file, "text", 0644);
	assert_int_equal(mkdir(folder, 0755), 0);
	settle(m);
	watch_name(&w, ".", ALL);
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_told(&w, "ATTRIB file, ");
	assert_int_equal(write(fd, "more", 4), 4);
	assert_told(&w, "MODIFY file, ");
	close(fd);
	assert_told(&w, "CLOSE_WRITE file, ");
	assert_int_equal(chmod(m->folder, 0750), 0);
	assert_told(&w, "ATTRIB/, ");
	/* And nothing of this was done to the file. */
	st = stat_of(file);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 8);
	assert_true(st.st_mtim.tv_sec > 0);
	watch_end(&w);
}

static void test_removed(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	_cleanup_free_ char *host_seen = host_path(m, "seen");
	PATH_OF(m, seen);
	HOST(m, unseen);
	HOST(m, folder);

	close(make_file(unseen, "", 0644));
	assert_int_equal(mkdir(folder, 0755), 0);
	close(make_file(seen, "", 0644));
	settle(m);
	watch_name(&w, ".", ALL);
	assert_int_equal(unlink(unseen), 0);
	assert_told(&w, "DELETE unseen, ");
	assert_int_equal(rmdir(folder), 0);
	assert_told(&w, "DELETE/ folder, ");
	assert_int_equal(unlink(host_seen), 0);
	assert_told(&w, "DELETE seen, ");
	assert_fails(access(seen, F_OK), ENOENT);
	watch_end(&w);
}

/* The file itself is watched, not only its folder. */
static void test_self(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	HOST(m, file);
	HOST(m, other);
	HOST(m, folder);
	_cleanup_free_ char *host_hard = host_path(m, "hard");
	PATH_OF(m, hard);

	close(make_file(file, "", 0644));
	assert_int_equal(mkdir(folder, 0755), 0);
	settle(m);
	watch_name(&w, ".", IN_CREATE);
	watch_name(&w, "file", ALL);
	watch_name(&w, "folder", ALL);
	host_write(file, "x");
	assert_told(&w, "MODIFY, CLOSE_WRITE, ");
	assert_int_equal(rename(file, other), 0);
	assert_told(&w, "MOVE_SELF, ");
	assert_int_equal(link(other, host_hard), 0);
	/* That it has one name more is not told. */
	assert_told(&w, "CREATE hard, ");
	/* Another name of it is left. */
	assert_int_equal(unlink(other), 0);
	assert_told(&w, "ATTRIB, ");
	assert_int_equal(access(hard, F_OK), 0);
	assert_int_equal(unlink(host_hard), 0);
	assert_told(&w, "ATTRIB, DELETE_SELF, IGNORED, ");
	assert_int_equal(rmdir(folder), 0);
	assert_told(&w, "DELETE_SELF, IGNORED, ");
	watch_end(&w);
}

static void test_moved(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	char *outside = test_folder_new();
	_cleanup_free_ char *away = xasprintf("%s/away", outside);
	_cleanup_free_ char *inner = host_path(m, "folder/inner");
	HOST(m, file);
	HOST(m, other);
	HOST(m, folder);
	HOST(m, renamed);

	close(make_file(file, "", 0644));
	assert_int_equal(mkdir(folder, 0755), 0);
	settle(m);
	watch_name(&w, ".", ALL);
	watch_name(&w, "folder", ALL & ~IN_MOVE_SELF);
	assert_int_equal(rename(file, other), 0);
	assert_told(&w, "MOVED_FROM file, MOVED_TO other, ");
	assert_int_equal(rename(other, inner), 0);
	assert_told(&w, "MOVED_FROM other, MOVED_TO inner, ");
	assert_int_equal(rename(inner, away), 0);
	assert_told(&w, "MOVED_FROM inner, ");
	assert_int_equal(rename(away, file), 0);
	assert_told(&w, "MOVED_TO file, ");
	assert_int_equal(rename(folder, renamed), 0);
	assert_told(&w, "MOVED_FROM/ folder, MOVED_TO/ renamed, ");
	watch_end(&w);
	test_folder_free(outside);
}

/* Each takes the other's name, and neither loses one. */
static void test_exchanged(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m), self = watch_begin(m);
	HOST(m, a);
	HOST(m, b);

	close(make_file(a, "", 0644));
	close(make_file(b, "", 0644));
	settle(m);
	watch_name(&w, ".", ALL);
	watch_name(&self, "b", ALL);
	assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
	assert_told(&w, "MOVED_FROM a, MOVED_TO b, MOVED_FROM b, MOVED_TO a, ");
	read_events(&self);
	assert_string_equal(self.text, "MOVE_SELF, ");
	assert_int_equal(unlink(b), 0);
	assert_told(&w, "DELETE b, ");
	host_write(a, "x");
	assert_told(&w, "MODIFY a, CLOSE_WRITE a, ");
	assert_int_equal(unlink(a), 0);
	assert_told(&w, "DELETE a, ");
	read_events(&self);
	assert_string_equal(self.text,
		"MOVE_SELF, MODIFY, CLOSE_WRITE, ATTRIB, DELETE_SELF, IGNORED, ");
	watch_end(&self);
	watch_end(&w);
}

/* The guest does it, and what it knows of the names with it. */
static void test_exchanged_own(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	_cleanup_free_ char *host_a = host_path(m, "a"), *host_b = host_path(m, "b");
	PATH_OF(m, a);
	PATH_OF(m, b);

	close(make_file(a, "", 0644));
	close(make_file(b, "", 0644));
	watch_name(&w, ".", IN_CREATE);
	watch_name(&w, "a", IN_ATTRIB);
	watch_name(&w, "b", IN_DELETE_SELF);
	assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
	assert_int_equal(unlink(host_a), 0);
	assert_told(&w, "DELETE_SELF, IGNORED, ");
	assert_int_equal(unlink(host_b), 0);
	assert_told(&w, "ATTRIB, IGNORED, ");
	watch_end(&w);
}

/* As kubelet does: a new folder, and a symbolic link to it that is moved over the old. */
static void test_config_map(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	_cleanup_free_ char *old = host_path(m, "..1"), *new = host_path(m, "..2");
	_cleanup_free_ char *data = host_path(m, "..data");
	_cleanup_free_ char *data_new = host_path(m, "..data_tmp");
	_cleanup_free_ char *old_file = host_path(m, "..1/key");
	_cleanup_free_ char *new_file = host_path(m, "..2/key");
	_cleanup_free_ char *key = host_path(m, "key");
	_cleanup_free_ char *seen = mount_path(m, "key");
	int fd;

	assert_int_equal(mkdir(old, 0755), 0);
	host_write(old_file, "one");
	assert_int_equal(symlink("..1", data), 0);
	assert_int_equal(symlink("..data/key", key), 0);
	settle(m);
	watch_name(&w, ".", ALL);
	watch_name(&w, "key", ALL); /* the file behind it */
	fd = open(seen, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "one");
	close(fd);
	assert_int_equal(mkdir(new, 0755), 0);
	host_write(new_file, "two");
	assert_int_equal(symlink("..2", data_new), 0);
	assert_int_equal(rename(data_new, data), 0);
	assert_int_equal(unlink(old_file), 0);
	assert_int_equal(rmdir(old), 0);
	assert_told(&w,
		"CREATE/ ..2, CREATE ..data_tmp, MOVED_FROM ..data_tmp, MOVED_TO ..data, "
		"ATTRIB, DELETE_SELF, IGNORED, DELETE/ ..1, ");
	fd = open(seen, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "two");
	close(fd);
	watch_end(&w);
}

/* The guest's own changes come once, and by its kernel. */
static void test_own(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	PATH_OF(m, file);
	PATH_OF(m, other);

	watch_name(&w, ".", ALL);
	host_write(file, "x");
	assert_int_equal(rename(file, other), 0);
	assert_int_equal(unlink(other), 0);
	assert_told(&w, "CREATE file, MODIFY file, CLOSE_WRITE file, MOVED_FROM file, "
			"MOVED_TO other, DELETE other, ");
	watch_end(&w);
}

/* Read-only in the guest; changes are told all the same. */
static void test_readonly(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	PATH_OF(m, mine);
	HOST(m, file);

	assert_int_equal(
		mount(NULL, m->at, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	watch_name(&w, ".", ALL);
	host_write(file, "x");
	assert_told(&w, "CREATE file, MODIFY file, CLOSE_WRITE file, ");
	assert_int_equal(unlink(file), 0);
	assert_told(&w, "DELETE file, ");
	assert_fails(mkdir(mine, 0755), EROFS);
	watch_end(&w);
}

/* A name that comes and goes before anybody asks. */
static void test_brief(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	HOST(m, file);
	HOST(m, other);

	watch_name(&w, ".", IN_CREATE | IN_DELETE | IN_MOVE);
	host_write(file, "x");
	assert_int_equal(unlink(file), 0);
	assert_told(&w, "CREATE file, DELETE file, ");
	host_write(file, "x");
	assert_int_equal(rename(file, other), 0);
	assert_int_equal(unlink(other), 0);
	assert_told(&w, "CREATE file, MOVED_FROM file, MOVED_TO other, DELETE other, ");
	watch_end(&w);
}

/* Saved as editors do: over a file that is watched, and open. */
static void test_replaced(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	PATH_OF(m, file);
	HOST(m, temporary);
	_cleanup_free_ char *host = host_path(m, "file");
	int fd = make_file(file, "old", 0644), again;

	watch_name(&w, ".", IN_CREATE | IN_MOVE);
	watch_name(&w, "file", ALL);
	host_write(temporary, "new");
	assert_int_equal(rename(temporary, host), 0);
	/* It is open, and so not gone yet. */
	assert_told(
		&w, "CREATE temporary, MOVED_FROM temporary, MOVED_TO file, ATTRIB, ");
	assert_reads(fd, 0, "old");
	again = open(file, O_RDONLY | O_CLOEXEC);
	assert_reads(again, 0, "new");
	close(again);
	close(fd);
	assert_told(&w, "CLOSE_WRITE, DELETE_SELF, IGNORED, ");
	watch_end(&w);
}

/* Nobody watches: the changes are dropped, without a request for each. */
static void test_unwatched(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	PATH_OF(m, file);
	_cleanup_free_ char *host = host_path(m, "file");
	eventfd_t taken;

	assert_fails(access(file, F_OK), ENOENT);
	host_write(host, "x");
	wait_changed(m);
	assert_true(replay_now(m) >= 1);
	assert_fails(eventfd_read(m->taken_fd, &taken), EAGAIN);
	assert_int_equal(access(file, F_OK), 0);
	settle(m);
	watch_name(&w, ".", ALL);
	assert_told(&w, "");
	assert_int_equal(eventfd_read(m->taken_fd, &taken), 0);
	watch_end(&w);
}

/* With a watcher, too, a call is one round, and there is a rest after it. */
static void test_round(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	HOST(m, folder);

	watch_name(&w, ".", ALL);
	assert_int_equal(mkdir(folder, 0755), 0);
	wait_changed(m);
	assert_int_equal(replay_now(m), 1);
	read_events(&w);
	assert_string_equal(w.text, "CREATE/ folder, ");
	watch_end(&w);
}

#define MANY 200

static void test_many(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	unsigned int n = 0;
	HOST(m, last);

	watch_name(&w, ".", IN_CREATE);
	for (unsigned int i = 0; i < MANY; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%u", m->folder, i);

		close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	}
	host_write(last, "");
	wait_text(&w, "CREATE last, ");
	for (const char *at = w.text; (at = strstr(at, "CREATE ")); at++)
		n++;
	assert_int_equal(n, MANY + 1);
	watch_end(&w);
}

/* Deeper than the root, and where the guest never listed anything. */
static void test_below(void **state)
{
	const struct files_mount *m = *state;
	struct watching w = watch_begin(m);
	_cleanup_free_ char *below = host_path(m, "folder/below");
	_cleanup_free_ char *file = host_path(m, "folder/below/file");
	HOST(m, folder);

	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(mkdir(below, 0755), 0);
	settle(m);
	watch_name(&w, ".", IN_CREATE);
	watch_name(&w, "folder/below", IN_ALL_EVENTS);
	host_write(file, "x");
	assert_told(&w, "CREATE file, MODIFY file, OPEN file, CLOSE_WRITE file, ");
	watch_end(&w);
}

/* Who asks as the agent does changes nothing on the host. */
/* A wall's proof: docs/security.md. */
static void test_mark(void **state)
{
	const struct files_mount *m = *state;
	PATH_OF(m, file);
	PATH_OF(m, folder);
	PATH_OF(m, link);
	_cleanup_free_ char *host = host_path(m, "file");
	struct stat st;
	int fd;

	host_write(host, "text");
	assert_int_equal(chmod(host, 0644), 0);
	setfsgid(FILES_REPLAY_GID);
	assert_fails(unlink(file), EPERM);
	assert_fails(mkdir(folder, 0755), EPERM);
	assert_fails(symlink("x", link), EPERM);
	assert_fails(mknod(link, S_IFREG | 0600, 0), EPERM);
	assert_fails(rename(file, link), EPERM);
	assert_fails(linkat(AT_FDCWD, file, AT_FDCWD, link, 0), EPERM);
	assert_fails(setxattr(file, "trusted.x", "1", 1, 0), EPERM);
	assert_fails(open(link, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), EPERM);
	assert_int_equal(chmod(file, 0600), 0);
	assert_int_equal(chown(file, 5, 6), 0);
	assert_int_equal(truncate(file, 1), 0);
	fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_fails((int)write(fd, "x", 1), EPERM);
	assert_fails(fallocate(fd, 0, 0, 4096), EPERM);
	close(fd);
	setfsgid(0);
	st = stat_of(host);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(test_entries(m->folder), 1);
}

/* A volume that is one file. */
static void test_single(void **state)
{
	struct files_mount *m = mount_plain();
	struct watching w = watch_begin(m);
	HOST(m, file);
	int fd;

	(void)state;
	host_write(file, "one");
	m->root = file;
	mount_over(m, &watched);
	assert_true(inotify_add_watch(w.fd, m->at, ALL & ~IN_CLOSE_WRITE) >= 0);
	fd = open(m->at, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "one");
	host_write(file, "two");
	wait_text(&w, "MODIFY, ");
	/* What the guest had read is not believed for that. */
	assert_reads(fd, 0, "two");
	close(fd);
	w.len = 0;
	assert_int_equal(chmod(file, 0600), 0);
	wait_text(&w, "ATTRIB, ");
	assert_string_equal(w.text, "ATTRIB, ");
	watch_end(&w);
	mount_free(m);
}

#define WATCHED(fn)                                                                      \
	{                                                                                \
#fn, fn, setup, teardown, &watched                                       \
	}

/*
 * Who watches is asked of all processes: here of this program's alone, however many the
 * machine has. The child is the first one of its own namespace.
 */
static void enter_small_world(void)
{
	int status = 0;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		return;
	pid = fork();
	if (pid > 0) {
		waitpid(pid, &status, 0);
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	if (pid < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
		abort();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WATCHED(test_made),
		WATCHED(test_changed),
		WATCHED(test_removed),
		WATCHED(test_self),
		WATCHED(test_moved),
		WATCHED(test_exchanged),
		WATCHED(test_exchanged_own),
		WATCHED(test_config_map),
		WATCHED(test_own),
		WATCHED(test_readonly),
		WATCHED(test_brief),
		WATCHED(test_replaced),
		WATCHED(test_unwatched),
		WATCHED(test_round),
		WATCHED(test_many),
		WATCHED(test_below),
		WATCHED(test_mark),
		cmocka_unit_test(test_single),
	};
	const char *missing = mount_missing();

	if (missing) {
		printf("1..0 # SKIP %s\n", missing);
		return 0;
	}
	enter_small_world();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
