# SPDX-License-Identifier: Apache-2.0
# The machine that a bench runs on: what it is, what runs on it, and how busy it is.
package Host;
use strict;
use warnings;
use Exporter 'import';
use POSIX ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use Proc qw(slurp);
our @EXPORT_OK = qw(busy commit machine usage versions wait_calm);

# The first line that a program writes, less the line feed.
sub first_line
{
	open(my $out, '-|', @_) or return '';
	my $line = <$out>;
	1 while <$out>;
	close($out);
	chomp $line if defined $line;
	return defined $line ? $line : '';
}

sub machine
{
	my @model = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)$/mg;
	my ($memory) = slurp('/proc/meminfo') =~ /^MemTotal:\s+(\d+)/m;
	return {cpu => $model[0], cores => scalar @model, memory_mib => int($memory / 1024),
		kernel => (POSIX::uname())[2]};
}

sub versions
{
	return {qemu => first_line($ENV{STENCIL_QEMU} || 'qemu-system-x86_64', '--version'),
		containerd => first_line('containerd', '--version'), runc => first_line('runc', '--version')};
}

# The commit that a build folder's checkout is at, with a + if files differ from it.
sub commit
{
	my ($folder) = @_;
	my @git = ('git', '-c', 'safe.directory=*', '-C', $folder);
	my $commit = first_line(@git, 'rev-parse', '--short=10', 'HEAD') or return 'unknown';
	return $commit . (first_line(@git, 'status', '--porcelain') ? '+' : '');
}

# Seconds since the start of the host that its CPUs were busy, were taken away, and were there.
sub usage
{
	my $tick = POSIX::sysconf(POSIX::_SC_CLK_TCK());
	my ($user, $nice, $system, $idle, $iowait, $irq, $softirq, $steal) =
		slurp('/proc/stat') =~ /^cpu +(.*)$/m ? split(/ /, $1) : die "/proc/stat: no line cpu\n";
	my $busy = $user + $nice + $system + $irq + $softirq;
	my %usage = (busy => $busy, steal => $steal, all => $busy + $idle + $iowait + $steal);
	return {map { $_ => $usage{$_} / $tick } keys %usage};
}

# Load, and where the kernel tells it, how many seconds something has waited for a CPU, memory or I/O.
sub busy
{
	my %busy = (loadavg => join(' ', (split(/ /, slurp('/proc/loadavg')))[0 .. 2]));
	for my $what (qw(cpu memory io)) {
		$busy{pressure}{$what} = $1 / 1e6 if slurp("/proc/pressure/$what") =~ /^some .*total=(\d+)/m;
	}
	return \%busy;
}

# Waits until the CPUs were less than LIMIT percent busy for a second and a half, but at most SECONDS.
# A rate needs an interval, and no event tells of calm: this is the bench's one timer. Returns the last
# half second's percentage and how long it took.
sub wait_calm
{
	my ($limit, $seconds) = @_;
	my ($start, $calm, $percent) = (clock_gettime(CLOCK_MONOTONIC), 0, 0);
	my $before = usage();
	do {
		select(undef, undef, undef, 0.5);
		my $now = usage();
		my $all = $now->{all} - $before->{all};
		my $used = $now->{busy} + $now->{steal} - $before->{busy} - $before->{steal};
		$percent = $all > 0 ? 100 * $used / $all : 0;
		$calm = $percent < $limit ? $calm + 1 : 0;
		$before = $now;
	} until $calm == 3 || clock_gettime(CLOCK_MONOTONIC) - $start >= $seconds;
	return ($percent, clock_gettime(CLOCK_MONOTONIC) - $start, $calm == 3);
}

1;
