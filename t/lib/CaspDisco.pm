# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspDisco - Autodiscover on the wire: fronts that pass it on and fronts that
# answer it, requests as clients post them, answers read by an XML parser.
#
#   my $httpd = CaspHttpd->new('disco', \&CaspDisco::fronts)->start;
#   my ($r) = CaspDisco::ask_them($httpd, ['answer', user => 'ada',
#       about => 'clara@contoso.test']);
#   is $r->{said}{'Account/EXPR/EwsUrl'}, 'https://...';
package CaspDisco;

use strict;
use warnings;
use CaspLab ();
use CaspTest ();

my $SCHEMAS = 'http://schemas.microsoft.com/exchange/autodiscover/';
my $CLIENT = "$CaspLab::TOP/t/lab/discoclient.py";

# ------------------------------------------------------------------- fronts

sub one {
    my ($to, $name, $host, $lines, @more) = @_;
    my $lab = CaspTest::lab();
    return $lab->front($to, $name, @more, lines => [
        $host ? "CasProxyExternalURL https://$host.contoso.test/owa" : (),
        @$lines]);
}

sub fronts {
    my ($to) = @_;
    my $answer = 'CasProxyAutodiscover Answer';
    my @seven = (version => '2007');
    my @new = (version => '2013', site => 'Stockholm');
    return join '',
        one($to, 'pass', 'mail', []),
        one($to, 'pass07', 'old', [], @seven),
        one($to, 'pass07-here', 'mail', [], @seven),
        one($to, 'pass13', 'mail', [], @new),
        one($to, 'pass16', 'mail', [], version => '2016',
            site => 'Stockholm'),
        one($to, 'answer', 'mail', [$answer]),
        one($to, 'answer07', 'old', [$answer], @seven),
        one($to, 'answer13', 'mail', [$answer], @new),
        one($to, 'nameless', '', [$answer]),
        one($to, 'noeas', 'mail', [$answer, 'CasProxyActiveSyncRedirect Off']),
        one($to, 'narrow', 'mail', [$answer, 'CasProxyPublish OWA EWS '
            . 'Autodiscover']),
        # the two virtual hosts of autodiscover.contoso.test
        one($to, 'autodiscover', 'mail', [$answer]),
        one({ %$to, sslport => $to->{port}, dir => "$to->{dir}/plain" },
            'autodiscover', 'mail', [], plain => 1);
}

# ----------------------------------------------------------------- requests

sub request {
    my ($inner, %o) = @_;
    my $space = $o{device} ? 'mobilesync' : 'outlook';
    my $wanted = $o{schema}
        // "$space/responseschema/2006" . ($o{device} ? '' : 'a');
    return '<?xml version="1.0" encoding="utf-8"?>' . "\n"
        . "<Autodiscover xmlns=\"$SCHEMAS$space/requestschema/2006\">"
        . "<Request>$inner<AcceptableResponseSchema>"
        . "$SCHEMAS$wanted</AcceptableResponseSchema></Request>"
        . '</Autodiscover>';
}

# about => an address; legacy => a LegacyDN; device => MobileSync's schema
sub body {
    my (%o) = @_;
    return request(defined $o{legacy} ? "<LegacyDN>$o{legacy}</LegacyDN>"
        : "<EMailAddress>$o{about}</EMailAddress>", %o);
}

# [front, option => value...] each, options of body() and CaspTest::ask; all at
# once.  Their answers, each with {said}: path => text.
sub ask_them {
    my ($httpd, @list) = @_;
    my @answers = CaspTest::ask_each(map {
        my ($front, %o) = @$_;
        $o{body} //= body(%o) if defined $o{about} || defined $o{legacy};
        [$front, $o{path} // '/autodiscover/autodiscover.xml', %o,
            headers => [@{ $o{headers} // [] }, 'Content-Type: text/xml'],
            httpd => $httpd]
    } @list);
    read_them(@answers);
    return @answers;
}

my $serial = 0;

sub read_them {
    my (@answers) = @_;
    my $dir = CaspTest::lab()->{run} . "/disco.$$." . ++$serial;
    mkdir $dir;
    CaspLab::spew("$dir/$_", $answers[$_]->body) for 0 .. $#answers;
    my @said = split /\n/, CaspLab::run($CLIENT, 'read',
        map {"$dir/$_"} 0 .. $#answers);
    $answers[$_]{said} = CaspLab::json->decode($said[$_]) for 0 .. $#answers;
    return;
}

sub told { return $_[0]{said}{ $_[1] } }

# What python3-exchangelib finds: { ews, address, asked } or { error, asked }.
sub find {
    my ($httpd, $user, $address, @hosts) = @_;
    my $lab = CaspTest::lab();
    local $ENV{PASSWORD} = $lab->{password};
    # it remembers there what it found
    mkdir(local $ENV{TMPDIR} = "$lab->{run}/find.$$." . ++$serial);
    local $ENV{REQUESTS_CA_BUNDLE} = "$lab->{run}/ca/ca.pem";
    return CaspLab::json->decode(CaspLab::run($CLIENT, 'find', $httpd->{port},
        $httpd->{sslport}, $user, $address, @hosts));
}

sub can_find {
    return system('/usr/bin/python3', '-c', 'import exchangelib') == 0;
}

1;
