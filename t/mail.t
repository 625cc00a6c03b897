# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# POP3, IMAP4 and SMTP: clients, nginx as the mail proxy that asks
# casproxy-mail-auth, and two Dovecots and a stub of SMTP behind.
use strict;
use warnings;
use IO::Socket::IP ();
use Time::HiRes ();
use Apache::Test qw(-withtestmore);
use CaspHttpd;
use CaspMail;
use CaspTest;

if (my $why = CaspMail::missing()) {
    plan skip_all => $why;
}
begin(ad => 1);

my $mail = CaspMail->new(lab());
my $httpd = CaspHttpd->new('mail', sub { $mail->fronts(@_) })->start;
my $password = lab()->{password};

sub told { return $mail->ask(@_)->header('Auth-Status') // '(none)' }

# every child has to learn the organisation
my $well = 0;
CaspLab::wait_for {
    $well = told('f2010', {}) eq 'OK' ? $well + 1 : 0;
    $well >= 8 && told('f2007', { 'Auth-User' => 'gina' }) eq 'OK'
        && told('f2013', { 'Auth-User' => 'sven' }) eq 'OK'
} 30 or diag $httpd->log;
$mail->proxy;

sub same {
    my ($got, $server, $name) = @_;
    my $good = is $got->server, $server, $name;
    diag $got->said if !$good;
    return $good;
}

# ------------------------------------------------------ whose mailbox is where

# front, protocol, user => server; '' where nobody is to be reached
my @who = (
    [qw(f2010 imap fritz BER-MBX3)], [qw(f2010 pop3 fritz BER-MBX3)],
    [qw(f2010 imap gina BER-CAS7)], [qw(f2010 imap hugo MUC-EX7)],
    [qw(f2010 imap clara MUC-CAS1)], [qw(f2010 pop3 olga STO-EX10)],
    [qw(f2010 smtp clara MUC-CAS1)], [qw(f2010 imaps gina BER-CAS7)],
    [qw(f2010 pop3s gina BER-CAS7)], [qw(f2010 smtps gina BER-CAS7)],
    ['f2010', 'imap', 'sven', ''], ['f2010', 'imap', 'nils', ''],
    [qw(f2007 imap fritz BER-MBX3)], [qw(f2007 imap gina BER-CAS7)],
    ['f2007', 'imap', 'hugo', ''], ['f2007', 'pop3', 'hugo', ''],
    [qw(f2013 imap sven STO-EX13)], [qw(off imap gina BER-CAS7)],
    ['narrow', 'pop3', 'gina', ''], [qw(narrow imap gina BER-CAS7)],
);
my @got = $mail->log_on_each(map { [$_->[0], $_->[1], user => $_->[2]] } @who);
for my $i (0 .. $#who) {
    my ($front, $protocol, $user, $server) = @{ $who[$i] };
    same $got[$i], $server, "$front: $user by $protocol: "
        . ($server || 'nobody to reach');
}
like $got[11]->said, qr/\[AUTHORIZATIONFAILED\]/, 'and is told why';
like $got[15]->said, qr/\[SYS\/PERM\]/, '... by POP3';
@got = $mail->log_on_each(map { ['f2010', $_, user => 'ada'] }
    qw(imap pop3 smtp imaps));
like $_->server, qr/^BER-CAS[12]$/, 'ada: a CAS of her site' for @got;
is $got[0]->server, $got[3]->server, '... and always the same one';

my $spread = {};
$spread->{ $_->server } = 1 for $mail->log_on_each(
    map { ['f2010', 'imap', user => $_] }
        qw(ada berta anna anne kmeyer comma erik));
is join(' ', sort keys %$spread), 'BER-CAS1 BER-CAS2',
    'others have the other one';

# ------------------------------------------------------------ as it is written

my @names = ('ada', 'CONTOSO\\ada', 'ada@contoso.test', 'contoso/ada',
    'ADA');
@got = $mail->log_on_each(map({ ['f2010', 'imap', user => $_] } @names),
    map({ ['f2010', 'pop3', user => $_] } @names),
    map { ['f2010', 'smtp', user => $_, how => 'plain'] } @names);
is scalar(grep { $_->ok } @got), 15, 'every form of a name, by each protocol'
    or diag map { $_->said . "\n" } @got;
@got = $mail->log_on_each(map { ['f2010', 'imap', user => $_,
    how => 'plain'] } "j\x{fc}rgen", "smile\x{1f600}", 'par(en)', 'comma',
    'kurt.meyer@contoso.test', 'ruth.berlin@example.test',
    'CONTOSO\\ada\\info');
is scalar(grep { $_->ok } @got), 7, 'names that are no letters'
    or diag map { $_->said . "\n" } @got;

my $r = $mail->ask('f2010', { 'Auth-User' => 'fritz' });
is $r->status, 200, 'the answer is 200';
is $r->header('Auth-User'), 'CONTOSO/fritz/fritz', 'the name that 2003 takes';
like $r->header('Auth-Server'), qr/^127\.0\.0\.\d+$/, 'an address';
like $r->header('Auth-Port'), qr/^\d+$/, 'and a port';
is $r->header('Auth-Pass'), undef, 'no password comes back';
cmp_ok length($r->{text} // $r->{head} // ''), '<', 1024,
    'nginx has room for it';
is $mail->ask('f2010', { 'Auth-User' => 'ada@contoso.test' })
    ->header('Auth-User'), 'CONTOSO\\ada', 'the name that later ones take';
is $mail->ask('f2010', { 'Auth-User' => 'ada@contoso.test/info' })
    ->header('Auth-User'), 'CONTOSO\\ada\\info', "somebody else's mailbox";

# ----------------------------------------------------------------- who may not

my %codes = (imap => qr/\[AUTHENTICATIONFAILED\]/, pop3 => qr/\[AUTH\]/,
    smtp => qr/535 .*5\.7\.8/);
my @bad = (['wrong password', user => 'berta', password => 'wrong'],
    ['unknown user', user => 'nobody'],
    ['disabled account', user => 'quirin'],
    ['expired account', user => 'ella'],
    ['line end in a name', user => "ada\r\na1 LOGOUT", how => 'plain'],
    ['line end in a password', password => "x\r\nQUIT", how => 'plain'],
    ['line end behind the password', password => "$password\r\n",
        how => 'plain'],
    ['a percent sign', user => 'ada%0d%0aAuth-Status: OK', how => 'plain'],
    ['a filter', user => '*)(cn=*', how => 'plain'],
    ['no password', password => '', how => 'plain']);
for my $protocol (sort keys %codes) {
    my @results = $mail->log_on_each(map {
        my (undef, @o) = @$_;
        ['f2010', $protocol, @o]
    } @bad);
    for my $i (0 .. $#bad) {
        ok !$results[$i]->ok, "$protocol: $bad[$i][0]";
        like $results[$i]->said, $codes{$protocol}, '... says so'
            if $bad[$i][0] !~ /no password/;
    }
}
is $mail->log_on('f2010', 'imap', how => 'plain', password => "p\x{e4}ss wrd%")
    ->ok, 0, 'a password of eight bits and blanks is a wrong one';
ok $mail->log_on('f2010', 'imap', user => ' ada ', how => 'plain')->ok,
    'blanks around a name';

# ------------------------------------------------------------------ and waits

$r = $mail->log_on('f2010', 'imap', user => 'anna', password => 'wrong',
    tries => 3);
is scalar @{ $r->{seconds} }, 3, 'three tries on one connection';
cmp_ok $r->{seconds}[0], '>=', 0.9, 'a failed login takes a second';
cmp_ok $r->{seconds}[1], '>=', 1.8, '... and the next one two';
cmp_ok $r->{seconds}[2], '>', $r->{seconds}[1], '... and so on';
my %from = ('Client-IP' => '192.0.2.77', 'Auth-User' => 'anne');
is $mail->ask('f2010', { %from, 'Auth-Pass' => 'wrong' })
    ->header('Auth-Wait'), 1, 'one second';
$r = $mail->ask('f2010', { %from, 'Auth-Pass' => 'wrong' });
is $r->header('Auth-Status'), 'WAIT', 'too early: nginx is to ask again';
is $r->header('Auth-Wait'), 1, '... in time';
ok told('f2010', { %from, 'Client-IP' => '192.0.2.78' }) eq 'OK',
    'nobody else has to wait';
Time::HiRes::sleep(1.1);
is told('f2010', \%from), 'OK', 'the right password, in its time';
$r = $mail->ask('f2010', { %from, 'Auth-Pass' => 'wrong' });
like $r->header('Auth-Status'), qr/AUTHENTICATIONFAILED/,
    'and the next one is judged at once';
is $r->header('Auth-Wait'), 1, '... and the count begins anew';
for my $name ('%20anne', 'anne%20', 'CONTOSO\\anne', '\\anne',
    'anne@contoso.test') {
    is told('f2010', { %from, 'Auth-User' => $name, 'Auth-Pass' => 'wrong' }),
        'WAIT', "... by whatever spelling: $name";
}
%from = (%from, 'Auth-User' => 'nobody', 'Auth-Pass' => 'wrong');
like told('f2010', \%from), qr/AUTHENTICATIONFAILED/, 'nobody';
is told('f2010', { %from, 'Auth-User' => '%20nobody%20' }), 'WAIT',
    '... and its spellings';
$r = $mail->ask('f2010', { 'Auth-Pass' => 'wrong', 'Auth-User' => 'nobody',
    'Auth-Login-Attempt' => 10, 'Client-IP' => '192.0.2.79' });
is $r->header('Auth-Wait'), undef, 'the tenth try ends the connection';

# ------------------------------------------------------------------------ TLS

my %none = (tls => 'none');
like $mail->log_on('f2010', 'imap', %none)->said, qr/\[PRIVACYREQUIRED\]/,
    'no login without TLS: IMAP';
like $mail->log_on('f2010', 'pop3', %none)->said, qr/\[SYS\/PERM\].*TLS/,
    '... POP3';
like $mail->log_on('f2010', 'smtp', %none)->said, qr/538 .*5\.7\.11/,
    '... SMTP';
ok $mail->log_on('lax', 'imap', user => 'gina', %none)->ok,
    'CasProxyRequireTLS Off';
for my $how (qw(cram-md5 external)) {
    my @all = $mail->log_on_each(map { ['f2010', $_, open => 1, how => $how] }
        qw(imap pop3 smtp));
    ok !$all[$_]->ok, "$how cannot be verified" for 0 .. 2;
}
like $mail->log_on('f2010', 'pop3', open => 1, how => 'cram-md5')->said,
    qr/plain password/, '... and the client is told what can';
ok !$mail->log_on('f2010', 'pop3', open => 1, how => 'apop')->ok, 'nor APOP';
like $mail->log_on('f2010', 'smtp', open => 1, how => 'none')->said,
    qr/530 .*5\.7\.0/, 'no mail without a logon';

# ----------------------------------------------------------- what is not there

like $mail->log_on('gone', 'imap')->said, qr/\[UNAVAILABLE\]/,
    'no directory: later';
like $mail->log_on('gone', 'pop3')->said, qr/\[SYS\/TEMP\]/, '... POP3';
like $mail->log_on('gone', 'smtp')->said, qr/454 .*4\.7\.0/, '... SMTP';
$r = $mail->ask('gone', {});
is $r->header('Auth-Wait'), undef, '... and no waiting';
like $mail->log_on('lost', 'imap')->said, qr/\[UNAVAILABLE\]/,
    'a server without an address: later';
@got = $mail->log_on_each(map { ['half', 'imap', user => $_] }
    qw(ada berta anna erik kmeyer comma));
is join(' ', map { $_->server } @got), join(' ', ('BER-CAS2') x 6),
    'one of two servers is not there: the other one';

SKIP: {
    skip 'no IPv6 on this machine', 2
        if !IO::Socket::IP->new(LocalAddr => '::1', Listen => 1);
    is $mail->log_on('six', $_)->server, 'SIX', "a server with IPv6: $_"
        for qw(imap pop3);
}

# ---------------------------------------------------------------- the location

is $mail->ask('f2010', { 'X-Auth-Key' => 'no' })->status, 403,
    'without the key';
is $mail->ask('f2010', {}, method => 'POST')->status, 405, 'by POST';
like told('f2010', { 'Auth-Protocol' => undef, 'Auth-Method' => undef }),
    qr/Temporarily/, 'a request of nobody';
my ($code, $text) = $httpd->test;
is $code, 0, 'httpd -t';
unlike $text, qr/CP0810/, '... has nothing to say of a closed location';
for my $require ('Require all granted', 'Require  all   granted',
    "<RequireAny>\nRequire all granted\n</RequireAny>") {
    my $open = CaspHttpd->new('mailopen', sub {
        my ($to) = @_;
        return lab()->front($to, 'open', plain => 1, mode => 'Off', vhost => [
            '<Location /mail-auth>', 'SetHandler casproxy-mail-auth',
            $require, '</Location>']);
    });
    ($code, $text) = $open->test;
    like $text, qr/CP0810.*Require local/, "... but of an open one: $require";
}

# -------------------------------------------------------------------- the log

my $log = $httpd->log;
like $log, qr/CP0133: decision: user=CONTOSO\\{1,2}fritz .*protocol=imap4 version=2003 .*action=proxy-backend .*backend=imap:/,
    'one line for each login';
like $log, qr/CP0133: decision: user=CONTOSO\\{1,2}hugo .*protocol=imap4 version=2007/,
    '... also of one that was refused';
like $log, qr/CP0131: logon refused: user-unknown for "nobody"/,
    'a refused login';
unlike $log, qr/\Q$password\E|QUIT/, 'and no password';
unlike CaspLab::slurp("$httpd->{dir}/logs/decision_log"), qr/\Q$password\E/,
    '... nor in the access log';
like CaspLab::slurp("$httpd->{dir}/logs/decision_log"),
    qr/\t200\tproxy-backend\t.*\timap4\tCONTOSO/, 'variables of the request';

# ---------------------------------------------------------------------- at once

@got = $mail->log_on_each(map {
    ['f2010', (qw(imaps pop3s imap pop3))[$_ % 4],
        user => (qw(gina clara fritz olga hugo))[$_ % 5]]
} 0 .. 23);
is scalar(grep { $_->ok } @got), 24, 'two dozen at once'
    or diag map { $_->said . "\n" } grep { !$_->ok } @got;
my @right = qw(BER-CAS7 MUC-CAS1 BER-MBX3 STO-EX10 MUC-EX7);
is scalar(grep { $got[$_]->server eq $right[$_ % 5] } 0 .. 23), 24,
    '... each in the right mailbox';

my @stray = $httpd->errors(qr/CP0132/, qr/CP0156|CP030\d|AH01630/);
is scalar @stray, 0, 'no other error' or diag map {"$_\n"} @stray;
$httpd->stop;
lab()->down('mailservers');
finish();
