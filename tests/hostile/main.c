/* SPDX-License-Identifier: Apache-2.0 */
/* The module's parameters, and what all attacks need: see hostile.h. */
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "tests/hostile/hostile.h"

static char *attack = "";
module_param(attack, charp, 0444);
static unsigned int seed = 1;
module_param(seed, uint, 0444);
unsigned int attack_amount = 1000;
module_param_named(amount, attack_amount, uint, 0444);
unsigned int attack_frame;
module_param_named(frame, attack_frame, uint, 0444);

unsigned int attack_done;
module_param_named(done, attack_done, uint, 0444);

static struct rnd_state random_state;

static const struct attack attacks[] = {
	{"files", files_attack},
	{"frames", frames_attack},
	{"agent", agent_attack},
	{"ports", ports_attack},
	{"rings", rings_attack},
	{"net", net_attack},
	{"ost", ost_attack},
	{"hotplug", hotplug_attack},
};

u32 attack_random(void)
{
	return prandom_u32_state(&random_state);
}

void attack_random_bytes(void *data, size_t size)
{
	prandom_bytes_state(&random_state, data, size);
}

int attack_go_on(void)
{
	attack_done++;
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/*
 * No signal stops a process 1 as long as it cannot be killed. The flag is of the
 * namespace's first process, and the agent is the whole guest's: no namespace is between.
 */
void attack_stop_agent(void)
{
	struct task_struct *task = current;

	rcu_read_lock();
	while (task->pid > 1)
		task = rcu_dereference(task->real_parent);
	get_task_struct(task);
	rcu_read_unlock();
	task->signal->flags &= ~SIGNAL_UNKILLABLE;
	send_sig(SIGSTOP, task, 1);
	put_task_struct(task);
}

/* It never stays loaded: what it has done is done. */
static int __init hostile_init(void)
{
	prandom_seed_state(&random_state, seed);
	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
		int r;

		if (strcmp(attacks[i].name, attack) != 0)
			continue;
		r = attacks[i].run();
		device_give_back();
		pr_emerg("hostile: %s is over: %d\n", attack, r);
		return r < 0 ? r : -ECANCELED;
	}
	return -EINVAL;
}
module_init(hostile_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Attacks a guest's host; of Stencil's tests");
