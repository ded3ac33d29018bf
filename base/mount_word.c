/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of mount words: see mount_word.h. */
#include "base/mount_word.h"

#include <string.h>
#include <sys/mount.h>

#include "base/util.h"

static const struct {
	const char *word;
	unsigned long set, clear;
} words[] = {
	{"async", 0, MS_SYNCHRONOUS},
	{"atime", 0, MS_NOATIME},
	{"bind", MS_BIND, 0},
	{"defaults", 0, 0},
	{"dev", 0, MS_NODEV},
	{"diratime", 0, MS_NODIRATIME},
	{"dirsync", MS_DIRSYNC, 0},
	{"exec", 0, MS_NOEXEC},
	{"mand", MS_MANDLOCK, 0},
	{"noatime", MS_NOATIME, 0},
	{"nodev", MS_NODEV, 0},
	{"nodiratime", MS_NODIRATIME, 0},
	{"noexec", MS_NOEXEC, 0},
	{"nomand", 0, MS_MANDLOCK},
	{"norelatime", 0, MS_RELATIME},
	{"nostrictatime", 0, MS_STRICTATIME},
	{"nosuid", MS_NOSUID, 0},
	{"rbind", MS_BIND | MS_REC, 0},
	{"relatime", MS_RELATIME, 0},
	{"remount", MS_REMOUNT, 0},
	{"ro", MS_RDONLY, 0},
	{"rw", 0, MS_RDONLY},
	{"strictatime", MS_STRICTATIME, 0},
	{"suid", 0, MS_NOSUID},
	{"sync", MS_SYNCHRONOUS, 0},
};

bool mount_word(const char *word, unsigned long *flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(word, words[i].word) == 0) {
			*flags = (*flags & ~words[i].clear) | words[i].set;
			return true;
		}
	}
	return false;
}
