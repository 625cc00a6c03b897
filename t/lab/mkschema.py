#!/usr/bin/python3 -B
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""mkschema.py ad BASEDN | slapd - the lab's schema extension on stdout.

Reads exchange.schema.tab.  "ad" is LDIF for Active Directory (Samba), with a
schemaUpdateNow wherever a record names something that was added before it:
a domain controller resolves names in its loaded schema only.  "slapd" is an
OpenLDAP schema, with the part of AD's own schema that the tree needs.
"""
import base64
import os
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
TAB = os.path.join(HERE, 'exchange.schema.tab')
ARC = '1.2.840.113556.1.8000.2554.53193.10741.40117.16920.35580.917.23'
#          attributeSyntax, oMSyntax, OpenLDAP syntax, OpenLDAP matching rules
SYNTAX = {
    'unicode': ('2.5.5.12', 64, 15, 'caseIgnoreMatch',
                'SUBSTR caseIgnoreSubstringsMatch'),
    'ia5': ('2.5.5.5', 22, 26, 'caseIgnoreIA5Match', ''),
    'int': ('2.5.5.9', 2, 27, 'integerMatch', 'ORDERING integerOrderingMatch'),
    'int64': ('2.5.5.16', 65, 27, 'integerMatch',
              'ORDERING integerOrderingMatch'),
    'bool': ('2.5.5.8', 1, 7, 'booleanMatch', ''),
    'octet': ('2.5.5.10', 4, 40, 'octetStringMatch', ''),
    'sid': ('2.5.5.17', 4, 40, 'octetStringMatch', ''),
    'dn': ('2.5.5.1', 127, 12, 'distinguishedNameMatch', ''),
}
KIND = {'struct': (1, 'STRUCTURAL'), 'abstract': (2, 'ABSTRACT'),
        'aux': (3, 'AUXILIARY')}
# Administrators and the system: all; every authenticated user: read.
DESCRIPTOR = ('D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;DA)'
              '(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;SY)(A;;RPLCLORC;;;AU)')


def rows():
    """The table: (in AD already?, kind, fields), placeholders numbered."""
    number = 0
    with open(TAB, encoding='ascii') as tab:
        for line in tab:
            field = line.split('#')[0].split()
            if not field:
                continue
            own = field[0].startswith('~')
            number += 1
            if len(field) > 3 and field[3] == '*':
                field[3] = '%s.%d' % (ARC, number)
            yield own, field[0].lstrip('~'), field[1:]


def classes():
    """name -> (chain from the top, schema cn), for writers of entries."""
    found = {'top': (['top'], 'Top'),
             'person': (['top', 'person'], 'Person'),
             'organizationalPerson': (['top', 'person',
                                       'organizationalPerson'], 'Person'),
             'organizationalUnit': (['top', 'organizationalUnit'],
                                    'Organizational-Unit'),
             'domainDNS': (['top', 'domain', 'domainDNS'], 'Domain-DNS')}
    for _, kind, f in sorted(rows(), key=lambda r: not r[0]):
        if kind == 'class':
            found[f[0]] = (found[f[3]][0] + [f[0]], f[1])
    return found


def names(field):
    return [] if field == '-' else field.split(',')


def guid(cn):
    made = uuid.uuid5(uuid.NAMESPACE_OID, 'mod_casproxy lab ' + cn)
    return base64.b64encode(made.bytes_le).decode()


def ad(base):
    fresh = set()

    def record(cn, change, *lines):
        print('dn: CN=%s,CN=Schema,CN=Configuration,%s\nchangetype: %s'
              % (cn, base, change))
        print('\n'.join(lines) + '\n')

    def load():
        print('dn:\nchangetype: modify\nreplace: schemaUpdateNow\n'
              'schemaUpdateNow: 1\n')
        fresh.clear()

    for own, kind, f in rows():
        if own:
            continue
        if kind == 'aux':
            load()
            record(f[0].capitalize(), 'modify', 'add: auxiliaryClass',
                   'auxiliaryClass: ' + f[1], '-')
            continue
        name, cn, oid = f[:3]
        common = ['lDAPDisplayName: ' + name, 'adminDisplayName: ' + cn,
                  'adminDescription: ' + cn, 'schemaIDGUID:: ' + guid(cn)]
        if kind == 'attr':
            syntax = SYNTAX[f[3]]
            lines = ['objectClass: attributeSchema', 'attributeID: ' + oid,
                     'attributeSyntax: ' + syntax[0],
                     'oMSyntax: %d' % syntax[1], 'searchFlags: ' + f[5],
                     'isSingleValued: ' + str(f[4] == 'single').upper(),
                     'isMemberOfPartialAttributeSet: '
                     + str(f[6] == 'gc').upper()]
            if f[3] == 'dn':
                lines.append('oMObjectClass:: KwwCh3McAIVK')
            if len(f) > 7:
                lines.append('linkID: ' + f[7])
                if int(f[7]) % 2:
                    lines.append('systemFlags: 17')
        else:
            if fresh & {f[3], *names(f[5]), *names(f[6])}:
                load()
            lines = ['objectClass: classSchema', 'governsID: ' + oid,
                     'subClassOf: ' + f[3], 'rDNAttID: cn',
                     'objectClassCategory: %d' % KIND[f[4]][0],
                     'defaultObjectCategory: CN=%s,CN=Schema,'
                     'CN=Configuration,%s' % (cn, base),
                     'defaultSecurityDescriptor: ' + DESCRIPTOR]
            lines += ['possSuperiors: ' + n for n in names(f[5]) if n != name]
            lines += ['mayContain: ' + n for n in names(f[6])]
        fresh.add(name)
        record(cn, 'add', *lines, *common)
    load()


def slapd():
    own_first = sorted(rows(), key=lambda r: (r[1] != 'attr', not r[0]))
    for _, kind, f in own_first:
        if kind == 'attr':
            _, _, number, equality, more = SYNTAX[f[3]]
            print("attributetype ( %s NAME '%s' EQUALITY %s %s SYNTAX "
                  '1.3.6.1.4.1.1466.115.121.1.%d%s )'
                  % (f[2], f[0], equality, more, number,
                     ' SINGLE-VALUE' if f[4] == 'single' else ''))
        elif kind == 'class':
            may = names(f[6])
            if f[4] != 'aux':
                may = ['cn', 'objectGUID', 'objectSid', 'objectCategory'] + \
                    [m for m in may if m != 'cn']
            print("objectclass ( %s NAME '%s' SUP %s %s MAY ( %s ) )"
                  % (f[2], f[0], f[3], KIND[f[4]][1], ' $ '.join(may)))


if __name__ == '__main__':
    if sys.argv[1:2] == ['ad'] and len(sys.argv) == 3:
        ad(sys.argv[2])
    elif sys.argv[1:] == ['slapd']:
        slapd()
    else:
        sys.exit(__doc__)
