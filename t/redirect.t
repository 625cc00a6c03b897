# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CasProxy Redirect: identify, look up and always redirect, never proxy.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);

my $start = mark();
# front, user, path, status, "action; reason", URL
for my $case (
    [redirect => ada => '/owa/', 503, 'error; target-is-this-host'],
    [redirect => bert => '/owa/', 503, 'error; no-external-url'],
    [redirect => clara => '/owa/forms/x?y=1', 302, 'silent-redirect; redirect-mode',
        'https://munich.contoso.test/owa/'],
    [redirect => mia => '/owa/', 302, 'silent-redirect; redirect-mode',
        'https://geneva.contoso.test/owa/'],
    [redirect => gina => '/owa/', 302, 'silent-redirect; redirect-mode',
        'https://legacy.contoso.test/owa/'],
    [redirect => hugo => '/owa/', 302, 'silent-redirect; redirect-mode',
        'https://legacy-munich.contoso.test/owa/'],
    [redirect => ida => '/owa/', 503, 'error; no-external-url'],
    [redirect => karl => '/owa/', 302, 'silent-redirect; redirect-mode',
        'https://zurich.contoso.test/owa/'],
    [redirect => dora => '/owa/', 200,
        'temporary-redirect; target-is-this-host',
        'https://failback-paris.contoso.test/owa/'],
    [redirect => emil => '/owa/', 503, 'error; target-is-this-host'],
    [redirect => fritz => '/owa/', 302, 'silent-redirect; redirect-mode',
        'https://legacy2003.contoso.test/exchange/'],
    [redirect => fritz => '/exchange/fritz/?Cmd=new', 302,
        'silent-redirect; redirect-mode',
        'https://legacy2003.contoso.test/exchange/fritz/?Cmd=new'],
    [redirect => clara => '/exchange/', 302, 'silent-redirect; redirect-mode',
        'https://munich.contoso.test/owa/'],
    [redirect => sven => '/owa/', 503, 'error; no-external-url'],
    [redirect => ulf => '/owa/', 503, 'error; no-external-url'],
    [redirect => nils => '/owa/', 403, 'error; no-mailbox'],
    [redirect => otto => '/owa/', 403, 'error; owa-disabled'],
    [redirect => clara => '/Microsoft-Server-ActiveSync?Cmd=Sync', 405,
        'deny; eas-method'], # a browser; a phone's POST is below
    [redirect => clara => '/EWS/Exchange.asmx', 403,
        'error; redirect-not-possible'],
    [redirect => clara => '/owa/info@contoso.test/', 503,
        'error; target-is-this-host'],
    [redirect => ada => '/owa/clara@contoso.test/', 302,
        'silent-redirect; redirect-mode',
        'https://munich.contoso.test/owa/clara@contoso.test/'],
    [redirect13 => clara => '/owa/forms/x?y=1', 302,
        'silent-redirect; redirect-mode',
        'https://munich.contoso.test/owa/forms/x?y=1'],
    [redirect13 => nora => '/owa/', 302, 'silent-redirect; redirect-mode',
        'https://legacy-stockholm.contoso.test/owa/'],
    [redirect13 => sven => '/owa/', 503, 'error; no-external-url']) {
    my ($front, $user, $path, $status, $decision, $url) = @$case;
    my $r = ask($front, $path, user => $user);
    my $name = "$front, $user, $path";
    is $r->status, $status, $name;
    is $r->decision, $decision, "$name: $decision";
    next if !$url;
    is $status == 302 ? $r->header('Location') : $r->link, $url,
        "$name: where to";
}
is ask('redirect', '/owa/')->status, 401, 'nobody is redirected unknown';
{
    my $r = ask('redirect', '/Microsoft-Server-ActiveSync?Cmd=Sync',
        user => 'clara', body => 'x');
    is $r->decision, 'eas-redirect; redirect-mode', 'a phone: its decision';
    is $r->{line} =~ s{^HTTP/\S+ }{}r, '451 Device Misconfigured',
        'a phone reads the status line';
    like $r->header('X-MS-Location'), qr{^https://munich\.contoso\.test/},
        'and X-MS-Location';
}
no_requests($start, 'no backend was ever asked');

# ------------------------------------- round in circles: the loop marker

{
    my $r = ask('silent', '/owa/', user => 'clara');
    is $r->status, 302, 'a silent redirection';
    my ($cookie) = grep {/^casproxy_rdr=/} $r->all('Set-Cookie');
    like $cookie, qr/^casproxy_rdr=[0-9a-f]{32}; .*Secure/, 'marks the browser';
    like $cookie, qr/HttpOnly/, 'out of reach of scripts';
    $cookie =~ s/;.*//;
    $r = ask('silent', '/owa/', user => 'clara',
        headers => ["Cookie: a=b; $cookie"]);
    isnt $r->status, 302, 'the same browser back at once: no second round';
    is $r->decision, 'error; target-is-this-host', 'but the loop by its name';
    is ask('silent', '/owa/', user => 'leon', headers => ["Cookie: $cookie"])
        ->status, 302, 'the mark is for one target';
    is ask('silent', '/owa/', user => 'clara',
        headers => ['Cookie: casproxy_rdr=' . '0' x 32])->status, 302,
        'a made-up mark is none';
    is ask('silent', '/owa/', user => 'ada', headers => ["Cookie: $cookie"])
        ->status, 200, 'it disturbs nobody who is served here';
}
finish();
