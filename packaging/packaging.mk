# SPDX-License-Identifier: Apache-2.0
# Installing, and the quickstart; included by the Makefile.

include packaging/packages.mk

LIBDIR	 = $(PREFIX)/lib/stencil
DOCDIR	 = $(PREFIX)/share/doc/stencil
CONFDIR	 = /etc/stencil

# What depends on PREFIX is made anew when another one is given.
$(B)/prefix: FORCE
	@echo '$(PREFIX)' | cmp -s - $@ || { mkdir -p $(@D); echo '$(PREFIX)' >$@; }
.PHONY: FORCE

# The configuration's table writes its own example, whatever this host is configured to.
$(B)/stencil.conf: $(B)/templated $(B)/prefix
	$(call say,GEN,$@)$(B)/templated --dump-defaults | sed 's:/usr/lib/stencil:$(LIBDIR):' >$@

# A configuration that exists is the administrator's: it stays, the new one lies beside it.
install: all guest $(B)/stencil.conf
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(B)/containerd-shim-stencil-v2 $(B)/templatectl
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/sbin $(B)/templated
	install -D -m 644 -t $(DESTDIR)$(LIBDIR) $(GUEST)
	install -D -m 644 -t $(DESTDIR)$(DOCDIR) README.md LICENSE packaging/containerd.toml
	install -D -m 644 $(B)/stencil.conf $(DESTDIR)$(CONFDIR)/stencil.conf.new
	test -e $(DESTDIR)$(CONFDIR)/stencil.conf || \
		mv $(DESTDIR)$(CONFDIR)/stencil.conf.new $(DESTDIR)$(CONFDIR)/stencil.conf

quickstart:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory all guest
	@$(TEST_ENV) packaging/quickstart
