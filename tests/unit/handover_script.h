/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripted VM on its way to another process: a process that waits to be killed stands
 * for QEMU; records move as real ones do. A part of lease_fixture.h.
 */
#pragma once

static inline int script_spawn(
	const struct vm_options *options, struct vm *vm, struct err *err)
{
	struct vm_record record = {0};
	pid_t pid = fork();
	int r;

	if (pid == 0) {
		close_range(3, ~0U, 0); /* the end of a connection must be one */
		for (;;)
			pause();
	}
	r = pidfd_of(pid, &vm->pidfd);
	if (r == 0)
		r = proc_id_of(pid, &record.qemu);
	if (r == 0)
		r = vm_record_write(options->dir, &record, err);
	if (r == 0 && options->spawned)
		r = options->spawned(options->user, &record.qemu, err);
	return r;
}

int vm_clone(const struct vm_options *options, int memory_fd, int state_fd,
	const struct manifest *manifest, struct vm **ret, struct err *err)
{
	struct vm *vm = xnew0(struct vm);
	bool hold;
	int r;

	(void)memory_fd;
	(void)state_fd;
	(void)manifest;
	pthread_mutex_lock(&script.lock);
	script.clones++;
	hold = script.hold_clones;
	r = script.clone_result;
	vm->pidfd = -1;
	pthread_mutex_unlock(&script.lock);
	if (r < 0)
		err_set(err, r, "clone: QEMU is silent");
	else
		r = script_spawn(options, vm, err);
	if (r == 0 && hold) {
		pthread_mutex_lock(&script.lock);
		script.booting++;
		pthread_cond_broadcast(&script.changed);
		pthread_mutex_unlock(&script.lock);
		pidfd_wait(vm->pidfd, DEADLINE_NONE);
		pthread_mutex_lock(&script.lock);
		script.booting--;
		pthread_mutex_unlock(&script.lock);
		r = err_set(err, -ECONNRESET, "clone: QEMU has ended");
	}
	if (r < 0)
		vm_free(vm);
	else
		*ret = vm;
	return r;
}

int vm_detach(struct vm *vm, struct vm_handover *ret, struct err *err)
{
	(void)err;
	ret->pid_fd = vm->pidfd;
	ret->qmp_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->agent_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->stderr_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->qemu_version = 70222;
	free(vm);
	return 0;
}

int vm_offer(const char *dir, struct err *err)
{
	_cleanup_free_ char *offered = xasprintf("%s/offered", dir);

	return mkdir(offered, 0700) < 0 ? err_sys(err, errno, "mkdir") : 0;
}

int vm_forget(const char *dir, struct err *err)
{
	return remove_tree(AT_FDCWD, dir, err);
}

int vm_withdraw(const struct config *c, const char *dir, struct err *err)
{
	_cleanup_free_ char *offered = xasprintf("%s/offered", dir);
	_cleanup_close_ int pidfd = -1;
	const char *at = access(offered, F_OK) == 0 ? offered : dir;
	struct vm_record record;

	(void)c;
	if (at == offered && vm_record_move(dir, offered, NULL) < 0)
		return 1;
	if (vm_record_read(at, &record, NULL) < 0)
		return remove_tree(AT_FDCWD, dir, err);
	if (proc_open(&record.qemu, &pidfd) == 0) {
		pidfd_kill(pidfd, SIGKILL);
		pidfd_wait(pidfd, DEADLINE_NONE);
	}
	return remove_tree(AT_FDCWD, dir, err);
}

int vm_withdraw_left(const struct config *c, const char *dir, struct err *err)
{
	return vm_withdraw(c, dir, err);
}

void vm_handover_done(struct vm_handover *h)
{
	close_fd(h->qmp_fd);
	close_fd(h->agent_fd);
	close_fd(h->pid_fd);
	close_fd(h->stderr_fd);
	*h = VM_HANDOVER_INIT;
}

void vm_handover_last_words(const struct vm_handover *h, char *buf, size_t size)
{
	(void)h;
	snprintf(buf, size, "%s", "");
}
