# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Outlook Anywhere: RPC_IN_DATA and RPC_OUT_DATA, each with a gigabyte that is
# declared and never sent. Both ways at once, answers before the upload is
# through, channels that stand still, sides that vanish or do not read.
use strict;
use warnings;
use Digest::SHA ();
use Time::HiRes qw(sleep time);
use Apache::Test qw(-withtestmore);
use CaspHttpd;
use CaspRpc;
use CaspTest;

begin(ad => 1);

my $dir = CaspRpc::servers(lab());
lab()->{exchange} = $dir;
my $httpd = CaspHttpd->new('rpc', \&CaspRpc::fronts,
    CaspRpc::modules(lab()))->start;
$httpd->ready('rpc', 'ada') or diag $httpd->log;
my $GIGABYTE = $CaspRpc::GIGABYTE;
my $serial = 0;

sub channel {
    my ($front, $method, @o) = @_;
    return CaspRpc->new($httpd, $front, "RPC_${method}_DATA", @o);
}

sub in_channel { return channel($_[0], 'IN', length => $GIGABYTE, @_[1 .. $#_]) }

sub out_channel {
    my ($front, @o) = @_;
    return channel($front, 'OUT', length => 76, body => 'o' x 76, @o);
}

# A name for a pair of channels.
sub name { return "c$$." . ++$serial }

sub pieces {
    my ($mark, $chan) = @_;
    my $sum = 0;
    $sum += $_->{bytes} for CaspRpc::events($mark, event => 'in',
        chan => $chan, method => 'RPC_IN_DATA');
    return $sum;
}

sub log_has {
    my ($pattern, $name) = @_;
    my $good = ok +(CaspLab::wait_for { $httpd->log =~ $pattern } 3), $name;
    diag grep {/CP076/} split /^/, $httpd->log if !$good;
    return $good;
}

# ------------------------------------------------------- both ways, as it comes

for my $front ('clear-rpc', 'rpc') {
    my ($mark, $chan) = (mark(), name());
    my $start = time;
    my $out = out_channel($front, query => "chan=$chan");
    ok $out->hears(qr/\r\n\r\n/, 5), "$front: the answer's head";
    cmp_ok time - $start, '<', 1, "$front: comes at once";
    is $out->status, 200, "$front: OUT is open";
    is $out->header('Content-Length'), $GIGABYTE, "$front: its gigabyte";
    is $out->header('Content-Type'), 'application/rpc', "$front: its type";
    my $in = in_channel($front, query => "chan=$chan");
    my $seen = CaspLab::wait_for {
        (grep { ($_->{method} // '') eq 'RPC_IN_DATA' && $_->{target} }
            requests($mark))[0]
    } 2;
    ok $seen, "$front: IN arrives before a byte of its body";
    is $seen->header('Content-Length'), $GIGABYTE, "$front: with its length";
    is $seen->header('Transfer-Encoding'), undef, "$front: not in chunks";
    is $seen->{user}, 'CONTOSO\\ada', "$front: as ada";
    is $seen->{target} =~ s/&chan.*//r,
        '/rpc/rpcproxy.dll?ber-mbx1.contoso.test:6001', "$front: its target";
    my $sent = '';
    for my $n (1 .. 5) {
        my $piece = "piece $n of $chan " x $n;
        $start = time;
        $in->say($piece);
        $sent .= $piece;
        ok $out->hears(qr/\Q$piece\E\z/, 5), "$front: piece $n comes out";
        cmp_ok time - $start, '<', 1, "$front: piece $n at once";
    }
    is $out->body, $sent, "$front: nothing else does";
    is pieces($mark, $chan), length $sent, "$front: nothing is held back";
    my %server = map { $_->{server} => 1 } CaspRpc::events($mark,
        chan => $chan);
    is scalar keys %server, 1, "$front: both channels at one server";
    ok !$in->gone(0.1), "$front: IN lives";
    $in->close;
    ok CaspRpc::event($mark, 3, event => 'eof', chan => $chan,
        method => 'RPC_IN_DATA'), "$front: IN's client goes, the backend knows";
    ok !$out->gone(0.1), "$front: OUT lives";
    $out->close;
    ok CaspRpc::event($mark, 3, event => 'eof', chan => $chan,
        method => 'RPC_OUT_DATA'), "$front: OUT's as well";
}
for my $length ($GIGABYTE, $GIGABYTE + 1, 2 * $GIGABYTE) {
    my ($mark, $chan) = (mark(), name());
    my $in = channel('clear-rpc', 'IN', length => $length,
        query => "chan=$chan");
    $in->say('x' x 104);
    ok CaspRpc::event($mark, 3, event => 'in', chan => $chan, bytes => 104),
        "$length bytes declared: what came of it arrives";
    my ($seen) = grep { $_->{target} } requests($mark);
    is $seen->header('Content-Length'), $length, 'the same there';
    $in->close;
}
{   # a body that is completed, in pieces of all sizes
    my ($mark, $chan) = (mark(), name());
    my $body = join '', map { chr 33 + $_ % 90 } 1 .. 3_000_000;
    my $in = channel('rpc', 'IN', length => length $body,
        query => "chan=$chan");
    my $at = 0;
    for my $size (1, 4095, 8192, 8193, 100_000, 3_000_000) {
        $in->say(substr $body, $at, $size);
        $at += $size;
    }
    ok $in->hears(qr/\r\n\r\n/, 10), 'a body that is completed is answered';
    is $in->status, 200, 'well';
    my $whole = CaspRpc::event($mark, 3, event => 'whole', chan => $chan);
    is $whole->{sha}, Digest::SHA::sha256_hex($body), 'byte for byte';
    ok !$in->gone(0.2), 'and the connection may be used again';
    $in->ask('rpc', 'RPC_IN_DATA', length => 0);
    ok $in->hears(qr/\r\n\r\n/), 'it is';
    is $in->status, 200, 'well';
}
{   # of a client whose body has no length
    my ($mark, $chan) = (mark(), name());
    my $in = channel('clear-rpc', 'IN', query => "chan=$chan",
        headers => ['Transfer-Encoding: chunked']);
    $in->say("5\r\nhello\r\n");
    ok CaspRpc::event($mark, 3, event => 'in', chan => $chan, bytes => 5),
        'in chunks: the first';
    $in->say("7\r\n, world\r\n0\r\n\r\n");
    ok $in->hears(qr/\r\n\r\n/), 'in chunks: answered';
    my $whole = CaspRpc::event($mark, 3, event => 'whole', chan => $chan);
    is $whole->{sha}, Digest::SHA::sha256_hex('hello, world'),
        'in chunks: byte for byte';
}

# ----------------------------------------- how a client feels its way: 0 and 4

{
    my $mark = mark();
    my $c = channel('clear-rpc', 'IN', length => 0);
    for my $method ('RPC_IN_DATA', 'RPC_OUT_DATA', 'RPC_IN_DATA') {
        ok $c->hears(qr/\r\n\r\n/), "$method without a body: answered";
        is $c->status, 200, "$method without a body: well";
        $c->ask('clear-rpc', $method, length => 4, body => 'ping');
        ok $c->hears(qr/\r\n\r\n.{20}/s), "$method: echo";
        is $c->header('Content-Length'), 20, "$method: echo's length";
        is substr($c->body, 0, 2), "\5\0", "$method: echo's bytes";
        $c->ask('clear-rpc', $method, length => 0);
    }
    ok $c->hears(qr/\r\n\r\n/), 'all over one connection';
    my %used = map { $_->{connection} => 1 } requests($mark);
    is scalar keys %used, 1, 'and one behind';
}
{   # who is not known is told so at once, whatever they declare
    my $mark = mark();
    my $in = in_channel('clear-rpc', user => '-');
    ok $in->hears(qr/\r\n\r\n/), 'without a logon: answered';
    is $in->status, 401, 'with 401';
    no_requests($mark);
}
{   # curl, which asks first whether it may send so much
    my $mark = mark();
    my $r = ask('rpc', '/rpc/rpcproxy.dll?ber-mbx1.contoso.test:6001',
        user => 'ada', method => 'RPC_IN_DATA', body => 'c' x 1_100_000,
        headers => ['Expect: 100-continue'], httpd => $httpd);
    is $r->status, 200, 'curl -X RPC_IN_DATA';
    my ($seen) = grep { $_->{target} } requests($mark);
    is $seen->header('Expect'), undef, 'it is we who say go on';
    is $r->decision, 'direct; mailbox-in-this-site', 'decided as anything is';
    my $line = CaspLab::wait_for {
        (grep {/^\Q$r->{id}\E\t/} split /\n/,
            CaspLab::slurp("$httpd->{dir}/logs/decision_log"))[0]
    } 3;
    like $line // '', qr/^\S+\t200\tdirect\t.*\tRPC\t/i, 'and logged as such';
}
for my $front ('clear-rpc', 'rpc') { # one that waits until it may
    my $c = channel($front, 'IN', length => 4,
        headers => ['Expect: 100-continue']);
    ok $c->hears(qr/\r\n\r\n/, 3), "$front: Expect: 100-continue";
    is $c->line, 'HTTP/1.1 100 Continue', "$front: it may";
    $c->say('ping');
    ok $c->hears(qr/\r\n\r\nHTTP.1.1 200 .*\r\n\r\n.{20}\z/s),
        "$front: and is answered";
}
{   # other methods are mod_proxy's, as ever
    my $r = ask('rpc', '/rpc/rpcproxy.dll?a:6001', user => 'ada',
        httpd => $httpd);
    is $r->status, 200, 'GET';
}

# ------------------------------------------------------------- answers, early

for my $front ('clear-rpc', 'rpc') {
    for my $case (['early:404', 404], ['early:404:50000', 404],
        ['early:200', 200], ['early:403', 403]) {
        my ($sim, $status) = @$case;
        my $c = in_channel($front, query => "sim=$sim");
        $c->say('x' x 60_000) if $sim =~ /:\d+:/;
        my $start = time;
        ok $c->hears(qr/early\z/, 5), "$front: $sim reaches the client";
        cmp_ok time - $start, '<', 1.5, "$front: $sim at once";
        is $c->status, $status, "$front: $sim is $status";
        is $c->header('Connection'), 'close', "$front: and then the end";
        ok $c->gone(5), "$front: which comes";
    }
}
{   # it begins early, and the upload goes on
    my $mark = mark();
    my $c = channel('clear-rpc', 'IN', length => 2000, query => 'sim=late:100');
    $c->say('x' x 150);
    ok $c->hears(qr/ok\z/, 5), 'an answer that begins while the client sends';
    $c->say('x' x 1850);
    ok $c->hears(qr/okwhole\z/, 5), 'ends when it has sent all';
}
{   # what RPC says in the reason's place
    my $c = in_channel('clear-rpc', query => 'sim=status:503+RPC+Error:+6ba');
    ok $c->hears(qr/\r\n\r\n/), 'an RPC error';
    like $c->line, qr{^HTTP/1.1 503 RPC Error: 6ba}, 'keeps its words';
}
{   # a header that is none is no answer
    my $c = in_channel('clear-rpc',
        query => 'sim=status:200+OK%0d%0aBad%20Header:%20x');
    ok $c->hears(qr/\r\n\r\n/), 'an answer that HTTP does not know';
    is $c->status, 503, 'is 503';
}
sub raw_answer {
    return 'sim=raw:' . join '', map { sprintf '%%%02x', ord } split //, $_[0];
}
for my $front ('clear-rpc', 'rpc') { # both heads in one packet
    my $c = channel($front, 'IN', length => 4, body => 'ping',
        query => raw_answer("HTTP/1.1 100 Continue\r\n\r\n"
            . "HTTP/1.1 102 Processing\r\n\r\n"
            . "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast"));
    ok $c->hears(qr/\r\n\r\nlast\z/, 3),
        "$front: an answer right behind interim ones";
    is $c->status, 200, "$front: is the one that the client gets";
}
for my $length ('abc', '4, 4', '-1', '0x4') {
    my $c = channel('clear-rpc', 'IN', length => 4, body => 'ping',
        query => raw_answer(
            "HTTP/1.1 200 OK\r\nContent-Length: $length\r\n\r\nlast"));
    ok $c->hears(qr/\r\n\r\n/), "Content-Length: $length";
    is $c->status, 503, 'is no answer';
}
for my $body ("ZZ\r\n", "4\r\nlastXX\r\n") {
    my $c = channel('clear-rpc', 'IN', length => 4, body => 'ping',
        query => raw_answer("HTTP/1.1 200 OK\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n$body"));
    ok $c->gone(3), 'chunks that are none: the end';
    is +($c->chunks)[1], 0, 'and not a good one';
}
{   # 500 is no word for Outlook
    my $c = in_channel('clear-rpc', query => 'sim=early:500');
    ok $c->hears(qr/\r\n\r\n/), 'a backend in trouble';
    is $c->status, 503, 'is 503';
}
{   # its password is not the directory's: 401, and by Basic
    $_->('set?auth=refuse') for map { my $s = $_;
        sub { lab()->sim($s, $_[0], $dir) } } 'BER-CAS1', 'BER-CAS2';
    my $c = in_channel('clear-rpc');
    $c->say('x' x 1000);
    ok $c->hears(qr/\r\n\r\n/, 5), 'a login that is refused';
    is $c->status, 401, 'is told at once';
    like $c->header('WWW-Authenticate') // '', qr/^Basic /, 'as ours';
    ok $c->gone(5), 'and then the end';
    lab()->sim($_, 'reset', $dir) for 'BER-CAS1', 'BER-CAS2';
}

# ----------------------------------------------------- how an answer may end

{
    my $c = out_channel('clear-rpc', query => 'sim=length:50000');
    ok $c->hears(qr/\r\n\r\n.{50000}\z/s), 'with its length';
    $c->ask('clear-rpc', 'RPC_OUT_DATA', length => 76, body => 'o' x 76,
        query => 'sim=length:7');
    ok $c->hears(qr/\r\n\r\n.{7}\z/s), 'and the next one follows';
}
for my $kind ('chunked', 'eof') {
    my ($mark, $chan) = (mark(), name());
    my $out = out_channel('clear-rpc', query => "chan=$chan&sim=$kind");
    my $in = in_channel('clear-rpc', query => "chan=$chan");
    ok CaspRpc::event($mark, 3, event => 'ready', chan => $chan),
        "$kind: open";
    for my $piece ('one', 'two', 'end') {
        $in->say($piece);
        last if $piece eq 'end';
        ok $out->hears(qr/$piece\r\n\z/), "$kind: $piece comes at once";
    }
    ok $out->hears(qr/\r\n0\r\n\r\n\z/), "$kind: and its end";
    is join(' ', $out->chunks), 'onetwo 1', "$kind: in chunks to the client";
}
{
    my $out = out_channel('clear-rpc', query => 'sim=break:5000');
    ok $out->hears(qr/\r\n\r\n.{5000}\z/s), 'a backend breaks off';
    ok $out->gone(3), 'and the client knows at once';
    is length $out->body, 5000, 'has what there was, and no more';
    log_has(qr/CP0760: RPC_OUT_DATA to ber-cas\d\S* has ended: the backend broke off/, 'logged');
}
{
    my $in = in_channel('clear-rpc', query => 'sim=close:100');
    $in->say('x' x 100);
    ok $in->hears(qr/\r\n\r\n/, 5), 'a backend closes without an answer';
    is $in->status, 503, 'is 503';
    ok $in->header('Retry-After') || 1, 'may be tried again';
    ok $in->gone(3), 'and the end';
}

# --------------------------------------------------- nobody moves, nobody reads

{
    my ($mark, $chan) = (mark(), name());
    my $start = time;
    my $in = in_channel('clear-idle', query => "chan=$chan");
    for (1 .. 4) { $in->say('x'); sleep 0.8 }
    ok !$in->gone(0), 'a channel that moves outlives CasProxyTimeout';
    ok $in->gone(6), 'one that does not is ended';
    cmp_ok time - $start, '>', 4, 'after that time';
    ok CaspRpc::event($mark, 3, event => 'eof', chan => $chan),
        'and at the backend';
    log_has(qr/CP0760: RPC_IN_DATA.*nothing has moved/, 'for this reason');
    my $out = out_channel('clear-idle', query => 'sim=silent');
    ok $out->hears(qr/\r\n\r\n/, 6), 'a backend that never answers';
    is $out->status, 503, 'is 503';
}
{   # mod_reqtimeout: not for channels, and still there behind them
    my ($mark, $chan) = (mark(), name());
    my $in = in_channel('clear-hurry', query => "chan=$chan");
    sleep 2.5;
    $in->say('late');
    ok CaspRpc::event($mark, 3, event => 'in', chan => $chan),
        'RequestReadTimeout ends no channel';
    my $c = channel('clear-hurry', 'IN', length => 4, body => 'ping');
    ok $c->hears(qr/\r\n\r\n.{20}/s), 'an echo, and then';
    $c->ask('clear-hurry', 'POST', target => '/EWS/Exchange.asmx',
        length => 100_000, body => 'x' x 100);
    ok $c->gone(8), 'a slow upload to another protocol is ended';
}
{   # a client that does not read
    my $pid = $httpd->pid;
    my $rss = sub {
        my $sum = 0;
        for my $p ($pid, split ' ',
            CaspLab::slurp("/proc/$pid/task/$pid/children")) {
            $sum += $1 if CaspLab::slurp("/proc/$p/status")
                =~ /^VmRSS:\s+(\d+)/m;
        }
        return $sum;
    };
    my ($mark, $chan) = (mark(), name());
    my $before = $rss->();
    my $out = out_channel('clear-rpc', query => "chan=$chan&sim=flood:100000000");
    ok $out->hears(qr/\r\n\r\n/), 'a flood begins';
    my $taken = sub {
        my ($last) = (CaspRpc::events($mark, event => 'out',
            chan => $chan))[-1];
        return $last ? $last->{bytes} : 0;
    };
    my $was = -1;
    CaspLab::wait_for {
        my $now = $taken->();
        my $same = $now == $was;
        $was = $now;
        sleep 0.4;
        $same
    } 10;
    cmp_ok $was, '<', 50_000_000,
        'a client that does not read holds the backend up';
    cmp_ok $rss->() - $before, '<', 10_000, 'and httpd keeps none of it';
    my $other = channel('clear-rpc', 'IN', length => 4, body => 'ping');
    ok $other->hears(qr/\r\n\r\n.{20}/s), 'others are served';
    my $head = length $out->{text};
    $out->hears(qr/(*FAIL)/, 0.5);
    cmp_ok length $out->{text}, '>', $head, 'it reads, and more comes';
    $out->close;
}
{   # ... for the time of Timeout
    my $mark = mark();
    my $out = out_channel('clear-slow', query => 'sim=flood:100000000&chan=slow');
    ok $out->hears(qr/\r\n\r\n/), 'a flood to a client that stops';
    ok CaspRpc::event($mark, 15, event => 'end', chan => 'slow'),
        'is ended after Timeout';
    log_has(qr/CP0760: RPC_OUT_DATA.*one side has read nothing/, 'and logged');
}
{   # a backend that does not read
    my $in = in_channel('clear-slow', query => 'sim=stall');
    my $chunk = 'x' x 1_000_000;
    my $sent = 0;
    for (1 .. 80) {
        my $n = $in->say($chunk, 1);
        $sent += $n;
        last if $n < length $chunk;
    }
    cmp_ok $sent, '<', 60_000_000, 'a backend that does not read holds the client up';
    ok $in->gone(10), 'for the time of Timeout';
}

# ------------------------------------------------------- whose connection it is

{
    my ($mark, $chan) = (mark(), name());
    my $out = out_channel('clear-ntlm', query => "chan=$chan");
    ok $out->hears(qr/\r\n\r\n/), 'NTLM behind: OUT';
    is $out->status, 200, 'NTLM behind: open';
    my $in = in_channel('clear-ntlm', query => "chan=$chan");
    $in->say('by ntlm');
    ok $out->hears(qr/by ntlm\z/), 'NTLM behind: IN to OUT';
    my @seen = grep { $_->{target} } requests($mark);
    is join(' ', map { $_->{user} } @seen), 'CONTOSO\\ada CONTOSO\\ada',
        'NTLM behind: both as ada';
    my %used = map { $_->{connection} => 1 } @seen;
    is scalar keys %used, 2, 'NTLM behind: a connection for each';
    unlike join(' ', map { $_->header('Authorization') // '' } @seen),
        qr/Basic/, 'NTLM behind: no password';
    # while they stand, ada's others have connections of their own
    my $c = channel('clear-ntlm', 'IN', length => 0);
    ok $c->hears(qr/\r\n\r\n/), 'NTLM behind: a third';
    my ($third) = (grep { $_->{target} && !($_->{event}) }
        requests($mark))[-1];
    ok !$used{ $third->{connection} }, 'NTLM behind: over a third connection';
    $c->ask('clear-ntlm', 'RPC_OUT_DATA', length => 4, body => 'ping');
    ok $c->hears(qr/\r\n\r\n.{20}/s), 'NTLM behind: an echo';
    my ($fourth) = (grep { $_->{target} } requests($mark))[-1];
    is $fourth->{connection}, $third->{connection},
        'NTLM behind: the login is still there';
    is $fourth->header('Authorization'), undef, 'NTLM behind: no handshake';
    my $b = out_channel('clear-ntlm', user => 'berta');
    ok $b->hears(qr/\r\n\r\n/), 'NTLM behind: berta';
    my ($hers) = (grep { $_->{target} } requests($mark))[-1];
    is $hers->{user}, 'CONTOSO\\berta', 'NTLM behind: as berta';
}

for my $length (0, 4, 1000) { # a login that the backend has lost meanwhile
    my $c = channel('clear-ntlm', 'IN', length => 0, user => 'anna',
        query => 'sim=forget');
    ok $c->hears(qr/\r\n\r\n/), 'NTLM behind: a login';
    my $mark = mark();
    $c->ask('clear-ntlm', 'RPC_IN_DATA', length => $length, user => 'anna',
        body => 'x' x $length);
    ok $c->hears(qr/\r\n\r\n/), "NTLM behind: it was lost, $length bytes";
    is $c->status, $length < 1000 ? 200 : 503,
        "NTLM behind: $length bytes are " . ($length < 1000 ? '' : 'not ')
        . 'sent again';
    my @got = grep { $_->{target} && $_->{status} == 200 } requests($mark);
    is scalar @got, $length < 1000 ? 1 : 0, 'NTLM behind: served once';
    if ($length == 4) {
        my @in = map { $_->{bytes} } CaspRpc::events($mark, event => 'in');
        is "@in", '4', 'NTLM behind: and its bytes have come';
    }
}

# -------------------------------------------------------------------- HTTP/2

SKIP: {
    skip 'prefork has no HTTP/2', 2 if lab()->{mpm} eq 'prefork';
    my $r = ask('rpc', '/rpc/rpcproxy.dll?a:6001', user => 'ada', http2 => 1,
        method => 'RPC_IN_DATA', headers => ['Content-Length: 0'],
        httpd => $httpd);
    is $r->status, 200, 'over HTTP/2: asked again, and served';
    is $r->{http}, '1.1', 'over HTTP/1.1';
}

# ------------------------------------------------------------------ where to

for my $case (
    ['clear-rpc', 'gina', 'f10-rpc-2007', 'BER-CAS[12]',
        '2010 sends a 2007 mailbox to a 2010 CAS'],
    ['clear-rpc', 'ada', '', 'BER-CAS[12]', '2010 and a 2010 mailbox'],
    ['clear-13', 'ada', 'f13-rpc', 'BER-CAS[12]',
        '2013 sends a 2010 mailbox to its CAS'],
    ['clear-13', 'gina', 'f13-rpc', 'BER-CAS7',
        '2013 sends a 2007 mailbox to its CAS']) {
    my ($front, $user, $rule, $server, $name) = @$case;
    my ($mark, $chan) = (mark(), name());
    my $out = out_channel($front, user => $user, query => "chan=$chan");
    ok $out->hears(qr/\r\n\r\n/), "$name: OUT";
    my $in = in_channel($front, user => $user, query => "chan=$chan");
    $in->say('hello');
    ok $out->hears(qr/hello\z/), "$name: IN to OUT" or diag $out->{text};
    is $out->header('X-CasProxy-Rule'), $rule, "$name: by its rule" if $rule;
    my @seen = grep { $_->{target} } requests($mark);
    like join(' ', map { $_->{server} } @seen), qr/^($server) \1$/,
        "$name: the right server for both";
    unlike $seen[0]{target} // '/', qr/^(?!\/rpc\/)/i, "$name: at /rpc";
}

# --------------------------------------------------------- as many as allowed

SKIP: {
    skip 'prefork counts for each process alone', 4
        if lab()->{mpm} eq 'prefork';
    my @user = (user => 'ada');
    my @two = map { in_channel('clear-busy', @user) } 1, 2;
    sleep 0.3;
    # the other server takes two more
    push @two, map { in_channel('clear-busy', @user) } 3, 4;
    sleep 0.3;
    my $c = in_channel('clear-busy', @user);
    ok $c->hears(qr/\r\n\r\n/, 5), 'busy=2: the fifth of two servers';
    is $c->status, 503, 'busy=2: 503';
    $_->close for @two;
    my $served = CaspLab::wait_for {
        my $again = channel('clear-busy', 'IN', length => 0, @user);
        $again->hears(qr/\r\n\r\n/, 2) && $again->status == 200
    } 5;
    ok $served, 'busy=2: and when they have gone, there is room';
}

{   # a channel goes where its partner went, not where it would go itself
    my $where = sub {
        my ($mark, $n) = @_;
        CaspLab::wait_for { (grep { $_->{target} } requests($mark)) >= $n } 3;
        return map { $_->{server} } grep { $_->{target} } requests($mark);
    };
    my $mark = mark();
    my @o = (user => 'berta');
    my @held = map { my $c = in_channel('clear-busy', @o);
        $where->($mark, $_); $c } 1 .. 2;
    my $c = in_channel('clear-busy', @o);
    my @went = $where->($mark, 3);
    SKIP: {
        skip 'prefork counts for each process alone', 2
            if lab()->{mpm} eq 'prefork';
        isnt $went[2], $went[0], 'one server has enough: IN goes to the other';
        $_->close for @held;
        sleep 0.5;
        my $out = out_channel('clear-busy', @o);
        $out->hears(qr/\r\n\r\n/);
        is +($where->($mark, 4))[3], $went[2], 'and OUT follows it';
    }
}

# ------------------------------------------------------------ a restart

{
    my ($mark, $chan) = (mark(), name());
    my $out = out_channel('clear-rpc', query => "chan=$chan");
    ok $out->hears(qr/\r\n\r\n/), 'a channel at the time of a restart';
    $httpd->restart('graceful');
    ok $out->gone(20), 'is ended, so that no old process stays';
    ok CaspRpc::event($mark, 3, event => 'end', chan => $chan),
        'at the backend too';
    log_has(qr/CP0760: RPC_OUT_DATA.*this process is to end/, 'and logged');
    $httpd->ready('rpc', 'ada');
    my $next = out_channel('clear-rpc', query => "chan=$chan");
    ok $next->hears(qr/\r\n\r\n/, 10), 'the client comes again';
    is $next->status, 200, 'and is served';
}
if (lab()->{mpm} eq 'event') { # it takes a minute, and is the same in all
    my ($drip, $since) = (in_channel('rpc', query => 'sim=drip'), time);
    my $busy = out_channel('clear-rpc', query => 'sim=flood:100000000000');
    ok $busy->hears(qr/\r\n\r\n/), 'a channel that never rests';
    ok $drip->hears(qr/\r\n\r\n/, 40), 'a head that drips';
    is $drip->status, 503, 'is no answer';
    cmp_ok time - $since, '<', 35, 'and is waited for as long as any other';
    $httpd->restart('graceful');
    my $start = time;
    while (!$busy->{eof} && time - $start < 75) {
        $busy->more(1);
        $busy->{text} = '';
        sleep 0.02;
    }
    ok $busy->{eof}, 'is ended too';
    cmp_ok time - $start, '>', 50, 'after a minute of grace';
}

my @errors = $httpd->errors(qr/AH01095: prefetch request body failed/);
is scalar @errors, 0, 'no error in its log' or diag map {"$_\n"} @errors;
$httpd->stop;
finish();
