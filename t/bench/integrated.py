# Licensed under the Apache License, Version 2.0; see LICENSE.
"""integrated.py - the rows of t/bench/run that are about integrated logons:
what NTLM and Kerberos cost at the door and behind it.

A domain controller of t/lab/ad is their directory, KDC and verifier, and the
backends are httpd with mod_auth_gssapi.  See README.md for what "bare" is."""
import base64
import os
import re
import shutil
import struct
import subprocess

import org

USERS = ['load%02d' % n for n in range(1, 51)]
KRB_USERS = USERS[:5]
HOSTS = ('mail', 'ber-cas1', 'ber-cas2')

BACKEND = '''
DocumentRoot "{run}/htdocs"
EnableSendfile Off
TypesConfig /dev/null
MaxKeepAliveRequests {served}
AsyncRequestWorkerFactor 20
<Directory "{run}/htdocs">
    Require all granted
</Directory>
<Location />
    AuthType GSSAPI
    AuthName bench
    Require valid-user
    {mechanism}
</Location>
'''
NTLM = 'GssapiAllowedMech ntlmssp\n    GssapiConnectionBound On'
KERBEROS = 'GssapiAllowedMech krb5\n    GssapiCredStore "keytab:{keytab}"'

# front, CasProxyAuth, CasProxyBackendAuth, a further line, its backend
FRONTS = (
    ('ntlm-in', 'NTLM Basic', 'None', 'CasProxyNTLMVerify Directory',
     'backend'),
    ('winbind', 'NTLM Basic', 'None', 'CasProxyNTLMVerify Winbind',
     'backend'),
    ('ntlm-out', 'Basic', 'NTLM', '', 'ntlm'),
    ('ntlm-once', 'Basic', 'NTLM', '', 'once'),
    ('krb-out', 'Negotiate Basic', 'Delegate',
     'CasProxyKeytab {front_keytab}', 'kerberos'),
)


class Integrated:
    """Servers and rounds beside those of a Bench, whose methods they use."""

    def __init__(self, bench, here, lab):
        self.bench, self.here, self.lab = bench, here, lab
        self.run = bench.run
        self.ad = None

    @staticmethod
    def missing(modules):
        """Why these rows cannot be, or None."""
        if os.getuid() != 0:
            return 'a domain controller needs root'
        for tool in ('gcc', 'samba', 'kinit', 'pkg-config'):
            if not shutil.which(tool):
                return tool + ' is not installed'
        if not os.path.exists(modules + '/mod_auth_gssapi.so'):
            return 'mod_auth_gssapi is not installed'
        return None

    # ------------------------------------------------------- up and down

    def up(self):
        self.compile()
        folder = self.run + '/ad'
        os.environ.setdefault('AD_CACHE', os.path.dirname(
            os.path.dirname(self.here)) + '/t/run')
        self.ad = folder
        subprocess.run([self.lab + '/ad', 'up', folder], check=True,
                       stdout=subprocess.DEVNULL)
        with open(folder + '/env', encoding='utf-8') as text:
            env = dict(re.findall(r"^(\w+)='(.*)'$", text.read(), re.M))
        for name in ('replay', 'tickets'):
            os.makedirs(self.run + '/' + name)
        os.chmod(self.run + '/replay', 0o1777)
        os.environ.update(KRB5_CONFIG=env['KRB5_CONFIG'],
                          KRB5RCACHEDIR=self.run + '/replay',
                          NTLM_USER_FILE=self.run + '/ntlm-users')
        with open(self.run + '/ntlm-users', 'w', encoding='ascii') as out:
            out.write(''.join('%s:%s:%s\n' % (org.DOMAIN, u, org.PASSWORD)
                              for u in USERS))
        self.keytab(env)
        self.servers(env)
        self.tickets()
        self.bench.write_users('load', [
            'Authorization: Basic ' + base64.b64encode(
                ('%s\\%s:%s' % (org.DOMAIN, u, org.PASSWORD)).encode())
            .decode() for u in USERS])

    def compile(self):
        flags = subprocess.run(['pkg-config', '--cflags', '--libs',
                                'krb5-gssapi'], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split()
        self.client = self.run + '/client'
        subprocess.run(['gcc', '-O2', '-std=gnu99', '-o', self.client,
                        self.here + '/client.c', *flags, '-lpthread'],
                       check=True)

    def keytab(self, env):
        """For the backend that "bare" passes the client's tokens to, too: of
        the front's one name and the servers' that are asked, no others, for
        each is looked at until one fits."""
        whole = b'\5\2'
        for path in (env['CAS_KEYTAB'], env['FRONT_KEYTAB']):
            with open(path, 'rb') as text:
                data = text.read()[2:]  # behind its version
            while data:
                size, = struct.unpack('>i', data[:4])
                entry, data = data[:4 + abs(size)], data[4 + abs(size):]
                if size > 0 and any(('%s.%s' % (host, org.DNS)).encode()
                                    in entry for host in HOSTS):
                    whole += entry
        path = self.run + '/backend.keytab'
        with open(path, 'wb') as out:
            out.write(whole)
        shutil.chown(path, 'www-data', 'www-data')
        os.chmod(path, 0o600)

    def servers(self, env):
        b = self.bench
        gss = ['auth_gssapi', 'authz_user', 'dir', 'mime']
        for name, mechanism, served in (
                ('ntlm', NTLM, 0), ('once', NTLM, 2),
                ('kerberos', KERBEROS.format(
                    keytab=self.run + '/backend.keytab'), 0)):
            b.configure(name, BACKEND, names=gss, served=served,
                        mechanism=mechanism)
            b.start(name, ready=401)
        b.configure('bare-krb', b.bare, backend=b.ports['kerberos'])
        b.start('bare-krb', ready=401)
        probe = '%s\\%s' % (org.DOMAIN, USERS[0])
        for name, auth, login, line, backend in FRONTS:
            b.configure(
                name, b.module + line.format(
                    front_keytab=env['FRONT_KEYTAB']) + '\n',
                auth=auth, login=login, directory=env['AD_URL'], bind=env['AD_BIND'],
                secret=env['AD_PASSWORD_FILE'], ca=env['AD_CA'],
                backend=b.ports[backend])
            inside = [self.lab + '/inside', self.ad] \
                if name == 'winbind' else []
            b.start(name, *inside, user=probe)

    def tickets(self):
        for user in KRB_USERS:
            subprocess.run(['kinit', '-c', self.run + '/tickets/' + user,
                            user], input=org.PASSWORD + '\n', text=True,
                           check=True, stdout=subprocess.DEVNULL)

    def down(self):
        if self.ad:
            subprocess.run([self.lab + '/ad', 'down', self.ad], check=False)

    # --------------------------------------------------------- measuring

    def tokens(self, name, count):
        """A file of header lines for wrk, of each user in turn."""
        lists = []
        for user in KRB_USERS:
            done = subprocess.run(
                [self.client, 'tokens', 'mail.contoso.test',
                 str(count // len(KRB_USERS) + 1)], check=True, text=True,
                stdout=subprocess.PIPE, env=dict(
                    os.environ, KRB5CCNAME=self.run + '/tickets/' + user))
            lists.append(done.stdout.splitlines())
        self.bench.write_users(name, [line for turn in zip(*lists)
                                      for line in turn])

    def ask(self, name, what, seconds, logged_on, connections=None):
        """A round of client.c."""
        b = self.bench
        words = [self.client, what, str(b.ports[name]), 'mail.contoso.test',
                 b.path, str(connections or b.options.connections),
                 str(seconds)]
        if logged_on:
            words += [org.PASSWORD] + ['%s\\%s' % (org.DOMAIN, u)
                                       for u in USERS]
        return b.measured(name, words, seconds, quiet_401=logged_on)

    def ntlm_in(self, name, seconds):
        return self.ask(name, 'load', seconds, name != 'bare')

    def ntlm_out(self, name, seconds):
        return self.bench.load(name, 'load', seconds)

    def krb_out(self, name, seconds):
        """Tokens for a round, and more than it can use: a second use of one
        would be a replay."""
        want = int(self.krb_rate.get(name, 4000) * seconds * 1.5) + 500
        self.tokens('tokens', want)
        got = self.bench.load(name, 'tokens', seconds)
        if got['requests'] > want:
            self.krb_rate[name] = got['rate'] * 2
            return self.krb_out(name, seconds)
        self.krb_rate[name] = got['rate']
        return got

    krb_rate = {}

    def pair(self, kind, bare, module, number, seconds):
        order = [('bare', bare), ('module', module)]
        if number % 2:
            order.reverse()
        return {which: kind(name, seconds) for which, name in order}

    def rounds(self):
        seconds, pairs = self.bench.options.seconds, self.bench.options.pairs
        for name in ('bare', 'ntlm-in'):
            self.ntlm_in(name, 1)
        for name in ('ntlm-out', 'ntlm-once'):
            for _ in range(2):
                self.ntlm_out(name, 1)
        for name in ('bare-krb', 'krb-out'):
            self.krb_out(name, 1)
        got = dict(ntlm_in=[], ntlm_out=[], krb_out=[], hands=[])
        for i in range(pairs):
            got['ntlm_in'].append(self.pair(
                self.ntlm_in, 'bare', 'ntlm-in', i, seconds))
            got['ntlm_out'].append(self.pair(
                self.ntlm_out, 'bare', 'ntlm-out', i, seconds))
            got['krb_out'].append(self.pair(
                self.krb_out, 'bare-krb', 'krb-out', i, seconds))
            got['hands'].append(dict(
                directory=self.ask('ntlm-in', 'hands', seconds, True, 8),
                winbind=self.ask('winbind', 'hands', seconds, True, 8),
                behind=self.bench.load('ntlm-once', 'load', seconds)))
        return got


TITLES = (
    ('ntlm_in', 'NTLM in, no login out: connections that are logged on'),
    ('ntlm_out', 'Basic in, NTLM out: connections are logged on already'),
    ('krb_out', 'Negotiate in, Kerberos out (delegation), request by request'))


def report(got, tell, row):
    for kind, title in TITLES:
        tell(title, got[kind])
    print('\nNTLM handshakes per second, %d rounds' % len(got['hands']))
    for name, label in (
            ('directory', 'at the door, CasProxyNTLMVerify Directory'),
            ('winbind', 'at the door, CasProxyNTLMVerify Winbind'),
            ('behind', 'behind, where each request needs one')):
        row(label, [one[name]['rate'] for one in got['hands']], '%.0f')
