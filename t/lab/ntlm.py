# Licensed under the Apache License, Version 2.0; see LICENSE.
"""ntlm.py - the server's side of an NTLMv2 handshake, for simulated servers.

It is as much of MS-NLMP as IIS does before a request is served: a challenge
with a target name and a time, and an NTLMv2 response that is checked against
a password.  No signing, no sealing, no session key.
"""
import hmac
import os
import struct
import time

SIGNATURE = b'NTLMSSP\0'
UNICODE, TARGET, NTLM = 0x1, 0x4, 0x200
ALWAYS_SIGN, DOMAIN_TYPE = 0x8000, 0x10000
EXTENDED, TARGET_INFO = 0x80000, 0x800000
VERSION, BITS_128, BITS_56 = 0x2000000, 0x20000000, 0x80000000


def _rotate(value, count):
    value &= 0xffffffff
    return (value << count | value >> (32 - count)) & 0xffffffff


def md4(data):
    """RFC 1320; OpenSSL 3 has it in its legacy provider only."""
    state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]
    padded = data + b'\x80' + b'\0' * ((55 - len(data)) % 64)
    padded += struct.pack('<Q', len(data) * 8)
    rounds = (
        (lambda x, y, z: x & y | ~x & z, 0, range(16), (3, 7, 11, 19)),
        (lambda x, y, z: x & y | x & z | y & z, 0x5a827999,
         [i % 4 * 4 + i // 4 for i in range(16)], (3, 5, 9, 13)),
        (lambda x, y, z: x ^ y ^ z, 0x6ed9eba1,
         (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15),
         (3, 9, 11, 15)))
    for at in range(0, len(padded), 64):
        words = struct.unpack('<16I', padded[at:at + 64])
        a, b, c, d = state
        for mix, constant, order, shifts in rounds:
            for step, word in enumerate(order):
                new = _rotate(a + mix(b, c, d) + words[word] + constant,
                              shifts[step % 4])
                a, b, c, d = d, new, b, c
        state = [(x + y) & 0xffffffff for x, y in zip(state, (a, b, c, d))]
    return struct.pack('<4I', *state)


def _pair(kind, value):
    return struct.pack('<HH', kind, len(value)) + value


class Handshake:
    """One connection's handshake; password(domain, user) gives the password
    of an account, or None."""

    def __init__(self, domain, host, password):
        self.domain, self.host, self.password = domain, host, password
        self.challenge = None

    def step(self, token):
        """(message to go back, None), (None, user) when it is over and good,
        (None, None) when it is over and bad."""
        if len(token) < 12 or token[:8] != SIGNATURE:
            return None, None
        kind, = struct.unpack_from('<I', token, 8)
        if kind == 1 and len(token) >= 16:
            return self._challenge(*struct.unpack_from('<I', token, 12)), None
        if kind == 3 and self.challenge and len(token) >= 64:
            try:
                return None, self._check(token)
            except (struct.error, UnicodeDecodeError):
                return None, None
        return None, None

    def _challenge(self, asked):
        self.challenge = os.urandom(8)
        wide = self.domain.encode('utf-16-le')
        stamp = int((time.time() + 11644473600) * 10000000)
        info = (_pair(2, wide) + _pair(1, self.host.encode('utf-16-le'))
                + _pair(7, struct.pack('<Q', stamp)) + _pair(0, b''))
        flags = (UNICODE | TARGET | NTLM | DOMAIN_TYPE | EXTENDED
                 | TARGET_INFO) | asked & (ALWAYS_SIGN | VERSION | BITS_128
                                           | BITS_56)
        head = 56
        return (SIGNATURE + struct.pack('<I', 2)
                + struct.pack('<HHI', len(wide), len(wide), head)
                + struct.pack('<I', flags) + self.challenge + b'\0' * 8
                + struct.pack('<HHI', len(info), len(info), head + len(wide))
                + bytes((6, 1, 0xb1, 0x1d, 0, 0, 0, 15)) + wide + info)

    def _check(self, token):
        def field(at):
            size, _, offset = struct.unpack_from('<HHI', token, at)
            if offset + size > len(token):
                raise struct.error('beyond the end')
            return token[offset:offset + size]
        flags, = struct.unpack_from('<I', token, 60)
        coding = 'utf-16-le' if flags & UNICODE else 'latin-1'
        response, domain, user = field(20), field(28), field(36)
        domain, user = domain.decode(coding), user.decode(coding)
        password = self.password(domain, user)
        challenge, self.challenge = self.challenge, None
        if password is None or len(response) < 44:
            return None
        key = md4(password.encode('utf-16-le'))
        key = hmac.digest(key, (user.upper() + domain).encode('utf-16-le'),
                          'md5')
        proof = hmac.digest(key, challenge + response[16:], 'md5')
        return user if hmac.compare_digest(proof, response[:16]) else None
