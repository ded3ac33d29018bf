# SPDX-License-Identifier: Apache-2.0
# The guest's kernel and initramfs; included by the Makefile.
#
# Packages stay in $(B)/guest/cache: a rebuild needs no network, an empty cache gets today's kernel.
# KERNEL_DEB=<file> takes that kernel package instead of the newest linux-image-amd64.

KERNEL_DEB =
GUEST_DIR = $(B)/guest

# Asked again when KERNEL_DEB is another one than last time.
GUEST_KERNEL_WAS := $(shell cat $(GUEST_DIR)/kernel-deb 2>/dev/null)
.PHONY: guest-again
$(GUEST_DIR)/packages: guest/mkguest \
		$(if $(filter $(or $(KERNEL_DEB),newest),$(GUEST_KERNEL_WAS)),,guest-again)
	$(call say,FETCH,"the packages of the guest")mkdir -p $(@D); \
	guest/mkguest packages $(GUEST_DIR)/cache $(KERNEL_DEB) >$@.tmp && mv $@.tmp $@ && \
	echo $(or $(KERNEL_DEB),newest) >$(GUEST_DIR)/kernel-deb

$(GUEST_DIR)/tree/vmlinuz: $(GUEST_DIR)/packages
	$(call say,UNPACK,$(@D))guest/mkguest tree $(@D) $$(cat $<) && touch $@

$(GUEST_DIR)/vmlinuz: $(GUEST_DIR)/tree/vmlinuz
	$(Q)cp $< $@

$(GUEST_DIR)/initrd.img: $(GUEST_DIR)/tree/vmlinuz $(AGENT)
	$(call say,INITRD,$@)guest/mkguest initrd $(<D) $(AGENT) $@
