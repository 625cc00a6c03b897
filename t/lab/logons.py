# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How a simulated Exchange server asks who one is, beside Basic: its logon
form with the cookies of its generation, and a handshake that channel binding
makes fail.  exchange.py leans on this; it does no input or output."""
import base64
import hashlib
import html
import secrets
import struct
import time
from urllib.parse import parse_qs, quote, urlsplit

import ntlm

GONE = 'expires=Thu, 01-Jan-1970 00:00:00 GMT'
TTL, RENEW = 900, 5  # seconds; every how many requests a cookie is renewed
REASONS = {0: '', 1: 'logged off', 2: 'The user name or password you entered '
           'is not correct.', 3: 'Your session has timed out.'}
LOGON_PAGE = '''<!DOCTYPE html>
<!-- {57A118C6-2DA9-419d-BE9A-F92B0F9A418B} -->
<html><head><title>Outlook Web App</title></head><body>
<p>%(why)s</p>
<form name="logonForm" action="%(action)s" method="POST"
 enctype="application/x-www-form-urlencoded" autocomplete="off">
<input type="hidden" name="destination" value="%(destination)s">
<input type="hidden" name="flags" value="0">
<input type="hidden" name="forcedownlevel" value="0">%(more)s
<input name="username"><input name="password" type="password">
<input type="submit" value="Sign in">
</form></body></html>
'''


class Forms:
    """Forms authentication of one server: its sessions are its own."""

    def __init__(self, name, version):
        self.name, self.version = name, version
        self.sessions = {}  # id -> dict(user, until, cadata, ttl, uses)
        self.newest = version >= '2013'
        self.old = version <= '2003'

    # ------------------------------------------------------------ who asks

    def guards(self, directory):
        """Only these have a form; devices and programs use Basic."""
        if directory in ('exchange', 'public'):
            return self.version <= '2007'
        return directory in ('owa', 'ecp')

    def is_logon(self, path):
        """A POST to it is a logon, whatever stands before the last part."""
        wanted = {'2000': ('owaauth.dll',), '2003': ('owaauth.dll',),
                  '2007': ('owaauth.dll',), '2010': ('auth.owa',)}.get(
                      self.version, ('auth.owa', 'owaauth.dll'))
        if self.newest:
            return path.rsplit('/', 1)[-1] in wanted
        return path == ('/exchweb/bin/auth/owaauth.dll' if self.old else
                        '/owa/auth/owaauth.dll' if self.version == '2007'
                        else '/owa/auth.owa')

    def is_page(self, path):
        return path == ('/exchweb/bin/auth/owalogon.asp' if self.old
                        else '/owa/auth/logon.aspx')

    def page(self, query):
        told = dict(query)
        reason = int(told.get('reason') or 0)
        return LOGON_PAGE % dict(
            why=REASONS.get(reason, ''), more='' if self.old else
            '\n<input type="hidden" name="isUtf8" value="1">',
            destination=html.escape(told.get('url', '')),
            action='/exchweb/bin/auth/owaauth.dll' if self.old
            else '/owa/auth/owaauth.dll' if self.version == '2007'
            else '/owa/auth.owa')

    def logon_url(self, host, destination, reason):
        return 'https://%s%s?url=%s&reason=%d' % (
            host, '/exchweb/bin/auth/owalogon.asp' if self.old
            else '/owa/auth/logon.aspx', quote(destination, safe=''), reason)

    # --------------------------------------------------------------- logon

    @staticmethod
    def fields(body):
        """Of a logon form: one value each, or None where one is missing."""
        told = parse_qs(body.decode('utf-8', 'replace'),
                        keep_blank_values=True)
        wanted = ('destination', 'flags', 'username', 'password')
        if any(len(told.get(name, ())) != 1 for name in wanted):
            return None
        return {name: told[name][0] for name in wanted}

    @staticmethod
    def may_lead_to(destination, hosts):
        if destination.startswith('/'):
            return not destination.startswith('//')
        try:
            return urlsplit(destination).netloc.lower() in hosts
        except ValueError:
            return False

    def log_on(self, user, flags, ttl, tls):
        """A new session; the Set-Cookie lines of it."""
        key = secrets.token_hex(16)
        self.sessions[key] = dict(
            user=user, uses=0, ttl=ttl, until=time.time() + ttl,
            private=bool(int(flags) & 4) if flags.isdigit() else False,
            values=[])
        return self.renewed(key, tls, whole=True)

    def renewed(self, key, tls, whole=False):
        session = self.sessions[key]
        session['until'] = time.time() + session['ttl']
        word = base64.b64encode(secrets.token_bytes(24)).decode()
        # what was given before goes on being good for a while: requests are
        # under way with it
        session['values'] = session['values'][-1:] + [word]
        more = '; path=/' + ('; secure' if tls and not self.old else '') + (
            '; HttpOnly' if not self.old else '')
        if not self.newest:
            made = [('sessionid', key)] if whole else []
            made.append(('cadata', '"%s"' % word))
        else:
            made = [('cadataTTL', word)]
            if whole:
                made += [('cadata', base64.b64encode(
                    bytes.fromhex(key)).decode()), *(
                        ('cadata' + part, base64.b64encode(hashlib.sha256(
                            (part + key).encode()).digest()).decode())
                        for part in ('Key', 'IV', 'Sig'))]
        return [('Set-Cookie', '%s=%s%s' % (name, value, more))
                for name, value in made]

    def names(self):
        return ('cadata', 'cadataTTL', 'cadataKey', 'cadataIV', 'cadataSig') \
            if self.newest else ('sessionid', 'cadata')

    def removed(self):
        return [('Set-Cookie', '%s=; path=/; %s' % (name, GONE))
                for name in self.names()]

    # ------------------------------------------------------------ sessions

    def key_of(self, cookie):
        """The session that a Cookie header names, or None."""
        told = {}
        for part in cookie.split(';'):
            name, _, value = part.strip().partition('=')
            told[name] = value.strip('"')
        if any(name not in told for name in self.names()):
            return None
        key = told.get('sessionid')
        if self.newest:
            try:
                key = base64.b64decode(told['cadata']).hex()
            except ValueError:
                return None
            for part in ('Key', 'IV', 'Sig'):
                if told['cadata' + part] != base64.b64encode(hashlib.sha256(
                        (part + key).encode()).digest()).decode():
                    return None
        session = self.sessions.get(key)
        changing = told['cadataTTL' if self.newest else 'cadata']
        return key if session and changing in session['values'] else None

    def look(self, cookie):
        """(key, None), or (None, reason of the logon page)."""
        key = self.key_of(cookie)
        if not key:
            return None, 0
        if time.time() > self.sessions[key]['until']:
            return None, 3
        return key, None

    def use(self, key, every, tls):
        """The user, and the Set-Cookie lines of a renewal now and then."""
        session = self.sessions[key]
        session['uses'] += 1
        again = every and session['uses'] % every == 0
        return session['user'], self.renewed(key, tls) if again else []

    def end(self, cookie):
        self.sessions.pop(self.key_of(cookie), None)

    def expire(self, user=None):
        """Time passes, for everybody or one user; how many sessions."""
        count = 0
        for session in self.sessions.values():
            if user in (None, session['user']):
                session['until'] = 0
                count += 1
        return count


# ------------------------------------------------- Extended Protection

def der(tag, *parts):
    body = b''.join(parts)
    size = bytes([len(body)]) if len(body) < 128 else \
        b'\x82' + struct.pack('>H', len(body))
    return bytes([tag]) + size + body


def answer_of_binding(authorization, domain, host):
    """The WWW-Authenticate values of a server that goes through a handshake
    and then refuses it, as one does that demands channel binding."""
    scheme, _, blob = authorization.partition(' ')
    try:
        token = base64.b64decode(blob, validate=True)
    except ValueError:
        token = b''
    at = token.find(ntlm.SIGNATURE + b'\1\0\0\0')
    if scheme.lower() not in ('ntlm', 'negotiate') or at < 0:
        return ['Negotiate', 'NTLM']
    challenge, _ = ntlm.Handshake(domain, host, None).step(token[at:])
    if at:
        mechanism = bytes.fromhex('060a2b06010401823702020a')
        challenge = der(0xa1, der(0x30, der(0xa0, b'\x0a\x01\x01'),
                                  der(0xa1, mechanism),
                                  der(0xa2, der(4, challenge))))
    return ['%s %s' % (scheme, base64.b64encode(challenge).decode())]
