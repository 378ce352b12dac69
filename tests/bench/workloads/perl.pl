# Hashes, regular expressions, string building.
use strict;
use warnings;
my (%count, $sum);
open my $in, '<', '/bench/text' or die;
while (my $line = <$in>) {
	last if $. > 6000;
	$count{lc $1}++ while $line =~ /\b([a-z]\w{2,})\b/gi;
	$sum += $_ for $line =~ /(\d+)/g;
	$line =~ s/(\w+)-(\w+)/$2-$1/g;
	$sum += length join '|', reverse split /[ ,]+/, $line;
}
print scalar(keys %count), " $sum\n";
print "$_ $count{$_}\n" for (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9];
my @sieve = (1) x 40000;
for my $n (2 .. 200) {
	next unless $sieve[$n];
	for (my $m = $n * $n; $m < @sieve; $m += $n) { $sieve[$m] = 0 }
}
print scalar(grep { $_ } @sieve), "\n";
