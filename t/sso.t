# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Single sign-on across sites: the self-posting form, when it is sent, what it
# holds, and that another front takes it.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspForms;
use CaspTest;

begin(ad => 1);

my $password = lab()->{password};

# The fields of a page's form, with what a browser makes of their values.
sub form_of {
    my ($r) = @_;
    my ($form) = $r->body =~ m{(<form\b.*?</form>)}s or return;
    my %form = (tag => $form =~ /(<form[^>]*>)/);
    ($form{action}) = $form{tag} =~ /action="([^"]*)"/;
    while ($form =~ /<input\b([^>"']*(?:(?:"[^"]*"|'[^']*')[^>"']*)*)>/g) {
        my $input = $1;
        my ($name) = $input =~ /name="([^"]*)"/ or next;
        my (undef, $value) = $input =~ /value=(["'])(.*?)\1/s;
        $value //= '';
        $value =~ s/&quot;/"/g;
        $value =~ s/&amp;/&/g;
        $form{field}{$name} = $value;
    }
    return \%form;
}

# ------------------------------------------------------------------ the form

# front, user, destination; where the form is posted, where it leads
for my $case (
    ['forms-silent', 'clara', '/owa/', 'https://munich.contoso.test/owa/auth.owa',
        'https://munich.contoso.test/owa/'],
    ['forms-silent', 'clara', '/owa/?ae=Item&id=a%20b&x=%26',
        'https://munich.contoso.test/owa/auth.owa',
        'https://munich.contoso.test/owa/?ae=Item&id=a%20b&x=%26'],
    ['forms-silent', 'leon', '/owa/',
        'https://lyon-forms.contoso.test/owa/auth.owa',
        'https://lyon-forms.contoso.test/owa/'],
    ['forms-silent', 'gina', '/owa/',
        'https://legacy.contoso.test/owa/auth/owaauth.dll',
        'https://legacy.contoso.test/owa/'],
    ['forms-silent', 'fritz', '/owa/',
        'https://legacy2003.contoso.test/exchweb/bin/auth/owaauth.dll',
        'https://legacy2003.contoso.test/exchange/'],
    ['forms-silent', 'fritz', '/exchange/fritz/?Cmd=new',
        'https://legacy2003.contoso.test/exchweb/bin/auth/owaauth.dll',
        'https://legacy2003.contoso.test/exchange/fritz/?Cmd=new'],
    ['forms13', 'clara', '/owa/', 'https://munich.contoso.test/owa/auth.owa',
        'https://munich.contoso.test/owa/'],
    ['forms13', 'nora', '/owa/?a=b',
        'https://legacy-stockholm.contoso.test/owa/auth/owaauth.dll',
        'https://legacy-stockholm.contoso.test/owa/?a=b']) {
    my ($front, $user, $path, $action, $to) = @$case;
    my $name = "$front, $user, $path";
    my $mark = mark();
    my $r = log_on($front, $user, destination => "https://$front.contoso.test$path",
        private => 1);
    is $r->status, 200, "$name: a page";
    is $r->action, 'sso-redirect', "$name: single sign-on"
        or diag $r->decision;
    my $form = form_of($r);
    is $form->{action}, $action, "$name: posted to";
    is $form->{field}{destination}, $to, "$name: leads to";
    is $form->{field}{username}, $user, "$name: the name as typed";
    is $form->{field}{password}, $password, "$name: the password";
    is "$form->{field}{flags}, $form->{field}{trusted}", '4, 4',
        "$name: a private computer";
    is $form->{field}{forcedownlevel}, '0', "$name: forcedownlevel";
    my $old = $user eq 'fritz';
    is exists $form->{field}{isUtf8} ? 1 : 0, $old ? 0 : 1,
        "$name: isUtf8 for those who know it";
    is exists $form->{field}{SubmitCreds} ? 1 : 0, $old ? 1 : 0,
        "$name: SubmitCreds for 2003";
    like $form->{tag}, qr/name="logonForm"/, "$name: by its name";
    is cookie_of($r, 'cadata'), undef, "$name: no session of ours";
    is cookie_of($r, 'sessionid'), undef, "$name: nor a sign of one";
    is cookie_of($r, 'PBack'), '1', "$name: PBack";
    like $r->header('Cache-Control'), qr/no-store/, "$name: not kept";
    is $r->header('Referrer-Policy'), 'no-referrer', "$name: no referrer";
    like $r->header('Content-Security-Policy'),
        qr/default-src 'none'.*form-action https:/, "$name: only by TLS";
    my ($nonce) = $r->body =~ /<script nonce="([^"]+)"/;
    like $r->header('Content-Security-Policy'), qr/'nonce-\Q$nonce\E'/,
        "$name: a script with a nonce";
    like $r->body, qr/type="submit"/, "$name: a button without script";
    no_requests($mark, "$name: no backend");
    my $want = explain(front => $front, user => $user, auth => 'forms',
        url => "https://$front.contoso.test$path");
    is $want->{action}, 'sso-redirect', "$name: explain knows";
    is $want->{url}, $to, "$name: explain says where to";
    is_deeply $want->{sso}, { possible => JSON::PP::true, why => undef },
        "$name: explain says that it is possible";
}

# ------------------------------------------------------ and when there is none

# front, user, action, where to, why: S001's five, and what else there is
for my $case (
    ['forms-silent', 'mia', 'silent-redirect', 'https://geneva.contoso.test/owa/',
        'different-authentication'],
    ['forms-nosso', 'clara', 'silent-redirect',
        'https://munich.contoso.test/owa/', 'switched-off'],
    ['forms-2fa', 'clara', 'silent-redirect',
        'https://munich.contoso.test/owa/', 'two-factor'],
    ['forms-preauth', 'clara', 'silent-redirect',
        'https://munich.contoso.test/owa/', 'pre-authentication'],
    ['forms-silent', 'dora', 'temporary-redirect',
        'https://failback-paris.contoso.test/owa/', 'temporary'],
    ['forms-silent', 'karl', 'temporary-redirect',
        'https://zurich.contoso.test/owa/', 'temporary'],
    ['forms', 'clara', 'manual-redirect', 'https://munich.contoso.test/owa/',
        'not-at-logon'],
    ['forms-silent', 'rosa', 'error', undef, 'no-tls']) {
    my ($front, $user, $action, $to, $why) = @$case;
    my $r = log_on($front, $user);
    is $r->action, $action, "$front, $user: $action" or diag $r->decision;
    is form_of($r), undef, "$front, $user: no form";
    is $r->status == 302 ? $r->header('Location') : $r->link, $to,
        "$front, $user: where to";
    is cookie_of($r, 'cadata'), undef, "$front, $user: no session";
    unlike $r->body, qr/\Q$password\E/, "$front, $user: no password";
    my $want = explain(front => $front, user => $user, auth => 'forms',
        url => "https://$front.contoso.test/owa/");
    is $want->{sso}{why}, $why, "$front, $user: explain says why not";
    is $want->{action}, $action, "$front, $user: explain agrees";
}
is log_on('forms-silent', 'rosa')->decision, 'error; no-fba-ssl',
    'a target of plain http is an error (V43)';
is explain(front => 'forms-silent', user => 'clara', auth => 'basic',
    url => 'https://forms-silent.contoso.test/owa/')->{sso}{why},
    'different-authentication', 'by Basic there is none either';
is explain(front => 'forms-silent', user => 'mia', auth => 'basic',
    url => 'https://forms-silent.contoso.test/owa/')->{sso}{why}, 'basic',
    'Basic on both sides is its own reason';

# ---------------------------------------------------------------- escaping

# S001's page must carry any password; a browser's reading of it is above.
# The account need not exist: what matters is what the page would hold, so a
# second name of clara's password is given by the directory of the lab.
{
    my $r = log_on('forms-silent', 'clara');
    like $r->body, qr/name="password"[^>]*value="\Q$password\E"/,
        'quoted, and nothing escaped that need not be';
    $r = log_on('forms-silent', 'clara',
        destination => '/owa/?q="><script>x</script>&a=1&copy=2');
    unlike $r->body, qr{"><script>x}, 'no markup out of a destination';
}

# --------------------------------------------------------- at the other front

{
    my $r = log_on('forms-silent', 'clara', private => 1,
        destination => 'https://forms-silent.contoso.test/owa/?ae=Item');
    my $form = form_of($r);
    my $mark = mark();
    $r = post_form('forms-munich', $form->{action} =~ s{^https://[^/]+}{}r,
        [%{ $form->{field} }], host => 'munich.contoso.test', headers => [
        'Origin: https://forms-silent.contoso.test',
        'Sec-Fetch-Site: same-site']);
    is $r->status, 302, 'the other front takes the form';
    is $r->header('Location'), 'https://munich.contoso.test/owa/?ae=Item',
        'and leads to the page that was wanted';
    my $jar = jar($r);
    $r = ask('forms-munich', '/owa/?ae=Item', with($jar,
        host => 'munich.contoso.test'));
    is $r->status, 200, 'she has her mailbox';
    has_text($r, 'mailbox of CONTOSO\\clara on MUC-CAS1');
    is((requests($mark))[-1]->header('X-LogonType'), undef,
        'her private computer is still private');
    is ask('forms-silent', '/owa/', with($jar))->status, 302,
        'a session is its own front\'s alone';
}

# ------------------------------------------------------- later than the logon

# A session that lives when the mailbox is found elsewhere: a plain 302.
{
    my $jar = jar(log_on('forms-silent', 'ada'));
    is ask('forms-silent', '/owa/clara@contoso.test/', with($jar))->action,
        'silent-redirect', 'no form but at the logon';
}
finish();
