#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""discoclient.py - what an Autodiscover answer says, and a client that looks
for one.

    t/lab/discoclient.py read FILE...
        the answers as JSON: "Account/EXPR/EwsUrl": "https://..."
    PASSWORD=... REQUESTS_CA_BUNDLE=ca.pem
    t/lab/discoclient.py find PLAIN TLS USER ADDRESS HOST...
        python3-exchangelib finds the mailbox's web services: names lead to
        these two ports of 127.0.0.1; only HOST:80 or HOST:443 are there
"""
import json
import logging
import os
import socket
import sys
import xml.etree.ElementTree as tree


def local(tag):
    return tag.split('}')[-1]


def walk(element, path, said):
    """A Protocol goes by its type; every text once, by its path."""
    kind = next((c.text for c in element if local(c.tag) == 'Type'),
                element.get('Type'))
    name = kind if local(element.tag) == 'Protocol' else local(element.tag)
    path = path + '/' + name if path else name
    for key, value in element.attrib.items():
        said['%s@%s' % (path, key)] = value
    if len(element) == 0:
        said.setdefault(path, element.text or '')
    for child in element:
        walk(child, path, said)


def read(files):
    for name in files:
        said = {}
        try:
            with open(name, 'rb') as answer:
                root = tree.fromstring(answer.read())
            response = root[0]
            said['root'], said['space'] = root.tag, response.tag
            for child in response:
                walk(child, '', said)
        except (tree.ParseError, IndexError) as wrong:
            said['wrong'] = str(wrong)
        print(json.dumps(said))


def find(plain, tls, user, address, *hosts):
    import exchangelib
    import urllib3.util.connection as connection
    from exchangelib.autodiscover.discovery import base, pox
    logging.disable(logging.CRITICAL)
    asked = []

    def connect(to, timeout=30, *_args, **_more):
        host, port = to[0].lower(), to[1]
        asked.append('%s:%d' % (host, port))
        if asked[-1] not in hosts:
            raise ConnectionRefusedError(111, 'Connection refused')
        return socket.create_connection(
            ('127.0.0.1', int(tls if port == 443 else plain)),
            timeout if isinstance(timeout, (int, float)) else 30)

    connection.create_connection = connect
    exchangelib.autodiscover.protocol.AutodiscoverProtocol.TIMEOUT = 10
    work = pox.PoxAutodiscovery
    work.INITIAL_RETRY_POLICY = exchangelib.FailFast()
    work.RETRY_WAIT = 0
    base.BaseAutodiscovery._is_valid_hostname = lambda *_: True
    base.BaseAutodiscovery._ensure_valid_hostname = lambda *_: None
    base.BaseAutodiscovery._get_srv_records = lambda *_: []
    try:
        found, _ = pox.discover(
            address, credentials=exchangelib.Credentials(
                user, os.environ['PASSWORD']))
        said = dict(ews=found.protocol.ews_url, address=found.autodiscover_smtp_address)
    except Exception as failed:  # whatever it is: the test says so
        said = dict(error='%s: %s' % (type(failed).__name__, failed))
    print(json.dumps(dict(said, asked=asked)))


if __name__ == '__main__':
    {'read': lambda *files: read(files), 'find': find}[sys.argv[1]](
        *sys.argv[2:])
