# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Talks with programs in containers and on the host, line by line; sourced after system.sh.

# Programs that answer each line with one: $TALK_IN and $TALK_OUT are theirs by name.
declare -A TALK_IN TALK_OUT TALK_PID
talk_start() # NAME COMMAND...
{
	local name=$1 fifo=$WORLD_DIR/talk.$1 in out fd

	shift
	mkfifo "$fifo"
	exec {in}<>"$fifo"
	TALK_IN[$name]=$in
	# Each would else keep the others' inputs open, and its own.
	exec {out}< <(for fd in "${TALK_IN[@]}"; do exec {fd}>&-; done; exec <"$fifo" 2>>"$WORLD_DIR/talk.err"
		"$@")
	TALK_PID[$name]=$!
	TALK_OUT[$name]=$out
}
say() # NAME LINE
{
	printf '%s\n' "$2" >&"${TALK_IN[$1]}"
}
answer() # NAME: prints the next line, or "silence"
{
	local line=silence

	read -r -t "$WAIT_SECONDS" line <&"${TALK_OUT[$1]}" || line=${line:-silence}
	echo "$line"
}
ask() # NAME LINE WANTED WHAT
{
	say "$1" "$2"
	is "$(answer "$1")" "$3" "$4"
}
talk_end() # NAME
{
	local in=${TALK_IN[$1]} out=${TALK_OUT[$1]}

	exec {in}>&- {out}<&-
	wait "${TALK_PID[$1]}"
	rm "$WORLD_DIR/talk.$1"
	unset "TALK_IN[$1]" "TALK_OUT[$1]" "TALK_PID[$1]"
}
