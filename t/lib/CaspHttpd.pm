# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspHttpd - an httpd of a test's own, beside the suite's: with a directory
# that fails, a configuration that is wrong, restarts under load.
#
#   my $httpd = CaspHttpd->new('slow', sub {
#       my ($to) = @_;      # its ports and folders; $lab->front wants them
#       return lab()->front($to, 'slow', directory => [...], lines => [...]);
#   });
#   $httpd->start;
#   my $r = $httpd->ask('slow', '/owa/', user => 'ada');   # as CaspTest::ask
#   $httpd->restart('graceful');
#   like $httpd->log, qr/CP0403/;
#   $httpd->stop;           # or the driver does, at the end of the run
#
# new('name', $vhosts, modules => '...', global => '...', without => ['ssl'])
# It has its own ports, DocumentRoot, state folder and error log.
package CaspHttpd;

use strict;
use warnings;
use File::Path ();
use CaspLab ();
use CaspTest ();

sub new {
    my ($class, $name, $vhosts, %o) = @_;
    my $lab = CaspTest::lab();
    my $dir = "$lab->{run}/httpd-$name";
    my $self = bless { name => $name, dir => $dir, lab => $lab,
        port => CaspLab::free_port(), sslport => CaspLab::free_port() },
        $class;
    File::Path::make_path(map {"$dir/$_"} qw(conf logs htdocs state));
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam $lab->{user})[2, 3];
        chown $uid, $gid, map {"$dir/$_"} qw(logs state);
    }
    CaspLab::spew("$dir/conf/fronts.conf",
        $o{plain} ? () : $lab->tls_lines($self), $o{global} // '',
        $vhosts ? $vhosts->($self) : '');
    CaspLab::spew("$dir/conf/httpd.conf",
        $o{modules} // $lab->module_lines(%o), $self->base);
    return $self;
}

# t/conf/httpd.conf.in, with this server's words.
sub base {
    my ($self) = @_;
    my $dir = $self->{dir};
    my %words = (port => $self->{port}, serverroot => $dir,
        documentroot => "$dir/htdocs", t_pid_file => "$dir/logs/httpd.pid",
        t_logs => "$dir/logs", t_conf => "$dir/conf");
    my $text = CaspLab::slurp("$CaspLab::TOP/t/conf/httpd.conf.in");
    $text =~ s/\@(\w+)\@/$words{lc $1} \/\/ die "what is $1?\n"/ge;
    my $group = getgrgid((getpwnam $self->{lab}{user})[3]);
    return "User $self->{lab}{user}\nGroup $group\nServerName 127.0.0.1\n"
        . "TypesConfig /etc/mime.types\n" . $text;
}

sub command {
    my ($self, @words) = @_;
    return ($self->{lab}{httpd}, '-f', "$self->{dir}/conf/httpd.conf",
        @words);
}

# What "httpd -t" says, and its exit code.
sub test {
    my ($self, @words) = @_;
    my $pid = open my $out, '-|';
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec $self->command('-t', @words) or exit 127;
    }
    my $text = do { local $/; <$out> } // '';
    close $out;
    return ($? >> 8, $text);
}

# Starts it; dies with its error log where it does not come up.
sub start {
    my ($self) = @_;
    $self->{lab}->part("httpd-$self->{name}", dir => $self->{dir},
        pidfile => "$self->{dir}/logs/httpd.pid");
    eval { CaspLab::run($self->command('-k', 'start')); 1 }
        or die $@, $self->log;
    CaspLab::wait_for {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $self->{port})
    } 10 or die "httpd $self->{name} does not listen\n", $self->log;
    return $self;
}

sub pid { return (CaspLab::slurp("$_[0]{dir}/logs/httpd.pid") =~ /(\d+)/)[0] }

# Wait until a user gets what they are to get.
sub ready {
    my ($self, $front, $user, $seconds) = @_;
    return CaspLab::wait_for {
        $self->ask($front, '/owa/', user => $user)->status == 200
    } $seconds // 15;
}

# restart('graceful') or restart('restart'); returns when it has been said.
sub restart {
    my ($self, $how) = @_;
    return kill $how eq 'graceful' ? 'USR1' : 'HUP', $self->pid;
}

sub stop {
    my ($self) = @_;
    $self->{lab}->down("httpd-$self->{name}");
    return;
}

sub log { return CaspLab::slurp("$_[0]{dir}/logs/error_log") }

# Its lines of level error and above, but for those of these patterns.
sub errors {
    my ($self, @expected) = @_;
    return grep {
        my $line = $_;
        !grep { $line =~ $_ } @expected
    } CaspLab::bad_lines($self->log);
}

sub ask {
    my ($self, $front, $path, %o) = @_;
    return CaspTest::ask($front, $path, %o, httpd => $self);
}

1;
