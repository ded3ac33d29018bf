#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each folder includes only what README.md's folder table allows it.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

# "folder allowed…" lines from the table's rows "| `base/` | … | nothing of ours |".
rules()
{
	awk -F'|' '/^\| `[a-z-]+\/` \|/ {
		folder = $2; allowed = $4
		gsub(/[`\/ ]/, "", folder)
		if (allowed ~ /all above/) allowed = above " " allowed
		if (allowed ~ /^ *all *$/) allowed = above
		gsub(/nothing of ours|all above|only|[`,;\/()]/, " ", allowed)
		print folder, allowed
		above = above " " folder
	}' README.md
}

# Headers of ours that a folder's files include: "file folder/header.h".
includes()
{
	grep -oE '^#[[:space:]]*include "[^"]+/[^"]+"' "$1"/*.[ch] |
		sed -E 's/^([^:]+):.*"(.*)"$/\1 \2/'
}

folders=0
while read -r folder allowed; do
	folders=$((folders + 1))
	wrong=
	while read -r file header; do
		case " $folder $allowed " in
		*" ${header%%/*} "* | *" ${header%.h} "*) ;;
		*) wrong+="$file includes $header"$'\n' ;;
		esac
	done < <(includes "$folder" 2>/dev/null)
	is "$wrong" '' "$folder/ includes only its own and: ${allowed:-nothing}"
done < <(rules)
is "$folders" 8 'README.md has a row for each of the eight folders of code'
done_testing
