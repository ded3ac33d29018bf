# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every system test does first and last; sourced with the test's arguments.
#
#   . "${BASH_SOURCE[0]%/*}/../lib/system.sh"      a world, a containerd, the image
#   system_template                                templated with a template
#   …checks…
#   system_end                                     takes all down, checks that nothing is left

for lib in tap world instance image measure; do
	# shellcheck source=/dev/null
	. "${BASH_SOURCE[0]%/*}/$lib.sh"
done

[ "$(id -u)" = 0 ] || skip_all "needs root: VMs, mounts and network namespaces"
# shellcheck disable=SC2034 # for image_build's callers
SYSTEM_IMAGE=$STENCIL_BUILD/tests/system/image.tar
: "${STENCIL_PROBE:=$STENCIL_BUILD/tests/system/probe}"
: "${STENCIL_FILES_PROBE:=$STENCIL_BUILD/tests/system/files_probe}"

# Built once for all system tests, which may come at the same time.
if [ -z "${WORLD_NUMBER:-}" ]; then
	(
		flock 9
		[[ "$SYSTEM_IMAGE" -nt "$STENCIL_PROBE" && "$SYSTEM_IMAGE" -nt "$STENCIL_FILES_PROBE" ]] ||
			{
				image_build "$SYSTEM_IMAGE.new" "$STENCIL_PROBE" "$STENCIL_FILES_PROBE" &&
					mv "$SYSTEM_IMAGE.new" "$SYSTEM_IMAGE"
			}
	) 9>"$SYSTEM_IMAGE.lock"
fi
world_enter "$0" "$@"
# A CRI's tests have a containerd of their own, see cri.sh.
if [ -z "${SYSTEM_CRI:-}" ]; then
	instance_start
	image_import "$SYSTEM_IMAGE"
fi

system_template()
{
	templated_start
	capture templatectl --config "$STENCIL_CONF" init ||
		bail "templatectl init: $(tail -n 3 "$ERR" "$TEMPLATED_LOG")"
}

# Network namespaces for pods, under names of ip-netns(8). They go with the test.
SYSTEM_NETNS=()
netns_add() # NAME...
{
	local name

	for name; do
		ip netns add "$name" && SYSTEM_NETNS+=("$name")
	done
}

# One for a pod, whose eth0 has a peer that answers nobody.
netns_with_eth0() # NAME ADDRESS
{
	netns_add "$1"
	ip -n "$1" link add eth0 type veth peer name eth1
	ip -n "$1" link set eth0 up
	ip -n "$1" link set eth1 up
	ip -n "$1" address add "$2" dev eth0
}

netns_remove()
{
	local name status=0

	for name in "${SYSTEM_NETNS[@]}"; do
		ip netns delete "$name" || status=1
	done
	SYSTEM_NETNS=()
	return "$status"
}
at_exit netns_remove

# A container that must work: its output is in $OUT. What it and its shim said is shown if not.
works() # NAME ID [CTR-OPTION...] -- COMMAND...
{
	local name=$1

	shift
	capture_timed container "$@"
	ok $? "$name" || diag "$(tail -n 5 "$ERR")"$'\n'"$(grep -F "$WORLD-$1" "$CONTAINERD_LOG" |
		tail -n 5)"
}

# A container that must fail, with an error that matches.
refused() # NAME REGEX ID [CTR-OPTION...] -- COMMAND...
{
	local name=$1 regex=$2

	shift 2
	if capture container "$@"; then
		compared 1 "$name" 'it succeeded' 'wanted: an error with' "$regex"
	else
		like "$(cat "$ERR")" "$regex" "$name"
	fi
	# ctr leaves the container's record when its task could not be made.
	ctr container rm "$WORLD-$1" 2>/dev/null
	pods_gone "$name: no process stays"
}

# Processes of pods: each shim, and each QEMU but those that templated builds with or keeps ready.
pod_processes()
{
	local pid

	pids_of containerd-shim-stencil-v2
	for pid in $(pids_of qemu-system-x86_64); do
		[ "$(parent_of "$pid")" = "${TEMPLATED_PID:-none}" ] || echo "$pid"
	done
}

# That all of them end. containerd doesn't wait for a shim's last breath: it has answered before.
pods_gone() # NAME
{
	# shellcheck disable=SC2046 # one word for each
	wait_gone $(pod_processes)
	is "$(pod_processes)" '' "$1" || diag "$(world_processes)"
}

# The process that containerd knows.
task_pid() # ID
{
	ctr task ls | awk -v id="$WORLD-$1" '$1 == id { print $2 }'
}

# The QEMU of a pod.
qemu_pid() # ID
{
	sed -n "s/.*\"sandbox\":\"$WORLD-$1\".*\"qemu\":{\"pid\":\([0-9]*\).*/\1/p" \
		/run/stencil/sandboxes/vms/*/vm.json
}

# What was captured last has succeeded.
done_well() # STATUS NAME
{
	ok "$1" "$2" || diag "$(cat "$OUT" "$ERR")"
}

# The events of containerd from now on, in $EVENTS.
events_start()
{
	EVENTS=$WORLD_DIR/events
	: >"$EVENTS"
	ctr events >"$EVENTS" 2>/dev/null &
	EVENTS_PID=$!
	at_exit events_stop
	# The subscription has no acknowledgement: an event of our own shows that it is there.
	while ! grep -q stencil.example/marker "$EVENTS"; do
		ctr image tag --force "$IMAGE" stencil.example/marker:1 >/dev/null
	done
}

events_stop()
{
	[ -n "${EVENTS_PID:-}" ] || return 0
	kill "$EVENTS_PID"
	wait "$EVENTS_PID"
	EVENTS_PID=
	return 0
}

event_wait() # REGEX NAME
{
	wait_line "$EVENTS" "$EVENTS_PID" "$1"
	ok $? "$2" || diag "no event like $1; the last ones:"$'\n'"$(tail -n 5 "$EVENTS")"
}

# Starts "FUNCTION 0", "FUNCTION 1" and so on; what each says goes to $WORLD_DIR/FUNCTION<number>.
workers_start() # FUNCTION COUNT
{
	local i

	WORKERS=()
	for ((i = 0; i < $2; i++)); do
		"$1" "$i" >"$WORLD_DIR/$1$i" 2>&1 &
		WORKERS+=($!)
	done
}

# All have to succeed.
workers_end() # FUNCTION NAME
{
	local i

	for ((i = 0; i < ${#WORKERS[@]}; i++)); do
		wait "${WORKERS[i]}"
		ok $? "$2 $((i + 1)) of ${#WORKERS[@]}" || diag "$(tail -n 3 "$WORLD_DIR/$1$i")"
	done
}

system_end()
{
	local left

	containers_remove
	ok $? 'every container can be removed'
	templated_stop
	ok $? 'templated ends cleanly'
	events_stop
	netns_remove
	ok $? 'every network namespace can be removed'
	instance_stop
	ok $? 'containerd ends cleanly'
	stencil_remove_state
	left=$(world_leftovers)
	is "$left" '' 'nothing is left: process, mount, interface, network namespace, cgroup, file'
	done_testing
}
