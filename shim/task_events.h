/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a task, as containerd and its clients hear of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shim/proto/containerd_task.pb-c.h"
#include "shim/container.h"

void task_publish_create(struct pod *pod,
	const Containerd__Task__V2__CreateTaskRequest *request, uint32_t pid);
void task_publish_start(const struct process *p); /* start or exec-started */
void task_publish_exec_added(const struct process *p);
void task_publish_exit(const struct process *p);
void task_publish_delete(const struct process *p);
void task_publish_paused(const struct container *c, bool paused);
void task_publish_oom(struct pod *pod, const char *id);
