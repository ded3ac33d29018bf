/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM said last, for people: the ends of its console
 * and of QEMU's standard error. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/vm_internal.h"

/* The last `max` bytes of text, from the start of a line where that is possible; what a
 * dying kernel says last is its register dump, so a panic's own line comes first where
 * there is one. */
static const char *last_words(const char *text, size_t max)
{
	size_t len = strlen(text);
	const char *panic = strstr(text, "Kernel panic"), *from, *line;

	if (panic)
		return panic;
	from = len > max ? text + len - max : text;
	line = strchr(from, '\n');
	return from != text && line && line[1] ? line + 1 : from;
}

/* Lines side by side: "one | two". */
static void join_lines(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		if (*in == '\r' || (*in == '\n' && (out == text || out[-1] == '|')))
			continue;
		*out++ = *in == '\n' ? '|' : *in;
	}
	while (out > text && strchr("| ", out[-1]))
		out--;
	*out = '\0';
}

static void append_tail(char *buf, size_t size, const char *what, char *text, size_t max)
{
	size_t len = strlen(buf);
	char *from = text + (last_words(text, max) - text);

	join_lines(from);
	if (*from)
		snprintf(buf + len, size - len, "; %s ends with \"%s\"", what,
			err_quote(from, (unsigned int)max));
}

void vm_append_stderr(int stderr_fd, char *buf, size_t size)
{
	char text[VM_STDERR_BYTES + 1];
	ssize_t n;

	if (stderr_fd < 0)
		return;
	n = pread(stderr_fd, text, VM_STDERR_BYTES, 0);
	text[MAX(n, (ssize_t)0)] = '\0';
	append_tail(buf, size, "QEMU's standard error", text, 300);
}

/* A QEMU that dies closes QMP before it has ended: who hears of the one waits for the
 * other, which takes a moment. */
#define END_MS 500

/* Whether its filter ended it. Only its parent can know; the status stays to be
 * reaped. */
static bool was_filtered(const struct vm *vm)
{
	siginfo_t info = {0};

	if (vm->qemu.foreign || vm->qemu.pid <= 0)
		return false;
	return waitid(P_PIDFD, (id_t)vm->qemu.pidfd, &info,
		       WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_code == CLD_KILLED && info.si_status == SIGSYS;
}

void vm_post_mortem(struct vm *vm, char *buf, size_t size)
{
	_cleanup_free_ char *console = NULL;

	*buf = '\0';
	if (was_filtered(vm))
		snprintf(buf, size,
			"; it made a system call that no QEMU makes, and was killed for "
			"that (SIGSYS; the kernel's log has the call's number)");
	if (vm_ran_out_of_memory(vm))
		snprintf(buf + strlen(buf), size - strlen(buf),
			"; its cgroup had used up its memory (memory_overhead of "
			"[hypervisor], or the pod's own limit on the host)");
	if (vm->qemu.foreign)
		snprintf(buf + strlen(buf), size - strlen(buf),
			"; its exit status is not known here: it came from templated's cache");
	vm_append_stderr(vm->stderr_fd, buf, size);
	pthread_mutex_lock(&vm->lock);
	if (vm->console)
		console = xstrdup(vm->console);
	pthread_mutex_unlock(&vm->lock);
	if (!console && (!vm->qmp || qmp_ringbuf_read(vm->qmp, VM_CHARDEV_CONSOLE,
					     VM_CONSOLE_BYTES, &console,
					     deadline_after_ms(2000), NULL) < 0))
		return;
	if (*console)
		append_tail(buf, size, "the guest's console", console, 400);
	else
		snprintf(buf + strlen(buf), size - strlen(buf),
			"; the guest's console is empty");
}

int vm_explain(struct vm *vm, struct err *err)
{
	char text[800];
	size_t len;

	if (!err)
		return -EIO;
	if (err->code == -ECONNRESET && vm->qemu.pidfd >= 0)
		pidfd_wait(vm->qemu.pidfd, deadline_after_ms(END_MS));
	vm_post_mortem(vm, text, sizeof(text));
	/* The last words matter most: what came before makes room for them. */
	len = MIN(strlen(err->text), sizeof(err->text) - 1 - strlen(text));
	memcpy(err->text + len, text, strlen(text) + 1);
	return err->code;
}
