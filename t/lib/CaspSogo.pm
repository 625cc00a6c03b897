# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspSogo - a real ActiveSync server behind a front, and telephones before
# it: what t/sogo.t says.
#
#   my ($sogo, $why) = CaspSogo::up(lab(), 'BER-CAS1', 'HAM-CAS1');
#   my $httpd = CaspHttpd->new('sogo', sub { CaspSogo::fronts($_[0], $sogo) });
#   my $phone = CaspSogo->new($httpd, 'CONTOSO\\ada');
#   my ($told) = $phone->does('foldersync');  # a hash for each request
#   my $wait = $phone->begins('ping:10');     # meanwhile something happens
#   my ($rang) = $wait->();
#   CaspSogo::deliver($sogo, 'ada', 'Subject');
#
# SOGo, its database, its mailboxes and both httpd are this test's own, so that
# no other test pays for them.
package CaspSogo;

use strict;
use warnings;
use CaspLab ();
use CaspTest ();

my $NAME = 'phones';

# Starts SOGo in the place of these servers; its folder, or nothing and why.
sub up {
    my ($lab, @servers) = @_;
    my $dir = "$lab->{run}/sogo";
    $lab->part('sogo', tool => 'sogo', dir => $dir);
    return $dir if eval {
        $lab->tool('sogo', 'up', $dir, $lab->{ad}{AD_DIR}, @servers);
        1;
    };
    die $@ if $@ !~ /: exit 77\n(?:sogo: )?(.*)/;
    return (undef, $1);
}

sub fronts {
    my ($to, $sogo) = @_;
    my $lab = CaspTest::lab();
    local $lab->{exchange} = $sogo; # its map.conf
    return $lab->front($to, $NAME,
        lines => ["CasProxyExternalURL https://$NAME.contoso.test/owa"]);
}

# A mail into somebody's inbox, behind every front's back.
sub deliver {
    my ($sogo, $user, $subject) = @_;
    CaspTest::lab()->tool('sogo', 'deliver', $sogo, $user, $subject);
    return;
}

# What SOGo's httpd answered: [name that came, status, request line].
sub answers {
    my ($sogo) = @_;
    return map { [split /\t/, s/\\\\/\\/gr] } split /\n/,
        CaspLab::slurp("$sogo/access.log");
}

# The front's line about a request.
sub decision {
    my ($httpd, $test) = @_;
    local CaspTest::lab()->{dir} = $httpd->{dir};
    return CaspTest::decision_line($test);
}

# ------------------------------------------------------------- a telephone

my $count = 0;

# password => '...', base64 => 1, version => '12.1'
sub new {
    my ($class, $httpd, $user, %o) = @_;
    my $device = sprintf 'CA5B%04X', ++$count;
    return bless { httpd => $httpd, user => $user, device => $device, %o },
        $class;
}

# Begins to do something; the function that is returned waits for the end and
# gives what the requests brought.
sub begins {
    my ($self, @commands) = @_;
    my $lab = CaspTest::lab();
    my $pid = open(my $out, '-|') // die "fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        @ENV{qw(EAS_USER EAS_PASSWORD EAS_HOST EAS_CA EAS_DEVICE
            EAS_VERSION)} = ($self->{user}, $self->{password}
                // $lab->{password}, "$NAME.contoso.test",
            "$lab->{run}/ca/ca.pem", $self->{device},
            $self->{version} // '14.1');
        $ENV{EAS_BASE64} = 1 if $self->{base64};
        exec "$CaspLab::TOP/t/lab/easclient.py",
            "https://127.0.0.1:$self->{httpd}{sslport}",
            "$lab->{run}/phone-$self->{device}.json", @commands
            or POSIX::_exit(127);
    }
    return sub {
        my @lines = <$out>;
        close $out;
        return map {
            my $line = $_;
            eval { CaspLab::json()->decode($line) } // { command => '?',
                error => $line };
        } @lines;
    };
}

sub does { my ($self, @commands) = @_; return $self->begins(@commands)->() }

1;
