/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays a fuzz corpus as a test: every file of the folder is one input and one TAP
 * line.
 *
 * Linked with one fuzz_<name>.c. The folder is tests/fuzz/corpus/<name> of the source
 * tree, with <name> from the program's own name; another may be given as an argument. An
 * input that crashes ends the program in the middle of its plan, which fails the test.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/util.h"

#define INPUT_MAX (16 * MiB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* "…/fuzz_json.t" → "json" */
static char *fuzz_name(const char *argv0)
{
	const char *base = strrchr(argv0, '/');
	const char *name = strstr(base ? base : argv0, "fuzz_");

	if (!name)
		return xstrdup(argv0);
	name += strlen("fuzz_");
	return xstrndup(name, strcspn(name, "."));
}

static char *corpus_folder(const char *argv0)
{
	_cleanup_free_ char *name = fuzz_name(argv0);
	const char *source = getenv("STENCIL_SOURCE");

	return xasprintf("%s/tests/fuzz/corpus/%s", source ? source : ".", name);
}

static void replay(const char *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	_cleanup_free_ char *data = NULL;
	struct err err = ERR_INIT;
	uint8_t *exact;
	size_t len;

	if (file_read(AT_FDCWD, path, INPUT_MAX, &data, &len, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
	/* A block of exactly its size: a read behind it is
	 * what the sanitizer then sees. */
	exact = xmalloc(len);
	memcpy(exact, data, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *folder =
		argc > 1 ? xstrdup(argv[1]) : corpus_folder(argv[0]);
	struct dirent **entries;
	int n = scandir(folder, &entries, not_hidden, alphasort);

	if (n <= 0) {
		printf("Bail out! no corpus in %s: %s\n", folder,
			n < 0 ? strerror(errno) : "empty");
		return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		replay(folder, entries[i]->d_name);
		printf("ok %d - %s\n", i + 1, entries[i]->d_name);
		fflush(stdout);
		free(entries[i]);
	}
	free(entries);
	return 0;
}
