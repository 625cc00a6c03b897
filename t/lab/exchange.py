#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""exchange.py - simulated Exchange servers of every generation.

    t/lab/exchange.py up DIR [FILE.json...]    start, wait until all listen
    t/lab/exchange.py down DIR                 stop
    t/lab/exchange.py run DIR [FILE.json...]   the same in the foreground

One process plays all servers of the sample organisation (org.py servers);
each FILE.json adds servers or changes them by name.  Loopback only.  DIR gets

    requests.jsonl   one JSON object for each request that arrived
    servers.json     name -> {"url", "fqdn", "version"}
    map.conf         a CasProxyBackendMap line for each server
    pid              of the process

What a server may be: name, fqdn, version, tls, names (of its certificate),
address, port, cas, mailbox (roles), and how it is odd:
    auth   basic (offers Negotiate, NTLM and Basic, takes the last two; the
           default), basic-only, ntlm-only, refuse (the same, but no password
           is right), anonymous,
           digest (offers nothing but Digest), epa (goes through an NTLM
           handshake and refuses it, as Extended Protection does), forms (a
           logon form before OWA, ECP and, up to 2007, the legacy paths),
           trusted (an IIS in front of it says who it is: t/lab/iis)
    ttl, renew   of a session by form: seconds, and after how many requests
           its cookie is renewed (900 and 5)
    cert   lab (the default), self: self-signed
    down   in the map, but nobody listens
    slow   seconds before each answer

What a request may ask for, in its query, to be answered oddly:
    sim=slow:SECONDS  sim=chunked  sim=trickle[:SECONDS]  (between its parts)
    sim=STATUS (440, 500, ...)  sim=deaf:SECONDS (before it reads the body)
    sim=pending:N  sim=beat:SECONDS  how often and how fast MAPI says PENDING
    sim=close (in mid-response)  sim=drop (without an answer)  sim=big:BYTES
    sim=redirect:URL  sim=location:fqdn|host|address  sim=headers (echo)
A server's own behaviour changes at run time by GET /sim/set?auth=refuse and
so on, and back by GET /sim/reset; GET /sim/password?CONTOSO%5Cada=WORD gives
somebody a password of their own, at all servers; GET /sim/expire[?user=NAME]
lets the server's sessions by form run out, /sim/forget loses them as a restart
does, /sim/sessions tells how many there are; /sim/heard how many bytes of
bodies have come so far.  Only tests know that path.
EXCHANGE_LOG names another file than DIR/requests.jsonl.
"""
import asyncio
import base64
import hashlib
import html
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from urllib.parse import parse_qsl, unquote, urlsplit

import ews
import logons
import ntlm
import org
import pki

NAMES = {200: 'OK', 201: 'Created', 204: 'No Content',
         206: 'Partial Content', 207: 'Multi-Status',
         302: 'Moved Temporarily', 400: 'Bad Request', 401: 'Unauthorized',
         403: 'Forbidden', 404: 'Not Found', 440: 'Login Timeout',
         500: 'Internal Server Error', 501: 'Not Implemented',
         502: 'Bad Gateway', 503: 'Service Unavailable'}
LEGACY = ('exchange', 'public', 'exchweb', 'exadmin')
ALWAYS = ('microsoft-server-activesync',)
MODERN = ALWAYS + ('owa', 'ews', 'autodiscover', 'oab', 'rpc',
                   'unifiedmessaging')
DIRECTORIES = {'2000': LEGACY, '2003': LEGACY + ALWAYS + ('oma',),
               '2007': MODERN + LEGACY,
               '2010': MODERN + LEGACY + ('ecp', 'powershell')}
NEWEST = DIRECTORIES['2010'] + ('mapi',)
BUILD = {'2007': '8.3.83.6', '2010': '14.3.123.4', '2013': '15.0.1497.2',
         '2016': '15.1.2507.6', '2019': '15.2.221.12'}
CHALLENGES = {'basic': ('Negotiate', 'NTLM', 'Basic'),
              'basic-only': ('Basic',), 'ntlm-only': ('Negotiate', 'NTLM'),
              'forms': ('Negotiate', 'NTLM', 'Basic'),
              'refuse': ('Negotiate', 'NTLM', 'Basic'),
              'digest': ('Digest qop="auth", algorithm=MD5-sess, nonce="%s", '
                         'charset=utf-8' % ('0' * 32),)}
WEBDAV = ('OPTIONS, TRACE, GET, HEAD, DELETE, PUT, POST, COPY, MOVE, MKCOL, '
          'PROPFIND, PROPPATCH, LOCK, UNLOCK, SUBSCRIBE, UNSUBSCRIBE, POLL, '
          'NOTIFY, BCOPY, BMOVE, BDELETE, BPROPFIND, BPROPPATCH, SEARCH')
GONE = logons.GONE
SIGNED_OUT = ('<!DOCTYPE html><html><head><title>Outlook Web App</title></head>'
              '<body><h1>You have been signed out</h1></body></html>\n')
LOGONS = ('auth.owa', 'owaauth.dll')
# A page that stays open and asks its server now and then, as OWA's does.
APP = '''<p><button id="poll">Check for new messages</button>
<output id="state">-</output></p>
<script>
document.getElementById('poll').onclick = function () {
  fetch('/owa/ev.owa?oeh=1&ns=Poll').then(function (answer) {
    document.getElementById('state').textContent = answer.status;
  });
};
</script>'''


class Lab:
    """What all servers share."""

    def __init__(self, folder, password, users):
        self.password, self.users = password, users
        self.passwords = {}  # of users who have another
        self.connections = 0
        self.log = os.open(os.environ.get('EXCHANGE_LOG')
                           or folder + '/requests.jsonl',
                           os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def record(self, **what):
        line = json.dumps(what, ensure_ascii=False) + '\n'
        os.write(self.log, line.encode('utf-8', 'surrogateescape'))

    def user_of(self, authorization):
        """The user whom Basic credentials prove, or None."""
        scheme, _, blob = authorization.partition(' ')
        if scheme.lower() != 'basic':
            return None
        try:
            text = base64.b64decode(blob, validate=True).decode()
        except ValueError:
            return None
        name, _, password = text.partition(':')
        return self.check(name, password)

    def check(self, name, password):
        user = self.full_name(name)
        good = self.passwords.get(user, self.password)
        return user if user and password == good else None

    def full_name(self, name):
        """DOMAIN\\user of whatever was typed."""
        user = self.users.get(name.lower())
        if not user and name:
            user = name if '\\' in name else '%s\\%s' % (
                org.DOMAIN, name.split('@')[0])
        return user

    def password_of(self, domain, user):
        """For an NTLM response: of DOMAIN and user, or of user@realm."""
        return self.passwords.get(self.full_name(user), self.password)


class Link:
    """What a server remembers of a connection."""

    def __init__(self):
        self.user = self.handshake = None


class Request:
    def __init__(self, method, target, http, headers):
        self.method, self.target, self.http = method, target, http
        self.headers = headers
        parts = urlsplit(target if target.startswith('/') else '/')
        self.path = unquote(parts.path)
        self.query = parse_qsl(parts.query, keep_blank_values=True)
        self.sim = dict(v.partition(':')[::2] for k, v in self.query
                        if k == 'sim')
        self.body, self.digest = 0, hashlib.sha256()
        self.text = b''  # of a body, where somebody reads it
        self.cookies = []  # further lines of the answer
        self.told = {}  # what an IIS in front says
        self.parts = None  # of an answer that comes bit by bit

    def get(self, name, default=''):
        return next((v for k, v in self.headers if k.lower() == name),
                    default)

    @property
    def is_logon(self):
        return self.method == 'POST' and \
            self.path.rsplit('/', 1)[-1].lower() in LOGONS

    @property
    def directory(self):
        return self.path.split('/')[1].lower() if '/' in self.path else ''


class Answer(Exception):
    """A response; raised where there is nothing more to think about."""

    def __init__(self, status, body='', kind='text/html; charset=utf-8',
                 headers=()):
        super().__init__(status)
        self.status = status
        self.body = body if isinstance(body, bytes) else body.encode()
        self.headers = [('Content-Type', kind)] if body else []
        self.headers += list(headers)


class Server:
    def __init__(self, lab, spec):
        self.lab, self.spec, self.first = lab, spec, dict(spec)
        self.name, self.version = spec['name'], spec['version']
        self.fqdn = spec['fqdn']
        self.forms = logons.Forms(self.name, self.version)
        self.address, self.port = spec['address'], spec['port']
        self.heard = 0

    @property
    def url(self):
        return '%s://%s:%d' % ('https' if self.spec.get('tls') else 'http',
                               self.address, self.port)

    @property
    def https(self):
        """Do its clients come by TLS?  It may end in front of it."""
        return self.spec.get('https', self.spec.get('tls'))

    # ------------------------------------------------- thinking, no I/O

    def authenticate(self, request):
        mode = self.spec.get('auth', 'basic')
        authorization = request.get('authorization')
        if mode == 'anonymous':
            return 'anonymous'
        if mode == 'trusted':
            if request.told.get('raw'):
                return self.lab.full_name(request.told['raw'])
            mode = 'basic-only'
        if mode == 'forms' and self.forms.guards(request.directory):
            return self.by_form(request)
        if mode == 'epa':
            raise Answer(401, 'Not authorized', headers=[
                ('WWW-Authenticate', c) for c in logons.answer_of_binding(
                    authorization, org.DOMAIN, self.name)])
        if mode in ('basic', 'basic-only', 'forms'):
            user = self.lab.user_of(authorization)
            if user:
                return user
        if 'NTLM' in CHALLENGES.get(mode, ()):
            user = self.integrated(request, authorization)
            if user and mode != 'refuse':
                return user
        raise Answer(401, 'You are not authorized to view this page', headers=[
            ('WWW-Authenticate', c + (' realm="%s"' % self.fqdn
                                      if c == 'Basic' else ''))
            for c in CHALLENGES[mode]])

    def integrated(self, request, authorization):
        """NTLM proves the user for the connection, as IIS has it: who comes
        over it afterwards and brings nothing is that user."""
        link = request.link
        scheme, _, blob = authorization.partition(' ')
        if scheme.lower() not in ('ntlm', 'negotiate') or not blob:
            return link.user if not authorization else None
        try:
            token = base64.b64decode(blob, validate=True)
        except ValueError:
            token = b''
        link.user = None
        if token[8:9] == b'\1' or not link.handshake:
            link.handshake = ntlm.Handshake(org.DOMAIN, self.name,
                                            self.lab.password_of)
        reply, user = link.handshake.step(token)
        if reply:
            raise Answer(401, 'handshake', headers=[(
                'WWW-Authenticate', '%s %s' % (
                    scheme, base64.b64encode(reply).decode()))])
        link.handshake = None
        if self.spec.get('auth') != 'refuse':
            link.user = user and self.lab.full_name(user)
        return link.user

    def by_form(self, request):
        """The user of the session, or the way to the logon page."""
        key, reason = self.forms.look(request.get('cookie'))
        if key:
            user, request.cookies = self.forms.use(
                key, int(self.spec.get('renew', logons.RENEW)), self.https)
            return user
        host = request.get('host', self.fqdn)
        if request.method in ('GET', 'HEAD') and not (
                reason == 3 and ('oeh', '1') in request.query[:1]):
            raise Answer(302, headers=[('Location', self.forms.logon_url(
                host, 'https://%s%s' % (host, request.target), reason))])
        raise Answer(440, 'Login Timeout', headers=self.forms.removed())

    def log_on(self, request):
        """The POST of the logon form."""
        told = self.forms.fields(request.text)
        host = request.get('host', self.fqdn)
        if not told or not self.forms.may_lead_to(
                told['destination'], (host.lower(), self.fqdn)):
            raise Answer(400, 'Bad Request')
        request.user = self.lab.check(told['username'], told['password'])
        if not request.user:
            raise Answer(302, headers=[('Location', self.forms.logon_url(
                host, told['destination'], 2))])
        raise Answer(302, headers=[
            ('Location', told['destination'])] + self.forms.log_on(
                request.user, told['flags'],
                float(self.spec.get('ttl', logons.TTL)), self.https))

    def form_pages(self, request):
        """What needs no session where there is a logon form."""
        path = request.path.lower()
        if request.is_logon and self.forms.is_logon(path):
            self.log_on(request)
        if self.forms.is_page(path):
            raise Answer(200, self.forms.page(request.query))
        if path.startswith('/owa/auth/') or (
                path.startswith('/owa/') and request.is_logon):
            self.sign_out(request)
            raise Answer(404, 'There is no such page.')

    def think(self, request):
        """Raises the answer, always; returns the user through it."""
        newer = self.version >= '2013'
        if request.path.startswith('/sim/'):
            self.change(request)
        if newer and request.path.lower().endswith('/healthcheck.htm'):
            raise Answer(200, '200 OK<br/>' + self.fqdn)
        if request.directory not in DIRECTORIES.get(self.version, NEWEST):
            raise Answer(404, 'The system cannot find the file specified.')
        if self.spec.get('auth') == 'forms':
            self.form_pages(request)
        if request.directory == 'exchweb':
            self.exchweb(request)
        user = self.authenticate(request)
        request.user = user
        self.oddly(request, user)
        self.sign_out(request)
        if request.directory in LEGACY:
            self.legacy(request, user)
        if self.version == '2007' and not self.spec.get('cas'):
            raise Answer(404, 'No Client Access role on this server.')
        if request.directory in ('owa', 'ecp'):
            self.page(request, user)
        if request.path.lower() == '/ews/exchange.asmx' and \
                request.method == 'POST':
            status, text = ews.Mailbox(
                '%s@%s' % (user.split('\\')[-1].lower(), org.DNS), self.name,
                self.version, BUILD[self.version]).answer(request.text)
            raise Answer(status, text, ews.KIND)
        if request.directory == 'microsoft-server-activesync' and \
                request.method == 'OPTIONS':
            raise Answer(200, headers=[
                ('MS-Server-ActiveSync', '14.3'), ('Public', 'OPTIONS,POST'),
                ('MS-ASProtocolVersions', '2.5,12.0,12.1,14.0,14.1')])
        if request.directory == 'mapi':
            self.mapi(request, user)
        if request.directory == 'oab':
            self.oab(request)
        headers = []
        if request.directory == 'powershell':
            headers = [('Set-Cookie', 'MS-WSMAN=%s; path=/PowerShell'
                        % hashlib.md5(user.encode()).hexdigest())]
        raise Answer(200, '%s of %s on %s (%s)\n' % (
            request.directory, user, self.name, self.version), 'text/plain',
            headers)

    def mapi(self, request, user):
        """MAPI over HTTP: a session in two cookies, and an answer that says
        what it is doing until it has one."""
        kind = request.get('x-requesttype')
        if request.method != 'POST' or not kind:
            raise Answer(200, 'mapi of %s on %s (%s)\n' % (
                user, self.name, self.version), 'text/plain')
        own = hashlib.md5((user + self.name).encode()).hexdigest()
        session = dict(c.strip().partition('=')[::2]
                       for c in request.get('cookie').split(';'))
        code, number = 0, 0
        if kind != 'Connect':
            code = 0 if session.get('MapiContext') == own else 10
            number = int(session.get('MapiSequence') or '0') + 1
        request.parts = ['PROCESSING\r\n'] + ['PENDING\r\n'] * int(
            request.sim.get('pending', 1)) + [
                'DONE\r\nX-ResponseCode: %d\r\nX-ElapsedTime: 1\r\n\r\n' % code,
                '%s of %s on %s' % (kind, user, self.name)]
        raise Answer(200, ''.join(request.parts), 'application/mapi-http', [
            ('X-RequestType', kind), ('X-ResponseCode', str(code)),
            ('X-RequestId', request.get('x-requestid')),
            ('X-ServerApplication', 'Exchange/' + BUILD[self.version]),
            ('Set-Cookie', 'MapiContext=%s; path=/mapi/emsmdb; secure' % own),
            ('Set-Cookie', 'MapiSequence=%d; path=/mapi/emsmdb; secure'
             % number)])

    def oab(self, request):
        """Files, whole or in part, as IIS has them."""
        name = request.path.rsplit('/', 1)[-1].lower()
        if not name.endswith(('.xml', '.lzx')):
            return
        whole = (name.encode() * 4096)[:40000]
        headers = [('Accept-Ranges', 'bytes'), ('ETag', '"1:0"')]
        unit, _, part = request.get('range').partition('=')
        first, _, last = part.partition('-')
        if unit != 'bytes' or not first.isdigit():
            raise Answer(200, whole, 'application/octet-stream', headers)
        first, last = int(first), int(last or len(whole) - 1)
        raise Answer(206, whole[first:last + 1], 'application/octet-stream',
                     headers + [('Content-Range', 'bytes %d-%d/%d' % (
                         first, last, len(whole)))])

    def change(self, request):
        if request.path == '/sim/reset':
            self.spec.clear()
            self.spec.update(self.first)
        if request.path == '/sim/password':
            self.lab.passwords.update(request.query)
            raise Answer(204)
        if request.path == '/sim/expire':
            raise Answer(200, '%d\n' % self.forms.expire(
                dict(request.query).get('user')), 'text/plain')
        if request.path == '/sim/forget':
            self.forms.sessions.clear()
        if request.path == '/sim/heard':
            raise Answer(200, '%d\n' % self.heard, 'text/plain')
        if request.path == '/sim/sessions':
            raise Answer(200, '%d\n' % len(self.forms.sessions),
                         'text/plain')
        for name, value in request.query:
            self.spec[name] = value
        raise Answer(200, json.dumps(self.spec), 'application/json')

    def oddly(self, request, user):
        sim = request.sim
        status = next((int(s) for s in sim if s.isdigit()), 0)
        if status:
            raise Answer(status, 'As you asked: %d' % status)
        if 'headers' in sim:
            raise Answer(200, json.dumps(dict(
                server=self.name, method=request.method, user=user,
                target=request.target, headers=request.headers)),
                'application/json')
        if 'big' in sim:
            raise Answer(200, b'x' * int(sim['big']),
                         'application/octet-stream')
        if 'redirect' in sim:
            raise Answer(302, headers=[('Location', sim['redirect'])])
        if 'location' in sim or '/redirect-test' in request.path:
            scheme = 'https' if self.https else 'http'
            host = {'host': request.get('host'), 'address': '%s:%d' % (
                self.address, self.port)}.get(sim.get('location'), self.fqdn)
            url = '%s://%s/%s/?arrived=1' % (scheme, host, request.directory)
            raise Answer(302, 'moved', headers=[
                ('Location', url), ('Content-Location', url)])

    def text(self, request, user):
        """Whose mailbox is shown, as every page of the lab words it."""
        parts = [p for p in request.path.split('/')[2:] if p]
        if parts and '@' in parts[0]:
            return 'mailbox of %s opened by %s on %s (%s)' % (
                parts[0], user, self.name, self.version)
        return 'mailbox of %s on %s (%s)' % (user, self.name, self.version)

    def page(self, request, user):
        headers = [
            ('X-OWA-Version', BUILD[self.version]),
            ('Set-Cookie', 'UserContext=%s; Domain=%s; path=/%s; secure; '
             'HttpOnly' % (hashlib.md5(user.encode()).hexdigest(), self.fqdn,
                           request.directory))]
        if self.version >= '2013':
            headers += [('X-FEServer', self.name), ('X-BEServer', self.name)]
        app = request.path.lower() == '/owa/app.aspx'
        if app:
            headers.append(('Cache-Control', 'no-cache, no-store'))
        raise Answer(200, '<!DOCTYPE html><html><head><title>Outlook Web App '
                     '- %s</title></head><body><h1>%s</h1><p>%s %s</p>%s'
                     '</body></html>\n' % (
                         self.name, html.escape(self.text(request, user)),
                         html.escape(request.method),
                         html.escape(request.target), APP if app else ''),
                     headers=headers)

    def exchweb(self, request):
        """Files that need no logon; its page after a sign-out is one."""
        if request.path.lower().endswith('/usa/logoff.asp'):
            request.user = self.lab.user_of(request.get('authorization'))
            self.forms.end(request.get('cookie'))
            raise Answer(200, SIGNED_OUT, headers=[
                ('Set-Cookie', '%s=; path=/; %s' % (name, GONE))
                for name in ('sessionid', 'cadata')])
        raise Answer(200, '/* Exchange %s */' % self.version, 'text/css')

    def sign_out(self, request):
        """The sign-out URLs of every generation."""
        path = request.path.lower().rstrip('/')
        if request.directory in LEGACY and self.version <= '2003' and any(
                (k.lower(), v.lower()) == ('cmd', 'logoff')
                for k, v in request.query):
            raise Answer(200, SIGNED_OUT, headers=self.end_of_session(request))
        if path == '/ecp/logoff.aspx':
            raise Answer(302, headers=[('Location', '/owa/logoff.owa')])
        if path in ('/owa/auth/logoff.aspx', '/owa/auth/signout.aspx'):
            raise Answer(200, SIGNED_OUT)
        if path == '/owa/logoff.owa':
            raise Answer(302, headers=self.end_of_session(request) + [
                ('Set-Cookie', 'UserContext=; Domain=%s; path=/owa; %s'
                 % (self.fqdn, GONE)),
                ('Location', 'https://%s/owa/auth/%s' % (
                    request.get('host', self.fqdn),
                    'logoff.aspx?Cmd=logoff' if self.version == '2007'
                    else 'logoff.aspx?Cmd=logoff&src=exch'
                    if self.version == '2010' else 'signout.aspx'))])

    def end_of_session(self, request):
        if self.spec.get('auth') != 'forms':
            return []
        self.forms.end(request.get('cookie'))
        return self.forms.removed()

    def legacy(self, request, user):
        if self.version >= '2010' or \
                (self.version == '2007' and not self.spec.get('mailbox')):
            raise Answer(302, headers=[('Location', 'https://%s/owa' % (
                request.get('host', self.fqdn)))])
        https = request.get('front-end-https').lower() == 'on'
        base = 'http%s://%s' % ('s' if https else '',
                                request.get('host', self.fqdn))
        method = request.method
        if method in ('GET', 'HEAD', 'POST'):
            own = request.path if request.path.count('/') > 1 and \
                len(request.path) > len(request.directory) + 2 else \
                '/%s/%s/' % (request.directory, user.split('\\')[-1])
            raise Answer(200, '<html><head><base href="%s%s"></head><body>'
                         '<h1>%s</h1><p>%s %s</p></body></html>\n' % (
                             base, html.escape(own),
                             html.escape(self.text(request, user)),
                             html.escape(method),
                             html.escape(request.target)))
        self.webdav(request, base)

    def webdav(self, request, base):
        method = request.method
        if method == 'OPTIONS':
            raise Answer(200, headers=[
                ('Allow', WEBDAV), ('DAV', '1, 2'),
                ('MS-Author-Via', 'DAV'), ('MS-Exchange-Permanent-URL',
                                           base + request.path)])
        if method in ('PROPFIND', 'SEARCH', 'PROPPATCH', 'BPROPFIND',
                      'BPROPPATCH', 'BDELETE', 'X-MS-ENUMATTS', 'BCOPY',
                      'BMOVE', 'POLL'):
            raise Answer(207, '<?xml version="1.0"?><a:multistatus '
                         'xmlns:a="DAV:"><a:response><a:href>%s%s</a:href>'
                         '<a:propstat><a:status>HTTP/1.1 200 OK</a:status>'
                         '</a:propstat></a:response></a:multistatus>\n'
                         % (base, html.escape(request.path)), 'text/xml')
        if method in ('MOVE', 'COPY'):
            goal = urlsplit(request.get('destination'))
            here = urlsplit(base)
            if goal.hostname not in (here.hostname, self.fqdn) or \
                    goal.scheme not in ('http', here.scheme):
                raise Answer(502, 'Destination is another server: %s'
                             % html.escape(request.get('destination')))
            raise Answer(201, headers=[('Location', base + goal.path)])
        if method in ('PUT', 'MKCOL'):
            raise Answer(201, headers=[('Location', base + request.path)])
        if method in ('DELETE', 'UNLOCK', 'UNSUBSCRIBE'):
            raise Answer(204)
        if method in ('LOCK', 'SUBSCRIBE', 'NOTIFY'):
            raise Answer(200, headers=[('Subscription-ID', '1')])
        raise Answer(501, 'No such method')

    # ------------------------------------------------------------ wire

    async def serve(self, reader, writer):
        self.lab.connections += 1
        number, link = self.lab.connections, Link()
        try:
            while await self.one(reader, writer, number, link):
                pass
        except (OSError, ValueError, EOFError, asyncio.LimitOverrunError,
                ssl.SSLError):
            pass
        finally:
            writer.close()

    async def one(self, reader, writer, number, link):
        """One request and its answer; False: the connection ends."""
        head = await reader.readuntil(b'\r\n\r\n')
        lines = head.decode('utf-8', 'surrogateescape').split('\r\n')
        method, target, http = lines[0].split(' ', 2)
        request = Request(method, target, http, [
            [k, v.strip()] for k, _, v in (x.partition(':')
                                           for x in lines[1:] if x)])
        request.user, request.link = None, link
        number = self.hear(request, number)
        if request.get('expect').lower() == '100-continue':
            writer.write(b'HTTP/1.1 100 Continue\r\n\r\n')
        if 'deaf' in request.sim:
            await asyncio.sleep(float(request.sim['deaf']))
        await self.swallow(request, reader)
        delay = float(request.sim.get('slow') or self.spec.get('slow', 0))
        if delay:
            await asyncio.sleep(delay)
        try:
            self.think(request)
        except Answer as made:
            answer = made
        self.lab.record(
            time=time.time(), server=self.name, connection=number,
            method=method, target=target, http=http, headers=request.headers,
            body=request.body, body_sha256=request.digest.hexdigest(),
            user=request.user, status=answer.status,
            **{k: v for k, v in request.told.items() if k != 'connection'})
        answer.headers += request.cookies
        if 'drop' in request.sim:
            return False
        return await self.send(request, answer, writer, number)

    def hear(self, request, number):
        """What an IIS in front says, which is no part of the request; the
        number of the client's connection."""
        if self.spec.get('auth') != 'trusted':
            return number
        request.told = {k[6:].lower(): v for k, v in request.headers
                        if k.lower().startswith('x-lab-')}
        request.headers = [h for h in request.headers
                           if not h[0].lower().startswith('x-lab-')]
        return int(request.told.get('connection', number))

    async def swallow(self, request, reader):
        """Read a request's body, whatever its framing."""
        async def take(left):
            while left:
                data = await reader.read(min(left, 65536))
                if not data:
                    raise EOFError
                request.body += len(data)
                self.heard += len(data)
                request.digest.update(data)
                if (request.directory == 'ews' or request.is_logon) and \
                        request.body <= ews.LIMIT:
                    request.text += data
                left -= len(data)
        if 'chunked' in request.get('transfer-encoding').lower():
            while True:
                size = int((await reader.readline()).split(b';')[0], 16)
                await take(size)
                if not size:
                    while (await reader.readline()).strip():
                        pass
                    return
                await reader.readline()
        await take(int(request.get('content-length', '0')))

    async def send(self, request, answer, writer, number):
        keep = request.http == 'HTTP/1.1' and \
            'close' not in request.get('connection').lower()
        chunked = request.http == 'HTTP/1.1' and \
            ('chunked' in request.sim or 'trickle' in request.sim
             or request.parts is not None)
        headers = [('Server', 'Microsoft-IIS/7.5'),
                   ('X-Backend', self.name),
                   ('X-Backend-Connection', str(number))]
        headers += [(name, request.told[key]) for name, key in (
            ('X-Auth-Type', 'auth'), ('X-Raw-User', 'raw'),
            ('X-Backend-Kind', 'kind')) if key in request.told]
        if request.body:
            headers.append(('X-Backend-Body', '%d %s' % (
                request.body, request.digest.hexdigest())))
        headers += answer.headers
        if chunked:
            headers.append(('Transfer-Encoding', 'chunked'))
        elif answer.status != 204:
            headers.append(('Content-Length', str(len(answer.body))))
        if not keep:
            headers.append(('Connection', 'close'))
        head = 'HTTP/1.1 %d %s\r\n' % (answer.status, NAMES.get(
            answer.status, 'As Asked')) + ''.join(
                '%s: %s\r\n' % h for h in headers) + '\r\n'
        body = b'' if request.method == 'HEAD' else answer.body
        out = head.encode('utf-8', 'surrogateescape')
        if 'close' in request.sim:
            writer.write(out + body[:len(body) // 2])
            await writer.drain()
            return False
        if not chunked:
            writer.write(out + body)
        else:
            writer.write(out)
            size = 7 if 'trickle' in request.sim else 50
            pause = float(request.sim.get('trickle', 0) or 0.01) \
                if 'trickle' in request.sim else float(
                    request.sim.get('beat', 0))
            for part in [p.encode() for p in request.parts] \
                    if request.parts and body else [
                        body[i:i + size] for i in range(0, len(body), size)]:
                writer.write(b'%x\r\n%b\r\n' % (len(part), part))
                if pause:
                    await writer.drain()
                    await asyncio.sleep(pause)
            if request.method != 'HEAD':
                writer.write(b'0\r\n\r\n')
        await writer.drain()
        return keep


# -------------------------------------------------------------- starting

def specifications(files):
    """The organisation's servers, with what the files add or change."""
    found = {s['name']: s for s in org.simulated()}
    users, password = org.users_index(), org.PASSWORD
    for name in files:
        with open(name, encoding='utf-8') as text:
            told = json.load(text)
        users.update(told.get('users', {}))
        password = told.get('password', password)
        for server in told.get('servers', []):
            found.setdefault(server['name'], {}).update(server)
    for i, spec in enumerate(found.values()):
        spec.setdefault('fqdn', spec['name'].lower() + '.' + org.DNS)
        spec.setdefault('version', '2010')
        spec.setdefault('tls', True)
        spec.setdefault('cas', True)
        spec.setdefault('address', '127.0.0.%d' % (20 + i % 200))
    return list(found.values()), users, password


def bind(spec):
    """A listening socket on a free port below the ephemeral ones."""
    for _ in range(200):
        port = int(spec.get('port') or random.randint(20000, 31999))
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((spec['address'], port))
        except OSError:
            sock.close()
            if spec.get('port'):
                raise
            continue
        spec['port'] = port
        if spec.get('down'):
            sock.close()
            return None
        sock.listen(1024)
        return sock
    raise OSError('no free port on ' + spec['address'])


def contexts(folder, specs):
    """A TLS context signed by the lab's CA, and one that signs itself."""
    made = {}
    ca_dir = os.environ.get('CA_DIR', folder + '/ca')
    for kind in ('lab', 'self'):
        names = [n for s in specs if s.get('cert', 'lab') == kind
                 for n in [s['fqdn'], s['address'], *s.get('names', [])]]
        cert = pki.issue(ca_dir, 'exchange-' + kind, list(dict.fromkeys(
            ['exchange.' + org.DNS] + names)), kind == 'self')
        made[kind] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made[kind].load_cert_chain(*cert)
    return made


def write(folder, name, text):
    """Whole or not at all: whoever waits for a file reads all of it."""
    with open(folder + '/.' + name, 'w', encoding='utf-8') as out:
        out.write(text)
    os.rename(folder + '/.' + name, folder + '/' + name)


async def run(folder, files):
    specs, users, password = specifications(files)
    lab = Lab(folder, password, users)
    tls = contexts(folder, specs)
    servers, listening = [], []
    for spec in specs:
        sock = bind(spec)
        server = Server(lab, spec)
        servers.append(server)
        if sock:
            listening.append(await asyncio.start_server(
                server.serve, sock=sock, limit=1 << 20,
                ssl=tls[spec.get('cert', 'lab')] if spec['tls'] else None))
    write(folder, 'map.conf', ''.join(
        'CasProxyBackendMap %s %s\n' % (s.fqdn, s.url) for s in servers))
    write(folder, 'pid', '%d\n' % os.getpid())
    write(folder, 'servers.json', json.dumps(
        {s.name: dict(url=s.url, fqdn=s.fqdn, version=s.version)
         for s in servers}, indent=1))
    ended = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, ended.set)
    await ended.wait()


def up(folder, files):
    os.makedirs(folder, exist_ok=True)
    down(folder)
    for name in ('servers.json', 'requests.jsonl'):
        if os.path.exists(folder + '/' + name):
            os.unlink(folder + '/' + name)
    with open(folder + '/exchange.log', 'ab') as log:
        started = subprocess.Popen(
            [sys.executable, '-B', os.path.abspath(__file__), 'run', folder,
             *files], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)
    for _ in range(300):
        if os.path.exists(folder + '/servers.json'):
            with open(folder + '/servers.json', encoding='utf-8') as text:
                print('Exchange: %d simulated servers (process %d)' % (
                    len(json.load(text)), started.pid))
            return
        if started.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit('exchange.py: did not start; see %s/exchange.log' % folder)


def ours(pid):
    try:
        with open('/proc/%d/cmdline' % pid, 'rb') as text:
            return b'exchange.py' in text.read()
    except OSError:
        return False


def down(folder):
    try:
        with open(folder + '/pid', encoding='ascii') as text:
            pid = int(text.read())
    except (OSError, ValueError):
        return
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(60):
            if not ours(pid):
                break
            os.kill(pid, sig)
            time.sleep(0.05)
    os.unlink(folder + '/pid')


def main(words):
    if len(words) < 2 or words[0] not in ('up', 'down', 'run'):
        sys.exit(__doc__)
    folder = os.path.abspath(words[1])
    if words[0] == 'run':
        os.makedirs(folder, exist_ok=True)
        asyncio.run(run(folder, words[2:]))
    elif words[0] == 'up':
        up(folder, [os.path.abspath(f) for f in words[2:]])
    else:
        down(folder)


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback on Ctrl-C
    main(sys.argv[1:])
