#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# README.md's tables of configuration keys are those of the programs: same keys, same defaults.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

# "[section] key = default" from "### [section]" and its rows "| `key` | `default` | … |".
documented()
{
	awk -F' *[|] *' '
	/^##/ { section = "" }
	/^### `\[/ { section = $0; gsub(/[#` ]/, "", section) }
	section != "" && /^\| `/ {
		gsub(/`/, "", $2)
		gsub(/`/, "", $3)
		print section, $2, "=", $3
	}' README.md
}

effective()
{
	# No configuration of this host's.
	STENCIL_CONFIG=/dev/null "$STENCIL_BUILD/templated" --dump-config | awk '
	/^\[/ { section = $0 }
	/^[a-z]/ { print section, $0 }'
}

is "$(documented)" "$(effective | sed 's/ = $/ = (empty)/')" \
	'every key, with its default and in the order of the file'
done_testing
