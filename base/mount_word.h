/* SPDX-License-Identifier: Apache-2.0 */
/* The words of mount(8) and of an OCI mount's options that are flags of mount(2). */
#pragma once

#include <stdbool.h>

/*
 * Sets the word's flags (MS_…) in *flags, or takes them away ("rw"). False if the word is
 * none of these: then it is the file system's, or somebody else's, and *flags stays.
 */
bool mount_word(const char *word, unsigned long *flags);
