/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of files_probe share: the line of a check, files to check,
 * a user without rights. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define USER          1000 /* has nothing but what is everybody's */
#define PAGE          4096

/*
 * Each check writes "<section>/<name>: <outcome>". An outcome is the same on every
 * machine and in every run: the name of an errno, a size, a mode; never a time, an inode
 * or a pid.
 */
void check_begin(const char *section);
/* "ok", or what errno says if the result is below 0. */
void check(const char *name, long result);
/* The same; the descriptor is closed. */
void check_fd(const char *name, int fd);
/* The number itself if it isn't below 0. */
void check_number(const char *name, long long result);
void check_mode(const char *name, long result);
void check_true(const char *name, bool result);
void check_text(const char *name, const char *text);
/* A size and a hash of what has it. */
void check_hash(const char *name, long long size, uint64_t hash);

/* Ends the program, and with it the section: what the checks stand on does not work. */
long must(const char *what, long result);

/* Makes a file with exactly this mode and text. */
void file_make(const char *path, mode_t mode, const char *text);
/* Its text, cut at 255 bytes, valid until the next call; "" if it cannot be read. */
const char *file_text(const char *path);
/* -1 and errno if it is not there. */
long file_mode(const char *path);
long file_links(const char *path);
long long file_size(const char *path);
/* Removes what is there, also a folder with all in it. */
void tree_remove(const char *path);

/*
 * True in a child without rights, which goes on to user_end(); false in the parent when
 * that has ended: if (user_begin(USER)) { checks; user_end(); }
 */
bool user_begin(unsigned uid);
void user_end(void);

/* A child that was forked by the caller: its exit code,
 * or -1 if it didn't end by itself. */
int child_end(int pid);
/* Returns when the clock that stamps files has moved on. */
void tick(void);
/* A generator that is the same everywhere. */
uint64_t draw(uint64_t *state);
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size);
#define HASH_INIT UINT64_C(0xcbf29ce484222325)

struct section {
	const char *name;
	void (*run)(void);
};

/* Each in a fresh folder, in a process of its own: one that hangs or dies fails alone. */
int sections_run(const char *folder, const struct section *sections, size_t count);

void section_open(void);
void section_mkdir(void);
void section_mknod(void);
void section_link(void);
void section_symlink(void);
void section_unlink(void);
void section_rename(void);
void section_rename_flags(void);
void section_chmod(void);
void section_chown(void);
void section_sticky(void);
void section_setid(void);
void section_access(void);
void section_umask(void);
void section_acl(void);
void section_xattr(void);
void section_capability(void);
void section_names(void);
void section_readdir(void);
void section_truncate(void);
void section_append(void);
void section_direct(void);
void section_sparse(void);
void section_fallocate(void);
void section_copy(void);
void section_sync(void);
void section_unlinked(void);
void section_tmpfile(void);
void section_mapping(void);
void section_mapping_edge(void);
void section_flock(void);
void section_posix(void);
void section_ofd(void);
void section_lock_wait(void);
void section_times(void);
void section_birth(void);
void section_fifo(void);
void section_socket(void);
void section_statfs(void);
void section_inotify(void);
void section_exec(void);

/* The modes: arguments after the mode's name; the program's exit code. */
int mode_fsx(char **args);
int mode_stress(char **args);
int mode_locks(char **args);
int mode_shared(char **args);
int mode_times(char **args);
int mode_readonly(char **args);
int mode_lower(char **args);
int mode_full(char **args);
int mode_watch(char **args);
