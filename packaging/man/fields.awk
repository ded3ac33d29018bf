# SPDX-License-Identifier: Apache-2.0
# The rows of mm/manifest.c's table as a part of templated(8), in mdoc.
/^\t\[MANIFEST_[A-Z0-9_]+\] *= *\{"/ {
	split($0, part, /[{}]/)
	split(part[2], column, /, */)
	name = column[1]
	gsub(/"/, "", name)
	rule = tolower(column[2])
	sub(/^manifest_/, "", rule)
	gsub(/_/, " ", rule)
	print ".It Li " name " Ta " rule
}
