# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Exchange Web Services and Availability: always proxied, to where the mailbox
# lives that a program names; the beginning of a body is looked at for that,
# and all of it still arrives; streams flow both ways; a fault is a fault.
use strict;
use warnings;
use Digest::SHA 'sha1_hex';
use Time::HiRes ();
use Apache::Test qw(-withtestmore);
use CaspBackFronts ();
use CaspEws;
use CaspFault;
use CaspHttpd;
use CaspTest;
use CaspWire;

begin(ad => 1);
my $PATH = '/EWS/Exchange.asmx';
my $own = CaspEws::server(lab());
my $httpd = CaspHttpd->new('ews', \&CaspEws::fronts)->start;
$httpd->ready('ews', 'ada') or diag $httpd->log;
my @XML = @CaspEws::XML;

sub post {
    my ($front, $user, $message, %o) = @_;
    return $httpd->ask($front, $o{path} // $PATH, user => $user,
        body => $message, headers => [@XML, @{ $o{headers} // [] }], %o{
            grep { exists $o{$_} } qw(wait curl authorization http2) });
}

# One of the server's own: its word is what it got.
sub told {
    my ($r) = @_;
    return eval { CaspLab::json->decode($r->body) } // {};
}

sub impersonated { return CaspEws::soap('GetFolder', anchor => @_) }

# -------------------------------------------------------------- always proxied

# Whatever an ExternalURL says: no program follows a link.
for my $case ([ada => 'BER-CAS[12]'], [clara => 'MUC-CAS1'],
    [bert => 'HAM-CAS[12]'], [karl => 'ZRH-EX1'], [mia => 'GVA-EX1'],
    [olga => 'STO-EX10']) {
    my ($user, $servers) = @$case;
    my $r = post('ews', $user, CaspEws::soap('ResolveNames'));
    is $r->status, 200, "$user: served" or diag $r->decision;
    like $r->decision, qr/^(?:direct|proxy);/, "$user: proxied";
    served_by($r, $servers, "$user: by a server of her site");
}
is $httpd->ask('ews', '/EWS/Services.wsdl', user => 'clara')->action, 'proxy',
    'other files of the directory, too';

{   # A balancer's name is no server's: programs stay on one.
    my $mark = mark();
    $httpd->ask('ews', '/owa/', user => 'bert');
    post('ews', 'bert', CaspEws::soap('ResolveNames'));
    is join(' ', map { scalar $_->header('Host') } requests($mark)),
        'owa-hamburg.contoso.test ham-cas2.contoso.test',
        'EWS by the NLB bypass URL, OWA by the internal one';
}

# -------------------------------------------------------------- anchor mailbox

for my $case (
    ['a header', ['X-AnchorMailbox: bert@contoso.test'], undef,
        'HAM-CAS[12]'],
    ['impersonation', [], 'bert@contoso.test', 'HAM-CAS[12]'],
    ['the header wins', ['X-AnchorMailbox: clara@contoso.test'],
        'bert@contoso.test', 'MUC-CAS1']) {
    my ($name, $headers, $anchor, $servers) = @$case;
    for my $user ('ada', 'nils') { # nils is an account without mailbox
        my $r = post('ews', $user, impersonated($anchor),
            headers => $headers);
        is $r->status, 200, "$name, $user: served" or diag $r->decision;
        served_by($r, $servers, "$name, $user: where that mailbox is");
    }
}
for my $case ([PrincipalName => 'bert@contoso.test'],
    [SmtpAddress => 'bert@contoso.test']) {
    my $r = post('ews', 'nils', CaspEws::soap('GetFolder', name => $case));
    served_by($r, 'HAM-CAS[12]', "impersonation by $case->[0]");
}
{
    my $sid = CaspLab::run('samba-tool', 'user', 'show', 'bert',
        '--attributes=objectSid', '-s', lab()->{run} . '/ad/smb.conf')
        =~ /objectSid: (S-[\d-]+)/ ? $1 : '';
    my $r = post('ews', 'nils', CaspEws::soap('GetFolder',
        name => [SID => $sid]));
    served_by($r, 'HAM-CAS[12]', "impersonation by SID $sid");
}
{
    my $r = post('ews', 'nils', CaspEws::soap('GetFolder'));
    is $r->decision, 'error; no-mailbox', 'without mailbox or anchor';
    $r = post('ews', 'nils', impersonated('nobody@contoso.test'));
    is $r->decision, 'error; mailbox-unknown', 'an anchor that is not there';
    $r = post('ews', 'ada', impersonated('nobody@contoso.test'));
    served_by($r, 'BER-CAS[12]', 'then the own mailbox decides');
    # in other protocols it means nothing
    $r = $httpd->ask('ews', '/owa/', user => 'ada',
        headers => ['X-AnchorMailbox: bert@contoso.test']);
    served_by($r, 'BER-CAS[12]', 'OWA knows no anchor');
    $r = $httpd->ask('ews', $PATH, user => 'ada', body => impersonated(
        'bert@contoso.test'), headers => ['Content-Type: text/plain']);
    served_by($r, 'BER-CAS[12]', 'nor is every body a message');
    $r = post('ews', 'ada', impersonated('bert@contoso.test'),
        headers => ['Content-Encoding: gzip']);
    served_by($r, 'BER-CAS[12]', 'nothing is unpacked');
    $r = $httpd->ask('ews', $PATH, user => 'ada', body => impersonated(
        'bert@contoso.test'),
        headers => ['Content-Type: APPLICATION/soap+xml;charset=utf-8']);
    served_by($r, 'HAM-CAS[12]', "SOAP 1.2's type");
    $r = post('ews13', 'sven', impersonated('tove@contoso.test'));
    served_by($r, 'STO-EX1[69]', 'a front of 2013') or diag $r->decision;
    $r = post('ews-vouched', undef, impersonated('bert@contoso.test'),
        authorization => basic('CONTOSO\\ada'));
    served_by($r, 'HAM-CAS[12]', "another module's user") or diag $r->decision;
}
{   # Availability asks for many: it goes with who asks
    my $r = post('ews', 'ada', CaspEws::soap('GetUserAvailabilityRequest',
        body => '<t:MailboxDataArray xmlns:t="http://schemas.microsoft.com/'
            . 'exchange/services/2006/types">' . join('', map {
            "<t:MailboxData><t:Email><t:Address>$_\@contoso.test</t:Address>"
            . '</t:Email></t:MailboxData>' } 'bert', 'clara')
            . '</t:MailboxDataArray>'));
    is $r->status, 200, 'availability is answered';
    served_by($r, 'BER-CAS[12]', 'by the server of who asks');
    is scalar(() = $r->body =~ /<FreeBusyResponse>/g), 2, 'for both';
}

# ---------------------------------------------------- strangers name nobody

{
    my $dir = CaspFault->new('ews-slapd');
    my $counted = CaspHttpd->new('ewscount', sub {
        my ($to) = @_;
        return lab()->front($to, 'count', directory => [$dir->lines('slapd')],
            lines => ['CasProxyExternalURL https://count.contoso.test/owa']);
    })->start;
    ok $counted->ready('count', 'ada'), 'a directory that counts';
    my $ask = sub {
        my ($password, @headers) = @_;
        return $counted->ask('count', $PATH, user => 'ada',
            password => $password, headers => [@XML, @headers],
            body => impersonated('bert@contoso.test'));
    };
    is $ask->('wrong')->status, 401, 'impersonation by a stranger';
    is $ask->('wrong', 'X-AnchorMailbox: clara@contoso.test')->status, 401,
        'and an anchor';
    is $dir->searches('smtp:bert') + $dir->searches('smtp:clara'), 0,
        'are not looked up';
    served_by($ask->(undef), 'HAM-CAS[12]', 'by a user');
    cmp_ok $dir->searches('smtp:bert'), '>', 0, 'they are: counts count';
    $counted->stop;
    $dir->down;
}

# ------------------------------------------------------------ nothing is HTML

for my $front ('ews', 'ews-forms') {
    for my $words ([], [user => 'ada', password => 'wrong']) {
        my $r = $httpd->ask($front, $PATH, body => impersonated(
            'bert@contoso.test'), headers => [@XML, 'Accept: text/html'],
            @$words);
        my $name = "$front, " . (@$words ? 'a wrong password' : 'nobody');
        is $r->status, 401, "$name: 401";
        unlike $r->body, qr/<html/i, "$name: no page";
        unlike $r->header('Content-Type') // '', qr/html/,
            "$name: nor its type";
        ok scalar $r->all('WWW-Authenticate'), "$name: a challenge";
    }
}

# ------------------------------------------------------- what was sent arrives

CaspBackFronts::look_at($own);

# Each comes whole, with or without an anchor, in every framing.
{
    my @bodies = map {
        CaspEws::soap('CreateItem', fill => $_, anchor => 'berta@contoso.test')
    } 0, 5_000, 8_192, 63_000, 70_000, 500_000;
    push @bodies, CaspEws::soap('CreateItem', fill => 300_000),
        'no XML', '<a', "\xff\xfe<\0", '', 'x' x 200_000,
        CaspEws::soap('CreateItem', before => '<x>' . '<y/>' x 20_000 . '</x>',
            anchor => 'berta@contoso.test');
    for my $i (0 .. $#bodies) {
        my $body = $bodies[$i];
        my $sum = length($body) . ' ' . sha1_hex($body);
        my @how = (['Content-Length', []],
            ['chunked', ['Transfer-Encoding: chunked']],
            ['Expect', ['Expect: 100-continue']]);
        for my $how (@how) {
            my ($name, $headers) = @$how;
            my $r = post('own', 'ada', $body, headers => [
                $name eq 'Expect' ? () : 'Expect:', @$headers]);
            my $got = told($r);
            is join(' ', map { $_ // '?' } @$got{qw(body body_sha1)}), $sum,
                "body $i, $name: whole" or diag $r->status, ' ', $r->decision;
        }
    }
    my $r = post('own', 'ada', $bodies[3], http2 => 1);
    is told($r)->{body_sha1}, sha1_hex($bodies[3]), 'over HTTP/2'
        or diag $r->status, ' ', $r->decision;
}
# The first candidate of some is dead: the second gets all of it.
for my $user ('kim', 'kira') {
    my $body = CaspEws::soap('CreateItem', fill => 20_000,
        anchor => "$user\@contoso.test");
    my $mark = mark();
    my $r = post('own', 'ada', $body);
    my @got = requests($mark);
    is scalar @got, 1, "$user, a dead server among two: one request"
        or diag $r->status, ' ', $r->decision;
    is $got[0] && $got[0]{body_sha1}, sha1_hex($body), "$user: and whole";
}

# ----------------------------------------------------------- peeking by hand

sub head_of {
    my ($front, $length, @more) = @_;
    return join "\r\n", "POST $PATH?t=echo HTTP/1.1",
        "Host: $front.contoso.test", 'Authorization: ' . basic('ada'), @XML,
        defined $length ? "Content-Length: $length" : (), @more, '', '';
}

{   # byte by byte, in pieces, and the next request on the same connection
    my $body = impersonated('berta@contoso.test');
    my $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-own', length $body));
    for my $part (unpack '(a60)*', $body) {
        $wire->say($part);
        Time::HiRes::sleep(0.01);
    }
    is told($wire->hear)->{body_sha1}, sha1_hex($body), 'in pieces';
    $wire->say(head_of('clear-own', undef, 'Transfer-Encoding: chunked'),
        map({ "1\r\n$_\r\n" } split //, $body), "0\r\nX-T: 1\r\n\r\n");
    is told($wire->hear)->{body_sha1}, sha1_hex($body),
        'chunks of one byte, and a trailer';
    $wire->say(head_of('clear-own', 0));
    is told($wire->hear)->{body}, 0, 'no body at all';
    $wire->say(head_of('clear-own', length $body), $body,
        head_of('clear-own', 3), 'end');
    is told($wire->hear)->{body_sha1}, sha1_hex($body), 'and the next one';
    is told($wire->hear)->{body}, 3, 'behind it';
}
{   # 100 comes for a known user only
    my $body = impersonated('berta@contoso.test');
    my $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-own', length $body, 'Expect: 100-continue'));
    is $wire->hear(alone => 1)->status, 100, '100, for a user';
    $wire->say($body);
    my $r = $wire->hear;
    is $r->status, 200, 'then the answer';
    is $r->{interim}, 0, 'and no second 100';
    is told($r)->{body_sha1}, sha1_hex($body), 'whole';
    my $mark = mark();
    $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-own', length $body, 'Expect: 100-continue')
        =~ s/^Authorization.*\r\n//mr);
    $r = $wire->hear(alone => 1);
    is $r->status, 401, 'none for a stranger';
    no_requests($mark);
}
{   # who stops in the middle of a header waits for no decision
    my $body = impersonated('berta@contoso.test');
    my $wire = CaspWire->new(httpd => $httpd);
    my $mark = mark();
    $wire->say(head_of('clear-own', 70_000), '<s:Envelope><s:Header><');
    for (1 .. 12) { # much longer than it is waited for
        Time::HiRes::sleep(0.4);
        $wire->say('a ');
    }
    # the login over there is tried before mod_proxy reads the body
    cmp_ok scalar(() = all_requests($mark)), '>', 0,
        'a backend is chosen without the rest';
    $wire->say('x' x (70_000 - 23 - 24));
    my $r = $wire->hear;
    is $r->status, 200, 'a client that trickles' or diag $r->decision;
    is told($r)->{body}, 70_000, 'is heard out all the same';
}
{   # a length and framing that are wrong: once 400, and the end
    for my $case (['a chunk', head_of('clear-own', undef,
            'Transfer-Encoding: chunked') . "zz\r\n<a/>\r\n"],
        ['a chunk after a good one', head_of('clear-own', undef,
            'Transfer-Encoding: chunked') . "4\r\n<a><\r\nzz\r\n"]) {
        my ($name, $bytes) = @$case;
        my $mark = mark();
        my $wire = CaspWire->new(httpd => $httpd);
        $wire->say($bytes);
        is $wire->hear->status, 400, "$name that is none: 400";
        ok $wire->gone(5), "$name: and the end of the connection";
        unlike $wire->{text}, qr{^HTTP/}m, "$name: nothing behind it";
        no_requests($mark, "$name: no backend saw it");
    }
    my $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-own', 500), '<s:Envelope');
    $wire->close;
    is post('own', 'ada', 'x')->status, 200, 'a client that goes: all is well';
}

# ------------------------------------------------------------------- uploads

# How much memory the children of this httpd hold, in MB.
sub resident {
    my $sum = 0;
    my $parent = $httpd->pid;
    for my $status (glob '/proc/[0-9]*/status') {
        my $text = CaspLab::slurp($status);
        $sum += $1 if $text =~ /^PPid:\t$parent$/m
            && $text =~ /^VmRSS:\s+(\d+)/m;
    }
    return $sum / 1024;
}

# Files of theirs that are no logs and the like.
sub spooled {
    my $parent = $httpd->pid;
    my @children = grep {
        CaspLab::slurp("$_/status") =~ /^PPid:\t$parent$/m
    } glob '/proc/[0-9]*';
    return grep { m{^/tmp/modproxy|^/tmp/apr|^/var/tmp} }
        map { readlink // () } map { glob "$_/fd/*" } @children;
}

{   # 300 MB, which the backend stops to read in their midst
    my $size = 300 << 20;
    my $before = resident();
    my $wire = CaspWire->new(httpd => $httpd);
    my $head = impersonated('berta@contoso.test');
    my $piece = 'y' x (1 << 20);
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        # at once, so that more is looked at than mod_proxy keeps in memory
        $wire->say(head_of('clear-own', $size)
            =~ s/t=echo/t=take&at=104857600/r . $head . $piece);
        my $left = $size - length $head . $piece;
        while ($left > 0) {
            my $n = $left < length $piece ? $left : length $piece;
            $wire->say(substr $piece, 0, $n) or last;
            $left -= $n;
        }
        POSIX::_exit($left ? 1 : 0);
    }
    ok CaspEws::reached($own), '100 MB arrive before the rest was sent';
    Time::HiRes::sleep(1); # what is sent meanwhile has to stop somewhere
    my $grown = resident() - $before;
    cmp_ok $grown, '<', 64, sprintf 'httpd grew by %.1f MB', $grown;
    is_deeply [spooled()], [], 'and wrote no file';
    CaspEws::step($own);
    my $r = $wire->hear(wait => 60);
    waitpid $pid, 0;
    is $?, 0, 'all was sent';
    is $r->status, 200, 'and taken';
    is told($r)->{body}, $size, 'all of it';
}
{   # httpd's LimitRequestBody is not for what is proxied, peeked at or not
    my $wire = CaspWire->new(httpd => $httpd);
    my $body = CaspEws::soap('CreateItem', fill => 5000);
    $wire->say(head_of('clear-small', length $body), $body);
    my $r = $wire->hear;
    is $r->status, 200, 'more than LimitRequestBody';
    is told($r)->{body_sha1}, sha1_hex($body), 'arrives';
    $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-own', 2 << 30) =~ s/t=echo/t=take&at=100000/r,
        impersonated('berta@contoso.test'), 'z' x 300_000);
    ok CaspEws::reached($own), 'two GiB are begun, though httpd has a limit';
    is_deeply [spooled()], [], 'and go into no file';
    $wire->close;
    CaspEws::step($own);
}

# ------------------------------------------------------------------- streams

{
    my $message = CaspEws::soap('GetStreamingEvents');
    my $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-own', length $message)
        =~ s/t=echo/t=steps&n=4/r, $message);
    $wire->wait_for(qr/\r\n\r\n/);
    for my $i (1 .. 4) {
        # the server sends the next one only after this was seen here
        ok $wire->wait_for(qr/part $i\n/, 10), "part $i of a stream"
            or diag $wire->{text};
        CaspEws::step($own) if $i < 4;
    }
    ok $wire->wait_for(qr/\r\n0\r\n\r\n/, 10), 'and its end';
    like $wire->{text}, qr/^Transfer-Encoding: chunked/mi, 'as a stream';
}
{   # how long may a server be silent?
    my ($code, $text) = $httpd->test('-D', 'DUMP_CASPROXY');
    like $text, qr/^\s*CasProxyTimeout EWS 2100$/mi, 'EWS: 2100 seconds';
    like $text, qr/^\s*CasProxyTimeout EWS 1$/mi, 'or what is said';
    my $message = CaspEws::soap('GetStreamingEvents');
    my $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-quick', length $message)
        =~ s/t=echo/t=beat&n=8/r, $message);
    ok $wire->wait_for(qr/part 8\n.*\r\n0\r\n\r\n/s, 10),
        'heartbeats keep a stream longer than its time-out'
        or diag $wire->{text};
    $wire = CaspWire->new(httpd => $httpd);
    $wire->say(head_of('clear-quick', length $message)
        =~ s/t=echo/t=steps&n=2/r, $message);
    ok $wire->wait_for(qr/part 1\n/, 10), 'a stream that falls silent';
    1 while $wire->more(8);
    ok !$wire->{open}, 'is cut';
    unlike $wire->{text}, qr/part 2|\r\n0\r\n\r\n/, 'without a false end';
    CaspEws::step($own);
}

# -------------------------------------------------------------------- faults

{
    my $mark = mark();
    my $r = post('own', 'ada', CaspEws::soap('GetFolder'),
        path => "$PATH?t=fault");
    is $r->status, 500, 'a SOAP fault passes';
    is $r->body, $CaspEws::FAULT, 'byte for byte';
    is $r->header('Content-Type'), 'text/xml; charset=utf-8', 'as it is';
    is scalar(() = requests($mark)), 1, 'and is not asked for twice';
}

# --------------------------------------------------------- python3-exchangelib

SKIP: {
    my $python = '/usr/bin/python3';
    skip 'needs python3-exchangelib (t/lab/packages.sh install)', 10
        if system("$python -c 'import exchangelib' >/dev/null 2>&1");
    local $ENV{REQUESTS_CA_BUNDLE} = lab()->{run} . '/ca/ca.pem';
    local $ENV{PASSWORD} = lab()->{password};
    my $client = sub {
        my (@words) = @_;
        my $text = eval {
            CaspLab::run($python, '-B', "$CaspLab::TOP/t/lab/ewsclient.py",
                $httpd->{sslport}, @words)
        };
        return eval { CaspLab::json->decode($text) }
            // { error => ($text // '') . ($@ // '') };
    };
    for my $case (
        ['Basic', 'exchange', 'BER-CAS[12]', 'ews', 'basic', 'CONTOSO\\ada',
            'ada@contoso.test'],
        ['NTLM', 'iis', 'MUC-CAS1', 'ews-ntlm', 'ntlm', 'CONTOSO\\clara',
            'clara@contoso.test'],
        ['impersonation', 'exchange', 'HAM-CAS[12]', 'ews', 'basic',
            'CONTOSO\\nils', 'bert@contoso.test', 'impersonate']) {
        my ($name, $behind, $servers, @words) = @$case;
      SKIP: {
        # requests_ntlm asks for signing, which only winbindd verifies
        skip "exchangelib, $name: needs winbindd in a mount namespace", 3
            if $name eq 'NTLM' && !lab()->{winbind};
        my $address = $words[3];
        CaspBackFronts::look_at(lab()->{run} . "/$behind");
        my $mark = mark();
        my $got = $client->(@words);
        is $got->{folder}, 'Inbox', "exchangelib, $name: a folder"
            or diag $got->{error};
        is_deeply $got->{subjects}, ['Welcome'], "$name: a message";
        like $got->{text} // '',
            qr/mailbox of \Q$address\E on (?:$servers)\./,
            "$name: from where that mailbox is";
        my @anchors = grep {
            ($_->header('X-AnchorMailbox') // '') eq $address
        } requests($mark);
        ok scalar @anchors, "$name: it says X-AnchorMailbox" if $words[4];
      }
    }
}

my @errors = $httpd->errors(qr/AH0(?:0957|1095|1097|1110|2608)/);
is scalar @errors, 0, "nothing else in the front's log"
    or diag map {"$_\n"} @errors;
$httpd->stop;
finish();
