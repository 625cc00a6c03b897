# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# The same over HTTP/2: nothing depends on the client's protocol version.  In
# prefork mod_http2 steps aside, and who asks for HTTP/2 is served by 1.1.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);
my $version = lab()->{mpm} eq 'prefork' ? '1.1' : '2';

sub h2 { return ask(@_, http2 => 1) }

for my $case (
    ['mail', ada => 200, 'direct'], ['mail', bert => 200, 'proxy'],
    ['mail', clara => 200, 'manual-redirect'],
    ['mail', gina => 302, 'silent-redirect'],
    ['mail', karl => 200, 'temporary-redirect'],
    ['mail', nils => 403, 'error'], ['mail', emil => 503, 'error'],
    ['mail', boris => 503, 'error']) {
    my ($front, $user, $status, $action) = @$case;
    my $r = h2($front, '/owa/', user => $user);
    is $r->{http}, $version, "$user: HTTP/$version";
    is $r->status, $status, "$user: $status" or diag $r->decision;
    is $r->action, $action, "$user: $action";
}
{
    my $r = h2('mail', '/owa/');
    is $r->status, 401, 'nobody: 401';
    ok $r->header('WWW-Authenticate'), 'and how to log on';
    is h2('mail', '/owa/?sim=440', user => 'ada')->status, 440,
        "a backend's 440, which HTTP does not know";
    $r = h2('mail', '/owa/%2e%2e%2fecp/', user => 'ada');
    is $r->status =~ /^40[034]$/ && 1, 1, 'an attack is refused';
}
for my $size (12_000, 3_000_000) {
    my $mark = mark();
    my $body = join '', map { chr 32 + $_ % 90 } 1 .. $size;
    my $r = h2('mail', '/owa/ev.owa', user => 'ada', body => $body);
    my ($got) = requests($mark);
    require Digest::SHA;
    is $got && "$got->{body} $got->{body_sha256}",
        "$size " . Digest::SHA::sha256_hex($body), "$size bytes arrive whole";
    is length h2('mail', "/owa/?sim=big:$size", user => 'ada')->body, $size,
        "$size bytes come back";
}
{
    my $mark = mark();
    my $r = h2('f2007', '/exchange/fritz/', user => 'fritz',
        method => 'PROPFIND', body => '<x/>');
    is $r->status, 207, 'WebDAV over HTTP/2';
    my ($got) = requests($mark);
    is $got && $got->header('Host'), 'f2007.contoso.test',
        'the Host out of :authority';
    has_text $r, 'https://f2007.contoso.test/exchange/fritz/';
}
# Many streams of one connection, mixed.
{
    my @users = (('ada', 'bert', 'ida', 'olga', 'clara', 'nils') x 5);
    my @answers = ask_each(map { ['mail', '/owa/', user => $_, http2 => 1] }
        @users);
    my %want = (ada => qr/CONTOSO\\ada on BER/, bert => qr/CONTOSO\\bert on HAM/,
        ida => qr/CONTOSO\\ida on HAM/, olga => qr/CONTOSO\\olga on STO/,
        clara => qr/munich/, nils => qr/no mailbox/);
    my $wrong = grep { $answers[$_]->body !~ $want{$users[$_]} } 0 .. $#users;
    is $wrong, 0, 'everybody gets their own answer';
    is scalar(grep { $_->{http} eq $version } @answers), scalar @users,
        "all by HTTP/$version";
}
# Kerberos needs one request; NTLM needs a connection, so the stream is sent
# back to HTTP/1.1, where curl goes by itself.
at_the_door();
{
    my $r = h2('in', '/owa/', ticket => 'ada');
    is "$r->{http} $r->{steps}", "$version 200", 'a ticket, in one leg';
    is $r->header('X-User'), 'CONTOSO\\ada', 'is ada';
    is h2('in', '/owa/', authorization => 'Negotiate YII=')->status, 401,
        'a broken one';
    my @answers = ask_each(map { ['in', "/owa/?n=$_", ticket => 'bert',
        http2 => 1] } 1 .. 10);
    is scalar(grep { ($_->header('X-User') // '') eq 'CONTOSO\\bert'
        && $_->{http} eq $version } @answers), 10, 'ten streams of bert';
    $r = h2('in', '/owa/');
    is $r->status, 401, 'a stream without a ticket: 401';
    is join(', ', map { s/ .*//r } $r->all('WWW-Authenticate')),
        'Negotiate, NTLM, Basic', 'with all that is offered';
    is h2('in', '/owa/', user => 'ada')->status, 200, 'Basic beside it';
    for my $front ('in', 'in-dir') {
      SKIP: {
            need_winbind(1) if $front eq 'in';
            $r = h2($front, '/owa/', ntlm => 'CONTOSO\\ada');
            is $r->status, 200, "$front: NTLM" or diag $r->{error};
            is $r->{http}, '1.1', "$front: over HTTP/1.1";
            is $r->header('X-User'), 'CONTOSO\\ada', "$front: is ada";
            my $mark = mark();
            my $body = 'x' x 100_000;
            $r = h2($front, '/owa/ev.owa', ntlm => 'CONTOSO\\bert',
                body => $body);
            is $r->header('X-User'), 'CONTOSO\\bert', "$front: POST";
            is join(' ', map { $_->{body} } requests($mark)), length $body,
                "$front: once, and whole";
        }
    }
}
# boris' backend is self-signed
expect_errors(qr/CP0163/, qr/AH02039|AH00898|AH01084|AH01097/);
finish();
