#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What `make install` puts where, and whether it is right: files, units, manual pages, tables.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

[ "$STENCIL_GUEST" = "$STENCIL_BUILD/guest" ] || skip_all 'only a plain build is installed'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

installed() # DESTDIR
{
	(cd "$1" && find . ! -type d -printf '%P %m\n' | LC_ALL=C sort)
}

# A host that is configured otherwise: none of that may be in what is installed.
printf '[hypervisor]\ndefault_memory = 1024\n' >"$work/other.conf"
make_install() # DESTDIR PREFIX
{
	STENCIL_CONFIG=$work/other.conf MAKEFLAGS='' make --no-print-directory \
		B="$(realpath --relative-to=. "$STENCIL_BUILD")" install DESTDIR="$1" PREFIX="$2" \
		>"$work/log" 2>&1
}

# ---- files --------------------------------------------------------------------------------------

make_install "$work/usr" /usr
ok $? 'make install' || bail "make install: $(tail -n 5 "$work/log")"
is "$(installed "$work/usr")" "\
etc/stencil/stencil.conf 644
usr/bin/containerd-shim-stencil-v2 755
usr/bin/templatectl 755
usr/lib/stencil/initrd.img 644
usr/lib/stencil/stencil-files 755
usr/lib/stencil/stencil-task 755
usr/lib/stencil/vmlinuz 644
usr/lib/systemd/system/run-stencil-template.mount 644
usr/lib/systemd/system/templated.service 644
usr/lib/systemd/system/templated.socket 644
usr/sbin/templated 755
usr/share/doc/stencil/LICENSE 644
usr/share/doc/stencil/README.md 644
usr/share/doc/stencil/containerd-3.toml 644
usr/share/doc/stencil/containerd.toml 644
usr/share/doc/stencil/docs/design.md 644
usr/share/doc/stencil/postinst 755
usr/share/doc/stencil/triggers 644
usr/share/man/man5/stencil.conf.5 644
usr/share/man/man8/containerd-shim-stencil-v2.8 644
usr/share/man/man8/templatectl.8 644
usr/share/man/man8/templated.8 644" 'the files, with their modes'
is "$(cat "$work/usr/etc/stencil/stencil.conf")" \
	"$("$STENCIL_BUILD/templated" --dump-defaults)" 'stencil.conf has the defaults'

echo '# mine' >"$work/usr/etc/stencil/stencil.conf"
make_install "$work/usr" /usr
ok $? 'make install over it'
is "$(cat "$work/usr/etc/stencil/stencil.conf")" '# mine' "the administrator's configuration stays"
[ -e "$work/usr/etc/stencil/stencil.conf.new" ]
ok $? 'and the new one lies beside it'

make_install "$work/opt" /opt/stencil
ok $? 'make install with another PREFIX'
is "$(grep '^kernel = ' "$work/opt/etc/stencil/stencil.conf")" \
	'kernel = /opt/stencil/lib/stencil/vmlinuz' 'stencil.conf follows it'
is "$(grep -h ^ExecStart= "$work"/opt/opt/stencil/lib/systemd/system/templated.service)" \
	'ExecStart=/opt/stencil/sbin/templated' 'and the unit'
make_install "$work/again" /usr
is "$(grep '^kernel = ' "$work/again/etc/stencil/stencil.conf")" \
	'kernel = /usr/lib/stencil/vmlinuz' 'and back'

# ---- units --------------------------------------------------------------------------------------

units=$work/again/usr/lib/systemd/system
if command -v systemd-analyze >/dev/null; then
	sed "s:/usr/sbin/templated:$STENCIL_BUILD/templated:" -i "$units/templated.service"
	findings=$(SYSTEMD_UNIT_PATH=$units: systemd-analyze verify --man=no \
		"$units/templated.service" "$units/templated.socket" \
		"$units/run-stencil-template.mount" 2>&1 | grep -E 'templated|run-stencil')
	is "$findings" '' 'systemd-analyze verify has nothing to say'
else
	skip 'systemd-analyze verify has nothing to say' 'systemd-analyze is not installed'
fi
is "$(sed -n 's/^CapabilityBoundingSet=//p' "$units/templated.service" | tr ' ' '\n' | sort)" \
	"$(sed -n 's/^\t\(CAP_[A-Z_]*\),$/\1/p' templated/privileges.c | sort)" \
	'the unit bounds the capabilities to those that templated keeps'
is "$(sed -n 's/^ListenSequentialPacket=//p' "$units/templated.socket")" \
	"$("$STENCIL_BUILD/templated" --dump-defaults | sed -n 's/^template_endpoint = //p')" \
	'the socket unit listens at the default template_endpoint'

# In mounts of its own: no template of this host's counts.
if [ "$(id -u)" = 0 ]; then
	size=$(unshare --mount sh -c 'mount -t tmpfs run /run && exec "$0" --config /dev/null size' \
		"$STENCIL_BUILD/templatectl")
	is "$(sed -n '/^\[Unit\]/,$p' <<<"$size")" \
		"$(sed -n '/^\[Unit\]/,$p' "$units/run-stencil-template.mount")" \
		'the mount unit is the one that templatectl size prints'
else
	skip 'the mount unit is the one that templatectl size prints' 'needs root'
fi

for path in /run/stencil/template /a-b/c.d '/.x/.y z' '/mnt/ü:_' /a%b/; do
	printf '[factory]\ntemplate_path = %s\n' "$path" >"$work/path.conf"
	name=$("$STENCIL_BUILD/templatectl" --config "$work/path.conf" size |
		sed -n 's:^# /etc/systemd/system/::p')
	if command -v systemd-escape >/dev/null; then
		is "$name" "$(systemd-escape -p --suffix=mount "$path")" "the unit's name of $path"
	else
		skip "the unit's name of $path" 'systemd-escape is not installed'
	fi
done

# ---- manual pages -------------------------------------------------------------------------------

pages=("$work"/again/usr/share/man/man?/*)
if command -v mandoc >/dev/null; then
	is "$(mandoc -Tlint -Wwarning "${pages[@]}" 2>&1)" '' 'mandoc has nothing to say'
else
	skip 'mandoc has nothing to say' 'mandoc is not installed'
fi
if command -v groff >/dev/null; then
	is "$(groff -mandoc -ww -Tutf8 -z "${pages[@]}" 2>&1)" '' 'groff has nothing to say'
else
	skip 'groff has nothing to say' 'groff is not installed'
fi
is "$(grep -l '@[A-Z]*@' "${pages[@]}")" '' 'every table is filled in'

man5=$work/again/usr/share/man/man5/stencil.conf.5
is "$(sed -n 's/^\.It Cm //p' "$man5")" \
	"$("$STENCIL_BUILD/templated" --list-keys | cut -f2)" 'stencil.conf(5) has every key'
man8=$work/again/usr/share/man/man8
is "$(sed -n 's/^\.It Li \([a-z0-9_]*\) Ta .*/\1/p' "$man8/templated.8")" \
	"$(grep -oE '^	\[MANIFEST_[A-Z0-9_]+\] += \{"[a-z0-9_]+"' mm/manifest.c | cut -d'"' -f2)" \
	'templated(8) has every field of the manifest'
like "$(cat "$man8/templated.8")" $'\n\\.It Li qemu_version Ta must equal\n' 'with its rule'
is "$(sed -n 's/^\.It Li \(stencil_[a-z_]*\)$/\1/p' "$man8/templatectl.8")" \
	"$(grep -oE '\{"stencil_[a-z_]+"' templated/metrics.c | cut -d'"' -f2)" \
	'templatectl(8) has every metric'
verbs=$("$STENCIL_BUILD/templatectl" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p')
for verb in $verbs; do
	grep -qE "^\.It Cm $verb( |$)" "$man8/templatectl.8"
	ok $? "templatectl(8) has $verb"
done
for option in $("$STENCIL_BUILD/templated" --help | grep -oE '^  --[a-z-]+'); do
	grep -qF -- "\\-${option#--}" "$man8/templated.8"
	ok $? "templated(8) has $option"
done
# Keys that a status may have, as the sources set them.
for key in $(grep -hoE 'json_(set_[a-z0-9]+|object_object_add)\(\s*[a-z]+, "[a-z0-9_]+"' \
	templated/{store,builder,stats,usage,status,daemon,cache}.c | cut -d'"' -f2 | sort -u); do
	case $key in plan | tmpfs | measured | missing_bytes | sandboxes | field) continue ;; esac
	grep -qE "(^|[ ,.])$key([ ,;.\[]|\$)" "$man8/templatectl.8"
	ok $? "templatectl(8) has the key $key"
done

# ---- the package's scripts ----------------------------------------------------------------------

is "$(grep -vE '^(#|interest-noawait /[a-z0-9/_.-]+$)' packaging/dpkg/triggers)" '' \
	'each trigger is a path'
like "$(sh -n packaging/dpkg/postinst 2>&1; echo $?)" '^0$' 'postinst is a shell script'
done_testing
