/* SPDX-License-Identifier: Apache-2.0 */
/* The making of images: a mkfs.erofs that fails, or would do what it must not; layers
 * that change and a templated that ends meanwhile. */
#include "tests/unit/images_fixture.h"

/* In Perl: it can start no other program. */
static void use_program(const char *script)
{
	_cleanup_free_ char *text = xasprintf("#!/usr/bin/perl\n%s\n", script);

	make_folder("/tmp/bin");
	fixture_write("/tmp/bin/mkfs.erofs", text, 0755);
}

static int teardown_program(void **state)
{
	unlink("/tmp/bin/mkfs.erofs");
	return teardown(state);
}

static void test_program_fails(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *b = make_layer("b"),
			    *c = make_layer("c"), *d = make_layer("d");
	struct image_grant grant;
	struct err err;

	(void)state;
	use_program("print STDERR qq(the disk is \\a); exit 3");
	fail_to_make(&a, 1, IMAGES_FAILED, "mkfs.erofs failed with 3: the disk is \\x07");
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_FAILED);
	use_program("unpack q(p), pack(q(Q), 1)");
	fail_to_make(&b, 1, IMAGES_FAILED, "mkfs.erofs was ended by signal 11");
	/* Says that it made one. */
	use_program("open F, q(>/image); print F qq(nonsense)");
	fail_to_make(&c, 1, IMAGES_FAILED, "it has no EROFS superblock");
	change("images", "max_bytes", "1M");
	use_program("open F, q(>/image); print F qq(0123456789) x 1000 while 1");
	fail_to_make(&d, 1, IMAGES_TOO_LARGE, "more than the 1048576 bytes");
	assert_int_equal(count_files(".new"), 0);
	assert_int_equal(count_files(".erofs"), 0);
	/* Forgotten by prune. */
	unlink("/tmp/bin/mkfs.erofs");
	change("images", "max_bytes", "10M");
	images_prune(store, &(uint64_t){0}, &(uint64_t){0});
	grant = obtain_one(a);
	close(grant.fd);
}

/* What it is and sees, told by a failure. */
/* A wall's proof: docs/security.md. */
static void test_program_is_confined(void **state)
{
	static const struct {
		const char *script, *says;
	} cases[] = {
		{"die qq($< $> $( $))", "65534 65534 65534 65534"},
		{"opendir D, q(/); die join q( ), sort grep /\\w/, readdir D",
			"bin etc image lib lib64 lower sbin tmp usr at"},
		{"opendir D, q(/etc); die join q( ), grep /\\w/, readdir D",
			": ld.so.cache at"},
		{"open F, q(>/lower/file) or die $!", "Read-only file system"},
		{"open F, q(>/usr/file) or die $!", "Read-only file system"},
		{"open F, q(>/file) or die $!", "Read-only file system"},
		{"-e q(/lower/../../tmp/l) or die q(no way out)", "no way out"},
		{"socket S, 1, 1, 0 or die $!", "Operation not permitted"},
		{"fork // die $!", "Operation not permitted"},
		{"kill 9, 1 or die $!", "Operation not permitted"},
		/* open_by_handle_at(2) */
		{"syscall(304, 0, 0, 0) < 0 and die $!", "Operation not permitted"},
		/* unshare(CLONE_NEWUSER) */
		{"syscall(272, 0x10000000) < 0 and die $!", "Operation not permitted"},
		/* Not more than one capability: capget(2) of itself. */
		{"my $h = pack q(LL), 0x20080522, 0; my $d = q(-) x 24; "
		 "syscall 125, $h, $d; die join q( ), unpack q(L6), $d",
			"failed with 255: 4 4 4 0 0 0"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *name = xasprintf("%zu", i);
		_cleanup_free_ char *layer = make_layer(name);

		use_program(cases[i].script);
		fail_to_make(&layer, 1, IMAGES_FAILED, cases[i].says);
	}
}

static void test_no_program(void **state)
{
	_cleanup_free_ char *a = make_layer("a");
	struct image_grant grant;
	struct err err;

	(void)state;
	/* Nothing is in the folders that are looked into anyway, either. */
	assert_int_equal(mount("t", "/usr/bin", "tmpfs", 0, ""), 0);
	assert_int_equal(mount("t", "/usr/sbin", "tmpfs", 0, ""), 0);
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_UNAVAILABLE);
	assert_error(err, "mkfs.erofs is not in templated's PATH");
	assert_int_equal(umount2("/usr/bin", 0), 0);
	assert_int_equal(umount2("/usr/sbin", 0), 0);
}

/* The layer is another one when the image is finished. */
static void test_layers_change_meanwhile(void **state)
{
	_cleanup_free_ char *a = make_layer("a");
	struct image_grant grant;
	struct err err;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(mkfifo("/tmp/l/a/wait", 0644), 0);
	assert_int_equal(chmod("/tmp/l/a/wait", 0666), 0);
	use_program("open F, q(/lower/wait); <F>; exec q(/usr/bin/mkfs.erofs), @ARGV");
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_MAKING);
	pid = fork();
	if (pid == 0) {
		/* Until it is opened for reading, too. */
		int fd = open("/tmp/l/a/wait", O_WRONLY | O_CLOEXEC);

		if (fd < 0 || rename("/tmp/l/a", "/tmp/l/b") < 0 ||
			mkdir("/tmp/l/a", 0755) < 0 || write(fd, "go\n", 3) != 3)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	wait_made();
	assert_int_equal(store->failed, 1);
	assert_error(store->failures->err, "its layers were replaced meanwhile");
	assert_int_equal(count_files(".erofs") + count_files(".new"), 0);
}

/* templated ends while one is made: nothing of it stays, and nobody waits for long. */
static void test_closed_meanwhile(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *b = make_layer("b");
	struct image_grant grant;
	struct err err;
	char byte;
	int fd;

	(void)state;
	assert_int_equal(mkfifo("/tmp/l/a/tell", 0666), 0);
	assert_int_equal(chmod("/tmp/l/a/tell", 0666), 0);
	use_program("open F, q(/lower/tell); <F>");
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_MAKING);
	assert_int_equal(ask_for(&b, 1, &grant, &err), IMAGES_MAKING);
	assert_error(err, "there is no image of its layers yet");
	/* It runs once the other end is open. */
	fd = open("/tmp/l/a/tell", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_MAKING);
	assert_error(err, "is being made since");
	assert_int_equal(ask_for(&b, 1, &grant, &err), IMAGES_MAKING);
	assert_error(err, "others come first");
	images_close(store);
	assert_int_equal(count_files(".new"), 0);
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_UNAVAILABLE);
	/* Nobody reads there any more. */
	byte = 'x';
	assert_int_equal(write(fd, &byte, 1), -1);
	assert_int_equal(errno, EPIPE);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_program_fails, setup, teardown_program),
		cmocka_unit_test_setup_teardown(
			test_program_is_confined, setup, teardown_program),
		cmocka_unit_test_setup_teardown(test_no_program, setup, teardown_program),
		cmocka_unit_test_setup_teardown(
			test_layers_change_meanwhile, setup, teardown_program),
		cmocka_unit_test_setup_teardown(
			test_closed_meanwhile, setup, teardown_program),
	};

	images_enter();
	return cmocka_run_group_tests_name("images-make", tests, NULL, NULL);
}
