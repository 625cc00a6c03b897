#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""channels.py - many channels of Outlook Anywhere, and how quick they are.

    t/bench/channels.py ADDRESS PORT HOST AUTHORIZATION PAIRS ROUNDS

Opens PAIRS pairs of RPC_IN_DATA and RPC_OUT_DATA by TLS, a gigabyte declared
in each, and writes lines of JSON: "opened" with the milliseconds until the
heads of the answers were there, "rounds" with the milliseconds from a piece
being sent on an IN to its coming out of the partner's OUT, while all others
stand idle, and "idle" when nothing moves any more.  A line on its input ends
it.
"""
import asyncio
import json
import ssl
import sys
import time

TARGET = '/rpc/rpcproxy.dll?ber-mbx1.contoso.test:6001&chan='


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
tls.check_hostname = False
tls.verify_mode = ssl.CERT_NONE


class Pair:
    def __init__(self, server, host, authorization, name):
        self.server, self.host, self.name = server, host, name
        self.authorization = authorization

    async def channel(self, method, length, body=b''):
        reader, writer = await asyncio.open_connection(
            *self.server, ssl=tls, server_hostname=self.host)
        writer.write(('%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: MSRPC\r\n'
                      'Accept: application/rpc\r\nAuthorization: %s\r\n'
                      'Content-Length: %d\r\n\r\n' % (
                          method, TARGET, self.name, self.host,
                          self.authorization, length)).encode() + body)
        return reader, writer

    async def open(self):
        start = time.perf_counter()
        self.out, self.out_writer = await self.channel(
            'RPC_OUT_DATA', 76, b'o' * 76)
        head = await self.out.readuntil(b'\r\n\r\n')
        took = time.perf_counter() - start
        if not head.startswith(b'HTTP/1.1 200'):
            raise SystemExit(head.decode())
        self.in_reader, self.in_ = await self.channel('RPC_IN_DATA', 1 << 30)
        return took

    async def round(self, piece):
        start = time.perf_counter()
        self.in_.write(piece)
        try:
            await asyncio.wait_for(self.out.readexactly(len(piece)), 10)
        except asyncio.TimeoutError:
            raise SystemExit('%s: %s' % (
                self.name, await self.in_reader.read(1000))) from None
        return time.perf_counter() - start


def tell(what, times=()):
    print(json.dumps({'what': what, 'ms': [round(t * 1000, 3)
                                           for t in times]}), flush=True)


async def main(address, port, host, authorization, pairs, rounds):
    all_of_them = [Pair((address, int(port)), host, authorization, 'b%d' % n)
                   for n in range(int(pairs))]
    times = []
    for pair in all_of_them:
        times.append(await pair.open())
    tell('opened', times)
    for pair in all_of_them:  # each has been used
        await pair.round(b'x' * 104)
    step = max(1, len(all_of_them) // int(rounds))
    tell('rounds', [await all_of_them[n * step % len(all_of_them)].round(
        b'y' * 104) for n in range(int(rounds))])
    await asyncio.sleep(1)
    tell('idle')
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == '__main__':
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
