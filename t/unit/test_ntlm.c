/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * NTLM handshakes before a helper that says whatever its tokens tell it to
 * say: well, slowly, nonsense, nothing.  What comes of it, how long it takes,
 * who may be given up and who may not, and that no process is left.
 *
 * Real helpers and real messages are the lab's matter.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_atomic.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "ntlm.h"
#include "ntlmhelper.h"

#define MS(n) apr_time_from_msec(n)
#define GRACE MS(700) /* a busy machine's */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static apr_pool_t *top;
static const char *dir, *script, *journal;
static volatile apr_uint32_t complaints;

static void log_cb(void *baton, casp_log_e level, apr_status_t rv,
                   const char *message)
{
    (void)baton, (void)level, (void)rv;
    if (strstr(message, "CP0700")) {
        apr_atomic_inc32(&complaints);
    }
}

/* ------------------------------------------------------ a helper that acts */

/* The token, in base64, is the answer, or a word for what is to be done. */
static const char helper_text[] =
    "#!/bin/sh\n"
    "echo \"$$ begins $*\" >> \"$JOURNAL\"\n"
    "while read -r word token; do\n"
    "    text=$(printf %s \"$token\" | base64 -d)\n"
    "    printf '%s %s %s\\n' \"$$\" \"$word\" \"$text\" >> \"$JOURNAL\"\n"
    "    case $text in\n"
    "    DIE) exit 3 ;;\n"
    "    HANG) exec sleep 60 ;;\n"
    "    LATER*) sleep 0.4; printf '%s\\n' \"${text#LATER }\" ;;\n"
    "    HALF) printf 'TT YQ=='; exec sleep 60 ;;\n"
    "    TWO) printf 'TT YQ==\\nTT YQ==\\n' ;;\n"
    "    NUL) printf 'TT \\000YQ==\\n' ;;\n"
    "    ENDLESS) exec tr '\\0' a < /dev/zero 2> /dev/null ;;\n"
    "    FILES) ls -l /proc/$$/fd | sed -n 's/.*\\(socket:.*\\)/\\1/p' |\n"
    "        sort -u >> \"$JOURNAL\"; echo 'TT YQ==' ;;\n"
    "    GO) echo 'TT YQ=='; exit 0 ;;\n"
    "    *) printf '%s\\n' \"$text\" ;;\n"
    "    esac\n"
    "done\n";

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int group_setup(void **state)
{
    static char name[] = "/tmp/casp-ntlm-XXXXXX";
    (void)state;
    casp_log_set(log_cb, NULL, CASP_LOG_DEBUG);
    if (apr_pool_create(&top, NULL) != APR_SUCCESS || !mkdtemp(name)) {
        return 1;
    }
    dir = name;
    script = apr_pstrcat(top, dir, "/helper", NULL);
    journal = apr_pstrcat(top, dir, "/journal", NULL);
    put(script, helper_text);
    return setenv("JOURNAL", journal, 1) || chmod(script, 0755);
}

static int group_teardown(void **state)
{
    (void)state;
    (void)unlink(script);
    (void)unlink(journal);
    int rc = rmdir(dir);
    apr_pool_destroy(top);
    return rc;
}

static const char *journal_text(apr_pool_t *p)
{
    static char text[65536];
    FILE *f = fopen(journal, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f) {
        (void)fclose(f);
    }
    text[n] = '\0';
    return apr_pstrdup(p, text);
}

/* How many helpers were started? */
static int begun(apr_pool_t *p)
{
    int n = 0;
    for (const char *at = strstr(journal_text(p), " begins "); at;
         at = strstr(at + 1, " begins ")) {
        n++;
    }
    return n;
}

/* --------------------------------------------------------------- the world */

typedef struct {
    apr_pool_t *p, *life;
    const char *argv[3];
    casp_ntlm_conf_t conf;
    casp_ntlm_t *n;
} world_t;

static void start(world_t *w, int places)
{
    memset(w, 0, sizeof(*w));
    (void)unlink(journal);
    assert_int_equal(apr_pool_create(&w->p, top), APR_SUCCESS);
    assert_int_equal(apr_pool_create(&w->life, w->p), APR_SUCCESS);
    w->argv[0] = script;
    w->argv[1] = "--word=two words";
    w->conf.helper = w->argv;
    w->conf.places = places;
    w->conf.timeout = MS(1500);
    w->n = casp_ntlm_create(w->life, &w->conf);
    assert_non_null(w->n);
}

/* Ends it, and looks for processes that are left. */
static void finish(world_t *w)
{
    apr_time_t now = apr_time_now();
    apr_pool_destroy(w->p);
    assert_true(apr_time_now() - now < MS(1000) + GRACE);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

typedef struct {
    casp_ntlm_e e;
    casp_ntlm_answer_t a;
    apr_interval_time_t took;
} said_t;

static said_t begin(world_t *w, const char *token, uint64_t *id)
{
    said_t s;
    apr_time_t now = apr_time_now();
    s.e = casp_ntlm_begin(w->n, w->p, token, strlen(token), id, &s.a);
    s.took = apr_time_now() - now;
    assert_int_equal(*id != 0, s.e == CASP_NTLM_MORE);
    assert_int_equal(s.a.why == NULL,
                     s.e == CASP_NTLM_MORE || s.e == CASP_NTLM_OK);
    return s;
}

static said_t step(world_t *w, uint64_t id, const char *token)
{
    said_t s;
    apr_time_t now = apr_time_now();
    s.e = casp_ntlm_step(w->n, w->p, id, token, strlen(token), &s.a);
    s.took = apr_time_now() - now;
    return s;
}

static said_t handshake(world_t *w, const char *last)
{
    uint64_t id;
    said_t s = begin(w, "TT Y2hhbGxlbmdl *", &id);
    assert_int_equal(s.e, CASP_NTLM_MORE);
    assert_int_equal(s.a.out_len, 9);
    assert_memory_equal(s.a.out, "challenge", 9);
    return step(w, id, last);
}

/* ----------------------------------------------------------- one handshake */

static void test_accepted(void **state)
{
    (void)state;
    world_t w;
    start(&w, 4);
    said_t s = handshake(&w, "AF * CONTOSO\\ada");
    assert_int_equal(s.e, CASP_NTLM_OK);
    assert_string_equal(s.a.who.name, "CONTOSO\\ada");
    assert_int_equal(s.a.out_len, 0);
    /* inside SPNEGO: something goes back */
    s = handshake(&w, "AF b2s= CONTOSO\\a b");
    assert_int_equal(s.e, CASP_NTLM_OK);
    assert_string_equal(s.a.who.name, "CONTOSO\\a b");
    assert_int_equal(s.a.out_len, 2);
    assert_memory_equal(s.a.out, "ok", 2);
    /* one more message each way */
    uint64_t id;
    assert_int_equal(begin(&w, "TT YQ==", &id).e, CASP_NTLM_MORE);
    assert_int_equal(step(&w, id, "TT YQ== *").e, CASP_NTLM_MORE);
    assert_int_equal(step(&w, id, "AF * CONTOSO\\cleo").e, CASP_NTLM_OK);
    assert_int_equal(step(&w, id, "AF * CONTOSO\\cleo").e, CASP_NTLM_LOST);
    /* one helper did it all, and got its words as they are */
    assert_int_equal(begun(w.p), 1);
    assert_non_null(strstr(journal_text(w.p), "begins --word=two words "
                                              "--helper-protocol=gss-spnego"));
    assert_non_null(strstr(journal_text(w.p), " YR TT Y2hhbGxlbmdl *"));
    assert_non_null(strstr(journal_text(w.p), " KK AF * CONTOSO\\ada"));
    finish(&w);
}

static const struct {
    const char *answer;
    casp_ntlm_e e;
    const char *word; /* of the reason */
} noes[] = {
    {"NA * NT_STATUS_LOGON_FAILURE", CASP_NTLM_REFUSED, "password"},
    {"NA NT_STATUS_WRONG_PASSWORD", CASP_NTLM_REFUSED, "WRONG_PASSWORD"},
    {"NA b2s= NT_STATUS_ACCOUNT_DISABLED", CASP_NTLM_REFUSED, "disabled"},
    {"NA * NT_STATUS_PASSWORD_EXPIRED", CASP_NTLM_REFUSED, "expired"},
    {"BH NT_STATUS_ACCOUNT_LOCKED_OUT * x", CASP_NTLM_REFUSED, "locked"},
    {"NA * NT_STATUS_SOMETHING_NEW", CASP_NTLM_REFUSED, "SOMETHING_NEW"},
    {"NA * NT_STATUS_NO_LOGON_SERVERS", CASP_NTLM_UNAVAILABLE, "wbinfo -P"},
    {"NA * NT_STATUS_ACCESS_DENIED", CASP_NTLM_UNAVAILABLE, "wbinfo -t"},
    {"BH NT_STATUS_INVALID_PARAMETER * x", CASP_NTLM_REFUSED, "not NTLM"},
    {"BH NT_STATUS_UNSUCCESSFUL * x", CASP_NTLM_UNAVAILABLE, "winbindd"},
    {"BH something", CASP_NTLM_UNAVAILABLE, "something"},
    {"NA", CASP_NTLM_REFUSED, "no"},
    {"BH", CASP_NTLM_UNAVAILABLE, "winbindd"},
};

static void test_no(void **state)
{
    (void)state;
    world_t w;
    start(&w, 4);
    for (apr_size_t i = 0; i < COUNT(noes); i++) {
        said_t s = handshake(&w, noes[i].answer);
        if (s.e != noes[i].e || !s.a.why || !strstr(s.a.why, noes[i].word)) {
            fail_msg("%s: %d, %s", noes[i].answer, (int)s.e,
                     s.a.why ? s.a.why : "-");
        }
        assert_null(s.a.who.name);
        assert_null(s.a.out);
    }
    assert_int_equal(begun(w.p), 1); /* a no is no reason to part */
    uint64_t id;
    said_t s = begin(&w, "NA * NT_STATUS_INVALID_PARAMETER", &id);
    assert_int_equal(s.e, CASP_NTLM_REFUSED);
    finish(&w);
}

static const char *const nonsense[] = {
    "hello", " ",     "TT",
    "TT *",  "TT YQ", "TT Y!==",
    "AF *",  "AF * ", "AF CONTOSO\\ada",
    "TWO",   "NUL",   "ENDLESS",
    "DIE",   "HANG",  "HALF",
};

static void test_nonsense(void **state)
{
    (void)state;
    for (apr_size_t i = 0; i < COUNT(nonsense); i++) {
        for (int leg = 0; leg < 2; leg++) {
            world_t w;
            uint64_t id;
            start(&w, 4);
            said_t s =
                leg ? handshake(&w, nonsense[i]) : begin(&w, nonsense[i], &id);
            if (s.e != CASP_NTLM_UNAVAILABLE || !s.a.why || s.a.who.name) {
                fail_msg("\"%s\" in leg %d: %d", nonsense[i], leg, (int)s.e);
            }
            assert_true(s.took < w.conf.timeout + GRACE);
            /* that one is never asked again */
            assert_int_equal(handshake(&w, "AF * A\\b").e, CASP_NTLM_OK);
            assert_int_equal(begun(w.p), 2);
            finish(&w);
        }
    }
}

/* What answers a first message proves nobody's password. */
static void test_no_proof(void **state)
{
    (void)state;
    world_t w;
    uint64_t id;
    start(&w, 4);
    assert_int_equal(begin(&w, "AF * CONTOSO\\ada", &id).e,
                     CASP_NTLM_UNAVAILABLE);
    assert_int_equal(casp_ntlm_begin(w.n, w.p, "", 0, &id, &(said_t){0}.a),
                     CASP_NTLM_REFUSED);
    /* a handshake without an end */
    assert_int_equal(begin(&w, "TT YQ==", &id).e, CASP_NTLM_MORE);
    casp_ntlm_e e = CASP_NTLM_MORE;
    for (int i = 0; i < 20 && e == CASP_NTLM_MORE; i++) {
        e = step(&w, id, "TT YQ==").e;
    }
    assert_int_equal(e, CASP_NTLM_LOST);
    finish(&w);
}

static void test_died_idle(void **state)
{
    (void)state;
    world_t w;
    uint64_t id;
    start(&w, 4);
    assert_int_equal(begin(&w, "GO", &id).e, CASP_NTLM_MORE);
    assert_int_equal(step(&w, id, "AF * A\\b").e, CASP_NTLM_UNAVAILABLE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(begin(&w, "GO", &id).e, CASP_NTLM_MORE);
        casp_ntlm_drop(w.n, id); /* idle now, and gone */
        apr_sleep(MS(100));
        assert_int_equal(begin(&w, "TT YQ==", &id).e, CASP_NTLM_MORE);
        casp_ntlm_drop(w.n, id);
        assert_int_equal(handshake(&w, "DIE").e, CASP_NTLM_UNAVAILABLE);
    }
    finish(&w);
}

static void test_missing(void **state)
{
    (void)state;
    static const struct {
        const char *path, *word;
    } rows[] = {{"/nowhere/ntlm_auth", "install"}, {"/etc/passwd", "run it"}};
    for (apr_size_t i = 0; i < COUNT(rows); i++) {
        world_t w;
        uint64_t id;
        start(&w, 4);
        w.argv[0] = rows[i].path;
        apr_atomic_set32(&complaints, 0);
        for (int n = 0; n < 5; n++) {
            said_t s = begin(&w, "TT YQ==", &id);
            assert_int_equal(s.e, CASP_NTLM_UNAVAILABLE);
            assert_non_null(strstr(s.a.why, rows[i].path));
            assert_non_null(strstr(s.a.why, rows[i].word));
        }
        assert_int_equal(apr_atomic_read32(&complaints), 1);
        w.argv[0] = script; /* mended */
        assert_int_equal(handshake(&w, "AF * A\\b").e, CASP_NTLM_OK);
        finish(&w);
    }
}

/* ------------------------------------------------------- many handshakes */

static void test_places(void **state)
{
    (void)state;
    world_t w;
    uint64_t a, b, c, d;
    start(&w, 2);
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    apr_sleep(MS(50));
    assert_int_equal(begin(&w, "TT YQ==", &b).e, CASP_NTLM_MORE);
    /* the oldest goes, but not before it has had its second */
    said_t s = begin(&w, "TT YQ==", &c);
    assert_int_equal(s.e, CASP_NTLM_MORE);
    assert_true(s.took > MS(800));
    assert_int_equal(step(&w, a, "AF * A\\a").e, CASP_NTLM_LOST);
    assert_int_equal(step(&w, b, "AF * A\\b").e, CASP_NTLM_OK);
    assert_int_equal(step(&w, c, "AF * A\\c").e, CASP_NTLM_OK);
    assert_true(a != b && b != c && a != c);
    /* one that was dropped makes room at once */
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    assert_int_equal(begin(&w, "TT YQ==", &b).e, CASP_NTLM_MORE);
    casp_ntlm_drop(w.n, b);
    casp_ntlm_drop(w.n, b);
    casp_ntlm_drop(w.n, 0);
    casp_ntlm_drop(w.n, 12345);
    s = begin(&w, "TT YQ==", &d);
    assert_int_equal(s.e, CASP_NTLM_MORE);
    assert_true(s.took < MS(700));
    assert_int_equal(step(&w, b, "AF * A\\b").e, CASP_NTLM_LOST);
    assert_int_equal(step(&w, 0, "AF * A\\b").e, CASP_NTLM_LOST);
    assert_int_equal(step(&w, d, "AF * A\\d").e, CASP_NTLM_OK);
    assert_int_equal(begun(w.p), 2);
    finish(&w);
}

static void test_patience(void **state)
{
    (void)state;
    world_t w;
    uint64_t a;
    start(&w, 2);
    apr_time_t now = apr_time_now();
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    casp_ntlm_tick(w.n, now + apr_time_from_sec(29));
    assert_int_equal(step(&w, a, "AF * A\\a").e, CASP_NTLM_OK);
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    casp_ntlm_tick(w.n, now + apr_time_from_sec(40));
    assert_int_equal(step(&w, a, "AF * A\\a").e, CASP_NTLM_LOST);
    /* its helper is used again, and ends when it was idle for a minute */
    assert_int_equal(handshake(&w, "AF * A\\b").e, CASP_NTLM_OK);
    assert_int_equal(begun(w.p), 1);
    casp_ntlm_tick(w.n, apr_time_now() + apr_time_from_sec(50));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* still there */
    casp_ntlm_tick(w.n, apr_time_now() + apr_time_from_sec(61));
    for (int i = 0; i < 100 && kill(0, 0) == 0; i++) {
        siginfo_t info;
        memset(&info, 0, sizeof(info));
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
            break; /* nobody is left */
        }
        apr_sleep(MS(10));
        casp_ntlm_tick(w.n, apr_time_now());
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(handshake(&w, "AF * A\\b").e, CASP_NTLM_OK);
    assert_int_equal(begun(w.p), 2);
    finish(&w);
}

typedef struct {
    world_t *w;
    apr_pool_t *p;
    uint64_t id;
    const char *token;
    casp_ntlm_e e;
    casp_ntlm_answer_t a;
} stepper_t;

static void *stepper_run(void *data)
{
    stepper_t *s = data;
    s->e = casp_ntlm_step(s->w->n, s->p, s->id, s->token, strlen(s->token),
                          &s->a);
    return NULL;
}

static pthread_t step_aside(stepper_t *s, world_t *w, uint64_t id,
                            const char *token)
{
    pthread_t thread;
    memset(s, 0, sizeof(*s));
    s->w = w;
    s->id = id;
    s->token = token;
    assert_int_equal(apr_pool_create(&s->p, top), APR_SUCCESS);
    assert_int_equal(pthread_create(&thread, NULL, stepper_run, s), 0);
    apr_sleep(MS(150));
    return thread;
}

/* A handshake that its verifier is at work on is nobody else's to end. */
static void test_busy(void **state)
{
    (void)state;
    world_t w;
    uint64_t a, b;
    stepper_t s;
    start(&w, 1);
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    apr_sleep(MS(1100)); /* ripe for a newcomer */
    pthread_t thread = step_aside(&s, &w, a, "LATER AF * A\\a");
    casp_ntlm_tick(w.n, apr_time_now() + apr_time_from_sec(90));
    assert_int_equal(step(&w, a, "AF * A\\x").e, CASP_NTLM_LOST);
    said_t n = begin(&w, "TT YQ==", &b);
    (void)pthread_join(thread, NULL);
    assert_int_equal(s.e, CASP_NTLM_OK);
    assert_string_equal(s.a.who.name, "A\\a");
    if (n.e == CASP_NTLM_MORE) {
        assert_int_equal(step(&w, b, "AF * A\\b").e, CASP_NTLM_OK);
    }
    else {
        assert_int_equal(n.e, CASP_NTLM_BUSY);
    }
    apr_pool_destroy(s.p);
    /* its client goes meanwhile */
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    thread = step_aside(&s, &w, a, "LATER TT YQ==");
    casp_ntlm_drop(w.n, a);
    (void)pthread_join(thread, NULL);
    assert_int_equal(s.e, CASP_NTLM_LOST);
    apr_pool_destroy(s.p);
    assert_int_equal(handshake(&w, "AF * A\\b").e, CASP_NTLM_OK);
    finish(&w);
}

/* The process ends while a helper is silent. */
static void test_end(void **state)
{
    (void)state;
    world_t w;
    uint64_t a, b;
    stepper_t s;
    start(&w, 3);
    w.conf.timeout = 0;
    assert_int_equal(begin(&w, "TT YQ==", &b).e, CASP_NTLM_MORE);
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    pthread_t thread = step_aside(&s, &w, a, "HANG");
    apr_time_t now = apr_time_now();
    apr_pool_clear(w.life);
    assert_true(apr_time_now() - now < MS(500) + GRACE);
    (void)pthread_join(thread, NULL);
    assert_int_equal(s.e, CASP_NTLM_UNAVAILABLE);
    apr_pool_destroy(s.p);
    finish(&w);
}

/* A helper has a socket for itself, and not those of others. */
static void test_inherits_nothing(void **state)
{
    (void)state;
    world_t w;
    uint64_t a, b;
    start(&w, 3);
    assert_int_equal(begin(&w, "TT YQ==", &a).e, CASP_NTLM_MORE);
    assert_int_equal(begin(&w, "FILES", &b).e, CASP_NTLM_MORE);
    const char *files = strstr(journal_text(w.p), "FILES\n");
    assert_non_null(files);
    assert_int_equal(strncmp(files, "FILES\nsocket:", 13), 0);
    assert_null(strchr(files + 13, ':'));
    finish(&w);
}

/* ---------------------------------------------------------------- threads */

typedef struct {
    world_t *w;
    int number, good, other, wrong;
} client_t;

static void *client_run(void *data)
{
    client_t *c = data;
    apr_pool_t *p;
    apr_pool_create(&p, NULL);
    for (int i = 0; i < 12; i++) {
        casp_ntlm_answer_t a;
        uint64_t id;
        const char *name = apr_psprintf(p, "A\\u%d-%d", c->number, i);
        const char *last = apr_pstrcat(p, "AF * ", name, NULL);
        casp_ntlm_e e = casp_ntlm_begin(c->w->n, p, "TT YQ== *", 9, &id, &a);
        if (i % 5 == 4) {
            casp_ntlm_drop(c->w->n, id);
            continue;
        }
        if (e == CASP_NTLM_MORE) {
            e = casp_ntlm_step(c->w->n, p, id, last, strlen(last), &a);
        }
        c->good += e == CASP_NTLM_OK;
        c->other += e != CASP_NTLM_OK;
        c->wrong += e == CASP_NTLM_OK && strcmp(a.who.name, name) != 0;
        casp_ntlm_tick(c->w->n, apr_time_now());
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    world_t w;
    client_t clients[10];
    pthread_t threads[10];
    start(&w, 6);
    w.conf.timeout = 0;
    memset(clients, 0, sizeof(clients));
    for (int i = 0; i < 10; i++) {
        clients[i].w = &w;
        clients[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, client_run,
                                        &clients[i]),
                         0);
    }
    int good = 0, wrong = 0;
    for (int i = 0; i < 10; i++) {
        (void)pthread_join(threads[i], NULL);
        good += clients[i].good;
        wrong += clients[i].wrong;
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(good, 100);
    assert_true(begun(w.p) <= 6);
    finish(&w);
}

/* ------------------------------------------------------------------- words */

static void test_judge(void **state)
{
    (void)state;
    apr_pool_t *p;
    assert_int_equal(apr_pool_create(&p, top), APR_SUCCESS);
    static const struct {
        const char *status;
        bool trouble;
        casp_ntlm_e e;
    } rows[] = {
        {"NT_STATUS_LOGON_FAILURE", false, CASP_NTLM_REFUSED},
        {"NT_STATUS_LOGON_FAILURE", true, CASP_NTLM_REFUSED},
        {"nt_status_logon_failure", false, CASP_NTLM_REFUSED},
        {"LOGON_FAILURE", false, CASP_NTLM_REFUSED},
        {"NT_STATUS_IO_TIMEOUT", false, CASP_NTLM_UNAVAILABLE},
        {"NT_STATUS_NTLM_BLOCKED", false, CASP_NTLM_REFUSED},
        {"", true, CASP_NTLM_UNAVAILABLE},
        {"", false, CASP_NTLM_REFUSED},
    };
    for (apr_size_t i = 0; i < COUNT(rows); i++) {
        const char *why = NULL;
        assert_int_equal(casp_winbind_judge(p, rows[i].status, rows[i].trouble,
                                            &why),
                         rows[i].e);
        assert_non_null(why);
    }
    apr_pool_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_no),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_no_proof),
        cmocka_unit_test(test_died_idle),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_inherits_nothing),
        cmocka_unit_test(test_threads),
    };
    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, group_setup, group_teardown);
    apr_terminate();
    return failed;
}
