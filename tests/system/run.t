#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Containers as containerd's users drive them: output, input, terminal, exec, signals, limits.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template
mem_total()
{
	awk '$1 == "MemTotal:" { print int($2 / 1024) }' "$OUT"
}

# ---- process ------------------------------------------------------------------------------------

works 'uname -r' uname -- uname -r
guest=$(cat "$OUT")
like "$guest" . 'tells a kernel'
isnt "$guest" "$(uname -r)" 'is not the host kernel'
works 'environment and folder' env --env A=b --env NAME=Jürgen --cwd /tmp -- sh -c 'echo $A $NAME $PWD'
is "$(cat "$OUT")" 'b Jürgen /tmp' 'are the given ones, also beyond ASCII'
works 'files in the root file system' files -- sh -e -c 'umask 022; mkdir /d; echo hi >/d/f
	chmod 751 /d/f; chown 5:6 /d/f; ln -s f /d/l; ln /d/f /d/h; mv /d/h /d/g; rm /d/f
	stat -c "%n %A %u:%g %h" /d/*; cat /d/g'
is "$(cat "$OUT")" $'/d/g -rwxr-x--x 5:6 1\n/d/l lrwxrwxrwx 0:0 1\nhi' \
	'are made, changed, named and removed'
works 'standard error' stderr -- sh -c 'echo out; echo err >&2'
is "$(cat "$OUT") $(cat "$ERR")" 'out err' 'is apart from standard output'
for code in 1 42 255; do
	capture container "exit$code" -- sh -c "exit $code"
	is $? "$code" "exit code $code"
done
# Its pid namespace protects process 1 from itself: the signal has to come from one below it.
capture container signalled -- sh -c 'sh -c "kill -9 \$\$"; exit $?'
is $? 137 'a process that a signal ended is 128 and its number'
refused 'a program that is not there is named' 'no-such-program' missing -- no-such-program
works 'one megabyte of output' output -- sh -c 'head -c 1048576 /dev/zero'
is "$(stat -c %s "$OUT")" 1048576 'arrives whole'

# As nerdctl does it: a program of its own takes the output.
cat >"$WORLD_DIR/logger" <<-END
	#!/bin/bash
	exec 6>&5 5>&-
	cat <&3 >$WORLD_DIR/logger.out 6>&- &
	cat <&4 >$WORLD_DIR/logger.err 6>&- &
	echo "\$CONTAINER_NAMESPACE \$CONTAINER_ID \$*" >$WORLD_DIR/logger.words
	exec 6>&-
	wait
END
chmod +x "$WORLD_DIR/logger"
events_start
capture container logged --detach --log-uri "binary://$WORLD_DIR/logger?a=b%20c" -- \
	sh -c 'seq 2000; echo err >&2'
done_well $? 'a container with a program for its output'
event_wait "/tasks/exit.*$WORLD-logged" 'runs'
capture ctr task ps "$WORLD-logged"
like "$(sed 1d "$OUT")" '^[1-9][0-9]* ' 'its process is there until it is deleted, for a containerd that comes back'
capture container_remove logged
done_well $? 'and can be removed'
is "$(wc -l <"$WORLD_DIR/logger.out") $(cat "$WORLD_DIR/logger.err")" '2000 err' 'the program has all of the output'
is "$(cat "$WORLD_DIR/logger.words")" "$WORLD $WORLD-logged a b c" 'and the words of its URI'

# What a kernel loads when it is asked for, of links and of the sockets that link-tools use.
# shellcheck disable=SC2016 # expanded in the container
works 'kernel modules on demand' modules --cap-add CAP_NET_ADMIN --cap-add CAP_NET_RAW -- sh -c '
	for type in bridge dummy ifb veth wireguard; do
		ip link add "new$type" type "$type" || exit 1
	done
	brctl addbr br9 && cat /proc/modules'
for module in bridge dummy ifb veth wireguard ip_tables ip6_tables; do
	like $'\n'"$(cat "$OUT")" $'\n'"$module " "$module is there"
done
works 'its cgroup is the root of what it sees' cgroup --memory-limit 209715200 \
	--mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro -- cat /sys/fs/cgroup/memory.max
is "$(cat "$OUT")" 209715200 'and its limits are where programs look for them'

# ---- devices ------------------------------------------------------------------------------------

# The sockets of a network namespace of its own; the driver is loaded when it is opened.
# shellcheck disable=SC2016 # expanded in the container
works 'devices that any kernel has' devices --cap-add CAP_NET_ADMIN --device /dev/net/tun --device /dev/fuse -- sh -c '
	cat </dev/fuse 2>&1 | sed "s/.*: //"
	tunctl -t tap7 >/dev/null && cat /sys/class/net/tap7/tun_flags; ls /dev'
is "$(sed -n 1,2p "$OUT")" $'Operation not permitted\n0x1802' 'are the guest'"'"'s own, and work'
unlike "$(cat "$OUT")" 'loop' 'others are not there'
# shellcheck disable=SC2016 # expanded in the container
works 'loop devices in a privileged container' loop --privileged -- sh -ec '
	truncate -s 1M /tmp/file; device=$(losetup -f); losetup "$device" /tmp/file
	echo text >"$device"; head -n 1 /tmp/file; losetup -d "$device"; ls /dev | grep -c "^v[dp]" || true'
is "$(cat "$OUT")" $'text\n0' 'work, and the disks and channels of the VM are not there'
mknod "$WORLD_DIR/card" c 250 7
refused 'a device of the host is named' \
	"linux.devices: $WORLD_DIR/card is a device of the host \(250:7\), and a VM can't have that" card \
	--device "$WORLD_DIR/card" -- true

# ---- standard input, terminal -------------------------------------------------------------------

input()
{
	head -c 300000 /dev/zero | tr '\0' x | container stdin -- wc -c
}
capture input
is "$(tr -d ' ' <"$OUT")" 300000 'standard input arrives whole and ends'
terminal()
{
	script --quiet --return --command \
		"ctr run --rm --tty --runtime $RUNTIME $IMAGE $WORLD-tty sh -c 'tty; stty size; exit 3'" \
		/dev/null </dev/null
}
capture terminal
is $? 3 'exit code through a terminal'
like "$(cat "$OUT")" '/dev/pts/[0-9]|/dev/console' 'a terminal is one'

# ---- exec, signals, state -----------------------------------------------------------------------

capture container_detached main -- sh -c 'trap "exit 7" TERM; while :; do tail -f /dev/null & wait; done'
ok $? 'a container that runs on' || diag "$(cat "$ERR")"
like "$(ctr task ls)" "$WORLD-main +[0-9]+ +RUNNING" 'is listed as running'
capture in_container main sh -c 'echo exec; exit 5'
is "$? $(cat "$OUT")" '5 exec' 'exec: output and exit code'
# ctr forgets to close an input that ends before its exec is known to containerd.
piped()
{
	{
		echo text
		wait_line "$EVENTS" "$EVENTS_PID" '/tasks/exec-started.*"exec_id":"piped"'
	} | timeout "$WAIT_SECONDS" ctr task exec --exec-id piped "$WORLD-main" cat
}
capture piped
is "$(cat "$OUT")" text 'exec: standard input'
refused_exec=$(in_container main no-such-program 2>&1)
like "$refused_exec" 'no-such-program' 'exec: a program that is not there is named'
for i in 1 2 3 4; do
	in_container main sh -c "echo $i" >"$WORLD_DIR/exec$i" &
	pids[i]=$!
done
for i in 1 2 3 4; do
	wait "${pids[i]}"
done
is "$(cat "$WORLD_DIR"/exec[1-4] | tr -d '\n')" 1234 'four at once'
# The process on the host that stands for it.
pid=$(task_pid main)
kill -0 "$pid"
ok $? 'the pid that containerd tells is a process'
like "$(tr '\0' ' ' <"/proc/$pid/cmdline")" '^sh -c trap .* & wait; done $' 'with the arguments of the one in the guest'
isnt "$(readlink "/proc/$pid/ns/net")" "$(readlink /proc/self/ns/net)" 'in a network namespace of its own'
is "$(awk '$1 == "CapEff:" { print $2 }' "/proc/$pid/status")" 0000000000000000 'without capabilities'
is "$(ls -A "/proc/$pid/root/")" '' 'and without files'
less "$(private_kib "$pid")" 100 'and hardly any memory'
timeout "$WAIT_SECONDS" ctr task exec --exec-id long "$WORLD-main" sleep 1000 >/dev/null &
event_wait '/tasks/exec-started.*"exec_id":"long"' 'an exec that runs on'
exec_pid=$(sed -n 's/.*exec-started.*"exec_id":"long","pid":\([0-9]*\).*/\1/p' "$EVENTS")
is "$(tr '\0' ' ' <"/proc/$exec_pid/cmdline")" 'sleep 1000 ' 'has a process of its own'
capture ctr task ps "$WORLD-main"
is "$(awk '$1 < 10000000 && $1 + 0 { print $1 }' "$OUT" | sort -n | xargs)" "$(printf '%s\n' "$pid" "$exec_pid" | sort -n | xargs)" \
	'they are among the processes of the container'
like "$(cat "$OUT")" "$exec_pid +.*long" 'an exec by its id'
is "$(awk '$1 + 0 > 10000000' "$OUT" | wc -l)" 1 'and what the first one has started, as one of the guest'
kill -KILL "$exec_pid"
event_wait '/tasks/exit.*"id":"long".*"exit_status":137' 'whose end is that of the exec'
is "$(ls -d "/proc/$exec_pid" 2>/dev/null)" '' 'and of which nothing is left'
wait $!
kill -TERM "$pid"
event_wait "/tasks/exit.*\"id\":\"$WORLD-main\".*\"exit_status\":7" 'SIGTERM on the host reaches its trap, its exit code comes back'
wait_gone "$pid"
ok $? 'and its process has ended'
capture container_remove main
ok $? 'it is removed' || diag "$(cat "$ERR")"
for topic in create start exec-added exec-started exit delete; do
	event_wait "/tasks/$topic .*$WORLD-main" "the $topic event was published"
done

# ---- several at once ----------------------------------------------------------------------------

for i in 1 2 3; do
	container "many$i" -- sh -c "echo $i" >"$WORLD_DIR/many$i" 2>"$WORLD_DIR/many$i.err" &
	pids[i]=$!
done
for i in 1 2 3; do
	wait "${pids[i]}"
	ok $? "container $i of three at once" || diag "$(cat "$WORLD_DIR/many$i.err")"
done
is "$(cat "$WORLD_DIR"/many[1-3] | tr -d '\n')" 123 'each has its own output'

# ---- limits, mounts -----------------------------------------------------------------------------

works 'no limits' small -- cat /proc/meminfo
small=$(mem_total)
works '2 CPUs and 512 MiB' large --cpus 2 --memory-limit 536870912 -- \
	sh -c 'echo "nproc $(nproc)"; cat /proc/meminfo'
if limit=$(cpu_limit "$WORLD-large" "$guest"); then
	skip 'nproc is 2' "under emulation this $limit"
else
	is "$(awk '$1 == "nproc" { print $2 }' "$OUT")" 2 'nproc is 2'
fi
grown=$(($(mem_total) - small))
between "$grown" 504 520 'MemTotal grew by 512 MiB'
mkdir "$WORLD_DIR/shared"
echo hello >"$WORLD_DIR/shared/file"
works 'a bind mount' bind --mount "type=bind,src=$WORLD_DIR/shared,dst=/mnt,options=rbind:rw" -- \
	sh -c 'cat /mnt/file; echo back >/mnt/answer'
is "$(cat "$OUT") $(cat "$WORLD_DIR/shared/answer")" 'hello back' 'works both ways'
works 'a read-only one' bind-ro --mount "type=bind,src=$WORLD_DIR/shared,dst=/mnt,options=rbind:ro" \
	-- sh -c '! echo x 2>/dev/null >/mnt/answer'
is "$(cat "$WORLD_DIR/shared/answer")" back 'cannot be written to'
works "a bind mount of the guest's own /sys" sys --mount type=bind,src=/sys/kernel,dst=/mnt,options=rbind:ro -- \
	cat /mnt/mm/transparent_hugepage/enabled
works 'a read-only root' readonly --read-only -- sh -c '! touch /x 2>/dev/null'
# Who may mount in the guest comes no further than that: it is read-only on the host. What mounts are put
# on was made in it before.
# A wall's proof: docs/security.md.
works 'a read-only root that is mounted anew' remount --read-only --privileged \
	--mount type=tmpfs,src=tmpfs,dst=/made/for/this -- sh -c 'mount -o remount,rw / &&
		echo >/made/for/this/x && echo x 2>&1 >/x | grep -q "Read-only file system"'
system_end
