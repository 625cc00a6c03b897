# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Autodiscover: passed to a server of the mailbox's version and site; the 302
# of a 2007 front; plain http; and the front's own answers, read by an XML
# parser and believed by a client.
use strict;
use warnings;
use utf8;
use Encode ();
use IO::Socket::INET ();
use Apache::Test qw(-withtestmore);
use CaspDisco ();
use CaspHttpd;
use CaspTest;
use CaspWire;

begin(ad => 1);

my $httpd = CaspHttpd->new('disco', \&CaspDisco::fronts)->start;
$httpd->ready('pass', 'ada') or diag $httpd->log;
my $POX = '/autodiscover/autodiscover.xml';
my %here = (mail => 'https://mail.contoso.test');

sub at {
    my ($front, $path, @o) = @_;
    return ask($front, $path, @o, httpd => $httpd);
}

sub them { return CaspDisco::ask_them($httpd, @_) }
sub base { return $_[0] && "https://$_[0].contoso.test" }
sub told { return CaspDisco::told(@_) }

# An answer's error, which comes with 200 as text/xml and is not kept.
sub is_error {
    my ($r, $code, $name) = @_;
    is $r->status . ' ' . (told($r, 'Error/ErrorCode') // $r->body),
        "200 $code", "$name: error $code";
    return;
}

# ----------------------------------------------------------- passed to a CAS

{
    my @paths = ($POX, '/AutoDiscover/AutoDiscover.XML',
        '/AUTODISCOVER/AUTODISCOVER.XML');
    my $mark = mark();
    for my $case (['pass', 'ada', 'BER-CAS[12]'], ['pass', 'bert', 'HAM-CAS[12]'],
        ['pass', 'clara', 'MUC-CAS1'],
        # newer servers answer for older mailboxes, with their URLs
        ['pass', 'gina', 'BER-CAS[12]'], ['pass', 'fritz', 'BER-CAS[12]'],
        ['pass07', 'gina', 'BER-CAS7'], ['pass13', 'sven', 'STO-EX13'],
        ['pass13', 'nora', 'STO-EX1[36]'], ['pass13', 'olga', 'STO-EX10'],
        ['pass13', 'ada', 'BER-CAS[12]']) {
        my ($front, $user, $server) = @$case;
        for my $path (@paths) {
            my $r = at($front, $path, user => $user,
                body => CaspDisco::body(about => "$user\@contoso.test"));
            served_by($r, $server, "$user at $front: $path");
            unlike $r->header('Location') // '', qr/./, 'no redirection';
        }
    }
    my @got = requests($mark);
    is scalar(grep { $_->{target} =~ m{autodiscover\.xml$}i } @got),
        scalar @got, 'asked for the same, in the same letters';
    for my $path ('/autodiscover/autodiscover.svc',
        '/Autodiscover/Autodiscover.SVC', '/AUTODISCOVER/autodiscover.svc') {
        served_by(at('pass', $path, user => 'ada', body => '<x/>'),
            'BER-CAS[12]', "SOAP: $path");
    }
    for my $path ('/autodiscover/autodiscover.json?Email=ada@contoso.test'
            . '&Protocol=ActiveSync',
        '/Autodiscover/AutoDiscover.JSON?Email=ada@contoso.test') {
        served_by(at('pass16', $path, user => 'tove'), 'STO-EX16',
            "JSON: $path");
        my $r = at('pass', $path, user => 'ada');
        is $r->status, 404, 'which 2010 does not have';
        unlike $r->header('Content-Type'), qr/html/, 'and no page';
    }
    $mark = mark();
    served_by(at('pass', '/autodiscover/autodiscover.svc', user => 'gina',
        body => '<x/>'), 'BER-CAS[12]', '2007 has no SOAP: 2010 has');
    $mark = mark();
    is at('answer', '/autodiscover/autodiscover.svc', user => 'ada',
        body => '<x/>')->action, 'direct', 'Answer: SOAP passes all the same';
    is scalar(my @one = requests($mark)), 1, 'to a server';
    is at('pass', $POX, body => '<x/>')->status, 401, 'nobody is a 401';
    is at('answer', $POX, body => '<x/>')->status, 401, 'and no answer';
}

# -------------------------------------------------------------- redirections

{   # the 2010 CAS's EWS says where; its own front does not send people round
    my $mark = mark();
    for my $case (['ada', 'mail'], ['clara', 'munich']) {
        my ($user, $host) = @$case;
        for my $method ('GET', 'POST') {
            my $r = at('pass07', '/Autodiscover/Autodiscover.xml',
                user => $user, method => $method,
                $method eq 'POST' ? (body => 'x' x 5000) : ());
            is $r->status . ' ' . ($r->header('Location') // ''),
                "302 https://$host.contoso.test/Autodiscover/Autodiscover.xml",
                "2007, $method: $user is redirected";
            is $r->action, 'autodiscover-redirect', 'by its name';
            is $r->body, '', 'nothing to read';
            is $r->header('Set-Cookie'), undef, 'nothing to keep';
        }
    }
    my $r = at('pass07-here', $POX, user => 'ada', body => 'x');
    isnt $r->status, 302, 'never to ourselves';
    unlike $r->header('Content-Type') // '', qr/html/, 'and no page';
    no_requests($mark, 'no server of 2007 was asked');
}
{   # plain http: before anybody logs on
    my $mark = mark();
    for my $case (['GET', $POX], ['HEAD', $POX],
        ['GET', '/AutoDiscover/AutoDiscover.XML'],
        ['GET', '/autodiscover/autodiscover.json?Email=a@b&Protocol=x']) {
        my ($method, $path) = @$case;
        my $r = at('autodiscover', $path, clear => 1, method => $method);
        is $r->status . ' ' . ($r->header('Location') // ''),
            "302 https://autodiscover.contoso.test$path",
            "http, $method $path: to https";
        is $r->header('WWW-Authenticate'), undef, 'no password is asked for';
        is $r->body, '', 'nothing to read';
    }
    for my $path ($POX, '/autodiscover/autodiscover.svc') {
        my $r = at('autodiscover', $path, clear => 1, method => 'POST',
            body => '<x/>');
        is $r->status, 403, "http, POST $path: refused, as everywhere";
    }
    no_requests($mark, 'nothing went on');
}

# ------------------------------------------------------------ the own answer

# user, front: hosts of EWS and OAB, of ActiveSync, of Outlook Anywhere
my @places = (
    ['ada', 'answer', 'mail', 'mail', 'mail'],
    ['bert', 'answer', 'mail', 'mail', 'mail'],
    ['clara', 'answer', 'munich', 'munich', 'munich'],
    ['gina', 'answer', 'legacy', 'legacy', 'mail'],
    ['hugo', 'answer', 'legacy-munich', 'legacy-munich', 'mail'],
    ['ida', 'answer', 'mail', 'mail', 'mail'],
    ['nora', 'answer', 'legacy-stockholm', 'legacy-stockholm', 'mail'],
    ['fritz', 'answer', undef, 'mail', 'mail'],
    ['jan', 'answer', undef, 'mail', 'mail'],
    ['dora', 'answer', 'mail', 'mail', 'mail'],
    ['karl', 'answer', 'zurich', 'zurich', 'zurich'],
    ['mia', 'answer', 'geneva', 'geneva', 'geneva'],
    ['leon', 'answer', 'lyon-basic', 'lyon-basic', 'lyon-basic'],
    ['rosa', 'answer', 'mail', 'mail', 'rome'], # http is not handed out
    ['olga', 'answer', 'mail', 'mail', 'mail'],
    ['gina', 'noeas', 'legacy', 'mail', 'mail'],
    ['clara', 'noeas', 'munich', 'munich', 'munich'],
    ['gina', 'answer07', 'old', 'old', 'old'],
    ['hugo', 'answer07', ('legacy-munich') x 3],
    ['ada', 'answer07', 'mail', 'mail', 'mail'],
    ['gina', 'answer13', 'legacy', 'mail', 'mail'],
    ['ada', 'answer13', 'mail', 'mail', 'mail'],
    ['sven', 'answer13', 'mail', 'mail', 'mail'],
    ['tove', 'answer13', 'mail', 'mail', 'mail'],
    ['ada', 'nameless', 'nameless', 'nameless', 'nameless'],
);
{
    my $mark = mark();
    my @asked = map { ([$_->[1], user => $_->[0],
        about => "$_->[0]\@contoso.test"]) } @places;
    my @outlook = them(@asked);
    my @device = them(map { [@$_, device => 1] } @asked);
    for my $i (0 .. $#places) {
        my ($user, $front, $ews, $eas, $rpc) = @{ $places[$i] };
        my ($r, $d) = ($outlook[$i], $device[$i]);
        my $name = "$user at $front";
        my $url = $ews && base($ews) . '/EWS/Exchange.asmx';
        is $r->status . ' ' . $r->decision,
            '200 autodiscover-answer; autodiscover-answered-here', "$name: answered";
        is $r->header('Content-Type'), 'text/xml; charset=utf-8', 'as XML';
        is $r->header('Cache-Control'), 'no-cache, no-store', 'not kept';
        is_deeply [map { told($r, "Account/EXPR/$_") }
            qw(EwsUrl ASUrl OOFUrl OABUrl Server CertPrincipalName)],
            [$url, $url, $url, $ews && base($ews) . '/OAB/',
            "$rpc.contoso.test", "msstd:$rpc.contoso.test"],
            "$name: from outside" or diag $r->body;
        is told($r, 'Account/WEB/External/EXPR/ASUrl'), $url,
            "$name: the web's";
        is_deeply [map { told($d, "Action/Settings/Server/$_") }
            qw(Type Url Name)], ['MobileSync',
            (base($eas) . '/Microsoft-Server-ActiveSync') x 2],
            "$name: devices" or diag $d->body;
        my @outside = grep { m{/(?:EXPR|External)/} } keys %{ $r->{said} };
        is_deeply [grep { ($r->{said}{$_} // '')
            =~ /-(?:cas|mbx|ex)\d+\.|http:/i } @outside], [],
            "$name: no internal name outside";
    }
    no_requests($mark, 'no server was asked');
}
{   # all of one answer
    my ($r, $seven, $old, $d) = them(
        ['answer', user => 'ada', about => 'ADA@contoso.test'],
        ['answer', user => 'gina', about => 'gina@contoso.test'],
        ['answer', user => 'fritz', about => 'fritz@contoso.test'],
        ['answer', user => 'ada', about => 'ada@contoso.test', device => 1]);
    my $group = '/o=Contoso/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)';
    my $array = "$group/cn=Configuration/cn=Servers/cn=outlook.contoso.test";
    my $schema = '{http://schemas.microsoft.com/exchange/autodiscover/';
    my %wanted = (root => "${schema}responseschema/2006}Autodiscover",
        space => "${schema}outlook/responseschema/2006a}Response",
        'User/DisplayName' => 'Ada Berlin',
        'User/LegacyDN' => "$group/cn=Recipients/cn=ada",
        'User/AutoDiscoverSMTPAddress' => 'ada@contoso.test',
        'Account/AccountType' => 'email', 'Account/Action' => 'settings',
        'Account/EXCH/Server' => 'outlook.contoso.test',
        'Account/EXCH/ServerDN' => $array,
        'Account/EXCH/ServerVersion' => '7383807B',
        'Account/EXCH/MdbDN' => "$array/cn=Microsoft Private MDB",
        'Account/EXCH/EwsUrl' =>
            'https://ber-cas1.contoso.test/EWS/Exchange.asmx',
        'Account/EXPR/EcpUrl' => "$here{mail}/ecp/",
        'Account/EXPR/UMUrl' => "$here{mail}/EWS/UM2007Legacy.asmx",
        'Account/EXPR/EcpUrl-um' => '?p=customize/voicemail.aspx&exsvurl=1',
        'Account/EXPR/SSL' => 'On', 'Account/EXPR/AuthPackage' => 'Basic',
        'Account/WEB/External/OWAUrl' => "$here{mail}/owa/",
        'Account/WEB/External/OWAUrl@AuthenticationMethod' => 'Basic');
    is told($r, $_), $wanted{$_}, "Outlook: $_" for sort keys %wanted;
    is told($seven, 'Account/EXPR/EcpUrl'), undef, '2007 has no Control Panel';
    is told($seven, 'Account/EXCH/Server'), 'ber-mbx7.contoso.test',
        '2007: the mailbox server';
    is told($old, 'Account/EXCH/ServerVersion'), '00001DD6', '2003: its build';
    is told($d, 'Culture'), 'en:us', 'devices: culture';
    is told($d, 'User/EMailAddress'), 'ada@contoso.test', 'devices: address';
    is told($d, 'space'), "${schema}mobilesync/responseschema/2006}Response",
        'devices: schema';
}
{   # a second mailbox, other names, odd names
    my $group = '/o=Contoso/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)';
    my @who = (answer => user => 'ada');
    my @all = them(
        [@who, about => 'clara@contoso.test'],
        [@who, about => 'info@contoso.test'],
        [@who, about => 'kurt.meyer@contoso.test'],
        [@who, legacy => "$group/cn=Recipients/cn=clara"],
        [@who, legacy => '/O=old/CN=bert'],
        [@who, about => 'leon@contoso.test'],
        [@who, about => 'comma@contoso.test'],
        [@who, about => 'juergen.muessig@contoso.test'],
        ['answer', user => 'nils', about => 'ada@contoso.test']);
    is_deeply [map { told($_, 'User/AutoDiscoverSMTPAddress') } @all],
        [map {"$_\@contoso.test"} qw(clara info kmeyer clara bert leon comma
            juergen ada)], 'about whom it was asked';
    is told($all[0], 'Account/EXPR/EwsUrl'),
        'https://munich.contoso.test/EWS/Exchange.asmx', "clara's, for ada";
    is told($all[3], 'Account/EXPR/EwsUrl'),
        'https://munich.contoso.test/EWS/Exchange.asmx', 'by LegacyDN';
    is told($all[5], 'User/DisplayName'), 'Léon Lyon', 'an accent';
    is told($all[6], 'User/DisplayName'), 'Comma, Carla + "Co"', 'quotes';
}
{   # MAPI over HTTP, to whom it can use it
    my $speaks = 'X-MapiHttpCapability: 1';
    my @all = them(
        ['answer13', user => 'sven', about => 'sven@contoso.test',
            headers => [$speaks]],
        ['answer13', user => 'sven', about => 'sven@contoso.test'],
        ['answer13', user => 'sven', about => 'sven@contoso.test',
            headers => ['X-MapiHttpCapability: no']],
        ['answer13', user => 'olga', about => 'olga@contoso.test',
            headers => [$speaks]]);
    like told($all[0], 'Account/mapiHttp/MailStore/ExternalUrl'),
        qr{^https://mail\.contoso\.test/mapi/emsmdb/\?MailboxId=[-0-9a-f]{36}\@contoso\.test$},
        'MAPI over HTTP';
    like told($all[0], 'Account/mapiHttp/AddressBook/ExternalUrl'),
        qr{^https://mail\.contoso\.test/mapi/nspi/\?MailboxId=}, 'and its book';
    is told($all[$_], 'Account/mapiHttp/MailStore/ExternalUrl'), undef,
        ('', 'not spoken', 'no number', '2010 has none')[$_] for 1 .. 3;
    like told($all[0], 'Account/EXCH/Server'),
        qr/^[-0-9a-f]{36}\@contoso\.test$/, "2013's servers are mailboxes";
}
{   # elsewhere
    my ($r, $d) = map { them(['answer', user => 'ada',
        about => 'remo@contoso.test', device => $_]) } 0, 1;
    is told($r, 'Account/Action'), 'redirectAddr', 'a remote mailbox';
    is told($r, 'Account/RedirectAddr'), 'remo@contoso.example', 'is there';
    is told($d, 'Action/Redirect'), 'remo@contoso.example', 'for devices too';
}

# -------------------------------------------------------------------- errors

my $well = CaspDisco::body(about => 'ada@contoso.test');
{
    my @cases = (
        [500, 'unknown', about => 'nobody@contoso.test'],
        [500, 'unknown', about => 'nobody@contoso.test', device => 1],
        [500, 'unknown LegacyDN', legacy => '/o=Contoso/cn=nobody'],
        [500, 'ambiguous', about => 'team@contoso.test'],
        [500, 'a filter in the address', about => '*@contoso.test'],
        [500, 'another', about => 'ada)(cn=*@contoso.test'],
        [600, 'no address', about => 'ada'],
        [600, 'GET', method => 'GET'],
        [600, 'nothing', body => ''],
        [600, 'no XML', body => 'ada@contoso.test'],
        [600, 'another root', body => $well =~ s/Autodiscover/Discover/gr],
        [600, 'cut off', body => substr($well, 0, 200)],
        [600, 'LegacyDN from a device', legacy => '/o=x', device => 1],
        [600, 'no schema', body => $well
            =~ s{<Accept.*Schema>}{}r],
        [601, 'unknown schema', about => 'ada@contoso.test',
            schema => 'outlook/responseschema/2099'],
        [601, 'unknown request', body => $well
            =~ s{requestschema/2006}{requestschema/1906}r]);
    my @got = them(map { my (undef, undef, @o) = @$_;
        ['answer', user => 'ada', @o] } @cases);
    for my $i (0 .. $#cases) {
        is_error($got[$i], @{ $cases[$i] }[0, 1]);
        is $got[$i]->header('Content-Type'), 'text/xml; charset=utf-8',
            'as XML';
    }
    like $got[0]->body, qr{<Error Time="\d\d:\d\d:\d\d\.\d{6}" Id="\d+">},
        'when, and who says so';
    ok $httpd->log =~ /CP0800/, 'several objects: the operator is told';
    my ($r) = them(['narrow', user => 'ada', about => 'ada@contoso.test',
        device => 1]);
    is_error($r, 601, 'ActiveSync is not published');
    ($r) = them(['narrow', user => 'ada', about => 'ada@contoso.test']);
    is told($r, 'Account/EXPR/Server'), undef, 'RPC is not published';
    is told($r, 'Account/EXPR/EwsUrl'), "$here{mail}/EWS/Exchange.asmx",
        'EWS is';
}
{   # what the organisation cannot say is no answer: they try again
    for my $case (['xaver', 'site-unknown'], ['yara', 'database-unknown'],
        ['zeno', 'version-unknown']) {
        my ($user, $why) = @$case;
        my $r = at('answer', $POX, user => 'ada',
            body => CaspDisco::body(about => "$user\@contoso.test"));
        is $r->status . ' ' . $r->decision, "503 error; $why", $user;
        is $r->header('Retry-After'), 30, 'later';
        unlike $r->header('Content-Type'), qr/html/, 'no page';
    }
}
{   # other methods
    my $r = at('answer', $POX, user => 'ada', method => 'OPTIONS');
    is $r->status . ' ' . ($r->header('Allow') // ''),
        '200 GET, HEAD, OPTIONS, POST', 'OPTIONS';
    $r = at('answer', $POX, user => 'ada', method => 'PUT', body => 'x');
    is $r->status . ' ' . ($r->header('Allow') // ''),
        '405 GET, HEAD, OPTIONS, POST', 'PUT';
    $r = at('answer', $POX, user => 'ada', method => 'HEAD');
    is $r->status . $r->body, 200, 'HEAD';
}

# --------------------------------------------------------------- hostile XML

{
    my $trap = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5)
        or die $!;
    my $url = 'http://127.0.0.1:' . $trap->sockport . '/x';
    my $laughs = join '', map {
        "<!ENTITY l$_ \"" . '&l' . ($_ - 1) . ';' x 10 . '">' } 1 .. 9;
    my $inner = $well =~ s/^.*?\?>\s*//sr;
    my $wide = Encode::encode('UTF-16', $inner);
    my @cases = (
        ['billion laughs', "<!DOCTYPE a [<!ENTITY l0 \"ha\">$laughs]>"
            . $inner =~ s/ada\@/&l9;@/r],
        ['a file', '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            . $inner =~ s/ada\@/&x;@/r],
        ['a URL', "<!DOCTYPE a [<!ENTITY x SYSTEM \"$url\">]>"
            . $inner =~ s/ada\@/&x;@/r],
        ['a parameter', "<!DOCTYPE a [<!ENTITY % x SYSTEM \"$url\">%x;]>"
            . $inner],
        ['an external subset', "<!DOCTYPE Autodiscover SYSTEM \"$url\">"
            . $inner],
        ['the same in UTF-16', Encode::encode('UTF-16',
            "<!DOCTYPE Autodiscover SYSTEM \"$url\">$inner")],
        ['an undeclared entity', $inner =~ s/ada\@/&ada;@/r],
        ['1 MB of spaces', $inner =~ s/<Request>/' ' x 1048576 . '<Request>'/er],
        ['1 MB behind it', $well . ' ' x 1048576],
        ['1 MB of elements', '<a>' x 350_000],
        ['an encoding of no use', '<?xml version="1.0" encoding="utf-7"?>'
            . $inner],
        ['half UTF-16', substr $wide, 0, 301],
        ['UTF-16 that says UTF-8', Encode::encode('UTF-16LE', $well)],
        ['broken UTF-8', $inner =~ s/ada\@/\xff\xfe@/r],
        ['a zero', $inner =~ s/ada\@/ada\0@/r]);
    for my $case (@cases) {
        my ($name, $body) = @$case;
        my ($r) = them(['answer', user => 'ada', body => $body]);
        is_error($r, 600, $name);
        unlike $r->body, qr/root:|haha/, "$name: tells nothing";
    }
    my ($r) = them(['answer', user => 'ada', body => $wide]);
    is told($r, 'User/DisplayName'), 'Ada Berlin', 'good UTF-16 is read';
    $trap->blocking(0);
    ok !$trap->accept, 'nothing was fetched';
    # in pieces, and over a connection that lives on
    my @two = them(['answer', user => 'ada', body => $well,
        headers => ['Transfer-Encoding: chunked']],
        ['answer', user => 'ada', body => $well]);
    is told($_, 'User/DisplayName'), 'Ada Berlin', 'chunked, and after it'
        for @two;
    unlike $two[0]->header('Connection') // '', qr/close/, 'over one connection';
    is at('pass', '/owa/', user => 'ada')->status, 200, 'all is well';
    # a bad line: an error would be the last word, and it is no bad request
    my $slow = CaspWire->new(httpd => $httpd, tls => 'answer');
    $slow->say("POST $POX HTTP/1.1\r\n", "Host: answer.contoso.test\r\n",
        "Content-Type: text/xml\r\n", 'Content-Length: ', length $well,
        "\r\nAuthorization: ", CaspTest::basic('ada'), "\r\n\r\n",
        substr $well, 0, 100);
    sleep 4;
    $slow->say(substr $well, 100);
    my $late = $slow->hear;
    CaspDisco::read_them($late);
    is told($late, 'User/DisplayName'), 'Ada Berlin', 'slow, and answered';
}

# ------------------------------------------------------ what programs are told

{
    my $EAS = '/Microsoft-Server-ActiveSync?Cmd=Sync&DeviceId=a&DeviceType=b';
    my $r = at('pass', $EAS, user => 'gina', body => 'x',
        headers => ['MS-ASProtocolVersion: 14.1']);
    is $r->{line}, 'HTTP/1.1 451 Device Misconfigured', 'a 451';
    is_deeply [map { scalar $r->header($_) // '' } 'X-MS-Location',
        'Content-Length', 'Content-Type', 'Location', 'Set-Cookie'],
        ['https://legacy.contoso.test/Microsoft-Server-ActiveSync', '0', '',
            '', ''], 'by that header, and nothing else to read';
    is $r->body, '', 'not even a word';
    $r = at('pass', $EAS, user => 'ada');
    is $r->status . ' ' . ($r->header('Allow') // ''), '405 OPTIONS, POST',
        'ActiveSync has no GET';
    my @asked = map { ['pass', $_->[1], user => $_->[0], body => 'x',
        httpd => $httpd] } map { my $path = $_; map { [$_, $path] }
        qw(nils xaver remo lars sven) } $EAS, '/EWS/Exchange.asmx', $POX,
        '/oab/x/oab.xml', '/rpc/rpcproxy.dll?x:6001', '/mapi/emsmdb/',
        '/UnifiedMessaging/Service.asmx';
    my @got = ask_each(@asked);
    my @odd = grep { my $r = $got[$_];
        $r->status < 400 || $r->status == 500 || $r->status == 440
            || ($r->header('Content-Type') // '') =~ /html/
            || ($r->status == 503 && !$r->header('Retry-After'))
    } 0 .. $#got;
    is_deeply [map { "$asked[$_][1] $asked[$_][3]: $got[$_]{line}" } @odd],
        [], 'no page, no 30x, no 500, and when to come back';
    is scalar @got, 35, 'of all of them';
}

# -------------------------------------------------------------- a real client

SKIP: {
    skip 'needs python3-exchangelib', 6 if !CaspDisco::can_find();
    my $https = 'autodiscover.contoso.test:443';
    my $found = CaspDisco::find($httpd, 'CONTOSO\\clara', 'clara@contoso.test',
        $https);
    is $found->{ews}, 'https://munich.contoso.test/EWS/Exchange.asmx',
        'exchangelib finds clara' or diag $found->{error};
    is $found->{asked}[0], 'contoso.test:443', 'after the domain itself';
    $found = CaspDisco::find($httpd, 'CONTOSO\\gina', 'gina@contoso.test',
        $https);
    is $found->{ews}, 'https://legacy.contoso.test/EWS/Exchange.asmx',
        'gina, on 2007';
    $found = CaspDisco::find($httpd, 'CONTOSO\\ada', 'ada@contoso.test', $https);
    is $found->{ews}, 'https://mail.contoso.test/EWS/Exchange.asmx', 'ada';
    is $found->{address}, 'ada@contoso.test', 'and her address';
    $found = CaspDisco::find($httpd, 'CONTOSO\\ada', 'nobody@contoso.test',
        $https);
    like $found->{error} // '', qr/AutoDiscover|NonExistent/, 'nobody';
}

my @errors = $httpd->errors(qr/CP0160|CP0161/);
is scalar @errors, 0, 'no error in its log' or diag @errors;
finish();
