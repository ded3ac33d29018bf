#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A pod's network namespace reaches the guest as it is, and is left as it was found.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template

netns_add pod peer
ip -n pod link add eth0 mtu 1400 address 02:42:0a:63:00:02 type veth peer name eth0 netns peer mtu 1400
ip -n pod address add 10.99.0.2/24 dev eth0
ip -n pod address add fd99::2/64 dev eth0 nodad
ip -n peer address add 10.99.0.1/24 dev eth0
ip -n peer address add fd99::1/64 dev eth0 nodad
ip -n pod link set eth0 up
ip -n peer link set eth0 up
ip -n pod route add default via 10.99.0.1
ip -n pod route add 10.98.0.0/16 via 10.99.0.1

pod_state()
{
	ip -n pod -d link
	ip -n pod address | sed 's/ tentative//'
	ip -n pod route
	tc -n pod qdisc
}
before=$(pod_state)

capture container_detached net --with-ns network:/run/netns/pod -- sleep 1000
ok $? 'a container in a network namespace' || diag "$(cat "$ERR")"
capture in_container net sh -c 'ip address show eth0; ip route; ip -6 route'
seen=$(cat "$OUT")
like "$seen" 'mtu 1400' 'the guest has the MTU'
like "$seen" 'link/ether 02:42:0a:63:00:02' 'the hardware address'
like "$seen" 'inet 10\.99\.0\.2/24' 'the IPv4 address'
like "$seen" 'inet6 fd99::2/64' 'the IPv6 address'
like "$seen" 'default via 10\.99\.0\.1 dev eth0' 'the default route'
like "$seen" '10\.98\.0\.0/16 via 10\.99\.0\.1' 'the other route'
capture in_container net ping -c 2 -W "$WAIT_SECONDS" 10.99.0.1
ok $? 'ping from the guest' || diag "$(cat "$OUT")"
capture in_container net ping -6 -c 2 -W "$WAIT_SECONDS" fd99::1
ok $? 'ping from the guest, IPv6' || diag "$(cat "$OUT")"
capture nsenter --net=/run/netns/peer ping -c 2 -W "$WAIT_SECONDS" 10.99.0.2
ok $? 'ping to the guest' || diag "$(cat "$OUT")"
capture nsenter --net=/run/netns/peer ping -M 'do' -s 1372 -c 2 -W "$WAIT_SECONDS" 10.99.0.2
ok $? 'ping of the full MTU' || diag "$(cat "$OUT")"
capture container_remove net
done_well $? 'it is removed'
is "$(pod_state)" "$before" 'the namespace is as it was'

capture container_detached killed --with-ns network:/run/netns/pod -- sleep 1000
ok $? 'a second one in the same namespace' || diag "$(cat "$ERR")"
events_start
kill -KILL "$(pids_of containerd-shim-stencil-v2)"
event_wait "/tasks/delete.*$WORLD-killed" 'its shim is killed'
is "$(pod_state)" "$before" 'the namespace is as it was'
ctr container rm "$WORLD-killed"

works 'a namespace without a path means lo only' lonely -- ip -o link
is "$(grep -c . "$OUT")" 1 'and nothing else' || diag "$(cat "$OUT")"
# A wall's proof: docs/security.md.
refused 'the host network is refused' 'network namespace' host --net-host -- true
# Whatever leads to it: process 1's, a mount of it, a link.
touch /run/netns/hosts
mount -n --bind /proc/1/ns/net /run/netns/hosts
ln -s /run/netns/hosts /run/netns/link
links=$(ip -o link)
for path in /proc/1/ns/net /run/netns/hosts /run/netns/link; do
	# A wall's proof: docs/security.md.
	refused "the host network is refused as $path" \
		"${path} is the host's network namespace, and a VM can't use that; give the container" \
		hosts --with-ns "network:$path" -- true
done
is "$(ip -o link; tc qdisc | grep -c ingress)" "$links"$'\n0' 'and is as it was'
umount -n /run/netns/hosts
rm /run/netns/hosts /run/netns/link
for kind in ipc uts pid; do
	# A wall's proof: docs/security.md.
	refused "the host's $kind namespace is refused" \
		"/proc/1/ns/$kind is the host's $kind namespace, and a VM can't use that; leave the path out" \
		hosts --with-ns "$kind:/proc/1/ns/$kind" -- true
done
refused 'a namespace that is not there is refused by name' '/run/netns/absent' absent \
	--with-ns network:/run/netns/absent -- true
system_end
