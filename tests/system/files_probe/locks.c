/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds and tries locks of one file as standard input says, so that two machines can take
 * turns.
 *
 *	try read|write START SIZE	ok, or the errno; a SIZE of 0 is to the end
 *	wait read|write START SIZE	"waits" at once, then as try when the lock was had
 *	unlock START SIZE
 *	who read|write START SIZE	what is in the way, or "free"
 *	close				and open again
 *
 * Each answer is one line. flock has no ranges and no who.
 */
#include "tests/system/files_probe/probe.h"

#include <sys/file.h>

enum lock_kind { LOCK_POSIX, LOCK_OFD, LOCK_FLOCK };

static long lock_flock(int fd, short type, bool wait)
{
	int operation = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;

	return flock(fd, operation | (wait ? 0 : LOCK_NB));
}

static long lock_do(int fd, enum lock_kind kind, struct flock lock, bool wait)
{
	if (kind == LOCK_FLOCK)
		return lock_flock(fd, lock.l_type, wait);
	if (kind == LOCK_OFD)
		return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
	return fcntl(fd, wait ? F_SETLKW : F_SETLK, &lock);
}

static void answer(long result)
{
	printf("%s\n", result < 0 ? strerrorname_np(errno) : "ok");
}

static void answer_who(int fd, enum lock_kind kind, struct flock lock)
{
	long result = fcntl(fd, kind == LOCK_OFD ? F_OFD_GETLK : F_GETLK, &lock);

	if (result < 0)
		answer(result);
	else if (lock.l_type == F_UNLCK)
		printf("free\n");
	else
		printf("%s %lld %lld\n", lock.l_type == F_RDLCK ? "read" : "write",
			(long long)lock.l_start, (long long)lock.l_len);
}

static int lock_open(const char *path)
{
	return must("open", open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666));
}

/* False if there is no such command. */
static bool lock_command(const char *line, int fd, enum lock_kind kind)
{
	char word[16], type[16] = "";
	long long start = 0, size = 0;
	struct flock lock = {0};

	if (sscanf(line, "unlock %lld %lld", &start, &size) == 2)
		snprintf(word, sizeof(word), "try");
	else if (sscanf(line, "%15s %15s %lld %lld", word, type, &start, &size) != 4)
		return false;
	lock.l_type = strcmp(type, "read") == 0 ? F_RDLCK : *type ? F_WRLCK : F_UNLCK;
	lock.l_start = start;
	lock.l_len = size;
	if (strcmp(word, "who") == 0) {
		answer_who(fd, kind, lock);
		return true;
	}
	if (strcmp(word, "wait") == 0) {
		printf("waits\n");
		fflush(stdout);
	}
	answer(lock_do(fd, kind, lock, strcmp(word, "wait") == 0));
	return true;
}

/* FILE posix|ofd|flock */
int mode_locks(char **args)
{
	static const char *const kinds[] = {
		[LOCK_POSIX] = "posix", [LOCK_OFD] = "ofd", [LOCK_FLOCK] = "flock"};
	char line[128];
	size_t kind = 0;
	int fd = lock_open(args[0]);

	while (kind < ARRAY_SIZE(kinds) && strcmp(kinds[kind], args[1]) != 0)
		kind++;
	if (kind == ARRAY_SIZE(kinds))
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "close\n") == 0) {
			close(fd);
			fd = lock_open(args[0]);
			printf("ok\n");
		} else if (!lock_command(line, fd, kind)) {
			printf("what?\n");
		}
		fflush(stdout);
	}
	return 0;
}
