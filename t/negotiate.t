# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Kerberos at the door, by curl with real tickets: who is let in and as whom,
# what each protocol is offered, tokens that are none, keytabs that do not
# fit, and that nothing of it is remembered or taken from the environment.
use strict;
use warnings;
use utf8;
use Digest::SHA 'sha256_hex';
use Encode 'encode';
use IO::Socket::INET ();
use MIME::Base64 'decode_base64', 'encode_base64';
use Time::HiRes ();
use Apache::Test qw(-withtestmore);
use CaspFault;
use CaspHttpd;
use CaspNtlm;
use CaspTest;
use CaspWire;

begin(ad => 1);
at_the_door();

# Tokens that curl makes for a host, each of them new: it asks a server that
# writes them down.
sub tokens {
    my ($user, $host, $count) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 9)
        or die "listen: $!\n";
    my $to = '::127.0.0.1:' . $listen->sockport;
    local $ENV{KRB5CCNAME} = ticket($user);
    return map {
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            open STDERR, '>', '/dev/null';
            exec 'curl', '--silent', '--max-time', '10', '--negotiate',
                '--user', ':', '--connect-to', $to, "http://$host/"
                or POSIX::_exit(127);
        }
        my $sock = $listen->accept;
        my $text = '';
        1 while $text !~ /\r\n\r\n/ && sysread $sock, $text, 65536, length $text;
        print $sock "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        close $sock;
        waitpid $pid, 0;
        $text =~ /^Authorization: Negotiate (\S+)/mi
            or diag "curl has no token for $user, $host: $text";
        decode_base64($1 // '')
    } 1 .. $count // 1;
}

sub spnego { return 'Negotiate ' . encode_base64($_[0], '') }

sub user_of { return $_[0]->header('X-User') // '' }

sub offers {
    my ($r) = @_;
    return join ', ', map { s/ .*//r } $r->all('WWW-Authenticate');
}

# ------------------------------------------------------------- who comes in

for my $case (
    ['ada', 'ada', 200, 'direct'], ['bert', 'bert', 200, 'proxy'],
    ['clara', 'clara', 200, 'manual-redirect'],
    ['kmeyer', 'kmeyer', 200, 'direct'], ['ruth', 'ruth', 200, 'direct'],
    ['jürgen', 'jürgen', 200, 'direct'], ['lara', 'lina', 200, 'direct'],
    ['nils', 'nils', 403, 'error']) {
    my ($user, $account, $status, $action) =
        map { encode('UTF-8', $_) } @$case;
    my $mark = mark();
    my $r = ask('in', '/owa/', ticket => $user);
    is $r->status, $status, "$user: $status" or diag $r->decision;
    is $r->action, $action, "$user: $action";
    my $escaped = $account =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger;
    my $line = decision_line($r->{id});
    is $line->{user}, "CONTOSO\\$escaped", "$user: CASPROXY_USER";
    is $line->{remote_user}, "CONTOSO\\$escaped", "$user: the log's %u";
    is $r->header('X-Auth-Type'), 'Negotiate', "$user: AUTH_TYPE";
    is $r->header('X-User'), "CONTOSO\\$account", "$user: REMOTE_USER";
    my ($seen) = requests($mark);
    is $seen ? scalar(() = $seen->header('Authorization')) : 0, 0,
        "$user: the ticket ends here";
}
{
    my $r = ask('in', '/owa/', ticket => 'ada');
    is $r->{steps}, '200', 'in one leg';
    like $r->header('WWW-Authenticate') // '', qr/^Negotiate \S+$/,
        'and the front proves itself';
    logged(qr/CP0133: decision: user=CONTOSO\\\\?lina mailbox=CONTOSO\\\\?lina /,
        "a linked mailbox is its owner's");
}
# Bytes as they arrive: a body is whole, with and without a wait for 100.
for my $size (0, 30_000, 2_000_000) {
    my $body = join '', map { chr 32 + $_ % 90 } 1 .. $size;
    for my $headers ([], ['Expect: 100-continue']) {
        my $mark = mark();
        my $r = ask('in', '/owa/ev.owa', ticket => 'ada', body => $body,
            headers => $headers);
        my ($got) = requests($mark);
        is $got && "$got->{body} $got->{body_sha256}", "$size "
            . sha256_hex($body), "a POST of $size bytes, @$headers";
    }
}
{
    my @answers = ask_each(map { ['in', "/owa/?n=$_", ticket => 'bert'] }
        1 .. 25);
    is scalar(grep { $_->status == 200 } @answers), 25, '25 requests of one';
    is scalar(grep { ($_->header('X-User') // '') eq 'CONTOSO\\bert' }
        @answers), 25, 'all of them known';
}
{
    my @users = qw(ada bert berta olga);
    ticket($_) for @users;
    my @said = CaspFault::all_at_once(8, sub {
        my $user = $users[$_[0] % 4];
        my @r = map { ask('in', '/owa/', ticket => $user) } 1 .. 4;
        return join ' ', map {
            $_->status . ($_->header('X-User') // '') eq "200CONTOSO\\$user"
                ? () : $_->status . ($_->header('X-User') // '-') } @r;
    });
    is join('', @said), '', 'eight at once: each is who they are';
}

# ------------------------------------------------ each request for itself

{
    my @ada = tokens('ada', 'clear-in.contoso.test', 2);
    my ($bert) = tokens('bert', 'clear-in.contoso.test');
    my $wire = CaspWire->new;
    my @ask = ('clear-in', '/owa/');
    is $wire->ask(@ask, authorization => spnego($ada[0]))->header('X-User'),
        'CONTOSO\\ada', 'ada, on a connection that stays';
    my $r = $wire->ask(@ask);
    is $r->status, 401, 'a request without a ticket is nobody';
    is offers($r), 'Negotiate, NTLM, Basic', 'and is asked in this order';
    is $wire->ask(@ask, authorization => spnego($bert))->header('X-User'),
        'CONTOSO\\bert', 'bert, on the same connection';
    is $wire->ask(@ask, authorization => basic('berta'))->header('X-User'),
        'CONTOSO\\berta', 'and berta by Basic';
    is $wire->ask(@ask, authorization => spnego($ada[1]))->header('X-User'),
        'CONTOSO\\ada', 'ada again';
    is $wire->ask(@ask, authorization => spnego($_))->status, 401,
        'a ticket that was shown already' for @ada;
    is $wire->ask('clear-in2', '/owa/')->status, 401,
        'another host on it: nobody';

    # a bare Kerberos token, as some libraries send it
    my ($token) = tokens('ada', 'clear-in.contoso.test');
    my ($bare) = $token =~ /.(\x60\x82..\Q$CaspNtlm::OID{krb5}\E.*)\z/s;
    ok $bare, '(there is one within)';
    is $wire->ask(@ask, authorization => spnego($bare))->header('X-User'),
        'CONTOSO\\ada', 'without SPNEGO around it';
}

# ------------------------------------------------------- what is no ticket

{
    my ($good) = tokens('ada', 'clear-in.contoso.test');
    my $length = length $good;
    my @broken = (
        ['Negotiate', 'no token'], ['Negotiate ', 'a blank'],
        ['Negotiate !!!!', 'no base64'], ['Negotiate =', 'a lone ='],
        ['Negotiate YII=', 'two bytes'],
        ['Negotiate ' . 'A' x 60_000, '60,000 bytes of zero'],
        ['Negotiate ' . encode_base64("\x60\x84\xff\xff\xff\xff" . 'x' x 2000, ''),
            'a length of 4 GB'],
        ['Negotiate ' . encode_base64("\x60\x80" . $good, ''), 'no length'],
        [spnego($good) . ' x', 'something behind'],
        [spnego($good . 'x' x 100), 'bytes behind'],
        [spnego("\x60\x03\x06\x01"), 'an OID cut short'],
        [spnego(CaspNtlm::der(0x60, "\x06\x01\x2a")), 'a mechanism unknown'],
        [spnego(CaspNtlm::init(undef, 'krb5')), 'Kerberos and no ticket'],
        [spnego(CaspNtlm::init('', 'krb5')), 'Kerberos and an empty ticket'],
        [spnego(CaspNtlm::init('x' x 300, 'krb5', 'ntlm')), 'a ticket of x'],
        [spnego(CaspNtlm::init(CaspNtlm::der(0x60, $CaspNtlm::OID{krb5},
            "\1\0", 'x' x 500), 'krb5')), 'an AP-REQ of x'],
        [spnego(CaspNtlm::resp('x')), 'an answer to nothing'],
        [spnego("\xa1\x03\x30\x01"), 'an answer cut short'],
        [spnego("NTLMSSP\0\2\0\0\0" . "\0" x 40), 'an NTLM challenge'],
        [spnego("NTLMSSP\0\3\0\0\0" . "\xff" x 80), 'an NTLM end'],
        [spnego("NTLMSSP\0\1"), 'an NTLM message cut short'],
        [spnego("NTLMSSP\0\x09\0\0\0" . "\0" x 40), 'NTLM 9'],
        ['Kerberos ' . encode_base64($good, ''), 'another word'],
        map({ [spnego(substr $good, 0, int($length * $_ / 12)),
            'cut off at ' . int($length * $_ / 12)] } 1 .. 11));
    my @answers = ask_each(map { ['in', '/owa/', authorization => $_->[0]] }
        @broken);
    for my $i (0 .. $#broken) {
        my ($r, $name) = ($answers[$i], $broken[$i][1]);
        is $r->status, 401, "$name: 401" or diag $r->{line}, $r->decision;
        is $r->header('X-User') // '', '', "$name: nobody";
    }
    # Not every byte of a ticket is sealed: what a change leaves is ada, or none.
    my @changed = map { my $t = $good; substr($t, int($length * $_ / 40), 1)
        ^= "\xff"; $t } 0 .. 39;
    my %who;
    $who{$_->status . ' ' . ($_->header('X-User') // '')}++ for ask_each(
        map { ['in', '/owa/', authorization => spnego($_)] } @changed);
    cmp_ok delete $who{'401 '}, '>', 30, 'a byte changed: refused';
    delete $who{'200 CONTOSO\\ada'};
    is join(', ', %who), '', 'and nobody else let in, nothing broken';
    is ask('in', '/owa/', authorization => 'Negotiate ' . 'A' x 100_000)
        ->status, 400, '100,000 bytes are more than httpd takes';
    is ask('in', '/owa/', authorization => spnego($good), headers => [
        'Authorization: ' . basic('bert')])->status, 401,
        'a ticket and a password are nobody';
    is ask('in', '/owa/', ticket => 'ada')->status, 200,
        'a good one after all that';
    unlike error_log(), qr/X-User|exit signal/, 'no child was lost';
    logged(qr/CP0172: integrated logon refused: broken-token/, 'told so');
    logged(qr/CP0172: integrated logon refused: ticket-refused: .{15}/,
        "and with Kerberos's own words");
    unlike error_log(), qr/\Q@{[substr encode_base64($good, ''), 100, 60]}\E/,
        'no ticket in the log';
}

# ------------------------------------------------------ keytabs that do not fit

{
    my ($token) = tokens('ada', 'in.contoso.test');
    my $from = length error_log();
    my $r = ask('in-foreign', '/owa/', authorization => spnego($token));
    is $r->status, 401, "another account's keytab";
    like substr(error_log(), $from), qr/ticket-refused: .{15}/,
        'it is told why';
    unlike $r->body, qr/keytab|ticket-refused/i, 'but not to the client';
    unlike $r->decision, qr/ticket|keytab/, 'nor in a header';

    my ($foreign) = tokens('ada', 'ber-cas1.contoso.test');
    is ask('in', '/owa/', authorization => spnego($foreign))->status, 401,
        'a ticket for another service';
    is ask('in-foreign', '/owa/', user => 'ada')->status, 200,
        'Basic goes on beside it';

    # httpd's environment has a keytab that would do
    like $ENV{KRB5_KTNAME} // '', qr/front\.keytab/, '(it has)';
    $r = ask('in-nokeytab', '/owa/', ticket => 'ada');
    is $r->status, 401, 'no keytab: no Kerberos';
    is offers($r), 'Basic', 'another way is left';
    logged(qr/no-keytab.*CasProxyKeytab/, 'what is missing is told');
    is ask('in-nokeytab', '/owa/', user => 'ada')->status, 200,
        'and Basic works';
    is offers(ask('in-nokeytab', '/owa/')), 'Negotiate, Basic',
        'who knocks is offered what is configured';
}

# --------------------------------------------------------- what is offered

for my $case (
    ['in', 'Negotiate, NTLM, Basic', qw(/owa/ /ecp/ /EWS/Exchange.asmx
        /Microsoft-Server-ActiveSync?Cmd=Sync /autodiscover/autodiscover.xml
        /oab/ /rpc/rpcproxy.dll?x:6001 /mapi/emsmdb/)],
    ['in-words', 'NTLM, Basic', '/owa/', '/EWS/Exchange.asmx'],
    ['in-krb', 'Negotiate', '/owa/', '/EWS/Exchange.asmx'],
    ['in-ntlm', 'NTLM', '/owa/', '/EWS/Exchange.asmx'],
    ['in-default', 'Negotiate, Basic', qw(/EWS/Exchange.asmx
        /Microsoft-Server-ActiveSync?Cmd=Sync /autodiscover/autodiscover.xml
        /oab/ /rpc/rpcproxy.dll?x:6001)],
    ['in-forms', 'Negotiate, NTLM', qw(/autodiscover/autodiscover.xml /oab/
        /Microsoft-Server-ActiveSync?Cmd=Sync)],
    ['mail', 'Basic', '/owa/', '/EWS/Exchange.asmx']) {
    my ($front, $offers, @paths) = @$case;
    my @answers = ask_each(map { [$front, $_] } @paths);
    for my $i (0 .. $#paths) {
        is $answers[$i]->status, 401, "$front$paths[$i]: 401";
        is offers($answers[$i]), $offers, "$front$paths[$i]: $offers";
    }
}
for my $front ('in-default', 'in-forms') {
    is ask($front, '/owa/')->status, 302, "$front: /owa has a form";
}
is ask('in-forms', '/owa/', ticket => 'ada')->status, 200,
    'a form, and a ticket that is taken without being asked for';
is ask('in-default', '/owa/', ticket => 'ada')->status, 302,
    'by default the form is the only way into /owa';
is ask('in-krb', '/owa/', user => 'ada')->status, 401,
    'Basic where it is not offered';
is ask('mail', '/owa/', authorization => spnego(
    tokens('ada', 'in.contoso.test')))->status, 401,
    'and a ticket where it is not';
for my $case (['in', 'OPTIONS'], ['in', 'POST'], ['in-default', 'OPTIONS'],
    ['in-default', 'POST']) {
    my ($front, $method) = @$case;
    my $r = ask($front, '/Microsoft-Server-ActiveSync?Cmd=Sync&DeviceId=1',
        ticket => 'ada', method => $method,
        $method eq 'POST' ? (body => 'sync') : (),
        headers => ['MS-ASProtocolVersion: 14.1']);
    is $r->status, 200, "$front: ActiveSync, $method" or diag $r->decision;
    is $r->header('X-User'), 'CONTOSO\\ada', "$front: ActiveSync, by a ticket";
}

{
    my $r = ask('in-elsewhere', '/owa/', ticket => 'ada');
    is $r->status, 403, 'a good ticket of somebody who is not found: 403';
    is user_of($r), '', 'and nobody';
    logged(qr/CP0176: ada\@CONTOSO\.TEST is verified, and user-unknown/,
        'the log tells both');
    is offers($r), '', 'no prompt would help';
}
# through a proxy
is ask('in', '/owa/', ticket => 'ada', headers => ['Via: 1.1 proxy',
    'X-Forwarded-For: 192.0.2.1'])->status, 200, 'a ticket through a proxy';

# -------------------------------------------------------------- Require, <If>

is ask('in-valid', '/owa/', ticket => 'bert')->status, 200, 'Require valid-user';
is ask('in-valid', '/owa/')->status, 401, 'and nobody';
is ask('in-ada', '/owa/', ticket => 'ada')->status, 200, 'Require user';
like ask('in-ada', '/owa/', ticket => 'bert')->status, qr/^40[13]$/,
    'and another';
{
    my @outside = (curl => ['--interface', '127.0.0.2']);
    is offers(ask('in-if', '/owa/')), 'Negotiate, NTLM', 'inside: a ticket';
    is ask('in-if', '/owa/', ticket => 'ada')->status, 200, 'which is taken';
    my $r = ask('in-if', '/owa/', @outside);
    is $r->status, 302, 'outside, in the same virtual host: a form';
    like $r->header('Location'), qr{/owa/auth/logon\.aspx\?}, 'its page';
    is ask('in-if', '/owa/', ticket => 'ada', @outside)->status, 302,
        'a ticket changes nothing there';
    # the address that mod_remoteip found
    my @behind = (method => 'GET');
    is offers(ask('clear-behind', '/owa/', @behind)), 'Negotiate, NTLM',
        'behind a balancer: from inside';
    is ask('clear-behind', '/owa/', @behind,
        headers => ['X-Forwarded-For: 192.0.2.7'])->status, 302,
        'and from outside';
}

# ------------------------------------------------- servers of their own

# A front whose clock is not the client's, and one whose keytab httpd's user
# must not read: one server for both.
{
    my $conf = CaspLab::slurp($ENV{KRB5_CONFIG});
    $conf =~ s/^\[libdefaults\]\n/[libdefaults]\nclockskew = 1\n/m;
    my $keytab = lab()->{run} . '/closed.keytab';
    CaspLab::spew($keytab, CaspLab::slurp(lab()->{ad}{FRONT_KEYTAB}));
    chmod 0600, $keytab;
    my ($late) = tokens('ada', 'in.contoso.test');
    my $made = Time::HiRes::time();
    my $httpd = CaspHttpd->new('krb', sub {
        my ($to) = @_;
        return join '', map {
            my ($name, $file) = @$_;
            lab()->front($to, $name, lines => ['CasProxyBackendAuth None',
                'CasProxyExternalURL https://mail.contoso.test/owa',
                'CasProxyAuth Negotiate Basic', "CasProxyKeytab $file"])
        } ['in', lab()->{ad}{FRONT_KEYTAB}], ['in-krb', $keytab];
    });
    local $ENV{KRB5_CONFIG} = CaspLab::spew(lab()->{run} . '/skew.conf', $conf);
    $httpd->start;
    ok $httpd->ready('in', 'ada'), 'a server with a clock of its own';
    is $httpd->ask('in', '/owa/', ticket => 'ada')->status, 200, 'a ticket now';
    is $httpd->ask('in-krb', '/owa/', ticket => 'ada')->status, 401,
        'a keytab that must not be read: 401';
    like $httpd->log, qr/CasProxyKeytab: .*closed\.keytab/, 'it is named';
    is $httpd->ask('in-krb', '/owa/', user => 'ada')->status, 200,
        'and Basic goes on';
    my $left = $made + 2.3 - Time::HiRes::time();
    Time::HiRes::sleep($left) if $left > 0;
    is $httpd->ask('in', '/owa/', authorization => spnego($late))->status, 401,
        'one that is too old';
    like $httpd->log, qr/CP017[24].*(?:clock|skew)/i, 'the clock is named';
    is scalar($httpd->errors(qr/CP0175|CP0174/)), 0, 'nothing else is wrong'
        or diag $httpd->errors;
    $httpd->stop;
}

expect_errors(qr/CP0174/, # a keytab that does not fit
    qr/AH01630/);         # "client denied by server configuration"
finish();
