#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""easclient.py URL STATE COMMAND... - a telephone, as small as they come.

    options             which versions and commands there are
    foldersync          the folders
    sync[:FOLDER]       what is new in a folder (INBOX), to the last of it
    ping:SECONDS[:FOLDER]   wait for news of a folder that was synchronised

It speaks ActiveSync to the server at URL; libwbxml's xml2wbxml and wbxml2xml
make and read what it says.  Where the server wants it to be provisioned (449,
or a status of 142 to 144), it accepts the policy and asks again.  All commands
go over one connection.  STATE is a file: what the telephone remembers, folders
and keys, from one call to the next.  For each request one line of JSON:

    command, test   and its Test-Id
    http, seconds   status, and how long it took from the request on
    headers         of the answer, names in lower case
    status          of ActiveSync, where there is one
    xml             what the WBXML holds; folders, key, subjects from it
    error           what is wrong with the answer

Environment: EAS_USER, EAS_PASSWORD; EAS_HOST (the name to ask for, where URL
has an address), EAS_CA (a file; else any certificate will do), EAS_VERSION
(14.1), EAS_DEVICE (hexadecimal digits, capitals), EAS_BASE64 (1: the query
packed, as telephones of today have it).
"""
import base64
import http.client
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as tree

PATH = '/Microsoft-Server-ActiveSync'
TYPE = 'application/vnd.ms-sync.wbxml'
HEAD = ('<?xml version="1.0"?><!DOCTYPE ActiveSync PUBLIC '
        '"-//MICROSOFT//DTD ActiveSync//EN" "http://www.microsoft.com/">')
CODES = {'Sync': 0, 'FolderSync': 9, 'Ping': 18, 'Provision': 20}
PATIENCE = 90  # for an answer, beyond what a Ping asks for


def convert(*command, data):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode or not done.stdout:
        raise ValueError('%s: %s' % (command[0], done.stderr.decode(
            errors='replace').strip()))
    return done.stdout


def to_wbxml(text):
    """As telephones write it: no name of the language, no string table."""
    return convert('xml2wbxml', '-v', '1.3', '-a', '-n', '-o', '-', '-',
                   data=(HEAD + text).encode())


def to_xml(data):
    return convert('wbxml2xml', '-m', '0', '-l', 'ACTIVESYNC', '-o', '-',
                   '-', data=data).decode()


class Connection(http.client.HTTPConnection):
    """TLS, to an address, for a name."""

    def __init__(self, url, name):
        super().__init__(url.hostname, url.port, timeout=PATIENCE)
        self.secure, self.name = url.scheme == 'https', name

    def connect(self):
        super().connect()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.secure:
            return
        if 'EAS_CA' in os.environ:
            context = ssl.create_default_context(cafile=os.environ['EAS_CA'])
        else:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock, server_hostname=self.name)


class Telephone:
    def __init__(self, url, state):
        self.url = urllib.parse.urlsplit(url)
        self.name = os.environ.get('EAS_HOST', self.url.hostname)
        self.user = os.environ.get('EAS_USER', '')
        self.version = os.environ.get('EAS_VERSION', '14.1')
        self.device = os.environ.get('EAS_DEVICE', 'CA5B0001')
        self.path, self.known = state, dict(folders={}, keys={}, tree='0',
                                            policy=0)
        if os.path.exists(state):
            with open(state, encoding='utf-8') as text:
                self.known.update(json.load(text))
        self.line = Connection(self.url, self.name)

    def save(self):
        with open(self.path + '.part', 'w', encoding='utf-8') as out:
            json.dump(self.known, out)
        os.rename(self.path + '.part', self.path)

    def query(self, command):
        if os.environ.get('EAS_BASE64'):
            def counted(data):
                return bytes([len(data)]) + data
            policy = struct.pack('<I', self.known['policy'])
            raw = struct.pack('<BBH', round(float(self.version) * 10),
                              CODES[command], 0x0407) \
                + counted(bytes.fromhex(self.device)) + counted(policy) \
                + counted(b'Lab')
            return base64.b64encode(raw).decode()
        return urllib.parse.urlencode(dict(
            Cmd=command, User=self.user, DeviceId=self.device,
            DeviceType='Lab'))

    def send(self, method, command, body=None, wait=0):
        test = uuid.uuid4().hex
        logon = '%s:%s' % (self.user, os.environ.get('EAS_PASSWORD', ''))
        headers = {
            'Host': self.name, 'Test-Id': test, 'User-Agent': 'Lab/1.0',
            'Authorization': 'Basic ' + base64.b64encode(
                logon.encode()).decode()}
        target = PATH
        if body is not None:
            headers.update({'Content-Type': TYPE,
                            'Content-Length': str(len(body))})
            target += '?' + self.query(command)
            if not os.environ.get('EAS_BASE64'):
                headers['MS-ASProtocolVersion'] = self.version
                headers['X-MS-PolicyKey'] = str(self.known['policy'])
        if self.line.sock:
            self.line.sock.settimeout(PATIENCE + wait)
        begin = time.monotonic()
        told = dict(command=command, test=test)
        try:
            self.line.request(method, target, body, headers)
            self.line.sock.settimeout(PATIENCE + wait)
            answer = self.line.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as why:
            self.line.close()
            return dict(told, http=0, error=repr(why))
        told.update(http=answer.status,
                    seconds=round(time.monotonic() - begin, 2),
                    headers={k.lower(): v for k, v in answer.getheaders()})
        if answer.status == 200 and data and body is not None:
            self.read(told, data)
        elif data and answer.status == 200:
            told['error'] = 'a body of %d bytes' % len(data)
        return told

    def read(self, told, data):
        if told['headers'].get('content-type') != TYPE:
            told['error'] = 'the answer is no WBXML'
            return
        try:
            told['xml'] = to_xml(data)
            told['tree'] = tree.fromstring(told['xml'])
        except (ValueError, tree.ParseError) as why:
            told['error'] = str(why)
            return
        status = find(told['tree'], 'Status')
        if status:
            told['status'] = int(status[0])

    def ask(self, command, text, wait=0):
        """A command, after a provisioning where the server wants one."""
        told = self.send('POST', command, to_wbxml(text), wait)
        if told['http'] == 449 or 142 <= told.get('status', 0) <= 144:
            tell(told)
            self.provision()
            told = self.send('POST', command, to_wbxml(text), wait)
        return told

    def provision(self):
        done = ''
        for _ in 'offer', 'acceptance':
            told = self.send('POST', 'Provision', to_wbxml(
                '<Provision xmlns="Provision:"><Policies><Policy><PolicyType>'
                'MS-EAS-Provisioning-WBXML</PolicyType>%s</Policy></Policies>'
                '</Provision>' % done))
            key = find(told.get('tree'), 'PolicyKey')
            tell(told)
            if not key:
                break
            self.known['policy'] = int(key[0])
            done = '<PolicyKey>%s</PolicyKey><Status>1</Status>' % key[0]

    # ---------------------------------------------------------- commands

    def options(self):
        tell(self.send('OPTIONS', 'OPTIONS'))

    def foldersync(self):
        told = self.ask('FolderSync', '<FolderSync xmlns="FolderHierarchy:">'
                        '<SyncKey>%s</SyncKey></FolderSync>'
                        % self.known['tree'])
        answer = told.get('tree')
        if told.get('status') == 1:
            self.known['tree'] = find(answer, 'SyncKey')[0]
            self.known['folders'].update(zip(find(answer, 'DisplayName'),
                                             find(answer, 'ServerId')))
        tell(dict(told, folders=self.known['folders']))

    def sync(self, folder='INBOX'):
        """Until there is nothing new: then the answer has no body.  A folder's
        first key brings nothing but the next one."""
        where = self.known['folders'][folder]
        for _ in range(8):
            key = self.known['keys'].get(folder, '0')
            more = '' if key == '0' else '<GetChanges>1</GetChanges>' \
                '<WindowSize>20</WindowSize>'
            told = self.ask('Sync', '<Sync xmlns="AirSync:"><Collections>'
                            '<Collection><SyncKey>%s</SyncKey><CollectionId>'
                            '%s</CollectionId>%s</Collection></Collections>'
                            '</Sync>' % (key, where, more), wait=30)
            keys = find(told.get('tree'), 'SyncKey')
            if keys:
                self.known['keys'][folder] = keys[0]
            tell(dict(told, key=(keys or [None])[0],
                      subjects=find(told.get('tree'), 'Subject')))
            if told['http'] != 200 or not keys:
                break

    def ping(self, seconds, folder='INBOX'):
        where = self.known['folders'][folder]
        tell(self.ask('Ping', '<Ping xmlns="Ping:"><HeartbeatInterval>%d'
                      '</HeartbeatInterval><Folders><Folder><Id>%s</Id>'
                      '<Class>Email</Class></Folder></Folders></Ping>'
                      % (int(seconds), where), wait=int(seconds)))


def find(answer, name):
    """The texts of all elements of this name, whatever their namespace."""
    return [] if answer is None else [
        one.text or '' for one in answer.iter()
        if one.tag.rsplit('}', 1)[-1] == name]


def tell(told):
    print(json.dumps({k: v for k, v in told.items() if k != 'tree'}),
          flush=True)


def main(words):
    if len(words) < 3:
        sys.exit(__doc__)
    telephone = Telephone(*words[:2])
    for word in words[2:]:
        name, *more = word.split(':')
        if name not in ('options', 'foldersync', 'sync', 'ping'):
            sys.exit(__doc__)
        try:
            getattr(telephone, name)(*more)
        except KeyError as folder:
            sys.exit('easclient.py: no folder %s: foldersync first' % folder)
        telephone.save()


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback on Ctrl-C
    main(sys.argv[1:])
