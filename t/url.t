# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# URLs and headers as attackers write them: refused before any byte reaches a
# backend, or taken away; and paths that are none of ours are served by
# whoever serves them without us.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);

# ------------------------------------------- two readings: refused, unsent

# All with good credentials: it is the URL that is refused.
my @attacks = ('/owa/%2e%2e%2fecp/',
    '/owa/..%2f..%2fexadmin/', '/owa/../ecp/', '/owa/.%2e/ecp/',
    '/owa/%252e%252e/ecp',
    '/owa/%25252e%25252e/', '/owa/..;/ecp/', '/owa/..%3b/ecp/',
    '/owa/%2e%2e;x=y/', '/owa/../exadmin/', '/owa/forms/../../exadmin/', '/owa/%c0%ae%c0%ae/',
    '/owa/%c0%af', '/owa/%e0%80%af', '/owa/%c1%9c', '/owa/..%c0%af..%c0%af',
    '/owa/%u002e%u002e/', '/owa/%u2215..', '/owa/%5c', '/owa/..%5c..%5c',
    '/owa/..\\..\\', '/owa\\..\\exadmin', '/owa/%255c', '/owa%2f..%2fexadmin',
    '/owa/%', '/owa/%zz', '/owa/%4', '/owa/a%00b', '/owa/%0d%0aX:y',
    '/owa/%2500', '/owa/%7f', '/owa/. ./', '/owa/ ', '/owa./', '/owa%20/',
    '/owa;x=y/', '//owa/', '/owa%5c', '/%6f%77%61/%2e%2e/ecp',
    '/exchange/../exadmin/', '/exchange/fritz/..%5c..%5cexadmin/',
    '/exchange/fritz/%252e%252e/', '/Microsoft-Server-ActiveSync/../owa/',
    '/owa/proxyLogon.owa', '/owa/PROXYLOGON.OWA', '/owa/ping.owa',
    '/owa/x/proxylogon.owa', '/owa/integrated/', '/owa/%69ntegrated/',
    '/Microsoft-Server-ActiveSync/Proxy/', '/ecp/proxyLogon.ecp',
    '/autodiscover/autodiscover.json?@evil.test/owa/?&Email=autodiscover/autodiscover.json%3f@evil.test',
    '/autodiscover/autodiscover.json?a=..foo.var/powershell',
    '/autodiscover/autodiscover.json/powershell?x',
    '/autodiscover/autodiscover.xml?X-Rps-CAT=VgEAVAdXaW5k',
    '/Autodiscover/%70owershell', '/RpcWithCert/rpcproxy.dll', '/exadmin/',
    '/exadmin/admin/contoso.test/', '/powershell/', '/PowerShell?x=y');
for my $path (@attacks) {
    my $mark = mark();
    my $r = ask('mail', $path, user => 'ada');
    like $r->status, qr/^40[034]$/, "refused: $path"
        or diag $r->status, ' ', $r->decision;
    no_requests($mark, "no byte of it: $path");
}

# A backend's health is its balancer's matter, and the front's own: in any
# spelling, below any directory.
for my $path (map({"/$_/HealthCheck.htm"} qw(owa ecp EWS OAB rpc mapi exchange
        Autodiscover Microsoft-Server-ActiveSync UnifiedMessaging public)),
    '/EWS/HEALTHCHECK.HTM', '/owa/healthcheck.htm?x', '/ews/%48ealthcheck.htm',
    '/owa/healthcheck.htm.', '/oab/healthcheck.htm%20', '/oab/healthcheck.htm;a',
    '/owa/healthcheck.htm::$DATA', '/owa/x/healthcheck.htm/y',
    '/microsoft-server-activesync/PROXY/default.eas?Cmd=Sync',
    '/Microsoft-Server-ActiveSync/Proxy.?Cmd=Sync') {
    my $mark = mark();
    my $r = ask('mail', $path, user => 'ada');
    is $r->status, 403, "not from outside: $path" or diag $r->decision;
    no_requests($mark, "no byte of it: $path");
}

# httpd resolves these before anybody is asked: they lead out of our folders,
# into DocumentRoot, and are its business.
for my $path ('/owa/../', '/owa/..', '/owa/%2e%2e/', '/owa/.%2e/plain/',
    '/owa//..//') {
    my $mark = mark();
    my $r = ask('mail', $path, user => 'ada');
    is $r->decision, '(none)', "not ours: $path";
    no_requests($mark, "no byte of it: $path");
}

# The same as the client's raw bytes, which curl would not send.
for my $line ("GET /owa/\0 HTTP/1.1", "GET /owa/\x01 HTTP/1.1",
    "GET /owa/\t HTTP/1.1", "GET /owa/ /x HTTP/1.1", "GET  /owa/ HTTP/1.1",
    "GET owa/ HTTP/1.1", 'GET http://mail.contoso.test/../owa/../ HTTP/1.1',
    "GET /owa/\xff\xfe/../ HTTP/1.1", "GET /owa/../../x HTTP/1.1",
    'GET \\owa\\..\\ HTTP/1.1', 'CONNECT ber-cas1.contoso.test:443 HTTP/1.1',
    'GET ftp://clear.contoso.test/owa/../ HTTP/1.1') {
    my $mark = mark();
    my $r = raw("$line\r\nHost: clear.contoso.test\r\nAuthorization: "
        . basic('ada') . "\r\nConnection: close\r\n\r\n");
    like $r->status, qr/^[45]\d\d$/, 'refused: ' . $line =~ s/([^ -~])/sprintf
        '\\x%02x', ord $1/ger or diag $r->status, ' ', $r->decision;
    no_requests($mark);
}
# Smuggled framing and broken headers.
for my $headers ("Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1",
    "Transfer-Encoding: xchunked", "X: y\0z", "X : y", "X\r\n folded: y",
    "Host: other.contoso.test") {
    my $mark = mark();
    my $r = raw("POST /owa/ HTTP/1.1\r\nHost: clear.contoso.test\r\n"
        . 'Authorization: ' . basic('ada') . "\r\n$headers\r\n"
        . "Connection: close\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n");
    my @got = requests($mark);
    ok $r->status =~ /^[45]/ ? !@got : @got <= 1,
        'one reading at most: ' . $headers =~ s/[^ -~]/./gr
        or diag $r->status;
    is scalar(grep { $_->{target} eq '/x' } @got), 0, 'nothing smuggled';
}
ok raw("GET /owa/ HTTP/1.1\r\nHost: clear.contoso.test\r\n"
    . "Connection: close\r\n\r\n")->status == 401, 'httpd lives';

# Absolute request targets are one more way to say the host.
{
    my $mark = mark();
    my $r = raw("GET http://clear.contoso.test/owa/ HTTP/1.1\r\n"
        . "Host: elsewhere.test\r\nAuthorization: " . basic('ada')
        . "\r\nConnection: close\r\n\r\n");
    is $r->status, 200, 'an absolute target';
    my ($got) = requests($mark);
    is $got && $got->header('X-Forwarded-Host'), 'clear.contoso.test',
        'beats the Host header';
    is $got && $got->{target}, '/owa/', 'and goes on as a path';
    # httpd goes by the header where the scheme is not the connection's
    $mark = mark();
    raw("GET https://elsewhere.test/owa/ HTTP/1.1\r\n"
        . "Host: clear.contoso.test\r\nAuthorization: " . basic('ada')
        . "\r\nConnection: close\r\n\r\n");
    ($got) = requests($mark);
    is $got && $got->header('X-Forwarded-Host'), 'clear.contoso.test',
        'but not one of another scheme';
}

# --------------------------------------------------- headers nobody may say

my @forged = ('X-OWA-ProxySid: S-1-5-18', 'X-OWA-ProxyUri: x',
    'X-OWA-ExplicitLogonUser: clara@contoso.test', 'X-LogonType: Admin',
    'X-EAS-Proxy: S-1-5-18,,', 'X-EAS-Version-Proxy: 1', 'X-IsFromCafe: 1',
    'X-CommonAccessToken: VgEAVAdXaW5k', 'X-SourceCafeServer: evil',
    'X-vDirObjectId: 1', 'X-TargetDatabase: 1', 'X-FeToBeTimeout: 1',
    'X-Rps-CAT: x', 'msExchProxyUri: x', 'msExchBoo: x', 'X-BEResource: x',
    'X-BackEndCookie: x', 'Front-End-Https: on', 'X-Forwarded-For: 1.2.3.4',
    'X-Forwarded-Proto: gopher', 'X-Forwarded-Host: evil.test',
    'X_Forwarded_For: 1.2.3.4', 'X-Forwarded_Proto: gopher');
{
    my $mark = mark();
    my $r = ask('mail', '/owa/', user => 'ada', headers => [@forged,
        'X-Requested-With: XMLHttpRequest', 'User-Agent: tests',
        'x-owa-CANARY: c', 'X-MyHeader: stays']);
    is $r->status, 200, 'forged headers do not disturb';
    my ($got) = requests($mark);
    for my $header (@forged) {
        my ($name, $value) = $header =~ /^(\S+): (.*)/;
        unlike join(',', $got->header($name)), qr/\Q$value\E$/,
            "$name of the client does not arrive";
    }
    is $got->header('X-MyHeader'), 'stays', 'another header does';
    is $got->header('User-Agent'), 'tests', 'User-Agent does';
    is $got->header('X-OWA-Canary'), 'c', "OWA's own canary does";
    is $got->header('X-Forwarded-For'), '127.0.0.1', 'X-Forwarded-For is ours';
}
{
    my $mark = mark();
    ask('mail', '/owa/', user => 'ada', headers => [
        'Cookie: a=1; X-BEResource=evil~1; casproxy_rdr=0123; b=2; '
        . 'X-AnonResource=true; UserContext=x; X-AnonResource-Backend=evil~1; '
        . 'X-BackEndCookie=z']);
    my ($got) = requests($mark);
    my $cookie = $got->header('Cookie') // '';
    like $cookie, qr/^a=1; b=2; UserContext=x;?$/, 'cookies are cleaned';
    $mark = mark();
    ask('mail', '/owa/', user => 'ada',
        headers => ['Cookie: X-BEResource=evil~1']);
    ($got) = requests($mark);
    is $got->header('Cookie'), undef, 'and gone where none is left';
    $mark = mark();
    ask('mail', '/owa/', user => 'ada',
        headers => ['Cookie: x-beresource=evil', 'Cookie: c=3; X-BERESOURCE=e']);
    ($got) = requests($mark);
    is join('; ', $got->header('Cookie')), 'c=3', 'in two headers, too';
}
# Hop-by-hop names must not take away what the module set.
{
    my $mark = mark();
    my $r = ask('f2007', '/exchange/', user => 'fritz',
        headers => ['Connection: Front-End-Https, Authorization, Host']);
    my ($got) = requests($mark);
    SKIP: {
        skip 'refused as it is', 2 if !$got;
        is $got->header('Front-End-Https'), 'on', 'Connection: names nothing '
            . 'of ours away';
        is $got->header('Host'), 'f2007.contoso.test', 'nor the Host';
    }
}

# ------------------------------------------------------ none of our business

for my $case (['/plain/', "no Exchange path\n"], ['/owax.html', "not below owa\n"],
    ['/plain/?/owa/', "no Exchange path\n"]) {
    my ($path, $text) = @$case;
    my $r = ask('mail', $path);
    is $r->status, 200, "$path is served by DocumentRoot";
    is $r->body, $text, 'as it lies there';
    is $r->decision, '(none)', 'and nothing is decided';
}
is ask('mail', '/missing')->status, 404, 'a path of nobody';
# A folder of that name lies in DocumentRoot: no 301, no page from it.
for my $path ('/owa', '/exchange') {
    my $r = ask('mail', $path, user => 'ada');
    isnt $r->status, 301, "mod_dir does not answer $path";
    unlike $r->body, qr/the folder/, "nor does the folder $path";
    is ask('mail', $path)->status, 401, "$path is nobody's without a logon";
}
is ask('off', '/owa/')->body, "the folder owa\n", 'CasProxy Off: inert';
is ask('off', '/owa')->status, 301, 'mod_dir does its part there';

# What a mail proxy's question looks like means nothing in a client's mouth.
for my $scheme ('imap', 'imap4', 'pop3', 'smtp', 'IMAP', 'ftp') {
    my $mark = mark();
    my $r = raw("GET $scheme://clear.contoso.test/owa/ HTTP/1.1\r\n"
        . "Host: clear.contoso.test\r\nConnection: close\r\nAuthorization: "
        . basic('ada') . "\r\n\r\n");
    unlike $r->decision, qr/^(?:direct|proxy)/, "$scheme:// is not proxied";
    cmp_ok $r->status, '>=', 400, "$scheme:// is refused";
    no_requests($mark);
}

# CasProxyPublish and its default.
is ask('narrow', '/owa/', user => 'ada')->status, 200, 'published';
for my $path ('/ecp/', '/EWS/Exchange.asmx', '/Microsoft-Server-ActiveSync',
    '/rpc/rpcproxy.dll', '/mapi/emsmdb/') {
    my $mark = mark();
    is ask('narrow', $path, user => 'ada')->status, 404, "not published: $path";
    no_requests($mark);
}
is ask('narrow', '/owa/', user => 'ada')->header('X-CasProxy-Decision'), undef,
    'CasProxyDiagnostics Off tells nothing';

expect_errors(qr/AH10244: invalid URI path/); # httpd's own refusals
finish();
