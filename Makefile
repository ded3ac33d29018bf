# SPDX-License-Identifier: Apache-2.0
# Stencil. `make help` lists the targets.
#
# One makefile for all folders. The *.c and *.proto of a folder and of its subfolders make
# build/lib/<folder>.a, except main_*.c: those are programs. A folder may use those that come after
# it in LIBS, see the table in README.md.
#
# Variables: CC=  CFLAGS=  SAN=address,undefined|thread  V=1  B=<build folder>
#            DESTDIR=  PREFIX=/usr  (install)   TESTS="lint unit fuzz integration system" (check)

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

CC	 = gcc
SAN	 =
LOG_FILTERS =
PREFIX	 = /usr
B	 = build$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(LOG_FILTERS),-log-filters)
comma	:= ,
Q	 = $(if $(V),,@)
say	 = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2);)

VERSION	:= 0.1.0
WARN	 = -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wundef
# As Debian hardens its own, and more; tests/lint/hardening.t reads what comes of it. A sanitizer finds what
# these would hide; clang 14 knows zeroed variables only under a name that it calls temporary.
HARDEN	 = -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE \
	$(if $(SAN),,-D_FORTIFY_SOURCE=3 $(if $(findstring clang,$(CC)),,-ftrivial-auto-var-init=zero))
CFLAGS	 = -O2 -g
# The spec's messages have a field `linux`, which gnu11 predefines as 1.
CPPFLAGS = -I. -I$(B)/gen -isystem /usr/include/libnl3 -D_GNU_SOURCE -Ulinux -DSTENCIL_VERSION='"$(VERSION)"' \
	$(if $(LOG_FILTERS),-DSTENCIL_LOG_FILTERS)
ALL_CFLAGS = -std=gnu11 $(WARN) $(HARDEN) $(CPPFLAGS) $(CFLAGS) -pthread -ffunction-sections \
	-fdata-sections $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
LDFLAGS	 = -pie -Wl,-z,relro,-z,now -Wl,--gc-sections -pthread $(if $(SAN),-fsanitize=$(SAN))

# ---- what is built ---------------------------------------------------------------------------

LIBS	 = shim templated vm files mm hotplug agent-client base
HOST_BIN = $(B)/containerd-shim-stencil-v2 $(B)/templated $(B)/templatectl $(B)/stencil-files $(B)/stencil-task
# The agent is static and PID 1 of a guest: never sanitized, a SAN build takes the plain one. So does one
# whose filters log (make check-filters), which has no other guest.
PLAIN	 = $(if $(SAN)$(LOG_FILTERS),build,$(B))
AGENT	 = $(PLAIN)/stencil-agent
GUEST	 = $(PLAIN)/guest/vmlinuz $(PLAIN)/guest/initrd.img
HEADERS	 = $(PLAIN)/guest/headers

lib_c	 = $(filter-out $(1)/main_%.c,$(wildcard $(1)/*.c $(1)/*/*.c))
lib_gen	 = $(patsubst %.proto,gen/%.pb-c.o,$(wildcard $(1)/*/*.proto))
lib_o	 = $(addprefix $(B)/obj/,$(patsubst %.c,%.o,$(call lib_c,$(1))) $(call lib_gen,$(1)))
lib_a	 = $(patsubst %,$(B)/lib/%.a,$(1))
GEN_C	 = $(foreach l,$(LIBS),$(patsubst %.o,$(B)/%.c,$(call lib_gen,$(l))))

# Static where Debian has the archive: a shim starts for each pod, relocations are its start-up time.
STATIC	 = -Wl,-Bstatic $(1) -Wl,-Bdynamic
LIB_BASE = $(call STATIC,-ljson-c -lprotobuf-c)
LIB_NL	 = $(call STATIC,-lnl-route-3 -lnl-3)
LIB_SEC	 = $(call STATIC,-lseccomp -lcap-ng)
LIB_ZSTD = $(call STATIC,-lzstd)
LIB_HASH = $(call STATIC,-lnettle)

.PHONY: all help deps guest quickstart check bench fuzz install clean tests
all: $(HOST_BIN) $(AGENT)

help:
	@echo 'make              the programs, in $(B)/'
	@echo 'make deps         install the Debian packages that building, running and testing need; never'
	@echo '                  removes one. DEPS="build guest" for what make and make install need'
	@echo 'make guest        the guest: Debian kernel and our initramfs, in $(B)/guest/'
	@echo 'make quickstart   all of it, then containers in cloned VMs through a real containerd'
	@echo 'make check        all tests; TESTS="unit lint" for some of them, JOBS=1 one after the other'
	@echo 'make bench        BENCH="build ../other/build" ROUNDS=5: builds, factories and runc compared'
	@echo 'make check-trixie  the quickstart and all tests in a Debian 13 that mmdebstrap makes below build/'
	@echo 'make check-filters  all tests, and a list of the system calls that filters refused meanwhile'
	@echo 'make check-docker  tests through the real dockerd: 23 or later of this host, else a Debian 13 has'
	@echo 'make soak         CYCLES=200 READERS=300 FUZZ_RUNS=1000000: as many clones, readers of all of'
	@echo '                  their memory, executions of each fuzz target; ROUNDS=5 of what a neighbour of'
	@echo '                  a hostile pod waits; and one fault in each of FAULTS=1000 lives of a pod, and'
	@echo '                  KILLS=200, in an order by SEED=1'
	@echo 'make soak-faults  that last part alone; FAULT=<what it printed> repeats one'
	@echo 'make fuzz         FUZZ=<name> SECONDS=60 or RUNS=<n>: libFuzzer on tests/fuzz/fuzz_<name>.c'
	@echo '                  SAN=address,undefined or SAN=thread before any of these: instrumented'
	@echo 'make install      DESTDIR= PREFIX=$(PREFIX)'
	@echo 'make clean'

# The linker goes through the libraries once: none can use one that is before it in LIBS.
$(B)/containerd-shim-stencil-v2: $(B)/obj/shim/main_shim.o $(call lib_a,$(LIBS))
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_BASE) $(LIB_NL) $(LIB_SEC) $(LIB_HASH)

$(B)/templated: $(B)/obj/templated/main_templated.o $(call lib_a,$(filter-out shim,$(LIBS)))
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_BASE) $(LIB_SEC) $(LIB_HASH)

$(B)/templatectl: $(B)/obj/templated/main_templatectl.o $(call lib_a,$(filter-out shim,$(LIBS)))
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_BASE) $(LIB_SEC) $(LIB_HASH)

ifeq ($(SAN),)
# Static: each pod has one, and what it relocates and what libraries keep is memory of its own.
$(B)/stencil-files: $(B)/obj/files/main_files.o $(call lib_a,files base)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -static-pie -o $@ $^ -lseccomp
else
# Its system calls are counted: a sanitizer's are not among them.
$(B)/stencil-files: build/stencil-files
	$(call say,COPY,$@)mkdir -p $(@D); cp $< $@
endif

# Without libc, and so without what the flags of the others put in.
$(B)/stencil-task: shim/main_task.c shim/standin.h Makefile
	$(call say,LINK,$@)mkdir -p $(@D); $(CC) -std=gnu11 $(WARN) $(CPPFLAGS) -O2 -g -ffreestanding \
		-fno-stack-protector -fno-pie -no-pie -static -nostdlib -Wl,-z,noseparate-code \
		-Wl,--build-id=none -o $@ $<

ifeq ($(SAN)$(LOG_FILTERS),)
# Static: the guest has no libraries but those crun came with.
$(AGENT): $(B)/obj/guest/main_agent.o $(call lib_o,guest) $(call lib_a,agent-client base)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -static-pie -o $@ $^ \
		-lnl-route-3 -lnl-3 -ljson-c -lprotobuf-c -lzstd -lm
else
# One at a time: they have much in common.
.PHONY: $(AGENT) $(GUEST) $(HEADERS) build/stencil-files
$(AGENT) $(GUEST) $(HEADERS) build/stencil-files:
	@mkdir -p $(PLAIN); flock $(PLAIN) $(MAKE) --no-print-directory SAN= LOG_FILTERS= B=$(PLAIN) $@
endif

define lib_rule
# Two files of an archive may have one name (io.o): q keeps both.
$(B)/lib/$(1).a: $(call lib_o,$(1))
	$$(call say,AR,$$@)mkdir -p $$(@D); rm -f $$@; ar qcs $$@ $$^
endef
$(foreach l,$(LIBS),$(eval $(call lib_rule,$(l))))

$(B)/obj/%.o: %.c $(GEN_C) Makefile
	$(call say,CC,$<)mkdir -p $(@D); $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Generated code is not ours to warn about.
$(B)/obj/gen/%.o: $(B)/gen/%.c $(GEN_C) Makefile
	$(call say,CC,$<)mkdir -p $(@D); $(CC) $(ALL_CFLAGS) -w -MMD -MP -c -o $@ $<

# A message's header is included by the folder of its .proto.
$(B)/gen/%.pb-c.c: %.proto
	$(call say,PROTOC,$<)mkdir -p $(@D); protoc-c --proto_path=$(<D) --c_out=$(@D) $<

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
.SECONDARY:

# ---- the guest -------------------------------------------------------------------------------

ifeq ($(SAN)$(LOG_FILTERS),)
-include guest/guest.mk
endif
guest: $(GUEST)

# ---- tests -----------------------------------------------------------------------------------

include tests/tests.mk

# ---- packages, installing --------------------------------------------------------------------

include packaging/packaging.mk

clean:
	rm -rf build build-*
