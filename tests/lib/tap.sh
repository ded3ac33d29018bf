# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# TAP for shell tests: each check is one line, what was found stands below a failed one.

tap_count=0 tap_failed=0

ok() # STATUS NAME: passed if STATUS is 0
{
	tap_count=$((tap_count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tap_count - $2"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count - $2"
		[ -n "${TAP_QUIET:-}" ] || diag "saw:    status $1"$'\n'"wanted: status 0"
	fi
	return "$1"
}

diag() # TEXT...: for people; prove shows it
{
	printf '%s\n' "$*" | sed 's/^/# /'
}

# The result of a comparison, which says itself what it saw.
compared() # STATUS NAME SAW WANTED-WHAT WANTED
{
	TAP_QUIET=1 ok "$1" "$2" || diag "saw:    $3"$'\n'"$4 $5"
}

is() # SAW WANTED NAME
{
	[ "$1" = "$2" ]
	compared $? "$3" "$1" 'wanted:' "$2"
}

isnt() # SAW UNWANTED NAME
{
	[ "$1" != "$2" ]
	compared $? "$3" "$1" 'wanted: not' "$2"
}

like() # SAW REGEX NAME: an extended regular expression somewhere in SAW
{
	[[ $1 =~ $2 ]]
	compared $? "$3" "$1" 'wanted: a match of' "$2"
}

unlike() # SAW REGEX NAME
{
	! [[ $1 =~ $2 ]]
	compared $? "$3" "$1" 'wanted: no match of' "$2"
}

less() # SAW LIMIT NAME: decimal numbers
{
	awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 < b + 0) }'
	compared $? "$3" "$1" 'wanted: less than' "$2"
}

between() # SAW LEAST MOST NAME: whole numbers
{
	[ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
	compared $? "$4" "$1" 'wanted:' "$2 to $3"
}

there() # FILE NAME
{
	[ -e "$1" ]
	compared $? "$2" "no $1" 'wanted:' "$1"
}

# For a check that cannot be made here; the reason says what is missing.
skip() # NAME REASON
{
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

skip_all() # REASON
{
	echo "1..0 # SKIP $1"
	exit 0
}

bail() # REASON: this test cannot go on
{
	tap_count=$((tap_count + 1))
	echo "not ok $tap_count - $1"
	exit 1
}

done_testing()
{
	echo "1..$tap_count"
	[ "$tap_failed" -eq 0 ]
}
