/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a client's token is, whose SID a PAC names, and the acceptor without a
 * KDC: keytabs made here, tickets that nobody issued, threads.
 *
 * Real tickets are the lab's matter.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "negotiate.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static apr_pool_t *top;
static char dir[] = "/tmp/casp-nego-XXXXXX";

static int group_setup(void **state)
{
    (void)state;
    return apr_pool_create(&top, NULL) != APR_SUCCESS || !mkdtemp(dir);
}

static int group_teardown(void **state)
{
    (void)state;
    (void)unlink(apr_pstrcat(top, dir, "/krb5.keytab", NULL));
    int rc = rmdir(dir);
    apr_pool_destroy(top);
    return rc;
}

/* -------------------------------------------------------------- small DER */

typedef struct {
    unsigned char b[4096];
    apr_size_t len;
} blob_t;

static blob_t bytes(const void *data, apr_size_t len)
{
    blob_t to;
    assert_true(len <= sizeof(to.b));
    memset(&to, 0, sizeof(to));
    memcpy(to.b, data, len);
    to.len = len;
    return to;
}

#define LIT(text) bytes(text, sizeof(text) - 1)

static blob_t join(blob_t a, blob_t b)
{
    assert_true(a.len + b.len <= sizeof(a.b));
    memcpy(a.b + a.len, b.b, b.len);
    a.len += b.len;
    return a;
}

static blob_t der(unsigned char tag, blob_t in)
{
    unsigned char head[4] = {tag, (unsigned char)in.len};
    apr_size_t n = 2;
    if (in.len > 255) {
        head[1] = 0x82;
        head[2] = (unsigned char)(in.len >> 8);
        head[3] = (unsigned char)in.len;
        n = 4;
    }
    else if (in.len > 127) {
        head[1] = 0x81;
        head[2] = (unsigned char)in.len;
        n = 3;
    }
    return join(bytes(head, n), in);
}

#define OID_SPNEGO "\x06\x06\x2b\x06\x01\x05\x05\x02"
#define OID_KRB5 "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"
#define OID_MSKRB5 "\x06\x09\x2a\x86\x48\x82\xf7\x12\x01\x02\x02"
#define OID_U2U "\x06\x0a\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x03"
#define OID_NTLM "\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"
#define OID_NEGOEX "\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x1e"
#define OID_OTHER "\x06\x03\x2a\x03\x04"

#define TYPE(n) "NTLMSSP\0" n "\0\0\0\x07\x82\x08\xa2"
#define NTLM1 TYPE("\1") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define NTLM2 TYPE("\2") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define NTLM3 TYPE("\3") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

/* NegTokenInit; token.len 0: without one. */
static blob_t spnego_init(blob_t mechs, blob_t token)
{
    blob_t seq = der(0xa0, der(0x30, mechs));
    if (token.len) {
        seq = join(seq, der(0xa2, der(0x04, token)));
    }
    return der(0x60, join(LIT(OID_SPNEGO), der(0xa0, der(0x30, seq))));
}

static blob_t kerberos(const char *oid, apr_size_t len, blob_t ap_req)
{
    return der(0x60, join(bytes(oid, len), join(LIT("\x01\x00"), ap_req)));
}

static blob_t resp(blob_t token)
{
    return der(0xa1, der(0x30, der(0xa2, der(0x04, token))));
}

/* ------------------------------------------------------------------ tokens */

static casp_token_e kind(blob_t token)
{
    /* an exact copy, so that a sanitizer sees one byte too many */
    unsigned char *copy = malloc(token.len ? token.len : 1);
    memcpy(copy, token.b, token.len);
    casp_token_e k = casp_token_kind(copy, token.len);
    free(copy);
    return k;
}

static void test_kinds(void **state)
{
    (void)state;
    blob_t none = bytes("", 0);
    blob_t ticket = kerberos(OID_KRB5, 11, LIT("\x6e\x03\x30\x01\x00"));
    blob_t windows = LIT(OID_MSKRB5 OID_KRB5 OID_NEGOEX OID_NTLM);
    const struct {
        blob_t token;
        casp_token_e kind;
    } rows[] = {
        {LIT(NTLM1), CASP_TOKEN_NTLM_1},
        {LIT(NTLM3), CASP_TOKEN_NTLM_3},
        {LIT(NTLM2), CASP_TOKEN_BAD}, /* a server's */
        {LIT(TYPE("\4")), CASP_TOKEN_BAD},
        {LIT(TYPE("\1")), CASP_TOKEN_NTLM_1}, /* as short as it gets */
        {LIT("NTLMSSP\0\1\0\0\0"), CASP_TOKEN_BAD},
        {LIT("NTLMSSP\0\1\0\1\0\7\0\0\0"), CASP_TOKEN_BAD},
        {LIT("NTLMSSQ\0\1\0\0\0\7\0\0\0"), CASP_TOKEN_BAD},
        {LIT("NTLMSSP"), CASP_TOKEN_BAD},
        {none, CASP_TOKEN_BAD},
        {LIT("N"), CASP_TOKEN_BAD},
        {LIT("hello, world, here I am"), CASP_TOKEN_BAD},
        /* Kerberos by itself */
        {ticket, CASP_TOKEN_KERBEROS},
        {kerberos(OID_MSKRB5, 11, LIT("x")), CASP_TOKEN_KERBEROS},
        {kerberos(OID_U2U, 12, LIT("x")), CASP_TOKEN_KERBEROS},
        {kerberos(OID_OTHER, 5, LIT("x")), CASP_TOKEN_BAD},
        {kerberos(OID_NTLM, 12, LIT("x")), CASP_TOKEN_BAD},
        /* SPNEGO is what its token is */
        {spnego_init(windows, ticket), CASP_TOKEN_KERBEROS},
        {spnego_init(LIT(OID_KRB5), ticket), CASP_TOKEN_KERBEROS},
        {spnego_init(LIT(OID_NTLM), LIT(NTLM1)), CASP_TOKEN_SPNEGO_NTLM},
        {spnego_init(windows, LIT(NTLM1)), CASP_TOKEN_SPNEGO_NTLM},
        {spnego_init(LIT(OID_NTLM), ticket), CASP_TOKEN_KERBEROS},
        /* and without one that is of use, what would be asked for */
        {spnego_init(LIT(OID_NTLM), none), CASP_TOKEN_SPNEGO_NTLM},
        {spnego_init(LIT(OID_NTLM OID_KRB5), none), CASP_TOKEN_SPNEGO_NTLM},
        {spnego_init(LIT(OID_NEGOEX OID_NTLM), LIT("NEGOEXTS1234567890")),
         CASP_TOKEN_SPNEGO_NTLM},
        {spnego_init(LIT(OID_NTLM), LIT(NTLM3)), CASP_TOKEN_SPNEGO_NTLM},
        {spnego_init(windows, none), CASP_TOKEN_KERBEROS},
        {spnego_init(LIT(OID_KRB5), LIT("x")), CASP_TOKEN_KERBEROS},
        {spnego_init(LIT(OID_NEGOEX), LIT("NEGOEXTS")), CASP_TOKEN_BAD},
        {spnego_init(LIT(OID_OTHER), none), CASP_TOKEN_BAD},
        {spnego_init(none, none), CASP_TOKEN_BAD},
        {spnego_init(LIT("\x04\x01x"), LIT(NTLM1)), CASP_TOKEN_BAD},
        {der(0x60, LIT(OID_SPNEGO)), CASP_TOKEN_BAD},
        {der(0x60, LIT(OID_SPNEGO "\xa0\x84\xff\xff\xff\xff")),
         CASP_TOKEN_BAD},
        {LIT("\x60\x80" OID_SPNEGO), CASP_TOKEN_BAD}, /* indefinite */
        {LIT("\x60\x85\0\0\0\0\1" OID_SPNEGO), CASP_TOKEN_BAD},
        /* further messages */
        {resp(LIT(NTLM3)), CASP_TOKEN_SPNEGO_MORE},
        {resp(none), CASP_TOKEN_SPNEGO_MORE},
        {LIT("\xa1\x07\x30\x05\xa0\x03\x0a\x01\x01"), CASP_TOKEN_SPNEGO_MORE},
        {LIT("\xa1\x07\x04\x05hello"), CASP_TOKEN_BAD},
        {LIT("\xa1\x09\x30\x05hello"), CASP_TOKEN_BAD},
    };
    for (apr_size_t i = 0; i < COUNT(rows); i++) {
        if (kind(rows[i].token) != rows[i].kind) {
            fail_msg("row %d: %d", (int)i, (int)kind(rows[i].token));
        }
    }
    assert_int_equal(casp_token_kind(NULL, 0), CASP_TOKEN_BAD);
    assert_int_equal(casp_token_kind(NTLM1, CASP_TOKEN_MAX + 1),
                     CASP_TOKEN_BAD);
    /* Cut short anywhere, a wrapped token is none. */
    blob_t whole = spnego_init(windows, ticket);
    while (whole.len > 0) {
        whole.len--;
        assert_int_equal(kind(whole), CASP_TOKEN_BAD);
    }
}

static void test_header(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *token; /* NULL: none */
        bool negotiate;
    } rows[] = {
        {"NTLM aGVsbG8=", "hello", false},
        {"ntlm   aGVsbG8= ", "hello", false},
        {"Negotiate aGVsbG8=", "hello", true},
        {"NEGOTIATE\taGVsbG8=", NULL, false},
        {"Negotiate aGVsbG8h", "hello!", true},
        {"Negotiate aGVsbA==", "hell", true},
        {"Negotiate aGVsbG8", NULL, false},
        {"Negotiate aGVsbG8===", NULL, false},
        {"Negotiate aGVs bG8=", NULL, false},
        {"Negotiate aGV-bG8=", NULL, false},
        {"Negotiate aG=sbG8=", NULL, false},
        {"Negotiate ====", NULL, false},
        {"Negotiate ", NULL, false},
        {"Negotiate", NULL, false},
        {"NTLM", NULL, false},
        {"Basic aGVsbG8=", NULL, false},
        {"NTLMv2 aGVsbG8=", NULL, false},
        {"", NULL, false},
        {NULL, NULL, false},
    };
    for (apr_size_t i = 0; i < COUNT(rows); i++) {
        apr_size_t len = 0;
        bool negotiate = false;
        const void *token =
            casp_token_of_header(top, rows[i].header, &len, &negotiate);
        if (!token != !rows[i].token) {
            fail_msg("row %d: %s", (int)i, rows[i].header);
        }
        if (token) {
            assert_int_equal(len, strlen(rows[i].token));
            assert_memory_equal(token, rows[i].token, len);
            assert_int_equal(negotiate, rows[i].negotiate);
        }
    }
    /* as long as it may be, and a little longer */
    apr_size_t most = CASP_TOKEN_MAX / 3 * 4, len;
    char *header = apr_palloc(top, most + 20);
    bool negotiate;
    for (int over = 0; over < 2; over++) {
        memcpy(header, "NTLM ", 5);
        memset(header + 5, 'A', most + 4);
        header[5 + most + (over ? 4 : 0)] = '\0';
        const void *token =
            casp_token_of_header(top, header, &len, &negotiate);
        assert_int_equal(token != NULL, !over);
    }
}

/* As they came over the wire from curl (32 bytes, no version) and from
 * gss-ntlmssp, bare and wrapped. */
static void test_real(void **state)
{
    (void)state;
    assert_int_equal(kind(LIT("NTLMSSP\0\1\0\0\0\x06\x82\x08\0\0\0\0\0\0\0"
                              "\0\0\0\0\0\0\0\0")),
                     CASP_TOKEN_NTLM_1);
    assert_int_equal(kind(LIT("NTLMSSP\0\1\0\0\0\x07\x82\x08\xa2\0\0\0\0\0"
                              "\0\0\0\0\0\0\0\0\0\0\0\6\2\0\0\0\0\0\x0f")),
                     CASP_TOKEN_NTLM_1);
    assert_int_equal(
        kind(LIT("\x60\x48\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x3e\x30\x3c"
                 "\xa0\x0e\x30\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02"
                 "\x02\x0a\xa2\x2a\x04\x28NTLMSSP\0\1\0\0\0\x17\x82\x08"
                 "\xe2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\6\2\0\0\0\0\0"
                 "\x0f")),
        CASP_TOKEN_SPNEGO_NTLM);
}

/* --------------------------------------------------------------------- PAC */

#define DOMAIN_SID \
    "\x01\x04\0\0\0\0\0\x05\x15\0\0\0\x11\x11\0\0\x22\x22\0\0\x33\x33\0\0"
#define USER_SID                                                           \
    "\x01\x05\0\0\0\0\0\x05\x15\0\0\0\x11\x11\0\0\x22\x22\0\0\x33\x33\0\0" \
    "\x52\x04\0\0"

static apr_size_t upn_sid(blob_t info, unsigned char sid[68])
{
    unsigned char *copy = malloc(info.len ? info.len : 1);
    memcpy(copy, info.b, info.len);
    apr_size_t n = casp_pac_upn_sid(copy, info.len, sid);
    free(copy);
    return n;
}

static void test_upn_dns_info(void **state)
{
    (void)state;
    unsigned char sid[68];
    blob_t info =
        join(LIT("\x06\0\x18\0\x06\0\x18\0\x02\0\0\0\x02\0\x18\0\x1c\0\x20\0"
                 "\0\0\0\0ADATEST\0"),
             LIT(USER_SID));
    assert_int_equal(upn_sid(info, sid), 28);
    assert_memory_equal(sid, USER_SID, 28);
    for (blob_t cut = info; cut.len-- > 0;) {
        assert_int_equal(upn_sid(cut, sid), 0);
    }
    static const struct {
        int at;
        unsigned char byte;
    } wrong[] = {
        {8, 1}, /* no SID in it */
        {16, 0x1b}, /* its length */
        {16, 0},    {18, 0x21}, /* its place */
        {19, 0xff}, {32, 2}, /* its revision */
        {33, 6}, /* how many parts */
        {33, 16},   {33, 0},
    };
    for (apr_size_t i = 0; i < COUNT(wrong); i++) {
        blob_t bad = info;
        bad.b[wrong[i].at] = wrong[i].byte;
        assert_int_equal(upn_sid(bad, sid), 0);
    }
    assert_int_equal(casp_pac_upn_sid(NULL, 0, sid), 0);
}

static blob_t number(unsigned n)
{
    unsigned char b[4] = {(unsigned char)n, (unsigned char)(n >> 8),
                          (unsigned char)(n >> 16), (unsigned char)(n >> 24)};
    return bytes(b, 4);
}

static blob_t zeros(apr_size_t n)
{
    blob_t b = bytes("", 0);
    b.len = n;
    return b;
}

/* KERB_VALIDATION_INFO with so many characters in each name, and groups. */
static blob_t logon_info(unsigned name, unsigned groups)
{
    unsigned char u[8] = {(unsigned char)(2 * name),
                          0,
                          (unsigned char)(2 * name),
                          0,
                          4,
                          0,
                          2,
                          0};
    blob_t field = name ? bytes(u, 8) : zeros(8), b;
    b = join(LIT("\x01\x10\x08\0\xcc\xcc\xcc\xcc\0\0\0\0\0\0\0\0\0\0\x02\0"),
             zeros(48));
    for (int i = 0; i < 6; i++) {
        b = join(b, field);
    }
    b = join(b, join(zeros(4), number(0x452)));
    b = join(b, join(number(513), number(groups)));
    b = join(b, join(number(groups ? 0x20008 : 0), zeros(4 + 16)));
    b = join(b, join(field, field));
    b = join(b, join(number(0x2000c), zeros(8 + 4 + 4 + 8 + 8 + 4 + 4)));
    b = join(b, zeros(4 + 4 + 4 + 4 + 4));
    blob_t string = join(number(name), join(number(0), number(name)));
    string = join(string, zeros((2 * name + 3) & ~3u));
    for (int i = 0; name && i < 6; i++) {
        b = join(b, string);
    }
    if (groups) {
        b = join(b, join(number(groups), zeros(8 * groups)));
    }
    for (int i = 0; name && i < 2; i++) {
        b = join(b, string);
    }
    return join(b, join(number(4), LIT(DOMAIN_SID)));
}

static apr_size_t logon_sid(blob_t info, unsigned char sid[68])
{
    unsigned char *copy = malloc(info.len ? info.len : 1);
    memcpy(copy, info.b, info.len);
    apr_size_t n = casp_pac_logon_sid(copy, info.len, sid);
    free(copy);
    return n;
}

static void test_logon_info(void **state)
{
    (void)state;
    unsigned char sid[68];
    for (unsigned name = 0; name < 6; name++) {
        for (unsigned groups = 0; groups < 4; groups++) {
            blob_t info = logon_info(name, groups);
            memset(sid, 0, sizeof(sid));
            assert_int_equal(logon_sid(info, sid), 28);
            assert_memory_equal(sid, USER_SID, 28);
            for (blob_t cut = info; cut.len-- > 0;) {
                assert_int_equal(logon_sid(cut, sid), 0);
            }
        }
    }
    blob_t info = logon_info(3, 2);
    static const apr_size_t at[] = {0, 1, 2}; /* version, order, header */
    for (apr_size_t i = 0; i < COUNT(at); i++) {
        blob_t bad = info;
        bad.b[at[i]] ^= 1;
        assert_int_equal(logon_sid(bad, sid), 0);
    }
    /* counts that claim too much */
    for (apr_size_t i = 20; i + 4 <= info.len; i += 4) {
        blob_t bad = info;
        memset(bad.b + i, 0xff, 4);
        (void)logon_sid(bad, sid); /* the sanitizers' */
    }
    assert_int_equal(casp_pac_logon_sid(NULL, 0, sid), 0);
}

/* ---------------------------------------------------------------- acceptor */

static blob_t counted(const char *text)
{
    apr_size_t n = strlen(text);
    unsigned char head[2] = {0, (unsigned char)n};
    return join(bytes(head, 2), bytes(text, n));
}

/* A keytab with an AES-256 key of HTTP/front.contoso.test, version 3. */
static const char *keytab(void)
{
    blob_t e = join(LIT("\0\2"), counted("CONTOSO.TEST"));
    e = join(e, join(counted("HTTP"), counted("front.contoso.test")));
    e = join(e, LIT("\0\0\0\1" /* kind of name */ "\0\0\0\0" /* time */
                    "\3" /* version */ "\0\x12\0\x20"));
    e = join(e, LIT("0123456789abcdef0123456789abcdef"));
    unsigned char size[4] = {0, 0, (unsigned char)(e.len >> 8),
                             (unsigned char)e.len};
    blob_t all = join(LIT("\5\2"), join(bytes(size, 4), e));
    const char *path = apr_pstrcat(top, dir, "/krb5.keytab", NULL);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(all.b, 1, all.len, f), all.len);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* An AP-REQ with a ticket for HTTP/host that nobody has issued. */
static blob_t ap_req(const char *host, unsigned char kvno)
{
    blob_t sealed = join(der(0xa0, LIT("\x02\x01\x12")),
                         der(0xa1, join(LIT("\x02\x01"), bytes(&kvno, 1))));
    sealed = der(0x30, join(sealed, der(0xa2, der(0x04, zeros(60)))));
    blob_t names =
        join(der(0x1b, LIT("HTTP")), der(0x1b, bytes(host, strlen(host))));
    blob_t name = der(0x30, join(der(0xa0, LIT("\x02\x01\x02")),
                                 der(0xa1, der(0x30, names))));
    blob_t ticket = join(der(0xa0, LIT("\x02\x01\x05")),
                         der(0xa1, der(0x1b, LIT("CONTOSO.TEST"))));
    ticket = join(ticket, join(der(0xa2, name), der(0xa3, sealed)));
    blob_t all =
        join(der(0xa0, LIT("\x02\x01\x05")), der(0xa1, LIT("\x02\x01\x0e")));
    all = join(all, der(0xa2, LIT("\x03\x05\0\0\0\0\0")));
    all = join(all, der(0xa3, der(0x61, der(0x30, ticket))));
    all = join(all, der(0xa4, sealed));
    return der(0x6e, der(0x30, all));
}

static blob_t ticket_for(const char *host, unsigned char kvno, bool wrapped)
{
    blob_t token = kerberos(OID_KRB5, 11, ap_req(host, kvno));
    return wrapped ? spnego_init(LIT(OID_MSKRB5 OID_KRB5 OID_NTLM), token)
                   : token;
}

static casp_accept_e verify(casp_acceptor_t *a, apr_pool_t *p, blob_t token,
                            const char **why)
{
    const void *out;
    apr_size_t len;
    casp_verified_t who;
    casp_accept_e e =
        casp_acceptor_verify(a, p, token.b, token.len, &out, &len, &who, why);
    assert_int_equal(e == CASP_ACCEPT_OK, *why == NULL);
    assert_int_equal(e == CASP_ACCEPT_OK, who.name != NULL);
    assert_true(e == CASP_ACCEPT_OK || out == NULL);
    return e;
}

static void test_keytabs(void **state)
{
    (void)state;
    casp_acceptor_t *a;
    static const char *const bad[] = {"/nowhere/krb5.keytab", "/dev/null",
                                      "/etc/passwd"};
    for (apr_size_t i = 0; i < COUNT(bad); i++) {
        const char *why = casp_acceptor_create(top, bad[i], &a);
        assert_non_null(why);
        assert_non_null(strstr(why, bad[i]));
        assert_non_null(strstr(why, "httpd's user"));
        assert_null(a);
    }
    /* not from the environment */
    const char *path = keytab();
    setenv("KRB5_KTNAME", path, 1);
    assert_non_null(casp_acceptor_create(top, "/nowhere/krb5.keytab", &a));
    setenv("KRB5_KTNAME", "/nowhere/krb5.keytab", 1);
    assert_null(casp_acceptor_create(top, path, &a));
    assert_non_null(a);
    unsetenv("KRB5_KTNAME");
}

static void test_refused(void **state)
{
    (void)state;
    casp_acceptor_t *a;
    apr_pool_t *p;
    assert_int_equal(apr_pool_create(&p, top), APR_SUCCESS);
    assert_null(casp_acceptor_create(p, keytab(), &a));
    blob_t none = bytes("", 0);
    const struct {
        blob_t token;
        casp_accept_e e;
        const char *word;
    } rows[] = {
        {LIT("hello"), CASP_ACCEPT_NO, "keytab"},
        {LIT(NTLM1), CASP_ACCEPT_NO, "keytab"},
        {spnego_init(LIT(OID_NTLM), LIT(NTLM1)), CASP_ACCEPT_NO, "keytab"},
        {spnego_init(LIT(OID_KRB5), none), CASP_ACCEPT_NO, "one message"},
        {spnego_init(LIT(OID_KRB5), LIT("x")), CASP_ACCEPT_NO, "keytab"},
        {kerberos(OID_KRB5, 11, LIT("\x6e\x03\x30\x01\x00")), CASP_ACCEPT_NO,
         "keytab"},
        /* no key for that name, or not of that version: our own trouble */
        {ticket_for("other.contoso.test", 3, false), CASP_ACCEPT_FAILED,
         "export it anew"},
        {ticket_for("other.contoso.test", 3, true), CASP_ACCEPT_FAILED,
         "export it anew"},
        {ticket_for("front.contoso.test", 9, true), CASP_ACCEPT_FAILED,
         "export it anew"},
        /* a key, and the wrong one */
        {ticket_for("front.contoso.test", 3, false), CASP_ACCEPT_NO, "setspn"},
        {ticket_for("front.contoso.test", 3, true), CASP_ACCEPT_NO, "setspn"},
    };
    for (apr_size_t i = 0; i < COUNT(rows); i++) {
        const char *why = NULL;
        casp_accept_e e = verify(a, p, rows[i].token, &why);
        if (e != rows[i].e || !why || !strstr(why, rows[i].word)) {
            fail_msg("row %d: %d, %s", (int)i, (int)e, why ? why : "-");
        }
    }
    apr_pool_destroy(p);
}

typedef struct {
    casp_acceptor_t *a;
    int wrong;
} thread_t;

static void *thread_run(void *data)
{
    thread_t *t = data;
    apr_pool_t *p;
    apr_pool_create(&p, NULL);
    for (int i = 0; i < 60; i++) {
        static const char *const hosts[] = {"front.contoso.test",
                                            "other.contoso.test"};
        const char *why = NULL;
        casp_accept_e e =
            verify(t->a, p, ticket_for(hosts[i % 2], 3, i % 3 == 0), &why);
        t->wrong += e != (i % 2 ? CASP_ACCEPT_FAILED : CASP_ACCEPT_NO);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    casp_acceptor_t *a;
    pthread_t threads[8];
    thread_t t[8];
    assert_null(casp_acceptor_create(top, keytab(), &a));
    for (int i = 0; i < 8; i++) {
        t[i].a = a;
        t[i].wrong = 0;
        assert_int_equal(pthread_create(&threads[i], NULL, thread_run, &t[i]),
                         0);
    }
    for (int i = 0; i < 8; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(t[i].wrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_header),
        cmocka_unit_test(test_real),         cmocka_unit_test(test_logon_info),
        cmocka_unit_test(test_upn_dns_info), cmocka_unit_test(test_keytabs),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_threads),
    };
    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, group_setup, group_teardown);
    apr_terminate();
    return failed;
}
