# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspSwarm - many clients of many people at once, who come and go as real ones
# do, and a judge who looks at every answer: is it this person's mailbox, and
# is it the answer to this very request?
#
#   my $sum = CaspSwarm->new(httpd => $httpd, fronts => [...], users => [...],
#       requests => 10000, seed => 7)->go(half => sub { ... });
#   $sum->{wrong}     somebody else's mailbox, or another request's answer
#   $sum->{lost}      neither served nor given up on purpose
#   $sum->{right}, {aborted}, {newcomers}, {again}, {connections}, {logons}
#   $sum->{told}      a few of what went wrong, in words
#
# Clients speak HTTP/1.1 without TLS. A connection that the server closed while
# it was idle may be closed just when a request is on its way; as any client,
# these ask again on a new one, once ({again}).
#
#   by => 'Basic'     (the default) each request has its header
#   by => 'NTLM'      the connection is authenticated, then requests are bare
#   nobody => 1       nobody ever brings anything
package CaspSwarm;

use strict;
use warnings;
use Digest::SHA 'sha256_hex';
use Errno qw(EINPROGRESS EAGAIN EWOULDBLOCK);
use IO::Select ();
use IO::Socket::INET ();
use MIME::Base64 qw(encode_base64 decode_base64);
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes ();
use CaspLab ();
use CaspNtlm ();

my @NUMBERS = qw(right wrong lost aborted newcomers again connections logons);

sub new {
    my ($class, %o) = @_;
    return bless { workers => 2, connections => 20, seed => 1, by => 'Basic',
        aborts => 0.08, patience => 30, name => 's', %o }, $class;
}

# ------------------------------------------------------------------- parent

sub go {
    my ($self, %o) = @_;
    my (@pids, $sum);
    pipe my $told, my $tell or die "pipe: $!\n";
    my $share = int($self->{requests} / $self->{workers});
    for my $number (1 .. $self->{workers}) {
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            close $told;
            my $good = eval { $self->work($number, $share, $tell); 1 };
            print STDERR $@ if !$good;
            POSIX::_exit($good ? 0 : 1);
        }
        push @pids, $pid;
    }
    close $tell;
    my $done = 0;
    while (sysread $told, my $dots, 4096) {
        $done += 50 * length $dots;
        (delete $o{half})->() if $o{half} && $done >= $self->{requests} / 2;
    }
    waitpid $_, 0 for @pids;
    $sum->{$_} = 0 for @NUMBERS;
    for my $number (1 .. $self->{workers}) {
        my $one = eval { CaspLab::json->decode(CaspLab::slurp(
            $self->file($number))) } // { lost => $share,
            told => ["client process $number died"] };
        $sum->{$_} += $one->{$_} // 0 for @NUMBERS;
        push @{ $sum->{told} }, @{ $one->{told} };
        %{ $sum->{sent} } = (%{ $sum->{sent} // {} }, %{ $one->{sent} // {} });
    }
    return $sum;
}

sub file { return "$_[0]{httpd}{dir}/swarm-$_[0]{name}-$_[1].json" }

# What the servers behind saw, held against what was sent: requests of
# CaspTest. Whoever it was for, even those who had gone.
#   {strange} known as somebody else there, {twice} a POST that arrived again
sub compare {
    my ($self, $sum, @requests) = @_;
    my (%seen, @strange, @twice);
    for my $r (@requests) {
        my ($n) = $r->{target} =~ /[?]n=(\w+)/ or next;
        my $sent = $sum->{sent}{$n} or next;
        push @strange, "$n of $sent was $r->{user} at $r->{server}"
            if lc($r->{user} // '') ne lc "CONTOSO\\$sent";
        push @twice, "$n of $sent" if $seen{$n}++ && $r->{method} eq 'POST';
    }
    return { seen => scalar keys %seen, strange => \@strange,
        twice => \@twice };
}

# ------------------------------------------------------------------- a worker

sub work {
    my ($self, $number, $share, $tell) = @_;
    local $SIG{PIPE} = 'IGNORE';
    srand $self->{seed} * 1000 + $number;
    @$self{qw(left serial number select)} =
        ($share, 0, $number, IO::Select->new);
    $self->{sum} = { (map { $_ => 0 } @NUMBERS), told => [], sent => {} };
    my ($dots, $writing) = (0, IO::Select->new);
    my %of;
    my $width = int $self->{connections} / $self->{workers} || 1;
    while ($self->{left} > 0 || %of) {
        while ($self->{left} > 0 && keys %of < $width) {
            my $c = $self->open_one or next;
            $of{ fileno $c->{sock} } = $c;
        }
        my ($can_read, $can_write) = IO::Select->select(
            IO::Select->new(map { $_->{sock} } grep { !length $_->{out} }
                values %of),
            IO::Select->new(map { $_->{sock} } grep { length $_->{out} }
                values %of), undef, 0.5);
        for my $sock (@{ $can_write // [] }) {
            my $c = $of{ fileno $sock };
            $self->send_more($c);
        }
        for my $sock (@{ $can_read // [] }) {
            my $c = $of{ fileno $sock };
            $self->hear_more($c);
        }
        my $now = Time::HiRes::time();
        for my $id (keys %of) {
            my $c = $of{$id};
            if (!$c->{over} && $now - $c->{since} > $self->{patience}) {
                $self->lose($c, 'no answer in time');
                $c->{over} = 1;
            }
            next if !$c->{over};
            close $c->{sock};
            delete $of{$id};
            # asked once more, on a connection of its own
            if (my $again = $c->{again}) {
                my $new = $self->open_one($again);
                $of{ fileno $new->{sock} } = $new if $new;
            }
        }
        my $done = int(($share - $self->{left}) / 50);
        syswrite $tell, '.' x ($done - $dots) if $done > $dots;
        $dots = $done;
    }
    CaspLab::spew($self->file($number), CaspLab::json->encode($self->{sum}));
    return;
}

sub pick { return $_[0][rand @{ $_[0] }] }

sub count { $_[0]{sum}{ $_[1] } += $_[2] // 1; return }

sub tell {
    my ($self, $text) = @_;
    my $told = $self->{sum}{told};
    push @$told, $text if @$told < 8;
    return;
}

# What kind of client: one person all along, one who becomes another, and one
# who asks without credentials now and then.
sub open_one {
    my ($self, $again) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->{httpd}{port}, Blocking => 0);
    if (!$sock) {
        $self->tell("connect: $!");
        Time::HiRes::sleep(0.05);
        return;
    }
    setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
    $self->count('connections');
    my $dice = rand;
    my $c = { sock => $sock, out => '', in => '', kept => 0,
        since => Time::HiRes::time(),
        front => $again ? $again->{front} : pick($self->{fronts}),
        user => $again ? $again->{user} : pick($self->{users}),
        kind => $again || $dice < 0.6 ? 'steady'
            : $dice < 0.8 ? 'changer' : 'newcomer',
        more => $again ? 1 : rand() < 0.25 ? 1 : 2 + int rand 30 };
    $self->next_request($c, $again);
    return $c;
}

# -------------------------------------------------------------- one request

sub next_request {
    my ($self, $c, $again) = @_;
    @$c{qw(in since req)} = ('', Time::HiRes::time(), undef);
    if ($c->{more}-- <= 0 || (!$again && $self->{left} <= 0)) {
        $c->{over} = 1;
        return;
    }
    if ($c->{kind} eq 'changer' && $c->{kept} && rand() < 0.3) {
        $c->{user} = pick($self->{users});
        $c->{in_as} = undef;
    }
    # in NTLM a bare request is its connection's user's
    my $nobody = !$again && ($self->{nobody}
        || $c->{kind} eq 'newcomer' && rand() < 0.4
            && ($self->{by} ne 'NTLM' || !$c->{in_as}));
    if ($self->{by} eq 'NTLM' && !$nobody && !$c->{in_as}) {
        $c->{then} = $again;
        return $self->first_leg($c);
    }
    my $req = $again // $self->invent($c, $nobody);
    $self->{left}-- if !$again;
    $c->{req} = $req;
    $c->{out} = $req->{bytes};
    $self->count('again') if $again;
    $self->{sum}{sent}{ $req->{n} } = $req->{user} if !$req->{nobody};
    return;
}

sub invent {
    my ($self, $c, $nobody) = @_;
    my $n = sprintf '%s%d_%d', $self->{name}, $self->{number},
        ++$self->{serial};
    my %req = (n => $n, user => $c->{user}, front => $c->{front},
        nobody => $nobody, abort => '', body => '');
    my $dice = rand;
    my $odd = $dice < 0.05 ? '&sim=slow:0.0' . (1 + int rand 8)
        : $dice < 0.1 ? '&sim=chunked' : '';
    if (!$nobody && rand() < $self->{aborts}) {
        $req{abort} = pick([qw(head body early middle)]);
        $odd = '&sim=slow:0.1' if $req{abort} eq 'early' && rand() < 0.7;
        $odd = '&sim=big:400000' if $req{abort} eq 'middle';
    }
    if ($req{abort} eq 'body' || rand() < 0.2) {
        my $size = rand() < 0.05 ? 300_000 : 1 + int rand 60_000;
        $req{body} = substr join('', map { chr 33 + int rand 90 } 1 .. 97)
            x (1 + $size / 97), 0, $size;
        $req{hash} = sha256_hex($req{body});
    }
    my $path = (length $req{body} ? '/owa/ev.owa' : '/owa/') . "?n=$n$odd";
    my @lines = ((length $req{body} ? 'POST' : 'GET') . " $path HTTP/1.1",
        "Host: $c->{front}.contoso.test", "Test-Id: $n",
        $nobody || $self->{by} ne 'Basic' ? () : 'Authorization: Basic '
            . encode_base64("$req{user}:$self->{password}", ''),
        length $req{body} ? 'Content-Length: ' . length $req{body} : (),
        $c->{more} > 0 ? () : 'Connection: close');
    $req{post} = length $req{body} ? 1 : 0;
    $req{size} = length $req{body};
    $req{bytes} = join("\r\n", @lines) . "\r\n\r\n" . delete $req{body};
    $req{stop} = $req{abort} eq 'head' ? int rand 80
        : $req{abort} eq 'body'
        ? length($req{bytes}) - int($req{size} * (0.1 + rand() * 0.8)) - 1
        : undef;
    return \%req;
}

# NTLM: two requests without meaning of their own before the first one.
sub first_leg {
    my ($self, $c) = @_;
    $self->count('logons');
    $c->{ntlm} = CaspNtlm->new("CONTOSO\\$c->{user}",
        password => $self->{password});
    $c->{more}++;
    $self->leg($c, 'first', $c->{ntlm}->first);
    return;
}

sub leg {
    my ($self, $c, $which, $token) = @_;
    my $n = sprintf '%s%d_%d', $self->{name}, $self->{number},
        ++$self->{serial};
    $c->{req} = { leg => $which, n => $n, user => $c->{user},
        front => $c->{front}, abort => '' };
    $self->{sum}{sent}{$n} = $c->{user};
    $c->{out} = join "\r\n", "GET /owa/?n=$n HTTP/1.1",
        "Host: $c->{front}.contoso.test",
        'Authorization: NTLM ' . encode_base64($token, ''), '', '';
    @$c{qw(in since)} = ('', Time::HiRes::time());
    return;
}

# ---------------------------------------------------------------- the wire

sub send_more {
    my ($self, $c) = @_;
    my $req = $c->{req};
    if (defined $req->{stop}) {
        syswrite $c->{sock}, substr $c->{out}, 0, $req->{stop};
        return $self->give_up($c);
    }
    my $n = syswrite $c->{sock}, $c->{out}, 65536;
    if (!defined $n) {
        return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINPROGRESS;
        $c->{out} = ''; # an answer may have come before the end
        return;
    }
    substr $c->{out}, 0, $n, '';
    $self->give_up($c) if !length $c->{out} && $req->{abort} eq 'early';
    return;
}

sub give_up {
    my ($self, $c) = @_;
    $self->count('aborted');
    @$c{qw(over out)} = (1, '');
    return;
}

sub hear_more {
    my ($self, $c) = @_;
    return if $c->{over};
    my $n = sysread $c->{sock}, $c->{in}, 65536, length $c->{in};
    return if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK);
    my $req = $c->{req};
    if (!$n) {
        $c->{over} = 1;
        # closed while it was idle: asked again on a new one, once
        if (!length $c->{in} && $c->{kept} && !$req->{again}++) {
            $self->again($c, $req);
            return;
        }
        return $self->lose($c, length $c->{in} ? 'cut off' : 'closed');
    }
    return $self->give_up($c)
        if $req->{abort} eq 'middle' && length $c->{in} > 3000;
    my ($head, $body, $rest) = whole(\$c->{in}) or return;
    if ($rest) {
        $self->count('wrong');
        $self->tell("$req->{n}: $rest bytes behind its answer");
    }
    $c->{kept}++;
    $c->{more} = 0 if $head =~ /^Connection: close/mi;
    return $self->handshake($c, $head, $body) if $req->{leg};
    $self->judge($c, $head, $body);
    return $self->next_request($c);
}

sub again {
    my ($self, $c, $req) = @_;
    if ($req->{leg}) { # nothing is owed but what it was to be for
        $c->{again} = $c->{then};
        $self->count('again') if !$c->{then};
        return;
    }
    $c->{again} = $req;
    return;
}

# The head and the body of an answer that is all there, and how many bytes
# stand behind it.
sub whole {
    my ($in) = @_;
    my $end = index $$in, "\r\n\r\n";
    return if $end < 0;
    my $head = substr $$in, 0, $end + 2;
    if ($head =~ /^Transfer-Encoding: chunked/mi) {
        my ($rest, $body, $last) = (substr($$in, $end + 4), '');
        while ($rest =~ s/\A([0-9a-f]+)\r\n//i) {
            my $size = hex $1;
            return if length $rest < $size + 2;
            $body .= substr $rest, 0, $size;
            substr $rest, 0, $size + 2, '';
            return ($head, $body, length $rest) if !$size;
        }
        return;
    }
    my ($length) = $head =~ /^Content-Length: (\d+)/mi;
    my $all = $end + 4 + ($length // 0);
    return if length $$in < $all;
    return ($head, substr($$in, $end + 4, $length // 0),
        length($$in) - $all);
}

sub handshake {
    my ($self, $c, $head, $body) = @_;
    my ($status) = $head =~ /\AHTTP\S+ (\d+)/;
    my ($token) = $head =~ /^WWW-Authenticate: NTLM (\S+)/mi;
    if ($c->{req}{leg} eq 'first' && $status == 401 && $token) {
        return $self->leg($c, 'last',
            $c->{ntlm}->last(decode_base64($token)));
    }
    if ($c->{req}{leg} ne 'last' || $status != 200) {
        $self->lose($c, "handshake: $status " . told_of($head));
        $c->{over} = 1;
        return;
    }
    $self->whose($c, $body);
    $c->{in_as} = $c->{user};
    return $self->next_request($c, delete $c->{then});
}

# ---------------------------------------------------------------- the judge

sub told_of {
    my ($head) = @_;
    return join ' ', $head =~ /\AHTTP\S+ ([^\r]*)/,
        $head =~ /^X-CasProxy-Decision: ([^\r]*)/mi;
}

sub lose {
    my ($self, $c, $why) = @_;
    my $req = $c->{req} or return;
    if ($req->{abort}) { # it would have been given up anyway
        $self->count('aborted');
        return;
    }
    $self->count('lost');
    $self->tell("$req->{n} of $req->{user} at $c->{front}"
        . " (request $c->{kept} of $c->{kind}): $why");
    return;
}

sub whose {
    my ($self, $c, $body) = @_;
    my $req = $c->{req};
    return 1 if $body =~ /mailbox of CONTOSO\\\Q$req->{user}\E on /i
        && $body =~ /[?]n=\Q$req->{n}\E\b/;
    $self->count('wrong');
    $self->tell("$req->{n} of $req->{user} at $c->{front} ($c->{kind}) got: "
        . ($body =~ /(mailbox of [^<]*)/ ? $1 : substr $body, 0, 80)
        . ($body =~ /[?]n=(\w+)/ ? " of request $1" : ''));
    return 0;
}

sub judge {
    my ($self, $c, $head, $body) = @_;
    my $req = $c->{req};
    my ($status) = $head =~ /\AHTTP\S+ (\d+)/;
    if ($req->{nobody}) {
        return $self->count('newcomers')
            if $status == 401 && $body !~ /mailbox of/;
        $self->count($status == 200 ? 'wrong' : 'lost');
        return $self->tell("$req->{n} of nobody at $c->{front}: "
            . told_of($head) . ' ' . ($body =~ /(mailbox of [^<]*)/)[0] // '');
    }
    if ($status != 200) {
        return $self->lose($c, told_of($head));
    }
    return $self->count('aborted') if $req->{abort}; # too quick for it
    $self->whose($c, $body) or return;
    if ($req->{post}) {
        my ($got) = $head =~ /^X-Backend-Body: ([^\r]*)/mi;
        if (($got // '') ne "$req->{size} $req->{hash}") {
            $self->count('wrong');
            return $self->tell("$req->{n}: its body arrived as "
                . ($got // 'nothing') . ", not $req->{size} $req->{hash}");
        }
    }
    return $self->count('right');
}

1;
