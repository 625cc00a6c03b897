# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Connections to backends: kept and used again, not shared between virtual
# hosts, given up for the next server where one is dead, and refused where
# its certificate is not trusted.
use strict;
use warnings;
use Digest::SHA 'sha256_hex';
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);

# ------------------------------------------------------- kept and used again

{
    my @answers = ask_each(map { ['mail', '/owa/', user => 'ada'] } 1 .. 30);
    is scalar(grep { $_->status == 200 } @answers), 30, '30 requests';
    my %used = map { $_->header('X-Backend-Connection') => 1 } @answers;
    is scalar keys %used, 1, 'over one connection to the backend'
        or diag join ' ', sort keys %used;
}
{   # Basic only: users may share a connection, for nothing sticks to it
    my @users = ('ada', 'berta') x 10;
    my @answers = ask_each(map { ['mail', '/owa/', user => $_] } @users);
    my $wrong = grep {
        $answers[$_]->body !~ /mailbox of CONTOSO\\$users[$_] on/
    } 0 .. $#users;
    is $wrong, 0, 'everybody sees their own mailbox';
}
{   # a backend that closes in between is no error for the client
    my @answers = ask_each(map { ['mail', $_ % 2 ? '/owa/' : '/owa/?sim=close',
        user => 'olga'] } 1 .. 6);
    is scalar(grep { $_->status == 200 } @answers[0, 2, 4]), 3,
        'after a connection that broke: a new one';
}

# --------------------------------- per virtual host: TLS is verified for each

{
    my @loose = ask_each(map { ['loose', '/owa/', user => 'ada'] } 1 .. 3);
    is $loose[-1]->status, 200, 'SSLProxyVerify none: served';
    my ($server) = $loose[-1]->header('X-Backend');
    my @mail = ask_each(map { ['mail', '/owa/', user => 'ada'] } 1 .. 3);
    is $mail[-1]->header('X-Backend'), $server, 'the same server of the same user';
    my %used;
    $used{$_->header('X-Backend-Connection')}{loose}++ for @loose;
    $used{$_->header('X-Backend-Connection')}{mail}++ for @mail;
    is scalar(grep { keys %$_ > 1 } values %used), 0,
        'two virtual hosts share no connection';

    # The one that verifies against another CA has been shown none that works.
    for my $front ('wrongca', 'noengine') {
        my $mark = mark();
        my $r = ask($front, '/owa/', user => 'ada');
        is $r->status, 503, "$front: refused, not a 500, not another's";
        is $r->decision, 'error; backend-certificate', "$front: by its name";
        like $r->body, qr/certificate that is not trusted/, "$front: in words";
        no_requests($mark, "$front: no request went out");
    }
    logged(qr/CP0163: no TLS connection to ber-cas\d.*SSLProxyEngine/,
        'the log tells what to do');
}
{   # Bonn's certificate is its own making
    my $mark = mark();
    my $r = ask('mail', '/owa/', user => 'boris');
    is $r->status, 503, 'a self-signed backend';
    is $r->decision, 'error; backend-certificate', 'has its own reason';
    no_requests($mark, 'and gets no credentials');
    is ask('loose', '/owa/', user => 'boris')->status, 200,
        'SSLProxyVerify none takes it';
    is ask('mail', '/owa/', user => 'boris')->status, 503,
        'and the strict one still does not';
    is ask('mail', '/EWS/Exchange.asmx', user => 'boris', body => 'x')->status,
        503, 'a program gets the bare status';
}

# -------------------------------------------------- the next one, where dead

# Kiel: one of two servers is down. kim and kira are hashed over both.
for my $user ('kim', 'kira') {
    my $mark = mark();
    my $r = ask('mail', '/owa/', user => $user);
    is $r->status, 200, "$user is served" or diag $r->decision;
    served_by($r, 'KIE-EX2');
    is scalar(() = requests($mark)), 1, "$user: one request arrived";
}
for my $front ('mail', 'silent', 'f2010', 'f2010sp1', 'f2010sp3', 'loose') {
    # each virtual host has to find the dead one out for itself
    my $size = $front =~ /sp/ ? 3_000_000 : 12_000;
    for my $user ('kim', 'kira') {
        my $body = join '', map { chr 33 + ($_ * 7) % 90 } 1 .. $size;
        my $mark = mark();
        my $r = ask($front, '/owa/ev.owa', user => $user, body => $body);
        my @got = requests($mark);
        is $r->status, 200, "$front, $user: POST of $size";
        is scalar @got, 1, "$front, $user: arrives once";
        is $got[0] && "$got[0]{body} $got[0]{body_sha256}",
            "$size " . sha256_hex($body), "$front, $user: and whole";
    }
}
logged(qr/CP0164: backend kie-cas1\.contoso\.test .* did not answer/,
    'the dead one is named');
{   # what breaks after it was sent is not sent again
    my $mark = mark();
    my $r = ask('mail', '/owa/ev.owa?sim=drop', user => 'olga', body => 'x');
    like $r->status, qr/^50[234]$/, 'a backend that drops a POST';
    is scalar(() = requests($mark)), 1, 'was asked once only';
    is ask('mail', '/owa/', user => 'olga')->status, 200, 'and serves on';
}
{   # the same user, the same server, request after request
    my %servers = map { $_->header('X-Backend') => 1 }
        ask_each(map { ['mail', '/owa/', user => 'bert'] } 1 .. 10);
    is scalar keys %servers, 1, 'a user stays on one server';
    my %spread = map { $_->header('X-Backend') // '' => 1 }
        ask_each(map { ['mail', '/owa/', user => $_] } 'ada', 'berta', 'erik',
            'anna', 'anne', 'star', 'comma', 'kmeyer');
    is scalar keys %spread, 2, 'users are spread over both servers';
}

# ------------------------------------------------------- backends that refuse

{
    my $r = ask('mail', '/owa/', user => 'uwe');
    is $r->status, 200, 'a backend without Basic: NTLM';
    is $r->header('WWW-Authenticate'), undef, 'which is not for the client';
}

# What mod_ssl and mod_proxy say of certificates, dead and dropping servers.
expect_errors(qr/CP0163/, qr/AH02039|AH00898|AH01084|AH01097|AH00961|AH01961/,
    qr/AH00957|AH01114|AH01110|AH01102/);
finish();
