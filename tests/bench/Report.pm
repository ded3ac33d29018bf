# SPDX-License-Identifier: Apache-2.0
# The bench's results as text: what README.md's section "Bench" explains.
package Report;
use strict;
use warnings;
use Exporter 'import';
use List::Util qw(max);
our @EXPORT_OK = qw(label report);

my @TIMES = (
	['first_output', 'start to first output'],
	['run', 'run --rm: start to the end of ctr'],
	['detached', 'run -d: start to the end of ctr'],
	['kill', 'kill to exit event'],
	['delete', 'delete'],
	['eight.up_median', 'eight at once: run -d, the median'],
	['eight.up_all', 'eight at once: until all run'],
	['eight.gone_all', 'eight at once: until all are deleted by force'],
);
my @PHASES = qw(grant spawn qmp restored resumed agent identity cpu memory network image rootfs created started
	total);

# A contender's name in the tables; builds have numbers where there are several.
sub label
{
	my ($contender, $builds) = @_;
	return $contender->{factory} if !defined $contender->{build} || @$builds == 1;
	return "$contender->{factory} " . ($contender->{build} + 1);
}

sub number
{
	my ($value) = @_;
	return '-' unless defined $value;
	return sprintf(abs($value) < 100 ? '%.1f' : '%.0f', $value);
}

sub factor
{
	my ($value) = @_;
	return defined $value ? sprintf(abs($value) < 10 ? '%.2f' : '%.1f', $value) : '-';
}

# The first column to the left, the others to the right.
sub table
{
	my (@rows) = @_;
	my @width;
	for my $row (@rows) {
		$width[$_] = max($width[$_] || 0, length($row->[$_])) for 0 .. $#$row;
	}
	my $text = '';
	for my $row (@rows) {
		my $line = sprintf('%-*s', $width[0], $row->[0]);
		$line .= sprintf('  %*s', $width[$_], $row->[$_]) for 1 .. $#$row;
		$line =~ s/ +$//;
		$text .= $line eq '' ? "\n" : "  $line\n";
	}
	return $text =~ s/\n+$/\n/r;
}

sub value
{
	my ($contender, $metric, $what) = @_;
	my $summary = $contender->{summary}{$metric} or return undef;
	return $summary->{$what || 'median'};
}

# Metrics of all contenders that begin so, without that.
sub metrics
{
	my ($prefix, @contenders) = @_;
	my %names;
	for my $contender (@contenders) {
		$names{$_} = 1 for map { /^\Q$prefix\E(.*)/ } keys %{$contender->{summary}};
	}
	return sort keys %names;
}

sub heading
{
	my ($results) = @_;
	my ($machine, $versions) = @$results{qw(machine versions)};
	my ($accel) = map { my $kvm = value($_, 'accel_kvm'); defined $kvm ? $kvm ? 'KVM' : 'TCG' : () }
		@{$results->{contenders}};
	my $text = "$results->{date}, bench of commit $results->{commit}\n";
	$text .= "$machine->{cpu}, $machine->{cores} cores, $machine->{memory_mib} MiB, Linux " .
		"$machine->{kernel}, " . ($accel || 'no VM') . "\n";
	$text .= "$versions->{$_}\n" for qw(qemu containerd runc);
	my $count = 0;
	for my $build (@{$results->{builds}}) {
		$text .= 'build ' . ++$count . ": $build->{name}, commit $build->{commit}, made $build->{built}, " .
			"guest $build->{guest_kernel}\n";
	}
	return $text;
}

sub busy
{
	my ($busy) = @_;
	my @turns = @{$busy->{before_turns}};
	my @restless = grep { !$_->{calm} } @turns;
	my $worst = max(map { $_->{percent} } @turns);
	my $percent = sub { sprintf('%.1f %%', 100 * $_[0] / $busy->{cpu_seconds}) };
	my $text = "load $busy->{loadavg_before} before, $busy->{loadavg_after} after; of the CPUs' time others " .
		"used " . $percent->($busy->{others_seconds}) . ", the host of this machine " .
		$percent->($busy->{steal_seconds}) . "\n";
	my %pressure = %{$busy->{pressure_seconds}};
	$text .= 'seconds that something waited (PSI): ' .
		join(', ', map { "$_ " . number($pressure{$_}) } sort keys %pressure) . "\n" if %pressure;
	$text .= @restless ? 'NOT CALM before ' . @restless . ' of ' . @turns . ' turns' :
		'calm before each of ' . @turns . ' turns';
	return $text . sprintf("; at most %.0f %% of the CPUs were busy then\n", $worst);
}

# What anyone is compared with, of runc, direct and first.
sub references
{
	my %named = map { $_ => 1 } map { keys %$_ } map { values %{$_->{summary}} } @_;
	return grep { $named{"of_$_"} } qw(runc direct first);
}

sub times_of
{
	my ($metric, $title, @contenders) = @_;
	my @with = grep { defined value($_, $metric) } @contenders;
	my @references = references(@contenders);
	my %title = (runc => '/ runc', direct => '/ direct', first => '/ build 1');
	my @rows = (["$title, ms", 'median', 'min', map { $title{$_} } @references]);
	for my $contender (@with) {
		push @rows, ["  $contender->{name}", number(value($contender, $metric)),
			number(value($contender, $metric, 'min')),
			map { factor(value($contender, $metric, "of_$_")) } @references];
	}
	return @with ? (@rows, ['']) : ();
}

# A row for each metric that anyone has, a column for each contender; divided by UNIT.
sub matrix
{
	my ($title, $prefix, $unit, $contenders, @metrics) = @_;
	my @rows = ([$title, map { $_->{name} } @$contenders]);
	for my $metric (@metrics) {
		my @values = map { value($_, "$prefix$metric") } @$contenders;
		push @rows, ["  $metric", map { number(defined $_ ? $_ / $unit : undef) } @values]
			if grep { defined } @values;
	}
	return @rows > 1 ? table(@rows) : '';
}

# The vCPUs, all the rest, and what that is made of.
sub cpu_metrics
{
	return ('vcpu', 'host', grep { !/^(vcpu|host)$/ } metrics(@_));
}

# The mappings with the most private memory, by the contender that has most of each.
sub largest
{
	my ($count, @contenders) = @_;
	my %size = map { my $name = $_; ($name => max(map { value($_, "mapping.$name") || 0 } @contenders)) }
		metrics('mapping.', @contenders);
	my @names = sort { $size{$b} <=> $size{$a} || $a cmp $b } keys %size;
	splice(@names, $count) if @names > $count;
	return @names;
}

sub misses
{
	my $text = '';
	for my $contender (@_) {
		my $missed = 0;
		$missed += ($_->{other_factory} || 0) + ($_->{'eight.other_factory'} || 0)
			for @{$contender->{rounds}};
		$text .= "NOTE: $missed starts of $contender->{name} came from another factory\n" if $missed;
	}
	return $text;
}

sub report
{
	my ($results) = @_;
	my @all = @{$results->{contenders}};
	my @vms = grep { $_->{factory} ne 'runc' } @all;
	my @parts = (heading($results) . busy($results->{busy}) . misses(@all));
	push @parts, table(map { times_of(@$_, @all) } @TIMES);
	push @parts, matrix('phases of run -d, median ms', 'phase.', 1, \@vms, @PHASES);
	push @parts, matrix('CPU time of one run -d, ms', 'cpu.', 1, \@all, cpu_metrics('cpu.', @all));
	push @parts, matrix('the same of eight at once, each', 'eight.cpu.', 1, \@all,
		cpu_metrics('eight.cpu.', @all));
	push @parts, matrix('memory of one of eight, MiB', 'memory.', 1024, \@all, metrics('memory.', @all));
	push @parts, matrix('  private, by program', 'private.', 1024, \@all, metrics('private.', @all));
	push @parts, matrix('  share (Pss), by program', 'pss.', 1024, \@all, metrics('pss.', @all));
	push @parts, matrix('once for all of them, MiB', 'once.', 1024, \@vms, metrics('once.', @vms));
	push @parts, matrix("  QEMU's private, by mapping", 'mapping.', 1024, \@vms, largest(6, @vms));
	return join("\n", grep { $_ ne '' } @parts);
}

1;
