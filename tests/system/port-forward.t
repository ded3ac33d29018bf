#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is dialled on loopback in a pod's network namespace, as port-forward does it, reaches what
# listens in the guest.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template

netns_add pod
ip -n pod link set lo up

MIB=16
capture container_detached server --with-ns network:/run/netns/pod -- sleep 100000
ok $? 'a container in a network namespace' || diag "$(cat "$ERR")"
serve() # ADDRESS PORT COMMAND
{
	capture in_container server probe serve "$@"
	done_well $? "it listens on $1, port $2"
}
serve 127.0.0.1 80 'wc -c'
serve 0.0.0.0 81 cat
serve ::1 82 cat
serve 127.0.0.1 83 sha256sum
serve 127.0.0.1 84 "seq 1 20000000 | head -c $((MIB << 20))"
serve 127.0.0.1 85 'sleep 100000'

dial() # ADDRESS PORT: what comes back for what is sent
{
	timeout "$WAIT_SECONDS" nsenter --net=/run/netns/pod "$STENCIL_BUSYBOX" nc "$1" "$2"
}
is "$(printf hello | dial 127.0.0.1 80)" 5 'an end of what is sent is one for the guest, and its answer comes'
is "$(printf hello | dial 127.0.0.1 81)" hello 'a listener on any address'
is "$(printf hello | dial ::1 82)" hello 'one on ::1'
is "$(printf hello | dial 127.0.0.1 82)" hello 'one on ::1, dialled by 127.0.0.1: localhost'
is "$(printf hello | dial ::1 80)" 5 'and the other way round'
is "$(printf hello | dial 127.0.0.1 99)" '' 'nobody listens, nothing comes'

for i in $(seq 100); do
	head -c "$((i * 1000))" /dev/zero | dial 127.0.0.1 80 >"$WORLD_DIR/answer.$i" &
	clients[i]=$!
done
wait "${clients[@]}"
is "$(for i in $(seq 100); do cat "$WORLD_DIR/answer.$i"; done | tr '\n' ' ')" \
	"$(seq 1000 1000 100000 | tr '\n' ' ')" 'a hundred at once, each its own'

head -c "$((MIB << 20))" /dev/urandom >"$WORLD_DIR/sent"
is "$(dial 127.0.0.1 83 <"$WORLD_DIR/sent" | cut -d' ' -f1)" \
	"$(sha256sum <"$WORLD_DIR/sent" | cut -d' ' -f1)" "$MIB MiB arrive as they were sent"
is "$(dial 127.0.0.1 84 </dev/null | sha256sum)" \
	"$(seq 1 20000000 | head -c "$((MIB << 20))" | sha256sum)" "and $MIB MiB come back"
rm "$WORLD_DIR/sent"

# A container that ends while somebody waits for it.
mkfifo "$WORLD_DIR/silent"
exec 9<>"$WORLD_DIR/silent"
dial 127.0.0.1 85 <&9 >/dev/null &
waiting=$!
capture container_remove server
done_well $? 'it is removed while a connection is open'
wait "$waiting"
isnt $? 124 'which ends'
system_end
