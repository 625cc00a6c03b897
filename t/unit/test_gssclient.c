/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * This front as a client, without a KDC: what errors say, a realm whose KDC
 * is not there, and NTLM against an acceptor that has users in a file.
 *
 * Real tickets are the lab's matter.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include <cmocka.h>

#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <krb5.h>

#include "gssclient.h"
#include "gsstickets.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HOST "be1.contoso.test"

static apr_pool_t *pool;
static const char *dir;

static const char *write_file(const char *name, const char *text)
{
    const char *path = apr_pstrcat(pool, dir, "/", name, NULL);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static int set_up(void **state)
{
    char text[] = "/tmp/casp-gss-XXXXXX";

    (void)state;
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS || !mkdtemp(text)) {
        return -1;
    }
    dir = apr_pstrdup(pool, text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"krb5.conf", "users", "junk.keytab"};
    for (size_t i = 0; i < COUNT(names); i++) {
        unlink(apr_pstrcat(pool, dir, "/", names[i], NULL));
    }
    rmdir(dir);
    apr_pool_destroy(pool);
    return 0;
}

/* ----------------------------------------------------------- the sentences */

static const struct {
    casp_step_e step;
    long code;
    bool may_forward;
    casp_gss_e verdict;
    bool silent, of_host;
    const char *says;
} no[] = {
    {CASP_STEP_PASSWORD, KRB5_KDC_UNREACH, false, CASP_GSS_UNAVAILABLE, true,
     false, "no KDC of CONTOSO.TEST answers"},
    {CASP_STEP_PROXY, KRB5_KDC_UNREACH, true, CASP_GSS_UNAVAILABLE, true,
     false, "port 88"},
    {CASP_STEP_PASSWORD, KRB5_REALM_UNKNOWN, false, CASP_GSS_UNAVAILABLE, true,
     false, "[realms]"},
    {CASP_STEP_PASSWORD, KRB5KRB_AP_ERR_SKEW, false, CASP_GSS_REFUSED, false,
     false, "clock"},
    {CASP_STEP_SELF, KRB5KRB_AP_ERR_SKEW, false, CASP_GSS_REFUSED, false,
     false, "clock"},
    {CASP_STEP_PASSWORD, KRB5KDC_ERR_PREAUTH_FAILED, false, CASP_GSS_REFUSED,
     false, false, "refuses the password of ada"},
    {CASP_STEP_KEYTAB, KRB5KDC_ERR_PREAUTH_FAILED, false, CASP_GSS_REFUSED,
     false, false, "export the keytab again"},
    {CASP_STEP_PASSWORD, KRB5KDC_ERR_KEY_EXP, false, CASP_GSS_REFUSED, false,
     false, "password of ada has expired"},
    {CASP_STEP_KEYTAB, KRB5KDC_ERR_KEY_EXP, false, CASP_GSS_REFUSED, false,
     false, "service account svc@CONTOSO.TEST has expired"},
    {CASP_STEP_PROXY, KRB5KDC_ERR_KEY_EXP, true, CASP_GSS_REFUSED, false,
     false, "password of ada has expired"},
    {CASP_STEP_KEYTAB, ENOENT, false, CASP_GSS_MISSING, false, false,
     "no keytab /etc/front.keytab"},
    {CASP_STEP_KEYTAB, EACCES, false, CASP_GSS_MISSING, false, false, "0600"},
    {CASP_STEP_KEYTAB, KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, false,
     CASP_GSS_MISSING, false, false, "key of the service account itself"},
    {CASP_STEP_PASSWORD, KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, false,
     CASP_GSS_REFUSED, false, false, "knows no user ada"},
    {CASP_STEP_SELF, KRB5KDC_ERR_POLICY, false, CASP_GSS_REFUSED, false, false,
     "disabled"},
    {CASP_STEP_TARGET, KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN, false,
     CASP_GSS_REFUSED, false, true, "setspn -S HTTP/be1.contoso.test"},
    {CASP_STEP_PROXY, KRB5KDC_ERR_BADOPTION, false, CASP_GSS_REFUSED, false,
     false, "TRUSTED_TO_AUTH_FOR_DELEGATION"},
    {CASP_STEP_PROXY, KRB5KDC_ERR_BADOPTION, true, CASP_GSS_REFUSED, false,
     true, "msDS-AllowedToDelegateTo"},
    {CASP_STEP_PROXY, -4242, true, CASP_GSS_REFUSED, false, true,
     "(in the library's words)"},
    {CASP_STEP_LIBRARY, KRB5_CONFIG_BADFORMAT, false, CASP_GSS_MISSING, false,
     false, "krb5.conf"},
    {CASP_STEP_LIBRARY, -4242, false, CASP_GSS_MISSING, false, false,
     "Kerberos library"},
};

static void test_sentences(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(no); i++) {
        casp_kdc_ask_t ask = {.p = pool,
                              .user = "ada",
                              .realm = "CONTOSO.TEST",
                              .host = HOST,
                              .keytab = "/etc/front.keytab",
                              .account = "svc@CONTOSO.TEST",
                              .may_forward = no[i].may_forward};
        casp_gss_e rc = casp_kdc_explain(&ask, no[i].step, no[i].code,
                                         "in the library's words");
        if (rc != no[i].verdict || ask.silent != no[i].silent
            || ask.of_host != no[i].of_host || !strstr(ask.why, no[i].says)) {
            fail_msg("row %d: %d, \"%s\"", (int)i, (int)rc, ask.why);
        }
        assert_null(strchr(ask.why, '$'));
    }
}

/* ------------------------------------------------------------------ SPNEGO */

/* Reads one head. @return what is in it; @a len: in bytes left, out inside */
static const unsigned char *into(const unsigned char *at, unsigned char tag,
                                 apr_size_t *len)
{
    assert_true(*len >= 2);
    assert_int_equal(at[0], tag);
    apr_size_t inside = at[1], head = 2;
    if (inside & 0x80) {
        apr_size_t n = inside & 0x7f;
        inside = 0;
        for (apr_size_t i = 0; i < n; i++) {
            inside = inside << 8 | at[2 + i];
        }
        assert_true(inside >= 128); /* the shortest form */
        head += n;
    }
    assert_true(head + inside <= *len);
    *len = inside;
    return at + head;
}

static void test_spnego(void **state)
{
    static const apr_size_t sizes[] = {1,   60,  90,    100,   127,  128,
                                       255, 256, 65400, 65535, 65536};
    static const unsigned char krb5[] = {0x2a, 0x86, 0x48, 0x86, 0xf7,
                                         0x12, 1,    2,    2};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        unsigned char *token = malloc(sizes[i]);
        apr_size_t len, part;
        memset(token, (int)i + 1, sizes[i]);
        const unsigned char *all =
            casp_spnego_wrap(pool, token, sizes[i], &len);
        const unsigned char *at = into(all, 0x60, &len);
        assert_memory_equal(at, "\x06\x06\x2b\x06\x01\x05\x05\x02", 8);
        len -= 8;
        at = into(at + 8, 0xa0, &len);
        at = into(at, 0x30, &len);
        part = len;
        const unsigned char *list = into(at, 0xa0, &part);
        const unsigned char *rest = list + part;
        list = into(list, 0x30, &part);
        list = into(list, 0x06, &part);
        assert_int_equal(part, sizeof(krb5));
        assert_memory_equal(list, krb5, sizeof(krb5));
        len -= (apr_size_t)(rest - at);
        at = into(rest, 0xa2, &len);
        at = into(at, 0x04, &len);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(at, token, len);
        free(token);
    }
}

static void test_spn_host(void **state)
{
    (void)state;
    char *longest = apr_pcalloc(pool, 300);
    memset(longest, 'a', 256);
    assert_false(casp_spn_host(longest));
    longest[255] = '\0';
    assert_true(casp_spn_host(longest));
    assert_true(casp_spn_host("be-1.contoso.test"));
    assert_false(casp_spn_host(""));
    assert_false(casp_spn_host("be1@EVIL.TEST"));
    assert_false(casp_spn_host("be1/x"));
    assert_false(casp_spn_host("be1:443"));
    assert_false(casp_spn_host("b e"));
}

/* ----------------------------------------------------------- without a KDC */

static casp_guid_t guid(unsigned n)
{
    casp_guid_t g = {{0}};
    memcpy(g.b, &n, sizeof(n));
    return g;
}

static casp_gss_user_t ada(const char *password)
{
    casp_gss_user_t u = {.user = guid(77),
                         .sam = "ada",
                         .realm = "contoso.test",
                         .netbios = "CONTOSO",
                         .password = password,
                         .password_len = password ? strlen(password) : 0};
    return u;
}

static void test_wanting(void **state)
{
    (void)state;
    apr_pool_t *p;
    apr_pool_create(&p, pool);
    casp_gss_conf_t conf = {NULL, 0};
    casp_gss_t *g = casp_gss_create(p, &conf);
    casp_gss_token_t out;

    casp_gss_user_t u = ada(NULL);
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "no password"));
    assert_int_equal(casp_gss_delegate(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "CasProxyKeytab"));
    u = ada("secret");
    u.password_len = 0;
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    u = ada("secret");
    assert_int_equal(casp_gss_kerberos(g, p, &u, "be1@X", &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "SPN"));
    u.realm = "";
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "domain"));
    u = ada("sec\0ret");
    u.password_len = 7;
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    u = ada("secret");
    u.sam = "";
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_int_equal(casp_gss_kerberos(NULL, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_null(out.token);
    casp_gss_forget(g, &u.user);
    casp_gss_forget(NULL, &u.user);
    assert_int_equal(casp_gss_stats(NULL)->hits, 0);
    apr_pool_destroy(p);
}

static void test_no_keytab(void **state)
{
    (void)state;
    apr_pool_t *p;
    apr_pool_create(&p, pool);
    casp_gss_conf_t conf = {apr_pstrcat(pool, dir, "/absent.keytab", NULL), 0};
    casp_gss_t *g = casp_gss_create(p, &conf);
    casp_gss_token_t out;
    casp_gss_user_t u = ada(NULL);

    for (int i = 0; i < 2; i++) { /* asked, and remembered */
        assert_int_equal(casp_gss_delegate(g, p, &u, HOST, &out),
                         CASP_GSS_MISSING);
        assert_non_null(strstr(out.why, "/absent.keytab"));
    }
    assert_int_equal(casp_gss_stats(g)->misses, 1);
    conf.keytab = write_file("junk.keytab", "this is no keytab");
    g = casp_gss_create(p, &conf);
    assert_int_equal(casp_gss_delegate(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "is no keytab"));
    apr_pool_destroy(p);
}

/* A KDC that is not there: refused at once, then not even asked. */
static void test_dead_kdc(void **state)
{
    (void)state;
    apr_pool_t *p;
    apr_pool_create(&p, pool);
    casp_gss_conf_t conf = {NULL, 0};
    casp_gss_t *g = casp_gss_create(p, &conf);
    casp_gss_token_t out;
    casp_gss_user_t u = ada("secret");

    apr_time_t t = apr_time_now();
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_UNAVAILABLE);
    assert_non_null(strstr(out.why, "no KDC of CONTOSO.TEST"));
    assert_true(apr_time_now() - t < APR_USEC_PER_SEC * 8);
    t = apr_time_now();
    u.user = guid(78);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                         CASP_GSS_UNAVAILABLE);
        assert_non_null(strstr(out.why, "at present")); /* not even asked */
    }
    assert_true(apr_time_now() - t < APR_USEC_PER_SEC);
    u.realm = "nowhere.test"; /* not in krb5.conf */
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_UNAVAILABLE);
    assert_non_null(strstr(out.why, "[realms]"));
    assert_int_equal(casp_gss_stats(g)->unavailable, 102);
    assert_int_equal(casp_gss_stats(g)->hits, 0);
    apr_pool_destroy(p);
}

/* -------------------------------------------------------------------- NTLM */

static gss_OID_desc ntlmssp = {10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"};

/*
 * gss-ntlmssp's own acceptor, in a process of its own: it loses memory for
 * each user that it looks up in its file, which is no fault of ours.
 */

typedef struct {
    bool done;
    char who[100]; /* whom it believes the client to be */
    apr_size_t len;
    unsigned char token[4096];
} answer_t;

static void accept_leg(gss_cred_id_t cred, gss_ctx_id_t *ctx, answer_t *a)
{
    OM_uint32 minor;
    gss_buffer_desc token = {a->len, a->token};
    gss_name_t name = GSS_C_NO_NAME;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER, out = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = gss_accept_sec_context(&minor, ctx, cred, &token,
                                             GSS_C_NO_CHANNEL_BINDINGS, &name,
                                             NULL, &out, NULL, NULL, NULL);

    memset(a, 0, sizeof(*a));
    a->done = major == GSS_S_COMPLETE;
    if (a->done && !gss_display_name(&minor, name, &text, NULL)) {
        memcpy(a->who, text.value,
               text.length < sizeof(a->who) ? text.length : 0);
    }
    if (out.length <= sizeof(a->token)) {
        memcpy(a->token, out.value ? out.value : "", out.length);
        a->len = out.length;
    }
}

static void accept_all(int fd)
{
    OM_uint32 minor;
    gss_buffer_desc text = {5 + strlen(HOST), "HTTP@" HOST};
    gss_name_t self = GSS_C_NO_NAME;
    gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
    gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
    gss_OID_set_desc mechs = {1, &ntlmssp};
    answer_t a;

    if (!gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &self)
        && !gss_acquire_cred(&minor, self, GSS_C_INDEFINITE, &mechs,
                             GSS_C_ACCEPT, &cred, NULL, NULL)) {
        while (read(fd, &a, sizeof(a)) == sizeof(a)) {
            accept_leg(cred, &ctx, &a);
            if (write(fd, &a, sizeof(a)) != sizeof(a)) {
                break;
            }
        }
    }
    _exit(0);
}

static void ask_acceptor(int fd, const casp_gss_token_t *token, answer_t *a)
{
    memset(a, 0, sizeof(*a));
    assert_true(token->len <= sizeof(a->token));
    memcpy(a->token, token->token, token->len);
    a->len = token->len;
    assert_int_equal(write(fd, a, sizeof(*a)), sizeof(*a));
    assert_int_equal(read(fd, a, sizeof(*a)), sizeof(*a));
}

/* A whole handshake. @return whom the acceptor believes the client to be */
static const char *shake(const casp_gss_user_t *u, casp_gss_e expect)
{
    casp_gss_dialog_t *d;
    casp_gss_token_t token;
    answer_t a;
    apr_pool_t *p;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    pid_t pid = fork();
    if (!pid) {
        close(fds[0]);
        accept_all(fds[1]);
    }
    close(fds[1]);
    apr_pool_create(&p, pool);
    casp_gss_e rc = casp_gss_ntlm_begin(NULL, p, u, HOST, &d, &token);
    if (rc != CASP_GSS_MORE) {
        fail_msg("%d: %s", (int)rc, token.why);
    }
    assert_memory_equal(token.token, "NTLMSSP", 8);
    ask_acceptor(fds[0], &token, &a);
    assert_false(a.done);
    assert_int_equal(casp_gss_ntlm_step(d, p, a.token, a.len, &token), expect);
    memset(&a, 0, sizeof(a));
    if (expect == CASP_GSS_OK) {
        ask_acceptor(fds[0], &token, &a);
    }
    else {
        assert_null(token.token);
        assert_non_null(token.why);
    }
    /* a dialog has two messages */
    assert_int_equal(casp_gss_ntlm_step(d, p, "x", 1, &token),
                     CASP_GSS_REFUSED);
    assert_non_null(strstr(token.why, "after the handshake"));
    apr_pool_destroy(p);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    return a.done ? apr_pstrdup(pool, a.who) : NULL;
}

/* UTF-8 of one, two, three and four bytes */
#define WIDE "P\xc3\xa4ss\xe2\x82\xac\xf0\x9d\x84\x9e-1"

static void test_ntlm(void **state)
{
    (void)state;
    if (!casp_gss_has_ntlm()) {
        skip();
    }
    casp_gss_user_t u = ada("Secret-1");
    assert_string_equal(shake(&u, CASP_GSS_OK), "CONTOSO\\ada");
    /* what follows the password in memory is none of it */
    u = ada("Secret-1 and more");
    u.password_len = 8;
    assert_string_equal(shake(&u, CASP_GSS_OK), "CONTOSO\\ada");
    /* the acceptor's file has the right one, and nobody but it looks */
    u = ada("Secret-2");
    assert_null(shake(&u, CASP_GSS_OK));
    u = ada(WIDE);
    u.sam = "eva";
    assert_string_equal(shake(&u, CASP_GSS_OK), "CONTOSO\\eva");
}

static void test_ntlm_v1(void **state)
{
    (void)state;
    if (!casp_gss_has_ntlm()) {
        skip();
    }
    /* the environment, and what NTLMv1 costs the library, end with a child */
    int fds[2];
    char said = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (!pid) {
        casp_gss_user_t u = ada("Secret-1");
        setenv("LM_COMPAT_LEVEL", "2", 1);
        shake(&u, CASP_GSS_MISSING);
        _exit(write(fds[1], "y", 1) != 1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_ntlm_wanting(void **state)
{
    (void)state;
    static const char *const broken[] = {"\xff",
                                         "a\x80",
                                         "\xc0\xaf",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "cut\xe2\x82",
                                         "\xf8\x88\x80\x80\x80"};
    casp_gss_dialog_t *d;
    casp_gss_token_t out;
    casp_gss_user_t u = ada(NULL);

    assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "password"));
    u = ada("x");
    assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, "a b", &d, &out),
                     CASP_GSS_MISSING);
    u.sam = "a\\b";
    assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                     CASP_GSS_MISSING);
    for (size_t i = 0; i < COUNT(broken); i++) {
        u = ada(broken[i]);
        assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                         CASP_GSS_MISSING);
        assert_null(d);
    }
}

static void test_ntlm_junk(void **state)
{
    (void)state;
    if (!casp_gss_has_ntlm()) {
        skip();
    }
    static const struct {
        const char *bytes;
        apr_size_t len;
    } junk[] = {{"", 0},
                {"x", 1},
                {"NTLMSSP\0\2\0\0\0", 12},
                {"NTLMSSP\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24}};
    casp_gss_user_t u = ada("Secret-1");

    for (size_t i = 0; i < COUNT(junk); i++) {
        casp_gss_dialog_t *d;
        casp_gss_token_t out;
        assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                         CASP_GSS_MORE);
        assert_int_equal(casp_gss_ntlm_step(d, pool, junk[i].bytes,
                                            junk[i].len, &out),
                         CASP_GSS_REFUSED);
        assert_non_null(out.why);
        assert_null(out.token);
    }
}

/* A port on which nobody listens, and nobody will. */
static int dead_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len)
        || getsockname(fd, (struct sockaddr *)&at, &len)) {
        return 88;
    }
    return ntohs(at.sin_port); /* bound, never listening, until the end */
}

/* Before any library looks at the environment. */
static int set_up_all(void **state)
{
    if (set_up(state)) {
        return -1;
    }
    setenv("KRB5_CONFIG",
           write_file("krb5.conf", apr_psprintf(pool,
                                                "[libdefaults]\n"
                                                "dns_lookup_kdc = false\n"
                                                "dns_lookup_realm = false\n"
                                                "udp_preference_limit = 1\n"
                                                "[realms]\n"
                                                "CONTOSO.TEST = {\n"
                                                "  kdc = 127.0.0.1:%d\n"
                                                "}\n",
                                                dead_port())),
           1);
    setenv("NTLM_USER_FILE",
           write_file("users", "CONTOSO:ada:Secret-1\nCONTOSO:eva:" WIDE "\n"),
           1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),    cmocka_unit_test(test_spnego),
        cmocka_unit_test(test_spn_host),     cmocka_unit_test(test_wanting),
        cmocka_unit_test(test_no_keytab),    cmocka_unit_test(test_dead_kdc),
        cmocka_unit_test(test_ntlm),         cmocka_unit_test(test_ntlm_v1),
        cmocka_unit_test(test_ntlm_wanting), cmocka_unit_test(test_ntlm_junk),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, set_up_all, tear_down);
    apr_terminate();
    return failed;
}
