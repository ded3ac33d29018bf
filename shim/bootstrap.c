/* SPDX-License-Identifier: Apache-2.0 */
/* What containerd is told of this shim: see bootstrap.h. */
#include "shim/bootstrap.h"

#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "base/version_line.h"
#include "shim/proto/runtimeinfo.pb-c.h"

#define RUNTIME_NAME "io.containerd.stencil.v2"
#define RECORD       ".containerd"
#define RECORD_MAX   256

/* "containerd github.com/containerd/containerd[/v2] [v]1.6.20~ds1 …" */
unsigned int bootstrap_major(const char *line)
{
	unsigned int major;

	if (sscanf(line, "containerd %*s v%u.", &major) == 1 ||
		sscanf(line, "containerd %*s %u.", &major) == 1)
		return major;
	return 0;
}

/* What changes when another containerd is installed. */
static char *program_identity(const struct stat *st)
{
	return xasprintf("%" PRIuMAX ":%" PRIuMAX " %jd.%09ld %jd", (uintmax_t)st->st_dev,
		(uintmax_t)st->st_ino, (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		(intmax_t)st->st_size);
}

static bool recall_major(const char *path, const char *identity, unsigned int *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len, identity_len = strlen(identity);

	return file_read(AT_FDCWD, path, RECORD_MAX, &text, &len, NULL) == 0 &&
	       strncmp(text, identity, identity_len) == 0 &&
	       sscanf(text + identity_len, " %u", ret) == 1;
}

static unsigned int ask_major(const char *program)
{
	_cleanup_free_ char *line = NULL;
	int r = version_line_of(program, &line);

	if (r < 0)
		log_warn("%s can't be asked for its version: %s", err_quote(program, 256),
			strerror(-r));
	return r < 0 ? 0 : bootstrap_major(line);
}

static unsigned int containerd_major(const char *program, const struct config *c)
{
	_cleanup_free_ char *identity = NULL, *path = NULL, *text = NULL;
	struct err err = ERR_INIT;
	unsigned int major;
	struct stat st;

	if (!*program || stat(program, &st) < 0)
		return 0;
	path = xasprintf("%s/" RECORD, c->state_dir);
	identity = program_identity(&st);
	if (recall_major(path, identity, &major))
		return major;
	major = ask_major(program);
	if (major == 0)
		return 0;
	/* Without it the next start only asks again. */
	text = xasprintf("%s %u\n", identity, major);
	if (file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err) < 0)
		log_debug("containerd's version is not kept: %s", err.text);
	return major;
}

char *bootstrap_answer(
	const struct cmdline *cmd, const struct config *c, const char *address)
{
	_cleanup_json_ struct json_object *o = NULL;

	/* containerd 1.6 does not set it. */
	if (!getenv("MAX_SHIM_VERSION") || containerd_major(cmd->publish_binary, c) < 2)
		return xstrdup(address);
	o = json_object_new_object();
	json_set_u64(o, "version", 3);
	json_set_string(o, "address", address);
	json_set_string(o, "protocol", "ttrpc");
	return xstrdup(json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

void bootstrap_info(void **ret_data, size_t *ret_len)
{
	Containerd__Types__RuntimeVersion version =
		CONTAINERD__TYPES__RUNTIME_VERSION__INIT;
	Containerd__Types__RuntimeInfo info = CONTAINERD__TYPES__RUNTIME_INFO__INIT;

	version.version = (char *)(uintptr_t)STENCIL_VERSION;
	info.name = (char *)(uintptr_t)RUNTIME_NAME;
	info.version = &version;
	*ret_len = containerd__types__runtime_info__get_packed_size(&info);
	*ret_data = xmalloc(*ret_len + 1);
	containerd__types__runtime_info__pack(&info, *ret_data);
}
