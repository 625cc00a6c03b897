# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# What waits for news, in every protocol at once and with the times in force
# that nobody has set: Ping, Sync, notifications and channels come to their own
# end, and none is cut off before it. t/bench/hours holds them for an hour.
#
#   CASP_HELD=SECONDS    how long nothing is heard (4)
use strict;
use warnings;
use POSIX ();
use Time::HiRes 'time';
use Apache::Test qw(-withtestmore);
use CaspEas;
use CaspEws;
use CaspHttpd;
use CaspRpc;
use CaspTest;

begin(ad => 1);

my $held = $ENV{CASP_HELD} // 4;
my $eas = CaspEas::servers(lab());
CaspRpc::servers(lab());
my $httpd = CaspHttpd->new('held', sub {
    return join '', CaspEas::fronts(@_), CaspRpc::fronts(@_),
        CaspEws::fronts(@_), CaspEas::one($_[0], 'held-mapi', $eas,
        version => '2016', site => 'Stockholm',
        lines => ['CasProxyBackendAuth Basic']);
}, CaspRpc::modules(lab()))->start;
CaspEas::look_at($eas);
$httpd->ready('rpc', 'ada') or diag $httpd->log;

# ------------------------------------------------ requests, each by a process

my @asked;
sub held {
    my ($name, $least, $front, $path, %o) = @_;
    my $file = lab()->{run} . '/held.' . @asked;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        my $start = time;
        my $r = $httpd->ask($front, $path, wait => $least + 120, %o);
        CaspLab::spew("$file.new", join ' ', $r->status, time - $start,
            $r->body =~ s/\s+/,/gr);
        rename "$file.new", $file;
        POSIX::_exit(0);
    }
    push @asked, [$name, $least, $file, $pid];
    return;
}

my @wbxml = ('Content-Type: application/vnd.ms-sync.wbxml',
    'MS-ASProtocolVersion: 14.1', "X-Sim: hold=$held");
for my $command ('Ping', 'Sync') {
    my $path = "$CaspEas::PATH?Cmd=$command&User=ada&DeviceId=d&DeviceType=t";
    my @device = (user => 'ada', body => 'asked', headers => \@wbxml);
    held("$command of a neighbour", $held, 'f10s2', $path, @device);
    held("$command across sites", $held, 'f10s2', $path, @device,
        user => 'bert');
    held("$command by HTTP/2", $held, 'f10s2', $path, @device, http2 => 1)
        if lab()->{mpm} ne 'prefork';
}
held('NotificationWait', $held, 'held-mapi',
    '/mapi/emsmdb/?MailboxId=1@contoso.test', user => 'sven', body => 'asked', headers => ["X-Sim: hold=$held",
        'X-RequestType: NotificationWait',
        'Content-Type: application/mapi-http']);
# EWS: up to half an hour, with a sign of life each 45 seconds or so.
my $stream = $held > 1800 ? 1800 : $held;
my $every = $stream > 90 ? 45 : 1;
my $beats = int $stream / $every;
held('a streaming subscription', $beats * $every, 'own',
    "/EWS/Exchange.asmx?t=beat&n=@{[$beats + 1]}&every=$every", user => 'ada',
    body => CaspEws::soap('GetStreamingEvents'),
    headers => [@CaspEws::XML]);

# ------------------------------------------------------------------- channels

my $chan = "held$$";
my %channel;
for my $kind ('silent', 'busy') {
    my @name = (query => "chan=$chan$kind");
    $channel{$kind} = [
        CaspRpc->new($httpd, 'rpc', 'RPC_OUT_DATA', length => 76,
            body => 'o' x 76, @name),
        CaspRpc->new($httpd, 'rpc', 'RPC_IN_DATA',
            length => $CaspRpc::GIGABYTE, @name)];
}

# A piece comes out as it went in.
sub passes {
    my ($kind, $piece) = @_;
    my ($out, $in) = @{ $channel{$kind} };
    return $in->say($piece) == length $piece && $out->hears(qr/\Q$piece\E/, 10);
}
for my $kind (sort keys %channel) {
    ok $channel{$kind}[0]->hears(qr/\r\n\r\n/, 10), "$kind: the channel is open";
    ok passes($kind, "first of $kind;"), "$kind: a piece passes";
}
# The busy one lives on beyond any time-out; the silent one is silent until
# shortly before its own.
my $start = time;
my $pieces = my $lost = 0;
while (time - $start < $held) {
    sleep($held > 60 ? 20 : 1);
    passes('busy', sprintf 'piece %d;', $pieces++) or $lost++;
}
is $lost, 0, "busy: all of $pieces pieces pass";
ok passes('silent', 'after the silence;'), "silent: a piece after $held s";

# ------------------------------------------------------------ how they ended

my $last = join ',', map({"part,$_"} 1 .. $beats + 1), '';
for my $one (@asked) {
    my ($name, $least, $file, $pid) = @$one;
    waitpid $pid, 0;
    my ($status, $took, $body) = split ' ', CaspLab::slurp($file);
    is $status, 200, $name;
    cmp_ok $took, '>=', $least - 0.1, "$name: held for $least s";
    is $body, $name =~ /stream/ ? $last : 'asked', "$name: all of it";
    diag sprintf '%s: %d after %.1f s', $name, $status, $took if $held > 60;
}
if ($held > 60) {   # what outlives every time-out of an hour
    while (time - $start < $held + 600) {
        sleep 20;
        passes('busy', sprintf 'piece %d;', $pieces++) or $lost++;
    }
    is $lost, 0, "busy: all of $pieces pieces pass";
    diag sprintf 'channels: %d pieces, %.0f s', $pieces, time - $start;
}
unlike $httpd->log, qr/CP0\d+.*(?:timed out|gave up)|AH01\d+.*timeout/i,
    'and nothing is said of time';
%channel = ();
$httpd->stop;
finish();
