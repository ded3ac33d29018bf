/* SPDX-License-Identifier: Apache-2.0 */
/* What a former templated left of its generations: see generation.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "mm/generation_internal.h"

/* prefix: GENERATION_NEW or GENERATION_OLD */
static bool is_leftover(const char *name, const char *prefix)
{
	return strncmp(name, prefix, GENERATION_PREFIX_LEN) == 0 &&
	       generation_id_valid(name + GENERATION_PREFIX_LEN);
}

static bool is_note(const char *name)
{
	return strncmp(name, GENERATION_COMPACT, GENERATION_COMPACT_PREFIX_LEN) == 0 ||
	       strcmp(name, GENERATION_LEASES) == 0 ||
	       strcmp(name, GENERATION_LAST) == 0 ||
	       strcmp(name, GENERATION_LAST_NEW) == 0;
}

struct recovery {
	int root_fd;
	struct generation_found *found;
	size_t n;
};

static struct generation_found *add_found(struct recovery *rec)
{
	rec->found = xreallocarray(rec->found, rec->n + 1, sizeof(*rec->found));
	rec->found[rec->n] = (struct generation_found){0};
	return &rec->found[rec->n++];
}

static int recover_generation(struct recovery *rec, const char *name, struct err *err)
{
	struct generation_found *found = add_found(rec);
	int r;

	found->sound = generation_load(rec->root_fd, name, &found->g, &found->why) == 0;
	if (found->sound)
		return 0;
	str_copy(found->g.id, name); /* a valid id fits */
	log_error("removing an unsound template: %s", found->why.text);
	r = generation_remove(rec->root_fd, name, err);
	return r < 0 ? r : 0;
}

static int recover_one(struct recovery *rec, const char *name, struct err *err)
{
	bool is_new = is_leftover(name, GENERATION_NEW);

	if (is_new || is_leftover(name, GENERATION_OLD)) {
		log_warn("removing %s: %s when templated ended", name,
			is_new ? "it was being built" : "it was being removed");
		return remove_tree(rec->root_fd, name, err);
	}
	if (generation_id_valid(name))
		return recover_generation(rec, name, err);
	if (!is_note(name))
		log_warn("\"%s\" in the template's tmpfs is not ours; it stays",
			err_quote(name, 64));
	return 0;
}

static int found_compare_ids(const void *a, const void *b)
{
	const struct generation_found *x = a, *y = b;

	return strcmp(x->g.id, y->g.id);
}

int generation_recover(
	int root_fd, struct generation_found **ret, size_t *ret_n, struct err *err)
{
	struct recovery rec = {.root_fd = root_fd};
	struct dirent **names = NULL;
	int n = scandirat(root_fd, ".", &names, NULL, alphasort), r = 0;

	if (n < 0)
		return err_sys(err, errno, "cannot read the template's tmpfs");
	/* First the times, which are verified then. */
	for (int i = 0; i < n && r == 0; i++)
		if (strncmp(names[i]->d_name, GENERATION_COMPACT,
			    GENERATION_COMPACT_PREFIX_LEN) == 0)
			r = generation_compact_recover(root_fd, names[i]->d_name, err);
	for (int i = 0; i < n; i++) {
		if (r == 0 && strcmp(names[i]->d_name, ".") != 0 &&
			strcmp(names[i]->d_name, "..") != 0)
			r = recover_one(&rec, names[i]->d_name, err);
		free(names[i]);
	}
	free(names);
	if (r < 0) {
		for (size_t i = 0; i < rec.n; i++)
			generation_done(&rec.found[i].g);
		free(rec.found);
		return r;
	}
	if (rec.n > 1)
		qsort(rec.found, rec.n, sizeof(*rec.found), found_compare_ids);
	*ret = rec.found;
	*ret_n = rec.n;
	return 0;
}

bool generation_remove_old(int root_fd)
{
	_cleanup_closedir_ DIR *all = NULL;
	struct err err = ERR_INIT;
	struct dirent *entry;
	bool left = false;

	if (dir_open(root_fd, ".", &all) < 0)
		return true;
	while ((entry = readdir(all))) {
		if (!is_leftover(entry->d_name, GENERATION_OLD) ||
			remove_tree(root_fd, entry->d_name, &err) == 0)
			continue;
		log_error("%s is left: %s", entry->d_name, err.text);
		left = true;
	}
	return left;
}
