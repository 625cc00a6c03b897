# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspMail - POP3, IMAP4 and SMTP: nginx as a mail proxy before t/lab's
# mailservers, fronts that it asks, and clients.
#
#   my $mail = CaspMail->new(lab());           # the servers behind
#   my $httpd = CaspHttpd->new('mail', sub { $mail->fronts(@_) })->start;
#   $mail->proxy;                              # nginx, before all fronts
#   my $got = $mail->log_on('f2010', 'imap', user => 'ada');
#   my @got = $mail->log_on_each([...], [...]);
#   my $r = $mail->ask('f2010', { 'Auth-Method' => 'plain', ... });
package CaspMail;

use strict;
use warnings;
use IO::Socket::INET ();
use CaspLab ();
use CaspTest ();

our $KEY = 'only the lab knows';
my $PATH = '/mail-auth';

# Why it cannot be here, or nothing.
sub missing {
    for ('/usr/sbin/nginx', '/usr/lib/nginx/modules/ngx_mail_module.so',
        '/usr/sbin/dovecot', '/usr/lib/dovecot/imap',
        '/usr/lib/dovecot/pop3') {
        return "needs $_" if !-e;
    }
    return $> ? 'needs root: Dovecot wants it' : ();
}

sub new {
    my ($class, $lab) = @_;
    my $self = bless { lab => $lab, dir => "$lab->{run}/mail", ports => {} },
        $class;
    $lab->part('mailservers', tool => 'mailservers', dir => $self->{dir});
    $lab->tool('mailservers', 'up', $self->{dir});
    return $self;
}

# Fronts of this test: name, and options of CaspLab::front. A mail proxy finds
# a virtual host by its port, for it names none.
sub described {
    my ($lab) = @_;
    my @bind = $lab->{ad} ? ('CasProxyDirectoryBind '
        . "$lab->{ad}{AD_BIND} file:$lab->{ad}{AD_PASSWORD_FILE}") : ();
    return (
        ['f2010'], ['f2007', version => '2007'],
        ['f2013', version => '2013', site => 'Stockholm'],
        ['lax', lines => ['CasProxyRequireTLS Off']],
        ['off', mode => 'Off'],
        ['narrow', lines => ['CasProxyPublish OWA IMAP4']],
        ['gone', directory => ['CasProxyDirectory ldap://127.0.0.1:9', @bind,
            'CasProxyDirectoryTLS Off',
            'CasProxyDirectoryTimeout connect=1 search=2']],
        ['lost'], ['half'], ['six']);
}

# Names that have no address; and one of two servers that is not there.
sub map_of {
    my ($self, $name) = @_;
    return map {"CasProxyBackendMap ber-cas$_.contoso.test "
        . "imap://no-such-host.contoso.invalid:143\n"} 1, 2
        if $name eq 'lost';
    my $map = CaspLab::slurp("$self->{dir}/map.conf");
    my $dead = CaspLab::free_port();
    $map =~ s{(ber-cas1\S* imap://[^:]+):\d+}{$1:$dead} if $name eq 'half';
    $map =~ s{(ber-cas\d\S* (?:imap|pop3)://)[^:]+}{$1\[::1]}g if $name eq 'six';
    return $map;
}

sub fronts {
    my ($self, $to) = @_;
    my $lab = $self->{lab};
    my $text = '';
    for (described($lab)) {
        my ($name, %o) = @$_;
        my $port = $self->{ports}{$name} = CaspLab::free_port();
        CaspLab::spew("$to->{dir}/mail-$name.conf", $self->map_of($name));
        $text .= "Listen 127.0.0.1:$port\n" . $lab->front(
            { %$to, port => $port }, $name, plain => 1, %o,
            vhost => [qq(Include "$to->{dir}/mail-$name.conf"),
                "<Location $PATH>", '    SetHandler casproxy-mail-auth',
                '    <RequireAll>', '        Require local',
                qq(        Require expr %{HTTP:X-Auth-Key} == '$KEY'),
                '    </RequireAll>', '</Location>']);
    }
    return $text;
}

sub proxy {
    my ($self) = @_;
    $self->{lab}->tool('mailservers', 'proxy', $self->{dir},
        map {"$_=127.0.0.1:$self->{ports}{$_}$PATH"}
            sort keys %{ $self->{ports} });
    $self->{nginx} = CaspLab::json->decode(
        CaspLab::slurp("$self->{dir}/nginx/ports.json"));
    return $self;
}

# ------------------------------------------------------------------ clients

# protocol is imap, pop3, smtp, or with s behind it; open => 1 for the ports
# that offer what no directory verifies. What mailclient.py tells.
sub log_on {
    my ($self, @what) = @_;
    return ($self->log_on_each([@what]))[0];
}

my ($serial, $client) = (0, 0);

# each login from an address of its own: failures are counted by it
sub log_on_each {
    my ($self, @logins) = @_;
    my $lab = $self->{lab};
    my @orders = map {
        my ($front, $protocol, %o) = @$_;
        my $ports = $self->{nginx}{$front};
        $ports = $ports->{open} if delete $o{open};
        my $port = $ports->{$protocol} or die "$front has no $protocol\n";
        $o{tls} //= $protocol =~ /s\z/ ? 'ssl' : 'starttls';
        $o{tls} = 'starttls' if $o{tls} eq 'ssl' && $protocol !~ /s\z/;
        { ca => "$lab->{run}/ca/ca.pem", password => $lab->{password},
            from => sprintf('127.1.%d.%d', ++$client / 200, 1 + $client % 200),
            user => 'ada', %o, port => $port,
            protocol => $protocol =~ s/s\z//r }
    } @logins;
    my $file = "$lab->{run}/logins.$$." . ++$serial;
    CaspLab::spew($file, CaspLab::json->encode(\@orders));
    my $text = $lab->tool('mailclient.py', $file);
    return map { bless $_, 'CaspMail::Result' }
        @{ CaspLab::json->decode($text) };
}

# The front itself, asked as nginx asks: headers of the answer.
sub ask {
    my ($self, $front, $headers, %o) = @_;
    my %all = ('Auth-Method' => 'plain', 'Auth-Protocol' => 'imap',
        'Auth-Login-Attempt' => 1, 'Client-IP' => '192.0.2.1',
        'Auth-SSL' => 'on', 'X-Auth-Key' => $KEY,
        'Auth-User' => 'ada', 'Auth-Pass' => $self->{lab}{password},
        %$headers);
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->{ports}{$front}, Timeout => 10)
        or return CaspTest::Answer->parse('', 'no connection', '');
    print $sock join "\r\n", ($o{method} // 'GET') . " $PATH HTTP/1.0",
        'Host: 127.0.0.1',
        map({ defined $all{$_} ? "$_: $all{$_}" : () } sort keys %all), '',
        '';
    my $text = '';
    local $SIG{ALRM} = sub { die "time\n" };
    eval {
        alarm 40;
        while (sysread $sock, my $part, 65536) { $text .= $part }
        1;
    };
    alarm 0;
    return CaspTest::Answer->parse($text, $@, '');
}

package CaspMail::Result;

sub ok { return $_[0]{ok} ? 1 : 0 }
sub server { return $_[0]{server} }
sub said { return $_[0]{said} . ' ' . ($_[0]{ended} // '') }

1;
