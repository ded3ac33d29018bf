# SPDX-License-Identifier: Apache-2.0
# `templated --list-keys` as a part of stencil.conf(5), in mdoc.
BEGIN { FS = "\t" }

function escape(text)
{
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	return text
}

$1 != section {
	if (section != "")
		print ".El"
	section = $1
	print ".Ss [" section "]"
	print ".Bl -tag -width Ds"
}

{
	values = $4
	gsub(/\|/, ", ", values)
	print ".It Cm " $2
	print escape($5)
	print ".br"
	print "Values: " escape(values) "."
	print "Default: " ($3 == "" ? "nothing" : ".Li \"" escape($3) "\"")
}

END { print ".El" }
