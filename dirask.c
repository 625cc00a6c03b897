/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is asked on a connection that is ready: a search, or whether a
 * password is right.
 *
 * Answers are input: sizes, types and counts are checked, and an answer that
 * cannot be read is the server's failure, not an empty result.  Nothing here
 * knows of other servers, pools or retries.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "dirwire.h"

#define PAGE_SIZE 500

/* ---------------------------------------------------------------- search */

/* "member;range=0-1499" and "userCertificate;binary" without the option. */
static const char *bare_name(const struct berval *name, char *buf,
                             apr_size_t size)
{
    const char *semicolon = memchr(name->bv_val, ';', name->bv_len);
    apr_size_t len =
        semicolon ? (apr_size_t)(semicolon - name->bv_val) : name->bv_len;
    if (len == 0 || len >= size || memchr(name->bv_val, '\0', len)) {
        return NULL;
    }
    memcpy(buf, name->bv_val, len);
    buf[len] = '\0';
    return buf;
}

static casp_wire_e read_entry(LDAP *ld, LDAPMessage *msg, apr_pool_t *p,
                              apr_array_header_t *entries)
{
    BerElement *ber = NULL;
    struct berval dn = {0, NULL};
    if (ldap_get_dn_ber(ld, msg, &ber, &dn) != LDAP_SUCCESS || !dn.bv_val) {
        ber_free(ber, 0);
        return CASP_WIRE_DOWN;
    }
    char *text = apr_pstrmemdup(p, dn.bv_val, dn.bv_len);
    casp_entry_t *entry = casp_entry_make(p, text);
    for (;;) {
        struct berval name = {0, NULL};
        BerVarray values = NULL;
        int rc = ldap_get_attribute_ber(ld, msg, ber, &name, &values);
        if (rc != LDAP_SUCCESS || !name.bv_val) {
            ber_memfree(values);
            ber_free(ber, 0);
            if (rc != LDAP_SUCCESS) {
                return CASP_WIRE_DOWN;
            }
            break;
        }
        char buf[256];
        const char *bare = bare_name(&name, buf, sizeof(buf));
        for (int i = 0; bare && values && values[i].bv_val; i++) {
            casp_entry_add(p, entry, bare, values[i].bv_val, values[i].bv_len);
        }
        ber_memfree(values);
    }
    if (strlen(text) != dn.bv_len) {
        casp_log(CASP_LOG_WARNING, 0,
                 CASPLOGNO(0310) "directory entry passed over: its DN holds "
                                 "a NUL, after \"%s\"",
                           text);
        return CASP_WIRE_OK;
    }
    APR_ARRAY_PUSH(entries, casp_entry_t *) = entry;
    return CASP_WIRE_OK;
}

static const char *search_remedy(int code)
{
    switch (code) {
    case LDAP_NO_SUCH_OBJECT:
        return "; check CasProxyDirectoryBase and the service account's "
               "rights";
    case LDAP_REFERRAL:
        return "; another domain holds this base: use a Global Catalog or "
               "that domain's controllers";
    case LDAP_INSUFFICIENT_ACCESS:
        return "; grant the service account the right to read there";
    case LDAP_UNAVAILABLE_CRITICAL_EXTENSION:
        return "; the server cannot send results in pages";
    default:
        return casp_dirwire_remedy(code);
    }
}

static casp_wire_e result_code(casp_link_t *link, int code, const char *diag,
                               const char *base, casp_dirwhy_t *why)
{
    if (code == LDAP_SUCCESS) {
        return CASP_WIRE_OK;
    }
    casp_dirwire_say(why, "search at \"%s\": %s%s%s%s%s", base,
                     ldap_err2string(code), diag && *diag ? " (" : "",
                     diag ? diag : "", diag && *diag ? ")" : "",
                     search_remedy(code));
    switch (code) {
    case LDAP_SIZELIMIT_EXCEEDED:
    case LDAP_TIMELIMIT_EXCEEDED:
    case LDAP_ADMINLIMIT_EXCEEDED:
        return CASP_WIRE_PARTIAL;
    case LDAP_BUSY:
    case LDAP_UNAVAILABLE:
    case LDAP_PROTOCOL_ERROR: /* a garbled server, or a garbled us */
        link->broken = true;
        return CASP_WIRE_DOWN;
    case LDAP_OPERATIONS_ERROR: /* AD: the bind is no longer in force */
        link->broken = true;
        return CASP_WIRE_REPLIED;
    default:
        return CASP_WIRE_REPLIED;
    }
}

/* The cookie for the next page; false: the answer has a broken control. */
static bool next_cookie(LDAP *ld, LDAPControl **ctrls, struct berval *cookie)
{
    ber_memfree(cookie->bv_val);
    cookie->bv_val = NULL;
    cookie->bv_len = 0;
    LDAPControl *c = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, ctrls, NULL);
    ber_int_t estimate = 0;
    return !c
           || ldap_parse_pageresponse_control(ld, c, &estimate, cookie)
                  == LDAP_SUCCESS;
}

/* One search request to its result; with a cookie: one page. */
typedef struct {
    const casp_search_t *search;
    const char *base;
    apr_time_t deadline;
    apr_pool_t *p;
    apr_array_header_t *entries;
    struct berval cookie;
    int code; /* of the result */
} walk_t;

static casp_wire_e search_result(casp_link_t *link, LDAPMessage *msg,
                                 walk_t *w, casp_dirwhy_t *why)
{
    char *diag = NULL;
    LDAPControl **ctrls = NULL;
    casp_wire_e wire;
    if (ldap_parse_result(link->ld, msg, &w->code, NULL, &diag, NULL, &ctrls,
                          0)
            != LDAP_SUCCESS
        || (w->search->paged && !next_cookie(link->ld, ctrls, &w->cookie))) {
        casp_dirwire_say(why, "the answer to a search is not LDAP");
        wire = casp_dirwire_broken(link, w->deadline);
    }
    else {
        wire = result_code(link, w->code, diag, w->base, why);
    }
    ldap_controls_free(ctrls);
    ldap_memfree(diag);
    return wire;
}

static casp_wire_e search_messages(casp_link_t *link, int msgid, walk_t *w,
                                   casp_dirwhy_t *why)
{
    for (;;) {
        LDAPMessage *msg;
        casp_wire_e wire =
            casp_dirwire_receive(link, msgid, w->deadline, &msg, why);
        if (wire != CASP_WIRE_OK) {
            return wire;
        }
        int type = ldap_msgtype(msg);
        if (type == LDAP_RES_SEARCH_RESULT) {
            wire = search_result(link, msg, w, why);
            ldap_msgfree(msg);
            return wire;
        }
        if (type == LDAP_RES_SEARCH_ENTRY) {
            wire = read_entry(link->ld, msg, w->p, w->entries);
        }
        ldap_msgfree(msg);
        if (wire != CASP_WIRE_OK) {
            casp_dirwire_say(why, "an entry in the answer is not LDAP");
            link->broken = true;
            return wire;
        }
        if (w->search->size_limit > 0
            && w->entries->nelts > w->search->size_limit) {
            /* A server that ignores the limit. */
            apr_array_pop(w->entries);
            (void)ldap_abandon_ext(link->ld, msgid, NULL, NULL);
            link->broken = true;
            w->code = LDAP_SIZELIMIT_EXCEEDED;
            casp_dirwire_say(why, "more than %d entries match",
                             w->search->size_limit);
            return CASP_WIRE_PARTIAL;
        }
    }
}

static casp_wire_e search_page(casp_link_t *link, walk_t *w,
                               casp_dirwhy_t *why)
{
    const casp_search_t *s = w->search;
    LDAPControl *page = NULL;
    LDAPControl *ctrls[2] = {NULL, NULL};
    if (s->paged) {
        int rc = ldap_create_page_control(link->ld, PAGE_SIZE, &w->cookie, 1,
                                          &page);
        if (rc != LDAP_SUCCESS) {
            return casp_dirwire_unsent(link, rc, w->deadline, why);
        }
        ctrls[0] = page;
    }
    /* Rounded up: 0 would mean no limit to the server. */
    struct timeval limit = casp_dirwire_remaining(w->deadline);
    limit.tv_sec += 1;
    limit.tv_usec = 0;
    int msgid = -1;
    int rc = ldap_search_ext(link->ld, w->base, s->scope,
                             s->filter ? s->filter : "(objectClass=*)",
                             (char **)(uintptr_t)s->attrs, 0,
                             s->paged ? ctrls : NULL, NULL, &limit,
                             s->size_limit, &msgid);
    ldap_control_free(page);
    if (rc != LDAP_SUCCESS) {
        return casp_dirwire_unsent(link, rc, w->deadline, why);
    }
    return search_messages(link, msgid, w, why);
}

casp_wire_e casp_dirask_search(casp_link_t *link, apr_pool_t *p,
                               const casp_search_t *search, const char *base,
                               apr_time_t deadline,
                               apr_array_header_t **entries,
                               casp_dirwhy_t *why)
{
    walk_t w;
    memset(&w, 0, sizeof(w));
    w.search = search;
    w.base = base;
    w.deadline = deadline;
    w.p = p;
    w.entries = apr_array_make(p, 8, sizeof(casp_entry_t *));
    *entries = NULL;
    casp_wire_e wire;
    int pages = 0;
    do {
        wire = search_page(link, &w, why);
        pages++;
    } while (wire == CASP_WIRE_OK && w.cookie.bv_len > 0);
    ber_memfree(w.cookie.bv_val);
    if (wire != CASP_WIRE_OK && wire != CASP_WIRE_PARTIAL && pages > 1) {
        /* What came so far is not the answer, and a cookie is worth nothing
         * elsewhere: who goes on begins anew.  Nor is the connection, on
         * which the server still remembers the rest. */
        link->broken = true;
        wire = CASP_WIRE_CUT;
    }
    if (wire == CASP_WIRE_OK
        || (wire == CASP_WIRE_PARTIAL && w.code == LDAP_SIZELIMIT_EXCEEDED)) {
        *entries = w.entries;
    }
    return wire;
}

/* ------------------------------------------------------------- passwords */

long casp_dirask_data_code(const char *diag)
{
    static const char word[] = "data ";
    for (const char *at = diag ? strstr(diag, word) : NULL; at;
         at = strstr(at + 1, word)) {
        const char *digits = at + sizeof(word) - 1;
        if ((at != diag && apr_isalnum(at[-1])) || !apr_isxdigit(*digits)) {
            continue;
        }
        char *end;
        errno = 0;
        long code = strtol(digits, &end, 16);
        if (!errno && code >= 0 && end - digits <= 8 && !apr_isalnum(*end)) {
            return code;
        }
    }
    return -1;
}

static casp_pw_e judge_data(long data)
{
    static const struct {
        long data;
        casp_pw_e pw;
    } codes[] = {
        {0x525, CASP_PW_WRONG},           {0x52e, CASP_PW_WRONG},
        {0x530, CASP_PW_HOURS},           {0x531, CASP_PW_WORKSTATION},
        {0x532, CASP_PW_EXPIRED},         {0x533, CASP_PW_DISABLED},
        {0x701, CASP_PW_ACCOUNT_EXPIRED}, {0x773, CASP_PW_MUST_CHANGE},
        {0x775, CASP_PW_LOCKED},
    };
    for (apr_size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].data == data) {
            return codes[i].pw;
        }
    }
    return CASP_PW_WRONG;
}

casp_pw_e casp_dirask_judge(int code, const char *diag, casp_dirwhy_t *why)
{
    casp_dirwire_say(why, "user bind: %s%s%s%s%s", ldap_err2string(code),
                     diag && *diag ? " (" : "", diag ? diag : "",
                     diag && *diag ? ")" : "",
                     code == LDAP_INVALID_CREDENTIALS
                             || code == LDAP_INVALID_DN_SYNTAX
                             || code == LDAP_NO_SUCH_OBJECT
                         ? ""
                         : casp_dirwire_remedy(code));
    switch (code) {
    case LDAP_SUCCESS:
        *why->text = '\0';
        return CASP_PW_OK;
    case LDAP_INVALID_CREDENTIALS:
        return judge_data(casp_dirask_data_code(diag));
    case LDAP_INVALID_DN_SYNTAX: /* a name that no account can have */
    case LDAP_NO_SUCH_OBJECT: /* servers that tell */
    case LDAP_INAPPROPRIATE_AUTH: /* an account without a password */
        return CASP_PW_WRONG;
    default:
        return CASP_PW_UNAVAILABLE;
    }
}

casp_wire_e casp_dirask_check(casp_link_t *link, const char *name,
                              const char *password, apr_time_t deadline,
                              casp_pw_e *pw, casp_dirwhy_t *why)
{
    int code = LDAP_OTHER;
    char *diag = NULL;
    casp_wire_e wire =
        casp_dirwire_bind(link, name, LDAP_SASL_SIMPLE, password, deadline,
                          &code, &diag, why);
    if (wire == CASP_WIRE_OK) {
        *pw = casp_dirask_judge(code, diag, why);
        if (code == LDAP_BUSY || code == LDAP_UNAVAILABLE) {
            link->broken = true;
            wire = CASP_WIRE_DOWN;
        }
    }
    ldap_memfree(diag);
    return wire;
}
