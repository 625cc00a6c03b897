# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# What people see and do, by a headless Chromium: log on, arrive at another
# site without typing again, the pages with links, sign out, come too late.
#
# Two fronts of two sites, each with an httpd, a state folder and a key ring
# of its own: nothing but single sign-on can carry a logon from one to the
# other. Addresses are those of real life, without ports: see CaspBrowser.
#
# CASP_SCREENSHOTS=FOLDER keeps pictures of the pages.
use strict;
use warnings;
use utf8;
use File::Path ();
use Time::HiRes 'sleep';
use Apache::Test qw(-withtestmore);
use CaspBrowser;
use CaspForms;
use CaspHttpd;
use CaspTest;

if (my $why = CaspBrowser::missing()) {
    plan(skip_all => $why);
}
begin(ad => 1);

my $mail = 'https://mail.contoso.test';
my $munich = 'https://munich.contoso.test';
my $failback = 'https://failback-paris.contoso.test';
my $password = lab()->{password};
my $pictures = $ENV{CASP_SCREENSHOTS};
File::Path::make_path($pictures) if $pictures;

# ----------------------------------------------------------------- the fronts

sub front {
    my ($to, $name, $site, @lines) = @_;
    return lab()->front($to, $name, version => '2010SP3', site => $site,
        auth => '', # by form: the default
        lines => ["CasProxyExternalURL https://$name.contoso.test/owa",
            @lines]);
}

my $silent = 'CasProxyCrossSiteRedirectType Silent';
my $berlin = CaspHttpd->new('berlin', sub {
    my ($to) = @_;
    return front($to, 'mail', 'Berlin', $silent)
        . front($to, 'manual', 'Berlin',
            'CasProxyCrossSiteRedirectType Manual')
        . front($to, 'short', 'Berlin',
            'CasProxyFormsTimeout public=4s private=8s');
});
my $other = CaspHttpd->new('munich', sub {
    my ($to) = @_;
    return front($to, 'munich', 'Munich', $silent)
        . front($to, 'failback-paris', 'Paris', $silent);
});
my %hosts = (map({ ("$_.contoso.test" => $berlin->{sslport}) }
        qw(mail manual short)),
    map({ ("$_.contoso.test" => $other->{sslport}) }
        qw(munich failback-paris)));
$_->start for $berlin, $other;
for (['mail', 'ada', $berlin], ['munich', 'clara', $other]) {
    my ($front, $user, $httpd) = @$_;
    CaspLab::wait_for { jar(log_on($front, $user, httpd => $httpd)) } 20
        or diag "$front is not ready: ", $httpd->log;
}

# ------------------------------------------------------------- what one does

sub open_browser {
    my ($name, %o) = @_;
    return CaspBrowser->new($name, hosts => \%hosts, %o);
}

# Fill the form in and press its button, or the Enter key.
sub fill {
    my ($browser, $user, %o) = @_;
    $browser->type('#username', $user);
    $browser->type('#password', $o{password} // $password);
    $browser->click('#private') if $o{private};
    $browser->click('#chkBsc') if $o{light};
    return $o{enter} ? $browser->submit('#password')
        : $browser->follow('#submit');
}

sub logon_page {
    my ($browser, $host, $reason, $name) = @_;
    return like $browser->url,
        qr{^\Q$host\E/owa/auth/logon\.aspx\?.*\breason=$reason$},
        "$name: the logon page, reason=$reason";
}

sub mailbox {
    my ($browser, $url, $user, $server, $name) = @_;
    is $browser->arrives(qr/^\Q$url\E$/), $url, "$name: arrives";
    return like $browser->text('h1'),
        qr/^mailbox of CONTOSO\\$user on $server \(2010\)$/,
        "$name: in the mailbox";
}

# No page is wider than the smallest telephone; pictures where wanted.
sub look_at {
    my ($browser, $page) = @_;
    for my $size (['desktop', 1280, 800, 0], ['phone', 390, 844, 1],
        ['small', 320, 568, 1]) {
        my ($name, $width, $height, $mobile) = @$size;
        $browser->size($width, $height, $mobile);
        is $browser->too_wide, 0, "$page: fits $width pixels";
        $browser->screenshot("$pictures/$page-$name.png")
            if $pictures && $name ne 'small';
    }
    $browser->devtools('Emulation.clearDeviceMetricsOverride');
    return;
}

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

my $changed; # clara has another password than the lab's
my $main = $$;
END {
    if ($$ == $main) {
        local $?;
        set_password('clara', $password) if $changed;
        CaspBrowser::quit();
    }
}

my $browser = open_browser('person');

# ------------------------------------------------------------------- log on

{
    $browser->get("$mail/owa/?deep=1");
    logon_page($browser, $mail, 0, 'a page load');
    is $browser->title, 'Log on to your mailbox - mail.contoso.test',
        'its title';
    is $browser->script('return document.documentElement.lang'), 'en',
        'its language';
    is $browser->label('#username'), 'Domain\\user name',
        'the name has a label';
    is $browser->label('#password'), 'Password', 'the password has a label';
    is $browser->label('#public'), 'public or shared', 'a choice has one';
    is $browser->label('#submit'), 'Log on', 'the button has one';
    is $browser->focus, 'username', 'the name has the focus';
    is $browser->property('#username', 'autocomplete'), 'username',
        'a password manager knows the name';
    is $browser->property('#password', 'autocomplete'), 'current-password',
        'and the password';
    is $browser->property('#public', 'checked'), JSON::PP::true(),
        'a public computer, unless one says otherwise';
    is $browser->visible('#why'), 0, 'nothing is wrong yet';
    ok !$browser->cookies->{$_}, "no $_ before a logon"
        for qw(cadata sessionid UserContext);
    look_at($browser, 'logon');
    $browser->click('#show');
    is $browser->property('#password', 'type'), 'text',
        'the password can be shown';
    $browser->click('#show');
    my $mark = mark();
    fill($browser, 'CONTOSO\\ada');
    mailbox($browser, "$mail/owa/?deep=1", 'ada', 'BER-CAS[12]', 'ada');
    is((requests($mark))[0]->header('X-LogonType'), 'Public',
        'a public computer');
    my $cookie = $browser->cookies->{cadata};
    cmp_ok length($cookie->{value} // ''), '>', 70, 'a session';
    ok $cookie->{httpOnly} && $cookie->{secure}, 'out of reach of scripts';
    is $cookie->{sameSite}, 'Lax', 'and of other sites';
    is $cookie->{domain}, 'mail.contoso.test', 'and of other hosts';
    ok !exists $cookie->{expiry}, 'it goes with the browser';
    unlike $browser->script('return document.cookie'), qr/cadata|sessionid/,
        'no script sees it';
    $browser->get("$mail/owa/?again=1");
    mailbox($browser, "$mail/owa/?again=1", 'ada', 'BER-CAS[12]',
        'the next page');
}

# --------------------------------------------------------------- wrong password

{
    $browser->forget->get("$mail/owa/?deep=7");
    fill($browser, 'ada', password => 'not this one', enter => 1);
    logon_page($browser, $mail, 2, 'a wrong password');
    like $browser->text('#why'), qr/^The user name or the password is not/,
        'says so';
    is $browser->script('return document.getElementById("username")'
        . '.getAttribute("aria-describedby")'), 'why',
        'a screen reader hears it at the field';
    is $browser->focus, 'username', 'the name has the focus';
    is $browser->property('#password', 'value'), '', 'no password is kept';
    ok !$browser->cookies->{cadata}, 'no session';
    look_at($browser, 'logon-wrong');
    fill($browser, 'ada', private => 1);
    mailbox($browser, "$mail/owa/?deep=7", 'ada', 'BER-CAS[12]',
        'then the right one');
    $browser->forget->get("$mail/owa/");
    is $browser->property('#username', 'value'), '',
        'cookies forgotten, name forgotten';
    fill($browser, 'ada', private => 1);
    mailbox($browser, "$mail/owa/", 'ada', 'BER-CAS[12]',
        'a private computer');
}

# ------------------------------------------------------------------- sign-out

{
    $browser->get("$mail/owa/app.aspx");
    like $browser->text('h1'), qr/^mailbox of/, 'a page to come back to';
    my $mark = mark();
    $browser->get("$mail/owa/logoff.owa");
    logon_page($browser, $mail, 1, 'signed out');
    like $browser->text('#why'), qr/^You are logged off/, 'says so';
    is $browser->property('#username', 'value'), 'ada',
        'a private computer remembers the name';
    is $browser->property('#private', 'checked'), JSON::PP::true(),
        'and that it is one';
    is $browser->focus, 'password', 'so the password has the focus';
    ok !$browser->cookies->{$_}, "$_ is gone" for qw(cadata sessionid);
    my ($told) = grep { $_->{target} =~ m{^/owa/logoff\.owa} }
        requests($mark);
    is $told->{user}, 'CONTOSO\\ada', 'the backend is told who goes';
    $browser->get("$mail/owa/");
    logon_page($browser, $mail, 0, 'and then');
    $browser->back->back;
    unlike $browser->text('h1'), qr/^mailbox of/,
        'nothing comes back by "back"';
}

# ---------------------------------------------------------------- single sign-on

for my $case (['', $password], ['p\'q<r& s"', 'p\'q<r& s"9Z'],
    ['&amp;', '&amp;&lt;%26+Zü9\\'], ['\'"', '\'"`<!--</script>Zz1']) {
    my ($odd, $word) = @$case;
    my $name = $odd ? "a password with $odd" : 'single sign-on';
    if ($odd) {
        $changed = 1;
        my $bytes = $word;
        utf8::encode($bytes);
        set_password('clara', $bytes);
    }
    $browser->forget->get("$mail/owa/?ae=Item&a=b%20c");
    logon_page($browser, $mail, 0, $name);
    my $mark = mark();
    fill($browser, 'clara', password => $word);
    mailbox($browser, "$munich/owa/?ae=Item&a=b%20c", 'clara', 'MUC-CAS1',
        $name);
    my @seen = requests($mark);
    is scalar(grep { $_->{server} !~ /^MUC/ } @seen), 0,
        "$name: no server of Berlin saw her";
    ok $browser->cookies->{cadata}, "$name: a session at Munich";
    $browser->get("$mail/owa/auth/logon.aspx");
    ok !$browser->cookies->{$_}, "$name: no $_ at Berlin"
        for qw(cadata sessionid);
}
set_password('clara', $password);
$changed = 0;

# --------------------------------------------------------------- pages with links

{
    $browser->forget->get('https://manual.contoso.test/owa/?x=1');
    fill($browser, 'clara');
    is $browser->title, 'Your mailbox is at another address',
        'manual: the page';
    is $browser->property('a.go', 'href'), "$munich/owa/",
        'manual: its link';
    unlike $browser->source, qr/\Q$password\E/, 'manual: no password in it';
    ok !$browser->cookies->{cadata}, 'manual: no session';
    look_at($browser, 'manual');
    $browser->follow('a.go');
    logon_page($browser, $munich, 0, 'manual: one logs on once more');
    fill($browser, 'clara');
    mailbox($browser, "$munich/owa/", 'clara', 'MUC-CAS1', 'manual');
}
{
    $browser->forget->get("$mail/owa/?y=1");
    my $mark = mark();
    fill($browser, 'dora');
    is $browser->title, 'Please use another address for a while',
        'temporary: the page';
    is $browser->property('a.go', 'href'), "$failback/owa/",
        'temporary: the link to come back by';
    is $browser->find('form'), undef, 'temporary: never single sign-on';
    ok !$browser->cookies->{cadata}, 'temporary: no session';
    sleep 0.5;
    is $browser->title, 'Please use another address for a while',
        'temporary: it stays';
    no_requests($mark, 'temporary: no backend');
    look_at($browser, 'temporary');
    $browser->follow('a.go');
    logon_page($browser, $failback, 0, 'failback');
    fill($browser, 'dora');
    mailbox($browser, "$failback/owa/", 'dora', 'PAR-EX1', 'failback');
}
{
    $browser->forget->get("$mail/owa/");
    fill($browser, 'nils');
    is $browser->title, 'Your mailbox cannot be opened', 'error: the page';
    like $browser->text('main'), qr/There is no mailbox for your account/,
        'error: says why';
    ok !$browser->cookies->{cadata}, 'error: no session';
    look_at($browser, 'error');
}

# ------------------------------------------------- the session ends meanwhile

{
    my $app = 'https://short.contoso.test/owa/app.aspx';
    $browser->forget->get($app);
    fill($browser, 'ada');
    mailbox($browser, $app, 'ada', 'BER-CAS[12]', 'a page that stays open');
    my $poll = sub {
        my ($want) = @_;
        $browser->script('document.getElementById("state").textContent = ""');
        $browser->click('#poll');
        $browser->wait_for(sub { $_[0]->text('#state') ne '' }, 8);
        return $browser->text('#state');
    };
    is $poll->(), '200', 'its script gets answers';
    sleep 6.5; # one and a half of the public time-out, and a bit
    is $poll->(), '440', 'then 440, which OWA understands';
    is $browser->async_script('var done = arguments[0];
        fetch("/owa/ev.owa", { method: "POST", body: "x" }).then(
            function (answer) { done(answer.status + " "
                + answer.redirected); });'), '440 false', 'a POST likewise';
    is $browser->url, $app, 'the page itself stays';
    $browser->get($app);
    logon_page($browser, 'https://short.contoso.test', 0,
        'the 440 took the cookie away');
    fill($browser, 'ada');
    mailbox($browser, $app, 'ada', 'BER-CAS[12]', 'logged on again');
    sleep 6.5;
    $browser->reload;
    logon_page($browser, 'https://short.contoso.test', 3, 'a reload');
    like $browser->text('#why'), qr/^Your session has ended/, 'says why';
    fill($browser, 'ada');
    mailbox($browser, $app, 'ada', 'BER-CAS[12]', 'back where one was');
}
$browser->close;

# ------------------------------------------------------------- without script

{
    my $plain = open_browser('plain', javascript => 0);
    my $lands = sub {
        my ($url, $text, $name) = @_;
        is $plain->url, $url, "without script: $name";
        return like $plain->text('h1'), $text, "without script: $name, there";
    };
    $plain->get("$mail/owa/?plain=1");
    logon_page($plain, $mail, 0, 'without script');
    is $plain->visible('#show'), 0, 'without script: no button without use';
    like $plain->text('main'), qr/Scripts are switched off/,
        'without script: a hint';
    my $mark = mark();
    fill($plain, 'ada', private => 1, light => 1);
    $lands->("$mail/owa/?plain=1", qr/mailbox of CONTOSO\\ada on BER-CAS/,
        'logged on');
    my ($seen) = grep { $_->{target} =~ /plain=1/ } requests($mark);
    is $seen->header('X-LogonType'), undef,
        'without script: the choice of a private computer';
    like $seen->header('User-Agent'), qr/owaauth/,
        'without script: the light version';
    $plain->forget->get("$mail/owa/?plain=2");
    fill($plain, 'clara');
    is $plain->title, 'Continue', 'without script: the page that carries on';
    is $plain->visible('button.go'), 1, 'without script: with a real button';
    is $plain->label('button.go'), 'Continue', 'without script: named so';
    unlike $plain->text('body'), qr/\Q$password\E/,
        'without script: no password to be read over a shoulder';
    look_at($plain, 'sso');
    $plain->follow('button.go');
    $lands->("$munich/owa/?plain=2", qr/mailbox of CONTOSO\\clara on MUC-/,
        'single sign-on');
    $plain->close;
}

# ------------------------------------------------------------------- languages

for my $case (['de', 'Bei Ihrem Postfach anmelden', 'Domäne\\Benutzername',
        'Kennwort', 'Ihr Postfach hat eine andere Adresse'],
    ['ru', 'Вход в почтовый ящик', undef, 'Пароль', undef]) {
    my ($language, $title, $user, $word, $manual) = @$case;
    my $reader = open_browser($language, language => $language);
    $reader->get("$mail/owa/");
    is $reader->script('return document.documentElement.lang'), $language,
        "$language: said to screen readers";
    is $reader->title, "$title - mail.contoso.test", "$language: the title";
    is $reader->label('#username'), $user, "$language: the name" if $user;
    is $reader->label('#password'), $word, "$language: the password";
    look_at($reader, "logon-$language");
    fill($reader, 'ada', password => 'wrong');
    logon_page($reader, $mail, 2, $language);
    look_at($reader, "logon-wrong-$language");
    $reader->get('https://manual.contoso.test/owa/');
    fill($reader, 'clara');
    is $reader->title, $manual, "$language: another page" if $manual;
    look_at($reader, "manual-$language");
    $reader->close;
}

for my $httpd ($berlin, $other) {
    my @errors = $httpd->errors;
    is scalar @errors, 0, "nothing in the log of $httpd->{name}"
        or diag map {"$_\n"} @errors;
    $httpd->stop;
}
finish();
