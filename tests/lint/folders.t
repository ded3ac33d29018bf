#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each folder includes only what README.md's folder table allows it, generated headers not excepted.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

# "folder allowed…" lines from the table's rows "| `base/` | … | nothing of ours |". What is allowed
# is folders, "all above" or "all" (the rows before), and "of X only `X/y`": of X that header alone.
rules()
{
	awk -F'|' '/^\| `[a-z-]+(\/[a-z-]+)*\/` \|/ {
		folder = $2
		gsub(/[` ]|\/`/, "", folder)
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
				gsub(" " word[i] "(/[a-z-]+)* ", " ", allowed)
			}
			else if (word[i] !~ /^(above|only|)$/)
				allowed = allowed word[i] " "
		}
		print folder allowed
		above = above folder " "
	}' README.md
}

# What a folder's files include: "file header", of ours only.
includes()
{
	grep -roE --include='*.[ch]' '^#[[:space:]]*include "[^"]+"' "$1" |
		sed -E 's/^([^:]+):.*"(.*)"$/\1 \2/'
}

# The row that a file belongs to: a folder's, or that of a subfolder which has its own.
row_of() # PATH
{
	local dir=${1%/*}
	until [[ $dir != */* || -n ${allowed[$dir]+x} ]]; do
		dir=${dir%/*}
	done
	echo "$dir"
}

# May a row include a header? Its own, those of its subfolders in the rows before it, and those of
# what its row allows and of the subfolders of that.
may_include() # ROW HEADER
{
	local row=$1 header=$2 of name
	of=$(row_of "$header")
	[ "$of" = "$row" ] && return
	[[ $of == "$row"/* && ${place[$of]} -lt ${place[$row]} ]] && return
	for name in ${allowed[$row]}; do
		[[ $of == "$name" || $of == "$name"/* ]] && return
		[[ $header == "$name".h || $header == "$name"/* ]] && return
	done
	return 1
}

declare -A allowed=() place=() wrong=()
rows=() unknown="" bare=""
while read -r row names; do
	place[$row]=${#rows[@]}
	rows+=("$row")
	allowed[$row]=$names
	for name in $row $names; do
		[ -d "$name" ] || [ -f "$name.h" ] || unknown+="$row/: $name"$'\n'
	done
done < <(rules)
is "$unknown" '' 'every name in the table is a folder or a header'

tops=$(printf '%s\n' "${rows[@]}" | grep -v /)
is "$(LC_ALL=C sort <<<"$tops" | paste -sd ' ')" \
	"$(printf '%s\n' */ | sed 's:/$::' | grep -vE '^(build|bench$)' | LC_ALL=C sort | paste -sd ' ')" \
	'README.md has one row for each folder'

for top in $tops; do
	while read -r file header; do
		[[ $header == */* ]] || bare+="$file includes $header"$'\n'
		row=$(row_of "$file")
		may_include "$row" "$header" || wrong[$row]+="$file includes $header"$'\n'
	done < <(includes "$top")
done
is "$bare" '' 'every include names the folder of its header'
for row in "${rows[@]}"; do
	is "${wrong[$row]-}" '' "$row/ includes only its own and: ${allowed[$row]:-nothing}"
done

# The linker takes the libraries in this order, each once.
is "$(sed -n 's/^LIBS[[:space:]]*= //p' Makefile | tr ' ' '\n' | tac | paste -sd ' ')" \
	"$(grep -vxE 'guest|tests|packaging|docs' <<<"$tops" | paste -sd ' ')" \
	'the Makefile has the libraries in the order of the table'
done_testing
