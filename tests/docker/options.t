#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What `docker run` can be asked for besides: volumes, health checks, restarts, the host's namespaces and
# devices; and many containers at a time.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
# shellcheck source=/dev/null
. "${BASH_SOURCE[0]%/*}/../lib/docker.sh"
system_template
docker_start

# ---- volumes ------------------------------------------------------------------------------------

docks 'volume create' volume create named
runs '--volume: named' --rm --volume named:/volume "$DOCKER_IMAGE" sh -c 'echo kept >/volume/file'
runs '--volume: in the next container' --rm --volume named:/volume "$DOCKER_IMAGE" cat /volume/file
is "$(cat "$OUT")" kept '--volume: what the former one wrote'
runs '--volume: an image'"'"'s folder is copied into a new one' --rm --volume copied:/etc \
	"$DOCKER_IMAGE" cat /etc/group
like "$(cat "$OUT")" nogroup '--volume: has its files'
mkdir "$WORLD_DIR/bound"
echo outside >"$WORLD_DIR/bound/file"
runs '--volume: a folder of the host' --rm --volume "$WORLD_DIR/bound:/bound" "$DOCKER_IMAGE" \
	sh -c 'cat /bound/file; echo inside >/bound/other'
is "$(cat "$OUT" "$WORLD_DIR/bound/other")" $'outside\ninside' '--volume: read and written'
runs '--volume: read-only' --rm --volume "$WORLD_DIR/bound:/bound:ro" "$DOCKER_IMAGE" \
	sh -c 'cat /bound/file; ! echo inside >/bound/third'
like "$(cat "$OUT" "$ERR")" 'outside.*Read-only file system' '--volume: read, not written'
runs '--mount: a file of the host' --rm --mount "type=bind,src=$WORLD_DIR/bound/file,dst=/file,ro" \
	"$DOCKER_IMAGE" cat /file
runs '--tmpfs' --rm --tmpfs /scratch:size=1m "$DOCKER_IMAGE" \
	sh -c '! head -c 2000000 /dev/zero >/scratch/file 2>/dev/null; stat -c %s /scratch/file'
is "$(cat "$OUT")" 1048576 '--tmpfs: has its size'
runs '--shm-size' --rm --shm-size 3m "$DOCKER_IMAGE" sh -c 'df -k /dev/shm | tail -n 1'
like "$(cat "$OUT")" '^shm +3072 ' '--shm-size: has its size'
runs '--volumes-from: the one' --detach --name one --volume named:/volume "$DOCKER_IMAGE" tail -f /dev/null
runs '--volumes-from: the other' --rm --volumes-from one "$DOCKER_IMAGE" cat /volume/file
docks 'rm' rm --force one
docks 'volume rm' volume rm named copied

# ---- restarts, health ---------------------------------------------------------------------------

# docker tells its events from a time on, too: none is missed.
events_until() # SINCE REGEX FILTER...
{
	local fd events_pid status=0

	exec {fd}< <(exec timeout "$WAIT_SECONDS" docker events --since "$1" --format \
		'{{.Action}} {{.Actor.Attributes.name}}' "${@:3}" 2>&1)
	events_pid=$!
	grep -qEm1 -- "$2" <&"$fd" || status=1
	exec {fd}<&-
	kill "$events_pid" 2>/dev/null
	wait "$events_pid"
	return "$status"
}

since=$EPOCHSECONDS
runs '--health-cmd' --detach --name checked --health-cmd 'test -e /healthy' --health-interval 1s \
	--health-retries 1 "$DOCKER_IMAGE" tail -f /dev/null
events_until "$since" 'health_status: unhealthy checked'
ok $? '--health-cmd: that it fails is told'
docks 'exec' exec checked touch /healthy
events_until "$since" 'health_status: healthy checked'
ok $? '--health-cmd: that it succeeds is told'
docks 'rm' rm --force checked

since=$EPOCHSECONDS
runs '--restart on-failure' --detach --name failing --restart on-failure:2 "$DOCKER_IMAGE" \
	sh -c 'echo run >>/runs; exit 3'
docks 'wait' wait failing
events_until "$since" 'die failing' # each of them; wait returns at the first
until [ "$(dock inspect --format '{{.State.Status}} {{.RestartCount}}' failing)" = 'exited 2' ]; do
	[ "$SECONDS" -lt "$WAIT_SECONDS" ] || break
done
docks 'cp' cp failing:/runs "$WORLD_DIR/runs"
is "$(grep -c run "$WORLD_DIR/runs")" 3 '--restart on-failure: once and two times again, with its files'
docks 'rm' rm failing

# ---- namespaces of another container, and the host's --------------------------------------------

runs 'a container to join' --detach --name first --ipc shareable "$DOCKER_IMAGE" \
	sh -c 'echo first >/dev/shm/file; echo ready; exec nc -ll -p 7777 -e cat /etc/group'
says first ready
ok $? 'it is ready'
pod=$(pids_of qemu-system-x86_64)
runs '--network container:X' --rm --network container:first "$DOCKER_IMAGE" nc 127.0.0.1 7777
like "$(cat "$OUT")" nogroup '--network container:X: they have one lo'
runs '--pid container:X' --rm --network container:first --pid container:first "$DOCKER_IMAGE" cat /proc/1/cmdline
like "$(tr '\0' ' ' <"$OUT")" '^nc -ll' '--pid container:X: its processes are seen'
runs '--ipc container:X' --rm --network container:first --ipc container:first "$DOCKER_IMAGE" cat /dev/shm/file
is "$(cat "$OUT")" first '--ipc container:X: they have one /dev/shm'
refuses '--pid container:X without its network' "pid namespace, and a VM can't use that" \
	run --rm --pid container:first "$DOCKER_IMAGE" true
runs 'one that stays' --detach --name second --network container:first "$DOCKER_IMAGE" \
	sh -c 'echo ready; exec nc -ll -p 7778 -e cat /etc/group'
says second ready
ok $? 'it is ready'
is "$(pids_of qemu-system-x86_64)" "$pod" 'all of them are in one VM'
docks 'restart of the first' restart --time 0 first
docks 'exec in it' exec first nc 127.0.0.1 7778
like "$(cat "$OUT")" nogroup 'it is in the same VM again'
docks 'rm of the first' rm --force first
docks 'the second one lives on' exec second nc 127.0.0.1 7778
docks 'rm' rm --force second
pods_gone 'no process stays'
refuses '--network host' "a VM can't use the host's network" run --rm --network host "$DOCKER_IMAGE" true
docker_remove_all
runs '--pid host' --rm --pid host "$DOCKER_IMAGE" cat /proc/1/comm
is "$(cat "$OUT")" init "--pid host: it is the guest's"
runs '--uts host' --rm --uts host "$DOCKER_IMAGE" hostname
isnt "$(cat "$OUT")" "$(uname -n)" "--uts host: it is the guest's"
hosts=/dev/shm/stencil-test-$WORLD
touch "$hosts"
runs '--ipc host' --rm --ipc host "$DOCKER_IMAGE" ls /dev/shm
rm "$hosts"
unlike "$(cat "$OUT")" stencil-test "--ipc host: it is the guest's"
runs '--cgroupns host' --rm --cgroupns host "$DOCKER_IMAGE" cat /proc/self/cgroup
unlike "$(cat "$OUT")" "$WORLD" "--cgroupns host: it is the guest's"

# ---- devices ------------------------------------------------------------------------------------

runs '--device: what any kernel has' --rm --device /dev/zero:/dev/nought "$DOCKER_IMAGE" \
	sh -c 'head -c 3 /dev/nought | od -An -tx1'
is "$(cat "$OUT")" ' 00 00 00' '--device: it is there'
mknod "$WORLD_DIR/odd" c 240 7
refuses '--device: what only the host has' "$WORLD_DIR/odd.* device" run --rm \
	--device "$WORLD_DIR/odd" "$DOCKER_IMAGE" true
rm "$WORLD_DIR/odd"

# ---- many, and early ends -----------------------------------------------------------------------

jobs=()
for i in 1 2 3 4 5 6; do
	dock run --rm --name "parallel$i" "$DOCKER_IMAGE" sh -c "echo $i; exit $i" >"$WORLD_DIR/out$i" 2>&1 &
	jobs+=($!)
done
for i in 1 2 3 4 5 6; do
	wait "${jobs[i - 1]}"
	is "$? $(cat "$WORLD_DIR/out$i")" "$i $i" "run --rm, six at a time: number $i"
done
pods_gone 'no process stays'
runs 'run -d --rm' --detach --rm --name brief "$DOCKER_IMAGE" sh -c 'exit 0'
docks 'kill of one that has just been started' run --detach --name early "$DOCKER_IMAGE" tail -f /dev/null
docks 'kill' kill early
docks 'wait' wait early
is "$(cat "$OUT")" 137 'it was killed'
docks 'rm' rm early

docker_end
