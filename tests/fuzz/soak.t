#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every fuzz target, for a number of executions: none may crash, hang or leak. A part of `make soak`,
# which has built them; FUZZ_RUNS says how many. What was reached of a target's code is told.
. "${BASH_SOURCE[0]%/*}/../lib/tap.sh"
build=$STENCIL_SOURCE/build-fuzz
runs=${FUZZ_RUNS:-1000000}
# Those that have threads or files: a fiftieth. qmp_lines and files_frames are the same without.
slow=' files_channel files_tree qmp '

# Edges reached, of all that are there, in percent.
coverage() # LOG
{
	awk '/ inline 8-bit counters/ { sub(/.*\(/, ""); all = $1 }
		/ cov: / { sub(/.* cov: /, ""); reached = $1 }
		END { if (all) printf "%d of %d edges (%.0f %%)", reached, all, 100 * reached / all }' "$1"
}

fuzz() # NAME RUNS
{
	local log=$build/$1.log corpus=$build/corpus/$1

	mkdir -p "$corpus"
	"$build/fuzz_$1" -runs="$2" -timeout=60 -rss_limit_mb=1024 -keep_seed=1 -print_final_stats=1 \
		-artifact_prefix="$build/$1-" "$corpus" "$STENCIL_SOURCE/tests/fuzz/corpus/$1" >"$log" 2>&1
	ok $? "$1: $2 executions" || diag "$(tail -n 40 "$log")"
	is "$(awk '/^stat::number_of_executed_units:/ { print ($2 >= '"$2"') }' "$log")" 1 \
		"$1: they were made"
	diag "$1: $(awk '/^stat::average_exec_per_sec:/ { print $2 }' "$log") a second; $(coverage "$log")"
}

for target in "$STENCIL_SOURCE"/tests/fuzz/fuzz_*.c; do
	name=${target##*/fuzz_}
	name=${name%.c}
	case $slow in
	*" $name "*) fuzz "$name" $((runs / 50)) ;;
	*) fuzz "$name" "$runs" ;;
	esac
done
done_testing
