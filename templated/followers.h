/* SPDX-License-Identifier: Apache-2.0 */
/* Followers: hearing of the end of processes that are not our children. */
#pragma once

struct followers;

/* ended() is called once for each process, in the followers' thread and without a lock of
 * theirs. */
struct followers *followers_new(void (*ended)(void *user, void *what), void *user);
/* Returns when no call of ended() runs any more. */
void followers_free(struct followers *f);

/* Follows the process of pidfd (taken in any case): 0, or a negative errno. */
int followers_add(struct followers *f, int pidfd, void *what);
