#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a VM may use of its host: its cgroup's limits follow the pod's, and one that uses up its memory ends
# alone, and says why.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
overhead=192
system_template

# A file of the cgroup that a process is in: of v1's hierarchy, or of the unified one.
limit_of() # PID V1-CONTROLLER V1-FILE V2-FILE
{
	local path

	path=$(sed -nE "s/^[0-9]+:(.*,)?$2(,.*)?:(.*)/\3/p" "/proc/$1/cgroup")
	if [ -n "$path" ] && [ -f "/sys/fs/cgroup/$2$path/$3" ]; then
		echo "/sys/fs/cgroup/$2$path/$3"
	else
		echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$1/cgroup")/$4"
	fi
}

# The guest's memory, a 128th of it, the template's holes, the overhead; and where a root file system is
# in memory, all of that.
files=0
[ "$(stat -f -c %T /run/containerd-private/root)" != tmpfs ] || files=$(($(stat -f -c '%b*%S' /run/containerd-private/root)))
bytes_for() # MIB
{
	echo $((($1 << 20) + ($1 << 20) / 128 + ((256 + overhead) << 20) + files))
}

capture container_detached one -- sh -c 'tail -f /dev/null'
ok $? 'a container without limits' || bail "$(tail -n 5 "$ERR")"
qemu=$(qemu_pid one)
memory=$(limit_of "$qemu" memory memory.limit_in_bytes memory.max)
if ! [ -f "$memory" ]; then
	skip 'limits' 'the host has no memory controller for VMs'
	system_end
	exit
fi
is "$(cat "$memory")" "$(bytes_for 256)" 'its VM may have its memory and the overhead'
is "$(cat "$(limit_of "$qemu" pids pids.max pids.max)")" 2048 'and a number of processes'
like "$(cat "$(limit_of "$qemu" cpu cpu.cfs_quota_us cpu.max)")" '^(-1|max 100000)$' 'and all CPUs'
is "$(cat "/proc/$qemu/oom_score_adj")" 0 'its OOM score is not the shim'\''s'
server=$(child_of "$(pids_of containerd-shim-stencil-v2)" stencil-files)
is "$(cat "/proc/$server/cgroup")" "$(cat "/proc/$qemu/cgroup")" 'its file server is in the same cgroup'
is "$(cat "/proc/$server/oom_score_adj")" 0 'with the same OOM score'
shim=$(limit_of "$(pids_of containerd-shim-stencil-v2)" memory memory.limit_in_bytes memory.max)
like "$shim $(cat "$shim")" "/shim-[0-9]+/.* $((512 << 20))\$" 'its shim is limited in one of its own'

# ---- limits of containers -----------------------------------------------------------------------

capture container_detached two --memory-limit $((512 << 20)) --cpus 1.5 --cpu-shares 2048 -- \
	sh -c 'tail -f /dev/null'
ok $? 'a container with limits' || bail "$(tail -n 5 "$ERR")"
qemu2=$(qemu_pid two)
is "$(cat "$(limit_of "$qemu2" memory memory.limit_in_bytes memory.max)")" "$(bytes_for $((256 + 512)))" \
	'its VM may have what was plugged, too'
like "$(cat "$(limit_of "$qemu2" cpu cpu.cfs_quota_us cpu.max)")" '^175000( 100000)?$' \
	'1.5 CPUs and what a VM needs'
like "$(cat "$(limit_of "$qemu2" cpu cpu.shares cpu.weight)")" '^(2048|79)$' 'and its share of them'
in_container two sh -c 'ulimit -u; cat /proc/sys/kernel/threads-max' >"$WORLD_DIR/tasks"
is "$(head -n 1 "$WORLD_DIR/tasks" | tr -d '\r')" unlimited 'a user may have as many processes as there can be'
less 5000 "$(tail -n 1 "$WORLD_DIR/tasks" | tr -d '\r')" 'threads may be there, as many as for a guest that boots with its memory'
in_container two probe fill 450 >"$WORLD_DIR/filled"
is "$(tr -d '\r' <"$WORLD_DIR/filled" | paste -sd ' ')" 'zero_mib 450 kept_mib 450' 'it uses 450 MiB'
capture container_remove two
ok $? 'it is removed'

# ---- used up ------------------------------------------------------------------------------------

# As if QEMU had used much more: the limit comes close to what is in use.
events_start
capture container_detached greedy -- sh -c 'tail -f /dev/null'
ok $? 'a container that is about to use up its VM'\''s memory' || bail "$(tail -n 5 "$ERR")"
limit=$(limit_of "$(qemu_pid greedy)" memory memory.limit_in_bytes memory.max)
used=$(limit_of "$(qemu_pid greedy)" memory memory.usage_in_bytes memory.current)
echo $(($(cat "$used") + (8 << 20))) >"$limit"
ctr task exec --exec-id fill "$WORLD-greedy" dd if=/dev/urandom of=/dev/shm/x bs=1M count=100 \
	>/dev/null 2>&1
# A wall's proof: docs/security.md.
event_wait "/tasks/exit.*$WORLD-greedy" 'a VM that uses up its memory ends'
event_wait "/tasks/oom.*$WORLD-greedy" 'and containerd is told that it was for that'
like "$(grep -F "sandbox=$WORLD-greedy " "$CONTAINERD_LOG")" \
	'the VM has ended.*its cgroup had used up its memory' 'the log has the reason'
capture ctr task exec --exec-id alive "$WORLD-one" true
ok $? 'another pod goes on' || diag "$(cat "$ERR")"
capture container_remove greedy
ok $? 'it can be removed'
capture container_remove one
ok $? 'as can the other'
system_end
