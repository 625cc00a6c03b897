# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Logging on by form: who gets the page, what it is, what it takes, and what
# a session is good for.
use strict;
use warnings;
use utf8;
use Encode 'encode';
use Apache::Test qw(-withtestmore);
use CaspForms;
use CaspTest;

begin(ad => 1);

my $password = lab()->{password};
my $here = 'https://forms.contoso.test';
my $xhr = 'X-Requested-With: XMLHttpRequest';

# ------------------------------------------------------- without a session

for my $path ('/owa/', '/owa', '/owa/?ae=Item&a=b%20c', '/ecp/', '/exchange/',
    '/public/', '/owa/info@contoso.test/') {
    my $mark = mark();
    my $r = ask('forms', $path);
    is $r->status, 302, "a page load of $path";
    is lc $r->header('Location'), lc logon_location('forms', "$here$path"),
        "$path: led to the logon page, and back";
    is $r->decision, 'logon; credentials-needed', "$path: its decision";
    is scalar($r->all('Set-Cookie')), 0, "$path: no cookie before a logon";
    is $r->header('WWW-Authenticate'), undef, "$path: no prompt";
    no_requests($mark, "$path: no backend");
}
# what is no page load: 440, and never a redirection
for my $case (
    [[], '/owa/ev.owa?oeh=1&ns=x', 'GET of OWA\'s own script'],
    [[$xhr], '/owa/', 'XMLHttpRequest'],
    [['Sec-Fetch-Mode: cors'], '/owa/', 'fetch()'],
    [['Accept: application/json'], '/owa/', 'JSON'],
    [[], '/owa/ev.owa', 'POST', body => 'x'],
    [[], '/owa/auth/logon.aspx', 'POST to the page itself', body => 'x'],
    [[], '/exchange/', 'PROPFIND', method => 'PROPFIND'],
    [[], '/public/', 'SEARCH', method => 'SEARCH'],
    [[], '/exchange/ada/x.EML', 'DELETE', method => 'DELETE'],
    [['Translate: f'], '/exchange/', 'GET with Translate']) {
    my ($headers, $path, $name, %o) = @$case;
    my $mark = mark();
    my $r = ask('forms', $path, headers => $headers, %o);
    is $r->{line}, 'HTTP/1.1 440 Login Timeout', "$name: 440";
    is $r->header('Location'), undef, "$name: no redirection";
    like $r->header('Content-Type'), qr{^text/html}, "$name: as OWA has it";
    is lc($r->header('Connection') // ''), 'close', "$name: closes";
    no_requests($mark, "$name: no backend");
}
{
    my $r = ask('forms', '/owa/', method => 'POST', body => 'x', headers => [
        'Accept: text/html,*/*;q=0.8', 'Sec-Fetch-Mode: navigate']);
    is $r->status, 440, 'a form of the light version';
    is $r->link, "$here/owa/", 'a person gets a link, and no white page';
}
# programs: 401, never HTML, never a redirection
for my $path ('/Microsoft-Server-ActiveSync', '/EWS/Exchange.asmx',
    '/rpc/rpcproxy.dll', '/oab/x/oab.xml', '/autodiscover/autodiscover.xml',
    '/Autodiscover/Autodiscover.svc', '/UnifiedMessaging/Service.asmx',
    '/mapi/emsmdb/') {
    for my $front ('forms', 'forms13') {
        my $r = ask($front, $path);
        is $r->status, 401, "$front $path: 401";
        like $r->header('WWW-Authenticate') // '', qr/^Basic /,
            "$front $path: Basic";
        unlike $r->header('Content-Type') // '', qr/html/,
            "$front $path: no HTML";
    }
    is ask('forms', $path, method => 'OPTIONS')->status, 401,
        "$path: OPTIONS likewise";
}
is ask('forms', '/owa/', user => 'ada')->status, 302,
    'Basic is nothing where only forms are taken';
is ask('forms', '/EWS/Exchange.asmx', user => 'ada')->status, 200,
    'and everything where there is no form';
is ask('forms-basic', '/owa/', user => 'ada')->status, 200,
    'Forms Basic: a header that is sent is taken';
is ask('forms-basic', '/owa/', user => 'ada', password => 'wrong')->status,
    401, 'Forms Basic: and judged';
is ask('forms-basic', '/owa/')->status, 302, 'Forms Basic: else the form';
is ask('forms', '/exadmin/')->status, 404, 'what is never published is not';
is ask('forms', '/owa/%252e%252e/ecp/')->status, 403,
    'nor does a form soften the grammar';

# --------------------------------------------------------------- the page

for my $path ('/owa/auth/logon.aspx', '/OWA/Auth/Logon.aspx',
    '/exchweb/bin/auth/owalogon.asp', '/ecp/auth/logon.aspx') {
    my $r = ask('forms', "$path?url=https%3a%2f%2fforms.contoso.test%2fowa"
        . '%2f%3fa%3d1%26b%3d2&reason=0');
    is $r->status, 200, "the page at $path";
    has_text($r, 'name="logonForm"');
    has_text($r, 'action="/owa/auth.owa"');
    has_text($r, '57A118C6-2DA9-419d-BE9A-F92B0F9A418B',
        'what monitors look for');
    like $r->body, qr{name="destination" value="$here/owa/\?a=1&(?:amp;)?b=2"},
        "$path: the destination";
    for my $field (qw(destination flags forcedownlevel username password
        trusted isUtf8 passwordText)) {
        like $r->body, qr/name="$field"/, "$path: field $field";
    }
    is scalar($r->all('Set-Cookie')), 0, "$path: sets no cookie";
    like $r->header('Cache-Control'), qr/no-store/, "$path: is not kept";
    like $r->header('Content-Security-Policy'), qr/script-src 'nonce-[^']{20}/,
        "$path: scripts by nonce alone";
    is $r->decision, 'logon; logon-page', "$path: its decision";
}
is scalar(() = ask('forms', '/owa/auth/logon.aspx')->body =~ /<form\b/g), 1,
    'one form';
{
    my ($one) = ask('forms', '/owa/auth/logon.aspx')->body =~ /nonce="(.*?)"/;
    my ($two) = ask('forms', '/owa/auth/logon.aspx')->body =~ /nonce="(.*?)"/;
    isnt $one, $two, 'a nonce is used once';
    my $r = ask('forms', '/owa/auth/flogon.js');
    is $r->status, 200, 'its script';
    like $r->header('Content-Type'), qr{^text/javascript}, 'is one';
}
# reasons, and languages
sub said_in { # what a screen reader is told at once, but for hidden notes
    my ($r) = @_;
    my ($note) = grep { !/hidden/ }
        $r->body =~ /<p [^>]*role="(?:alert|status)"[^>]*>.*?</gs;
    return $note && $note =~ s/^[^>]*>\s*|\s*<$//gr;
}
my %said;
for my $reason (0 .. 4) {
    my $r = ask('forms', "/owa/auth/logon.aspx?reason=$reason");
    my ($alert) = said_in($r);
    $said{ $alert // '' }++;
    is !!$alert, !!$reason, "reason=$reason has its text";
}
is scalar(keys %said), 5, 'and each its own';
is said_in(ask('forms', '/owa/auth/logon.aspx?reason=9')), undef,
    'an unknown reason says nothing';
for my $case (['de-AT,en;q=0.5', 'de', 'Kennwort'], ['ru', 'ru', 'Пароль'],
    ['fr, en;q=0.3, de;q=0.6', 'de', 'Kennwort'], ['fr', 'en', 'Password'],
    ['*', 'en', 'Password'], [';q=,,=;', 'en', 'Password']) {
    my ($accept, $lang, $word) = @$case;
    my $r = ask('forms', '/owa/auth/logon.aspx',
        headers => ["Accept-Language: $accept"]);
    like $r->body, qr/<html lang="$lang"/, "Accept-Language $accept: $lang";
    has_text($r, encode('UTF-8', $word));
    like $r->header('Vary'), qr/Accept-Language/, "$accept: caches know";
}
like ask('forms', '/owa/', headers => ['Accept-Language: de'], host =>
    'forms.contoso.test', user => 'x')->header('Location'), qr/logon\.aspx/,
    'no header changes where it leads';
# nothing of a URL gets into the page unescaped
for my $url ('https://evil.test/', '//evil.test/', 'javascript:alert(1)',
    'https://forms.contoso.test@evil.test/', '/\\evil.test', 'data:text/html,x',
    'https://forms.contoso.test.evil.test/', "/owa/\r\nX: 1") {
    my $r = ask('forms', '/owa/auth/logon.aspx?' . urlencoded(url => $url));
    is $r->status, 200, "url=$url: the page comes";
    unlike $r->body, qr/evil|alert\(1\)|X: 1/, "url=$url: without it";
}
{
    my $nasty = '/owa/"><script>x</script>\'&<';
    my $r = ask('forms', '/owa/auth/logon.aspx?' . urlencoded(
        url => "$here$nasty"));
    unlike $r->body, qr{"><script>x}, 'no markup out of a URL';
}
# a name as the format asks for it
like ask('forms', '/owa/auth/logon.aspx')->body, qr/Domain\\/i, 'FullDomain';
unlike ask('forms-user', '/owa/auth/logon.aspx')->body, qr/Domain\\/i,
    'UserName';

# --------------------------------------------------------------- the POST

for my $path ('/owa/auth.owa', '/owa/auth/owaauth.dll',
    '/exchweb/bin/auth/owaauth.dll', '/OWA/AUTH.OWA', '/owa/auth/auth.owa') {
    my $mark = mark();
    my $r = log_on('forms', 'ada', path => $path,
        destination => "$here/owa/?a=1&b=2");
    is $r->status, 302, "$path takes a logon";
    is $r->header('Location'), "$here/owa/?a=1&b=2", "$path: and leads back";
    my $cadata = cookie_of($r, 'cadata') // '';
    cmp_ok length $cadata, '>', 70, "$path: cadata is long enough";
    like cookie_of($r, 'sessionid') // '', qr/^[0-9a-f-]{36}$/,
        "$path: sessionid";
    for my $line ($r->all('Set-Cookie')) {
        like $line, qr{Path=/; HttpOnly; Secure; SameSite=Lax$},
            "$path: out of reach of scripts, plain http and other sites";
        unlike $line, qr/Domain|Expires|Max-Age/i,
            "$path: this host's, this browser session's";
    }
    no_requests($mark, "$path: no backend yet");
    $r = ask('forms', '/owa/?a=1', with(jar($r)));
    is $r->status, 200, "$path: logged on";
    served_by($r, 'BER-CAS[12]');
    has_text($r, 'mailbox of CONTOSO\\ada on BER-CAS');
}
for my $user ('CONTOSO\\ada', 'ada', 'ADA@contoso.test', ' ada ',
    encode('UTF-8', 'jürgen'), encode('UTF-8', 'smile😀'), 'star',
    "o'neil\@contoso.test", 'par(en)') {
    my $r = log_on('forms', $user);
    is $r->status, 302, 'logs on: ' . $user;
    is ask('forms', '/owa/', with(jar($r)))->status, 200,
        "$user: and gets the mailbox";
}
{
    my $r = log_on('forms-user', 'ada');
    is ask('forms-user', '/owa/', with(jar($r)))->status, 200,
        'UserName with the default domain';
    is log_on('forms', encode('ISO-8859-1', 'jürgen'))->status, 302,
        'bytes that are no UTF-8 are Latin-1';
}
# refused: nobody learns why
my %same;
for my $case (['ada', 'wrong', 'a wrong password'], ['ada', '', 'an empty one'],
    ['nobody', $password, 'an unknown user'], ['quirin', $password, 'disabled'],
    ['lukas', $password, 'locked'], ['ella', $password, 'expired'],
    ['mona', $password, 'to be changed'], ['*', $password, 'a star'],
    ['ada)(cn=*', $password, 'a filter'], ['', $password, 'no name'],
    ['info', $password, 'a shared mailbox'], ["ada", "$password ", 'a blank'],
    ['OTHER\\ada', $password, 'another domain']) {
    my ($user, $word, $name) = @$case;
    my $r = log_on('forms', $user, password => $word,
        destination => "$here/owa/?x=1");
    is $r->status, 302, "refused: $name";
    is lc $r->header('Location'),
        lc logon_location('forms', "$here/owa/?x=1", 2), "$name: reason=2";
    is scalar($r->all('Set-Cookie')), 0, "$name: no cookie";
    is $r->decision, 'logon; credentials-needed', "$name: no word more";
    $same{ join '|', map {"@$_"} grep { $_->[0] !~ /^(?:date|x-.*rule)$/i }
        @{ $r->{headers} } }++;
}
is scalar(keys %same), 1, 'all of them in the same words';
logged(qr/CP0131: logon refused: wrong-password .*data 52e/, 'the log knows');
logged(qr/CP0131: logon refused: disabled .*data 533/, 'a disabled account');
logged(qr/CP0131: logon refused: locked .*data 775/, 'a locked one');
logged(qr/CP0131: logon refused: must-change-password .*data 773/,
    'one that must change its password');
logged(qr/CP0131: logon refused: account-expired .*data 701/, 'an expired one');

# where it may lead
for my $to ("$here/owa/", '/owa/', '/', '/owa/?a=b&c=d', "$here:443/owa/",
    "HTTPS://FORMS.contoso.test/owa/", '/ecp/?p=1', '/exchange/ada/') {
    is log_on('forms', 'ada', destination => $to)->status, 302,
        "destination $to";
}
for my $to ('https://evil.test/', 'https://forms.contoso.test.evil.test/owa/',
    'https://forms.contoso.test@evil.test/', 'https://evil.test#forms.contoso.test',
    '//evil.test/', '///evil.test', '/\\evil.test/', '\\\\evil.test',
    'http:evil.test', 'javascript:alert(1)', 'owa/', '', ' /owa/',
    "/owa/\r\nSet-Cookie: a=b", "/owa/\0", '/owa/%0d%0aX:%201', '/%09/evil.test',
    "$here:8443/owa/", 'https://forms.contoso.test\\@evil.test/',
    'https://forms.contoso.test./owa/', '/%5cevil.test', '/%2fevil.test',
    'data:text/html,x', '/' . 'a' x 9000) {
    my $mark = mark();
    my $r = log_on('forms', 'ada', destination => $to);
    is $r->status, 400, 'destination refused: ' . substr($to, 0, 60)
        =~ s/[^ -~]/?/gr;
    is $r->header('Location'), undef, 'and leads nowhere';
    is cookie_of($r, 'cadata'), undef, 'and logs nobody on';
    like $r->header('Content-Type'), qr/html/, 'a person reads why';
}
is log_on('forms', 'ada', destination => '/owa/%252e%252e/ecp/')->status, 403,
    'a destination is held to the grammar of URLs';
is log_on('forms', 'ada', destination => '/exadmin/')->status, 404,
    'and to what is published';
{
    my $r = log_on('forms', 'ada', destination => "$here/owa/?a=1&amp;b=2");
    is $r->header('Location'), "$here/owa/?a=1&b=2",
        'an escaped ampersand is one (V53)';
    for my $to ('/owa/auth.owa', '/owa/auth/logon.aspx?url=x', '/owa/logoff.owa',
        '/exchweb/bin/auth/owaauth.dll') {
        is log_on('forms', 'ada', destination => $to)->header('Location'),
            "$here/owa/", "no circle: $to is /owa/";
    }
}
# what is no logon
my @good = (destination => '/owa/', flags => 0, username => 'ada',
    password => $password);
for my $case (
    [[@good[2 .. 7]], 'no destination'], [[@good[0, 1, 4 .. 7]], 'no flags'],
    [[@good[0 .. 3, 6, 7]], 'no username'], [[@good[0 .. 5]], 'no password'],
    [[@good, username => 'clara'], 'two names'], ['', 'nothing'],
    ['%', 'a percent sign'], ['destination=%zz&flags=0&username=a&password=b',
        'a broken escape'], [[@good, x => 'y' x 20000], 'a long body'],
    [[@good[0 .. 5], password => 'x' x 2000], 'a long password'],
    [[@good[0 .. 3], username => "ad\0a", password => 'x'], 'a NUL'],
    ['a=b&' x 3000, 'many fields'], [[@good], 'another type',
        type => 'multipart/form-data; boundary=x'], [[@good], 'JSON',
        type => 'application/json']) {
    my ($body, $name, %o) = @$case;
    my $mark = mark();
    my $r = post_form('forms', '/owa/auth.owa', $body, %o);
    is $r->status, 400, "no logon: $name";
    is cookie_of($r, 'cadata'), undef, "$name: no session";
    unlike $r->body, qr/\Q$password\E/, "$name: no password in the page";
    no_requests($mark, "$name: no backend");
}
is post_form('forms', '/owa/auth.owa', [@good[0, 1], flags => 'abc',
    @good[4 .. 7]])->status, 302, 'flags that are no number count as 0';
is post_form('forms', '/owa/auth.owa', [@good], headers => [
    'Origin: https://berlin.other.test', 'Sec-Fetch-Site: cross-site',
    'Referer: https://berlin.other.test/'])->status, 302,
    'the form of another front is as good as our own';
is ask('forms', '/owa/auth.owa')->header('Location'),
    logon_location('forms', "$here/owa/") =~ s/%3A/%3a/gr =~ s/%2F/%2f/gr,
    'GET of the POST\'s address: the page';
{
    my $r = ask('forms', '/owa/auth.owa', method => 'POST', body =>
        urlencoded(@good), headers => ['Transfer-Encoding: chunked',
        'Content-Type: application/x-www-form-urlencoded']);
    is $r->status, 302, 'a chunked body';
    $r = ask('forms', '/owa/auth.owa', http2 => 1, method => 'POST',
        body => urlencoded(@good),
        headers => ['Content-Type: application/x-www-form-urlencoded']);
    is $r->status, 302, 'over HTTP/2';
    ok cookie_of($r, 'cadata'), 'with a session';
    is ask('forms', '/owa/ev.owa', http2 => 1, body => 'x')->status, 440,
        '440 over HTTP/2';
}

# ------------------------------------------------------- towards the backend

{
    my $jar = jar(log_on('forms', 'ada'));
    my $mark = mark();
    ask('forms', '/owa/', with("a=1; $jar; cadataTTL=x; UserContext=u; "
        . 'casproxy_rdr=x; z=2', headers => ['X-LogonType: Private']));
    my ($got) = requests($mark);
    is $got->header('Cookie'), 'a=1; UserContext=u; z=2',
        'no cookie of ours reaches a backend';
    is $got->{user}, 'CONTOSO\\ada', 'the credentials do';
    is $got->header('X-LogonType'), 'Public', 'a public computer is told';
    $jar = jar(log_on('forms', 'ada', private => 1));
    $mark = mark();
    ask('forms', '/owa/', with($jar));
    is((requests($mark))[0]->header('X-LogonType'), undef, 'a private is not');
    $jar = jar(log_on('forms', 'ada', light => 1));
    $mark = mark();
    ask('forms', '/owa/', with($jar));
    like((requests($mark))[0]->header('User-Agent'), qr/owaauth/,
        'the light version');
    my $r = ask('forms', '/EWS/Exchange.asmx', with($jar));
    is $r->status, 200, 'EWS takes the cookie';
    is ask('forms', '/Microsoft-Server-ActiveSync', with($jar,
        method => 'OPTIONS'))->status, 401, 'ActiveSync does not';
    is ask('forms', '/owa/', with($jar, headers => ['Authorization: '
        . basic('clara')]))->header('X-Backend') =~ /BER/, 1,
        'a header does not change who one is';
    is ask('forms', '/ecp/', with($jar))->status, 200, 'ECP';
    for my $method ('PROPFIND', 'POST', 'SEARCH') {
        isnt ask('forms', '/owa/', with($jar, method => $method,
            body => 'x'))->status, 440, "$method with a session";
    }
}
for my $case (['bert', 200, 'proxy', 'HAM-CAS[12]'],
    ['info@contoso.test', 302, 'logon', undef]) {
    my ($user, $status, $action, $server) = @$case;
    my $r = log_on('forms', $user);
    $r = ask('forms', '/owa/', with(jar($r) || 'x=y'));
    is $r->status, $status, "$user by form";
    is $r->action, $action, "$user: $action";
    served_by($r, $server) if $server;
}
# decided at the logon: who is not served here gets no session
for my $case (['clara', 200, 'manual-redirect; mailbox-in-other-site'],
    ['dora', 200, 'temporary-redirect; target-is-this-host'],
    ['karl', 200, 'temporary-redirect; mounted-elsewhere'],
    ['emil', 503, 'error; target-is-this-host'],
    ['nils', 403, 'error; no-mailbox'], ['otto', 403, 'error; owa-disabled'],
    ['sven', 503, 'error; mailbox-newer-than-front']) {
    my ($user, $status, $decision) = @$case;
    my $r = log_on('forms', $user, headers => ['Cookie: cadata=old']);
    is $r->status, $status, "$user at the logon: $status";
    like $r->decision, qr/^\Q@{[$decision =~ s{;.*}{}r]}\E;/,
        "$user: $decision" or diag $r->decision;
    is cookie_of($r, 'cadata'), undef, "$user: no session";
    ok expired($r, 'cadata'), "$user: and what was there goes";
    like $r->header('Content-Type'), qr/html/, "$user: a page";
}
# a path of 2003 that is led to /owa here: logged on, and led
{
    my $r = log_on('forms', 'ada', destination => '/exchange/');
    is $r->header('Location'), "$here/owa/", 'a legacy path leads to /owa';
    ok cookie_of($r, 'cadata'), 'with a session';
    is ask('forms', '/owa/', with(jar($r)))->status, 200, 'that is good';
}
# the backend's own no
{
    my $jar = jar(log_on('forms', 'ada'));
    my $r = ask('forms', '/owa/?sim=401', with($jar));
    is $r->status, 401, 'a 401 without an offer passes' if $r->status == 401;
    $jar = jar(log_on('forms', 'ada'));
    $r = ask('forms', '/owa/?sim=440', with($jar));
    is $r->status, 440, "a backend's 440 passes";
}

# --------------------------------------------------------- authorization

{
    my $r = ask('forms-denied', '/owa/auth/logon.aspx');
    is $r->status, 200, 'Require: the logon page is for everybody';
    $r = ask('forms-denied', '/owa/', with(jar(log_on('forms-denied', 'ada'))));
    is $r->status, 200, 'Require: who is meant gets in';
    $r = ask('forms-denied', '/owa/', with(jar(log_on('forms-denied', 'berta'))));
    is $r->status, 403, 'Require: who is not is told so, and not asked again';
    is $r->header('WWW-Authenticate'), undef, 'and gets no prompt';
    is ask('forms-legacy', '/owa/auth/logon.aspx')->status, 200,
        'the page is there where OWA is not published';
    is ask('forms-legacy', '/owa/')->status, 404, 'but OWA is not';
    $r = log_on('forms-legacy', 'ada', destination => '/owa/');
    is $r->status, 404, 'nor by a logon';
    $r = log_on('clear-forms', 'ada', destination => '/owa/');
    is $r->status, 302, 'in the clear, where that is allowed';
    is scalar(grep {/Secure/} $r->all('Set-Cookie')), 0,
        'a cookie that the browser will send';
    is ask('clear-forms', '/owa/', with(jar($r)))->status, 200, 'and it does';
}
is ask('forms', '/owa/auth/logon.aspx', host => 'off.contoso.test')->status,
    404, 'no page where CasProxy is off';

expect_errors(qr/AH01630/); # "client denied by server configuration"
finish();
