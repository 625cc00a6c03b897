# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspWire - one connection to an httpd of the suite, which stays until a test
# closes it: for what belongs to the connection, not to the request.
#
#   my $wire = CaspWire->new;                  # by plain http
#   my $wire = CaspWire->new(tls => 'in');     # through openssl s_client
#   my $r = $wire->ask('clear-in', '/owa/', authorization => ...);
#   my $r = $wire->log_on('clear-in', '/owa/', 'CONTOSO\\ada');    # NTLM
#   $wire->say($bytes); my $r = $wire->hear;   # by hand
#   $wire->gone                                # did the server close it?
#
# Answers are CaspTest's. new(httpd => ...) takes a CaspHttpd.
package CaspWire;

use strict;
use warnings;
use IO::Select ();
use IO::Socket::INET ();
use IPC::Open2 ();
use MIME::Base64 'encode_base64', 'decode_base64';
use Time::HiRes ();
use CaspNtlm ();
use CaspTest ();

sub new {
    my ($class, %o) = @_;
    my $to = $o{httpd} // CaspTest::lab();
    my $self = bless { text => '', open => 1, address => $o{address} }, $class;
    if ($o{tls}) {
        local $SIG{PIPE} = 'IGNORE';
        $self->{pid} = IPC::Open2::open2($self->{in}, $self->{out}, 'openssl',
            's_client', '-quiet', '-connect', "127.0.0.1:$to->{sslport}",
            '-servername', "$o{tls}.contoso.test", '-verify_quiet', '-CAfile',
            CaspTest::lab()->{run} . '/ca/ca.pem', '-alpn', 'http/1.1');
    }
    else {
        $self->{in} = $self->{out} = IO::Socket::INET->new(
            PeerAddr => '127.0.0.1', PeerPort => $to->{port}, Timeout => 10)
            or return bless { text => '', open => 0 }, $class;
    }
    binmode $self->{$_} for qw(in out);
    $self->{out}->autoflush(1);
    return $self;
}

sub DESTROY { $_[0]->close; return }

sub close {
    my ($self) = @_;
    $self->{open} = 0;
    close $_ for grep {defined} delete @$self{qw(in out)};
    if (my $pid = delete $self->{pid}) {
        local ($?, $!);
        waitpid $pid, 0;
    }
    return;
}

sub say {
    my ($self, @text) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $out = $self->{out} or return;
    return print $out @text;
}

# More of what comes; false at its end, or when nothing does for a while.
sub more {
    my ($self, $seconds) = @_;
    return if !$self->{open};
    return if !IO::Select->new($self->{in})->can_read($seconds // 20);
    my $n = sysread $self->{in}, $self->{text}, 65536, length $self->{text};
    $self->{open} = 0 if !$n;
    return $n;
}

# Wait until so much has come, or this pattern matches.
sub wait_for {
    my ($self, $what, $seconds) = @_;
    while (ref $what ? $self->{text} !~ $what : length $self->{text} < $what) {
        return if !$self->more($seconds);
    }
    return 1;
}

sub chunks {
    my ($self, $seconds) = @_;
    my $body = '';
    while ($self->wait_for(qr/\A[0-9a-f]+\r\n/i, $seconds)) {
        my ($size) = $self->{text} =~ /\A([0-9a-f]+)/i;
        my $all = length($size) + hex($size) + 4;
        $self->wait_for($all, $seconds) or last;
        $body .= substr $self->{text}, length($size) + 2, hex $size;
        substr $self->{text}, 0, $all, '';
        last if !hex $size;
    }
    return $body;
}

# The next whole answer; status 0 where none comes. interim: how many of
# status 1xx came before it. alone => 1 takes such a one for the answer.
sub hear {
    my ($self, %o) = @_;
    my ($head, $body, $interim) = ('', '', 0);
    while (1) {
        $self->wait_for(qr/\r\n\r\n/, $o{wait})
            or return CaspTest::Answer->parse('', 'no answer', $o{id} // '');
        $self->{text} =~ s/\A(.*?\r\n\r\n)//s;
        $head = $1;
        last if $o{alone} || $head !~ m{\AHTTP/\S+ 1\d\d };
        $interim++;
    }
    if ($o{head} || $head =~ m{\AHTTP/\S+ (?:1\d\d|204|304) }) {
        $body = '';
    }
    elsif ($head =~ /^Transfer-Encoding: chunked/mi) {
        $body = $self->chunks($o{wait});
    }
    elsif ($head =~ /^Content-Length: (\d+)/mi) {
        $self->wait_for($1, $o{wait});
        $body = substr $self->{text}, 0, $1, '';
    }
    my $r = CaspTest::Answer->parse("$head$body", '', $o{id} // '');
    $r->{interim} = $interim;
    return $r;
}

# Has the server closed it, or does it within so many seconds?
sub gone {
    my ($self, $seconds) = @_;
    $self->more($seconds // 0) if $self->{open};
    return !$self->{open};
}

# A request as bytes. authorization, method, body, length, headers, id, host
my $serial = 0;
sub request {
    my ($front, $path, %o) = @_;
    my $body = $o{body} // '';
    my $method = $o{method} // (defined $o{body} ? 'POST' : 'GET');
    my @lines = ("$method $path HTTP/1.1",
        'Host: ' . ($o{host} // "$front.contoso.test"),
        $o{id} ? "Test-Id: $o{id}" : (), @{ $o{headers} // [] },
        defined $o{authorization} ? "Authorization: $o{authorization}" : (),
        defined $o{body} || defined $o{length}
            ? 'Content-Length: ' . ($o{length} // length $body) : ());
    return join("\r\n", @lines) . "\r\n\r\n$body";
}

sub ask {
    my ($self, $front, $path, %o) = @_;
    $o{id} //= "w$$." . ++$serial;
    push @{ $o{headers} }, "X-Forwarded-For: $self->{address}"
        if $self->{address};
    $self->say(request($front, $path, %o));
    return $self->hear(id => $o{id}, head => ($o{method} // '') eq 'HEAD',
        wait => $o{wait});
}

sub header { return $_[0] . ' ' . encode_base64($_[1], '') }

# The bytes of the token that an answer brings.
sub token {
    my ($r, $scheme) = @_;
    my ($word) = map { /^\Q$scheme\E (\S+)$/i ? $1 : () }
        $r->all('WWW-Authenticate');
    return defined $word ? decode_base64($word) : undef;
}

# A whole NTLM handshake; the last answer, with the first in ->{challenge}.
#   password, real, shape    of CaspNtlm
#   negotiate => 1           inside SPNEGO; mechanisms => [...]
#   first => {...}           further options of the first request
sub log_on {
    my ($self, $front, $path, $who, %o) = @_;
    my $scheme = $o{negotiate} ? 'Negotiate' : 'NTLM';
    my $client = CaspNtlm->new($who, password => CaspTest::lab()->{password},
        map { exists $o{$_} ? ($_ => $o{$_}) : () } qw(password real shape));
    my $token = $client->first;
    $token = CaspNtlm::init($token, @{ $o{mechanisms} // [] }) if $o{negotiate};
    my $challenge = $self->ask($front, $path, %{ $o{first} // {} },
        authorization => header($scheme, $token));
    my $second = token($challenge, $scheme);
    $second = CaspNtlm::inner($second) if defined $second;
    if (!defined $second) {
        $challenge->{challenge} = $challenge;
        return $challenge;
    }
    my $last = $client->last($second);
    my $r = $self->ask($front, $path, %{ $o{last} // {} },
        authorization => header($scheme,
            $o{negotiate} ? CaspNtlm::resp($last) : $last));
    @$r{qw(challenge sent)} = ($challenge, $last);
    return $r;
}

1;
