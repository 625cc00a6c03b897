# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspEas - ActiveSync servers, fronts before them, and what a device sends.
#
#   my $eas = CaspEas::servers(lab());               # t/lab/eas.py
#   my $httpd = CaspHttpd->new('eas', \&CaspEas::fronts,
#       global => CaspEas::logs('eas'))->start;
#   CaspEas::look_at($eas);                # mark(), requests() from now on
#   my $query = CaspEas::packed(version => 141, command => 18);
#
# In an httpd of the test's own: no other test pays for it.
package CaspEas;

use strict;
use warnings;
use MIME::Base64 ();
use CaspLab ();
use CaspTest ();

our $PATH = '/Microsoft-Server-ActiveSync';
our %VERSIONS = (f07 => '2007', f10 => '2010', f10s1 => '2010SP1',
    f10s2 => '2010SP2', f10s3 => '2010SP3', f13 => '2013', f16 => '2016',
    f19 => '2019');
my @SERVERS = map {"$_.contoso.test"} qw(ber-cas1 ber-cas2 outlook ber-cas7
    muc-cas1 muc-ex7 ham-cas1 ham-cas2 owa-hamburg ham-ex7 sto-ex7 sto-ex10
    sto-ex13 sto-ex16 sto-ex19);

# ------------------------------------------------------------- the servers

# Those of the newer versions here, the 2000 and 2003 back-ends at the lab's.
sub servers {
    my ($lab) = @_;
    my $dir = "$lab->{run}/eas";
    return $dir if -e "$dir/map.conf";
    $lab->serve('eas', 'map.conf', "$CaspLab::TOP/t/lab/eas.py", 'DIR',
        @SERVERS);
    my $old = join '', grep {/ber-mbx[03]\./}
        split /^/, CaspLab::slurp("$lab->{exchange}/map.conf");
    CaspLab::spew("$dir/map.conf", CaspLab::slurp("$dir/map.conf"), $old);
    return $dir;
}

# The same names where nobody listens.
sub dead {
    my ($lab) = @_;
    my $dir = "$lab->{run}/eas-dead";
    return $dir if -e "$dir/map.conf";
    mkdir $dir;
    my $port = CaspLab::free_port();
    CaspLab::spew("$dir/map.conf",
        map {"CasProxyBackendMap $_ https://127.0.0.1:$port\n"} @SERVERS);
    return $dir;
}

sub look_at { CaspTest::lab()->{exchange} = $_[0]; return }

# ---------------------------------------------------------- virtual hosts

sub one {
    my ($to, $name, $servers, %o) = @_;
    my $lab = CaspTest::lab();
    local $lab->{exchange} = $servers;
    return $lab->front($to, $name, %o, lines => [
        'CasProxyExternalURL https://mail.contoso.test/owa',
        @{ $o{lines} // [] }]);
}

sub fronts {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    my ($eas, $dead) = (servers($lab), dead($lab));
    my $redirect = 'CasProxyActiveSyncRedirect';
    return join '',
        map({ one($to, $_, $eas, version => $VERSIONS{$_},
            site => $_ ge 'f13' ? 'Stockholm' : 'Berlin') }
            sort keys %VERSIONS),
        one($to, 'all', $eas, lines => ["$redirect 0"]),
        one($to, 'never', $eas, lines => ["$redirect Off"]),
        one($to, 'high', $eas, lines => ["$redirect 16.1"]),
        one($to, 'short', $eas, lines => ['CasProxyTimeout OWA 2',
            'CasProxyTimeout EAS 6']),
        one($to, 'shorter', $eas, lines => ['CasProxyTimeout EAS 1']),
        one($to, 'override', $eas, vhost => ['ProxyErrorOverride On']),
        one($to, 'dead', $dead),
        one($to, 'distrust', $eas, proxy => ['SSLProxyEngine On',
            'SSLProxyVerify require',
            "SSLProxyCACertificateFile \"$lab->{run}/otherca/ca.pem\""]),
        one($to, 'nodirectory', $eas, directory => [
            'CasProxyDirectory ldaps://127.0.0.1:1',
            'CasProxyDirectoryBind cn=nobody file:'
                . $lab->{ad}{AD_PASSWORD_FILE},
            "CasProxyDirectoryCAFile $lab->{run}/ca/ca.pem",
            'CasProxyDirectoryTimeout connect=1 search=2']),
        one($to, 'nosite', $eas, site => 'Oslo'),
        one($to, 'formsdoor', $eas, auth => '');
}

# A line as IIS 7 writes it, with Exchange's words behind the query; as
# docs/protocols.md shows it.
sub logs {
    my ($name) = @_;
    my $dir = CaspTest::lab()->{run} . "/httpd-$name/logs";
    return join "\n",
        'SetEnvIfExpr "%{THE_REQUEST} =~ /^[^ ]+ ([^ ?]+)/" IIS_STEM=$1',
        'SetEnvIfExpr "%{QUERY_STRING} =~ /^(.*)$/" IIS_QUERY=$1',
        'SetEnvIfExpr "%{QUERY_STRING} =~ /^(.+)$/" IIS_PLAIN=$1',
        map({ 'LogFormat "%{%Y-%m-%d %H:%M:%S}t %A %m %{IIS_STEM}e '
            . "$_->[1] %{local}p %u %a - %>s 0 0 %{ms}T\" $_->[0]" }
            ['iis', '%{IIS_QUERY}e%{CASPROXY_IISLOG}e'],
            ['iis-plain', '%{IIS_PLAIN}e']),
        "CustomLog \"$dir/u_ex.log\" iis env=CASPROXY_IISLOG",
        "CustomLog \"$dir/u_ex.log\" iis-plain env=!CASPROXY_IISLOG", '';
}

# ------------------------------------------------------- what devices send

# A query in its packed form: version, command, id, key, type, user.
sub packed {
    my (%o) = @_;
    my ($id, $type) = ($o{id} // 'phone1', $o{type} // 'SmartPhone');
    my $bytes = pack 'CCv', $o{version} // 141, $o{command} // 0, 0x0409;
    $bytes .= pack 'C/a* C/a* C/a*', $id,
        $o{key} ? pack('V', $o{key}) : '', $type;
    $bytes .= pack 'C C/a*', 8, $o{user} if defined $o{user};
    return MIME::Base64::encode_base64($bytes, '');
}

# A Ping's WBXML: heartbeat interval 3540, one folder.
sub wbxml {
    return pack 'H*', '03016a000d45480333353430000149' . '4a4b0331000'
        . '14c03456d61696c00010101' . '01';
}

1;
