# SPDX-License-Identifier: Apache-2.0
# The bench's arithmetic: medians, minima and paired ratios of what its rounds measured.
#
# A contender is a hash with the list `rounds`: one hash {metric => number} for each round. A metric that
# a round didn't measure is not in its hash.
package Stats;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(median ratio summary);

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return undef unless @sorted;
	my $middle = int(@sorted / 2);
	return @sorted % 2 ? $sorted[$middle] : ($sorted[$middle - 1] + $sorted[$middle]) / 2;
}

# How much of a metric one contender has for each of another's: the median of the rounds' own ratios, so
# that what slows down a whole round cancels out. Undefined if no round has both.
sub ratio
{
	my ($of, $to, $metric) = @_;
	my @ratios;
	for my $round (0 .. $#{$of->{rounds}}) {
		my ($a, $b) = map { $_->{rounds}[$round]{$metric} } $of, $to;
		push @ratios, $a / $b if defined $a && $b;
	}
	return median(@ratios);
}

# {metric => {median, min, count}} of a contender.
sub summary
{
	my ($contender) = @_;
	my (%values, %summary);
	for my $round (@{$contender->{rounds}}) {
		push @{$values{$_}}, $round->{$_} for keys %$round;
	}
	for my $metric (keys %values) {
		my @values = @{$values{$metric}};
		my ($min) = sort { $a <=> $b } @values;
		$summary{$metric} = {median => median(@values), min => $min, count => scalar @values};
	}
	return \%summary;
}

1;
