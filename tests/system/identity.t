#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A hundred clones of one generation: nothing that is drawn at random is drawn twice.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template
mkdir "$WORLD_DIR/drawn"
clones=100
keys='getrandom at_random uuid boot_id machine_id'

# Two at a time: as many as the smallest machine has CPUs.
draw() # FIRST
{
	local i

	for ((i = $1; i < clones; i += 2)); do
		container "c$i" -- probe >"$WORLD_DIR/drawn/$i" 2>"$WORLD_DIR/err$i" || return 1
	done
}
before=${EPOCHREALTIME/./}
draw 0 &
first=$!
draw 1 &
second=$!
status=0
wait "$first" || status=1
wait "$second" || status=1
ok "$status" "$clones containers" || diag "$(cat "$WORLD_DIR"/err* | tail -n 5)"
after=${EPOCHREALTIME/./}

is "$(grep -c '"factory":"template"' "$STENCIL_TRACE")" "$clones" 'each was a clone'
for key in $keys; do
	cat "$WORLD_DIR"/drawn/* | awk -v key="$key" '$1 == key && length($2) >= 32 { print $2 }' |
		sort >"$WORLD_DIR/$key"
	# A wall's proof: docs/security.md.
	is "$(uniq "$WORLD_DIR/$key" | grep -c .)" "$clones" "$key: $clones different ones"
done
wrong=$(cat "$WORLD_DIR"/drawn/* | awk -v from=$((before / 1000 - 1000)) -v to=$((after / 1000 + 1000)) '
	$1 == "clock_ms" && ($2 < from || $2 > to) { print $2 }')
# A wall's proof: docs/security.md.
is "$wrong" '' 'each had the right wall clock' || diag "right is $((before / 1000)) to $((after / 1000))"
system_end
