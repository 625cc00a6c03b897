# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# The protocols that have no test of their own: MAPI over HTTP, the offline
# address book, the control panel and how it is closed to the outside, remote
# PowerShell, unified messaging, what is left of 2003's paths - and what nobody
# ever gets from outside.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspFlow ();
use CaspHttpd;
use CaspTest;
use CaspWire;

begin(ad => 1);
lab()->{exchange} = CaspFlow::servers(lab());
my $httpd = CaspHttpd->new('protocols', \&CaspFlow::published)->start;
$httpd->ready('p2010', 'ada') or diag $httpd->log;

sub get {
    my ($front, $user, $path, %o) = @_;
    return $httpd->ask($front, $path, defined $user ? (user => $user) : (),
        %o);
}

# --------------------------------------------------------- MAPI over HTTP

sub mapi {
    my ($kind, $cookies, %o) = @_;
    return get('p2013', 'sven', $o{path}
        // '/mapi/emsmdb/?MailboxId=1234@contoso.test', method => 'POST',
        body => 'x' x 300, headers => ["X-RequestType: $kind",
            'Content-Type: application/mapi-http',
            'X-RequestId: {0c7a1e6d}:7', 'X-ClientInfo: {2EF3}:1',
            'X-ClientApplication: Outlook/15.0.4615.1000',
            $cookies ? "Cookie: $cookies" : ()]);
}
sub cookies_of {
    my ($r) = @_;
    return join '; ', map { /^([^;]*)/ } $r->all('Set-Cookie');
}

{
    my $mark = mark();
    my $r = mapi('Connect');
    is $r->status, 200, 'MAPI: Connect';
    is $r->header('Content-Type'), 'application/mapi-http', 'its type';
    is $r->header('X-RequestType'), 'Connect', 'X-RequestType comes back';
    is $r->header('X-RequestId'), '{0c7a1e6d}:7', 'X-RequestId too';
    is $r->header('X-ResponseCode'), 0, 'and X-ResponseCode';
    like $r->body, qr/\APROCESSING\r\nPENDING\r\nDONE\r\n/, 'its own framing';
    my $session = cookies_of($r);
    like $session, qr/MapiContext=\w+; MapiSequence=0/, 'a session of two cookies';
    unlike "@{[$r->all('Set-Cookie')]}", qr/domain/i, 'for this front';
    my ($got) = requests($mark);
    is $got->{server}, 'STO-EX13', 'at the mailbox server';
    is $got->header($_->[0]), $_->[1], "$_->[0] arrives" for
        ['X-RequestType', 'Connect'], ['X-ClientInfo', '{2EF3}:1'],
        ['X-ClientApplication', 'Outlook/15.0.4615.1000'],
        ['Content-Type', 'application/mapi-http'];
    is $got->{body}, 300, 'the body, too';
    like $got->{target}, qr{^/mapi/emsmdb/\?MailboxId=1234\@contoso\.test$},
        'and the mailbox that the URL names';
    $r = mapi('Execute', $session);
    is $r->header('X-ResponseCode'), 0, 'Execute in that session';
    like cookies_of($r), qr/MapiSequence=1/, 'counts on';
    is mapi('Execute', cookies_of($r))->header('X-ResponseCode'), 0,
        'and again';
    is mapi('Execute', 'MapiContext=nonsense')->header('X-ResponseCode'), 10,
        'another session is the server\'s to refuse';
    is mapi('Bind', undef, path => '/mapi/nspi/')->status, 200,
        'the address book';
    # stays of one connection, as Outlook has it
    my $wire = CaspWire->new(httpd => $httpd, tls => 'p2013');
    for my $kind ('Connect', 'Execute', 'Disconnect') {
        my $answer = $wire->ask('p2013', '/mapi/emsmdb/', method => 'POST',
            body => 'x', authorization => basic('sven'),
            headers => ["X-RequestType: $kind", "Cookie: $session"]);
        is $answer->header('X-RequestType'), $kind, "$kind on one connection";
    }
    for my $case (['p2013', 'olga', 'error; no-mapi'],
        ['p2010', 'ada', 'error; no-mapi'], ['p2013', 'fritz', 'error; .*']) {
        my ($front, $user, $decision) = @$case;
        $mark = mark();
        $r = get($front, $user, '/mapi/emsmdb/', method => 'POST', body => 'x',
            headers => ['X-RequestType: Connect']);
        like $r->decision, qr/^$decision$/, "MAPI, $user: $decision";
        cmp_ok $r->status, '<', 500, 'and no 500' if $r->status != 503;
        no_requests($mark);
    }
}

# ----------------------------------------------------------------- the OAB

for my $front (['p2010', 'ada', 'BER-CAS.'], ['p2010', 'bert', 'HAM-CAS.'],
    ['p2010', 'gina', 'BER-CAS7'], ['p2013', 'sven', 'STO-EX13'],
    ['p2010', 'clara', 'MUC-CAS.']) {
    my ($name, $user, $server) = @$front;
    my $path = '/OAB/6c6e3b1e-4b8e-4c0e-9d2b-3f3e3d2c1b0a/';
    my $r = get($name, $user, "${path}oab.xml");
    is $r->status, 200, "OAB, $user: its table of contents";
    served_by($r, $server);
    my $all = get($name, $user, "${path}data.lzx");
    is $all->status, 200, "OAB, $user: a file";
    is length $all->body, 32768, 'all of it'
        or diag length $all->body;
    is $all->header('Accept-Ranges'), 'bytes', 'which may be had in parts';
    my $part = get($name, $user, "${path}data.lzx",
        headers => ['Range: bytes=100-199', 'If-Range: "1:0"']);
    is $part->status, 206, 'a part';
    is $part->body, substr($all->body, 100, 100), 'is that part';
    is $part->header('Content-Range'), 'bytes 100-199/32768', 'and says so';
    is get($name, $user, "${path}data.lzx", method => 'HEAD')
        ->header('Content-Length'), 32768, 'HEAD tells its length';
}
is get('p2010', undef, '/OAB/x/oab.xml')->status, 401, 'not for everybody';

# ------------------------------------------------------------ the control panel

for my $front (qw(p2010 p2013 p2016 p2019)) {
    for my $user (qw(ada bert clara olga sven)) {
        my ($owa, $ecp) = map { get($front, $user, $_) } '/owa/', '/ecp/';
        is $ecp->decision, $owa->decision, "$front, $user: /ecp as /owa";
        is $ecp->status, $owa->status, 'the same status';
        is +($ecp->header('Location') // '') =~ s{/ecp/}{/owa/}r,
            $owa->header('Location') // '', 'and the same place';
    }
}
for my $case (['p2010', 'gina', 'no-ecp'], ['p2010', 'fritz', 'not-on-2003'],
    ['p2007', 'gina', 'no-ecp'], ['p2007', 'fritz', 'not-on-2003']) {
    my ($front, $user, $reason) = @$case;
    my $mark = mark();
    is get($front, $user, '/ecp/')->decision, "error; $reason",
        "$front, $user: no control panel";
    no_requests($mark);
}

# Closed to the outside: whatever way it is spelt, nothing gets through.
for my $path ('/ecp/', '/ecp', '/ECP/', '/eCp/?p=1', '/ecp/default.aspx',
    '/ecp/UsersGroups/Mailboxes.slab', '/%65cp/', '/e%63p/', '/%45CP/x',
    '//ecp/', '/./ecp/', '/owa/../ecp/', '/ecp;x/', '/ecp%2f', '/ecp%2Fx',
    '/ecp/.', '/ecp%5cx', '/ecp%00/') {
    for my $method ('GET', 'POST') {
        my $mark = mark();
        my $r = get('p-closed', 'ada', $path, method => $method,
            $method eq 'POST' ? (body => 'x') : ());
        like $r->status, qr/^40[034]$/, "closed: $method $path";
        is $r->status, 403, 'with 403' if $path =~ m{^/ecp/\w*$}i;
        no_requests($mark, "closed: $method $path: no byte behind");
    }
}
for my $path ('/owa/', '/EWS/x', '/ecpx/') {
    is get('p-closed', 'ada', $path)->status, $path =~ /ecpx/ ? 404 : 200,
        "$path is not concerned";
}
is get('p-inside', 'ada', $_)->status, 200, "$_ for those inside"
    for '/ecp/', '/ECP/';
{
    my $mark = mark();
    is get('p-plain', 'ada', '/ecp/')->status, 403, 'a plain <Location /ecp>';
    no_requests($mark);
    is get('p-plain', 'ada', '/ECP/')->status, 200,
        'knows one spelling only, as httpd -t says';
    my (undef, $told) = $httpd->test;
    like $told, qr{p-plain.*<Location /ecp> compares case}, 'it does';
    unlike $told, qr{p-closed.*compares case}, 'not of the other';
}
# Whoever is outside is not asked for a password that would not help.
{
    my $mark = mark();
    isnt get('p-closed', undef, '/ecp/')->status, 200, 'closed: nobody';
    isnt get('p-forms', undef, '/ecp/', headers => ['Accept: text/html'])
        ->status, 200, 'closed, by form';
    no_requests($mark);
}

# ---------------------------------------------------------------- PowerShell

{
    my $mark = mark();
    my $path = '/PowerShell/?serializationLevel=Full;ExchClientVer=14.3.123.4';
    for my $method ('GET', 'POST') {
        my $r = get('p2010', 'ada', $path, method => $method,
            $method eq 'POST' ? (body => '<s:Envelope/>') : ());
        is $r->status, 404, "PowerShell, $method: not by default";
        is $r->decision, 'deny; not-published', 'since nobody publishes it';
    }
    is get('p2010', undef, '/powershell')->status, 404,
        'nor is anybody asked for a password';
    no_requests($mark);
    $mark = mark();
    my $r = get('p-shell', 'ada', $path, method => 'POST',
        body => '<s:Envelope/>', headers => ['Content-Type: '
            . 'application/soap+xml;charset=UTF-8', 'User-Agent: Microsoft '
            . 'WinRM Client', 'Cookie: MS-WSMAN=before']);
    is $r->status, 200, 'PowerShell, where it is published';
    my ($cookie) = $r->all('Set-Cookie');
    like $cookie, qr/^MS-WSMAN=\w+; path=\/PowerShell/, 'its cookie comes back';
    my ($got) = requests($mark);
    is $got->header('Cookie'), 'MS-WSMAN=before', 'and goes there';
    is lc $got->{target}, lc $path, 'the URL as it was';
    like $got->{server}, qr/^BER-CAS[12]$/, 'at a CAS of this site';
    is get('p-shell', 'ada', '/EWS/x')->status, 404,
        'what is not in the list is not there';
}

# --------------------------------------------------------------- HealthCheck

# Of every directory, in any case, with a user or without.
for my $vdir (qw(owa ecp EWS Microsoft-Server-ActiveSync Autodiscover OAB rpc
    mapi mapi/emsmdb mapi/nspi UnifiedMessaging PowerShell exchange public
    exchweb)) {
    my $mark = mark();
    my @paths = map { ("/$vdir/$_", "/\U$vdir/\E$_") } 'healthcheck.htm',
        'HealthCheck.htm', 'HEALTHCHECK.HTM', '%68ealthcheck.htm',
        'healthcheck%2ehtm', 'healthcheck.htm?x', 'healthcheck.htm;x',
        './healthcheck.htm', '/healthcheck.htm';
    my @got = CaspTest::ask_each(map {
        my $path = $_;
        map { ['p2013', $path, @$_, httpd => $httpd] } [], [user => 'sven']
    } @paths);
    my %status;
    $status{ $_->status }++ for @got;
    ok !grep({ !/^40[034]$/ } keys %status), "/$vdir/healthcheck.htm in all "
        . 'its spellings' or diag explain_status(\%status);
    is get('p2013', 'sven', "/$vdir/HealthCheck.htm")->status, 403, 'refused';
    no_requests($mark, 'and no byte reaches a server');
}
sub explain_status { return join ', ', map {"$_: $_[0]{$_}"} keys %{ $_[0] } }

# -------------------------------------------------------- unified messaging

for my $user (qw(ada bert clara gina olga fritz)) {
    my @got = map { get('p2010', $user, $_, method => 'POST', body => '<x/>',
        headers => ['Content-Type: text/xml']) }
        '/EWS/x', '/UnifiedMessaging/Service.asmx';
    is $got[1]->decision, $got[0]->decision, "UM as EWS: $user";
    like $got[1]->action, qr/^(?:direct|proxy|error)$/, 'never redirected';
    is $got[1]->header('X-Backend') // '', $got[0]->header('X-Backend') // '',
        'at the same server';
}

# ------------------------------------------------------------- the old paths

# Every method of WebDAV and Exchange, wherever its collection is; the bodies
# and headers of each are t/legacy.t's.
my @WEBDAV = qw(GET HEAD POST OPTIONS PUT DELETE MKCOL COPY MOVE PROPFIND
    PROPPATCH LOCK UNLOCK SEARCH SUBSCRIBE UNSUBSCRIBE POLL NOTIFY BCOPY BMOVE
    BDELETE BPROPFIND BPROPPATCH X-MS-ENUMATTS);
for my $base ('/exchange/fritz/Inbox/', '/public/Sales/', '/EXCHANGE/fritz/a%20b/') {
    my $mark = mark();
    my @got = CaspTest::ask_each(map {
        ['p2007', $base, user => 'fritz', method => $_, httpd => $httpd,
            headers => ['Translate: f', 'Depth: 1', "Destination: https://"
                . "p2007.contoso.test${base}x"]]
    } @WEBDAV);
    my @arrived = requests($mark);
    is join(' ', map { $_->{method} } @arrived), join(' ', @WEBDAV),
        "$base: every method arrives";
    is scalar(grep { $_->{server} ne 'BER-MBX3' } @arrived), 0,
        'at the 2003 back-end';
    is scalar(grep { $_->status !~ /^20[0147]$/ } @got), 0,
        'and is answered' or diag join ' ', map { $_->status } @got;
}
# Newer fronts lead browsers to /owa.
for my $front (qw(p2010 p2013 p2016 p2019)) {
    for my $path (qw(/exchange /exchange/ /Exchange/?Cmd=x /exchweb/)) {
        my $user = $front eq 'p2010' ? 'ada' : 'sven';
        my $mark = mark();
        my $r = get($front, $user, $path, headers => ['Accept: text/html']);
        is $r->status, 302, "$front: $path leads" or diag $r->decision;
        like $r->header('Location') // '',
            qr{^https://$front\.contoso\.test/owa/}, 'to /owa, here';
        no_requests($mark);
    }
}
# /exadmin: nobody, on any front, by any method or spelling.
for my $front (qw(p2007 p2010 p2013)) {
    my $mark = mark();
    my @got = CaspTest::ask_each(map {
        my $method = $_;
        map { [$front, $_, user => 'fritz', method => $method,
            httpd => $httpd] } '/exadmin/', '/exadmin', '/ExAdmin/admin/x',
            '/%65xadmin/', '/exadmin/?x'
    } qw(GET PROPFIND SEARCH MOVE));
    is scalar(grep { $_->status !~ /^40[034]$/ } @got), 0,
        "$front: /exadmin never";
    no_requests($mark);
}
is get('p-few', 'ada', $_)->status, 404, "$_: not in CasProxyPublish"
    for '/EWS/x', '/ecp/', '/OAB/x', '/mapi/emsmdb/', '/exchange/',
    '/UnifiedMessaging/x', '/Autodiscover/x', '/rpc/rpcproxy.dll?x:6001';

my @errors = $httpd->errors(qr/AH01630|AH01797/); # Require says no
is scalar @errors, 0, 'nothing else in its log'
    or diag map {"$_\n"} @errors[0 .. ($#errors > 9 ? 9 : $#errors)];
$httpd->stop;
finish();
