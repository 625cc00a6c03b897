# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspRpc - Outlook Anywhere as a test sees it: servers that have it
# (t/lab/rpcproxy.py), the virtual hosts of t/rpc.t, and a client that speaks
# and listens at once.
#
#   my $dir = CaspRpc::servers(lab());         # once in a run
#   my $httpd = CaspHttpd->new('rpc', \&CaspRpc::fronts)->start;
#   my $c = CaspRpc->new($httpd, 'rpc', 'RPC_IN_DATA', length => 1 << 30,
#       user => 'ada', query => 'chan=1');     # sends the head only
#   $c->say($bytes); $c->hears(qr/\r\n\r\n/, 2); $c->gone(2); $c->close;
#   $c->status; $c->header('Connection'); $c->body
#   my @e = CaspRpc::events($mark, event => 'in', chan => 1);
package CaspRpc;

use strict;
use warnings;
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use Time::HiRes 'time';
use CaspLab ();
use CaspTest ();
use CaspWire ();

our $GIGABYTE = 1 << 30;
my $TARGET = '/rpc/rpcproxy.dll?ber-mbx1.contoso.test:6001';

# ------------------------------------------------------------------ the servers

sub servers {
    my ($lab) = @_;
    return $lab->serve('rpc', 'servers.json', "$CaspLab::TOP/t/lab/rpcproxy.py",
        'run', 'DIR');
}

# ----------------------------------------------------------- the virtual hosts

# With mod_reqtimeout, which has a word to say about slow bodies.
sub modules {
    my ($lab) = @_;
    return modules => $lab->module_lines . 'LoadModule reqtimeout_module '
        . "$CaspLab::MODULES/mod_reqtimeout.so\n";
}

sub fronts {
    my ($to) = @_;
    my $lab = CaspTest::lab();
    local $lab->{exchange} = servers($lab);
    my $one = sub {
        my ($name, $login, $vhost, @lines) = @_;
        my @version = $name =~ /13/ ? (version => '2013', site => 'Stockholm')
            : ();
        return $lab->front($to, $name, auth => 'Basic', @version,
            plain => scalar($name =~ /^clear/), vhost => $vhost // [], lines => [
            "CasProxyExternalURL https://$name.contoso.test/owa",
            $login ? "CasProxyBackendAuth $login" : (),
            $name =~ /^clear/ ? 'CasProxyRequireTLS Off' : (), @lines]);
    };
    return join '',
        $one->('clear-rpc', 'Basic'),
        $one->('rpc', 'Basic'),
        $one->('rpc-many', 'Basic', [], 'CasProxyBackendPool hmax=10000'),
        $one->('clear-ntlm', 'NTLM'),
        $one->('clear-13', ''),
        $one->('clear-idle', 'Basic', [], 'CasProxyTimeout RPC 2'),
        $one->('clear-slow', 'Basic', ['Timeout 2']),
        $one->('clear-busy', 'Basic', [], 'CasProxyBackendPool busy=2'),
        $one->('clear-hurry', 'Basic',
            ['RequestReadTimeout header=10 body=1']);
}

# Nothing of this is on the suite's own httpd.
sub all { return '' }

# ------------------------------------------------------------------- a channel

sub new {
    my ($class, $httpd, $front, $method, %o) = @_;
    my $self = bless { text => '' }, $class;
    $self->{wire} = $o{wire} // CaspWire->new(httpd => $httpd,
        $front =~ /^clear/ ? () : (tls => $front));
    $self->ask($front, $method, %o);
    return $self;
}

# Another request over the same connection.
sub ask {
    my ($self, $front, $method, %o) = @_;
    my $user = $o{user} // 'ada';
    my $target = ($o{target} // $TARGET) . ($o{query} ? "&$o{query}" : '');
    $self->{text} = '';
    $self->say(join "\r\n", "$method $target HTTP/1.1",
        "Host: $front.contoso.test", 'User-Agent: MSRPC',
        'Accept: application/rpc', 'Cache-Control: no-cache',
        'Connection: Keep-Alive',
        $user eq '-' ? () : 'Authorization: ' . CaspTest::basic($user),
        defined $o{length} ? "Content-Length: $o{length}" : (),
        @{ $o{headers} // [] }, '', $o{body} // '');
    return $self;
}

# All of it, or as much as is taken in some seconds; how much that was.
sub say {
    my ($self, $bytes, $seconds) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $out = $self->{wire}{out} or return 0;
    my $until = time + ($seconds // 10);
    my $sent = 0;
    $out->blocking(0);
    while ($sent < length $bytes && time < $until) {
        if (!IO::Select->new($out)->can_write(0.2)) { next }
        my $n = syswrite $out, $bytes, 65536, $sent;
        if (!defined $n) {
            next if $!{EAGAIN};
            last;
        }
        $sent += $n;
    }
    return $sent;
}

# Read until it matches, or the seconds are over, or the server closes.
sub hears {
    my ($self, $pattern, $seconds) = @_;
    my $until = time + ($seconds // 5);
    while ($self->{text} !~ $pattern) {
        return 0 if $self->{eof} || time > $until;
        $self->more($until - time);
    }
    return 1;
}

sub more {
    my ($self, $seconds) = @_;
    my $in = $self->{wire}{in} or return;
    return if !IO::Select->new($in)->can_read($seconds > 0 ? $seconds : 0);
    my $n = sysread $in, $self->{text}, 65536, length $self->{text};
    $self->{eof} = 1 if !$n && !(!defined $n && $!{EAGAIN});
    return $n;
}

# Does the server close the connection?
sub gone {
    my ($self, $seconds) = @_;
    my $until = time + ($seconds // 5);
    $self->more($until - time) while !$self->{eof} && time < $until;
    return $self->{eof};
}

# openssl s_client stays where only its input ends.
sub close {
    my ($self) = @_;
    kill 'KILL', $self->{wire}{pid} if $self->{wire}{pid};
    $self->{wire}->close;
    return;
}

sub DESTROY { $_[0]->close; return }

sub status { return $_[0]{text} =~ m{\AHTTP/1\.1 (\d{3})} ? $1 : 0 }
sub line { return ($_[0]{text} =~ m{\A(.*?)\r\n})[0] // '' }

sub header {
    my ($self, $name) = @_;
    my ($head) = $self->{text} =~ /\A(.*?\r\n)\r\n/s;
    return (($head // '') =~ /^\Q$name\E:\s*(.*?)\r$/mi)[0];
}

sub body { return ($_[0]{text} =~ /\r\n\r\n(.*)\z/s)[0] // '' }

# The bytes of a body in chunks, and whether its end has come.
sub chunks {
    my ($self) = @_;
    my ($raw, $text) = ($self->body, '');
    while ($raw =~ s/\A([0-9a-f]+)\r\n//i) {
        my $size = hex $1;
        return ($text, 1) if !$size;
        $text .= substr $raw, 0, $size, '';
        $raw =~ s/\A\r\n//;
    }
    return ($text, 0);
}

# ----------------------------------------------------------- what came behind

sub events {
    my ($mark, %want) = @_;
    my @all = grep { $_->{event} } CaspTest::all_requests($mark);
    return grep {
        my $e = $_;
        !grep { ($e->{$_} // '') ne $want{$_} } keys %want
    } @all;
}

# The first of them, waited for.
sub event {
    my ($mark, $seconds, %want) = @_;
    return CaspLab::wait_for { (events($mark, %want))[0] } $seconds;
}

1;
