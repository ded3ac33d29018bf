#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The bench's shortest run: what it writes is whole, and a container that fails is its failure.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

[ "$(id -u)" = 0 ] || skip_all "needs root: VMs, mounts and network namespaces"
[ "$STENCIL_GUEST" = "$STENCIL_BUILD/guest" ] || skip_all "an instrumented build has no guest of its own"

work=$(mktemp -d "$STENCIL_BUILD/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
export BENCH=$STENCIL_BUILD ROUNDS=1 CALM_SECONDS=0 RESULTS=$work/results

FACTORIES='template runc' tests/bench/bench >"$work/table" 2>"$work/errors"
ok $? 'a round of clones and runc' || { diag "$(cat "$work/errors")"; bail 'there are results'; }

results=("$work"/results/*.json)
# A value of the results: a number or a text.
value() # PERL-EXPRESSION of $r and of %of, contenders by factory
{
	perl -MJSON::PP -e 'local $/; my $r = decode_json(<STDIN>);
		my %of = map { $_->{factory} => $_ } @{$r->{contenders}};
		print '"$1" <"${results[0]}" 2>&1
}
is "${#results[@]}" 1 'one file of results'
like "$(value '"$r->{machine}{cores} $r->{machine}{kernel}"')" "^$(nproc --all) $(uname -r)$" 'the machine'
like "$(value '$r->{versions}{qemu}')" '^QEMU emulator version [0-9]' "QEMU's version"
is "$(value '$r->{builds}[0]{folder}')" "$(realpath "$STENCIL_BUILD")" 'the build'
is "$(value 'join(" ", sort keys %of)')" 'runc template' 'both contenders'
for metric in first_output run detached kill delete eight.up_median eight.up_all eight.gone_all cpu.host \
	memory.cgroup memory.private memory.pss; do
	for factory in runc template; do
		less 0 "$(value '$of{'$factory'}{summary}{"'$metric'"}{median}')" "$factory: $metric"
	done
done
less 0 "$(value '$of{template}{summary}{run}{of_runc}')" 'a clone by runc'
less 0 "$(value '$of{template}{summary}{"phase.qmp"}{median}')" 'a phase of the clone'
less 0 "$(value '$of{template}{summary}{"eight.cpu.vcpu"}{median}')" "the clones' vCPUs"
less 0 "$(value '$of{template}{summary}{"mapping.memory"}{median}')" "what they have of the template's memory"
is "$(value '$of{template}{rounds}[0]{other_factory}')" 0 'they were clones'
like "$(cat "$work/table")" 'start to first output, ms' 'a table'

mkdir "$work/broken"
ln -s "$STENCIL_BUILD"/{templated,templatectl,guest} "$work/broken/"
ln -s /bin/false "$work/broken/containerd-shim-stencil-v2"
if BENCH=$work/broken FACTORIES=direct RESULTS=$work/none tests/bench/bench >"$work/table" 2>"$work/errors"; then
	ok 1 'a build whose shim fails makes the bench fail'
else
	like "$(cat "$work/errors")" 'direct: ctr run ' 'a build whose shim fails makes the bench fail'
fi
is "$(ls "$work/none" 2>/dev/null)$(cat "$work/table")" '' 'without results'
done_testing
