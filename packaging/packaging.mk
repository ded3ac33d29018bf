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

# ---- manual pages and units ----
# What is a table in the sources is one in the pages.

MANDIR	 = $(PREFIX)/share/man
UNITDIR	 = $(PREFIX)/lib/systemd/system
MAN	 = $(patsubst packaging/man/%.in,$(B)/man/%,$(wildcard packaging/man/*.in))
UNITS	 = $(patsubst packaging/systemd/%.in,$(B)/systemd/%,$(wildcard packaging/systemd/*.in))

$(B)/man/keys: $(B)/templated packaging/man/keys.awk
	@mkdir -p $(@D); $(B)/templated --list-keys | awk -f packaging/man/keys.awk >$@
$(B)/man/fields: mm/manifest.c packaging/man/fields.awk
	@mkdir -p $(@D); awk -f packaging/man/fields.awk mm/manifest.c >$@
$(B)/man/metrics: templated/metrics.c packaging/man/metrics.awk
	@mkdir -p $(@D); awk -f packaging/man/metrics.awk templated/metrics.c >$@

$(B)/man/%: packaging/man/%.in $(B)/man/keys $(B)/man/fields $(B)/man/metrics
	$(call say,GEN,$@)sed -e '/^@KEYS@$$/{r $(B)/man/keys' -e 'd}' \
		-e '/^@FIELDS@$$/{r $(B)/man/fields' -e 'd}' \
		-e '/^@METRICS@$$/{r $(B)/man/metrics' -e 'd}' $< >$@

$(B)/systemd/%: packaging/systemd/%.in $(B)/prefix
	$(call say,GEN,$@)mkdir -p $(@D); sed 's:@PREFIX@:$(PREFIX):' $< >$@

man: $(MAN)
.PHONY: man

# ---- installing ----

# A configuration that exists is the administrator's: it stays, the new one lies beside it.
install: all guest $(B)/stencil.conf $(MAN) $(UNITS)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(B)/containerd-shim-stencil-v2 $(B)/templatectl
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/sbin $(B)/templated
	install -D -m 755 -t $(DESTDIR)$(LIBDIR) $(B)/stencil-files $(B)/stencil-task
	install -D -m 644 -t $(DESTDIR)$(LIBDIR) $(GUEST)
	install -D -m 644 -t $(DESTDIR)$(DOCDIR) README.md LICENSE packaging/containerd.toml \
		packaging/containerd-3.toml
	install -D -m 644 -t $(DESTDIR)$(DOCDIR)/docs docs/design.md
	install -D -m 644 -t $(DESTDIR)$(DOCDIR) packaging/dpkg/triggers
	install -D -m 755 -t $(DESTDIR)$(DOCDIR) packaging/dpkg/postinst
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man5 $(filter %.5,$(MAN))
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man8 $(filter %.8,$(MAN))
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) $(UNITS)
	install -D -m 644 $(B)/stencil.conf $(DESTDIR)$(CONFDIR)/stencil.conf.new
	test -e $(DESTDIR)$(CONFDIR)/stencil.conf || \
		mv $(DESTDIR)$(CONFDIR)/stencil.conf.new $(DESTDIR)$(CONFDIR)/stencil.conf

quickstart:
	@$(MAKE) --no-print-directory deps DEPS='build guest run world'
	@$(MAKE) --no-print-directory all guest $(BUSYBOX)
	@$(TEST_ENV) packaging/quickstart
