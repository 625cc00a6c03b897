/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The logon's URLs in every generation's spelling, the posted form, where a
 * logon may lead, and the form that carries it on.  Strangers post all of it;
 * so what must be refused fills most of the tables.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_escape.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "fba_form.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HOST "mail.contoso.test"

static apr_pool_t *pool;

static int setup(void **state)
{
    (void)state;
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

/* ------------------------------------------------------------------- URLs */

#define NONE CASP_FORMS_NONE
#define PAGE CASP_FORMS_PAGE
#define POST CASP_FORMS_POST
#define LOGOFF CASP_FORMS_LOGOFF
#define SCRIPT CASP_FORMS_SCRIPT

static const struct {
    const char *target;
    casp_forms_url_e what;
} urls[] = {
    /* the page */
    {"/owa/auth/logon.aspx", PAGE},
    {"/owa/auth/logon.aspx?url=https%3a%2f%2fx%2fowa%2f&reason=0", PAGE},
    {"/OWA/Auth/LOGON.aspx", PAGE},
    {"/ecp/auth/logon.aspx", PAGE},
    {"/exchweb/bin/auth/owalogon.asp?url=https://h/exchange/&reason=0", PAGE},
    {"/ExchWeb/bin/auth/USA/owalogon.asp", PAGE},
    {"/exchweb/bin/auth/ger/logon.asp", PAGE},
    {"/owa/%61uth/logon%2easpx", PAGE},
    {"/owa/auth/logon.aspx/", NONE},
    {"/owa/auth/logon.aspx/x", NONE},
    {"/owa/auth/xlogon.aspx", NONE},
    {"/owa/logon.aspx", NONE},
    {"/owa/auth/%256cogon.aspx", NONE}, /* refused: encoded twice */
    {"/exchweb/bin/owalogon.asp", NONE},
    {"/exchweb/bin/auth/a/b/owalogon.asp", NONE},
    {"/exchweb/bin/auth/logon.asp", NONE},
    {"/exchange/auth/logon.aspx", NONE},
    {"/ews/auth/logon.aspx", NONE},
    {"/auth/logon.aspx", NONE},
    /* the POST */
    {"/owa/auth.owa", POST},
    {"/owa/AUTH.OWA?x=1", POST},
    {"/owa/auth/owaauth.dll", POST},
    {"/owa/owaauth.dll", POST},
    {"/ecp/auth.owa", POST},
    {"/ecp/auth/owaauth.dll", POST},
    {"/exchweb/bin/auth/owaauth.dll", POST},
    {"/owa/ada@contoso.test/auth.owa", POST},
    {"/owa/auth%2Eowa", POST},
    {"/owa/xauth.owa", NONE},
    {"/owa/auth.owa/", NONE},
    {"/owa/auth.owa/x", NONE},
    {"/owa?auth.owa", NONE},
    {"/exchange/ada/auth.owa", NONE},
    {"/public/owaauth.dll", NONE},
    {"/ews/auth.owa", NONE},
    {"/auth.owa", NONE},
    {"/owa/..%2fauth.owa", NONE}, /* refused */
    /* signing out */
    {"/owa/logoff.owa", LOGOFF},
    {"/owa/Logoff.owa?Cmd=logoff&src=exch", LOGOFF},
    {"/owa/auth/logoff.aspx?Cmd=logoff", LOGOFF},
    {"/owa/auth/logoff.aspx", LOGOFF},
    {"/owa/auth/signout.aspx", LOGOFF},
    {"/ecp/logoff.aspx", LOGOFF},
    {"/ecp/logoff.owa", LOGOFF},
    {"/owa/ada@contoso.test/logoff.owa", LOGOFF},
    {"/ecp/ada@contoso.test/logoff.aspx", LOGOFF},
    {"/exchange/?Cmd=logoff", LOGOFF},
    {"/exchange?cmd=LOGOFF", LOGOFF},
    {"/exchange/ada/?Cmd=logoff", LOGOFF},
    {"/exchange/ada/Inbox/?ns=1&CMD=Logoff", LOGOFF},
    {"/exchange/?&&Cmd=%6cogoff&a", LOGOFF},
    {"/public/?Cmd=logoff", LOGOFF},
    {"/public/?a=b&cmd=logoff", LOGOFF},
    {"/exchweb/bin/usa/logoff.asp?Cmd=logoff", LOGOFF},
    {"/exchweb/bin/USA/logoff.asp", LOGOFF},
    {"/exchweb/bin/ger/logoff.asp", LOGOFF},
    {"/exchweb/bin/auth/usa/logoff.asp", LOGOFF},
    {"/exchweb/bin/auth/owalogoff.asp", LOGOFF},
    {"/owa/logoff.owax", NONE},
    {"/owa/?ae=Folder&t=logoff.owa", NONE},
    {"/owa/?Cmd=logoff", NONE},
    {"/exchange/?Cmd=galfind", NONE},
    {"/exchange/?Cmd=logoff2", NONE},
    {"/exchange/?xCmd=logoff", NONE},
    {"/exchange/?x=Cmd=logoff", NONE},
    {"/exchange/logoff.owa", NONE},
    {"/exchange/", NONE},
    {"/public/", NONE},
    {"/exchweb/bin/logoff.asp", NONE},
    {"/exchweb/img/logoff.gif", NONE},
    {"/exchweb/bin/usa/x/logoff.asp", NONE},
    {"/Microsoft-Server-ActiveSync?Cmd=logoff", NONE},
    /* the script */
    {"/owa/auth/flogon.js", SCRIPT},
    {"/OWA/auth/FLogon.js?v=2", SCRIPT},
    {"/owa/flogon.js", NONE},
    {"/owa/auth/flogon.js.map", NONE},
    /* pages of Exchange's */
    {"/owa", NONE},
    {"/owa/", NONE},
    {"/ecp/", NONE},
    {"/owa/auth/expiredpassword.aspx", NONE},
    {"/owa/languageselection.aspx", NONE},
    {"/", NONE},
    {"", NONE},
};

static void test_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(urls); i++) {
        casp_url_t u;
        casp_protocol_parse(pool, urls[i].target, &u);
        casp_forms_url_e what = casp_forms_url(&u);
        if (what != urls[i].what) {
            fail_msg("%s: %d, not %d (refused: %s)", urls[i].target, what,
                     urls[i].what, u.refused ? u.refused : "no");
        }
        u.refused = "url-forbidden";
        assert_int_equal(casp_forms_url(&u), NONE);
    }
}

/* As long as it may be, one more, and encoded three times as long. */
static void test_long_urls(void **state)
{
    casp_url_t u;
    char tail[1100];

    (void)state;
    memset(tail, 'a', sizeof(tail));
    memcpy(tail, "/owa/", 5);
    memcpy(tail + 4 + 1024 - 9, "/auth.owa", 10);
    casp_protocol_parse(pool, tail, &u);
    assert_int_equal(strlen(u.rest), 1024);
    assert_int_equal(casp_forms_url(&u), POST);
    memset(tail, 'a', sizeof(tail));
    memcpy(tail, "/owa/", 5);
    memcpy(tail + 4 + 1025 - 9, "/auth.owa", 10);
    casp_protocol_parse(pool, tail, &u);
    assert_int_equal(casp_forms_url(&u), NONE);
}

/* --------------------------------------------------------------- the page */

static void test_page_url(void **state)
{
    static const struct {
        bool https;
        const char *host, *original;
        casp_logon_why_e why;
        const char *url;
    } cases[] = {
        {true, HOST, NULL, CASP_WHY_NONE,
         "https://" HOST "/owa/auth/logon.aspx?url=https%3a%2f%2f" HOST
         "%2fowa%2f&reason=0"},
        {true, HOST ":8443", "https://" HOST ":8443/owa/?ae=Item&id=a%2bb",
         CASP_WHY_TIMED_OUT,
         "https://" HOST ":8443/owa/auth/logon.aspx?url=https%3a%2f%2f" HOST
         "%3a8443%2fowa%2f%3fae%3dItem%26id%3da%252bb&reason=3"},
        {false, "[::1]", "http://[::1]/ecp/", CASP_WHY_CREDENTIALS,
         "http://[::1]/owa/auth/logon.aspx?url=http%3a%2f%2f%5b%3a%3a1%5d"
         "%2fecp%2f&reason=2"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(casp_forms_page_url(pool, cases[i].https,
                                                cases[i].host,
                                                cases[i].original,
                                                cases[i].why),
                            cases[i].url);
    }
}

/* Too long, as it is or escaped: the request line must stay one that servers
 * take. */
static void test_page_url_long(void **state)
{
    static const char home[] =
        "https://" HOST "/owa/auth/logon.aspx?url=https%3a%2f%2f" HOST
        "%2fowa%2f&reason=1";
    char text[4098];

    (void)state;
    for (int i = 0; i < 3; i++) {
        static const char fill[] = {'a', 'a', '/'};
        size_t len = i == 1 ? 4097 : 4096;
        memset(text, fill[i], sizeof(text));
        memcpy(text, "https://" HOST "/owa/", 30);
        text[len] = '\0';
        const char *url =
            casp_forms_page_url(pool, true, HOST, text, CASP_WHY_LOGGED_OFF);
        assert_true(strlen(url) < 8000);
        assert_int_equal(strcmp(url, home) == 0, i > 0);
    }
}

static void test_page_read(void **state)
{
    static const char home[] = "https://" HOST "/owa/";
    static const struct {
        const char *query, *destination;
        int why;
        bool replace;
    } cases[] = {
        {NULL, home, 0, false},
        {"", home, 0, false},
        {"url=https%3a%2f%2f" HOST "%2fowa%2f%3fa%3db%26c&reason=3",
         "https://" HOST "/owa/?a=b&c", 3, false},
        {"URL=%2fecp%2f&Reason=2&replaceCurrent=1", "https://" HOST "/ecp/", 2,
         true},
        /* as 2003 writes it */
        {"url=https://" HOST "/exchange/ada/&reason=1",
         "https://" HOST "/exchange/ada/", 1, false},
        {"url=http://" HOST "/owa/x", "https://" HOST "/owa/x", 0, false},
        {"url=/owa/a%2bb+c%2520d", "https://" HOST "/owa/a+b%20c%20d", 0,
         false},
        {"url=https%3a%2f%2fevil.test%2f&reason=4", home, 4, false},
        {"url=//evil.test/", home, 0, false},
        {"url=/%5cevil.test/", home, 0, false},
        {"url=javascript:alert(1)", home, 0, false},
        {"url=%zz", home, 0, false},
        {"url=/owa/%00", home, 0, false},
        {"url=", home, 0, false},
        {"url", home, 0, false},
        {"url=https://evil.test/&url=/ecp/", "https://" HOST "/ecp/", 0,
         false},
        {"url=/ecp/&url=/owa/x", "https://" HOST "/ecp/", 0, false},
        {"reason=5", home, 0, false},
        {"reason=-1", home, 0, false},
        {"reason=2x", home, 0, false},
        {"reason=99999999999999999999", home, 0, false},
        {"reason=", home, 0, false},
        {"replaceCurrent=0", home, 0, false},
        {"replaceCurrent", home, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        casp_url_t u;
        casp_logon_page_t page;
        casp_protocol_parse(pool, CASP_FORMS_PAGE_PATH, &u);
        u.query = cases[i].query;
        casp_forms_page_read(pool, &u, true, HOST, &page);
        if (strcmp(page.destination, cases[i].destination) != 0
            || (int)page.why != cases[i].why
            || page.replace != cases[i].replace) {
            fail_msg("%s: %s, %d, %d", cases[i].query, page.destination,
                     page.why, page.replace);
        }
    }
}

/* What our own redirection says, our own page understands, and our own POST
 * accepts. */
static void test_page_round(void **state)
{
    static const struct {
        const char *host, *path, *back;
    } cases[] = {
        {HOST, "/owa/?ae=Item&id=a%2bb%25&u=http://x//y?z&e='\"",
         "/owa/?ae=Item&id=a%2bb%25&u=http://x//y?z&e='%22"},
        {HOST ":8443", "/exchange/M%FCller/?Cmd=navbar",
         "/exchange/M%FCller/?Cmd=navbar"},
        {"[2001:db8::1]:444", "/ecp/a+b", "/ecp/a+b"},
        {HOST ".", "/owa/x", "/owa/"},
        {HOST ".:8443", "/owa/x", "/owa/"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *host = cases[i].host, *target;
        casp_url_t u;
        casp_logon_page_t page;
        const char *url =
            casp_forms_page_url(pool, true, host,
                                apr_pstrcat(pool, "https://", host,
                                            cases[i].path, NULL),
                                CASP_WHY_PASSWORD_CHANGED);
        casp_protocol_parse(pool, url, &u);
        assert_null(u.refused);
        assert_int_equal(casp_forms_url(&u), PAGE);
        casp_forms_page_read(pool, &u, true, host, &page);
        assert_int_equal(page.why, CASP_WHY_PASSWORD_CHANGED);
        assert_null(casp_logon_destination(pool, page.destination, host,
                                           &target));
        assert_string_equal(target, cases[i].back);
    }
}

/* --------------------------------------------------------- the destination */

static const struct {
    const char *destination, *host, *target;
} destinations[] = {
    {"/owa/", HOST, "/owa/"},
    {"/", HOST, "/"},
    {"/owa/?a=1&b=2#top", HOST, "/owa/?a=1&b=2"},
    {"/owa/?u=https://other.test//x", HOST, "/owa/?u=https://other.test//x"},
    {"/owa/?n=CONTOSO%5cada", HOST, "/owa/?n=CONTOSO%5cada"},
    {"/owa/?full=100%", HOST, "/owa/?full=100%"},
    {"/exchange/M%FCller/a%2fb", HOST, "/exchange/M%FCller/a%2fb"},
    {"/exchange/M\xfcller/a b\"<>", HOST, "/exchange/M%FCller/a%20b%22%3C%3E"},
    {"https://" HOST "/owa/", HOST, "/owa/"},
    {"http://" HOST "/owa/", HOST, "/owa/"},
    {"HTTPS://MAIL.Contoso.TEST/owa/", HOST, "/owa/"},
    {"https://" HOST, HOST, "/"},
    {"https://" HOST "?a=b", HOST, "/?a=b"},
    {"https://" HOST "#x", HOST, "/"},
    {"https://" HOST ":443/owa/", HOST, "/owa/"},
    {"http://" HOST ":80/owa/", HOST, "/owa/"},
    {"https://" HOST "/owa/", HOST ":443", "/owa/"},
    {"http://" HOST "/owa/", HOST ":80", "/owa/"},
    {"https://" HOST ":8443/owa/", HOST ":8443", "/owa/"},
    {"https://" HOST ":08443/owa/", HOST ":8443", "/owa/"},
    {"https://" HOST "/owa/", HOST ".", "/owa/"},
    {"https://[::1]/owa/", "[::1]", "/owa/"},
    {"https://[2001:DB8::1]:8443/owa/", "[2001:db8::1]:8443", "/owa/"},
    {"https://[::1]:443/owa/", "[::1]", "/owa/"},
    {"https://localhost:8443/owa/", "localhost:8443", "/owa/"},
    {"https://10.0.0.1/owa/", "10.0.0.1", "/owa/"},
    {"/owa/", NULL, "/owa/"},
    {"/owa/", "what ever?", "/owa/"},
    /* elsewhere */
    {NULL, HOST, NULL},
    {"", HOST, NULL},
    {"owa/", HOST, NULL},
    {"?a=b", HOST, NULL},
    {"#x", HOST, NULL},
    {" /owa/", HOST, NULL},
    {"https://evil/", HOST, NULL},
    {"https://" HOST ".evil.test/owa/", HOST, NULL},
    {"https://evil." HOST "/owa/", HOST, NULL},
    {"https://mail.contoso.tes/owa/", HOST, NULL},
    {"https://" HOST "./owa/", HOST, NULL},
    {"https://" HOST "./owa/", HOST ".", NULL},
    {"https://" HOST "../owa/", HOST ".", NULL},
    {"https://" HOST "./owa/", HOST "..", NULL},
    {"https://" HOST ":8443/owa/", HOST, NULL},
    {"https://" HOST "/owa/", HOST ":8443", NULL},
    {"https://" HOST ":80/owa/", HOST, NULL},
    {"http://" HOST ":443/owa/", HOST, NULL},
    {"https://" HOST ":/owa/", HOST, NULL},
    {"https://" HOST ":443x/owa/", HOST, NULL},
    {"https://" HOST ":0/owa/", HOST, NULL},
    {"https://" HOST ":65536/owa/", HOST ":65536", NULL},
    {"https://" HOST ":4294967739/owa/", HOST, NULL},
    {"https:///owa/", HOST, NULL},
    {"https://", HOST, NULL},
    {"https:/" HOST "/owa/", HOST, NULL},
    {"https:" HOST "/owa/", HOST, NULL},
    {"https://" HOST "/owa/", NULL, NULL},
    {"https://./owa/", ".", "/owa/"}, /* silly, but the same */
    {"https://[::1/owa/", "[::1", NULL},
    {"https://[]/owa/", "[]", NULL},
    {"https://[::1]x/owa/", "[::1]", NULL},
    {"https://[::1%25eth0]/owa/", "[::1%25eth0]", NULL},
    {"https://[::2]/owa/", "[::1]", NULL},
    /* user info */
    {"https://" HOST "@evil.test/", HOST, NULL},
    {"https://user@" HOST "/owa/", HOST, NULL},
    {"https://user:pw@" HOST "/owa/", HOST, NULL},
    {"https://" HOST ":443@evil.test/", HOST, NULL},
    {"https://evil.test%2f@" HOST "/", HOST, NULL},
    {"https://" HOST "%2eevil.test/", HOST, NULL},
    {"https://" HOST " /owa/", HOST, NULL},
    /* network paths */
    {"//evil.test/", HOST, NULL},
    {"//" HOST "/owa/", HOST, NULL},
    {"///evil.test", HOST, NULL},
    {"/\\evil.test/", HOST, NULL},
    {"\\\\evil.test", HOST, NULL},
    {"/%2fevil.test/", HOST, NULL},
    {"/%2Fevil.test/", HOST, NULL},
    {"/%5cevil.test/", HOST, NULL},
    {"%2f%2fevil.test/", HOST, NULL},
    {"/owa/..//evil.test", HOST, NULL},
    {"/.%2f/evil.test", HOST, NULL},
    {"/owa%5c..", HOST, NULL},
    {"https://" HOST "//evil.test/", HOST, NULL},
    {"https://" HOST "/%2fevil.test/", HOST, NULL},
    {"https://" HOST "\\@evil.test/", HOST, NULL},
    {"/owa/?x=\\", HOST, NULL},
    {"/owa/#\\", HOST, NULL},
    /* control characters */
    {"/owa/\r\nSet-Cookie: a=b", HOST, NULL},
    {"/owa/?a=\n", HOST, NULL},
    {"/\t/evil.test", HOST, NULL},
    {"/owa/\x7f", HOST, NULL},
    {"ht\ntps://" HOST "/owa/", HOST, NULL},
    {"/owa/%0d%0aSet-Cookie:%20a=b", HOST, NULL},
    {"/owa/?a=%0D%0ASet-Cookie:%20a=b", HOST, NULL},
    {"/owa/%00", HOST, NULL},
    {"/owa/?a=%00", HOST, NULL},
    {"/owa/?a=%%0a", HOST, NULL},
    {"/owa/%7f", HOST, NULL},
    /* other schemes */
    {"javascript:alert(1)", HOST, NULL},
    {"javascript://" HOST "/%0aalert(1)", HOST, NULL},
    {"ftp://" HOST "/owa/", HOST, NULL},
    {"data:text/html,x", HOST, NULL},
};

static void test_destinations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(destinations); i++) {
        const char *wanted = destinations[i].target;
        const char *target = "unset";
        const char *why =
            casp_logon_destination(pool, destinations[i].destination,
                                   destinations[i].host, &target);
        if (wanted == NULL) {
            if (why == NULL || strcmp(why, "bad-destination") != 0
                || target != NULL) {
                fail_msg("%s on %s is accepted", destinations[i].destination,
                         destinations[i].host);
            }
        }
        else if (why != NULL || strcmp(target, wanted) != 0) {
            fail_msg("%s on %s: %s", destinations[i].destination,
                     destinations[i].host, why ? why : target);
        }
    }
}

static void test_destination_length(void **state)
{
    char text[8194];
    const char *target;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    text[8192] = '\0';
    assert_null(casp_logon_destination(pool, text, HOST, &target));
    assert_string_equal(target, text);
    text[8191] = ' '; /* three bytes as a target */
    assert_non_null(casp_logon_destination(pool, text, HOST, &target));
    text[8191] = text[8192] = 'a';
    text[8193] = '\0';
    assert_non_null(casp_logon_destination(pool, text, HOST, &target));
}

/* ---------------------------------------------------------------- the POST */

#define OK_FIELDS "destination=%2fowa%2f&flags=0&username=ada&password=pw"
#define BYTES(s) (s), sizeof(s) - 1

/* clang-format off */
#define REFUSED(why, body) {BYTES(body), why, NULL, NULL, NULL, 0}
#define SHORT(body) REFUSED("logon-incomplete", body)
#define TYPED(user, pass, name, password)                                     \
    {BYTES("destination=/&flags=0&username=" user "&password=" pass), NULL,   \
     "/", name, password, 0}
#define BROKEN(user, pass)                                                    \
    REFUSED("logon-broken",                                                   \
            "destination=/&flags=0&username=" user "&password=" pass)
#define MORE(fields, flags)                                                   \
    {BYTES(OK_FIELDS fields), NULL, "/owa/", "ada", "pw", flags}
#define FLAGS(text, flags)                                                    \
    {BYTES("destination=/&flags=" text "&username=a&password=b"), NULL, "/",  \
     "a", "b", flags}
/* clang-format on */

static const struct {
    const char *body;
    apr_size_t len;
    const char *why;
    const char *destination, *name, *password;
    int flags;
} posts[] = {
    {BYTES(OK_FIELDS), NULL, "/owa/", "ada", "pw", 0},
    /* as a browser posts our page */
    {BYTES("destination=https%3A%2F%2Fmail.contoso.test%2Fowa%2F&flags=4"
           "&forcedownlevel=0&trusted=4&username=CONTOSO%5Cada"
           "&password=p%27q%3Cr%26+s%22&isUtf8=1&passwordText="),
     NULL, "https://mail.contoso.test/owa/", "CONTOSO\\ada", "p'q<r& s\"",
     CASP_LOGON_PRIVATE},
    /* as 2003's page posts */
    {BYTES("destination=https%3A%2F%2Fh%2Fexchange%2F&flags=0"
           "&username=m%FCller&password=gr%FC%DF&SubmitCreds=Log+On"
           "&forcedownlevel=0&trusted=0"),
     NULL, "https://h/exchange/", "m\xc3\xbcller", "gr\xc3\xbc\xc3\x9f", 0},
    /* each field for itself */
    TYPED("m%C3%BCller", "%FC", "m\xc3\xbcller", "\xc3\xbc"),
    TYPED("%FC", "%F0%9F%94%91", "\xc3\xbc", "\xf0\x9f\x94\x91"),
    /* overlong, surrogate, too large: no UTF-8 */
    TYPED("a", "%C1%A1", "a", "\xc3\x81\xc2\xa1"),
    TYPED("a", "%ED%A0%80", "a", "\xc3\xad\xc2\xa0\xc2\x80"),
    TYPED("a", "%F4%90%80%80", "a", "\xc3\xb4\xc2\x90\xc2\x80\xc2\x80"),
    TYPED("a", "%E2%82", "a", "\xc3\xa2\xc2\x82"),
    /* odd, but unambiguous */
    {BYTES("&&" OK_FIELDS "&&"), NULL, "/owa/", "ada", "pw", 0},
    {BYTES("password=&flags=&username=&destination="), NULL, "", "", "", 0},
    {BYTES("password&flags&username&destination"), NULL, "", "", "", 0},
    TYPED("a", "b=c==d", "a", "b=c==d"),
    {BYTES("Destination=/&FLAGS=0&%75sername=a&Pass%77ord=b"), NULL, "/", "a",
     "b", 0},
    MORE("&x=1&x=2&y=%zz&%00=1&=3", 0),
    TYPED("+a+", "+b%2B%20", " a ", " b+ "),
    MORE("&passwordText=other&username2=eve", 0),
    /* flags */
    FLAGS("1", CASP_LOGON_LIGHT),
    FLAGS("4", CASP_LOGON_PRIVATE),
    FLAGS("5", CASP_LOGON_PRIVATE | CASP_LOGON_LIGHT),
    FLAGS("255", CASP_LOGON_PRIVATE | CASP_LOGON_LIGHT),
    FLAGS("4x", 0),
    FLAGS("-1", 0),
    FLAGS("4294967301", 0),
    MORE("&trusted=4", CASP_LOGON_PRIVATE),
    MORE("&trusted=1", 0),
    MORE("&trusted=x", 0),
    MORE("&chkBsc=1", CASP_LOGON_LIGHT),
    MORE("&chkbsc=On&trusted=4", CASP_LOGON_LIGHT | CASP_LOGON_PRIVATE),
    MORE("&chkBsc=off", 0),
    MORE("&chkBsc=", 0),
    /* entities in the destination, once; nowhere else */
    {BYTES("destination=https%3A%2F%2Fhost%2Fowa%2F%3Fa%3D1%26amp%3Bb%3D2"
           "&flags=0&username=a%26amp%3B&password=%26lt%3B"),
     NULL, "https://host/owa/?a=1&b=2", "a&amp;", "&lt;", 0},
    {BYTES("destination=%26amp%3Bamp%3B%26%2339%3B%26%23x27%3B%26quot%3B"
           "%26lt%3B%26gt%3B%26%2334%3B&flags=0&username=a&password=b"),
     NULL, "&amp;''\"<>\"", "a", "b", 0},
    {BYTES("destination=%2f%3fa%26amp%26ampx%26%2347%3B%26%23x2f%3B%26"
           "&flags=0&username=a&password=b"),
     NULL, "/?a&amp&ampx&#47;&#x2f;&", "a", "b", 0},
    /* refused */
    SHORT(""),
    SHORT("flags=0&username=a&password=b"),
    SHORT("destination=/&username=a&password=b"),
    SHORT("destination=/&flags=0&password=b"),
    SHORT("destination=/&flags=0&username=a"),
    SHORT("destination=/&flags=0&username=a&passwordText=b"),
    SHORT("destination=/&flags=0&username=a&passwor=b"),
    SHORT("destination=/;flags=0;username=a;password=b"),
    REFUSED("logon-broken", OK_FIELDS "&username=eve"),
    REFUSED("logon-broken", OK_FIELDS "&USERNAME=eve"),
    REFUSED("logon-broken", OK_FIELDS "&password=pw"),
    REFUSED("logon-broken", OK_FIELDS "&flags=0"),
    REFUSED("logon-broken", OK_FIELDS "&destination"),
    REFUSED("logon-broken",
            "password=&password=b&destination=/&flags=0&username=a"),
    BROKEN("a", "%zz"),
    BROKEN("a", "b%"),
    BROKEN("a", "b%4"),
    REFUSED("logon-broken", "password=b%4&destination=/&flags=0&username=a"),
    BROKEN("a", "b%00"),
    REFUSED("logon-broken", "destination=/%00x&flags=0&username=a&password=b"),
    BROKEN("a\0b", "b"),
    BROKEN("a%0d%0ab", "b"),
    BROKEN("a%7f", "b"),
    BROKEN("a%C2%85", "b"),
    BROKEN("%FC%85", "b"),
    BROKEN("a", "b%0a"),
    BROKEN("a", "%1f"),
};

static bool is_blank(const char *s, apr_size_t len)
{
    for (apr_size_t i = 0; i < len; i++) {
        if (s[i] != '\0') {
            return false;
        }
    }
    return true;
}

static void check_post(size_t i, const char *why, const casp_logon_t *logon)
{
    const char *wanted = posts[i].why;

    if (strcmp(why ? why : "accepted", wanted ? wanted : "accepted") != 0) {
        fail_msg("%s: %s", posts[i].body, why ? why : "accepted");
    }
    if (why != NULL) {
        assert_null(logon->name);
        assert_null(logon->password);
        assert_null(logon->destination);
        return;
    }
    assert_string_equal(logon->destination, posts[i].destination);
    assert_string_equal(logon->name, posts[i].name);
    assert_string_equal(logon->password, posts[i].password);
    assert_int_equal(logon->password_len, strlen(posts[i].password));
    if (logon->flags != posts[i].flags) {
        fail_msg("%s: flags %d", posts[i].body, logon->flags);
    }
}

static void test_posts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(posts); i++) {
        casp_logon_t logon;
        /* an exact allocation: no byte behind it is touched */
        char *body = malloc(posts[i].len ? posts[i].len : 1);
        assert_non_null(body);
        memcpy(body, posts[i].body, posts[i].len);
        const char *why = casp_logon_read(pool, body, posts[i].len, &logon);
        assert_true(is_blank(body, posts[i].len));
        free(body);
        check_post(i, why, &logon);
    }
}

/* A form with a name and a password of so many bytes. */
static const char *long_post(apr_size_t name, apr_size_t password, char c,
                             casp_logon_t *logon)
{
    char *n = apr_palloc(pool, name + 1), *w = apr_palloc(pool, password + 1);
    memset(n, c, name);
    memset(w, c, password);
    n[name] = w[password] = '\0';
    char *body = apr_pstrcat(pool, "destination=/&flags=0&username=", n,
                             "&password=", w, NULL);
    return casp_logon_read(pool, body, strlen(body), logon);
}

static void test_long_posts(void **state)
{
    casp_logon_t logon;

    (void)state;
    assert_null(long_post(CASP_NAME_MAX, CASP_LOGON_PASSWORD_MAX, 'a',
                          &logon));
    assert_int_equal(strlen(logon.name), CASP_NAME_MAX);
    assert_int_equal(logon.password_len, CASP_LOGON_PASSWORD_MAX);
    assert_string_equal(long_post(CASP_NAME_MAX + 1, 1, 'a', &logon),
                        "logon-too-long");
    assert_string_equal(long_post(1, CASP_LOGON_PASSWORD_MAX + 1, 'a', &logon),
                        "logon-too-long");
    /* Latin-1: measured as UTF-8 */
    assert_null(long_post(1, CASP_LOGON_PASSWORD_MAX / 2, '\xe4', &logon));
    assert_int_equal(logon.password_len, CASP_LOGON_PASSWORD_MAX);
    assert_string_equal(long_post(1, CASP_LOGON_PASSWORD_MAX / 2 + 1, '\xe4',
                                  &logon),
                        "logon-too-long");
    assert_string_equal(long_post(CASP_NAME_MAX / 2 + 1, 1, '\xe4', &logon),
                        "logon-too-long");
}

static void test_long_body(void **state)
{
    apr_size_t len = CASP_LOGON_BODY_MAX + 1;
    char *body = apr_palloc(pool, len);
    casp_logon_t logon;

    (void)state;
    for (apr_size_t cut = 0; cut < 2; cut++) {
        memset(body, 'x', len);
        memcpy(body, OK_FIELDS "&", sizeof(OK_FIELDS));
        const char *why = casp_logon_read(pool, body, len - cut, &logon);
        assert_true(is_blank(body, len - cut));
        assert_int_equal(why == NULL, cut == 1);
        assert_true(cut == 1 || strcmp(why, "logon-too-long") == 0);
    }
}

static void test_many_fields(void **state)
{
    casp_logon_t logon;

    (void)state;
    for (int more = 60; more < 62; more++) {
        char *body = apr_pstrdup(pool, OK_FIELDS);
        for (int i = 0; i < more; i++) {
            body = apr_pstrcat(pool, "x=1&", body, NULL);
        }
        const char *why = casp_logon_read(pool, body, strlen(body), &logon);
        assert_int_equal(why == NULL, more == 60);
        assert_true(why == NULL || strcmp(why, "logon-too-long") == 0);
    }
}

typedef struct {
    const char *password;
    bool blank;
} witness_t;

static apr_status_t look(void *data)
{
    witness_t *w = data;
    w->blank = is_blank(w->password, 2);
    return APR_SUCCESS;
}

static void test_cleanup_wipes(void **state)
{
    char body[] = OK_FIELDS;
    witness_t witness = {NULL, false};
    casp_logon_t logon;
    apr_pool_t *p;

    (void)state;
    assert_int_equal(apr_pool_create(&p, NULL), APR_SUCCESS);
    /* registered first, run last, while the memory is still there */
    apr_pool_cleanup_register(p, &witness, look, apr_pool_cleanup_null);
    assert_null(casp_logon_read(p, body, sizeof(body) - 1, &logon));
    witness.password = logon.password;
    assert_string_equal(witness.password, "pw");
    apr_pool_destroy(p);
    assert_true(witness.blank);
}

/* Every password that can be typed comes through as it is. */
static void test_password_round(void **state)
{
    static const char *const passwords[] = {
        "p'q<r& s\"", "a&b=c;d", "100%", "%41",
        "+ +",        "&amp;",   "\\/",  "\xe2\x82\xac\xc3\xa4",
        "\xc2\x85",   "#?",      " ",    "\xc3\xbf"};

    (void)state;
    for (size_t i = 0; i < COUNT(passwords); i++) {
        casp_logon_t logon;
        char *body =
            apr_pstrcat(pool, "destination=%2f&flags=4&username=ada&password=",
                        apr_pescape_urlencoded(pool, passwords[i]),
                        "&trusted=4", NULL);
        assert_null(casp_logon_read(pool, body, strlen(body), &logon));
        assert_string_equal(logon.password, passwords[i]);
    }
}

/* From DavMail's echo of our page to a target of this host. */
static void test_post_to_target(void **state)
{
    static const struct {
        const char *destination, *target;
    } cases[] = {
        {"https://" HOST "/owa/?a=1&amp;b=2", "/owa/?a=1&b=2"},
        {"https://" HOST "/owa/?a=1&amp;amp;b=2", "/owa/?a=1&amp;b=2"},
        {"/owa/?q=&quot;&lt;&gt;", "/owa/?q=%22%3C%3E"},
        {"https://evil/", NULL},
        {"/&#47;evil.test", "/&"}, /* a fragment to every reader */
        {"https://" HOST "&amp;evil.test/", NULL},
        {"&lt;https://" HOST "/", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        casp_logon_t logon;
        const char *target;
        char *body =
            apr_pstrcat(pool, "flags=4&username=ada&password=pw&destination=",
                        apr_pescape_urlencoded(pool, cases[i].destination),
                        NULL);
        assert_null(casp_logon_read(pool, body, strlen(body), &logon));
        (void)casp_logon_destination(pool, logon.destination, HOST, &target);
        if (cases[i].target == NULL) {
            assert_null(target);
        }
        else {
            assert_non_null(target);
            assert_string_equal(target, cases[i].target);
        }
    }
}

/* ------------------------------------------------- single sign-on, outward */

static void test_sso_action(void **state)
{
    static const struct {
        const char *url;
        casp_version_e version;
        const char *action;
    } cases[] = {
        {"https://old.test/exchange/ada/?a", CASP_V2000,
         "https://old.test/exchweb/bin/auth/owaauth.dll"},
        {"https://old.test/exchange", CASP_V2003,
         "https://old.test/exchweb/bin/auth/owaauth.dll"},
        {"https://b.test:444/owa/", CASP_V2007,
         "https://b.test:444/owa/auth/owaauth.dll"},
        {"https://b.test?u=https://x/y", CASP_V2010,
         "https://b.test/owa/auth.owa"},
        {"https://b.test#a/b", CASP_V2013, "https://b.test/owa/auth.owa"},
        {"https://[::1]:8443/owa", CASP_V2016,
         "https://[::1]:8443/owa/auth.owa"},
        {"https://b.test", CASP_V2019, "https://b.test/owa/auth.owa"},
        {"https://b.test/", CASP_V_NONE, "https://b.test/owa/auth.owa"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(casp_sso_action(pool, cases[i].url,
                                            cases[i].version),
                            cases[i].action);
    }
}

static const char *var(const casp_page_var_t *vars, const char *name)
{
    for (; vars->name != NULL; vars++) {
        if (strcmp(vars->name, name) == 0) {
            return vars->value;
        }
    }
    return NULL;
}

static void test_sso_vars(void **state)
{
    char password[] = "p'q<r& s\"";
    casp_logon_t logon = {"/owa/", "CONTOSO\\ada", password, 9,
                          CASP_LOGON_PRIVATE | CASP_LOGON_LIGHT};
    casp_page_var_t vars[CASP_SSO_VARS];

    (void)state;
    casp_sso_vars(pool, "https://b.test/owa/?a=1&b", CASP_V2010, &logon, vars);
    assert_string_equal(var(vars, "action"), "https://b.test/owa/auth.owa");
    assert_string_equal(var(vars, "destination"), "https://b.test/owa/?a=1&b");
    assert_string_equal(var(vars, "flags"), "5");
    assert_string_equal(var(vars, "trusted"), "4");
    assert_string_equal(var(vars, "username"), "CONTOSO\\ada");
    assert_ptr_equal(var(vars, "password"), password);
    assert_non_null(var(vars, "modern"));
    assert_null(var(vars, "submitcreds"));

    logon.flags = CASP_LOGON_LIGHT;
    casp_sso_vars(pool, "https://b.test/exchange/", CASP_V2003, &logon, vars);
    assert_string_equal(var(vars, "flags"), "1");
    assert_string_equal(var(vars, "trusted"), "0");
    assert_null(var(vars, "modern"));
    assert_string_equal(var(vars, "submitcreds"), "Log On");

    casp_sso_vars(pool, "https://b.test/owa/", CASP_V2007, &logon, vars);
    assert_non_null(var(vars, "modern"));
    assert_string_equal(var(vars, "action"),
                        "https://b.test/owa/auth/owaauth.dll");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_long_urls),
        cmocka_unit_test(test_page_url),
        cmocka_unit_test(test_page_url_long),
        cmocka_unit_test(test_page_read),
        cmocka_unit_test(test_page_round),
        cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_destination_length),
        cmocka_unit_test(test_posts),
        cmocka_unit_test(test_long_posts),
        cmocka_unit_test(test_long_body),
        cmocka_unit_test(test_many_fields),
        cmocka_unit_test(test_cleanup_wipes),
        cmocka_unit_test(test_password_round),
        cmocka_unit_test(test_post_to_target),
        cmocka_unit_test(test_sso_action),
        cmocka_unit_test(test_sso_vars),
    };

    apr_initialize();
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
