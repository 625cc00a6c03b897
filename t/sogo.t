# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# ActiveSync with a real server: SOGo, Debian's package, stands where Exchange
# would, and a small telephone that talks WBXML by libwbxml comes through the
# front. Versions, folders, a mail, and a Ping that waits for one.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspHttpd;
use CaspSogo;
use CaspTest;

for ('xml2wbxml', 'wbxml2xml') {
    plan(skip_all => "needs libwbxml2-utils: no $_ (t/lab/packages.sh "
        . 'install sogo)') if !-x "/usr/bin/$_";
}
begin(ad => 1);
my ($sogo, $why) = CaspSogo::up(lab(), 'BER-CAS1', 'BER-CAS2', 'HAM-CAS1',
    'HAM-CAS2');
plan(skip_all => "$why (t/lab/packages.sh install sogo)") if !$sogo;

my $httpd = CaspHttpd->new('sogo', sub { CaspSogo::fronts($_[0], $sogo) });
$httpd->start;
CaspLab::wait_for {
    (CaspSogo->new($httpd, 'CONTOSO\\ada')->does('options'))[0]{http} == 200
} 20 or diag 'the front is not ready: ', $httpd->log;

sub well {
    my ($told, $http, $status, $name) = @_;
    my $good = is $told->{http}, $http, "$name: HTTP says $http";
    $good &&= is $told->{status}, $status, "$name: ActiveSync says $status"
        if defined $status;
    $good &&= is $told->{error}, undef, "$name: well-formed";
    diag explain($told) if !$good;
    return $good;
}

# What the front decided, and which server it meant.
sub decided {
    my ($told, $action, $host, $name) = @_;
    my $line = CaspSogo::decision($httpd, $told->{test});
    is $line->{protocol}, 'eas', "$name: it is ActiveSync";
    is $line->{action}, $action, "$name: $action";
    like $line->{url}, qr{^https://$host\.contoso\.test(?::443)?/
        Microsoft-Server-ActiveSync/?$}xi, "$name: the plain directory";
    return;
}

# Requests until nothing was left, and the mails that they brought.
sub synced {
    my ($syncs, $subjects, $name) = @_;
    my ($last, @brought) = reverse @$syncs;
    ok @brought, "$name: there was something";
    well($_, 200, 1, $name) for @brought;
    well($last, 200, undef, "$name: to the last");
    is join(', ', map { @{ $_->{subjects} // [] } } reverse @brought),
        $subjects, "$name: the mails";
    return;
}

# ---------------------------------------------------- two telephones, two ways

my %who = (ada => ['CONTOSO\\ada', 'direct', 'BER-CAS[12]'],
    bert => ['bert@contoso.test', 'proxy', '(?:HAM-CAS[12]|hamburg\S*)']);
my %phone;
for my $name (sort keys %who) {
    my ($login, $action, $host) = @{ $who{$name} };
    CaspSogo::deliver($sogo, $name, "Welcome, $name");
    $phone{$name} = CaspSogo->new($httpd, $login,
        base64 => $name eq 'bert');
    my ($options, $folders, @syncs)
        = $phone{$name}->does('options', 'foldersync', 'sync');

    well($options, 200, undef, "$name, OPTIONS");
    like $options->{headers}{'ms-asprotocolversions'}, qr/\b14\.1\b/,
        "$name, OPTIONS: the server's versions";
    like $options->{headers}{'ms-asprotocolcommands'}, qr/\bPing\b/,
        "$name, OPTIONS: the server's commands";
    decided($options, $action, $host, "$name, OPTIONS");

    well($folders, 200, 1, "$name, FolderSync");
    ok $folders->{folders}{$_}, "$name, FolderSync: there is $_"
        for 'INBOX', 'Sent', 'Personal Calendar';
    decided($folders, $action, $host, "$name, FolderSync");

    synced(\@syncs, "Welcome, $name", "$name, Sync");
}

# -------------------------------------------------------------------- the Ping

# One waits in vain, one does not; each has a server's process for itself.
{
    my $vain = $phone{ada}->begins('ping:10');
    my $news = $phone{bert}->begins('ping:20', 'sync');
    CaspLab::wait_for {
        CaspLab::slurp("$sogo/sogod.log") =~ /changes for user bert\S* in Ping/
    } 10;
    CaspSogo::deliver($sogo, 'bert', 'Lunch at noon');
    my ($rang, @syncs) = $news->();
    well($rang, 200, 2, 'a Ping, a mail arrives');
    cmp_ok $rang->{seconds}, '<', 19, 'a Ping, a mail arrives: at once';
    decided($rang, 'proxy', $who{bert}[2], 'a Ping, a mail arrives');
    synced(\@syncs, 'Lunch at noon', 'then a Sync');

    my ($silent) = $vain->();
    well($silent, 200, 1, 'a Ping without news');
    cmp_ok $silent->{seconds}, '>', 9, 'a Ping without news: held';
    decided($silent, 'direct', $who{ada}[2], 'a Ping without news');
    note "Ping: $rang->{seconds} s with news, $silent->{seconds} s without";
}

# ------------------------------------------------------------------ who it is

my @answers = CaspSogo::answers($sogo);
ok !(grep { $_->[1] !~ /^200$/ } @answers), 'SOGo refused nobody'
    or diag explain(\@answers);
is_deeply [sort keys %{ { map { $_->[0] => 1 } @answers } }],
    ['CONTOSO\\ada', 'bert@contoso.test'], 'the names came as they were typed';
is_deeply [sort map { s{.*/}{}r } glob "$sogo/mail/*"], ['ada', 'bert'],
    'SOGo knows whose mailboxes they mean';
{
    my ($told) = CaspSogo->new($httpd, 'CONTOSO\\ada', password => 'wrong')
        ->does('foldersync');
    well($told, 401, undef, 'a wrong password');
    like $told->{headers}{'www-authenticate'}, qr/^Basic realm=/,
        'a wrong password: Basic is asked for';
    ($told) = CaspSogo->new($httpd, 'CONTOSO\\nils')->does('foldersync');
    well($told, 403, undef, 'a user without a mailbox');
    is scalar CaspSogo::answers($sogo), scalar @answers,
        'SOGo was asked neither time';
}

my @errors = $httpd->errors;
is scalar @errors, 0, "nothing in the front's log"
    or diag map {"$_\n"} @errors;
$httpd->stop;
lab()->down('sogo');
finish();
