/* SPDX-License-Identifier: Apache-2.0 */
/* The identity gate on clones of a template whose guest's clock is a week behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/io.h"
#include "base/json.h"
#include "base/util.h"
#include "shim/oci/from_json.h"
#include "tests/lib/template.h"
#include "tests/lib/test.h"

#define WEEK_S (7 * 24 * 3600)

/* The guest of the template believes that it is a week ago: so do its clones, until told
 * otherwise. */
static void age(struct vm *vm)
{
	Grpc__SetGuestDateTimeRequest request = GRPC__SET_GUEST_DATE_TIME_REQUEST__INIT;
	struct err err = ERR_INIT;

	request.sec = time(NULL) - WEEK_S;
	if (agent_set_guest_date_time(vm_agent(vm), &request, soon(), &err) < 0)
		fail_msg("%s", err.text);
}

/* One piece of a file that the guest is to have. */
static void copy_piece(
	struct vm *vm, const char *path, const char *text, size_t len, size_t offset)
{
	Grpc__CopyFileRequest request = GRPC__COPY_FILE_REQUEST__INIT;
	struct err err = ERR_INIT;

	request.path = (char *)(uintptr_t)path;
	request.file_size = (int64_t)len;
	request.file_mode = S_IFREG | 0755;
	request.dir_mode = 0755;
	request.offset = (int64_t)offset;
	request.data.data = (uint8_t *)(uintptr_t)text + offset;
	request.data.len = MIN(len - offset, (size_t)MiB);
	check_result(agent_copy_file(vm_agent(vm), &request, soon(), &err), &err);
}

/* A root file system of the probe alone, in the guest's memory. */
static void copy_rootfs(struct vm *vm, const char *cid)
{
	_cleanup_free_ char *path = xasprintf(AGENT_SHARED_DIR "/%s/rootfs/probe", cid);
	const char *probe = getenv("STENCIL_PROBE");
	_cleanup_free_ char *program = NULL;
	struct err err = ERR_INIT;
	size_t len;

	if (!probe)
		probe = "build/tests/system/probe";
	check_result(file_read(AT_FDCWD, probe, 16 * MiB, &program, &len, &err), &err);
	for (size_t offset = 0; offset < len; offset += MiB)
		copy_piece(vm, path, program, len, offset);
}

static Grpc__Spec *make_spec(const char *cid)
{
	_cleanup_free_ char *text = xasprintf(
		"{\"ociVersion\":\"1.0.2\","
		"\"process\":{\"args\":[\"/probe\"],\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}},"
		"\"root\":{\"path\":\"" AGENT_SHARED_DIR "/%s/rootfs\"},"
		"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"dev\"}],"
		"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"}]}}",
		cid);
	_cleanup_json_ struct json_object *json = NULL;
	struct err err = ERR_INIT;
	Grpc__Spec *spec = NULL;

	if (json_parse("spec", text, strlen(text), 16, &json, &err) < 0 ||
		oci_spec_from_json(json, &spec, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	return spec;
}

static void create_and_start(struct vm *vm, const char *cid)
{
	Grpc__CreateContainerRequest create = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	Grpc__StartContainerRequest start = GRPC__START_CONTAINER_REQUEST__INIT;
	struct err err = ERR_INIT;

	create.container_id = create.exec_id = start.container_id =
		(char *)(uintptr_t)cid;
	create.oci = make_spec(cid);
	if (agent_create_container(vm_agent(vm), &create, soon(), &err) < 0 ||
		agent_start_container(vm_agent(vm), &start, soon(), &err) < 0)
		fail_msg("%s", err.text);
	grpc__spec__free_unpacked(create.oci, NULL);
}

/* All that the container writes; the caller's to free(). */
static char *read_output(struct vm *vm, const char *cid)
{
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;
	Grpc__ReadStreamResponse *response;
	char *text = xstrdup("");
	struct err err = ERR_INIT;

	request.container_id = request.exec_id = (char *)(uintptr_t)cid;
	request.len = 4096;
	while (agent_read_output(vm_agent(vm), false, &request, &response, NULL, &err) ==
			0 &&
		response->data.len > 0) {
		char *more = xasprintf("%s%.*s", text, (int)response->data.len,
			(const char *)response->data.data);

		free(text);
		text = more;
		grpc__read_stream_response__free_unpacked(response, NULL);
	}
	return text;
}

static int64_t host_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Runs the probe in a container; fails unless the guest's clock is the host's. */
static void check_clock(struct vm *vm, const char *cid)
{
	int64_t before = host_ms(), after, guest;
	_cleanup_free_ char *text = NULL;
	const char *line;

	copy_rootfs(vm, cid);
	create_and_start(vm, cid);
	text = read_output(vm, cid);
	after = host_ms();
	line = strstr(text, "clock_ms ");
	if (!line)
		fail_msg("the probe does not tell its clock: \"%s\"", text);
	guest = strtoll(line + strlen("clock_ms "), NULL, 10);
	if (guest < before - 100 || guest > after + 100)
		fail_msg("the guest's clock says %lld ms, the host's %lld to %lld",
			(long long)guest, (long long)before, (long long)after);
}

/* Right from the first process on, and still right with the next. */
static void test_clock_of_an_old_template(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("clock");
	struct err err = ERR_INIT;

	(void)state;
	if (vm_make_unique(vm, "pod", &err) < 0)
		fail_msg("%s", err.text);
	check_clock(vm, "first");
	check_clock(vm, "second");
}

/* A gate that failed half way may not be passed by the back door: there is no sandbox. */
/* A wall's proof: docs/security.md. */
static void test_no_container_before_the_gate(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("gate");
	Grpc__CreateContainerRequest create = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	struct err err = ERR_INIT;

	(void)state;
	create.container_id = create.exec_id = (char[]){"early"};
	create.oci = make_spec("early");
	assert_error_names(agent_create_container(vm_agent(vm), &create, soon(), &err),
		-EBUSY, "CreateSandbox comes first");
	grpc__spec__free_unpacked(create.oci, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_of_an_old_template),
		cmocka_unit_test(test_no_container_before_the_gate),
	};

	template_on_save(age);
	return cmocka_run_group_tests(tests, template_enter, template_leave);
}
