# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspLab - the run folder, what is started in it, and how all of it ends.
#
# One run folder holds everything: certificates, the lab's parts, every httpd.
# Whoever starts a process notes it in RUN/parts, so that the driver can end
# it by its own stop command or process id, whatever becomes of the test that
# started it. Nothing is ever ended by name.
package CaspLab;

use strict;
use warnings;
use Cwd ();
use File::Basename ();
use File::Path ();
use IO::Socket::INET ();
use JSON::PP ();
use POSIX ();
use Time::HiRes ();

our $TOP = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../..');
our $MODULES = '/usr/lib/apache2/modules';
our $HTTPD = '/usr/sbin/apache2';

# ------------------------------------------------------------- small things

sub slurp {
    my ($path) = @_;
    open my $in, '<:raw', $path or return '';
    local $/;
    my $text = <$in>;
    close $in;
    return $text // '';
}

# Whole or not at all: another process may be waiting for it.
sub spew {
    my ($path, @text) = @_;
    open my $out, '>:raw', "$path.part" or die "$path: $!\n";
    print $out @text;
    close $out or die "$path: $!\n";
    rename "$path.part", $path or die "$path: $!\n";
    return $path;
}

sub json { return JSON::PP->new->utf8->canonical }

my %given;

# A port that is free on loopback, below the ephemeral ones.
sub free_port {
    for (1 .. 500) {
        my $port = 20000 + int rand 11999;
        next if $given{$port};
        # on every address: the simulated servers have one each, and DavMail
        # takes them all; bound only, it hears nothing
        my $sock = IO::Socket::INET->new(Proto => 'tcp',
            LocalAddr => '0.0.0.0', LocalPort => $port, ReuseAddr => 1)
            or next;
        close $sock;
        $given{$port} = 1;
        return $port;
    }
    die "no free port on 127.0.0.1\n";
}

# The lines of an error log that a test must have declared.
sub bad_lines {
    my ($text) = @_;
    return grep {
        /\[[\w-]*:(?:error|crit|alert|emerg)\]/
            || /exit signal|segmentation fault|Sanitizer|runtime error:/i
    } split /\n/, $text;
}

# Run a command; its output. Dies with the output where it fails.
our $running; # its process: whoever cleans up lets it end first
sub run {
    my (@command) = @_;
    my $pid = open my $out, '-|';
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        open STDIN, '<', '/dev/null';
        exec @command or POSIX::_exit(127);
    }
    local $running = $pid;
    my $text = do { local $/; <$out> } // '';
    close $out;
    die "@command: exit ", $? >> 8, "\n$text" if $?;
    return $text;
}

# Wait until a condition holds; its value, or nothing after so many seconds.
sub wait_for(&;$) {
    my ($condition, $seconds) = @_;
    my $end = Time::HiRes::time() + ($seconds // 10);
    while (1) {
        my $value = $condition->();
        return $value if $value;
        return if Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.03);
    }
}

# Is this process alive, no zombie, and one that names the folder?
sub is_ours {
    my ($pid, $folder) = @_;
    return 0 if !$pid || slurp("/proc/$pid/stat") =~ /\) Z /;
    return index(slurp("/proc/$pid/cmdline"), $folder) >= 0;
}

sub end_process {
    my ($pid, $folder, $patience) = @_;
    for my $signal ('TERM', 'KILL') {
        return 1 if !is_ours($pid, $folder);
        kill $signal, $pid;
        wait_for { waitpid $pid, POSIX::WNOHANG(); !is_ours($pid, $folder) }
            $patience // 8;
    }
    return !is_ours($pid, $folder);
}

# ------------------------------------------------------------- the run folder

sub new {
    my ($class, $state) = @_;
    return bless $state, $class;
}

# The lab of the run that this test belongs to.
sub current {
    my ($class) = @_;
    my $file = $ENV{CASP_STATE} or die "run t/TEST, not the test itself\n";
    return $class->new(json()->decode(slurp($file)));
}

sub save {
    my ($self) = @_;
    spew("$self->{run}/state.json", json()->encode({%$self}));
    $ENV{CASP_STATE} = "$self->{run}/state.json";
    return $self;
}

sub part {
    my ($self, $name, %what) = @_;
    spew("$self->{run}/parts/$name", json()->encode(\%what));
    return;
}

sub tool {
    my ($self, $tool, @words) = @_;
    local $ENV{CA_DIR} = "$self->{run}/ca";
    local $ENV{AD_CACHE} = $self->{cache} // '';
    return run("$TOP/t/lab/$tool", @words);
}

# A shell env file of the lab, as a hash.
sub read_env {
    my ($path) = @_;
    my %env = slurp($path) =~ /^(\w+)='(.*)'$/mg;
    return \%env;
}

sub certificate {
    my ($self, $name, @names) = @_;
    $self->tool('pki.py', "$self->{run}/ca", $name, @names);
    return "$self->{run}/ca/$name";
}

# ----------------------------------------------------------- the lab's parts

sub exchange_up {
    my ($self, $name, @files) = @_;
    my $dir = "$self->{run}/$name";
    $self->part($name, tool => 'exchange.py', dir => $dir);
    $self->tool('exchange.py', 'up', $dir, @files);
    return $dir;
}

# The same servers behind real integrated authentication, brought up when the
# first test asks for them: folder, env, and servers by kind and name; nothing
# where there is no AD.
sub iis { return $_[0]->iis_up('iis') }

# An IIS of a test's own, of these kinds.
sub iis_up {
    my ($self, $name, @kinds) = @_;
    my $ad = $self->{ad} or return;
    my $dir = "$self->{run}/$name";
    if (!-e "$dir/env") {
        $self->part($name, tool => 'iis', dir => $dir);
        $self->tool('iis', 'up', $dir, $ad->{AD_DIR}, @kinds);
    }
    return { dir => $dir, env => read_env("$dir/env"),
        servers => json()->decode(slurp("$dir/servers.json")) };
}

# CasProxyBackendMap lines: the simulated servers', but for those whom an IIS
# plays. One kind for all, or { 'BER-CAS1' => 'ntlm', ... }.
sub backend_map {
    my ($self, $kinds, $iis) = @_;
    my $text = slurp("$self->{exchange}/map.conf");
    return $text if !$kinds;
    my $servers = ($iis // $self->iis)->{servers};
    if (!ref $kinds) {
        my $kind = $kinds;
        $kinds = { map { $_ => $kind } keys %{ $servers->{$kind} } };
    }
    for my $name (sort keys %$kinds) {
        my $server = $servers->{ $kinds->{$name} }{$name}
            or die "no $name of kind $kinds->{$name} in t/lab/iis\n";
        my $line = "CasProxyBackendMap $server->{fqdn} ";
        $text =~ s/^\Q$line\E.*\n//m;
        $text .= "$line$server->{url}\n";
    }
    return $text;
}

# Change how a simulated server behaves: $lab->sim('GRZ-EX1', 'set?auth=epa'),
# 'reset', 'expire'. Its answer.
sub sim {
    my ($self, $server, $what, $dir) = @_;
    my $servers = json()->decode(slurp(
        ($dir // $self->{exchange}) . '/servers.json'));
    return run('curl', '-sSk', '--max-time', 10,
        "$servers->{$server}{url}/sim/$what");
}

# An AD or slapd below the run folder; its env. Words: "stop", "start".
sub ad_up { my ($self, $name) = @_; return $self->directory_up('ad', $name) }

sub slapd_up {
    my ($self, $name, $extra) = @_;
    return $self->directory_up('slapd', $name, $extra // ());
}

sub directory_up {
    my ($self, $tool, $name, @more) = @_;
    my $dir = "$self->{run}/$name";
    $self->part($name, tool => $tool, dir => $dir);
    $self->tool($tool, 'up', $dir, @more);
    return read_env("$dir/env");
}

# $lab->order('slapd', 'faults-slapd', 'stop')
sub order {
    my ($self, $tool, $name, $word) = @_;
    return $self->tool($tool, $word, "$self->{run}/$name");
}

# A program that serves until the run is over, once in a run: in a folder of
# this name, which its words call DIR, and where FILE appears as soon as it is
# ready; it can have the lab's CA. Returns the folder.
sub serve {
    my ($self, $name, $file, @command) = @_;
    my $dir = "$self->{run}/$name";
    return $dir if -e "$dir/$file";
    File::Path::make_path($dir);
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        $ENV{CA_DIR} = "$self->{run}/ca";
        POSIX::setsid();
        exec map({ $_ eq 'DIR' ? $dir : $_ } @command) or POSIX::_exit(127);
    }
    $self->part($name, pid => $pid, dir => $dir);
    wait_for { -e "$dir/$file" } 15
        or die "$name: see $dir/log\n", -e "$dir/log" ? slurp("$dir/log") : '';
    return $dir;
}

# LDAP servers that misbehave, for a real one at HOST:PORT; their env.
sub fault_up {
    my ($self, $name, $target) = @_;
    my $dir = $self->serve($name, 'env', "$TOP/t/lab/faultldap.py", 'DIR',
        $target // ());
    return read_env("$dir/env");
}

sub down {
    my ($self, $name) = @_;
    my $note = "$self->{run}/parts/$name";
    my $what = eval { json()->decode(slurp($note)) } or return;
    if ($what->{tool}) {
        eval { $self->tool($what->{tool}, 'down', $what->{dir}); 1 }
            or print STDERR "# $name: $@";
    }
    elsif ($what->{pidfile}) {
        my ($pid) = slurp($what->{pidfile}) =~ /(\d+)/;
        end_process($pid, $what->{dir}, 15) if $pid;
    }
    elsif ($what->{pid}) {
        end_process($what->{pid}, $what->{dir});
    }
    unlink $note;
    return;
}

# Everything that is still up: what serves goes before what it asks.
sub down_all {
    my ($self) = @_;
    my @names = map { File::Basename::basename($_) }
        glob "$self->{run}/parts/*";
    for my $name (sort { ($a !~ /^httpd/) <=> ($b !~ /^httpd/) } @names) {
        $self->down($name);
    }
    return;
}

# --------------------------------------------------------- configuration text

# What every front of the lab's directory says, but its mode and version.
sub directory_lines {
    my ($self) = @_;
    my $ad = $self->{ad} or return (
        "CasProxyDirectory ldif:$self->{run}/contoso.ldif");
    return ("CasProxyDirectory $ad->{AD_URL}",
        "CasProxyDirectoryBind $ad->{AD_BIND} file:$ad->{AD_PASSWORD_FILE}",
        "CasProxyDirectoryCAFile $self->{run}/ca/ca.pem");
}

# One front: the file of its CasProxy lines, which httpd includes and
# casproxyctl reads, and the virtual host around it.
#   version, site       of the front; site '' for none
#   mode                On (the default), Off, Shadow, Redirect
#   lines  => [...]     further CasProxy lines
#   directory => [...]  instead of the lab's directory
#   vhost  => [...]     further lines of the virtual host
#   proxy  => [...]     instead of strict SSLProxy lines
#   plain  => 1         no TLS towards the client
#   iis    => 'ntlm'    backends that want such a login: see backend_map
sub front {
    my ($self, $to, $name, %o) = @_;
    my $conf = "$to->{dir}/fronts/$name.conf";
    my @lines = (@{ $o{directory} // [$self->directory_lines] },
        'CasProxyDefaultDomain CONTOSO',
        "CasProxyStateDir $to->{dir}/state",
        'CasProxyFrontEnd ' . ($o{version} // '2010SP2'),
        ($o{site} // 'Berlin') ? 'CasProxySite ' . ($o{site} // 'Berlin')
                               : (),
        'CasProxyDiagnostics On', 'CasProxy ' . ($o{mode} // 'On'),
        # auth => 'Forms Basic'; '' for the default, which is Forms
        (grep {/^CasProxyAuth /} @{ $o{lines} // [] }) ? ()
            : length($o{auth} // 'Basic')
            ? ('CasProxyAuth ' . ($o{auth} // 'Basic')) : (),
        @{ $o{lines} // [] });
    File::Path::make_path("$to->{dir}/fronts");
    spew($conf, map({"$_\n"} @lines),
        $self->backend_map($o{iis}));
    my @tls = ('SSLEngine On');
    my @proxy = @{ $o{proxy} // ['SSLProxyEngine On',
        "SSLProxyCACertificateFile \"$self->{run}/ca/ca.pem\"",
        'SSLProxyVerify require'] };
    return join '', map {"$_\n"} '',
        '<VirtualHost *:' . ($o{plain} ? $to->{port} : $to->{sslport}) . '>',
        # httpd lets no virtual host inherit AllowEncodedSlashes
        map({"    $_"} "ServerName $name.contoso.test",
            'AllowEncodedSlashes NoDecode',
            $o{plain} ? () : @tls, @proxy, "Include \"$conf\"",
            @{ $o{vhost} // [] }),
        '</VirtualHost>';
}

sub module_lines {
    my ($self, %o) = @_;
    my $mpm = $self->{mpm};
    my %skip = map { $_ => 1 } @{ $o{without} // [] };
    my @names = ("mpm_$mpm", qw(unixd authn_core authn_file auth_basic
        authz_core authz_user authz_host access_compat socache_shmcb ssl
        watchdog log_config mime dir alias rewrite headers env setenvif
        remoteip unique_id proxy proxy_http http2));
    # casproxy first of all: it must not depend on mod_proxy's place
    return "LoadModule casproxy_module $self->{module}\n" . join '', map {
        -e "$MODULES/mod_$_.so" && !$skip{$_}
            ? "LoadModule ${_}_module $MODULES/mod_$_.so\n" : ()
    } @names;
}

# The part of a configuration that all fronts of one httpd share.
sub tls_lines {
    my ($self, $to) = @_;
    return <<"CONF";
Listen 127.0.0.1:$to->{sslport} https
Protocols h2 http/1.1
SSLCertificateFile "$self->{run}/ca/web.pem"
SSLCertificateKeyFile "$self->{run}/ca/web.key"
SSLSessionCache "shmcb:$to->{dir}/logs/ssl(512000)"
<VirtualHost *:$to->{sslport}>
    ServerName default.contoso.test
    SSLEngine On
</VirtualHost>
CONF
}

1;
