#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SIGTERM to a shim while its pod starts, and a guest that panics while something is plugged into it:
# both end at once, whatever was being waited for, and leave nothing.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template
stencil_config factory enable_template=false >/run/direct.conf


# Looks until a command succeeds; what it looks at is made and gone within milliseconds.
look_until() # COMMAND [ARGUMENT...]
{
	local deadline=$((SECONDS + WAIT_SECONDS))

	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
	done
}

has_process() # NAME
{
	[ -n "$(pids_of "$1")" ]
}

has_no_process() # NAME
{
	[ -z "$(pids_of "$1")" ]
}

# Whether QEMU has a mapping of that many KiB: a DIMM that was plugged.
has_mapping() # KIB
{
	local pid

	pid=$(pids_of qemu-system-x86_64)
	[ -n "$pid" ] && grep -qE "^Size: +$1 kB" "/proc/$pid/smaps" 2>/dev/null
}

nothing_is_left() # NAME
{
	is "$(pids_of qemu-system-x86_64)$(pids_of containerd-shim-stencil-v2)" '' "$1: no process"
	is "$(find /run/stencil/sandboxes -mindepth 1 ! -name '.*')$(find /run/stencil/uids -mindepth 1)" '' \
		"$1: no file, no number"
	is "$(cgroups_matching ".*/$WORLD/[0-9]+")" '' "$1: no cgroup"
}

# A container whose shim gets SIGTERM as soon as a command succeeds. The time is for people.
terminate() # NAME ID LOOK... -- CTR-OPTION... -- COMMAND...
{
	local name=$1 id=$2 look=() from

	shift 2
	while [ "$1" != -- ]; do
		look+=("$1")
		shift
	done
	shift
	container "$id" "$@" >"$WORLD_DIR/stdout" 2>"$WORLD_DIR/stderr" &
	look_until "${look[@]}"
	ok $? "$name: it has come that far" || diag "$(cat "$WORLD_DIR/stderr")"
	from=${EPOCHREALTIME/./}
	kill -TERM "$(pids_of containerd-shim-stencil-v2)"
	look_until has_no_process containerd-shim-stencil-v2
	ok $? "$name: the shim ends"
	diag "$name: after $(((${EPOCHREALTIME/./} - from) / 1000)) ms"
	wait $!
	ok $((! $?)) "$name: the client hears of it"
	ctr container rm "$WORLD-$id" 2>/dev/null
	nothing_is_left "$name"
}

terminate 'SIGTERM in a cold boot' boot has_process qemu-system-x86_64 \
	-- --runtime-config-path /run/direct.conf -- true
terminate 'SIGTERM in a clone' clone has_process qemu-system-x86_64 -- -- true
terminate 'SIGTERM in a hot-plug' plug has_mapping $((1024 * 1024)) \
	-- --memory-limit $((1024 << 20)) -- true
works 'the next container starts' after -- true

# ---- a panic ------------------------------------------------------------------------------------

# The first container of a pod waits until memory of the second one's is there, and panics: the rest
# of that is being brought online, and the shim waits for it.
pod=(--annotation io.kubernetes.cri.container-type=container
	--annotation "io.kubernetes.cri.sandbox-id=$WORLD-first")
capture container_detached first --privileged \
	--annotation io.kubernetes.cri.container-type=sandbox -- sh -c '
	total() { awk "/^MemTotal/ { print \$2 }" /proc/meminfo; }
	before=$(total)
	while [ "$(total)" -le "$before" ]; do :; done
	echo c >/proc/sysrq-trigger'
ok $? 'a pod whose guest is about to panic' || diag "$(cat "$ERR")"
capture_timed container second "${pod[@]}" --memory-limit $((1536 << 20)) -- true
ok $((! $?)) 'the container that was plugged for is not made'
like "$(cat "$ERR")" 'VM|QEMU|connection|resize|agent|reset' 'and its client hears why' ||
	diag "$(cat "$ERR")"
diag "after $MS ms"
look_until has_no_process qemu-system-x86_64
ok $? 'QEMU is gone'
like "$(grep "$WORLD-first" "$CONTAINERD_LOG")" 'the VM has ended, and all processes in it' \
	'the log says that the VM has ended'
ctr container rm "$WORLD-second" 2>/dev/null
capture container_remove first
ok $? 'its pod can be removed' || diag "$(cat "$ERR")"
look_until has_no_process containerd-shim-stencil-v2
nothing_is_left 'a panic in a hot-plug'
rm /run/direct.conf
system_end
