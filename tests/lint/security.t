#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/security.md promises what tests prove: each row names tests that there are, marked as proofs, and no
# other test is marked so.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

mark="A wall's proof: docs/security.md."
page=docs/security.md

# "file: name", one a line.
promised=$(grep -oE '`tests/[^`: ]+: [^`]+`' "$page" | tr -d '`' | sort -u)
[ "$(grep -c . <<<"$promised")" -gt 20 ]
ok $? "the promises' tests are found: $(grep -c . <<<"$promised")"

unproved=$(awk '/^## / { promises = $0 == "## Promises" } /^### / { header = 2 }
	promises && /^[|]/ { if (header) header--; else if (!/`tests\//) print }' "$page")
is "$unproved" '' 'every promise names a test'

# What is marked, as "file<TAB>statement": of C a function and whether it is run, of shell one command.
mapfile -t files < <(grep -rlF --include='*.c' --include='*.t' --exclude-dir=lint -- "$mark" tests)
marked=$(MARK=$mark perl -0777 -ne '
	my $text = $_;
	while (/^[\t ]*(?:# |\/\* )\Q$ENV{MARK}\E(?: \*\/)?\n((?:.*\\\n)*.*)\n/gm) {
		my $next = $1;
		if ($ARGV =~ /\.c$/) {
			my ($name) = $next =~ /^static void (test_\w+)\(/;
			my @uses = $name ? $text =~ /\b$name\b/g : ();
			$next = @uses > 1 ? "\x27$name\x27" : "not a test that runs: $next";
		}
		print "$ARGV\t", $next =~ s/\n/ /gr, "\n";
	}' "${files[@]}")

missing='' stray=''
while IFS= read -r promise; do
	file=${promise%%: *} name=${promise#*: }
	awk -F'\t' -v file="$file" '$1 == file' <<<"$marked" |
		grep -qF -e "'$name'" -e "\"$name\"" || missing+=$promise$'\n'
done <<<"$promised"
is "$missing" '' 'every test that is named is there and marked'

while IFS=$'\t' read -r file statement; do
	found=
	while IFS= read -r name; do
		[[ $statement == *"'$name'"* || $statement == *"\"$name\""* ]] && found=$name
	done < <(sed -n "s|^$file: ||p" <<<"$promised")
	[ -n "$found" ] || stray+="$file: $statement"$'\n'
done <<<"$marked"
is "$stray" '' 'every test that is marked is named'
done_testing
