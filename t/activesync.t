# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# ActiveSync on the wire: which devices are sent elsewhere and with what
# words, what passes both ways untouched, what never reaches a device, and
# what the logs say. The servers are t/lab/eas.py's; a real one is t/sogo.t's.
use strict;
use warnings;
use Digest::SHA 'sha256_hex';
use Time::HiRes ();
use Apache::Test qw(-withtestmore);
use CaspEas;
use CaspHttpd;
use CaspTest;

begin(ad => 1);

my $eas = CaspEas::servers(lab());
my $httpd = CaspHttpd->new('eas', \&CaspEas::fronts,
    global => CaspEas::logs('eas'))->start;
CaspEas::look_at($eas);
my $path = $CaspEas::PATH;
my $wbxml = CaspEas::wbxml();
CaspLab::wait_for {
    $httpd->ask('f10s2', $path, user => 'ada', method => 'OPTIONS')->status
        == 200
} 20 or diag $httpd->log;
my $public = 'contoso.test/Microsoft-Server-ActiveSync';
my @all; # every answer to a device

sub device {
    my ($front, $user, %o) = @_;
    my $who = $user // 'nobody';
    my $query = exists $o{query} ? $o{query}
        : "?Cmd=Sync&User=$who&DeviceId=phone1&DeviceType=SmartPhone";
    my @headers = @{ $o{headers} // [] };
    push @headers, "MS-ASProtocolVersion: $o{version}" if $o{version};
    push @headers, "X-Sim: $o{sim}" if $o{sim};
    push @headers, "Content-Type: application/vnd.ms-sync.wbxml"
        if ($o{method} // 'POST') eq 'POST';
    delete $o{$_} for 'query', 'version', 'sim', 'headers';
    my $r = $httpd->ask($front, $path . $query,
        defined $user ? (user => $user) : (),
        ($o{method} // 'POST') eq 'POST' ? (body => $wbxml) : (),
        headers => \@headers, %o);
    push @all, [$r, "$front, $who $query"];
    return $r;
}

sub log_has {
    my ($pattern, $name) = @_;
    my $found = CaspLab::wait_for { $httpd->log =~ $pattern } 3;
    return ok $found, $name // "logged $pattern";
}

# ---------------------------------------------- who is sent where: by version

sub packed { return '?' . CaspEas::packed(version => @_) }

# vector, front, user, options, and: the host of a 451, or the server that
# gets it
for my $case (
    ['V27', f07 => 'hugo', [version => '2.5'], 451, 'legacy-munich'],
    ['V27', f07 => 'hugo', [version => '14.1'], 451, 'legacy-munich'],
    ['', f07 => 'ida', [version => '14.1'], 200, 'ham-ex7'],
    ['V28', f10s2 => 'gina', [version => '14.0'], 451, 'legacy'],
    ['V28', f10s3 => 'gina', [version => '16.1'], 451, 'legacy'],
    ['', f10s2 => 'gina', [version => '12.1'], 200, 'ber-cas7'],
    ['', f10s1 => 'gina', [version => '12.1'], 451, 'legacy'],
    ['', f10 => 'gina', [version => '12.0'], 200, 'ber-cas7'],
    ['V29', f10s2 => 'gina', [version => '2.5'], 200, 'ber-cas7'],
    ['V29', f10 => 'gina', [version => '2.5'], 200, 'ber-cas7'],
    ['V30', f10s2 => 'ida', [version => '14.0'], 200, 'ham-ex7'],
    ['V31', never => 'gina', [version => '14.1'], 200, 'ber-cas7'],
    ['', high => 'gina', [version => '16.0'], 200, 'ber-cas7'],
    ['', high => 'gina', [version => '16.1'], 451, 'legacy'],
    ['', all => 'gina', [version => '2.5'], 451, 'legacy'],
    ['', all => 'gina', [], 451, 'legacy'],
    ['', f10s2 => 'gina', [], 200, 'ber-cas7'],
    ['', f10s2 => 'gina', [version => 'fourteen'], 200, 'ber-cas7'],
    ['', f10s2 => 'clara', [version => '14.1'], 451, 'munich'],
    ['', f10s2 => 'clara', [version => '2.5'], 200, 'muc-cas1'],
    ['', f10s2 => 'bert', [version => '14.1'], 200,
        'ham-cas1|ham-cas2|owa-hamburg'],
    ['', f10s2 => 'ada', [version => '14.1'], 200,
        'ber-cas1|ber-cas2|outlook'],
    ['V33', f10s2 => 'gina', [query => packed(141)], 451, 'legacy'],
    ['V33', f10s2 => 'gina', [query => packed(140, command => 18)], 451,
        'legacy'],
    ['V33', f10s2 => 'gina', [query => packed(121)], 200, 'ber-cas7'],
    ['V33: not the header', f10s2 => 'gina', [query => packed(121),
        version => '14.1'], 200, 'ber-cas7'],
    ['V33: not the header', f10s2 => 'gina', [query => packed(141),
        version => '2.5'], 451, 'legacy'],
    ['V33: escaped', f10s2 => 'gina', [query => packed(141) =~
        s/([+=\/])/sprintf '%%%02X', ord $1/ger], 451, 'legacy'],
    ['V33: cut short', f10s2 => 'gina', [query =>
        substr(packed(141), 0, 13)], 200, 'ber-cas7'],
    ['V39', f13 => 'nora', [version => '14.1'], 200, 'sto-ex7'],
    ['V39', f13 => 'olga', [version => '2.5'], 200, 'sto-ex10'],
    ['V39', f13 => 'clara', [version => '16.1'], 200, 'muc-cas1'],
    ['V39', f16 => 'sven', [version => '16.1'], 200, 'sto-ex13|sto-ex16'],
    ['', f19 => 'ulf', [query => packed(161)], 200, 'sto-ex19']) {
    my ($vector, $front, $user, $o, $status, $where) = @$case;
    my %o = @$o;
    my $name = join ' ', grep {length} $vector, $front, $user,
        $o{version} // '', $o{query} // '';
    my $mark = mark();
    my $r = device($front, $user, @$o);
    is $r->status, $status, $name
        or diag $r->decision, ' ', $r->rule;
    if ($status == 451) {
        is $r->header('X-MS-Location'), "https://$where.$public",
            "$name: to the letter";
        no_requests($mark);
        next;
    }
    my ($seen) = requests($mark);
    like $seen ? $seen->{server} : '', qr/^(?:$where)\./, "$name: served";
    is $seen->{target}, $path . ($o{query} // "?Cmd=Sync&User=$user&"
        . 'DeviceId=phone1&DeviceType=SmartPhone'),
        "$name: the plain directory, never /Proxy, and the query untouched";
    is $r->body, $wbxml, "$name: WBXML there and back";
}
for my $user ('fritz') { # 2003: the back-end itself
    for my $front ('f07', 'f10s2') {
        my $r = device($front, $user, version => '2.5');
        is $r->status, 200, "$front, $user";
        is $r->header('X-Backend') // '', 'BER-MBX3',
            "$front, $user: the back-end, not a Client Access server";
    }
}

{   # whatever letters the directory has
    my $text = CaspLab::slurp(lab()->{run} . '/contoso.ldif') =~ s/\r?\n //gr;
    my @odd = ('/microsoft-server-activesync/', ':443/MICROSOFT-Server-Active'
        . 'Sync', '');
    for my $i (0 .. $#odd) {
        my $file = lab()->{run} . "/odd-eas-$i.ldif";
        CaspLab::spew($file, $text =~ s{(https://legacy\.contoso\.test)
            /Microsoft-Server-ActiveSync}{$1$odd[$i]}xgr);
        my $told = explain(config => "$httpd->{dir}/fronts/f10s2.conf",
            directory => "ldif:$file", user => 'gina', method => 'POST',
            headers => ['MS-ASProtocolVersion: 14.1'],
            url => "https://mail.contoso.test$path?Cmd=Sync");
        is $told->{url}, "https://legacy.$public",
            "an ExternalURL that ends in '$odd[$i]'"
            or diag $told->{text} // $told->{action};
    }
}
{   # a name that passwords would go to in clear is none: Rome's
    my $told = explain(config => "$httpd->{dir}/fronts/f10s2.conf",
        directory => 'ldif:' . lab()->{run} . '/contoso.ldif', user => 'rosa',
        method => 'POST', headers => ['MS-ASProtocolVersion: 14.1'],
        url => "https://mail.contoso.test$path?Cmd=Sync");
    is $told->{rule}, 'f10-eas-proxy', 'an ExternalURL of plain http: none';
    my $r = device('f10s2', 'rosa', version => '14.1');
    isnt $r->status, 451, 'no 451 to plain http';
    is $r->header('X-MS-Location'), undef, 'which is told nobody';
}
{   # a server's own directory for other servers, where AD names it
    my $text = CaspLab::slurp(lab()->{run} . '/contoso.ldif') =~ s/\r?\n //gr;
    my $file = lab()->{run} . '/eas-proxy.ldif';
    CaspLab::spew($file, $text =~ s{(https://ber-cas7\.contoso\.test
        /Microsoft-Server-ActiveSync)}{$1/Proxy}xgr);
    my $told = explain(config => "$httpd->{dir}/fronts/f10s2.conf",
        directory => "ldif:$file", user => 'gina', method => 'POST',
        url => "https://mail.contoso.test$path?Cmd=Sync");
    is $told->{url}, "https://ber-cas7.$public", 'never /Proxy';
}
{   # methods that no device has
    for my $method ('GET', 'PUT', 'PROPFIND') {
        my $r = device('f10s2', 'ada', method => $method);
        is $r->status, 405, $method;
        is $r->header('Allow'), 'OPTIONS, POST', "$method: what is allowed";
    }
    is device('f10s2', undef, method => 'GET')->status, 401,
        'a stranger is asked who this is';
}

# ------------------------------------------------------ 451, to the last byte

for my $way ('HTTP/1.1', lab()->{mpm} eq 'prefork' ? () : 'HTTP/2') {
    my @way = (http2 => $way eq 'HTTP/2');
    for my $case (['f10s2', 'POST', version => '14.1'],
        ['all', 'POST'], ['all', 'OPTIONS', query => '']) {
        my ($front, $method, @o) = @$case;
        my $name = "451, $way, $method, $front";
        my $r = device($front, 'gina', method => $method, @o, @way);
        is $r->status, 451, $name;
        like $r->{line}, $way eq 'HTTP/2' ? qr{^HTTP/2 451}
            : qr{^HTTP/1\.1 451 Device Misconfigured$}, "$name: its words";
        is $r->header('X-MS-Location'), "https://legacy.$public",
            "$name: X-MS-Location";
        is $r->header('Content-Length'), '0', "$name: no length";
        is $r->body, '', "$name: no body";
        is $r->header($_), undef, "$name: no $_" for 'Content-Type',
            'Location', 'Set-Cookie', 'Transfer-Encoding',
            'WWW-Authenticate', 'Retry-After';
    }
}
{   # the connection goes on after it
    my @answers = ask_each(map { ['f10s2', "$path?Cmd=Sync", user => 'gina',
        body => $wbxml, headers => ['MS-ASProtocolVersion: 14.1'],
        httpd => $httpd] } 1 .. 3);
    is join(' ', map { $_->status } @answers), '451 451 451',
        '451 after 451 over a connection';
    is scalar(grep { lc($_->header('Connection') // '') eq 'close' }
        @answers), 0, 'which is not closed';
}

# ------------------------------------------------------ what passes untouched

{
    my $mark = mark();
    my $r = device('f10s2', 'ada', version => '14.1', headers => [
        'X-MS-PolicyKey: 1307199584', 'X-EAS-Proxy: S-1-5-18,ada',
        'X-MS-WL: x', 'MS-ASProtocolVersions: 14.1', 'User-Agent: Phone/1.0']);
    my ($seen) = requests($mark);
    is $seen->header('MS-ASProtocolVersion'), '14.1', 'the version goes in';
    is $seen->header('X-MS-PolicyKey'), '1307199584', 'and the policy key';
    is $seen->header('User-Agent'), 'Phone/1.0', 'and who it is';
    is $seen->header('X-EAS-Proxy'), undef, 'but no claim of another front';
    is $r->header('Content-Type'), 'application/vnd.ms-sync.wbxml',
        'and its type comes out';
    is $seen->{hex}, unpack('H*', $wbxml), 'the body as it was';
}
{
    my $mark = mark();
    my $r = device('f10s2', 'ada', method => 'OPTIONS', query => '');
    is $r->status, 200, 'OPTIONS';
    is $r->header('MS-ASProtocolVersions'),
        '2.0,2.1,2.5,12.0,12.1,14.0,14.1', 'the versions as the server has it';
    is $r->header('MS-Server-ActiveSync'), '14.3', 'and its own';
    like $r->header('MS-ASProtocolCommands'), qr/^Sync,SendMail,/, 'commands';
    is $r->header('Public'), 'OPTIONS,POST', 'Public';
    is((requests($mark))[0]{target}, $path, 'at the plain directory');
}
for my $te ('Chunked', 'CHUNKED', 'chunked', 'cHuNkEd') {
    my $mark = mark();
    my $r = device('f10s2', 'ada', version => '2.5',
        headers => ["Transfer-Encoding: $te"]);
    is $r->status, 200, "Transfer-Encoding: $te";
    is $r->body, $wbxml, "$te: the body arrived";
    is scalar(requests($mark)), 1, "$te: once";
}
for my $dir ('/microsoft-server-activesync', '/MICROSOFT-SERVER-ACTIVESYNC/',
    "$path/default.eas") {
    my $r = $httpd->ask('f10s2', "$dir?Cmd=Ping", user => 'ada',
        body => $wbxml);
    is $r->status, 200, $dir;
    is $r->body, $wbxml, "$dir: served";
}
for my $status (200, 204, 400, 403, 441, 449, 451, 507, 503) {
    my $r = device('f10s2', 'ada', sim => "status=$status|line=Some Words"
        . '; body=; type=');
    is $r->status, $status, "a backend's $status is the device's";
    like $r->{line}, qr/Some Words/, "$status: in the backend's words";
    is $r->header('Retry-After'), undef, "$status: with nothing of ours";
}
{   # a backend that redirects by itself; one that does not know its name
    my $sim = 'status=451|type=|header=X-MS-Location: https://';
    my $r = device('f10s2', 'ada', sim => "${sim}munich.$public");
    is $r->status, 451, 'a 451 of the backend';
    is $r->header('X-MS-Location'), "https://munich.$public", 'as it is';
    $r = device('f10s2', 'bert', sim => "${sim}ham-cas2.$public"
        . "|header=X-Other: https://ham-cas1.$public");
    my ($own) = ($r->header('X-Backend') // '') =~ /^([\w-]+)\./;
    $r = device('f10s2', 'bert', sim => "$sim$own.$public");
    is $r->header('X-MS-Location'), "https://f10s2.$public",
        'its own inner name is ours outside';
    log_has(qr/CP0781: backend $own\.contoso\.test sends devices to/,
        'which is told');
}

# --------------------------------------------------- what a backend's 500 is

my $fault = '<?xml version="1.0"?><s:Envelope><s:Fault/></s:Envelope>';
my $page = '<html><h1>Server Error</h1></html>';
# path, status, type, body: what comes out (undef: as it was)
for my $case (
    ["$path?Cmd=Sync", 500, 'text/html', $page, 503],
    ["$path?Cmd=Sync", 500, 'text/xml', $fault, 503],
    ["$path?Cmd=Sync", 500, '', '', 503],
    ["$path?Cmd=Sync", 502, 'text/html', $page, 503],
    ["$path?Cmd=Sync", 504, 'text/html', $page, 503],
    ['/OAB/oab.xml', 500, 'text/html', $page, 503],
    ['/EWS/Exchange.asmx', 500, 'text/xml; charset=utf-8', $fault],
    ['/EWS/Exchange.asmx', 500, 'Application/SOAP+XML; charset=utf-8',
        $fault],
    ['/EWS/Exchange.asmx', 500, 'application/xml', $fault],
    ['/EWS/Exchange.asmx', 500, 'text/html', $page, 503],
    ['/EWS/Exchange.asmx', 500, 'text/xmlish', $page, 503],
    ['/EWS/Exchange.asmx', 500, '', '', 503],
    ['/EWS/Exchange.asmx', 502, 'text/html', $page],
    ['/autodiscover/autodiscover.xml', 500, 'text/xml', $fault],
    ['/Autodiscover/Autodiscover.svc', 500, 'text/html', $page, 503],
    ['/UnifiedMessaging/Service.asmx', 500, 'text/xml', $fault],
    ['/UnifiedMessaging/Service.asmx', 500, 'text/plain', $page, 503],
    ['/owa/', 500, 'text/html', $page],
    ['/owa/', 502, 'text/html', $page],
    ['/ecp/', 500, 'text/html', $page]) {
    my ($url, $status, $type, $body, $out) = @$case;
    for my $http2 (0, 1) {
        my $name = join ', ', $url, $status, $type, $http2 ? 'HTTP/2' : ();
        my $r = $httpd->ask('f10s2', $url, user => 'ada', http2 => $http2,
            $url =~ m{/(?:owa|ecp|OAB)/} ? () : (body => '<a/>'), headers => [
            "X-Sim: status=$status|type=$type|body=$body"
                . '|header=ETag: "x"', 'Content-Type: text/xml']);
        is $r->status, $out // $status, "$name: " . ($out // 'as it was');
        if (!$out) {
            is $r->body, $body, "$name: its body, byte for byte";
            is $r->header('Content-Type'), $type, "$name: its type";
            is $r->header('Retry-After'), undef, "$name: nothing of ours";
            next;
        }
        is $r->header('Retry-After'), 30, "$name: Retry-After";
        is $r->body, '', "$name: nothing of the page";
        is $r->header('Content-Length'), 0, "$name: and it says so";
        is $r->header($_), undef, "$name: no $_" for 'Content-Type', 'ETag';
    }
}
log_has(qr{CP0780: backend [\w-]+\.contoso\.test answered 500 to POST }
    . '/Microsoft-Server-ActiveSync;', 'a 500 is told');
{
    my $r = device('f10s2', 'ada', sim => 'status=500|header=Retry-After: 7');
    is $r->header('Retry-After'), 7, 'the backend knows better when';
    my @answers = ask_each(map { ['f10s2', "$path?Cmd=Sync", user => 'ada',
        body => $wbxml, headers => ['X-Sim: status=500|body=' . 'x' x 7000],
        httpd => $httpd] } 1 .. 3);
    is join(' ', map { $_->status } @answers), '503 503 503',
        'one after the other over a connection';
    my $from = () = $httpd->log =~ /CP0780/g;
    device('f10s2', 'ada', sim => 'status=500');
    my $to = () = $httpd->log =~ /CP0780/g;
    is $to - $from, 1, 'told once a request';
}
for my $status (301, 302, 307, 308) { # the site's redirection, inherited
    my $r = device('f10s2', 'ada', sim => "status=$status|type=text/html"
        . '|body=<html>|header=Location: https://ber-cas1.contoso.test/owa/');
    is $r->status, 503, "a backend's $status is no device's";
    is $r->header($_), undef, "$status: no $_" for 'Location', 'Content-Type';
    is $r->body, '', "$status: no page";
}
log_has(qr/CP0780: .* answered 302 to POST .*HTTP redirection/,
    'a redirection is told');

# ----------------------------------------------------------------- logging on

for my $front ('f10s2', 'formsdoor') {
    for my $method ('OPTIONS', 'POST') {
        my $mark = mark();
        my $r = device($front, undef, method => $method);
        is $r->status, 401, "$front: $method without credentials";
        is_deeply [$r->all('WWW-Authenticate')],
            [qq(Basic realm="$front.contoso.test", charset="UTF-8")],
            "$front: $method: Basic is asked for";
        no_requests($mark);
    }
    is device($front, 'ada', method => 'OPTIONS')->status, 200,
        "$front: OPTIONS with them";
    is device($front, 'ada', password => 'wrong')->status, 401,
        "$front: a wrong password";
}
{   # V32, and the other ways in which a backend says no
    my $r = device('f10s2', 'bert', id => 'v32', sim => '401=Digest',
        query => '?User=bert&DeviceId=xxx&DeviceType=PocketPC');
    is $r->status, 401, 'V32: neither NTLM nor Negotiate nor Basic';
    unlike $r->body, qr/</, 'V32: no page';
    is_deeply [$r->all('WWW-Authenticate')],
        ['Basic realm="f10s2.contoso.test", charset="UTF-8"'],
        'V32: a 401 says what would do';
    $r = device('f10s2', 'bert', sim => '401=NTLM, Negotiate');
    is $r->status, 403, 'a backend that would take NTLM, and not this login';
    is $r->body, '', 'says so without its page';
    is scalar($r->all('WWW-Authenticate')), 0, 'offers nothing to the device';
    $r = device('f10s2', 'bert', sim => '401=Basic realm="x"');
    is $r->status, 401, 'a backend that does not know the password';
}

# ------------------------------------------- never a 500, whatever goes wrong

# front, user, options, status, what is in the body
for my $case (
    ['dead', 'ada', [], 503, 'backend-unavailable'],
    ['distrust', 'ada', [], 503, 'backend-certificate'],
    ['nodirectory', 'ada', [], 503, 'directory-unavailable'],
    ['f10s2', 'nils', [], 403, 'no-mailbox'],
    ['f10s2', 'erik', [], 403, 'eas-disabled'],
    ['f10s2', 'erik', [method => 'OPTIONS'], 403, 'eas-disabled'],
    ['f10s2', 'remo', [], 403, 'remote-mailbox'],
    ['f10s2', 'nosuch', [], 401, 'credentials-needed'],
    ['f10s2', 'quirin', [], 401, 'credentials-needed'],
    ['f10s2', 'lukas', [], 401, 'credentials-needed'],
    ['f10s2', 'xaver', [], 503, 'site-unknown'],
    ['f10s2', 'yara', [], 503, 'database-unknown'],
    ['f10s2', 'zeno', [], 503, 'version-unknown'],
    ['f10s2', 'lars', [], 503, 'no-cas-in-site'],
    ['f10s2', 'sven', [], 403, 'mailbox-newer-than-front'],
    ['f10s2', 'ada', [sim => 'drop'], 503, 'backend-'],
    ['f10s2', 'ada', [sim => 'status=500|body=x'], 503, ''],
    ['override', 'ada', [sim => 'status=500|body=x'], 503, ''],
    ['shorter', 'ada', [sim => 'hold=3'], 503, 'backend-timeout']) {
    my ($front, $user, $o, $status, $text) = @$case;
    my %o = @$o;
    my $name = join ' ', $front, $user, @$o;
    my $r = device($front, $user, version => '14.1', @$o);
    is $r->status, $status, "never 500: $name" or diag $r->decision;
    like $r->body, qr/^\Q$text\E/, "$name: a word, no page";
    like $r->header('Retry-After') // '', qr/^\d+$/, "$name: when again"
        if $status == 503;
}
for my $odd ("$path/Proxy?Cmd=Sync", "$path/proxy/default.eas",
    "$path?Cmd=ProxyLogin", "$path/default.eas?x=y&%63md=proxylogin",
    "$path/../owa/?Cmd=Sync", "$path/%2e%2e/owa") {
    my $r = $httpd->ask('f10s2', $odd, user => 'ada', body => 'x');
    push @all, [$r, $odd];
    is $r->status, 403, "refused: $odd";
}
{   # time runs out after the request was sent: it is not sent again
    my $mark = mark();
    my $r = device('shorter', 'bert', sim => 'hold=3', id => 'late');
    is $r->status, 503, 'a backend that takes its time';
    sleep 3;
    is scalar(requests($mark)), 1, 'was asked once, although it has a twin';
}

# ----------------------------------------------------- Ping and Sync are held

{
    my $start = Time::HiRes::time();
    my $ping = device('short', 'ada', sim => 'hold=4',
        query => '?Cmd=Ping&User=ada&DeviceId=a&DeviceType=b');
    is $ping->status, 200, 'a Ping is held';
    cmp_ok Time::HiRes::time() - $start, '>=', 3.9, 'for 4 seconds';
    my $page = $httpd->ask('short', '/owa/', user => 'ada',
        headers => ['X-Sim: hold=4|body=late']);
    is $page->status, 503, 'where OWA\'s time is up after 2';
}
{
    my (undef, $dump) = $httpd->test('-D', 'DUMP_CASPROXY');
    like $dump, qr/CasProxyTimeout\s+EAS\s+3600/i, 'an hour by default';
}
# A device that goes away in the middle of its Ping. httpd looks at the client
# only when it has something for it: the server is left when it answers or when
# the time is up, and both sides go on serving.
for my $http2 (0, lab()->{mpm} eq 'prefork' ? () : 1) {
    my $mark = mark();
    device('short', 'ada', sim => 'hold=3', curl => ['--max-time', 1],
        http2 => $http2,
        query => '?Cmd=Ping&User=ada&DeviceId=gone&DeviceType=b');
    ok CaspLab::wait_for(sub { requests($mark) }, 8),
        "HTTP/@{[1 + $http2]}: a Ping whose device has gone comes to an end";
    is device('short', 'ada')->status, 200, 'and the next one is served';
}

# ------------------------------------------------------------------- the logs

my %who; # the last line of each user and status
sub iis_line {
    my ($pattern) = @_;
    return CaspLab::wait_for {
        (grep {/$pattern/} split /\n/, CaspLab::slurp(
            "$httpd->{dir}/logs/u_ex.log"))[-1]
    } 3;
}
{
    my $stamp = qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 127\.0\.0\.1/;
    # S000's line
    like iis_line(qr/NTLM\+not/), qr{$stamp\ POST
        \ /Microsoft-Server-ActiveSync
        \ User=bert&DeviceId=xxx&DeviceType=PocketPC
        &Log=PrxTo:[\w-]+\.contoso\.test_Error:NTLM\+not\+on\+the\+
        destination\+CAS_\ \d+\ CONTOSO\\+bert\ 127\.0\.0\.1\ -\ 401\ 0\ 0
        \ \d+$}x, 'S000\'s line';
    # S002's line
    device('f10s2', 'gina', version => '14.0', query =>
        '/default.eas?User=user&DeviceId=foo&DeviceType=PocketPC&Cmd=Settings');
    like iis_line(qr/DeviceId=foo/), qr{$stamp\ POST
        \ /Microsoft-Server-ActiveSync/default\.eas
        \ User=user&DeviceId=foo&DeviceType=PocketPC&Cmd=Settings
        &Log=RdirTo:https%3a%2f%2flegacy\.contoso\.test%2fMicrosoft-Server-
        ActiveSync_Error:MisconfiguredDevice_\ \d+\ CONTOSO\\+gina
        \ 127\.0\.0\.1\ -\ 451\ 0\ 0\ \d+$}x, 'S002\'s line';
    device('f10s2', 'bert', query => '?Cmd=Sync&DeviceId=proxied');
    like iis_line(qr/DeviceId=proxied/),
        qr/DeviceId=proxied&Log=PrxTo:[\w-]+\.contoso\.test_ /, 'proxied';
    device('f10s2', undef, query => '?Cmd=Sync&DeviceId=nobody');
    like iis_line(qr/DeviceId=nobody/), qr{ActiveSync\ Cmd=Sync&DeviceId=
        nobody\ \d+\ -\ 127\.0\.0\.1\ -\ 401\ 0\ 0\ \d+$}x,
        'a stranger: the query and nothing behind it';
    device('f10s2', undef, query => '', method => 'OPTIONS');
    like iis_line(qr/OPTIONS.* 401/), qr{ActiveSync\ -\ \d+\ -\ }x,
        'no query';
    device('f10s2', undef,
        query => '/x%20a=b%20443%20CONTOSO%5Cada?DeviceId=blanks');
    is scalar(split / /, iis_line(qr/DeviceId=blanks/)), 14,
        'blanks in a path make no fields';
    like iis_line(qr/UserHasNoMailbox/),
        qr/&Log=Error:UserHasNoMailbox_ .* 403 0 0/, 'no mailbox';
    like iis_line(qr/SSL\+Cert/), qr/&Log=PrxTo:[\w.-]+_Error:SSL\+
        Certification\+Failed\._\ .*\ 503\ 0\ 0/x, 'TLS';
}
log_has(qr/CP0133: .*user=CONTOSO\\+hugo .*=eas-redirect .*event=1008/,
    'V27: event 1008');
$httpd->ask('f10s2', '/owa/x%20action%3Ddirect%20status=200%22/');
log_has(qr/CP0133: .*mailbox=x%20action%3Ddirect%20status%3D200%22 protocol/,
    'a stranger writes no item of the log');
log_has(qr/CP0133: .*reason=ntlm-not-on-destination .*event=1036/,
    'V32: event 1036');
log_has(qr/CP0133: .*reason=backend-timeout .*event=1034/, 'event 1034');
log_has(qr/CP0133: .*reason=backend-certificate .*event=1035/, 'event 1035');

# ---------------------------------------------------------- all that was seen

my @bad = grep {
    my ($r) = @$_;
    $r->status == 500 || $r->status =~ /^30/
        || $r->body =~ /<html|<!doctype/i
        || grep {/cadata|sessionid|casproxy/i} $r->all('Set-Cookie')
} @all;
is scalar @bad, 0, @all . ' answers to devices: no 500, no 30x, no page, '
    . 'no cookie of ours';
diag $_->[1], ': ', $_->[0]{line} for @bad;
my @left = $httpd->errors(qr/CP0163|CP0132|CP0156|CP0301|AH\d+/);
is scalar @left, 0, 'no error in its log that does not belong there'
    or diag map {"$_\n"} @left;
$httpd->stop;

finish();
