# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CasProxy Shadow decides and logs, and touches nothing.
use strict;
use warnings;
use Apache::Test qw(-withtestmore);
use CaspTest;

begin(ad => 1);
my $start = mark();

{
    my $r = ask('shadow', '/owa/', user => 'ada');
    is $r->status, 200, 'served';
    is $r->body, "the folder owa\n", 'by DocumentRoot, as without us';
    is $r->header('X-CasProxy-Decision'), undef, 'no header of ours';
    is $r->header('Set-Cookie'), undef, 'no cookie of ours';
    logged(qr/CP0133: decision \(shadow\): user=CONTOSO\\\\ada .*action=direct/,
        'but what would have been done is told');
    is decision_line($r->{id})->{action}, 'direct', 'also to the access log';
}
is ask('shadow', '/owa')->status, 301, 'mod_dir does its part';
is ask('shadow', '/owa/')->status, 200, 'nobody is asked to log on';
is ask('shadow', '/owa/', authorization => 'Basic ???')->status, 200,
    'broken credentials are not our business';
is ask('shadow', '/owa/%2e%2e%2fx', user => 'ada')->decision, '(none)',
    'nor is an attack';
# Nothing is bound: a wrong password is decided for like a right one.
{
    my $r = ask('shadow', '/owa/', user => 'quirin', password => 'wrong');
    is $r->status, 200, 'a wrong password';
    unlike error_log(), qr/CP0131/, 'is not tried';
    is decision_line($r->{id})->{action}, 'error',
        'a disabled account is known without it';
}
for my $case ([clara => 'manual-redirect'], [fritz => 'silent-redirect'],
    [nils => 'error'], [bert => 'proxy']) {
    my ($user, $action) = @$case;
    my $r = ask('shadow', '/owa/', user => $user);
    is $r->status, 200, "$user: served as without us";
    is decision_line($r->{id})->{action}, $action, "$user: $action is logged";
}
is ask('shadow', '/exchange/', user => 'fritz')->body, "the folder exchange\n",
    'the old paths likewise';
no_requests($start, 'no backend was asked');
finish();
