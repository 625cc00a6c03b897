# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Who asks: Basic in every shape, who is refused and how, what Require and
# another module's word do - and that no credentials go astray.
use strict;
use warnings;
use utf8;
use Encode 'encode';
use MIME::Base64 'encode_base64';
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);

sub utf { return encode('UTF-8', $_[0]) }
my $password = lab()->{password};

# ---------------------------------------------------- names that are let in

for my $case (
    ['ada', 'ada', 'bare, with the default domain'],
    ['ADA', 'ada', 'case does not matter'],
    ['CONTOSO\\ada', 'ada', 'DOMAIN\\user'],
    ['contoso\\Ada', 'ada', 'domain\\User'],
    ['ada@contoso.test', 'ada', 'UPN'],
    ['Ada@CONTOSO.TEST', 'ada', 'UPN in capitals'],
    ['kurt.meyer@contoso.test', 'kmeyer', 'a UPN that is not the account'],
    ['star*(all)@contoso.test', 'star', 'a UPN of * ( )'],
    ['par(en)', 'par(en)', 'an account with parentheses'],
    ["o'neil\@contoso.test", 'apos', 'an apostrophe'],
    ['comma', 'comma', 'a DN full of escapes'],
    [('donaudampfschifffahrtskapitaen.' x 6) . 'ludwig@contoso.test',
        'ludwig', 'a UPN of 200 characters'],
    [utf('jürgen'), utf('jürgen'), 'umlauts in UTF-8'],
    [encode('ISO-8859-1', 'jürgen'), utf('jürgen'), 'umlauts in Latin-1'],
    [utf('CONTOSO\\jürgen'), utf('jürgen'), 'umlauts behind a domain'],
    [utf('smile😀'), utf('smile😀'), 'an emoji']) {
    my ($user, $sam, $name) = @$case;
    my $mark = mark();
    my $r = ask('mail', '/owa/', user => $user);
    is $r->status, 200, "let in: $name" or diag $r->decision;
    my ($got) = requests($mark);
    is encode('UTF-8', $got ? $got->{user} : ''), "CONTOSO\\$sam",
        "$name: and is known to the backend";
    is decision_line($r->{id})->{user}, "CONTOSO\\$sam" =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger,
        "$name: CASPROXY_USER";
}

# ------------------------------------------------------- and those that are not

my %why = (); # what the client must never learn the difference of
for my $case (
    [undef, 'no credentials', authorization => undef],
    ['ada', 'a wrong password', password => 'wrong'],
    ['ada', 'an empty password', password => ''],
    ['ada', 'the password in other case', password => lc $password],
    ['ada', 'the password and a blank', password => "$password "],
    ['nobody', 'an unknown user'], ['', 'an empty name'],
    ['\\', 'a lone backslash'], ['CONTOSO\\', 'a domain alone'],
    ['@', 'a lone @'], ['ada@', 'no domain after @'],
    ['OTHER\\ada', 'another domain'], ['ada@other.test', 'another UPN'],
    ['*', 'a star'], ['a*', 'a star behind'], ['ada)(objectClass=*', 'a filter'],
    ['ada*)(|(cn=*', 'a filter within'], ['\\2a', 'an escaped star'],
    ['CONTOSO\\*', 'a star in a domain'], ['*@contoso.test', 'a star UPN'],
    ['ada\\', 'a backslash behind'], ['a/d/a', 'slashes'],
    ['CN=Ada Berlin,OU=Mailboxes,DC=contoso,DC=test', 'a DN'],
    ["ada\0", 'a NUL behind'], ["ad\0a", 'a NUL within'], ["\0", 'only NUL'],
    ["ada\r\nX-Evil: 1", 'line ends'], ["\x7f", 'DEL'], ["\xff\xfe", 'bytes'],
    [utf("\x{202e}ada"), 'a right-to-left mark'], ['a' x 10000, '10,000 bytes'],
    ['CONTOSO\\' . 'a' x 10000, '10,000 bytes behind a domain'],
    [utf('ü' x 5000), '5,000 umlauts'], ['*' x 300, '300 stars'],
    ['ada', 'a password of 10,000 bytes', password => 'x' x 10000],
    ['ada', 'a password with NUL', password => "$password\0"],
    ['quirin', 'a disabled account'], ['mona', 'a password to be changed'],
    ['ella', 'an expired account'], ['lukas', 'a locked account'],
    ['info', 'a shared mailbox'], ['lina', 'a linked mailbox']) {
    my ($user, $name, %o) = @$case;
    my $mark = mark();
    my $r = ask('mail', '/owa/', defined $user ? (user => $user) : (), %o);
    is $r->status, 401, "refused: $name" or diag $r->decision;
    like $r->action, qr/^logon$/, "$name: nothing is decided";
    is $r->header('WWW-Authenticate'),
        'Basic realm="mail.contoso.test", charset="UTF-8"',
        "$name: one way to log on";
    is scalar(() = $r->all('WWW-Authenticate')), 1, "$name: only one";
    unlike $r->body, qr/\Q$password\E/, "$name: no password in the page";
    no_requests($mark, "$name: no backend");
}
for my $case (
    ['Basic', 'no token'], ['Basic ', 'an empty token'], ['Basic !!!!', 'no base64'],
    ['Basic YWRh', 'no colon'], ['Basic YWRhOng', 'cut off'],
    ['Basic ' . encode_base64("ada:$password", '') . '=', 'one = too many'],
    ['Basic ' . encode_base64("ada:$password", '') . ' x', 'something behind'],
    ['Basic ' . ('QUFB' x 5000), '20,000 bytes'], ['Bearer abc', 'Bearer'],
    ['NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAGAbEdAAAADw==', 'NTLM'],
    ['Negotiate YII=', 'Negotiate'], ['Basicx YWRhOng=', 'a longer word'],
    ['Digest username="ada"', 'Digest']) {
    my ($header, $name) = @$case;
    my $mark = mark();
    my $r = ask('mail', '/owa/', authorization => $header);
    is $r->status, 401, "Authorization with $name";
    no_requests($mark, "$name: no backend");
}
is ask('mail', '/owa/', authorization => 'basic ' . encode_base64(
    "ada:$password", ''))->status, 200, 'the scheme has no case';
is ask('mail', '/owa/', user => 'ada', headers => [
    'Authorization: ' . basic('clara')])->status, 401,
    'two Authorization headers are nobody';

logged(qr/CP0131: logon refused: empty-password/, 'an empty password is told');
logged(qr/CP0131: logon refused: .*data 52e/, "the directory's code is told");
logged(qr/CP0131: logon refused: .*data 533/, 'also of a disabled account');
unlike error_log(), qr/\Q$password\E/, 'no password in the log';
unlike error_log(), qr/@{[encode_base64("ada:$password", '')]}/,
    'nor in its base64';

# A wrong password after a right one, and after a change: nothing is sticky.
is ask('mail', '/owa/', user => 'berta')->status, 200, 'right';
is ask('mail', '/owa/', user => 'berta', password => 'wrong')->status, 401,
    'wrong after right';
is ask('mail', '/owa/', user => 'berta')->status, 200, 'right again';

# ------------------------------------------------ credentials do not stray

{
    my $mark = mark();
    ask('mail', '/owa/', user => 'ada');
    ask('mail', '/owa/', user => 'bert');
    ask('mail', '/owa/', user => 'clara');
    ask('mail', '/owa/', user => 'CONTOSO\\ida');
    my %at = map { $_->{server} => $_ } requests($mark);
    is scalar(keys %at), 3, 'three users, three backends';
    for my $server (sort keys %at) {
        my $sent = $at{$server}->header('Authorization');
        my ($name) = MIME::Base64::decode_base64($sent =~ s/^Basic //r)
            =~ /^(?:CONTOSO\\)?(\w+):/;
        my %home = (ada => qr/^BER/, bert => qr/^HAM-CAS/, ida => qr/^HAM-EX7/);
        like $server, $home{$name}, "$name\'s password went to $server only";
    }
}
{
    my $mark = mark();
    ask('vouched', '/owa/', authorization => basic('CONTOSO\\ada'));
    my ($got) = requests($mark);
    ok $got, "another module's user is served";
}

# ------------------------------------------------------------ Require

for my $case (
    ['req-valid', ada => 200], ['req-ada', ada => 200],
    ['req-granted', ada => 200], ['req-granted', undef, 401],
    ['req-version', ada => 200], ['req-version', clara => 200],
    ['req-site', ada => 200], ['req-site', clara => 200],
    ['req-action', ada => 200], ['req-action', bert => 200],
    ['req-notaction', ada => 200]) {
    my ($front, $user, $status) = @$case;
    my $r = ask($front, '/owa/', defined $user ? (user => $user) : ());
    is $r->status, $status, "$front lets " . ($user // 'nobody') . ' in'
        or diag $r->decision;
}
for my $case (
    ['req-valid', ada => 'wrong'], ['req-ada', 'bert'],
    ['req-version', 'gina'], ['req-version', 'fritz'],
    ['req-site', 'bert'], ['req-action', 'clara'],
    ['req-action', 'nils'], ['req-notaction', 'clara'],
    ['req-denied', 'ada'], ['req-nobody', 'ada'], ['req-ipuser', 'ada']) {
    my ($front, $user, $pass) = @$case;
    my $mark = mark();
    my $r = ask($front, '/owa/', user => $user, password => $pass);
    like $r->status, qr/^40[13]$/, "$front refuses $user" or diag $r->decision;
    is $r->status == 401 ? scalar(() = $r->all('WWW-Authenticate')) : 1, 1,
        "$front, $user: a 401 says how";
    no_requests($mark, "$front, $user: no backend");
}
# Require ip stands before any bind: nobody's password is tried.
{
    my $r = ask('req-nobody', '/owa/', user => 'quirin', password => 'bad');
    is $r->status, 403, 'Require ip: refused without a word about the user';
    unlike error_log(), qr/req-nobody.*CP0131/, 'no logon was tried';
    is $r->header('WWW-Authenticate'), undef, 'and none is asked for';
}
# "Satisfy Any" lets people in by address; a mailbox needs a person.
is ask('req-any', '/owa/')->status, 401, 'Satisfy Any: still nobody';
is ask('req-any', '/owa/', user => 'ada', password => 'wrong')->status, 401,
    'Satisfy Any: a wrong password is wrong';
is ask('req-any', '/owa/', user => 'ada')->status, 200, 'Satisfy Any: ada';

# ------------------------------------------------- another module's word

for my $case (
    ['vouched', 'CONTOSO\\ada', 200, 'direct'],
    ['vouched', 'CONTOSO\\clara', 200, 'manual-redirect'],
    ['vouched', 'CONTOSO\\nils', 403, 'error'],
    ['vouched', 'stranger', 403, 'error'],
    ['vouched', 'CONTOSO\\nobody', 403, 'error'],
    ['ldif', 'CONTOSO\\clara', 200, 'manual-redirect'],
    ['ldif', 'CONTOSO\\nobody', 403, 'error']) {
    my ($front, $user, $status, $action) = @$case;
    my $r = ask($front, '/owa/', user => $user);
    is $r->status, $status, "$front: $user" or diag $r->decision;
    is $r->action, $action, "$front: $user: $action";
}
is ask('vouched', '/owa/', user => 'CONTOSO\\ada', password => 'x')->status, 401,
    'a wrong password is the other module\'s to refuse';
is ask('vouched', '/owa/')->status, 401, 'and so is nobody';

expect_errors(qr/AH01617|AH01618/, # mod_auth_basic's wrong password, no user
    qr/AH01630/,                   # "client denied by server configuration"
    qr/AH01797/);                  # the same by mod_access_compat
finish();
