/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The mailbox record: what one user's entry says, in flat bytes.
 *
 * A record outlives the entry it was made of, the snapshot of the topology
 * and the process: it lies in other processes' memory.  So it holds no
 * pointer, names objects by GUID, and whoever gets one from outside asks
 * casp_mailbox_valid() before reading a single member.
 *
 * It must not decide anything: flags say what the directory says; what
 * follows from them is the rules' business.
 */

#include <string.h>

#include <apr_cstr.h>

#include "mailbox.h"

/* Only what a Global Catalog holds may stand here: a GC answers without the
 * others and says nothing about it.  t/unit/gc_attrs.txt is the register.
 * pwdLastSet is the exception: where it is missing, a changed password is
 * noticed when the old one no longer binds. */
const char *const casp_mailbox_attrs[] = {"objectClass",
                                          "objectGUID",
                                          "objectSid",
                                          "sAMAccountName",
                                          "displayName",
                                          "legacyExchangeDN",
                                          "userPrincipalName",
                                          "userAccountControl",
                                          "pwdLastSet",
                                          "mail",
                                          "mailNickname",
                                          "proxyAddresses",
                                          "targetAddress",
                                          "homeMDB",
                                          "msExchHomeServerName",
                                          "msExchMailboxGuid",
                                          "msExchMasterAccountSid",
                                          "msExchRecipientTypeDetails",
                                          "msExchVersion",
                                          "msExchOmaAdminWirelessEnable",
                                          "protocolSettings",
                                          NULL};

#define UAC_DISABLED 2
#define EAS_DISABLED 4

/* msExchRecipientTypeDetails: one bit each. */
#define RTD_LINKED INT64_C(0x2)
#define RTD_SHARED INT64_C(0x4)
#define RTD_LEGACY INT64_C(0x8)
#define RTD_ROOM INT64_C(0x10)
#define RTD_EQUIPMENT INT64_C(0x20)
#define RTD_ARBITRATION INT64_C(0x800000)
#define RTD_PLAN INT64_C(0x1000000)
#define RTD_LINKED_USER INT64_C(0x2000000)
#define RTD_DISCOVERY INT64_C(0x20000000)
#define RTD_REMOTE_USER INT64_C(0x80000000)
#define RTD_REMOTE_ROOM INT64_C(0x200000000)
#define RTD_REMOTE_EQUIPMENT INT64_C(0x400000000)
#define RTD_REMOTE_SHARED INT64_C(0x800000000)
#define RTD_PUBLIC_FOLDER INT64_C(0x1000000000)
#define RTD_LINKED_ROOM INT64_C(0x2000000000)

#define RTD_ANY_LINKED (RTD_LINKED | RTD_LINKED_USER | RTD_LINKED_ROOM)
#define RTD_ANY_SHARED                                                  \
    (RTD_SHARED | RTD_ROOM | RTD_EQUIPMENT | RTD_ARBITRATION | RTD_PLAN \
     | RTD_DISCOVERY | RTD_PUBLIC_FOLDER | RTD_LINKED_ROOM)
#define RTD_ANY_REMOTE                                        \
    (RTD_REMOTE_USER | RTD_REMOTE_ROOM | RTD_REMOTE_EQUIPMENT \
     | RTD_REMOTE_SHARED)

#define ALL_FLAGS                                                         \
    ((uint32_t)(CASP_MB_MAILBOX | CASP_MB_DISABLED | CASP_MB_OWA_OFF      \
                | CASP_MB_EAS_OFF | CASP_MB_LINKED | CASP_MB_SHARED       \
                | CASP_MB_REMOTE | CASP_MB_HOME_UNKNOWN | CASP_MB_POP_OFF \
                | CASP_MB_IMAP_OFF))

/* ------------------------------------------------------------- reading */

const char *casp_mailbox_text(const casp_mailbox_t *m,
                              casp_mailbox_string_e which)
{
    return (const char *)m + m->text[which];
}

bool casp_mailbox_valid(const void *bytes, apr_size_t len)
{
    casp_mailbox_t m;
    int i;

    if (!bytes || len <= sizeof(m) || len > CASP_MAILBOX_MAX) {
        return false;
    }
    memcpy(&m, bytes, sizeof(m)); /* the bytes may lie unaligned */
    if (m.version != CASP_MAILBOX_VERSION || m.size != len
        || (m.flags & ~ALL_FLAGS) || m.read_at < 0
        || m.object_version >= CASP_V_COUNT || m.sid_len > sizeof(m.sid)) {
        return false;
    }
    for (i = 0; i < CASP_MB_STRINGS; i++) {
        if (m.text[i] < sizeof(m) || m.text[i] >= len) {
            return false;
        }
    }
    /* One NUL at the very end ends every text. */
    return ((const char *)bytes)[len - 1] == '\0';
}

void casp_mailbox_home(const casp_mailbox_t *m, const casp_topology_t *t,
                       casp_home_t *home)
{
    memset(home, 0, sizeof(*home));
    home->version = CASP_V_NONE;
    if (!m) {
        return;
    }
    if (t) {
        if (!casp_guid_zero(&m->database)) {
            home->database = casp_topology_database(t, &m->database);
        }
        else if (*casp_mailbox_text(m, CASP_MB_HOME)) {
            /* The record may be older than the snapshot that has learnt of
             * this database. */
            home->database = casp_topology_database_by_dn(
                t, casp_mailbox_text(m, CASP_MB_HOME));
        }
        if (home->database && home->database->owner) {
            home->server = home->database->owner;
        }
        else if (!casp_guid_zero(&m->server)) {
            home->server = casp_topology_server(t, &m->server);
        }
    }
    if (home->server) {
        home->site = home->server->site;
        home->version = home->server->version;
    }
    if (home->version == CASP_V_NONE) {
        home->version = (casp_version_e)m->object_version;
    }
}

/* ------------------------------------------------------------ building */

static const casp_value_t *record_value(const casp_entry_t *e,
                                        const char *name)
{
    const casp_attr_t *a = casp_entry_attr(e, name);
    return a && a->nvalues > 0 ? &a->values[0] : NULL;
}

/* "SMTP:" in capitals marks the primary address. */
static const char *record_smtp(const casp_entry_t *e)
{
    const casp_attr_t *a = casp_entry_attr(e, "proxyAddresses");
    int i;

    for (i = 0; a && i < a->nvalues; i++) {
        const casp_value_t *v = &a->values[i];
        if (v->len > 5 && memcmp(v->data, "SMTP:", 5) == 0
            && !memchr(v->data, '\0', v->len)) {
            return v->data + 5;
        }
    }
    return casp_entry_str(e, "mail");
}

/* Where mail for a mailbox elsewhere goes; another protocol's address is not
 * for us. */
static const char *record_target(const casp_entry_t *e)
{
    const char *to = casp_entry_str(e, "targetAddress");

    return to && !apr_cstr_casecmpn(to, "smtp:", 5) ? to + 5 : NULL;
}

/*
 * Does a value of protocolSettings switch this protocol off?  They read
 * "OWA", a section sign, "0" or "1", and more behind further section signs.
 * The sign is C2 A7 over LDAP; A7 alone stands in exports of old tools.
 */
static bool record_protocol_off(const casp_value_t *v, const char *protocol)
{
    apr_size_t n = strlen(protocol);
    const char *s = v->data + n;
    const char *end = v->data + v->len;

    if (v->len < n || apr_cstr_casecmpn(v->data, protocol, n) != 0) {
        return false;
    }
    if (s < end && *s == '\xc2') {
        s++;
    }
    return s + 1 < end && s[0] == '\xa7' && s[1] == '0';
}

/* What protocolSettings switches off, as flags. */
static uint32_t record_off(const casp_entry_t *e)
{
    static const struct {
        const char *protocol;
        uint32_t flag;
    } words[] = {{"HTTP", CASP_MB_OWA_OFF},
                 {"OWA", CASP_MB_OWA_OFF},
                 {"POP3", CASP_MB_POP_OFF},
                 {"IMAP4", CASP_MB_IMAP_OFF}};
    const casp_attr_t *a = casp_entry_attr(e, "protocolSettings");
    uint32_t flags = 0;

    for (int i = 0; a && i < a->nvalues; i++) {
        for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++) {
            if (record_protocol_off(&a->values[i], words[w].protocol)) {
                flags |= words[w].flag;
            }
        }
    }
    return flags;
}

static bool record_is_sid(const casp_value_t *v)
{
    return v && v->len >= 8 && v->len <= 68 && v->data[0] == 1
           && v->len == 8 + 4 * (apr_size_t)(unsigned char)v->data[1];
}

/* S-1-5-10, "myself", marks a shared mailbox and is nobody's account. */
static bool record_is_self(const casp_value_t *v)
{
    static const char self[12] = {1, 1, 0, 0, 0, 0, 0, 5, 10, 0, 0, 0};
    return record_is_sid(v) && v->len == sizeof(self)
           && memcmp(v->data, self, sizeof(self)) == 0;
}

/*
 * What kind of mailbox it is.  The type decides where there is one, for
 * msExchMasterAccountSid is also left over on ordinary users; 2000 and 2003
 * know no type, so that there the SID itself decides.
 */
static uint32_t record_kind(const casp_entry_t *e, int64_t type)
{
    const casp_value_t *sid = record_value(e, "msExchMasterAccountSid");
    uint32_t flags = 0;

    if (type & RTD_ANY_SHARED) {
        flags |= CASP_MB_SHARED;
    }
    if (type & RTD_ANY_LINKED) {
        flags |= CASP_MB_LINKED;
    }
    if ((type == 0 || type == RTD_LEGACY) && record_is_sid(sid)) {
        flags |= record_is_self(sid) ? CASP_MB_SHARED : CASP_MB_LINKED;
    }
    return flags;
}

static uint32_t record_flags(const casp_entry_t *e, int64_t type)
{
    uint32_t flags = record_kind(e, type);
    bool home = casp_entry_str(e, "homeMDB") != NULL;

    if (!home
        && ((type & RTD_ANY_REMOTE)
            || casp_entry_str(e, "targetAddress") != NULL)) {
        flags |= CASP_MB_REMOTE;
    }
    else if (home
             || (casp_entry_str(e, "msExchHomeServerName")
                 && record_value(e, "msExchMailboxGuid"))) {
        flags |= CASP_MB_MAILBOX;
    }
    /* The account of a linked or shared mailbox is disabled by design. */
    if ((casp_entry_int(e, "userAccountControl", 0) & UAC_DISABLED)
        && !(flags & (CASP_MB_LINKED | CASP_MB_SHARED))) {
        flags |= CASP_MB_DISABLED;
    }
    if (casp_entry_int(e, "msExchOmaAdminWirelessEnable", 0) & EAS_DISABLED) {
        flags |= CASP_MB_EAS_OFF;
    }
    return flags | record_off(e);
}

static void record_set_home(casp_mailbox_t *m, const casp_entry_t *e,
                            const casp_topology_t *t)
{
    const char *home = casp_entry_str(e, "homeMDB");
    const char *legacy = casp_entry_str(e, "msExchHomeServerName");
    const casp_database_t *db =
        home && t ? casp_topology_database_by_dn(t, home) : NULL;
    const casp_server_t *server =
        legacy && t ? casp_topology_server_by_legacy_dn(t, legacy) : NULL;

    if (db) {
        m->database = db->id;
    }
    else if (home) {
        m->flags |= CASP_MB_HOME_UNKNOWN;
    }
    /* Not rewritten on a failover, so that it counts only where the database
     * cannot tell: casp_mailbox_home() sees to that. */
    if (server) {
        m->server = server->id;
    }
}

/* The account that logs on: the master account of a linked mailbox. */
static void record_set_sid(casp_mailbox_t *m, const casp_entry_t *e)
{
    const casp_value_t *v =
        record_value(e, m->flags & CASP_MB_LINKED ? "msExchMasterAccountSid"
                                                  : "objectSid");
    if (record_is_sid(v)) {
        m->sid_len = (uint8_t)v->len;
        memcpy(m->sid, v->data, v->len);
    }
}

casp_mailbox_t *casp_mailbox_of_entry(apr_pool_t *p, const casp_entry_t *e,
                                      const casp_topology_t *t, apr_time_t now)
{
    const casp_domain_t *domain =
        t ? casp_topology_domain_of_dn(t, e->dn) : NULL;
    const char *text[CASP_MB_STRINGS];
    apr_size_t size = sizeof(casp_mailbox_t);
    int i;

    text[CASP_MB_DN] = e->dn;
    text[CASP_MB_SAM] = casp_entry_str(e, "sAMAccountName");
    text[CASP_MB_NETBIOS] = domain ? domain->netbios : NULL;
    text[CASP_MB_UPN] = casp_entry_str(e, "userPrincipalName");
    text[CASP_MB_SMTP] = record_smtp(e);
    text[CASP_MB_ALIAS] = casp_entry_str(e, "mailNickname");
    text[CASP_MB_HOME] = casp_entry_str(e, "homeMDB");
    text[CASP_MB_DISPLAY] = casp_entry_str(e, "displayName");
    text[CASP_MB_LEGACY_DN] = casp_entry_str(e, "legacyExchangeDN");
    text[CASP_MB_TARGET] = record_target(e);
    for (i = 0; i < CASP_MB_STRINGS; i++) {
        text[i] = text[i] ? text[i] : "";
        size += strlen(text[i]) + 1;
    }
    if (size > CASP_MAILBOX_MAX) {
        return NULL;
    }

    /* Zeroed with its padding: the same entry gives the same bytes. */
    casp_mailbox_t *m = apr_pcalloc(p, size);
    m->version = CASP_MAILBOX_VERSION;
    m->size = (uint16_t)size;
    m->read_at = now;
    m->recipient_type = casp_entry_int(e, "msExchRecipientTypeDetails", 0);
    m->password_set = casp_entry_int(e, "pwdLastSet", 0);
    m->flags = record_flags(e, m->recipient_type);
    m->user = casp_entry_guid(e);
    m->object_version =
        (uint8_t)casp_version_of_object(casp_entry_int(e, "msExchVersion", 0));
    const casp_value_t *guid = record_value(e, "msExchMailboxGuid");
    if (guid && guid->len == sizeof(m->mailbox.b)) {
        memcpy(m->mailbox.b, guid->data, guid->len);
    }
    record_set_home(m, e, t);
    record_set_sid(m, e);

    apr_size_t at = sizeof(*m);
    for (i = 0; i < CASP_MB_STRINGS; i++) {
        apr_size_t n = strlen(text[i]) + 1;
        memcpy((char *)m + at, text[i], n);
        m->text[i] = (uint16_t)at;
        at += n;
    }
    return m;
}
