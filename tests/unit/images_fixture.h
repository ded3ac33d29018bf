/* SPDX-License-Identifier: Apache-2.0 */
/* An image store of a test's own, with layers on its tmpfs. For one file of a program. */
#pragma once

#include "tests/unit/mm_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "base/log.h"
#include "templated/images_internal.h"

#define STORE "/tmp/store"

static struct images *store;
static struct settings *settings;

static inline void change(const char *section, const char *key, const char *value)
{
	_cleanup_free_ char *group = xasprintf("stencil-unit-%d", (int)getpid());
	struct err err = ERR_INIT;
	struct config c;

	config_init(&c);
	if (config_set(&c, "images", "enable", "true", "", &err) < 0 ||
		config_set(&c, "images", "path", STORE, "", &err) < 0 ||
		config_set(&c, "images", "cpu_percent", "0", "", &err) < 0 ||
		config_set(&c, "runtime", "cgroup_parent", group, "", &err) < 0 ||
		config_set(&c, section, key, value, "", &err) < 0)
		fail_msg("%s", err.text);
	settings_put(settings);
	settings = settings_new(&c);
}

static inline int setup(void **state)
{
	(void)state;
	change("images", "enable", "true");
	store = images_new(STORE);
	return 0;
}

static inline int teardown(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	images_free(store);
	settings_put(steal_ptr(settings));
	if (remove_tree(AT_FDCWD, STORE, &err) < 0 ||
		remove_tree(AT_FDCWD, "/tmp/l", &err) < 0)
		fail_msg("%s", err.text);
	return access(STORE ".lock", F_OK) == 0;
}

/* ---- layers ---- */

static inline void make_folder(const char *path)
{
	struct err err = ERR_INIT;

	if (mkdir_parents(path, 0755, &err) < 0)
		fail_msg("%s", err.text);
}

/* /tmp/l/<name> with a file in it. */
static inline char *make_layer(const char *name)
{
	char *path = xasprintf("/tmp/l/%s", name);
	_cleanup_free_ char *file = xasprintf("%s/of-%.20s", path, name);

	make_folder(path);
	fixture_write(file, name, 0644);
	return path;
}

/* ---- asking ---- */

static inline enum images_answer ask_for(
	char *const *lowers, size_t n, struct image_grant *ret, struct err *err)
{
	*err = ERR_INIT;
	*ret = (struct image_grant){.fd = -1};
	return images_ask(store, settings, lowers, n, ret, err);
}

static inline void wait_made(void)
{
	pthread_mutex_lock(&store->lock);
	while (store->n_queued > 0)
		pthread_cond_wait(&store->changed, &store->lock);
	pthread_mutex_unlock(&store->lock);
}

/* There is none yet, then it is made, then it is there. */
static inline struct image_grant obtain(char *const *lowers, size_t n)
{
	struct image_grant grant;
	struct err err;

	if (ask_for(lowers, n, &grant, &err) == IMAGES_GRANTED)
		return grant;
	wait_made();
	if (ask_for(lowers, n, &grant, &err) != IMAGES_GRANTED)
		fail_msg("%s", err.text);
	return grant;
}

static inline struct image_grant obtain_one(const char *layer)
{
	return obtain((char *[]){(char *)(uintptr_t)layer}, 1);
}

/* Asked for, and not made: the second answer. */
static inline void fail_to_make(
	char *const *lowers, size_t n, enum images_answer answer, const char *why)
{
	struct image_grant grant;
	struct err err;

	assert_int_equal(ask_for(lowers, n, &grant, &err), IMAGES_MAKING);
	wait_made();
	assert_int_equal(ask_for(lowers, n, &grant, &err), answer);
	assert_error(err, why);
	assert_int_equal(grant.fd, -1);
}

/* How many files of the store end so. */
static inline int count_files(const char *ending)
{
	_cleanup_closedir_ DIR *dir = opendir(STORE);
	struct dirent *entry;
	int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		const char *dot = strchr(entry->d_name, '.');

		n += dot && dot != entry->d_name && strcmp(dot, ending) == 0;
	}
	return n;
}

static inline void images_enter(void)
{
	fixture_enter();
	signal(SIGPIPE, SIG_IGN);
	setenv("PATH", "/tmp/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	log_init("test", STDERR_FILENO, LOG_LEVEL_ERROR);
}
