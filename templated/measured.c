/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest generation occupies: see measured.h. */
#include "templated/measured.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "mm/generation.h"

/* The order of generations' ids is that of their making. */
static bool find_newest(const char *template_path, char ret_id[GENERATION_ID_SIZE])
{
	_cleanup_closedir_ DIR *dir = opendir(template_path);
	struct dirent *entry;

	*ret_id = '\0';
	while (dir && (entry = readdir(dir)))
		if (generation_id_valid(entry->d_name) &&
			strcmp(entry->d_name, ret_id) > 0)
			memcpy(ret_id, entry->d_name, strlen(entry->d_name) + 1);
	return *ret_id;
}

struct json_object *measured_newest(const char *template_path)
{
	char id[GENERATION_ID_SIZE];
	struct json_object *obj;
	struct stat st;

	if (!find_newest(template_path, id))
		return NULL;
	obj = json_object_new_object();
	json_set_string(obj, "generation", id);
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s/%s", template_path, id,
			i ? GENERATION_STATE : GENERATION_MEMORY);

		if (lstat(path, &st) == 0)
			json_set_u64(obj, i ? "state_bytes" : "resident_bytes",
				(uint64_t)st.st_blocks * 512);
	}
	return obj;
}
