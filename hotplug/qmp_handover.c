/* SPDX-License-Identifier: Apache-2.0 */
/* A QMP session moves to another process: see qmp.h. */
#include <errno.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/util.h"
#include "hotplug/qmp_internal.h"

int qmp_quiesce(struct qmp *q, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&q->lock);
	if (q->end.code < 0)
		r = err_copy(err, &q->end);
	else if (q->n_sent != q->n_answered)
		r = err_set(err, -EBUSY, "a QMP command is unanswered");
	else
		err_set(&q->end, -ECANCELED, "the QMP session was handed over");
	q->n_quiet = q->n_events + q->n_dropped;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return r;
}

/* The reader's end, at the end of a line. */
static int stop_reader(struct qmp *q, int64_t deadline, struct err *err)
{
	void *stopped = NULL;

	pthread_mutex_lock(&q->lock);
	q->stop_deadline = deadline;
	pthread_mutex_unlock(&q->lock);
	thread_wake(q->stop_fd);
	pthread_join(q->reader, &stopped);
	q->reading = false;
	/* Read here since then, so lost to whoever is next. */
	if (stopped && q->n_quiet != q->n_events + q->n_dropped)
		return err_set(err, -EBUSY, "QEMU said something meanwhile");
	if (stopped)
		return 0;
	/* Its own reason found `end` taken. */
	return deadline_poll_ms(deadline) == 0
		       ? err_set(err, -ETIMEDOUT, "QEMU stays in the middle of a line")
		       : err_set(err, -ECONNRESET, "QEMU closed its QMP connection");
}

int qmp_detach(struct qmp *q, int64_t deadline, int *ret_fd, struct err *err)
{
	int r = stop_reader(q, deadline, err);

	if (r < 0) {
		qmp_free(q);
		return err_wrap(err, "hand the QMP session over");
	}
	*ret_fd = q->fd;
	qmp_destroy(q);
	return 0;
}

int qmp_adopt(int fd, unsigned int version, struct qmp **ret, struct err *err)
{
	struct qmp *q = qmp_alloc(fd);
	int r;

	if (!q)
		return err_sys(err, errno, "cannot make an eventfd");
	q->version = version;
	q->greeted = true;
	r = qmp_start_reader(q, err);
	if (r < 0) {
		qmp_free(q);
		return r;
	}
	*ret = q;
	return 0;
}
