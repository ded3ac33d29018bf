#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What changes in a pod's network namespace while the pod runs changes in the guest.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template

netns_add pod peer
pod() { ip -n pod "$@"; }
interface_add() # NAME ADDRESS
{
	pod link add "$1" address "$2" type veth peer name "$1" netns peer
	ip -n peer link set "$1" up
	pod link set "$1" up
}
pod link set lo up
interface_add eth0 02:42:0a:63:00:02
pod address add 10.99.0.2/24 dev eth0
ip -n peer address add 10.99.0.1/24 dev eth0

capture container_detached net --with-ns network:/run/netns/pod -- sleep 100000
ok $? 'a container in a network namespace' || diag "$(cat "$ERR")"

# The guest gets there by itself: it is told when something of its network changes.
seen() # NAME COMMAND
{
	capture in_container net probe until "$2"
	ok $? "$1" || diag "$(in_container net sh -c 'ip address; ip route; ip neigh; ip rule')"
}

# What an interface brings with it when it is plugged into a running pod.
interface_add eth1 02:42:0a:62:00:02
pod address add 10.98.0.2/24 dev eth1
pod -6 address add fd98::2/64 dev eth1 nodad
ip -n peer address add 10.98.0.1/24 dev eth1
pod route add 10.97.0.0/16 via 10.98.0.1
seen 'an interface, its name and its hardware address' \
	'ip link show eth1 | grep -q "ether 02:42:0a:62:00:02"'
seen 'its IPv4 address' 'ip address show eth1 | grep -q "inet 10.98.0.2/24"'
seen 'its IPv6 address' 'ip address show eth1 | grep -q "inet6 fd98::2/64"'
seen 'a route by it' 'ip route | grep -q "10.97.0.0/16 via 10.98.0.1 dev eth1"'
capture in_container net ping -c 1 -W "$WAIT_SECONDS" 10.98.0.1
done_well $? 'packets go through it'

pod link set eth1 mtu 1300
seen 'another MTU' 'ip link show eth1 | grep -q "mtu 1300"'
pod link set eth1 mtu 9000
seen 'a larger one than at first' 'ip link show eth1 | grep -q "mtu 9000"'
capture in_container net sh -c 'ip route | grep -c "10.97.0.0/16 via 10.98.0.1 dev eth1"'
is "$(cat "$OUT")" 1 'and the route is there still'
pod link set eth1 down
seen 'a link that is down' '! ip link show eth1 | grep -q "[<,]UP[,>]"'
seen 'with it go its routes' '! ip route | grep -q eth1'
pod link set eth1 up
seen 'and that is up again' 'ip link show eth1 | grep -q "[<,]UP[,>]"'
seen 'with its own route' 'ip route | grep -q "10.98.0.0/24 dev eth1"'
pod address add 10.96.0.2/32 dev eth1
seen 'one more address' 'ip address show eth1 | grep -q "inet 10.96.0.2/32"'
pod address delete 10.98.0.2/24 dev eth1
seen 'one address less' '! ip address show eth1 | grep -q "inet 10.98.0.2/24"'
seen 'and the other one stays' 'ip address show eth1 | grep -q "inet 10.96.0.2/32"'

pod route add 192.0.2.0/24 via 10.99.0.1
seen 'a route' 'ip route | grep -q "192.0.2.0/24 via 10.99.0.1 dev eth0"'
pod route delete 192.0.2.0/24
seen 'and its end' '! ip route | grep -q 192.0.2.0/24'
pod neighbour add 10.99.0.7 lladdr 02:00:00:00:00:07 nud permanent dev eth0
seen 'a fixed neighbour' 'ip neigh | grep -q "10.99.0.7 dev eth0 lladdr 02:00:00:00:00:07"'
pod neighbour delete 10.99.0.7 dev eth0
seen 'and its end' '! ip neigh | grep -q 10.99.0.7'
pod rule add from 10.99.0.2 lookup 100 priority 50
pod route add default via 10.99.0.1 table 100
seen 'a rule' 'ip rule | grep -q "^50:.*from 10.99.0.2 lookup 100"'
seen 'and its table' 'ip route show table 100 | grep -q "default via 10.99.0.1 dev eth0"'
pod rule delete priority 50
seen 'and its end' '! ip rule | grep -q ^50:'

pod link set eth1 down
seen 'a link that is down once more' '! ip link show eth1 | grep -q "[<,]UP[,>]"'
pod link set eth1 name backend
seen 'another name' 'ip link show backend'
pod link set backend up
seen 'and all that it had' 'ip address show backend | grep -q "inet 10.96.0.2/32"'
pod link delete backend
seen 'an interface that goes' '! ip link show backend 2>/dev/null && ! ip link show eth1 2>/dev/null'
interface_add backend 02:42:0a:62:00:03
pod address add 10.98.0.3/24 dev backend
seen 'and one of the same name that comes' 'ip address show backend | grep -q "inet 10.98.0.3/24"'
# Ports are given back: more of them come and go, in all, than there are.
for i in $(seq 40); do
	pod link delete backend
	interface_add backend "02:42:0a:62:01:$(printf %02x "$i")"
done
seen 'forty times' 'ip link show backend | grep -q "ether 02:42:0a:62:01:28"'
capture in_container net sh -c 'ls /sys/class/net | wc -l'
is "$(cat "$OUT")" 3 'nothing is left of the others'

# A paused container finds all of it when it goes on.
capture ctr task pause "$WORLD-net"
done_well $? 'the container is paused'
pod address add 10.95.0.2/24 dev backend
capture ctr task resume "$WORLD-net"
done_well $? 'and goes on'
seen 'what changed meanwhile' 'ip address show backend | grep -q "inet 10.95.0.2/24"'

# A container that ends while something changes.
interface_add late 02:42:0a:61:00:02
capture container_remove net
done_well $? 'it is removed while an interface comes'
is "$(tc -n pod qdisc | grep -c ingress)$(pod -o link | grep -c stncl)" 00 'nothing of it is left'
system_end
