#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""faultldap.py DIR [TARGET_HOST:PORT] - LDAP servers that misbehave.

Stays in the foreground until TERM; writes DIR/env with one address for each
manner, and DIR/pid.  Loopback only.

    FAULT_HUNG       accepts, and never says a word (plain; with ldaps:// it
                     is a TLS handshake that hangs)
    FAULT_BACKLOG    does not even accept
    FAULT_HALFTLS    answers a TLS hello with half a record, then hangs
    FAULT_GARBAGE    answers everything with noise
    FAULT_CLOSE      closes at once
    FAULT_RESET      resets at once
    FAULT_AFTER      passes bytes to TARGET, closes after 4 KiB came back
    FAULT_SLOW       passes bytes to TARGET, each answer 2 seconds late
    FAULT_STALL      passes bytes to TARGET; answers stop for good 1 second
                     after the connection was made, as a cut cable does
    FAULT_REFUSED    nobody listens there
    FAULT_SWITCH     passes bytes to TARGET; manner as DIR/switch says:
                     pass (the default), hung, close, garbage, halftls,
                     after; asked for each new connection
The passing ones need TARGET; they serve plain LDAP and ldaps:// alike.
"""
import os
import random
import signal
import socket
import struct
import sys
import threading
import time


def listener():
    while True:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(('127.0.0.1', random.randint(20000, 31999)))
            return sock
        except OSError:
            sock.close()


def hung(client):
    while client.recv(65536):
        pass


def halftls(client):
    client.recv(65536)
    client.sendall(b'\x16\x03\x03\x40\x00\x02')  # of 16384 bytes: one
    hung(client)


def garbage(client):
    while client.recv(65536):
        client.sendall(random.randbytes(512))


def close(client):
    pass


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                      struct.pack('ii', 1, 0))


def passing(target, late=0.0, limit=None, stall=None):
    """A manner that passes bytes both ways, and errs on the way back."""
    def serve(client):
        server = socket.create_connection(target, 5)
        server.settimeout(None)
        began = time.monotonic()

        def back():
            count = 0
            try:
                while True:
                    data = server.recv(65536)
                    count += len(data)
                    if not data or (limit and count > limit):
                        break
                    if stall and time.monotonic() - began > stall:
                        continue
                    time.sleep(late)
                    client.sendall(data)
            except OSError:
                pass
            shut(client)

        thread = threading.Thread(target=back, daemon=True)
        thread.start()
        try:
            while True:
                data = client.recv(65536)
                if not data:
                    break
                server.sendall(data)
        finally:
            shut(server)
            thread.join()
            server.close()
    return serve


def switch(folder, target):
    def serve(client):
        manner = 'pass'
        try:
            with open(folder + '/switch', encoding='ascii') as text:
                manner = text.read().strip()
        except OSError:
            pass
        dict(hung=hung, close=close, garbage=garbage, halftls=halftls,
             after=passing(target, limit=4096)).get(
                 manner, passing(target))(client)
    return serve


def shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def serve_all(sock, manner):
    def one(client):
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            manner(client)
        except OSError:
            pass
        client.close()
    while True:
        client, _ = sock.accept()
        threading.Thread(target=one, args=(client,), daemon=True).start()


def main(words):
    if not words or words[0].startswith('-'):
        sys.exit(__doc__)
    folder = os.path.abspath(words[0])
    os.makedirs(folder, exist_ok=True)
    manners = dict(HUNG=hung, HALFTLS=halftls, GARBAGE=garbage, CLOSE=close,
                   RESET=reset)
    if len(words) > 1:
        host, _, port = words[1].rpartition(':')
        target = (host, int(port))
        manners.update(AFTER=passing(target, limit=4096),
                       SLOW=passing(target, late=2.0),
                       STALL=passing(target, stall=1.0),
                       SWITCH=switch(folder, target))
    env = {}
    for name, manner in manners.items():
        sock = listener()
        sock.listen(128)
        env[name] = sock.getsockname()
        threading.Thread(target=serve_all, args=(sock, manner),
                         daemon=True).start()
    full = listener()
    full.listen(0)  # and never accepted: two fill it
    env['BACKLOG'] = full.getsockname()
    fillers = []
    for _ in range(2):
        fillers.append(socket.socket())
        fillers[-1].setblocking(False)
        fillers[-1].connect_ex(full.getsockname())
    gone = listener()  # bound, never listening
    env['REFUSED'] = gone.getsockname()
    with open(folder + '/pid', 'w', encoding='ascii') as out:
        out.write('%d\n' % os.getpid())
    with open(folder + '/.env', 'w', encoding='ascii') as out:
        out.write(''.join("FAULT_%s='%s:%d'\n" % (n, *a)
                          for n, a in env.items()))
    os.rename(folder + '/.env', folder + '/env')
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == '__main__':
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(sys.argv[1:])
