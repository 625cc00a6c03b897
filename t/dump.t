# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# httpd -t -D DUMP_CASPROXY tells what is in force, in the very language that
# casproxyctl reads.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspHttpd;
use CaspTest;

begin(ad => 1);

my $dir = lab()->{dir};
sub dump_of {
    my ($conf) = @_;
    return CaspLab::run(lab()->{httpd}, '-f', $conf, '-t', '-D',
        'DUMP_CASPROXY');
}
my $text = dump_of("$dir/conf/httpd.conf");
my $file = CaspLab::spew(lab()->{run} . '/dump.conf', $text =~ s/^Syntax OK\n//mr);

like $text, qr/^Syntax OK$/m, 'the configuration is right';
unlike $text, qr/@{[lab()->{password}]}/, 'no password in it';
like $text, qr/CasProxyDirectoryBind .*svc-casproxy/, 'the account is told';
like $text, qr/^\s+CasProxyAuth Forms Basic$/m, 'forms beside Basic';
like $text, qr/^\s+CasProxyAuth Forms$/m, 'the default, in so many words';
like $text, qr/^\s+CasProxyFormsTimeout public=15m private=8h$/m,
    'times with their units';
like $text, qr/^\s+CasProxyFormsTimeout public=4s private=8s$/m, 'and others';
like $text, qr/^\s+CasProxyAuth Negotiate NTLM Basic$/m,
    'the schemes, in the order of the offer';
like $text, qr/^\s+CasProxyKeytab \S+front\.keytab$/m, 'the keytab';
like $text, qr/^\s+CasProxyNTLMVerify Winbind$/m, 'who verifies';
like $text, qr/^\s+CasProxyNTLMVerify Directory$/m, 'and elsewhere';
like $text, qr{^\s+CasProxyNTLMVerify Winbind /usr/bin/ntlm_auth --configfile=\S+$}m,
    "with the helper's own words";
like $text, qr/#\s+CasProxyAuth Negotiate NTLM$/m, 'what an <If> would set';
for my $front ('mail', 'f2007', 'f2019', 'ldif', 'clear', 'forms') {
    like $text, qr/<VirtualHost $front\.contoso\.test:\d+>/, "$front is told";
}
unlike $text, qr/<VirtualHost off\./, 'one that is off is not';
# Each protocol's own: what follows the front-end version, and what is the same.
my %of = map { /^<VirtualHost ([\w-]+)\./ ? ($1 => $_) : () }
    split /^(?=<VirtualHost)/m, $text;
for my $case ([f2007 => '0'], [f2010 => '12.1'], [f2010sp1 => '12.1'],
    [f2010sp2 => '14.0'], [f2010sp3 => '14.0'], [f2013 => 'Off'],
    [f2019 => 'Off']) {
    my ($front, $version) = @$case;
    like $of{$front}, qr/^\s+CasProxyActiveSyncRedirect \Q$version\E$/m,
        "$front: phones from $version on are led elsewhere";
}
like $of{mail}, qr/^\s+CasProxyAutodiscover Pass$/m, 'who answers Autodiscover';
for my $case ([OWA => 200], [ECP => 200], [EAS => 3600], [EWS => 2100],
    [Autodiscover => 200], [OAB => 200], [RPC => 3600], [MAPI => 3600],
    [UM => 200], [Legacy => 200], [PowerShell => 200]) {
    my ($protocol, $seconds) = @$case;
    like $of{mail}, qr/^\s+CasProxyTimeout $protocol $seconds$/m,
        "$protocol has $seconds s";
}
like $of{mail}, qr/^\s+CasProxyPublish OWA ECP EAS EWS Autodiscover OAB RPC MAPI UM Legacy\b(?!.*PowerShell).*$/m,
    'all but PowerShell';
like $of{narrow}, qr/^\s+CasProxyPublish OWA Legacy$/m, 'or what was said';

# Reading it back: the same verdicts as from the front's own file.
for my $case (
    [mail => 'clara', '/owa/'], [mail => 'ada', '/owa/'],
    [silent => 'clara', '/owa/'], [redirect => 'ada', '/owa/'],
    [f2007 => 'fritz', '/exchange/'], [f2013 => 'ida', '/owa/'],
    [narrow => 'ada', '/ecp/'], [vouched => 'CONTOSO\\ada', '/owa/'],
    [ldif => 'CONTOSO\\bert', '/owa/'], ['clear-on' => 'ada', '/owa/'],
    [forms => 'ada', '/owa/'], [forms => 'ada', '/EWS/Exchange.asmx'],
    ['forms-silent' => 'clara', '/owa/'], ['forms-basic' => 'bert', '/ecp/'],
    ['forms-short' => 'ada', '/owa/'], ['forms-nosso' => 'clara', '/owa/'],
    [mail => 'ada', '/Microsoft-Server-ActiveSync'],
    [f2007 => 'clara', '/Microsoft-Server-ActiveSync?Cmd=Sync'],
    [f2010 => 'gina', '/Autodiscover/Autodiscover.xml'],
    [f2013 => 'sven', '/mapi/emsmdb/'], [mail => 'clara', '/OAB/x/oab.xml'],
    [f2013 => 'bert', '/rpc/rpcproxy.dll?x:6001'],
    [in => 'ada', '/owa/'], [in => 'clara', '/EWS/Exchange.asmx'],
    ['in-dir' => 'bert', '/owa/'], ['in-words' => 'ada', '/owa/'],
    ['in-krb' => 'ada', '/Microsoft-Server-ActiveSync'],
    ['in-ntlm' => 'bert', '/owa/'], ['in-default' => 'ada', '/owa/']) {
    my ($front, $user, $path) = @$case;
    my $host = "$front.contoso.test";
    my @ask = (user => $user, url => ($front =~ /^clear/ ? 'http' : 'https')
        . "://$host$path");
    my $own = explain(front => $front, @ask);
    ok $own->{action}, "$front, $user, $path: an answer"
        or diag $own->{text};
    is_deeply explain(config => $file, vhost => $host, @ask), $own,
        "$front, $user, $path: the dump says the same";
}
# By a pipe, as a person would.
{
    my $said = CaspLab::run('sh', '-c', 'exec "$0" explain --config - '
        . '--vhost mail.contoso.test --user ada --url /owa/ --json <"$1"',
        lab()->{ctl}, $file);
    like $said, qr/"action":"direct"/, 'explain --config - reads a pipe';
}
{
    my $none = explain(config => $file, vhost => 'none.contoso.test',
        user => 'ada', url => '/owa/');
    is $none->{exit}, 2, 'a virtual host that is not there: wrong usage';
}
# Locations, and a dump of a dump.
{
    my $httpd = CaspHttpd->new('dump', sub {
        return lab()->front($_[0], 'where', mode => 'Off', vhost => [
            '<Location /owa>', 'CasProxy On', 'CasProxyDiagnostics On',
            '</Location>', '<Location /ecp>', 'CasProxy Shadow',
            '</Location>']);
    });
    my $told = dump_of("$httpd->{dir}/conf/httpd.conf");
    like $told, qr{<Location "/owa">\s+CasProxy On\s}, 'a <Location> is told';
    like $told, qr{<Location "/ecp">\s+CasProxy Shadow\s}, 'and another';
    $file = CaspLab::spew(lab()->{run} . '/dump2.conf', $told =~ s/^Syntax OK\n//mr);
    is explain(config => $file, vhost => 'where.contoso.test', user => 'ada',
        url => 'https://where.contoso.test/owa/')->{action}, 'direct',
        'and read back';
    unlike $told, qr/<VirtualHost mail/, 'only its own hosts';
}
finish();
