/* SPDX-License-Identifier: Apache-2.0 */
/* A program that takes a process' output: containerd's binary:// URIs. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/util.h"

/*
 * The contract is containerd's: binary:///PATH?KEY=VALUE&… runs PATH with the words KEY
 * VALUE …; descriptor 3 is the end to read standard output from, 4 that of standard
 * error, and the program closes 5, with or without a byte, once it listens. Of the
 * environment it has CONTAINER_ID and CONTAINER_NAMESPACE. It is to end with its input.
 */
#define LOGGER_SCHEME "binary://"
bool logger_is_uri(const char *path);

struct logger;

struct logger_config {
	const char *uri, *container_id, *namespace;
};

/* It listens when this returns. ret_fds: standard output and error, to write to without
 * waiting; the caller's. */
int logger_start(const struct logger_config *config, int ret_fds[2], struct logger **ret,
	struct err *err);
/* After both are closed: waits for its end, and makes one after a while. NULL is fine. */
void logger_end(struct logger *l);
