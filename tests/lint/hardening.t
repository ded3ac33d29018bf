#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the programs were built with, read from them.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

# stencil-task has no libc, and none of what goes with one: it reads nothing, see shim/main_task.c.
programs='containerd-shim-stencil-v2 templated templatectl stencil-files stencil-agent'
flags='-fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fPIE -ftrivial-auto-var-init=zero'

# The makefile's words for each file of ours in a program; libraries say nothing here.
units() # FILE
{
	readelf --debug-dump=info --dwarf-depth=1 --wide "$1" | awk '
		/DW_AT_producer/ { producer = $0; sub(/^.*: GNU/, "GNU", producer) }
		/DW_AT_name/ { print $NF, producer }'
}

for program in $programs; do
	file=$STENCIL_BUILD/$program
	# It lies beside the guest, which no build but the plain one makes.
	[ "$program" != stencil-agent ] || file=$(dirname "$STENCIL_GUEST")/$program
	if readelf --syms --wide "$file" | grep -qE ' __(asan|tsan)_init$'; then
		skip "$program" 'a sanitizer looks for what these flags would hide'
		continue
	fi
	headers=$(readelf --file-header --program-headers --dynamic --wide "$file")
	like "$headers" 'Type: +DYN ' "$program may lie anywhere"
	like "$headers" 'GNU_RELRO' "$program: what is relocated can't be written to after that"
	like "$headers" 'Flags:.* NOW' "$program: and all is, at its start"
	like "$headers" 'GNU_STACK +(0x0+ +){3}0x0+ 0x0+ RW ' "$program: no code on the stack"
	unlike "$headers" ' RWE |TEXTREL|RPATH|RUNPATH' "$program: nothing that can be written to is code"
	symbols=$(readelf --syms --wide "$file")
	like "$symbols" ' __stack_chk_fail' "$program: stacks have canaries"
	like "$symbols" ' __(memcpy|snprintf|vsnprintf|fprintf|vfprintf|vasprintf|read)_chk' \
		"$program: calls of libc are fortified"
	found=$(units "$file")
	less 0 "$(grep -c . <<<"$found")" "$program: the files that it is of are found"
	if [[ $found == *clang* ]]; then
		skip "$program: all of its files have the flags" 'clang writes none into what it makes'
		continue
	fi
	is "$(WORDS=$flags awk '{
			n = split(ENVIRON["WORDS"], word, " ")
			for (i = 1; i <= n; i++)
				if (!index($0 " ", " " word[i] " "))
					print $1 " has no " word[i]
		}' <<<"$found")" '' "$program: all of its files have the flags"
done
done_testing
