# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A private dockerd beside the private containerd of a system test (system.sh, which is sourced before).
#
#   docker_start; dock run --rm "$DOCKER_IMAGE" uname -r
#
# Its networks, rules and sockets are those of the world. DOCKER_RUNTIME=runc runs the same with runc,
# for whoever wants to know what is right.

DOCKER_IMAGE=stencil.example/busybox:docker
: "${DOCKER_RUNTIME:=stencil}"
DOCKER_DIR=/run/docker-private
export DOCKER_HOST=unix://$DOCKER_DIR/docker.sock DOCKER_CONFIG=$DOCKER_DIR/cli

# A containerd namespace of the world's name, so that system.sh's functions look at the same tasks.
docker_config()
{
	cat <<-END
	{
	  "runtimes": { "stencil": {
	    "runtimeType": "io.containerd.stencil.v2",
	    "options": { "ConfigPath": "$STENCIL_CONF" }
	  } },
	  "default-runtime": "$DOCKER_RUNTIME",
	  "containerd": "$CONTAINERD_ADDRESS",
	  "containerd-namespace": "$WORLD",
	  "data-root": "$DOCKER_DIR/root",
	  "exec-root": "$DOCKER_DIR/exec",
	  "pidfile": "$DOCKER_DIR/pid",
	  "hosts": ["$DOCKER_HOST"],
	  "exec-opts": ["native.cgroupdriver=cgroupfs"],
	  "cgroup-parent": "/$WORLD/docker"
	}
	END
}

dock() # ARGUMENT...
{
	timeout "$WAIT_SECONDS" docker "$@"
}

# The system tests' image, as what `docker import` makes of a tar.
docker_import_image()
{
	local work=$DOCKER_DIR/image

	image_rootfs "$work/rootfs" "$STENCIL_PROBE"
	image_tar "$work/rootfs" "$work/layer"
	capture dock import --change 'CMD ["sh"]' --change 'ENV PATH=/bin' "$work/layer" \
		"$DOCKER_IMAGE" || die "docker import: $(cat "$ERR")"
	rm -r "$work"
}

docker_start()
{
	DOCKER_LOG=$WORLD_DIR/dockerd.log
	mkdir -p "$DOCKER_CONFIG"
	docker_config >"$DOCKER_DIR/daemon.json"
	: >"$DOCKER_LOG"
	at_exit docker_stop
	setsid dockerd --config-file "$DOCKER_DIR/daemon.json" >"$DOCKER_LOG" 2>&1 </dev/null &
	DOCKER_PID=$!
	wait_line "$DOCKER_LOG" "$DOCKER_PID" 'API listen on' ||
		{ tail -n 20 "$DOCKER_LOG" >&2; die "the private dockerd did not start"; }
	docker_import_image
}

docker_remove_all()
{
	local ids

	mapfile -t ids < <(dock ps --all --quiet)
	[ ${#ids[@]} -eq 0 ] || dock rm --force --volumes "${ids[@]}" >/dev/null
}

# What dockerd keeps of containers, and may not when there are none.
docker_leftovers()
{
	find "$DOCKER_DIR/exec/containerd" "$DOCKER_DIR/root/containers" -mindepth 1
	awk -v dir="$DOCKER_DIR/" 'index($5, dir) == 1 && !/netns[/]default / { print $5 }' /proc/self/mountinfo
}

# It leaves a mount of its own network namespace, its bridge, its images and its networks, with which
# it would go on.
docker_stop()
{
	local status=0 name

	[ -n "${DOCKER_PID:-}" ] || return 0
	docker_remove_all || status=1
	kill "$DOCKER_PID" && wait "$DOCKER_PID" || status=1
	DOCKER_PID=
	for name in $(ip -o link show type bridge | sed -n 's/^[0-9]*: \([^:]*\):.*/\1/p'); do
		ip link delete "$name" || status=1
	done
	! mountpoint -q "$DOCKER_DIR/exec/netns/default" || umount -n "$DOCKER_DIR/exec/netns/default" || status=1
	rm -r --one-file-system "$DOCKER_DIR" || status=1
	[ ! -d /run/docker ] || find /run/docker -depth -type d -empty -delete
	return "$status"
}

# A container that must end with 0; what was said is shown if not.
runs() # NAME RUN-ARGUMENT...
{
	local name=$1

	shift
	capture dock run "$@"
	ok $? "$name" || diag "$(tail -n 5 "$ERR")"$'\n'"$(grep 'level=error' "$CONTAINERD_LOG" |
		tail -n 2)"
}

# The same of another command of docker's.
docks() # NAME ARGUMENT...
{
	local name=$1

	shift
	capture dock "$@"
	ok $? "$name" || diag "$(tail -n 5 "$ERR")"
}

# At a terminal, where TEXT is typed; what it shows is standard output.
docker_typed() # TEXT DOCKER-ARGUMENT...
{
	local text=$1

	shift
	printf '%s\n' "$text" | timeout "$WAIT_SECONDS" script --quiet --return --command "$(printf '%q ' docker "$@")" \
		/dev/null
}

# One that must fail, with an error that matches.
refuses() # NAME REGEX ARGUMENT...
{
	local name=$1 regex=$2

	shift 2
	if capture dock "$@"; then
		compared 1 "$name: is refused" 'it succeeded' 'wanted: an error with' "$regex"
	else
		like "$(cat "$ERR")" "$regex" "$name: is refused"
	fi
}

state() # CONTAINER
{
	dock inspect --format '{{.State.Status}}' "$1"
}

# Waits until a container's output has a line that matches.
says() # CONTAINER REGEX
{
	local fd logs_pid status=0

	exec {fd}< <(exec timeout "$WAIT_SECONDS" docker logs --follow "$1" 2>&1)
	logs_pid=$!
	grep -qEm1 -- "$2" <&"$fd" || status=1
	exec {fd}<&-
	kill "$logs_pid" 2>/dev/null
	wait "$logs_pid"
	return "$status"
}

docker_end()
{
	docker_remove_all
	ok $? 'every container can be removed by docker'
	pods_gone 'no process of a pod stays'
	is "$(docker_leftovers)" '' 'dockerd has nothing left of a container'
	docker_stop
	ok $? 'dockerd ends cleanly'
	system_end
}
