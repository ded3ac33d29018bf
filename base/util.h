/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers for every file: cleanup attributes, handing over, array sizes. */
#pragma once

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))
#define MiB           ((uint64_t)1 << 20)

/* Rounds up to a multiple of align, a power of two. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

/*
 * Cleanup attributes: _cleanup_free_ char *s = NULL; _cleanup_close_ int fd = -1; …
 * DEFINE_CLEANUP(name, type, destructor) makes one for a type of ours:
 *   DEFINE_CLEANUP(qmp, struct qmp *, qmp_free);   _cleanup_(qmp) struct qmp *q = NULL;
 */
#define _cleanup_(name) __attribute__((cleanup(cleanup_##name)))
#define DEFINE_CLEANUP(name, type, fn)                                                   \
	static inline void cleanup_##name(type *p)                                       \
	{                                                                                \
		fn(*p);                                                                  \
	}                                                                                \
	struct cleanup_##name##_needs_semicolon

static inline void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static inline void close_file(FILE *f)
{
	if (f)
		fclose(f);
}

static inline void close_dir(DIR *d)
{
	if (d)
		closedir(d);
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

DEFINE_CLEANUP(close, int, close_fd);
DEFINE_CLEANUP(fclose, FILE *, close_file);
DEFINE_CLEANUP(closedir, DIR *, close_dir);

#define _cleanup_free_     _cleanup_(free)
#define _cleanup_close_    _cleanup_(close)
#define _cleanup_fclose_   _cleanup_(fclose)
#define _cleanup_closedir_ _cleanup_(closedir)

/* Hand a pointer or an fd over: the variable is emptied, so that its cleanup does
 * nothing. */
#define steal_ptr(p)                                                                     \
	({                                                                               \
		__typeof__(p) stolen_ = (p);                                             \
		(p) = NULL;                                                              \
		stolen_;                                                                 \
	})

static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* Allocation that does not fail: a process of ours that is out of memory has nothing left
 * to do. or_die() is for libraries whose NULL says just that. */
void *or_die(void *p);
void *xmalloc(size_t size);
void *xzalloc(size_t size);
void *xreallocarray(void *ptr, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t max);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define xnew0(type) ((type *)xzalloc(sizeof(type)))

/* Copies a string that fits into a char array; one that does not is our own bug. */
#define str_copy(array, s) str_copy_to(array, sizeof(array), s)
void str_copy_to(char *to, size_t size, const char *s);

/* For hash tables, as FNV-1a: who chooses the bytes can have them collide. seed: what
 * else the key has. */
uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t n);

/* Bytes as lower-case hexadecimal digits: ret_text takes 2 * n + 1 bytes. */
void hex_encode(const void *bytes, size_t n, char *ret_text);

/*
 * Deadlines are absolute CLOCK_MONOTONIC milliseconds (int64_t), so that a chain of waits
 * shares one. DEADLINE_NONE never comes.
 */
#define DEADLINE_NONE INT64_MAX
int64_t now_ms(void);
uint64_t now_us(void);
int64_t deadline_after_ms(int64_t ms);
/* Milliseconds left for poll(2): 0 if it has passed, -1 for DEADLINE_NONE. */
int deadline_poll_ms(int64_t deadline);
