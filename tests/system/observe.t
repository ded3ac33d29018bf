#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What templated tells of itself, with real clones: status, metrics, events.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
METRICS=/run/metrics.sock
printf '[factory]\nmetrics_endpoint = %s\n' "$METRICS" >>"$STENCIL_CONF"
printf '[hypervisor]\nenable_annotations = hypervisor.default_memory\n' >>"$STENCIL_CONF"

ctl()
{
	capture templatectl --config "$STENCIL_CONF" "$@"
}

# A value of `templatectl status --json`: PATH is a Perl expression behind the object.
status_value() # PATH
{
	ctl status --json && perl -MJSON::PP -0777 -e '
		my $status = decode_json(<STDIN>);
		my $value = eval "\$status->'"$1"'";
		print defined $value ? $value : "undefined"' <"$OUT"
}

# ---- events -------------------------------------------------------------------------------------

templated_start
WATCHED=$WORLD_DIR/watched
: >"$WATCHED"
templatectl --config "$STENCIL_CONF" watch >"$WATCHED" 2>"$WORLD_DIR/watch.err" &
watch_pid=$!
JSON_WATCHED=$WORLD_DIR/watched.json
: >"$JSON_WATCHED"
templatectl --config "$STENCIL_CONF" watch --json >"$JSON_WATCHED" &
json_pid=$!

watched() # REGEX NAME
{
	wait_line "$WATCHED" "$watch_pid" "$1"
	ok $? "$2" || diag "$(cat "$WATCHED" "$WORLD_DIR/watch.err")"
}

ctl init
ok $? 'a template'
ctl refresh
ok $? 'another one' || diag "$(cat "$ERR")"
generation=$(status_value '{template}{generations}[0]{id}')
watched 'build-started +forced=true' 'watch shows a build that starts'
watched 'build-step +step=booting' 'its steps'
watched "build-published +generation=$generation" 'what it published'
watched 'generation-removed +generation=0' 'and what is removed'
capture container_detached one -- sleep 1000
ok $? 'a container' || diag "$(cat "$ERR")"
watched "grant +sandbox=$WORLD-one +generation=$generation" 'a grant'
works 'a container that differs' other --annotation io.stencil.hypervisor.default_memory=512 -- true
watched "miss +sandbox=$WORLD-other +reason=\"memory_bytes: .*\" +field=memory_bytes" \
	'a miss, with the field'

# ---- status -------------------------------------------------------------------------------------

qemu=$(pids_of qemu-system-x86_64)
is "$(status_value '{template}{generations}[0]{clones}[0]{sandbox}')" "$WORLD-one" \
	'status names the clone'
is "$(status_value '{template}{generations}[0]{clones}[0]{pid}')" "$qemu" 'with its QEMU'
private=$(status_value '{template}{generations}[0]{clones}[0]{private_bytes}')
less 100000 "$private" 'bytes and more are its own'
less "$private" 16777216 'bytes and less are its own'
like "$(status_value '{template}{generations}[0]{manifest}{accel}')" '^(tcg|kvm)$' \
	'the inputs are told'
is "$(status_value '{counters}{misses}{memory_bytes}')" 1 'the miss is counted'
like "$(status_value '{build}{last}{phases}{booting}')" '^[0-9]{3,}$' "the boot's milliseconds"
before=$(find /run/stencil -printf '%p %T@ %s\n' | sort)
ctl status
is "$(awk 'length > 80' "$OUT")" '' 'the screen fits 80 columns'
like "$(cat "$OUT")" "clones   1  $WORLD-one [0-9.]+" 'the clone is on it'
is "$(find /run/stencil -printf '%p %T@ %s\n' | sort)" "$before" 'looking changes nothing'

# ---- memory -------------------------------------------------------------------------------------

# Where templated is started from a shell, it has a cgroup of its own.
grep -qE "^([0-9]+:(.*,)?memory|0:):.*/$WORLD/templated\$" "/proc/$TEMPLATED_PID/cgroup"
ok $? 'templated has a cgroup of its own' || diag "$(cat "/proc/$TEMPLATED_PID/cgroup")"
charged=$(cat /sys/fs/cgroup{/memory,}/"$WORLD"/templated/memory.stat 2>/dev/null |
	awk '/^(shmem|total_shmem) / { print $2 }' | tail -n 1)
resident=$(status_value '{template}{generations}[0]{resident_bytes}')
# The kernel counts in batches and adds up now and then.
less $((resident / 10 * 9)) "$charged" "the template's resident bytes are charged to it"
# The clone may fault in a page at any time: a look with the same before it and after it.
until [ "${after:-}" = "$resident" ]; do
	resident=${after:-$resident}
	ctl size --json
	measured=$(perl -MJSON::PP -0777 -ne 'print decode_json($_)->{measured}{resident_bytes}' "$OUT")
	after=$(status_value '{template}{generations}[0]{resident_bytes}')
done
is "$measured" "$resident" 'size tells what was measured'
tmpfs_bytes()
{
	stat -f -c '%b %S' /run/stencil/template | awk '{ print $1 * $2 }'
}
printf '[factory]\ntmpfs_size = 1G\n' >>"$STENCIL_CONF"
less "$(tmpfs_bytes)" 1073741824 'the tmpfs has its calculated size'
like "$(templatectl --config "$STENCIL_CONF" size)" 'tmpfs_size +1024.0 MiB' 'a larger one is configured'

# ---- metrics ------------------------------------------------------------------------------------

http_get() # PATH
{
	perl -MSocket -e '
		my $s;
		socket($s, AF_UNIX, SOCK_STREAM, 0) && connect($s, sockaddr_un($ARGV[0]))
			or die "$ARGV[0]: $!\n";
		alarm $ARGV[2];
		syswrite $s, "GET $ARGV[1] HTTP/1.1\r\nHost: x\r\n\r\n";
		local $/;
		print scalar <$s>' "$METRICS" "$1" "$WAIT_SECONDS" | tr -d '\r'
}

# Without what time changes.
steady()
{
	grep -vE '_(age|uptime)_seconds|_bytes'
}

# A wall's proof: docs/security.md.
is "$(stat -c %a:%U "$METRICS")" 660:root 'the metrics socket is root and 0660'
answer=$(http_get /metrics)
like "$answer" '^HTTP/1.1 200 OK' 'GET /metrics'
like "$answer" $'\nstencil_generation_clones\{generation="'"$generation"'",state="current"\} 1' \
	'the clone is counted'
like "$answer" $'\nstencil_clone_private_bytes\{[^}]*sandbox="'"$WORLD-one"'"[^}]*\} [0-9]+' \
	'with its own bytes'
ctl metrics
is "$(steady <"$OUT")" "$(steady <<<"${answer#*$'\n\n'}")" 'templatectl metrics is the same'
like "$(http_get /)" '^HTTP/1.1 404 ' 'other paths are not found'
if command -v curl >/dev/null; then
	capture curl -fsS --max-time "$WAIT_SECONDS" --unix-socket "$METRICS" http://x/metrics
	like "$(cat "$OUT")" 'stencil_grants_total 1' 'curl reads them'
else
	skip 'curl reads them' 'curl is not installed'
fi

# ---- wrong use ----------------------------------------------------------------------------------

for wrong in '' frobnicate 'status extra' 'init --json' 'metrics --json' '--frobnicate status'; do
	# shellcheck disable=SC2086 # words
	ctl $wrong
	is $? 2 "templatectl $wrong: exit status 2"
	like "$(cat "$ERR")" 'templatectl: ' "templatectl $wrong: says why"
done

# ---- a larger tmpfs -----------------------------------------------------------------------------

kill "$TEMPLATED_PID"
wait "$watch_pid"
is $? 0 "watch ends cleanly at templated's end"
like "$(tail -n 1 "$WATCHED")" '  end' 'and says so'
wait "$TEMPLATED_PID"
[ -e "$METRICS" ]
is $? 1 'the metrics socket is gone'
is "$(cgroups_matching ".*/$WORLD/templated")" '' 'and its cgroup'
ctl size
ok $? 'size needs no templated'
templated_try_start
ok $? 'templated starts again'
: >"$WATCHED"
templatectl --config "$STENCIL_CONF" watch >"$WATCHED" 2>"$WORLD_DIR/watch.err" &
watch_pid=$!
ctl init
is "$(tmpfs_bytes)" 1073741824 'the tmpfs has grown'
is "$(status_value '{template}{generations}[0]{id}')" "$generation" 'with the template in it'
capture in_container one echo alive
is "$(cat "$OUT")" alive 'and the clone goes on'

# ---- ends ---------------------------------------------------------------------------------------

capture container_remove one
done_well $? 'the container is removed'
kill -INT "$watch_pid"
wait "$watch_pid"
is $? 0 'watch ends cleanly on SIGINT'
wait "$json_pid"
is $? 0 'watch --json has ended cleanly, too'
is "$(perl -MJSON::PP -ne 'decode_json($_)->{event} =~ /^[a-z-]+$/ or print "no event: $_"' \
	"$JSON_WATCHED")" '' 'it writes an object a line'
system_end
