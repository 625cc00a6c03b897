# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspEws - what t/ews.t stands between: SOAP messages on one side, and a
# server behind that does what it is told, when it is told.
#
#   my $dir = CaspEws::server(lab());      # plays the CAS of Berlin
#   CaspEws::step($dir);                   # it waits for this between steps
#   CaspEws::soap('GetFolder', anchor => 'bert@contoso.test')
#   my $httpd = CaspHttpd->new('ews', \&CaspEws::fronts)->start;
#
# What a request wants of the server is said in its query:
#   t=echo            what it got, as JSON (the default)
#   t=steps&n=3       chunks "part 1\n"...; each but the first when step() says
#   t=beat&n=5        the same, one each third of a second (every=SECONDS)
#   t=take&at=BYTES   reads so much of a body, waits for step(), reads the rest
#   t=fault           SOAP's 500, odd bytes in it
# Folder: requests.jsonl (as exchange.py), map.conf, log, "reached" while it
# waits.
package CaspEws;

use strict;
use warnings;
use Digest::SHA ();
use IO::Socket::INET ();
use POSIX ();
use Time::HiRes ();
use CaspBackFronts ();
use CaspFronts ();
use CaspLab ();
use CaspTest ();

our $FAULT = "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas"
    . ".xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>\t<faultcode>a:Error"
    . "ServerBusy</faultcode><faultstring>\xc3\xa4 &amp; \xf0\x9f\x98\x80"
    . "</faultstring></s:Fault></s:Body></s:Envelope>  \n";

my $TYPES = 'http://schemas.microsoft.com/exchange/services/2006/types';
my $MESSAGES = $TYPES =~ s/types$/messages/r;

# ------------------------------------------------------------------ messages

# A message; anchor => address, or name => ['SID', 'S-1-5-...']; fill => bytes
# of padding in its body; before => what stands before the impersonation
sub soap {
    my ($operation, %o) = @_;
    my ($name, $value) = $o{name} ? @{ $o{name} }
        : ('PrimarySmtpAddress', $o{anchor});
    return '<?xml version="1.0" encoding="utf-8"?>'
        . '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/'
        . "envelope/\" xmlns:t=\"$TYPES\" xmlns:m=\"$MESSAGES\"><soap:Header>"
        . '<t:RequestServerVersion Version="Exchange2010_SP2"/>'
        . ($o{before} // '')
        . (defined $value ? '<t:ExchangeImpersonation><t:ConnectingSID>'
            . "<t:$name>$value</t:$name></t:ConnectingSID>"
            . '</t:ExchangeImpersonation>' : '')
        . "</soap:Header><soap:Body><m:$operation>"
        . ($o{body} // '') . ($o{fill} ? '<!--' . 'x' x $o{fill} . '-->' : '')
        . "</m:$operation></soap:Body></soap:Envelope>";
}

our @XML = ('Content-Type: text/xml; charset=utf-8');

# ---------------------------------------------------------------- the server

sub server {
    my ($lab) = @_;
    my $dir = "$lab->{run}/ews-server";
    return $dir if -e "$dir/map.conf";
    my $port = CaspLab::free_port();
    $lab->serve('ews-server', 'requests.jsonl', $^X, "-I$CaspLab::TOP/t/lib",
        '-MCaspEws', '-e', 'CaspEws::serve(@ARGV)', 'DIR', $port);
    CaspLab::spew("$dir/map.conf", map {
        "CasProxyBackendMap $_.contoso.test http://127.0.0.1:$port\n"
    } 'ber-cas1', 'ber-cas2', 'kie-ex2');
    # nobody listens there: the first candidate of half the people in Kiel
    open my $map, '>>', "$dir/map.conf";
    print $map 'CasProxyBackendMap kie-cas1.contoso.test http://127.0.0.1:',
        CaspLab::free_port(), "\n";
    close $map;
    return $dir;
}

# The server waits: let it go on.
sub step {
    my ($dir) = @_;
    CaspLab::wait_for { !-e "$dir/go" } 5;
    return CaspLab::spew("$dir/go", '');
}

sub reached {
    my ($dir) = @_;
    return CaspLab::wait_for { -e "$dir/reached" } 15;
}

sub await_step {
    my ($dir) = @_;
    CaspLab::spew("$dir/reached", '');
    my $came = CaspLab::wait_for { unlink "$dir/go" } 20;
    unlink "$dir/reached";
    return $came;
}

sub serve {
    my ($dir, $port) = @_;
    local $SIG{CHLD} = 'IGNORE';
    local $SIG{PIPE} = 'IGNORE';
    my $on = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 50, ReuseAddr => 1) or die "$!\n";
    CaspLab::spew("$dir/requests.jsonl", '');
    while (1) {
        my $client = $on->accept or next;
        if (!fork) {
            close $on;
            1 while one($dir, $client);
            POSIX::_exit(0);
        }
        close $client;
    }
}

# Reading a client, with what has come beyond what was wanted.
sub fill {
    my ($in) = @_;
    return sysread $in->{from}, $in->{text}, 65536, length $in->{text};
}

sub line {
    my ($in) = @_;
    while ($in->{text} !~ /\n/) { fill($in) or return '' }
    $in->{text} =~ s/\A(.*?)\r?\n//;
    return $1;
}

# So many bytes of a body into its sum.
sub take {
    my ($in, $n) = @_;
    while ($n > 0) {
        length $in->{text} or fill($in) or return;
        my $part = substr $in->{text}, 0, $n, '';
        $n -= length $part;
        $in->{body} += length $part;
        $in->{sum}->add($part);
        $in->{first} .= $part if length $in->{first} < 200_000;
        if ($in->{at} && $in->{body} >= $in->{at}) {
            $in->{at} = 0;
            await_step($in->{dir});
        }
    }
    return 1;
}

sub body {
    my ($in, $r) = @_;
    if (($r->{'transfer-encoding'} // '') =~ /chunked/i) {
        while (1) {
            my $size = hex line($in);
            take($in, $size);
            last if !$size;
            line($in);
        }
        return line($in);
    }
    return take($in, $r->{'content-length'} // 0);
}

sub one {
    my ($dir, $client) = @_;
    my $in = { from => $client, text => '', body => 0, first => '',
        sum => Digest::SHA->new(1), dir => $dir };
    my ($method, $target) = split / /, line($in);
    return if !$target;
    my (@headers, %r);
    while ((my $line = line($in)) ne '') {
        push @headers, [$line =~ /^([^:]+):\s*(.*)/];
        $r{ lc $headers[-1][0] } = $headers[-1][1];
    }
    my %q = $target =~ /[?&](\w+)=(\w+)/g;
    $in->{at} = $q{at};
    body($in, \%r);
    my $what = $q{t} // 'echo';
    my %got = (server => 'ews-server', method => $method, target => $target,
        headers => \@headers, body => $in->{body}, status =>
            $what eq 'fault' ? 500 : 200, text => $in->{first},
        body_sha1 => $in->{sum}->hexdigest, time => Time::HiRes::time());
    open my $log, '>>', "$dir/requests.jsonl";
    syswrite $log, CaspLab::json->encode(\%got) . "\n";
    close $log;
    # a login that is tried before a body is sent: it is not asked for here
    return syswrite $client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        if $method eq 'HEAD';
    return stream($dir, $client, $what, \%q) if $what =~ /^(?:steps|beat)$/;
    my $text = $what eq 'fault' ? $FAULT
        : CaspLab::json->encode({ %got, text => undef });
    my $type = $what eq 'fault' ? 'text/xml; charset=utf-8'
        : 'application/json';
    my $said = $what eq 'fault' ? '500 Internal Server Error' : '200 OK';
    return syswrite $client, "HTTP/1.1 $said\r\nContent-Type: $type\r\n"
        . 'Content-Length: ' . length($text) . "\r\n\r\n$text";
}

sub stream {
    my ($dir, $client, $what, $q) = @_;
    syswrite $client, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n";
    for my $i (1 .. $q->{n} // 3) {
        if ($i > 1) {
            $what eq 'beat' ? Time::HiRes::sleep($q->{every} // 0.33)
                : await_step($dir);
        }
        my $part = "part $i\n";
        syswrite($client, sprintf "%x\r\n%s\r\n", length $part, $part)
            or return;
    }
    return syswrite $client, "0\r\n\r\n";
}

# -------------------------------------------------------------- virtual hosts

# The name that two servers in Hamburg share leads to one of them.
sub balanced {
    my ($lab) = @_;
    my ($url) = CaspLab::slurp("$lab->{exchange}/map.conf")
        =~ /^CasProxyBackendMap ham-cas2\.contoso\.test (\S+)$/m;
    return ("CasProxyBackendMap owa-hamburg.contoso.test $url",
        'CasProxyBackendHosts owa-hamburg.contoso.test');
}

sub fronts {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    my $own = server($lab);
    my $url = sub { "CasProxyExternalURL https://$_[0].contoso.test/owa" };
    my @clear = (plain => 1, auth => 'Basic');
    my @fronts = (
        $lab->front($to, 'ews', lines => [$url->('ews'), balanced($lab)]),
        $lab->front($to, 'ews-forms', auth => '',
            lines => [$url->('ews-forms')]),
        $lab->front($to, 'ews13', version => '2013', site => 'Stockholm',
            lines => [$url->('ews13')]),
        $lab->front($to, 'ews-vouched', auth => 'None',
            lines => [$url->('ews-vouched')],
            vhost => [CaspFronts::another_module($lab)]));
    # NTLM at the door, and Kerberos in the user's name behind
    push @fronts, CaspBackFronts::one($to, 'ews-ntlm',
        CaspBackFronts::iis($lab) . '/kerberos', 'Delegate', auth => 'NTLM',
        lines => ["CasProxyKeytab $lab->{ad}{FRONT_KEYTAB}"]);
    local $lab->{exchange} = $own;
    my @off = ('CasProxyRequireTLS Off');
    return join '', @fronts,
        $lab->front($to, 'own', lines => [$url->('own')]),
        $lab->front($to, 'clear-own', @clear, lines => [@off]),
        $lab->front($to, 'clear-small', @clear, lines => [@off],
            vhost => ['LimitRequestBody 1000']),
        $lab->front($to, 'clear-quick', @clear,
            lines => [@off, 'CasProxyTimeout EWS 1']);
}

1;
