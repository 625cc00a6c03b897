# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# CaspNtlm - the client's side of NTLM, message by message (MS-NLMP), bare or
# inside SPNEGO (RFC 4178), so that a test may say anything in any order.
#
#   my $c = CaspNtlm->new('CONTOSO\\ada', password => '...');
#   $c->first                    # Type 1
#   $c->last($type2)             # Type 3 for this challenge
#   CaspNtlm::init($type1), CaspNtlm::resp($type3)    # inside SPNEGO
#   CaspNtlm::inner($bytes)      # the NTLM message in either
#
# It is shaped as Windows shapes it: with a version, NTLMv2, key exchange and
# a MIC. shape => 'short' leaves out all of that, as curl does.
# real => 'CONTOSO\\ada'  the identity that the response is computed for, where
#                         another is claimed in the message
package CaspNtlm;

use strict;
use warnings;
use Digest::MD5 'md5';
use Encode 'encode';

use constant {
    UNICODE => 1, TARGET => 4, SIGN => 0x10, NTLM => 0x200,
    ALWAYS_SIGN => 0x8000, EXTENDED => 0x80000, INFO => 0x800000,
    VERSION => 0x2000000, KEY128 => 0x20000000, KEY_EXCH => 0x40000000,
    KEY56 => 0x80000000, OEM => 2 };
my $SIGNATURE = "NTLMSSP\0";
my $WINDOWS = pack 'CCvCCCC', 10, 0, 19041, 0, 0, 0, 15; # MS-NLMP 2.2.2.10

# ------------------------------------------------------------------- digests

sub md4 {
    my ($text) = @_;
    my $bits = 8 * length $text;
    $text .= "\x80" . "\0" x ((55 - length $text) % 64) . pack 'VV', $bits, 0;
    my @h = (0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476);
    my @order = ([0 .. 15], [map { my $i = $_; map { $i + 4 * $_ } 0 .. 3 } 0 .. 3],
        [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15]);
    my @turn = ([3, 7, 11, 19], [3, 5, 9, 13], [3, 9, 11, 15]);
    my @mix = (sub { ($_[0] & $_[1]) | (~$_[0] & $_[2]) },
        sub { ($_[0] & $_[1]) | ($_[0] & $_[2]) | ($_[1] & $_[2]) },
        sub { $_[0] ^ $_[1] ^ $_[2] });
    my @add = (0, 0x5a827999, 0x6ed9eba1);
    for my $block (unpack '(a64)*', $text) {
        my @x = unpack 'V16', $block;
        my @s = @h;
        for my $round (0 .. 2) {
            for my $i (0 .. 15) {
                my $sum = ($s[0] + ($mix[$round]->(@s[1, 2, 3]) & 0xffffffff)
                    + $x[$order[$round][$i]] + $add[$round]) & 0xffffffff;
                my $n = $turn[$round][$i % 4];
                $sum = (($sum << $n) | ($sum >> (32 - $n))) & 0xffffffff;
                @s = ($s[3], $sum, $s[1], $s[2]);
            }
        }
        @h = map { ($h[$_] + $s[$_]) & 0xffffffff } 0 .. 3;
    }
    return pack 'V4', @h;
}

sub hmac {
    my ($key, $text) = @_;
    $key .= "\0" x (64 - length $key);
    return md5(($key ^ "\x5c" x 64) . md5(($key ^ "\x36" x 64) . $text));
}

sub rc4 {
    my ($key, $text) = @_;
    my @key = unpack 'C*', $key;
    my @s = 0 .. 255;
    my $j = 0;
    for my $i (0 .. 255) {
        $j = ($j + $s[$i] + $key[$i % @key]) & 255;
        @s[$i, $j] = @s[$j, $i];
    }
    my $i = $j = 0;
    return join '', map {
        $i = ($i + 1) & 255;
        $j = ($j + $s[$i]) & 255;
        @s[$i, $j] = @s[$j, $i];
        chr(ord($_) ^ $s[($s[$i] + $s[$j]) & 255])
    } split //, $text;
}

sub utf { return encode('UTF-16LE', $_[0]) }

# ------------------------------------------------------------------- messages

sub new {
    my ($class, $claim, %o) = @_;
    my ($domain, $user) = split_name($claim);
    my ($real_domain, $real_user) = split_name($o{real} // $claim);
    return bless { domain => $domain, user => $user,
        real_domain => $real_domain, real_user => $real_user,
        password => $o{password}, host => $o{host} // 'PC-7',
        short => ($o{shape} // '') eq 'short' }, $class;
}

sub split_name {
    my ($name) = @_;
    return $name =~ /^(.*?)\\(.*)$/s ? ($1, $2) : ('', $name);
}

sub first {
    my ($self) = @_;
    my $flags = UNICODE | TARGET | NTLM | ALWAYS_SIGN | EXTENDED;
    $flags |= VERSION | KEY128 | KEY56 | KEY_EXCH | OEM if !$self->{short};
    $self->{first} = $SIGNATURE . pack('VV', 1, $flags) . "\0" x 16
        . ($self->{short} ? '' : $WINDOWS);
    return $self->{first};
}

sub pairs {
    my ($info) = @_;
    my @pairs;
    while (length $info >= 4) {
        my ($id, $length) = unpack 'vv', $info;
        last if !$id;
        push @pairs, [$id, substr $info, 4, $length];
        substr $info, 0, 4 + $length, '';
    }
    return @pairs;
}

sub last {
    my ($self, $second) = @_;
    return '' if length($second // '') < 48; # a test says what it missed
    my ($flags, $challenge) = unpack 'x20Va8', $second;
    my ($length, $at) = unpack 'x40vx2V', $second;
    my @pairs = pairs(substr $second, $at, $length);
    my ($stamp) = map { $_->[1] } grep { $_->[0] == 7 } @pairs;
    push @pairs, [6, pack 'V', 2], [9, utf('HTTP/front')], [10, "\0" x 16]
        if !$self->{short};
    my $key = hmac(md4(utf($self->{password})),
        utf(uc($self->{real_user}) . $self->{real_domain}));
    my $blob = pack('vvV', 0x101, 0, 0)
        . ($stamp // pack 'VV', 0xd53e8000, 0x019db1de) . md5(rand) =~ s/.{8}\z//sr
        . "\0" x 4 . join('', map { pack('vv', $_->[0], length $_->[1]) . $_->[1] }
            @pairs) . "\0" x 8;
    my $proof = hmac($key, $challenge . $blob);
    my $session = hmac($key, $proof);
    my $sealed = '';
    if ($flags & KEY_EXCH) {
        my $exported = md5(rand);
        $sealed = rc4($session, $exported);
        $session = $exported;
    }
    $flags &= ~VERSION if $self->{short};
    return $self->pack_last($second, $flags, $session, "\0" x 24,
        $proof . $blob, utf($self->{domain}), utf($self->{user}),
        utf($self->{host}), $sealed);
}

sub pack_last {
    my ($self, $second, $flags, $session, @parts) = @_;
    my $at = $self->{short} ? 64 : 88;
    my $fields = '';
    for my $part (@parts) {
        $fields .= pack 'vvV', length $part, length $part, $at;
        $at += length $part;
    }
    my $head = $SIGNATURE . pack('V', 3) . $fields . pack 'V', $flags;
    return join '', $head, @parts if $self->{short};
    my $all = join '', $head, $WINDOWS, "\0" x 16, @parts;
    substr $all, 72, 16, hmac($session, $self->{first} . $second . $all);
    return $all;
}

# --------------------------------------------------------------------- SPNEGO

sub der {
    my ($tag, @parts) = @_;
    my $text = join '', @parts;
    my $n = length $text;
    return pack('C', $tag) . ($n < 128 ? pack 'C', $n
        : $n < 256 ? pack 'CC', 0x81, $n : pack 'Cn', 0x82, $n) . $text;
}

our %OID = (
    spnego => "\x06\x06\x2b\x06\x01\x05\x05\x02",
    krb5 => "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02",
    ntlm => "\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a");

# NegTokenInit with NTLM as its only mechanism, or those that are named.
sub init {
    my ($token, @mechanisms) = @_;
    @mechanisms = ('ntlm') if !@mechanisms;
    return der(0x60, $OID{spnego}, der(0xa0, der(0x30,
        der(0xa0, der(0x30, @OID{@mechanisms})),
        defined $token ? der(0xa2, der(0x04, $token)) : ())));
}

sub resp { return der(0xa1, der(0x30, der(0xa2, der(0x04, $_[0])))) }

# The NTLM message in a token, by the length that stands before it.
sub inner {
    my ($bytes) = @_;
    my $at = index $bytes, $SIGNATURE;
    return if $at < 0;
    return $bytes if !$at;
    my ($tag, $n) = unpack 'CC', substr $bytes, $at - 2, 2;
    return substr $bytes, $at, $n if $tag == 4;
    ($tag, $n) = unpack 'nC', substr $bytes, $at - 3, 3;
    return substr $bytes, $at, $n if $tag == 0x0481;
    ($tag, $n) = unpack 'nn', substr $bytes, $at - 4, 4;
    return substr $bytes, $at, $n if $tag == 0x0482;
    return substr $bytes, $at;
}

1;
