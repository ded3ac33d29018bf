#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each folder includes only what README.md's folder table allows it.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

# "folder allowed…" lines from the table's rows "| `base/` | … | nothing of ours |". What is allowed
# is folders, "all above" or "all" (the rows before), and "of X only `X/y`": of X that header alone.
rules()
{
	awk -F'|' '/^\| `[a-z-]+\/` \|/ {
		folder = $2
		gsub(/[`\/ ]/, "", folder)
		allowed = " "
		n = split($4, word, /[` ,;]+/)
		for (i = 1; i <= n; i++) {
			sub(/\/$/, "", word[i])
			if (word[i] == "nothing" && word[i + 1] == "of" && word[i + 2] == "ours")
				i += 2
			else if (word[i] == "all")
				allowed = allowed above
			else if (word[i] == "of") {
				sub(/\/$/, "", word[++i])
				sub(" " word[i] " ", " ", allowed)
			}
			else if (word[i] !~ /^(above|only|)$/)
				allowed = allowed word[i] " "
		}
		print folder allowed
		above = above folder " "
	}' README.md
}

# Headers of ours that a folder's files include: "file folder/header.h".
includes()
{
	grep -roE --include='*.[ch]' '^#[[:space:]]*include "[^"]+/[^"]+"' "$1" |
		sed -E 's/^([^:]+):.*"(.*)"$/\1 \2/'
}

rows=() unknown=
while read -r folder allowed; do
	rows+=("$folder")
	wrong=
	for name in $allowed; do
		[ -d "$name" ] || [ -f "$name.h" ] || unknown+="$folder/: $name"$'\n'
	done
	while read -r file header; do
		case " $folder $allowed " in
		*" ${header%%/*} "* | *" ${header%.h} "*) ;;
		*) wrong+="$file includes $header"$'\n' ;;
		esac
	done < <(includes "$folder")
	is "$wrong" '' "$folder/ includes only its own and: ${allowed:-nothing}"
done < <(rules)
is "$unknown" '' 'every name that a row allows is a folder or a header'
is "$(printf '%s\n' "${rows[@]}" | LC_ALL=C sort | paste -sd ' ')" \
	"$(printf '%s\n' */ | sed 's:/$::' | grep -v '^build' | LC_ALL=C sort | paste -sd ' ')" \
	'README.md has one row for each folder'
done_testing
