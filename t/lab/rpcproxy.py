#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""rpcproxy.py - simulated servers with Outlook Anywhere behind them.

    t/lab/rpcproxy.py run DIR [FILE.json...]    in the foreground

They are exchange.py's servers, with its logins and files, and answer
RPC_IN_DATA and RPC_OUT_DATA besides, as rpcproxy.dll does: what comes in is
looked at while it comes, and the answer may begin at any time.  What stands in
channel IN is sent out at once on channel OUT of the same name (chan=NAME in
both queries, at the same server).

DIR/requests.jsonl has, beside a line for each request, one for each thing that
happened on a channel: "event" is in (a piece came: bytes), eof (the client has
gone), whole (its body is complete), out (bytes that the client's side has
taken so far), end; with time, server, connection, method and chan.

What a channel may ask for, in its query:
    sim=early:STATUS    IN: answers at once, without reading; then closes
    sim=early:STATUS:N  ... after N bytes
    sim=late:N          answers 200 after N bytes, and goes on reading
    sim=silent          reads, and never answers
    sim=stall           reads nothing, and never answers
    sim=close:N         closes after N bytes without an answer
    sim=chunked         OUT: no length, in chunks
    sim=eof             OUT: no length, ends with the connection
    sim=length:N        OUT: declares N bytes, sends them and ends well
    sim=break:N         OUT: sends N bytes of its gigabyte, and closes
    sim=flood:N         OUT: sends N bytes as fast as they are taken
    sim=forget          answers, and no longer knows by NTLM who this is
    sim=status:TEXT     this status line and no body: "503 RPC Error: 6ba"
    sim=raw:TEXT        reads the body, and answers with just these bytes
    sim=drip            answers with a byte of a status line each second
"""
import asyncio
import hashlib
import signal
import ssl
import sys
import time

import exchange

GIGABYTE = 1 << 30
ECHO = bytes.fromhex('05001403100000001400000000000000400000') + b'\0'
METHODS = ('RPC_IN_DATA', 'RPC_OUT_DATA')
channels = {}  # (server, name) -> the queue of its OUT channel


class RpcServer(exchange.Server):
    async def swallow(self, request, reader):
        if request.method not in METHODS:
            return await super().swallow(request, reader)
        request.reader = reader
        return None

    def think(self, request):
        request.chan = dict(request.query).get('chan', '')
        super().think(request)

    async def send(self, request, answer, writer, number):
        if request.method not in METHODS:
            return await super().send(request, answer, writer, number)
        if 'forget' in request.sim:
            request.link.user = None
        if answer.status != 200 or request.path.startswith('/sim/'):
            await super().send(request, answer, writer, number)
            return await self.rest_is_short(request)
        channel = Channel(self, request, writer, number)
        try:
            return await channel.serve()
        finally:
            channel.event('end')

    @staticmethod
    async def rest_is_short(request):
        """IIS gives up a connection whose request it will not read."""
        length = int(request.get('content-length', '0'))
        if length > 65536:
            return False
        await request.reader.readexactly(length)
        return True


class Channel:
    def __init__(self, server, request, writer, number):
        self.server, self.request, self.writer = server, request, writer
        self.reader, self.number = request.reader, number
        self.left = int(request.get('content-length', '0'))
        self.chunks = 'chunked' in request.get('transfer-encoding').lower()
        self.read, self.digest = 0, hashlib.sha256()
        self.chan = (server.name, request.chan)

    def event(self, what, **more):
        self.server.lab.record(
            event=what, time=time.time(), server=self.server.name,
            connection=self.number, method=self.request.method,
            chan=self.request.chan, **more)

    def head(self, status, *headers):
        self.writer.write(('HTTP/1.1 %s\r\nServer: Microsoft-IIS/7.5\r\n'
                           'X-Backend: %s\r\nX-Backend-Connection: %d\r\n'
                           'Content-Type: application/rpc\r\n%s\r\n' % (
                               status, self.server.name, self.number,
                               ''.join('%s: %s\r\n' % h
                                       for h in headers))).encode())

    async def piece(self, most=65536):
        """What has come of the body; b'': it is complete.  Raises EOFError
        where the client has gone."""
        if self.chunks:
            size = int((await self.reader.readline()).split(b';')[0], 16)
            data = await self.reader.readexactly(size)
            await self.reader.readline()
            self.left = 0 if not size else 1
        else:
            data = await self.reader.read(min(self.left, most)) \
                if self.left else b''
            if self.left and not data:
                self.event('eof')
                raise EOFError
            self.left -= len(data)
        self.read += len(data)
        self.digest.update(data)
        if data:
            self.event('in', bytes=len(data))
            queue = channels.get(self.chan)
            if queue and self.request.method == 'RPC_IN_DATA':
                queue.put_nowait(data)
        else:
            self.event('whole', bytes=self.read, sha=self.digest.hexdigest())
        return data

    async def upto(self, number):
        while self.read < number and await self.piece(number - self.read):
            pass

    async def serve(self):
        sim = self.request.sim
        if 'early' in sim:
            status, _, after = sim['early'].partition(':')
            await self.upto(int(after or 0))
            self.head(status + ' Early', ('Content-Length', '5'))
            self.writer.write(b'early')
            await self.writer.drain()
            return False
        if 'close' in sim:
            await self.upto(int(sim['close']))
            return False
        if 'stall' in sim:
            await asyncio.sleep(3600)
        if 'silent' in sim:
            while await self.piece():
                pass
            await self.gone()
        if 'drip' in sim:
            for byte in b'HTTP/1.1 200 ' + b'x' * 60:
                self.writer.write(bytes([byte]))
                await self.writer.drain()
                await asyncio.sleep(1)
        if 'raw' in sim:
            while await self.piece():
                pass
            self.writer.write(sim['raw'].encode('latin-1'))
            await self.writer.drain()
            return True
        if 'status' in sim:
            self.head(sim['status'], ('Content-Length', '0'))
            return await self.server.rest_is_short(self.request)
        if self.request.method == 'RPC_IN_DATA' or (
                self.left <= 4 and not self.chunks):
            return await self.serve_in(sim)
        return await self.serve_out(sim)

    async def gone(self):
        """Wait for it: the client's next byte would be wrong."""
        if await self.reader.read(1):
            self.event('noise')
        else:
            self.event('eof')
        raise EOFError

    async def serve_in(self, sim):
        echo = self.left == 4
        if 'late' in sim:
            await self.upto(int(sim['late']))
            self.head('200 Success', ('Content-Length', '7'))
            self.writer.write(b'ok')
            await self.writer.drain()
            while await self.piece():
                pass
            self.writer.write(b'whole')
        else:
            while await self.piece():
                pass
            self.head('200 Success',
                      ('Content-Length', len(ECHO) if echo else 0))
            self.writer.write(ECHO if echo else b'')
        await self.writer.drain()
        return True

    async def serve_out(self, sim):
        while await self.piece():
            pass
        if 'length' in sim:
            self.head('200 Success', ('Content-Length', sim['length']))
            await self.pour(int(sim['length']))
            return True
        if 'chunked' in sim:
            self.head('200 Success', ('Transfer-Encoding', 'chunked'))
        elif 'eof' in sim:
            self.head('200 Success', ('Connection', 'close'))
        else:
            self.head('200 Success', ('Content-Length', GIGABYTE))
        await self.writer.drain()
        if 'break' in sim:
            await self.pour(int(sim['break']))
            return False
        if 'flood' in sim:
            await self.pour(int(sim['flood']))
        return await self.pass_on('chunked' in sim)

    async def pour(self, number):
        part = bytes(range(256)) * 64
        sent = told = 0
        while sent < number:
            part = part[:number - sent]
            self.writer.write(part)
            await self.writer.drain()
            sent += len(part)
            if sent - told >= 262144 or sent == number:
                self.event('out', bytes=sent)
                told = sent

    async def pass_on(self, chunked):
        """What the partner gets, until the client goes or b'end' came."""
        queue = channels[self.chan] = asyncio.Queue()
        self.event('ready')
        gone = asyncio.ensure_future(self.gone())
        try:
            while True:
                get = asyncio.ensure_future(queue.get())
                await asyncio.wait({get, gone},
                                   return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    get.cancel()
                    return False
                data = get.result()
                end = data == b'end'
                if chunked:
                    data = b'0\r\n\r\n' if end else \
                        b'%x\r\n%b\r\n' % (len(data), data)
                elif end:
                    data = b''
                self.writer.write(data)
                await self.writer.drain()
                if end:
                    return chunked
        finally:
            if channels.get(self.chan) is queue:
                del channels[self.chan]
            if not gone.done():
                gone.cancel()
            try:
                await gone
            except (asyncio.CancelledError, EOFError, OSError, ssl.SSLError):
                pass


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    exchange.Server = RpcServer
    if len(sys.argv) < 3 or sys.argv[1] != 'run':
        sys.exit(__doc__)
    exchange.main(sys.argv[1:])
