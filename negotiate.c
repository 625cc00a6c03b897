/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * negotiate.c - what a client's token is, and Kerberos verified by the
 * front's own keytab.
 *
 * Tokens are bytes from strangers.  They are looked at only as far as it takes
 * to choose who verifies them: GSSAPI for Kerberos, ntlm.c's verifiers for
 * NTLM.  What a token says of its sender is not read here at all.
 *
 * GSSAPI gets named stores, and Kerberos as the only mechanism to negotiate:
 * an NTLM mechanism that is installed for other purposes, and may crash
 * without a name of its own, never sees a token of a client's.
 */

#include "negotiate.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include <apr_base64.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

/* ------------------------------------------------------------------ tokens */

static const unsigned char ntlmssp[] = {'N', 'T', 'L', 'M', 'S', 'S', 'P', 0};
/* what stands behind the tag of an OBJECT IDENTIFIER: length and value */
static const unsigned char oid_spnego[] = {6, 0x2b, 6, 1, 5, 5, 2};
static const unsigned char oid_ntlm[] = {10,   0x2b, 6, 1, 4, 1,
                                         0x82, 0x37, 2, 2, 10};
/* 1.2.840.113554.1.2.2, Windows 2000's slip of the pen, user to user */
static const unsigned char oid_krb5[][11] = {
    {9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2},
    {9, 0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 1, 2, 2},
    {10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 3},
};

/** A stretch of bytes that is being read. */
typedef struct {
    const unsigned char *at, *end;
} bytes_t;

/* The element at the front, if it has this tag: its content into @a in, and
 * @a b behind it.  Lengths are definite, in at most four bytes. */
static bool element(bytes_t *b, unsigned char tag, bytes_t *in)
{
    const unsigned char *p = b->at;
    apr_size_t len;
    if (b->end - p < 2 || *p++ != tag) {
        return false;
    }
    len = *p++;
    if (len & 0x80) {
        int n = (int)(len & 0x7f);
        if (n < 1 || n > 4 || b->end - p < n) {
            return false;
        }
        for (len = 0; n > 0; n--) {
            len = len << 8 | *p++;
        }
    }
    if ((apr_size_t)(b->end - p) < len) {
        return false;
    }
    in->at = p;
    in->end = p + len;
    b->at = in->end;
    return true;
}

static bool is_oid(const bytes_t *b, const unsigned char *oid)
{
    return (apr_size_t)(b->end - b->at) == oid[0]
           && memcmp(b->at, oid + 1, oid[0]) == 0;
}

static bool is_kerberos(const bytes_t *oid)
{
    bool is = false;
    for (apr_size_t i = 0; i < sizeof(oid_krb5) / sizeof(oid_krb5[0]); i++) {
        is |= is_oid(oid, oid_krb5[i]);
    }
    return is;
}

/* A GSSAPI token of Kerberos's own: 0x60, its OID, an AP-REQ. */
static bool is_ticket(bytes_t token)
{
    bytes_t body, oid;
    return element(&token, 0x60, &body) && element(&body, 0x06, &oid)
           && is_kerberos(&oid);
}

static casp_token_e ntlm_kind(const bytes_t *b)
{
    apr_size_t len = (apr_size_t)(b->end - b->at);
    if (len < 16 || memcmp(b->at, ntlmssp, sizeof(ntlmssp)) != 0 || b->at[9]
        || b->at[10] || b->at[11]) {
        return CASP_TOKEN_BAD;
    }
    return b->at[8] == 1   ? CASP_TOKEN_NTLM_1
           : b->at[8] == 3 ? CASP_TOKEN_NTLM_3
                           : CASP_TOKEN_BAD;
}

/* What a NegTokenInit holds. */
typedef struct {
    bool ntlm, kerberos; /* are among its mechanisms */
    bool ntlm_first; /* of those two */
    bytes_t token; /* of the first mechanism; empty: none */
} init_t;

static bool read_mechs(bytes_t list, init_t *init)
{
    bytes_t oid;
    while (list.at < list.end) {
        if (!element(&list, 0x06, &oid)) {
            return false;
        }
        if (is_oid(&oid, oid_ntlm)) {
            init->ntlm = true;
            init->ntlm_first = init->ntlm_first || !init->kerberos;
        }
        else if (is_kerberos(&oid)) {
            init->kerberos = true;
        }
    }
    return true;
}

/* NegTokenInit ::= [0] SEQUENCE { mechTypes [0], reqFlags [1] OPTIONAL,
 * mechToken [2] OPTIONAL, mechListMIC [3] OPTIONAL } */
static bool read_init(bytes_t body, init_t *init)
{
    bytes_t wrapped, seq, field, list;
    memset(init, 0, sizeof(*init));
    if (!element(&body, 0xa0, &wrapped) || !element(&wrapped, 0x30, &seq)
        || !element(&seq, 0xa0, &field) || !element(&field, 0x30, &list)
        || !read_mechs(list, init)) {
        return false;
    }
    while (seq.at < seq.end) {
        unsigned char tag = *seq.at;
        if (!element(&seq, tag, &field)) {
            return false;
        }
        if (tag == 0xa2) {
            return element(&field, 0x04, &init->token);
        }
    }
    return true;
}

/*
 * A NegTokenInit is what its own token is.  Without one, or with one of a
 * mechanism that nobody here speaks (NEGOEX, which new Windows may put first),
 * the verifier has to ask for another: NTLM's verifiers do.  The acceptor of
 * Kerberos does not, because a handshake of several messages needs a memory
 * that only NTLM's room has; where Kerberos is what would be asked for, it is
 * still the one to say so.
 */
static casp_token_e init_kind(bytes_t body)
{
    init_t init;
    if (!read_init(body, &init)) {
        return CASP_TOKEN_BAD;
    }
    if (init.token.at < init.token.end) {
        if (ntlm_kind(&init.token) == CASP_TOKEN_NTLM_1) {
            return CASP_TOKEN_SPNEGO_NTLM;
        }
        if (is_ticket(init.token)) {
            return CASP_TOKEN_KERBEROS;
        }
    }
    return init.ntlm_first ? CASP_TOKEN_SPNEGO_NTLM
           : init.kerberos ? CASP_TOKEN_KERBEROS
                           : CASP_TOKEN_BAD;
}

casp_token_e casp_token_kind(const void *token, apr_size_t len)
{
    bytes_t all, body, oid;
    if (token == NULL || len < 2 || len > CASP_TOKEN_MAX) {
        return CASP_TOKEN_BAD;
    }
    all.at = token;
    all.end = all.at + len;
    switch (*all.at) {
    case 'N':
        return ntlm_kind(&all);
    case 0x60:
        if (!element(&all, 0x60, &body) || !element(&body, 0x06, &oid)) {
            return CASP_TOKEN_BAD;
        }
        return is_oid(&oid, oid_spnego) ? init_kind(body)
               : is_kerberos(&oid)      ? CASP_TOKEN_KERBEROS
                                        : CASP_TOKEN_BAD;
    case 0xa1:
        return element(&all, 0xa1, &body) && element(&body, 0x30, &oid)
                   ? CASP_TOKEN_SPNEGO_MORE
                   : CASP_TOKEN_BAD;
    default:
        return CASP_TOKEN_BAD;
    }
}

/* apr_base64 stops quietly at what it does not know. */
static bool is_base64(const char *text, apr_size_t len)
{
    apr_size_t pad = 0;
    while (pad < 2 && len > pad && text[len - 1 - pad] == '=') {
        pad++;
    }
    for (apr_size_t i = 0; i < len - pad; i++) {
        if (!apr_isalnum(text[i]) && text[i] != '+' && text[i] != '/') {
            return false;
        }
    }
    return len > pad && len % 4 == 0;
}

const void *casp_token_of_header(apr_pool_t *p, const char *header,
                                 apr_size_t *len, bool *negotiate)
{
    const char *text;
    if (header == NULL) {
        return NULL;
    }
    *negotiate = strncasecmp(header, "Negotiate ", 10) == 0;
    if (!*negotiate && strncasecmp(header, "NTLM ", 5) != 0) {
        return NULL;
    }
    text = header + (*negotiate ? 10 : 5);
    text += strspn(text, " \t");
    apr_size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) {
        n--;
    }
    if (n > CASP_TOKEN_MAX / 3 * 4 || !is_base64(text, n)) {
        return NULL;
    }
    text = apr_pstrmemdup(p, text, n);
    unsigned char *token =
        apr_palloc(p, (apr_size_t)apr_base64_decode_len(text));
    *len = (apr_size_t)apr_base64_decode_binary(token, text);
    return *len > 0 ? token : NULL;
}

/* --------------------------------------------------------------------- PAC */

static apr_size_t read16(const unsigned char *p)
{
    return p[0] | (apr_size_t)p[1] << 8;
}

static apr_size_t read32(const unsigned char *p)
{
    return read16(p) | read16(p + 2) << 16;
}

/* A SID at the front of these bytes; 0: none. */
static apr_size_t sid_size(const unsigned char *p, apr_size_t len)
{
    apr_size_t size = len < 8 ? 0 : 8 + 4 * (apr_size_t)p[1];
    return size >= 12 && size <= len && p[0] == 1 && p[1] <= 15 ? size : 0;
}

apr_size_t casp_pac_upn_sid(const void *info, apr_size_t len,
                            unsigned char sid[68])
{
    const unsigned char *p = info;
    /* UPN and DNS domain (length, offset each), flags; where flag 2 is set:
     * account name and SID */
    if (info == NULL || len < 20 || !(p[8] & 2)) {
        return 0;
    }
    apr_size_t size = read16(p + 16), at = read16(p + 18);
    if (at > len || size > len - at || size == 0
        || sid_size(p + at, size) != size) {
        return 0;
    }
    memcpy(sid, p + at, size);
    return size;
}

/* What an NDR pointer before LogonDomainId's points to: a conformant and
 * varying array; 0: it is not there, or reaches beyond the end. */
static apr_size_t pass_array(const unsigned char *p, apr_size_t len,
                             apr_size_t at, apr_size_t item)
{
    if (at > len || len - at < 12) {
        return 0;
    }
    apr_size_t room = len - at - 12, count = read32(p + at + 8);
    if (read32(p + at + 4) != 0 || count > room / item) {
        return 0;
    }
    apr_size_t next = at + 12 + count * item;
    return (next + 3) & ~(apr_size_t)3;
}

/*
 * KERB_VALIDATION_INFO (MS-PAC 2.5) in NDR: a header of 20 bytes, the fixed
 * part, and behind it what its pointers point to, in their order: six names,
 * the groups' RIDs, two more names, the domain's SID.
 */
apr_size_t casp_pac_logon_sid(const void *info, apr_size_t len,
                              unsigned char sid[68])
{
    enum {
        HEAD = 20,
        NAMES = HEAD + 48,
        RID = NAMES + 48 + 4,
        GROUPS = RID + 8,
        MORE_NAMES = GROUPS + 8 + 4 + 16,
        DOMAIN = MORE_NAMES + 16,
        FIXED = DOMAIN + 4 + 8 + 4 + 4 + 8 + 8 + 4 + 4 + 4 + 4 + 4 + 4 + 4
    };
    const unsigned char *p = info;
    /* version 1, little-endian, the usual header */
    if (info == NULL || len < FIXED || p[0] != 1 || p[1] != 0x10
        || read16(p + 2) != 8 || read32(p + DOMAIN) == 0) {
        return 0;
    }
    apr_size_t at = FIXED;
    for (apr_size_t name = NAMES; at && name < NAMES + 48; name += 8) {
        at = read32(p + name + 4) ? pass_array(p, len, at, 2) : at;
    }
    if (at && read32(p + GROUPS + 4)) {
        /* conformant only: the count, then RID and attributes each */
        apr_size_t count = read32(p + GROUPS);
        at = at <= len && len - at >= 4 && read32(p + at) == count
                     && count <= (len - at - 4) / 8
                 ? at + 4 + 8 * count
                 : 0;
    }
    for (apr_size_t name = MORE_NAMES; at && name < MORE_NAMES + 16;
         name += 8) {
        at = read32(p + name + 4) ? pass_array(p, len, at, 2) : at;
    }
    if (!at || at > len || len - at < 4) {
        return 0;
    }
    apr_size_t size = sid_size(p + at + 4, len - at - 4);
    if (size == 0 || size > 64 || read32(p + at) != p[at + 5]) {
        return 0;
    }
    memcpy(sid, p + at + 4, size);
    memcpy(sid + size, p + RID, 4);
    sid[1]++;
    return size + 4;
}

/* ---------------------------------------------------------------- Kerberos */

struct casp_acceptor_t {
    gss_cred_id_t cred; /* SPNEGO with Kerberos only, or bare Kerberos */
    const char *keytab;
};

static gss_OID_desc mech_spnego = {6, (void *)"\x2b\x06\x01\x05\x05\x02"};

/* One kind of the library's own words. */
static const char *status(apr_pool_t *p, OM_uint32 code, int kind)
{
    const char *all = NULL;
    OM_uint32 more = 0, ignored;
    do {
        gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
        if (gss_display_status(&ignored, code, kind,
                               kind == GSS_C_MECH_CODE ? (gss_OID)gss_mech_krb5
                                                       : GSS_C_NO_OID,
                               &more, &text)
            != GSS_S_COMPLETE) {
            break;
        }
        all = apr_psprintf(p, "%s%s%.*s", all ? all : "", all ? "; " : "",
                           (int)text.length, (const char *)text.value);
        (void)gss_release_buffer(&ignored, &text);
    } while (more != 0);
    return all;
}

/* The mechanism's words say more, where it has any. */
static const char *words(apr_pool_t *p, OM_uint32 major, OM_uint32 minor)
{
    const char *text = minor ? status(p, minor, GSS_C_MECH_CODE) : NULL;
    text = text ? text : status(p, major, GSS_C_GSS_CODE);
    return text ? text : "no reason given";
}

static apr_status_t acceptor_end(void *data)
{
    casp_acceptor_t *a = data;
    OM_uint32 minor;
    (void)gss_release_cred(&minor, &a->cred);
    return APR_SUCCESS;
}

/*
 * The replay cache is the library's own choice: a file of this user's in
 * /var/tmp, shared by all children, unless krb5.conf says otherwise.  Named
 * here it would be opened without a look at whose file that is.
 */
static OM_uint32 acquire(const char *keytab, gss_name_t name,
                         gss_cred_id_t *cred, OM_uint32 *minor)
{
    gss_OID_desc mechs[2] = {*gss_mech_krb5, mech_spnego};
    gss_OID_set_desc both = {2, mechs}, krb5 = {1, mechs};
    gss_key_value_element_desc element = {"keytab", keytab};
    gss_key_value_set_desc store = {1, &element};
    OM_uint32 ignored;
    *cred = GSS_C_NO_CREDENTIAL;
    /* Kerberos alone first: with SPNEGO beside it a keytab that cannot be read
     * would do, until the first ticket. */
    OM_uint32 major =
        gss_acquire_cred_from(minor, name, GSS_C_INDEFINITE, &krb5,
                              GSS_C_ACCEPT, &store, cred, NULL, NULL);
    if (!GSS_ERROR(major)) {
        (void)gss_release_cred(&ignored, cred);
        major = gss_acquire_cred_from(minor, name, GSS_C_INDEFINITE, &both,
                                      GSS_C_ACCEPT, &store, cred, NULL, NULL);
    }
    if (!GSS_ERROR(major)) {
        /* so that no other mechanism that is installed sees a token */
        major = gss_set_neg_mechs(minor, *cred, &krb5);
    }
    if (GSS_ERROR(major)) {
        (void)gss_release_cred(&ignored, cred);
    }
    return major;
}

const char *casp_acceptor_create(apr_pool_t *p, const char *keytab,
                                 casp_acceptor_t **acceptor)
{
    /* Any HTTP/ key, and no other: who has a ticket for another service on
     * the same account has not asked for this one. */
    gss_buffer_desc service = {4, (void *)"HTTP"};
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 minor = 0, ignored;
    casp_acceptor_t *a = apr_pcalloc(p, sizeof(*a));
    a->keytab = apr_pstrdup(p, keytab);
    *acceptor = NULL;
    /* First with no name: MIT 1.20 forgets a little memory where a name is
     * not found, and that should be for no worse reason than that. */
    OM_uint32 major = acquire(keytab, GSS_C_NO_NAME, &a->cred, &minor);
    if (!GSS_ERROR(major)) {
        (void)gss_release_cred(&ignored, &a->cred);
        major = gss_import_name(&minor, &service, GSS_C_NT_HOSTBASED_SERVICE,
                                &name);
    }
    if (!GSS_ERROR(major)) {
        major = acquire(keytab, name, &a->cred, &minor);
    }
    const char *text = GSS_ERROR(major) ? words(p, major, minor) : NULL;
    (void)gss_release_name(&ignored, &name);
    if (text) {
        return apr_psprintf(p,
                            "%s cannot be used (%s); it must be a keytab that "
                            "httpd's user may read, with a key of HTTP/ and "
                            "this front's name; that user must be able to "
                            "read krb5.conf (KRB5_CONFIG), too",
                            keytab, text);
    }
    apr_pool_cleanup_register(p, a, acceptor_end, apr_pool_cleanup_null);
    *acceptor = a;
    return NULL;
}

/* What an operator can do about it: in two groups, for a client with a bad
 * ticket is no fault of ours. */
static const struct {
    krb5_error_code code;
    casp_accept_e verdict;
    const char *remedy;
} errors[] = {
#define CLOCK "compare this machine's clock with the domain's and the client's"
#define KEYTAB                                                             \
    "the keytab holds no key for that name and version: export it anew, "  \
    "with all names that clients use (klist -k shows what it has), after " \
    "each change of the account's password"
#define SPN                                                                 \
    "the ticket is encrypted with another key: the SPN must be registered " \
    "on the account whose key the keytab holds, and on no other (setspn "   \
    "-Q), and the keytab be made after that account's last password"
    {KRB5KRB_AP_ERR_SKEW, CASP_ACCEPT_FAILED, CLOCK},
    {KRB5KRB_AP_ERR_TKT_NYV, CASP_ACCEPT_FAILED, CLOCK},
    {KRB5KRB_AP_ERR_TKT_EXPIRED, CASP_ACCEPT_NO, CLOCK},
    {KRB5KRB_AP_ERR_NOT_US, CASP_ACCEPT_FAILED, KEYTAB},
    {KRB5KRB_AP_WRONG_PRINC, CASP_ACCEPT_FAILED, KEYTAB},
    {KRB5KRB_AP_ERR_NOKEY, CASP_ACCEPT_FAILED, KEYTAB},
    {KRB5KRB_AP_ERR_BADKEYVER, CASP_ACCEPT_FAILED, KEYTAB},
    {KRB5_KT_KVNONOTFOUND, CASP_ACCEPT_FAILED, KEYTAB},
    {KRB5_KT_NOTFOUND, CASP_ACCEPT_FAILED, KEYTAB},
    {KRB5KRB_AP_ERR_MODIFIED, CASP_ACCEPT_NO, SPN},
    {KRB5KRB_AP_ERR_BAD_INTEGRITY, CASP_ACCEPT_NO, SPN},
    {KRB5KRB_AP_ERR_REPEAT, CASP_ACCEPT_NO,
     "a client or a proxy has sent the same ticket twice"},
    {KRB5_PROG_ETYPE_NOSUPP, CASP_ACCEPT_FAILED,
     "the ticket's encryption is not allowed here: give the account AES keys "
     "and export the keytab anew"},
    {KRB5_KT_IOERR, CASP_ACCEPT_FAILED, "can httpd's user read it?"},
    {EACCES, CASP_ACCEPT_FAILED, "can httpd's user read it?"},
    {ENOENT, CASP_ACCEPT_FAILED, "the keytab has gone"},
};

/*
 * Which error this is: what comes through SPNEGO is a number that the library
 * made up to keep mechanisms apart.  Its words are those of Kerberos's own
 * error, which are the same in this thread when that is asked for them.
 */
static casp_accept_e explain(apr_pool_t *p, const casp_acceptor_t *a,
                             OM_uint32 major, OM_uint32 minor,
                             const char **why)
{
    const char *text = words(p, major, minor), *remedy = NULL;
    casp_accept_e verdict = CASP_ACCEPT_NO;
    for (apr_size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        const char *same =
            status(p, (OM_uint32)errors[i].code, GSS_C_MECH_CODE);
        if (same && strcmp(same, text) == 0) {
            remedy = errors[i].remedy;
            verdict = errors[i].verdict;
            break;
        }
    }
    *why = apr_psprintf(p, "%s%s%s (keytab %s)", text, remedy ? "; " : "",
                        remedy ? remedy : "", a->keytab);
    return verdict;
}

typedef apr_size_t pac_fn(const void *info, apr_size_t len,
                          unsigned char sid[68]);

/* The PAC counts only where the library has verified its signature. */
static apr_size_t pac_sid(gss_name_t name, const char *attribute, pac_fn *read,
                          unsigned char sid[68])
{
    gss_buffer_desc attr = {strlen(attribute), (void *)(uintptr_t)attribute};
    gss_buffer_desc value = GSS_C_EMPTY_BUFFER, shown = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor;
    int authenticated = 0, complete = 0, more = -1;
    OM_uint32 major =
        gss_get_name_attribute(&minor, name, &attr, &authenticated, &complete,
                               &value, &shown, &more);
    apr_size_t len = !GSS_ERROR(major) && authenticated
                         ? read(value.value, value.length, sid)
                         : 0;
    (void)gss_release_buffer(&minor, &value);
    (void)gss_release_buffer(&minor, &shown);
    return len;
}

/* Who the ticket is of; the PAC, signed by the domain, knows the SID. */
static const char *identify(apr_pool_t *p, gss_name_t name,
                            casp_verified_t *who)
{
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor;
    OM_uint32 major = gss_display_name(&minor, name, &text, NULL);
    if (GSS_ERROR(major)) {
        return words(p, major, minor);
    }
    who->name = apr_pstrmemdup(p, text.value, text.length);
    bool odd = strlen(who->name) != text.length;
    (void)gss_release_buffer(&minor, &text);
    if (odd) {
        return "the ticket's name holds a NUL";
    }
    who->sid_len =
        pac_sid(name, "urn:mspac:upn-dns-info", casp_pac_upn_sid, who->sid);
    if (who->sid_len == 0) {
        /* domain controllers before the updates of November 2021 */
        who->sid_len = pac_sid(name, "urn:mspac:logon-info",
                               casp_pac_logon_sid, who->sid);
    }
    return NULL;
}

casp_accept_e casp_acceptor_verify(casp_acceptor_t *a, apr_pool_t *p,
                                   const void *token, apr_size_t len,
                                   const void **out, apr_size_t *out_len,
                                   casp_verified_t *who, const char **why)
{
    gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
    gss_name_t name = GSS_C_NO_NAME;
    gss_buffer_desc in = {len, (void *)(uintptr_t)token};
    gss_buffer_desc reply = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor = 0, ignored, flags = 0;
    casp_accept_e verdict = CASP_ACCEPT_NO;
    *out = NULL;
    *out_len = 0;
    *why = NULL;
    memset(who, 0, sizeof(*who));
    OM_uint32 major = gss_accept_sec_context(&minor, &ctx, a->cred, &in,
                                             GSS_C_NO_CHANNEL_BINDINGS, &name,
                                             NULL, &reply, &flags, NULL, NULL);
    if (GSS_ERROR(major)) {
        verdict = explain(p, a, major, minor, why);
    }
    else if (major & GSS_S_CONTINUE_NEEDED) {
        *why = "the client wants Kerberos in more than one message, and "
               "only NTLM may have several here";
    }
    else if (flags & GSS_C_ANON_FLAG) {
        *why = "an anonymous ticket";
    }
    else {
        *why = identify(p, name, who);
        verdict = *why ? CASP_ACCEPT_NO : CASP_ACCEPT_OK;
    }
    if (verdict == CASP_ACCEPT_OK && reply.length > 0) {
        *out = apr_pmemdup(p, reply.value, reply.length);
        *out_len = reply.length;
    }
    (void)gss_release_buffer(&ignored, &reply);
    (void)gss_release_name(&ignored, &name);
    (void)gss_delete_sec_context(&ignored, &ctx, GSS_C_NO_BUFFER);
    return verdict;
}
