#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""ewsclient.py - python3-exchangelib reads an inbox through the front.

    PASSWORD=... REQUESTS_CA_BUNDLE=ca.pem
    t/lab/ewsclient.py PORT FRONT basic|ntlm USER ADDRESS [impersonate]

Every name leads to PORT of 127.0.0.1.  Says in JSON what it found: folder,
subjects, text of the message; or error.
"""
import json
import os
import socket
import sys

import exchangelib
import urllib3.util.connection as connection


def lead_to(port):
    """Names are those of real life, and no resolver knows them."""
    def connect(_address, timeout=30, *_args, **_more):
        return socket.create_connection(
            ('127.0.0.1', port),
            timeout if isinstance(timeout, (int, float)) else 30)
    connection.create_connection = connect


def read(front, how, user, address, access):
    account = exchangelib.Account(
        primary_smtp_address=address, autodiscover=False, access_type=access,
        config=exchangelib.Configuration(
            service_endpoint='https://%s.contoso.test/EWS/Exchange.asmx'
            % front,
            # asked for by itself, it asks with no mailbox named
            version=exchangelib.Version(exchangelib.version.EXCHANGE_2010_SP2)
            if access == exchangelib.IMPERSONATION else None,
            auth_type={'basic': exchangelib.BASIC,
                       'ntlm': exchangelib.NTLM}[how],
            retry_policy=exchangelib.FailFast(),
            credentials=exchangelib.Credentials(user,
                                                os.environ['PASSWORD'])))
    inbox = account.inbox
    items = list(inbox.all().only('subject', 'mime_content'))
    return dict(folder=inbox.name, count=inbox.total_count,
                subjects=[i.subject for i in items],
                text=''.join(i.mime_content.decode() for i in items))


def main(port, front, how, user, address, *more):
    lead_to(int(port))
    try:
        said = read(front, how, user, address, exchangelib.IMPERSONATION
                    if more else exchangelib.DELEGATE)
    except Exception as failed:  # whatever it is: the test says so
        said = dict(error='%s: %s' % (type(failed).__name__, failed))
    print(json.dumps(said))


if __name__ == '__main__':
    main(*sys.argv[1:])
