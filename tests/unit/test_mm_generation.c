/* SPDX-License-Identifier: Apache-2.0 */
/* Generations: build, publish, verify, grant, and what tampering is answered with. */
#include "tests/unit/generation_fixture.h"

#include <sys/syscall.h>
#include <time.h>

/* ---- ids ---- */

static void test_ids(void **state)
{
	(void)state;
	assert_true(generation_id_valid("00000042-9f3a2b1c"));
	assert_false(generation_id_valid("00000042-9f3a2b1"));
	assert_false(generation_id_valid("00000042-9f3a2b1cc"));
	assert_false(generation_id_valid("00000042-9f3a2b1g"));
	assert_false(generation_id_valid("../00042-9f3a2b1c"));
	assert_false(generation_id_valid("0000042-9f3a2b1c0"));
	assert_false(generation_id_valid(""));
}

/* In the place of the C library's: what the product takes for the time. */
static time_t clock_s;

time_t time(time_t *ret)
{
	if (ret)
		*ret = clock_s;
	return clock_s;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
	if (id != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, id, ret);
	*ret = (struct timespec){.tv_sec = clock_s};
	return 0;
}

static void begin(struct generation_build *b)
{
	struct err err = ERR_INIT;

	if (generation_build_begin(rw_fd, PAGE, b, &err) < 0)
		fail_msg("%s", err.text);
}

/* The next build's id, which is greater than the last one's. */
static void assert_next(char last[GENERATION_ID_SIZE])
{
	struct generation_build b;

	begin(&b);
	assert_true(generation_id_valid(b.id));
	if (strcmp(b.id, last) <= 0)
		fail_msg("%s was given after %s", b.id, last);
	memcpy(last, b.id, sizeof(b.id));
	generation_build_done(&b);
}

/* A clock that stands still, and one that is set back an hour each time. */
static void test_ids_whatever_the_clock(void **state)
{
	char last[GENERATION_ID_SIZE] = "", id[GENERATION_ID_SIZE];
	struct generation_found *found;
	struct err err = ERR_INIT;
	size_t n;

	(void)state;
	for (int i = 0; i < 300; i++)
		assert_next(last);
	for (int i = 0; i < 3; i++) {
		clock_s -= 3600;
		publish(id);
		assert_true(strcmp(id, last) > 0);
		memcpy(last, id, sizeof(id));
	}
	assert_int_equal(generation_recover(rw_fd, &found, &n, &err), 0);
	assert_int_equal(n, 3);
	assert_string_equal(found[n - 1].g.id, last);
	for (size_t i = 0; i < n; i++) {
		assert_true(i == 0 || strcmp(found[i - 1].g.id, found[i].g.id) < 0);
		assert_int_equal(generation_remove(rw_fd, found[i].g.id, &err), 0);
		generation_done(&found[i].g);
	}
	free(found);
}

static void unlink_last(void)
{
	assert_int_equal(unlinkat(rw_fd, ".last", 0), 0);
}

static void make_folder(const char *name)
{
	assert_int_equal(mkdirat(rw_fd, name, 0700), 0);
}

static void remove_folder(const char *name)
{
	assert_int_equal(unlinkat(rw_fd, name, AT_REMOVEDIR), 0);
}

/* The number goes on from all that is there, and from what is not there any more. */
static void test_ids_go_on(void **state)
{
	char last[GENERATION_ID_SIZE] = "";
	struct generation_build b;
	struct err err = ERR_INIT;

	(void)state;
	assert_next(last);
	assert_memory_equal(last, "00000001", 8);
	/* Everything is removed and the tmpfs opened anew: it was remembered. */
	close(rw_fd);
	assert_int_equal(tmpfs_open(PATH, false, &rw_fd, &err), 0);
	assert_next(last);
	assert_memory_equal(last, "00000002", 8);
	/* Without that, the names count: of all three states. */
	unlink_last();
	make_folder("00000010-00000000");
	assert_next(last);
	assert_memory_equal(last, "00000011", 8);
	unlink_last();
	make_folder(".new-00000020-00000000");
	assert_next(last);
	unlink_last();
	make_folder(".old-00000030-00000000");
	assert_next(last);
	assert_memory_equal(last, "00000031", 8);
	/* Killed between link and rename. */
	assert_int_equal(symlinkat("00000032-00000000", rw_fd, ".last.new"), 0);
	assert_next(last);
	assert_memory_equal(last, "00000032", 8);
	/* What is no id counts for nothing; what is one may be the last. */
	unlink_last();
	assert_int_equal(symlinkat("99999999", rw_fd, ".last"), 0);
	*last = '\0';
	assert_next(last);
	assert_memory_equal(last, "00000031", 8);
	make_folder("99999999-00000000");
	assert_int_equal(generation_build_begin(rw_fd, PAGE, &b, &err), -EOVERFLOW);
	assert_error(err, "generation 99999999, the last");
	remove_folder("00000010-00000000");
	remove_folder(".new-00000020-00000000");
	remove_folder(".old-00000030-00000000");
	remove_folder("99999999-00000000");
}

/* ---- building ---- */

static void test_build_and_punch(void **state)
{
	struct generation_build b;
	struct err err = ERR_INIT;
	uint64_t resident;
	struct stat st;
	char byte;

	(void)state;
	assert_int_equal(generation_build_begin(rw_fd, MEMORY_BYTES, &b, &err), 0);
	assert_int_equal(fstat(b.memory_fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, MEMORY_BYTES);
	fill(&b);
	assert_int_equal(generation_build_punch(&b, &resident, &err), 0);
	assert_int_equal(resident, 2 * PAGE);
	assert_int_equal(pread(b.memory_fd, &byte, 1, 701 * PAGE - 1), 1);
	assert_int_equal(byte, 'x');
	generation_build_done(&b);
}

/* Abandoned: nothing is left of it. */
static void test_build_abandoned(void **state)
{
	struct generation_build b;
	struct err err = ERR_INIT;
	struct tmpfs_usage usage;

	(void)state;
	assert_int_equal(generation_build_begin(rw_fd, MEMORY_BYTES, &b, &err), 0);
	generation_build_done(&b);
	assert_int_equal(tmpfs_look(PATH, &usage, &err), 0);
	assert_int_equal(usage.used_bytes, 0);
	/* A tmpfs that is too small: an error with numbers, before anything runs. */
	assert_int_equal(generation_build_begin(rw_fd, 64 * MiB, &b, &err), -ENOSPC);
	assert_error(err, "67108864 bytes (64 MiB) are needed");
	assert_error(err, "16777216 (16 MiB) are free");
	assert_int_equal(tmpfs_look(PATH, &usage, &err), 0);
	assert_int_equal(usage.used_bytes, 0);
}

/* What could not be removed is removed later, what is being built is not. */
static void test_remove_old(void **state)
{
	(void)state;
	make_folder(".new-00000020-00000000");
	make_folder(".old-00000030-00000000");
	assert_false(generation_remove_old(rw_fd));
	remove_folder(".new-00000020-00000000");
	make_folder(".old-00000030-00000000");
	remove_folder(".old-00000030-00000000");
}

/* A mount keeps a file from being removed, not its folder from being renamed. */
static void test_remove_later(void **state)
{
	char id[GENERATION_ID_SIZE], name[64];
	struct err err = ERR_INIT;

	(void)state;
	publish(id);
	snprintf(name, sizeof(name), PATH "/%s/" GENERATION_STATE, id);
	assert_int_equal(mount(name, name, NULL, MS_BIND, NULL), 0);
	assert_int_equal(generation_remove(rw_fd, id, &err), 1);
	assert_error(err, "Device or resource busy");
	assert_int_equal(faccessat(rw_fd, id, F_OK, 0), -1);
	assert_true(generation_remove_old(rw_fd));
	snprintf(name, sizeof(name), PATH "/.old-%s/" GENERATION_STATE, id);
	assert_int_equal(umount(name), 0);
	assert_false(generation_remove_old(rw_fd));
	assert_int_equal(access(name, F_OK), -1);
}

static void test_publish_without_state(void **state)
{
	struct generation_build b;
	struct manifest inputs;
	struct err err = ERR_INIT;

	(void)state;
	fixture_inputs(&inputs, "4194304");
	assert_int_equal(generation_build_begin(rw_fd, MEMORY_BYTES, &b, &err), 0);
	assert_int_equal(generation_build_publish(&b, &inputs, &err), -EIO);
	assert_error(err, "no device state was saved");
	/* A field that the inputs lack is found before anybody reads it. */
	fill(&b);
	assert_int_equal(generation_build_publish(&b, &inputs, &err), -EBADMSG);
	assert_error(err, "agent_version: the field is missing");
	generation_build_done(&b);
	manifest_done(&inputs);
}

static void test_published(void **state)
{
	char id[GENERATION_ID_SIZE], path[128];
	struct generation g;
	struct err err = ERR_INIT;
	struct stat st;
	int memory, other, device;

	(void)state;
	publish(id);
	snprintf(path, sizeof(path), PATH "/%s", id);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0500);
	assert_int_equal(generation_load(ro_fd, id, &g, &err), 0);
	assert_string_equal(g.manifest.value[MANIFEST_ID], id);
	assert_string_equal(g.manifest.value[MANIFEST_STATE_BYTES], "12");
	assert_string_equal(g.manifest.value[MANIFEST_MEMORY_BYTES], "4194304");
	assert_string_equal(g.manifest.value[MANIFEST_PUBLISHED_BYTES], "8192");
	assert_int_equal(generation_grant(rw_fd, &g, &memory, &device, &err), -EPERM);
	assert_error(err, "a mount that can be written to");
	err = ERR_INIT;
	assert_int_equal(generation_grant(ro_fd, &g, &memory, &device, &err), 0);
	assert_int_equal(fcntl(memory, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fstat(memory, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	close(device);
	/* Each grant has its own open file descriptions: moving one does not move the
	 * other. */
	assert_int_equal(generation_grant(ro_fd, &g, &other, &device, &err), 0);
	assert_int_equal(lseek(memory, 100, SEEK_SET), 100);
	assert_int_equal(lseek(other, 0, SEEK_CUR), 0);
	close(memory);
	close(other);
	close(device);
	assert_int_equal(generation_remove(rw_fd, id, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(generation_remove(rw_fd, id, &err), 0);
	assert_true(generation_grant(ro_fd, &g, &memory, &device, &err) < 0);
	assert_error(err, "folder cannot be opened");
	generation_done(&g);
}

/* ---- tampering ---- */

static char *replace(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);

	assert_non_null(at);
	return xasprintf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

struct tampering {
	const char *file;      /* what is changed */
	const char *from, *to; /* manifest: this text by that */
	const char *why;
};

static void change(const char *id, const struct tampering *t)
{
	_cleanup_free_ char *path = xasprintf(PATH "/%s/%s", id, t->file);
	_cleanup_free_ char *text = NULL, *other = NULL;
	struct err err = ERR_INIT;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, path, MEMORY_BYTES, &text, &len, &err), 0);
	other = replace(text, t->from, t->to);
	fixture_write(path, other, 0400);
}

/* Every field and file: refused by a daemon that knew it, and by one that starts. */
static void test_tampered_manifest(void **state)
{
	static const struct tampering cases[] = {
		{"manifest.json", "\"format\": \"3\"", "\"format\": \"9\"", "format: 9"},
		{"manifest.json", "\"id\": \"0", "\"id\": \"3",
			"id: the manifest says 3"},
		{"manifest.json", "4194304", "4194303",
			"memory_bytes: the manifest says 4194303, the file memory has "
			"4194304"},
		{"manifest.json", "\"state_bytes\": \"12\"", "\"state_bytes\": \"13\"",
			"state_bytes: the manifest says 13, the file state has 12"},
		{"manifest.json", "\"state_sha256\": \"", "\"state_sha256\": \"z",
			"state_sha256: \"z"},
		{"manifest.json", "\"created\": \"", "\"created\": \"1",
			"created: the manifest says 1"},
		{"manifest.json", "\"format\"", "\"Format\"", "Format: unknown field"},
		{"manifest.json", "{", "", "not valid JSON"},
		{"state", "device", "Device", "state_sha256: the manifest says"},
		{"state", "device ", "",
			"state_bytes: the manifest says 12, the file state has 5"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[GENERATION_ID_SIZE];
		struct generation g, again;
		struct err err = ERR_INIT;
		int fds[2];

		publish(id);
		assert_int_equal(generation_load(ro_fd, id, &g, &err), 0);
		change(id, &cases[i]);
		assert_true(generation_grant(ro_fd, &g, &fds[0], &fds[1], &err) < 0);
		assert_error(err, cases[i].why);
		assert_error(err, id);
		assert_true(generation_load(ro_fd, id, &again, &err) < 0);
		assert_error(err, cases[i].why);
		generation_done(&g);
		assert_int_equal(generation_remove(rw_fd, id, &err), 0);
	}
}

/* Fields that only a comparison with what was published can find. */
static void test_tampered_inputs(void **state)
{
	static const struct tampering cases[] = {
		{"manifest.json", "7.2.22", "7.2.23", "qemu_version: published as"},
		{"manifest.json", "/usr/bin/qemu", "/usr/bin/other",
			"qemu_path: published as"},
		{"manifest.json", "-m 8M", "-m 9M", "argv: published as"},
		{"manifest.json", "\"agent_version\": \"1\"", "\"agent_version\": \"2\"",
			"agent_version: published as 1, found 2"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[GENERATION_ID_SIZE];
		struct err err = ERR_INIT;
		struct generation g;
		int fds[2];

		publish(id);
		assert_int_equal(generation_load(ro_fd, id, &g, &err), 0);
		change(id, &cases[i]);
		assert_int_equal(
			generation_grant(ro_fd, &g, &fds[0], &fds[1], &err), -EUCLEAN);
		assert_error(err, cases[i].why);
		generation_done(&g);
		assert_int_equal(generation_remove(rw_fd, id, &err), 0);
	}
}

static void damage_and_check(int (*damage)(const char *memory), const char *why)
{
	char id[GENERATION_ID_SIZE], path[128];
	struct err err = ERR_INIT;
	struct generation g;
	int fds[2];

	publish(id);
	assert_int_equal(generation_load(ro_fd, id, &g, &err), 0);
	snprintf(path, sizeof(path), PATH "/%s/memory", id);
	assert_int_equal(damage(path), 0);
	assert_true(generation_grant(ro_fd, &g, &fds[0], &fds[1], &err) < 0);
	assert_error(err, why);
	generation_done(&g);
	assert_int_equal(generation_remove(rw_fd, id, &err), 0);
}

static int shorten(const char *memory)
{
	return truncate(memory, 4096);
}

static int loosen(const char *memory)
{
	return chmod(memory, 0644);
}

static int give_away(const char *memory)
{
	return chown(memory, 7, 7);
}

static int name_twice(const char *memory)
{
	_cleanup_free_ char *other = xasprintf("%s.2", memory);

	return link(memory, other);
}

static int make_link(const char *memory)
{
	return unlink(memory) < 0 ? -1 : symlink("/dev/zero", memory);
}

static int make_fifo(const char *memory)
{
	return unlink(memory) < 0 ? -1 : mkfifo(memory, 0400);
}

static int write_into(const char *memory)
{
	int fd = open(memory, O_WRONLY | O_CLOEXEC);
	/* The clock has second resolution here: say that it was an hour ago. */
	struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - 3600}};
	int r = pwrite(fd, "!", 1, 0) == 1 && futimens(fd, times) == 0 ? 0 : -1;

	close(fd);
	return r;
}

static int remove_it(const char *memory)
{
	return unlink(memory);
}

static void test_damaged_memory(void **state)
{
	(void)state;
	damage_and_check(shorten,
		"memory_bytes: the manifest says 4194304, the file memory has 4096");
	damage_and_check(loosen, "memory: mode 0644, wanted 0400");
	damage_and_check(give_away, "memory: belongs to 7:7, wanted root");
	damage_and_check(name_twice, "memory: has 2 names");
	damage_and_check(make_link, "memory: cannot be opened");
	damage_and_check(make_fifo, "memory: not a regular file");
	damage_and_check(write_into, "created: the manifest says");
	damage_and_check(remove_it, "memory: cannot be opened");
}

/* ---- recovery ---- */

static void test_recover(void **state)
{
	char old[GENERATION_ID_SIZE], bad[GENERATION_ID_SIZE], young[GENERATION_ID_SIZE];
	static const struct tampering t = {"state", "device", "Device", NULL};
	struct generation_build half;
	struct generation_found *found;
	struct err err = ERR_INIT;
	size_t n;

	(void)state;
	publish(old);
	publish(bad);
	publish(young);
	change(bad, &t);
	assert_int_equal(generation_build_begin(rw_fd, MiB, &half, &err), 0);
	/* As if killed: nobody removes it. */
	close(half.memory_fd);
	close(half.state_fd);
	close(half.dir_fd);
	assert_int_equal(mkdirat(rw_fd, "stranger", 0700), 0);
	/* A link with a generation's name: removed, and not what it leads to. */
	assert_int_equal(symlinkat("stranger", rw_fd, "00000000-9f3a2b1c"), 0);
	assert_int_equal(mkdirat(rw_fd, GENERATION_LEASES, 0700), 0);
	assert_int_equal(generation_recover(rw_fd, &found, &n, &err), 0);
	assert_int_equal(n, 4);
	assert_error(found[0].why, "its folder cannot be opened");
	assert_string_equal(found[1].g.id, old);
	assert_string_equal(found[2].g.id, bad);
	assert_string_equal(found[3].g.id, young);
	assert_true(
		!found[0].sound && found[1].sound && !found[2].sound && found[3].sound);
	assert_error(found[2].why, "state_sha256");
	assert_int_equal(faccessat(rw_fd, bad, F_OK, 0), -1);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(generation_remove(rw_fd, found[i].g.id, &err), 0);
		generation_done(&found[i].g);
	}
	free(found);
	/* Nothing but the stranger and the leases is left. */
	assert_int_equal(unlinkat(rw_fd, "stranger", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(rw_fd, GENERATION_LEASES, AT_REMOVEDIR), 0);
	assert_int_equal(generation_recover(rw_fd, &found, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(rmdir(PATH), -1);
	assert_int_equal(errno, EBUSY);
	free(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		cmocka_unit_test(test_ids),
		T(test_ids_whatever_the_clock),
		T(test_ids_go_on),
		T(test_build_and_punch),
		T(test_build_abandoned),
		T(test_remove_old),
		T(test_remove_later),
		T(test_publish_without_state),
		T(test_published),
		T(test_tampered_manifest),
		T(test_tampered_inputs),
		T(test_damaged_memory),
		T(test_recover),
#undef T
	};

	fixture_enter();
	clock_s = 1790000000;
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
