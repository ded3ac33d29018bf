# SPDX-License-Identifier: Apache-2.0
# What a sandbox's processes cost, from /proc: their CPU time, and their memory with its mappings.
package Proc;
use strict;
use warnings;
use Exporter 'import';
use List::Util qw(max sum0);
use Time::HiRes 'clock_gettime';
our @EXPORT_OK = qw(accel cpu_ms program sandbox cgroup_kib memory_kib mappings_kib slurp);

# A process may end while it is looked at: what is gone reads as empty.
sub slurp
{
	my ($path) = @_;
	open(my $file, '<', $path) or return '';
	local $/;
	my $text = <$file>;
	return defined $text ? $text : '';
}

# The fields of a process's stat file from the state (field 3) on; the name before them may hold anything.
sub stat_fields
{
	my $text = slurp("$_[0]/stat");
	$text =~ s/^.*\) //s;
	return split(/ /, $text);
}

# The name of a process's executable; it may have been replaced since.
sub program
{
	my $exe = readlink("/proc/$_[0]/exe") || '';
	$exe =~ s/ \(deleted\)$//;
	$exe =~ s:^.*/::;
	return $exe;
}

# Milliseconds of CPU time of a process, ended threads included. It is utime + stime to the nanosecond:
# in stat they are rounded down to ticks of 10 ms, which is more than a shim's whole start. The clock's
# number is the kernel's CPUCLOCK_SCHED of that pid, what clock_getcpuclockid(3) returns.
sub process_ms
{
	my ($pid) = @_;
	my $seconds = clock_gettime(-8 * $pid - 6);
	return $seconds > 0 ? $seconds * 1000 : 0;
}

sub task_ms
{
	return (split(/ /, slurp("$_[0]/schedstat") || '0'))[0] / 1e6;
}

# Where threads of a QEMU have no names (-name without debug-threads=on), the busiest of those that are
# not its main thread is taken for the vCPU's: a bench's guest has one.
sub vcpu_ms
{
	my ($pid) = @_;
	return 0 if program($pid) !~ /^qemu-/;
	my @tasks = grep { !m:/$pid$: } glob "/proc/$pid/task/*";
	my @named = grep { slurp("$_/comm") =~ m{^CPU \d+/} } @tasks;
	return sum0(map { task_ms($_) } @named) if @named;
	return max(0, map { task_ms($_) } @tasks);
}

# Milliseconds of CPU time of a process: of QEMU's vCPU threads, and of all else in it.
sub cpu_ms
{
	my ($pid) = @_;
	my $vcpu = vcpu_ms($pid);
	return ($vcpu, max(0, process_ms($pid) - $vcpu));
}

# What a QEMU runs guest code with: "kvm" or "tcg".
sub accel
{
	return slurp("/proc/$_[0]/cmdline") =~ /\0-accel\0(kvm|tcg)\b/ ? $1 : undef;
}

# The QEMUs that a process holds a pidfd of: a cached VM's is templated's child.
sub held_qemus
{
	my ($pid) = @_;
	my @held = map { slurp($_) =~ /^Pid:\s+([1-9]\d*)$/m ? $1 : () } glob "/proc/$pid/fdinfo/*";
	return grep { program($_) =~ /^qemu-/ } @held;
}

# Pids of a container's sandbox: its shim, the shim's descendants, and its QEMU wherever that came from.
sub sandbox
{
	my ($id) = @_;
	my (%children, %found);
	my @shims;
	for my $pid (map { m:(\d+)$: } glob '/proc/[0-9]*') {
		my @field = stat_fields("/proc/$pid") or next;
		push @{$children{$field[1]}}, $pid;
		push @shims, $pid if program($pid) =~ /^containerd-shim-/ &&
			slurp("/proc/$pid/cmdline") =~ /\0-id\0\Q$id\E\0/;
	}
	my @todo = (@shims, map { held_qemus($_) } @shims);
	while (defined(my $pid = shift @todo)) {
		push @todo, @{$children{$pid} || []} unless $found{$pid}++;
	}
	return sort { $a <=> $b } keys %found;
}

# The folder of the cgroup that a process's memory is charged to, in either version's hierarchy.
sub memory_cgroup
{
	my ($pid) = @_;
	my $own = slurp("/proc/$pid/cgroup");
	my $v1 = $own =~ /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m ? $1 : undef;
	my $path = defined $v1 ? $v1 : $own =~ /^0::(.*)$/m ? $1 : return;
	for my $mount (split(/\n/, slurp('/proc/self/mountinfo'))) {
		my ($root, $at, $type, $options) =
			$mount =~ m{^\S+ \S+ \S+ (\S+) (\S+) .* - (\S+) \S+ (\S+)$} or next;
		next unless defined $v1 ? $type eq 'cgroup' && $options =~ /(^|,)memory(,|$)/
			: $type eq 'cgroup2';
		$path =~ s/^\Q$root\E// if $root ne '/';
		return "$at$path";
	}
	return;
}

# KiB charged to the cgroups that these processes have below one whose name begins with NAME.
sub cgroup_kib
{
	my ($name, @pids) = @_;
	my %folders = map { $_ => 1 } grep { defined && m:/\Q$name\E[/-]: } map { memory_cgroup($_) } @pids;
	my $sum = 0;
	for my $folder (keys %folders) {
		my ($bytes) = grep { length } map { slurp("$folder/$_") } qw(memory.current
			memory.usage_in_bytes);
		$sum += ($bytes || 0) / 1024;
	}
	return $sum;
}

# KiB that are a process's share, and KiB that only it has.
sub memory_kib
{
	my $text = slurp("/proc/$_[0]/smaps_rollup");
	my ($pss) = $text =~ /^Pss:\s+(\d+)/m;
	my $private = 0;
	$private += $1 while $text =~ /^Private_\w+:\s+(\d+)/mg;
	return ($pss || 0, $private);
}

# A name for a mapping that stays the same from one process to the next.
sub mapping_name
{
	my ($rights, $path) = @_;
	return $rights =~ /x/ ? 'anonymous, executable (code made by TCG)' : 'anonymous' if $path eq '';
	$path =~ s/ \(deleted\)$//;
	$path =~ s:^.*/::;
	return $path;
}

# {name => KiB} that only this process has.
sub mappings_kib
{
	my ($pid) = @_;
	my (%kib, $name);
	for (split(/\n/, slurp("/proc/$pid/smaps"))) {
		if (/^[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+\s*(.*)$/) {
			$name = mapping_name($1, $2);
		} elsif (/^Private_\w+:\s+([1-9]\d*)/) {
			$kib{$name} += $1;
		}
	}
	return \%kib;
}

1;
