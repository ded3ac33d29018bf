#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Containers through the real dockerd: what a user does with `docker`, but for networks (network.t).
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
# shellcheck source=/dev/null
. "${BASH_SOURCE[0]%/*}/../lib/docker.sh"
system_template
docker_start

# The VMs that there are.
qemus()
{
	pids_of qemu-system-x86_64 | paste -sd' '
}

# ---- run ----------------------------------------------------------------------------------------

runs 'run: a container ends with 0' --rm "$DOCKER_IMAGE" uname -r
isnt "$(cat "$OUT")" "$(uname -r)" "run: it has the guest's kernel"
capture dock run --rm "$DOCKER_IMAGE" sh -c 'echo out; echo err >&2; exit 7'
is "$? $(cat "$OUT") $(cat "$ERR")" '7 out err' 'run: its exit status, its output and its errors'
capture dock run --rm "$DOCKER_IMAGE" /bin/absent
is $? 127 'run: a program that is not there'
capture dock run --rm "$DOCKER_IMAGE" /etc/passwd
is $? 126 'run: one that is no program'
is "$(head -c 300000 /dev/zero | tr '\0' x | dock run --rm -i "$DOCKER_IMAGE" wc -c)" 300000 \
	'run -i: the input, and its end'
capture docker_typed 'exit 5' run --rm -it "$DOCKER_IMAGE" sh -c 'tty; read -r line; $line'
is $? 5 'run -it: the status of what was typed'
like "$(cat "$OUT")" /dev/pts/0 'run -it: there is a terminal'
runs 'run: user, folder, variable and name' --rm --user 1000:1000 --workdir /tmp --env A=b \
	--hostname there "$DOCKER_IMAGE" sh -c 'echo "$(id -u):$(id -g) $PWD $A $(hostname)"'
is "$(cat "$OUT")" '1000:1000 /tmp b there' 'run: are as they were given'
runs 'run --init: there is a first process' --rm --init "$DOCKER_IMAGE" sh -c 'cat /proc/1/cmdline'
like "$(tr '\0' ' ' <"$OUT")" '^/sbin/docker-init -- sh' 'run --init: it is docker-init'
runs 'run --read-only' --rm --read-only "$DOCKER_IMAGE" sh -c '! touch /file 2>/dev/null'

# ---- a container that runs on -------------------------------------------------------------------

runs 'run -d' --detach --name main "$DOCKER_IMAGE" sh -c 'echo first; echo other >&2; exec sleep 10000'
capture dock exec main sh -c 'echo inside; exit 3'
is "$? $(cat "$OUT")" '3 inside' 'exec: status and output'
is "$(echo piped | dock exec -i main cat)" piped 'exec -i: the input, and its end'
capture docker_typed 'exit 6' exec -it main sh
is $? 6 'exec -it: the status of what was typed'
capture dock logs main
is "$(cat "$OUT") $(cat "$ERR")" 'first other' 'logs: output and errors apart'
docks 'top' top main
like "$(cat "$OUT")" 'sleep 10000' 'top: shows the process by its arguments'
docks 'stats' stats --no-stream --format '{{.Name}} {{.PIDs}}' main
is "$(cat "$OUT")" 'main 1' 'stats: one process'
docks 'stats of the memory' stats --no-stream --format '{{.MemUsage}}' main
unlike "$(cat "$OUT")" '^0B' 'stats: it uses memory'

docks 'pause' pause main
is "$(state main)" paused 'pause: is told'
refuses 'exec of a paused one' 'is paused' exec main true
docks 'unpause' unpause main
docks 'exec after it' exec main true

docks 'update' update --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 50 main
docks 'exec to see it' exec main sh -c 'cd /sys/fs/cgroup && cat memory.max cpu.max pids.max'
is "$(paste -sd, "$OUT")" '67108864,50000 100000,50' 'update: the container has the new limits'

# ---- its files ----------------------------------------------------------------------------------

echo outside >"$WORLD_DIR/file"
docks 'cp into it' cp "$WORLD_DIR/file" main:/tmp/file
docks 'exec to see it' exec main cat /tmp/file
is "$(cat "$OUT")" outside 'cp: the file is there'
docks 'cp out of it' cp main:/etc/group -
is "$(tar -xO <"$OUT")" $'root:x:0:\nnogroup:x:65534:' 'cp: the file as it is'
docks 'exec to write' exec main sh -c 'echo inside >/root/file; rm /etc/group'
docks 'diff' diff main
is "$(sort "$OUT" | paste -sd,)" 'A /root/file,A /tmp/file,C /etc,C /root,C /tmp,D /etc/group' \
	'diff: what was added, changed and deleted'
docks 'commit' commit main stencil.example/committed:1
runs 'run of that image' --rm stencil.example/committed:1 sh -c 'cat /root/file; ! test -e /etc/group'
is "$(cat "$OUT")" inside 'commit: has what was written'

# ---- its end ------------------------------------------------------------------------------------

pod=$(qemus)
docks 'restart' restart --time 0 main
docks 'exec after it' exec main cat /root/file
is "$(cat "$OUT")" inside 'restart: it has its files'
isnt "$(qemus)" "$pod" 'restart: in another VM'
docks 'stop' stop --time 0 main
is "$(state main) $(dock inspect --format '{{.State.ExitCode}}' main)" 'exited 137' 'stop: is told'
pods_gone 'stop: no process stays'
docks 'cp into a stopped one' cp "$WORLD_DIR/file" main:/tmp/other
docks 'cp out of a stopped one' cp main:/tmp/other -
is "$(tar -xO <"$OUT")" outside 'cp: the file as it is'
docks 'start' start main
docks 'exec after it' exec main cat /tmp/other
docks 'rm' rm --force main
runs 'a process that ends by SIGTERM' --detach --name polite "$DOCKER_IMAGE" \
	sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 1000 & wait; done'
says polite ready
ok $? 'logs --follow: until it is ready'
docks 'stop' stop --time "$WAIT_SECONDS" polite
is "$(dock inspect --format '{{.State.ExitCode}}' polite)" 9 'stop: what it ended with'
docks 'rm' rm polite
docks 'create' create --name unstarted "$DOCKER_IMAGE" tail -f /dev/null
refuses 'kill before start' 'is not running' kill unstarted
docks 'rm before start' rm unstarted

docker_end
