/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod's VM may take of its host: see pod_share.h. */
#include "shim/pod_share.h"

#include <stdbool.h>

#include "base/log.h"
#include "base/util.h"
#include "shim/container.h"

struct sum {
	struct pod_share share;
	uint64_t cpu_millis;
	bool any, unlimited;
};

/* A CRI's sandbox container does nothing, and has no limit. */
static void add_share(struct sum *sum, const struct container *c)
{
	const struct pod_share *share = &c->share;

	if (sum->any && share->of_sandbox)
		return;
	if (!sum->any || sum->share.of_sandbox) {
		*sum = (struct sum){.share = *share, .any = true};
	} else {
		sum->share.cpu_shares += share->cpu_shares;
		sum->share.oom_score_adj =
			MAX(sum->share.oom_score_adj, share->oom_score_adj);
	}
	sum->cpu_millis += c->size.cpu_millis;
	sum->unlimited = sum->unlimited || !c->size.cpu_millis;
}

int pod_share_apply(struct pod *pod, const struct container *extra, struct err *err)
{
	struct sum sum = {0};
	struct pod_use use;
	uint64_t millis;
	int r;

	if (extra)
		add_share(&sum, extra);
	for (struct container *c = pod->containers; c; c = c->next)
		add_share(&sum, c);
	if (!sum.any)
		return 0;
	r = pod_use_begin(pod, &use, err);
	if (r < 0)
		return r;
	/* What the CRI has said of the pod before is the sum of all its limits. */
	millis = MAX(sum.unlimited ? 0 : sum.cpu_millis, pod->size.cpu_millis);
	r = vm_limit_cpu(use.vm, millis, sum.share.cpu_shares, err);
	if (r == 0)
		r = vm_set_oom_score(use.vm, sum.share.oom_score_adj, err);
	pod_use_end(&use);
	return r < 0 ? err_wrap(err, "the VM's share of the host") : 0;
}

void pod_share_renew(struct pod *pod)
{
	struct err err = ERR_INIT;
	int r = pod_share_apply(pod, NULL, &err);

	/* A VM that has ended has none. */
	if (r < 0 && pod_has_vm(pod))
		log_warn("%s", err.text);
}
