/* SPDX-License-Identifier: Apache-2.0 */
/* Packed kernel modules: see modpack.h. */
#include "guest/modpack.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "guest/modules.h"

#define INDEX_MAX (1u << 20)
/* A frame is one module, however large, or several of half a megabyte in all. */
#define FRAME_MAX (32u << 20)
/* The longest that the kernel asks for is 55 bytes; nft's names of types are shorter. */
#define ALIAS_MAX   128
#define MODPROBE_AT "/proc/sys/kernel/modprobe"

struct place {
	uint64_t frame_offset, frame_bytes, offset, bytes;
};

struct pack {
	char *index;
	int fd;
	/* The frame unpacked last: what one module depends on is often beside it. */
	uint64_t frame_offset;
	uint8_t *frame;
	size_t frame_len;
};

static void close_pack(struct pack *p)
{
	free(p->index);
	free(p->frame);
	close_fd(p->fd);
}

static int open_pack(struct pack *p, struct err *err)
{
	size_t len;
	int r;

	*p = (struct pack){.fd = -1};
	r = file_read(AT_FDCWD, MODPACK_INDEX, INDEX_MAX, &p->index, &len, err);
	if (r < 0)
		return r;
	p->fd = open(MODPACK_FILE, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0) {
		r = err_sys(err, errno, "open " MODPACK_FILE);
		close_pack(p);
	}
	return r;
}

/* ---- the index ---- */

/* The next line of this kind, behind its first word; NULL at the end. */
static const char *next_line(const char **at, const char *kind)
{
	size_t len = strlen(kind);

	while (*at && **at) {
		const char *line = *at, *end = strchr(line, '\n');

		*at = end ? end + 1 : NULL;
		if (strncmp(line, kind, len) == 0 && line[len] == ' ')
			return line + len + 1;
	}
	return NULL;
}

static void copy_word(const char *at, char *buf, size_t size)
{
	size_t len = MIN(strcspn(at, " \n"), size - 1);

	memcpy(buf, at, len);
	buf[len] = '\0';
}

static bool begins_with_word(const char *line, const char *word)
{
	size_t len = strlen(word);

	return strncmp(line, word, len) == 0 && line[len] == ' ';
}

/* As the index has it; false if nothing in it can be called so. */
static bool normalize_name(const char *name, char buf[static ALIAS_MAX])
{
	if (!*name || strlen(name) >= ALIAS_MAX || strpbrk(name, " \n"))
		return false;
	for (; *name; name++)
		*buf++ = *name == '-' ? '_' : *name;
	*buf = '\0';
	return true;
}

/* The line of a module, behind its name; NULL if it has none. */
static const char *find_module(const char *index, const char *name)
{
	const char *at = index, *line;

	while ((line = next_line(&at, "module")))
		if (begins_with_word(line, name))
			return line + strlen(name) + 1;
	return NULL;
}

/* The next module that has the alias; false if there is no other. */
static bool next_of_alias(const char **at, const char *alias, char name[static ALIAS_MAX])
{
	const char *line;

	while ((line = next_line(at, "alias"))) {
		char pattern[ALIAS_MAX];

		copy_word(line, pattern, sizeof(pattern));
		if (fnmatch(pattern, alias, 0) != 0)
			continue;
		line += strcspn(line, " \n");
		copy_word(line + strspn(line, " "), name, ALIAS_MAX);
		return true;
	}
	return false;
}

/* ---- loading ---- */

/* Live, or built in. Of one that is being loaded the kernel waits for the end, if it is
 * asked for again. */
static bool is_in_kernel(const char *name)
{
	char path[ALIAS_MAX + 32], state[16] = "live\n";
	int fd;

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (access(path, F_OK) < 0)
		return false;
	snprintf(path, sizeof(path), "/sys/module/%s/initstate", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, state, sizeof(state) - 1) < 0)
		state[0] = '\0';
	close_fd(fd);
	return strncmp(state, "live", 4) == 0;
}

static int unpack_frame(struct pack *p, const struct place *place, struct err *err)
{
	_cleanup_free_ uint8_t *packed = NULL;
	unsigned long long len;
	size_t n;

	if (p->frame && p->frame_offset == place->frame_offset)
		return 0;
	free(steal_ptr(p->frame));
	if (place->frame_bytes > FRAME_MAX)
		return err_set(err, -EINVAL,
			MODPACK_INDEX ": a frame of %" PRIu64 " bytes",
			place->frame_bytes);
	packed = xmalloc(place->frame_bytes + 1);
	if (pread(p->fd, packed, place->frame_bytes, (off_t)place->frame_offset) !=
		(ssize_t)place->frame_bytes)
		return err_set(err, -EIO, MODPACK_FILE " is shorter than its index says");
	len = ZSTD_getFrameContentSize(packed, place->frame_bytes);
	if (len > FRAME_MAX)
		return err_set(err, -EINVAL, MODPACK_FILE ": no frame at %" PRIu64,
			place->frame_offset);
	p->frame = xmalloc(len + 1);
	n = ZSTD_decompress(p->frame, len, packed, place->frame_bytes);
	if (ZSTD_isError(n)) {
		free(steal_ptr(p->frame));
		return err_set(err, -EINVAL,
			MODPACK_FILE ": the frame at %" PRIu64 ": %s",
			place->frame_offset, ZSTD_getErrorName(n));
	}
	p->frame_len = n;
	p->frame_offset = place->frame_offset;
	return 0;
}

static int load_one(struct pack *p, const char *name, const char *params, struct err *err)
{
	const char *line = find_module(p->index, name);
	struct place place;
	int r;

	/* One that is not packed was loaded at the start. */
	if (!line || is_in_kernel(name))
		return 0;
	if (sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
		    &place.frame_offset, &place.frame_bytes, &place.offset,
		    &place.bytes) != 4)
		return err_set(
			err, -EINVAL, MODPACK_INDEX ": module %s has no place", name);
	r = unpack_frame(p, &place, err);
	if (r < 0)
		return r;
	if (place.offset > p->frame_len || place.bytes > p->frame_len - place.offset)
		return err_set(err, -EINVAL,
			MODPACK_INDEX ": module %s is not in its frame", name);
	if (syscall(SYS_init_module, p->frame + place.offset, (unsigned long)place.bytes,
		    params) < 0 &&
		errno != EEXIST)
		return err_sys(err, errno, "load module %s", name);
	return 0;
}

static int load_with_dependencies(
	struct pack *p, const char *name, const char *params, struct err *err)
{
	const char *at = find_module(p->index, name);
	int r = 0;

	/* Four numbers, then the names. */
	for (int i = 0; at && i < 4; i++) {
		at += strcspn(at, " \n");
		at += *at == ' ';
	}
	while (r == 0 && at && *at && *at != '\n') {
		char dependency[ALIAS_MAX];

		copy_word(at, dependency, sizeof(dependency));
		r = load_one(p, dependency, "", err);
		at += strcspn(at, " \n");
		at += *at == ' ';
	}
	return r < 0 ? r : load_one(p, name, params, err);
}

static int load_named(
	struct pack *p, const char *name, const char *params, struct err *err)
{
	char wanted[ALIAS_MAX], module[ALIAS_MAX];
	const char *at = p->index;
	int r = 0, n = 0;

	if (!normalize_name(name, wanted))
		return -ENOENT;
	if (find_module(p->index, wanted))
		return load_with_dependencies(p, wanted, params, err);
	/* The first that says no does not hide the others: an algorithm has several. */
	while (next_of_alias(&at, wanted, module)) {
		int one = load_with_dependencies(p, module, params, err);

		r = n++ == 0 || one == 0 ? one : r;
	}
	return n ? r : -ENOENT;
}

int modpack_load(const char *name, const char *params, struct err *err)
{
	struct pack p;
	int r = open_pack(&p, err);

	if (r < 0)
		return r;
	r = load_named(&p, name, params, err);
	close_pack(&p);
	return r;
}

bool modpack_has_alias(const char *alias)
{
	char wanted[ALIAS_MAX], module[ALIAS_MAX];
	const char *at;
	struct pack p;
	bool has;

	if (open_pack(&p, NULL) < 0)
		return false;
	at = p.index;
	has = normalize_name(alias, wanted) && next_of_alias(&at, wanted, module);
	close_pack(&p);
	return has;
}

void modpack_nodes(void (*fn)(void *user, const struct modpack_node *node), void *user)
{
	const char *at, *line;
	struct pack p;

	if (open_pack(&p, NULL) < 0)
		return;
	at = p.index;
	while ((line = next_line(&at, "node"))) {
		struct modpack_node node;

		if (sscanf(line, "%63s %c %u %u", node.path, &node.type, &node.major,
			    &node.minor) == 4)
			fn(user, &node);
	}
	close_pack(&p);
}

/* ---- the kernel's modprobe ---- */

int modpack_init(struct err *err)
{
	if (access(MODPACK_INDEX, F_OK) < 0)
		return 0;
	return file_write_text(AT_FDCWD, MODPROBE_AT, MODPROBE_PATH, err);
}

bool modprobe_is_asked(const char *argv0)
{
	return strcmp(argv0, MODPROBE_PATH) == 0;
}

/* Nobody reads what it says, so it says what is wrong with the guest to the kernel's log;
 * that there is no such module is no fault. */
int modprobe_main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	int fd, r;

	if (argc < 2)
		return 1;
	r = modpack_load(argv[argc - 1], "", &err);
	if (r < 0 && r != -ENOENT) {
		fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
		log_init("modprobe", fd, LOG_LEVEL_WARN);
		log_warn("%s", err.text);
		close_fd(fd);
	}
	return r < 0;
}
