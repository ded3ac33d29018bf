# SPDX-License-Identifier: Apache-2.0
# Building and running the tests; included by the Makefile.
#
# A test is a program that writes TAP. C programs: tests/{unit,integration}/test_*.c (cmocka) become
# $(B)/tests/<kind>/test_*.t; tests/fuzz/fuzz_*.c (a LLVMFuzzerTestOneInput) become fuzz_*.t, which
# replay tests/fuzz/corpus/<name>/. All are linked with tests/lib/*.c and with every library of ours
# but the agent's; test_guest_*.c and fuzz_guest_*.c with what the agent is made of.
# Shell programs: tests/{lint,unit,integration,system,docker,soak}/*.t as they lie.
# Those of docker/ are for `make check-docker`, those of soak/ for `make soak`.

TESTS	 = lint unit fuzz integration system
# A test that hangs is a failure, not a hang. Not a measure: many times what the longest needs, and a
# single wait ends long before, see tests/lib/patience.h.
TEST_SECONDS = 14400
# Tests at a time: each has a world of its own, with a few VMs of 256 MiB at most.
JOBS	 := $(shell n=$$(nproc); [ "$$n" -lt 4 ] || n=4; echo "$$n")

test_c_t = $(patsubst tests/%.c,$(B)/tests/%.t,$(wildcard tests/$(1)/$(2)_*.c))
T_lint	 = $(wildcard tests/lint/*.t)
T_unit	 = $(call test_c_t,unit,test) $(wildcard tests/unit/*.t)
T_fuzz	 = $(call test_c_t,fuzz,fuzz)
T_integration = $(call test_c_t,integration,test) $(wildcard tests/integration/*.t)
T_system = $(wildcard tests/system/*.t)
T_docker = $(wildcard tests/docker/*.t)
TEST_FILES = $(foreach t,$(TESTS),$(T_$(t)))
# Reports what a container sees of its identity; goes into the system tests' image.
PROBE	 = $(PLAIN)/tests/system/probe
# Tries a file system from inside a container; goes into that image, too.
FILES_PROBE = $(PLAIN)/tests/system/files_probe
# Plays a broken-out QEMU.
ESCAPE	 = $(PLAIN)/tests/integration/escape

tests: $(filter $(B)/%,$(T_unit) $(T_fuzz) $(T_integration)) $(PROBE) $(FILES_PROBE) $(ESCAPE)

# The agent's files without its main(), so that a test can drive them.
$(eval $(call lib_rule,guest))
# An archive: a test that puts functions of its own in the place of ours gets no more of it than it asks
# for.
$(eval $(call lib_rule,tests/lib))
TEST_LIBS = $(call lib_a,tests/lib $(LIBS))
GUEST_TEST_LIBS = $(call lib_a,tests/lib guest agent-client base)
TEST_LINK = $(CC) $(LDFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group \
	$(LIB_BASE) $(LIB_NL) $(LIB_SEC) $(LIB_HASH) $(LIB_ZSTD)

$(B)/tests/fuzz/%.t: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(TEST_LIBS)
	$(call say,LINK,$@)mkdir -p $(@D); $(TEST_LINK)

$(B)/tests/fuzz/fuzz_guest_%.t: $(B)/obj/tests/fuzz/fuzz_guest_%.o $(B)/obj/tests/fuzz/replay.o \
		$(GUEST_TEST_LIBS)
	$(call say,LINK,$@)mkdir -p $(@D); $(TEST_LINK)

$(B)/tests/%.t: $(B)/obj/tests/%.o $(TEST_LIBS)
	$(call say,LINK,$@)mkdir -p $(@D); $(TEST_LINK) -lcmocka

$(B)/tests/unit/test_guest_%.t: $(B)/obj/tests/unit/test_guest_%.o $(GUEST_TEST_LIBS)
	$(call say,LINK,$@)mkdir -p $(@D); $(TEST_LINK) -lcmocka

# The guest does again what a server tells it of.
$(B)/tests/unit/test_guest_replay.t: $(call lib_a,files)

# From JSON is the shim's, to JSON is the guest's.
$(B)/tests/unit/test_oci_json.t $(B)/tests/fuzz/fuzz_oci_json.t $(B)/fuzz_oci_json: $(call lib_a,guest)

$(PROBE) $(ESCAPE): $(PLAIN)/%: %.c Makefile
	$(call say,CC,$<)mkdir -p $(@D); $(CC) -std=gnu11 $(WARN) -O2 -D_GNU_SOURCE -static -s -o $@ $<

$(FILES_PROBE): $(wildcard tests/system/files_probe/*.[ch]) tests/lib/inotify_words.h Makefile
	$(call say,CC,$@)mkdir -p $(@D); $(CC) -std=gnu11 $(WARN) -I. -O2 -D_GNU_SOURCE -static -s -o $@ \
		$(filter %.c,$^)

# The programs, but with system calls that can be told to fail, see tests/fault/inject.c.
FAULT_CALLS = $(shell awk -F ', ' '/^(CALL|RETURNS|ANYWAY|VARIADIC)[^a-z]/ { sub(/,/, "", $$2); print $$2 }' \
	tests/fault/calls.h) syscall
FAULT_LINK = $(CC) $(LDFLAGS) $(addprefix -Wl$(comma)--wrap=,$(FAULT_CALLS)) -o $@ $(filter %.o,$^) \
	$(filter %.a,$^)
FAULT_BIN = $(addprefix $(B)/tests/fault/,containerd-shim-stencil-v2 templated stencil-files faults) \
	$(B)/tests/fault/stencil-task $(B)/tests/fault/templatectl

$(B)/tests/fault/containerd-shim-stencil-v2: $(B)/obj/shim/main_shim.o
$(B)/tests/fault/templated: $(B)/obj/templated/main_templated.o
$(B)/tests/fault/containerd-shim-stencil-v2 $(B)/tests/fault/templated: $(B)/obj/tests/fault/inject.o \
		$(call lib_a,$(LIBS))
	$(call say,LINK,$@)mkdir -p $(@D); $(FAULT_LINK) $(LIB_BASE) $(LIB_NL) $(LIB_SEC) $(LIB_HASH)

$(B)/tests/fault/stencil-files: $(B)/obj/files/main_files.o $(B)/obj/tests/fault/inject.o $(call lib_a,files base)
	$(call say,LINK,$@)mkdir -p $(@D); $(FAULT_LINK) -static-pie -lseccomp

$(B)/tests/fault/faults: $(B)/obj/tests/fault/faults.o
	$(call say,LINK,$@)mkdir -p $(@D); $(CC) $(LDFLAGS) -o $@ $^

# Looked for beside the others.
$(B)/tests/fault/stencil-task $(B)/tests/fault/templatectl: $(B)/tests/fault/%: $(B)/%
	$(call say,COPY,$@)mkdir -p $(@D); cp $< $@

# What containers of the quickstart and of the system tests run.
BUSYBOX	 = $(PLAIN)/busybox
$(BUSYBOX): packaging/busybox
	$(call say,FETCH,$@)mkdir -p $(@D); packaging/busybox $@

# What tests may rely on in their environment.
TEST_ENV = STENCIL_SOURCE=$(CURDIR) STENCIL_BUILD=$(abspath $(B)) \
	STENCIL_GUEST=$(abspath $(PLAIN))/guest STENCIL_PROBE=$(abspath $(PROBE)) \
	STENCIL_FILES_PROBE=$(abspath $(FILES_PROBE)) \
	STENCIL_ESCAPE=$(abspath $(ESCAPE)) STENCIL_BUSYBOX=$(abspath $(BUSYBOX)) \
	CMOCKA_MESSAGE_OUTPUT=TAP LC_ALL=C.UTF-8

# Lint and unit tests need no guest, and nothing to run it; both are there for the others.
CHECK_GUEST = $(filter integration system docker,$(TESTS))
CHECK_DEPS = build $(if $(CHECK_GUEST),guest run world) test $(filter docker,$(TESTS))
check:
	@$(MAKE) --no-print-directory deps DEPS='$(CHECK_DEPS)'
	@$(MAKE) --no-print-directory all tests $(if $(CHECK_GUEST),guest $(BUSYBOX) $(HEADERS))
	@$(TEST_ENV) prove --jobs $(JOBS) --timer --failures --comments --exec 'timeout --kill-after=60 $(TEST_SECONDS)' \
		$(TEST_FILES) </dev/null

# All tests, with programs whose filters log what they refuse, and a table of that. It is to be read by
# who changes a filter, or has a new QEMU: a call that one does without is no failure.
check-filters:
	@tests/filters $(MAKE) --no-print-directory LOG_FILTERS=1 check TESTS='$(TESTS)'
.PHONY: check-filters

# What `make check` has in small, for a night: many clones, and their traces; many inputs for each
# fuzz target. And what it has not: an image of 200 MB that many pods read, what a hostile pod's neighbour
# waits, and faults of system calls, one in each life of a pod.
CYCLES	 = 200
READERS	 = 300
EXECS	 = 2000
FUZZ_RUNS = 1000000
FAULTS	 = 1000
KILLS	 = 200
SEED	 = 1
FAULT	 =
ONLY	 =
SOAK_FAULTS = FAULTS='$(FAULTS)' KILLS='$(KILLS)' SEED='$(SEED)' FAULT='$(FAULT)' ONLY='$(ONLY)'
soak:
	@$(MAKE) --no-print-directory deps DEPS='build fuzz'
	@$(MAKE) --no-print-directory $(FUZZ_MAKE) $(addprefix build-fuzz/fuzz_,$(FUZZ_NAMES))
	@$(MAKE) --no-print-directory $(FAULT_BIN)
	@CYCLES='$(CYCLES)' READERS='$(READERS)' EXECS='$(EXECS)' FUZZ_RUNS='$(FUZZ_RUNS)' \
		ROUNDS='$(ROUNDS)' $(SOAK_FAULTS) $(MAKE) --no-print-directory check \
		TEST_FILES='tests/fuzz/soak.t tests/system/soak.t $(wildcard tests/soak/*.t) tests/fault/soak.t'

# Its last part alone.
soak-faults:
	@$(MAKE) --no-print-directory deps DEPS=build
	@$(MAKE) --no-print-directory $(FAULT_BIN)
	@$(SOAK_FAULTS) $(MAKE) --no-print-directory check TESTS=system TEST_FILES=tests/fault/soak.t
.PHONY: soak soak-faults

# What is in MAKEFLAGS here is not for the make in there.
TRIXIE	 = $(MAKE) --no-print-directory deps DEPS=trixie && \
	MAKEFLAGS= STENCIL_BUILD=$(abspath $(PLAIN)) tests/trixie

# The quickstart and all tests in a Debian 13.
check-trixie:
	@$(TRIXIE) 'quickstart check' TESTS='$(TESTS)' $(if $(SAN),SAN=$(SAN))

# Here, where there is a dockerd that can be told of a shim; otherwise in a Debian 13.
check-docker:
	@if tests/docker/usable; then \
		$(MAKE) --no-print-directory check TESTS=docker; \
	else \
		$(TRIXIE) check-docker $(if $(SAN),SAN=$(SAN)); \
	fi
.PHONY: check-trixie check-docker

# ---- the bench ---------------------------------------------------------------------------------

# Build folders to compare, of this checkout or others; what of them; how often; how long to wait for
# a calm machine, in all.
BENCH	 = $(B)
FACTORIES = direct template cache runc
ROUNDS	 = 5
CALM_SECONDS = 60
RESULTS	 = bench/results

# Standard output is the table's.
bench:
	@$(MAKE) --no-print-directory deps >&2
	@$(MAKE) --no-print-directory all guest $(BUSYBOX) >&2
	@$(TEST_ENV) BENCH='$(BENCH)' FACTORIES='$(FACTORIES)' ROUNDS='$(ROUNDS)' \
		CALM_SECONDS='$(CALM_SECONDS)' RESULTS='$(RESULTS)' tests/bench/bench

# ---- fuzzing -----------------------------------------------------------------------------------
# New inputs that reach new code land in $(B)-fuzz/corpus/<name>/; add the telling ones to
# tests/fuzz/corpus/<name>/. A crash leaves its input beside them. The libraries that parse are
# not instrumented: all seeds stay, or whole documents would go for fragments that reach as much.

SECONDS	 = 60
RUNS	 =
FUZZ_NAMES = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_MAKE = CC=clang SAN=fuzzer-no-link,address,undefined B=build-fuzz
fuzz:
	@test -n '$(FUZZ)' || { echo "make fuzz FUZZ=<name>, one of: $(FUZZ_NAMES)" >&2; exit 1; }
	@$(MAKE) --no-print-directory deps DEPS='build fuzz'
	@$(MAKE) --no-print-directory $(FUZZ_MAKE) build-fuzz/fuzz_$(FUZZ)
	@mkdir -p build-fuzz/corpus/$(FUZZ)
	build-fuzz/fuzz_$(FUZZ) $(if $(RUNS),-runs=$(RUNS),-max_total_time=$(SECONDS)) -timeout=5 \
		-rss_limit_mb=1024 -keep_seed=1 \
		-artifact_prefix=build-fuzz/ build-fuzz/corpus/$(FUZZ) $(wildcard tests/fuzz/corpus/$(FUZZ))

$(B)/fuzz_guest_%: $(B)/obj/tests/fuzz/fuzz_guest_%.o $(GUEST_TEST_LIBS)
	$(call say,LINK,$@)$(subst fuzzer-no-link,fuzzer,$(TEST_LINK))

$(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(TEST_LIBS)
	$(call say,LINK,$@)$(subst fuzzer-no-link,fuzzer,$(TEST_LINK))
