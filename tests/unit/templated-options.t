#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# templated and templatectl without a daemon: wrong options, verbs and configurations.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export STENCIL_CONFIG=$dir/stencil.conf
: >"$STENCIL_CONFIG"

# Ends with this status and says so.
says() # STATUS REGEX COMMAND [ARGUMENT...]
{
	local status=$1 regex=$2 text got

	shift 2
	text=$("$STENCIL_BUILD/$1" "${@:2}" 2>&1 </dev/null)
	got=$?
	is "$got" "$status" "$*: exit status $status"
	like "$text" "$regex" "$*: says why"
}

says 2 'see templated --help' templated --colour
says 2 'unexpected argument "serve"' templated serve
says 2 'see templated --help' templated --config
says 0 '^Usage: templated ' templated --help
says 2 'a verb is missing' templatectl
says 2 'unknown verb "dance"' templatectl dance
says 2 'unexpected argument "now"' templatectl refresh now
says 2 'see templatectl --help' templatectl --colour status
says 2 '--json goes with' templatectl --json refresh
says 2 '--now goes with refresh only' templatectl --now init
says 2 '--now goes with refresh only' templatectl destroy --now
says 0 'refresh +build a new template' templatectl --help

config_says() # REGEX LINES
{
	printf '%b' "$2" >"$STENCIL_CONFIG"
	says 2 "$1" templated --check-config
}
config_says 'stencil.conf:2: unknown key colour' '[factory]\ncolour = red\n'
config_says 'stencil.conf:2: default_memory = 95: out of range, 128 to' \
	'[hypervisor]\ndefault_memory = 95\n'
config_says 'stencil.conf:3: uid_count = 65537: out of range' \
	'[hypervisor]\n# many\nuid_count = 65537\n'
config_says 'stencil.conf:2: default_vcpus = -1: a whole number' '[hypervisor]\ndefault_vcpus = -1\n'
config_says 'stencil.conf:2: tmpfs_size = 1T: auto or a number' '[factory]\ntmpfs_size = 1T\n'
config_says 'tmpfs_size = 99999999999999999999: out of range' \
	'[factory]\ntmpfs_size = 99999999999999999999\n'
config_says 'template_path = run/x: an absolute path' '[factory]\ntemplate_path = run/x\n'
config_says 'the key strict belongs to \[factory\]' '[runtime]\nstrict = true\n'
config_says 'enable_template = yes: true or false' '[factory]\nenable_template = yes\n'
config_says 'stencil.conf:1: neither a \[section\] nor' 'nonsense\n'
says 2 'absent.conf' templated --config "$dir/absent.conf" --check-config
done_testing
