# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CasProxyRequireTLS On, Off and Forwarded, by plain http.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);

# --- Off
{
    my $mark = mark();
    my $r = ask('clear', '/owa/', user => 'ada');
    is $r->status, 200, 'Off: served by plain http';
    my ($got) = requests($mark);
    is $got->header('X-Forwarded-Proto'), 'http', 'the backend is told so';
    is ask('clear', '/owa/?sim=location:fqdn', user => 'olga')
        ->header('Location'), 'http://clear.contoso.test/owa/?arrived=1',
        'a Location stays with http';
    $mark = mark();
    ask('clear', '/owa/', user => 'ada', headers => ['X-Forwarded-Proto: https']);
    ($got) = requests($mark);
    is $got->header('X-Forwarded-Proto'), 'http', "a client's word is nothing";
}
# --- On
for my $user (undef, 'ada') {
    my $mark = mark();
    my $name = 'On, ' . ($user // 'nobody');
    my @who = defined $user ? (user => $user) : ();
    my $r = ask('clear-on', '/owa/?a=%20b', @who);
    is $r->status, 302, "$name: a page moves to https";
    like $r->header('Location'),
        qr{^https://clear-on\.contoso\.test/owa/\?a=%20b$},
        "$name: path and query kept";
    is $r->header('WWW-Authenticate'), undef, "$name: no password is asked for";
    is $r->decision, 'silent-redirect; tls-required', "$name: its reason";
    for my $case (['POST', '/owa/ev.owa'], ['PROPFIND', '/exchange/ada/'],
        ['POST', '/Microsoft-Server-ActiveSync?Cmd=Sync'],
        ['POST', '/EWS/Exchange.asmx'], ['POST', '/autodiscover/autodiscover.xml'],
        ['GET', '/owa/?oeh=1&ns=x']) {
        my ($method, $path) = @$case;
        $r = ask('clear-on', $path, @who, method => $method,
            $method eq 'GET' ? () : (body => 'x'));
        is $r->status, 403, "$name: $method $path is refused";
        is $r->decision, 'deny; tls-required', "$name: by its name";
    }
    is ask('clear-on', '/autodiscover/autodiscover.xml', @who)->status, 302,
        "$name: Autodiscover's GET by http looks for such a 302";
    no_requests($mark, "$name: nothing went on");
}
unlike error_log(), qr/CP0131/, 'nobody was looked up on the way';
is ask('clear-on', '/owa/', user => 'ada', headers => [
    'X-Forwarded-Proto: https', 'X-Forwarded-For: 192.0.2.7'])->status, 302,
    'On: X-Forwarded-Proto is not believed';
# --- Forwarded: the word of a proxy that mod_remoteip trusts
is ask('clear-fwd', '/owa/', user => 'ada', headers => [
    'X-Forwarded-Proto: https', 'X-Forwarded-For: 192.0.2.7'])->status, 200,
    'Forwarded: https before the proxy';
{
    my $mark = mark();
    ask('clear-fwd', '/owa/', user => 'ada', headers => [
        'X-Forwarded-Proto: https', 'X-Forwarded-For: 192.0.2.7']);
    my ($got) = requests($mark);
    is $got->header('X-Forwarded-Proto'), 'https', 'goes on as https';
    is $got->header('X-Forwarded-For'), '192.0.2.7', 'with the person\'s address';
}
is ask('clear-fwd', '/owa/', user => 'ada', headers => [
    'X-Forwarded-Proto: http', 'X-Forwarded-For: 192.0.2.7'])->status, 302,
    'Forwarded: http before the proxy';
is ask('clear-fwd', '/owa/', user => 'ada', headers => [
    'X-Forwarded-For: 192.0.2.7'])->status, 302, 'Forwarded: not said';
is ask('clear-fwd', '/owa/', user => 'ada', headers => [
    'X-Forwarded-Proto: https'])->status, 302,
    'Forwarded: nobody was forwarded';
is ask('clear-fwd', '/owa/', user => 'ada')->status, 302, 'Forwarded: plain';
finish();
