# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A private containerd and templated in this script's world (world.sh), and containers through them.
#
#   world_enter "$0" "$@"; instance_start; templated_start; container ID -- uname -r
#
# Both end, with everything that they run, when the script does.

: "${RUNTIME:=io.containerd.stencil.v2}"
# Where the programs are that are tried.
: "${STENCIL_PROGRAMS:=$STENCIL_BUILD}"
STENCIL_CONF=/run/stencil.conf
# Every wait for something that should come has this limit, that of the tests in C.
WAIT_SECONDS=$(sed -n 's/^#define PATIENCE_SECONDS //p' "${BASH_SOURCE[0]%/*}/patience.h")
export CONTAINERD_ADDRESS=/run/containerd-private/containerd.sock

# Waits until a line of a file that a process is writing matches; fails if the process ends first.
# FIRST is the number of the first line that counts.
wait_line() # FILE PID REGEX [FIRST]
{
	local tail_pid fd status=0

	exec {fd}< <(exec timeout "$WAIT_SECONDS" tail -n "+${4:-1}" -f --pid="$2" -- "$1" 2>/dev/null)
	tail_pid=$!
	grep -qEm1 -- "$3" <&"$fd" || status=1
	exec {fd}<&-
	kill "$tail_pid" 2>/dev/null
	wait "$tail_pid"
	return "$status"
}

# Waits for the end of processes, whoever's children they are; fails if one stays.
wait_gone() # [PID]...
{
	perl -e '
		my $deadline = time + shift;
		for my $pid (@ARGV) {
			my $fd = syscall(434, $pid + 0, 0); # pidfd_open(2)
			next if $fd < 0; # it is gone
			vec(my $ready = "", $fd, 1) = 1;
			select($ready, undef, undef, $deadline - time) or exit 1;
		}' "$WAIT_SECONDS" "$@"
}

# Runs a command so that a signal to this script does not wait for its end. Its standard output is
# in the file $OUT and its standard error in $ERR afterwards.
capture() # COMMAND [ARGUMENT...]
{
	OUT=$WORLD_DIR/stdout ERR=$WORLD_DIR/stderr
	"$@" <&0 >"$OUT" 2>"$ERR" &
	wait $!
}

# The same, and how long it took: $MS.
capture_timed()
{
	local start=$EPOCHREALTIME status=0

	capture "$@" || status=$?
	# shellcheck disable=SC2034 # for the scripts
	MS=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
	return "$status"
}

# ---- containerd ---------------------------------------------------------------------------------

# Root and state on the world's tmpfs: snapshots work there on any host, and end with it. No plugin
# that we have no use for; "opt" would make /opt/containerd. Its own patience with a shim is seconds.
containerd_config()
{
	cat <<-END
	version = 2
	root = "/run/containerd-private/root"
	state = "/run/containerd-private/state"
	disabled_plugins = [
	  "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
	  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
	  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
	]
	[grpc]
	  address = "$CONTAINERD_ADDRESS"
	[timeouts]
	  "io.containerd.timeout.shim.cleanup" = "${WAIT_SECONDS}s"
	  "io.containerd.timeout.shim.load" = "${WAIT_SECONDS}s"
	  "io.containerd.timeout.shim.shutdown" = "${WAIT_SECONDS}s"
	  "io.containerd.timeout.task.state" = "${WAIT_SECONDS}s"
	END
}

# The shim is found by its name in PATH, as with an installed one.
instance_start()
{
	export CONTAINERD_NAMESPACE=$WORLD STENCIL_CONFIG=$STENCIL_CONF
	export STENCIL_TRACE=$WORLD_DIR/trace.json
	export PATH=$STENCIL_PROGRAMS:$PATH
	CONTAINERD_LOG=$WORLD_DIR/containerd.log

	mkdir -p /run/containerd-private
	: >"$STENCIL_TRACE"
	: >"$CONTAINERD_LOG"
	stencil_config >"$STENCIL_CONF"
	at_exit stencil_remove_state
	containerd_config >/run/containerd-private/config.toml
	at_exit instance_stop
	# In a session of its own, as templated: Ctrl-C at the terminal is for the script, which then
	# takes them down in their order.
	setsid containerd --config /run/containerd-private/config.toml >"$CONTAINERD_LOG" 2>&1 </dev/null &
	CONTAINERD_PID=$!
	wait_line "$CONTAINERD_LOG" "$CONTAINERD_PID" 'containerd successfully booted' ||
		{ tail -n 20 "$CONTAINERD_LOG" >&2; die "the private containerd did not start"; }
}

image_import() # TAR
{
	capture ctr image import "$1" || { cat "$ERR" >&2; die "ctr image import failed"; }
}

# Removes every container, however it stands.
containers_remove()
{
	local id status=0

	[ -n "${CONTAINERD_PID:-}" ] || return 0
	for id in $(ctr task ls -q); do
		timeout "$WAIT_SECONDS" ctr task rm --force "$id" >/dev/null || status=1
	done
	for id in $(ctr container ls -q); do
		ctr container rm "$id" || status=1
	done
	return "$status"
}

instance_stop()
{
	local status=0

	rm -f "$STENCIL_CONF"
	[ -n "${CONTAINERD_PID:-}" ] || return 0
	containers_remove || status=1
	kill "$CONTAINERD_PID" && wait "$CONTAINERD_PID" || status=1
	CONTAINERD_PID=
	rm -rf --one-file-system /run/containerd-private || status=1
	# What shims and ctr share, by default in here; only the empty folders are containerd's own.
	if [ -d /run/containerd ]; then
		find /run/containerd -depth -type d -empty -delete
	fi
	return "$status"
}

# ---- Stencil ------------------------------------------------------------------------------------

# What this checkout's builds have and older ones, which the bench starts, too, may not: the image
# store, which goes with the world, and the file server.
newer_config()
{
	if "$STENCIL_PROGRAMS/templated" --list-keys | grep -q '^images'; then
		printf '[images]\nenable = %s\npath = %s\n' "${WORLD_IMAGES:-false}" "$WORLD_DIR/images"
	fi
	if [ -x "$STENCIL_PROGRAMS/stencil-files" ]; then
		printf '[runtime]\nfile_server = %s\n' "$STENCIL_PROGRAMS/stencil-files"
	fi
}

# All values are the defaults, except for where the guest is and the image store, QEMU if STENCIL_QEMU
# names one, and how long is waited for either.
# Further lines: KEY=VALUE arguments of a section, as in `stencil_config factory strict=true`.
# shellcheck disable=SC2120 # arguments are for tests
stencil_config() # [SECTION KEY=VALUE]...
{
	[ $(($# % 2)) -eq 0 ] || die "stencil_config: a section without key: $*"
	cat <<-END
	[hypervisor]
	kernel = $STENCIL_GUEST/vmlinuz
	initrd = $STENCIL_GUEST/initrd.img
	${STENCIL_QEMU:+path = $STENCIL_QEMU}
	$(newer_config)
	[runtime]
	cgroup_parent = $WORLD
	boot_timeout_ms = ${WAIT_SECONDS}000
	call_timeout_ms = ${WAIT_SECONDS}000
	END
	while [ $# -gt 0 ]; do
		printf '[%s]\n%s = %s\n' "$1" "${2%%=*}" "${2#*=}"
		shift 2
	done
}

# Receives datagrams of sd_notify(3) until one says READY=1; prints a line once it listens.
notify_listen() # SOCKET
{
	exec perl -MSocket -e '
		$| = 1;
		my $socket;
		socket($socket, AF_UNIX, SOCK_DGRAM, 0) && bind($socket, sockaddr_un($ARGV[0]))
			or die "$ARGV[0]: $!\n";
		print "listening\n";
		alarm $ARGV[1];
		while (defined recv($socket, my $message, 4096, 0)) {
			exit 0 if $message =~ /^READY=1$/m;
		}
		exit 1' "$1" "$WAIT_SECONDS"
}

# Starts templated and waits until it says that it serves; fails if it ends before, see
# $TEMPLATED_LOG.
templated_try_start()
{
	local socket=/run/notify fifo=/run/notify.listening notify_pid ready=1

	TEMPLATED_LOG=$WORLD_DIR/templated.log
	mkfifo "$fifo"
	# Not a process substitution: `wait -n` takes only jobs.
	notify_listen "$socket" >"$fifo" </dev/null &
	notify_pid=$!
	read -r <"$fifo" || die "no socket for templated's notification"
	rm "$fifo"
	NOTIFY_SOCKET=$socket setsid templated --config "$STENCIL_CONF" >"$TEMPLATED_LOG" 2>&1 </dev/null &
	TEMPLATED_PID=$!
	wait -n -p ended "$TEMPLATED_PID" "$notify_pid" && [ "${ended:-}" = "$notify_pid" ] && ready=0
	if [ "$ready" -ne 0 ]; then
		kill "$TEMPLATED_PID" "$notify_pid" 2>/dev/null
		wait "$TEMPLATED_PID" "$notify_pid"
		TEMPLATED_PID=
	fi
	rm -f "$socket"
	return "$ready"
}

# Containers end before it: a clone's mapping keeps the template's tmpfs busy.
templated_start()
{
	at_exit templated_stop
	at_exit containers_remove
	templated_try_start || { tail -n 20 "$TEMPLATED_LOG" >&2; die "templated did not start"; }
}

# Its end leaves the template for its next start: that has to be taken down before.
templated_stop()
{
	local status=0

	[ -n "${TEMPLATED_PID:-}" ] || return 0
	timeout "$WAIT_SECONDS" templatectl --config "$STENCIL_CONF" destroy >/dev/null || status=1
	kill "$TEMPLATED_PID" && wait "$TEMPLATED_PID" || status=$?
	TEMPLATED_PID=
	[ "$status" -eq 0 ] || { echo "templated ended with status $status" >&2; return 1; }
}

# Stencil keeps what it found out about this boot's KVM and about containerd; and empty folders.
stencil_remove_state()
{
	[ -d /run/stencil ] || return 0
	rm -f /run/stencil/sandboxes/.accel /run/stencil/sandboxes/.containerd
	find /run/stencil -depth -xdev -type d -empty -delete
}

# ---- containers ---------------------------------------------------------------------------------

container() # ID [CTR-OPTION...] -- COMMAND [ARGUMENT...]
{
	local id=$1 options=()

	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	[[ " ${options[*]} " == *' --detach '* ]] || options+=(--rm)
	timeout "$WAIT_SECONDS" ctr run --runtime "$RUNTIME" "${options[@]}" "$IMAGE" \
		"$WORLD-$id" "$@"
}

# One that runs on; the script goes on when its process has started.
container_detached() # ID [CTR-OPTION...] -- COMMAND [ARGUMENT...]
{
	local id=$1

	shift
	container "$id" --detach --null-io "$@"
}

in_container() # ID COMMAND [ARGUMENT...]
{
	local id=$1

	shift
	timeout "$WAIT_SECONDS" ctr task exec --exec-id "e$BASHPID$RANDOM" "$WORLD-$id" "$@"
}

container_remove() # ID
{
	timeout "$WAIT_SECONDS" ctr task rm --force "$WORLD-$1" >/dev/null &&
		ctr container rm "$WORLD-$1"
}
