#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""eas.py - simulated ActiveSync servers, for what exchange.py does not do.

    t/lab/eas.py DIR NAME...

One process answers by TLS for all servers of these names (their certificate
is the lab's), until it gets a signal.  DIR gets map.conf, a CasProxyBackendMap
line for each name, and requests.jsonl, a JSON line for each request, as
exchange.py writes it, and for each client that went away before its answer
("gone": true).  Any user with the lab's password may come, by Basic.

A server says which versions it speaks to OPTIONS, and sends a POST's body
back, whatever it is.  What a request wants to have otherwise stands in its
header X-Sim, items with "|" between them:
    status=451   line=Text   type=text/xml   body=Text   hold=SECONDS
    header=Name: value (any number)   drop (no answer)   loud (no wait for a
    body; the answer comes at once)   401=NTLM, Digest (the schemes offered)
"""
import asyncio
import base64
import json
import os
import socket
import ssl
import sys
import time

import org
import pki

VERSIONS = '2.0,2.1,2.5,12.0,12.1,14.0,14.1'
COMMANDS = 'Sync,SendMail,FolderSync,Ping,Settings,Provision,ItemOperations'
WBXML = 'application/vnd.ms-sync.wbxml'


class Request:
    def __init__(self, head):
        lines = head.decode('utf-8', 'surrogateescape').split('\r\n')
        self.method, self.target, self.http = lines[0].split(' ', 2)
        self.headers = [[k, v.strip()] for k, _, v in (
            line.partition(':') for line in lines[1:] if line)]
        self.body, self.sim, self.extra = b'', {}, []
        for item in self.get('x-sim').split('|'):
            name, _, value = item.strip().partition('=')
            if name == 'header':
                self.extra.append(value)
            elif name:
                self.sim[name] = value

    def get(self, name):
        return next((v for k, v in self.headers if k.lower() == name), '')

    async def read_body(self, reader):
        if self.get('expect').lower() == '100-continue':
            return
        if 'chunked' not in self.get('transfer-encoding').lower():
            self.body = await reader.readexactly(
                int(self.get('content-length') or 0))
            return
        while True:
            size = int((await reader.readline()).split(b';')[0], 16)
            self.body += await reader.readexactly(size)
            await reader.readline()
            if not size:
                return


def user_of(authorization):
    scheme, _, blob = authorization.partition(' ')
    if scheme.lower() != 'basic':
        return None
    name, _, password = base64.b64decode(blob).decode().partition(':')
    return name if password == org.PASSWORD else None


def think(request):
    """Status, words, headers and body of the answer."""
    sim = request.sim
    if '401' in sim:
        return 401, 'Unauthorized', [
            'WWW-Authenticate: ' + scheme.strip()
            for scheme in sim['401'].split(',') if scheme.strip()], b'no'
    if not user_of(request.get('authorization')):
        return 401, 'Unauthorized', ['WWW-Authenticate: Basic realm="x"'], b''
    headers = ['MS-Server-ActiveSync: 14.3', 'X-MS-RP: ' + VERSIONS,
               'Cache-Control: private']
    if 'status' in sim or 'body' in sim:
        if sim.get('type', 'text/html'):
            headers.append('Content-Type: ' + sim.get('type', 'text/html'))
        return int(sim.get('status', 200)), sim.get('line', 'As Asked'), \
            headers, sim.get('body', '').encode()
    if request.method == 'OPTIONS':
        return 200, 'OK', headers + [
            'MS-ASProtocolVersions: ' + VERSIONS,
            'MS-ASProtocolCommands: ' + COMMANDS,
            'Public: OPTIONS,POST', 'Allow: OPTIONS,POST'], b''
    if request.method != 'POST':
        return 405, 'Method Not Allowed', headers, b''
    return 200, 'OK', headers + ['Content-Type: ' + WBXML], request.body


class Servers:
    def __init__(self, folder):
        self.log = os.open(folder + '/requests.jsonl',
                           os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.connections = 0

    def record(self, request, number, **more):
        line = json.dumps(dict(
            time=time.time(), server=request.get('host'), connection=number,
            method=request.method, target=request.target, http=request.http,
            headers=request.headers, body=len(request.body),
            hex=request.body[:4096].hex(), **more)) + '\n'
        os.write(self.log, line.encode('utf-8', 'surrogateescape'))

    async def serve(self, reader, writer):
        self.connections += 1
        number = self.connections
        try:
            while await self.one(reader, writer, number):
                pass
        except (OSError, ValueError, EOFError, asyncio.LimitOverrunError,
                ssl.SSLError):
            pass
        finally:
            writer.close()

    async def one(self, reader, writer, number):
        request = Request(await reader.readuntil(b'\r\n\r\n'))
        if request.get('expect').lower() == '100-continue':
            writer.write(b'HTTP/1.1 100 Continue\r\n\r\n')
            request.headers = [h for h in request.headers
                               if h[0].lower() != 'expect']
        if 'loud' not in request.sim:
            await request.read_body(reader)
        hold = float(request.sim.get('hold') or 0)
        if hold and await self.left(reader, hold):
            self.record(request, number, status=0, gone=True)
            return False
        status, words, headers, body = think(request)
        self.record(request, number, status=status)
        if 'drop' in request.sim:
            return False
        headers = ['Server: Microsoft-IIS/7.5', 'X-Backend: '
                   + request.get('host')] + headers + request.extra + [
                       'Content-Length: %d' % len(body)]
        writer.write(('HTTP/1.1 %d %s\r\n%s\r\n\r\n' % (
            status, words, '\r\n'.join(headers))).encode() + body)
        await writer.drain()
        return 'loud' not in request.sim

    @staticmethod
    async def left(reader, seconds):
        """Hold a request; did its client go away meanwhile?"""
        try:
            return not await asyncio.wait_for(reader.read(1), seconds)
        except asyncio.TimeoutError:
            return False
        except (OSError, ssl.SSLError):
            return True


async def run(folder, names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.issue(
        os.environ.get('CA_DIR', folder + '/ca'), 'eas',
        ['eas.' + org.DNS, '127.0.0.1'] + names))
    servers = Servers(folder)
    server = await asyncio.start_server(
        servers.serve, '127.0.0.1', 0, ssl=context, limit=1 << 20,
        family=socket.AF_INET)
    port = server.sockets[0].getsockname()[1]
    with open(folder + '/.map.conf', 'w', encoding='ascii') as out:
        for name in names:
            out.write('CasProxyBackendMap %s https://127.0.0.1:%d\n'
                      % (name, port))
    os.rename(folder + '/.map.conf', folder + '/map.conf')
    await asyncio.Event().wait()


if __name__ == '__main__':
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(run(sys.argv[1], sys.argv[2:]))
    except KeyboardInterrupt:
        pass
