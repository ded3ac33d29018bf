# SPDX-License-Identifier: Apache-2.0
# The Debian packages (names of Debian 12 and 13) and `make deps`, which installs those missing.

PACKAGES_BUILD = gcc libc6-dev make protobuf-c-compiler libprotobuf-c-dev libjson-c-dev \
	libnl-3-dev libnl-route-3-dev libseccomp-dev libcap-ng-dev nettle-dev

# The guest's kernel and crun are downloaded and unpacked, never installed on the host.
PACKAGES_GUEST = cpio xz-utils zstd kmod

PACKAGES_RUN = qemu-system-x86 containerd

# A private containerd, an image of busybox, and a network for a container to be in.
PACKAGES_TEST = runc busybox-static iproute2 iputils-ping libcmocka-dev perl shellcheck mandoc

# For `make fuzz` alone, which says so if it is not there: clang.

deps:
	@packaging/deps $(PACKAGES_BUILD) $(PACKAGES_GUEST) $(PACKAGES_RUN) $(PACKAGES_TEST)
