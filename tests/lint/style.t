#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What can be checked about the sources by reading them: licence line, size, banned calls, format.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

# Files that git knows or would add; a tree without git has no build folder inside these patterns.
sources() # PATTERN...
{
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard -- "$@"
	else
		find . -path './build*' -prune -o -type f -print | sed 's:^\./::' |
			grep -E "$(printf '%s\n' "$@" | sed 's/[.]/\\./g; s/[*]/.*/g; s/$/$/' |
				paste -sd'|')"
	fi | while read -r file; do [ -f "$file" ] && echo "$file"; done
}

shells()
{
	sources '*.sh' '*.t'
	sources 'packaging/*' '.ci/*' 'guest/*' 'tests/*' | grep -v '\.t$' |
		xargs -d '\n' grep -lE '^#!/(usr/)?bin/(env )?(ba)?sh'
}

mapfile -t c_files < <(sources '*.c' '*.h')
mapfile -t proto_files < <(sources '*.proto')
mapfile -t make_files < <(sources 'Makefile' '*.mk')
mapfile -t shell_files < <(shells | sort -u)

missing=
for file in "${c_files[@]}" "${proto_files[@]}" "${make_files[@]}" "${shell_files[@]}"; do
	head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || missing+="$file "
done
is "$missing" '' 'every file says its licence in its first lines'

headless=
for file in "${c_files[@]}"; do
	sed -n 2p "$file" | grep -q '^/\*' || headless+="$file "
done
is "$headless" '' 'every C file says in its second line what it is'

long=$(wc -l "${c_files[@]}" "${shell_files[@]}" "${make_files[@]}" |
	awk '$2 != "total" && $1 > 700 { print $2, $1 }')
is "$long" '' 'no file has more than 700 lines'

# Code is the formatter's, which breaks no string and no comment.
wide=$(perl -CSD -MText::Tabs -ne '
	$line = expand($_ =~ s/\n//r);
	(my $bare = $line) =~ s/"([^"\\]|\\.)*"//g;
	print "$ARGV:$.\n" if length($line) > 90 && $bare =~ m{^ *\*|/\*};
	close ARGV if eof' "${c_files[@]}")
is "$wide" '' 'no comment is wider than 90 columns'

# Every function that is declared or defined, as "file name parameters". Structs hold what more than
# six would.
mapfile -t functions < <(perl -0777 -ne '
	s{/\*.*?\*/}{}gs;
	while (/^(?![#\s}])[\w\s*]*?\b([a-z]\w*)\(((?:[^();{}]|\((?:[^()]|\([^()]*\))*\))*)\)\s*[;{]/gm) {
		my ($name, $list) = ($1, $2);
		1 while $list =~ s/\([^()]*\)//g;
		print "$ARGV $name ", ($list =~ /^\s*(void)?\s*$/ ? 0 : 1 + ($list =~ tr/,//)), "\n";
	}' "${c_files[@]}")
ok $((${#functions[@]} < 1000)) "the functions are found: ${#functions[@]}"
is "$(printf '%s\n' "${functions[@]}" | awk '$3 > 6')" '' 'no function has more than six parameters'

# A verb and of what. Not ours to name: main, what replaces a function of libc, x for "or die".
is "$(printf '%s\n' "${functions[@]}" | grep -v '^tests/' | awk '$2 !~ /_/ { print $1, $2 }' |
	grep -vE ' (main|getaddrinfo|freeaddrinfo|getprotoby(name|number)|x[a-z]+)$')" '' \
	'no function has a name of one word'

# Comments and strings are taken out before looking for calls.
bare()
{
	sed -E 's:"([^"\\]|\\.)*":"":g; s:/\*([^*]|\*[^/])*\*/::g; s://.*$::' "$1"
}
banned='sprintf|vsprintf|strcpy|strcat|strtok|gets|system|popen|sleep|usleep|nanosleep|mktemp|tmpnam|alloca|atoi|atol'
used=
for file in "${c_files[@]}"; do
	found=$(bare "$file" | grep -nE "(^|[^_[:alnum:].>])($banned)\(" | sed "s:^:$file\::")
	[ -z "$found" ] || used+=$found$'\n'
done
is "$used" '' 'no banned function is called'

# One in the background is a process to look at: nobody waits for it.
sleeps=$(grep -nE '(^|[;&|({[:space:]])sleep [0-9.]+[[:space:]]*($|[;|)]|&&)' "${shell_files[@]}" |
	grep -vE -- '-- sleep|tests/lint/style.t')
is "$sleeps" '' 'no shell script sleeps'

stray=$(grep -nE '[[:space:]]+$' "${c_files[@]}" "${shell_files[@]}" "${make_files[@]}" | head -n 20)
is "$stray" '' 'no white space at the end of a line'

# SC2319 warns of a $? that is a condition's; `ok $?` after a condition means just that.
findings=$(shellcheck --severity=warning --external-sources --exclude=SC1091,SC2319 \
	"${shell_files[@]}" 2>&1)
is "$findings" '' 'shellcheck has nothing to say'

if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
	unformatted=$(clang-format --dry-run -Werror "${c_files[@]}" 2>&1 |
		grep -oE '^[^: ]+:[0-9]+:[0-9]+: error' | sort -u -t: -k1,1)
	is "$unformatted" '' 'clang-format 14 would change nothing'
else
	skip 'clang-format 14 would change nothing' 'clang-format 14 is not installed'
fi
done_testing
