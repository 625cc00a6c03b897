#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""org.py - the sample organisation Contoso, told once and written many ways.

    org.py export [--crlf] [N]   an LDIF export, as ldifde writes one
    org.py ad                    changes that make a fresh AD domain Contoso
    org.py slapd [N]             entries for slapadd, N further users
    org.py servers               the servers to simulate, JSON for exchange.py
    org.py table                 the users as a Markdown table
    org.py who [N]               the users (the first N), for people

It only tells what the directory holds; it starts nothing.  The column
"/owa gives" is what the rules say for a 2010SP2 front in Berlin whose own URL
is https://mail.contoso.test/owa, with Basic and manual cross-site redirects.
"""
import base64
import json
import sys
import uuid

from mkschema import classes

PASSWORD = 'Sample-Passw0rd'  # of every account in the lab
DOMAIN, DNS, BASE = 'CONTOSO', 'contoso.test', 'DC=contoso,DC=test'
SID = 'S-1-5-21-1004336348-1177238915-682003330'
CONFIG = 'CN=Configuration,' + BASE
SITES_DN = 'CN=Sites,' + CONFIG
ORG = 'CN=Contoso,CN=Microsoft Exchange,CN=Services,' + CONFIG
NEW = 'Exchange Administrative Group (FYDIBOHF23SPDLT)'
OLD = 'First Administrative Group'
PEOPLE = 'OU=Mailboxes,' + BASE

SITES = {  # name: subnets
    'Berlin': ['10.1.0.0/16', '2001:db8:1::/48', '127.0.0.0/8'],
    'Munich': ['10.2.0.0/16', '10.2.128.0/17', '2001:db8:2::/48'],
    'Hamburg': ['10.3.0.0/16', '2001:db8:1:3000::/52'],
    'Paris': ['10.4.0.0/16'], 'Vienna': ['10.5.0.0/16'],
    'Zurich': ['10.6.0.0/16'], 'Geneva': ['10.7.0.0/16'],
    'Lyon': ['10.8.0.0/16'], 'Rome': ['10.9.0.0/16'],
    'Oslo': ['10.10.0.0/16'], 'Graz': ['10.11.0.0/16'],
    'Linz': ['10.12.0.0/16'],
    'Bonn': ['10.14.0.0/16'], 'Kiel': ['10.15.0.0/16'],
    'Ulm': ['10.16.0.0/16'],
    'Stockholm': ['10.13.0.0/16', '2001:db8:13::/48'],
}
SERIAL = {  # version: serialNumber, versionNumber, msExchVersion of objects
    '2000': ('Version 6.0 (Build 6249.4: Service Pack 3)', 6249, None),
    '2003': ('Version 6.5 (Build 7638.2: Service Pack 2)', 7638, None),
    '2007': ('Version 8.3 (Build 30083.6)', (8, 3, 83), 4535486012416),
    '2010': ('Version 14.3 (Build 30123.4)', (14, 3, 123), 44220983382016),
    '2013': ('Version 15.0 (Build 31497.2)', (15, 0, 1497), 88218628259840),
    '2016': ('Version 15.1 (Build 32507.6)', (15, 1, 2507), 88218628259840),
    '2019': ('Version 15.2 (Build 30221.12)', (15, 2, 221), 88218628259840),
    'unknown': ('Version 27.0 (Build 30001.1)', (27, 0, 1), None),
}
CAS, MBX, ALL, CAFE = 4 | 32, 2, 2 | 4 | 16 | 32, 16439
INTERNAL = 1 | 16  # Basic and Windows: what an independent front needs
FORMS, BASIC = 1 | 4, 1
FRONT = 'https://mail.contoso.test'

# name, version, site, roles, and for a CAS:
#   ext  its public base URL       extauth, auth  bits outside and inside
#   back FailbackURL   url03 msExch2003Url   opt RedirectToOptimal
#   int  base of the InternalURL where it is not the server's own name
#   fqdn where it is not NAME.contoso.test       dag
#   owaext   a public URL of OWA alone
#   sim  how its simulation is odd: see exchange.py
SERVERS = [
    ('BER-CAS1', '2010', 'Berlin', CAS,
     dict(ext=FRONT, url03='https://legacy2003.contoso.test/exchange')),
    ('BER-CAS2', '2010', 'Berlin', CAS,
     dict(ext=FRONT, url03='https://legacy2003.contoso.test/exchange',
          int='https://outlook.contoso.test')),
    ('BER-MBX1', '2010', 'Berlin', MBX, dict(dag='BER-DAG1')),
    ('BER-MBX2', '2010', 'Berlin', MBX, dict(dag='BER-DAG1')),
    ('BER-CAS7', '2007', 'Berlin', CAS,
     dict(ext='https://legacy.contoso.test')),
    ('BER-MBX7', '2007', 'Berlin', MBX, {}),
    ('BER-MBX3', '2003', None, None, {}),
    ('BER-MBX0', '2000', None, None, {}),
    ('MUC-CAS1', '2010', 'Munich', CAS,
     dict(ext='https://munich.contoso.test')),
    ('MUC-MBX1', '2010', 'Munich', MBX, {}),
    ('MUC-EX7', '2007', 'Munich', ALL,
     dict(ext='https://legacy-munich.contoso.test')),
    ('HAM-CAS1', '2010', 'Hamburg', CAS, dict(opt=0)),
    ('HAM-CAS2', '2010', 'Hamburg', CAS,
     dict(opt=0, int='https://owa-hamburg.contoso.test')),
    ('HAM-MBX1', '2010', 'Hamburg', MBX, {}),
    ('HAM-EX7', '2007', 'Hamburg', ALL, {}),
    ('PAR-EX1', '2010', 'Paris', ALL,
     dict(ext=FRONT, back='https://failback-paris.contoso.test')),
    ('VIE-EX1', '2010', 'Vienna', ALL, dict(ext=FRONT)),
    ('ZRH-EX1', '2010', 'Zurich', ALL,
     dict(ext='https://zurich.contoso.test')),
    ('GVA-EX1', '2010', 'Geneva', ALL,
     dict(ext='https://geneva.contoso.test', extauth=BASIC)),
    ('LYS-CAS1', '2010', 'Lyon', CAS,
     dict(ext='https://lyon-basic.contoso.test', extauth=BASIC)),
    ('LYS-EX2', '2010', 'Lyon', ALL,
     dict(ext='https://lyon-forms.contoso.test', extauth=FORMS)),
    ('ROM-EX1', '2010', 'Rome', ALL, dict(ext='http://rome.contoso.test')),
    ('OSL-MBX1', '2010', 'Oslo', MBX, {}),
    ('GRZ-EX1', '2010', 'Graz', ALL, dict(auth=FORMS,
                                          sim=dict(auth='forms'))),
    ('LNZ-EX1', '2010', 'Linz', ALL, dict(fqdn='mail.contoso.test')),
    ('BON-EX1', '2010', 'Bonn', ALL, dict(sim=dict(cert='self'))),
    ('KIE-CAS1', '2010', 'Kiel', CAS, dict(sim=dict(down=True))),
    ('KIE-EX2', '2010', 'Kiel', ALL, {}),
    ('ULM-EX1', '2010', 'Ulm', ALL, dict(auth=16,
                                         sim=dict(auth='ntlm-only'))),
    ('STO-EX7', '2007', 'Stockholm', ALL,
     dict(ext='https://legacy-stockholm.contoso.test')),
    ('STO-EX10', '2010', 'Stockholm', ALL, {}),
    ('STO-EX13', '2013', 'Stockholm', CAFE, {}),
    ('STO-EX16', '2016', 'Stockholm', CAFE, {}),
    ('STO-EX19', '2019', 'Stockholm', CAFE, {}),
    # What an operator must hear of, once each.
    ('LOST-MBX1', '2010', None, ALL, {}),
    ('ODD-EX1', 'unknown', 'Oslo', MBX, {}),
    ('ODD-CAS7', '2007', 'Oslo', CAS, dict(owaext='https://os lo/<b>')),
]
# name, servers that hold a copy (the first has it mounted), and options:
#   array  the client access array or server in its legacyExchangeDN
#   public a public store     none  no owning server
DATABASES = [
    ('BER-DB1', ['BER-MBX1', 'BER-MBX2'],
     dict(array='outlook.contoso.test', dag='BER-DAG1')),
    ('BER-DB2', ['BER-MBX2', 'BER-MBX1'],
     dict(array='outlook.contoso.test', dag='BER-DAG1')),
    ('BER-DB7', ['BER-MBX7'], {}), ('BER-PF7', ['BER-MBX7'], dict(public=1)),
    ('BER-DB3', ['BER-MBX3'], {}), ('BER-PF3', ['BER-MBX3'], dict(public=1)),
    ('BER-DB0', ['BER-MBX0'], {}),
    ('MUC-DB1', ['MUC-MBX1'], dict(array='MUC-CAS1')),
    ('MUC-DB7', ['MUC-EX7'], {}),
    ('HAM-DB1', ['HAM-MBX1'], dict(array='HAM-CAS1')),
    ('HAM-DB7', ['HAM-EX7'], {}),
    ('PAR-DB1', ['PAR-EX1'], {}), ('VIE-DB1', ['VIE-EX1'], {}),
    ('ZRH-DB1', ['ZRH-EX1'], {}),
    ('AWAY-DB1', ['ZRH-EX1'], dict(array='outlook.contoso.test')),
    ('GVA-DB1', ['GVA-EX1'], {}), ('LYS-DB1', ['LYS-EX2'], {}),
    ('ROM-DB1', ['ROM-EX1'], {}), ('OSL-DB1', ['OSL-MBX1'], {}),
    ('GRZ-DB1', ['GRZ-EX1'], {}), ('LNZ-DB1', ['LNZ-EX1'], {}),
    ('BON-DB1', ['BON-EX1'], {}), ('KIE-DB1', ['KIE-EX2'], {}),
    ('ULM-DB1', ['ULM-EX1'], {}),
    ('STO-DB7', ['STO-EX7'], {}), ('STO-DB10', ['STO-EX10'], {}),
    ('STO-DB13', ['STO-EX13'], {}), ('STO-DB16', ['STO-EX16'], {}),
    ('STO-DB19', ['STO-EX19'], {}),
    ('LOST-DB1', ['LOST-MBX1'], {}),
    ('ORPHAN-DB1', [], dict(array='outlook.contoso.test')),
    ('ODD-DB1', ['ODD-EX1'], {}),
]
ARRAYS = {'outlook.contoso.test': 'Berlin', 'owa-hamburg.contoso.test':
          'Hamburg'}
# The front's account, the hosts that clients may call it by, and the account
# whose keys all simulated servers share.  Kerberos as an administrator leaves
# it: two servers nobody gave an SPN, one that the front may not delegate to.
FRONT_ACCOUNT, CAS_ACCOUNT = 'svc-front', 'svc-cas'
PLAIN_ACCOUNT = 'svc-plain'  # a front's account that may delegate nothing
FRONT_HOSTS = ['mail', 'front', 'munich', 'lyon', 'legacy', 'negotiate',
               'kerberos', 'ntlm', 'integrated', 'inside', 'mixed', 'delegate',
               'isolation', 'isolation2', 'auto', 'bench', 'directory',
               'winbind', 'forms', 'basic']
NO_SPN, NO_DELEGATION = ('KIE-CAS1', 'KIE-EX2'), ('STO-EX10',)
SUFFIX = 'example.test'  # of UPNs that do not name the domain
LOAD = 50  # load01 and on: many people of one database
LONG = 'donaudampfschifffahrtskapitaen.' * 6 + 'ludwig'

# sAMAccountName, full name, database, "/owa gives", and options:
#   alias, upn (before the @), smtp (further addresses), owner (of a linked
#   mailbox), type (msExchRecipientTypeDetails), any attribute by its name
USERS = [
    ('ada', 'Ada Berlin', 'BER-DB1', 'direct', {}),
    ('berta', 'Berta Berlin', 'BER-DB2', 'direct', {}),
    ('bert', 'Bert Hamburg', 'HAM-DB1', 'proxy', {}),
    ('clara', 'Clara Munich', 'MUC-DB1',
     'manual-redirect to https://munich.contoso.test/owa', {}),
    ('dora', 'Dora Paris', 'PAR-DB1',
     'temporary-redirect to the FailbackURL', {}),
    ('emil', 'Emil Vienna', 'VIE-DB1', 'error target-is-this-host', {}),
    ('karl', 'Karl Away', 'AWAY-DB1',
     'temporary-redirect to https://zurich.contoso.test/owa', {}),
    ('fritz', 'Fritz Old', 'BER-DB3',
     'silent-redirect to Exchange2003URL', {}),
    ('jan', 'Jan Older', 'BER-DB0', 'silent-redirect to Exchange2003URL', {}),
    ('gina', 'Gina Seven', 'BER-DB7',
     'silent-redirect to https://legacy.contoso.test/owa', {}),
    ('hugo', 'Hugo Munich Seven', 'MUC-DB7',
     'manual-redirect to https://legacy-munich.contoso.test/owa', {}),
    ('ida', 'Ida Hamburg Seven', 'HAM-DB7', 'proxy', {}),
    ('mia', 'Mia Geneva', 'GVA-DB1',
     'manual-redirect (Basic outside: no single sign-on)', {}),
    ('leon', 'Léon Lyon', 'LYS-DB1',
     'manual-redirect to the CAS with the same authentication', {}),
    ('rosa', 'Rosa Rome', 'ROM-DB1',
     'manual-redirect to a plain http address', {}),
    ('lars', 'Lars Oslo', 'OSL-DB1', 'error no-cas-in-site', {}),
    ('frida', 'Frida Graz', 'GRZ-DB1',
     'proxy; its backend wants its own logon form', {}),
    ('lotte', 'Lotte Linz', 'LNZ-DB1', 'error proxy-loop', {}),
    ('boris', 'Boris Bonn', 'BON-DB1',
     'error backend-certificate: it is self-signed', {}),
    ('kim', 'Kim Kiel', 'KIE-DB1', 'proxy; one of two servers is down', {}),
    ('kira', 'Kira Kiel', 'KIE-DB1', 'proxy; one of two servers is down', {}),
    ('uwe', 'Uwe Ulm', 'ULM-DB1', 'proxy; its backend takes no Basic', {}),
    ('nora', 'Nora Stockholm Seven', 'STO-DB7',
     'manual-redirect to https://legacy-stockholm.contoso.test/owa', {}),
    ('olga', 'Olga Stockholm', 'STO-DB10', 'proxy', {}),
    ('sven', 'Sven Thirteen', 'STO-DB13', 'error mailbox-newer-than-front',
     {}),
    ('tove', 'Tove Sixteen', 'STO-DB16', 'error mailbox-newer-than-front',
     {}),
    ('ulf', 'Ulf Nineteen', 'STO-DB19', 'error mailbox-newer-than-front', {}),
    ('nils', 'Nils Nomail', None, 'error no-mailbox', {}),
    ('remo', 'Remo Remote', None, 'error remote-mailbox',
     dict(type=0x80000000, targetAddress='SMTP:remo@contoso.example',
          msExchRemoteRecipientType=1)),
    ('otto', 'Otto Off', 'BER-DB1', 'error owa-disabled',
     dict(protocolSettings=['OWA§0', 'POP3§1§1§4§1252§0§§§§'])),
    ('paula', 'Paula Httpoff', 'BER-DB1', 'error owa-disabled',
     dict(protocolSettings='HTTP§0§1§§§§§§')),
    ('erik', 'Erik Noeas', 'BER-DB1', 'direct (ActiveSync is off)',
     dict(msExchOmaAdminWirelessEnable=4)),
    ('quirin', 'Quirin Disabled', 'BER-DB1',
     '401: the account is disabled', dict(disabled=True)),
    ('mona', 'Mona Mustchange', 'BER-DB1',
     '401: the password must be changed', dict(pwdLastSet=0)),
    ('ella', 'Ella Expired', 'BER-DB1', '401: the account has expired',
     dict(accountExpires=116444736000000000)),
    ('lukas', 'Lukas Locked', 'BER-DB1', '401: the account is locked',
     dict(locked=True)),
    ('lara', 'Lara Owner', None, 'error no-mailbox, or the linked mailbox',
     {}),
    ('lina', 'Lina Linked', 'BER-DB1', '401: a linked mailbox, owner lara',
     dict(type=2, owner='lara', disabled=True)),
    ('info', 'Info Shared', 'BER-DB1',
     '401; ada opens it as /owa/info@contoso.test',
     dict(type=4, owner='SELF', disabled=True)),
    ('room1', 'Room One', 'HAM-DB1',
     '401; ada opens it as /owa/room1@contoso.test',
     dict(type=16, owner='SELF', disabled=True)),
    ('anna', 'Anna First', 'BER-DB1', 'direct; /owa/team@contoso.test is '
     'ambiguous', dict(smtp=['team'], alias='team')),
    ('anne', 'Anne Second', 'BER-DB2', 'direct; /owa/team@contoso.test is '
     'ambiguous', dict(smtp=['team'], alias='team')),
    ('xaver', 'Xaver Lost', 'LOST-DB1', 'error site-unknown', {}),
    ('yara', 'Yara Orphan', 'ORPHAN-DB1', 'error database-unknown',
     {}),
    ('zeno', 'Zeno Odd', 'ODD-DB1', 'error version-unknown',
     {}),
    ('kmeyer', 'Kurt Meyer', 'BER-DB1', 'direct; alias, UPN and address '
     'differ', dict(alias='kk', upn='kurt.meyer', smtp=['kurt.meyer'])),
    ('jürgen', 'Jürgen Müßig', 'BER-DB1', 'direct',
     dict(alias='juergen', addr='juergen', smtp=['juergen.muessig'])),
    ('smile😀', 'Smile 😀 Emoji', 'BER-DB1', 'direct',
     dict(alias='smile', addr='smile')),
    ('par(en)', 'Par (en) Theses', 'BER-DB1', 'direct', dict(addr='paren',
                                                             alias='paren')),
    ('star', 'Star * (all) \\ #1', 'BER-DB1', 'direct',
     dict(upn='star*(all)', addr='star')),
    ('comma', 'Comma, Carla + "Co"', 'BER-DB1', 'direct', {}),
    ('apos', "Apo'Strophe", 'BER-DB1', 'direct', dict(upn="o'neil")),
    ('ludwig', 'Ludwig Long', 'BER-DB1', 'direct', dict(upn=LONG)),
    ('ruth', 'Ruth Suffix', 'BER-DB1', 'direct; her UPN is of another domain',
     dict(upn='ruth.berlin@' + SUFFIX)),
]


# ------------------------------------------------------------- entries

def escape(rdn):
    """An RDN's value, escaped as RFC 4514 asks."""
    return ''.join('\\' + c if c in ',+"\\<>;=' else c for c in rdn)


def site_dn(site):
    return 'CN=%s,%s' % (site, SITES_DN)


def group_of(version):
    name = OLD if version in ('2000', '2003') else NEW
    return ('CN=%s,CN=Administrative Groups,%s' % (name, ORG),
            '/o=Contoso/ou=' + name)


def server_dn(name):
    version = next(s[1] for s in SERVERS if s[0] == name)
    return 'CN=%s,CN=Servers,%s' % (name, group_of(version)[0])


def server_legacy(name, version='2010'):
    return '%s/cn=Configuration/cn=Servers/cn=%s' % (group_of(version)[1],
                                                     name)


def fqdn(server):
    return server[4].get('fqdn', server[0].lower() + '.' + DNS)


def version_number(version):
    build = SERIAL[version][1]
    if isinstance(build, int):
        return build
    return 0x70008000 | build[0] << 22 | build[1] << 16 | build[2]


def containers():
    """What every AD forest has already."""
    yield BASE, 'domainDNS', dict(dc='contoso')
    yield CONFIG, 'configuration', {}
    yield 'CN=Services,' + CONFIG, 'container', {}
    yield 'CN=Partitions,' + CONFIG, 'crossRefContainer', {}
    for name, nc, more in (
            ('CONTOSO', BASE, dict(nETBIOSName=DOMAIN, systemFlags=3)),
            ('Enterprise Configuration', CONFIG, dict(systemFlags=1)),
            ('Enterprise Schema', 'CN=Schema,' + CONFIG,
             dict(systemFlags=1))):
        yield 'CN=%s,CN=Partitions,%s' % (name, CONFIG), 'crossRef', \
            dict(nCName=nc, dnsRoot=DNS, **more)
    yield SITES_DN, 'sitesContainer', {}
    yield 'CN=Subnets,' + SITES_DN, 'subnetContainer', {}
    transports = 'CN=Inter-Site Transports,' + SITES_DN
    yield transports, 'interSiteTransportContainer', {}
    yield 'CN=IP,' + transports, 'interSiteTransport', {}


def sites():
    for site, subnets in SITES.items():
        yield site_dn(site), 'site', {}
        for subnet in subnets:
            yield 'CN=%s,CN=Subnets,%s' % (subnet, SITES_DN), 'subnet', \
                dict(siteObject=site_dn(site))
    yield 'CN=Berlin-Munich,CN=IP,CN=Inter-Site Transports,' + SITES_DN, \
        'siteLink', dict(cost=100, siteList=[site_dn('Berlin'),
                                             site_dn('Munich')])


def organisation():
    yield 'CN=Microsoft Exchange,CN=Services,' + CONFIG, \
        'msExchConfigurationContainer', {}
    yield ORG, 'msExchOrganizationContainer', \
        dict(legacyExchangeDN='/o=Contoso')
    yield 'CN=Administrative Groups,' + ORG, 'msExchAdminGroupContainer', {}
    for version in ('2003', '2010'):
        group, legacy = group_of(version)
        yield group, 'msExchAdminGroup', dict(legacyExchangeDN=legacy)
        yield 'CN=Servers,' + group, 'msExchServersContainer', {}
    for name in ('Databases', 'Arrays', 'Database Availability Groups'):
        yield 'CN=%s,%s' % (name, group), 'msExchContainer', {}
    yield 'CN=BER-DAG1,CN=Database Availability Groups,' + group, \
        'msExchMDBAvailabilityGroup', dict(msExchVersion=SERIAL['2010'][2])
    for array, site in ARRAYS.items():
        yield 'CN=%s,CN=Arrays,%s' % (array, group), \
            'msExchClientAccessArray', \
            dict(networkAddress='ncacn_ip_tcp:' + array,
                 msExchServerSite=site_dn(site),
                 legacyExchangeDN=server_legacy(array))
    for server in SERVERS:
        yield from server_entries(server)
    for database in DATABASES:
        yield from database_entries(*database)


def server_entries(server):
    name, version, site, roles, opt = server
    dn = server_dn(name)
    serial, _, object_version = SERIAL[version]
    a = dict(serialNumber=serial, versionNumber=version_number(version),
             legacyExchangeDN=server_legacy(name, version),
             networkAddress=['netbios:' + name, 'ncacn_np:' + name,
                             'ncacn_ip_tcp:' + fqdn(server)])
    if roles is None:
        a['serverRole'] = 0
    else:
        a['msExchCurrentServerRoles'] = roles
        # Newer servers carry this old number: no one may lean on it.
        a['msExchVersion'] = SERIAL['2007'][2] if version > '2013' \
            else object_version
    if site:
        a['msExchServerSite'] = site_dn(site)
    if 'dag' in opt:
        a['msExchMDBAvailabilityGroupLink'] = \
            'CN=%s,CN=Database Availability Groups,%s' % (
                opt['dag'], group_of(version)[0])
    yield dn, 'msExchExchangeServer', a
    yield 'CN=InformationStore,' + dn, 'msExchInformationStore', {}
    if version in ('2000', '2003', '2007'):
        yield 'CN=First Storage Group,CN=InformationStore,' + dn, \
            'msExchStorageGroup', {}
    yield 'CN=Protocols,' + dn, 'protocolCfgSharedServer', {}
    http = 'CN=HTTP,CN=Protocols,' + dn
    yield http, 'msExchProtocolCfgHTTPContainer', {}
    if roles is None:
        yield from http2003(http)
    elif roles & 4:
        yield from vdirs(server, http)


def http2003(http):
    """The default virtual server of 2000/2003 and its directories."""
    yield 'CN=1,' + http, 'protocolCfgHTTPServer', \
        dict(msExchServerBindings=':80:', msExchDefaultDomain=DOMAIN,
             msExchAuthenticationFlags=6)
    for name in ('Exchange', 'Public', 'Exadmin', 'OMA',
                 'Microsoft-Server-ActiveSync'):
        yield 'CN=%s,CN=1,%s' % (name, http), \
            'msExchProtocolCfgHTTPVirtualDirectory', \
            dict(folderPathname='MBX' if name == 'Exchange' else name,
                 msExchAuthenticationFlags=6)


def vdirs(server, http):
    _, version, _, _, opt = server
    host = fqdn(server)
    inside = opt.get('int', 'https://' + host)
    outside = opt.get('ext')
    table = [  # class, name, path, bits inside, outside, since, until
        ('OWA', 'owa', '/owa', None, None, '2007', '9'),
        ('ECP', 'ecp', '/ecp', None, None, '2010', '9'),
        ('Mobile', 'Microsoft-Server-ActiveSync',
         '/Microsoft-Server-ActiveSync', 17, 1, '2007', '9'),
        ('WebServices', 'EWS', '/EWS/Exchange.asmx', 19, 19, '2007', '9'),
        ('AutoDiscover', 'Autodiscover', None, 19, 19, '2007', '9'),
        ('OAB', 'OAB', '/OAB', 17, 17, '2007', '9'),
        ('RpcHttp', 'Rpc', '', 1, 1, '2007', '9'),
        ('Mapi', 'mapi', '/mapi', 8210, 8210, '2013', '9'),
        ('PowerShell', 'PowerShell', '/powershell', 4096, None, '2010', '9'),
        ('UM', 'UnifiedMessaging', '/UnifiedMessaging/Service.asmx', 17, None,
         '2007', '2007'),
    ]
    for kind, name, path, bits_in, bits_out, since, until in table:
        if not since <= version <= until:
            continue
        a = dict(msExchMetabasePath='IIS://%s/W3SVC/1/ROOT/%s' % (host, name),
                 msExchVersion=SERIAL[version][2])
        if kind in ('OWA', 'ECP'):
            bits_in = opt.get('auth', INTERNAL)
            bits_out = opt.get('extauth', FORMS)
        a['msExchInternalAuthenticationMethods'] = bits_in
        if bits_out is not None:
            a['msExchExternalAuthenticationMethods'] = bits_out
        if kind == 'RpcHttp':  # these two hold a bare host name
            a['msExchInternalHostName'] = host
            if outside:
                a['msExchExternalHostName'] = outside.split('//')[1]
        elif path:
            a['msExchInternalHostName'] = inside + path
            if outside and bits_out is not None:
                a['msExchExternalHostName'] = outside + path
        if kind == 'WebServices':
            a['msExchInternalNLBBypassHostName'] = 'https://%s%s' % (host,
                                                                     path)
        if kind == 'OWA':
            a.update(owa_attributes(version, opt))
            if 'owaext' in opt:
                a['msExchExternalHostName'] = opt['owaext'] + path
        yield 'CN=%s (Default Web Site),%s' % (name, http), \
            'msExch%sVirtualDirectory' % kind, a
    if version == '2007':  # the legacy directories of a 2007 CAS
        for name in ('Exchange', 'Public', 'Exchweb'):
            yield 'CN=%s (Default Web Site),%s' % (name, http), \
                'msExchOWAVirtualDirectory', \
                dict(msExchOwaVersion=1, msExchVersion=SERIAL[version][2],
                     msExchInternalAuthenticationMethods=INTERNAL,
                     msExchMetabasePath='IIS://%s/W3SVC/1/ROOT/%s'
                     % (host, name))
    if version >= '2013':
        yield 'CN=owa (Exchange Back End),' + http, \
            'msExchOWAVirtualDirectory', \
            dict(msExchOwaVersion=4, msExchVersion=SERIAL[version][2],
                 msExchInternalHostName='https://%s:444/owa' % host,
                 msExchExternalHostName='https://backend.invalid/owa',
                 msExchInternalAuthenticationMethods=16,
                 msExchMetabasePath='IIS://%s/W3SVC/2/ROOT/owa' % host)


def owa_attributes(version, opt):
    a = dict(msExchOWALogonFormat=0, msExchOwaVersion=dict(
        [('2007', 2), ('2010', 3)]).get(version, 4))
    if 'opt' in opt:
        a['msExchOWARedirectToOptimalOWAServer'] = opt['opt']
    if 'back' in opt:
        a['msExchOWAFailbackURL'] = opt['back'] + '/owa'
    if 'url03' in opt:
        a['msExch2003Url'] = opt['url03']
    return a


def database_place(name):
    """DN, and the server that has it mounted, or None."""
    servers = next(d[1] for d in DATABASES if d[0] == name)
    owner = next((s for s in SERVERS if servers and s[0] == servers[0]), None)
    if owner and owner[1] in ('2000', '2003', '2007'):
        return 'CN=%s,CN=First Storage Group,CN=InformationStore,%s' % (
            name, server_dn(owner[0])), owner
    return 'CN=%s,CN=Databases,%s' % (name, group_of('2010')[0]), owner


def database_entries(name, servers, opt):
    dn, owner = database_place(name)
    group = group_of('2010')[0]
    version = owner[1] if owner else '2010'
    place = opt.get('array', owner[0] if owner else 'GONE')
    a = dict(legacyExchangeDN=server_legacy(place, version)
             + '/cn=Microsoft P%s MDB' % ('ublic' if 'public' in opt
                                          else 'rivate'),
             msExchEDBFile='D:\\Mailbox\\%s.edb' % name)
    if owner:
        a['msExchOwningServer'] = server_dn(owner[0])
    if version >= '2010' and owner:
        a['msExchVersion'] = SERIAL[version][2] or SERIAL['2013'][2]
        a['msExchMasterServerOrAvailabilityGroup'] = \
            'CN=%s,CN=Database Availability Groups,%s' % (opt['dag'], group) \
            if 'dag' in opt else server_dn(owner[0])
    yield dn, 'msExchP%sMDB' % ('ublic' if 'public' in opt else 'rivate'), a
    if version >= '2010':
        for rank, copy in enumerate(servers, 1):
            yield 'CN=%s,%s' % (copy, dn), 'msExchMDBCopy', \
                dict(msExchHostServerLink=server_dn(copy),
                     msExchActivationPreference=rank)


def extra_users(count):
    """user00001 and on, in Berlin, Hamburg and Munich in turn."""
    homes = ('BER-DB1', 'HAM-DB1', 'MUC-DB1')
    for i in range(1, count + 1):
        yield 'user%05d' % i, 'User %05d' % i, homes[i % 3], '', {}


def load_users():
    return [('load%02d' % i, 'Load %02d' % i, 'BER-DB1', 'direct', {})
            for i in range(1, LOAD + 1)]


def spns():
    """Account -> its SPNs; what the front may delegate to comes third."""
    front = ['HTTP/%s.%s' % (host, DNS) for host in FRONT_HOSTS]
    servers = [s for s in SERVERS if s[0] not in NO_SPN]
    cas = ['HTTP/' + fqdn(s) for s in servers
           if 'HTTP/' + fqdn(s) not in front]
    forbidden = ['HTTP/' + fqdn(s) for s in SERVERS if s[0] in NO_DELEGATION]
    return front, cas, [name for name in cas if name not in forbidden]


def plain_spns():
    return ['HTTP/plain.' + DNS]


def service_accounts():
    """Normal accounts with AES keys only, whose passwords never expire."""
    front, cas, goals = spns()
    for name, names, uac, more in (
            ('svc-casproxy', [], 0x10200, {}),
            (CAS_ACCOUNT, cas, 0x10200,
             {'msDS-SupportedEncryptionTypes': 24}),
            (PLAIN_ACCOUNT, plain_spns(), 0x10200,
             {'msDS-SupportedEncryptionTypes': 24}),
            # TRUSTED_TO_AUTH_FOR_DELEGATION: protocol transition
            (FRONT_ACCOUNT, front, 0x1010200,
             {'msDS-SupportedEncryptionTypes': 24,
              'msDS-AllowedToDelegateTo': goals})):
        a = dict(sAMAccountName=name, sn=name,
                 userPrincipalName='%s@%s' % (name, DNS),
                 userAccountControl=uac)
        if names:
            a['servicePrincipalName'] = names
        yield 'CN=%s,%s' % (name, PEOPLE), 'user', dict(a, **more)


def people(extra=0):
    yield PEOPLE, 'organizationalUnit', {}
    yield from service_accounts()
    for user in USERS + load_users() + list(extra_users(extra)):
        yield user_entry(*user)


def upn_of(sam, opt):
    name = opt.get('upn', sam)
    return name if '@' in name else '%s@%s' % (name, DNS)


def user_entry(sam, name, database, _, opt):
    a = dict(sAMAccountName=sam, displayName=name, sn=name.split()[-1],
             givenName=name.split()[0],
             userPrincipalName=upn_of(sam, opt),
             userAccountControl=0x10202 if opt.get('disabled') else 0x10200)
    for k, v in opt.items():
        if k.startswith(('msExch', 'protocol', 'target', 'pwdLast',
                         'accountExp')):
            a[k] = v
    if 'pwdLastSet' in opt:
        a['userAccountControl'] = 0x200  # or the password would never expire
    if opt.get('locked'):
        a['lockoutTime'] = 'soon'
    if database or 'type' in opt:
        address = '%s@%s' % (opt.get('addr', sam), DNS)
        a.update(mail=address, mailNickname=opt.get('alias', sam),
                 legacyExchangeDN='%s/cn=Recipients/cn=%s'
                 % (group_of('2010')[1], address.split('@')[0]),
                 proxyAddresses=['SMTP:' + address]
                 + ['smtp:%s@%s' % (s, DNS) for s in opt.get('smtp', [])]
                 + ['X500:/o=Old/cn=' + address.split('@')[0]])
    if 'type' in opt:
        a['msExchRecipientTypeDetails'] = opt['type']
    if database:
        dn, owner = database_place(database)
        a['homeMDB'] = dn
        a['msExchMailboxGuid'] = uuid.uuid5(uuid.NAMESPACE_DNS, sam + '.'
                                            + DNS).bytes_le
        version = owner[1] if owner else '2010'
        if owner:
            a['msExchHomeServerName'] = server_legacy(owner[0], version)
        if SERIAL[version][2]:
            a['msExchVersion'] = SERIAL[version][2]
            a.setdefault('msExchRecipientTypeDetails', 1)
    if 'owner' in opt:
        a['msExchMasterAccountSid'] = opt['owner']
    return 'CN=%s,%s' % (escape(name), PEOPLE), 'user', a


# -------------------------------------------------------------- writing

def sid_bytes(text):
    part = [int(x) for x in text.split('-')[2:]]
    return bytes([1, len(part) - 1]) + part[0].to_bytes(6, 'big') + \
        b''.join(x.to_bytes(4, 'little') for x in part[1:])


def sid_of(sam):
    """A SID for exports: AD makes its own."""
    if sam == 'SELF':
        return sid_bytes('S-1-5-10')
    names = [u[0] for u in USERS]
    services = ['svc-casproxy', CAS_ACCOUNT, FRONT_ACCOUNT, PLAIN_ACCOUNT]
    number = int('0' + ''.join(c for c in sam if c.isdigit()))
    rid = 1200 + names.index(sam) if sam in names else \
        1180 + services.index(sam) if sam in services else \
        1100 + number if sam.startswith('load') else 2000 + number
    return sid_bytes('%s-%d' % (SID, rid))


def line(name, value, fold=True):
    if not isinstance(value, bytes):
        value = str(value).encode()
    safe = value.isascii() and not value.startswith((b' ', b':', b'<')) \
        and not value.endswith(b' ') and not set(value) & {0, 10, 13}
    text = '%s: %s' % (name, value.decode()) if safe else \
        '%s:: %s' % (name, base64.b64encode(value).decode())
    if fold and len(text) > 76:
        text = '\n '.join([text[:76]] + [text[i:i + 75] for i in
                                         range(76, len(text), 75)])
    return text


def values(attributes):
    for name, value in attributes.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, one


def write_export(extra=0, crlf=False):
    chain = classes()
    out = ['# Contoso, as ldifde writes it', '']
    for gen in (containers(), sites(), organisation(), people(extra)):
        for dn, cls, a in gen:
            a = dict(a)
            out += [line('dn', dn), 'changetype: add']
            out += ['objectClass: ' + c for c in chain[cls][0]]
            out.append(line('objectCategory', 'CN=%s,CN=Schema,%s'
                            % (chain[cls][1], CONFIG)))
            out.append(line('distinguishedName', dn))
            out.append(line('objectGUID', uuid.uuid5(
                uuid.NAMESPACE_OID, dn).bytes_le))
            if dn.startswith('CN='):
                out.append(line('cn', a.get('displayName')
                                or dn.split(',')[0][3:]))
            if 'sAMAccountName' in a:
                out.append(line('objectSid', sid_of(a['sAMAccountName'])))
            if 'msExchMasterAccountSid' in a:
                a['msExchMasterAccountSid'] = \
                    sid_of(a['msExchMasterAccountSid'])
            if 'lockoutTime' in a:
                a['lockoutTime'] = 134000000000000000
            out += [line(*v) for v in values(a)]
            out.append('')
    text = '\n'.join(out)
    sys.stdout.buffer.write((text.replace('\n', '\r\n') if crlf
                             else text).encode())


def write_ad():
    """SIDs and the locked account are for t/lab/ad: no LDIF can say them."""
    for gen in (sites(), organisation(), people()):
        for dn, cls, a in gen:
            a = dict(a)
            a.pop('msExchMasterAccountSid', None)
            a.pop('lockoutTime', None)
            if cls == 'user':
                a['unicodePwd'] = ('"%s"' % PASSWORD).encode('utf-16-le')
                # servers are drawn by it: no run may differ from another
                a['objectGUID'] = uuid.uuid5(uuid.NAMESPACE_OID, dn).bytes_le
            print('\n'.join([line('dn', dn), 'changetype: add',
                             'objectClass: ' + cls]
                            + [line(*v) for v in values(a)]) + '\n')


def write_slapd(extra=0):
    leave = {'pwdLastSet', 'accountExpires', 'lockoutTime',
             'servicePrincipalName', 'msDS-SupportedEncryptionTypes',
             'msDS-AllowedToDelegateTo'}
    for gen in (containers(), sites(), organisation(), people(extra)):
        for dn, cls, a in gen:
            a = {k: v for k, v in a.items() if k not in leave}
            if dn == BASE:
                cls = 'domain'
            elif cls != 'organizationalUnit':
                a['cn'] = a.get('displayName') or dn.split(',')[0][3:]
                a['objectGUID'] = uuid.uuid5(uuid.NAMESPACE_OID, dn).bytes_le
            if cls == 'user':
                a['userPassword'] = PASSWORD
                a['objectSid'] = sid_of(a['sAMAccountName'])
            if 'msExchMasterAccountSid' in a:
                a['msExchMasterAccountSid'] = \
                    sid_of(a['msExchMasterAccountSid'])
            print('\n'.join([line('dn', dn), 'objectClass: ' + cls]
                            + ['objectClass: msExchMailStorage'] *
                            (cls == 'user')
                            + [line(*v) for v in values(a)]) + '\n')


def simulated():
    """What exchange.py is to be: every server that a front may talk to."""
    outside = {}
    for server in SERVERS:
        name, version, _, roles, opt = server
        if version == 'unknown' or (roles == MBX and version != '2007') \
                or fqdn(server) == FRONT.split('//')[1]:
            continue
        host = opt.get('ext', '').split('//')[-1]
        if ' ' in host or host == FRONT.split('//')[1]:
            host = ''
        outside[name] = dict(
            name=name, fqdn=fqdn(server), version=version,
            tls=roles is not None, names=[host] if host else [],
            cas=roles is not None and bool(roles & 4),
            mailbox=roles is None or bool(roles & 2), **opt.get('sim', {}))
    return list(outside.values())


def users_index():
    """Every way to type a logon name -> DOMAIN\\name, for exchange.py."""
    known = {}
    for sam, _, _, _, opt in USERS + load_users():
        for typed in (sam, '%s\\%s' % (DOMAIN, sam), '%s@%s' % (sam, DNS),
                      upn_of(sam, opt)):
            known[typed.lower()] = '%s\\%s' % (DOMAIN, sam)
    return known


def table():
    print('| user | mailbox | version | site | `/owa` gives |')
    print('|---|---|---|---|---|')
    for sam, _, database, gives, _ in USERS:
        owner = database_place(database)[1] if database else None
        print('| %s | %s | %s | %s | %s |' % (
            sam, database or '-', owner[1] if owner else '-',
            owner[2] or '-' if owner else '-', gives))


def who(count):
    """The first @a count users, or all of them."""
    for sam, _, database, gives, _ in USERS[:count or None]:
        owner = database_place(database)[1] if database else None
        print('  %-9s %-8s %-10s %s' % (
            sam, owner[1] if owner else '-',
            owner[2] or '-' if owner else '-', gives))


def main(words):
    crlf = '--crlf' in words
    words = [w for w in words if w != '--crlf']
    extra = int(words[1]) if len(words) > 1 else 0
    todo = dict(export=lambda: write_export(extra, crlf), ad=write_ad,
                slapd=lambda: write_slapd(extra), table=table,
                who=lambda: who(extra),
                servers=lambda: print(json.dumps(
                    dict(password=PASSWORD, users=users_index(),
                         servers=simulated()), indent=1)))
    if not words or words[0] not in todo:
        sys.exit(__doc__)
    todo[words[0]]()


if __name__ == '__main__':
    main(sys.argv[1:])
