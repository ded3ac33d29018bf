#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One fault in each life of a pod: whatever call fails, in the shim, its verbs, the file server, or
# templated, the client's commands end, nothing is left, and the next pod starts. A part of `make soak`.
#
# The programs are those of inject.c. Clean lives show on which ways calls are come by; then each of
# FAULTS cycles takes one of these ways, in an order that SEED gives, and has that call fail. All ways
# come once before one comes twice. In KILLS further ones a shim, or one of its verbs, is killed in the
# place of the call. A failed cycle says how to repeat it with the same build: FAULT=<what it printed>.
# ONLY=<regular expression> takes the ways alone that match, as they are printed: "rmdir .*cgroup".
export STENCIL_PROGRAMS=$STENCIL_BUILD/tests/fault
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
faults=${FAULTS:-1000} kills=${KILLS:-200} seed=${SEED:-$RANDOM}
WAIT_SECONDS=${FAULT_SECONDS:-$WAIT_SECONDS}
stencil_config >"$STENCIL_CONF"
faults new || bail 'no board for faults'
at_exit 'rm -f /run/stencil-faults'
system_template
netns_with_eth0 pod 10.99.0.2/24
mkdir "$WORLD_DIR/volume"
echo hello >"$WORLD_DIR/volume/file"

# ---- a life --------------------------------------------------------------------------------------

# A command of the client's: it may fail, but ends, and says why. What is wrong is added to $wrong.
client() # NAME COMMAND [ARGUMENT...]
{
	local name=$1 status

	shift
	capture timeout "$WAIT_SECONDS" "$@"
	status=$?
	[ "$status" -ne 124 ] || wrong+="$name hangs"$'\n'
	[ "$status" -eq 0 ] && return
	said+="$name: $(tr '\n' ' ' <"$ERR" | cut -c 1-600)"$'\n'
	[ -s "$ERR" ] || wrong+="$name fails with status $status and says nothing"$'\n'
	return "$status"
}

tasks()
{
	timeout "$WAIT_SECONDS" ctr task ls -q
}

# What the client does once more when it went wrong.
remove() # ID
{
	tasks | grep -qx "$1" && client 'task rm' ctr task rm --force "$1"
	tasks | grep -qx "$1" || ! ctr container info "$1" >/dev/null 2>&1 ||
		client 'container rm' ctr container rm "$1"
}

# Create, start, exec, with vCPUs, memory, a network and a volume; kill; delete.
live() # ID
{
	local id=$WORLD-$1

	if client run ctr run --detach --null-io --runtime "$RUNTIME" --cpus 2 --memory-limit 536870912 \
		--with-ns network:/run/netns/pod \
		--mount "type=bind,src=$WORLD_DIR/volume,dst=/mnt,options=rbind:rw" "$IMAGE" "$id" tail -f /dev/null; then
		client exec ctr task exec --exec-id exec "$id" cat /mnt/file &&
			[ "$(cat "$OUT")" != hello ] && wrong+="exec says: $(cat "$OUT")"$'\n'
		client kill ctr task kill --signal SIGKILL "$id"
	fi
	remove "$id"
	remove "$id"
	[ -z "$(tasks)$(ctr container ls -q)" ] || wrong+="the container is still there"$'\n'
}

# ---- what is left --------------------------------------------------------------------------------

# The names of generations and leases differ, their number may not. What looks is no pipe's process:
# it would see itself.
look() # FILE
{
	look_unsorted >"$1.unsorted" 2>/dev/null
	sort "$1.unsorted" >"$1"
}

look_unsorted()
{
	world_look >"$WORLD_DIR/world"
	# A compaction that failed has left its note for the next one, which needs it.
	grep -vE '^file /([^r]|run/(containerd-private/root|tmp|stencil/template/\.compact-.*)/?)' "$WORLD_DIR/world" |
		sed -E 's:/run/stencil/template/[0-9][^/]*:/run/stencil/template/generation:'
	ip -n pod -o link | awk '{ print "in the pod:", $2 }'
	tc -n pod qdisc | sed 's/^/in the pod: /'
	tc -n pod filter show dev eth0 ingress | sed 's/^/in the pod: /'
	ip netns exec pod ss -HlnA tcp | sed 's/^/in the pod: /'
	echo "descriptors of templated: $(find "/proc/$TEMPLATED_PID/fd" -mindepth 1 | wc -l)"
	echo "threads of templated: $(find "/proc/$TEMPLATED_PID/task" -mindepth 1 -maxdepth 1 | wc -l)"
}

left()
{
	look "$WORLD_DIR/look"
	! diff "$WORLD_DIR/clean" "$WORLD_DIR/look" | grep '^>'
}

# The end of a shim, of a lease, of what containerd does behind a client's back: in their own time.
left_at_last()
{
	local deadline=$((SECONDS + WAIT_SECONDS))

	# shellcheck disable=SC2046 # one word for each
	wait_gone $(pod_processes)
	while ! left >/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
		timeout "$WAIT_SECONDS" templatectl --config "$STENCIL_CONF" status >/dev/null 2>&1 || break
	done
	left
}

# Nobody cleans up after a verb of the shim's that was killed, or takes away the cgroup of a shim that was
# on its way out: containerd has asked already. What README says for a sandbox that containerd has forgotten
# does, as the next pod's end would.
sweep_by_hand() # ID
{
	client delete containerd-shim-stencil-v2 -namespace "$WORLD" -id "$1" \
		-address "$CONTAINERD_ADDRESS" -bundle "$WORLD_DIR/volume" delete
}

# After a failure: the next cycle must find a clean world.
recover()
{
	local pid

	for pid in $(pod_processes); do
		kill -KILL "$pid"
	done
	for pid in $(tasks); do
		timeout "$WAIT_SECONDS" ctr task rm --force "$pid"
	done
	for pid in $(ctr container ls -q); do
		ctr container rm "$pid"
	done
	for pid in eth0 eth1; do
		tc -n pod qdisc del dev "$pid" ingress
	done
	templated_ensure
	look "$WORLD_DIR/clean"
} >/dev/null 2>&1

templated_ensure()
{
	[ -d "/proc/$TEMPLATED_PID" ] && ! grep -q '^State:.*Z' "/proc/$TEMPLATED_PID/status" && return
	wait "$TEMPLATED_PID"
	templated_try_start
	return 1
}

# ---- the ways ------------------------------------------------------------------------------------

# The ways that were come by since the last `arm`, behind a name of what was done.
ways() # SCENE
{
	faults sites | awk -v scene="$1" '$4 > 0 { print scene, $0 }'
}

# Names for return addresses: "program address function file:line".
name_addresses()
{
	local program

	for program in containerd-shim-stencil-v2 templated stencil-files; do
		awk -v program="$program" '$2 == program { for (i = 7; i <= NF; i++) print $i }' "$WORLD_DIR/ways" |
			sort -u >"$WORLD_DIR/addresses"
		addr2line -fe "$STENCIL_PROGRAMS/$program" <"$WORLD_DIR/addresses" | paste - - |
			paste "$WORLD_DIR/addresses" - | awk -v program="$program" '{ print program, $0 }'
	done | sed "s:$STENCIL_SOURCE/::" >"$WORLD_DIR/names"
}

# "SCENE PROGRAM CALL HASH NTH ERROR WAY", a line for each cycle.
plan()
{
	perl -e '
		my ($seed, $faults, $kills, $only, $names, $ways) = @ARGV;
		my (%name, @ways);
		srand $seed;
		open my $in, "<", $names or die;
		while (<$in>) {
			my ($program, $address, $function, $line) = split;
			$name{"$program $address"} = "$function $line";
		}
		open $in, "<", $ways or die;
		for (sort <$in>) {
			my ($scene, $program, $call, $hash, $count, $errors, @frames) = split;
			my @way = map { $name{"$program $_"} =~ s:(\S+) \S*/(\S+/\S+):$1 ($2):r } @frames;
			# Its verbs are programs of their own.
			$program .= "-$1" if "@way" =~ /\bprint_(start|delete)\b/;
			$#way = 4 if $#way > 4;
			my $way = join " < ", @way;
			push @ways, [$scene, $program, $call, $hash, $count, $errors, $way]
				if "$scene $program $call $way" =~ /$only/;
		}
		sub choose {
			my ($n, $error, @of) = @_;
			my (@rest, @chosen);
			while (@chosen < $n && @of) {
				my $first = @chosen < @of && !$error;
				@rest = @of if !@rest;
				my ($scene, $program, $call, $hash, $count, $errors, $way) =
					@{splice @rest, int rand @rest, 1};
				my @errors = split /,/, $errors;
				my $nth = $first || $count == 1 ? 1 : 1 + int rand($count > 20 ? 20 : $count);
				push @chosen, "$scene $program $call $hash $nth " .
					($error || $errors[rand @errors]) . " $way";
			}
			print "$_\n" for @chosen;
		}
		choose($faults, 0, @ways);
		choose($kills, "SIGKILL", grep { "@$_" =~ /^live containerd-shim/ } @ways)' \
		"$seed" "$faults" "$kills" "${ONLY:-.}" "$WORLD_DIR/names" "$WORLD_DIR/ways"
}

# ---- clean lives ---------------------------------------------------------------------------------

refresh()
{
	client refresh templatectl --config "$STENCIL_CONF" refresh
}

said='' wrong='' lives=0
live first
live second
is "$said$wrong" '' 'clean lives'
left_at_last >/dev/null 2>&1
faults disarm
live third
ways live >"$WORLD_DIR/ways"
faults disarm
refresh
ways refresh >"$WORLD_DIR/more"
is "$said$wrong" '' 'another one, and a refresh'
# A call's first way counts.
awk '!seen[$4]++' "$WORLD_DIR/ways" "$WORLD_DIR/more" >"$WORLD_DIR/all"
mv "$WORLD_DIR/all" "$WORLD_DIR/ways"
name_addresses
look "$WORLD_DIR/clean"
diag "seed $seed; $(wc -l <"$WORLD_DIR/ways") ways to a call:" \
	"$(awk '{ print $1, $2 }' "$WORLD_DIR/ways" | sort | uniq -c | sed 's/^ */; /' | tr -d '\n')"

# ---- faults --------------------------------------------------------------------------------------

cycle() # SCENE PROGRAM CALL HASH NTH ERROR WAY...
{
	local name="$1 $2 $3, ${*:7}: $6, $5." from=$SECONDS fired='not come by'

	said='' wrong=''
	faults arm "$4" "$5" "$6"
	[ "$1" = refresh ] && refresh
	id=f$((++lives))
	live "$id"
	! faults fired || { fired=fired; injected=$((injected + 1)); }
	faults disarm
	templated_ensure || wrong+="templated has ended: $(tail -n 2 "$TEMPLATED_LOG")"$'\n'
	# shellcheck disable=SC2046 # one word for each
	wait_gone $(pod_processes)
	if [ "$6" = SIGKILL ] && { [[ $2 == *-@(start|delete) ]] || ! left | grep -qv '/shim-[0-9]*$'; }; then
		sweep_by_hand "$WORLD-$id"
	fi
	wrong+=$(left_at_last)
	TAP_QUIET=1 ok "$([ -z "$wrong" ]; echo $?)" "$name ($fired, $((SECONDS - from)) s)"
	[ -z "$said" ] || diag "said: $said"
	[ -z "$wrong" ] && return
	diag "wrong: $wrong"
	diag "to repeat it: make soak-faults FAULT='$1 $2 $3 $4 $5 $6'"
	diag "$(tail -n 8 "$CONTAINERD_LOG" | cut -c 1-500)"
	diag "templated: $(tail -n 3 "$TEMPLATED_LOG")"
	recover
}

injected=0
if [ -n "${FAULT:-}" ]; then
	# shellcheck disable=SC2086 # words
	cycle $FAULT
else
	plan >"$WORLD_DIR/plan"
	while read -r -u 4 -a words; do
		cycle "${words[@]}"
	done 4<"$WORLD_DIR/plan"
fi
# A way may be another one in the next life: some are not come by.
[ "$injected" -gt 0 ]
ok $? "faults were injected: $injected"
said='' wrong='' lives=0
live last
is "$said$wrong" '' 'a clean life at the end'
rm -f /run/stencil-faults
system_end
