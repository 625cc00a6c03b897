# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# What many channels of Outlook Anywhere cost: the time to the first byte, and
# the memory that they hold while they stand idle. t/bench/rpc makes a
# measurement of it.
#
#   CASP_CHANNELS=N    half of them IN (40)
use strict;
use warnings;
use IPC::Open2 'open2';
use JSON::PP ();
use Apache::Test qw(-withtestmore);
use CaspHttpd;
use CaspRpc;
use CaspTest;

begin(ad => 1);

my $measure = $ENV{CASP_CHANNELS};
my $channels = $measure || (lab()->{mpm} eq 'prefork' ? 8 : 40);
my $rounds = 20;
my $dir = CaspRpc::servers(lab());
lab()->{exchange} = $dir;
my $threads = $channels + 40;
my $httpd = CaspHttpd->new('channels', \&CaspRpc::fronts,
    CaspRpc::modules(lab()), global => <<"CONF")
<IfModule !mpm_prefork_module>
    ThreadLimit $threads
    ServerLimit 1
    StartServers 1
    ThreadsPerChild $threads
    MaxRequestWorkers $threads
    MaxSpareThreads $threads
</IfModule>
LogLevel warn
CONF
    ->start;
$httpd->ready('rpc-many', 'ada') or diag $httpd->log;

sub children {
    my $pid = $httpd->pid;
    return split ' ', CaspLab::slurp("/proc/$pid/task/$pid/children");
}

# The memory of its children, in kilobytes.
sub memory {
    my %sum;
    for my $p (children()) {
        my $text = CaspLab::slurp("/proc/$p/smaps_rollup");
        $sum{$1} += $2 while $text =~ /^(Rss|Pss|Private_Dirty):\s+(\d+)/mg;
    }
    return \%sum;
}

sub ticks {
    my $sum = 0;
    for my $p (children()) {
        my @stat = split ' ', CaspLab::slurp("/proc/$p/stat") =~ s/.*\) //sr;
        $sum += $stat[11] + $stat[12];
    }
    return $sum;
}

sub client {
    my ($address, $port, $pairs) = @_;
    my $pid = open2(my $out, my $in, "$CaspLab::TOP/t/bench/channels.py",
        $address, $port, 'rpc-many.contoso.test', CaspTest::basic('ada'), $pairs,
        $rounds);
    my %told;
    while (my $line = <$out>) {
        my $said = JSON::PP::decode_json($line);
        $told{ $said->{what} } = [sort { $a <=> $b } @{ $said->{ms} }];
        last if $said->{what} eq 'idle';
    }
    return (\%told, sub {
        local ($?, $SIG{PIPE}) = (0, 'IGNORE');
        print $in "\n";
        close $in;
        waitpid $pid, 0;
    });
}

sub median { return $_[0] ? $_[0][@{ $_[0] } / 2] : 999 }

sub report {
    my ($name, $there, $past) = @_;
    return diag sprintf '%s: median %.1f ms, worst %.1f of %d; without the '
        . 'front %.1f ms', $name, median($there), $there->[-1],
        scalar @$there, median($past);
}

my $servers = JSON::PP::decode_json(CaspLab::slurp("$dir/servers.json"));
my ($address, $port) = $servers->{'BER-CAS1'}{url} =~ m{//([\d.]+):(\d+)};
my ($past, $past_end) = client($address, $port, $rounds);
$past_end->();
{   # a few at first: what is needed once is no channel's
    my (undef, $end) = client('127.0.0.1', $httpd->{sslport}, 2);
    $end->();
    sleep 1;
}
my $before = memory();
my ($told, $end) = client('127.0.0.1', $httpd->{sslport}, $channels / 2);
ok $told->{idle}, "$channels channels stand";
my $after = memory();
cmp_ok median($told->{opened}), '<', 1000, 'an answer begins at once';
cmp_ok median($told->{rounds}), '<', 1000, 'a piece passes at once';
my $each = ($after->{Rss} - $before->{Rss}) / $channels;
SKIP: {
    skip 'a channel of prefork holds a process', 1
        if lab()->{mpm} eq 'prefork';
    skip 'a sanitizer has memory of its own', 1 if $ENV{CASP_SANITIZE};
    cmp_ok $each, '<', 600, 'what a channel holds is bounded';
}
if ($measure) {
    report('the first byte of an answer', $told->{opened}, $past->{opened});
    report('a piece from IN to OUT, beside ' . ($channels - 2) . ' idle '
        . 'channels', $told->{rounds}, $past->{rounds});
    diag sprintf '%s: %d KB before, %d KB with %d channels: %.1f KB each', $_,
        $before->{$_}, $after->{$_}, $channels,
        ($after->{$_} - $before->{$_}) / $channels
        for qw(Rss Pss Private_Dirty);
    my ($start, $cpu) = (memory(), ticks());
    sleep 20;
    cmp_ok memory()->{Rss} - $start->{Rss}, '<', 1000,
        'twenty seconds later they hold no more';
    diag sprintf 'CPU while all are idle: %.2f %% of a processor',
        (ticks() - $cpu) / 20;
    cmp_ok median($told->{rounds}), '<', 100, 'the first byte within 100 ms';
}
$end->();
$httpd->stop;
finish();
