# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# QEMU 10: this host's own, as on Debian 13, or that of Debian 12's backports, unpacked below the build
# folder and not installed.
#
# How it works: an apt of its own (lists, archives and status in $STENCIL_BUILD/qemu10/apt) is given
# the host's own mirror with the suite bookworm-backports; the host's is not touched. What apt would
# upgrade or add for it is unpacked into one tree, whose QEMU runs with the host's libraries: those
# of Debian 12 are what it was built for. Its firmware is in the tree, see vm/confine_plan.c.

QEMU10_DIR=$STENCIL_BUILD/qemu10
QEMU10=$QEMU10_DIR/usr/bin/qemu-system-x86_64

qemu10_apt() # PROGRAM ARGUMENT...
{
	local apt=$QEMU10_DIR/apt

	timeout 300 "$1" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
		-o APT::Sandbox::User=root -o Acquire::Retries=2 -o Acquire::http::Timeout=20 \
		"${@:2}" </dev/null
}

# The mirror that the host's apt has Debian 12 from.
qemu10_mirror()
{
	# shellcheck disable=SC2016 # apt's, not ours
	apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Origin: Debian' 'Component: main' |
		head -n 1
}

qemu10_fails() # REASON
{
	# shellcheck disable=SC2034 # for the script
	REASON=$1
	return 1
}

# This host's own, if it is one.
qemu10_own()
{
	local own

	own=$(command -v qemu-system-x86_64) &&
		[[ $("$own" --version 2>/dev/null) =~ ^'QEMU emulator version '[1-9][0-9]+\. ]] &&
		QEMU10=$own
}

# Sets $QEMU10, which is there then; the reason why it can't be is in $REASON.
qemu10_get()
{
	local apt=$QEMU10_DIR/apt mirror deb

	qemu10_own && return
	# Apt's folder goes last: where it is, not all was unpacked.
	[ -x "$QEMU10" ] && [ ! -d "$apt" ] && return
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		qemu10_fails "this host has no apt" || return
	mirror=$(qemu10_mirror)
	[ -n "$mirror" ] || qemu10_fails "this host's own is older, and its apt has no mirror of Debian 12" || return
	rm -rf "$QEMU10_DIR"
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
	cp /var/lib/dpkg/status "$apt/status"
	printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror %s main\n" \
		bookworm bookworm-backports >"$apt/sources.list"
	qemu10_apt apt-get update --error-on=any >"$apt/log" 2>&1 ||
		qemu10_fails "bookworm-backports can't be reached: $(grep '^[EW]:' "$apt/log" | head -n 1)" || return
	qemu10_apt apt-get install -y --download-only --no-install-recommends \
		-t bookworm-backports qemu-system-x86 >>"$apt/log" 2>&1 ||
		qemu10_fails "its packages can't be fetched: $(grep '^[EW]:' "$apt/log" | head -n 1)" || return
	for deb in "$apt"/cache/archives/*.deb; do
		dpkg-deb --extract "$deb" "$QEMU10_DIR" || qemu10_fails "$deb can't be unpacked" || return
	done
	rm -rf "$apt"
	if ! "$QEMU10" --version >/dev/null 2>"$QEMU10_DIR/log"; then
		qemu10_fails "it doesn't run here: $(head -n 1 "$QEMU10_DIR/log")"
		rm -f "$QEMU10"
		return 1
	fi
}
