/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a mail proxy asks and is told, what failed logins cost, and whether a
 * mail server is there.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "mailauth.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SEC(n) apr_time_from_sec(n)
#define NOON SEC(1700000000)

static apr_pool_t *pool;

static int set_up(void **state)
{
    (void)state;
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

/* ------------------------------------------------------------- the request */

static apr_table_t *request(const char *method, const char *protocol,
                            const char *user, const char *pass)
{
    apr_table_t *t = apr_table_make(pool, 8);
    apr_table_set(t, "Auth-Method", method);
    apr_table_set(t, "Auth-Protocol", protocol);
    apr_table_set(t, "Auth-User", user);
    apr_table_set(t, "Auth-Pass", pass);
    apr_table_set(t, "Auth-Login-Attempt", "3");
    apr_table_set(t, "Client-IP", "192.0.2.42");
    apr_table_set(t, "Auth-SSL", "on");
    return t;
}

static void test_read(void **state)
{
    casp_mail_ask_t ask;
    apr_table_t *t = request("plain", "imap", "CONTOSO%5Cada", "a%25b+c%20d");
    const char *pass = apr_table_get(t, "Auth-Pass");
    (void)state;
    assert_null(casp_mailauth_read(pool, t, &ask));
    assert_int_equal(ask.protocol, CASP_PROTO_IMAP4);
    assert_true(ask.tls);
    assert_int_equal(ask.attempt, 3);
    assert_string_equal(ask.client, "192.0.2.42");
    assert_string_equal(ask.claim.name, "CONTOSO\\ada");
    assert_string_equal(ask.claim.password, "a%b+c d");
    assert_int_equal(ask.claim.password_len, 7);
    assert_null(ask.mailbox);
    /* nobody finds it any more */
    assert_null(apr_table_get(t, "Auth-Pass"));
    assert_string_equal(pass, "");
    for (size_t i = 0; i < strlen("a%25b+c%20d"); i++) {
        assert_int_equal(pass[i], 0);
    }
}

static void test_read_words(void **state)
{
    static const struct {
        const char *method, *protocol, *user, *pass, *wrong;
    } rows[] = {
        {"plain", "imap", "ada", "x", NULL},
        {"PLAIN", "POP3", "ada", "x", NULL},
        {"plain", "smtp", "ada", "x", NULL},
        {"plain", "http", "ada", "x", "mail-request"},
        {"plain", "", "ada", "x", "mail-request"},
        {"none", "smtp", "", "", "mail-no-login"},
        {"apop", "pop3", "ada", "0123", "mail-method"},
        {"cram-md5", "imap", "ada", "0123", "mail-method"},
        {"", "imap", "ada", "x", "mail-method"},
        {"external", "imap", "ada", "", "mail-certificate"},
        {"plain", "imap", "", "x", "empty-name"},
        {"plain", "imap", "ada", "", "empty-password"},
        {"plain", "imap", "ada%0d%0aX: y", "x", "broken-credentials"},
        {"plain", "imap", "ada", "x%0d%0aQUIT", "broken-credentials"},
        {"plain", "imap", "ada", "x%0A", "broken-credentials"},
        {"plain", "imap", "ada%00", "x", "broken-credentials"},
        {"plain", "imap", "ada", "x%00y", "broken-credentials"},
        {"plain", "imap", "ada%7f", "x", "broken-credentials"},
        {"plain", "imap", "ada%", "x", "broken-credentials"},
        {"plain", "imap", "ada%2", "x", "broken-credentials"},
        {"plain", "imap", "ada", "%zz", "broken-credentials"},
        {"plain", "imap", "a:da", "x", "broken-credentials"},
        {"plain", "imap", "ada", "a:b:c", NULL},
        {"plain", "imap", "ada%c2%85", "x", "broken-credentials"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        casp_mail_ask_t ask;
        const char *wrong =
            casp_mailauth_read(pool,
                               request(rows[i].method, rows[i].protocol,
                                       rows[i].user, rows[i].pass),
                               &ask);
        if (rows[i].wrong) {
            assert_non_null(wrong);
            assert_string_equal(wrong, rows[i].wrong);
        }
        else {
            assert_null(wrong);
        }
    }
}

static char *repeat(char c, size_t n)
{
    char *text = apr_palloc(pool, n + 1);
    memset(text, c, n);
    text[n] = '\0';
    return text;
}

static void test_read_bounds(void **state)
{
    casp_mail_ask_t ask;
    const char *name = repeat('n', CASP_NAME_MAX);
    const char *pass = repeat('p', CASP_PASSWORD_MAX);
    (void)state;
    assert_null(casp_mailauth_read(pool, request("plain", "imap", name, pass),
                                   &ask));
    assert_int_equal(ask.claim.password_len, CASP_PASSWORD_MAX);
    assert_string_equal(
        casp_mailauth_read(pool,
                           request("plain", "imap",
                                   repeat('n', CASP_NAME_MAX + 1), "x"),
                           &ask),
        "credentials-too-long");
    assert_string_equal(
        casp_mailauth_read(pool,
                           request("plain", "imap", "ada",
                                   repeat('p', 100 + CASP_PASSWORD_MAX)),
                           &ask),
        "credentials-too-long");
    /* Latin-1 becomes UTF-8, as it does for Basic */
    assert_null(casp_mailauth_read(pool,
                                   request("plain", "imap", "j%FCrgen", "%E4"),
                                   &ask));
    assert_string_equal(ask.claim.name, "j\xc3\xbcrgen");
    /* what is not said */
    apr_table_t *t = apr_table_make(pool, 2);
    assert_string_equal(casp_mailauth_read(pool, t, &ask), "mail-request");
    assert_false(ask.tls);
    assert_int_equal(ask.attempt, 1);
    assert_string_equal(ask.client, "-");
    apr_table_set(t, "Client-IP", "unix:");
    apr_table_set(t, "Auth-SSL", "off");
    (void)casp_mailauth_read(pool, t, &ask);
    assert_string_equal(ask.client, "-");
    assert_false(ask.tls);
}

static void test_name(void **state)
{
    static const struct {
        const char *typed, *name, *mailbox;
    } rows[] = {
        {"ada", "ada", NULL},
        {"CONTOSO\\ada", "CONTOSO\\ada", NULL},
        {"CONTOSO/ada", "CONTOSO\\ada", NULL},
        {"CONTOSO\\ada\\info", "CONTOSO\\ada", "info"},
        {"CONTOSO/ada/info", "CONTOSO\\ada", "info"},
        {"CONTOSO/ada/info@contoso.test", "CONTOSO\\ada", "info@contoso.test"},
        {"CONTOSO\\ada\\", "CONTOSO\\ada", NULL},
        {"ada@contoso.test", "ada@contoso.test", NULL},
        {"ada@contoso.test/info", "ada@contoso.test", "info"},
        {"ada@contoso.test\\info", "ada@contoso.test", "info"},
        {"ada@contoso.test/", "ada@contoso.test", NULL},
        {"\\ada", "\\ada", NULL},
        {"/", "/", NULL},
        {"", "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *name, *mailbox;
        casp_mailauth_name(pool, rows[i].typed, &name, &mailbox);
        assert_string_equal(name, rows[i].name);
        if (rows[i].mailbox) {
            assert_non_null(mailbox);
            assert_string_equal(mailbox, rows[i].mailbox);
        }
        else {
            assert_null(mailbox);
        }
    }
}

/* -------------------------------------------------------------- the answer */

static const char *told(casp_protocol_e protocol, casp_mail_answer_e what,
                        const char *server, const char *user, int wait,
                        const char *header)
{
    apr_table_t *out = apr_table_make(pool, 4);
    casp_mail_reply_t reply = {what, server, 143, user, wait};
    casp_mailauth_write(pool, protocol, &reply, out);
    const char *value = apr_table_get(out, header);
    return value ? value : "-";
}

static void test_write(void **state)
{
    const casp_protocol_e i = CASP_PROTO_IMAP4, p = CASP_PROTO_POP3,
                          s = CASP_PROTO_SMTP;
    const struct {
        casp_protocol_e protocol;
        casp_mail_answer_e what;
        const char *server, *user;
        int wait;
        const char *header, *value;
    } rows[] = {
        {i, CASP_MAIL_GO, "192.0.2.1", "C\\ada", 0, "Auth-Status", "OK"},
        {i, CASP_MAIL_GO, "192.0.2.1", "C\\ada", 0, "Auth-Server",
         "192.0.2.1"},
        {i, CASP_MAIL_GO, "2001:db8::1", NULL, 0, "Auth-Server",
         "2001:db8::1"},
        {i, CASP_MAIL_GO, "192.0.2.1", "C\\ada", 0, "Auth-Port", "143"},
        {i, CASP_MAIL_GO, "192.0.2.1", "C\\ada", 0, "Auth-User", "C\\ada"},
        {i, CASP_MAIL_GO, "192.0.2.1", "C\\ada", 9, "Auth-Wait", "-"},
        {i, CASP_MAIL_GO, "192.0.2.1", NULL, 0, "Auth-User", "-"},
        {i, CASP_MAIL_GO, "192.0.2.1", "a\r\nX: y", 0, "Auth-User", "-"},
        {i, CASP_MAIL_GO, "192.0.2.1", " ada", 0, "Auth-User", "-"},
        {i, CASP_MAIL_GO, "192.0.2.1", "ada ", 0, "Auth-User", "-"},
        /* no address: nginx would drop the client without a word */
        {i, CASP_MAIL_GO, "ber-cas1.contoso.test", NULL, 0, "Auth-Server",
         "-"},
        {i, CASP_MAIL_GO, "ber-cas1.contoso.test", NULL, 0, "Auth-Status",
         "[UNAVAILABLE] Temporarily unavailable, try again later"},
        {i, CASP_MAIL_GO, NULL, NULL, 0, "Auth-Port", "-"},
        {i, CASP_MAIL_WAIT, NULL, NULL, 4, "Auth-Status", "WAIT"},
        {s, CASP_MAIL_WAIT, NULL, NULL, 4, "Auth-Wait", "4"},
        {s, CASP_MAIL_WAIT, NULL, NULL, 4, "Auth-Error-Code", "-"},
        {i, CASP_MAIL_BAD_LOGIN, NULL, NULL, 2, "Auth-Status",
         "[AUTHENTICATIONFAILED] The user name or password is incorrect"},
        {p, CASP_MAIL_BAD_LOGIN, NULL, NULL, 2, "Auth-Status",
         "[AUTH] The user name or password is incorrect"},
        {s, CASP_MAIL_BAD_LOGIN, NULL, NULL, 2, "Auth-Status",
         "The user name or password is incorrect"},
        {s, CASP_MAIL_BAD_LOGIN, NULL, NULL, 2, "Auth-Error-Code",
         "535 5.7.8"},
        {i, CASP_MAIL_BAD_LOGIN, NULL, NULL, 2, "Auth-Error-Code", "-"},
        {i, CASP_MAIL_BAD_LOGIN, NULL, NULL, 2, "Auth-Wait", "2"},
        {i, CASP_MAIL_BAD_LOGIN, NULL, NULL, 0, "Auth-Wait", "-"},
        {s, CASP_MAIL_LATER, NULL, NULL, 0, "Auth-Error-Code", "454 4.7.0"},
        {p, CASP_MAIL_LATER, NULL, NULL, 0, "Auth-Status",
         "[SYS/TEMP] Temporarily unavailable, try again later"},
        {s, CASP_MAIL_NO_LOGIN, NULL, NULL, 0, "Auth-Error-Code", "530 5.7.0"},
        {s, CASP_MAIL_NEEDS_TLS, NULL, NULL, 0, "Auth-Error-Code",
         "538 5.7.11"},
        {s, CASP_MAIL_METHOD, NULL, NULL, 0, "Auth-Error-Code", "504 5.5.4"},
        {i, CASP_MAIL_NO_MAILBOX, NULL, NULL, 0, "Auth-Status",
         "[AUTHORIZATIONFAILED] There is no mailbox for you to reach here"},
        {CASP_PROTO_NONE, CASP_MAIL_LATER, NULL, NULL, 0, "Auth-Status",
         "Temporarily unavailable, try again later"},
    };
    (void)state;
    for (size_t k = 0; k < COUNT(rows); k++) {
        assert_string_equal(told(rows[k].protocol, rows[k].what,
                                 rows[k].server, rows[k].user, rows[k].wait,
                                 rows[k].header),
                            rows[k].value);
    }
    assert_string_equal(told(i, CASP_MAIL_GO, "192.0.2.1", repeat('a', 257), 0,
                             "Auth-User"),
                        "-");
}

/* ---------------------------------------------------------------- the user */

static const casp_mailbox_t *record(const char *domain, const char *sam,
                                    const char *upn, const char *alias)
{
    const char *texts[CASP_MB_STRINGS] = {[CASP_MB_SAM] = sam,
                                          [CASP_MB_NETBIOS] = domain,
                                          [CASP_MB_UPN] = upn,
                                          [CASP_MB_ALIAS] = alias};
    casp_mailbox_t *m = apr_pcalloc(pool, CASP_MAILBOX_MAX);
    size_t at = sizeof(*m);
    m->version = CASP_MAILBOX_VERSION;
    for (int i = 0; i < CASP_MB_STRINGS; i++) {
        m->text[i] = (uint16_t)at;
        const char *text = texts[i] ? texts[i] : "";
        strcpy((char *)m + at, text);
        at += strlen(text) + 1;
    }
    m->size = (uint16_t)at;
    return m;
}

static void test_user(void **state)
{
    const casp_mailbox_t *ada = record("CONTOSO", "ada", "ada@c.test", "al");
    const casp_mailbox_t *info = record("CONTOSO", "inf0", "", "info");
    const casp_mailbox_t *upn = record("", "", "ada@c.test", "al");
    const casp_mailbox_t *bare = record("CONTOSO", "ada", "", "");
    const struct {
        const casp_mailbox_t *user, *mailbox;
        casp_version_e version;
        const char *name;
    } rows[] = {
        {ada, NULL, CASP_V2010, "CONTOSO\\ada"},
        {ada, NULL, CASP_V2007, "CONTOSO\\ada"},
        {ada, NULL, CASP_V2003, "CONTOSO/ada/al"},
        {ada, NULL, CASP_V2000, "CONTOSO/ada/al"},
        {bare, NULL, CASP_V2003, "CONTOSO\\ada"},
        {ada, info, CASP_V2010, "CONTOSO\\ada\\info"},
        {ada, info, CASP_V2003, "CONTOSO/ada/info"},
        {upn, NULL, CASP_V2010, "ada@c.test"},
        {upn, info, CASP_V2010, NULL},
        {record("", "", "", ""), NULL, CASP_V2010, NULL},
        {record("C", "a\r\nb", "", ""), NULL, CASP_V2010, NULL},
        {record("C", repeat('x', 255), "", ""), NULL, CASP_V2010, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *name =
            casp_mailauth_user(pool, rows[i].user, rows[i].mailbox,
                               rows[i].version);
        if (rows[i].name) {
            assert_non_null(name);
            assert_string_equal(name, rows[i].name);
        }
        else {
            assert_null(name);
        }
    }
}

static void test_place(void **state)
{
    casp_settings_t *s = casp_settings_create(pool);
    const char *host;
    int port;
    (void)state;
    s->backend_map = apr_array_make(pool, 4, sizeof(casp_pair_t));
    static const casp_pair_t pairs[] = {
        {"a.test", "https://192.0.2.1:8443"},
        {"A.test", "imap://192.0.2.2"},
        {"a.test", "pop3://[2001:db8::1]:1110"}};
    for (size_t i = 0; i < COUNT(pairs); i++) {
        APR_ARRAY_PUSH(s->backend_map, casp_pair_t) = pairs[i];
    }
    static const struct {
        casp_protocol_e protocol;
        const char *url, *host;
        int port;
    } rows[] = {
        {CASP_PROTO_IMAP4, "imap://b.test", "b.test", 143},
        {CASP_PROTO_POP3, "pop3://b.test", "b.test", 110},
        {CASP_PROTO_SMTP, "smtp://b.test", "b.test", 25},
        {CASP_PROTO_IMAP4, "imap://b.test:1143", "b.test", 1143},
        {CASP_PROTO_IMAP4, "imap://a.test", "192.0.2.2", 143},
        {CASP_PROTO_POP3, "pop3://a.test", "2001:db8::1", 1110},
        {CASP_PROTO_SMTP, "smtp://a.test", "a.test", 25},
        {CASP_PROTO_OWA, "https://a.test", NULL, 0},
        {CASP_PROTO_IMAP4, "imap://", NULL, 0},
        {CASP_PROTO_IMAP4, "", NULL, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool found = casp_mailauth_place(pool, s, rows[i].protocol,
                                         rows[i].url, &host, &port);
        assert_int_equal(found, rows[i].host != NULL);
        if (found) {
            assert_string_equal(host, rows[i].host);
            assert_int_equal(port, rows[i].port);
        }
    }
    assert_string_equal(casp_mailauth_scheme(CASP_PROTO_IMAP4), "imap");
    assert_null(casp_mailauth_scheme(CASP_PROTO_OWA));
}

/* -------------------------------------------------- failed logins */

static const unsigned char key[32] = "what nobody knows";

static casp_mailfail_t *table(void)
{
    return apr_pcalloc(pool, casp_mailfail_size());
}

static void test_waits(void **state)
{
    static const int waits[] = {1, 2, 4, 8, 16, 16, 16};
    casp_mailfail_t *f = table();
    apr_time_t now = NOON;
    (void)state;
    for (size_t i = 0; i < COUNT(waits); i++) {
        assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "ada", now),
                         0);
        assert_int_equal(casp_mailfail_note(f, key, "192.0.2.1", "ada", now),
                         waits[i]);
        /* too early, by whatever writing of the name */
        assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "ADA", now),
                         waits[i]);
        now += SEC(waits[i]);
    }
    /* nobody else, from nowhere else */
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "bert", now), 0);
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.2", "ada", now), 0);
    /* one at a time */
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "ada", now), 0);
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "ada", now), 16);
    casp_mailfail_clear(f, key, "192.0.2.1", "ada", now);
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "ada", now), 0);
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "ada", now), 0);
    assert_int_equal(casp_mailfail_note(f, key, "192.0.2.1", "ada", now), 1);
    /* and in a quarter of an hour all is forgotten */
    (void)casp_mailfail_note(f, key, "192.0.2.1", "ada", now);
    now += SEC(901);
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.1", "ada", now), 0);
    assert_int_equal(casp_mailfail_note(f, key, "192.0.2.1", "ada", now), 1);
}

static void test_spraying(void **state)
{
    casp_mailfail_t *f = table();
    int wait = 0;
    (void)state;
    /* many names from one client: it waits, and its right logins do not */
    for (int i = 0; i < 13; i++) {
        wait = casp_mailfail_note(f, key, "2001:db8::1",
                                  apr_psprintf(pool, "user%d", i), NOON);
        assert_int_equal(wait, i < 11 ? 1 : i == 11 ? 2 : 4);
    }
    /* another address of its network */
    assert_int_equal(casp_mailfail_note(f, key, "2001:db8::2", "x", NOON), 8);
    assert_int_equal(casp_mailfail_note(f, key, "2001:db8:0:1::2", "x", NOON),
                     1);
    assert_int_equal(casp_mailfail_admit(f, key, "2001:db8::1", "ada", NOON),
                     0);
    /* the table has an end, and is none the worse for it */
    for (int i = 0; i < 20000; i++) {
        (void)casp_mailfail_note(f, key,
                                 apr_psprintf(pool, "10.0.%d.%d", i / 250,
                                              i % 250),
                                 "x", NOON);
    }
    /* names at the limit, clients that are none */
    assert_int_equal(casp_mailfail_note(f, key, repeat('9', 500),
                                        repeat('n', 3000), NOON),
                     1);
}

static void *APR_THREAD_FUNC hammer(apr_thread_t *thread, void *data)
{
    for (int i = 0; i < 2000; i++) {
        if (casp_mailfail_admit(data, key, "192.0.2.9", "ada", NOON) == 0) {
            (void)casp_mailfail_note(data, key, "192.0.2.9", "ada", NOON);
        }
    }
    apr_thread_exit(thread, APR_SUCCESS);
    return NULL;
}

static void test_one_at_a_time(void **state)
{
    casp_mailfail_t *f = table();
    apr_thread_t *threads[4];
    apr_status_t rv;
    (void)state;
    (void)casp_mailfail_note(f, key, "192.0.2.9", "ada", NOON);
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, hammer, f, pool),
                         0);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        apr_thread_join(&rv, threads[i]);
    }
    /* none of eight thousand was judged in that second */
    assert_int_equal(casp_mailfail_admit(f, key, "192.0.2.9", "ada",
                                         NOON + SEC(1)),
                     0);
    assert_int_equal(casp_mailfail_note(f, key, "192.0.2.9", "ada",
                                        NOON + SEC(1)),
                     2);
}

/* ------------------------------------------------------------ mail servers */

static int listen_somewhere(int *port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t len = sizeof(sin);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    *port = ntohs(sin.sin_port);
    return fd;
}

static void test_reach(void **state)
{
    apr_pool_t *child;
    apr_pool_create(&child, pool);
    casp_mailreach_t *m = casp_mailreach_create(child);
    const char *address, *why;
    apr_time_t end = apr_time_now() + SEC(20);
    int port, fd = listen_somewhere(&port);
    (void)state;
#define FIND(host, fresh)                                               \
    casp_mailreach_find(m, pool, (host), port, SEC(fresh), SEC(5), end, \
                        &address, &why)
    assert_int_equal(FIND("127.0.0.1", 60), CASP_REACH_OK);
    assert_string_equal(address, "127.0.0.1");
    assert_int_equal(FIND("localhost", 60), CASP_REACH_OK);
    close(fd);
    /* what is fresh is not asked again */
    assert_int_equal(FIND("127.0.0.1", 60), CASP_REACH_OK);
    /* what is old serves while it is looked at */
    assert_int_equal(FIND("127.0.0.1", 0), CASP_REACH_OK);
    for (int i = 0; i < 200 && FIND("127.0.0.1", 60) == CASP_REACH_OK; i++) {
        apr_sleep(10000);
    }
    assert_int_equal(FIND("127.0.0.1", 60), CASP_REACH_DOWN);
    assert_null(address);
    assert_non_null(strstr(why, "does not answer"));
    assert_int_equal(FIND("no such name", 60), CASP_REACH_NO_NAME);
    assert_non_null(strstr(why, "has no address"));
    assert_int_equal(FIND(repeat('x', 300), 60), CASP_REACH_LATE);
    /* more servers than there is room for */
    for (int i = 1; i < 150; i++) {
        (void)casp_mailreach_find(m, pool, "127.0.0.1", i, SEC(60), SEC(1),
                                  apr_time_now() + SEC(5), &address, &why);
    }
    apr_pool_destroy(child);
}

/* Connections that a listener has got. */
static int accepted(int fd)
{
    int n = 0;
    struct pollfd pfd = {fd, POLLIN, 0};
    while (poll(&pfd, 1, 200) > 0) {
        close(accept(fd, NULL, NULL));
        n++;
    }
    return n;
}

static void test_reach_fresh(void **state)
{
    apr_pool_t *child;
    apr_pool_create(&child, pool);
    casp_mailreach_t *m = casp_mailreach_create(child);
    const char *address, *why;
    apr_time_t end = apr_time_now() + SEC(20);
    int port, fd = listen_somewhere(&port);
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(FIND("127.0.0.1", 60), CASP_REACH_OK);
    }
    assert_int_equal(accepted(fd), 1);
    assert_int_equal(FIND("127.0.0.1", 0), CASP_REACH_OK);
    assert_int_equal(accepted(fd), 1);
    close(fd);
    apr_pool_destroy(child);
}

/* An address that says nothing, and a process that ends meanwhile. */
static void test_reach_late(void **state)
{
    apr_pool_t *child;
    apr_pool_create(&child, pool);
    casp_mailreach_t *m = casp_mailreach_create(child);
    const char *address, *why;
    int port, fd = listen_somewhere(&port), full[64];
    struct sockaddr_in sin = {.sin_family = AF_INET};
    (void)state;
    assert_int_equal(listen(fd, 0), 0);
    sin.sin_port = htons((uint16_t)port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < COUNT(full); i++) { /* its queue is full */
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(full[i], (struct sockaddr *)&sin, sizeof(sin));
    }
    apr_time_t begun = apr_time_now();
    assert_int_equal(casp_mailreach_find(m, pool, "127.0.0.1", port, SEC(60),
                                         SEC(30), begun + SEC(1), &address,
                                         &why),
                     CASP_REACH_LATE);
    assert_non_null(strstr(why, "not found out in time"));
    assert_true(apr_time_now() - begun < SEC(10));
    apr_pool_destroy(child); /* waits for its thread, which looks */
    assert_true(apr_time_now() - begun < SEC(15));
    for (size_t i = 0; i < COUNT(full); i++) {
        close(full[i]);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spraying, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach_fresh, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach_late, set_up, tear_down),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
