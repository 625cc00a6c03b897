# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspFault - a directory that fails on demand, and people who go on asking.
#
#   my $dir = CaspFault->new;         # slapd, and faultldap.py before it
#   $dir->manner('hung');             # how it treats everybody from now on
#   $dir->searches('ada');            # how often slapd was asked for a name
#   my @got = CaspFault::all_at_once($n, sub { ... });   # a word from each
#   my $load = CaspFault::Load->start(...); $load->stop;
#
# Manners: pass; stopped (nobody listens); frozen (a live connection stops in
# the middle of everything, new ones are accepted by the kernel alone); and
# those of faultldap.py's switch.
package CaspFault;

use strict;
use warnings;
use IO::Socket::INET ();
use POSIX ();
use Time::HiRes ();
use CaspLab ();
use CaspTest ();

sub new {
    my ($class, $name) = @_;
    my $lab = CaspTest::lab();
    $name //= 'faults-slapd';
    my $env = $lab->slapd_up($name);
    my $self = bless { lab => $lab, name => $name, env => $env,
        frozen => 0 }, $class;
    $lab->order('slapd', $name, 'stop');
    $self->slapd_start;
    $self->{fault} = $lab->fault_up("$name-switch",
        '127.0.0.1:' . ($env->{SLAPD_PORT} + 1));
    return $self;
}

# With a log of every operation, which the lab's own start does not keep.
sub slapd_start {
    my ($self) = @_;
    my ($env, $dir) = ($self->{env}, $self->{env}{SLAPD_DIR});
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/operations.log";
        open STDERR, '>&', \*STDOUT;
        POSIX::setsid();
        exec 'slapd', '-d', '256', '-f', "$dir/slapd.conf", '-h',
            "$env->{SLAPD_PLAIN_URL} $env->{SLAPD_URL} $env->{SLAPD_LDAPI}"
            or POSIX::_exit(127);
    }
    $self->{slapd} = $pid;
    CaspLab::wait_for { IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $env->{SLAPD_PORT} + 1) } 10
        or die "slapd does not listen; see $dir/operations.log\n";
    return;
}

sub slapd_stop {
    my ($self) = @_;
    my $pid = delete $self->{slapd} or return;
    kill 'CONT', $pid;
    kill 'TERM', $pid;
    CaspLab::wait_for { waitpid($pid, POSIX::WNOHANG()) } 5
        or kill('KILL', $pid) && waitpid $pid, 0;
    return;
}

# Connections made before do not outlive a change.
sub manner {
    my ($self, $manner) = @_;
    CaspLab::spew("$self->{lab}{run}/$self->{name}-switch/switch",
        $manner =~ /^(?:stopped|frozen)$/ ? 'pass' : $manner);
    if ($manner eq 'frozen') {
        kill 'STOP', $self->{slapd};
        return;
    }
    $self->slapd_stop;
    $self->slapd_start if $manner ne 'stopped';
    return;
}

sub url {
    my ($self, $which) = @_;
    return $which eq 'slapd' ? $self->{env}{SLAPD_URL}
        : 'ldaps://' . $self->{fault}{"FAULT_\U$which"};
}

# What a front says to use these servers, in this order.
sub lines {
    my ($self, @which) = @_;
    my $env = $self->{env};
    return ('CasProxyDirectory ' . join(' ', map { $self->url($_) } @which),
        "CasProxyDirectoryBind \"$env->{SLAPD_BIND}\""
            . " file:$env->{SLAPD_PASSWORD_FILE}",
        "CasProxyDirectoryCAFile $env->{SLAPD_CA}",
        'CasProxyDirectoryTimeout connect=1 search=1 topology=4');
}

sub searches {
    my ($self, $name) = @_;
    my $log = CaspLab::slurp("$self->{env}{SLAPD_DIR}/operations.log");
    return scalar(() = $log =~ /SRCH base=.* filter=.*=\Q$name\E[)@]/gi);
}

# How often anybody's password was judged: binds but those of the service.
sub user_binds {
    my ($self) = @_;
    my $log = CaspLab::slurp("$self->{env}{SLAPD_DIR}/operations.log");
    return scalar(() = $log =~ /BIND dn="(?!cn=svc-)[^"]+" method=128/gi);
}

sub down {
    my ($self) = @_;
    $self->slapd_stop;
    $self->{lab}->down("$self->{name}-switch");
    $self->{lab}->down($self->{name});
    return;
}

# Each of so many processes does it once, at the same time; their words. Who
# takes longer than the limit says nothing.
sub all_at_once {
    my ($count, $what, $limit) = @_;
    my @open = map {
        my $pid = open(my $out, '-|') // die "fork: $!\n";
        if (!$pid) {
            alarm($limit // 30);
            print STDOUT $what->($_);
            close STDOUT;
            POSIX::_exit(0);
        }
        $out
    } 1 .. $count;
    return map { my $word = do { local $/; readline $_ }; close $_;
        $word // '' } @open;
}

# ------------------------------------------------------ people who go on asking

package CaspFault::Load;

use strict;
use warnings;
use IO::Socket::INET ();
use POSIX ();

# Processes that ask one after the other over keep-alive connections, until
# told to stop. Each counts: good; wrong (another status, somebody else's
# mailbox); lost (an answer began and did not end); closed (a connection ended
# before the first byte of an answer, as a server may do with an idle one).
sub start {
    my ($class, %o) = @_;
    my @workers;
    for my $number (1 .. $o{workers}) {
        pipe my $from, my $to or die "pipe: $!\n";
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            close $from;
            my $going = 1;
            local $SIG{TERM} = sub { $going = 0 };
            local $SIG{PIPE} = 'IGNORE';
            alarm 60;
            my $user = $o{users}[$number % @{ $o{users} }];
            my %count = map { $_ => 0 } qw(good wrong lost closed);
            my ($sock, $note) = (undef, '');
            while ($going) {
                $sock //= IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                    PeerPort => $o{port}) or do { $count{closed}++; next };
                my ($what, $text) = one($sock, $o{host}, $o{path}, $user);
                $count{$what}++;
                $note = $text if $what eq 'wrong' || $what eq 'lost';
                undef $sock if $what ne 'good' || $text =~ /^Connection: close/mi;
            }
            $note =~ s/\s+/ /g;
            print $to join ' ', map({"$_=$count{$_}"} sort keys %count),
                'note=' . substr($note, 0, 300);
            close $to;
            POSIX::_exit(0);
        }
        close $to;
        push @workers, [$pid, $from];
    }
    return bless \@workers, $class;
}

sub one {
    my ($sock, $host, $path, $user) = @_;
    my $text = '';
    print $sock "GET $path HTTP/1.1\r\nHost: $host\r\nAuthorization: "
        . CaspTest::basic($user) . "\r\n\r\n" or return ('closed', '');
    while ($text !~ /\r\n\r\n/) {
        sysread($sock, $text, 65536, length $text)
            or return ($text eq '' ? 'closed' : 'lost', $text);
    }
    my ($head) = $text =~ /\A(.*?\r\n\r\n)/s;
    my ($length) = $head =~ /^Content-Length: (\d+)/mi;
    while (defined $length ? length $text < length($head) + $length
                           : $text !~ /\r\n0\r\n\r\n\z/) {
        sysread($sock, $text, 65536, length $text) or return ('lost', $text);
    }
    my $mine = quotemeta "mailbox of CONTOSO\\$user on";
    return ($head =~ m{\AHTTP/1.1 200 } && $text =~ /$mine/ ? 'good'
        : 'wrong', $text);
}

# The sums of all, and what went wrong last.
sub stop {
    my ($self) = @_;
    kill 'TERM', map { $_->[0] } @$self;
    my %sum = (note => '');
    for my $worker (@$self) {
        my $line = do { local $/; readline $worker->[1] } // '';
        waitpid $worker->[0], 0;
        $sum{note} ||= $1 if $line =~ s/ ?note=(.+)//s;
        $sum{$1} += $2 while $line =~ /(\w+)=(\d+)/g;
    }
    return \%sum;
}

1;
