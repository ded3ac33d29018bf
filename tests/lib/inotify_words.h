/* SPDX-License-Identifier: Apache-2.0 */
/* What the bits of an inotify event are called: inotify(7), without "IN_". */
#pragma once

#include <stdint.h>
#include <sys/inotify.h>

static const struct {
	uint32_t bit;
	const char *name;
} inotify_words[] = {
	{IN_CREATE, "CREATE"},
	{IN_DELETE, "DELETE"},
	{IN_MODIFY, "MODIFY"},
	{IN_ATTRIB, "ATTRIB"},
	{IN_CLOSE_WRITE, "CLOSE_WRITE"},
	{IN_MOVED_FROM, "MOVED_FROM"},
	{IN_MOVED_TO, "MOVED_TO"},
	{IN_DELETE_SELF, "DELETE_SELF"},
	{IN_MOVE_SELF, "MOVE_SELF"},
	{IN_IGNORED, "IGNORED"},
	{IN_OPEN, "OPEN"},
	{IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
	{IN_ACCESS, "ACCESS"},
	{IN_Q_OVERFLOW, "OVERFLOW"},
};
