/* SPDX-License-Identifier: Apache-2.0 */
/* A listener that gets a network namespace's connections to loopback. */
#pragma once

#include "base/err.h"

/*
 * A listening TCP socket in the namespace, to which a BPF program of type sk_lookup
 * steers each connection to 127.0.0.0/8 or ::1, whatever its port; one that is accepted
 * has the address that was asked for. Not to DOCKER_NAMES_ADDRESS, which is the
 * host's. It does so until *ret_link_fd is closed. Errors say what the host's kernel
 * does not have.
 */
int port_steer(int netns_fd, int *ret_listen_fd, int *ret_link_fd, struct err *err);
