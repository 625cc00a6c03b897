# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Every action on the wire: what each front makes of each kind of mailbox, as
# the sources' matrices say it, and what client and backend see of it.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);

my $BER = 'BER-CAS[12]';
my $HAM = 'HAM-CAS[12]';

# user => "action reason rule", then the server's name or the URL. A rule is
# left out where the reason says it all.
my %common10 = (
    ada => ['direct mailbox-in-this-site f10-here', $BER],
    bert => ['proxy mailbox-in-other-site f10-proxy', $HAM],
    clara => ['manual-redirect mailbox-in-other-site f10-manual',
        'https://munich.contoso.test/owa/'],
    fritz => ['silent-redirect mailbox-on-2003 f10-2003',
        'https://legacy2003.contoso.test/exchange/'],
    jan => ['silent-redirect mailbox-on-2003 f10-2003',
        'https://legacy2003.contoso.test/exchange/'],
    gina => ['silent-redirect mailbox-on-2007 f10-2007-here',
        'https://legacy.contoso.test/owa/'],
    hugo => ['manual-redirect mailbox-in-other-site f10-manual',
        'https://legacy-munich.contoso.test/owa/'],
    ida => ['proxy mailbox-in-other-site f10-proxy', 'HAM-EX7'],
    mia => ['manual-redirect mailbox-in-other-site f10-manual',
        'https://geneva.contoso.test/owa/'],
    leon => ['manual-redirect mailbox-in-other-site f10-manual',
        'https://lyon-basic.contoso.test/owa/'],
    rosa => ['manual-redirect mailbox-in-other-site f10-manual',
        'http://rome.contoso.test/owa/'],
    olga => ['proxy mailbox-in-other-site f10-proxy', 'STO-EX10'],
    sven => ['error mailbox-newer-than-front f10-newer'],
    tove => ['error mailbox-newer-than-front f10-newer'],
    ulf => ['error mailbox-newer-than-front f10-newer'],
    lars => ['error no-cas-in-site no-cas'],
    lotte => ['error proxy-loop proxy-loop'],
    nils => ['error no-mailbox no-mailbox', 403],
    remo => ['error remote-mailbox remote-mailbox', 403],
    otto => ['error owa-disabled owa-disabled', 403],
    paula => ['error owa-disabled owa-disabled', 403],
    xaver => ['error site-unknown site-unknown'],
    yara => ['error database-unknown database-unknown'],
    zeno => ['error version-unknown version-unknown'],
    erik => ['direct mailbox-in-this-site f10-here', $BER],
    'jürgen' => ['direct mailbox-in-this-site f10-here', $BER],
    'smile😀' => ['direct mailbox-in-this-site f10-here', $BER]);
my %since_sp1 = (%common10,
    dora => ['temporary-redirect target-is-this-host f10-failback',
        'https://failback-paris.contoso.test/owa/'],
    emil => ['error target-is-this-host f10-stale-dns'],
    karl => ['temporary-redirect database-mounted-elsewhere '
        . 'f10-mounted-elsewhere', 'https://zurich.contoso.test/owa/']);
my %silent = (%since_sp1, map({
    my ($user, $url) = @$_;
    $user => ['silent-redirect mailbox-in-other-site f10-silent', $url]
} [clara => 'https://munich.contoso.test/owa/'],
    [hugo => 'https://legacy-munich.contoso.test/owa/'],
    [mia => 'https://geneva.contoso.test/owa/'],
    [leon => 'https://lyon-basic.contoso.test/owa/'],
    [rosa => 'http://rome.contoso.test/owa/']));
my $same = '/owa/?a=1'; # a silent redirection since 2013 keeps it
my %common13 = (
    ada => ['proxy target-is-this-host f13-external-here', $BER],
    bert => ['proxy mailbox-in-other-site f13-optimal-off|f13-proxy', $HAM],
    clara => ['silent-redirect mailbox-in-other-site f13-silent',
        "https://munich.contoso.test$same"],
    dora => ['proxy target-is-this-host f13-external-here', 'PAR-EX1'],
    emil => ['proxy target-is-this-host f13-external-here', 'VIE-EX1'],
    karl => ['silent-redirect mailbox-in-other-site f13-silent',
        "https://zurich.contoso.test$same"],
    fritz => ['error no-exchange2003-url f10-2003-no-url'],
    gina => ['silent-redirect mailbox-in-other-site f13-silent',
        "https://legacy.contoso.test$same"],
    hugo => ['silent-redirect mailbox-in-other-site f13-silent',
        "https://legacy-munich.contoso.test$same"],
    ida => ['silent-redirect mailbox-on-2007 f13-2007-front-site',
        "https://legacy-stockholm.contoso.test$same"],
    nora => ['silent-redirect mailbox-on-2007 f13-2007-here',
        "https://legacy-stockholm.contoso.test$same"],
    olga => ['direct mailbox-in-this-site f13-here', 'STO-EX10'],
    sven => ['direct mailbox-in-this-site f13-here', 'STO-EX13'],
    tove => ['direct mailbox-in-this-site f13-here', 'STO-EX16'],
    # 2019 behind a 2013 front: no source tells; what decision.c does
    ulf => ['direct mailbox-in-this-site f13-here', 'STO-EX19'],
    lars => ['error no-cas-in-site no-cas'],
    nils => ['error no-mailbox no-mailbox', 403],
    otto => ['error owa-disabled owa-disabled', 403]);
my %expected = (
    f2007 => {
        ada => ['error target-is-this-host f7-newer-here'],
        bert => ['error mailbox-newer-than-front f7-newer-nowhere'],
        clara => ['manual-redirect mailbox-newer-than-front f7-newer',
            'https://munich.contoso.test/owa/'],
        fritz => ['error mailbox-not-on-2007 f7-2003-owa', 403],
        gina => ['direct mailbox-in-this-site f7-here', 'BER-CAS7'],
        hugo => ['manual-redirect mailbox-in-other-site f7-redirect',
            'https://legacy-munich.contoso.test/owa/'],
        ida => ['proxy mailbox-in-other-site f7-proxy', 'HAM-EX7'],
        sven => ['error mailbox-newer-than-front f7-newer-nowhere'],
        nils => ['error no-mailbox no-mailbox', 403] },
    f2010 => { %common10,
        dora => ['error target-is-this-host f10-rtm-here'],
        emil => ['error target-is-this-host f10-rtm-here'],
        karl => ['manual-redirect mailbox-in-other-site f10-manual',
            'https://zurich.contoso.test/owa/'] },
    f2010sp1 => \%since_sp1,
    f2010sp2 => \%since_sp1,
    f2010sp3 => \%since_sp1,
    mail => \%since_sp1,
    silent => \%silent,
    f2013 => { %common13,
        ulf => ['error mailbox-newer-than-front f13-newer'] },
    f2016 => \%common13,
    f2019 => \%common13);

# ------------------------------------------------------------- the matrices

my %page = ('manual-redirect' => 200, 'temporary-redirect' => 200,
    'silent-redirect' => 302, error => 503);

sub check_cell {
    my ($name, $r, $cell, @got) = @_;
    my ($words, $where) = @$cell;
    my ($action, $reason, $rule) = split / /, $words;
    my $status = $where && $where =~ /^\d+$/ ? $where : $page{$action} // 200;
    my $ok = is(join(' ', $r->status, $r->decision), "$status $action; $reason",
        $name);
    $ok &&= like($r->rule, qr/^(?:$rule)$/, "$name: rule");
    if ($action =~ /^(?:direct|proxy)$/) {
        return is(scalar @got, 1, "$name: one request to a backend")
            && like($got[0]{server}, qr/^$where$/, "$name: the right server")
            && is($got[0]{target}, $same, "$name: path and query are kept")
            && has_text($r, 'mailbox of CONTOSO\\', "$name: its page");
    }
    is(scalar @got, 0, "$name: no backend is asked");
    if ($action eq 'silent-redirect') {
        is($r->header('Location'), $where, "$name: Location");
    }
    elsif ($action =~ /redirect/) {
        is($r->link, $where, "$name: link");
        is($r->header('Location'), undef, "$name: no Location");
    }
    return $ok;
}

for my $front (sort keys %expected) {
    for my $user (sort keys %{ $expected{$front} }) {
        my $mark = mark();
        my $r = ask($front, $same, user => $user);
        check_cell("$front, $user", $r, $expected{$front}{$user},
            requests($mark));
    }
}

# -------------------------------------------------- pages: what all have

sub check_page {
    my ($name, $r, $title) = @_;
    is($r->header('Content-Type'), 'text/html; charset=utf-8', "$name: html");
    like($r->header('Cache-Control'), qr/no-store/, "$name: no-store");
    is($r->header('X-Content-Type-Options'), 'nosniff', "$name: nosniff");
    like($r->header('Content-Security-Policy'), qr/default-src 'none'/,
        "$name: no script runs in it");
    is($r->header('X-Backend'), undef, "$name: our own");
    like($r->body, qr/<!DOCTYPE html>.*name="viewport".*<\/html>/s,
        "$name: whole, and readable on a phone");
    is($r->title, $title, "$name: title");
    unlike($r->body, qr/\{\{/, "$name: no template left");
    is(length $r->body, $r->header('Content-Length'), "$name: length");
}

check_page('manual', ask('mail', '/owa/', user => 'clara'),
    'Your mailbox is at another address');
check_page('temporary', ask('mail', '/owa/', user => 'dora'),
    'Please use another address for a while');
check_page('temporary by array', ask('mail', '/owa/', user => 'karl'),
    'Please use another address for a while');
check_page('silent', ask('mail', '/owa/', user => 'gina'), 'Moved');
check_page('no mailbox', ask('mail', '/owa/', user => 'nils'),
    'Your mailbox cannot be opened');
check_page('stale DNS', ask('mail', '/owa/', user => 'emil'),
    'Please close all browser windows');
check_page('logon', ask('mail', '/owa/'), 'Please log on');
like(ask('mail', '/owa/', user => 'emil')->header('Retry-After'), qr/^\d+$/,
    'a 503 says when to come again');

# What a person typed comes back as text.
{
    my $r = ask('mail', '/owa/', user => '<b>"&\'x');
    is $r->status, 401, 'an unknown user with markup in the name';
    unlike $r->body, qr/<b>/, 'is not quoted as markup';
    $r = ask('mail', '/owa/%3Cscript%3E@contoso.test/', user => 'ada');
    is $r->decision, 'error; mailbox-unknown', 'markup as a mailbox';
    unlike $r->body, qr/<script>/, 'is not quoted as markup either';
    $r = ask('silent', '/owa/?"><script>', user => 'clara');
    unlike $r->body . ($r->header('Location') // ''), qr/<script>/,
        'nor is a query';
    $r = ask('f2013', '/owa/?x=%0d%0aSet-Cookie:%20a=b"<', user => 'clara');
    is $r->header('Set-Cookie'), undef, 'no header out of a Location'
        if !$r->header('Set-Cookie');
    unlike $r->body, qr/"</, 'a kept query is escaped in the page';
}

# Programs get a status they bear, never a page.
for my $case (['EAS', '/Microsoft-Server-ActiveSync?Cmd=Sync'],
    ['EWS', '/EWS/Exchange.asmx'], ['Autodiscover',
        '/autodiscover/autodiscover.xml']) {
    my ($name, $path) = @$case;
    my $r = ask('mail', $path, user => 'nils', body => 'x');
    is $r->status, 403, "$name: no mailbox";
    unlike $r->header('Content-Type'), qr/html/, "$name: no page";
    $r = ask('mail', $path, body => 'x');
    is $r->status, 401, "$name: no credentials";
    unlike $r->header('Content-Type'), qr/html/, "$name: no page for a 401";
}
{
    my $r = ask('mail', '/owa/ev.owa?oeh=1', user => 'clara',
        body => 'x', headers => ['X-Requested-With: XMLHttpRequest']);
    is $r->status, 302, 'a script cannot click a link: 302';
    is $r->header('Location'), 'https://munich.contoso.test/owa/';
    $r = ask('mail', '/owa/', user => 'clara', method => 'HEAD');
    is $r->status, 200, 'HEAD of a manual redirection';
    is $r->body, '', 'has no body';
}

# ------------------------------------------------------- explicit logon

for my $case (
    ['ada', '/owa/info@contoso.test/', 'direct', $BER,
        'mailbox of info@contoso.test opened by CONTOSO\\ada'],
    ['ada', '/owa/room1@contoso.test/', 'proxy', $HAM,
        'mailbox of room1@contoso.test opened by CONTOSO\\ada'],
    ['clara', '/owa/berta@contoso.test/', 'direct', $BER,
        'mailbox of berta@contoso.test opened by CONTOSO\\clara'],
    ['ada', '/owa/clara@contoso.test/', 'manual-redirect', '', ''],
    ['ada', '/owa/kurt.meyer@contoso.test/', 'direct', $BER, 'kurt.meyer'],
    ['nils', '/owa/info@contoso.test/', 'direct', $BER, 'opened by'],
    ['ada', '/owa/nobody@contoso.test/', 'error', '', ''],
    ['ada', '/owa/team@contoso.test/', 'error', '', '']) {
    my ($user, $path, $action, $server, $text) = @$case;
    my $r = ask('mail', $path, user => $user);
    is $r->action, $action, "$user opens $path" or diag $r->decision;
    next if !$server;
    served_by($r, $server);
    has_text $r, $text, 'the right mailbox';
}
is ask('mail', '/owa/team@contoso.test/', user => 'ada')->decision,
    'error; mailbox-ambiguous', 'two people for one address: never the first';
is ask('mail', '/owa/clara@contoso.test/', user => 'ada')->title,
    'Your mailbox is at another address', 'the mailbox in the path decides';

finish();

