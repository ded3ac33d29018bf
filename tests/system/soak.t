#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two hundred containers, eight at a time, while the template is refreshed: nothing adds up but the
# counters.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template
cycles=200 workers=8 refreshes=4

# A number of templatectl's status; 0 if it is not there: reasons that did not happen are left out.
status_number() # KEY...: the way to it
{
	templatectl --config "$STENCIL_CONF" status --json | perl -MJSON::PP -e '
		local $/;
		my $value = decode_json(<STDIN>);
		$value = $value->{$_} for @ARGV;
		print $value // 0, "\n"' "$@"
}

# What may not grow, a line each.
look()
{
	echo "descriptors of templated: $(find "/proc/$TEMPLATED_PID/fd" -mindepth 1 | wc -l)"
	echo "threads of templated: $(find "/proc/$TEMPLATED_PID/task" -mindepth 1 -maxdepth 1 | wc -l)"
	echo "generations: $(find /run/stencil/template -name memory | wc -l)"
	echo "files of the template: $(find /run/stencil/template | wc -l)"
	echo "mounts: $(wc -l </proc/self/mountinfo)"
	echo "cgroups: $(cgroups_matching ".*/$WORLD/[0-9]+" | wc -l)"
	echo "sandboxes: $(find /run/stencil/sandboxes -mindepth 1 -name "*$WORLD*" | wc -l)"
	for ((worker = 0; worker < workers; worker++)); do
		echo "pod $worker: $(ip -n "pod$worker" -o link | wc -l) links," \
			"$(tc -n "pod$worker" qdisc | wc -l) qdiscs"
	done
}

# The lines of a look of which a number is greater than it was.
grown() # BEFORE AFTER
{
	paste -d '\n' <(echo "$1") <(echo "$2") | awk '
		NR % 2 { n = split($0, was, /[^0-9]+/); next }
		{
			split($0, is, /[^0-9]+/)
			for (i = 1; i <= n; i++)
				if (is[i] + 0 > was[i] + 0) { print; next }
		}'
}

# What templated has written to, KiB. It maps the template, too.
own_kib()
{
	smaps_kib "$TEMPLATED_PID" '' '^Anonymous:'
}

# Resident pages of the tmpfs, KiB.
used_kib()
{
	df --output=used -k /run/stencil/template | tail -n 1
}

netns_remove()
{
	local name status=0

	for name in /run/netns/pod*; do
		ip netns delete "${name##*/}" || status=1
	done
	return "$status"
}
at_exit 'shopt -s nullglob; netns_remove'
for ((worker = 0; worker < workers; worker++)); do
	ip netns add "pod$worker"
	ip -n "pod$worker" link add eth0 type veth peer name eth1
	ip -n "pod$worker" link set eth0 up
	ip -n "pod$worker" link set eth1 up
	ip -n "pod$worker" address add "10.99.$worker.2/24" dev eth0
done

work() # WORKER
{
	local i

	for ((i = $1; i < cycles; i += workers)); do
		container "soak$i" --with-ns "network:/run/netns/pod$1" -- \
			sh -c "ip -4 -o address show eth0 | grep -q 10.99.$1.2 && echo $i" || return 1
	done
}

# One first: what is made once and stays is there then.
works 'a container' first --with-ns network:/run/netns/pod0 -- true
before=$(look) before_kib=$(used_kib) before_own_kib=$(own_kib)
for ((worker = 0; worker < workers; worker++)); do
	work "$worker" >"$WORLD_DIR/work$worker" 2>&1 &
	pids[worker]=$!
done
for ((i = 0; i < refreshes; i++)); do
	capture templatectl --config "$STENCIL_CONF" refresh
	ok $? "refresh $((i + 1)) while they run" || diag "$(cat "$ERR")"
done
for ((worker = 0; worker < workers; worker++)); do
	wait "${pids[worker]}"
	ok $? "worker $((worker + 1)) of $workers" || diag "$(tail -n 3 "$WORLD_DIR/work$worker")"
done
is "$(cat "$WORLD_DIR"/work* | sort -n | uniq | grep -cE '^[0-9]+$')" "$cycles" \
	'every container ran, with its network'
containers_remove
ok $? 'no container is left'

after=$(look)
is "$(grown "$before" "$after")" '' 'nothing has grown' || diag "$before"
less "$(own_kib)" $((before_own_kib + 4096)) "KiB of memory are templated's own"
# The file of one generation after another differs by what its guest did at its boot.
less "$(used_kib)" $((before_kib + 4096)) 'KiB of the tmpfs are used'
is "$(($(status_number counters hits) + $(status_number counters misses total)))" $((cycles + 1)) \
	'hits and misses are as many as there were containers'
is "$(grep -c '"factory":"template"' "$STENCIL_TRACE")" "$(status_number counters hits)" \
	'each hit was a clone'
is "$(status_number counters builds)" $((refreshes + 1)) 'each refresh was a build'
is "$(status_number counters build_failures)" 0 'none failed'
netns_remove
system_end
