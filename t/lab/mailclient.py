#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""mailclient.py - mail clients, for tests: Python's own libraries.

    t/lab/mailclient.py FILE.json

FILE holds a list of logins, which are made all at the same time:

    protocol   imap, pop3 or smtp
    port       on 127.0.0.1
    from       an address of loopback to come from
    tls        none (the default), starttls, or ssl, verified for "name"
    user, password
    how        login (the default: LOGIN, USER and PASS, AUTH LOGIN), plain
               (AUTH PLAIN, which carries every byte), cram-md5, apop, external,
               none (SMTP: a mail without a logon)
    tries      how often, on one connection (1)
    ca         the file of the lab's CA

It writes a list of what came of them: "ok", "server" (whose message is in
INBOX, or who queued the mail), "said" (the last words of the server, in one
text), "seconds" (of each try), "capabilities".
"""
import base64
import imaplib
import json
import poplib
import re
import smtplib
import socket
import ssl
import sys
import threading
import time

PATIENCE = 40


ORDER = threading.local()
CONNECT = socket.create_connection


def connect(address, timeout=None, *_, **__):
    """The libraries' own, from the address of this thread's order."""
    return CONNECT(address, timeout, (ORDER.source, 0))


socket.create_connection = connect


class Named(ssl.SSLContext):
    """A context that checks the name of the order, not 127.0.0.1."""
    name = None

    def wrap_socket(self, sock, *args, **more):
        more['server_hostname'] = self.name
        return super().wrap_socket(sock, *args, **more)


def named(order):
    made = Named(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(order['ca'])
    made.name = order.get('name', 'mail.contoso.test')
    return made


def sasl_plain(order):
    return b'\0'.join([b'', order['user'].encode(),
                       order['password'].encode()])


def text_of(said):
    if isinstance(said, BaseException):
        said = said.args
    if isinstance(said, (list, tuple)):
        return ' '.join(text_of(s) for s in said)
    return said.decode('utf-8', 'replace') if isinstance(said, bytes) \
        else str(said)


class Imap:
    def __init__(self, order):
        if order.get('tls') == 'ssl':
            self.it = imaplib.IMAP4_SSL('127.0.0.1', order['port'],
                                        ssl_context=named(order),
                                        timeout=PATIENCE)
        else:
            self.it = imaplib.IMAP4('127.0.0.1', order['port'],
                                    timeout=PATIENCE)
        if order.get('tls') == 'starttls':
            self.it.starttls(named(order))
        self.it._encoding = 'utf-8'
        self.capabilities = ' '.join(self.it.capabilities)

    def log_on(self, order):
        how = order.get('how', 'login')
        if how == 'plain':
            return self.it.authenticate('PLAIN', lambda _: sasl_plain(order))
        if how == 'cram-md5':
            return self.it.login_cram_md5(order['user'], order['password'])
        if how == 'external':
            return self.it.authenticate('EXTERNAL',
                                        lambda _: order['user'].encode())
        name = order['user'].replace('\\', '\\\\').replace('"', '\\"')
        return self.it.login('"%s"' % name, order['password'])

    def look(self):
        self.it.select('INBOX', True)
        found = self.it.fetch('1', '(BODY.PEEK[HEADER.FIELDS (SUBJECT)])')
        self.it.logout()
        return text_of(found)


class Pop3:
    def __init__(self, order):
        if order.get('tls') == 'ssl':
            self.it = poplib.POP3_SSL('127.0.0.1', order['port'],
                                      context=named(order), timeout=PATIENCE)
        else:
            self.it = poplib.POP3('127.0.0.1', order['port'], PATIENCE)
        self.it.encoding = 'utf-8'
        if order.get('tls') == 'starttls':
            self.it.stls(named(order))
        self.capabilities = ' '.join(' '.join([k] + v) for k, v in
                                     self.it.capa().items())

    def log_on(self, order):
        how = order.get('how', 'login')
        if how == 'apop':
            return self.it.apop(order['user'], order['password'])
        if how in ('cram-md5', 'external'):
            self.it._shortcmd('AUTH ' + how.upper())
            return self.it._shortcmd(base64.b64encode(
                order['user'].encode() + b' ' + b'0123456789abcdef' * 2
            ).decode())
        if how == 'plain':
            self.it._shortcmd('AUTH PLAIN')
            return self.it._shortcmd(
                base64.b64encode(sasl_plain(order)).decode())
        return self.it.user(order['user']), self.it.pass_(order['password'])

    def look(self):
        found = self.it.top(1, 0)
        self.it.quit()
        return text_of(found[1])


class Smtp:
    def __init__(self, order):
        if order.get('tls') == 'ssl':
            self.it = smtplib.SMTP_SSL('127.0.0.1', order['port'],
                                       context=named(order), timeout=PATIENCE)
        else:
            self.it = smtplib.SMTP('127.0.0.1', order['port'],
                                   timeout=PATIENCE)
        self.it.ehlo('client.contoso.test')
        if order.get('tls') == 'starttls':
            self.it.starttls(context=named(order))
            self.it.ehlo('client.contoso.test')
        self.capabilities = text_of(self.it.ehlo_resp)

    def log_on(self, order):
        how = order.get('how', 'login')
        if how == 'none':
            self.it.mail('you@contoso.test')
            return self.must(*self.it.rcpt('ada@contoso.test'))
        if how == 'plain':
            return self.must(*self.it.docmd('AUTH', 'PLAIN ' + base64.b64encode(
                sasl_plain(order)).decode()))
        if how == 'external':
            return self.must(*self.it.docmd(
                'AUTH', 'EXTERNAL ' + base64.b64encode(
                    order['user'].encode()).decode()))
        if how == 'cram-md5':
            self.it.user, self.it.password = order['user'], order['password']
            return self.it.auth('CRAM-MD5', self.it.auth_cram_md5)
        self.must(*self.it.docmd('AUTH', 'LOGIN ' + base64.b64encode(
            order['user'].encode()).decode()), good=(334,))
        return self.must(*self.it.docmd(base64.b64encode(
            order['password'].encode()).decode()))

    @staticmethod
    def must(code, said, good=(235, 250)):
        if code not in good:
            raise smtplib.SMTPResponseException(code, said)
        return said

    def look(self):
        self.it.mail('you@contoso.test')
        self.it.rcpt('ada@contoso.test')
        code, said = self.it.data(b'Subject: test\r\n\r\nIt is here.\r\n')
        self.it.quit()
        return '%d %s' % (code, text_of(said))


KINDS = {'imap': Imap, 'pop3': Pop3, 'smtp': Smtp}


def one(order, result):
    result.update(ok=False, server='', said='', seconds=[])
    ORDER.source = order.get('from', '127.0.0.1')
    begun = time.monotonic()
    try:
        client = KINDS[order['protocol']](order)
        result['capabilities'] = client.capabilities
        for _ in range(order.get('tries', 1)):
            begun = time.monotonic()
            try:
                result['said'] = text_of(client.log_on(order))
                result['ok'] = True
            except (imaplib.IMAP4.error, poplib.error_proto,
                    smtplib.SMTPException) as error:
                result['said'] = text_of(error)
                if isinstance(error, imaplib.IMAP4.abort):
                    raise
            result['seconds'].append(round(time.monotonic() - begun, 2))
            if result['ok']:
                found = re.search(r'(?:Mailbox on|Queued on) (\S+)',
                                  client.look())
                result['server'] = found.group(1) if found else ''
                return
    except (OSError, imaplib.IMAP4.error, poplib.error_proto,
            smtplib.SMTPException, EOFError) as error:
        result['seconds'].append(round(time.monotonic() - begun, 2))
        result['ended'] = '%s: %s' % (type(error).__name__, text_of(error))


def main(path):
    with open(path, encoding='utf-8') as text:
        orders = json.load(text)
    results = [{} for _ in orders]
    threads = [threading.Thread(target=one, args=pair, daemon=True)
               for pair in zip(orders, results)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    json.dump(results, sys.stdout)


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
