# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# The promise: a connection that one person is logged on at is never another's.
# Fifty people, NTLM behind, ten thousand requests by clients who come, stay,
# change their minds and vanish; people without credentials among them; and a
# graceful restart in the middle. Nobody may see another's mailbox, and whoever
# waits for an answer gets one.
#
#   CASP_REQUESTS=N    how many (10000)
#   CASP_SEED=N        the same dice again; each run says which it threw
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspBackFronts ();
use CaspHttpd;
use CaspSwarm;
use CaspTest;
use CaspWire;

begin(ad => 1);
my $requests = $ENV{CASP_REQUESTS} || 10_000;
my $seed = $ENV{CASP_SEED} || 1 + int rand 1_000_000;
my @people = map { sprintf 'load%02d', $_ } 1 .. 50;
diag "seed $seed";

my $iis = CaspBackFronts::iis(lab());
CaspBackFronts::look_at($iis);
my $httpd = CaspHttpd->new('apart', \&CaspBackFronts::apart)->start;
$httpd->ready('isolation', 'load01') or diag $httpd->log;

# No more clients at once than prefork has children.
sub swarm {
    my ($name, %o) = @_;
    return CaspSwarm->new(httpd => $httpd, users => \@people, seed => $seed,
        password => lab()->{password}, name => $name,
        connections => lab()->{mpm} eq 'prefork' ? 12 : 20, %o);
}

# The sums of a swarm, and what the servers behind it saw.
sub sound {
    my ($name, $swarm, $sum, $mark) = @_;
    my $good = is $sum->{wrong}, 0, "$name: nobody sees another's mailbox";
    $good &= is $sum->{lost}, 0, "$name: nobody is left without an answer";
    my $seen = $swarm->compare($sum, requests($mark));
    $good &= is scalar @{ $seen->{strange} }, 0,
        "$name: nobody is known there as somebody else";
    $good &= is scalar @{ $seen->{twice} }, 0,
        "$name: no POST arrives twice";
    diag map {"  $_\n"} @{ $sum->{told} },
        (@{ $seen->{strange} }, @{ $seen->{twice} })[0 .. 4] if !$good;
    diag join ', ', $name, map { ($sum->{$_} // 0) . " $_" }
        qw(right aborted newcomers again lost wrong connections logons);
    return $seen;
}

# ------------------------------------------------------------ Basic in, NTLM out

{
    my ($mark, $from) = (mark(), CaspBackFronts::answered($iis));
    my $swarm = swarm('b', fronts => ['clear-ntlm', 'clear-novia'],
        requests => $requests);
    my $begun = time;
    my $sum = $swarm->go(half => sub { $httpd->restart('graceful') });
    my $took = time - $begun || 1;
    my $seen = sound('NTLM behind', $swarm, $sum, $mark);
    my $all = $sum->{right} + $sum->{aborted} + $sum->{newcomers};
    cmp_ok $all, '>=', 0.99 * $requests, 'all requests were made';
    cmp_ok $sum->{right}, '>=', 0.7 * $requests, 'most of them to the end';
    cmp_ok $sum->{aborted}, '>=', 0.02 * $requests, 'some were given up';
    cmp_ok $sum->{newcomers}, '>=', 0.01 * $requests, 'some brought nothing';
    # httpd closes what is idle in a child that ends, and where all threads work
    cmp_ok $sum->{again}, '<=', 0.05 * $requests,
        'seldom a client had to ask again';
    my $hands = CaspBackFronts::handshakes($iis, $from);
    cmp_ok $hands, '>', 50, 'people have connections of their own';
    cmp_ok $hands, '<', 0.5 * $seen->{seen},
        'which serve them for many requests';
    diag "$hands handshakes for $seen->{seen} requests, $took s";
}

# --------------------------------------------- over HTTP/2: one connection, all

# Each person's requests are streams of one connection; all at once.
SKIP: {
    skip 'prefork has no HTTP/2', 3 if lab()->{mpm} eq 'prefork';
    my $dir = lab()->{run} . '/streams';
    mkdir $dir;
    my @streams = map {
        my ($n, $user) = ($_, $people[$_ % 50]);
        my $file = "$dir/$n";
        my @words = CaspTest::curl_words('isolation', "/owa/?n=h$n",
            user => $user, http2 => 1, httpd => $httpd, id => "h$n");
        my $url = pop @words;
        my @lines;
        while (@words) {
            my $word = shift(@words) =~ s/^--//r;
            next if $word =~ /^(?:silent|show-error|globoff|path-as-is)$/
                and push @lines, $word;
            push @lines, $word =~ /^http/ ? $word
                : "$word = \"" . (shift(@words) =~ s/(["\\])/\\$1/gr) . '"';
        }
        join "\n", @lines, "output = \"$file\"", "url = \"$url\""
    } 1 .. 300;
    CaspLab::spew("$dir/conf", join "\nnext\n", @streams);
    my $mark = mark();
    eval { CaspLab::run('curl', '--parallel', '--parallel-max', 40,
        '--config', "$dir/conf") };
    my $wrong = grep {
        CaspLab::slurp("$dir/$_") !~ /mailbox of CONTOSO\\$people[$_ % 50] on/
    } 1 .. 300;
    is $wrong, 0, '300 streams of 50 people over HTTP/2: each their own';
    my @seen = requests($mark);
    is scalar @seen, 300, 'each arrived once';
    is scalar(grep {
        my ($n) = $_->{target} =~ /n=h(\d+)/;
        $_->{user} ne "CONTOSO\\$people[$n % 50]" || $_->{auth} ne 'NTLM'
    } @seen), 0, 'as who it was, by NTLM';
}

# ----------------------------------------------------- NTLM in, delegation out

{
    my $mark = mark();
    my $swarm = swarm('n', by => 'NTLM', fronts => ['clear-delegate'],
        requests => int($requests / 5), aborts => 0.05);
    my $sum = $swarm->go;
    sound('NTLM in, delegation out', $swarm, $sum, $mark);
    cmp_ok $sum->{logons}, '>=', $requests / 200, 'by many handshakes';
    cmp_ok $sum->{right}, '>=', 0.5 * $requests / 5, 'most were served';
    my @seen = requests($mark);
    is scalar(grep { $_->{auth} ne 'Kerberos' } @seen), 0,
        'by tickets in their names';
}

# --------------------------------------------------- this judge is no good one

# The same servers behind a pool that knows nothing of NTLM: somebody's login is
# everybody's, and the judge must say so.
{
    my @logons = map {
        CaspWire->new(httpd => $httpd)->log_on('clear-stock', '/owa/',
            'CONTOSO\\load01')->status
    } 1 .. (lab()->{mpm} eq 'prefork' ? 12 : 1);
    ok scalar(grep { $_ == 200 } @logons),
        'a stock ProxyPass lets a handshake pass';
    my $sum = swarm('stock', fronts => ['clear-stock'], requests => 60,
        aborts => 0, nobody => 1, workers => 1, connections => 2)->go;
    cmp_ok $sum->{wrong}, '>', 0,
        'and then gives load01\'s mailbox to people without a name';
    diag "stock: $sum->{wrong} wrong, $sum->{newcomers} right";
}

# Clients that vanish are told of by mod_proxy; and so is a server that ends a
# connection when it is used, in one line (AH01102) or in two (AH00898).
my @errors = $httpd->errors(
    qr/AH02608|AH01095|AH01097|AH01102|AH00898|AH00161/);
is scalar @errors, 0, 'nothing else in its log'
    or diag map {"$_\n"} @errors[0 .. ($#errors > 9 ? 9 : $#errors)];
$httpd->stop;
finish();
