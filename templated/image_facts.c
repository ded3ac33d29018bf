/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of an image: see image_facts.h. */
#include "templated/image_facts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"

#define FACTS_VERSION   1
#define FACTS_BYTES_MAX 4096

/* The block with the superblock in it. */
#define IMAGE_HEAD_BYTES 4096

/* Little-endian, 1024 bytes into an image. */
#define EROFS_MAGIC        "\xe2\xe1\xf5\xe0"
#define EROFS_SUPER_OFFSET 1024

static const struct {
	const char *key;
	size_t offset;
} fact_numbers[] = {
	{"bytes", offsetof(struct image_facts, bytes)},
	{"layers", offsetof(struct image_facts, layers)},
	{"made_ms", offsetof(struct image_facts, made_ms)},
	{"making_ms", offsetof(struct image_facts, making_ms)},
	{"inode", offsetof(struct image_facts, inode)},
	{"mtime_ns", offsetof(struct image_facts, mtime_ns)},
	{"ctime_ns", offsetof(struct image_facts, ctime_ns)},
};

void image_file_name(char ret[IMAGE_NAME_SIZE], const char *key, const char *ending)
{
	snprintf(ret, IMAGE_NAME_SIZE, "%.64s.%.12s", key, ending);
}

int image_facts_write(
	int dir_fd, const char *key, const struct image_facts *facts, struct err *err)
{
	_cleanup_json_ struct json_object *obj = json_object_new_object();
	char name[IMAGE_NAME_SIZE];
	const char *text;

	json_set_u64(obj, "version", FACTS_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(fact_numbers); i++)
		json_set_u64(obj, fact_numbers[i].key,
			*(const uint64_t *)((const char *)facts +
					    fact_numbers[i].offset));
	json_set_string(obj, "head_sha256", facts->head_sha256);
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY);
	image_file_name(name, key, "json");
	return file_write_atomic(dir_fd, name, text, strlen(text), 0600, err);
}

int image_facts_read(
	int dir_fd, const char *key, struct image_facts *ret, struct err *err)
{
	_cleanup_json_ struct json_object *obj = NULL;
	_cleanup_free_ char *text = NULL;
	char name[IMAGE_NAME_SIZE];
	struct image_facts facts = {0};
	const char *digest;
	uint64_t version;
	size_t len;
	int r;

	image_file_name(name, key, "json");
	r = file_read(dir_fd, name, FACTS_BYTES_MAX, &text, &len, err);
	if (r == 0)
		r = json_parse(name, text, len, 2, &obj, err);
	if (r == 0 && !json_object_is_type(obj, json_type_object))
		r = err_set(err, -EBADMSG, "%s is not an object", name);
	if (r == 0)
		r = json_get_u64(obj, "version", &version, err);
	if (r == 0 && version != FACTS_VERSION)
		r = err_set(err, -EBADMSG, "%s is of another version", name);
	for (size_t i = 0; i < ARRAY_SIZE(fact_numbers) && r == 0; i++)
		r = json_get_u64(obj, fact_numbers[i].key,
			(uint64_t *)((char *)&facts + fact_numbers[i].offset), err);
	if (r == 0)
		r = json_get_string(obj, "head_sha256", &digest, err);
	if (r == 0 && strlen(digest) != sizeof(facts.head_sha256) - 1)
		r = err_set(err, -EBADMSG, "%s has no digest", name);
	if (r < 0)
		return r;
	str_copy(facts.head_sha256, digest);
	*ret = facts;
	return 0;
}

int image_facts_digest(int fd, char ret[65], struct err *err)
{
	uint8_t head[IMAGE_HEAD_BYTES], digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return err_sys(err, errno, "cannot read it");
	if (n != sizeof(head) ||
		memcmp(head + EROFS_SUPER_OFFSET, EROFS_MAGIC, strlen(EROFS_MAGIC)) != 0)
		return err_set(err, -EBADMSG, "it has no EROFS superblock");
	sha256_init(&ctx);
	sha256_update(&ctx, sizeof(head), head);
	sha256_digest(&ctx, sizeof(digest), digest);
	hex_encode(digest, sizeof(digest), ret);
	return 0;
}

/* Whether a file is still what was published. */
int image_facts_check(int fd, const struct image_facts *facts, struct err *err)
{
	struct stat st;
	char digest[65];
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot look at it");
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != facts->bytes)
		return err_set(err, -EBADMSG, "it has %jd bytes instead of %" PRIu64,
			(intmax_t)st.st_size, facts->bytes);
	if (st.st_ino != facts->inode || image_time_ns(&st.st_mtim) != facts->mtime_ns ||
		image_time_ns(&st.st_ctim) != facts->ctime_ns)
		return err_set(err, -EBADMSG, "it was changed after it was made");
	r = image_facts_digest(fd, digest, err);
	if (r == 0 && strcmp(digest, facts->head_sha256) != 0)
		r = err_set(err, -EBADMSG, "its superblock is another one");
	return r;
}
