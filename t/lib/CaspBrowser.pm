# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspBrowser - a headless Chromium, led by chromedriver in W3C WebDriver.
#
#   if (my $why = CaspBrowser::missing()) { plan skip_all => $why }
#   my $browser = CaspBrowser->new('ada', hosts => {
#       'mail.contoso.test' => $httpd->{sslport} }, language => 'de');
#   $browser->get('https://mail.contoso.test/owa/');
#   $browser->type('#username', 'ada');
#   $browser->follow('#submit');            # waits for the page that follows
#   is $browser->text('h1'), '...';
#   $browser->close;        # or the driver ends it, at the end of the run
#
# Options of new: hosts (name => port on loopback; no other name resolves),
# javascript => 0, language => 'de', width, height.
#
# It speaks no more of WebDriver than tests here need. Nothing waits without
# a bound: a page load, a script and an answer of chromedriver's each have
# theirs, and a test that needs longer says so by wait_for. What goes wrong
# dies with WebDriver's own words.
package CaspBrowser;

use strict;
use warnings;
use Digest::SHA ();
use File::Path ();
use HTTP::Tiny ();
use JSON::PP ();
use MIME::Base64 ();
use POSIX ();
use CaspLab ();
use CaspTest ();

my $DRIVER = '/usr/bin/chromedriver';
my $CHROMIUM = '/usr/bin/chromium';
my $ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'; # WebDriver's own word
my $LOAD = 20; # seconds: a page
my $ANSWER = 60; # seconds: chromedriver, a start of Chromium included
my @ARGS = qw(--headless=new --no-sandbox --disable-gpu --disable-quic
    --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage
    --disable-breakpad --no-proxy-server --disable-extensions --disable-default-apps
    --hide-scrollbars --force-color-profile=srgb);

# What there is none of here, or nothing.
sub missing {
    for ($DRIVER, $CHROMIUM) {
        return "needs a browser: no $_ (t/lab/packages.sh install browser)"
            if !-x $_;
    }
    return;
}

# ------------------------------------------------------------- start and end

my $driver; # one process leads all browsers of a test

sub driver {
    return $driver if $driver;
    my $lab = CaspTest::lab();
    my $dir = "$lab->{run}/chromedriver.$$";
    my $port = CaspLab::free_port();
    File::Path::make_path("$dir/home", "$dir/tmp");
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        # whatever it leaves behind is in the run folder
        %ENV = (%ENV, HOME => "$dir/home", TMPDIR => "$dir/tmp",
            XDG_CONFIG_HOME => "$dir/home", XDG_CACHE_HOME => "$dir/home");
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$dir/out";
        open STDERR, '>&', \*STDOUT;
        POSIX::setsid();
        exec $DRIVER, "--port=$port", "--log-path=$dir/log",
            '--log-level=WARNING' or POSIX::_exit(127);
    }
    $lab->part("chromedriver.$$", pid => $pid, dir => $dir);
    $driver = { dir => $dir, base => "http://127.0.0.1:$port",
        http => HTTP::Tiny->new(timeout => $ANSWER, keep_alive => 0,
            proxy => undef, http_proxy => undef) };
    CaspLab::wait_for {
        $driver->{http}->get("$driver->{base}/status")->{success}
    } 20 or die "chromedriver does not answer:\n",
        CaspLab::slurp("$dir/out");
    return $driver;
}

# Chromium asks for the hash of the certificate's key, not for its CA.
sub key_hash {
    my ($pem) = @_;
    my $key = CaspLab::run('openssl', 'x509', '-in', $pem, '-noout',
        '-pubkey');
    my ($der) = $key =~ /-----BEGIN PUBLIC KEY-----(.*?)-----END/s
        or die "$pem: no public key\n";
    return Digest::SHA::sha256_base64(MIME::Base64::decode_base64($der))
        . '=';
}

sub arguments {
    my ($self, %o) = @_;
    my $hosts = $o{hosts} // {};
    my $language = $o{language} // 'en';
    return [@ARGS, "--user-data-dir=$self->{dir}",
        '--window-size=' . ($o{width} // 1280) . ',' . ($o{height} // 900),
        "--lang=$language", "--accept-lang=$language",
        '--host-resolver-rules=' . join(',', map({
            "MAP $_:443 127.0.0.1:$hosts->{$_}"
        } sort keys %$hosts), 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'),
        '--ignore-certificate-errors-spki-list='
            . key_hash(CaspTest::lab()->{run} . '/ca/web.pem')];
}

sub new {
    my ($class, $name, %o) = @_;
    my $lab = CaspTest::lab();
    my $dir = driver()->{dir} . "/$name";
    my $self = bless { name => $name, dir => $dir, path => '' }, $class;
    my %prefs = ('credentials_enable_service' => JSON::PP::false(),
        'intl.accept_languages' => $o{language} // 'en');
    $prefs{'profile.managed_default_content_settings.javascript'} = 2
        if !($o{javascript} // 1);
    my $got = $self->call(POST => '/session', { capabilities => {
        alwaysMatch => { browserName => 'chrome',
            pageLoadStrategy => 'normal',
            unhandledPromptBehavior => 'dismiss and notify',
            timeouts => { pageLoad => $LOAD * 1000, script => 10000,
                implicit => 0 },
            'goog:chromeOptions' => { binary => $CHROMIUM,
                args => $self->arguments(%o), prefs => \%prefs } } } });
    $self->{path} = "/session/$got->{sessionId}";
    # where chromedriver ends without a word, Chromium stays
    my $pid = $got->{capabilities}{'goog:processID'};
    $lab->part("browser-$name.$$", pid => $pid, dir => $dir) if $pid;
    return $self;
}

sub close {
    my ($self) = @_;
    eval { $self->call(DELETE => '') };
    CaspTest::lab()->down("browser-$self->{name}.$$");
    return;
}

# The driver and all that it leads; for the end of a test.
sub quit {
    CaspTest::lab()->down("chromedriver.$$") if $driver;
    undef $driver;
    return;
}

# --------------------------------------------------------------------- asking

# One command; its value. Dies with what WebDriver says.
sub call {
    my ($self, $method, $path, $body) = @_;
    my $json = JSON::PP->new->utf8->allow_nonref->canonical;
    my %what = $method eq 'POST' ? (content => $json->encode($body // {}),
        headers => { 'Content-Type' => 'application/json' }) : ();
    my $got = $driver->{http}->request($method,
        "$driver->{base}$self->{path}$path", \%what);
    my $said = eval { $json->decode($got->{content}) };
    return $said->{value} if $got->{success} && $said;
    my $why = ref $said ? $said->{value} : {};
    die "$self->{name}: $method $path: ", $why->{error} // $got->{status},
        ': ', ($why->{message} // $got->{content}) =~ s/\n.*//sr, "\n";
}

sub get {
    my ($self, $url) = @_;
    $self->call(POST => '/url', { url => $url });
    return $self;
}

sub reload { $_[0]->call(POST => '/refresh'); return $_[0] }
sub back { $_[0]->call(POST => '/back'); return $_[0] }
sub url { return $_[0]->call(GET => '/url') }
sub title { return $_[0]->call(GET => '/title') }
sub source { return $_[0]->call(GET => '/source') }

# An element by CSS; nothing where there is none.
sub find {
    my ($self, $css) = @_;
    my @all = $self->find_all($css);
    return $all[0];
}

sub find_all {
    my ($self, $css) = @_;
    return map { $_->{$ELEMENT} } @{ $self->call(POST => '/elements',
        { using => 'css selector', value => $css }) };
}

sub element {
    my ($self, $css) = @_;
    return $self->find($css) // die "$self->{name}: no element $css at ",
        $self->url, "\n";
}

# Of the first element that fits: its text as a person sees it, a property,
# whether it can be seen.
sub text {
    my ($self, $css) = @_;
    my $id = $self->find($css) // return '';
    return $self->call(GET => "/element/$id/text");
}

sub property {
    my ($self, $css, $name) = @_;
    my $id = $self->element($css);
    return $self->call(GET => "/element/$id/property/$name");
}

sub visible {
    my ($self, $css) = @_;
    my $id = $self->find($css) // return 0;
    return $self->call(GET => "/element/$id/displayed") ? 1 : 0;
}

# What a screen reader calls it.
sub label {
    my ($self, $css) = @_;
    return $self->call(GET => '/element/' . $self->element($css)
        . '/computedlabel');
}

# The id attribute of the element with the focus.
sub focus {
    my ($self) = @_;
    my $active = $self->call(GET => '/element/active');
    return $self->call(GET => "/element/$active->{$ELEMENT}/property/id");
}

sub type {
    my ($self, $css, $text) = @_;
    my $id = $self->element($css);
    $self->call(POST => "/element/$id/clear");
    $self->call(POST => "/element/$id/value", { text => $text });
    return $self;
}

sub click {
    my ($self, $css) = @_;
    $self->call(POST => '/element/' . $self->element($css) . '/click');
    return $self;
}

# These wait for the page that follows; WebDriver's own click may come back
# before the old one is gone.
sub follow {
    my ($self, $css) = @_; # a link or a button
    return $self->leave(sub { $self->click($css) });
}

sub submit {
    my ($self, $css) = @_; # a field: the Enter key in it
    return $self->leave(sub {
        $self->call(POST => '/element/' . $self->element($css) . '/value',
            { text => "\x{E007}" });
    });
}

sub leave {
    my ($self, $act) = @_;
    my $old = $self->element('html');
    $act->();
    CaspLab::wait_for {
        !eval { $self->call(GET => "/element/$old/name"); 1 }
            && eval { $self->find('html') && $self->complete };
    } $LOAD or die "$self->{name}: no page follows ", $self->url, "\n";
    return $self;
}

sub complete {
    return $_[0]->script('return document.readyState') eq 'complete';
}

# name => cookie, of those that the page's address gets
sub cookies {
    my ($self) = @_;
    return { map { $_->{name} => $_ } @{ $self->call(GET => '/cookie') } };
}

sub forget {
    my ($self) = @_;
    $self->devtools('Network.clearBrowserCookies');
    return $self;
}

sub script {
    my ($self, $text, @args) = @_;
    return $self->call(POST => '/execute/sync',
        { script => $text, args => \@args });
}

# The script calls its last argument with its result.
sub async_script {
    my ($self, $text, @args) = @_;
    return $self->call(POST => '/execute/async',
        { script => $text, args => \@args });
}

sub wait_for {
    my ($self, $condition, $seconds) = @_;
    return CaspLab::wait_for { eval { $condition->($self) } } $seconds // 10;
}

# An address that comes up on its own, by a form that sends itself.
sub arrives {
    my ($self, $pattern, $seconds) = @_;
    $self->wait_for(sub { $_[0]->url =~ $pattern && $_[0]->complete },
        $seconds);
    return $self->url;
}

# ------------------------------------------------------------- beyond WebDriver

sub devtools {
    my ($self, $command, %params) = @_;
    return $self->call(POST => '/goog/cdp/execute',
        { cmd => $command, params => \%params });
}

# The size of the page, smaller than any window may be.
sub size {
    my ($self, $width, $height, $mobile) = @_;
    $self->devtools('Emulation.setDeviceMetricsOverride',
        width => $width, height => $height,
        deviceScaleFactor => $mobile ? 2 : 1,
        mobile => $mobile ? JSON::PP::true() : JSON::PP::false());
    return $self;
}

# Does the page ask for scrolling sideways at its size?
sub too_wide {
    my ($self) = @_;
    my $size = $self->devtools('Page.getLayoutMetrics');
    return $size->{cssContentSize}{width}
        > $size->{cssVisualViewport}{clientWidth} + 1 ? 1 : 0;
}

sub screenshot {
    my ($self, $file) = @_;
    my $got = $self->devtools('Page.captureScreenshot', format => 'png',
        captureBeyondViewport => JSON::PP::true());
    return CaspLab::spew($file, MIME::Base64::decode_base64($got->{data}));
}

1;
