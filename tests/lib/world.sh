# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A world of its own for a script: what it starts and mounts can neither disturb the host nor stay.
#
# How it works: the script starts itself once more as process 1 of new mount, PID, network and IPC
# namespaces, with an empty tmpfs at /run and every mount shared, as systemd has it. /run is where
# containerd, Stencil and `ip netns` keep their state, and short enough for socket paths. Inside, the
# check for leftovers is exact: any process, mount or interface that was not there at the start is
# ours. Whatever happens to the script, its processes and mounts end with it: the outer one hands
# signals on, and its death, even by SIGKILL, kills process 1 and so everything. Only cgroups and the
# world's folder live outside; the outer one removes both, and a later run what a killed one left.
#
# A script says, first thing:   world_enter "$0" "$@"
# and gets: $WORLD, a name for what it makes; $WORLD_DIR, a folder on disk below the build folder.

WORLD_PREFIX=stencil-w
: "${STENCIL_BUILD:=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)/build}"
: "${STENCIL_SOURCE:=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)}"
: "${STENCIL_GUEST:=$STENCIL_BUILD/guest}"
# Where the worlds' folders go.
: "${WORLDS:=$STENCIL_BUILD/worlds}"
export STENCIL_BUILD STENCIL_SOURCE STENCIL_GUEST WORLDS

die()
{
	echo "$*" >&2
	exit 1
}

# Paths of the cgroups, in every hierarchy, whose path matches a regular expression.
cgroups_matching() # REGEX
{
	find /sys/fs/cgroup -mindepth 1 -type d -regextype posix-extended -regex "$1" 2>/dev/null |
		sort -r
}

# What the world with this number made outside its namespaces. Its processes are gone.
world_sweep() # NUMBER
{
	local cgroup

	while read -r cgroup; do
		rmdir "$cgroup" || return 1
	done < <(cgroups_matching ".*/$WORLD_PREFIX$1(-[^/]*)?(/.*)?")
	rm -rf "${WORLDS:?}/$1"
	rmdir --ignore-fail-on-non-empty "$WORLDS"
}

# Those of runs that were killed with SIGKILL.
world_sweep_dead()
{
	local dir number

	for dir in "$WORLDS"/*/; do
		number=$(basename "$dir")
		[ -d "$dir" ] && ! [ -d "/proc/$number" ] || continue
		world_sweep "$number"
	done
}

world_enter() # COMMAND [ARGUMENT...]
{
	local outer child status=0

	if [ -n "${WORLD_NUMBER:-}" ]; then
		world_begin
		return
	fi
	world_sweep_dead
	export WORLD_NUMBER=$$
	mkdir -p "$WORLDS/$$"
	case "$(cd "$STENCIL_BUILD" && pwd -P)/" in
	/run/*|/var/run/*) die "the build folder is below /run, which the tests replace: move it" ;;
	esac
	# In the background, so that `wait` can be interrupted. Such a child ignores SIGINT: the
	# terminal's Ctrl-C reaches it as the SIGTERM of this trap.
	setpriv --pdeathsig KILL unshare --mount --pid --net --ipc --propagation private \
		--fork --kill-child --mount-proc -- "$@" <&0 &
	outer=$!
	# shellcheck disable=SC2329 # called by the trap
	world_hand_on()
	{
		read -r child <"/proc/$outer/task/$outer/children" # no newline: not 0
		[ -n "$child" ] && kill -TERM "$child"
	}
	trap world_hand_on INT TERM HUP
	while :; do
		wait "$outer" && status=0 || status=$?
		[ -d "/proc/$outer" ] || break
	done
	trap '' INT TERM HUP
	world_sweep "$WORLD_NUMBER" || status=1
	exit "$status"
}

# ---- inside -------------------------------------------------------------------------------------

WORLD_AT_EXIT=()

# Commands for the end of the world, last one first, on any way out.
at_exit() # COMMAND
{
	WORLD_AT_EXIT+=("$1")
}

world_end()
{
	local status=$? i

	trap '' INT TERM HUP
	trap - EXIT
	for ((i = ${#WORLD_AT_EXIT[@]} - 1; i >= 0; i--)); do
		eval "${WORLD_AT_EXIT[i]}" || status=1
	done
	exit "$status"
}

world_begin()
{
	# shellcheck disable=SC2034 # for the scripts
	WORLD=$WORLD_PREFIX$WORLD_NUMBER
	WORLD_DIR=$WORLDS/$WORLD_NUMBER
	trap world_end EXIT
	trap 'exit 130' INT TERM HUP
	mount -t tmpfs -o mode=0755,nosuid,nodev run /run
	mkdir -m 1777 /run/tmp
	mkdir /run/netns
	mount --make-rshared /
	ip link set lo up
	export TMPDIR=/run/tmp
	# `ip netns` makes its folder a mount of its own once; not a leftover.
	ip netns add begin
	ip netns delete begin
	: >"$WORLD_DIR/started"
	world_look >"$WORLD_DIR/before"
}

# Living processes of this world but the script itself. Only builtins up to the list: what this
# function starts is then not in it.
world_processes()
{
	local pid stat pids=(/proc/[0-9]*) line

	for pid in "${pids[@]#/proc/}"; do
		case $pid in 1 | "$BASHPID") continue ;; esac
		read -r stat 2>/dev/null <"/proc/$pid/stat" || continue
		[[ ${stat##*) } == Z* ]] && continue # ended; its parent has not looked yet
		line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | head -c 200)
		echo "process $pid ${line:-${stat%%)*})}"
	done
}

# This world's cgroups; instance.sh has Stencil make its own below one of the world's name.
world_cgroups()
{
	cgroups_matching ".*/$WORLD([/-].*)?" | sed 's/^/cgroup /'
}

# One line for each thing that may not outlive what made it.
world_look()
{
	world_processes
	awk '{ print "mount", $5 }' /proc/self/mountinfo
	ip -o link | awk '{ print "interface", $2 }'
	ip netns | awk '{ print "network namespace", $1 }'
	world_cgroups
	find /run -mindepth 1 -printf 'file %p\n'
	# Test programs that run beside this one have scratch folders; the product calls nothing so.
	find /etc /opt /var /tmp /root /home /srv /dev/shm -xdev -maxdepth 3 -newercm "$WORLD_DIR/started" \
		-regextype posix-extended -regex '.*(stencil|containerd|qemu).*' \
		! -path "$STENCIL_SOURCE/*" ! -path "$STENCIL_BUILD/*" \
		! -path '/tmp/stencil-test-*' -printf 'file %p\n'
}

# What is there now and was not at the start: prints it, fails if there is any.
world_leftovers()
{
	world_look >"$WORLD_DIR/after"
	! sort "$WORLD_DIR/before" "$WORLD_DIR/before" "$WORLD_DIR/after" | uniq -u | grep .
}
