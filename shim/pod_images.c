/* SPDX-License-Identifier: Apache-2.0 */
/* The images of a pod: see pod_images.h. */
#include "shim/pod_images.h"

#include <string.h>

#include "base/log.h"
#include "base/util.h"

struct pod_image {
	struct pod_image *next;
	char key[IMAGE_KEY_SIZE];
	char address[VM_PORT_ADDRESS_SIZE];
};

static const struct pod_image *find_image(const struct pod *pod, const char *key)
{
	for (const struct pod_image *i = pod->images; i; i = i->next)
		if (strcmp(i->key, key) == 0)
			return i;
	return NULL;
}

static int plug_image(struct pod *pod, const struct image *image, struct err *err)
{
	struct vm_image plug = {.fd = image->fd,
		.bytes = image->bytes,
		.reserved = pod_reserved_ports(pod)};
	struct pod_image *new = xnew0(struct pod_image);
	int r = vm_plug_image(pod->vm, &plug, new->address, err);

	if (r < 0) {
		free(new);
		return r;
	}
	str_copy(new->key, image->key);
	new->next = pod->images;
	pod->images = new;
	return 0;
}

int pod_images_plug(struct pod *pod, struct trees *trees, struct err *err)
{
	const struct image *image = trees_image(trees);
	struct err why = ERR_INIT;

	if (!image)
		return 0;
	if (!find_image(pod, image->key) && plug_image(pod, image, &why) < 0) {
		log_warn("a root file system does without its image: %s", why.text);
		return trees_refuse_image(trees, err);
	}
	trees_take_image(trees, find_image(pod, image->key)->address);
	return 0;
}

void pod_images_forget(struct pod *pod)
{
	while (pod->images) {
		struct pod_image *next = pod->images->next;

		free(pod->images);
		pod->images = next;
	}
}
