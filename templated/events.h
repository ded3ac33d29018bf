/* SPDX-License-Identifier: Apache-2.0 */
/* Events: what happens in templated, told to whoever watches. */
#pragma once

#include "base/err.h"

/*
 * One hub for the process, as the log: whoever does something emits it. Emitting never
 * waits: a watcher whose socket is full is dropped. Thread-safe.
 *
 *   event                 further keys
 *   build-started         "forced": "true" or "false"
 *   build-step            "step"
 *   build-published       "generation"
 *   build-up-to-date      "generation"
 *   build-failed          "error"
 *   generation-retired    "generation"
 *   generation-removed    "generation"
 *   generation-unsound    "generation", "reason"
 *   generation-stale      "generation", "reason"
 *   grant                 "sandbox", "generation"
 *   release               "sandbox", "generation"
 *   miss                  "sandbox", "reason", "field" ("" where none differs)
 *   cache                 "what", and what the cache says of it
 *   image-started         "key"
 *   image-made            "key", "bytes", "ms"
 *   image-failed          "key", "reason"
 *   image-removed         "key", "reason"
 *   end                   templated ends: the last one
 *
 * Values are strings. Every event has "event", and "time", milliseconds since the epoch.
 */
#define EVENTS_WATCHERS_MAX 64
#define EVENTS_FULL         1

/* Keys and their values in turn, NULL behind the last. */
void events_emit(const char *event, ...) __attribute__((sentinel));

/*
 * Sends the reply "watching" on a connection of the lease protocol, and from then on
 * every event, until the peer closes or says something, the hub drops it or the
 * connection is shut down. Returns then: -EPIPE, for the connection to be closed. Where
 * there are EVENTS_WATCHERS_MAX already: EVENTS_FULL with err, and nothing was sent.
 */
int events_watch(int fd, struct err *err);
