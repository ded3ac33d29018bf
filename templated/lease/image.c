/* SPDX-License-Identifier: Apache-2.0 */
/* The lease protocol, client side, for images: see image.h. */
#include "templated/lease/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/io.h"
#include "base/util.h"
#include "templated/lease/protocol.h"

/* What was given: a regular file of that size, that nobody can write to by it. */
static int check_image(const struct image *image, struct err *err)
{
	struct statvfs fs;
	struct stat st;
	int flags;

	if (image->fd < 0)
		return err_set(err, -EPROTO, "templated gave no descriptor of the image");
	flags = fcntl(image->fd, F_GETFL);
	if (flags < 0 || fstat(image->fd, &st) < 0 || fstatvfs(image->fd, &fs) < 0)
		return err_sys(err, errno, "cannot look at the image");
	if ((flags & O_ACCMODE) != O_RDONLY || !S_ISREG(st.st_mode) ||
		!(fs.f_flag & ST_RDONLY))
		return err_set(err, -EPROTO, "the image is not a read-only file");
	if ((uint64_t)st.st_size != image->bytes)
		return err_set(err, -EPROTO,
			"the image has %jd bytes, templated says %" PRIu64,
			(intmax_t)st.st_size, image->bytes);
	return 0;
}

/* IMAGE_READY, IMAGE_NONE, or a negative errno where the reply is not understood. */
static int take_reply(struct json_object *reply, struct image *image, struct err *err)
{
	const char *result, *text;
	int r = json_get_string(reply, "result", &result, err);

	if (r < 0)
		return r;
	if (strcmp(result, "image") != 0) {
		r = json_get_string(reply,
			strcmp(result, "none") == 0 ? "reason" : "error", &text, err);
		if (r < 0)
			return r;
		err_set(err, -ENOENT, "%s", text);
		return IMAGE_NONE;
	}
	r = json_get_string(reply, "key", &text, err);
	if (r == 0)
		r = json_get_u64(reply, "bytes", &image->bytes, err);
	if (r == 0 && strlen(text) != IMAGE_KEY_SIZE - 1)
		r = err_set(err, -EPROTO, "templated gave an image without a key");
	if (r < 0)
		return r;
	str_copy(image->key, text);
	return check_image(image, err);
}

/* Takes request. IMAGE_READY, IMAGE_NONE or a negative errno: the conversation failed. */
static int converse_with_templated(
	int conn, struct json_object *request, struct image *image, struct err *err)
{
	int64_t deadline = deadline_after_ms(IMAGE_ASK_MS);
	_cleanup_json_ struct json_object *reply = NULL;
	int r = lease_send(conn, request, NULL, 0, deadline);

	if (r < 0)
		return err_sys(err, r, "templated does not take the request");
	r = lease_receive_fds(conn, &reply, &image->fd, 1, deadline, err);
	return r < 0 ? r : take_reply(reply, image, err);
}

static struct json_object *new_request(char *const *lowers, size_t n)
{
	struct json_object *request = lease_request_new(LEASE_VERB_IMAGE, NULL, NULL),
			   *list = json_object_new_array();

	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, json_object_new_string(lowers[i]));
	json_object_object_add(request, "lowers", list);
	return request;
}

int image_ask(const struct config *c, char *const *lowers, size_t n, struct image *ret,
	struct err *err)
{
	_cleanup_close_ int conn = -1;
	struct image image = IMAGE_INIT;
	int r;

	*ret = IMAGE_INIT;
	if (!c->images_enable) {
		err_set(err, -ENOENT, "images are switched off: enable = false");
		return IMAGE_NONE;
	}
	r = unix_connect(c->template_endpoint, SOCK_SEQPACKET,
		deadline_after_ms(IMAGE_ASK_MS), &conn, err);
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENAMETOOLONG)
		return r;
	if (r < 0) {
		err_wrap(err, "templated is not there");
		return IMAGE_NONE;
	}
	r = converse_with_templated(conn, new_request(lowers, n), &image, err);
	if (r != IMAGE_READY) {
		image_release(&image);
		return IMAGE_NONE;
	}
	*ret = image;
	return IMAGE_READY;
}

void image_release(struct image *image)
{
	close_fd(steal_fd(&image->fd));
	*image = IMAGE_INIT;
}
