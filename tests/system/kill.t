#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SIGKILL at a shim, a QEMU and templated: containerd cleans up and the next container starts.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template
events_start

# ---- a shim -------------------------------------------------------------------------------------

capture container_detached shim -- sleep 1000
done_well $? 'a container'
kill -KILL "$(pids_of containerd-shim-stencil-v2)"
event_wait "/tasks/delete.*$WORLD-shim" "containerd deletes the task of a killed shim"
is "$(pids_of qemu-system-x86_64)" '' 'its QEMU is gone'
is "$(find /run/stencil/sandboxes -path "*$WORLD-shim*")" '' 'its state folder is gone'
is "$(cgroups_matching ".*/$WORLD/[0-9]+")" '' 'its cgroup is gone'
capture ctr container rm "$WORLD-shim"
ok $? 'the container can be removed' || diag "$(cat "$ERR")"
works 'the next container starts' after-shim -- true

# ---- QEMU ---------------------------------------------------------------------------------------

capture container_detached qemu -- sleep 1000
done_well $? 'a container'
kill -KILL "$(pids_of qemu-system-x86_64)"
event_wait "/tasks/exit.*$WORLD-qemu" 'the container of a killed QEMU exits'
like "$(grep "/tasks/exit.*$WORLD-qemu" "$EVENTS")" '"exit_status":137' 'with status 137'
capture container_remove qemu
ok $? 'it can be removed' || diag "$(cat "$ERR")"
pods_gone 'and its shim ends'
works 'the next container starts' after-qemu -- true
is "$(trace_value "$WORLD-after-qemu" factory)" template 'as a clone'

# ---- the file server ----------------------------------------------------------------------------

capture container_detached files -- sleep 1000
done_well $? 'a container'
# It and its keeper end together.
kill -KILL "$(pids_of stencil-files | tail -n 1)"
event_wait "/tasks/exit.*$WORLD-files" 'the container of a killed file server exits'
like "$(grep "/tasks/exit.*$WORLD-files" "$EVENTS")" '"exit_status":137' 'with status 137'
like "$(grep "sandbox=$WORLD-files " "$CONTAINERD_LOG")" 'level=error .*the file server has ended' \
	'the log has the reason'
is "$(pids_of qemu-system-x86_64)" '' 'its VM is gone'
capture container_remove files
ok $? 'it can be removed' || diag "$(cat "$ERR")"
pods_gone 'and its shim ends'

# ---- a guest that answers nothing ---------------------------------------------------------------

# A guest that answers nothing, with a patience cut short: still many times what a call takes.
stencil_config runtime call_timeout_ms=20000 >"$WORLD_DIR/impatient.conf"
capture container_detached stands --runtime-config-path "$WORLD_DIR/impatient.conf" -- sleep 1000
ok $? 'a container' || diag "$(cat "$ERR")"
kill -STOP "$(pids_of qemu-system-x86_64)"
capture timeout "$WAIT_SECONDS" ctr task kill --signal SIGKILL "$WORLD-stands"
# A wall's proof: docs/security.md.
ok $? 'SIGKILL for the container of a QEMU that stands still' || diag "$(cat "$ERR")"
event_wait "/tasks/exit.*$WORLD-stands" 'ends it'
is "$(pids_of qemu-system-x86_64)" '' 'and its VM'
capture container_remove stands
ok $? 'it can be removed' || diag "$(cat "$ERR")"

# ---- a container that takes all processes there are ---------------------------------------------

capture container_detached many -- sh -c '
	mkfifo /full
	(while :; do sleep 1000 & done) 2>/dev/null
	echo full >/full
	exec sleep 1000'
done_well $? 'a container'
# What waits must not need a process.
capture in_container many sh -c 'until [ -p /full ]; do :; done; read -r word </full; echo "$word"'
is "$(cat "$OUT")" full 'that has as many processes as it can get' || diag "$(cat "$ERR")"
capture ctr task kill --signal SIGKILL "$WORLD-many"
# A wall's proof: docs/security.md.
done_well $? 'SIGKILL for a container that has used up the guest'
event_wait "/tasks/exit.*\"id\":\"$WORLD-many\"" 'ends it'
capture container_remove many
done_well $? 'it can be removed'

# ---- the first container of a pod ---------------------------------------------------------------

# As containerd's CRI does it: the pod is a container of its own, others name it.
of_pod() # ID POD -- COMMAND...
{
	local id=$1 pod=$2

	shift 2
	container_detached "$id" --annotation io.kubernetes.cri.container-type=container \
		--annotation "io.kubernetes.cri.sandbox-id=$WORLD-$pod" "$@"
}

shim_delete() # ID: as containerd runs it
{
	(cd / && containerd-shim-stencil-v2 -namespace "$WORLD" -id "$WORLD-$1" \
		-address "$CONTAINERD_ADDRESS" \
		-bundle "/run/containerd-private/state/io.containerd.runtime.v2.task/$WORLD/$WORLD-$1" delete)
}

capture container_detached pod --annotation io.kubernetes.cri.container-type=sandbox -- sleep 1000
done_well $? 'a pod'
for id in one two three; do
	capture of_pod "$id" pod -- sleep 1000
	done_well $? "container $id of it"
done
is "$(pids_of qemu-system-x86_64 | wc -l)" 1 'they share a VM'
capture ctr task kill --signal SIGKILL "$WORLD-pod"
done_well $? 'SIGKILL for its first container'
event_wait "/tasks/exit.*$WORLD-pod" 'ends that one'
capture container_remove pod
done_well $? 'which can be removed'
capture in_container one echo alive
is "$(cat "$OUT")" alive 'the others run on' || diag "$(cat "$ERR")"
is "$(grep -cE "/tasks/exit.*\"id\":\"$WORLD-(one|two|three)\"" "$EVENTS")" 0 'none of them has ended'
capture shim_delete three
done_well $? 'delete for one of them, of a shim that lives'
event_wait "/tasks/exit.*$WORLD-three.*137" 'ends that one, as if killed'
capture in_container two echo alive
is "$(cat "$OUT")" alive 'and not the others'
kill -KILL "$(pids_of containerd-shim-stencil-v2)"
event_wait "/tasks/delete.*$WORLD-one" 'the shim killed: containerd deletes one of the others'
event_wait "/tasks/delete.*$WORLD-two" 'and the other one'
is "$(pids_of qemu-system-x86_64)" '' 'their QEMU is gone'
is "$(find /run/stencil/sandboxes -path "*$WORLD-pod*")" '' "the pod's state folder is gone"
capture ctr container rm "$WORLD-one" "$WORLD-two" "$WORLD-three"
done_well $? 'the containers can be removed'

capture container_detached mute -- sleep 1000
done_well $? 'a container'
kill -STOP "$(pids_of containerd-shim-stencil-v2)"
capture shim_delete mute
done_well $? 'delete for a shim that lives and answers nothing'
is "$(pids_of qemu-system-x86_64)" '' 'ends its QEMU'
pods_gone 'and the shim'
event_wait "/tasks/delete.*$WORLD-mute" 'containerd deletes its task'
capture ctr container rm "$WORLD-mute"
done_well $? 'the container can be removed'

# ---- what can't be undone at once ---------------------------------------------------------------

# A cgroup that has another one in it can't be removed.
capture container_detached stuck -- sleep 1000
done_well $? 'a container'
group=$(cgroups_matching ".*/$WORLD/[0-9]+" | head -n 1)
mkdir "$group/inside"
ok $? 'somebody has made a cgroup in that of its VM'
capture container_remove stuck
done_well $? 'it can be removed all the same'
pods_gone 'and its shim ends'
is "$(cgroups_matching ".*/$WORLD/[0-9]+")" "$group" "what can't be removed is left, and nothing else"
rmdir "$group/inside"
capture shim_delete stuck
done_well $? 'delete for what is left, by its record'
is "$(cgroups_matching ".*/$WORLD/[0-9]+")" '' 'undoes it'
is "$(find /run/stencil/sandboxes -path "*$WORLD-stuck*")$(find /run/stencil/sandboxes -mindepth 2 -path '*/vms/*')" '' \
	'and the folders'

# ---- templated ----------------------------------------------------------------------------------

capture container_detached running -- sleep 1000
done_well $? 'a container'
kill -KILL "$TEMPLATED_PID"
wait "$TEMPLATED_PID"
TEMPLATED_PID=
capture in_container running echo alive
is "$(cat "$OUT")" alive 'a clone goes on when templated is killed' || diag "$(cat "$ERR")"
works 'a container without templated' without -- true
is "$(trace_value "$WORLD-without" factory)" direct 'is booted'
like "$(trace_value "$WORLD-without" reason)" 'templated' 'and says why'
templated_try_start
ok $? 'templated starts again' || diag "$(tail "$TEMPLATED_LOG")"
works 'the next container' again -- true
is "$(trace_value "$WORLD-again" factory)" template 'is a clone of the template that was there'
first=$(basename "$(dirname /run/stencil/template/*/memory)")
capture templatectl --config "$STENCIL_CONF" refresh
ok $? 'a refresh, with a clone that the new templated did not start' || diag "$(cat "$ERR")"
there "/run/stencil/template/$first/memory" 'the generation of that clone stays'
capture templatectl --config "$STENCIL_CONF" status
like "$(cat "$OUT")" "generation $first: retired.*"$'\n'"  clones   1  $WORLD-running" 'and status names who holds it'
capture in_container running echo alive
is "$(cat "$OUT")" alive 'the clone goes on'
capture container_remove running
done_well $? 'the first clone can be removed'
# Its shim ends in its own time; templated hears of that.
deadline=$((SECONDS + WAIT_SECONDS))
while [ -n "$(ls -d "/run/stencil/template/$first" /run/stencil/template/leases/* 2>/dev/null)" ] &&
	[ "$SECONDS" -lt "$deadline" ]; do
	templatectl --config "$STENCIL_CONF" status >/dev/null
done
is "$(ls -d "/run/stencil/template/$first" 2>/dev/null)" '' 'and its generation is freed with it'
is "$(find /run/stencil/template/leases -type f 2>/dev/null)" '' 'no lease is left'

# ---- both at once, and twice --------------------------------------------------------------------

capture container_detached both -- sleep 1000
done_well $? 'a container'
kill -KILL "$(pids_of containerd-shim-stencil-v2)" "$(pids_of qemu-system-x86_64)"
event_wait "/tasks/delete.*$WORLD-both" 'shim and QEMU killed together'
for i in 1 2; do
	(cd / && capture containerd-shim-stencil-v2 -namespace "$WORLD" -id "$WORLD-both" \
		-address "$CONTAINERD_ADDRESS" -bundle "/run/containerd-private/none" delete)
	ok $? "delete once more does no harm ($i)" || diag "$(cat "$ERR")"
done
capture ctr container rm "$WORLD-both"
done_well $? 'the container can be removed'
works 'the next container starts' last -- true
system_end
