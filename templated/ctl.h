/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl: asking templated, and showing what it says. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/config.h"
#include "base/err.h"
#include "base/json.h"
#include "templated/lease/protocol.h"

/*
 * Sends a request and waits for its reply, the caller's; `progress` (may be NULL) is
 * called for each step before it. An "error" reply is -EREMOTEIO with its text. A socket
 * at which nobody answers is -ENOTCONN with its path and the command that starts
 * templated.
 */
int ctl_ask(const struct config *c, enum lease_verb verb,
	void (*progress)(const char *step), struct json_object **ret, struct err *err);

/* The same for a request with members of its own (taken). */
int ctl_send(const struct config *c, enum lease_verb verb, struct json_object *request,
	void (*progress)(const char *step), struct json_object **ret, struct err *err);

/* Connects and sends a request without arguments; the descriptor is the caller's. Fails
 * as ctl_ask() does. */
int ctl_open(const struct config *c, enum lease_verb verb, int *ret_fd, struct err *err);

/* Writes each event (events.h) as a line, until SIGINT, SIGTERM or templated's end: 0.
 * Events that are missed because they were not read end it with an error. */
int ctl_watch(const struct config *c, bool json, FILE *out, struct err *err);

/* For people, at most 80 columns wide as long as paths and reasons are short. */
void ctl_print_status(struct json_object *status, FILE *out);
/* A line for each image. */
void ctl_print_images(struct json_object *images, FILE *out);
/* The name of a path's mount unit, as `systemd-escape -p --suffix=mount` makes it. */
void ctl_print_unit_name(const char *path, FILE *out);
/* With the line for fstab and a mount unit. */
void ctl_print_size(struct json_object *size, FILE *out);
