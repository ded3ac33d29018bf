# SPDX-License-Identifier: Apache-2.0
# The guest's kernel and initramfs; included by the Makefile.
#
# Packages stay in $(B)/guest/cache: a rebuild needs no network, an empty cache gets today's kernel.
#   KERNEL_DEB=<file>                    that kernel package instead of the newest linux-image-amd64
#   KERNEL=<file> MODULES_DIR=<folder>   that kernel, and its /lib/modules/<version>

KERNEL_DEB =
KERNEL	 =
MODULES_DIR =
GUEST_DIR = $(B)/guest

guest_kernel = $(if $(KERNEL)$(MODULES_DIR),$(KERNEL) $(MODULES_DIR),$(KERNEL_DEB))
# Asked again when it is another kernel than last time.
GUEST_KERNEL_IS = $(or $(strip $(guest_kernel)),newest)
GUEST_KERNEL_WAS := $(shell cat $(GUEST_DIR)/kernel 2>/dev/null)
.PHONY: guest-again
$(GUEST_DIR)/packages: guest/mkguest \
		$(if $(filter-out x$(subst $() ,/,$(GUEST_KERNEL_WAS)),x$(subst $() ,/,$(GUEST_KERNEL_IS))),guest-again)
	$(call say,FETCH,"the packages of the guest")mkdir -p $(@D); \
	guest/mkguest packages $(GUEST_DIR)/cache $(guest_kernel) >$@.tmp && mv $@.tmp $@ && \
	echo $(GUEST_KERNEL_IS) >$(GUEST_DIR)/kernel

$(GUEST_DIR)/tree/vmlinuz: $(GUEST_DIR)/packages
	$(call say,UNPACK,$(@D))CC='$(CC)' guest/mkguest tree $(@D) $$(cat $<)

$(GUEST_DIR)/vmlinuz: $(GUEST_DIR)/tree/vmlinuz
	$(Q)cp $< $@.tmp && mv $@.tmp $@

$(GUEST_DIR)/initrd.img: $(GUEST_DIR)/tree/vmlinuz $(AGENT)
	$(call say,INITRD,$@)guest/mkguest initrd $(<D) $(AGENT) $@

$(GUEST_DIR)/manifest.txt: $(GUEST_DIR)/vmlinuz $(GUEST_DIR)/initrd.img
	$(Q)guest/mkguest manifest $^ $$(cat $(GUEST_DIR)/packages) >$@.tmp && mv $@.tmp $@

# What the hostile guest's module (tests/hostile/) is built with, or why there is none of it: older than
# anything, so that the next make tries again. Fetched here: the worlds of tests have no network.
$(GUEST_DIR)/headers: $(GUEST_DIR)/packages
	$(call say,FETCH,"the headers of the guest's kernel")read -r kernel <$<; \
	case $$kernel in \
	*.deb) guest/mkguest headers $(abspath $(GUEST_DIR))/cache "$$kernel" >$@.tmp 2>$@.log || \
		{ tail -n 1 $@.log >$@.tmp; touch -d @0 $@.tmp; } ;; \
	*) echo "$$kernel is no package of Debian's" >$@.tmp ;; \
	esac; mv $@.tmp $@

guest: $(GUEST_DIR)/manifest.txt
