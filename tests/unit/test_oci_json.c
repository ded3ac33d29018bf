/* SPDX-License-Identifier: Apache-2.0 */
/* shim/oci and guest/oci: documents to messages and back, and what is refused. */
#include "shim/oci/from_json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "agent-client/oci/fields.h"
#include "base/json.h"
#include "base/util.h"
#include "guest/oci/to_json.h"

/* Every key that the messages have a place for, spelled as the runtime spec spells it. */
static const char full[] =
	"{'ociVersion':'1.0.2','process':{'terminal':true,'consoleSize':{'height':24,'"
	"width':80},"
	"'user':{'uid':1000,'gid':1001,'additionalGids':[10,20],'username':'someone','umask':18},"
	"'args':['sh','-c','exit 3'],'env':['PATH=/bin','TERM=xterm'],'cwd':'/work',"
	"'capabilities':{'bounding':['CAP_KILL'],'effective':['CAP_KILL'],"
	"'inheritable':['CAP_CHOWN'],'permitted':['CAP_KILL','CAP_CHOWN'],'ambient':['"
	"CAP_KILL']},"
	"'rlimits':[{'type':'RLIMIT_NOFILE','hard':18446744073709551615,'soft':1024}],"
	"'noNewPrivileges':true,'apparmorProfile':'ap','oomScoreAdj':-998,'selinuxLabel':"
	"'se'},"
	"'root':{'path':'rootfs','readonly':true},'hostname':'host','domainname':'domain',"
	"'mounts':[{'destination':'/"
	"proc','source':'proc','type':'proc','options':['nosuid']}],"
	"'hooks':{'prestart':[{'path':'/a','args':['a'],'env':['A=1'],'timeout':5}],"
	"'poststart':[{'path':'/b','args':['b'],'env':['B=1'],'timeout':6}],"
	"'poststop':[{'path':'/c','args':['c'],'env':['C=1'],'timeout':7}],"
	"'createRuntime':[{'path':'/d','args':['d'],'env':['D=1'],'timeout':8}],'createContainer':[{'path':'/e','args':['e'],'env':['E=1'],'timeout':8}],"
	"'startContainer':[{'path':'/f','args':['f'],'env':['F=1'],'timeout':8}]},"
	"'annotations':{'io.kubernetes.cri.sandbox-id':'x','UPPER':''},"
	"'linux':{'uidMappings':[{'hostID':1,'containerID':2,'size':4294967295}],"
	"'gidMappings':[{'hostID':3,'containerID':4,'size':5}],"
	"'sysctl':{'net.ipv4.ip_forward':'1'},"
	"'resources':{'devices':[{'allow':true,'type':'c','major':1,'minor':3,'access':'"
	"rwm'}],"
	"'memory':{'limit':9223372036854775807,'reservation':2,'swap':-1,'kernel':-1,'"
	"kernelTCP':5,"
	"'swappiness':60,'disableOOMKiller':true},"
	"'cpu':{'shares':1024,'quota':-1,'period':100000,'realtimeRuntime':1,'"
	"realtimePeriod':2,"
	"'cpus':'0-1','mems':'0'},'pids':{'limit':100},"
	"'blockIO':{'weight':10,'leafWeight':11,"
	"'weightDevice':[{'major':8,'minor':1,'weight':500,'leafWeight':300}],"
	"'throttleReadBpsDevice':[{'major':8,'minor':2,'rate':600}],"
	"'throttleWriteBpsDevice':[{'major':8,'minor':3,'rate':601}],"
	"'throttleReadIOPSDevice':[{'major':8,'minor':4,'rate':602}],"
	"'throttleWriteIOPSDevice':[{'major':8,'minor':5,'rate':603}]},"
	"'hugepageLimits':[{'pageSize':'2MB','limit':9223372036854772000}],"
	"'network':{'classID':1048577,'priorities':[{'name':'eth0','priority':500}]}},"
	"'personality':{'domain':'LINUX32','flags':['a']},"
	"'cgroupsPath':'/a/b','namespaces':[{'type':'pid'},{'type':'network','path':'/"
	"run/n'}],"
	"'devices':[{'path':'/dev/"
	"fuse','type':'c','major':10,'minor':229,'fileMode':438,'uid':1,"
	"'gid':2}],"
	"'seccomp':{'defaultAction':'SCMP_ACT_ERRNO','architectures':['SCMP_ARCH_X86_64']"
	","
	"'flags':['SECCOMP_FILTER_FLAG_LOG'],'syscalls':[{'names':['clone'],"
	"'action':'SCMP_ACT_ALLOW','errnoRet':1,'args':[{'index':1,'value':"
	"18446744073709551615,"
	"'valueTwo':9223372036854775808,'op':'SCMP_CMP_MASKED_EQ'}]}]},"
	"'rootfsPropagation':'slave','maskedPaths':['/proc/kcore'],'readonlyPaths':['/"
	"proc/bus'],"
	"'mountLabel':'ml','intelRdt':{'l3CacheSchema':'L3:0=ffff0'}},"
	"'solaris':{'dummy':'s'},'windows':{'dummy':'w'}}";

/* JSON with ' for ", so that it can be read here. */
static struct json_object *parse(const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct json_object *json = NULL;
	struct err err = ERR_INIT;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (json_parse("test", copy, strlen(copy), 32, &json, &err) < 0)
		fail_msg("%s", err.text);
	return json;
}

static void assert_json(struct json_object *found, const char *wanted)
{
	_cleanup_json_ struct json_object *want = parse(wanted);

	/* Key order is the messages' on both sides once parsed; text shows the
	 * difference. */
	if (!json_object_equal(found, want))
		assert_string_equal(json_object_to_json_string(found),
			json_object_to_json_string(want));
}

/* Nothing the document says may be missing from its message. */
static void assert_full(const ProtobufCMessage *m)
{
	for (unsigned int i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *place = oci_member(m, f);
		static const char zero[8];
		bool empty;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			empty = *oci_count(m, f) == 0;
			if (!empty && f->type == PROTOBUF_C_TYPE_MESSAGE &&
				!oci_is_map(f))
				assert_full(**(ProtobufCMessage ***)place);
		} else if (f->type == PROTOBUF_C_TYPE_STRING) {
			empty = !**(char *const *)place;
		} else {
			empty = memcmp(place, zero, oci_element_size(f)) == 0;
			if (!empty && f->type == PROTOBUF_C_TYPE_MESSAGE)
				assert_full(*(ProtobufCMessage *const *)place);
		}
		/* The first of the namespaces has no path. */
		if (empty && m->descriptor != &grpc__linux_namespace__descriptor)
			fail_msg("%s.%s is empty", m->descriptor->name, f->name);
	}
}

static void nothing_dropped(void *user, const char *path)
{
	(void)user;
	fail_msg("%s was dropped", path);
}

static void test_every_key_there_and_back(void **state)
{
	_cleanup_json_ struct json_object *json = parse(full), *back = NULL;
	struct err err = ERR_INIT;
	Grpc__Spec *spec = NULL;

	(void)state;
	assert_int_equal(oci_spec_from_json(json, &spec, nothing_dropped, NULL, &err), 0);
	assert_full(&spec->base);
	assert_int_equal(oci_spec_to_json(spec, &back, &err), 0);
	assert_json(back, full);
	grpc__spec__free_unpacked(spec, NULL);
}

/* The same over the wire: what is packed and unpacked says the same. */
static void test_over_the_wire(void **state)
{
	_cleanup_json_ struct json_object *json = parse(full), *back = NULL;
	_cleanup_free_ uint8_t *wire = NULL;
	struct err err = ERR_INIT;
	Grpc__Spec *spec = NULL;
	size_t len;

	(void)state;
	assert_int_equal(oci_spec_from_json(json, &spec, NULL, NULL, &err), 0);
	wire = xmalloc(grpc__spec__get_packed_size(spec));
	len = grpc__spec__pack(spec, wire);
	grpc__spec__free_unpacked(spec, NULL);
	spec = grpc__spec__unpack(NULL, len, wire);
	assert_non_null(spec);
	assert_int_equal(oci_spec_to_json(spec, &back, &err), 0);
	assert_json(back, full);
	grpc__spec__free_unpacked(spec, NULL);
}

static void assert_spec_becomes(const char *from, const char *to)
{
	_cleanup_json_ struct json_object *json = parse(from), *back = NULL;
	struct err err = ERR_INIT;
	Grpc__Spec *spec = NULL;

	assert_int_equal(oci_spec_from_json(json, &spec, nothing_dropped, NULL, &err), 0);
	assert_int_equal(oci_spec_to_json(spec, &back, &err), 0);
	assert_json(back, to);
	grpc__spec__free_unpacked(spec, NULL);
}

static void test_zeros(void **state)
{
	(void)state;
	/* Zero means "not set" for these… */
	assert_spec_becomes(
		"{'hostname':'','process':{'user':{'uid':0,'gid':0,'username':''},"
		"'terminal':false,'oomScoreAdj':0,'args':[]},'annotations':{},"
		"'linux':{'resources':{'memory':{'limit':0,'swap':0},"
		"'cpu':{'shares':0,'quota':0},'pids':{'limit':0}}}}",
		"{'process':{'user':{'uid':0,'gid':0}},"
		"'linux':{'resources':{'memory':{},'cpu':{},'pids':{}}}}");
	/* …and is a value for those. */
#define ZEROS                                                                            \
	"{'process':{'consoleSize':{'height':0,'width':0},'user':{'uid':0,'gid':0},"     \
	"'rlimits':[{'type':'RLIMIT_CORE','hard':0,'soft':0}]},"                         \
	"'linux':{'uidMappings':[{'hostID':0,'containerID':0,'size':0}],"                \
	"'resources':{'devices':[{'allow':false,'type':'c','major':0,'minor':0}],"       \
	"'blockIO':{'throttleReadBpsDevice':[{'major':0,'minor':0,'rate':0}]},"          \
	"'hugepageLimits':[{'pageSize':'2MB','limit':0}]},"                              \
	"'devices':[{'path':'/dev/x','type':'c','major':0,'minor':0}],"                  \
	"'seccomp':{'syscalls':[{'names':['a'],'action':'b','errnoRet':0,"               \
	"'args':[{'index':0,'value':0,'op':'c'}]},{'names':['d'],'action':'e'}]}}}"
	assert_spec_becomes(ZEROS, ZEROS);
}

static void test_device_rule_for_all_numbers(void **state)
{
	_cleanup_json_ struct json_object *json =
		parse("{'devices':[{'allow':false,'access':'rwm'},"
		      "{'allow':true,'type':'c','major':5,'access':'r'}]}");
	_cleanup_json_ struct json_object *back = NULL;
	Grpc__Spec spec = GRPC__SPEC__INIT;
	Grpc__Linux linux = GRPC__LINUX__INIT;
	Grpc__LinuxResources *res = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(oci_resources_from_json(json, &res, &err), 0);
	assert_int_equal(res->devices[0]->major, -1);
	assert_int_equal(res->devices[0]->minor, -1);
	assert_int_equal(res->devices[1]->major, 5);
	assert_int_equal(res->devices[1]->minor, -1);
	linux.resources = res;
	spec.linux = &linux;
	assert_int_equal(oci_spec_to_json(&spec, &back, &err), 0);
	assert_true(json_object_equal(
		json, json_object_object_get(
			      json_object_object_get(back, "linux"), "resources")));
	grpc__linux_resources__free_unpacked(res, NULL);
}

static void test_user_is_written_even_if_nobody_gave_one(void **state)
{
	Grpc__Process process = GRPC__PROCESS__INIT;
	_cleanup_json_ struct json_object *json = NULL;
	struct err err = ERR_INIT;

	(void)state;
	process.cwd = "/";
	assert_int_equal(oci_process_to_json(&process, &json, &err), 0);
	assert_json(json, "{'user':{'uid':0,'gid':0},'cwd':'/'}");
}

static void test_null_is_absent_and_case_does_not_matter(void **state)
{
	(void)state;
	assert_spec_becomes("{'OCIVERSION':'1.0.0','mounts':null,'Process':{'CWD':'/',"
			    "'user':{'UID':7,'additionalGids':null}},'linux':null}",
		"{'ociVersion':'1.0.0','process':{'cwd':'/','user':{'uid':7,'gid':0}}}");
}

struct told {
	unsigned int n;
	char paths[8][128];
};

static void note(void *user, const char *path)
{
	struct told *t = user;

	assert_true(t->n < ARRAY_SIZE(t->paths));
	snprintf(t->paths[t->n++], sizeof(t->paths[0]), "%s", path);
}

static void test_dropped_is_told_once_a_path(void **state)
{
	_cleanup_json_ struct json_object *json =
		parse("{'vendor':'x','linux':{'resources':{'unified':{'a':'b'}},"
		      "'seccomp':{'syscalls':[{'names':['a'],'x\\n':1},{'x\\n':2},{}]}},"
		      "'annotations':{'any':'thing'},'version':1}");
	struct err err = ERR_INIT;
	struct told t = {0};
	Grpc__Spec *spec = NULL;

	(void)state;
	assert_int_equal(oci_spec_from_json(json, &spec, note, &t, &err), 0);
	assert_int_equal(t.n, 4);
	assert_string_equal(t.paths[0], "vendor");
	assert_string_equal(t.paths[1], "linux.resources.unified");
	assert_string_equal(t.paths[2], "linux.seccomp.syscalls[].x\\x0a");
	/* The field is called Version, but its key is ociVersion. */
	assert_string_equal(t.paths[3], "version");
	grpc__spec__free_unpacked(spec, NULL);
}

static void test_refused(void **state)
{
	static const struct {
		const char *json, *text;
		int code;
	} cases[] = {
		{"[]", "the OCI spec is of type array; it must be an object", -EINVAL},
		{"{'process':3}", "process is of type int; it must be an object",
			-EINVAL},
		{"{'process':{'user':{'uid':'root'}}}",
			"process.user.uid is of type string; it must be an integer",
			-EINVAL},
		{"{'process':{'user':{'uid':4294967296}}}",
			"process.user.uid is out of range", -ERANGE},
		{"{'process':{'user':{'uid':-1}}}", "process.user.uid is out of range",
			-ERANGE},
		{"{'process':{'user':{'uid':1.0}}}",
			"process.user.uid is of type double; it must be an integer",
			-EINVAL},
		{"{'process':{'user':{'additionalGids':[1,null]}}}",
			"process.user.additionalGids[1] is of type null; it must be an "
			"integer",
			-EINVAL},
		{"{'process':{'args':'sh'}}",
			"process.args is of type string; it must be an array", -EINVAL},
		{"{'process':{'args':['a',['b']]}}",
			"process.args[1] is of type array; it must be a string", -EINVAL},
		{"{'process':{'terminal':1}}",
			"process.terminal is of type int; it must be true or false",
			-EINVAL},
		{"{'process':{'cwd':'/\\u0000x'}}", "process.cwd has a NUL in it",
			-EINVAL},
		{"{'process':{'cwd':'/','Cwd':'/'}}", "process.Cwd is given twice",
			-EINVAL},
		{"{'process':{'rlimits':[{'hard':-1}]}}",
			"process.rlimits[0].hard is negative", -ERANGE},
		{"{'linux':{'resources':{'memory':{'limit':9223372036854775808}}}}",
			"linux.resources.memory.limit is out of range", -ERANGE},
		{"{'annotations':['a']}",
			"annotations is of type array; it must be an object", -EINVAL},
		{"{'annotations':{'a':{}}}",
			"annotations.a is of type object; it must be a string", -EINVAL},
		{"{'mounts':[{},{'destination':7}]}",
			"mounts[1].destination is of type int; it must be a string",
			-EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ struct json_object *json = parse(cases[i].json);
		struct err err = ERR_INIT;
		Grpc__Spec *spec = NULL;

		assert_int_equal(
			oci_spec_from_json(json, &spec, NULL, NULL, &err), cases[i].code);
		assert_int_equal(err.code, cases[i].code);
		assert_string_equal(err.text, cases[i].text);
		assert_null(spec);
	}
}

static void test_refused_process_and_resources(void **state)
{
	_cleanup_json_ struct json_object *json = parse("'x'");
	Grpc__LinuxResources *res = NULL;
	Grpc__Process *process = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(oci_process_from_json(json, &process, &err), -EINVAL);
	assert_string_equal(
		err.text, "the OCI process is of type string; it must be an object");
	assert_int_equal(oci_resources_from_json(json, &res, &err), -EINVAL);
	assert_string_equal(
		err.text, "the OCI resources is of type string; it must be an object");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_key_there_and_back),
		cmocka_unit_test(test_over_the_wire),
		cmocka_unit_test(test_zeros),
		cmocka_unit_test(test_device_rule_for_all_numbers),
		cmocka_unit_test(test_user_is_written_even_if_nobody_gave_one),
		cmocka_unit_test(test_null_is_absent_and_case_does_not_matter),
		cmocka_unit_test(test_dropped_is_told_once_a_path),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_process_and_resources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
