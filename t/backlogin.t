# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Logging on to a backend with a password: Basic, NTLM, Kerberos and the
# backend's own form; with Basic and with a form at the door; and what is said
# where it does not work. Delegation is t/delegate.t's.
use strict;
use warnings;
use Digest::SHA 'sha256_hex';
use IO::Socket::INET ();
use JSON::PP ();
use Apache::Test qw(-withtestmore);
use CaspBackFronts ();
use CaspForms;
use CaspHttpd;
use CaspTest;

begin(ad => 1);

my $run = lab()->{run};
my $iis = CaspBackFronts::iis(lab());
my $odd = CaspBackFronts::odd(lab());
my $httpd = CaspHttpd->new('behind', \&CaspBackFronts::behind,
    global => CaspBackFronts::iislog('behind'))->start;
$httpd->ready('basic', 'ada') or diag $httpd->log;
my $many = lab()->{mpm} eq 'prefork' ? 8 : 2; # children, each with its own

sub at {
    my ($front, $path, @o) = @_;
    return ask($front, $path, @o, httpd => $httpd);
}

sub at_each { return ask_each(map { [@$_, httpd => $httpd] } @_) }

sub on {
    my ($front, $user, @o) = @_;
    return log_on($front, $user, @o, httpd => $httpd);
}

# Options of a request by somebody who has come in at this door.
sub door {
    my ($door, $front, $user, @o) = @_;
    return (user => $user) if $door eq 'Basic';
    return with(jar(on($front, $user, @o)));
}

# The only one that arrived, or one that says nothing.
sub only { return $_[0] // bless { headers => [] }, 'CaspTest::Request' }

sub pair {
    my ($front, $user, $auth, $path) = @_;
    my $told = explain(config => "$httpd->{dir}/fronts/$front.conf",
        user => $user, auth => $auth,
        url => "https://$front.contoso.test" . ($path // '/owa/'));
    return $told->{login} // {};
}

sub log_has {
    my ($pattern, $name) = @_;
    my $found = CaspLab::wait_for { $httpd->log =~ $pattern } 3;
    return ok $found, $name // "logged $pattern";
}

sub blob {
    my ($size) = @_;
    my $part = join '', map { chr 33 + ($_ * 7) % 90 } 1 .. 97;
    return substr $part x (1 + $size / 97), 0, $size;
}

sub whose {
    my ($r, $user, $name) = @_;
    my $good = is $r->status, 200, "$name: served";
    $good &&= has_text($r, "mailbox of CONTOSO\\$user on",
        "$name: the right mailbox");
    diag $r->{line}, ' ', $r->decision, ' ', $r->{error} if !$good;
    return $good;
}

# ------------------------------------------------- each way, through each door

CaspBackFronts::look_at($iis);
my %way = (basic => 'Basic', ntlm => 'NTLM', novia => 'NTLM',
    kerberos => 'Kerberos', negotiate => 'NTLM');
my %raw = (NTLM => qr/^CONTOSO\\(\w+)$/i, Kerberos => qr/^(\w+)\@CONTOSO\.TEST$/);
for my $front (sort keys %way) {
    for my $door ('Basic', 'Forms') {
        my $name = "$door in, $way{$front} at $front";
        my $user = $door eq 'Basic' ? 'ada' : 'berta';
        my @o = door($door, $front, $user);
        my $mark = mark();
        my $r = at($front, '/owa/?a=1', @o);
        whose($r, $user, $name);
        my @got = requests($mark);
        is scalar @got, 1, "$name: one request";
        next if !@got;
        my ($seen) = @got;
        is $seen->{user}, "CONTOSO\\$user", "$name: known there";
        if ($front ne 'basic') {
            is $seen->{auth}, $way{$front}, "$name: by $way{$front}";
            like $seen->{raw}, $raw{ $way{$front} }, "$name: as itself";
        }
        else {
            like $seen->header('Authorization'), qr/^Basic /, "$name: by Basic";
        }
        is $seen->header('Via'), undef, "$name: no Via";
        unlike $seen->header('Cookie') // '', qr/cadata|sessionid/,
            "$name: our session is not for it";
        is scalar($r->all('WWW-Authenticate')), 0, "$name: no offers";
        my $pair = pair($front, $user, lc $door);
        is "$pair->{user} $pair->{backend}", lc($door) . ' ' . lc $way{$front},
            "$name: explain says the same";
    }
}
{   # nothing at all, where it is said aloud
    my $from = CaspBackFronts::answered($iis);
    is at('none', '/owa/', user => 'ada')->status, 403,
        'None: a server that wants a login is no prompt without end';
    is scalar CaspBackFronts::answers($iis, $from), 1, 'None: asked once';
    is pair('none', 'ada', 'basic')->{backend}, 'none', 'None: explained';
}

# ------------------------------------ NTLM: one handshake for many requests

{   # a sign-out ends them, in whichever child they are
    my $ask = sub {
        my @o = door('Forms', 'ntlm', 'erik');
        my $mark = mark();
        at('ntlm', '/owa/', @o) for 1 .. $many * 4;
        return (\@o, map { $_->{connection} } requests($mark));
    };
    my ($o, @before) = $ask->();
    my %old = map { $_ => 1 } @before;
    is at('ntlm', '/owa/logoff.owa', @$o)->status, 302, 'NTLM: signed out';
    select undef, undef, undef, 1.5; # each child hears of it at its next tick
    my (undef, @after) = $ask->();
    is scalar @after, $many * 4, 'NTLM: served after another logon';
    is scalar(grep { $old{$_} } @after), 0,
        'NTLM: over no connection from before the sign-out';
}
for my $front ('ntlm', 'novia') {
    my ($mark, $from) = (mark(), CaspBackFronts::answered($iis));
    my @answers = at_each(map { [$front, "/owa/?n=$_", user => 'anna'] }
        1 .. 30);
    is scalar(grep { $_->status == 200 } @answers), 30,
        "$front: 30 requests of a connection";
    is CaspBackFronts::handshakes($iis, $from), 1, "$front: one handshake";
    my %used = map { $_->{connection} => 1 } requests($mark);
    is scalar keys %used, 1, "$front: one connection there";
    # a client that connects each time finds its child's lease again
    $from = CaspBackFronts::answered($iis);
    my @lone = map { at($front, '/owa/', user => 'anna',
        headers => ['Connection: close']) } 1 .. 10;
    is scalar(grep { $_->status == 200 } @lone), 10,
        "$front: 10 connections of a client";
    cmp_ok CaspBackFronts::handshakes($iis, $from), '<=', $many,
        "$front: no handshake for each";
    # by session as by Basic: the connection is the person's, not the door's
    my @o = door('Forms', $front, 'anna');
    $from = CaspBackFronts::answered($iis);
    my @session = at_each(map { [$front, "/owa/?s=$_", @o] } 1 .. 5);
    is scalar(grep { $_->status == 200 } @session), 5, "$front: by a session";
    cmp_ok CaspBackFronts::handshakes($iis, $from), '<=', 1,
        "$front: over the same login";
}
{   # people in turn on one client connection
    my @users = ('ada', 'berta', 'anna', 'kmeyer') x 6;
    my @o = map { ['novia', '/owa/', user => $_] } @users;
    my $from = CaspBackFronts::answered($iis);
    my @answers = at_each(@o);
    is scalar(grep { $answers[$_]->body =~
        /mailbox of CONTOSO\\$users[$_] on/ } 0 .. $#users), 24,
        'people in turn: each their own mailbox';
    cmp_ok CaspBackFronts::handshakes($iis, $from), '<=', 4,
        'people in turn: a login each';
}
for my $front ('ntlm', 'novia') { # bodies, on a new login and on one in use
    my $user = $front eq 'ntlm' ? 10 : 20;
    for my $case (['3 MB', 3_000_000], ['chunked', 200_000,
        'Transfer-Encoding: chunked'], ['Expect', 80_000,
        'Expect: 100-continue'], ['no body', 0], ['HTTP/2', 3_000_000]) {
        my ($what, $size, @headers) = @$case;
        my $who = sprintf 'load%02d', ++$user;
        my $body = blob($size);
        for my $again ('new', 'kept') {
            my $name = "$front, $what, a login that is $again";
            my $mark = mark();
            my $r = at($front, "/owa/ev.owa?n=$again", user => $who,
                body => $body, headers => [@headers],
                http2 => $what eq 'HTTP/2');
            whose($r, $who, $name);
            my @got = grep { $_->{method} eq 'POST' } requests($mark);
            is scalar @got, 1, "$name: arrives once";
            is $got[0] && "$got[0]{body} $got[0]{body_sha256}",
                "$size " . sha256_hex($body), "$name: and whole";
        }
    }
}
for my $method ('HEAD', 'OPTIONS') {
    my $r = at('ntlm', '/owa/', user => 'load31', method => $method);
    is $r->status, 200, "$method opens a login";
    is at('ntlm', '/owa/', user => 'load31')->status, 200, "$method: and on";
}
{   # HTTP/2: streams of one connection
    my $from = CaspBackFronts::answered($iis);
    my @users = ('ada', 'berta', 'anna') x 5;
    my @answers = at_each(map { ['ntlm', '/owa/', user => $_, http2 => 1] }
        @users);
    is scalar(grep { $answers[$_]->body =~
        /mailbox of CONTOSO\\$users[$_] on/ } 0 .. $#users), 15,
        'HTTP/2: each their own mailbox';
    cmp_ok CaspBackFronts::handshakes($iis, $from), '<=', 3 * $many,
        'HTTP/2: by logins that are kept';
    my $r = at('ntlm', '/owa/?sim=big:2000000', user => 'ada', http2 => 1);
    is length $r->body, 2_000_000, 'HTTP/2: a long answer';
}
{   # the backend closes what it has
    my @o = (user => 'load32');
    at('ntlm', '/owa/', @o) for 1 .. $many * 2;
    kill 'USR1', CaspBackFronts::env($iis)->{IIS_PID};
    sleep 2;
    my $body = blob(40_000);
    my $mark = mark();
    my $r = at('ntlm', '/owa/ev.owa', @o, body => $body);
    whose($r, 'load32', 'a POST after the backend has closed its connections');
    my @got = requests($mark);
    is scalar @got, 1, 'it arrives once';
    is $got[0] && $got[0]{body_sha256}, sha256_hex($body), 'and whole';
    whose(at('ntlm', '/owa/', @o), 'load32', 'a GET then') for 1 .. $many;
    like at('ntlm', '/owa/?sim=close', @o)->{error} || 'cut', qr/./,
        'an answer that breaks off';
    whose(at('ntlm', '/owa/', @o), 'load32', 'the next one');
    is at('ntlm', '/owa/?sim=drop', @o)->status =~ /^50[234]$/ && 1, 1,
        'no answer at all';
    whose(at('ntlm', '/owa/', @o), 'load32', 'the next one');
}
{   # programs, and what is not for them
    for my $path ('/EWS/Exchange.asmx', '/oab/x/oab.xml',
        '/autodiscover/autodiscover.xml') {
        my $r = at('ntlm', $path, user => 'load33');
        is $r->status, 200, "NTLM for $path";
    }
    my $r = at('ntlm', '/owa/?sim=location:fqdn', user => 'load33');
    like $r->header('Location') // '', qr{^https://ntlm\.contoso\.test/},
        'Location is mapped as ever';
    like join(' ', $r->all('Set-Cookie'), at('ntlm', '/owa/',
        user => 'load33')->all('Set-Cookie')), qr/UserContext=/,
        'cookies of the backend\'s own pass';
}

# --------------------------------------------------- Kerberos by the password

{
    my $mark = mark();
    my @users = ('ada', 'berta', 'anna', 'kmeyer') x 8;
    my @answers = at_each(map { ['kerberos', '/owa/', user => $_] } @users);
    is scalar(grep { $answers[$_]->body =~
        /mailbox of CONTOSO\\$users[$_] on/ } 0 .. $#users), 32,
        'Kerberos: each their own mailbox';
    my @got = requests($mark);
    is scalar(grep { $_->{auth} ne 'Kerberos' } @got), 0, 'each by a ticket';
    my %used;
    $used{ $_->{server} }{ $_->{connection} }{ $_->{user} } = 1 for @got;
    my ($shared) = grep { keys %$_ > 1 } map { values %$_ } values %used;
    ok $shared, 'connections are shared';
    cmp_ok scalar(map { keys %$_ } values %used), '<=', 2 * $many,
        'and few';
    my $body = blob(3_000_000);
    $mark = mark();
    whose(at('kerberos', '/owa/ev.owa', user => 'ada', body => $body), 'ada',
        'Kerberos: a POST of 3 MB');
    @got = requests($mark);
    is @got && "$got[0]{body} $got[0]{body_sha256}",
        '3000000 ' . sha256_hex($body), 'which arrives whole';
    is scalar @got, 1, 'and once';
}
{   # tickets are kept: the KDC is asked for the first request only
    my @o = (headers => ['Connection: close']);
    my @kdc = CaspBackFronts::kdc(lab());
    cmp_ok scalar @kdc, '>', 1, 'a KDC to stop';
    my @users = ('load34', 'load35');
    my @warm = map { ['kerberos', '/owa/', user => $_] } @users;
    at_each(@warm) for 1 .. $many * 2; # each child has its own
    my @answers;
    kill 'STOP', @kdc;
    my $good = eval { @answers = at_each((@warm) x 10); 1 };
    kill 'CONT', @kdc;
    is scalar(grep { $_->status == 200 } @answers), 20,
        'with the KDC stopped, those who are known go on';
}

# ------------------------------------------------------------------- Auto

{
    CaspBackFronts::look_at("$run/exchange");
    # user, path; login and why, and what the server sees of it
    for my $case (['ada', '/owa/', 'basic', 'target-takes-basic', qr/^Basic /],
        ['uwe', '/owa/', 'ntlm', 'integrated-target', qr/^(?:NTLM|Negotiate) |^$/],
        ['frida', '/owa/', 'forms', 'target-has-forms', qr/^$/],
        ['frida', '/EWS/Exchange.asmx', 'basic', 'target-takes-basic',
            qr/^Basic /]) {
        my ($user, $path, $login, $why, $seen) = @$case;
        for my $door ('Basic', 'Forms') {
            my $name = "Auto: $user, $path, $door";
            my @o = $path =~ /EWS/ ? (user => $user)
                : door($door, 'auto', $user);
            my $mark = mark();
            my $r = at('auto', $path, @o);
            is $r->status, 200, "$name: served" or diag $r->decision;
            my ($last) = grep { $_->{status} == 200 } requests($mark);
            is $last && $last->{user}, "CONTOSO\\$user",
                "$name: known there" or next;
            like $last->header('Authorization') // '', $seen, "$name: $login";
            my $pair = pair('auto', $user, $path =~ /EWS/ ? 'basic' : lc $door,
                $path);
            is "$pair->{backend} $pair->{why}", "$login $why",
                "$name: explain says so";
        }
    }
    my $r = at('auto', '/owa/', user => 'frida');
    is scalar(() = $r->body =~ /name="password"/g), 0, 'no second logon page';
}

# ------------------------------------------- Exchange 2003: NTLM, by plain http

CaspBackFronts::look_at($iis);
for my $door ('Basic', 'Forms') {
    for my $case (['fritz', 'GET', '/exchange/'], ['fritz', 'PROPFIND',
        '/exchange/fritz/Inbox/'], ['jan', 'GET', '/exchange/'],
        ['fritz', 'POST', '/Microsoft-Server-ActiveSync?Cmd=Sync']) {
        my ($user, $method, $path) = @$case;
        my $name = "2003, $door, $user, $method $path";
        my @o = $path =~ /Active/ ? (user => $user, body => 'x')
            : (door($door, 'old', $user, destination => '/exchange/'),
                method => $method);
        my $mark = mark();
        my $r = at('old', $path, @o);
        like $r->status, qr/^20[07]$/, "$name: served" or diag $r->decision;
        my @got = requests($mark);
        is scalar @got, 1, "$name: one request";
        is only(@got)->{auth} // '', 'NTLM', "$name: by NTLM";
        unlike only(@got)->header('Authorization') // '', qr/^Basic/,
            "$name: no password in clear";
        my $pair = pair('old', $user, lc $door, $path);
        is "$pair->{backend} $pair->{why}", 'ntlm exchange-2003',
            "$name: explain says so";
    }
}
{
    is pair('old-basic', 'fritz', 'basic', '/exchange/')->{backend}, 'basic',
        'said aloud, Basic goes in clear to a 2003 back-end';
    CaspBackFronts::look_at($odd);
    # its own logon page, where the directory knows of none
    for my $door ('Basic', 'Forms') {
        my @o = door($door, 'old-odd', 'fritz', destination => '/exchange/');
        my $mark = mark();
        my $r = at('old-odd', '/exchange/', @o);
        is $r->decision, 'error; backend-uses-forms',
            "$door: a 2003 back-end that answers with its logon page";
        is $r->status, 503, "$door: an error page";
        is $r->header('Location'), undef, "$door: no way to it";
        cmp_ok scalar(() = all_requests($mark)), '<=', 3,
            "$door: asked once";
        $r = at('old-odd', '/exchange/fritz/', @o, method => 'PROPFIND');
        is $r->decision, 'error; backend-uses-forms', "$door: and by 440";
        is $r->status, 503, "$door: a status a program bears";
    }
    my $r = at('old-odd', '/exchange/?sim=440', user => 'jan');
    is $r->decision, 'error; backend-uses-forms', '440 after a good login';
    is at('old-odd', '/exchange/', user => 'jan')->status, 200,
        'which another request does not suffer from';
}

# A connection that breaks between the messages of its handshake: mod_proxy
# makes another one without a word, and on that one nobody is known.
{
    my $fickle = CaspBackFronts::fickle(lab());
    my $said = sub { return CaspLab::slurp("$fickle/log") =~ s/\n/, /gr };
    my $r = at('old-fickle', '/exchange/fritz/', user => 'fritz');
    is $r->status, 200, 'a handshake that is cut in two is made anew'
        or diag $r->decision;
    is $said->(), '1 1 HEAD, 2 3 GET, 3 1 HEAD, 3 3 GET, ',
        'and nobody was taken for somebody';
    $r = at('old-fickle', '/exchange/fritz/again', user => 'fritz');
    is $r->status, 200, 'over the login that there is';
    like((split /, /, $said->())[-1], $many == 2 ? qr/^3 0 GET$/
        : qr/^\d+ [03] GET$/, 'without another word');
    # a body went with the last message, and there is no other one
    my $before = length CaspLab::slurp("$fickle/log");
    $r = at('old-fickle', '/exchange/jan/', user => 'jan',
        body => blob(40_000));
    is $r->status, 503, 'with a body: an error';
    like substr(CaspLab::slurp("$fickle/log"), $before),
        qr/\A\d+ 1 \w+\n\d+ 3 POST\n\z/, 'and it is sent once';
    # gone with the last message read: what changes nothing is asked once more
    my $from = length CaspLab::slurp("$fickle/log");
    $r = at('old-fickle', '/exchange/jan/gone', user => 'jan');
    is $r->status, 200, 'a server that goes without an answer is asked again'
        or diag $r->decision;
    like substr(CaspLab::slurp("$fickle/log"), $from),
        qr/\A(\d+) 1 HEAD\n\1 3 GET\n(\d+) 1 HEAD\n\2 3 GET\n\z/,
        'once, and by a login of its own';
}

# ------------------------------------------------------- the backend's own form

# front, user, servers, name of the control, cookies
for my $case (['forms10', 'ada', 'BER-CAS[12]', ['BER-CAS1', 'BER-CAS2'],
        '/owa/auth.owa'],
    ['forms07', 'gina', 'BER-CAS7', ['BER-CAS7'], '/owa/auth/owaauth.dll'],
    ['forms13', 'sven', 'STO-EX13', ['STO-EX13'], '/owa/auth.owa']) {
    my ($front, $user, $pattern, $servers, $action) = @$case;
    my $control = sub { CaspBackFronts::sim($odd, $_, $_[0]) for @$servers };
    for my $door ('Basic', 'Forms') {
        my $name = "$front, $door";
        my @o = door($door, $front, $user);
        $control->('forget');
        my $mark = mark();
        my $r = at($front, '/owa/?a=1', @o);
        whose($r, $user, $name);
        served_by($r, $pattern, "$name: its own server");
        my @got = requests($mark);
        my @posts = grep { $_->{method} eq 'POST' } @got;
        is scalar @posts, 1, "$name: one logon";
        like lc($posts[0] && $posts[0]{target} || ''), qr/^\Q$action\E$/,
            "$name: posted where this version has it";
        is only($got[-1])->{user}, "CONTOSO\\$user", "$name: known there";
        is only($got[-1])->header('Authorization'), undef,
            "$name: nothing else";
        # no cookie of that session is the client's
        my @set = grep { !/^UserContext=/ } $r->all('Set-Cookie');
        is scalar(grep {/^(?:cadata|sessionid)/} @set), 0,
            "$name: its cookies are kept" or diag @set;
        ok scalar(grep {/^UserContext=/} $r->all('Set-Cookie')),
            "$name: others pass";
        # renewed now and then, and it goes on
        $mark = mark();
        my @more = at_each(map { [$front, "/owa/?n=$_", @o] } 1 .. 14);
        is scalar(grep { $_->status == 200 } @more), 14, "$name: 14 more";
        @got = requests($mark);
        cmp_ok scalar(grep { $_->{method} eq 'POST' } @got), '<=', $many - 1,
            "$name: without another logon";
        is scalar(grep {/^cadata/} map { $_->all('Set-Cookie') }
            grep { $door eq 'Basic' } @more), 0, "$name: renewals are kept";
        # a cookie of its own that the client brings passes
        $mark = mark();
        my %with = @o;
        $with{headers} = [($with{headers} // [])->[0]
            ? "$with{headers}[0]; UserContext=abc" : 'Cookie: UserContext=abc'];
        at($front, '/owa/', %with);
        like(only((requests($mark))[-1])->header('Cookie') // '',
            qr/UserContext=abc/, "$name: the client's UserContext passes");

        # its session ends in the middle
        $control->('expire');
        $mark = mark();
        whose(at($front, '/owa/?late=1', @o), $user,
            "$name, its session is over: GET");
        is scalar(grep { $_->{method} eq 'POST' } requests($mark)), 1,
            "$name: logged on anew";
        whose(at($front, '/owa/', @o), $user, "$name: and on") for 1 .. $many;
        $control->('forget');
        my $xhr = at($front, '/owa/ev.owa?oeh=1&ns=x', @o, body => 'x');
        my $page = do {
            at($front, '/owa/', @o) for 1 .. $many * 2;
            $control->('forget');
            my %p = @o;
            at($front, '/owa/?ae=Item', %p, body => 'a=b', headers => [
                @{ $p{headers} // [] }, 'Accept: text/html,*/*;q=0.8',
                'Sec-Fetch-Mode: navigate'])
        };
        if ($door eq 'Forms') {
            is $xhr->status, 440, "$name: a script's POST";
            is $xhr->header('Location'), undef, "$name: no redirection";
            # INTERFACE: other methods than a page load get 440
            is $page->status, 440, "$name: a page's POST";
            is $page->link, "https://$front.contoso.test/owa/",
                "$name: a person gets a link";
        }
        else {
            is $xhr->status, 503, "$name: a POST by Basic comes again";
            ok $xhr->header('Retry-After'), "$name: and is told when";
        }
        whose(at($front, '/owa/', @o), $user, "$name: the next one");
        my $body = blob(100_000);
        # other children may believe in the old one for some seconds
        CaspLab::wait_for {
            $mark = mark();
            $r = at($front, '/owa/ev.owa', @o, body => $body);
            $many == 2 || $r->status == 200
        } 15;
        whose($r, $user, "$name: a POST in a session that lives");
        is((grep { $_->{method} eq 'POST' && $_->{body} == 100_000 }
            requests($mark)) + 0, 1, "$name: arrives once");
    }
    # sign-out: there too, and nothing is kept
    my @o = door('Forms', $front, $user);
    at($front, '/owa/', @o) for 1 .. $many * 2;
    my $before = 0;
    $before += CaspBackFronts::sim($odd, $_, 'sessions') for @$servers;
    my $mark = mark();
    my $r = at($front, '/owa/logoff.owa', @o);
    is $r->status, 302, "$front: signed out";
    like $r->header('Location') // '', qr/reason=1$/, "$front: to our page";
    my @got = requests($mark);
    ok scalar(grep { $_->{target} =~ /logoff/ && ($_->{user} // '')
        eq "CONTOSO\\$user" } @got), "$front: the backend is told, by whom";
    my $after = 0;
    $after += CaspBackFronts::sim($odd, $_, 'sessions') for @$servers;
    cmp_ok $after, '<', $before, "$front: its session is over";
    # other children may believe in it for some seconds
    my $over = CaspLab::wait_for {
        at($front, '/owa/', @o)->status == 302
    } 10;
    ok $over, "$front: and ours";
    SKIP: {
        skip 'each child keeps its own cookies', 1 if $many > 2;
        $mark = mark();
        at($front, '/owa/', door('Forms', $front, $user));
        cmp_ok scalar(grep { $_->{method} eq 'POST' } requests($mark)), '>=',
            1, "$front: what was kept is dropped";
    }
}

# --------------------------------------------------------- what does not work

# front, user; reason, status, who is asked how often at most, the log says
for my $case (
    ['odd', 'bert', 'ntlm-not-on-destination', 503, 'it is offered Digest'],
    ['odd-ntlm', 'bert', 'ntlm-not-on-destination', 503, 'no NTLM there'],
    ['odd-ntlm', 'olga', 'extended-protection', 503, 'Extended Protection'],
    ['odd-ntlm', 'ada', 'backend-uses-forms', 503, 'a form in its place']) {
    my ($front, $user, $reason, $status, $what) = @$case;
    for my $door ('Basic', 'Forms') {
        my $name = "$what: $front, $user, $door";
        my @o = door($door, $front, $user);
        my $mark = mark();
        my $r = at($front, '/owa/', @o, id => "no-$front-$user-$door");
        is $r->decision, "error; $reason", "$name: its reason";
        is $r->status, $status, "$name: its status";
        like $r->body, qr/<html/, "$name: a page for a person";
        is scalar($r->all('WWW-Authenticate')), 0, "$name: no prompt";
        cmp_ok scalar(() = all_requests($mark)), '<=', 8, "$name: no loop"
            or diag map {"$_->{method} $_->{target} $_->{status}\n"}
                all_requests($mark);
        my $script = at($front, '/owa/', @o,
            headers => [@{ {@o}->{headers} // [] },
                'X-Requested-With: XMLHttpRequest']);
        is $script->status, $status, "$name: a script's status";
        unlike $script->body, qr/<html/, "$name: and no page";
    }
}
{
    my %log = map { split /\t/, $_, 2 }
        split /\n/, CaspLab::slurp("$httpd->{dir}/logs/iislog");
    my $words = qr/^&Log=PrxTo:ham-cas\d\.contoso\.test_Error:NTLM\+not\+on\+
        the\+destination\+CAS_$/x;
    like $log{'no-odd-ntlm-bert-Basic'}, $words,
        'the IIS-style log has S000\'s words';
    like $log{'no-odd-bert-Forms'}, $words, 'for Basic as well';
    my $path = '/Microsoft-Server-ActiveSync?Cmd=Sync&User=bert&DeviceId=d'
        . '&DeviceType=t';
    for my $front ('odd', 'odd-ntlm') {
        my $r = at($front, $path, user => 'bert', body => 'x');
        is $r->status, 401, "$front: a device gets the 401 of S000";
        unlike $r->body, qr/<html/, "$front: and no page";
    }
    my $r = at('odd-ntlm', '/EWS/Exchange.asmx', user => 'bert', body => 'x');
    is $r->status, 503, 'EWS: a status, no prompt';
    my $who = qr/ham-cas\d\.contoso\.test for CONTOSO\\+bert/;
    log_has(qr/CP0170: no login \(ntlm\) at backend $who: ntlm-not-on-dest/,
        'the log names backend, user and reason');
    log_has(qr/CP0170: .*sto-ex10.*extended-protection/,
        'and Extended Protection');
    $r = at('mismatch', '/owa/', user => 'ada');
    is $r->decision, 'error; ntlm-not-on-destination',
        'NTLM where Basic alone is offered';
}
{   # Basic, said aloud, where NTLM alone is taken
    for my $door ('Basic', 'Forms') {
        my $from = CaspBackFronts::answered($iis);
        my $r = at('said-basic', '/owa/', door($door, 'said-basic', 'ada'));
        is $r->status, 403, "$door: Basic where NTLM is wanted";
        is scalar($r->all('WWW-Authenticate')), 0, "$door: no prompt";
        is scalar CaspBackFronts::answers($iis, $from), 1, "$door: asked once";
    }
    log_has(qr/CP0165: backend ber-cas\d\.contoso\.test .*Basic/,
        'the log tells what to allow');
}
{   # no SPN, a KDC that knows no such server
    my $r = at('kerberos', '/owa/', user => 'kim');
    is $r->decision, 'error; backend-logon-refused', 'a server without SPN';
    is $r->status, 503, 'is an error';
    log_has(qr/CP0170: .*kie-ex2.*(?:SPN|servicePrincipalName|setspn)/i,
        'the log says what to set');
}
{   # a virtual directory that a password can do nothing with
    my $dn = 'CN=owa (Default Web Site),CN=HTTP,CN=Protocols,CN=BON-EX1,'
        . 'CN=Servers,CN=Exchange Administrative Group (FYDIBOHF23SPDLT),'
        . 'CN=Administrative Groups,CN=Contoso,CN=Microsoft Exchange,'
        . 'CN=Services,CN=Configuration,DC=contoso,DC=test';
    my $bits = sub { CaspBackFronts::modify(lab(), $dn,
        'msExchInternalAuthenticationMethods', $_[0]) };
    $bits->(8 | 256);
    my $other = CaspHttpd->new('digest', sub {
        return CaspBackFronts::one($_[0], 'digest', "$iis/ntlm", '');
    })->start;
    $other->ready('digest', 'uwe') or diag $other->log;
    CaspBackFronts::look_at($iis);
    for my $door ('Basic', 'Forms') {
        my $mark = mark();
        my $r = $door eq 'Basic'
            ? $other->ask('digest', '/owa/', user => 'boris')
            : log_on('digest', 'boris', httpd => $other);
        is $r->decision, 'error; no-common-authentication',
            "$door: nothing in common";
        is $r->status, 503, "$door: an error";
        no_requests($mark, "$door: nobody is asked");
    }
    my $told = explain(config => "$other->{dir}/fronts/digest.conf",
        user => 'boris', auth => 'basic',
        url => 'https://digest.contoso.test/owa/');
    is "$told->{action} $told->{reason}", 'error no-common-authentication',
        'explain knows';
    is_deeply $told->{login}, { user => 'basic', backend => 'impossible',
        why => 'no-common-authentication' }, 'and says why';
    $other->stop;
    $bits->(17);
}
{   # no KDC that answers
    my $conf = CaspLab::slurp(lab()->{ad}{KRB5_CONFIG});
    my $port = CaspLab::free_port();
    $conf =~ s/^(\s+kdc = )\S+/${1}127.0.0.1:$port/m;
    CaspLab::spew("$run/nokdc.conf", $conf);
    local $ENV{KRB5_CONFIG} = "$run/nokdc.conf";
    my $other = CaspHttpd->new('nokdc', sub {
        return CaspBackFronts::one($_[0], 'nokdc', "$iis/kerberos",
            'Kerberos');
    })->start;
    CaspLab::wait_for {
        $other->ask('nokdc', '/owa/', user => 'ada')->decision
            !~ /directory|site/
    } 15;
    my $begun = time;
    my $r = $other->ask('nokdc', '/owa/', user => 'ada');
    is $r->decision, 'error; backend-kdc-unavailable', 'no KDC';
    is $r->status, 503, 'is a 503';
    like $r->header('Retry-After') // '', qr/^\d+$/, 'for the moment';
    cmp_ok time - $begun, '<', 5, 'and said soon';
    is $other->ask('nokdc', '/EWS/Exchange.asmx', user => 'ada', body => 'x')
        ->status, 503, 'to programs too';
    like $other->log, qr/CP0170: .*backend-kdc-unavailable/, 'and logged';
    $other->stop;
}

# ------------------------------------------------- a password that has changed

{
    my $new = 'An0ther-Passw0rd';
    my $set = sub {
        my ($user, $password) = @_;
        CaspLab::run('samba-tool', 'user', 'setpassword', $user,
            "--newpassword=$password", '-s', "$run/ad/smb.conf");
        CaspBackFronts::iis_password($iis, $user, $password);
    };
    CaspBackFronts::look_at($iis);
    my @session = with(jar(on('quick', 'load40')));
    whose(at('quick', '/owa/', @session), 'load40', 'with the old password');
    whose(at('quick', '/owa/', user => 'load41'), 'load41', 'by Basic');
    my @krb = with(jar(on('quick-krb', 'load42')));
    whose(at('quick-krb', '/owa/', @krb), 'load42', 'by a ticket');
    $set->($_, $new) for 'load40', 'load41', 'load42';
    kill 'USR1', CaspBackFronts::env($iis)->{IIS_PID}; # logins there end
    sleep 2;
    for my $case (['quick', 'load40', @session], ['quick-krb', 'load42',
        @krb]) {
        my ($front, $user, @o) = @$case;
        my $mark = mark();
        my $r = at($front, '/owa/', @o);
        is $r->status, 302, "$front: the session is over";
        like $r->header('Location') // '', qr/logon\.aspx\?.*reason=4$/,
            "$front: for the password has changed";
        ok expired($r, 'cadata'), "$front: its cookie goes";
        no_requests($mark, "$front: nothing was served");
        is at($front, '/owa/', @o)->status, 302, "$front: and stays over";
    }
    my $r = at('quick', '/owa/', user => 'load41');
    is $r->status, 401, 'by Basic: a 401';
    like $r->header('WWW-Authenticate') // '', qr/^Basic /, 'that asks again';
    whose(at('quick', '/owa/', user => 'load41', password => $new), 'load41',
        'the new password');
    whose(at('quick', '/owa/', with(jar(on('quick', 'load40',
        password => $new)))), 'load40', 'the new password, by form');
    $set->($_, lab()->{password}) for 'load40', 'load41', 'load42';

    # changed a moment ago, which this front's caches do not know yet
    my @late = ('load43', 'load44', 'load45');
    my $tell = sub {
        my ($user, $password) = @_;
        $set->($user, $password);
        CaspBackFronts::sim($odd, $_, "password?CONTOSO%5C$user=$password")
            for 'BER-CAS1', 'BER-CAS2';
    };
    @session = with(jar(on('forms10', 'load45')));
    whose(at('forms10', '/owa/', user => $_), $_, 'by a form behind')
        for @late;
    $tell->($_, $new) for @late;
    CaspBackFronts::sim($odd, $_, 'forget') for 'BER-CAS1', 'BER-CAS2';
    is at('forms10', '/owa/', user => 'load43')->status, 401,
        'a form behind that does not take the old password: 401';
    $r = at('forms10', '/owa/', @session);
    is $r->status, 302, 'and the session is over';
    like $r->header('Location') // '', qr/logon\.aspx\?.*reason=4$/,
        'for the password has changed';
    is at('kerberos', '/owa/', user => 'load44')->status, 401,
        'a KDC that does not take the old password: 401';
    whose(at('forms10', '/owa/', user => 'load43', password => $new),
        'load43', 'the new password, by a form behind');
    $tell->($_, lab()->{password}) for @late;
}

my @errors = $httpd->errors(qr/AH01102|AH01110|AH01114|AH01097|AH00898/);
is scalar @errors, 0, 'nothing else in its log'
    or diag map {"$_\n"} @errors[0 .. ($#errors > 9 ? 9 : $#errors)];
$httpd->stop;
finish();
