# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# DavMail, Debian's package, as a program that logs on by OWA's form: it
# reads the page, posts the form, believes in a logon by the names of the
# cookies, in a wrong password by reason=2, and goes on to EWS with the cookie.
#
# The fronts listen on port 443 of an address of their own, and Java is told
# where their names lead: its addresses are those of real life, so that even
# the form for another site finds its way.
use strict;
use warnings;
use IO::Socket::INET ();
use MIME::Base64 'encode_base64';
use Apache::Test qw(-withtestmore);
use CaspForms;
use CaspHttpd;
use CaspTest;

my $JAR = '/usr/share/davmail/davmail.jar';
for ($JAR, '/usr/bin/java', '/usr/bin/keytool') {
    plan(skip_all => "needs DavMail: no $_ (t/lab/packages.sh install "
        . 'browser)') if !-e $_;
}
begin(ad => 1);

my $password = lab()->{password};
my $dir = lab()->{run} . '/davmail';
mkdir $dir;
my $main = $$;

# ----------------------------------------------------------------- the fronts

# An address of loopback whose port 443 is free.
sub address {
    for (1 .. 200) {
        my $address = join '.', 127, map { 1 + int rand 250 } 1 .. 3;
        my $sock = IO::Socket::INET->new(LocalAddr => $address,
            LocalPort => 443, Listen => 1, ReuseAddr => 1) or next;
        close $sock;
        return $address;
    }
    return;
}

my $address = address()
    or plan(skip_all => 'needs port 443 of an address of loopback');
my $httpd = CaspHttpd->new('davmail', sub {
    my ($to) = @_;
    my $text = join '', map {
        my ($name, $site, $version) = @$_;
        lab()->front($to, $name, version => $version, site => $site,
            auth => '', # by form: the default
            lines => ["CasProxyExternalURL https://$name.contoso.test/owa",
                'CasProxyCrossSiteRedirectType Silent']);
    } ['mail', 'Berlin', '2010SP3'], ['munich', 'Munich', '2010SP3'];
    $text =~ s/(<VirtualHost \*:\d+)>/$1 $address:443>/g;
    return $text;
}, global => "Listen $address:443 https\n");
$httpd->start;
CaspLab::wait_for { jar(log_on('mail', 'ada', httpd => $httpd)) } 20
    or diag 'the front is not ready: ', $httpd->log;

# -------------------------------------------------------------------- DavMail

sub davmail_log { return CaspLab::slurp("$dir/$_[0].log") }

# One DavMail for the front, in EWS or Auto mode; its ports.
sub davmail {
    my ($mode) = @_;
    my %port = map { $_ => CaspLab::free_port() } qw(imap pop);
    CaspLab::spew("$dir/$mode.properties", map {"$_\n"}
        'davmail.server=true', "davmail.mode=$mode",
        'davmail.url=https://mail.contoso.test/owa',
        "davmail.imapPort=$port{imap}", "davmail.popPort=$port{pop}",
        map({"davmail.${_}Port="} qw(smtp caldav ldap)),
        'davmail.allowRemote=false', 'davmail.disableUpdateCheck=true',
        "davmail.logFilePath=$dir/$mode.log", 'davmail.logFileSize=0',
        'log4j.rootLogger=WARN', 'log4j.logger.davmail=DEBUG');
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$dir/$mode.out";
        open STDERR, '>&', \*STDOUT;
        POSIX::setsid();
        exec '/usr/bin/java', '-Xmx128m', "-Duser.home=$dir",
            "-Djava.io.tmpdir=$dir", "-Djdk.net.hosts.file=$dir/hosts",
            '-Djava.net.useSystemProxies=false',
            "-Djavax.net.ssl.trustStore=$dir/trust.p12",
            '-Djavax.net.ssl.trustStorePassword=changeit',
            '-jar', $JAR, "$dir/$mode.properties" or POSIX::_exit(127);
    }
    lab()->part("davmail-$mode", pid => $pid, dir => $dir);
    CaspLab::wait_for { davmail_log($mode) =~ /listening on .*IMAP port/ } 30
        or diag 'DavMail did not start: ', CaspLab::slurp("$dir/$mode.out");
    return \%port;
}

CaspLab::spew("$dir/hosts", map {"$address $_.contoso.test\n"}
    qw(mail munich));
CaspLab::run('keytool', '-importcert', '-noprompt', '-storetype', 'PKCS12',
    '-alias', 'lab', '-file', lab()->{run} . '/ca/ca.pem', '-keystore',
    "$dir/trust.p12", '-storepass', 'changeit');

# Say something to a port; all that came back until a line of this pattern,
# or until 40 seconds have passed.
package Talk;

sub new {
    my ($class, $port, $greeting) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port, Timeout => 10) or die "port $port: $!\n";
    my $self = bless { sock => $sock }, $class;
    $self->listen($greeting);
    return $self;
}

sub listen {
    my ($self, $pattern) = @_;
    my $text = '';
    local $SIG{ALRM} = sub { die "time\n" };
    eval {
        alarm 40;
        while (defined(my $line = readline $self->{sock})) {
            $text .= $line;
            last if $line =~ $pattern;
        }
        1;
    };
    alarm 0;
    return $text =~ s/\r//gr;
}

sub say {
    my ($self, $words, $pattern) = @_;
    local $SIG{PIPE} = 'IGNORE';
    $self->{sock}->print("$words\r\n");
    return $self->listen($pattern);
}

package main;

# By IMAP: what it answers to a logon, and the connection.
sub imap_login {
    my ($port, $user, $word) = @_;
    my $imap = Talk->new($port->{imap}, qr/^\* OK/);
    $imap->say('a1 AUTHENTICATE LOGIN', qr/^\+/);
    $imap->say(encode_base64($user, ''), qr/^\+/);
    return ($imap->say(encode_base64($word, ''), qr/^a1 /), $imap);
}

sub pop_login {
    my ($port, $user, $word) = @_;
    my $pop = Talk->new($port->{pop}, qr/^\+OK/);
    $pop->say("USER $user", qr/^[+-]/);
    return ($pop->say("PASS $word", qr/^[+-]/), $pop);
}

# Logs on and reads the one message there is.
sub reads {
    my ($port, $user, $word, $address, $server, $name) = @_;
    my ($said, $imap) = imap_login($port, $user, $word);
    is $said, "a1 OK Authenticated\n", "$name: logs on";
    like $imap->say('a2 SELECT INBOX', qr/^a2 /), qr/^\* 1 EXISTS$/m,
        "$name: opens the inbox";
    like $imap->say('a3 FETCH 1 (UID BODY.PEEK[])', qr/^a3 /),
        qr/This is the mailbox of \Q$address\E on $server\./,
        "$name: reads the message";
    $imap->say('a4 LOGOUT', qr/^a4 /);
    return;
}

# The exceptions that its log tells of are these and no others: it writes its
# own down with where they came from, at any level; an accident of Java's is
# what must not be. Returns the log since then.
sub exceptions {
    my ($mode, $from, $want, $name) = @_;
    my $text = substr davmail_log($mode), $from;
    my %got = map { $_ => 1 } $text =~
        /\b((?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error))\b/g;
    is join(', ', sort keys %got), $want, "$name: what went wrong in its log";
    note map {"$_\n"} grep { /^20.*(?:authenticat|LOGON|FAILED|ERROR)/i }
        split /\n/, $text;
    return $text;
}
my $REFUSED = 'davmail.exception.DavMailAuthenticationException';

# ----------------------------------------------------------------- EWS mode

my $port = davmail('EWS');
{
    my $mark = mark();
    reads($port, 'CONTOSO\\ada', $password, 'ada@contoso.test',
        'BER-CAS[12]', 'ada');
    my $text = exceptions('EWS', 0, '', 'ada');
    like $text, qr/Form based authentication detected/,
        'ada: by the form';
    like $text, qr/Current user email is ada\@contoso\.test/,
        'ada: and EWS knows her';
    my @ews = grep { $_->{target} =~ m{^/ews/}i } requests($mark);
    cmp_ok scalar @ews, '>', 3, 'ada: EWS was asked';
    is scalar(grep { $_->{user} ne 'CONTOSO\\ada' } @ews), 0,
        'ada: in her name';
    is scalar(grep { ($_->header('Cookie') // '') =~ /cadata/ } @ews), 0,
        'ada: without our cookie';
    like $httpd->log, qr/CP0134: logon by form: user=\S*ada .*private/,
        'ada: the front knows a logon by form';
}
{
    my $from = length davmail_log('EWS');
    my ($said, $imap) = imap_login($port, 'CONTOSO\\ada', 'not this one');
    is $said, "a1 NO LOGIN failed\n", 'a wrong password: IMAP says no';
    my $text = exceptions('EWS', $from, $REFUSED, 'a wrong password');
    like $text, qr/Authentication failed: invalid user or password/,
        'a wrong password: its own message in the log';
    ($said) = pop_login($port, 'CONTOSO\\ada', 'not this one');
    like $said, qr/^-ERR Authentication failed: invalid user or password/,
        'a wrong password: its own message to POP';
    unlike $said, qr/Exception|\bat \w+\./, 'a wrong password: and no trace';
    ($said) = pop_login($port, 'CONTOSO\\ada', $password);
    like $said, qr/^\+OK/, 'then the right one';
    ($said) = imap_login($port, 'nobody', $password);
    is $said, "a1 NO LOGIN failed\n", 'an unknown user: the same';
}
for my $user ('ada@contoso.test', 'berta') {
    my ($said) = imap_login($port, $user, $password);
    is $said, "a1 OK Authenticated\n", "a name as $user";
}

# Single sign-on: DavMail reads the second form, too, and follows it.
{
    my $from = length davmail_log('EWS');
    reads($port, 'CONTOSO\\clara', $password, 'clara@contoso.test',
        'MUC-CAS1', 'clara');
    exceptions('EWS', $from, '', 'clara');
}
# What it posts to the other site is what the page holds, letter by letter: it
# undoes no entities. It also ends a value at < and >, which nobody can help.
# In the directory, and at the simulated servers.
sub set_password {
    my ($user, $word) = @_; # bytes
    my $servers = CaspLab::json()->decode(CaspLab::slurp(
        lab()->{exchange} . '/servers.json'));
    CaspLab::run('curl', '--silent', '--insecure', '--fail', '--max-time',
        10, "$servers->{'BER-CAS1'}{url}/sim/password?" . urlencoded(
            "CONTOSO%5C$user" => $word));
    CaspLab::run('samba-tool', 'user', 'setpassword', $user,
        "--newpassword=$word", '-s', lab()->{run} . '/ad/smb.conf');
    return;
}

my $changed;
END {
    if ($changed && $$ == $main) {
        local $?;
        set_password('clara', $password);
    }
}
{
    my $odd = 'p\'q& r%41+s9Z';
    $changed = 1;
    set_password('clara', $odd);
    reads($port, 'CONTOSO\\clara', $odd, 'clara@contoso.test', 'MUC-CAS1',
        'clara with an odd password');
    set_password('clara', $password);
    $changed = 0;
}
lab()->down('davmail-EWS');

# ---------------------------------------------------------------- Auto mode

# It looks for Exchange 2003 first, and then for EWS.
$port = davmail('Auto');
{
    reads($port, 'ada', $password, 'ada@contoso.test', 'BER-CAS[12]',
        'Auto mode');
    my $from = length davmail_log('Auto');
    my ($said) = imap_login($port, 'ada', 'not this one');
    is $said, "a1 NO LOGIN failed\n", 'Auto mode: a wrong password';
    exceptions('Auto', $from, $REFUSED, 'Auto mode, a wrong password');
}
lab()->down('davmail-Auto');

my @errors = $httpd->errors;
is scalar @errors, 0, "nothing in the front's log" or diag map {"$_\n"} @errors;
$httpd->stop;
finish();
