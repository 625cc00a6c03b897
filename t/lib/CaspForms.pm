# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspForms - logging on by form, as a browser's requests would.
#
#   my $r = log_on('forms', 'ada', destination => '/owa/?a=1', private => 1);
#   my $jar = jar($r);                       # "cadata=...; sessionid=..."
#   ask('forms', '/owa/', cookie => $jar)    # see with()
package CaspForms;

use strict;
use warnings;
use Exporter 'import';
use CaspTest;

our @EXPORT = qw(log_on post_form jar cookie_of expired with urlencoded
    logon_location);

sub urlencoded {
    my (@fields) = @_;
    my @out;
    while (my ($name, $value) = splice @fields, 0, 2) {
        $value =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge;
        push @out, "$name=$value";
    }
    return join '&', @out;
}

# The body as it is, or a list of fields.
sub post_form {
    my ($front, $path, $body, %o) = @_;
    my $type = delete $o{type} // 'application/x-www-form-urlencoded';
    return ask($front, $path, %o, method => 'POST',
        body => ref $body ? urlencoded(@$body) : $body,
        headers => ["Content-Type: $type", @{ $o{headers} // [] }]);
}

# path, password, destination, private, light, and what ask() takes
sub log_on {
    my ($front, $user, %o) = @_;
    my $host = $o{host} // "$front.contoso.test";
    my $scheme = $front =~ /clear/ ? 'http' : 'https';
    my $flags = ($o{private} ? 4 : 0) + ($o{light} ? 1 : 0);
    my @fields = (
        destination => delete $o{destination} // "$scheme://$host/owa/",
        flags => $flags, forcedownlevel => 0, trusted => $flags & 4,
        username => $user,
        password => delete $o{password} // lab()->{password},
        isUtf8 => 1, passwordText => '');
    delete @o{qw(private light)};
    return post_form($front, delete $o{path} // '/owa/auth.owa', \@fields, %o);
}

# name => value of what an answer sets, the last word on each name
sub cookie_of {
    my ($r, $name) = @_;
    my $value;
    for my $line ($r->all('Set-Cookie')) {
        next if $line !~ /^\Q$name\E=([^;]*)/;
        $value = $line =~ /Expires=Thu, 01 Jan 1970/ ? undef : $1;
    }
    return $value;
}

sub jar {
    my ($r) = @_;
    return join '; ', map {
        my $value = cookie_of($r, $_);
        defined $value ? "$_=$value" : ()
    } qw(cadata sessionid);
}

# Was this cookie taken away at Path=/?
sub expired {
    my ($r, $name) = @_;
    return scalar grep {
        /^\Q$name\E=;/ && m{Path=/;} && !/Domain=/ && /01 Jan 1970/
    } $r->all('Set-Cookie');
}

# Options of ask() with a Cookie header.
sub with {
    my ($jar, %o) = @_;
    return (%o, headers => ["Cookie: $jar", @{ $o{headers} // [] }]);
}

# Where a front's logon page is, for a URL to come back to.
sub logon_location {
    my ($front, $url, $reason) = @_;
    $url =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02x', ord $1/ge;
    return "https://$front.contoso.test/owa/auth/logon.aspx?url=$url&reason="
        . ($reason // 0);
}

1;
