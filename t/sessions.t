# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# What becomes of a session: its life, renewal, bad cookies, sign-out, several
# nodes, restarts, and an account that changes.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use MIME::Base64 ();
use Time::HiRes 'sleep';
use CaspForms;
use CaspHttpd;
use CaspTest;

begin(ad => 1);

my $here = 'https://forms.contoso.test';

sub value { return ($_[0] =~ /cadata=([^;]+)/)[0] }

# ------------------------------------------------------------- bad cookies

my $jar = jar(log_on('forms', 'ada'));
my $good = value($jar);
{
    my %bad = (
        empty => '', word => 'x', foreign => 'A' x 200, quoted => '"x"',
        dots => '....', percent => '%00%ff', huge => 'A' x 20000,
        null => 'null', exchange => '2' . MIME::Base64::encode_base64('x' x 90, ''),
        half => substr($good, 0, length($good) / 2), short => substr($good, 0, -1),
        longer => $good . 'A', twice => $good . $good, lower => lc $good,
        space => substr($good, 0, 50) . ' ' . substr($good, 50));
    my $at = 0;
    for my $place (0, 1, 5, 9, 13, 20, 40, 80, length($good) - 2) {
        my $flipped = $good;
        substr($flipped, $place, 1) =~ tr/A-Za-z0-9_-/B-ZAb-za1-90\-_/;
        $bad{"flipped at $place"} = $flipped;
    }
    for my $name (sort keys %bad) {
        my $mark = mark();
        my $r = ask('forms', '/owa/', with("cadata=$bad{$name}; sessionid=x"));
        is $r->status, 302, "a cookie that is $name: none";
        like $r->header('Location'), qr/reason=0$/, "$name: and no reason";
        ok expired($r, $_), "$name: $_ is taken away" for qw(cadata sessionid);
        is ask('forms', '/owa/ev.owa', with("cadata=$bad{$name}", body => 'x'))
            ->status, 440, "$name: 440 for others";
        no_requests($mark, "$name: no backend");
    }
    # beside a good one
    for my $case (["cadata=x; $jar", 'one before'], ["$jar; cadata=x", 'one behind'],
        ["cadata=a; cadata=b; cadata=c; $jar", 'three before']) {
        my ($cookies, $name) = @$case;
        my $r = ask('forms', '/owa/', with($cookies));
        is $r->status, 200, "a good cookie and $name";
        ok cookie_of($r, 'cadata'), "$name: ours is set anew";
        ok scalar(grep { /^cadata=;.*Path=\/owa;/ } $r->all('Set-Cookie')),
            "$name: strays are taken away";
    }
    is ask('forms', '/owa/', with("cadata=a; cadata=b; cadata=c; cadata=d; $jar"))
        ->status, 302, 'after four it is not looked any further';
    is ask('forms', '/owa/', with("cadataTTL=1; cadataKey=2; $jar"))->status,
        200, "2013's cookies are nothing to us";
    # another host, another place
    for my $front ('forms-silent', 'forms13', 'forms-short') {
        is ask($front, '/owa/', with($jar))->status, 302,
            "a session of forms is none at $front";
    }
    is ask('mail', '/owa/', with($jar))->status, 401,
        'nor where forms are not taken';
}

# -------------------------------------------------------------- life, renewal

# forms-short: public 4 s, private 8 s; so slots of 2 and 4 s
{
    my $r = log_on('forms-short', 'ada');
    my $short = jar($r);
    is ask('forms-short', '/owa/', with($short))->status, 200, 'young: good';
    sleep 2.2; # the next slot, whenever this one began
    $r = ask('forms-short', '/owa/ev.owa?oeh=1&UA=0', with($short));
    is $r->status, 200, 'half-way: good';
    is cookie_of($r, 'cadata'), undef, 'a poll does not renew it (UA=0)';
    $r = ask('forms-short', '/owa/', with($short,
        headers => ['X-UserActivity: 0']));
    is cookie_of($r, 'cadata'), undef, 'nor one with X-UserActivity: 0';
    $r = ask('forms-short', '/owa/', with($short));
    my $renewed = jar($r);
    ok cookie_of($r, 'cadata'), 'a person does';
    isnt value($renewed), value($short), 'by a new cookie';
    is cookie_of($r, 'sessionid'), ($short =~ /sessionid=(.*)/)[0],
        'of the same session';
    like $r->header('Cache-Control') // '', qr/no-cache="Set-Cookie"/,
        'that no cache keeps';
    sleep 4.2; # over 6 s after the first
    $r = ask('forms-short', '/owa/', with($short));
    is $r->status, 302, 'one and a half time-outs after: over';
    like $r->header('Location'), qr/reason=3$/, 'timed out (V46)';
    is $r->decision, 'logon; session-expired', 'its decision';
    ok expired($r, 'cadata'), 'and taken away';
    is ask('forms-short', '/owa/?oeh=1&ns=x', with($short))->status, 440,
        "a script's call: 440 (V45)";
    is ask('forms-short', '/owa/ev.owa', with($short, body => 'x'))->status,
        440, 'a POST: 440';
    my $private = jar(log_on('forms-short', 'ada', private => 1));
    sleep 6.3;
    is ask('forms-short', '/owa/', with($private))->status, 200,
        'a private computer lives longer';
}

# -------------------------------------------------------------------- sign-out

# 2010 front: the URLs of every generation
for my $case (['ada', '/owa/logoff.owa'], ['ada', '/owa/auth/logoff.aspx?Cmd=logoff'],
    ['ada', '/owa/auth/logoff.aspx?Cmd=logoff&src=exch'],
    ['ada', '/owa/auth/signout.aspx'], ['ada', '/ecp/logoff.aspx'],
    ['ada', '/exchange/?Cmd=logoff'], ['ada', '/OWA/Logoff.owa'],
    ['ada', '/exchweb/bin/auth/usa/logoff.asp'],
    ['ada', '/exchweb/bin/USA/logoff.asp?Cmd=logoff']) {
    my ($user, $path) = @$case;
    my $session = jar(log_on('forms', $user));
    my $mark = mark();
    my $r = ask('forms', $path, with($session));
    is $r->status, 302, "sign-out by $path";
    like $r->header('Location'),
        qr{^$here/owa/auth/logon\.aspx\?.*reason=1$}, "$path: leads to the page";
    ok expired($r, $_), "$path: $_ is taken away" for qw(cadata sessionid);
    is $r->body, '', "$path: nothing of the backend's page";
    my ($told) = requests($mark);
    if ($path =~ m{^/(?:owa|ecp)}i) {
        like $told->{target} // '', qr/logoff|signout/i,
            "$path: the backend is told";
        is $told->{user}, 'CONTOSO\\ada', "$path: who it is";
    }
    $r = ask('forms', '/owa/', with($session));
    is $r->status, 302, "$path: a copy of the cookie is worth nothing";
    is ask('forms', '/EWS/Exchange.asmx', with($session))->status, 401,
        "$path: nowhere";
}
{
    my $r = ask('forms', '/owa/logoff.owa');
    is $r->status, 302, 'sign-out without a session';
    like $r->header('Location'), qr/reason=1$/, 'is one all the same';
    for my $status (404, 500) { # the backend knows no such page
        my $session = jar(log_on('forms-over', 'ada'));
        $r = ask('forms-over', "/owa/logoff.owa?sim=$status", with($session));
        is $r->status, 302, "ProxyErrorOverride, $status: signed out";
        like $r->header('Location') // '', qr/reason=1$/,
            "ProxyErrorOverride, $status: the logon page";
        ok expired($r, 'cadata'), "ProxyErrorOverride, $status: no cookie";
    }
    my $one = jar(log_on('forms', 'ada'));
    my $two = jar(log_on('forms', 'ada'));
    ask('forms', '/owa/logoff.owa', with($one));
    is ask('forms', '/owa/', with($two))->status, 200,
        "another session of the same person goes on";
    # 2003's own
    my $legacy = jar(log_on('forms07', 'fritz', destination => '/exchange/'));
    my $mark = mark();
    $r = ask('forms07', '/exchange/?Cmd=logoff', with($legacy));
    like $r->header('Location'), qr/reason=1$/, "2003's sign-out";
    like((requests($mark))[0]->{target}, qr/Cmd=logoff/, 'is told to 2003');
}

# ---------------------------------------------------- an account that changes

sub samba {
    my (@words) = @_;
    return CaspLab::run('samba-tool', 'user', @words,
        '-s', lab()->{run} . '/ad/smb.conf');
}
{
    my $httpd = CaspHttpd->new('accounts', sub {
        my ($to) = @_;
        return lab()->front($to, 'short', auth => '', lines => [
            'CasProxyExternalURL https://short.contoso.test/owa',
            'CasProxyCredentialCache ttl=1', 'CasProxyMailboxCache ttl=1']);
    });
    $httpd->start;
    my $on = sub { return log_on('short', $_[0], httpd => $httpd,
        password => $_[1] // lab()->{password}) };
    CaspLab::wait_for { jar($on->('berta')) } 15;
    my %account = (berta => jar($on->('berta')), anne => jar($on->('anne')));
    my $get = sub { return $httpd->ask('short', '/owa/', with($account{$_[0]})) };
    is $get->($_)->status, 200, "$_ is logged on" for sort keys %account;

    samba('setpassword', 'berta', '--newpassword=p\'q<r& s"9Z');
    samba('disable', 'anne');
    sleep 1.5;
    my $r = $get->('berta');
    is $r->status, 302, 'a changed password ends the session';
    like $r->header('Location'), qr/reason=4$/, 'which says so';
    ok expired($r, 'cadata'), 'and takes the cookie away';
    $r = $get->('anne');
    is $r->status, 302, 'a disabled account ends the session';
    like $r->header('Location'), qr/reason=2$/, 'and no word more';
    $r = $on->('berta', 'p\'q<r& s"9Z');
    is $r->status, 302, 'the new password, with all that needs escaping';
    ok cookie_of($r, 'cadata'), 'is good';
    like $httpd->log, qr/CP0135: session \S+ of "berta" ended: (?:wrong-password|password-changed)/,
        'the log says why';
    samba('setpassword', 'berta', '--newpassword=' . lab()->{password});
    samba('enable', 'anne');
    sleep 1.2;
    $r = $httpd->ask('short', '/owa/', with($account{anne}));
    is $r->status, 302, 'an ended session does not come back';
    is scalar($httpd->errors), 0, 'nothing else in its log'
        or diag $httpd->errors;
    $httpd->stop;
}

# ------------------------------------------------------------ several nodes

{
    my $run = lab()->{run};
    my $ring = "$run/ring";
    my @secrets = map { MIME::Base64::encode_base64(join('', map { chr int rand 256 }
        1 .. 48), '') . "\n" } 1 .. 3;
    CaspLab::spew($ring, "# the ring\n", $secrets[0]);
    chmod 0600, $ring;
    my $node = sub {
        my ($name, @more) = @_;
        return CaspHttpd->new($name, sub {
            my ($to) = @_;
            return lab()->front($to, 'node', auth => '', lines => [
                'CasProxyExternalURL https://mail.contoso.test/owa',
                "CasProxyFormsKey file:$ring", @more]);
        });
    };
    my ($a, $b) = map { $node->("node-$_")->start } 'a', 'b';
    my $on = sub { return log_on('node', 'ada', httpd => $_[0]) };
    my $at = sub {
        my ($httpd, $cookies) = @_;
        return $httpd->ask('node', '/owa/', with($cookies))->status;
    };
    CaspLab::wait_for { jar($on->($a)) } 15;
    CaspLab::wait_for { jar($on->($b)) } 15;
    my $session = jar($on->($a));
    is $at->($a, $session), 200, 'logged on at node a';
    is $at->($b, $session), 200, 'and so at node b';
    for my $how ('graceful', 'restart', 'graceful') {
        my $pid = $a->pid;
        $a->restart($how);
        sleep 1;
        CaspLab::wait_for { $at->($a, $session) == 200 } 10;
        is $at->($a, $session), 200, "after a $how: nobody is logged out";
    }
    $a->stop;
    $a->start;
    CaspLab::wait_for { $at->($a, $session) == 200 } 10;
    is $at->($a, $session), 200, 'nor after a stop and a start';
    # rolling: append, move up, remove
    CaspLab::spew($ring, @secrets[0, 1]);
    chmod 0600, $ring;
    my $again = sub {
        my ($httpd) = @_;
        $httpd->restart('graceful');
        sleep 1.2;
    };
    $again->($_) for $a, $b;
    is $at->($b, $session), 200, 'a second secret behind: still good';
    CaspLab::spew($ring, @secrets[1, 0]);
    chmod 0600, $ring;
    $again->($a);
    my $new = jar($on->($a));
    is $at->($a, $session), 200, 'the new secret first: the old session is good';
    is $at->($b, $new), 200, 'and the node that waits takes the new ones';
    $again->($b);
    CaspLab::spew($ring, $secrets[1]);
    chmod 0600, $ring;
    $again->($_) for $a, $b;
    is $at->($a, $session), 302, 'the old secret gone: its sessions, too';
    is $at->($b, $new), 200, 'the new ones live on';
    # what a ring may not be
    for my $case (['readable by others', sub { chmod 0644, $ring }],
        ['empty', sub { CaspLab::spew($ring, "# nothing\n"); chmod 0600, $ring }],
        ['too short', sub { CaspLab::spew($ring, "YWJj\n"); chmod 0600, $ring }],
        ['gone', sub { unlink $ring }]) {
        my ($name, $make) = @$case;
        $make->();
        my $bad = $node->('bad-' . $name =~ tr/ /-/r);
        my ($code, $text) = $bad->test;
        my $failed = $code != 0;
        if (!$failed) {
            eval { CaspLab::run($bad->command('-k', 'start')); 1 }
                or $failed = 1;
            $text .= $bad->log;
            if (!$failed) { $bad->start; $bad->stop }
        }
        ok $failed, "a ring that is $name stops the start";
        like $text, qr/CasProxyFormsKey.*ring/, "$name: and the file is named";
        unlike $text, qr/\Q@{[substr $secrets[1], 0, 20]}\E/,
            "$name: without a secret";
    }
    for ($a, $b) {
        is scalar($_->errors), 0, "nothing else in the log of $_->{name}"
            or diag $_->errors;
        $_->stop;
    }
}
finish();
