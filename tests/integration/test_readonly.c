/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing can write a published generation: a program that plays a broken-out QEMU
 * (escape.c) runs in QEMU's place behind the real walls of a clone, with the descriptors
 * that a sandbox is granted.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "mm/digest.h"
#include "mm/generation.h"
#include "tests/lib/template.h"
#include "tests/lib/test.h"
#include "vm/argv.h"
#include "vm/cgroup.h"
#include "vm/confine.h"
#include "vm/spawn.h"

#define REPORT_MAX (256u << 10)
#define PAGE_BYTES 4096

/* All that must stay as it is. */
struct snapshot {
	struct stat st[GENERATION_FILES];
	char digest[GENERATION_FILES][DIGEST_TEXT_SIZE];
	struct stat dir;
	char xattrs[GENERATION_FILES][256];
};

static void take_snapshot(struct snapshot *s)
{
	_cleanup_free_ char *dir = xasprintf(TEMPLATE_PATH "/%s", template_get()->g.id);

	*s = (struct snapshot){0};
	assert_int_equal(0, stat(dir, &s->dir));
	for (int i = 0; i < GENERATION_FILES; i++) {
		_cleanup_free_ char *path = template_file((enum generation_file)i);
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

		assert_int_equal(0, fstat(fd, &s->st[i]));
		assert_int_equal(0, digest_file(fd, s->digest[i]));
		/* Reading it may. */
		s->st[i].st_atim = (struct timespec){0};
		assert_false(template_has_writer(path));
	}
	s->dir.st_atim = (struct timespec){0};
}

static void assert_untouched(const struct snapshot *before)
{
	struct generation g;
	struct snapshot now;
	struct err err = ERR_INIT;

	take_snapshot(&now);
	for (int i = 0; i < GENERATION_FILES; i++) {
		assert_string_equal(before->digest[i], now.digest[i]);
		assert_int_equal(0400, now.st[i].st_mode & 07777);
		assert_int_equal(0, now.st[i].st_uid);
	}
	assert_memory_equal(before, &now, sizeof(now));
	check_result(
		generation_load(template_get()->ro_fd, template_get()->g.id, &g, &err),
		&err);
	generation_done(&g);
}

/* ---- a broken-out QEMU ---- */

/*
 * What each attempt has to come to: for each subject (":" is none) one of the outcomes;
 * two where it depends on the kernel's version or configuration. ENOSYS is the filter,
 * ENOENT the jail, EBADF and EACCES a descriptor that is O_RDONLY, EROFS the read-only
 * mount that a file was opened through, EPERM the seal of the window's size. What kills
 * is below.
 */
struct row {
	const char *subjects, *outcomes, *attempts;
};

static const struct row rows[] = {
	{"memory window", "OK", "open"},
	/* The supervisor answers each once, then its listener is gone. */
	{"memory", "ENOENT", "open-twice"},
	{"memory window", "ENOSYS",
		"open-again open-again-at open-again-old open-again-new make"},
	{"window", "OK", "map set-append"},
	{"window", "EPERM", "shrink grow append allocate"},
	{"window", "ENOSYS", "seal fchmod fchown"},
	{"image", "OK", "open"},
	{"memory state image", "OK", "access-mode msync-private"},
	{"memory state image", "EBADF", "write pwrite fallocate punch-hole"},
	{"memory state image", "EINVAL", "ftruncate madvise-populate-write"},
	{"memory state image", "EINVAL EPERM", "madvise-hwpoison"},
	{"memory state image", "ENOSYS",
		"fchmod fchown fchown-empty fsetxattr fsetxattr-capability fremovexattr "
		"futimens setflags pwritev2 copy-file-range sendfile splice clone-range "
		"seal write-lease write-lock"},
	/* By its name in /proc/self/fd. */
	{"memory state image", "ENOSYS",
		"reopen-rdwr reopen-rdwr-at reopen-rdwr-beside reopen-either "
		"reopen-either-old reopen-new reopen-creat reopen-wronly-old "
		"reopen-wronly-trunc truncate chmod chown utimensat setxattr "
		"link-empty-path link-self-fd rename rename-onto unlink unlinkat-empty "
		"fchdir"},
	{"memory state image", "EROFS", "reopen-rdonly-trunc"},
	{"memory state image", "EACCES",
		"mmap-shared-write mmap-shared-validate-write mprotect-shared "
		"madvise-remove"},
	{"memory state image", "EFAULT", "read-into-shared private-shows-in-shared"},
	{"memory state image", "ENOTDIR", "parent-by-name parent-by-fd"},
	{"device", "ENOSYS", "fchmod fchown futimens chmod chown make-tap reopen"},
	/* Its mount has no devices any more. */
	{"device", "EACCES", "reopen-readonly"},
	{"parent neighbour", "ENOSYS",
		"limit priority affinity move-pages proc-mem-write"},
	{"parent neighbour", "ENOENT", "proc-mem proc-root"},
	{":", "ENOSYS",
		"clone3 clone-thread-namespace write-root mkdir-root rename-root "
		"symlink-root write-lib chmod-lib chmod-program ambient new-privs "
		"dumpable ptracer seccomp-off seccomp-more io-uring memfd dup-high "
		"packet-filter async owner terminal landlock lock-memory inotify "
		"unknown"},
	{":", "EROFS", "create-root"},
	{":", "EPERM", "write-stdin"},
	{":", "ENOENT", "path"},
	{":", "OK", "end"},
	{NULL, NULL, NULL},
};

static bool is_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = words; (p = strstr(p, word)); p += len)
		if ((p == words || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
			return true;
	return false;
}

static unsigned int count_words(const char *words)
{
	unsigned int n = 1;

	for (; *words; words++)
		n += *words == ' ';
	return n;
}

/* The lines of `report` that start with the attempt all end as the row says. */
static unsigned int check_attempt(const char *report, const char *subject,
	const char *attempt, const char *outcomes)
{
	_cleanup_free_ char *start = *subject == ':'
					     ? xasprintf("\n%s ", attempt)
					     : xasprintf("\n%s %s ", subject, attempt);
	unsigned int n = 0;

	for (const char *p = report; (p = strstr(p, start)); n++) {
		char outcome[32];

		p += strlen(start);
		snprintf(outcome, sizeof(outcome), "%.*s", (int)strcspn(p, "\n"), p);
		if (!is_word(outcomes, outcome))
			fail_msg(
				"%s came to %s, wanted %s", start + 1, outcome, outcomes);
	}
	if (n == 0)
		fail_msg("%s was not tried, or not reported:\n%s", start + 1, report);
	return n;
}

static unsigned int check_row(const char *report, const struct row *row)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count_words(row->subjects); i++) {
		_cleanup_free_ char *attempts = xstrdup(row->attempts), *subject = NULL;
		const char *at = row->subjects;
		char *save = NULL;

		for (unsigned int k = 0; k < i; k++)
			at = strchr(at, ' ') + 1;
		subject = xstrndup(at, strcspn(at, " "));
		for (char *word = strtok_r(attempts, " ", &save); word;
			word = strtok_r(NULL, " ", &save))
			n += check_attempt(report, subject, word, row->outcomes);
	}
	return n;
}

/* Each line of it is expected, and each expected line is there. */
static void check_report(const char *report)
{
	unsigned int lines = 0, known = 0;

	for (const char *p = report + 1; *p; p++)
		lines += *p == '\n';
	for (const struct row *row = rows; row->attempts; row++)
		known += check_row(report, row);
	assert_int_equal(lines, known);
}

static int no_record(void *user, pid_t pid, int pidfd, struct err *err)
{
	(void)user, (void)pid, (void)pidfd, (void)err;
	return 0;
}

/* The walls of a clone around escape.c instead of QEMU. */
struct jailed {
	struct spawned q;
	int qmp_fd, agent_fd, files_fd, report_fd;
	char cgroup[64];
};

/* In a folder of its own, as a QEMU below /opt/qemu: the program shows in the jail under
 * its path, and wherever this tree lies, neither /home nor /tmp may. */
static char *install_escape(void)
{
	const char *given = getenv("STENCIL_ESCAPE");
	_cleanup_free_ char *prefix = template_make_dir("qemu"),
			    *dir = template_make_dir("qemu/bin"), *text = NULL;
	char *program = xasprintf("%s/escape", dir);
	struct err err = ERR_INIT;
	size_t len;

	check_result(file_read(AT_FDCWD, given ? given : "build/tests/integration/escape",
			     16 * MiB, &text, &len, &err),
		&err);
	check_result(file_write_atomic(AT_FDCWD, program, text, len, 0755, &err), &err);
	return program;
}

static void jail(struct jailed *j, const char *name, char *const *argv, unsigned int uid,
	const struct spawn_open opens[SPAWN_OPENS_MAX])
{
	_cleanup_free_ char *program = install_escape(), *dir = template_make_dir(name);
	struct spawn s = {
		.qemu_path = program,
		.argv = argv,
		.jail = dir,
		.uid = (uid_t)template_get()->config.uid_base + uid,
		.fd_names = true,
		.record = no_record,
	};
	int qmp[2], agent[2], files[2], cgroup_fds[CGROUP_MAX];
	struct err err = ERR_INIT;

	*j = (struct jailed){.report_fd = memfd_create("report", MFD_CLOEXEC)};
	snprintf(j->cgroup, sizeof(j->cgroup), "test-%d-%s", getpid(), name);
	assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp));
	assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, agent));
	assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, files));
	check_result(cgroup_create(j->cgroup, cgroup_fds, &err), &err);
	for (unsigned int i = 0; opens && i < SPAWN_OPENS_MAX; i++)
		s.opens[s.n_opens++] = opens[i];
	s.cgroup_fds = cgroup_fds;
	s.qmp_fd = qmp[1];
	s.agent_fd = agent[1];
	s.files_fd = files[1];
	s.stderr_fd = j->report_fd;
	check_result(spawn_qemu(&s, &j->q, &err), &err);
	for (int i = 0; i < CGROUP_MAX; i++)
		close_fd(cgroup_fds[i]);
	close(qmp[1]);
	close(agent[1]);
	close(files[1]);
	j->qmp_fd = qmp[0];
	j->agent_fd = agent[0];
	j->files_fd = files[0];
}

static void unjail(struct jailed *j)
{
	struct err err = ERR_INIT;

	spawned_end(&j->q);
	check_result(cgroup_remove(j->cgroup, &err), &err);
	close(j->qmp_fd);
	close(j->agent_fd);
	close(j->files_fd);
	close(j->report_fd);
}

/* As vm/files.c has it. */
static int make_window(void)
{
	int fd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(0, ftruncate(fd, PAGE_BYTES));
	assert_int_equal(
		0, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	return fd;
}

/* As the image store gives it. */
static int make_image(void)
{
	static const char text[] = "nobody may write here";
	_cleanup_free_ char *dir = template_make_dir("images"),
			    *path = xasprintf("%s/image", dir);
	struct err err = ERR_INIT;

	check_result(
		file_write_atomic(AT_FDCWD, path, text, sizeof(text), 0444, &err), &err);
	assert_int_equal(0, truncate(path, PAGE_BYTES));
	return open_readonly_mount(path, O_RDONLY);
}

static void assert_image_untouched(void)
{
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;
	struct stat st;
	size_t len;

	assert_int_equal(0, stat(TEMPLATE_DIR "/images/image", &st));
	assert_int_equal(0444, st.st_mode & 07777);
	assert_int_equal(0, st.st_uid);
	assert_int_equal(PAGE_BYTES, st.st_size);
	check_result(file_read(AT_FDCWD, TEMPLATE_DIR "/images/image", PAGE_BYTES, &text,
			     &len, &err),
		&err);
	assert_string_equal("nobody may write here", text);
}

static const char *const own_namespaces[] = {"mnt", "net", "ipc", "uts"};

/* What it is granted lies on read-only mounts, whatever its filter lets through. */
static void assert_readonly_mount(int fd)
{
	struct statvfs st;

	assert_int_equal(0, fstatvfs(fd, &st));
	assert_true(st.f_flag & ST_RDONLY);
}

/* What it has said, to its end. */
static char *read_report(const struct jailed *j)
{
	char *report = xmalloc(REPORT_MAX + 2);
	ssize_t n;

	assert_int_equal(0, wait_fd(j->q.pidfd, POLLIN, soon()));
	report[0] = '\n';
	n = pread(j->report_fd, report + 1, REPORT_MAX, 0);
	assert_true(n >= 0);
	report[n + 1] = '\0';
	return report;
}

static char *run_escape(void)
{
	_cleanup_free_ char *memory = template_file(GENERATION_FILE_MEMORY),
			    *state = template_file(GENERATION_FILE_STATE),
			    *manifest = template_file(GENERATION_FILE_MANIFEST),
			    *parent = xasprintf("%d", getpid()), *other = NULL;
	struct spawn_open opens[SPAWN_OPENS_MAX] = {
		{VM_PATH_MEMORY, -1}, {VM_PATH_WINDOW, make_window()}};
	struct jailed neighbour, escape;
	char *report;
	int fds[3];

	jail(&neighbour, "neighbour", (char *[]){"escape", NULL}, 0, NULL);
	other = xasprintf("%d", neighbour.q.pid);
	for (size_t i = 0; i < ARRAY_SIZE(own_namespaces); i++)
		test_other_namespace(neighbour.q.pid, own_namespaces[i]);
	template_grant(&opens[0].fd, &fds[0]);
	fds[1] = open_readonly_mount("/dev/net/tun", O_RDWR);
	fds[2] = make_image();
	assert_readonly_mount(opens[0].fd);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_readonly_mount(fds[i]);
	jail(&escape, "escape",
		(char *[]){"escape", "all", VM_PATH_MEMORY, VM_PATH_WINDOW, parent, other,
			template_get()->config.template_endpoint, memory, state, manifest,
			TEMPLATE_PATH, TEMPLATE_DIR "/state", TEMPLATE_DIR "/neighbour",
			NULL},
		1, opens);
	assert_int_equal(0, sock_send(escape.qmp_fd, "f", 1, fds, 3, soon()));
	close(opens[0].fd);
	close(opens[1].fd);
	close(fds[0]);
	close(fds[1]);
	close(fds[2]);
	report = read_report(&escape);
	unjail(&escape);
	unjail(&neighbour);
	return report;
}

/* A wall's proof: docs/security.md. */
static void test_escape(void **state)
{
	struct stat null, tun, st;
	struct snapshot before;
	_cleanup_free_ char *report = NULL;

	(void)state;
	take_snapshot(&before);
	assert_int_equal(0, stat("/dev/null", &null));
	assert_int_equal(0, stat("/dev/net/tun", &tun));
	report = run_escape();
	check_report(report);
	assert_untouched(&before);
	assert_image_untouched();
	assert_int_equal(0, stat("/dev/null", &st));
	assert_int_equal(null.st_mode, st.st_mode);
	assert_int_equal(null.st_uid, st.st_uid);
	assert_int_equal(0, stat("/dev/net/tun", &st));
	assert_int_equal(tun.st_mode, st.st_mode);
	assert_int_equal(tun.st_uid, st.st_uid);
}

/* One attempt that has to kill it: false if there is no such. */
static bool run_deadly(unsigned int n, pid_t neighbour)
{
	_cleanup_free_ char *number = xasprintf("%u", n),
			    *other = xasprintf("%d", neighbour), *report = NULL;
	struct jailed escape;
	siginfo_t info;

	jail(&escape, "escape", (char *[]){"escape", "deadly", number, other, NULL}, 1,
		NULL);
	report = read_report(&escape);
	assert_int_equal(
		0, waitid(P_PIDFD, (id_t)escape.q.pidfd, &info, WEXITED | WNOWAIT));
	unjail(&escape);
	if (info.si_code == CLD_EXITED && info.si_status == 2)
		return false;
	/* A kernel that runs no 32-bit code has no such call. */
	if (info.si_code == CLD_EXITED ||
		(info.si_status != SIGSYS &&
			!(info.si_status == SIGSEGV && strstr(report, "i386"))))
		fail_msg("attempt %u did not kill it but ended with %d:%s", n,
			info.si_status, report);
	return true;
}

/* A wall's proof: docs/security.md. */
static void test_deadly(void **state)
{
	struct jailed neighbour;
	unsigned int n = 0;

	(void)state;
	jail(&neighbour, "neighbour", (char *[]){"escape", NULL}, 0, NULL);
	while (run_deadly(n, neighbour.q.pid))
		n++;
	assert_true(n > 60);
	assert_int_equal(
		-ETIMEDOUT, wait_fd(neighbour.q.pidfd, POLLIN, deadline_after_ms(0)));
	unjail(&neighbour);
}

/* It was executed by a descriptor and an address that whoever breaks into it can have
 * again. */
/* A wall's proof: docs/security.md. */
static void test_executed_once(void **state)
{
	_cleanup_free_ char *address = xasprintf("%p", (const void *)confine_exec_path),
			    *fd = xasprintf("%d", CONFINE_FD_HIGH + 1), *report = NULL;
	struct jailed escape;

	(void)state;
	jail(&escape, "escape", (char *[]){"escape", "again", address, fd, NULL}, 1,
		NULL);
	report = read_report(&escape);
	unjail(&escape);
	assert_string_equal("\nexec-again ENOSYS\n", report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_deadly),
		cmocka_unit_test(test_executed_once),
	};

	return cmocka_run_group_tests(tests, template_enter, template_leave);
}
