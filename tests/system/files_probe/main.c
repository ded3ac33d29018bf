/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries a file system from inside, to be compared with the same program on another one.
 *
 *	files_probe semantics DIR [SECTION...]	some hundred checks
 *	files_probe fsx DIR SEED OPS		random changes of a file against a buffer
 *	files_probe stress DIR SEED OPS WORKERS	processes in one tree, and the result
 *	files_probe locks FILE posix|ofd|flock	commands on standard input, see locks.c
 *	files_probe shared FILE both|even|odd SEED	MAP_SHARED, see shared.c
 *	files_probe times N DIR			milliseconds; 0: prepares DIR
 *	files_probe readonly DIR		what a read-only mount refuses
 *	files_probe lower DIR			changes files of an image
 *	files_probe full DIR			fills a small file system
 *	files_probe watch PATH...		inotify's events, see watch.c
 */
#include "tests/system/files_probe/probe.h"

static const struct section all_sections[] = {
	{"open", section_open},
	{"mkdir", section_mkdir},
	{"mknod", section_mknod},
	{"link", section_link},
	{"symlink", section_symlink},
	{"unlink", section_unlink},
	{"rename", section_rename},
	{"renameat2", section_rename_flags},
	{"chmod", section_chmod},
	{"chown", section_chown},
	{"sticky", section_sticky},
	{"setid", section_setid},
	{"access", section_access},
	{"umask", section_umask},
	{"acl", section_acl},
	{"xattr", section_xattr},
	{"capability", section_capability},
	{"names", section_names},
	{"readdir", section_readdir},
	{"truncate", section_truncate},
	{"append", section_append},
	{"direct", section_direct},
	{"sparse", section_sparse},
	{"fallocate", section_fallocate},
	{"copy", section_copy},
	{"sync", section_sync},
	{"unlinked", section_unlinked},
	{"tmpfile", section_tmpfile},
	{"mapping", section_mapping},
	{"mapping-edge", section_mapping_edge},
	{"flock", section_flock},
	{"posix", section_posix},
	{"ofd", section_ofd},
	{"lock-wait", section_lock_wait},
	{"times", section_times},
	{"birth", section_birth},
	{"fifo", section_fifo},
	{"socket", section_socket},
	{"statfs", section_statfs},
	{"inotify", section_inotify},
	{"exec", section_exec},
};

/* All, or those that are named. */
static int mode_semantics(char **args)
{
	int status = 0;

	if (!args[1])
		return sections_run(args[0], all_sections, ARRAY_SIZE(all_sections));
	must("chdir", chdir(args[0]));
	for (char **name = args + 1; *name; name++)
		for (size_t i = 0; i < ARRAY_SIZE(all_sections); i++)
			if (strcmp(all_sections[i].name, *name) == 0)
				status |= sections_run(".", &all_sections[i], 1);
	return status;
}

static const struct {
	const char *name;
	int args, args_max;
	int (*run)(char **args);
} modes[] = {
	{"semantics", 1, 100, mode_semantics},
	{"fsx", 3, 3, mode_fsx},
	{"stress", 4, 4, mode_stress},
	{"locks", 2, 2, mode_locks},
	{"shared", 3, 3, mode_shared},
	{"times", 2, 2, mode_times},
	{"readonly", 1, 1, mode_readonly},
	{"lower", 1, 1, mode_lower},
	{"full", 1, 1, mode_full},
	{"watch", 1, 100, mode_watch},
};

int main(int argc, char **argv)
{
	/* What hangs or dies has told all that came before. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* What section_exec() runs: an exit code of its own. */
	if (argc >= 2 && strcmp(argv[1], "seven") == 0)
		return 7;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (argc - 2 >= modes[i].args && argc - 2 <= modes[i].args_max &&
			strcmp(argv[1], modes[i].name) == 0)
			return modes[i].run(argv + 2);
	fprintf(stderr, "usage: see the first lines of main.c\n");
	return 2;
}
