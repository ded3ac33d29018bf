#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# VMs that are kept ready: handed over in a moment, one of a kind, replaced, and never stale.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"

# What follows is waited for in templated's log from its next line on.
mark()
{
	MARK=$(($(wc -l <"$TEMPLATED_LOG") + 1))
}

logged() # REGEX
{
	wait_line "$TEMPLATED_LOG" "$TEMPLATED_PID" "$1" "$MARK"
}

full() # NAME
{
	logged 'is ready after .*, 2 of 2 are'
	ok $? "$1" || diag "$(tail -n 5 "$TEMPLATED_LOG")"
}

# A number of the cache's status, or of its misses by reason.
cache_value() # KEY
{
	templatectl --config "$STENCIL_CONF" status --json |
		perl -MJSON::PP -0e '$c = decode_json(<STDIN>)->{cache};
			print $c->{$ARGV[0]} // $c->{misses}{$ARGV[0]}' "$1"
}

# Children of templated that have ended and are not reaped.
zombies()
{
	awk -v parent="$TEMPLATED_PID" '
	$1 == "State:" { zombie = $2 == "Z" }
	$1 == "PPid:" && $2 == parent && zombie { print FILENAME }' /proc/[0-9]*/status 2>/dev/null
}

sum() # SANDBOX PHASE...
{
	local sandbox=$1 phase

	shift
	for phase; do
		trace_value "$sandbox" "$phase"
	done | awk '{ sum += $1 } END { printf "%.1f", sum }'
}

stencil_config factory vm_cache_number=2 >"$STENCIL_CONF"
stencil_config >/run/template.conf
at_exit 'rm -f /run/template.conf'
TEMPLATED_LOG=$WORLD_DIR/templated.log
: >"$TEMPLATED_LOG"
mark
system_template
full 'two VMs are made when there is a template'
is "$(pids_of qemu-system-x86_64 | wc -l)" 2 'they are two QEMUs'

# ---- time ---------------------------------------------------------------------------------------

# For the reader; it is the bench that judges.
for i in 1 2 3 4 5; do
	works "a container by clone ($i)" "clone$i" --runtime-config-path /run/template.conf -- true
	is "$(trace_value "$WORLD-clone$i" factory)" template 'as its configuration wants no cached VM'
	mark
	works "a container from the cache ($i)" "cache$i" -- true
	is "$(trace_value "$WORLD-cache$i" factory)" cache 'says so'
	full 'the VM is replaced'
done
best() # NAME PHASE...
{
	local name=$1 i

	shift
	for i in 1 2 3 4 5; do
		sum "$WORLD-$name$i" "$@"
		echo
	done | sort -n | head -n 1
}
clone_ms=$(best clone grant spawn qmp restored resumed agent)
cache_ms=$(best cache grant resumed agent)
diag "from asking to the agent's answer: $cache_ms ms, $clone_ms ms of a clone"
for id in clone1 cache1 clone2 cache2 clone3 cache3; do
	phases=
	for phase in "${PHASES[@]}"; do
		value=$(trace_value "$WORLD-$id" "$phase")
		phases+=${value:+" $phase=$value"}
	done
	diag "$id:$phases total=$(trace_value "$WORLD-$id" total_ms)"
done
is "$(cache_value hits)" 5 'they are counted as hits'
is "$(cache_value ready)" 2 'two are ready'
like "$(templatectl --config "$STENCIL_CONF" status)" \
	$'\n''cache      2 of 2 VMs ready;  handed over 5,  missed [0-9]+,  died 0,  failed 0' \
	'which templatectl status says, too'

# ---- identity -----------------------------------------------------------------------------------

probe_value() # FILE KEY
{
	awk -v key="$2" '$1 == key { print $2 }' "$1" | tr -d '\r'
}

for i in 1 2; do
	mark
	before=${EPOCHREALTIME/./}
	works "probe $i" "probe$i" -- probe
	after=${EPOCHREALTIME/./}
	cp "$OUT" "$WORLD_DIR/probe$i"
	is "$(trace_value "$WORLD-probe$i" factory)" cache 'from the cache'
	clock=$(probe_value "$OUT" clock_ms)
	between "$clock" $((before / 1000 - 1000)) $((after / 1000 + 1000)) 'with the right wall clock'
	full 'which is filled again'
done
for key in getrandom uuid machine_id; do
	a=$(probe_value "$WORLD_DIR/probe1" "$key")
	b=$(probe_value "$WORLD_DIR/probe2" "$key")
	like "$a $b" '^[0-9a-f-]{32,36} [0-9a-f-]{32,36}$' "$key: both VMs have one"
	isnt "$a" "$b" "$key: two VMs differ"
done

# ---- what a handed-over VM can do ---------------------------------------------------------------

netns_add pod
ip link add podhost type veth peer name eth0 netns pod
ip addr add 10.88.1.1/24 dev podhost
ip link set podhost up
ip -n pod addr add 10.88.1.2/24 dev eth0
ip -n pod link set eth0 up
mark
capture container_detached large --cpus 2 --memory-limit $((256 << 20)) \
	--with-ns network:/run/netns/pod -- sleep 1000
ok $? 'one with CPUs, memory and a network' || diag "$(cat "$ERR")"
is "$(trace_value "$WORLD-large" factory)" cache 'from the cache'
capture in_container large uname -r
if limit=$(cpu_limit "$WORLD-large" "$(cat "$OUT")"); then
	skip 'has 2 vCPUs' "under emulation this $limit"
else
	capture in_container large nproc
	is "$(cat "$OUT")" 2 'has 2 vCPUs' || diag "$(cat "$ERR")"
fi
capture in_container large awk '/MemTotal/ { print ($2 > 400000) }' /proc/meminfo
is "$(cat "$OUT")" 1 'has more memory than the template'
capture in_container large ping -c 1 -W "$WAIT_SECONDS" 10.88.1.1
ok $? 'reaches its neighbour' || diag "$(cat "$OUT" "$ERR")"
capture in_container large sh -c 'echo x >/file && cat /file'
is "$(cat "$OUT")" x 'writes its rootfs'
full 'and is replaced'

# ---- templated ends, by its death and as it should ------------------------------------------------

kill -KILL "$TEMPLATED_PID"
wait "$TEMPLATED_PID"
TEMPLATED_PID=
is "$(pids_of qemu-system-x86_64 | wc -l)" 3 'the VMs live on when templated is killed'
capture in_container large echo alive
is "$(cat "$OUT")" alive 'the one that was handed over works'
: >"$TEMPLATED_LOG"
mark
templated_try_start
ok $? 'templated starts again' || diag "$(tail "$TEMPLATED_LOG")"
full 'and fills its cache'
is "$(pids_of qemu-system-x86_64 | wc -l)" 3 'those of the former one have been ended'
is "$(find /run/stencil/sandboxes/vms -mindepth 1 -maxdepth 1 | wc -l)" 3 'with their folders'
capture in_container large echo alive
is "$(cat "$OUT")" alive 'the one that was handed over works'
kill "$TEMPLATED_PID" && wait "$TEMPLATED_PID"
ok $? 'templated ends'
TEMPLATED_PID=
is "$(pids_of qemu-system-x86_64 | wc -l)" 1 'with the VMs in its cache, and without the other one'
: >"$TEMPLATED_LOG"
mark
templated_try_start
ok $? 'templated starts again' || diag "$(tail "$TEMPLATED_LOG")"
full 'and fills its cache'
large=$(qemu_pid large)
capture container_remove large
done_well $? 'the handed-over VM is removed'
ip link delete podhost
wait_gone "$large"
is "$(pids_of qemu-system-x86_64 | wc -l)" 2 'its QEMU is gone'

# ---- a shim is killed ---------------------------------------------------------------------------

events_start
mark
capture container_detached shim -- sleep 1000
done_well $? 'a container from the cache'
full 'is replaced'
cgroup=$(grep -o -m 1 "/$WORLD/[0-9]*" "/proc/$(qemu_pid shim)/cgroup")
like "$(cgroups_matching ".*$cgroup")" "/$WORLD/" 'it has the cgroup that it was made with'
kill -KILL "$(pids_of containerd-shim-stencil-v2)"
event_wait "/tasks/delete.*$WORLD-shim" 'containerd deletes the task of its killed shim'
is "$(pids_of qemu-system-x86_64 | wc -l)" 2 'its QEMU is gone, those in the cache are not'
is "$(find /run/stencil/sandboxes -path "*$WORLD-shim*")" '' 'its state folder is gone'
is "$(find /run/stencil/sandboxes/vms -mindepth 1 -maxdepth 1 | wc -l)" 2 'its uid is free'
is "$(cgroups_matching ".*$cgroup")" '' 'its cgroup is gone'
capture ctr container rm "$WORLD-shim"
ok $? 'the container can be removed' || diag "$(cat "$ERR")"

# ---- the QEMU of a handed-over VM is killed -------------------------------------------------------

mark
capture container_detached killed -- sleep 1000
done_well $? 'a container from the cache'
full 'is replaced'
kill -KILL "$(qemu_pid killed)"
event_wait "/tasks/exit.*$WORLD-killed" 'the container of a killed QEMU exits'
like "$(grep "/tasks/exit.*$WORLD-killed" "$EVENTS")" '"exit_status":137' 'with status 137'
like "$(grep "$WORLD-killed.*the VM has ended" "$CONTAINERD_LOG")" 'exit status is not known here' \
	'the log says what a shim cannot know of it'
capture container_remove killed
ok $? 'it can be removed' || diag "$(cat "$ERR")"
is "$(zombies)" '' 'templated has reaped it'

# ---- a cached VM dies ---------------------------------------------------------------------------

mark
victim=$(pids_of qemu-system-x86_64 | head -n 1)
kill -KILL "$victim"
logged "has died and is replaced; its QEMU \(pid $victim\) ended by signal 9"
ok $? "a cached VM's death is noticed"
full 'and it is replaced'
is "$(cache_value died)" 1 'and counted'

# ---- the configuration changes -------------------------------------------------------------------

mark
before=$(pids_of qemu-system-x86_64)
stencil_config factory vm_cache_number=1 >"$STENCIL_CONF"
logged 'is ready after .*, 1 of 1 are'
ok $? 'a smaller cache is one without a restart' || diag "$(tail -n 5 "$TEMPLATED_LOG")"
is "$(pids_of qemu-system-x86_64 | grep -cxF "$before")" 0 'of other VMs'
is "$(pids_of qemu-system-x86_64 | wc -l)" 1 'and of one'
mark
stencil_config factory vm_cache_number=2 >"$STENCIL_CONF"
full 'so is a larger one'

# ---- stale --------------------------------------------------------------------------------------

mark
before=$(pids_of qemu-system-x86_64)
capture templatectl --config "$STENCIL_CONF" refresh
ok $? 'refresh' || diag "$(cat "$ERR")"
full 'the cache is filled again'
is "$(pids_of qemu-system-x86_64 | grep -cxF "$before")" 0 'with other VMs'
is "$(find /run/stencil/template -name memory | wc -l)" 1 'the old generation is gone at once'
mark
works 'the next container' refreshed -- true
is "$(trace_value "$WORLD-refreshed" factory)" cache 'is from the cache'
full 'which is filled again'
stencil_config factory vm_cache_number=2 hypervisor kernel_params=stencil.other >/run/template.conf
works 'one that wants another machine' other --runtime-config-path /run/template.conf -- true
is "$(trace_value "$WORLD-other" factory)" direct 'gets none of the cache'
is "$(cache_value differs)" 1 'and is counted'
capture templatectl --config "$STENCIL_CONF" destroy
ok $? 'destroy' || diag "$(cat "$ERR")"
is "$(pids_of qemu-system-x86_64)" '' 'ends the cached VMs'
is "$(find /run/stencil/template -name memory 2>/dev/null)" '' 'and the template'
works 'the next container' destroyed -- true
is "$(trace_value "$WORLD-destroyed" factory)" direct 'is booted'
is "$(cache_value empty)" 1 'the cache was empty, which is counted'
templated_stop
ok $? 'templated ends cleanly'

# ---- without a template -------------------------------------------------------------------------

stencil_config factory enable_template=false factory vm_cache_number=2 \
	factory vm_cache_cpu_percent=0 >"$STENCIL_CONF"
: >"$TEMPLATED_LOG"
mark
templated_try_start
ok $? 'templated without a template' || diag "$(tail "$TEMPLATED_LOG")"
full 'has two booted VMs ready'
is "$(find /run/stencil/template -name memory 2>/dev/null)" '' 'there is no template'
works 'a container' booted -- true
is "$(trace_value "$WORLD-booted" factory)" cache 'from the cache'
kill "$TEMPLATED_PID" && wait "$TEMPLATED_PID"
ok $? 'templated ends, while it boots another one'
TEMPLATED_PID=
is "$(pids_of qemu-system-x86_64)" '' 'and no VM is left'
rm -f /run/template.conf
system_end
