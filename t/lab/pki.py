#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""pki.py DIR NAME [SAN...] - the lab's certificate authority.

Makes DIR/ca.pem once, then DIR/NAME.pem and DIR/NAME.key, signed by it, for
the names and addresses given.  "NAME" of "self" signs itself instead.  The
keys guard nothing but loopback; they never leave the run directory.
"""
import ipaddress
import os
import signal
import subprocess
import sys


def openssl(*words):
    done = subprocess.run(('openssl',) + words, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit('openssl %s: %s' % (words[0], done.stdout))


def key(path):
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out',
            path)
    os.chmod(path, 0o600)


def san(name):
    """httpd's proxy looks for addresses among the DNS names only."""
    try:
        return 'IP:%s,DNS:%s' % (ipaddress.ip_address(name), name)
    except ValueError:
        return 'DNS:' + name


def authority(folder):
    os.makedirs(folder, exist_ok=True)
    ca, ca_key = folder + '/ca.pem', folder + '/ca.key'
    if not os.path.exists(ca):
        key(ca_key)
        openssl('req', '-x509', '-new', '-key', ca_key, '-days', '3650',
                '-subj', '/O=Contoso/CN=Contoso Lab CA', '-out', ca,
                '-addext', 'keyUsage=critical,keyCertSign,cRLSign')
    return ca


def issue(folder, name, sans, self_signed=False):
    """Certificate and key for @a sans; returns their paths."""
    ca = authority(folder)
    cert, own = '%s/%s.pem' % (folder, name), '%s/%s.key' % (folder, name)
    key(own)
    subject = ['-subj', '/O=Contoso/CN=' + sans[0][:64], '-key', own]
    names = 'subjectAltName=' + ','.join(san(s) for s in sans)
    if self_signed:
        openssl('req', '-x509', '-new', '-days', '3650', '-out', cert,
                '-addext', names, *subject)
        return cert, own
    request, extra = cert + '.csr', cert + '.ext'
    with open(extra, 'w', encoding='ascii') as out:
        out.write(names + '\nbasicConstraints=CA:FALSE\n'
                  'extendedKeyUsage=serverAuth\n')
    openssl('req', '-new', '-out', request, *subject)
    openssl('x509', '-req', '-in', request, '-CA', ca, '-CAkey',
            folder + '/ca.key', '-CAcreateserial', '-days', '3650',
            '-extfile', extra, '-out', cert)
    os.unlink(request)
    os.unlink(extra)
    return cert, own


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback on Ctrl-C
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print(*issue(sys.argv[1], sys.argv[2], sys.argv[3:] or [sys.argv[2]],
                 sys.argv[2] == 'self'))
