/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of the configuration: see settings.h. */
#include "templated/settings.h"

struct settings *settings_new(struct config *c)
{
	struct settings *s = xnew0(struct settings);

	s->config = *c;
	s->refs = 1;
	*c = (struct config){0};
	return s;
}

struct settings *settings_ref(struct settings *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void settings_put(struct settings *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	config_done(&s->config);
	free(s);
}
