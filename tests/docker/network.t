#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Networks through the real dockerd: addresses, names, ports, and what changes while a container runs.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
# shellcheck source=/dev/null
. "${BASH_SOURCE[0]%/*}/../lib/docker.sh"
system_template
docker_start

# One that serves a word at a port; $IP is its address.
serve() # NAME WORD RUN-ARGUMENT...
{
	runs "a server, $1" --detach --name "$1" "${@:3}" "$DOCKER_IMAGE" \
		sh -c "nc -ll -p 7000 -e echo $2 &
			until netstat -ltn | grep -q :7000; do :; done; echo ready; wait"
	says "$1" ready
	ok $? "$1 is ready"
	IP=$(dock inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1")
}

# What a server says to the host.
heard() # ADDRESS PORT
{
	timeout "$WAIT_SECONDS" bash -c 'cat <"/dev/tcp/$1/$2"' heard "$@"
}

# ---- the bridge ---------------------------------------------------------------------------------

serve plain one
docks 'exec' exec plain ip -o address show dev eth0
like "$(cat "$OUT")" "inet $IP/16" 'bridge: the container has the address that docker tells'
is "$(heard "$IP" 7000)" one 'bridge: the host reaches it'
runs 'bridge: another one reaches it' --rm "$DOCKER_IMAGE" nc "$IP" 7000
is "$(cat "$OUT")" one 'bridge: by its address'
runs 'run --network none' --rm --network none "$DOCKER_IMAGE" sh -c 'ls /sys/class/net'
is "$(cat "$OUT")" lo 'none: lo alone'
runs 'run --mac-address' --rm --mac-address 02:42:00:00:00:99 "$DOCKER_IMAGE" cat /sys/class/net/eth0/address
is "$(cat "$OUT")" 02:42:00:00:00:99 '--mac-address: it has that'
docks 'rm' rm --force plain

# ---- ports --------------------------------------------------------------------------------------

serve published two --publish 7001:7000
is "$(heard 127.0.0.1 7001)" two '--publish: from the host, by lo'
gateway=$(dock network inspect --format '{{(index .IPAM.Config 0).Gateway}}' bridge)
runs '--publish: from another one' --rm "$DOCKER_IMAGE" nc "$gateway" 7001
is "$(cat "$OUT")" two "--publish: by the host's address"
docks 'rm' rm --force published

# ---- a network of one's own ---------------------------------------------------------------------

docks 'network create' network create --subnet 10.77.0.0/24 own
serve named three --network own --ip 10.77.0.9
is "$IP" 10.77.0.9 '--ip: it has that'
runs 'own network: another one' --rm --network own "$DOCKER_IMAGE" nc 10.77.0.9 7000
is "$(cat "$OUT")" three 'own network: reaches it by its address'
runs 'own network: by its name' --rm --network own "$DOCKER_IMAGE" nc named 7000
is "$(cat "$OUT")" three 'own network: Docker resolves that'
runs 'own network: an alias' --rm --network own --network-alias itself "$DOCKER_IMAGE" sh -c \
	'nslookup -type=a itself && ip -o address show eth0'
like "$(cat "$OUT")" "Address: 10\.77\.0\.([0-9]+)[^0-9].*inet 10\.77\.0\.\1/" "own network: an alias of one's own"
runs 'own network: a name by a connection' --rm --network own "$DOCKER_IMAGE" sh -c \
	'printf "\0\027\0\1\1\0\0\1\0\0\0\0\0\0\5named\0\0\1\0\1" | nc 127.0.0.11 53 | tail -c 4 | hexdump -ve "1/1 \"%u \""'
is "$(cat "$OUT")" '10 77 0 9 ' 'own network: and the answer comes by it'
runs "own network: a name server of one's own" --rm --network own "$DOCKER_IMAGE" sh -c \
	'nc -ll -p 53 -e echo mine & until netstat -ltn | grep -q "0.0.0.0:53\|:::53"; do :; done
	nc 127.0.0.1 53; nc named 7000'
is "$(cat "$OUT")" $'mine\nthree' 'own network: which has its port, and does not hide the names'
runs 'own network: beside another container' --rm --network container:named "$DOCKER_IMAGE" nc named 7000
is "$(cat "$OUT")" three 'own network: that resolves names, too'

# ---- changes while it runs ----------------------------------------------------------------------

serve moving four
docks 'network connect' network connect --ip 10.77.0.20 own moving
docks 'exec' exec named sh -c 'until nc -w 1 10.77.0.20 7000; do :; done'
is "$(cat "$OUT")" four 'network connect: it is reached by its new address'
docks 'exec' exec moving nc named 7000
is "$(cat "$OUT")" three 'network connect: it resolves names of that network'
docks 'exec' exec named nc moving 7000
is "$(cat "$OUT")" four 'network connect: and its own is one of them'
docks 'exec' exec moving ls /sys/class/net
is "$(sort "$OUT" | paste -sd' ')" 'eth0 eth1 lo' 'network connect: a second interface'
docks 'network disconnect' network disconnect own moving
docks 'exec' exec moving sh -c 'while [ -e /sys/class/net/eth1 ]; do :; done; ls /sys/class/net'
is "$(sort "$OUT" | paste -sd' ')" 'eth0 lo' 'network disconnect: it is gone'
docks 'rm' rm --force named moving
docks 'network rm' network rm own

docker_end
