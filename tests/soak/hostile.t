#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Beside a pod whose kernel attacks its host (tests/hostile/) a neighbour waits at most a fifth longer than
# beside one that only computes, with the same CPU quota: medians of ROUNDS=5, by turns. Each frame that no
# guest sends ends its pod, and a pod whose agent stands still can be killed.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
. "${BASH_SOURCE[0]%/*}/../lib/hostile.sh"
hostile_get || skip_all "no module for this guest's kernel: $REASON"
rounds=${ROUNDS:-5} times=${TIMES:-1000} seed=${SEED:-$RANDOM}
attacks=(files ost net hotplug ports rings)
diag "seed $seed; SEED=$seed does the same again"
hostile_config >"$STENCIL_CONF"
system_template
hostile_trees "${attacks[@]}" frames neighbour
hostile_network

# ---- the neighbour's latency ---------------------------------------------------------------------

# What the neighbour says that it waits for a file, in microseconds.
latency()
{
	in_container neighbour probe latency "$times" /v/marker | sed -n 's/^latency_us //p' | tr -d '\r'
}

busy()
{
	container_detached busy --cpus 1 -- sh -c 'while :; do :; done'
}

# Adds a line to $WORLD_DIR/NAME, and to used[NAME] what the pod's QEMU uses meanwhile.
declare -A used
measure() # POD NAME
{
	local qemu from

	qemu=$(qemu_pid "$1")
	from=$(ticks "$qemu")
	latency | grep . >>"$WORLD_DIR/$2" && used[$2]=$((used[$2] + $(ticks "$qemu") - from))
}

median()
{
	sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

compare() # ATTACK [MODULE-PARAMETER...]
{
	local attack=$1 wrong='' flooded quiet ratio

	: >"$WORLD_DIR/flooded"
	: >"$WORLD_DIR/quiet"
	used=([flooded]=0 [quiet]=0)
	for ((round = 0; round < rounds; round++)); do
		busy && measure busy quiet && capture container_remove busy || wrong+=busy
		: >"$TREES/$attack/report"
		hostile_pod "$@" "seed=$((seed + round))" && hostile_begun "$attack" && measure "$attack" flooded &&
			capture container_remove "$attack" || wrong+=$attack
		wrong+=$(cat "$TREES/$attack/error")
		rm -f "$TREES/$attack"/{over,error,made*,link*,disk,memory,fifo,socket,other}
	done
	is "$wrong" '' "$attack: $rounds rounds"
	# A guest whose module was not loaded, or has given up, has nothing to do.
	less $((used[quiet] / 4)) "${used[flooded]}" "$attack: QEMU has more to do than a quarter of that for the busy loop"
	quiet=$(median <"$WORLD_DIR/quiet") flooded=$(median <"$WORLD_DIR/flooded")
	ratio=$(awk -v a="$flooded" -v b="$quiet" 'BEGIN { if (a && b) printf "%.2f", a / b }')
	diag "$attack: the neighbour waits $flooded us, $quiet beside a busy loop: $ratio"
	less "$ratio" 1.2 "$attack: as much as beside a busy loop"
}

capture container_detached neighbour --mount "type=bind,src=$TREES/neighbour,dst=/v,options=rbind:rw" -- \
	tail -f /dev/null
done_well $? 'a neighbour' || bail 'no neighbour'
for attack in "${attacks[@]}"; do
	# It stands still after what it has to do; these are for ever.
	case $attack in
	files) compare files amount=20000 ;;
	*) compare "$attack" amount=0 ;;
	esac
done

# ---- ends ----------------------------------------------------------------------------------------

events_start
for ((frame = 0; frame < 12; frame++)); do
	# The last one's end is not this one's.
	from=$(($(wc -l <"$EVENTS") + 1))
	capture hostile_pod frames "frame=$frame" "seed=$seed"
	done_well $? "a pod that sends frame $frame"
	wait_line "$EVENTS" "$EVENTS_PID" "/tasks/exit.*$WORLD-frames" "$from"
	ok $? 'ends'
	capture container_remove frames
	done_well $? 'and can be removed'
done
is "$(grep -aF "$WORLD-frames" "$CONTAINERD_LOG" | grep -ac 'the file server has ended: .*prog=files')" 12 \
	'the log says for each why'
: >"$TREES/ports/report"
capture hostile_pod ports amount=0 "seed=$seed" && hostile_begun ports
done_well $? 'a pod whose agent stands still'
capture ctr task kill --signal SIGKILL "$WORLD-ports"
done_well $? 'can be killed'
event_wait "/tasks/exit.*$WORLD-ports" 'which ends it'
containers_remove
hostile_trees_end
system_end
