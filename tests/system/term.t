#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A pod that ends while it starts: SIGTERM or SIGKILL to its shim, SIGKILL to its QEMU, a guest that
# panics while something is plugged into it. Whatever was being waited for, all of it is gone at once.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template
stencil_config factory enable_template=false >/run/direct.conf
# Else a pod whose clone fails is booted.
stencil_config factory strict=true >/run/strict.conf

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

# A killed shim's QEMU is ended by a shim that containerd calls for it: looked for in this order, none
# can be missed.
pod_is_gone()
{
	[ -z "$(pids_of qemu-system-x86_64)" ] && [ -z "$(pids_of containerd-shim-stencil-v2)" ]
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
	is "$(cgroups_matching ".*/$WORLD/(shim-)?[0-9]+")" '' "$1: no cgroup"
}

# A container that is being started, one that does not end by itself: a process of its pod gets a signal
# as soon as a command succeeds. The time is for people.
signal_at() # NAME SIGNAL PROCESS LOOK... -- CTR-OPTION... -- COMMAND...
{
	local name="SIG$2 to $3 in $1" signal=$2 process=$3 look=() from

	shift 3
	while [ "$1" != -- ]; do
		look+=("$1")
		shift
	done
	shift
	container starting "$@" >"$WORLD_DIR/stdout" 2>"$WORLD_DIR/stderr" &
	look_until "${look[@]}"
	ok $? "$name: it has come that far" || diag "$(cat "$WORLD_DIR/stderr")"
	from=${EPOCHREALTIME/./}
	kill "-$signal" "$(pids_of "$process")"
	look_until pod_is_gone
	ok $? "$name: shim and QEMU end" || diag "$(world_processes)"
	diag "$name: after $(((${EPOCHREALTIME/./} - from) / 1000)) ms"
	wait $!
	ok $((! $?)) "$name: the client hears of it"
	ctr container rm "$WORLD-starting" 2>/dev/null
	# ctr leaves its FIFOs where the task is gone before it asks for its removal.
	rm -rf /run/containerd
	nothing_is_left "$name"
}

for victim in 'TERM containerd-shim-stencil-v2' 'KILL containerd-shim-stencil-v2' 'KILL qemu-system-x86_64'; do
	read -r signal process <<<"$victim"
	signal_at 'a cold boot' "$signal" "$process" has_process qemu-system-x86_64 \
		-- --runtime-config-path /run/direct.conf -- sleep 1000
	signal_at 'a clone' "$signal" "$process" has_process qemu-system-x86_64 \
		-- --runtime-config-path /run/strict.conf -- sleep 1000
	signal_at 'a hot-plug' "$signal" "$process" has_mapping $((1024 * 1024)) \
		-- --memory-limit $((1024 << 20)) -- sleep 1000
done
works 'the next container starts' after -- true

milliseconds() # WHEN: as date(1) reads it
{
	date -d "$1" +%s%3N
}

# ---- a panic ------------------------------------------------------------------------------------

# The first container of a pod waits until memory of the second one's is there, and panics: the rest
# of that is being brought online, and the shim waits for it. A file of a volume has the moment's time.
mkdir "$WORLD_DIR/moment"
pod=(--annotation io.kubernetes.cri.container-type=container
	--annotation "io.kubernetes.cri.sandbox-id=$WORLD-first")
capture container_detached first --privileged \
	--mount "type=bind,src=$WORLD_DIR/moment,dst=/moment,options=rbind:rw" \
	--annotation io.kubernetes.cri.container-type=sandbox -- sh -c '
	total() { awk "/^MemTotal/ { print \$2 }" /proc/meminfo; }
	before=$(total)
	while [ "$(total)" -le "$before" ]; do :; done
	: >/moment/panic
	echo c >/proc/sysrq-trigger'
ok $? 'a pod whose guest is about to panic' || diag "$(cat "$ERR")"
capture container second "${pod[@]}" --memory-limit $((1536 << 20)) -- true
ok $((! $?)) 'the container that was plugged for is not made'
like "$(cat "$ERR")" 'VM|QEMU|connection|resize|agent|reset' 'and its client hears why' ||
	diag "$(cat "$ERR")"
# shellcheck disable=SC2046 # one word for each
wait_gone $(pids_of qemu-system-x86_64)
ok $? 'QEMU is gone'
ended=$(grep "$WORLD-first.*the VM has ended, and all processes in it" "$CONTAINERD_LOG")
isnt "$ended" '' 'the log says that the VM has ended'
diag "a panic in a hot-plug: after $(($(milliseconds "$(sed 's/^time="\([^"]*\)".*/\1/' <<<"$ended")") - \
	$(milliseconds "@$(stat -c %.3Y "$WORLD_DIR/moment/panic")"))) ms"
ctr container rm "$WORLD-second" 2>/dev/null
capture container_remove first
ok $? 'its pod can be removed' || diag "$(cat "$ERR")"
look_until pod_is_gone
nothing_is_left 'a panic in a hot-plug'
rm /run/direct.conf /run/strict.conf
system_end
