# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# People who came without a password: taken one server further by delegation,
# or told, once, that they cannot be.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspBackFronts ();
use CaspHttpd;
use CaspTest;
use CaspWire;

begin(ad => 1);

my $iis = CaspBackFronts::iis(lab());
CaspBackFronts::look_at($iis);
my $httpd = CaspHttpd->new('delegated', \&CaspBackFronts::delegated)->start;
$httpd->ready('delegate', 'ada') or diag $httpd->log;

sub at {
    my ($front, $path, @o) = @_;
    return ask($front, $path, @o, httpd => $httpd);
}

sub pair {
    my ($front, $user, $auth, $path) = @_;
    my $told = explain(config => "$httpd->{dir}/fronts/$front.conf",
        user => $user, auth => $auth,
        url => "https://$front.contoso.test" . ($path // '/owa/'));
    return $told;
}

# front, how they come in (as explain calls it), options
my %come = (
    ntlm => sub { (ntlm => "CONTOSO\\$_[0]") },
    negotiate => sub { (ticket => $_[0]) },
    basic => sub { (user => $_[0]) },
    other => sub { (user => "CONTOSO\\$_[0]") });

# ---------------------------------------------------- one server further

# Who is known behind is told by the server behind, and by nothing that we
# sent in clear: a ticket in the user's name, which only the KDC can make.
for my $case (['delegate', 'ntlm', 'ada'], ['delegate', 'negotiate', 'ada'],
    ['delegate', 'basic', 'ada'], ['mixed', 'ntlm', 'berta'],
    ['mixed', 'negotiate', 'berta'], ['inside', 'ntlm', 'anna'],
    ['vouched', 'other', 'ada'], ['delegate', 'ntlm', 'bert'],
    ['delegate', 'negotiate', 'bert']) {
    my ($front, $how, $user) = @$case;
    my $name = "$front: $user by $how";
    SKIP: {
        need_winbind(8) if $front eq 'inside';
        my $mark = mark();
        my $r = at($front, '/owa/?a=1', $come{$how}->($user));
        is $r->status, 200, "$name: served" or diag $r->decision;
        has_text($r, "mailbox of CONTOSO\\$user on", "$name: their mailbox");
        my @got = requests($mark);
        is scalar @got, 1, "$name: one request behind";
        my $seen = $got[0] // bless { headers => [] }, 'CaspTest::Request';
        is $seen->{raw} // '', "$user\@CONTOSO.TEST",
            "$name: the server behind names the user";
        is $seen->{auth} // '', 'Kerberos', "$name: by Kerberos";
        unlike $seen->header('Authorization') // '', qr/^(?:Basic|NTLM)/,
            "$name: by nothing else";
        next if $how eq 'other';
        my $told = pair($front, $user, $how);
        is "$told->{login}{user} $told->{login}{backend}", "$how delegate",
            "$name: explain says the same";
        is $told->{warning}, undef, "$name: and has no warning";
    }
}
# Outlook's channels, too, which take a way of their own through the front.
for my $how ('ntlm', 'negotiate') {
    my $mark = mark();
    my $r = at('delegate', '/rpc/rpcproxy.dll?ber-mbx1.contoso.test:6001',
        method => 'RPC_OUT_DATA', body => 'o' x 76, $come{$how}->('ada'));
    is $r->status, 200, "a channel by $how: served" or diag $r->decision;
    my $seen = (grep { $_->{method} eq 'RPC_OUT_DATA' } requests($mark))[0]
        // bless { headers => [] }, 'CaspTest::Request';
    is $seen->{raw} // '', 'ada@CONTOSO.TEST', "a channel by $how: as ada";
    is $seen->{auth} // '', 'Kerberos', "a channel by $how: by Kerberos";
    is $seen->{body} // 0, 76, "a channel by $how: with its body";
}
{   # request by request, over connections that are shared
    my $mark = mark();
    my @answers = ask_each(map { ['delegate', "/owa/?n=$_", ticket => 'ada',
        httpd => $httpd] } 1 .. 10);
    is scalar(grep { $_->status == 200 } @answers), 10, 'ten requests';
    my @got = requests($mark);
    is scalar @got, 10, 'arrive, each with a ticket of its own';
    my $wire = CaspWire->new(tls => 'delegate', httpd => $httpd);
    my $r = $wire->log_on('delegate', '/owa/', 'CONTOSO\\berta');
    is $r->status, 200, 'NTLM once';
    $mark = mark();
    $r = $wire->ask('delegate', '/owa/ev.owa?n=1', body => 'x' x 70_000);
    is $r->status, 200, 'and a POST without a word of it';
    @got = requests($mark);
    is $got[0] && "$got[0]{user} $got[0]{body}", 'CONTOSO\\berta 70000',
        'arrives in her name';
}
{   # a linked mailbox: its owner's account is who is taken further
    for my $case (['delegate', 'ntlm'], ['delegate', 'negotiate'],
        ['inside', 'ntlm']) {
        my ($front, $how) = @$case;
        SKIP: {
            need_winbind(2) if $front eq 'inside';
            my $mark = mark();
            my $r = at($front, '/owa/', $come{$how}->('lara'));
            is $r->status, 200, "$front: who owns a linked mailbox, $how"
                or diag $r->decision;
            my ($got) = requests($mark);
            is $got && $got->{raw}, 'lara@CONTOSO.TEST',
                "$front, $how: in the owner's own name";
        }
    }
}

# ---------------------------------------------------------- where it is not

{   # the KDC says no: this account may not delegate to that server
    for my $how ('ntlm', 'negotiate') {
        my $mark = mark();
        my $r = at('mixed', '/owa/', $come{$how}->('olga'));
        is $r->decision, 'error; double-hop', "no delegation there, $how";
        is $r->status, 403, "$how: a page";
        like $r->body, qr/<html/, "$how: for a person";
        is scalar(grep { !/^Negotiate \S/ } $r->all('WWW-Authenticate')), 0,
            "$how: no prompt"; # a ticket's answer is none
        no_requests($mark, "$how: nobody is asked");
    }
    my $who = qr/sto-ex10\S* for CONTOSO\\+olga/;
    my $found = CaspLab::wait_for { $httpd->log =~
        /CP0170: .*\(delegate\) at backend $who: double-hop: \S.*delegat/i } 3;
    ok $found, 'the log says what to allow';
    my $r = at('mixed', '/owa/', ntlm => 'CONTOSO\\kim');
    is $r->status, 403, 'a server without SPN';
    ok scalar($httpd->log =~ /CP0170: .*kie-ex2.*(?:SPN|setspn)/i),
        'the log says so';
}

# How often a client is asked: curl follows until it may stop.
sub asked { my ($r) = @_; return scalar split ' ', $r->{steps} }

{   # NTLM in, no keytab: Basic is asked for where there is Basic, once
    my $mark = mark();
    my $r = at('hop', '/owa/', ntlm => 'CONTOSO\\ada');
    is $r->status, 401, 'double hop: a 401';
    is_deeply [map {/^(\S+)/} $r->all('WWW-Authenticate')], ['Basic'],
        'which asks for Basic and nothing else';
    is $r->decision, 'logon; double-hop', 'and says why';
    cmp_ok asked($r), '<=', 3, 'after one handshake';
    no_requests($mark, 'nobody behind is asked');
    $r = at('hop', '/owa/', curl => ['--anyauth', '--user',
        'CONTOSO\\ada:' . lab()->{password}]);
    cmp_ok asked($r), '<=', 4, 'a client that takes any is not led in circles';
    # what a browser does then, on the very connection
    my $wire = CaspWire->new(tls => 'hop', httpd => $httpd);
    $r = $wire->log_on('hop', '/owa/', 'CONTOSO\\ada');
    is $r->status, 401, 'a connection with a login';
    $r = $wire->ask('hop', '/owa/', authorization => basic('ada'));
    is $r->status, 200, 'and Basic over it';
    $r = $wire->ask('hop', '/owa/', authorization => basic('ada', 'wrong'));
    is $r->status, 401, 'is judged';
    is $r->decision =~ /double-hop/ ? 1 : 0, 0, 'on its own';
    my $told = pair('hop', 'ada', 'ntlm');
    is_deeply $told->{login}, { user => 'ntlm', backend => 'impossible',
        why => 'double-hop' }, 'explain knows';
    is pair('hop', 'ada', 'basic')->{login}{backend}, 'basic',
        'and that Basic would do';
}
{   # no Basic either: a page, no prompt
    my $mark = mark();
    my $r = at('hop-ntlm', '/owa/', ntlm => 'CONTOSO\\ada');
    is $r->status, 403, 'without Basic: a 403';
    is $r->decision, 'error; double-hop', 'with its reason';
    like $r->body, qr/<html/, 'and a page';
    is scalar($r->all('WWW-Authenticate')), 0, 'no prompt at all';
    cmp_ok asked($r), '<=', 3, 'and no loop';
    no_requests($mark, 'nobody behind is asked');
    $r = at('hop-ntlm', '/EWS/Exchange.asmx', ntlm => 'CONTOSO\\ada',
        body => 'x');
    is $r->status, 403, 'a program: the status';
    unlike $r->body, qr/<html/, 'and no page';
    $r = at('hop-keytab', '/owa/', ntlm => 'CONTOSO\\ada');
    is $r->status, 401, 'NTLM behind needs a password, keytab or not';
    is $r->decision, 'logon; double-hop', 'by its name';
}
{   # S000's matrix: redirections need no hop
    my $r = at('hop-ntlm', '/owa/', ntlm => 'CONTOSO\\clara');
    is $r->action, 'manual-redirect', 'a mailbox elsewhere: its link';
    is $r->status, 200, 'without a prompt';
    $r = at('hop-ntlm', '/owa/', ntlm => 'CONTOSO\\fritz');
    is $r->action, 'silent-redirect', 'a 2003 mailbox: the way to it';
    $r = at('hop07', '/exchange/', ntlm => 'CONTOSO\\gina');
    is $r->decision =~ /double-hop/ ? 1 : 0, 1,
        'matrix 1, row 3: /exchange of a 2007 mailbox asks for a logon'
        or diag $r->decision;
}
{   # what another module vouches for, without delegation
    my $mark = mark();
    CaspBackFronts::look_at(lab()->{run} . '/exchange');
    $mark = mark();
    my $r = at('vouched-auto', '/owa/', user => 'CONTOSO\\ada');
    is $r->status, 200, 'Basic that another module has judged passes';
    is((requests($mark))[0]{user}, 'CONTOSO\\ada', 'as who it is');
    CaspBackFronts::look_at($iis);
}

my @errors = $httpd->errors(qr/AH01102|AH01110|AH01114|AH01617|AH01618/);
is scalar @errors, 0, 'nothing else in its log'
    or diag map {"$_\n"} @errors[0 .. ($#errors > 9 ? 9 : $#errors)];
$httpd->stop;
finish();
