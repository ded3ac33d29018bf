#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A name server at 127.0.0.11:53 of a pod's network namespace on the host, as Docker has one there,
# answers the pod, by datagrams and by connections.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template

# It knows one address, whatever it is asked; by a connection it says what it heard.
name_server() # NETNS
{
	: >"$WORLD_DIR/served"
	# shellcheck disable=SC2016 # Perl's variables
	ip netns exec "$1" perl -MSocket -MIO::Select -e '
		my $at = pack_sockaddr_in(53, inet_aton("127.0.0.11"));
		socket(my $udp, AF_INET, SOCK_DGRAM, 0);
		bind($udp, $at) or die "$!";
		socket(my $tcp, AF_INET, SOCK_STREAM, 0);
		setsockopt($tcp, SOL_SOCKET, SO_REUSEADDR, 1);
		bind($tcp, $at) or die "$!";
		listen($tcp, 9);
		$| = 1;
		print "ready\n";
		my $all = IO::Select->new($udp, $tcp);
		while (my @ready = $all->can_read) {
			for my $from (@ready) {
				if ($from == $tcp) {
					accept(my $one, $tcp) or next;
					local $/;
					syswrite $one, "heard " . <$one>;
					next;
				}
				my $asker = recv($udp, my $query, 512, 0) or next;
				my $id = unpack "n", $query;
				my $question = substr $query, 12, index($query, "\0", 12) - 12 + 5;
				my $is_a = unpack("n", substr $question, -4) == 1;
				my $answer = $is_a ? pack("n n n N n a4", 0xc00c, 1, 1, 1, 4, inet_aton("10.9.8.7")) : "";
				print "asked\n";
				send $udp, pack("n n n n n n", $id, 0x8180, 1, $is_a, 0, 0) . $question . $answer, 0, $asker;
			}
		}' >"$WORLD_DIR/served" 2>&1 &
	SERVER=$!
	wait_line "$WORLD_DIR/served" "$SERVER" ready ||
		bail "no name server: $(cat "$WORLD_DIR/served")"
}
at_exit 'name_server_end'
name_server_end()
{
	[ -n "${SERVER:-}" ] || return 0
	kill "$SERVER"
	wait "$SERVER"
	SERVER=
	return 0
}

netns_add pod other
ip -n pod link set lo up
ip -n other link set lo up
resolves() # NAME ID QUERY
{
	capture in_container "$2" nslookup -type=a "$3" 127.0.0.11
	done_well $? "$1"
	like "$(cat "$OUT")" '10\.9\.8\.7' "$1: the answer"
}

# ---- one that is there before the pod -----------------------------------------------------------

name_server pod
capture container_detached one --with-ns network:/run/netns/pod -- sleep 100000
ok $? 'a container' || diag "$(cat "$ERR")"
resolves 'a name' one first.example
for i in $(seq 20); do
	in_container one nslookup -type=a "many$i.example" 127.0.0.11 >"$WORLD_DIR/answer.$i" 2>&1 &
	askers[i]=$!
done
wait "${askers[@]}"
is "$(grep -l '10\.9\.8\.7' "$WORLD_DIR"/answer.* | wc -l)" 20 'twenty at once, each has its answer'
capture in_container one sh -c 'printf "by a connection" | nc 127.0.0.11 53'
is "$(cat "$OUT")" 'heard by a connection' 'a connection, an end and an answer'
is "$(printf 'the host' | timeout "$WAIT_SECONDS" nsenter --net=/run/netns/pod "$STENCIL_BUSYBOX" \
	nc 127.0.0.11 53)" 'heard the host' "on the host it is reached as ever, not by the pod's port-forward"
capture in_container one probe serve 0.0.0.0 53 cat
done_well $? 'a container may listen at that port itself'
capture in_container one sh -c 'printf own | nc 127.0.0.1 53'
is "$(cat "$OUT")" own 'and is reached'
name_server_end
capture timeout "$WAIT_SECONDS" ctr task exec --exec-id none "$WORLD-one" sh -c 'printf x | nc 127.0.0.11 53'
isnt $? 124 'where it has ended a connection ends, too'
is "$(cat "$OUT")" '' 'and nobody answers'
name_server pod
resolves 'a new one answers' one again.example
name_server_end

# ---- one that comes later -----------------------------------------------------------------------

capture container_detached two --with-ns network:/run/netns/other -- sleep 100000
ok $? 'a container without a name server' || diag "$(cat "$ERR")"
if capture in_container two sh -c 'printf x | nc 127.0.0.11 53'; then
	compared 1 'nobody listens' "$(cat "$OUT")"
else
	like "$(cat "$ERR")" 'refused' 'nobody listens'
fi
name_server other
ip -n other link add eth0 type veth peer name eth1
ip -n other link set eth0 up
capture in_container two probe until 'nslookup -type=a later.example 127.0.0.11 | grep -q 10.9.8.7'
done_well $? 'it comes with an interface, as by docker network connect'
name_server_end
system_end
