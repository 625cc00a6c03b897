# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Wrong configurations stop "httpd -t" with the virtual host, the directive
# and what would be right; right ones pass in any order of modules.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspHttpd;
use CaspTest;

begin();

my $count = 0;
my $run = lab()->{run};
CaspLab::spew("$run/secret", "x\n");
CaspLab::spew("$run/ring", 'a1' x 32, "\n");
chmod 0600, "$run/secret", "$run/ring";
my @directory = ('CasProxyDirectory ldaps://dc1.contoso.test',
    "CasProxyDirectoryBind CONTOSO\\svc file:$run/secret");

sub try {
    my ($lines, %o) = @_;
    my $vhost = sub {
        my ($to) = @_;
        my $port = $to->{port};
        return join "\n", "<VirtualHost *:$port>", '    ServerName wrong.test',
            (map {"    $_"} @$lines), '</VirtualHost>', '';
    };
    my $httpd = CaspHttpd->new('conf' . ++$count, $vhost, plain => 1, %o);
    my ($code, $text) = $httpd->test;
    return ($code, $text, $httpd);
}

sub refused {
    my ($name, $pattern, $lines, %o) = @_;
    my ($code, $text) = try($lines, %o);
    isnt $code, 0, "refused: $name" or diag $text;
    like $text, $pattern, "$name: and why";
    unlike $text, qr/CP\d+: .{0,20}$/m, "$name: in words";
    return $text;
}

sub accepted {
    my ($name, $lines, %o) = @_;
    my ($code, $text, $httpd) = try($lines, %o);
    is $code, 0, "accepted: $name" or diag $text;
    return ($text, $httpd);
}

# ------------------------------------------------------------------- right

accepted('two directives', ['CasProxy On', @directory]);
accepted('an export', ['CasProxy On', "CasProxyDirectory ldif:$run/contoso.ldif"]);
accepted('ldapi', ['CasProxy On', 'CasProxyDirectory ldapi://%2Frun%2Fldapi']);
accepted('off, with nothing else', ['CasProxy Off']);
accepted('directives without CasProxy', [@directory]);
accepted('several directories', ['CasProxy On', "$directory[0] ldaps://dc2.contoso.test:3636",
    $directory[1]]);
accepted('StartTLS', ['CasProxy On', 'CasProxyDirectory ldap://dc1',
    $directory[1], 'CasProxyDirectoryTLS StartTLS']);
accepted('a Location', [@directory, '<Location /owa>', 'CasProxy On',
    'CasProxyDiagnostics On', 'CasProxyAuth Basic', '</Location>']);
accepted('forms', ['CasProxy On', @directory, 'CasProxyAuth Forms Basic',
    'CasProxyFormsTimeout public=10m private=12h', '<Location /ews>',
    'CasProxyAuth Basic', '</Location>']);
accepted('a key ring', ['CasProxy On', @directory,
    "CasProxyFormsKey file:$run/ring"]);
CaspLab::spew("$run/keys", "no keytab, but nobody looks here\n");
chmod 0640, "$run/keys";
my @keytab = ("CasProxyKeytab $run/keys", 'CasProxyRequireTLS On');
for my $case (
    ['all there is', 'CasProxyAuth Forms Negotiate NTLM Basic'],
    ['Winbind', 'CasProxyNTLMVerify Winbind'],
    ['Winbind and its helper', 'CasProxyNTLMVerify Winbind /usr/bin/ntlm_auth'
        . ' --configfile=/etc/samba/front.conf'],
    ['Directory', 'CasProxyNTLMVerify Directory'],
    ['Directory over StartTLS', 'CasProxyNTLMVerify Directory',
        'CasProxyDirectoryTLS StartTLS', 'CasProxyDirectory ldap://dc1']) {
    my ($name, @lines) = @$case;
    my ($text) = accepted("integrated: $name", ['CasProxy On', @directory,
        'CasProxyAuth Negotiate NTLM Basic', @keytab, @lines]);
    is scalar(() = $text =~ /CP0121/g), 0, "$name: without a warning"
        or diag $text;
}
accepted('an If', [@directory, 'CasProxy On', '<If "-R \'10.0.0.0/8\'">',
    'CasProxyAuth None', '</If>']);
{
    my ($text) = accepted('a silent 2010', ['CasProxy On', @directory,
        'CasProxyFrontEnd 2010', 'CasProxyCrossSiteRedirectType Silent']);
    like $text, qr/wrong\.test.*CasProxyCrossSiteRedirectType is ignored/,
        'but told that it has no choice';
}

{
    my ($text) = accepted('plain http', ['CasProxy On', @directory,
        'CasProxyRequireTLS Off']);
    like $text, qr/wrong\.test.*CasProxyRequireTLS Off: .*plain http/,
        'but told what it means';
}
# Questionable, with integrated authentication: name, what it says, lines;
# global => what stands before all virtual hosts.
CaspLab::spew("$run/open.keytab", 'x');
chmod 0644, "$run/open.keytab";
for my $case (
    ['no room for tickets', qr/LimitRequestFieldSize .*LimitRequestFieldSize 65536/,
        ['CasProxyAuth Negotiate Basic', @keytab],
        global => "LimitRequestFieldSize 8190\n"],
    ['no room, by a keytab alone', qr/LimitRequestFieldSize .*ticket/,
        [@keytab], global => "LimitRequestFieldSize 8190\n"],
    ['no room, in a Location', qr/LimitRequestFieldSize .*ticket/,
        ['<Location /ews>', 'CasProxyAuth Negotiate', '</Location>'],
        global => "LimitRequestFieldSize 8190\n"],
    ['no keytab', qr/CasProxyAuth Negotiate without CasProxyKeytab: .*CasProxyKeytab FILE/,
        ['CasProxyAuth Negotiate Basic']],
    ['no keytab, in an If', qr/CasProxyAuth Negotiate without CasProxyKeytab/,
        ['<If "-R \'10.0.0.0/8\'">', 'CasProxyAuth Negotiate NTLM', '</If>']],
    ['a keytab that all may read', qr/CasProxyKeytab: everybody may read \S+open\.keytab.*chmod/,
        ['CasProxyAuth Negotiate', "CasProxyKeytab $run/open.keytab"]],
    ['NTLM on connections that end', qr/NTLM needs connections that stay: KeepAlive On/,
        ['CasProxyAuth NTLM', 'KeepAlive Off']],
    ['NTLM on short connections', qr/MaxKeepAliveRequests is small.*MaxKeepAliveRequests 0/,
        ['CasProxyAuth NTLM', 'MaxKeepAliveRequests 20']],
    ['no helper', qr{CasProxyNTLMVerify Winbind: /nowhere/ntlm_auth cannot be found.*install},
        ['CasProxyAuth NTLM', 'CasProxyNTLMVerify Winbind /nowhere/ntlm_auth']],
    ['a helper that is no program', qr{CasProxyNTLMVerify Winbind: \S+ cannot be executed},
        ['CasProxyAuth NTLM', "CasProxyNTLMVerify Winbind $run/keys"]]) {
    my ($name, $pattern, $lines, %o) = @$case;
    my ($text) = accepted("questionable: $name", ['CasProxy On', @directory,
        @$lines], %o);
    like $text, qr/CP0121: wrong\.test(?::\d+)?: $pattern/,
        "$name: and told so" or diag $text;
}
{
    my ($text) = accepted('nothing integrated', ['CasProxy On', @directory,
        'CasProxyAuth Basic', 'KeepAlive Off'],
        global => "LimitRequestFieldSize 8190\n");
    unlike $text, qr/LimitRequestFieldSize|NTLM|Keytab/,
        'Basic alone is not told of tickets';
}

# ------------------------------------------------- what httpd itself cuts off

# Enough of everything, so that nothing but what a case says is told of.
my $ENOUGH = join '', map {"<IfModule mpm_$_->[0]_module>\n    ServerLimit "
    . "$_->[1]\n    MaxRequestWorkers 400\n</IfModule>\n"}
    ['event', 16], ['worker', 16], ['prefork', 400];
my $MODULES = '/usr/lib/apache2/modules';
sub with_modules {
    return join '', map {"LoadModule ${_}_module $MODULES/mod_$_.so\n"} @_;
}

# The warnings of a configuration, without its name and tag.
sub cuts {
    my ($name, $lines, %o) = @_;
    my @slashes = grep({/AllowEncodedSlashes/} @$lines) ? ()
        : 'AllowEncodedSlashes NoDecode';
    my ($text) = accepted("sizes: $name", ['CasProxy On', @directory, @slashes,
        @$lines], global => with_modules(@{ $o{modules} // [] })
        . ($o{enough} // $ENOUGH) . ($o{global} // ''));
    return $text =~ /CP0820: wrong\.test(?::\d+)?: (.*)/g;
}

my @REQTIMEOUT = (modules => ['reqtimeout']);
my @METHODS = (modules => ['allowmethods']);
# name, how many warnings, what they say, lines of the virtual host, more
for my $case (
    ['enough of everything', 0, qr/./, []],
    ['a short Timeout', 1, qr/^Timeout 10 ends .*408.*Timeout 60/,
        ['Timeout 10']],
    ['mod_reqtimeout by itself', 0, qr/./, [], @REQTIMEOUT],
    ['uploads of 10 s', 1, qr/^RequestReadTimeout body=10 without MinRate ends .* 10 s.*body=20,MinRate=500/,
        ['RequestReadTimeout body=10'], @REQTIMEOUT],
    ['uploads of 40 s', 1, qr/body=20-40 ends .* after 40 s/,
        ['RequestReadTimeout header=20-40,MinRate=500 body=20-40,MinRate=500'],
        @REQTIMEOUT],
    ['uploads of 10 s, for all', 1, qr/body=10 without MinRate/, [],
        @REQTIMEOUT, global => "RequestReadTimeout body=10\n"],
    ['but not for this one', 0, qr/./, ['RequestReadTimeout body=0'],
        @REQTIMEOUT, global => "RequestReadTimeout body=10\n"],
    ['as long as they move', 0, qr/./,
        ['RequestReadTimeout header=20-40,MinRate=500',
            'RequestReadTimeout body=10,MinRate=500'], @REQTIMEOUT],
    ['as slow as they like', 0, qr/./, ['RequestReadTimeout body=0'],
        @REQTIMEOUT],
    ['a short LimitRequestLine', 1, qr/^LimitRequestLine 4096: .*OWA, EAS, Legacy get 414.*LimitRequestLine 16384/,
        [], global => "LimitRequestLine 4096\n"],
    ['a short LimitRequestFieldSize', 1, qr/^LimitRequestFieldSize 4096: .*400/,
        [], global => "LimitRequestFieldSize 4096\n"],
    ['few fields', 1, qr/^LimitRequestFields 20: .*400/, [],
        global => "LimitRequestFields 20\n"],
    ['any number of fields', 0, qr/./, [], global => "LimitRequestFields 0\n"],
    ['no encoded slashes', 1, qr/^AllowEncodedSlashes is Off.*\(OWA, Legacy\).*404.*NoDecode/,
        ['AllowEncodedSlashes Off']],
    ['no encoded slashes, no folders', 0, qr/./, ['AllowEncodedSlashes Off',
        'CasProxyPublish EAS EWS']],
    ['registered methods', 1, qr/^HttpProtocolOptions RegisteredMethods: .*RPC, Legacy get 501.*LenientMethods/,
        [], global => "HttpProtocolOptions RegisteredMethods\n"],
    ['registered methods will do', 0, qr/./, ['CasProxyPublish OWA EAS EWS'],
        global => "HttpProtocolOptions RegisteredMethods\n"],
    ['GET and POST', 3, qr/^AllowMethods GET POST: \S+ of (?:EAS|RPC|Legacy) gets 405/,
        ['<Location />', 'AllowMethods GET POST', '</Location>'], @METHODS],
    ['GET and POST, of mail', 1, qr/RPC_IN_DATA of RPC/,
        ['<LocationMatch "(?i)^/rpc(/|$)">', 'AllowMethods GET POST',
            '</LocationMatch>'], @METHODS],
    ['GET, of other things', 0, qr/./, ['<Location /static>',
        'AllowMethods GET', '</Location>', '<Directory /var/www>',
        'AllowMethods GET', '</Directory>'], @METHODS],
    ['all methods again', 0, qr/./, ['<Location />', 'AllowMethods reset',
        '</Location>'], @METHODS],
    ['bodies of a known length', 1, qr/^SetEnv proxy-sendcl: .*temporary file/,
        ['SetEnv proxy-sendcl 1']],
    ['HTTP/1.0 behind', 1, qr/^SetEnvIf .*force-proxy-request-1\.0.*\(EWS\)/,
        ['<LocationMatch "(?i)^/ews">',
            'SetEnvIf User-Agent ^x force-proxy-request-1.0',
            '</LocationMatch>']],
    ['what another path wants', 0, qr/./, ['<Location /app>',
        'SetEnv proxy-sendcl 1', '</Location>', 'SetEnv other 1']],
    ['words exchanged', 1, qr/^SetOutputFilter SUBSTITUTE holds .*\(ECP\)/,
        ['<LocationMatch "(?i)^/ecp(/|$)">',
            'SetOutputFilter DEFLATE;SUBSTITUTE', '</LocationMatch>'],
        modules => ['filter', 'substitute', 'deflate']],
    ['deflated', 0, qr/./, ['SetOutputFilter DEFLATE'],
        modules => ['filter', 'deflate']],
    ['pages of our own', 1, qr/^ProxyErrorOverride .*SOAP.*EAS, EWS, Autodiscover, MAPI, UM.*Off/,
        ['ProxyErrorOverride On']],
    ['pages of our own, elsewhere', 0, qr/./, ['ProxyErrorOverride Off',
        '<LocationMatch "(?i)^/owa(/|$)">', 'ProxyErrorOverride On',
        '</LocationMatch>', '<Proxy *>', 'ProxyErrorOverride On',
        '</Proxy>']],
    ['few workers', 1, qr/^MaxRequestWorkers \d+: .*EAS, EWS, RPC, MAPI/, [],
        enough => ''],
    ['few workers, and nothing waits', 0, qr/./,
        ['CasProxyPublish OWA ECP OAB Legacy'], enough => '']) {
    my ($name, $n, $pattern, $lines, %o) = @$case;
  SKIP: {
        my ($missing) = grep { !-e "$MODULES/mod_$_.so" }
            @{ $o{modules} // [] };
        skip "mod_$missing is not there", 3 if $missing;
        my @told = cuts($name, $lines, %o);
        is scalar @told, $n, "sizes: $name: $n" or diag map {"$_\n"} @told;
        is scalar(grep { $_ !~ $pattern } @told), 0, "sizes: $name: as it is"
            or diag map {"$_\n"} @told;
    }
}
# Threads against connections: prefork has one of each in a child.
if (lab()->{mpm} eq 'prefork') {
    my @told = cuts('busy, for prefork', ['CasProxyBackendPool busy=5']);
    like "@told", qr/busy=5 is never reached.*1 thread:.*MPM event/,
        'prefork cannot be busy';
}
else {
    my @told = cuts('few connections', ['CasProxyBackendPool hmax=10 acquire=3']);
    is scalar @told, 1, 'more threads than connections';
    like $told[0], qr/^ThreadsPerChild 25 is more than the 10 .*EAS, EWS, RPC, MAPI.*first 10 waits 3 s and gets 503: CasProxyBackendPool hmax=25/,
        'and who waits';
    is scalar(() = cuts('few connections, nothing waits', [
        'CasProxyBackendPool hmax=10', 'CasProxyPublish OWA'])), 0,
        'as long as nothing waits';
    @told = cuts('too busy', ['CasProxyBackendPool busy=25']);
    like "@told", qr/^CasProxyBackendPool busy=25 is never reached.*busy=16$/,
        'a limit that is none';
    is scalar(() = cuts('busy', ['CasProxyBackendPool busy=16'])), 0,
        'and one that is';
}

# ------------------------------------------------------------------- wrong

CaspLab::spew("$run/open", 'b2' x 32, "\n");
chmod 0640, "$run/open";
my $here = qr/wrong\.test(?::\d+)?: /;
# name, what it says, lines
for my $case (
    ['no directory', qr/${here}CasProxyDirectory is missing/, ['CasProxy On']],
    ['no account', qr/${here}CasProxyDirectoryBind is missing/,
        ['CasProxy On', 'CasProxyDirectory ldaps://dc1']],
    ['plain text unsaid', qr/${here}CasProxyDirectoryTLS is missing/,
        ['CasProxy On', 'CasProxyDirectory ldap://dc1', $directory[1]]],
    ['a secret in the open', qr/CasProxyDirectoryBind .*file:/,
        ['CasProxy On', $directory[0], 'CasProxyDirectoryBind svc geheim']],
    ['a secret that is not there', qr/CasProxyDirectoryBind: \S+ cannot be found/,
        ['CasProxy On', $directory[0], 'CasProxyDirectoryBind svc file:/nowhere/x']],
    ['a mode nobody knows', qr/${here}CasProxy .*"Onn" is not known.*On.*Redirect/,
        ['CasProxy Onn', @directory]],
    ['a version nobody knows', qr/${here}CasProxyFrontEnd .*"2011" is not known.*2010SP2/,
        ['CasProxy On', @directory, 'CasProxyFrontEnd 2011']],
    ['a directory of http', qr/CasProxyDirectory .*ldaps:/,
        ['CasProxy On', 'CasProxyDirectory http://dc1', $directory[1]]],
    ['an export and a server', qr/CasProxyDirectory .*an export stands alone/,
        ['CasProxy On', "CasProxyDirectory ldif:$run/contoso.ldif ldaps://dc1"]],
    ['an export that is not there', qr/CasProxyDirectory: \S+ cannot be found/,
        ['CasProxy On', 'CasProxyDirectory ldif:/nowhere/x.ldif']],
    ['a CA file that is not there', qr/CasProxyDirectoryCAFile: \S+ cannot be found/,
        ['CasProxy On', @directory, 'CasProxyDirectoryCAFile /nowhere/ca.pem']],
    ['a URL that is none', qr/CasProxyExternalURL .*mail/,
        ['CasProxy On', @directory, 'CasProxyExternalURL mail']],
    ['a javascript URL', qr/CasProxyFailbackURL/,
        ['CasProxy On', @directory, 'CasProxyFailbackURL javascript:alert(1)']],
    ['a negative time', qr/CasProxyTopologyRefresh .*whole number/,
        ['CasProxy On', @directory, 'CasProxyTopologyRefresh -1']],
    ['a time that is no number', qr/CasProxyMailboxCache .*ttl/,
        ['CasProxy On', @directory, 'CasProxyMailboxCache ttl=soon']],
    ['a key nobody knows', qr/CasProxyMailboxCache .*is not known/,
        ['CasProxy On', @directory, 'CasProxyMailboxCache life=3']],
    ['pools out of order', qr/${here}CasProxyDirectoryPool: .*out of order/,
        ['CasProxy On', @directory, 'CasProxyDirectoryPool min=9 smax=4 hmax=2']],
    ['a protocol nobody knows', qr/CasProxyPublish .*is not known/,
        ['CasProxy On', @directory, 'CasProxyPublish OWA IMAP']],
    ['a policy nobody knows', qr/CasProxyUrlPolicy .*Enforce/,
        ['CasProxy On', @directory, 'CasProxyUrlPolicy Maybe']],
    ['None beside Basic', qr/CasProxyAuth .*None trusts another module/,
        ['CasProxy On', @directory, 'CasProxyAuth None Basic']],
    ['None beside NTLM', qr/CasProxyAuth .*None trusts another module/,
        ['CasProxy On', @directory, 'CasProxyAuth Negotiate None']],
    ['a scheme nobody knows', qr/CasProxyAuth .*"Digest" is not known.*Negotiate/,
        ['CasProxy On', @directory, 'CasProxyAuth Digest']],
    ['a keytab that is not there', qr/CasProxyKeytab: \S+ cannot be found/,
        ['CasProxy On', @directory, 'CasProxyKeytab /nowhere/front.keytab']],
    ['a keytab without its folder', qr/CasProxyKeytab .*absolute/,
        ['CasProxy On', @directory, 'CasProxyKeytab front.keytab']],
    ['a keytab in a location', qr/CasProxyKeytab/,
        ['CasProxy On', @directory, '<Location /owa>',
            "CasProxyKeytab $run/keys", '</Location>']],
    ['a verifier nobody knows', qr/CasProxyNTLMVerify .*"Samba" is not known.*Winbind.*Directory/,
        ['CasProxy On', @directory, 'CasProxyNTLMVerify Samba']],
    ['a helper without its folder', qr/CasProxyNTLMVerify .*absolute/,
        ['CasProxy On', @directory, 'CasProxyNTLMVerify Winbind ntlm_auth']],
    ["a helper's protocol", qr/CasProxyNTLMVerify .*--helper-protocol is added/,
        ['CasProxy On', @directory, 'CasProxyNTLMVerify Winbind '
            . '/usr/bin/ntlm_auth --helper-protocol=gss-spnego']],
    ['a helper for Directory', qr/CasProxyNTLMVerify .*Directory takes no command/,
        ['CasProxy On', @directory,
            'CasProxyNTLMVerify Directory /usr/bin/ntlm_auth']],
    ['Directory, and an export',
        qr/${here}CasProxyNTLMVerify Directory: an export can verify nobody.*Winbind/,
        ['CasProxy On', "CasProxyDirectory ldif:$run/contoso.ldif",
            'CasProxyNTLMVerify Directory']],
    ['Directory, and ldapi',
        qr/${here}CasProxyNTLMVerify Directory: .*ldaps:/,
        ['CasProxy On', 'CasProxyDirectory ldapi://%2Frun%2Fldapi',
            'CasProxyNTLMVerify Directory']],
    ['Directory, in plain text',
        qr/${here}CasProxyNTLMVerify Directory: .*StartTLS/,
        ['CasProxy On', 'CasProxyDirectory ldap://dc1', $directory[1],
            'CasProxyDirectoryTLS Off', 'CasProxyNTLMVerify Directory']],
    ['delegation without keys',
        qr/${here}CasProxyBackendAuth Delegate needs CasProxyKeytab/,
        ['CasProxy On', @directory, 'CasProxyBackendAuth Delegate']],
    ['a login nobody knows', qr/CasProxyBackendAuth .*"Digest" is not known.*Kerberos/,
        ['CasProxy On', @directory, 'CasProxyBackendAuth Digest']],
    ['None beside Forms', qr/CasProxyAuth .*None trusts another module/,
        ['CasProxy On', @directory, 'CasProxyAuth None Forms']],
    ['a time without unit', qr/CasProxyFormsTimeout .*a number and its unit/,
        ['CasProxy On', @directory, 'CasProxyFormsTimeout public=15']],
    ['a private shorter than a public',
        qr/${here}CasProxyFormsTimeout: private=5m is shorter/,
        ['CasProxy On', @directory, 'CasProxyFormsTimeout private=5m']],
    ['a key ring that is no file', qr/CasProxyFormsKey .*write file:/,
        ['CasProxy On', @directory, 'CasProxyFormsKey geheim']],
    ['a key ring that is not there', qr/CasProxyFormsKey: \S+ cannot be found/,
        ['CasProxy On', @directory, 'CasProxyFormsKey file:/nowhere/ring']],
    ['a key ring that others may read',
        qr/CasProxyFormsKey: \S+ is open to others.*chmod 600/,
        ['CasProxy On', @directory, "CasProxyFormsKey file:$run/open"]],
    ['a key ring in a location', qr/CasProxyFormsKey/,
        ['CasProxy On', @directory, '<Location /owa>',
            "CasProxyFormsKey file:$run/secret", '</Location>']],
    ['a time that is too long', qr/CasProxyFormsTimeout .*from 2s to 30d/,
        ['CasProxy On', @directory, 'CasProxyFormsTimeout private=31d']],
    ['a backend map without URL', qr/CasProxyBackendMap/,
        ['CasProxy On', @directory, 'CasProxyBackendMap host']],
    ['a cache without provider', qr/CasProxySharedCache: no provider "nosuch"/,
        ['CasProxy On', @directory, 'CasProxySharedCache nosuch:x']],
    ['pages that are not there', qr/CasProxyPages: \S+ cannot be found/,
        ['CasProxy On', @directory, 'CasProxyPages /nowhere']],
    ['a directive nobody knows', qr/CasProxyNonsense/,
        ['CasProxy On', @directory, 'CasProxyNonsense On']],
    ['no argument', qr/CasProxyFrontEnd/,
        ['CasProxy On', @directory, 'CasProxyFrontEnd']],
    ['two arguments', qr/CasProxySite/,
        ['CasProxy On', @directory, 'CasProxySite Berlin Munich']],
    ['<Directory>', qr/CasProxy .*<Directory>.*<Location>/,
        [@directory, "<Directory $run>", 'CasProxy On', '</Directory>']],
    ['<Files>', qr/CasProxy .*<Files>.*<Location>/,
        [@directory, '<Files x>', 'CasProxy On', '</Files>']],
    ['<Proxy>', qr/CasProxy .*<Proxy>/,
        [@directory, '<Proxy *>', 'CasProxy On', '</Proxy>']],
    ['a server directive in <Location>', qr/CasProxyDirectory/,
        ['<Location /owa>', @directory, '</Location>']],
    ['a FrontEnd in <Location>', qr/CasProxyFrontEnd/,
        ['CasProxy On', @directory, '<Location /owa>', 'CasProxyFrontEnd 2013',
            '</Location>']],
    ['a FrontEnd in <If>', qr/CasProxyFrontEnd/,
        ['CasProxy On', @directory, '<If "true">', 'CasProxyFrontEnd 2013',
            '</If>']],
    ['the same failback twice', qr/CasProxyFailbackURL .*has a line already/,
        ['CasProxy On', @directory, 'CasProxyFailbackURL https://a.test/owa Berlin',
            'CasProxyFailbackURL https://b.test/owa Berlin']]) {
    my ($name, $pattern, $lines) = @$case;
    my $text = refused($name, $pattern, $lines);
    unlike $text, qr/geheim/, "$name: no secret in the message";
}

# -------------------------------------------------------------- the modules

my @on = ('CasProxy On', @directory);
refused('no mod_proxy', qr/${here}mod_proxy is not loaded: LoadModule proxy_module/,
    \@on, without => ['proxy', 'proxy_http', 'http2', 'proxy_http2']);
refused('no mod_proxy_http',
    qr/${here}mod_proxy_http is not loaded: LoadModule proxy_http_module/, \@on,
    without => ['proxy_http']);
refused('no mod_socache_shmcb', qr/socache_shmcb_module/, \@on,
    without => ['socache_shmcb', 'ssl']);
accepted('no mod_proxy, and off', ['CasProxy Off'],
    without => ['proxy', 'proxy_http', 'http2']);
{
    my $lines = lab()->module_lines;
    my ($own, @others) = split /^/m, $lines;
    accepted('casproxy loaded first', \@on, modules => join '', $own, @others);
    accepted('casproxy loaded last', \@on, modules => join '', @others, $own);
    my ($proxy) = grep {/ proxy_module /} @others;
    accepted('mod_proxy first', \@on, modules => join '', $proxy,
        grep({ $_ ne $proxy } @others), $own);
}
# .htaccess is read while requests run: the file is refused, not the server.
{
    my ($text, $httpd) = accepted('a folder with .htaccess', ['CasProxy Off',
        '<Location />', 'Require all granted', '</Location>'],
        global => '<Directory />' . "\nAllowOverride All\n</Directory>\n");
    File::Path::make_path("$httpd->{dir}/htdocs/x");
    CaspLab::spew("$httpd->{dir}/htdocs/x/.htaccess", "CasProxy On\n");
    CaspLab::spew("$httpd->{dir}/htdocs/x/index.html", "x\n");
    $httpd->start;
    is $httpd->ask('clear', '/x/')->status, 500, '.htaccess is refused';
    like $httpd->log, qr/CasProxy(?: not allowed here|.*stands in \.htaccess)/,
        'and why';
    is $httpd->ask('clear', '/owa/')->status, 404,
        'a server whose CasProxy is off is inert';
    is scalar($httpd->errors(qr/htaccess|AH00526|not allowed here/)), 0,
        'nothing else in its log' or diag $httpd->errors;
    $httpd->stop;
    ok !$httpd->pid || !CaspLab::is_ours($httpd->pid, $httpd->{dir}),
        'and it is gone';
}
# What docs/mail.md prints: no web is served there, so that nothing is cut off.
{
    my $httpd = CaspHttpd->new('mailonly', undef, plain => 1, global => join
        '', map {"$_\n"} @directory, '<Location /mail-auth>',
        'SetHandler casproxy-mail-auth', 'Require local', '</Location>');
    my ($code, $text) = $httpd->test;
    is $code, 0, 'a server for a mail proxy alone' or diag $text;
    unlike $text, qr/CP0820/, 'is not told what the web would need'
        or diag $text;
}
# The sample of the documents.
SKIP: {
    my $sample = "$CaspLab::TOP/docs/sample-vhost.conf";
    skip 'no sample yet', 1 if !-e $sample;
    my $httpd = CaspHttpd->new('sample', undef, plain => 1,
        global => "Include \"$sample\"\n");
    local $ENV{CASPROXY_BIND_PASSWORD} = 'x';
    my ($code, $text) = $httpd->test;
    is $code, 0, 'the sample virtual host is accepted' or diag $text;
    # As it stands, and with the numbers that it advises for many phones.
    my $text_of = CaspLab::slurp($sample);
    my ($threads) = $text_of
        =~ m{^( *\#<IfModule mpm_event.*?</IfModule>\n)}ms;
    my ($pool) = $text_of =~ /^ *#(CasProxyBackendPool hmax.*)$/m;
    my $many = CaspLab::spew("$run/sample.conf",
        $text_of =~ s/^ *CasProxyBackendPool .*$/$pool/mr);
    skip 'the numbers are of the MPM event', 4 if lab()->{mpm} ne 'event';
    for my $case (['of httpd', $ENOUGH, $sample],
        ['for phones', $threads =~ s/^ *#//mgr, $many]) {
        my ($name, $sizes, $file) = @$case;
        my $sized = CaspHttpd->new('sample' . ++$count, undef, plain => 1,
            global => with_modules('reqtimeout') . $sizes
                . "Include \"$file\"\n");
        ($code, $text) = $sized->test;
        is $code, 0, "the sample, with the threads $name" or diag $text;
        unlike $text, qr/CP0820|AH\d+: WARNING/, 'cuts nothing off'
            or diag $text;
    }
}
finish();
