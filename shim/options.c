/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's options: see options.h. */
#include "shim/options.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "shim/proto/runtimeoptions.pb-c.h"

int options_config_path(
	const Google__Protobuf__Any *options, char **ret_path, struct err *err)
{
	const char *slash = options ? strrchr(options->type_url, '/') : NULL;
	Runtimeoptions__V1__Options *o;
	int r = 0;

	/* containerd may put "types.containerd.io/" before the name. */
	if (!options || strcmp(slash ? slash + 1 : options->type_url,
				"runtimeoptions.v1.Options") != 0) {
		*ret_path = xstrdup("");
		return 0;
	}
	o = runtimeoptions__v1__options__unpack(
		NULL, options->value.len, options->value.data);
	if (!o)
		return err_set(err, -EBADMSG,
			"the runtime options are no runtimeoptions.v1.Options");
	if (*o->config_path && *o->config_path != '/')
		r = err_set(err, -EINVAL,
			"ConfigPath %s of the runtime options is not absolute",
			err_quote(o->config_path, 256));
	else
		*ret_path = xstrdup(o->config_path);
	runtimeoptions__v1__options__free_unpacked(o, NULL);
	return r;
}
