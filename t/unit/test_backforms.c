/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A backend's own form: what is posted to each generation, what its answers
 * mean, its cookies through a life of renewals, garbage among them.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "backforms.h"
#include "fba_form.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define GONE "expires=Thu, 01-Jan-1970 00:00:00 GMT"

static apr_pool_t *pool;
static char logged[4096];

static void note(void *baton, casp_log_e level, apr_status_t rv,
                 const char *message)
{
    (void)baton;
    (void)level;
    (void)rv;
    apr_cpystrn(logged, message, sizeof(logged));
}

static int set_up(void **state)
{
    (void)state;
    *logged = '\0';
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

/* ---------------------------------------------------------- what is posted */

static void test_make(void **state)
{
    static const struct {
        casp_version_e version;
        const char *vdir;
        int flags;
        const char *path, *cookie, *body;
    } cases[] = {
        {CASP_V2003, "/exchange", CASP_LOGON_PRIVATE,
         "/exchweb/bin/auth/owaauth.dll", NULL,
         "destination=https%3A%2F%2Fex.contoso.test%2Fexchange%2F&flags=4"
         "&forcedownlevel=0&trusted=4&username=CONTOSO%5Cada&password=a%26b"
         "&SubmitCreds=Log%20On"},
        {CASP_V2000, "", 0, "/exchweb/bin/auth/owaauth.dll", NULL,
         "destination=https%3A%2F%2Fex.contoso.test%2Fexchange%2F&flags=0"
         "&forcedownlevel=0&trusted=0&username=CONTOSO%5Cada&password=a%26b"
         "&SubmitCreds=Log%20On"},
        {CASP_V2007, "/owa", CASP_LOGON_PRIVATE | CASP_LOGON_LIGHT,
         "/owa/auth/owaauth.dll", "PBack=0",
         "destination=https%3A%2F%2Fex.contoso.test%2Fowa%2F&flags=5"
         "&forcedownlevel=0&trusted=4&username=CONTOSO%5Cada&password=a%26b"
         "&SubmitCreds=Log%20On&isUtf8=1"},
        {CASP_V2010, "/owa", CASP_LOGON_LIGHT, "/owa/auth.owa", "PBack=0",
         "destination=https%3A%2F%2Fex.contoso.test%2Fowa%2F&flags=1"
         "&forcedownlevel=0&trusted=0&username=CONTOSO%5Cada&password=a%26b"
         "&passwordText=&isUtf8=1"},
        {CASP_V2013, "/ecp/", 0x7ffffff8, "/owa/auth.owa", "PBack=0",
         "destination=https%3A%2F%2Fex.contoso.test%2Fecp%2F&flags=0"
         "&forcedownlevel=0&trusted=0&username=CONTOSO%5Cada&password=a%26b"
         "&passwordText=&isUtf8=1"},
        {CASP_V2019, NULL, 0, "/owa/auth.owa", "PBack=0",
         "destination=https%3A%2F%2Fex.contoso.test%2Fowa%2F&flags=0"
         "&forcedownlevel=0&trusted=0&username=CONTOSO%5Cada&password=a%26b"
         "&passwordText=&isUtf8=1"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        casp_backform_t form;
        casp_backform_make(pool, cases[i].version, "https://ex.contoso.test",
                           cases[i].vdir, "CONTOSO\\ada", "a&b", 3,
                           cases[i].flags, &form);
        assert_string_equal(form.path, cases[i].path);
        assert_true((form.cookie == NULL) == (cases[i].cookie == NULL));
        if (form.cookie) {
            assert_string_equal(form.cookie, cases[i].cookie);
        }
        assert_string_equal(form.body, cases[i].body);
        assert_int_equal(form.len, strlen(form.body));
    }
}

/* Whatever bytes a password has, our own reader of forms gets them back. */
static void test_make_escapes(void **state)
{
    static const char plain[] = "-._~ABYZabyz0189";
    char password[256], *body;
    casp_backform_t form;
    casp_logon_t logon;

    (void)state;
    for (int c = 1; c < 256; c++) {
        password[c - 1] = (char)c;
    }
    casp_backform_make(pool, CASP_V2010, "https://ex", "/owa", "", password,
                       255, 0, &form);
    for (apr_size_t i = 0; i < form.len; i++) {
        unsigned char c = (unsigned char)form.body[i];
        assert_true(c > 0x20 && c < 0x7f);
    }
    assert_non_null(strstr(form.body, "%01%02"));
    assert_non_null(strstr(form.body, "%FE%FF&"));
    assert_non_null(strstr(form.body, "%20%21%22%23%24%25%26%27%28%29%2A%2B"
                                      "%2C-.%2F0"));

    casp_backform_make(pool, CASP_V2010, "https://ex", "/owa", plain, plain,
                       sizeof(plain) - 1, 0, &form);
    assert_non_null(strstr(form.body,
                           apr_pstrcat(pool, "&username=", plain,
                                       "&password=", plain, "&", NULL)));

    /* UTF-8 through and through, and a NUL ends nothing */
    static const char name[] = "m\xc3\xbcller@contoso.test";
    static const char word[] = "p\xc3\xa4\xe2\x82\xac+ %=&;\"'<>\\";
    casp_backform_make(pool, CASP_V2003, "https://ex", "/exchange", name, word,
                       sizeof(word) - 1, 4, &form);
    body = apr_pstrdup(pool, form.body);
    assert_null(casp_logon_read(pool, body, form.len, &logon));
    assert_string_equal(logon.name, name);
    assert_string_equal(logon.password, word);
    assert_int_equal(logon.flags, CASP_LOGON_PRIVATE);
    assert_string_equal(logon.destination, "https://ex/exchange/");
    casp_backform_make(pool, CASP_V2010, "https://ex", "/owa", "ada", "a\0b",
                       3, 0, &form);
    assert_non_null(strstr(form.body, "&password=a%00b&"));
    casp_backform_make(pool, CASP_V2010, "https://ex", "/owa", NULL, NULL, 5,
                       0, &form);
    assert_non_null(strstr(form.body, "&username=&password=&"));
}

static const char *wiped_body;
static apr_size_t wiped_len;
static bool wiped;

static apr_status_t look_at_body(void *baton)
{
    (void)baton;
    wiped = true;
    for (apr_size_t i = 0; i < wiped_len; i++) {
        wiped = wiped && wiped_body[i] == '\0';
    }
    return APR_SUCCESS;
}

static void test_make_wipes(void **state)
{
    casp_backform_t form;
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, pool);
    /* registered first, and so run last: the memory is still there */
    apr_pool_cleanup_register(p, NULL, look_at_body, apr_pool_cleanup_null);
    casp_backform_make(p, CASP_V2010, "https://ex", "/owa", "ada", "Secret", 6,
                       0, &form);
    assert_non_null(strstr(form.body, "password=Secret&"));
    wiped_body = form.body;
    wiped_len = form.len;
    apr_pool_destroy(p);
    assert_true(wiped);
}

/* ------------------------------------------------------------- its answers */

static void test_owns(void **state)
{
    static const struct {
        const char *name;
        bool owns;
    } cases[] = {
        {"cadata", true},
        {"cadataTTL", true},
        {"cadataKey", true},
        {"cadataIV", true},
        {"CADATASIG", true},
        {"sessionid", true},
        {"SessionID", true},
        {" cadata ", true},
        {"sessionid\t", true},
        {"cadat", false},
        {"xcadata", false},
        {"sessionid2", false},
        {"session", false},
        {"", false},
        {"   ", false},
        {"UserContext", false},
        {"OutlookSession", false},
        {"PBack", false},
        {"cadata{2DE3E5F1-8A1B-4C40}", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(casp_backform_owns(cases[i].name,
                                            strlen(cases[i].name)),
                         cases[i].owns);
    }
    assert_true(casp_backform_owns("cadata=x", 6));
    assert_false(casp_backform_owns("cadata", 5));
    assert_true(casp_backform_owns("sessionid2", 9));
}

static void test_wanted(void **state)
{
    static const struct {
        int status;
        const char *location;
        bool wanted;
    } cases[] = {
        {440, NULL, true},
        {440, "/owa/", true},
        {200, NULL, false},
        {200, "/owa/auth/logon.aspx", false},
        {401, "/owa/auth/logon.aspx", false},
        {302, NULL, false},
        {302, "", false},
        {302, "?", false},
        {302, "/", false},
        {302, "/owa/auth/logon.aspx?url=https%3a%2f%2fh%2fowa%2f&reason=0",
         true},
        {302, "https://h/owa/auth/logon.aspx?replaceCurrent=1", true},
        {302, "HTTPS://h:444/OWA/Auth/LOGON.ASPX", true},
        {302, "//h/owa/auth/logon.aspx#top", true},
        {301, "/owa/auth/logon.aspx", true},
        {303, "/ecp/auth/logon.aspx", true},
        {307, "/owa/auth/logon.aspx", true},
        {308, "/owa/auth/logon.aspx", true},
        {304, "/owa/auth/logon.aspx", false},
        {302, "auth/logon.aspx?url=x", true},
        {302, "logon.aspx?reason=2", true},
        {302, "logon.aspx?x=1&URL=x&y", true},
        {302, "logon.aspx?reason", true},
        {302, "/shop/logon.aspx", false},
        {302, "/shop/logon.aspx?curl=1&reasons=2", false},
        {302, "/exchweb/bin/auth/owalogon.asp?url=https://h/exchange&reason=0",
         true},
        {302, "http://h/exchweb/bin/auth/USA/OWALogon.asp", true},
        {302, "/exchweb/bin/auth/usa/logon.asp?url=x", true},
        {302, "/usa/logon.asp?url=x", false},
        {302, "/CookieAuth.dll?GetLogon?curl=Z2FowaZ2F&reason=0", true},
        {302, "https://h/cookieauth.dll?GETLOGON&x", true},
        {302, "/CookieAuth.dll?GetPic?formdir=3", false},
        {302, "/CookieAuth.dll", false},
        {302, "/Other.dll?GetLogon", false},
        /* a query is anybody's word */
        {302, "/owa/redir.aspx?u=/owa/auth/logon.aspx", false},
        {302, "/owa/?x=https://h/owa/auth/logon.aspx", false},
        {302, "/owa/#/auth/logon.aspx", false},
        {302, "https://h?/auth/logon.aspx", false},
        {302, "//auth/logon.aspx", false}, /* a host of that name */
        {302, "/owa/auth/logon.aspx/", false},
        {302, "/owa/auth/logon.aspxx", false},
        {302, "/owa/auth/xlogon.aspx", false},
        {302, "/owa/auth/logoff.aspx?Cmd=logoff", false},
        {302, "/owa/auth/expiredpassword.aspx?url=/", false},
        {302, "/owa/", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        apr_table_t *t = apr_table_make(pool, 1);
        if (cases[i].location) {
            apr_table_setn(t, "location", cases[i].location);
        }
        if (casp_backform_wanted(cases[i].status, t) != cases[i].wanted) {
            fail_msg("%d %s", cases[i].status, cases[i].location);
        }
    }
    /* a path just short enough, and one that is too long */
    for (int more = 0; more < 2; more++) {
        apr_size_t len = 1023 + (apr_size_t)more;
        char *path = apr_palloc(pool, len + 1);
        apr_table_t *t = apr_table_make(pool, 1);
        memset(path, 'a', len);
        path[0] = '/';
        strcpy(path + len - 16, "/auth/logon.aspx");
        apr_table_setn(t, "Location", path);
        assert_int_equal(casp_backform_wanted(302, t), !more);
    }
}

/* Lines of an answer, each "L..." a Location or "C..." a Set-Cookie. */
static apr_table_t *answer(const char *const *lines)
{
    apr_table_t *t = apr_table_make(pool, 8);

    for (; *lines; lines++) {
        apr_table_addn(t, **lines == 'L' ? "Location" : "Set-Cookie",
                       *lines + 1);
    }
    return t;
}

#define LINES 8

static void test_judge(void **state)
{
    static const struct {
        int status;
        const char *lines[LINES];
        casp_backform_e expected;
        const char *cookies;
    } cases[] = {
        {302, /* 2003 */
         {"Lhttps://h/exchange/", "Csessionid=1:0x409; path=/",
          "Ccadata=\"0Ab+/=\"; path=/"},
         CASP_BACKFORM_IN,
         "sessionid=1:0x409; cadata=\"0Ab+/=\""},
        {302, /* 2013; what is not a session's is not kept */
         {"L/owa/", "Ccadata=A; path=/; secure; HttpOnly", "CcadataTTL=B",
          "CcadataKey=C", "CcadataIV=D", "CcadataSig=E", "CClientId=F"},
         CASP_BACKFORM_IN,
         "cadata=A; cadataTTL=B; cadataKey=C; cadataIV=D; cadataSig=E"},
        {200, {"Ccadata=A"}, CASP_BACKFORM_IN, "cadata=A"},
        {303, {"L/x", "C cadata = A B ; x"}, CASP_BACKFORM_IN, "cadata=A B"},
        {302, {"L/x", "Ccadata=A", "Ccadata=B"}, CASP_BACKFORM_IN, "cadata=B"},
        {302, /* refused before, in the same answer let in */
         {"L/x", "Ccadata=; " GONE, "Ccadata=B"},
         CASP_BACKFORM_IN,
         "cadata=B"},
        {302,
         {"L/x", "Ccadata=A", "Ccadata=; " GONE},
         CASP_BACKFORM_STRANGE,
         NULL},
        {302,
         {"L/owa/auth/logon.aspx?url=x&reason=2"},
         CASP_BACKFORM_REFUSED,
         NULL},
        {302, /* cookies do not make a refusal good */
         {"L/exchweb/bin/auth/owalogon.asp?reason=2", "Ccadata=A"},
         CASP_BACKFORM_REFUSED,
         NULL},
        {302,
         {"L/owa/auth/expiredpassword.aspx?url=/x", "Ccadata=A"},
         CASP_BACKFORM_REFUSED,
         NULL},
        {302, {"L/owa/"}, CASP_BACKFORM_STRANGE, NULL},
        {302, {"L/owa/", "Csessionid=A"}, CASP_BACKFORM_STRANGE, NULL},
        {302, {"L/owa/", "Ccadata="}, CASP_BACKFORM_STRANGE, NULL},
        {302, {"L/owa/", "Ccadata"}, CASP_BACKFORM_STRANGE, NULL},
        {302, {"L/owa/", "CClientId=F"}, CASP_BACKFORM_STRANGE, NULL},
        {200, {NULL}, CASP_BACKFORM_STRANGE, NULL},
        {400, {"Ccadata=A"}, CASP_BACKFORM_STRANGE, NULL},
        {401, {"Ccadata=A"}, CASP_BACKFORM_STRANGE, NULL},
        {404, {"Ccadata=A"}, CASP_BACKFORM_STRANGE, NULL},
        {440, {"Ccadata=A"}, CASP_BACKFORM_STRANGE, NULL},
        {500, {"Ccadata=A"}, CASP_BACKFORM_STRANGE, NULL},
        {304, {"Ccadata=A"}, CASP_BACKFORM_STRANGE, NULL},
        {204, {"Ccadata=A"}, CASP_BACKFORM_STRANGE, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *cookies = "x";
        casp_backform_e how =
            casp_backform_judge(pool, cases[i].status, answer(cases[i].lines),
                                &cookies);
        if (how != cases[i].expected) {
            fail_msg("case %d: %d", (int)i, how);
        }
        assert_true((cookies != NULL) == (how == CASP_BACKFORM_IN));
        if (cookies) {
            assert_string_equal(cookies, cases[i].cookies);
        }
    }
    assert_string_equal(logged, "");
}

/* Garbage is nothing to log on with, and the operator hears of it; never of
 * what it was. */
static void test_judge_garbage(void **state)
{
    char *big = apr_palloc(pool, 65536 + 8);

    (void)state;
    memset(big, 'x', 65536);
    big[65536] = '\0';
    const char *const lines[] = {
        "cadata=SECRET\r\nX-Evil: 1",
        "cadata=SECRET\n",
        "cadata=\x01",
        "cadata=a\x1f",
        "cadata\x80=SECRET",
        "cadata=\x7f",
        "cadata=S\xc3\xa4",
        "cadata=a\tb",
        "cadata\r=SECRET",
        "cadata x=SECRET",
        "cadata,b=SECRET",
        "cadata\xff=SECRET",
        apr_pstrcat(pool, "cadata=", big, NULL),
        apr_pstrcat(pool, "cadata", big, "=1", NULL),
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        apr_table_t *t = apr_table_make(pool, 4);
        const char *cookies;
        apr_table_addn(t, "Location", "/owa/");
        apr_table_addn(t, "Set-Cookie", "sessionid=1");
        apr_table_addn(t, "Set-Cookie", "cadataTTL=2");
        apr_table_addn(t, "Set-Cookie", lines[i]);
        *logged = '\0';
        assert_int_equal(casp_backform_judge(pool, 302, t, &cookies),
                         CASP_BACKFORM_STRANGE);
        assert_null(cookies);
        assert_ptr_equal(strstr(logged, "CP0750: "), logged);
        assert_null(strstr(logged, "SECRET"));
    }
}

/* Number, length, and the length of all. */
static void test_cookie_bounds(void **state)
{
    static const struct {
        int count, len;
        bool in;
    } cases[] = {
        {1, 4096, true},  {1, 4097, false}, {16, 10, true},   {17, 10, false},
        {100, 10, false}, {2, 4084, true},  {2, 4085, false}, {3, 4000, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        apr_table_t *t = apr_table_make(pool, 4);
        const char *cookies;
        char *value = apr_pcalloc(pool, (apr_size_t)cases[i].len + 1);
        memset(value, 'v', (apr_size_t)cases[i].len);
        apr_table_addn(t, "Location", "/owa/");
        for (int n = 0; n < cases[i].count; n++) {
            /* names of nine bytes: 9 + 1 + len + 2 for each */
            apr_table_addn(t, "Set-Cookie",
                           apr_psprintf(pool, "cadata%03d=%s", n, value));
        }
        if ((casp_backform_judge(pool, 302, t, &cookies) == CASP_BACKFORM_IN)
            != cases[i].in) {
            fail_msg("case %d", (int)i);
        }
        assert_true(!cookies || strlen(cookies) <= 8192);
    }
    /* one byte too many; and full, there is room to renew what is there */
    char *half = apr_pcalloc(pool, 4086), *kept;
    memset(half, 'v', 4085);
    apr_table_t *renewal = apr_table_make(pool, 1);
    apr_table_t *more = apr_table_make(pool, 2);
    bool changed;
    apr_table_addn(more, "Set-Cookie",
                   apr_pstrcat(pool, "cadata001=", half, NULL));
    half[4084] = '\0';
    apr_table_addn(more, "Set-Cookie",
                   apr_pstrcat(pool, "cadata002=", half, NULL));
    const char *none;
    assert_int_equal(casp_backform_judge(pool, 200, more, &none),
                     CASP_BACKFORM_STRANGE);
    kept = apr_pstrcat(pool, "cadata001=", half, "; cadata002=", half, NULL);
    half = apr_pstrdup(pool, half);
    half[0] = 'w';
    apr_table_addn(renewal, "Set-Cookie",
                   apr_pstrcat(pool, "cadata001=", half, NULL));
    const char *after = casp_backform_renew(pool, kept, renewal, &changed);
    assert_true(changed);
    kept[strlen("cadata001=")] = 'w';
    assert_string_equal(after, kept);
    for (int len = 64; len < 66; len++) {
        apr_table_t *t = apr_table_make(pool, 4);
        const char *cookies;
        char *name = apr_pcalloc(pool, (apr_size_t)len + 1);
        memset(name, 'n', (apr_size_t)len);
        memcpy(name, "cadata", 6);
        apr_table_addn(t, "Set-Cookie", apr_pstrcat(pool, name, "=1", NULL));
        assert_int_equal(casp_backform_judge(pool, 200, t, &cookies)
                             == CASP_BACKFORM_IN,
                         len == 64);
    }
}

/* ---------------------------------------------------------------- renewals */

static void test_renew(void **state)
{
    static const char before[] = "sessionid=S; cadata=A";
    static const struct {
        const char *cookies;
        const char *lines[LINES];
        const char *after; /* NULL: none is left */
        bool changed;
    } cases[] = {
        {before, {NULL}, before, false},
        {before, {"CUserContext=1; path=/owa"}, before, false},
        {before, {"Ccadata=A; path=/"}, before, false},
        {before,
         {"Ccadata=B; path=/; HttpOnly"},
         "sessionid=S; cadata=B",
         true},
        {before, {"CcadataTTL=T"}, "sessionid=S; cadata=A; cadataTTL=T", true},
        {before, {"Csessionid=; " GONE}, "cadata=A", true},
        {before, {"Csessionid=; " GONE, "Ccadata=; " GONE}, NULL, true},
        {before, {"Ccadata=; " GONE}, NULL, true}, /* a half is none */
        {before,
         {"Ccadata=; " GONE, "Ccadata=B"},
         "sessionid=S; cadata=B",
         true},
        {before, {"CcadataX=; " GONE}, before, false},
        {before, {"Ccadata=B\r\nX: y"}, before, false},
        {before, {"Ccadata"}, before, false},
        {before, {"C=x", "C", "C;;;", "C=;=;"}, before, false},
        {NULL, {NULL}, NULL, false},
        {NULL, {"Ccadata=B"}, "cadata=B", true},
        {NULL, {"Csessionid=B"}, NULL, false},
        {"", {NULL}, NULL, true},
        /* nothing foreign and nothing broken survives in what was kept */
        {"cadata=A;x=y;cadata\n=B; sessionid=S\r", {NULL}, "cadata=A", true},
        {"a=b", {"Ccadata=B"}, "cadata=B", true},
        {"cadata=; cadataTTL=T", {NULL}, "cadataTTL=T", true},
        /* who says it is over, and how */
        {before, {"Ccadata=B; Max-Age=0"}, NULL, true},
        {before, {"Ccadata=B; max-age=-1"}, NULL, true},
        {before, {"Ccadata=B; max-age= 000 "}, NULL, true},
        {before, {"Ccadata=B; Max-Age=1"}, "sessionid=S; cadata=B", true},
        {before,
         {"Ccadata=B; Max-Age=10000000000000000000000"},
         "sessionid=S; cadata=B",
         true},
        {before, {"Ccadata=B; Max-Age="}, "sessionid=S; cadata=B", true},
        {before, {"Ccadata=B; Max-Age=-"}, "sessionid=S; cadata=B", true},
        {before, {"Ccadata=B; Max-Age=0x"}, "sessionid=S; cadata=B", true},
        {before, {"Ccadata=B; Max-Age"}, "sessionid=S; cadata=B", true},
        {before,
         {"Ccadata=B; Max=0; Max-Ages=0"},
         "sessionid=S; cadata=B",
         true},
        {before, {"Ccadata=B; X-Max-Age=0"}, "sessionid=S; cadata=B", true},
        {before, {"Ccadata=B; Max-Age=5; Max-Age=0"}, NULL, true},
        {before, {"Ccadata=B; Max-Age=0; Max-Age=x"}, NULL, true},
        {before,
         {"Ccadata=B; " GONE "; Max-Age=60"},
         "sessionid=S; cadata=B",
         true},
        {before,
         {"Ccadata=B; Max-Age=0; expires=Fri, 01-Jan-2100 00:00:00 GMT"},
         NULL,
         true},
        {before,
         {"Ccadata=B; Expires=Fri, 01 Jan 2100 00:00:00 GMT"},
         "sessionid=S; cadata=B",
         true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool changed = !cases[i].changed;
        const char *after =
            casp_backform_renew(pool, cases[i].cookies, answer(cases[i].lines),
                                &changed);
        if (changed != cases[i].changed || !after != !cases[i].after
            || (after && strcmp(after, cases[i].after) != 0)) {
            fail_msg("case %d: %s, %s", (int)i, after ? after : "none",
                     changed ? "changed" : "as it was");
        }
        if (!changed) {
            assert_ptr_equal(after, cases[i].cookies);
        }
    }
}

static void test_dates(void **state)
{
    static const struct {
        const char *date;
        bool over;
    } cases[] = {
        {"Thu, 01-Jan-1970 00:00:00 GMT", true},
        {"Thu, 01 Jan 1970 00:00:01 GMT", true},
        {"Thursday, 01-Jan-70 00:00:00 GMT", true},
        {"Thu Jan  1 00:00:00 1970", true},
        {"Mon, 01-Jan-1601 00:00:00 GMT", true},
        {"Wed, 31-Dec-1969 23:59:59 GMT", true},
        {"Sat, 01-Jan-2000 1:2:3 GMT", true},
        {"31 Dec 2019 23:59:60 GMT", true},
        {"00:00:00 1 january 1999", true},
        {"1999-01-Jan 00:00:00", true},
        {"Fri, 01-Jan-2100 00:00:00 GMT", false},
        {"Fri, 01-Jan-69 00:00:00 GMT", false}, /* 2069 */
        {"Fri, 31-Dec-9999 23:59:59 GMT", false},
        /* no dates, and so no word about it */
        {"", false},
        {"0", false},
        {"-1", false},
        {"01-Jan-1999", false},
        {"Thu, 01-Jan-1999 00:00 GMT", false},
        {"Thu, 01-Jan-1999 24:00:00 GMT", false},
        {"Thu, 01-Jan-1999 00:60:00 GMT", false},
        {"Thu, 01-Jan-1999 00:00:61 GMT", false},
        {"Thu, 00-Jan-1999 00:00:00 GMT", false},
        {"Thu, 32-Jan-1999 00:00:00 GMT", false},
        {"Thu, 01-Foo-1999 00:00:00 GMT", false},
        {"Thu, 01-01-1999 00:00:00 GMT", false},
        {"Thu, 01-Jan-19990 00:00:00 GMT", false},
        {"Jan 1999 00:00:00", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        apr_table_t *t = apr_table_make(pool, 1);
        bool changed;
        apr_table_addn(t, "Set-Cookie",
                       apr_pstrcat(pool, "cadata=B; path=/; Expires=",
                                   cases[i].date, "; HttpOnly", NULL));
        const char *after = casp_backform_renew(pool, "cadata=A", t, &changed);
        assert_true(changed);
        if (!after != cases[i].over) {
            fail_msg("%s", cases[i].date);
        }
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_make),          TEST(test_make_escapes),
        TEST(test_make_wipes),    TEST(test_owns),
        TEST(test_wanted),        TEST(test_judge),
        TEST(test_judge_garbage), TEST(test_cookie_bounds),
        TEST(test_renew),         TEST(test_dates),
    };
    int failed;

    apr_initialize();
    casp_log_set(note, NULL, CASP_LOG_DEBUG);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
