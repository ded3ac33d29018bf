/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of generations: see generation.h.
 *
 * A clock gives no order: it is set backwards, and two generations may be made within one
 * of its ticks. So the ids are numbered. The number goes on from the greatest one that
 * the tmpfs knows, whatever has become of its generation; the link GENERATION_LAST
 * remembers it when all are removed. A link, because its few bytes lie in the inode: it
 * takes no block of a tmpfs that may be full, and one rename replaces it.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "mm/generation_internal.h"

#define NUMBER_MAX 99999999

bool generation_id_valid(const char *id)
{
	static const char shape[] = "00000000-xxxxxxxx";
	size_t i;

	for (i = 0; shape[i]; i++) {
		if (shape[i] == '0'       ? !isdigit((unsigned char)id[i])
			: shape[i] == 'x' ? !id[i] || !strchr("0123456789abcdef", id[i])
					  : id[i] != shape[i])
			return false;
	}
	return id[i] == '\0';
}

/* The number in a name of the tmpfs' root, whatever the state of the folder; of what is
 * no generation 0. */
static unsigned long number_of(const char *name)
{
	if (strncmp(name, GENERATION_NEW, GENERATION_PREFIX_LEN) == 0 ||
		strncmp(name, GENERATION_OLD, GENERATION_PREFIX_LEN) == 0)
		name += GENERATION_PREFIX_LEN;
	return generation_id_valid(name) ? strtoul(name, NULL, 10) : 0;
}

static unsigned long remembered_number(int root_fd)
{
	char id[GENERATION_ID_SIZE] = "";
	ssize_t n = readlinkat(root_fd, GENERATION_LAST, id, sizeof(id) - 1);

	return n > 0 ? number_of(id) : 0;
}

static int find_greatest(int root_fd, unsigned long *ret, struct err *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	unsigned long greatest = remembered_number(root_fd);
	struct dirent *entry;
	int r = dir_open(root_fd, ".", &dir);

	if (r < 0)
		return err_sys(err, r, "cannot read the template's tmpfs");
	while ((entry = readdir(dir))) {
		unsigned long number = number_of(entry->d_name);

		greatest = MAX(greatest, number);
	}
	*ret = greatest;
	return 0;
}

static int generation_id_remember(int root_fd, const char *id, struct err *err)
{
	/* One that was killed in between has left its link. */
	if (unlinkat(root_fd, GENERATION_LAST_NEW, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove " GENERATION_LAST_NEW);
	if (symlinkat(id, root_fd, GENERATION_LAST_NEW) < 0 ||
		renameat(root_fd, GENERATION_LAST_NEW, root_fd, GENERATION_LAST) < 0)
		return err_sys(err, errno,
			"cannot write down that there is a generation %s", id);
	return 0;
}

int generation_id_next(int root_fd, char ret[GENERATION_ID_SIZE], struct err *err)
{
	char id[GENERATION_ID_SIZE];
	unsigned long greatest = 0;
	uint32_t random;
	int r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(err, errno, "getrandom");
	r = find_greatest(root_fd, &greatest, err);
	if (r < 0)
		return r;
	if (greatest >= NUMBER_MAX)
		return err_set(err, -EOVERFLOW,
			"the template's tmpfs has seen generation %lu, the last that "
			"there can be: templatectl destroy begins anew",
			greatest);
	snprintf(id, sizeof(id), "%08lu-%08" PRIx32, greatest + 1, random);
	r = generation_id_remember(root_fd, id, err);
	if (r == 0)
		memcpy(ret, id, sizeof(id));
	return r;
}
