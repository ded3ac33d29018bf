# SPDX-License-Identifier: Apache-2.0
# The rows of templated/metrics.c's table as a part of templatectl(8), in mdoc.
{ text = text $0 " " }

END {
	while (match(text, /[{]"stencil_[a-z_]+", "(gauge|counter)",[ \t]*"[^"]*"/)) {
		split(substr(text, RSTART, RLENGTH), part, "\"")
		print ".It Li " part[2]
		print part[6]
		text = substr(text, RSTART + RLENGTH)
	}
}
