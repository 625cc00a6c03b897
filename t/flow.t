# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Time, size and flow: bodies of 2 GiB that nobody keeps, answers that come as
# they are sent, slow people and slow servers that hold up nobody else, and a
# time for each protocol.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspFault;
use CaspFlow ();
use CaspHttpd;
use CaspTest;
use CaspWire;
use Time::HiRes ();

begin(ad => 1);
my $prefork = lab()->{mpm} eq 'prefork';
my $lost = lab()->{mpm} eq 'prefork' ? 'prefork: one child, one request' : '';

lab()->{exchange} = CaspFlow::servers(lab());
my $httpd = CaspHttpd->new('flow', \&CaspFlow::fronts,
    global => join '', CaspFlow::one_child())->start;
CaspLab::wait_for {
    $httpd->ask('clear-flow', '/owa/', user => 'ada')->status == 200
} 20 or diag $httpd->log;

my $EWS = '/EWS/Exchange.asmx';
my $EAS = '/Microsoft-Server-ActiveSync';
my $MEGABYTE = 1024 * 1024;
sub eventually { return CaspLab::wait_for(\&{ $_[0] }, 10) }

# ------------------------------------------------------------------- /health

{
    my $r = $httpd->ask('clear-flow', '/casproxy/health');
    is $r->status, 200, '/health without a user';
    is $r->body, "healthy\n", 'says so';
    like $r->header('Content-Type'), qr{^text/plain}, 'in plain text';
    is $r->header('Cache-Control'), 'no-store', 'that nobody keeps';
    $r = $httpd->ask('clear-flow', '/casproxy/health', method => 'HEAD');
    is $r->status, 200, 'HEAD';
    is $r->header('Content-Length'), 8, 'with its length';
    is $r->body, '', 'and no body';
    is $httpd->ask('clear-flow', '/casproxy/health', method => 'POST',
        body => 'x')->status, 405, 'POST is none of its methods';
    for my $path ('/casproxy', '/casproxy/', '/casproxy/nosuch',
        '/casproxy/health/', '/casproxy/unhealth') {
        $r = $httpd->ask('clear-flow', $path);
        is $r->status, 404, "$path: 404";
        like $r->body, qr{no such page.*/health}, "$path: in a sentence";
    }
    is $httpd->ask('clear-few', '/casproxy/health')->status, 404,
        'only where a Location says so';
    is $httpd->ask('clear-inner', '/casproxy/health')->status, 200,
        'for all of the server, in a virtual host of its own';
}

# -------------------------------------------------------------------- 2 GiB

# By the path whose beginning is looked at for an anchor mailbox, at the limit
# of the source documents; and in chunks, of which nobody knows the length.
for my $case (
    ['2 GiB', $EWS, 2048 * $MEGABYTE, type => 'text/xml'],
    ['192 MiB in chunks', "$EAS?Cmd=SendMail", 192 * $MEGABYTE, chunked => 1]) {
    my ($name, $path, $size, %o) = @$case;
    my $mark = mark();
    my $before = CaspFlow::memory($httpd);
    my ($most, @spooled) = ($before);
    my $began = Time::HiRes::time();
    my $status = CaspFlow::upload($httpd, 'clear-flow', $path, $size, %o,
        look => sub {
            my $now = CaspFlow::memory($httpd);
            $most = $now if $now > $most;
            push @spooled, CaspFlow::spooled($httpd);
        });
    my $took = Time::HiRes::time() - $began;
    my ($got) = requests($mark);
    is $got && $got->{body}, $size, "$name: arrives whole";
    isnt $status, 0, "$name: and is answered";
    is "@spooled", '', "$name: no file holds it on its way";
    cmp_ok $most - $before, '<', 16 * 1024, "$name: nor does memory";
    diag sprintf '%s: %.1f s, %d kB before, %d kB at most', $name, $took,
        $before, $most;
}

# A server that does not read stops the client, and not before.
{
    my $s = CaspFlow::connected($httpd);
    print $s CaspFlow::head('clear-flow', "$EWS?sim=deaf:3", user => 'olga',
        method => 'POST', headers => ['Content-Length: ' . 64 * $MEGABYTE]);
    $s->blocking(0);
    my ($sent, $part) = (0, 'x' x 65536);
    for (1 .. 50) {
        my $n = syswrite($s, $part) // 0;
        $sent += $n;
        Time::HiRes::sleep(0.02) if !$n;
    }
    for (1 .. 400) {
        my $n = syswrite $s, $part;
        last if !$n;
        $sent += $n;
    }
    cmp_ok $sent, '<', 40 * $MEGABYTE, 'a server that does not read: the '
        . 'client has to wait';
    diag "$sent bytes are under way to a server that does not read";
    close $s;
}

# --------------------------------------------------------- nothing is held

# What is sent in pieces arrives in pieces: a proxy that buffers would deliver
# all of it at the end, at once.
my @trickles = (['clear-flow', 'ada', '/owa/', 'OWA'],
    ['clear-flow', 'ada', '/EWS/x', 'EWS'],
    ['clear-flow', 'ada', "$EAS?Cmd=Ping", 'EAS'],
    ['clear-flow', 'bert', '/EWS/x', 'EWS at another site'],
    ['clear-new', 'sven', '/mapi/emsmdb/', 'MAPI']);
my @streams = CaspFlow::at_once(map {
    my ($front, $user, $path, $name) = @$_;
    sub {
        CaspFlow::stream($httpd, $front, $path . ($path =~ /\?/ ? '&' : '?')
            . 'sim=trickle:0.05', user => $user,
            $name eq 'EAS' ? (method => 'POST', body => 'x') : ())
    }
} @trickles);
for my $r (@streams) {
    my $name = (shift @trickles)->[3];
    is $r->status, 200, "$name: a trickling answer";
    my $parts = int((length($r->body) + 6) / 7);
    cmp_ok $r->{last} - $r->{first}, '>=', 0.05 * ($parts - 1) * 0.8,
        "$name: arrives as it is sent";
    cmp_ok $r->{reads}, '>=', $parts / 2, "$name: piece by piece";
}

# MAPI's own: what it is doing, until it has an answer.
{
    my $r = CaspFlow::stream($httpd, 'clear-new',
        '/mapi/emsmdb/?sim=pending:4&sim=beat:0.3', user => 'sven',
        method => 'POST', body => 'x', headers => [
            'X-RequestType: NotificationWait',
            'Content-Type: application/mapi-http']);
    is $r->status, 200, 'NotificationWait';
    like $r->body, qr/\APROCESSING\r\n(?:PENDING\r\n){4}DONE\r\n/,
        'PROCESSING, PENDING, DONE';
    cmp_ok $r->{first}, '<', 1, 'PROCESSING at once';
    cmp_ok $r->{last} - $r->{first}, '>=', 1.2, 'PENDING meanwhile';
}
# An upload, too: it is there before its end.
{
    my $before = CaspFlow::sim('STO-EX10', 'heard');
    my $s = CaspFlow::connected($httpd);
    print $s CaspFlow::head('clear-flow', $EWS, user => 'olga', method => 'POST',
        headers => ['Content-Length: 400000']), 'x' x 200_000;
    ok eventually(sub {
        CaspFlow::sim('STO-EX10', 'heard') >= $before + 150_000
    }), 'half of an upload is there before the other half was sent'
        or diag CaspFlow::sim('STO-EX10', 'heard') - $before;
    print $s 'x' x 200_000;
    isnt CaspFlow::status_of($s, 20), 0, 'and then all of it';
}

# ------------------------------------------------------- Expect: 100-continue

{
    my $mark = mark();
    my $wire = CaspWire->new(httpd => $httpd);
    $wire->say(CaspFlow::head('clear-flow', '/EWS/x', method => 'POST',
        user => 'olga', headers => ['Expect: 100-continue',
            'Content-Length: 5']));
    my $r = $wire->hear(alone => 1, wait => 10);
    is $r->status, 100, 'Expect: 100-continue is answered before the body';
    $wire->say('hello');
    $r = $wire->hear(wait => 10);
    is $r->status, 200, 'and the request after it';
    my ($got) = requests($mark);
    is $got && $got->{body}, 5, 'whose body arrived';
    $mark = mark();
    $wire = CaspWire->new(httpd => $httpd);
    $wire->say(CaspFlow::head('clear-flow', '/EWS/x', method => 'POST',
        headers => ['Expect: 100-continue', 'Content-Length: 5'])
        =~ s/^Authorization: .*\r\n//mr);
    is $wire->hear(alone => 1, wait => 10)->status, 401,
        'nobody is told to go on who has not logged on';
    no_requests($mark);
}

# ------------------------------------------------------------- slow people

# Who reads slowly holds a connection to the server and no more.
SKIP: {
    skip $lost, 5 if $prefork;
    my $before = CaspFlow::connections('STO-EX10');
    my $memory = CaspFlow::memory($httpd);
    my $slow = CaspFlow::begin_slow($httpd, map {
        ['clear-flow', '/owa/?sim=big:30000000', user => 'olga'] } 1 .. 3);
    Time::HiRes::sleep(1);
    my $held = CaspFlow::connections('STO-EX10');
    cmp_ok $held, '<=', $before + 3, 'three who read slowly: three connections';
    cmp_ok $held, '>=', 3, 'which they hold';
    cmp_ok CaspFlow::memory($httpd) - $memory, '<', 16 * 1024,
        'and no memory to speak of';
    my @quick = CaspFlow::together($httpd, map {
        ['clear-flow', '/owa/', user => 'olga'] } 1 .. 5);
    is join(' ', map { $_->status } @quick), join(' ', (200) x 5),
        'others are served by the same server meanwhile';
    cmp_ok((sort { $b <=> $a } map { $_->{took} } @quick)[0], '<', 5, 'soon');
    close $_ for @$slow;
}
# Who sends slowly, the same; nothing is kept for them.
{
    my @slow = map {
        my $s = CaspFlow::connected($httpd);
        print $s CaspFlow::head('clear-flow', '/EWS/x', user => 'olga',
            method => 'POST', headers => ['Content-Length: 3']), 'x';
        $s
    } 1 .. ($prefork ? 2 : 5);
    is $httpd->ask('clear-flow', '/EWS/x', user => 'olga')->status, 200,
        'others are served while some send slowly';
    print $_ 'xx' for @slow;
    is join(' ', CaspFlow::finish(\@slow)), join(' ', map {200} @slow),
        'and they too, when they are through';
}

# ------------------------------------------------------------- slow servers

SKIP: {
    skip $lost, 9 if $prefork;
    my $mark = mark();
    my $pings = CaspFlow::begin_slow($httpd, map {
        ['clear-busy', "$EAS?Cmd=Ping&sim=slow:3", user => 'olga',
            method => 'POST', headers => ['Content-Length: 0']] } 1 .. 3);
    Time::HiRes::sleep(1);
    my @more = CaspFlow::together($httpd,
        ['clear-busy', "$EAS?Cmd=Ping", user => 'olga', method => 'POST',
            body => ''],
        (['clear-busy', "$EAS?Cmd=Ping", user => 'ada', method => 'POST',
            body => '']) x 3,
        ['clear-busy', '/owa/', user => 'olga']);
    my $r = shift @more;
    is $r->status, 503, 'one more than busy= allows: 503';
    like $r->header('Retry-After') // '', qr/^\d+$/, 'with Retry-After';
    is $r->decision, 'error; backend-unavailable', 'and a reason';
    cmp_ok $r->{took}, '<', 3, 'at once';
    my $owa = pop @more;
    is join(' ', map { $_->status } @more), '200 200 200',
        "another server's users are served";
    cmp_ok $_->{took}, '<', 3, 'without waiting' for $more[0];
    is $owa->status, 200, 'and browsers of the same: each time-out has its own';
    is join(' ', CaspFlow::finish($pings)), '200 200 200',
        'who was there first gets an answer';
    is $httpd->ask('clear-busy', "$EAS?Cmd=Ping", user => 'olga',
        method => 'POST', body => '')->status, 200, 'and then others do again';
}
# More threads than connections: whoever has none waits and is refused.
SKIP: {
    skip $lost, 3 if $prefork;
    my @got = CaspFlow::together($httpd, map {
        ['clear-few', "$EAS?Cmd=Ping&sim=slow:3", user => 'olga',
            method => 'POST', body => ''] } 1 .. 3);
    my %by = map { $_->status => $_ } @got;
    is join(' ', sort map { $_->status } @got), '200 200 503',
        'hmax=2 serves two';
    like $by{503} ? $by{503}->header('Retry-After') // '' : '', qr/^\d+$/,
        'and tells the third to come back';
    like $httpd->log, qr/CP0166/, 'the log says which limit it was';
}

# ------------------------------------------------------ a time per protocol

# 2 s against a server that takes 3; the others have 200 s and more.
SKIP: {
    skip $lost, 1 if $prefork;
    my %path = (OWA => '/owa/', ECP => '/ecp/', EAS => "$EAS?Cmd=Ping",
        EWS => '/EWS/x', Autodiscover => '/Autodiscover/x',
        UM => '/UnifiedMessaging/x', OAB => '/OAB/x/oab.xml');
    my @names = sort keys %path;
    my %short = (OWA => 1, ECP => 1, OAB => 1, UM => 1, Autodiscover => 1);
    my @asked = map {
        my $front = $_;
        map {
            my $p = $path{$_};
            [$front, $p . ($p =~ /\?/ ? '&' : '?') . 'sim=slow:3',
                user => 'olga', method => $_ eq 'EAS' ? 'POST' : 'GET',
                $_ eq 'EAS' ? (body => '') : ()]
        } @names
    } 'clear-time', 'clear-time2';
    my $mapi = '/mapi/emsmdb/?sim=slow:3';
    my @got = CaspFlow::together($httpd, @asked,
        ['clear-time-new', $mapi, user => 'sven'],
        ['clear-new', $mapi, user => 'sven']);
    for my $front (0, 1) {
        for my $name (@names) {
            my $r = shift @got;
            my $ends = !$short{$name} == !!$front;
            is $r->status, $ends ? 503 : 200, "$name: "
                . ($ends ? 'over after 2 s' : 'has its time')
                or diag $r->decision;
            cmp_ok $r->{took}, '>=', $ends ? 1.9 : 2.9, "$name: no sooner";
        }
    }
    is $got[0]->status, 503, 'MAPI: over after 2 s';
    is $got[1]->status, 200, 'MAPI: has its time';
}

# -------------------------------------------------------- who goes away

# In the middle of an upload: the server is told, the place is free again.
{
    my $before = CaspFlow::connections('STO-EX10');
    for (1 .. 4) {
        my $s = CaspFlow::connected($httpd);
        print $s CaspFlow::head('clear-busy', '/EWS/x', user => 'olga',
            method => 'POST', headers => ['Content-Length: 1000000']),
            'x' x 100_000;
        Time::HiRes::sleep(0.2);
        close $s;
    }
    ok eventually(sub {
        CaspFlow::connections('STO-EX10') <= $before
    }), 'uploads that were given up leave no connection behind';
    is $httpd->ask('clear-busy', '/EWS/x', user => 'olga')->status, 200,
        'and no place taken';
}
# In the middle of an answer.
{
    for (1 .. 4) {
        my $s = CaspFlow::connected($httpd);
        print $s CaspFlow::head('clear-busy', '/owa/?sim=big:50000000',
            user => 'olga');
        sysread $s, my $some, 1000;
        close $s;
    }
    ok eventually(sub {
        $httpd->ask('clear-busy', '/owa/', user => 'olga')->status == 200
    }), 'nor do answers that nobody waits for';
}

my @errors = $httpd->errors(qr/AH01102|AH00898|AH00941|AH01084|AH01097|AH01110|AH02608|
    AH01095|AH10159|AH00484|AH00161/x);
is scalar @errors, 0, 'nothing else in its log'
    or diag map {"$_\n"} @errors[0 .. ($#errors > 9 ? 9 : $#errors)];
$httpd->stop;

# ----------------------------------------------- /health, and the directory

# While nothing is known; while what is known is fresh enough, and longer.
{
    my $dir = CaspFault->new('flow-slapd');
    my $switched = CaspHttpd->new('flow-health', sub {
        return lab()->front($_[0], 'clear-health', plain => 1, proxy => [],
            directory => [$dir->lines('switch')], lines => [
                'CasProxyRequireTLS Off', 'CasProxyTopologyRefresh 1',
                'CasProxyDirectoryTimeout connect=1 search=1 topology=2',
                'CasProxyMailboxCache ttl=1 stale=2'], vhost => [
                '<Location /casproxy>', '    SetHandler casproxy-status',
                '    Require all granted', '</Location>']);
    }, global => join '', CaspFlow::one_child());
    my @ask = ('clear-health', '/casproxy/health');
    my $becomes = sub {
        my ($status) = @_;
        return CaspLab::wait_for { $switched->ask(@ask)->status == $status } 30
    };
    $dir->manner('stopped');
    $switched->start;
    my $r = $switched->ask(@ask);
    is $r->status, 503, 'nothing is known yet: 503';
    like $r->header('Retry-After') // '', qr/^\d+$/, 'with Retry-After';
    is $r->body, "not healthy: the organisation is not known yet\n", 'and why';
    unlike $r->body . join(' ', map {"@$_"} @{ $r->{headers} }),
        qr/ldap|127\.0|contoso/i, 'but no name of the inside';
    is $switched->ask(@ask, method => 'HEAD')->status, 503, 'HEAD as well';
    $dir->manner('pass');
    ok $becomes->(200), 'the directory is there: 200';
    Time::HiRes::sleep(1.5);
    $dir->manner('stopped');
    is $switched->ask(@ask)->status, 200, 'it is gone: what is known will do';
    ok $becomes->(503), 'for a while';
    $r = $switched->ask(@ask);
    is $r->body, "not healthy: the directory has not answered for too long\n",
        'and then not';
    like $switched->log, qr/CP0821: .*clear-health.*ldap/,
        'the log has what strangers are not told';
    $dir->manner('pass');
    ok $becomes->(200), 'it is back, and so is the front';
    $switched->stop;
    $dir->down;
}
{   # one that never answers: the patience is one for all that wait for it
    my $mute = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1');
    my @mute = ('CasProxyDirectory ldaps://127.0.0.1:' . $mute->sockport,
        'CasProxyDirectoryBind cn=x file:' . lab()->{ad}{AD_PASSWORD_FILE},
        'CasProxyDirectoryCAFile ' . lab()->{run} . '/ca/ca.pem',
        'CasProxyDirectoryTimeout connect=25 search=5 topology=30');
    my $many = CaspHttpd->new('flow-mute', sub {
        my @o = (plain => 1, proxy => [], directory => [@mute]);
        return join '', map({ lab()->front($_[0], "clear-mute$_->[0]", @o,
            %{ $_->[1] }) } map({ [$_, {}] } 1 .. 3), [0, { mode => 'Off',
            vhost => ['<Location /casproxy>',
                '    SetHandler casproxy-status',
                '    Require all granted', '</Location>'] }]);
    }, global => join '', CaspFlow::one_child())->start;
    my $from = Time::HiRes::time();
    is $many->ask('clear-mute0', '/casproxy/health')->status, 503,
        'three virtual hosts of a directory that says nothing';
    cmp_ok Time::HiRes::time() - $from, '<', 3.5, 'are waited for together';
    $many->stop;
}
finish();
