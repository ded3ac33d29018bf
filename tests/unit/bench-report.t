#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The bench's arithmetic: medians, minima, paired ratios; and that its table says what it was given.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

stats() # PERL-EXPRESSION: its values, one a line
{
	perl -Itests/bench -MStats=median,ratio,summary -e '
		my $a = {rounds => [{x => 20, y => 1}, {x => 90}, {x => 40, y => 3}, {y => 8}]};
		my $b = {rounds => [{x => 10}, {x => 30}, {x => 10}, {x => 0, y => 0}]};
		print defined $_ ? $_ : "undefined", "\n" for '"$1" 2>&1
}

is "$(stats 'median(9, 100, 8)')" 9 'the median of an odd number of values is the middle one by size'
is "$(stats 'median(1, 10, 4, 2)')" 3 'of an even number the mean of both'
is "$(stats 'median(7)')" 7 'of one, itself'
is "$(stats 'median()')" undefined 'of none, none'
is "$(stats 'ratio($a, $b, "x")')" 3 'a ratio is the median of the ratios of rounds: 2, 3, 4'
is "$(stats 'ratio($b, $a, "x")')" 0.333333333333333 'and the other way round'
is "$(stats 'ratio($a, $b, "y")')" undefined 'nothing is divided by what is missing or 0'
is "$(stats '@{summary($a)->{x}}{qw(median min count)}')" $'40\n20\n3' 'a summary leaves out rounds without'
is "$(stats 'sort keys %{summary($a)}')" $'x\ny' 'and has every metric'

report() # JSON
{
	perl -Itests/bench -MReport=report -MJSON::PP -e 'print report(decode_json($ARGV[0]))' "$1" 2>&1
}

contenders='[
	{"name": "runc", "factory": "runc", "rounds": [{}],
	 "summary": {"run": {"median": 100.26, "min": 90}, "cpu.vcpu": {"median": 0}}},
	{"name": "template", "factory": "template", "build": 0, "rounds": [{"other_factory": 1}],
	 "summary": {"run": {"median": 250, "min": 240, "of_runc": 2.5}, "cpu.vcpu": {"median": 12.34},
	  "phase.qmp": {"median": 7}, "accel_kvm": {"median": 0},
	  "mapping.memory": {"median": 2048}}}]'
text=$(report '{"date": "D", "commit": "C", "contenders": '"$contenders"',
	"machine": {"cpu": "P", "cores": 2, "memory_mib": 1024, "kernel": "K"},
	"versions": {"qemu": "Q", "containerd": "D", "runc": "R"},
	"builds": [{"name": "build", "commit": "C", "built": "B", "guest_kernel": "G"}],
	"busy": {"loadavg_before": "1 2 3", "loadavg_after": "4 5 6", "cpu_seconds": 200,
	 "busy_seconds": 100, "others_seconds": 50, "steal_seconds": 2, "pressure_seconds": {"cpu": 3},
	 "before_turns": [{"percent": 5, "calm": true}, {"percent": 44.4, "calm": false}]}}')
like "$text" 'P, 2 cores, 1024 MiB, Linux K, TCG' 'the machine'
like "$text" 'build 1: build, commit C, made B, guest G' 'the build'
like "$text" 'load 1 2 3 before, 4 5 6 after; .* others used 25.0 %, the host of this machine 1.0 %' \
	'how busy the machine was'
like "$text" 'NOT CALM before 1 of 2 turns; at most 44 % of the CPUs were busy then' 'that it was not calm'
like "$text" '1 starts of template came from another factory' 'that a factory was not the one asked for'
like "$text" 'start to the end of ctr, ms +median +min +/ runc'$'\n' 'columns for what is compared only'
like "$text" $'\n''    runc +100 +90.0 +-'$'\n''    template +250 +240 +2.50'$'\n' 'times and ratios'
like "$text" $'\n''    qmp +7.0'$'\n' 'phases'
like "$text" $'\n''    vcpu +0.0 +12.3'$'\n' 'CPU time'
like "$text" $'\n''    memory +2.0$' 'memory, in MiB'
done_testing
