#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A guest's kernel that is hostile (tests/hostile/): a module, loaded by root of a privileged container,
# speaks garbage and floods to the file server, to QEMU's devices and so to the shim. What that may cost
# the host is bounded, a neighbour goes on, and the pod ends when it is told to, or by what it has said.
#
# What a neighbour waits meanwhile is judged by `make soak` (tests/soak/hostile.t).
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
. "${BASH_SOURCE[0]%/*}/../lib/hostile.sh"
hostile_get || skip_all "no module for this guest's kernel: $REASON"
seed=${SEED:-$RANDOM} cpu=${CPU_HUNDREDTHS:-100}
diag "seed $seed; SEED=$seed does the same again"
hostile_config >"$STENCIL_CONF"
system_template

hostile_trees files agent ports rings net ost hotplug neighbour
canary_look()
{
	stat -c '%n %x %y %z %s' "$TREES" "$TREES/canary"
}
canary=$(canary_look)
hostile_network

# ---- what it costs ------------------------------------------------------------------------------

status_kib() # PID FIELD
{
	awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status" 2>/dev/null
}

# Of QEMU beside its guest's memory: on the heap, of stacks and of translated code. README.md says 18
# and up to 48 MiB; what it may have is memory_overhead.
beside_kib() # PID
{
	smaps_kib "$1" '^(\[heap\])?$' '^Private_'
}

# The pod's shim, QEMU and file server, and what they had used before.
hostile_start() # ATTACK [MODULE-PARAMETER...]
{
	local others

	qemu='' shim='' server=''
	others=$(pids_of containerd-shim-stencil-v2)
	capture hostile_pod "$@" "seed=$seed"
	done_well $? "$1: a pod whose kernel does it" || return
	qemu=$(qemu_pid "$1")
	shim=$(comm -13 <(sort <<<"$others") <(pids_of containerd-shim-stencil-v2 | sort))
	server=$(child_of "$shim" stencil-files)
	shim_from=$(ticks "$shim") qemu_from=$(ticks "$qemu") shim_kib=$(private_kib "$shim")
}

# The attack goes on until its QEMU has used so much, or has ended, which it may have long since; the
# neighbour is asked meanwhile.
neighbour_goes_on() # ATTACK HUNDREDTHS
{
	local asked=0 answered=0 now=${qemu_from:-0}

	while [ $((now - ${qemu_from:-0})) -lt "$2" ]; do
		asked=$((asked + 1))
		[ "$(in_container neighbour cat /v/marker 2>/dev/null | tr -d '\r')" != marker ] ||
			answered=$((answered + 1))
		now=$(ticks "$qemu")
		[ -n "$now" ] || break
	done
	# A wall's proof: docs/security.md.
	is "$answered" "$asked" "$1: a neighbour answers, each time that it is asked"
}

# README.md, "The walls around QEMU", and the limits of the headers. A session of QMP keeps a message
# and as many events as there are; a file server's limit is 512 MiB, most of it for stacks that are not
# used whole.
is_bounded() # ATTACK
{
	local shim_used=$(($(ticks "$shim") - shim_from)) qemu_used=$(($(ticks "$qemu") - qemu_from))

	diag "$1: hundredths of a second of CPU: QEMU $qemu_used, shim $shim_used;" \
		"KiB: QEMU beside its guest $(beside_kib "$qemu"), shim $(private_kib "$shim"), file server" \
		"$(private_kib "$server")"
	like "$(ticks "$shim"):$(ticks "$qemu"):$(ticks "$server")" '^[0-9]+:[0-9]+:[0-9]+$' \
		"$1: shim, QEMU and file server live"
	# A wall's proof: docs/security.md.
	less $((shim_used * 10)) "$qemu_used" "$1: the shim uses less than a tenth of QEMU's CPU"
	# A wall's proof: docs/security.md.
	less "$(private_kib "$shim")" $((shim_kib + 4096)) "$1: the shim's KiB are hardly more"
	less "$(beside_kib "$qemu")" $((192 << 10)) "$1: QEMU's KiB beside its guest"
	# A wall's proof: docs/security.md.
	less "$(private_kib "$server")" $((64 << 10)) "$1: the file server's KiB"
	less "$(status_kib "$server" VmData)" $((512 << 10)) "$1: and its address space"
	is "$(canary_look)" "$canary" "$1: nobody has looked at what is in no tree"
}

module_goes_on() # ATTACK
{
	local times

	times=$(in_container "$1" cat /sys/module/hostile/parameters/done | tr -d '\r')
	less 100 "$times" "$1: it was done so often"
	is "$(cat "$TREES/$1/error" "$TREES/$1/over" 2>/dev/null)" '' "$1: the module goes on"
}

# Where a device was all bits are set.
is_ejected() # NIC
{
	is "$(in_container hotplug od -An -tx2 -N2 "/sys/class/net/$1/device/../config" | tr -d ' \r')" ffff \
		"hotplug: $1 is ejected"
}

# Killed in the middle of it.
hostile_kill() # ATTACK
{
	capture ctr task kill --signal SIGKILL "$WORLD-$1"
	# A wall's proof: docs/security.md.
	done_well $? "$1: the pod can be killed"
	event_wait "/tasks/exit.*$WORLD-$1" "$1: which ends it"
	hostile_remove "$1"
}

hostile_remove() # ATTACK
{
	capture container_remove "$1"
	done_well $? "$1: it can be removed"
	wait_gone "$shim" "$qemu" "$server"
	is "$(pids_of qemu-system-x86_64 | wc -l)" 1 "$1: only the neighbour's QEMU is there"
}

# What the module says in the end ends the pod, with a reason.
hostile_ends() # ATTACK REGEX
{
	event_wait "/tasks/exit.*$WORLD-$1" "$1: the pod ends"
	# A wall's proof: docs/security.md.
	like "$(grep -F "$WORLD-$1" "$CONTAINERD_LOG")" "$2" "$1: and the log says why"
	hostile_remove "$1"
}

events_start
capture container_detached neighbour --mount "type=bind,src=$TREES/neighbour,dst=/v,options=rbind:rw" -- \
	tail -f /dev/null
done_well $? 'a neighbour' || bail 'no neighbour'

# ---- the file channel ---------------------------------------------------------------------------

# What the module has found, over the channel itself: so it is spoken well, and what was refused is.
hostile_start files amount=1000 frame=1
wait_line "$TREES/files/report" "$qemu" '^over'
# A wall's proof: docs/security.md.
is "$(tail -n +2 "$TREES/files/report")" 'over: 0 wrong' 'files: raw requests reach nothing that is in no tree'
neighbour_goes_on files "$cpu"
is_bounded files
between "$(find "/proc/$server/fd" -mindepth 1 | wc -l)" 2000 $((256 << 10)) 'files: descriptors are held'
between "$(find "/proc/$server/task" -mindepth 1 -maxdepth 1 | wc -l)" 1024 $((1024 + 8 + 64)) 'files: threads wait'
touch "$TREES/files/go"
hostile_ends files 'the file server has ended: .*mount [0-9]+: a message .*that no kernel sends'
is "$(canary_look)" "$canary" 'files: a name with slashes has led nowhere'

# ---- QEMU's devices -----------------------------------------------------------------------------

# The agent goes on in these, and so does the pod.
for attack in ost net hotplug; do
	hostile_start "$attack"
	neighbour_goes_on "$attack" "$cpu"
	module_goes_on "$attack"
	[ "$attack" != hotplug ] || is_ejected eth0
	is_bounded "$attack"
	hostile_kill "$attack"
done

# In these the agent stands still: the pod ends by what the module says in the end.
for attack in ports rings; do
	hostile_start "$attack" amount=2000 frame=7
	neighbour_goes_on "$attack" "$cpu"
	hostile_ends "$attack" 'the file server has ended: .*a frame of kind 99, which no guest sends'
done
hostile_start agent amount=1000
hostile_ends agent 'none of its protocol .*a frame that answers no call'
capture container_remove neighbour
done_well $? 'the neighbour can be removed'
hostile_trees_end
system_end
