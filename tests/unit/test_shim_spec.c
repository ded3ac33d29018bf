/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: what is read, refused, replaced and left out; annotations; groups. */
#include "agent-client/agent.h"
#include "base/json.h"
#include "shim/annotations.h"
#include "shim/spec_guest.h"
#include "tests/unit/test_shim.h"

#define PROCESS                                                                          \
	"\"process\":{\"args\":[\"true\"],\"cwd\":\"/\"},\"root\":{\"path\":\"rootfs\"}"

static struct scratch scratch;

static int load(const char *text, struct spec *ret, struct err *err)
{
	_cleanup_close_ int fd = open(scratch.path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	scratch_write(&scratch, "config.json", text);
	return spec_load(fd, ret, err);
}

#define LOAD(spec, text) assert_ok(load(text, spec, err))
#define REFUSED(text, code, message)                                                     \
	do {                                                                             \
		struct spec spec_;                                                       \
		assert_err(load(text, &spec_, err), code, message);                      \
	} while (0)

/* A wall's proof: docs/security.md. */
static void test_refused(void **state)
{
	(void)state;
	REFUSED("{", -EBADMSG,
		"config.json is not valid JSON: unexpected end of data at byte 1");
	REFUSED("[]", -EINVAL, "config.json is no JSON object");
	REFUSED("{\"root\":{\"path\":\"r\"}}", -EINVAL,
		"config.json: there is no process to run");
	REFUSED("{\"process\":{}}", -EINVAL,
		"config.json: process: args names no program to run");
	REFUSED("{\"process\":{\"args\":[]}}", -EINVAL,
		"config.json: process: args names no program to run");
	REFUSED("{\"process\":{\"args\":[\"x\"]}}", -EINVAL,
		"config.json: there is no root.path");
	REFUSED("{" PROCESS ",\"linux\":{\"resources\":{\"memory\":{\"limit\":\"1\"}}}}",
		-EINVAL,
		"config.json: linux.resources.memory: \"limit\" is string where int is "
		"wanted");
}

/* A wall's proof: docs/security.md. */
static void test_brackets(void **state)
{
	_cleanup_free_ char *text = xmalloc(SPEC_BYTES_MAX + 2);

	(void)state;
	memset(text, '[', SPEC_BYTES_MAX + 1);
	text[SPEC_BYTES_MAX + 1] = '\0';
	REFUSED(text, -EFBIG, "config.json is larger than the 4194304 bytes allowed");
	text[100] = '\0';
	REFUSED(text, -EBADMSG,
		"config.json is not valid JSON: nesting too deep at byte 32");
}

static void test_missing(void **state)
{
	_cleanup_close_ int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct spec spec;

	(void)state;
	assert_err(spec_load(fd, &spec, err), -ENOENT,
		"cannot open config.json: No such file or directory");
}

static void test_limits(void **state)
{
	struct spec s;

	(void)state;
	LOAD(&s, "{" PROCESS "}");
	assert_int_equal(s.cpu_millis, 0);
	assert_int_equal(s.memory_bytes, 0);
	assert_null(s.netns);
	assert_string_equal(s.hostname, "");
	spec_done(&s);
	LOAD(&s, "{" PROCESS
		 ",\"hostname\":\"h\",\"linux\":{\"namespaces\":[{\"type\":\"network\","
		 "\"path\":\"/run/netns/x\"}],\"resources\":{\"cpu\":{\"quota\":250000,"
		 "\"period\":100000},\"memory\":{\"limit\":536870912}}}}");
	assert_int_equal(s.cpu_millis, 2500);
	assert_int_equal(s.memory_bytes, 536870912);
	assert_string_equal(s.netns, "/run/netns/x");
	assert_string_equal(s.hostname, "h");
	spec_done(&s);
	/* Without limits, in the words of those who write -1; a period of its own by
	 * default. */
	LOAD(&s, "{" PROCESS
		 ",\"linux\":{\"namespaces\":[{\"type\":\"network\"}],\"resources\":"
		 "{\"cpu\":{\"quota\":-1},\"memory\":{\"limit\":-1}}}}");
	assert_int_equal(s.cpu_millis, 0);
	assert_int_equal(s.memory_bytes, 0);
	assert_string_equal(s.netns, "");
	spec_done(&s);
	LOAD(&s, "{" PROCESS ",\"linux\":{\"resources\":{\"cpu\":{\"quota\":50000}}}}");
	assert_int_equal(s.cpu_millis, 500);
	spec_done(&s);
}

static void test_groups(void **state)
{
	struct spec s;

	(void)state;
	LOAD(&s, "{" PROCESS
		 ",\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
		 "\"io.kubernetes.cri.sandbox-id\":\"pod1\"}}");
	assert_null(s.sandbox_id);
	assert_false(s.is_pause);
	spec_done(&s);
	LOAD(&s, "{" PROCESS
		 ",\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
		 "\"io.kubernetes.cri.sandbox-name\":\"pod1\"}}");
	assert_null(s.sandbox_id);
	assert_true(s.is_pause);
	spec_done(&s);
	LOAD(&s, "{" PROCESS
		 ",\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","
		 "\"io.kubernetes.cri.sandbox-id\":\"pod1\"}}");
	assert_string_equal(s.sandbox_id, "pod1");
	assert_false(s.is_pause);
	spec_done(&s);
	LOAD(&s, "{" PROCESS
		 ",\"annotations\":{\"io.kubernetes.cri-o.ContainerType\":\"container\","
		 "\"io.kubernetes.cri-o.SandboxID\":\"pod2\"}}");
	assert_string_equal(s.sandbox_id, "pod2");
	spec_done(&s);
	REFUSED("{" PROCESS
		",\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\"}}",
		-ENOENT, "config.json: \"io.kubernetes.cri.sandbox-id\" is missing");
	REFUSED("{" PROCESS
		",\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","
		"\"io.kubernetes.cri.sandbox-id\":\"../x\"}}",
		-EINVAL,
		"config.json: io.kubernetes.cri.sandbox-id ../x has a character that "
		"names "
		"don't have");
}

static int annotate(const char *key, const char *value, struct config *c, struct err *e)
{
	_cleanup_free_ char *text =
		xasprintf("{" PROCESS ",\"annotations\":{\"other\":\"x\",\"%s\":\"%s\"}}",
			key, value);
	struct spec s;
	int r;

	assert_ok(load(text, &s, err));
	r = annotations_apply(&s, c, e);
	spec_done(&s);
	return r;
}

/* Every one is allowed, as one who trusts all pods would write it. */
static void config_allow_all(struct config *c)
{
	config_init(c);
	assert_ok(config_set(c, "hypervisor", "enable_annotations",
		"hypervisor.default_vcpus, hypervisor.default_maxvcpus "
		"hypervisor.default_memory hypervisor.default_maxmemory "
		"factory.enable_template factory.strict",
		"test", err));
}

static void test_annotations(void **state)
{
	struct config c;

	(void)state;
	config_allow_all(&c);
	assert_ok(annotate("io.stencil.hypervisor.default_memory", "300", &c, err));
	assert_int_equal(c.default_memory, 300);
	assert_ok(annotate("io.stencil.hypervisor.default_maxmemory", "128", &c, err));
	assert_int_equal(c.default_maxmemory, 128);
	assert_ok(annotate("io.stencil.hypervisor.default_vcpus", "1", &c, err));
	assert_ok(annotate("io.stencil.hypervisor.default_maxvcpus", "1", &c, err));
	assert_int_equal(c.default_maxvcpus, 1);
	assert_ok(annotate("io.stencil.factory.strict", "true", &c, err));
	assert_true(c.strict);
	assert_ok(annotate("io.stencil.factory.enable_template", "false", &c, err));
	assert_false(c.enable_template);
	config_done(&c);
}

/* Without being named in the configuration, none. */
/* A wall's proof: docs/security.md. */
static void test_annotations_closed(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_err(annotate("io.stencil.hypervisor.default_memory", "300", &c, err),
		-EPERM,
		"annotation io.stencil.hypervisor.default_memory: pods may not set this; "
		"key enable_annotations of [hypervisor] in stencil.conf has to name "
		"hypervisor.default_memory");
	assert_int_equal(c.default_memory, 256);
	assert_ok(config_set(&c, "hypervisor", "enable_annotations",
		"hypervisor.default_memory", "test", err));
	assert_ok(annotate("io.stencil.hypervisor.default_memory", "300", &c, err));
	assert_err(annotate("io.stencil.factory.strict", "true", &c, err), -EPERM,
		"annotation io.stencil.factory.strict: pods may not set this; key "
		"enable_annotations of [hypervisor] in stencil.conf has to name "
		"factory.strict");
	config_done(&c);
}

/* Nobody can open these to pods, and who tries is told when the file is read. */
/* A wall's proof: docs/security.md. */
static void test_annotations_never(void **state)
{
	static const char *const never[] = {"hypervisor.accel", "hypervisor.path",
		"runtime.call_timeout_ms", "runtime.boot_timeout_ms", "nonsense"};
	struct config c;

	(void)state;
	config_allow_all(&c);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		_cleanup_free_ char *name = xasprintf("io.stencil.%s", never[i]);
		_cleanup_free_ char *text =
			xasprintf("annotation %s: there is no such setting that an "
				  "annotation may make",
				name);
		struct err e = ERR_INIT;

		assert_err(annotate(name, "1", &c, err), -EINVAL, text);
		assert_true(config_set(&c, "hypervisor", "enable_annotations", never[i],
				    "f:1", &e) < 0);
		assert_non_null(strstr(e.text, never[i]));
	}
	config_done(&c);
}

/* A wall's proof: docs/security.md. */
static void test_annotations_ceilings(void **state)
{
	static const struct {
		const char *key, *value;
	} above[] = {
		{"hypervisor.default_memory", "513"},
		{"hypervisor.default_maxmemory", "1024"},
		{"hypervisor.default_maxmemory", "0"},
		{"hypervisor.default_vcpus", "3"},
		{"hypervisor.default_maxvcpus", "3"},
		{"factory.enable_template", "true"},
		{"factory.strict", "false"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(above); i++) {
		_cleanup_free_ char *name = xasprintf("io.stencil.%s", above[i].key);
		struct err e = ERR_INIT;
		struct config c;

		config_allow_all(&c);
		c.default_maxmemory = 512;
		c.default_maxvcpus = 2;
		c.enable_template = false;
		c.strict = true;
		assert_int_equal(annotate(name, above[i].value, &c, &e), -EPERM);
		assert_non_null(strstr(e.text, name));
		config_done(&c);
	}
}

static void test_annotation_value(void **state)
{
	struct err e = ERR_INIT;
	struct config c;

	(void)state;
	config_allow_all(&c);
	assert_true(annotate("io.stencil.hypervisor.default_memory", "lots", &c, &e) < 0);
	assert_non_null(
		strstr(e.text, "annotation io.stencil.hypervisor.default_memory"));
	assert_non_null(strstr(e.text, "lots"));
	config_done(&c);
}

/* ---- what the guest gets ---- */

static const char full[] =
	"{\"ociVersion\":\"1.0.2\"," PROCESS ",\"hostname\":\"h\","
	"\"hooks\":{\"createRuntime\":[{\"path\":\"/bin/x\"}]},"
	"\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"/srv/d\",\"options\":"
	"[\"rbind\",\"ro\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/nowhere/"
	"shm\",\"options\":"
	"[\"rbind\"]},"
	"{\"destination\":\"/modules\",\"type\":\"bind\",\"source\":\"/sys/"
	"module\",\"options\":"
	"[\"bind\"]},"
	"{\"destination\":\"/etc/hosts\",\"source\":\"/srv/"
	"hosts\",\"options\":[\"bind\"]}],"
	"\"linux\":{\"cgroupsPath\":\"/a/b\",\"devices\":[{\"path\":\"/dev/"
	"x\",\"type\":\"c\",\"major\":1,\"minor\":5}],"
	"\"namespaces\":[{\"type\":\"mount\"}],"
	"\"resources\":{\"cpu\":{\"quota\":100000,\"cpus\":\"0-1\"}}}}";

static void test_guest_mounts(void **state)
{
	struct guest_spec g;
	struct spec s;

	(void)state;
	LOAD(&s, full);
	assert_ok(spec_for_guest(&s, "c1", &g, err));
	assert_int_equal(g.n_binds, 2);
	assert_string_equal(g.binds[0].tree.path, "/srv/d");
	assert_true(g.binds[0].tree.recursive);
	assert_int_equal(g.binds[0].tree.readonly, ROOTFS_READONLY_TOP);
	assert_string_equal(g.binds[1].tree.path, "/srv/hosts");
	assert_false(g.binds[1].tree.recursive);
	assert_int_equal(g.binds[1].tree.readonly, ROOTFS_WRITABLE);
	assert_true(g.binds[0].follows);
	assert_int_equal(g.oci->n_mounts, 5);
	assert_string_equal(g.oci->mounts[0]->source, "proc");
	assert_string_equal(g.oci->mounts[1]->source, AGENT_SHARED_DIR "/c1/mounts/0");
	assert_string_equal(g.oci->mounts[2]->source, AGENT_SHM_DIR "/pod");
	assert_string_equal(g.shm->mount_point, AGENT_SHM_DIR "/pod");
	assert_string_equal(g.shm->options[g.shm->n_options - 1], "size=67108864");
	assert_string_equal(g.oci->mounts[3]->source, "/sys/module");
	assert_string_equal(g.oci->mounts[4]->source, AGENT_SHARED_DIR "/c1/mounts/1");
	assert_string_equal(g.oci->root->path, AGENT_SHARED_DIR "/c1/rootfs");
	guest_spec_done(&g);
	spec_done(&s);
}

/* Which of the volumes the host's later mounts appear in. */
static void test_guest_propagation(void **state)
{
	static const struct {
		const char *root, *option;
		bool follows;
	} rows[] = {
		{"", ",\"rslave\"", true},
		{"", ",\"rshared\"", true},
		{"", ",\"slave\"", true},
		{"", "", true},
		{"rslave", "", true},
		{"rshared", ",\"rprivate\"", false},
		{"", ",\"private\"", false},
		{"", ",\"runbindable\"", false},
		{"rprivate", ",\"rslave\"", false},
		{"private", "", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = xasprintf(
			"{\"root\":{\"path\":\"rootfs\"},\"process\":{\"args\":[\"x\"]},"
			"\"mounts\":[{\"destination\":\"/d\",\"source\":\"/srv\","
			"\"options\":[\"rbind\"%s]}],"
			"\"linux\":{\"rootfsPropagation\":\"%s\"}}",
			rows[i].option, rows[i].root);
		struct guest_spec g;
		struct spec s;

		LOAD(&s, text);
		assert_ok(spec_for_guest(&s, "c1", &g, err));
		assert_int_equal(g.n_binds, 1);
		assert_int_equal(g.binds[0].follows, rows[i].follows);
		guest_spec_done(&g);
		spec_done(&s);
	}
}

/* The host's are not the guest's business; programs of the host that it is to execute are
 * shared with it. */
static void test_guest_hooks(void **state)
{
	struct guest_spec g;
	struct spec s;

	(void)state;
	LOAD(&s, "{" PROCESS ",\"mounts\":[{\"destination\":\"/d\",\"type\":\"bind\","
		 "\"source\":\"/srv\"}],\"hooks\":{\"prestart\":[{\"path\":\"/a\"}],"
		 "\"createContainer\":[{\"path\":\"/bin/x\",\"args\":[\"x\"]}],"
		 "\"startContainer\":[{\"path\":\"/bin/y\"}]}}");
	assert_ok(spec_for_guest(&s, "c1", &g, err));
	assert_int_equal(g.n_binds, 2);
	assert_string_equal(g.binds[1].tree.path, "/bin/x");
	assert_false(g.binds[1].follows);
	assert_int_equal(g.oci->n_mounts, 1);
	assert_int_equal(g.oci->hooks->n_prestart, 0);
	assert_string_equal(
		g.oci->hooks->createcontainer[0]->path, AGENT_SHARED_DIR "/c1/mounts/1");
	assert_string_equal(g.oci->hooks->createcontainer[0]->args[0], "x");
	assert_string_equal(g.oci->hooks->startcontainer[0]->path, "/bin/y");
	guest_spec_done(&g);
	spec_done(&s);
	LOAD(&s, "{" PROCESS ",\"hooks\":{\"createContainer\":[{\"path\":\"x\"}]}}");
	assert_err(spec_for_guest(&s, "c1", &g, err), -EINVAL,
		"config.json: createContainer hook 0: the path x is not absolute");
	spec_done(&s);
}

static void test_guest_fields(void **state)
{
	struct guest_spec g;
	struct spec s;

	(void)state;
	LOAD(&s, full);
	assert_ok(spec_for_guest(&s, "c1", &g, err));
	assert_int_equal(g.oci->linux->n_namespaces, 1);
	assert_string_equal(g.oci->linux->namespaces[0]->type, "mount");
	assert_null(g.oci->hooks);
	assert_string_equal(
		g.oci->linux->cgroupspath, "/a/b"); /* the agent's to replace */
	assert_int_equal(g.oci->linux->n_devices, 1);
	assert_int_equal(g.nodes.n, 1);
	assert_string_equal(g.nodes.all[0]->vm_path, "/dev/zero");
	assert_string_equal(g.oci->linux->resources->cpu->cpus, "");
	assert_int_equal(g.oci->linux->resources->cpu->quota, 100000);
	guest_spec_done(&g);
	spec_done(&s);
}

static void test_guest_refused(void **state)
{
	struct guest_spec g;
	struct spec s;

	(void)state;
	LOAD(&s, "{" PROCESS
		 ",\"mounts\":[{\"destination\":\"/d\",\"type\":\"bind\",\"source\":"
		 "\"srv\"}]}");
	assert_err(spec_for_guest(&s, "c1", &g, err), -EINVAL,
		"config.json: mounts: the source srv of the bind mount on /d is not "
		"absolute");
	spec_done(&s);
}

static int setup(void **state)
{
	scratch_make(&scratch);
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	scratch_remove(&scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_brackets),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_annotations),
		cmocka_unit_test(test_annotations_closed),
		cmocka_unit_test(test_annotations_never),
		cmocka_unit_test(test_annotations_ceilings),
		cmocka_unit_test(test_annotation_value),
		cmocka_unit_test(test_guest_mounts),
		cmocka_unit_test(test_guest_propagation),
		cmocka_unit_test(test_guest_fields),
		cmocka_unit_test(test_guest_hooks),
		cmocka_unit_test(test_guest_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
