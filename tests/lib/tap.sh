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
	fi
	return "$1"
}

diag() # TEXT...: for people, on a failure
{
	printf '%s\n' "$*" | sed 's/^/# /'
}

is() # GOT WANTED NAME
{
	[ "$1" = "$2" ]
	ok $? "$3" || diag "got:    $1"$'\n'"wanted: $2"
}

like() # GOT REGEX NAME: an extended regular expression somewhere in GOT
{
	[[ $1 =~ $2 ]]
	ok $? "$3" || diag "got:    $1"$'\n'"wanted: $2"
}

unlike() # GOT REGEX NAME
{
	! [[ $1 =~ $2 ]]
	ok $? "$3" || diag "got:      $1"$'\n'"unwanted: $2"
}

less() # GOT LIMIT NAME: decimal numbers
{
	awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 < b + 0) }'
	ok $? "$3 ($1, less than $2 wanted)"
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
