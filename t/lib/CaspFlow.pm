# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspFlow - what the tests of time, size and flow share: servers without TLS
# and logon, so that bytes are all there is; an httpd of their own; and a look
# at its processes.
#
#   my $httpd = CaspHttpd->new('flow', \&CaspFlow::fronts,
#       global => CaspFlow::one_child())->start;
#   my @got = CaspFlow::together($httpd, [front, path, option => value...]);
#   my $stream = CaspFlow::stream($httpd, 'clear-flow', '/ews/?sim=trickle');
#   CaspFlow::connections($server)    # of httpd's, with one server
#   CaspFlow::memory($httpd)          # resident kilobytes of its children
#   CaspFlow::spooled($httpd)         # files that a body could hide in
package CaspFlow;

use strict;
use warnings;
use IO::Select ();
use IO::Socket::INET ();
use POSIX ();
use Time::HiRes ();
use CaspLab ();
use CaspTest ();

# -------------------------------------------------------- servers and fronts

sub servers {
    my ($lab) = @_;
    my $dir = "$lab->{run}/flow";
    return $dir if -e "$dir/servers.json";
    my $all = CaspLab::json->decode($lab->tool('org.py', 'servers'));
    CaspLab::spew("$lab->{run}/flow.json", CaspLab::json->encode({ servers =>
        [map { { name => $_->{name}, auth => 'anonymous',
            tls => CaspLab::json->decode('[false]')->[0] } }
            @{ $all->{servers} }] }));
    return $lab->exchange_up('flow', "$lab->{run}/flow.json");
}

sub url_of {
    my ($name) = @_;
    my $dir = servers(CaspTest::lab());
    my $all = CaspLab::json->decode(CaspLab::slurp("$dir/servers.json"));
    return $all->{$name}{url};
}

# A server's control: sim('STO-EX10', 'heard')
sub sim {
    my ($name, $what) = @_;
    return CaspLab::run('curl', '--silent', url_of($name) . "/sim/$what");
}

# All of a test's requests meet in one child, and its limits.
sub one_child {
    return map {
        my ($mpm, @lines) = @$_;
        ("<IfModule mpm_${mpm}_module>\n", (map {"$_\n"} @lines),
            "</IfModule>\n")
    } map { [$_, 'ServerLimit 1', 'MaxRequestWorkers 25'] } 'event', 'worker';
}

my $HERE = 'CasProxyExternalURL https://mail.contoso.test/owa';
my @CLEAR = ($HERE, 'CasProxyRequireTLS Off', 'CasProxyBackendAuth None');

sub fronts {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    local $lab->{exchange} = servers($lab);
    my %new = (version => '2013', site => 'Stockholm');
    my @health = ('<Location /casproxy>', '    SetHandler casproxy-status',
        '    Require all granted', '</Location>');
    return join '', map {
        my ($name, $lines, %o) = @$_;
        $lab->front($to, $name, plain => $name =~ /^clear/ ? 1 : 0, proxy => [],
            %o, lines => [@CLEAR, @$lines])
    } (
        ['clear-flow', [], vhost => \@health],
        ['clear-inner', [], mode => 'Off', vhost => \@health],
        ['clear-new', [], %new],
        ['flow', []],
        ['flow-new', [], %new],
        ['clear-busy', ['CasProxyBackendPool busy=3']],
        ['clear-few', ['CasProxyBackendPool hmax=2 acquire=1']],
        ['clear-time', [map {"CasProxyTimeout $_ 2"} qw(OWA ECP OAB UM
            Autodiscover)]],
        ['clear-time2', [map {"CasProxyTimeout $_ 2"} qw(EAS EWS RPC MAPI
            Legacy)]],
        ['clear-time-new', ['CasProxyTimeout MAPI 2'], %new]);
}

# Those of t/protocols.t: what each of them publishes, and to whom.
sub published {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    local $lab->{exchange} = servers($lab);
    my %new = (version => '2013', site => 'Stockholm');
    my @close = ('    Require ip 192.0.2.0/24', '</LocationMatch>');
    my @ecp = '<LocationMatch "(?i)^/ecp(/|$)">';
    my $inside = '    Require ip 127.0.0.1';
    return join '', map {
        my ($name, $lines, %o) = @$_;
        $lab->front($to, $name, proxy => [], %o, lines => [@CLEAR, @$lines])
    } (
        ['p2010', []], ['p2013', [], %new],
        ['p2007', [], version => '2007'],
        ['p2016', [], %new, version => '2016'],
        ['p2019', [], %new, version => '2019'],
        ['p-closed', [], vhost => [@ecp, @close]],
        ['p-inside', [], vhost => [@ecp, $inside, '</LocationMatch>']],
        ['p-plain', [], vhost => ['<Location /ecp>',
            '    Require ip 192.0.2.0/24', '</Location>']],
        ['p-forms', [], auth => 'Forms', vhost => [@ecp, @close]],
        ['p-shell', ['CasProxyPublish OWA PowerShell']],
        ['p-few', ['CasProxyPublish OWA EAS']]);
}

# ------------------------------------------------------------------- asking

# Several things at once, each by a process of its own; the answers in their
# order.
sub at_once {
    my (@things) = @_;
    my @open;
    for my $thing (@things) {
        my $pid = open(my $in, '-|') // die "fork: $!\n";
        if (!$pid) {
            print CaspLab::json->encode({ %{ $thing->() } });
            close STDOUT;
            POSIX::_exit(0);
        }
        push @open, $in;
    }
    return map {
        my $text = do { local $/; readline $_ };
        close $_;
        bless CaspLab::json->decode($text), 'CaspTest::Answer'
    } @open;
}

# Several requests, with the seconds that each took.
sub together {
    my ($httpd, @asked) = @_;
    return at_once(map {
        my ($front, $path, %o) = @$_;
        sub {
            my $began = Time::HiRes::time();
            my $r = $httpd->ask($front, $path, %o);
            return { %$r, took => Time::HiRes::time() - $began };
        }
    } @asked);
}

# Begins some of them and returns; finish() gets their answers.
sub begin_slow {
    my ($httpd, @asked) = @_;
    my @sockets = map {
        my ($front, $path, %o) = @$_;
        my $s = connected($httpd);
        print $s head($front, $path, %o);
        $s
    } @asked;
    return \@sockets;
}

sub connected {
    my ($httpd) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $httpd->{port}, Timeout => 10) or die "connect: $!\n";
    binmode $s;
    $s->autoflush(1);
    return $s;
}

sub head {
    my ($front, $path, %o) = @_;
    return join("\r\n", ($o{method} // 'GET') . " $path HTTP/1.1",
        "Host: $front.contoso.test", 'Authorization: '
        . CaspTest::basic($o{user} // 'ada'), @{ $o{headers} // [] }, '', '');
}

sub finish {
    my ($sockets, $seconds) = @_;
    return map { status_of($_, $seconds // 20) } @$sockets;
}

# The status line's number; 0 where nothing comes.
sub status_of {
    my ($s, $seconds) = @_;
    my $text = '';
    my $until = Time::HiRes::time() + $seconds;
    while ($text !~ /\r\n\r\n/) {
        my $left = $until - Time::HiRes::time();
        last if $left <= 0 || !IO::Select->new($s)->can_read($left);
        sysread $s, $text, 65536, length $text or last;
    }
    return $text =~ m{\AHTTP/1.1 (\d+)} ? $1 : 0;
}

# A whole answer, and when its parts came: { status, body, first, last, reads }
# in seconds since the request; body decoded where it is chunked.
sub stream {
    my ($httpd, $front, $path, %o) = @_;
    my ($text, @when) = ('');
    my $s = connected($httpd);
    my $began = Time::HiRes::time();
    print $s head($front, $path, %o, headers => ['Connection: close',
        @{ $o{headers} // [] },
        defined $o{body} ? 'Content-Length: ' . length $o{body} : ()]),
        $o{body} // '';
    while (IO::Select->new($s)->can_read(20)) {
        my $from = length $text;
        sysread $s, $text, 65536, $from or last;
        push @when, Time::HiRes::time() - $began
            if ($text =~ /\r\n\r\n(?=.)/s) && length $text > $from;
    }
    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my $r = CaspTest::Answer->parse("$head\r\n\r\n", '', '');
    if (($r->header('Transfer-Encoding') // '') eq 'chunked') {
        my $plain = '';
        while ($body =~ s/\A([0-9a-f]+)\r\n//i && hex $1) {
            $plain .= substr $body, 0, hex $1, '';
            substr $body, 0, 2, '';
        }
        $body = $plain;
    }
    @$r{qw(body first last reads)} = ($body, $when[0] // 0, $when[-1] // 0,
        scalar @when);
    return $r;
}

# A body of so many bytes, written as fast as it is taken; look is called now
# and then. Returns the status.
sub upload {
    my ($httpd, $front, $path, $size, %o) = @_;
    my $s = connected($httpd);
    my $part = 'x' x 262_144;
    local $SIG{PIPE} = 'IGNORE';
    print $s head($front, $path, %o, method => 'POST', headers => [
        $o{chunked} ? 'Transfer-Encoding: chunked' : "Content-Length: $size",
        'Content-Type: ' . ($o{type} // 'application/octet-stream')]);
    my ($sent, $looked) = (0, 0);
    while ($sent < $size) {
        my $n = $size - $sent;
        $n = length $part if $n > length $part;
        my $bytes = $n == length $part ? $part : substr $part, 0, $n;
        $bytes = sprintf("%x\r\n", $n) . $bytes . "\r\n" if $o{chunked};
        while (length $bytes) {
            my $wrote = syswrite $s, $bytes or return status_of($s, 5);
            last if $wrote == length $bytes;
            substr $bytes, 0, $wrote, '';
        }
        $sent += $n;
        if ($o{look} && $sent - $looked >= 64 * 1024 * 1024) {
            $looked = $sent;
            $o{look}->($sent);
        }
    }
    print $s "0\r\n\r\n" if $o{chunked};
    return status_of($s, 60);
}

# ------------------------------------------------------------ its processes

sub children {
    my ($httpd) = @_;
    my $parent = $httpd->pid;
    return grep {
        CaspLab::slurp("/proc/$_/stat") =~ /\) \S $parent /
    } map { m{(\d+)\z} ? $1 : () } glob '/proc/[0-9]*';
}

# The largest of them, in kilobytes.
sub memory {
    my ($httpd) = @_;
    my ($most) = sort { $b <=> $a } map {
        CaspLab::slurp("/proc/$_/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0
    } children($httpd);
    return $most // 0;
}

# Regular files that were opened by a child and have lost their names, as a
# spooled body does, with their sizes.
sub spooled {
    my ($httpd) = @_;
    return map {
        my $to = readlink $_;
        defined $to && $to =~ m{^/(?:var/)?tmp/.* \(deleted\)$}
            ? "$to " . ((stat $_)[7] // '') : ()
    } map { glob "/proc/$_/fd/*" } children($httpd);
}

# Connections that are up between this machine's httpd and a server.
sub connections {
    my ($server) = @_;
    my ($address, $port) = url_of($server) =~ m{//([\d.]+):(\d+)};
    my $to = sprintf '%s:%04X', uc join('', reverse map { sprintf '%02x', $_ }
        split /\./, $address), $port;
    return scalar grep {
        my @f = split;
        @f > 3 && $f[2] eq $to && $f[3] eq '01'
    } split /\n/, CaspLab::slurp('/proc/net/tcp');
}

1;
