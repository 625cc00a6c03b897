/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mailauth.c: the words between a mail proxy and this front.
 *
 * nginx terminates IMAP, POP3 and SMTP, and asks an HTTP server, in headers,
 * who the client is and where its mailbox lives.  Here those headers are read
 * and the answer's are made.  A name and a password are read by the very same
 * room as those of a Basic header, so that there is one way to read them.
 *
 * nginx puts what it is given into commands to the mail server as it is, has
 * 1024 bytes of room for all of an answer, and takes the blanks off a value's
 * ends.  So nothing with a control byte in it goes through here in either
 * direction: a password with a line's end in it would be a second command.
 *
 * It must not judge a password, decide where a mailbox is, or log anything.
 */

#include "mailauth.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <apr_atomic.h>
#include <apr_base64.h>
#include <apr_cstr.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

/* Of the name in an answer, beside httpd's own headers. */
#define USER_MAX 256
#define CLIENT_MAX 64

/* ------------------------------------------------------------- the request */

static const struct {
    casp_protocol_e protocol;
    const char *name; /* in Auth-Protocol, and the scheme of URLs */
    int port;
} protocols[] = {{CASP_PROTO_IMAP4, "imap", 143},
                 {CASP_PROTO_POP3, "pop3", 110},
                 {CASP_PROTO_SMTP, "smtp", 25}};
#define PROTOCOLS (sizeof protocols / sizeof *protocols)

const char *casp_mailauth_scheme(casp_protocol_e protocol)
{
    for (size_t i = 0; i < PROTOCOLS; i++) {
        if (protocols[i].protocol == protocol) {
            return protocols[i].name;
        }
    }
    return NULL;
}

static casp_protocol_e protocol_of(const char *name)
{
    for (size_t i = 0; name && i < PROTOCOLS; i++) {
        if (!apr_cstr_casecmp(protocols[i].name, name)) {
            return protocols[i].protocol;
        }
    }
    return CASP_PROTO_NONE;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* nginx writes some bytes as %XX, and a plus sign as it is.  A NUL may come
 * out of it: the caller goes by the length.  @return NULL: two ways to read */
static char *unescape(apr_pool_t *p, const char *text, apr_size_t most,
                      apr_size_t *len)
{
    char *out = apr_palloc(p, strlen(text) + 1);
    apr_size_t n = 0;
    while (*text && n <= most) {
        int high = *text == '%' ? hex(text[1]) : 0;
        int low = *text == '%' && high >= 0 ? hex(text[2]) : 0;
        if (high < 0 || low < 0) {
            casp_wipe(out, n);
            return NULL;
        }
        out[n++] = *text == '%' ? (char)(high * 16 + low) : *text;
        text += *text == '%' ? 3 : 1;
    }
    out[n] = '\0';
    *len = n;
    return out;
}

/* Through the eye of a Basic header: the rules for names and passwords (what
 * is UTF-8, what is too long, no control bytes) are identity.c's. */
static casp_claim_e claim_of(apr_pool_t *p, const char *name, apr_size_t nlen,
                             const char *password, apr_size_t plen,
                             casp_claim_t *claim)
{
    if (nlen > CASP_NAME_MAX || plen > CASP_PASSWORD_MAX) {
        return CASP_CLAIM_TOO_LONG;
    }
    if (memchr(name, ':', nlen)) {
        return CASP_CLAIM_BROKEN; /* a directory has no such name */
    }
    apr_size_t len = nlen + 1 + plen;
    char *both = apr_palloc(p, len);
    memcpy(both, name, nlen);
    both[nlen] = ':';
    memcpy(both + nlen + 1, password, plen);
    apr_size_t header_len = 6 + (apr_size_t)apr_base64_encode_len((int)len);
    char *header = apr_palloc(p, header_len);
    memcpy(header, "Basic ", 6);
    (void)apr_base64_encode_binary(header + 6, (const unsigned char *)both,
                                   (int)len);
    casp_claim_e how = casp_identity_basic(p, header, claim);
    casp_wipe(both, len);
    casp_wipe(header, header_len);
    return how;
}

static const char *read_login(apr_pool_t *p, const char *user,
                              const char *pass, casp_mail_ask_t *ask)
{
    apr_size_t ulen = 0, plen = 0;
    char *name = unescape(p, user, CASP_NAME_MAX, &ulen);
    char *password = unescape(p, pass, CASP_PASSWORD_MAX, &plen);
    casp_claim_e how = CASP_CLAIM_BROKEN;
    if (name && password) {
        how = claim_of(p, name, ulen, password, plen, &ask->claim);
    }
    casp_wipe(password, password ? plen : 0);
    if (how != CASP_CLAIM_OK) {
        return casp_claim_name(how);
    }
    casp_mailauth_name(p, ask->claim.name, &ask->claim.name, &ask->mailbox);
    return *ask->claim.name ? NULL : casp_claim_name(CASP_CLAIM_EMPTY);
}

/* Only what may stand in a log and in a table's key. */
static const char *client_of(apr_pool_t *p, const char *text)
{
    if (!text || !*text || strlen(text) > CLIENT_MAX) {
        return "-";
    }
    for (const char *c = text; *c; c++) {
        if (!strchr("0123456789abcdefABCDEF.:%", *c)) {
            return "-";
        }
    }
    return apr_pstrdup(p, text);
}

const char *casp_mailauth_read(apr_pool_t *p, apr_table_t *headers,
                               casp_mail_ask_t *ask)
{
    const char *method = apr_table_get(headers, "Auth-Method");
    const char *user = apr_table_get(headers, "Auth-User");
    const char *attempt = apr_table_get(headers, "Auth-Login-Attempt");
    const char *tls = apr_table_get(headers, "Auth-SSL");
    const char *wrong;
    memset(ask, 0, sizeof(*ask));
    ask->protocol = protocol_of(apr_table_get(headers, "Auth-Protocol"));
    ask->tls = tls && !apr_cstr_casecmp(tls, "on");
    ask->attempt = attempt ? atoi(attempt) : 1;
    ask->client = client_of(p, apr_table_get(headers, "Client-IP"));
    /* the table's own string, so that it is gone from the request */
    char *pass = (char *)(uintptr_t)apr_table_get(headers, "Auth-Pass");
    if (ask->protocol == CASP_PROTO_NONE || !method) {
        wrong = "mail-request";
    }
    else if (!apr_cstr_casecmp(method, "none")) {
        wrong = "mail-no-login";
    }
    else if (!apr_cstr_casecmp(method, "external")) {
        wrong = "mail-certificate";
    }
    else if (apr_cstr_casecmp(method, "plain")) {
        wrong = "mail-method"; /* apop, cram-md5: AD has no such secret */
    }
    else {
        wrong = read_login(p, user ? user : "", pass ? pass : "", ask);
    }
    casp_wipe(pass, pass ? strlen(pass) : 0);
    apr_table_unset(headers, "Auth-Pass");
    return wrong;
}

/* Neither a slash nor a backslash can stand in a name of AD. */
void casp_mailauth_name(apr_pool_t *p, const char *typed, const char **name,
                        const char **mailbox)
{
    apr_size_t first = strcspn(typed, "/\\");
    apr_size_t second = first;
    *mailbox = NULL;
    *name = typed;
    if (!typed[first]) {
        return;
    }
    if (first > 0 && !memchr(typed, '@', first)) { /* it is the domain */
        second = first + 1 + strcspn(typed + first + 1, "/\\");
        char *copy = apr_pstrmemdup(p, typed, second);
        copy[first] = '\\';
        *name = copy;
    }
    else if (first > 0) { /* behind a UPN */
        *name = apr_pstrmemdup(p, typed, first);
    }
    else {
        return; /* \ada: identity.c knows */
    }
    if (typed[second] && typed[second + 1]) {
        *mailbox = apr_pstrdup(p, typed + second + 1);
    }
}

/* -------------------------------------------------------------- the answer */

/* Response codes: RFC 5530 for IMAP, 3206 for POP3, 4954 for SMTP. */
static const struct {
    const char *imap, *pop3, *smtp, *text;
} answers[] = {
    [CASP_MAIL_BAD_LOGIN] = {"[AUTHENTICATIONFAILED] ", "[AUTH] ", "535 5.7.8",
                             "The user name or password is incorrect"},
    [CASP_MAIL_NO_LOGIN] = {"", "", "530 5.7.0", "Authentication required"},
    [CASP_MAIL_METHOD] = {"[CANNOT] ", "[SYS/PERM] ", "504 5.5.4",
                          "Log on with a plain password, over TLS"},
    [CASP_MAIL_NEEDS_TLS] = {"[PRIVACYREQUIRED] ", "[SYS/PERM] ", "538 5.7.11",
                             "Encryption is required: use TLS or STARTTLS"},
    [CASP_MAIL_NO_MAILBOX] = {"[AUTHORIZATIONFAILED] ", "[SYS/PERM] ",
                              "535 5.7.1",
                              "There is no mailbox for you to reach here"},
    [CASP_MAIL_LATER] = {"[UNAVAILABLE] ", "[SYS/TEMP] ", "454 4.7.0",
                         "Temporarily unavailable, try again later"},
};

static void write_refusal(casp_protocol_e protocol, casp_mail_answer_e what,
                          apr_pool_t *p, apr_table_t *headers)
{
    const char *code = protocol == CASP_PROTO_IMAP4  ? answers[what].imap
                       : protocol == CASP_PROTO_POP3 ? answers[what].pop3
                                                     : "";
    apr_table_setn(headers, "Auth-Status",
                   apr_pstrcat(p, code, answers[what].text, NULL));
    if (protocol == CASP_PROTO_SMTP) {
        apr_table_setn(headers, "Auth-Error-Code", answers[what].smtp);
    }
}

/* May it stand in a header, and come out of it as it went in? */
static bool is_plain(const char *text)
{
    apr_size_t len = strlen(text);
    if (len == 0 || len > USER_MAX || text[0] == ' ' || text[len - 1] == ' ') {
        return false;
    }
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_address(const char *text)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1
           || inet_pton(AF_INET6, text, bytes) == 1;
}

void casp_mailauth_write(apr_pool_t *p, casp_protocol_e protocol,
                         const casp_mail_reply_t *reply, apr_table_t *headers)
{
    casp_mail_answer_e what = reply->what;
    if (what == CASP_MAIL_GO
        && (!reply->server || !is_address(reply->server) || reply->port < 1
            || reply->port > 65535)) {
        what = CASP_MAIL_LATER;
    }
    if (what == CASP_MAIL_GO) {
        apr_table_setn(headers, "Auth-Status", "OK");
        /* of IPv6, too, without brackets: nginx refuses it with them */
        apr_table_setn(headers, "Auth-Server", apr_pstrdup(p, reply->server));
        apr_table_setn(headers, "Auth-Port", apr_itoa(p, reply->port));
        if (reply->user && is_plain(reply->user)) {
            apr_table_setn(headers, "Auth-User", apr_pstrdup(p, reply->user));
        }
        return;
    }
    if (what == CASP_MAIL_WAIT) {
        apr_table_setn(headers, "Auth-Status", "WAIT");
    }
    else {
        write_refusal(protocol, what, p, headers);
    }
    if (reply->wait > 0) {
        apr_table_setn(headers, "Auth-Wait", apr_itoa(p, reply->wait));
    }
}

/* ----------------------------------------- what a mail server takes */

/* Exchange 2003 finds a mailbox by the alias, and takes the user's name for it
 * where none is given: they may differ.  Later ones find it by the account. */
const char *casp_mailauth_user(apr_pool_t *p, const casp_mailbox_t *user,
                               const casp_mailbox_t *mailbox,
                               casp_version_e version)
{
    const char *domain = casp_mailbox_text(user, CASP_MB_NETBIOS);
    const char *sam = casp_mailbox_text(user, CASP_MB_SAM);
    const char *upn = casp_mailbox_text(user, CASP_MB_UPN);
    const char *name = NULL, *slash = "\\";
    bool old = version == CASP_V2000 || version == CASP_V2003;
    if (*domain && *sam) {
        const char *alias = mailbox ? casp_mailbox_text(mailbox, CASP_MB_ALIAS)
                            : old   ? casp_mailbox_text(user, CASP_MB_ALIAS)
                                    : "";
        slash = old && *alias ? "/" : "\\";
        name = apr_pstrcat(p, domain, slash, sam, *alias ? slash : "", alias,
                           NULL);
    }
    else if (*upn && !mailbox) {
        name = apr_pstrdup(p, upn);
    }
    return name && is_plain(name) ? name : NULL;
}

static bool read_url(apr_pool_t *p, const char *url, const char **host,
                     int *port)
{
    apr_uri_t uri;
    if (apr_uri_parse(p, url, &uri) != APR_SUCCESS || !uri.hostname
        || !*uri.hostname) {
        return false;
    }
    *host = uri.hostname;
    *port = uri.port_str && *uri.port_str ? atoi(uri.port_str) : 0;
    return *port >= 0 && *port <= 65535;
}

bool casp_mailauth_place(apr_pool_t *p, const casp_settings_t *set,
                         casp_protocol_e protocol, const char *url,
                         const char **host, int *port)
{
    const char *scheme = casp_mailauth_scheme(protocol);
    if (!scheme || !read_url(p, url, host, port)) {
        return false;
    }
    const char *other = casp_settings_backend_map(set, *host, scheme);
    if (other && !read_url(p, other, host, port)) {
        return false;
    }
    for (size_t i = 0; i < PROTOCOLS && !*port; i++) {
        if (protocols[i].protocol == protocol) {
            *port = protocols[i].port;
        }
    }
    return true;
}

/* -------------------------------------------------- failed logins */

#define SETS 1024 /* of 4 each: a power of two */
#define WAYS 4
#define FORGET 900 /* seconds after the last failure */
#define WAIT_MAX 16
/* An office behind one address has wrong passwords of its own. */
#define CLIENT_FREE 10

/* Processes read and write these without a lock: each word is written whole,
 * and the worst that a race does is to lose a count. */
typedef struct {
    volatile apr_uint32_t tag; /* 0: free */
    volatile apr_uint32_t last; /* when it failed; seconds */
    volatile apr_uint32_t fails;
    volatile apr_uint32_t next; /* when the next one is judged */
} fail_slot_t;

struct casp_mailfail_t {
    fail_slot_t sets[SETS][WAYS];
};

apr_size_t casp_mailfail_size(void)
{
    return sizeof(casp_mailfail_t);
}

/* Where a key is: by a hash with a secret, so that nobody can aim at others'
 * places.  An IPv6 client has a network of its own to choose from. */
static fail_slot_t *set_of(casp_mailfail_t *f, const unsigned char *key,
                           const char *client, const char *name,
                           apr_uint32_t *tag)
{
    unsigned char in[1 + CLIENT_MAX + 1 + CASP_NAME_MAX], out[EVP_MAX_MD_SIZE];
    unsigned char v6[16];
    size_t n = 0;
    apr_uint32_t words[2];
    in[n++] = name ? 2 : 1;
    if (inet_pton(AF_INET6, client, v6) == 1) {
        memcpy(in + n, v6, 8);
        n += 8;
    }
    else {
        for (; *client && n < 1 + CLIENT_MAX; client++) {
            in[n++] = (unsigned char)*client;
        }
    }
    in[n++] = 0;
    for (; name && *name && n < sizeof(in); name++) {
        bool upper = *name >= 'A' && *name <= 'Z';
        in[n++] = (unsigned char)(upper ? *name - 'A' + 'a' : *name);
    }
    memset(out, 0, sizeof(out));
    (void)HMAC(EVP_sha256(), key, 32, in, n, out, NULL);
    memcpy(words, out, sizeof(words));
    *tag = words[1] ? words[1] : 1;
    return f->sets[words[0] & (SETS - 1)];
}

static bool is_over(fail_slot_t *s, apr_uint32_t now)
{
    return now - apr_atomic_read32(&s->last) > FORGET;
}

static fail_slot_t *slot_find(fail_slot_t *set, apr_uint32_t tag,
                              apr_uint32_t now)
{
    for (int i = 0; i < WAYS; i++) {
        if (apr_atomic_read32(&set[i].tag) == tag && !is_over(&set[i], now)) {
            return &set[i];
        }
    }
    return NULL;
}

static fail_slot_t *slot_take(fail_slot_t *set, apr_uint32_t tag,
                              apr_uint32_t now)
{
    fail_slot_t *oldest = set;
    for (int i = 1; i < WAYS; i++) {
        if (now - apr_atomic_read32(&set[i].last)
            > now - apr_atomic_read32(&oldest->last)) {
            oldest = &set[i];
        }
    }
    apr_atomic_set32(&oldest->fails, 0);
    apr_atomic_set32(&oldest->next, now);
    apr_atomic_set32(&oldest->last, now);
    apr_atomic_set32(&oldest->tag, tag);
    return oldest;
}

/* 1, 2, 4, 8, 16, 16... */
static int wait_of(apr_uint32_t fails)
{
    return fails == 0 ? 0 : fails > 4 ? WAIT_MAX : 1 << (fails - 1);
}

int casp_mailfail_admit(casp_mailfail_t *f, const unsigned char *key,
                        const char *client, const char *name, apr_time_t now)
{
    apr_uint32_t second = (apr_uint32_t)apr_time_sec(now), tag = 0;
    fail_slot_t *set = set_of(f, key, client, name, &tag);
    fail_slot_t *s = slot_find(set, tag, second);
    if (!s) {
        return 0;
    }
    int wait = wait_of(apr_atomic_read32(&s->fails));
    apr_uint32_t next = apr_atomic_read32(&s->next);
    apr_int32_t left = (apr_int32_t)(next - second);
    if (left > 0) {
        return left < WAIT_MAX ? left : WAIT_MAX;
    }
    /* whoever sets the next time has this one */
    return apr_atomic_cas32(&s->next, second + (apr_uint32_t)wait, next)
                   == next
               ? 0
               : wait;
}

/* @return how often it has failed now */
static apr_uint32_t fail_once(casp_mailfail_t *f, const unsigned char *key,
                              const char *client, const char *name,
                              apr_uint32_t now, fail_slot_t **slot)
{
    apr_uint32_t tag = 0;
    fail_slot_t *set = set_of(f, key, client, name, &tag);
    fail_slot_t *s = slot_find(set, tag, now);
    if (!s) {
        s = slot_take(set, tag, now);
    }
    apr_atomic_set32(&s->last, now);
    *slot = s;
    return apr_atomic_inc32(&s->fails) + 1;
}

int casp_mailfail_note(casp_mailfail_t *f, const unsigned char *key,
                       const char *client, const char *name, apr_time_t now)
{
    apr_uint32_t second = (apr_uint32_t)apr_time_sec(now);
    fail_slot_t *s = NULL;
    apr_uint32_t all = fail_once(f, key, client, NULL, second, &s);
    int wait = wait_of(all > CLIENT_FREE ? all - CLIENT_FREE : 0);
    int own = wait_of(fail_once(f, key, client, name, second, &s));
    apr_atomic_set32(&s->next, second + (apr_uint32_t)own);
    return own > wait ? own : wait;
}

void casp_mailfail_clear(casp_mailfail_t *f, const unsigned char *key,
                         const char *client, const char *name, apr_time_t now)
{
    apr_uint32_t second = (apr_uint32_t)apr_time_sec(now), tag = 0;
    fail_slot_t *set = set_of(f, key, client, name, &tag);
    fail_slot_t *s = slot_find(set, tag, second);
    if (s) {
        apr_atomic_set32(&s->fails, 0);
        apr_atomic_set32(&s->next, second);
    }
}
