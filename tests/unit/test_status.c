/* SPDX-License-Identifier: Apache-2.0 */
/* What templated tells of itself: status, its screen, metrics, HTTP, events. */
#include "tests/unit/lease_fixture.h"

#include <sys/resource.h>

#include "templated/events.h"
#include "templated/metrics.h"
#include "templated/metrics_server.h"
#include "templated/status.h"
#include "tests/lib/prometheus.h"

#define METRICS "/tmp/metrics"

static char *read_all(int fd)
{
	char *text = xzalloc(MiB);
	size_t len = 0;
	ssize_t n;

	while ((n = sock_recv(fd, text + len, MiB - 1 - len, NULL, 0, soon())) > 0)
		len += (size_t)n;
	close(fd);
	return text;
}

/* ---- status ---- */

static void test_build_phases(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;
	struct json_object *phases;
	int64_t sum = 0;

	(void)state;
	init_template();
	assert_int_equal(ask(LEASE_VERB_STATUS, &reply, &err), 0);
	phases = status_at(reply, "status/build/last/phases");
	assert_int_equal(json_object_object_length(phases), BUILD_STEPS);
	json_object_object_foreach (phases, name, ms) {
		assert_non_null(name);
		sum += json_object_get_int64(ms);
	}
	assert_int_equal(sum, status_number("status/build/last/ms"));
	assert_int_equal(status_number("status/counters/boots"), 1);
	assert_string_equal(json_object_get_string(status_at(reply,
				    "status/template/generations/0/manifest/accel")),
		"tcg");
}

/* A build that was cut short has the steps that it reached. */
static void test_failed_phases(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	script.boot_result = -EIO;
	assert_int_equal(ask(LEASE_VERB_INIT, NULL, &err), -EREMOTEIO);
	assert_true(status_number("status/build/last/phases/booting") >= 0);
	assert_int_equal(status_number("status/build/last/phases/agent_up"), -1);
	assert_int_equal(status_number("status/build/last/age_s"), 0);
}

/* A status of hundreds of clones is cut until it is a message. */
static void test_status_fits(void **state)
{
	_cleanup_json_ struct json_object *status = json_object_new_object();
	struct json_object *template = json_object_new_object(),
			   *list = json_object_new_array();

	(void)state;
	for (int i = 0; i < 600; i++) {
		struct json_object *g = json_object_new_object(),
				   *clones = json_object_new_array();

		json_set_string(g, "id", "00000042-9f3a2b1c");
		json_set_string(g, "state", i == 599 ? "current" : "retired");
		json_object_array_add(clones, json_object_new_string("a sandbox"));
		json_object_object_add(g, "clones", clones);
		json_set_string(g, "manifest", DIGEST_A DIGEST_A DIGEST_A);
		json_object_array_add(list, g);
	}
	json_object_object_add(template, "generations", list);
	json_object_object_add(status, "template", template);
	status_fit(status);
	assert_true(strlen(json_object_to_json_string_ext(
			    status, JSON_C_TO_STRING_PLAIN)) <= STATUS_BYTES_MAX);
	assert_true(json_object_get_boolean(status_at(status, "truncated")));
	assert_true(json_object_array_length(list) > 100);
	assert_non_null(status_at(
		json_object_array_get_idx(list, json_object_array_length(list) - 1),
		"manifest"));
	assert_null(status_at(json_object_array_get_idx(list, 0), "clones"));
}

/* ---- the screen ---- */

static const char *const full_status =
	"{\"version\":\"1\",\"pid\":7,\"uptime_s\":7000,\"template\":{\"enabled\":true,"
	"\"state\":\"unsound\",\"reason\":\"generation 00000042-9f3a2b1c: "
	"state_bytes: the manifest says 346000, the file state has 1000 bytes\","
	"\"tmpfs\":{\"path\":\"/run/stencil/template\",\"mounted\":true,"
	"\"size_bytes\":571473920,\"used_bytes\":74448896},\"generations\":[{"
	"\"id\":\"00000042-9f3a2b1c\",\"state\":\"current\",\"age_s\":86400,"
	"\"memory_bytes\":268435456,\"resident_bytes\":73400320,"
	"\"published_bytes\":71303168,\"state_bytes\":346000,"
	"\"private_bytes\":12582912,\"shared_bytes\":31457280,\"leases\":3,\"clones\":["
	"{\"sandbox\":\"a-sandbox-with-a-name-of-some-length-0123456789abcdef\","
	"\"pid\":1,\"private_bytes\":4194304,\"shared_bytes\":1},"
	"{\"sandbox\":\"another \\\"one\\\\\\n\",\"pid\":2,\"private_bytes\":8388608},"
	"{\"sandbox\":\"new\"}],\"manifest\":{\"qemu_version\":\"QEMU emulator version "
	"7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\",\"accel\":\"tcg\",\"agent_version\":"
	"\"0.1.0\",\"kernel_sha256\":\"" DIGEST_A "\",\"initrd_sha256\":\"" DIGEST_B
	"\"}}]},\"cache\":{\"wanted\":4,\"ready\":2,\"preparing\":1,\"hits\":10,"
	"\"misses\":{\"empty\":3,\"total\":3},\"died\":1,\"failures\":2,\"vms\":[]},\"build\":{\"running\":false,"
	"\"last\":{\"ok\":false,\"error\":\"boot: the guest's agent does not answer: its "
	"console ends with: Kernel panic - not syncing: VFS: Unable to mount root fs\","
	"\"ms\":60012,\"age_s\":100,\"phases\":{\"starting\":12,\"booting\":60000}}},"
	"\"counters\":{\"hits\":10,\"misses\":{\"building\":2,\"kernel_sha256\":1,"
	"\"total\":3},\"boots\":2,\"builds\":1,\"build_failures\":1,\"refused\":0},"
	"\"images\":{\"enabled\":true,\"path\":\"/i\",\"max_bytes\":10737418240,"
	"\"count\":2,\"bytes\":6291456,\"users\":3,\"shared_bytes\":4194304,\"hits\":5,"
	"\"misses\":{\"making\":2,\"total\":2},\"made\":2,\"making_ms\":1234,"
	"\"failures\":1,\"removed\":0,\"queued\":1,\"making\":{\"key\":\"0123\"}}}";

static struct json_object *parse(const char *text)
{
	struct json_object *obj;
	struct err err = ERR_INIT;

	if (json_parse("status", text, strlen(text), 12, &obj, &err) < 0)
		fail_msg("%s", err.text);
	return obj;
}

static void test_screen(void **state)
{
	static const char *const parts[] = {
		"templated  1, pid 7, up 116 min\n",
		"template   unsound: generation 0000",
		"tmpfs      /run/stencil/template, 71.0 of 545 MiB used\n",
		"cache      2 of 4 VMs ready, one in the making;  handed over 10,  missed 3,",
		"images     2, 6.0 of 10240 MiB, one in the making;  given 5,  missed 2,",
		"last build FAILED 100 s ago after 60.0 s: boot: the guest's agent",
		"granted    10, of stale generations 0\nmissed     3  building 2  kernel_sha256 1\n",
		"builds     1 published, 1 failed, 2 boots\n",
		"\ngeneration 00000042-9f3a2b1c: current, 24 h old\n",
		"  MiB      70.0 of 256 resident  68.0 when published  0.3 device state\n"
		"           30.0 shared  12.0 private\n",
		"  clones   3  a-sandbox-with-a-name-of-some-length-0123456789abcdef 4.0",
	};
	_cleanup_json_ struct json_object *status = parse(full_status),
					  *empty = json_object_new_object();
	_cleanup_free_ char *text = NULL, *nothing = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	ctl_print_status(status, out);
	fclose(out);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!strstr(text, parts[i]))
			fail_msg("\"%s\" is not in:\n%s", parts[i], text);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		if (strlen(line) > 80)
			fail_msg("more than 80 columns: %s", line);
	out = open_memstream(&nothing, &size);
	ctl_print_status(empty, out);
	fclose(out);
	assert_non_null(strstr(nothing, "build      none yet\n"));
}

/* ---- metrics ---- */

static void test_metrics(void **state)
{
	static const struct {
		const char *series;
		double value;
	} wanted[] = {
		{"stencil_templated_info{version=\"1\"}", 1},
		{"stencil_template_ready", 0},
		{"stencil_template_enabled", 1},
		{"stencil_tmpfs_size_bytes", 571473920},
		{"stencil_generation_published_bytes{generation=\"00000042-"
		 "9f3a2b1c\",state=\"current\"}",
			71303168},
		{"stencil_generation_private_bytes{generation=\"00000042-"
		 "9f3a2b1c\",state=\"current\"}",
			12582912},
		{"stencil_clone_private_bytes{generation=\"00000042-9f3a2b1c\","
		 "sandbox=\"another \\\"one\\\\\\n\",pid=\"2\"}",
			8388608},
		{"stencil_grants_total", 10},
		{"stencil_misses_total{reason=\"kernel_sha256\"}", 1},
		{"stencil_last_build_success", 0},
		{"stencil_last_build_duration_seconds", 60.012},
		{"stencil_last_build_phase_seconds{phase=\"starting\"}", 0.012},
		{"stencil_cache_hits_total", 10},
		{"stencil_cache_misses_total{reason=\"empty\"}", 3},
		{"stencil_images", 2},
		{"stencil_images_users", 3},
		{"stencil_image_misses_total{reason=\"making\"}", 2},
		{"stencil_image_making_seconds_total", 1.234},
	};
	_cleanup_json_ struct json_object *status = parse(full_status),
					  *empty = json_object_new_object();
	_cleanup_free_ char *text = NULL, *nothing = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	metrics_print(status, out);
	fclose(out);
	assert_prometheus(text);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_true(prometheus_value(text, wanted[i].series) == wanted[i].value);
	out = open_memstream(&nothing, &size);
	metrics_print(empty, out);
	fclose(out);
	assert_prometheus(nothing);
	assert_null(strstr(nothing, "stencil_cache"));
	assert_null(strstr(nothing, "stencil_image"));
}

/* ---- HTTP ---- */

static int http_setup(void **state)
{
	struct err err = ERR_INIT;
	struct config c;
	int r = setup(state);

	set_config(&c);
	free(c.metrics_endpoint);
	c.metrics_endpoint = xstrdup(METRICS);
	daemon_change_settings(&daemon_, settings_new(&c));
	if (metrics_server_start(&daemon_, (struct metrics_server **)state, &err) < 0)
		fail_msg("%s", err.text);
	return r;
}

static int http_teardown(void **state)
{
	metrics_server_stop(*state);
	return teardown(state) || access(METRICS, F_OK) == 0;
}

static int http_connect(void)
{
	struct err err = ERR_INIT;
	int fd;

	if (unix_connect(METRICS, SOCK_STREAM, soon(), &fd, &err) < 0)
		fail_msg("%s", err.text);
	return fd;
}

static char *http(const char *request)
{
	int fd = http_connect();

	/* A server that has answered may take no more. */
	sock_send(fd, request, strlen(request), NULL, 0, soon());
	return read_all(fd);
}

static void test_http(void **state)
{
	static const struct {
		const char *request, *status;
	} rows[] = {
		{"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"},
		{"GET /metrics?name=x HTTP/1.0\n\n", "200 OK"},
		{"HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK"},
		{"GET / HTTP/1.1\r\n\r\n", "404 Not Found"},
		{"GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found"},
		{"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
			"405 Method Not Allowed"},
		{"GET /metrics HTTP/2\r\n\r\n", "505 HTTP Version Not Supported"},
		{"GET /metrics\r\n\r\n", "400 Bad Request"},
		{"GET metrics HTTP/1.1\r\n\r\n", "400 Bad Request"},
		{"\r\n\r\n", "400 Bad Request"},
	};
	struct stat st;

	(void)state;
	assert_int_equal(stat(METRICS, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *answer = http(rows[i].request),
				    *wanted =
					    xasprintf("HTTP/1.1 %s\r\n", rows[i].status);
		char *body = strstr(answer, "\r\n\r\n"), *length;

		if (strncmp(answer, wanted, strlen(wanted)) != 0)
			fail_msg("%s: %s", rows[i].request, answer);
		assert_non_null(body);
		length = strstr(answer, "Content-Length: ");
		assert_non_null(length);
		if (i == 2)
			assert_string_equal(body + 4, "");
		else
			assert_int_equal(
				strtoul(length + 16, NULL, 10), strlen(body + 4));
		if (i < 2)
			assert_prometheus(body + 4);
		assert_true(
			(strstr(answer, "\r\nAllow: GET, HEAD\r\n") != NULL) == (i == 5));
	}
}

/* A connection has its place until a moment after its answer's end. */
static char *http_with_room(const char *request)
{
	char *answer = http(request);

	while (strstr(answer, " 503 ")) {
		free(answer);
		answer = http(request);
	}
	return answer;
}

static void test_http_bounds(void **state)
{
	_cleanup_free_ char *large = xzalloc(2 * METRICS_REQUEST_MAX), *answer = NULL;
	int fds[METRICS_CONNECTIONS_MAX];

	(void)state;
	/* As many as may be connect and say nothing: one more is told so. */
	for (int i = 0; i < METRICS_CONNECTIONS_MAX; i++)
		fds[i] = http_connect();
	answer = http("GET /metrics HTTP/1.1\r\n\r\n");
	assert_non_null(strstr(answer, "HTTP/1.1 503 "));
	free(answer);
	/* After its deadline each is told, too, and then there is room. */
	for (int i = 0; i < METRICS_CONNECTIONS_MAX; i++) {
		answer = read_all(fds[i]);
		assert_non_null(strstr(answer, "HTTP/1.1 408 "));
		free(answer);
	}
	answer = http_with_room("GET /metrics HTTP/1.1\r\n\r\n");
	assert_non_null(strstr(answer, "HTTP/1.1 200 "));
	free(answer);
	memset(large, 'x', 2 * METRICS_REQUEST_MAX - 1);
	answer = http_with_room(large);
	assert_non_null(strstr(answer, "HTTP/1.1 431 "));
}

/* No descriptors for a while: who comes waits, at both sockets. */
static void test_no_descriptors(void **state)
{
	static const char get[] = "GET /metrics HTTP/1.1\r\n\r\n";
	struct sockaddr_un addr[2] = {{.sun_family = AF_UNIX, .sun_path = METRICS},
		{.sun_family = AF_UNIX, .sun_path = "/tmp/sock"}};
	int fds[2] = {
		socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_UNIX, SOCK_SEQPACKET, 0)};
	int taken[128], n = 0;
	struct rlimit was, few;
	char byte;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = (struct rlimit){.rlim_cur = 128, .rlim_max = was.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (n < 128 && (taken[n] = dup(fds[0])) >= 0)
		n++;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(connect(fds[i], (void *)&addr[i], sizeof(addr[i])), 0);
		assert_int_equal(send(fds[i], i ? "{}" : get, i ? 2 : strlen(get), 0),
			i ? 2 : (int)strlen(get));
		assert_int_equal(
			wait_fd(fds[i], POLLIN, deadline_after_ms(100)), -ETIMEDOUT);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(wait_fd(fds[i], POLLIN, soon()), 0);
		assert_int_equal(recv(fds[i], &byte, 1, 0), 1);
	}
	while (n > 0)
		close(taken[--n]);
	close(fds[0]);
	close(fds[1]);
}

/* Ending while a client is connected and silent: its deadline, whose end it would be told
 * of, is not waited for. */
static void test_http_stop(void **state)
{
	_cleanup_free_ char *answer = NULL;
	int fd = http_connect();

	metrics_server_stop(*state);
	*state = NULL;
	answer = read_all(fd);
	assert_string_equal(answer, "");
}

/* ---- events ---- */

static int watch(void)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;
	int fd, fds[2];

	if (ctl_open(&client, LEASE_VERB_WATCH, &fd, &err) < 0 ||
		lease_receive(fd, &reply, fds, soon(), &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(
		json_object_get_string(status_at(reply, "result")), "watching");
	return fd;
}

/* The next event is this one, and has this key (NULL: none); its value, to be freed. */
static char *next_event(int fd, const char *event, const char *key)
{
	_cleanup_json_ struct json_object *message = NULL;
	struct err err = ERR_INIT;
	int fds[2];

	if (lease_receive(fd, &message, fds, soon(), &err) < 0)
		fail_msg("%s instead of %s", err.text, event);
	assert_string_equal(json_object_get_string(status_at(message, "event")), event);
	assert_true(json_object_get_int64(status_at(message, "time")) > 1000000000000);
	return key ? xstrdup(json_object_get_string(status_at(message, key))) : NULL;
}

static void expect(int fd, const char *event, const char *key, const char *value)
{
	_cleanup_free_ char *got = next_event(fd, event, key);

	assert_string_equal(got, value);
}

static void test_events(void **state)
{
	_cleanup_free_ char *first = NULL, *second = NULL;
	struct err err = ERR_INIT;
	struct lease lease;
	int fd = watch();

	(void)state;
	acquire_nothing("templatectl init makes one");
	expect(fd, "miss", "field", "");
	init_template();
	expect(fd, "build-started", "forced", "false");
	expect(fd, "build-step", "step", "booting");
	expect(fd, "build-step", "step", "agent up");
	expect(fd, "build-step", "step", "compacting");
	expect(fd, "build-step", "step", "saved");
	first = next_event(fd, "build-published", "generation");
	acquire_template(&lease);
	expect(fd, "grant", "sandbox", "sandbox-1");
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), 0);
	expect(fd, "build-started", "forced", "true");
	for (int i = 0; i < 3; i++)
		free(next_event(fd, "build-step", "step"));
	expect(fd, "generation-retired", "generation", first);
	expect(fd, "build-step", "step", "saved");
	second = next_event(fd, "build-published", "generation");
	lease_release(&lease);
	expect(fd, "release", "generation", first);
	expect(fd, "generation-removed", "generation", first);
	script.boot_result = -EIO;
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), -EREMOTEIO);
	expect(fd, "build-started", "forced", "true");
	expect(fd, "build-step", "step", "booting");
	expect(fd, "build-failed", "error", "boot: the guest is silent");
	client.default_memory = 128;
	acquire_nothing("memory_bytes: wanted");
	expect(fd, "miss", "field", "memory_bytes");
	assert_int_equal(ask(LEASE_VERB_DESTROY, NULL, &err), 0);
	expect(fd, "generation-retired", "generation", second);
	expect(fd, "generation-removed", "generation", second);
	close(fd);
}

/* One who does not read is dropped, waits for nobody and is in nobody's way. */
static void test_slow_watcher(void **state)
{
	int slow = watch(), fast = watch(), n = 0;
	struct err err = ERR_INIT;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		events_emit("cache", "what", "a test", NULL);
		expect(fast, "cache", "what", "a test");
	}
	for (;; n++) {
		_cleanup_json_ struct json_object *message = NULL;
		int fds[2];

		if (lease_receive(slow, &message, fds, soon(), &err) < 0)
			break;
		/* Not told of an end: it has missed some. */
		assert_string_equal(
			json_object_get_string(status_at(message, "event")), "cache");
	}
	assert_int_equal(err.code, -ECONNRESET);
	assert_true(n > 50 && n < 5000);
	close(slow);
	close(fast);
}

static void test_watchers_limit(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	int fds[EVENTS_WATCHERS_MAX], fd, none[2];
	struct err err = ERR_INIT;

	(void)state;
	for (int i = 0; i < EVENTS_WATCHERS_MAX; i++)
		fds[i] = watch();
	assert_int_equal(ctl_open(&client, LEASE_VERB_WATCH, &fd, &err), 0);
	assert_int_equal(lease_receive(fd, &reply, none, soon(), &err), 0);
	assert_non_null(
		strstr(json_object_get_string(status_at(reply, "error")), "64 clients"));
	close(fd);
	for (int i = 0; i < EVENTS_WATCHERS_MAX; i++)
		close(fds[i]);
}

/* templated's end is the last event. */
static void test_end(void **state)
{
	_cleanup_free_ char *text = NULL;
	int fd = watch();
	size_t size;
	FILE *out;

	(void)state;
	server_stop(server);
	server = NULL;
	free(next_event(fd, "end", NULL));
	close(fd);
	/* And nobody is there now. */
	out = open_memstream(&text, &size);
	assert_int_equal(ctl_watch(&client, true, out, &(struct err){0}), -ENOTCONN);
	fclose(out);
	assert_string_equal(text, "");
}

/* ---- size ---- */

static char *unit_name(const char *path)
{
	char *name = NULL;
	size_t size;
	FILE *out = open_memstream(&name, &size);

	ctl_print_unit_name(path, out);
	fclose(out);
	return name;
}

static void test_unit_name(void **state)
{
	static const char *const rows[][2] = {
		{"/run/stencil/template", "run-stencil-template.mount"},
		{"/", "-.mount"},
		{"//run///a//", "run-a.mount"},
		{"/run/./a", "run-a.mount"},
		{"/.hidden/.more", "\\x2ehidden-.more.mount"},
		{"/a-b/c d", "a\\x2db-c\\x20d.mount"},
		{"/run/\xc3\xa4:_.9", "run-\\xc3\\xa4:_.9.mount"},
		{"/a\\b%", "a\\x5cb\\x25.mount"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *name = unit_name(rows[i][0]);

		assert_string_equal(name, rows[i][1]);
	}
}

static void test_size(void **state)
{
	_cleanup_json_ struct json_object *size = NULL, *later = NULL;
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;
	size_t len;
	FILE *out;

	(void)state;
	assert_int_equal(daemon_size(&client, &size, &err), 0);
	assert_null(status_at(size, "measured"));
	assert_int_equal(json_object_get_int64(status_at(size, "missing_bytes")),
		json_object_get_int64(status_at(size, "plan/needed_bytes")));
	init_template();
	assert_int_equal(daemon_size(&client, &later, &err), 0);
	/* One page of the scripted guest's memory is not zero. */
	assert_int_equal(
		json_object_get_int(status_at(later, "measured/resident_bytes")), 4096);
	assert_int_equal(
		json_object_get_int(status_at(later, "measured/state_bytes")), 4096);
	assert_true(json_object_get_boolean(status_at(later, "tmpfs/mounted")));
	out = open_memstream(&text, &len);
	ctl_print_size(later, out);
	fclose(out);
	assert_non_null(strstr(text, "\nstencil-template " PATH " tmpfs mode=0750,"));
	assert_non_null(
		strstr(text, "\n# /etc/systemd/system/tmp-template.mount\n[Unit]"));
	assert_non_null(strstr(text, "\nWhere=" PATH "\nType=tmpfs\n"));
	assert_non_null(strstr(text, "\n[Install]\nWantedBy="));
	assert_non_null(strstr(text, "newest generation "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define HTTP(name) cmocka_unit_test_setup_teardown(name, http_setup, http_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_build_phases),
		TEST(test_failed_phases),
		TEST(test_status_fits),
		TEST(test_screen),
		TEST(test_metrics),
		HTTP(test_http),
		HTTP(test_http_bounds),
		HTTP(test_no_descriptors),
		HTTP(test_http_stop),
		TEST(test_events),
		TEST(test_slow_watcher),
		TEST(test_watchers_limit),
		TEST(test_end),
		TEST(test_unit_name),
		TEST(test_size),
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
