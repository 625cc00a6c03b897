# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# What casproxyctl says and what the wire does, for a few hundred generated
# cases: action, reason, rule and URL must be equal, on the live directory and
# on an export of it.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin();

# The same cases in every run: a failure can be looked at again.
my $state = 20260101;
sub draw {
    my ($n) = @_;
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return int($state / 65536) % $n;
}
sub one_of { return $_[draw(scalar @_)] }

my @urls = ('/owa/', '/owa', '/OWA/?a=1&b=%20', '/owa/forms/basic.aspx',
    '/owa/ev.owa?oeh=1&ns=Mail', '/owa/clara@contoso.test/',
    '/owa/info@contoso.test/?x=y', '/owa/room1@contoso.test/',
    '/owa/team@contoso.test/', '/owa/nobody@contoso.test/', '/owa/kk/',
    '/exchange', '/exchange/', '/exchange/fritz/', '/exchange/gina/Inbox/?Cmd=x',
    '/exchange/ada@contoso.test/', '/public/', '/public/Sales/',
    '/exchweb/6.5/a.gif', '/exadmin/', '/ecp/', '/ecp/?p=1',
    '/EWS/Exchange.asmx', '/Microsoft-Server-ActiveSync?Cmd=Sync&DeviceId=1',
    '/autodiscover/autodiscover.xml', '/oab/', '/rpc/rpcproxy.dll?x:6001',
    '/mapi/emsmdb/', '/UnifiedMessaging/x', '/PowerShell/',
    '/Microsoft-Server-ActiveSync?eRIJBAVkZXYwMQAHaVBob25lNQ==',
    '/Microsoft-Server-ActiveSync/default.eas?jRIJBAVkZXYwMQAHaVBob25lNQ==',
    '/Autodiscover/Autodiscover.svc', '/autodiscover/autodiscover.json?a=b',
    '/owa/%2e%2e%2fecp/', '/owa/proxylogon.owa', '/owa/%252e%252e/');
my @methods = ('GET', 'GET', 'GET', 'HEAD', 'POST', 'PROPFIND', 'OPTIONS',
    'SEARCH');
my @headers = ([], [], ['X-Requested-With: XMLHttpRequest'],
    ['Accept: text/html,*/*'], ['MS-ASProtocolVersion: 14.1'],
    ['MS-ASProtocolVersion: 2.5'], ['Sec-Fetch-Mode: cors']);
my @users = qw(ada berta bert clara dora emil karl fritz jan gina hugo ida mia
    leon rosa lars lotte nora olga sven tove ulf nils remo otto paula erik
    xaver yara zeno kmeyer);
my @vouched = (map({"CONTOSO\\$_"} qw(ada bert clara fritz gina ida dora karl
    nils otto sven hugo olga nora nobody emil quirin lina leon lotte xaver)),
    'stranger', 'ada@contoso.test', 'ulf');
my @fronts = qw(f2007 f2010 f2010sp1 f2010sp2 f2010sp3 f2013 f2016 f2019 mail
    silent redirect redirect13);

sub cases {
    my ($n, $fronts, $who) = @_;
    return map {
        my $front = one_of(@$fronts);
        my $method = one_of(@methods);
        {   front => $front, user => one_of(@$who), method => $method,
            path => draw(3) ? one_of(@urls) : '/owa/',
            headers => one_of(@headers), host => "$front.contoso.test" }
    } 1 .. $n;
}

# Where it matters what the client is: a browser, a script, a phone.
sub clients {
    my @made;
    for my $user ('gina', 'bert', 'fritz') {
        for my $headers (@headers) {
            push @made, map { {
                front => 'f2007', host => 'f2007.contoso.test', user => $user,
                method => 'GET', path => $_, headers => $headers }
            } '/exchange/', '/exchange/?oeh=1';
        }
    }
    return @made;
}

# Devices and programs, on each front: what their matrices tell apart.
sub programs {
    my @made;
    for my $front (@fronts) {
        for my $user (one_of(qw(ada bert gina)), one_of(qw(clara fritz dora))) {
            push @made, map { {
                front => $front, host => "$front.contoso.test", user => $user,
                method => $_->[0], path => $_->[1], headers => $_->[2] // [] }
            } ['POST', '/Microsoft-Server-ActiveSync?Cmd=Ping&DeviceId=1',
                    ['MS-ASProtocolVersion: 14.0']],
                ['OPTIONS', '/Microsoft-Server-ActiveSync'],
                ['POST', '/autodiscover/AUTODISCOVER.xml'],
                ['POST', '/ews/Exchange.asmx', ['X-AnchorMailbox: '
                    . one_of(qw(clara@contoso.test SMTP:bert@contoso.test
                        nobody@contoso.test MBX:x@contoso.test))]],
                ['GET', '/rpc/rpcproxy.dll?x:6002'], ['GET', '/ecp/?p=1'];
        }
    }
    return @made;
}

sub compare {
    my ($name, @cases) = @_;
    my @wire = ask_each(map {
        my $has_body = $_->{method} =~ /^(?:POST|SEARCH|PROPFIND)$/;
        [$_->{front}, $_->{path}, user => $_->{user}, method => $_->{method},
            headers => $_->{headers}, $has_body ? (body => 'x') : ()]
    } @cases);
    my @told = explain_each(map { {
        front => $_->{front}, user => $_->{user}, method => $_->{method},
        url => "https://$_->{host}$_->{path}",
        headers => [(grep {/^Accept:/} @{ $_->{headers} }) ? ()
            : 'Accept: */*', @{ $_->{headers} }] }
    } @cases);
    my %seen;
    for my $i (0 .. $#cases) {
        my ($case, $wire, $told) = ($cases[$i], $wire[$i], $told[$i]);
        my $line = decision_line($wire->{id});
        # A backend that fails is no decision of the rules.
        my $url = $told->{url} // '-';
        my $said = join ' ', $told->{action} // '?', $told->{reason} // '?',
            $told->{rule} // '?', $url;
        my $done = join ' ', @$line{qw(action reason rule url)};
        $seen{$told->{rule} // '?'}++;
        my $what = "$name: $case->{front} $case->{user} $case->{method} "
            . "$case->{path} @{$case->{headers}}";
        is $done, $said, $what;
        next if $done ne $said;
        is $wire->decision, "$told->{action}; $told->{reason}",
            "$what: X-CasProxy-Decision";
        is $wire->rule, $told->{rule}, "$what: X-CasProxy-Rule";
        is $told->{exit}, $told->{action} =~ /^(?:deny|error|logon)$/ ? 1 : 0,
            "$what: exit code";
        my $location = $wire->header('Location');
        is $location, $url, "$what: Location"
            if $told->{action} eq 'silent-redirect';
        # What is no page load cannot click a link: the wire gives it a 302.
        if ($told->{action} =~ /^(?:manual|temporary)/
            && $wire->status == 302) {
            is $location, $url, "$what: 302 instead of a link";
        }
        elsif ($told->{status}) {
            is $wire->status, $told->{status}, "$what: status";
        }
    }
    return \%seen;
}

# A mail proxy's questions have no wire of httpd's: what explain says of them.
sub mail {
    return (
        [f2007 => 'fritz', 'imap://mail.contoso.test',
            'proxy-backend mailbox-on-2003 imap4'],
        [f2007 => 'gina', 'POP3://mail.contoso.test',
            'direct mailbox-in-this-site pop3'],
        [f2013 => 'clara', 'imap4://mail.contoso.test:993',
            'proxy mailbox-in-other-site imap4'],
        [f2010 => 'clara', 'smtp://mail.contoso.test',
            'proxy mailbox-in-other-site smtp']);
}

compare('export', cases(160, ['ldif'], \@vouched));

SKIP: {
    skip 'the live directory needs root', 3 if !lab()->{ad};
    my $seen = compare('live', clients(),
        cases(160, \@fronts, \@users));
    cmp_ok scalar keys %$seen, '>=', 25, 'many rules were met';
    compare('vouched', cases(40, ['vouched'], \@vouched));
    my $met = compare('programs', programs());
    cmp_ok scalar keys %$met, '>=', 25, 'and many of the programs\' own';
    for my $case (mail()) {
        my ($front, $user, $url, $said) = @$case;
        my ($told) = explain_each({ front => $front, user => $user,
            url => $url, method => 'GET' });
        is join(' ', map { $_ // '-' } @$told{qw(action reason protocol)}),
            $said, "$front $user $url";
    }

    # The same front told the export by --directory says what the directory
    # says, but for which of several equal servers: the export has no GUIDs.
    my @some = map { {
        front => $_->{front}, user => $_->{user}, method => $_->{method},
        url => "https://$_->{host}$_->{path}" } } cases(60, \@fronts, \@users);
    my @live = explain_each(@some);
    my @export = explain_each(map { { %$_,
        directory => 'ldif:' . lab()->{run} . '/contoso.ldif' } } @some);
    for my $i (0 .. $#some) {
        is join(' ', map { $_ // '-' } @{ $export[$i] }{qw(action reason rule)}),
            join(' ', map { $_ // '-' } @{ $live[$i] }{qw(action reason rule)}),
            "export and directory: $some[$i]{front} $some[$i]{user} "
                . $some[$i]{url};
    }
}

# What older servers need, or must not have, before a front serves their
# mailboxes by Outlook Anywhere: check says it, of the export, without httpd.
{
    my %said = map {
        my $conf = CaspLab::spew(lab()->{run} . "/check-$_.conf",
            'CasProxyDirectory ldif:' . lab()->{run} . "/contoso.ldif\n",
            "CasProxyFrontEnd $_\nCasProxySite Berlin\nCasProxy On\n");
        my $ctl = lab()->{ctl};
        ($_ => scalar `$ctl check --config $conf`)
    } '2007', '2010SP2', '2013';
    like $said{2007}, qr/^ok    outlook-anywhere: no conditions/m,
        'check: nothing to see to before a 2007 front';
    like $said{'2010SP2'}, qr/^warn  outlook-anywhere: BER-CAS7 has .rpc/m,
        'check: a 2007 server whose Outlook Anywhere is better disabled';
    unlike $said{'2010SP2'}, qr/outlook-anywhere: BER-CAS1/, 'and no 2010 one';
    like $said{2013},
        qr/^warn  outlook-anywhere: .rpc of BER-CAS1 takes neither NTLM/m,
        'check: what a 2013 front wants of older servers';
    like $said{2013}, qr/-IISAuthenticationMethods Basic,NTLM/,
        'and what to do';
    my $told = sub {
        my ($version, $path) = @_;
        my $conf = lab()->{run} . "/check-$version.conf";
        my $ctl = lab()->{ctl};
        return scalar `$ctl explain --config $conf --user ada\@contoso.test \\
            --auth basic --json --url https://mail.contoso.test$path`;
    };
    like $told->('2013', '/rpc/rpcproxy.dll?x:6001'),
        qr/"warning":"rpc-needs-integrated"\}\n\z/, 'explain: so, too';
    like $told->('2013', '/ews/Exchange.asmx'), qr/"warning":null\}\n\z/,
        'where it is to the point';
}

expect_errors(qr/AH01617|AH01618/); # mod_auth_basic: no such user
finish();
