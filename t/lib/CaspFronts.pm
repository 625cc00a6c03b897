# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspFronts - the virtual hosts of the suite's httpd, and what lies in its
# DocumentRoot. Which test leans on which front is told beside it.
package CaspFronts;

use strict;
use warnings;
use File::Path ();
use CaspLab ();

our %VERSIONS = (
    f2007 => '2007', f2010 => '2010', f2010sp1 => '2010SP1',
    f2010sp2 => '2010SP2', f2010sp3 => '2010SP3', f2013 => '2013',
    f2016 => '2016', f2019 => '2019');
my $HERE = 'CasProxyExternalURL https://mail.contoso.test/owa';

# name: passwords of the people whom another module vouches for
my @FILE_USERS = ('CONTOSO\\ada', 'CONTOSO\\bert', 'CONTOSO\\clara',
    'CONTOSO\\fritz', 'CONTOSO\\gina', 'CONTOSO\\ida', 'CONTOSO\\dora',
    'CONTOSO\\karl', 'CONTOSO\\nils', 'CONTOSO\\otto', 'CONTOSO\\sven',
    'CONTOSO\\hugo', 'CONTOSO\\olga', 'CONTOSO\\nora', 'CONTOSO\\nobody',
    'CONTOSO\\emil', 'CONTOSO\\quirin', 'CONTOSO\\lina', 'CONTOSO\\leon',
    'CONTOSO\\lotte', 'CONTOSO\\xaver', 'ada@contoso.test', 'ulf');

# A folder called owa: mod_dir must not see it, and inert fronts serve it.
sub documents {
    my ($lab) = @_;
    my $root = "$lab->{dir}/htdocs";
    File::Path::make_path("$root/owa", "$root/exchange", "$root/plain");
    CaspLab::spew("$root/owa/index.html", "the folder owa\n");
    CaspLab::spew("$root/exchange/index.html", "the folder exchange\n");
    CaspLab::spew("$root/plain/index.html", "no Exchange path\n");
    CaspLab::spew("$root/owax.html", "not below owa\n");
    my $crypt = crypt $lab->{password}, '$5$casproxy';
    CaspLab::spew("$lab->{run}/passwords",
        map {"$_:$crypt\n"} @FILE_USERS, 'stranger');
    return;
}

sub another_module {
    my ($lab) = @_;
    return ('<Location />', '    AuthType Basic', '    AuthName other',
        '    AuthBasicProvider file',
        "    AuthUserFile \"$lab->{run}/passwords\"",
        '    Require valid-user', '</Location>');
}

sub versions {
    my ($lab) = @_;
    return map {
        $lab->front($lab, $_, version => $VERSIONS{$_},
            site => $VERSIONS{$_} ge '2013' ? 'Stockholm' : 'Berlin',
            lines => [$HERE])
    } sort keys %VERSIONS;
}

sub modes {
    my ($lab) = @_;
    return (
        $lab->front($lab, 'mail', lines => [$HERE]),
        $lab->front($lab, 'silent', version => '2010SP3', lines => [$HERE,
            'CasProxyCrossSiteRedirectType Silent']),
        $lab->front($lab, 'redirect', mode => 'Redirect', lines => [$HERE]),
        $lab->front($lab, 'redirect13', mode => 'Redirect',
            version => '2013', site => 'Stockholm', lines => [$HERE]),
        $lab->front($lab, 'shadow', mode => 'Shadow', lines => [$HERE]),
        $lab->front($lab, 'off', mode => 'Off', lines => [$HERE]),
        $lab->front($lab, 'narrow', lines => [$HERE,
            'CasProxyPublish OWA Legacy', 'CasProxyDiagnostics Off']));
}

# What the directory calls so, and another module says who it is.
sub vouched {
    my ($lab) = @_;
    return (
        $lab->front($lab, 'vouched', lines => [$HERE, 'CasProxyAuth None'],
            vhost => [another_module($lab)]),
        $lab->front($lab, 'ldif', lines => [$HERE, 'CasProxyAuth None'],
            directory => ["CasProxyDirectory ldif:$lab->{run}/contoso.ldif"],
            vhost => [another_module($lab)]));
}

sub towards_backends {
    my ($lab) = @_;
    my $ca = "SSLProxyCACertificateFile \"$lab->{run}/ca/ca.pem\"";
    return (
        $lab->front($lab, 'loose', lines => [$HERE], proxy => [
            'SSLProxyEngine On', 'SSLProxyVerify none',
            'SSLProxyCheckPeerName off', 'SSLProxyCheckPeerExpire off']),
        $lab->front($lab, 'wrongca', lines => [$HERE], proxy => [
            'SSLProxyEngine On', 'SSLProxyVerify require',
            "SSLProxyCACertificateFile \"$lab->{run}/otherca/ca.pem\""]),
        $lab->front($lab, 'noengine', lines => [$HERE], proxy => []));
}

sub authorized {
    my ($lab) = @_;
    my %where = (
        valid => ['Require valid-user'],
        # Require's words are an expression: a backslash is doubled in it
        ada => ['Require user CONTOSO\\\\ada'],
        version => ['Require casproxy-version 2010 2013'],
        site => ['Require casproxy-site Munich Berlin'],
        action => ['Require casproxy-action direct proxy'],
        notaction => ['<RequireAll>', 'Require all granted',
            'Require not casproxy-action manual-redirect', '</RequireAll>'],
        nobody => ['Require ip 192.0.2.1'],
        denied => ['Require all denied'],
        granted => ['Require all granted'],
        ipuser => ['<RequireAll>', 'Require ip 192.0.2.1',
            'Require valid-user', '</RequireAll>'],
        any => ['Satisfy Any', 'Order deny,allow', 'Allow from 127.0.0.1',
            'Require valid-user']);
    return map {
        $lab->front($lab, "req-$_", lines => [$HERE], vhost => [
            '<Location />', (map {"    $_"} @{ $where{$_} }), '</Location>'])
    } sort keys %where;
}

# Logging on by form: the default of CasProxyAuth.
sub by_form {
    my ($lab) = @_;
    my $silent = 'CasProxyCrossSiteRedirectType Silent';
    return map {
        my ($name, $lines, @more) = @$_;
        $lab->front($lab, $name, auth => '', lines => [$HERE, @$lines], @more)
    } (
        ['forms', []],
        ['forms-silent', [$silent], version => '2010SP3'],
        ['forms07', [], version => '2007'],
        ['forms13', [], version => '2013', site => 'Stockholm'],
        ['forms-basic', [], auth => 'Forms Basic'],
        ['forms-short', ['CasProxyFormsTimeout public=4s private=8s']],
        ['forms-user', ['CasProxyLogonFormat UserName']],
        ['forms-nosso', ['CasProxySSO Off', $silent]],
        ['forms-2fa', ['CasProxySSO TwoFactor', $silent]],
        ['forms-preauth', ['CasProxySSO PreAuth', $silent]],
        ['forms-over', [], vhost => ['ProxyErrorOverride On']],
        ['forms-legacy', ['CasProxyPublish Legacy']],
        ['forms-denied', [], vhost => ['<Location />',
            '    Require user CONTOSO\\\\ada', '</Location>']]);
}

# The front of the second site, by the name that single sign-on leads to.
sub in_munich {
    my ($lab) = @_;
    return $lab->front($lab, 'forms-munich', auth => '', version => '2010SP3',
        site => 'Munich', lines => [
            'CasProxyExternalURL https://munich.contoso.test/owa'],
        vhost => ['ServerAlias munich.contoso.test']);
}

sub in_the_clear {
    my ($lab) = @_;
    return map({
        my ($name, $value) = @$_;
        $lab->front($lab, $name, plain => 1, lines => [$HERE,
            "CasProxyRequireTLS $value"], vhost => [
            $value eq 'Forwarded' ? ('RemoteIPHeader X-Forwarded-For',
                'RemoteIPInternalProxy 127.0.0.1') : ()])
    } (['clear', 'Off'], ['clear-on', 'On'], ['clear-fwd', 'Forwarded'])),
        $lab->front($lab, 'clear-forms', auth => '', plain => 1,
            lines => [$HERE, 'CasProxyRequireTLS Off']);
}

# ---------------------------------------------- integrated, at the door

# Fronts of t/negotiate.t and t/ntlm.t: name, CasProxy lines, lines of the
# virtual host, further options of front(). All of them serve by the servers
# that ask for no login, and tell who httpd thinks it is serving.
sub doors {
    my ($lab) = @_;
    my $ad = $lab->{ad};
    my $keytab = "CasProxyKeytab $ad->{FRONT_KEYTAB}";
    my $all = 'CasProxyAuth Negotiate NTLM Basic';
    my $directory = 'CasProxyNTLMVerify Directory';
    my $words = 'CasProxyNTLMVerify Winbind /usr/bin/ntlm_auth'
        . " --configfile=$ad->{SMB_CONF}";
    my $clear = 'CasProxyRequireTLS Off';
    my @inside = ("<If \"%{REMOTE_ADDR} == '127.0.0.1'\">",
        '    CasProxyAuth Negotiate NTLM', '</If>');
    return (
        ['in', [$all, $keytab]],
        ['in-dir', [$all, $keytab, $directory]],
        ['in-krb', ['CasProxyAuth Negotiate', $keytab]],
        ['in-ntlm', ['CasProxyAuth NTLM']],
        ['in-words', ['CasProxyAuth Basic NTLM', $words]],
        ['in-nokeytab', ['CasProxyAuth Negotiate Basic']],
        ['in-foreign', [$all, "CasProxyKeytab $ad->{CAS_KEYTAB}"]],
        ['in-default', [$keytab], [], auth => ''],
        ['in-forms', ['CasProxyAuth Forms NTLM Negotiate', $keytab]],
        ['in-elsewhere', [$all, $keytab, 'CasProxyDirectoryBase'
            . " \"OU=Domain Controllers,$ad->{AD_BASE}\""]],
        ['in-valid', [$all, $keytab], ['<Location />',
            '    Require valid-user', '</Location>']],
        ['in-ada', [$all, $keytab], ['<Location />',
            '    Require user CONTOSO\\\\ada', '</Location>']],
        ['in-if', ['CasProxyAuth Forms', $keytab], \@inside],
        ['clear-behind', ['CasProxyAuth Forms', $keytab, $clear],
            ['RemoteIPHeader X-Forwarded-For',
                'RemoteIPInternalProxy 127.0.0.1', @inside], plain => 1],
        ['clear-in', [$all, $keytab, $clear], ['RemoteIPHeader X-Forwarded-For',
            'RemoteIPInternalProxy 127.0.0.1'], plain => 1],
        ['clear-in2', [$all, $keytab, $clear], [], plain => 1],
        ['clear-dir', [$all, $keytab, $clear, $directory], [], plain => 1],
        ['clear-part', ['CasProxyAuth NTLM', $clear, $directory],
            ['<Location /EWS>', '    CasProxyAuth Basic', '</Location>'],
            plain => 1]);
}

# The hosts that a Kerberos ticket is for.
sub principals {
    return map {"$_.contoso.test"} qw(in in-dir in-krb in-nokeytab in-default
        in-forms in-elsewhere in-valid in-ada in-if clear-in);
}

sub at_the_door {
    my ($lab) = @_;
    return '' if !$lab->{ad};
    local $lab->{exchange} = $lab->{door};
    return join '', map {
        my ($name, $lines, $vhost, @more) = @$_;
        $lab->front($lab, $name,
            lines => [$HERE, 'CasProxyBackendAuth None', @$lines],
            vhost => ['Header always set X-User "expr=%{REMOTE_USER}"',
                'Header always set X-Auth-Type "expr=%{AUTH_TYPE}"',
                @{ $vhost // [] }], @more)
    } doors($lab);
}

# What belongs to logging on behind the door is another file's.
sub behind_the_door {
    my ($lab) = @_;
    return '' if !-e "$CaspLab::TOP/t/lib/CaspBackFronts.pm";
    require CaspBackFronts;
    return CaspBackFronts::all($lab);
}

sub all {
    my ($lab) = @_;
    documents($lab);
    $lab->tool('pki.py', "$lab->{run}/otherca", 'other', 'other');
    return join '', modes($lab), versions($lab), vouched($lab),
        towards_backends($lab), authorized($lab), by_form($lab),
        in_munich($lab), in_the_clear($lab), at_the_door($lab),
        behind_the_door($lab);
}

1;
