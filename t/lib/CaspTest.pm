# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspTest - what the tests of the wire say: ask a front, look at the answer,
# at what the Exchange servers received, and at what the error log holds.
#
#   use Apache::Test qw(-withtestmore);
#   use CaspTest;
#   begin(ad => 1);
#   my $r = ask('mail', '/owa/', user => 'ada');
#   is $r->status, 200;
#   expect_errors(qr/CP0163/);    # lines of level error that belong here
#   finish();                     # fails on any other, and ends the plan
package CaspTest;

use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET ();
use MIME::Base64 ();
use Test::More ();
use Time::HiRes ();
use Apache::Test ();
use CaspLab ();

our @EXPORT = qw(begin finish lab ask ask_each raw mark requests all_requests
    no_requests expect_errors error_log logged decision_line explain explain_each basic
    served_by has_text ticket at_the_door need_winbind);

my ($lab, $from, @expected);

# -------------------------------------------------------- beginning and end

sub lab { return $lab //= CaspLab->current }

# ad => 1: skipped, by name, where there is none (it needs root).
sub begin {
    my (%o) = @_;
    my $builder = Test::More->builder;
    binmode $builder->$_, ':utf8' for qw(output failure_output todo_output);
    if ($o{ad} && !lab()->{ad}) {
        Test::More::plan(skip_all =>
            'needs the Active Directory, which needs root');
    }
    Apache::Test::need_module('casproxy')
        or Test::More::BAIL_OUT('mod_casproxy is not loaded');
    $from = -s error_file() // 0;
    wait_until_ready() if lab()->{ad} && !-e lab()->{run} . '/ready';
    return;
}

# httpd serves before it knows the organisation; with several children each
# has to learn it.
sub wait_until_ready {
    my $well = 0;
    CaspLab::wait_for {
        my $status = ask('mail', '/owa/', user => 'ada')->status;
        $well = $status == 200 ? $well + 1 : 0;
        $well >= 8
    } 30 or Test::More::BAIL_OUT('ada does not get her mailbox: '
        . error_log());
    CaspLab::spew(lab()->{run} . '/ready', '');
    $from = -s error_file();
    return;
}

sub error_file { return lab()->{dir} . '/logs/error_log' }

# Lines of level error and above that this test brings about.
sub expect_errors { push @expected, @_; return }

sub declare {
    my (@lines) = @_;
    open my $out, '>>', lab()->{run} . '/declared' or die $!;
    print $out map {"$_\n"} @lines;
    close $out;
    return;
}

sub finish {
    Time::HiRes::sleep(0.2); # a line is written after its response is sent
    my @bad = CaspLab::bad_lines(error_log());
    my @stray = grep {
        my $line = $_;
        !grep { $line =~ $_ } @expected
    } @bad;
    declare(@bad);
    Test::More::is(scalar @stray, 0, 'no undeclared error in the log')
        or Test::More::diag(map {"$_\n"} @stray);
    Test::More::done_testing();
    return;
}

# What the error log got since the test began.
sub error_log {
    open my $in, '<:raw', error_file() or return '';
    seek $in, $from // 0, 0;
    local $/;
    return scalar(<$in>) // '';
}

# Does a line like this come up?
sub logged {
    my ($pattern, $name) = @_;
    my $found = CaspLab::wait_for { error_log() =~ $pattern } 3;
    return Test::More::ok($found, $name // "logged $pattern");
}

# The access log's fields of the request with this Test-Id; of the one that
# got this status, where a handshake has several.
my @FIELDS = qw(id status action reason rule url protocol user mailbox version
    site cache lookup remote_user);

sub decision_line {
    my ($id, $status) = @_;
    my $head = "$id\t" . ($status // '');
    my $line = CaspLab::wait_for {
        (grep {/^\Q$head\E/} split /\n/,
            CaspLab::slurp(lab()->{dir} . '/logs/decision_log'))[-1]
    } 3;
    my %got;
    @got{@FIELDS} = map { s/\\\\/\\/gr } split /\t/, $line // '';
    return \%got;
}

# ------------------------------------------------------------------- asking

sub basic {
    my ($user, $password) = @_;
    return 'Basic ' . MIME::Base64::encode_base64(
        "$user:" . ($password // lab()->{password}), '');
}

# The words of a curl command for one request, but for where it goes.
#   user, password    Basic, with the lab's password; or the header itself:
#   authorization     as it is; none without both
#   method, headers => ['Name: value'], body, host (what the URL says), id
#   http2, clear (by plain http), httpd (a CaspHttpd instead of the suite's)
#   ticket => 'ada'    Kerberos, as this user
#   ntlm => 'CONTOSO\ada'    NTLM by curl itself, with password
#   curl => [...]      further words
my $serial = 0;

sub curl_words {
    my ($front, $path, %o) = @_;
    my $name = $o{host} // "$front.contoso.test";
    my $plain = $o{clear} || $front =~ /^clear/;
    $o{curl} = ['--negotiate', '--user', ':', @{ $o{curl} // [] }]
        if $o{ticket};
    $o{curl} = ['--ntlm', '--user', "$o{ntlm}:"
        . ($o{password} // lab()->{password}), @{ $o{curl} // [] }]
        if $o{ntlm};
    my @words = ('--path-as-is', '--globoff', '--silent', '--show-error',
        '--max-time', $o{wait} // 30, '--cacert', lab()->{run} . '/ca/ca.pem',
        '--connect-to', '::127.0.0.1:'
            . ($o{httpd} // lab())->{$plain ? 'port' : 'sslport'},
        $o{http2} ? '--http2' : '--http1.1', '--request-target', $path);
    my $method = $o{method} // (defined $o{body} ? 'POST' : 'GET');
    push @words, $method eq 'HEAD' ? '--head' : ('--request', $method);
    $o{authorization} //= basic($o{user}, $o{password}) if defined $o{user};
    push @words, '--header', "Authorization: $o{authorization}"
        if defined $o{authorization};
    push @words, @{ $o{curl} // [] };
    push @words, map { ('--header', $_) } @{ $o{headers} // [] };
    push @words, '--header', "Test-Id: $o{id}" if $o{id};
    if (defined $o{body}) {
        my $file = lab()->{run} . "/body.$$." . ++$serial;
        CaspLab::spew($file, $o{body});
        push @words, '--data-binary', "\@$file";
    }
    return (@words, ($plain ? 'http' : 'https') . "://$name/");
}

sub ask {
    my ($front, $path, %o) = @_;
    $o{id} //= "$$." . ++$serial;
    local $ENV{KRB5CCNAME} = ticket($o{ticket}) if $o{ticket};
    my @words = curl_words($front, $path, %o);
    my $text;
    # Over HTTP/2 this curl loses an answer that was sent before its body was
    # read, httpd's own 404 as well, on a busy machine: exit 92, seldom others.
    # A child that had crashed would be in the error log, which is looked at.
    for (1 .. ($o{http2} && defined $o{body} ? 8 : 1)) {
        $text = eval { CaspLab::run('curl', '--include', @words) };
        last if $@ !~ /: exit (?:16|55|56|92)$/m;
    }
    return CaspTest::Answer->parse($text // '', $@, $o{id},
        $o{ntlm} || $o{ticket} || $o{curl});
}

# Many requests over few connections: [front, path, option => value...] each;
# with tickets, all as the user of the first.
sub ask_each {
    my (@list) = @_;
    my $dir = lab()->{run} . "/each.$$." . ++$serial;
    mkdir $dir;
    my (@conf, @ids);
    for my $i (0 .. $#list) {
        my ($front, $path, %o) = @{ $list[$i] };
        push @ids, $o{id} //= "$$." . ++$serial;
        my @words = (curl_words($front, $path, %o), '--include', '--output',
            "$dir/$i");
        my $url = splice @words, -4, 1;
        push @conf, $i ? 'next' : (), map({
            my $word = $_;
            $word =~ s/(["\\])/\\$1/g;
            /^--/ ? "$word" : "= \"$word\""
        } @words), "url = \"$url\"";
    }
    my $text = join "\n", @conf;
    $text =~ s/\n= /= /g;
    $text =~ s/^--//mg;
    CaspLab::spew("$dir/conf", "$text\n");
    my (undef, undef, %first) = @{ $list[0] };
    local $ENV{KRB5CCNAME} = ticket($first{ticket}) if $first{ticket};
    eval { CaspLab::run('curl', '--config', "$dir/conf") };
    my $error = $@;
    return map {
        my (undef, undef, %o) = @{ $list[$_] };
        CaspTest::Answer->parse(CaspLab::slurp("$dir/$_"), $error, $ids[$_],
            $o{ntlm} || $o{ticket} || $o{curl})
    } 0 .. $#list;
}

# ------------------------------------------------------- integrated logons

# A user's tickets: the name of their cache, got once in a run.
sub ticket {
    my ($user, $password) = @_;
    my $cache = lab()->{run} . '/tickets-' . $user =~ s/\W/_/gr;
    local $ENV{KRB5CCNAME} = "FILE:$cache";
    return $ENV{KRB5CCNAME} if -e $cache;
    my $pid = open my $in, '|-';
    if (!$pid) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        exec 'kinit', $user or POSIX::_exit(127);
    }
    print $in $password // lab()->{password}, "\n";
    close $in or Test::More::diag("kinit $user failed: $?");
    return "FILE:$cache";
}

# The servers that see what the door let in, from here on in this test.
sub at_the_door { lab()->{exchange} = lab()->{door}; return }

# Skip the rest of a block where httpd cannot find the lab's winbindd.
sub need_winbind {
    my ($points) = @_;
    return if lab()->{winbind};
    Test::More::skip('needs winbindd in a mount namespace', $points);
    return;
}

# Bytes as they are, by plain http; all that comes back until it closes.
sub raw {
    my ($bytes, %o) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => lab()->{port}, Timeout => 10) or return '';
    local $SIG{PIPE} = 'IGNORE';
    print $sock $bytes;
    my $text = '';
    local $SIG{ALRM} = sub { die "time\n" };
    eval {
        alarm($o{wait} // 10);
        while (sysread $sock, my $part, 65536) { $text .= $part }
        1;
    };
    alarm 0;
    return CaspTest::Answer->parse($text, $@, '');
}

# ------------------------------------------------- what the servers received

sub record_file { return lab()->{exchange} . '/requests.jsonl' }

sub mark { return -s record_file() // 0 }

# The requests since a mark; each with header('name') and all JSON members.
# The requests since a mark; not the first message of an NTLM handshake, which
# is the front's own: by HEAD, and refused where a login is wanted at all.
sub requests {
    my ($mark) = @_;
    return grep {
        ($_->header('Authorization') // '')
            !~ /^(?:NTLM|Negotiate) TlRMTVNTUAAB/
            || ($_->{status} != 401 && $_->{method} ne 'HEAD')
    } all_requests($mark);
}

sub all_requests {
    my ($mark) = @_;
    open my $in, '<:raw', record_file() or return;
    seek $in, $mark, 0;
    local $/ = "\n";
    my $json = JSON::PP->new->utf8;
    return map { bless $json->decode($_), 'CaspTest::Request' } <$in>;
}

sub no_requests {
    my ($mark, $name) = @_;
    my @got = requests($mark);
    my $none = Test::More::is(scalar @got, 0, $name // 'no backend saw it');
    Test::More::diag(map {"$_->{server} $_->{method} $_->{target}\n"} @got)
        if !$none;
    return $none;
}

# Does the body hold this text? Says what it was about where it does not.
sub has_text {
    my ($r, $text, $name) = @_;
    my $found = Test::More::ok(index($r->body, $text) >= 0, $name
        // "it says: $text");
    Test::More::diag($r->{line}, ' ', $r->decision, ' ', $r->title)
        if !$found;
    return $found;
}

# The name of the server that answered, out of a pattern of names.
sub served_by {
    my ($r, $pattern, $name) = @_;
    return Test::More::like($r->header('X-Backend') // '(none)',
        qr/^(?:$pattern)$/, $name // "served by $pattern");
}

# --------------------------------------------------------- casproxyctl explain

# front, url, user; method, auth, host, headers, directory as it takes them
sub explain_words {
    my (%o) = @_;
    return (lab()->{ctl}, 'explain', '--json', '--config',
        $o{config} // lab()->{dir} . "/fronts/$o{front}.conf",
        map({ defined $o{$_} ? ("--$_", $o{$_}) : () }
            qw(user url method auth host directory vhost)),
        map({ ('--header', $_) } @{ $o{headers} // [] }));
}

# The verdict as a hash, with its exit code.
sub explain {
    my (%o) = @_;
    return (explain_each(\%o))[0];
}

# The same for many, two at a time: each is a process with its own directory.
sub explain_each {
    my (@list) = @_;
    my @got;
    my $json = JSON::PP->new->utf8;
    while (my @pair = splice @list, 0, 2) {
        my @open = map {
            my @words = explain_words(%$_);
            my $pid = open my $out, '-|';
            if (!$pid) {
                open STDERR, '>', '/dev/null';
                exec @words or POSIX::_exit(127);
            }
            $out
        } @pair;
        for my $out (@open) {
            my $text = do { local $/; <$out> } // '';
            close $out;
            my $verdict = eval { $json->decode($text) } // { text => $text };
            push @got, { %$verdict, exit => $? >> 8 };
        }
    }
    return @got;
}

# ------------------------------------------------------------------- answers

package CaspTest::Answer;

# @a legs: curl wrote the headers of every answer of a handshake; the last
# counts, the status of all are in steps.
sub parse {
    my ($class, $text, $error, $id, $legs) = @_;
    my ($head, $body) = ('', $text);
    my @steps;
    while ($body =~ s{\A(HTTP/\S+\ (\d+).*?)\r?\n\r?\n}{}s) {
        $head = $1;
        push @steps, $2 if $2 >= 200;
        last if $2 >= 200 && !$legs;
    }
    my ($http, $status) = $head =~ m{^HTTP/(\S+) (\d+)};
    my @headers = map { [/^([^:]+):\s*(.*?)\s*$/] }
        grep {/:/} split /\r?\n/, $head;
    return bless { http => $http // '', status => $status // 0,
        line => $head =~ s/\r?\n.*//sr, headers => \@headers, body => $body,
        steps => "@steps", error => $error, id => $id }, $class;
}

sub status { return $_[0]{status} }
sub body { return $_[0]{body} }

sub all {
    my ($self, $name) = @_;
    return map { $_->[1] } grep { lc $_->[0] eq lc $name }
        @{ $self->{headers} };
}

sub header { return ($_[0]->all($_[1]))[0] }

# "direct; mailbox-in-this-site"
sub decision { return $_[0]->header('X-CasProxy-Decision') // '(none)' }
sub rule { return $_[0]->header('X-CasProxy-Rule') // '(none)' }
sub action { return $_[0]->decision =~ s/;.*//r }
sub link { return ($_[0]{body} =~ m{<a class="go" href="(.*?)">}s)[0] }
sub title { return ($_[0]{body} =~ m{<title>(.*?)</title>}s)[0] // '' }

package CaspTest::Request;

sub header {
    my ($self, $name) = @_;
    my @found = map { $_->[1] } grep { lc $_->[0] eq lc $name }
        @{ $self->{headers} };
    return wantarray ? @found : $found[0];
}

1;
