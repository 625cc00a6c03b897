# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# NTLM at the door, before both verifiers: by curl as it is, and message by
# message as Windows shapes them. An identity is the verifier's word for one
# connection: not for another one, another host on it, another address behind
# a proxy, nor longer than until the next handshake begins. Half-open
# handshakes, verifiers that are away, restarts.
use strict;
use warnings;
use utf8;
use Digest::SHA 'sha256_hex';
use Encode 'encode';
use IO::Select ();
use IO::Socket::INET ();
use MIME::Base64 'encode_base64';
use POSIX ();
use Time::HiRes ();
use Apache::Test qw(-withtestmore);
use CaspHttpd;
use CaspNtlm;
use CaspTest;
use CaspWire;

begin(ad => 1);
at_the_door();

my $password = lab()->{password};
# Half-open handshakes: more than there are places for in a process, where one
# process can have so many connections.
my %many = (event => 60, worker => 20, prefork => 8);
my $type1 = CaspWire::header('NTLM',
    CaspNtlm->new('CONTOSO\\ada', password => 'x')->first);

my $type3 = CaspWire::header('NTLM', "NTLMSSP\0\3\0\0\0" . "\0" x 80);

sub comes { return CaspLab::wait_for(\&{ $_[0] }, $_[1]) }

sub user_of { return $_[0]->header('X-User') // '' }

sub offers {
    return join ', ', map { s/ .*//r } $_[0]->all('WWW-Authenticate');
}

# The identity of a request that brings none of its own.
sub known {
    my ($wire, $front, %o) = @_;
    my $r = $wire->ask($front, '/owa/', %o);
    return $r->status == 200 ? user_of($r) : $r->status;
}

sub in_words {
    return map {
        my ($name, $account, @more) = @$_;
        [encode('UTF-8', $name), encode('UTF-8', $account), @more]
    } @_;
}

# ------------------------------------------------------------- by curl

sub by_curl {
    my ($how, $front) = @_;
    for my $case (in_words(['CONTOSO\\ada', 'ada'], ['contoso\\ADA', 'ada'],
        ['ada@contoso.test', 'ada'], ['contoso.test\\bert', 'bert'],
        ['kurt.meyer@contoso.test', 'kmeyer'],
        ['ruth.berlin@example.test', 'ruth'], ['CONTOSO\\lara', 'lina'],
        ['CONTOSO\\clara', 'clara'])) {
        my ($name, $account) = @$case;
        my $r = ask($front, '/owa/', ntlm => $name);
        is $r->status, 200, "$how: $name" or diag $r->decision;
        is $r->{steps}, '401 200', "$how: $name: in two legs";
        is user_of($r), "CONTOSO\\$account", "$how: $name is $account";
        is $r->header('X-Auth-Type'), 'NTLM', "$how: $name: AUTH_TYPE";
        is decision_line($r->{id}, 200)->{remote_user}, "CONTOSO\\$account",
            "$how: $name: the log's %u";
    }
    for my $case (
        ['CONTOSO\\ada', 'wrong', 'a wrong password'],
        ['CONTOSO\\nobody', $password, 'nobody we know'],
        ['NOWHERE\\nobody', $password, 'a domain nobody knows'],
        ['CONTOSO\\quirin', $password, 'a disabled account'],
        ['CONTOSO\\mona', $password, 'a password to be changed'],
        ['CONTOSO\\ella', $password, 'an expired account'],
        ['CONTOSO\\lina', $password, 'a linked mailbox by its own name']) {
        my ($name, $word, $what) = @$case;
        my $from = length error_log();
        my $mark = mark();
        my $r = ask($front, '/owa/', ntlm => $name, password => $word);
        is $r->{steps}, '401 401', "$how: $what: 401, and no more";
        is user_of($r), '', "$how: $what: nobody";
        is scalar(grep {/^NTLM$/} $r->all('WWW-Authenticate')), 1,
            "$how: $what: may try again";
        unlike $r->decision . $r->body, qr/disabled|expired|unknown|wrong/i,
            "$how: $what: not told to the client";
        like substr(error_log(), $from),
            qr/CP0172: integrated logon refused: ntlm-refused: .{10}/,
            "$how: $what: told in the log";
        no_requests($mark, "$how: $what: no backend");
    }
    like error_log(), qr/ntlm-refused: .*disabled|ntlm-refused: .*533/i,
        "$how: the log knows a disabled account from a wrong password";
    my @answers = ask_each(map { [$front, "/owa/?n=$_",
        ntlm => 'CONTOSO\\bert'] } 1 .. 25);
    is scalar(grep { user_of($_) eq 'CONTOSO\\bert' } @answers), 25,
        "$how: 25 requests of one";
    is join(',', map { $_->{steps} } @answers), join(',', '401 200',
        ('200') x 24), "$how: with one handshake";
    for my $size (0, 2_000_000) {
        my $body = join '', map { chr 32 + $_ % 90 } 1 .. $size;
        my $mark = mark();
        ask($front, '/owa/ev.owa', ntlm => 'CONTOSO\\ada', body => $body);
        my @got = requests($mark);
        is join(' ', map {"$_->{body} $_->{body_sha256}"} @got),
            "$size " . sha256_hex($body), "$how: a POST of $size bytes, once";
        is scalar(grep { $_->header('Authorization') } @got), 0,
            "$how: the handshake ends here";
    }
    return;
}

# --------------------------------------------------- message by message

sub by_message {
    my ($how, $front) = @_;
    for my $case (in_words(['CONTOSO\\ada', 'ada', ''],
        ['CONTOSO\\ada', 'ada', 'short', shape => 'short'],
        ['CONTOSO\\ada', 'ada', 'SPNEGO', negotiate => 1],
        ['CONTOSO\\ada', 'ada', 'SPNEGO, NTLM by Kerberos\'s side',
            negotiate => 1, mechanisms => ['ntlm', 'krb5']],
        ['ada@contoso.test', 'ada', 'SPNEGO', negotiate => 1],
        ['CONTOSO\\jürgen', 'jürgen', ''],
        ['jürgen@contoso.test', 'jürgen', 'SPNEGO', negotiate => 1])) {
        my ($name, $account, $shape, %o) = @$case;
        my $wire = CaspWire->new;
        my $scheme = $o{negotiate} ? 'Negotiate' : 'NTLM';
        $name = Encode::decode('UTF-8', $name);
        my $r = $wire->log_on($front, '/owa/', $name, %o);
        my $what = "$how: " . encode('UTF-8', $name) . " $shape";
        is $r->{challenge}->status, 401, "$what: a challenge";
        is offers($r->{challenge}), $scheme, "$what: which is all it says";
        isnt +($r->{challenge}->header('Connection') // ''), 'close',
            "$what: on a connection that stays";
        is user_of($r), "CONTOSO\\$account", "$what: is $account";
        is known($wire, $front), "CONTOSO\\$account", "$what: and stays it";
    }
    # Whose name stands in the message, and whose password: the verifier says.
    for my $case (
        ['CONTOSO\\bert', 'CONTOSO\\ada', "bert's name, ada's password"],
        ['CONTOSO\\ada', 'CONTOSO\\nobody', 'a response for nobody'],
        ['\\', 'CONTOSO\\ada', 'no name']) {
        my ($claim, $real, $what) = @$case;
        my $wire = CaspWire->new;
        my $r = $wire->log_on($front, '/owa/', $claim, real => $real,
            password => $claim eq 'CONTOSO\\bert' ? 'other' : $password);
        is $r->status, 401, "$how: $what" or diag user_of($r);
        is known($wire, $front), 401, "$how: $what: nobody stays";
    }
    my $wire = CaspWire->new;
    my $r = $wire->log_on($front, '/owa/', 'OTHER\\ada');
    # Some controllers pass over a domain they do not know. Then it is ada.
    if ($r->status == 200) {
        is user_of($r), 'CONTOSO\\ada', "$how: OTHER\\ada is who answered";
        is decision_line($r->{id}, 200)->{remote_user}, 'CONTOSO\\ada',
            "$how: and not OTHER's in the log";
    }
    else {
        is $r->status, 401, "$how: OTHER\\ada is nobody";
        is known($wire, $front), 401, "$how: and stays nobody";
    }
    return;
}

# ----------------------------------------------------- one connection

sub of_the_connection {
    my ($how, $front) = @_;
    my $wire = CaspWire->new;
    my $r = $wire->log_on($front, '/owa/', 'CONTOSO\\ada');
    is user_of($r), 'CONTOSO\\ada', "$how: ada's connection";
    is known($wire, $front), 'CONTOSO\\ada', "$how: ada, without asking again";
    is known(CaspWire->new, $front), 401, "$how: a new connection is nobody's";
    is known($wire, 'clear-in2'), 401, "$how: another host on it is nobody's";
    is known($wire, $front, headers => ['X-Forwarded-For: 192.0.2.1']), 401,
        "$how: another client behind a proxy is nobody" if $front eq 'clear-in';
    is known($wire, $front, authorization => basic('bert')),
        'CONTOSO\\bert', "$how: who brings a password is who they say";
    is known($wire, $front), 401, "$how: and ada is gone with that";
    $wire->log_on($front, '/owa/', 'CONTOSO\\ada');
    is known($wire, $front, authorization => basic('bert', 'wrong')), 401,
        "$how: and with a wrong one nobody";
    is known($wire, $front, authorization => 'Negotiate YII='), 401,
        "$how: nor with a broken ticket";
    is known($wire, $front), 401,
        "$how: and then the connection is nobody's any more";
    $wire->log_on($front, '/owa/', 'CONTOSO\\ada');

    # pipelined
    $wire->say(map { CaspWire::request($front, "/owa/?n=$_") } 1 .. 5);
    is join(' ', map { user_of($wire->hear) } 1 .. 5),
        join(' ', ('CONTOSO\\ada') x 5), "$how: five at once";

    # a new handshake wipes, whatever becomes of it
    $r = $wire->ask($front, '/owa/', authorization => $type1);
    ok CaspWire::token($r, 'NTLM'), "$how: a new handshake begins";
    is known($wire, $front), 401, "$how: ada is gone";
    $r = $wire->log_on($front, '/owa/', 'CONTOSO\\bert');
    is user_of($r), 'CONTOSO\\bert', "$how: bert's now";
    my $used = CaspWire::header('NTLM', $r->{sent});
    is known($wire, $front), 'CONTOSO\\bert', "$how: and stays it";
    is $wire->log_on($front, '/owa/', 'CONTOSO\\ada',
        password => 'wrong')->status, 401, "$how: ada fails";
    is known($wire, $front), 401, "$how: bert is gone too";
    $r = $wire->log_on($front, '/owa/', 'CONTOSO\\berta');
    is user_of($r), 'CONTOSO\\berta', "$how: it can begin again";

    # out of turn
    is known($wire, $front, authorization => $used), 401,
        "$how: a message that was used already";
    is known($wire, $front), 401, "$how: leaves nobody";
    is known(CaspWire->new, $front, authorization => $used), 401,
        "$how: nor is it good on another connection";
    for my $case (
        ["NTLMSSP\0\3\0\0\0" . "\0" x 80, 'an end of zeros'],
        ["NTLMSSP\0\3\0\0\0" . pack('vvV', 0xffff, 0xffff, 0xfffffff0) x 6,
            'an end whose parts lie elsewhere'],
        ["NTLMSSP\0\3\0", 'an end cut short']) {
        my ($bytes, $what) = @$case;
        my $other = CaspWire->new;
        is known($other, $front,
            authorization => CaspWire::header('NTLM', $bytes)), 401,
            "$how: $what, at the beginning";
        $other->ask($front, '/owa/', authorization => $type1);
        is known($other, $front,
            authorization => CaspWire::header('NTLM', $bytes)), 401,
            "$how: $what, after a challenge";
        is known($other, $front), 401, "$how: $what: nobody";
        is user_of($other->log_on($front, '/owa/', 'CONTOSO\\ada')),
            'CONTOSO\\ada', "$how: $what: and then as it should be";
    }
    return;
}

# Where NTLM is not offered a password is another person's all the same.
sub parted {
    my $wire = CaspWire->new;
    is user_of($wire->log_on('clear-part', '/owa/', 'CONTOSO\\ada')),
        'CONTOSO\\ada', "ada's connection, to OWA";
    is user_of($wire->ask('clear-part', '/EWS/Exchange.asmx',
        authorization => basic('bert'))), 'CONTOSO\\bert',
        'bert on it, where only Basic is taken';
    is known($wire, 'clear-part'), 401, 'and ada is gone with that';
    return;
}

# Messages of several handshakes, in the order that is asked for.
sub crossed {
    my ($how, $front) = @_;
    my %of = map { $_ => { wire => CaspWire->new,
        client => CaspNtlm->new("CONTOSO\\$_", password => $password) } }
        qw(ada bert);
    my $begin = sub {
        my ($who) = @_;
        my $r = $who->{wire}->ask($front, '/owa/', authorization =>
            CaspWire::header('NTLM', $who->{client}->first));
        return $who->{second} = CaspWire::token($r, 'NTLM');
    };
    my $end = sub {
        my ($who, $second) = @_;
        my $r = $who->{wire}->ask($front, '/owa/', authorization =>
            CaspWire::header('NTLM', $who->{client}->last($second)));
        return $r->status == 200 ? user_of($r) : $r->status;
    };
    ok $begin->($of{$_}), "$how: $_ begins" for qw(ada bert);
    is $end->($of{bert}, $of{bert}{second}), 'CONTOSO\\bert',
        "$how: bert ends first";
    is $end->($of{ada}, $of{ada}{second}), 'CONTOSO\\ada', "$how: and ada";
    my $first = $begin->($of{ada});
    my $second = $begin->($of{ada});
    isnt $second, $first, "$how: each begin has a challenge of its own";
    is $end->($of{ada}, $second), 'CONTOSO\\ada', "$how: the last one counts";
    $first = $begin->($of{ada});
    $begin->($of{ada});
    is $end->($of{ada}, $first), 401, "$how: the one before does not";
    $begin->($of{ada});
    is $end->($of{ada}, $begin->($of{bert})), 401,
        "$how: nor somebody else's challenge";
    # begun at one host, ended at another
    $begin->($of{ada});
    my $r = $of{ada}{wire}->ask('clear-in2', '/owa/', authorization =>
        CaspWire::header('NTLM', $of{ada}{client}->last($of{ada}{second})));
    is $r->status, 401, "$how: nor another host";
    is known($of{ada}{wire}, $front), 401, "$how: at neither";
    is known($of{ada}{wire}, 'clear-in2'), 401, "$how: nobody";
    return;
}

# ------------------------------------------------------------------- bodies

sub bodies {
    my ($how, $front) = @_;
    my $body = join '', map { chr 32 + $_ % 90 } 1 .. 20_000;
    my $sum = '20000 ' . sha256_hex($body);
    my @expect = ('Expect: 100-continue');
    for my $case (
        ['an empty first leg', {}, first => { method => 'POST', length => 0 }],
        ['no length in the first', {}, first => { method => 'POST' }],
        ['a body in both legs', {}, first => { body => $body }],
        ['an empty one in chunks', {}, first => { method => 'POST', headers =>
            ['Transfer-Encoding: chunked'], tail => "0\r\n\r\n" }],
        ['one in chunks', {}, first => { method => 'POST', headers =>
            ['Transfer-Encoding: chunked'],
            tail => "4e20\r\n$body\r\n0\r\n\r\n" }]) {
        my ($what, undef, %o) = @$case;
        my $mark = mark();
        my $wire = CaspWire->new;
        my $tail = delete $o{first}{tail};
        my $client = CaspNtlm->new('CONTOSO\\ada', password => $password);
        my %first = %{ $o{first} };
        $wire->say(CaspWire::request($front, '/owa/ev.owa', %first,
            authorization => CaspWire::header('NTLM', $client->first)),
            $tail // ());
        my $second = CaspWire::token($wire->hear, 'NTLM');
        my $r = $second ? $wire->ask($front, '/owa/ev.owa', body => $body,
            authorization => CaspWire::header('NTLM', $client->last($second)))
            : undef;
        is $r && user_of($r), 'CONTOSO\\ada', "$how: POST, $what";
        is join(' ', map {"$_->{body} $_->{body_sha256}"} requests($mark)),
            $sum, "$how: POST, $what: one request, whole";
    }
    # A client that waits for 100 before it sends a body, in either leg.
    for my $both (0, 1) {
        my $mark = mark();
        my $wire = CaspWire->new;
        my $client = CaspNtlm->new('CONTOSO\\ada', password => $password);
        my $leg = sub {
            my ($token, $waits) = @_;
            $wire->say(CaspWire::request($front, '/owa/ev.owa',
                method => 'POST', length => $waits ? length $body : 0,
                headers => $waits ? \@expect : [],
                authorization => CaspWire::header('NTLM', $token)));
            my $r = $wire->hear(alone => 1);
            return $r if !$waits || $r->status != 100;
            $wire->say($body);
            return $wire->hear;
        };
        my $second = CaspWire::token($leg->($client->first, $both), 'NTLM');
        my $r = $second && $leg->($client->last($second), 1);
        my $what = $both ? 'in both legs' : 'in the last leg';
        is $r && user_of($r), 'CONTOSO\\ada', "$how: Expect $what";
        is join(' ', map {"$_->{body} $_->{body_sha256}"} requests($mark)),
            $sum, "$how: Expect $what: one request, whole";
    }
    # What is too big to be read for nothing ends the connection, and says so.
    for my $expect ([], \@expect) {
        my $other = CaspWire->new;
        my $r = $other->ask($front, '/owa/ev.owa', authorization => $type1,
            headers => [@$expect], @$expect ? (method => 'POST',
                length => 200_000) : (body => 'x' x 200_000));
        is $r->status . ' ' . ($r->header('Connection') // ''), '401 close',
            "$how: 200,000 bytes in the first leg, @$expect";
    }
    my $wire = CaspWire->new;
    $wire->log_on($front, '/owa/', 'CONTOSO\\ada');
    is user_of($wire->ask($front, '/owa/', method => 'HEAD')),
        'CONTOSO\\ada', "$how: HEAD";
    is user_of($wire->ask($front, '/owa/ev.owa', body => $body)),
        'CONTOSO\\ada', "$how: a POST on a connection that is known";
    return;
}

# ------------------------------------------------------------- half-open

# On a server that keeps connections for long: what is not given up stays.
sub half_open {
    my ($how, $front, @to) = @_;
    my $many = $many{lab()->{mpm}};
    my @open = map { CaspWire->new(@to) } 1 .. $many;
    my @status = map { $_->ask($front, '/owa/', authorization => $type1)->status }
        @open;
    is scalar(grep { $_ == 401 } @status), $many,
        "$how: $many begin, and stop" or diag "@status";
    my $began = Time::HiRes::time();
    my $r;
    comes(sub {
        $r = CaspWire->new(@to)->log_on($front, '/owa/', 'CONTOSO\\bert');
        $r->status == 200
    }, 8);
    is user_of($r), 'CONTOSO\\bert', "$how: somebody else is let in";
    cmp_ok Time::HiRes::time() - $began, '<', 5, "$how: before long";
    is ask($front, '/owa/', user => 'ada', @to)->status, 200,
        "$how: Basic is not concerned";
    my @held = grep { !$_->gone } @open;
    cmp_ok scalar @held, '>', $many / 2,
        "$how: while most of them were still there";
    my $ended = grep {
        $_->ask($front, '/owa/', authorization => $type3)->status != 401
    } @open[0 .. 3];
    is $ended, 0, "$how: nor is their end taken for another's";
    $_->close for @open;
    return;
}

# -------------------------------------------------------------- the cases

sub all_of_it {
    my ($how, $tls, $clear) = @_;
    by_curl($how, $tls);
    by_message($how, $clear);
    of_the_connection($how, $clear);
    crossed($how, $clear);
    bodies($how, $clear);
    return;
}

all_of_it('Directory', 'in-dir', 'clear-dir');
parted();
SKIP: {
    need_winbind(1);
    all_of_it('Winbind', 'in', 'clear-in');
    for my $front ('in-ntlm', 'in-words') {
        my $r = ask($front, '/owa/', ntlm => 'CONTOSO\\ada');
        is user_of($r), 'CONTOSO\\ada', "$front" or diag $r->decision;
    }
    is user_of(ask('in-forms', '/owa/', ntlm => 'CONTOSO\\ada')),
        'CONTOSO\\ada', 'in-forms: who says NTLM is shown no form';
    {   # a session by form is newer than what the connection proved
        my $wire = CaspWire->new(tls => 'in-forms');
        $wire->log_on('in-forms', '/owa/', 'CONTOSO\\ada');
        is known($wire, 'in-forms'), 'CONTOSO\\ada', 'in-forms: which stays';
        is known($wire, 'in-forms', headers => ['Cookie: cadata=x']), 302,
            'in-forms: a session that is none leads to the form';
        is known($wire, 'in-forms'), 'CONTOSO\\ada', 'in-forms: and ada after';
    }
    for my $wire (CaspWire->new(tls => 'in-elsewhere')) {
        my $r = $wire->log_on('in-elsewhere', '/owa/', 'CONTOSO\\ada');
        is $r->status, 403, 'a good logon of somebody who is not found: 403';
        is user_of($r), '', 'and nobody';
        is known($wire, 'in-elsewhere'), 401, 'nor is that remembered';
        logged(qr/CP0176: CONTOSO\\?\\ada is verified, and user-unknown/,
            'the log tells both');
    }
    is user_of(ask('in-valid', '/owa/', ntlm => 'CONTOSO\\bert')),
        'CONTOSO\\bert', 'Require valid-user';
    is user_of(ask('in-ada', '/owa/', ntlm => 'CONTOSO\\ada')),
        'CONTOSO\\ada', 'Require user';
    like ask('in-ada', '/owa/', ntlm => 'CONTOSO\\bert')->status,
        qr/^40[13]$/, 'and another';
    is ask('in-krb', '/owa/', ntlm => 'CONTOSO\\ada')->status, 401,
        'NTLM where only Negotiate is offered';

    # whole in TLS: what was proved at one host is not another's, although
    # they share the certificate and so the connection
    my $wire = CaspWire->new(tls => 'in');
    is user_of($wire->log_on('in', '/owa/', 'CONTOSO\\ada')), 'CONTOSO\\ada',
        'in TLS';
    is known($wire, 'in'), 'CONTOSO\\ada', 'which stays';
    like known($wire, $_), qr/^4(?:01|21)$/, "$_ on it: nobody"
        for 'in-valid', 'in-dir', 'in-words';
    is known($wire, 'in'), 'CONTOSO\\ada', 'and ada is not lost';

    # one connection of a proxy, several people behind it
    for my $header ('X-Forwarded-For: 192.0.2.1', 'Via: 1.1 proxy',
        'Forwarded: for=192.0.2.1') {
        $wire = CaspWire->new;
        my $r = $wire->log_on('clear-in', '/owa/', 'CONTOSO\\ada',
            first => { headers => [$header] }, last => { headers => [$header] });
        is $r->status, 401, "$header: no NTLM";
        is $r->decision, 'logon; credentials-needed', 'and no more is told';
        $wire = CaspWire->new;
        $wire->log_on('clear-in', '/owa/', 'CONTOSO\\ada');
        is known($wire, 'clear-in', headers => [$header]), 401,
            "$header: nobody is known by the connection";
    }
    logged(qr/CP0172: .*ntlm-through-proxy/, 'the log says why');
}

# Other people's programs: curl with gss-ntlmssp, and Samba's own client.
SKIP: {
    need_winbind(2);
    my $file = CaspLab::spew(lab()->{run} . '/ntlm-user',
        "CONTOSO:ada:$password\n");
    local $ENV{NTLM_USER_FILE} = $file;
    my $r = ask('in', '/owa/', curl => ['--negotiate', '--user', ':']);
    is user_of($r), 'CONTOSO\\ada', 'gss-ntlmssp, inside SPNEGO'
        or diag $r->{steps}, $r->decision;
    delete $ENV{NTLM_USER_FILE};
    for my $mechanism ('ntlmssp', 'spnego') {
        my $wire = CaspWire->new;
        my $got = with_samba($wire, 'clear-in', $mechanism, 'ada');
        is $got && user_of($got), 'CONTOSO\\ada', "Samba's $mechanism";
        is known($wire, 'clear-in'), 'CONTOSO\\ada', 'which stays';
    }
}

# Steps of gensec, as base64 in lines.
sub with_samba {
    my ($wire, $front, $mechanism, $user) = @_;
    my $pid = IPC::Open2::open2(my $out, my $in, '/usr/bin/python3', '-c',
        <<'PYTHON', $mechanism, $user, $password, "$front.contoso.test");
import base64, sys
from samba import credentials, gensec
from samba.param import LoadParm
mechanism, user, password, host = sys.argv[1:]
lp = LoadParm(filename_for_non_global_lp='/dev/null')
c = credentials.Credentials()
c.guess(lp)
c.set_kerberos_state(credentials.DONT_USE_KERBEROS)
c.set_username(user)
c.set_domain('CONTOSO')
c.set_password(password)
g = gensec.Security.start_client({'lp_ctx': lp, 'target_hostname': host})
g.set_credentials(c)
g.start_mech_by_name(mechanism)
token, done = b'', False
while True:
    done, token = g.update(token)
    print(base64.b64encode(token).decode(), flush=True)
    line = sys.stdin.readline().strip()
    if done or not line:
        break
    token = base64.b64decode(line)
PYTHON
    my $scheme = $mechanism eq 'spnego' ? 'Negotiate' : 'NTLM';
    my $r;
    while (defined(my $line = <$out>)) {
        chomp $line;
        last if !length $line;
        $r = $wire->ask($front, '/owa/', authorization => "$scheme $line");
        last if $r->status != 401;
        my $token = CaspWire::token($r, $scheme) // last;
        print $in encode_base64($token, ''), "\n";
        $in->flush;
    }
    close $in;
    waitpid $pid, 0;
    return $r;
}

# ------------------------------------------------- when nobody can verify

# The processes of the lab's winbindd: one that names its configuration, and
# those of its group.
sub winbindd {
    my %group = map { $_ => CaspLab::slurp("/proc/$_/stat") =~ /\) \S \d+ (\d+) /
        ? $1 : 0 } map {/(\d+)/} glob '/proc/[0-9]*';
    my ($first) = grep { CaspLab::slurp("/proc/$_/cmdline")
        =~ m{winbindd.*=\Q@{[lab()->{ad}{SMB_CONF}]}\E} } keys %group;
    return $first ? grep { $group{$_} == $group{$first} } keys %group : ();
}

my @stopped;
END { kill 'CONT', @stopped if @stopped }

SKIP: {
    need_winbind(1);
    @stopped = winbindd();
    ok scalar @stopped, 'winbindd runs';
    kill 'STOP', @stopped;
    my $began = Time::HiRes::time();
    my $pid = open(my $late, '-|') // die "fork: $!\n";
    if (!$pid) {
        @stopped = ();
        my $r = ask('in', '/owa/', ntlm => 'CONTOSO\\ada', wait => 60);
        print join ' ', $r->status, $r->decision, int(Time::HiRes::time()
            - $began);
        close STDOUT;
        POSIX::_exit(0);
    }
    is ask('in', '/owa/', user => 'bert')->status, 200,
        'winbindd hangs: Basic goes on';
    is ask('in', '/owa/', ticket => 'ada')->status, 200, 'Kerberos too';
    is ask('in-dir', '/owa/', ntlm => 'CONTOSO\\ada')->status, 200,
        "and the other verifier's NTLM";
    my $said = do { local $/; <$late> } // '';
    close $late;
    like $said, qr/^503 error; ntlm-unavailable /, 'NTLM: 503';
    my ($took) = $said =~ /(\d+)$/;
    cmp_ok $took, '<', 25, 'within its bound';
    kill 'CONT', @stopped;
    @stopped = ();
    logged(qr/CP0173: nobody can verify this logon: .{10}/, 'told in the log');
    ok comes(sub { ask('in', '/owa/', ntlm => 'CONTOSO\\ada')->status == 200 },
        15), 'and is well again with it';
}

# A controller that can go away: its address, another port. Who ends the
# process ends its connections too.
sub forwarder {
    my ($address, $to) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => $address, Listen => 50)
        or die "listen: $!\n";
    my $pid = fork // die "fork: $!\n";
    if ($pid) {
        lab()->part('ntlm-dc', pid => $pid, dir => 'ntlm.t');
        return ($pid, $listen->sockport);
    }
    # whoever reads what the test says waits for the last who could say more
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';
    my $all = IO::Select->new($listen);
    my %other;
    while (my @ready = $all->can_read) {
        for my $sock (@ready) {
            if ($sock == $listen) {
                my @pair = (scalar $listen->accept, IO::Socket::INET->new(
                    PeerAddr => $address, PeerPort => $to));
                next if grep {!$_} @pair;
                @other{@pair} = reverse @pair;
                $all->add(@pair);
            }
            elsif (my $peer = $other{$sock}) {
                my $got = sysread $sock, my $text, 65536;
                next if $got && syswrite $peer, $text;
                delete @other{$sock, $peer};
                $all->remove($sock, $peer);
                close $_ for $sock, $peer;
            }
        }
    }
    POSIX::_exit(0);
}

# A server of its own: no helper, a controller that goes away, restarts.
{
    my $ad = lab()->{ad};
    my ($far, $port) = forwarder($ad->{AD_ADDRESS}, 636);
    my @far = ("CasProxyDirectory ldaps://$ad->{AD_ADDRESS}:$port",
        "CasProxyDirectoryBind $ad->{AD_BIND} file:$ad->{AD_PASSWORD_FILE}",
        'CasProxyDirectoryCAFile ' . lab()->{run} . '/ca/ca.pem',
        'CasProxyDirectoryTimeout connect=4 search=4 topology=10');
    my $httpd = CaspHttpd->new('ntlm', sub {
        my ($to) = @_;
        my @lines = ('CasProxyBackendAuth None', 'CasProxyRequireTLS Off',
            'CasProxyExternalURL https://mail.contoso.test/owa',
            'CasProxyAuth Negotiate NTLM Basic',
            "CasProxyKeytab $ad->{FRONT_KEYTAB}");
        my @tell = ('Header always set X-User "expr=%{REMOTE_USER}"');
        return join '', map {
            my ($name, $lines, @more) = @$_;
            lab()->front($to, $name, lines => [@lines, @$lines],
                vhost => \@tell, plain => 1, @more)
        } ['clear-in', []],
            ['clear-none', ['CasProxyNTLMVerify Winbind /nowhere/ntlm_auth']],
            ['clear-far', ['CasProxyNTLMVerify Directory',
                'CasProxyMailboxCache ttl=1 negative=1'], directory => \@far];
    }, global => "KeepAliveTimeout 60\n<IfModule mpm_event_module>\n"
        . "    ServerLimit 2\n    ThreadsPerChild 50\n    MaxRequestWorkers 50\n"
        . "</IfModule>\n"); # one child, and one more after a restart
    $httpd->start;
    ok $httpd->ready('clear-in', 'ada') && $httpd->ready('clear-far', 'ada'),
        'a server of its own';
    my @ask = (httpd => $httpd);
    my $r = ask('clear-none', '/owa/', ntlm => 'CONTOSO\\ada', @ask);
    is $r->status, 503, 'no helper on the machine: 503' or diag $r->decision;
    is $r->decision, 'error; ntlm-unavailable', 'by its name';
    like $httpd->log, qr{CP0700: .*/nowhere/ntlm_auth}, 'the log says what';
    like $httpd->log, qr/CP0700: .*install .*winbind/i, 'and the remedy';
    is ask('clear-none', '/owa/', user => 'ada', @ask)->status, 200,
        'Basic works without it';
    is ask('clear-none', '/owa/', ticket => 'ada', host =>
        'clear-in.contoso.test', headers => ['Host: clear-none.contoso.test'],
        @ask)->status, 200, 'Kerberos too';

    {   # A password that is changed ends what the old one has proved.
        my $wire = CaspWire->new(@ask);
        my $first = $wire->log_on('clear-far', '/owa/', 'CONTOSO\\load48');
        is user_of($first), 'CONTOSO\\load48', 'before the password is changed'
            or diag join ' ', $first->status, $first->decision, $httpd->log;
        is known($wire, 'clear-far'), 'CONTOSO\\load48', 'and after';
        changed('Load 48');
        ok comes(sub { known($wire, 'clear-far') eq '401' }, 6),
            'changed: the connection is nobody\'s';
        is user_of($wire->log_on('clear-far', '/owa/', 'CONTOSO\\load48')),
            'CONTOSO\\load48', 'and may log on anew';
    }
    is user_of(ask('clear-far', '/owa/', ntlm => 'CONTOSO\\ada', @ask)),
        'CONTOSO\\ada', 'by a controller';
    half_open('Directory', 'clear-far', @ask);
  SKIP: {
        need_winbind(1);
        half_open('Winbind', 'clear-in', @ask);
    }
    my $wire = CaspWire->new(@ask);
    is user_of($wire->log_on('clear-far', '/owa/', 'CONTOSO\\ada')),
        'CONTOSO\\ada', 'on a connection that stays';
    my $begun = CaspWire->new(@ask);
    my $client = CaspNtlm->new('CONTOSO\\bert', password => $password);
    $r = $begun->ask('clear-far', '/owa/', authorization =>
        CaspWire::header('NTLM', $client->first));
    my $second = CaspWire::token($r, 'NTLM');
    kill 'KILL', $far;
    waitpid $far, 0;
    $r = ask('clear-far', '/owa/', ntlm => 'CONTOSO\\bert', wait => 60, @ask);
    is $r->status, 503, 'a controller that is away: 503' or diag $r->decision;
    $r = $begun->ask('clear-far', '/owa/', authorization =>
        CaspWire::header('NTLM', $client->last($second)));
    like $r->status, qr/^(?:401|503)$/, 'one that went in mid-handshake';
    is user_of($r), '', 'lets nobody in';
    is known($wire, 'clear-far'), 'CONTOSO\\ada',
        'who was known on a connection still is';

  SKIP: {
        need_winbind(1);
        my @mine = map { CaspWire->new(@ask) } 1 .. 6;
        my @users = qw(ada bert berta olga ida clara);
        is join(' ', map { user_of($mine[$_]->log_on('clear-in', '/owa/',
            "CONTOSO\\$users[$_]")) } 0 .. 5),
            join(' ', map {"CONTOSO\\$_"} @users), 'six people';
        my $open = CaspWire->new(@ask);
        $open->ask('clear-in', '/owa/', authorization => $type1);
        $httpd->restart('graceful');
        ok comes(sub { $httpd->log =~ /graceful restart/i }, 10),
            'a graceful restart';
        ok $httpd->ready('clear-in', 'ada'), 'and the new children serve';
        for my $i (0 .. 5) {
            my $got = known($mine[$i], 'clear-in');
            like $got, qr/^(?:0|401|CONTOSO\\$users[$i])$/,
                "$users[$i]: gone, nobody, or the same";
        }
        is user_of(CaspWire->new(@ask)->log_on('clear-in', '/owa/',
            'CONTOSO\\bert')), 'CONTOSO\\bert', 'a new handshake';
        $_->close for @mine, $open, $wire, $begun; # httpd waits for them
        my ($session) = CaspLab::slurp('/proc/' . $httpd->pid . '/stat')
            =~ /\) \S \d+ \d+ (\d+)/;
        ok scalar helpers($session), 'helpers run';
        $httpd->stop;
        ok comes(sub { !helpers($session) }, 5), 'and end with their server';
    }
    my @wrong = $httpd->errors(qr/CP0173|CP0700|CP030[013]|CP0132|CP0156/);
    is scalar @wrong, 0, 'nothing else is wrong' or diag @wrong;
    $httpd->stop;
}

# The directory's own mark of a change, on somebody of this full name: "now".
sub changed {
    my ($name) = @_;
    my $ad = lab()->{ad};
    my $ldif = CaspLab::spew(lab()->{run} . '/changed.ldif', map {
        "dn: CN=$name,OU=Mailboxes,$ad->{AD_BASE}\nchangetype: modify\n"
            . "replace: pwdLastSet\npwdLastSet: $_\n\n" } 0, -1);
    local $ENV{LDAPTLS_CACERT} = $ad->{AD_CA};
    CaspLab::run('ldapmodify', '-x', '-H', $ad->{AD_URL}, '-D',
        "Administrator\@contoso.test", '-w', $password, '-f', $ldif);
    return;
}

sub helpers {
    my ($session) = @_;
    return grep {
        CaspLab::slurp("/proc/$_/stat")
            =~ /\(ntlm_auth\) [^Z] \d+ \d+ $session /
    } map {/(\d+)/} glob '/proc/[0-9]*';
}

expect_errors(qr/CP0173|CP0700/, # too many begun, winbindd stopped
    qr/AH0048[45]|AH0028[68]|AH0016[12]/, # and httpd's own view of that
    qr/AH01630/);         # "client denied by server configuration"
finish();
