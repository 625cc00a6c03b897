# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# The old paths, WebDAV through a 2007 front to 2003, and what is mapped on
# the way out and back: Host, Front-End-Https, Destination, Location, cookies,
# and the raw URL that is not.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);

# ------------------------------------------- who leads the old paths where

my $L2003 = 'https://legacy2003.contoso.test';
# front, user, method, path, "action; reason", server or Location
my @cells = (
    # S000: a 2003 mailbox, straight to the back-end, by http
    [f2007 => fritz => GET => '/exchange/', 'proxy-backend; mailbox-on-2003',
        'BER-MBX3'],
    [f2007 => fritz => GET => '/exchange/fritz/Inbox/?Cmd=contents',
        'proxy-backend; mailbox-on-2003', 'BER-MBX3'],
    [f2007 => jan => GET => '/exchange/', 'proxy-backend; mailbox-on-2003',
        'BER-MBX0'],
    [f2007 => gina => GET => '/exchange/fritz/',
        'proxy-backend; mailbox-on-2003', 'BER-MBX3'],
    [f2007 => fritz => GET => '/exchweb/6.5/img/x.gif',
        'proxy-backend; mailbox-on-2003', 'BER-MBX3'],
    # a 2007 mailbox: a browser lands in /owa, WebDAV at the mailbox server
    [f2007 => gina => GET => '/exchange/', 'silent-redirect; legacy-path',
        'https://f2007.contoso.test/owa/'],
    [f2007 => gina => PROPFIND => '/exchange/gina/Inbox/',
        'direct; webdav-to-mailbox-server', 'BER-MBX7'],
    [f2007 => ida => PROPFIND => '/exchange/ida/',
        'proxy; webdav-to-mailbox-server', 'HAM-EX7'],
    [f2007 => bert => GET => '/exchange/', 'silent-redirect; legacy-path',
        'https://f2007.contoso.test/owa/'],
    # S001: a 2010 front sends them to Exchange2003URL, path and query kept
    [f2010 => fritz => GET => '/exchange/fritz/Inbox/?Cmd=new&x=%20y',
        'silent-redirect; mailbox-on-2003',
        "$L2003/exchange/fritz/Inbox/?Cmd=new&x=%20y"],
    [f2010sp2 => fritz => GET => '/exchange',
        'silent-redirect; mailbox-on-2003', "$L2003/exchange"],
    [f2010sp2 => ada => GET => '/exchange/fritz/',
        'silent-redirect; mailbox-on-2003', "$L2003/exchange/fritz/"],
    [f2013 => fritz => GET => '/exchange/', 'error; no-exchange2003-url', 503],
    # newer mailboxes: to /owa here
    [f2010sp2 => ada => GET => '/exchange/', 'silent-redirect; legacy-path',
        'https://f2010sp2.contoso.test/owa/'],
    [f2010sp2 => gina => GET => '/exchange/', 'silent-redirect; legacy-path',
        'https://f2010sp2.contoso.test/owa/'],
    [f2019 => ulf => GET => '/exchange/', 'silent-redirect; legacy-path',
        'https://f2019.contoso.test/owa/'],
    [f2010sp2 => ada => PROPFIND => '/exchange/ada/', 'error; no-webdav',
        403],
    # public folders: wherever a 2003 public store is
    [f2007 => fritz => GET => '/public/', 'proxy-backend; public-folders-on-2003|mailbox-on-2003',
        'BER-MBX3'],
    [f2010sp2 => ada => GET => '/public/Sales/?Cmd=contents',
        'proxy-backend; public-folders-on-2003', 'BER-MBX3'],
    # never from outside
    [f2007 => fritz => GET => '/exadmin/', 'deny; not-published', 404],
    # /Exchange and /EXCHANGE are the same to IIS
    [f2007 => fritz => GET => '/ExChAnGe/Fritz/',
        'proxy-backend; mailbox-on-2003', 'BER-MBX3']);

for my $cell (@cells) {
    my ($front, $user, $method, $path, $decision, $where) = @$cell;
    my $name = "$front, $user, $method $path";
    my $mark = mark();
    my $r = ask($front, $path, user => $user, method => $method);
    my ($action, $reasons) = split /; /, $decision;
    like($r->decision, qr/^$action; (?:$reasons)$/, $name);
    my @got = requests($mark);
    if ($where =~ /^\d/) {
        is $r->status, $where, "$name: status";
        is scalar @got, 0, "$name: no backend";
    }
    elsif ($where =~ /^https/) {
        is $r->status, 302, "$name: 302";
        is $r->header('Location'), $where, "$name: Location";
        is scalar @got, 0, "$name: no backend";
    }
    else {
        is scalar @got, 1, "$name: one request";
        next if !@got;
        is $got[0]{server}, $where, "$name: at $where";
        is lc $got[0]{target}, lc $path, "$name: path and query as they were";
        is $got[0]{method}, $method, "$name: the method";
        like $r->status, qr/^20[0-7]$/, "$name: its answer came back";
    }
}

# --------------------------------------------------- 2003, as it wants it

{
    my $mark = mark();
    my $r = ask('f2007', '/exchange/', user => 'fritz',
        headers => ['Front-End-Https: off', 'Translate: f']);
    my ($got) = requests($mark);
    is $got->header('Front-End-Https'), 'on', 'Front-End-Https: on, and ours';
    is $got->header('Host'), 'f2007.contoso.test', 'the public Host';
    is $got->header('Translate'), 'f', 'Translate: f passes';
    is $got->{user}, 'CONTOSO\\fritz', 'the user arrives';
    unlike $got->header('Authorization') // '', qr/^Basic/i,
        'no password in the clear';
    has_text $r, '<base href="https://f2007.contoso.test/exchange/fritz/">',
        'its links come back with https and the public name';
    $mark = mark();
    ask('f2007', '/owa/', user => 'gina');
    ($got) = requests($mark);
    is $got->header('Host'), 'ber-cas7.contoso.test',
        'a CAS gets its own name as Host';
    is $got->header('Front-End-Https'), undef, 'and no Front-End-Https';
    is $got->header('X-Forwarded-Host'), 'f2007.contoso.test',
        'X-Forwarded-Host';
    is $got->header('X-Forwarded-Proto'), 'https', 'X-Forwarded-Proto';
    is $got->header('X-Forwarded-For'), '127.0.0.1', 'X-Forwarded-For';
}

# Every method of WebDAV and Exchange, with its body.
for my $method (qw(OPTIONS PROPFIND PROPPATCH SEARCH POLL SUBSCRIBE
    UNSUBSCRIBE BPROPFIND BPROPPATCH BDELETE BMOVE BCOPY X-MS-ENUMATTS MKCOL
    PUT DELETE LOCK UNLOCK NOTIFY HEAD POST)) {
    my $mark = mark();
    my $body = $method =~ /^(?:HEAD|DELETE|OPTIONS)$/ ? undef
        : "<d:x xmlns:d=\"DAV:\">$method</d:x>";
    my $r = ask('f2007', '/exchange/fritz/Inbox/', user => 'fritz',
        method => $method, body => $body,
        headers => ['Depth: 1', 'Content-Type: text/xml']);
    my ($got) = requests($mark);
    is $got && "$got->{server} $got->{method} $got->{body}",
        "BER-MBX3 $method " . length($body // ''), "$method arrives whole";
    like $r->status, qr/^20[0147]$/, "$method is answered";
    is $got && $got->header('Depth'), '1', "$method: Depth passes";
}
{
    my $r = ask('f2007', '/exchange/fritz/', user => 'fritz',
        method => 'PROPFIND');
    has_text $r, '<a:href>https://f2007.contoso.test/exchange/fritz/',
        'a multistatus names the public host';
    $r = ask('f2007', '/exchange/fritz/new', user => 'fritz',
        method => 'PUT', body => 'x');
    is $r->header('Location'), 'https://f2007.contoso.test/exchange/fritz/new',
        'a Location with the public name is left as it is';
}

# MOVE and COPY name their goal as the client sees it.
for my $method (qw(MOVE COPY)) {
    for my $goal ('https://f2007.contoso.test/exchange/fritz/B%26C/x%5Fy.EML',
        'https://f2007.contoso.test:443/exchange/fritz/n.EML') {
        my $mark = mark();
        my $r = ask('f2007', '/exchange/fritz/Inbox/m.EML', user => 'fritz',
            method => $method, headers => ["Destination: $goal",
                'Allow-Rename: t']);
        my ($got) = requests($mark);
        is $r->status, 201, "$method to $goal";
        my $path = $goal =~ s{^https://[^/]+}{}r;
        is $got->header('Destination'), "http://f2007.contoso.test$path",
            "$method: the scheme of the back-end, the path untouched";
    }
    my $mark = mark();
    my $r = ask('f2007', '/exchange/fritz/m.EML', user => 'fritz',
        method => $method,
        headers => ['Destination: https://elsewhere.test/exchange/x']);
    my ($got) = requests($mark);
    is $got->header('Destination'), 'https://elsewhere.test/exchange/x',
        "$method: another host's Destination is not touched";
    is $r->status, 502, "$method: and the server's to refuse";
    $mark = mark();
    ask('f2007', '/exchange/gina/m.EML', user => 'gina', method => $method,
        headers => ['Destination: https://f2007.contoso.test/exchange/gina/n']);
    ($got) = requests($mark);
    is $got->header('Destination'),
        'https://ber-mbx7.contoso.test/exchange/gina/n',
        "$method: to 2007's mailbox server by its own name";
}

# ------------------------------------------------- Location and cookies back

for my $how (qw(fqdn host address)) {
    my $r = ask('mail', "/owa/?sim=location:$how", user => 'olga');
    is $r->status, 302, "Location with the backend's $how";
    is $r->header('Location'), 'https://mail.contoso.test/owa/?arrived=1',
        'is mapped to the public name';
    is $r->header('Content-Location'),
        'https://mail.contoso.test/owa/?arrived=1', 'Content-Location too';
}
for my $url ('https://elsewhere.test/owa/', 'https://sto-ex10.contoso.test.evil.test/owa/',
    '/owa/relative', 'https://sto-ex10.contoso.test@evil.test/') {
    my $r = ask('mail', "/owa/?sim=redirect:$url", user => 'olga');
    is $r->header('Location'), $url, "Location $url is left alone";
}
is ask('mail', '/owa/?sim=redirect:https://STO-EX10.contoso.test:443/owa/x',
    user => 'olga')->header('Location'), 'https://mail.contoso.test/owa/x',
    'case and default port do not matter';
{
    my $r = ask('mail', '/owa/', user => 'olga');
    my ($cookie) = grep {/^UserContext=/} $r->all('Set-Cookie');
    ok $cookie, 'the backend sets a cookie';
    unlike $cookie, qr/domain/i, 'without the domain that only it has';
    like $cookie, qr{path=/owa}i, 'its path stays';
    like $cookie, qr/secure/i, 'Secure stays';
    like $cookie, qr/HttpOnly/, 'HttpOnly stays';
}

# ------------------------------------------- the raw URL, byte for byte

for my $path ('/owa/?a=1&b=%20%2B+c&d=%E4%F6&q=%22%27', '/owa/?',
    '/owa/forms/%E2%82%AC%20.aspx?z=%00%0a',
    '/owa/forms/a+b/c~d!$&\'()*,;=:@', '/owa/forms//', '/owa/forms/x;b=c/d.js',
    '/owa/%66orms/%41%6c', '/owa/?a=\\..\\..&b=/../',
    '/owa/ev.owa?ns=x&ev=%25252e', '/owa', '/OWA/') {
    my $mark = mark();
    my $r = ask('mail', $path, user => 'ada');
    my ($got) = requests($mark);
    is $got && $got->{target} =~ s{^/owa}{/owa}ir, $path =~ s{^/OWA}{/owa}r,
        "$path arrives as it was" or diag $r->status, ' ', $r->decision;
}
for my $path ('/exchange/fritz/Inbox/a%26b%3Fc%23d%2Fe.EML?Cmd=open',
    '/exchange/fritz/%C3%BCber%20uns/%5F%40.EML', '/exchange/fritz/Inbox/'
    . 'x' x 4000) {
    my $mark = mark();
    my $r = ask('f2007', $path, user => 'fritz');
    my ($got) = requests($mark);
    is $got && $got->{target}, $path, substr($path, 0, 60) . ' arrives'
        or diag $r->status, ' ', $r->decision;
}

# -------------------------------------------------- answers pass as they are

{
    my $r = ask('mail', '/owa/?sim=440', user => 'ada');
    is $r->status, 440, "a backend's 440 stays";
    $r = ask('mail', '/owa/?sim=500', user => 'ada');
    is $r->status, 500, "a backend's own 500 is its own";
    has_text $r, 'As you asked: 500', 'with its body';
    $r = ask('mail', '/owa/?sim=chunked', user => 'ada');
    is $r->status, 200, 'a chunked answer';
    has_text $r, 'mailbox of CONTOSO\\ada';
    $r = ask('mail', '/owa/?sim=big:3000000', user => 'ada');
    is length $r->body, 3000000, '3 MB come back whole';
    $r = ask('mail', '/owa/', user => 'frida');
    is $r->status, 200, 'a backend with a logon form of its own';
    is $r->header('X-Backend'), 'GRZ-EX1', 'is logged on to by form';
    $r = ask('f2007', '/exchange/?sim=440', user => 'fritz');
    is $r->decision, 'error; backend-uses-forms', "but not a 2003 back-end";
}

finish();
