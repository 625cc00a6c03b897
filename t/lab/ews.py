# Licensed under the Apache License, Version 2.0; see LICENSE.
"""ews.py - Exchange Web Services, as much of them as a mail program needs to
log on and to open an inbox with one message in it.

It thinks about a SOAP request and says the SOAP answer; exchange.py does the
talking.  No state is kept: a message that was read is unread the next time.
What is not known here is answered with a fault, as Exchange does.
"""
import base64
import xml.etree.ElementTree as tree
from xml.sax.saxutils import escape, quoteattr

SOAP = 'http://schemas.xmlsoap.org/soap/envelope/'
TYPES = 'http://schemas.microsoft.com/exchange/services/2006/types'
MESSAGES = 'http://schemas.microsoft.com/exchange/services/2006/messages'
KIND = 'text/xml; charset=utf-8'  # programs compare it letter by letter
LIMIT = 256 * 1024  # bytes of a request that are looked at
SCHEMA = {'2007': 'Exchange2007_SP1', '2010': 'Exchange2010_SP2',
          '2013': 'Exchange2013', '2016': 'Exchange2016',
          '2019': 'Exchange2016'}
# Well-known folders: what they are called, what they hold
FOLDERS = {
    'root': ('Root', ''), 'msgfolderroot': ('Top of Information Store', ''),
    'inbox': ('Inbox', 'IPF.Note'), 'sentitems': ('Sent Items', 'IPF.Note'),
    'drafts': ('Drafts', 'IPF.Note'), 'outbox': ('Outbox', 'IPF.Note'),
    'deleteditems': ('Deleted Items', 'IPF.Note'),
    'junkemail': ('Junk E-Mail', 'IPF.Note'),
    'calendar': ('Calendar', 'IPF.Appointment'),
    'contacts': ('Contacts', 'IPF.Contact'), 'tasks': ('Tasks', 'IPF.Task'),
}
SORT = {'IPF.Appointment': 'CalendarFolder', 'IPF.Contact': 'ContactsFolder',
        'IPF.Task': 'TasksFolder'}
RECEIVED = '2010-11-09T08:00:00Z'


class Fault(Exception):
    """What cannot be answered: its code and a sentence about it."""


def local(element):
    return element.tag.rpartition('}')[2]


def every(element, name):
    return [e for e in element.iter() if local(e) == name]


class Mailbox:
    """The mailbox of one user on one server."""

    def __init__(self, address, server, version, build):
        self.address, self.server = address, server
        self.version, self.build = version, build

    # ------------------------------------------------------------ its content

    def mime(self):
        return ('Message-ID: <welcome.%s>\r\nFrom: postmaster@contoso.test\r\n'
                'To: %s\r\nSubject: Welcome\r\n'
                'Date: Tue, 9 Nov 2010 08:00:00 +0000\r\nMIME-Version: 1.0\r\n'
                'Content-Type: text/plain; charset=us-ascii\r\n\r\n'
                'This is the mailbox of %s on %s.\r\n' % (
                    self.address, self.address, self.address, self.server)
                ).encode()

    def key(self, name):
        """An id that leads back to what it names."""
        return base64.b64encode(('%s|%s' % (self.address, name)).encode()
                                ).decode()

    def named(self, element):
        """The well-known name of a FolderId or DistinguishedFolderId."""
        name = element.get('Id', '')
        if local(element) == 'FolderId':
            try:
                name = base64.b64decode(name, validate=True).decode(
                    ).rpartition('|')[2]
            except ValueError:
                name = ''
        return name.lower()

    def folder(self, name):
        title, holds = FOLDERS[name]
        sort = SORT.get(holds, 'Folder')
        full = 1 if name == 'inbox' else 0
        return ('<t:{0}><t:FolderId Id="{1}" ChangeKey="AQ=="/>'
                '<t:ParentFolderId Id="{2}" ChangeKey="AQ=="/>{3}'
                '<t:DisplayName>{4}</t:DisplayName>'
                '<t:TotalCount>{5}</t:TotalCount>'
                '<t:ChildFolderCount>0</t:ChildFolderCount>{6}'
                '</t:{0}>').format(
                    sort, self.key(name), self.key('msgfolderroot'),
                    '<t:FolderClass>%s</t:FolderClass>' % holds if holds
                    else '', title, full,
                    # calendars have no such count
                    '' if sort == 'CalendarFolder' else
                    '<t:UnreadCount>%d</t:UnreadCount>' % full)

    def message(self, asked):
        """The one message, with the fields that were asked for."""
        wanted = {f.get('FieldURI') for f in every(asked, 'FieldURI')}
        if any(e.text == 'true' for e in every(asked, 'IncludeMimeContent')):
            wanted.add('item:MimeContent')
        mime = self.mime()
        fields = (  # in the order of the schema
            ('item:MimeContent', '<t:MimeContent CharacterSet="UTF-8">%s'
             '</t:MimeContent>' % base64.b64encode(mime).decode()),
            (None, '<t:ItemId Id="%s" ChangeKey="AQ=="/>'
             % self.key('welcome')),
            ('item:ItemClass', '<t:ItemClass>IPM.Note</t:ItemClass>'),
            ('item:Subject', '<t:Subject>Welcome</t:Subject>'),
            ('item:DateTimeReceived', '<t:DateTimeReceived>%s'
             '</t:DateTimeReceived>' % RECEIVED),
            ('item:Size', '<t:Size>%d</t:Size>' % len(mime)),
            (None, self.properties(asked, len(mime))),
            ('message:IsRead', '<t:IsRead>false</t:IsRead>'))
        return '<t:Message>%s</t:Message>' % ''.join(
            text for name, text in fields if name is None or name in wanted)

    @staticmethod
    def properties(asked, size):
        """MAPI properties, where they are asked for by their tag."""
        known = {0x0e23: 1, 0x0e08: size, 0x1083: 1}  # IMAP's UID, the size
        out = []
        for field in every(asked, 'ExtendedFieldURI'):
            tag = field.get('PropertyTag', '')
            try:
                value = known[int(tag, 0)]
            except (ValueError, KeyError):
                continue
            out.append('<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag='
                       '%s PropertyType=%s/><t:Value>%d</t:Value>'
                       '</t:ExtendedProperty>' % (
                           quoteattr(tag),
                           quoteattr(field.get('PropertyType', 'Integer')),
                           value))
        return ''.join(out)

    # ------------------------------------------------------------- operations

    def folders(self, asked):
        """Each folder that is asked for: (name, is it one)."""
        for element in asked.iter():
            if local(element) in ('FolderId', 'DistinguishedFolderId'):
                name = self.named(element)
                yield name, name in FOLDERS

    def get_folder(self, asked):
        return [('GetFolder', '<m:Folders>%s</m:Folders>' % self.folder(name)
                 if there else None) for name, there in self.folders(asked)]

    def find_folder(self, asked):
        return [('FindFolder', '<m:RootFolder TotalItemsInView="0" '
                 'IncludesLastItemInRange="true"><t:Folders/></m:RootFolder>'
                 if there else None) for _, there in self.folders(asked)]

    def find_item(self, asked):
        return [('FindItem', self.found(asked, name == 'inbox') if there
                 else None) for name, there in self.folders(asked)]

    def found(self, asked, full):
        return ('<m:RootFolder TotalItemsInView="{0:d}" '
                'IndexedPagingOffset="{0:d}" IncludesLastItemInRange="true">'
                '<t:Items>{1}</t:Items></m:RootFolder>'.format(
                    full, self.message(asked) if full else ''))

    def get_item(self, asked):
        return [('GetItem', '<m:Items>%s</m:Items>' % self.message(asked)
                 if item.get('Id') == self.key('welcome') else None)
                for item in every(asked, 'ItemId')]

    def update_item(self, asked):
        """Taken note of, and forgotten."""
        return [('UpdateItem', '<m:Items><t:Message><t:ItemId Id=%s '
                 'ChangeKey="AQ=="/></t:Message></m:Items>'
                 % quoteattr(item.get('Id', '')))
                for item in every(asked, 'ItemId')]

    def convert_id(self, asked):
        """Whose mailbox an id belongs to; programs learn the address so."""
        return [('ConvertId', '<m:AlternateId xsi:type="t:AlternateIdType" '
                 'Format=%s Id=%s Mailbox=%s/>' % (
                     quoteattr(asked.get('DestinationFormat', 'EwsId')),
                     quoteattr(i.get('Id', '')), quoteattr(self.address)))
                for i in every(asked, 'AlternateId')]

    def resolve_names(self, _):
        return [('ResolveNames', '<m:ResolutionSet TotalItemsInView="1" '
                 'IncludesLastItemInRange="true"><t:Resolution><t:Mailbox>'
                 '<t:Name>{0}</t:Name><t:EmailAddress>{0}</t:EmailAddress>'
                 '<t:RoutingType>SMTP</t:RoutingType><t:MailboxType>Mailbox'
                 '</t:MailboxType></t:Mailbox></t:Resolution>'
                 '</m:ResolutionSet>'.format(escape(self.address)))]

    def availability(self, asked):
        """Everybody is free, whoever they are."""
        return ''.join(
            '<FreeBusyResponse><ResponseMessage ResponseClass="Success">'
            '<ResponseCode>NoError</ResponseCode></ResponseMessage>'
            '<FreeBusyView><t:FreeBusyViewType>MergedOnly'
            '</t:FreeBusyViewType><t:MergedFreeBusy>0000</t:MergedFreeBusy>'
            '</FreeBusyView></FreeBusyResponse>'
            for _ in every(asked, 'MailboxData'))

    # ---------------------------------------------------------------- answers

    OPERATIONS = {'GetFolder': get_folder, 'FindFolder': find_folder,
                  'FindItem': find_item, 'GetItem': get_item,
                  'UpdateItem': update_item, 'ConvertId': convert_id,
                  'ResolveNames': resolve_names}

    def response(self, operation, body):
        if body is None:
            return ('<m:%sResponseMessage ResponseClass="Error">'
                    '<m:MessageText>The specified object was not found in '
                    'the store.</m:MessageText><m:ResponseCode>'
                    'ErrorItemNotFound</m:ResponseCode>'
                    '<m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>'
                    '</m:%sResponseMessage>' % (operation, operation))
        return ('<m:%sResponseMessage ResponseClass="Success">'
                '<m:ResponseCode>NoError</m:ResponseCode>%s'
                '</m:%sResponseMessage>' % (operation, body, operation))

    def envelope(self, body):
        build = self.build.split('.')
        header = ('<t:ServerVersionInfo MajorVersion="%s" MinorVersion="%s" '
                  'MajorBuildNumber="%s" MinorBuildNumber="%s" Version="%s"/>'
                  % (*build, SCHEMA.get(self.version, SCHEMA['2010'])))
        return ('<?xml version="1.0" encoding="utf-8"?>'
                '<s:Envelope xmlns:s="%s" xmlns:m="%s" xmlns:t="%s" '
                'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
                '<s:Header>%s</s:Header><s:Body>%s</s:Body></s:Envelope>' % (
                    SOAP, MESSAGES, TYPES, header, body))

    def impersonate(self, envelope):
        """The mailbox of somebody else; here everybody may."""
        for sid in envelope.findall(
                '{%s}Header/{%s}ExchangeImpersonation/{%s}ConnectingSID/*' % (
                    SOAP, TYPES, TYPES)):
            if local(sid) in ('PrimarySmtpAddress', 'SmtpAddress',
                              'PrincipalName'):
                self.address = sid.text.strip().lower()

    def think(self, text):
        try:
            envelope = tree.fromstring(text)
        except tree.ParseError as broken:
            raise Fault('ErrorSchemaValidation', str(broken)) from broken
        body = envelope.find('{%s}Body' % SOAP)
        if body is None or not len(body):
            raise Fault('ErrorSchemaValidation', 'no operation in it')
        asked = body[0]
        name = local(asked)
        self.impersonate(envelope)
        if name == 'GetUserAvailabilityRequest':
            return self.envelope(
                '<GetUserAvailabilityResponse xmlns="%s">'
                '<FreeBusyResponseArray>%s</FreeBusyResponseArray>'
                '</GetUserAvailabilityResponse>' % (
                    MESSAGES, self.availability(asked)))
        if name not in self.OPERATIONS:
            raise Fault('ErrorInvalidOperation', '%s is not offered' % name)
        return self.envelope(
            '<m:{0}Response><m:ResponseMessages>{1}</m:ResponseMessages>'
            '</m:{0}Response>'.format(name, ''.join(
                self.response(*each) for each in
                self.OPERATIONS[name](self, asked))))

    def answer(self, text):
        """Status and body for a request's body."""
        try:
            return 200, self.think(text)
        except Fault as fault:
            code, why = fault.args
            return 500, self.envelope(
                '<s:Fault><faultcode>s:Client</faultcode><faultstring>%s'
                '</faultstring><detail><e:ResponseCode xmlns:e="http://schemas'
                '.microsoft.com/exchange/services/2006/errors">%s'
                '</e:ResponseCode></detail></s:Fault>' % (escape(why), code))
