# SPDX-License-Identifier: Apache-2.0
# The Debian packages (names of Debian 12 and 13) in groups, and `make deps`, which installs those
# missing: of all groups, or of DEPS="build guest". PACKAGE:PROGRAM is not wanted where the program is.

PACKAGES_build = gcc libc6-dev make protobuf-c-compiler libprotobuf-c-dev libjson-c-dev \
	libnl-3-dev libnl-route-3-dev libseccomp-dev libcap-ng-dev nettle-dev \
	libzstd-dev

# The guest's kernel and crun are downloaded and unpacked, never installed on the host.
PACKAGES_guest = cpio xz-utils zstd kmod

PACKAGES_run = qemu-system-x86:qemu-system-x86_64 containerd:containerd erofs-utils:mkfs.erofs

# What the quickstart and the system tests do around a private containerd: networks for containers,
# systemd's part towards templated. Their image's busybox is unpacked, see packaging/busybox.
PACKAGES_world = mount iproute2 iputils-ping:ping perl

PACKAGES_test = runc:runc mount iproute2 libcmocka-dev perl shellcheck mandoc \
	containernetworking-plugins curl:curl protobuf-compiler:protoc e2fsprogs xfsprogs

# For `make check-docker`, on a host with Debian 13 or a dockerd of its own.
PACKAGES_docker = docker.io:dockerd docker-cli:docker iptables:iptables bsdutils:script procps:ps

# For `make check-trixie` and, on other hosts, `make check-docker`: the rest is installed in a Debian 13
# of their own.
PACKAGES_trixie = mmdebstrap

# For `make fuzz` and `make soak`: the compiler, and its sanitizers' library.
PACKAGES_fuzz = clang:clang libclang-rt-dev

DEPS	 = build guest run world test
deps:
	@packaging/deps $(sort $(foreach group,$(DEPS),$(or $(PACKAGES_$(group)),$(error \
		no group of packages is called $(group)))))
