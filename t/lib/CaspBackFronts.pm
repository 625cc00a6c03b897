# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspBackFronts - what the tests of logging on to backends stand between: the
# servers behind, and the virtual hosts before them.
#
#   my $iis = CaspBackFronts::iis(lab());      # t/lab/iis, once in a run
#   my $odd = CaspBackFronts::odd(lab());      # servers with forms, and worse
#   my $httpd = CaspHttpd->new('behind', \&CaspBackFronts::behind)->start;
#   CaspBackFronts::look_at($iis);             # mark(), requests() from now on
#   my $n = CaspBackFronts::handshakes($iis, $from);
#
# They live in an httpd of the test's own: no other test pays for these
# servers, and it may be restarted.
package CaspBackFronts;

use strict;
use warnings;
use Fcntl qw(O_CREAT O_EXCL O_WRONLY);
use IO::Socket::INET ();
use MIME::Base64 ();
use POSIX ();
use Socket ();
use CaspFronts ();
use CaspLab ();
use CaspNtlm ();
use CaspTest ();

my $BOTH = 'Forms Basic';

# ------------------------------------------------------- the servers behind

# httpd with mod_auth_gssapi, each kind with a folder that is for front() what
# a folder of exchange.py is.
sub iis {
    my ($lab) = @_;
    my $dir = "$lab->{run}/iis";
    return $dir if -e "$dir/env";
    $lab->part('iis', tool => 'iis', dir => $dir);
    $lab->tool('iis', 'up', $dir, "$lab->{run}/ad");
    for my $kind (split ' ', env($dir)->{IIS_KINDS}) {
        mkdir "$dir/$kind";
        CaspLab::spew("$dir/$kind/map.conf",
            CaspLab::slurp("$dir/map-$kind.conf"));
    }
    return $dir;
}

# Servers that ask for a logon by form although the directory tells otherwise,
# and servers that cannot be logged on at.
sub odd {
    my ($lab) = @_;
    my $dir = "$lab->{run}/odd";
    return $dir if -e "$dir/servers.json";
    my %auth = ('BER-CAS1' => 'forms', 'BER-CAS2' => 'forms',
        'BER-CAS7' => 'forms', 'STO-EX13' => 'forms', 'BER-MBX3' => 'forms',
        'HAM-CAS1' => 'digest', 'HAM-CAS2' => 'digest', 'STO-EX10' => 'epa',
        'KIE-EX2' => 'refuse', 'BER-MBX0' => 'ntlm-only');
    CaspLab::spew("$lab->{run}/odd.json", CaspLab::json->encode({
        servers => [map { { name => $_, auth => $auth{$_} } }
            sort keys %auth] }));
    return $lab->exchange_up('odd', "$lab->{run}/odd.json");
}

# A back-end of 2003 that closes the connection once a handshake has begun, the
# first time and whenever it is told to (/again); else it takes any response.
# It writes "CONNECTION MESSAGE METHOD" for each request, MESSAGE 0: none.
sub fickle {
    my ($lab) = @_;
    my $dir = "$lab->{run}/fickle";
    return $dir if -e "$dir/map.conf";
    my $port = CaspLab::free_port();
    $lab->serve('fickle', 'again', $^X, "-I$CaspLab::TOP/t/lib",
        '-MCaspBackFronts', '-e', 'CaspBackFronts::serve_fickle(@ARGV)', 'DIR',
        $port);
    CaspLab::spew("$dir/map.conf", map { "CasProxyBackendMap "
        . "$_.contoso.test http://127.0.0.1:$port\n" } 'ber-mbx3', 'ber-mbx0');
    return $dir;
}

sub serve_fickle {
    my ($dir, $port) = @_;
    local ($|, $SIG{CHLD}) = (1, 'IGNORE');
    my $on = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 20, ReuseAddr => 1) or die "$!\n";
    CaspLab::spew("$dir/again", '');
    for (my $number = 1;; $number++) {
        my $client = $on->accept or next;
        next if fork;
        fickle_one($client, $number, "$dir/again");
        POSIX::_exit(0);
    }
}

sub fickle_one {
    my ($client, $number, $again) = @_;
    my ($head, $known) = ('', 0);
    while (sysread $client, $head, 1, length $head) {
        next if $head !~ /\r\n\r\n\z/;
        my ($method, $path) = $head =~ m{\A(\S+) (\S+)};
        my ($length) = $head =~ /^Content-Length: (\d+)/mi;
        my $left = $length // 0;
        while ($left) {
            $left -= sysread($client, my $part, $left) || last;
        }
        my ($token) = $head =~ /^Authorization: NTLM (\S+)/mi;
        my $message = $token ? ord substr MIME::Base64::decode_base64($token),
            8, 1 : 0;
        print "$number $message $method\n";
        # read, and gone without a word, once
        last if $path =~ /gone/ && $message == 3
            && sysopen my $once, "$again.gone", O_CREAT | O_EXCL | O_WRONLY;
        my $last = $message == 1 && unlink $again;
        CaspLab::spew($again, '') if $message != 1 && $path =~ /again/;
        $known = 1 if $message == 3 && $known == 2;
        # the end of the connection comes with the answer, not a moment after
        # it: what the front sends in that moment would be lost either way
        setsockopt $client, Socket::IPPROTO_TCP(), Socket::TCP_CORK(), 1
            if $last;
        my $challenge = MIME::Base64::encode_base64(fickle_challenge(), '');
        syswrite $client, $message == 1
            ? "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM $challenge\r\n"
            . "Content-Length: 0\r\n\r\n"
            : $known == 1
            ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
            : "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\n"
            . "Content-Length: 0\r\n\r\n";
        $known = 2 if $message == 1;
        $head = '';
        last if $last;
    }
    close $client;
    return;
}

sub fickle_challenge {
    my $name = CaspNtlm::utf('CONTOSO');
    my $info = pack('vv', 2, length $name) . $name . pack 'vv', 0, 0;
    return "NTLMSSP\0" . pack('VvvV', 2, length $name, length $name, 56)
        . pack('V', 0xa2898205) . 'nonsense' . "\0" x 8
        . pack('vvV', length $info, length $info, 56 + length $name)
        . pack('CCvCCCC', 6, 1, 7601, 0, 0, 0, 15) . $name . $info;
}

# A server's control: sim('odd', 'BER-CAS1', 'expire?user=...')
sub sim {
    my ($dir, $server, $what) = @_;
    my $servers = CaspLab::json->decode(CaspLab::slurp("$dir/servers.json"));
    return CaspLab::run('curl', '--silent', '--insecure',
        "$servers->{$server}{url}/sim/$what");
}

# Whose requests mark() and requests() are about.
sub look_at { CaspTest::lab()->{exchange} = $_[0]; return }

sub answered { return -s "$_[0]/access.log" // 0 }

# The answers of an IIS since then, as its access log has them.
sub answers {
    my ($dir, $from) = @_;
    open my $in, '<:raw', "$dir/access.log" or return;
    seek $in, $from, 0;
    return map { /^\S+ \S+ (.*?) (\d{3}) \d+ "/ ?
        { user => $1, status => $2, line => $_ } : () } <$in>;
}

# How many handshakes were begun: a challenge is the only 401 of a good login.
sub handshakes {
    my ($dir, $from) = @_;
    return scalar grep { $_->{status} == 401 } answers($dir, $from);
}

sub env { return CaspLab::read_env("$_[0]/env") }

# Somebody's password, as the servers that ask for NTLM know it.
sub iis_password {
    my ($dir, $user, $password) = @_;
    my $file = env($dir)->{IIS_USERS};
    my $text = CaspLab::slurp($file) =~ s/^([^:\n]+:\Q$user\E):.*$/$1:$password/mgr;
    open my $out, '>:raw', $file or die "$file: $!\n"; # its owner stays
    print $out $text;
    close $out;
    return;
}

# ---------------------------------------------------- the domain controller

# The processes of its KDC: what remains of it goes on answering LDAP.
sub kdc {
    my ($lab) = @_;
    my $group = $lab->{ad}{AD_PID};
    return grep {
        getpgrp($_) == $group
            && CaspLab::slurp("/proc/$_/cmdline") =~ /task\[kdc\]/
    } map { m{(\d+)\z} ? $1 : () } glob '/proc/[0-9]*';
}

sub password_file {
    my ($lab) = @_;
    my $file = "$lab->{run}/administrator";
    CaspLab::spew($file, $lab->{password}) if !-e $file;
    return $file;
}

# An attribute of an object, as an administrator of the domain sets it.
sub modify {
    my ($lab, $dn, $name, $value) = @_;
    my $file = "$lab->{run}/change.ldif";
    CaspLab::spew($file, "dn: $dn\nchangetype: modify\nreplace: $name\n"
        . "$name: $value\n-\n");
    local $ENV{LDAPTLS_CACERT} = "$lab->{run}/ca/ca.pem";
    return CaspLab::run('ldapmodify', '-x', '-H', $lab->{ad}{AD_URL}, '-D',
        "administrator\@contoso.test", '-y', password_file($lab), '-f', $file);
}

# ------------------------------------------------------------ virtual hosts

# name, folder of servers, how to log on there, further options of front()
sub one {
    my ($to, $name, $servers, $login, %o) = @_;
    my $lab = CaspTest::lab();
    local $lab->{exchange} = $servers;
    return $lab->front($to, $name, auth => $BOTH, %o, lines => [
        "CasProxyExternalURL https://$name.contoso.test/owa",
        $login ? "CasProxyBackendAuth $login" : (), @{ $o{lines} // [] }]);
}

# Those of t/backlogin.t.
sub behind {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    my ($iis, $odd) = (iis($lab), odd($lab));
    my %seven = (version => '2007');
    my %new = (version => '2013', site => 'Stockholm');
    my @quick = ('CasProxyCredentialCache ttl=1',
        'CasProxyMailboxCache ttl=1');
    return join '',
        one($to, 'basic', "$iis/basic", 'Basic'),
        one($to, 'ntlm', "$iis/ntlm", 'NTLM'),
        one($to, 'novia', "$iis/ntlm-novia", 'NTLM'),
        one($to, 'kerberos', "$iis/kerberos", 'Kerberos'),
        one($to, 'negotiate', "$iis/negotiate", 'NTLM'),
        one($to, 'quick', "$iis/ntlm", 'NTLM', lines => [@quick]),
        one($to, 'quick-krb', "$iis/kerberos", 'Kerberos', lines => [@quick]),
        one($to, 'auto', "$lab->{run}/exchange", ''),
        one($to, 'old', "$iis/ntlm", '', %seven),
        one($to, 'old-odd', $odd, '', %seven),
        one($to, 'old-fickle', fickle($lab), '', %seven),
        one($to, 'old-basic', "$iis/basic", 'Basic', %seven),
        one($to, 'forms10', $odd, 'Forms'),
        one($to, 'forms07', $odd, 'Forms', %seven),
        one($to, 'forms13', $odd, 'Forms', %new),
        one($to, 'odd', $odd, ''),
        one($to, 'odd-ntlm', $odd, 'NTLM'),
        one($to, 'said-basic', "$iis/ntlm", 'Basic'),
        one($to, 'mismatch', "$iis/basic", 'NTLM'),
        one($to, 'none', "$iis/ntlm", 'None');
}

# Exchange's own words for what it did, beside the suite's log.
sub iislog {
    my ($name) = @_;
    return 'CustomLog "' . CaspTest::lab()->{run} . "/httpd-$name/logs/iislog\""
        . ' "%{Test-Id}i\t%{CASPROXY_IISLOG}e"' . "\n";
}

# Those of t/delegate.t. The verifier is the directory, unless one is named.
sub delegated {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    my $iis = iis($lab);
    my $keytab = "CasProxyKeytab $lab->{ad}{FRONT_KEYTAB}";
    my $verify = 'CasProxyNTLMVerify Directory';
    my $all = 'Negotiate NTLM Basic';
    my @vouched = (auth => 'None',
        vhost => [CaspFronts::another_module($lab)]);
    return join '',
        one($to, 'delegate', "$iis/kerberos", 'Delegate', auth => $all,
            lines => [$keytab, $verify]),
        one($to, 'mixed', "$iis/kerberos", '', auth => 'Negotiate NTLM',
            lines => [$keytab, $verify]),
        one($to, 'inside', "$iis/kerberos", 'Delegate', auth => $all,
            lines => [$keytab]),
        one($to, 'vouched', "$iis/kerberos", 'Delegate', @vouched,
            lines => [$keytab]),
        one($to, 'vouched-auto', "$lab->{run}/exchange", '', @vouched),
        one($to, 'hop', "$iis/basic", '', auth => 'NTLM Basic',
            lines => [$verify]),
        one($to, 'hop-ntlm', "$iis/basic", '', auth => 'NTLM',
            lines => [$verify]),
        one($to, 'hop07', "$iis/basic", '', auth => 'NTLM', version => '2007',
            lines => [$verify]),
        one($to, 'hop-keytab', "$iis/basic", 'NTLM', auth => 'NTLM Basic',
            lines => [$keytab, $verify]);
}

# Those of t/isolation.t: by plain http, for the connections behind are what
# matters, and a client of a test's own is quicker so.
sub apart {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    my $iis = iis($lab);
    my @clear = ('CasProxyRequireTLS Off');
    my @door = (auth => 'NTLM', plain => 1, lines => [@clear,
        'CasProxyNTLMVerify Directory',
        "CasProxyKeytab $lab->{ad}{FRONT_KEYTAB}"]);
    my $bare = CaspLab::json->decode(CaspLab::slurp("$iis/servers.json"))
        ->{ntlm}{'BER-CAS1'}{url};
    return join '',
        one($to, 'clear-ntlm', "$iis/ntlm", 'NTLM', auth => 'Basic',
            plain => 1, lines => \@clear),
        one($to, 'clear-novia', "$iis/ntlm-novia", 'NTLM', auth => 'Basic',
            plain => 1, lines => \@clear),
        one($to, 'isolation', "$iis/ntlm", 'NTLM', auth => 'Basic'),
        one($to, 'clear-delegate', "$iis/kerberos", 'Delegate', @door),
        # what DESIGN calls stock pooling: the client's own NTLM passes
        map {"$_\n"} "<VirtualHost *:$to->{port}>",
            '    ServerName clear-stock.contoso.test',
            '    SSLProxyEngine On', '    SSLProxyVerify none',
            '    SSLProxyCheckPeerName off', '    SSLProxyCheckPeerCN off',
            "    ProxyPass / $bare/", '</VirtualHost>';
}

# Nothing of this is on the suite's own httpd.
sub all { return '' }

1;
