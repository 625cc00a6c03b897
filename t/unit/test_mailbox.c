/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The mailbox tables: with a source that obeys the test, a second level that
 * is a shelf, and a clock that the test sets.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_atomic.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "mailbox.h"

#define SEC(n) apr_time_from_sec(n)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NC "DC=contoso,DC=test"
#define DB1 "CN=DB1,CN=Databases"
#define DB2 "CN=DB2,CN=Databases"
#define PUSH(a, e) (APR_ARRAY_PUSH(a, casp_entry_t *) = (e))

static const apr_time_t noon = SEC(1000000);
static apr_pool_t *pool;
static casp_topology_t *forest; /* without a tree: nothing here needs one */

static int set_up(void **state)
{
    (void)state;
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    forest =
        casp_topology_build(apr_array_make(pool, 1, sizeof(casp_entry_t *)),
                            "a test", NC, noon);
    return forest ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    casp_topology_unref(forest);
    apr_pool_destroy(pool);
    return 0;
}

static casp_user_key_t key_of(casp_key_e kind, const char *domain,
                              const char *value)
{
    casp_user_key_t key = {kind, domain, value, strlen(value)};
    return key;
}

/* --------------------------------------------------------- a tame source */

typedef struct {
    volatile apr_uint32_t calls;
    casp_dir_e how;
    int matches;
    const char *home;
    apr_interval_time_t slow;
} tame_t;

static tame_t tame;

static casp_dir_e tame_find(void *baton, apr_pool_t *p,
                            const casp_user_key_t *key,
                            const casp_topology_t *t, apr_time_t deadline,
                            apr_array_header_t **entries, const char **why)
{
    tame_t *s = baton;
    int i;

    (void)t;
    (void)deadline;
    apr_atomic_inc32(&s->calls);
    if (s->slow) {
        apr_sleep(s->slow);
    }
    *why = s->how == CASP_DIR_OK ? NULL : "the test says no";
    *entries = apr_array_make(p, 2, sizeof(casp_entry_t *));
    for (i = 0; s->how == CASP_DIR_OK && i < s->matches; i++) {
        casp_entry_t *e =
            casp_entry_make(p, apr_psprintf(p, "CN=%.*s,CN=Users%d," NC,
                                            (int)key->len, key->value, i));
        casp_entry_add(p, e, "objectClass", "user", 4);
        casp_entry_add(p, e, "sAMAccountName", key->value, key->len);
        casp_entry_add(p, e, "homeMDB", s->home, strlen(s->home));
        casp_entry_add(p, e, "objectSid", key->value, key->len);
        PUSH(*entries, e);
    }
    return s->how;
}

static const casp_user_source_t tame_source = {tame_find, &tame};
static const casp_mailbox_conf_t usual = {SEC(300), SEC(30), SEC(3600), 1000};

static int set_up_tame(void **state)
{
    memset(&tame, 0, sizeof(tame));
    tame.matches = 1;
    tame.home = DB1;
    return set_up(state);
}

typedef struct {
    casp_find_e found;
    casp_cache_e how;
    const casp_mailbox_t *m;
    const char *why;
} answer_t;

static answer_t ask(casp_mailboxes_t *boxes, const char *name, apr_time_t now)
{
    casp_user_key_t key = key_of(CASP_KEY_LOGON, "contoso", name);
    answer_t a;

    memset(&a, 0x55, sizeof(a));
    a.found = casp_mailboxes_find(boxes, pool, &tame_source, forest, &key, now,
                                  now + SEC(5), &a.m, &a.how, &a.why);
    return a;
}

#define EXPECT(name, when, f, h, n)                                \
    do {                                                           \
        answer_t a_ = ask(boxes, name, when);                      \
        assert_int_equal(a_.found, f);                             \
        assert_int_equal(a_.how, h);                               \
        assert_int_equal(apr_atomic_read32(&tame.calls), n);       \
        assert_true((a_.m != NULL) == (a_.found == CASP_FIND_OK)); \
        if (a_.found >= CASP_FIND_AMBIGUOUS) {                     \
            assert_non_null(a_.why);                               \
        }                                                          \
    } while (0)

#define OK CASP_FIND_OK
#define NONE CASP_FIND_NONE
#define AMBIGUOUS CASP_FIND_AMBIGUOUS
#define AWAY CASP_FIND_UNAVAILABLE
#define MISS CASP_CACHE_MISS
#define HIT CASP_CACHE_HIT
#define STALE CASP_CACHE_STALE
#define NEGATIVE CASP_CACHE_NEGATIVE

static void test_hit_and_miss(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    casp_mailbox_stats_t stats;

    (void)state;
    EXPECT("ada", noon, OK, MISS, 1);
    EXPECT("ada", noon, OK, HIT, 1);
    EXPECT("ADA", noon + SEC(299), OK, HIT, 1);
    EXPECT("bob", noon, OK, MISS, 2);
    /* never past its time while the source answers */
    tame.home = DB2;
    EXPECT("ada", noon + SEC(300), OK, MISS, 3);
    answer_t a = ask(boxes, "ada", noon + SEC(301));
    assert_string_equal(casp_mailbox_text(a.m, CASP_MB_HOME), DB2);
    assert_int_equal(a.m->read_at, noon + SEC(300));

    casp_mailboxes_stats(boxes, &stats);
    assert_int_equal(stats.records, 2);
    assert_int_equal(stats.negatives, 0);
    assert_int_equal(stats.hits, 3);
    assert_int_equal(stats.misses, 3);
    assert_int_equal(stats.flights, 3);
    assert_int_equal(stats.evictions, 0);

    /* a clock set back makes no record immortal */
    EXPECT("ada", noon - SEC(10000), OK, MISS, 4);
}

static void test_kinds_apart(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    casp_user_key_t keys[] = {
        key_of(CASP_KEY_LOGON, "a", "b"),
        key_of(CASP_KEY_LOGON, "x", "b"),
        key_of(CASP_KEY_LOGON, NULL, "b"),
        key_of(CASP_KEY_UPN, NULL, "b"),
        key_of(CASP_KEY_SMTP, NULL, "b"),
        key_of(CASP_KEY_ALIAS, NULL, "b"),
        key_of(CASP_KEY_SID, NULL, "b"),
        key_of(CASP_KEY_SID, NULL, "B"),
        key_of(CASP_KEY_ACCOUNT, NULL, "linked"),
        key_of(CASP_KEY_ACCOUNT, NULL, "Linked"),
        key_of(CASP_KEY_GUID, NULL, "44434241-4645-4847-494a-4b4c4d4e4f50"),
    };
    const casp_mailbox_t *m;
    casp_cache_e how;
    const char *why;
    size_t i, round;

    (void)state;
    for (round = 0; round < 2; round++) {
        for (i = 0; i < COUNT(keys); i++) {
            assert_int_equal(casp_mailboxes_find(boxes, pool, &tame_source,
                                                 forest, &keys[i], noon, 0, &m,
                                                 &how, &why),
                             OK);
            assert_int_equal(how, round ? HIT : MISS);
        }
    }
    assert_int_equal(tame.calls, COUNT(keys));

    /* one GUID, however it is written */
    keys[0] =
        key_of(CASP_KEY_GUID, NULL, "{44434241-4645-4847-494A-4B4C4D4E4F50}");
    casp_mailboxes_find(boxes, pool, &tame_source, forest, &keys[0], noon, 0,
                        &m, &how, &why);
    assert_int_equal(how, HIT);

    /* what cannot be anybody's name is not asked for */
    static const casp_user_key_t nobody[] = {
        {CASP_KEY_UPN, NULL, "", 0},
        {CASP_KEY_UPN, NULL, NULL, 0},
        {CASP_KEY_UPN, NULL, "a\0b", 3},
        {CASP_KEY_GUID, NULL, "nonsense", 8},
    };
    for (i = 0; i < COUNT(nobody); i++) {
        assert_int_equal(casp_mailboxes_find(boxes, pool, &tame_source, forest,
                                             &nobody[i], noon, 0, &m, &how,
                                             &why),
                         NONE);
        assert_null(m);
    }
    assert_int_equal(tame.calls, COUNT(keys));
}

/* ---------------------------------------------------------- an account */

/* S-1-5-21-x and a last number: of accounts here and in another forest. */
static const char *sid_of(unsigned char last)
{
    unsigned char *sid = apr_pcalloc(pool, 16);
    sid[0] = 1;
    sid[1] = 2;
    sid[7] = 5;
    sid[8] = 21;
    sid[12] = last;
    return (const char *)sid;
}

enum { BOX = 1, LINKED = 2, USER2003 = 4, COMPUTER = 8 };

/* @a sid and @a master: last numbers; 0: none. */
static casp_entry_t *account(const char *name, unsigned char sid,
                             unsigned char master, int is)
{
    casp_entry_t *e =
        casp_entry_make(pool, apr_pstrcat(pool, "CN=", name, "," NC, NULL));
    casp_entry_add(pool, e, "objectClass", "user", 4);
    if (is & COMPUTER) {
        casp_entry_add(pool, e, "objectClass", "computer", 8);
    }
    casp_entry_add(pool, e, "sAMAccountName", name, strlen(name));
    if (sid) {
        casp_entry_add(pool, e, "objectSid", sid_of(sid), 16);
    }
    if (master) {
        casp_entry_add(pool, e, "msExchMasterAccountSid", sid_of(master), 16);
    }
    if (is & BOX) {
        casp_entry_add(pool, e, "homeMDB", DB1, strlen(DB1));
    }
    if (!(is & USER2003)) {
        casp_entry_add(pool, e, "msExchRecipientTypeDetails",
                       is & LINKED ? "2" : "1", 1);
    }
    return e;
}

static void test_account(void **state)
{
    apr_array_header_t *all = apr_array_make(pool, 16, sizeof(casp_entry_t *));
    const casp_mailbox_t *m;
    casp_cache_e how;
    const char *why;
    static const struct {
        unsigned char sid;
        casp_find_e found;
        const char *name;
    } cases[] = {
        {1, OK, "plain"}, /* its own mailbox */
        {2, OK, "bare"}, /* an account without one */
        {3, OK, "box3"}, /* its linked mailbox, not the bare account */
        {4, OK, "box4"}, /* an owner of another forest: no account here */
        {5, OK, "both"}, /* its own, though it is master of another */
        {6, AMBIGUOUS, NULL}, /* master of two */
        {7, OK, "owner7"}, /* what has the SID left over is not its */
        {8, OK, "box8"}, /* 2003 knows no type: the SID itself says it */
        {9, OK, "owner9"}, /* linked once, the mailbox is gone */
        {10, AMBIGUOUS, NULL}, /* the same SID twice: cannot be, must not */
        {11, NONE, NULL},      {12, NONE, NULL}, /* a computer's */
    };

    (void)state;
    PUSH(all, account("plain", 1, 0, BOX));
    PUSH(all, account("bare", 2, 0, 0));
    PUSH(all, account("owner3", 3, 0, 0));
    PUSH(all, account("box3", 103, 3, BOX | LINKED));
    PUSH(all, account("box4", 104, 4, BOX | LINKED));
    PUSH(all, account("second5", 105, 5, BOX | LINKED));
    PUSH(all, account("both", 5, 0, BOX));
    PUSH(all, account("owner6", 6, 0, 0));
    PUSH(all, account("first6", 106, 6, BOX | LINKED));
    PUSH(all, account("second6", 116, 6, BOX | LINKED));
    PUSH(all, account("owner7", 7, 0, 0));
    PUSH(all, account("leftover7", 107, 7, BOX));
    PUSH(all, account("owner8", 8, 0, USER2003));
    PUSH(all, account("box8", 108, 8, BOX | USER2003));
    PUSH(all, account("gone9", 109, 9, LINKED));
    PUSH(all, account("owner9", 9, 0, 0));
    PUSH(all, account("twin10", 10, 0, BOX));
    PUSH(all, account("twin10b", 10, 0, BOX));
    PUSH(all, account("machine", 12, 0, COMPUTER));
    casp_user_source_t *source = casp_source_entries(pool, all);
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT(cases); i++) {
            casp_user_key_t key = {CASP_KEY_ACCOUNT, NULL,
                                   sid_of(cases[i].sid), 16};
            casp_find_e found =
                casp_mailboxes_find(boxes, pool, source, forest, &key, noon, 0,
                                    &m, &how, &why);
            if (found != cases[i].found
                || (m
                    && strcmp(casp_mailbox_text(m, CASP_MB_SAM), cases[i].name)
                           != 0)) {
                fail_msg("account %d: %d, %s", cases[i].sid, (int)found,
                         m ? casp_mailbox_text(m, CASP_MB_SAM) : "nobody");
            }
            /* a record's SID is that of whoever logs on */
            assert_true(m == NULL
                        || (m->sid_len == 16
                            && memcmp(m->sid, sid_of(cases[i].sid), 16) == 0));
            assert_int_equal(how, !round        ? MISS
                                  : found == OK ? HIT
                                                : NEGATIVE);
        }
    }
}

static void test_negative(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    casp_mailbox_stats_t stats;

    (void)state;
    tame.matches = 0;
    EXPECT("ada", noon, NONE, MISS, 1);
    EXPECT("ada", noon + SEC(29), NONE, NEGATIVE, 1);
    tame.matches = 1;
    EXPECT("ada", noon + SEC(30), OK, MISS, 2);
    EXPECT("ada", noon + SEC(31), OK, HIT, 2);
    /* a mailbox that goes is forgotten, and does not come back as stale */
    tame.matches = 0;
    EXPECT("ada", noon + SEC(400), NONE, MISS, 3);
    casp_mailboxes_stats(boxes, &stats);
    assert_int_equal(stats.records, 0);
    assert_int_equal(stats.negatives, 1);
    tame.how = CASP_DIR_UNAVAILABLE;
    EXPECT("ada", noon + SEC(440), AWAY, MISS, 4);
}

static void test_ambiguous(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");

    (void)state;
    tame.matches = 5;
    EXPECT("ada", noon, AMBIGUOUS, MISS, 1);
    EXPECT("ada", noon + SEC(1), AMBIGUOUS, NEGATIVE, 1);
    answer_t a = ask(boxes, "ada", noon + SEC(1));
    assert_non_null(strstr(a.why, "5 entries"));
    assert_non_null(strstr(a.why, "contoso\\ada"));
    assert_non_null(strstr(a.why, "CN=ada,CN=Users1," NC));
    assert_non_null(strstr(a.why, "..."));
    tame.matches = 1;
    EXPECT("ada", noon + SEC(31), OK, MISS, 2);
}

static void test_stale(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    static const casp_dir_e failures[] = {
        CASP_DIR_UNAVAILABLE, CASP_DIR_REFUSED, CASP_DIR_INCOMPLETE};
    apr_uint32_t calls = 1;
    size_t i;

    (void)state;
    EXPECT("ada", noon, OK, MISS, calls);
    for (i = 0; i < COUNT(failures); i++) {
        apr_time_t now = noon + SEC(400 + 10 * (int)i);
        tame.how = failures[i];
        EXPECT("ada", now, OK, STALE, ++calls);
        /* it is left alone for a while */
        EXPECT("ada", now, OK, STALE, calls);
        EXPECT("ada", now + SEC(1), OK, STALE, calls);
        EXPECT("bob", now, AWAY, MISS, ++calls);
        EXPECT("bob", now, AWAY, MISS, ++calls);
    }
    EXPECT("ada", noon + SEC(3599), OK, STALE, ++calls);
    EXPECT("ada", noon + SEC(3600), AWAY, MISS, ++calls);

    /* and fresh again as soon as it answers */
    tame.how = CASP_DIR_OK;
    EXPECT("ada", noon + SEC(3603), OK, MISS, ++calls);
    EXPECT("ada", noon + SEC(3603), OK, HIT, calls);
    tame.how = CASP_DIR_UNAVAILABLE;
    EXPECT("ada", noon + SEC(4000), OK, STALE, ++calls);
    tame.how = CASP_DIR_OK;
    EXPECT("ada", noon + SEC(4003), OK, MISS, ++calls);
    EXPECT("ada", noon + SEC(4004), OK, HIT, calls);
}

static void test_switched_off(void **state)
{
    static const casp_mailbox_conf_t none = {SEC(300), SEC(30), SEC(3600), 0};
    static const casp_mailbox_conf_t short_lived = {0, 0, 0, 100};
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &none, NULL, NULL);

    (void)state;
    EXPECT("ada", noon, OK, MISS, 1);
    EXPECT("ada", noon, OK, MISS, 2);
    boxes = casp_mailboxes_create(pool, &short_lived, NULL, "o");
    EXPECT("ada", noon, OK, MISS, 3);
    EXPECT("ada", noon, OK, MISS, 4);
    tame.matches = 0;
    EXPECT("bob", noon, NONE, MISS, 5);
    EXPECT("bob", noon, NONE, MISS, 6);
    tame.how = CASP_DIR_UNAVAILABLE;
    EXPECT("ada", noon, AWAY, MISS, 7);
}

static void test_forget(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    casp_user_key_t key = key_of(CASP_KEY_LOGON, "CONTOSO", "Ada");

    (void)state;
    EXPECT("ada", noon, OK, MISS, 1);
    casp_mailboxes_forget(boxes, &key);
    EXPECT("ada", noon, OK, MISS, 2);
    tame.matches = 0;
    EXPECT("bob", noon, NONE, MISS, 3);
    key = key_of(CASP_KEY_LOGON, "contoso", "bob");
    casp_mailboxes_forget(boxes, &key);
    EXPECT("bob", noon, NONE, MISS, 4);
}

/* Without a topology nothing about homes and domains could be told, so that
 * such an answer is not kept. */
static void test_no_topology(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    casp_user_key_t key = key_of(CASP_KEY_LOGON, "contoso", "ada");
    const casp_mailbox_t *m;
    casp_cache_e how;
    const char *why;

    (void)state;
    assert_int_equal(casp_mailboxes_find(boxes, pool, &tame_source, NULL, &key,
                                         noon, 0, &m, &how, &why),
                     OK);
    EXPECT("ada", noon, OK, MISS, 2);
    EXPECT("ada", noon, OK, HIT, 2);
}

static void test_bounds(void **state)
{
    static const casp_mailbox_conf_t small = {SEC(300), SEC(30), SEC(3600),
                                              100};
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &small, NULL, "o");
    casp_mailbox_stats_t stats;
    apr_uint32_t calls;
    int i, j;

    (void)state;
    for (i = 0; i < 100; i++) {
        ask(boxes, apr_psprintf(pool, "user%d", i), noon);
    }
    /* a scanner tries names: no mailbox goes */
    tame.matches = 0;
    for (i = 0; i < 5000; i++) {
        ask(boxes, apr_psprintf(pool, "guess%d", i), noon);
    }
    casp_mailboxes_stats(boxes, &stats);
    assert_int_equal(stats.records, 100);
    assert_in_range(stats.negatives, 25, 26);
    assert_in_range(stats.evictions, 5000 - 26, 5000 - 25);
    calls = tame.calls;
    for (i = 0; i < 100; i++) {
        EXPECT(apr_psprintf(pool, "user%d", i), noon, OK, HIT, calls);
    }

    /* too many mailboxes: the ones in use stay */
    tame.matches = 1;
    for (i = 0; i < 1000; i++) {
        ask(boxes, apr_psprintf(pool, "new%d", i), noon);
        for (j = 5; j < 9; j++) {
            ask(boxes, apr_psprintf(pool, "user%d", j), noon);
        }
    }
    casp_mailboxes_stats(boxes, &stats);
    assert_int_equal(stats.records, 100);
    assert_int_equal(tame.calls, calls + 1000);
}

/* ----------------------------------------------------------- one flight */

#define THREADS 8

typedef struct {
    casp_mailboxes_t *boxes;
    apr_interval_time_t patience;
    answer_t answer;
    char dn[100];
    apr_interval_time_t spent;
} caller_t;

static void *APR_THREAD_FUNC call(apr_thread_t *thread, void *data)
{
    caller_t *c = data;
    casp_user_key_t key = key_of(CASP_KEY_LOGON, "contoso", "ada");
    apr_time_t start = apr_time_now();
    apr_pool_t *p;

    (void)thread;
    apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    c->answer.found =
        casp_mailboxes_find(c->boxes, p, &tame_source, forest, &key, noon,
                            noon + c->patience, &c->answer.m, &c->answer.how,
                            &c->answer.why);
    c->spent = apr_time_now() - start;
    if (c->answer.m) {
        apr_cpystrn(c->dn, casp_mailbox_text(c->answer.m, CASP_MB_DN),
                    sizeof(c->dn));
    }
    apr_pool_destroy(p);
    return NULL;
}

static void call_all(casp_mailboxes_t *boxes, caller_t callers[THREADS],
                     apr_interval_time_t first, apr_interval_time_t others)
{
    apr_thread_t *threads[THREADS];
    apr_status_t rv;
    int i;

    memset(callers, 0, THREADS * sizeof(*callers));
    for (i = 0; i < THREADS; i++) {
        callers[i].boxes = boxes;
        callers[i].patience = i ? others : first;
        assert_int_equal(apr_thread_create(&threads[i], NULL, call,
                                           &callers[i], pool),
                         APR_SUCCESS);
        if (i == 0) { /* it leads */
            while (apr_atomic_read32(&tame.calls) == 0) {
                apr_sleep(1000);
            }
        }
    }
    for (i = 0; i < THREADS; i++) {
        apr_thread_join(&rv, threads[i]);
    }
}

static void test_one_flight(void **state)
{
    static const struct {
        casp_dir_e how;
        int matches;
        casp_find_e found;
    } cases[] = {
        {CASP_DIR_OK, 1, OK},
        {CASP_DIR_OK, 0, NONE},
        {CASP_DIR_OK, 2, AMBIGUOUS},
        {CASP_DIR_UNAVAILABLE, 1, AWAY},
    };
    caller_t callers[THREADS];
    size_t i;
    int j;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        casp_mailboxes_t *boxes =
            casp_mailboxes_create(pool, &usual, NULL, "o");
        casp_mailbox_stats_t stats;

        tame.calls = 0;
        tame.slow = apr_time_from_msec(300);
        tame.how = cases[i].how;
        tame.matches = cases[i].matches;
        call_all(boxes, callers, SEC(20), SEC(20));
        assert_int_equal(tame.calls, 1);
        for (j = 0; j < THREADS; j++) {
            assert_int_equal(callers[j].answer.found, cases[i].found);
            if (cases[i].found == OK) {
                assert_string_equal(callers[j].dn, "CN=ada,CN=Users0," NC);
            }
        }
        casp_mailboxes_stats(boxes, &stats);
        assert_int_equal(stats.flights, 1);
        assert_int_equal(stats.hits + stats.misses + stats.negative, THREADS);
    }
}

static void test_waiters_are_bounded(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    caller_t callers[THREADS];
    int i;

    (void)state;
    tame.slow = SEC(2);
    call_all(boxes, callers, SEC(5), apr_time_from_msec(50));
    assert_int_equal(tame.calls, 1);
    assert_int_equal(callers[0].answer.found, OK);
    for (i = 1; i < THREADS; i++) {
        assert_int_equal(callers[i].answer.found, AWAY);
        assert_true(callers[i].spent < SEC(1));
    }
    /* the answer that nobody waited for is kept all the same */
    EXPECT("ada", noon, OK, HIT, 1);
}

static void test_waiters_take_stale(void **state)
{
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &usual, NULL, "o");
    caller_t callers[THREADS];
    int i;

    (void)state;
    EXPECT("ada", noon - SEC(400), OK, MISS, 1);
    tame.calls = 0;
    tame.slow = SEC(1);
    call_all(boxes, callers, SEC(5), apr_time_from_msec(50));
    assert_int_equal(callers[0].answer.how, MISS);
    for (i = 1; i < THREADS; i++) {
        assert_int_equal(callers[i].answer.found, OK);
        assert_int_equal(callers[i].answer.how, STALE);
    }
}

/* Many names, many threads, a little table: nothing to see but what a
 * sanitizer sees, and every answer is the right one. */
static void *APR_THREAD_FUNC mix(apr_thread_t *thread, void *data)
{
    caller_t *c = data;
    int i, wrong = 0;

    (void)thread;
    for (i = 0; i < 500; i++) {
        apr_pool_t *p;
        apr_pool_create_unmanaged_ex(&p, NULL, NULL);
        const char *name = apr_psprintf(p, "user%d", i * 7 % 40);
        casp_user_key_t key = key_of(CASP_KEY_LOGON, "contoso", name);
        casp_mailbox_stats_t stats;
        const casp_mailbox_t *m;
        casp_cache_e how;
        const char *why;

        if (casp_mailboxes_find(c->boxes, p, &tame_source, forest, &key,
                                noon + SEC(i), noon + SEC(i + 5), &m, &how,
                                &why)
                != OK
            || strcmp(casp_mailbox_text(m, CASP_MB_SAM), name) != 0) {
            wrong++;
        }
        if (i % 50 == 0) {
            casp_mailboxes_forget(c->boxes, &key);
            casp_mailboxes_stats(c->boxes, &stats);
        }
        apr_pool_destroy(p);
    }
    c->spent = wrong;
    return NULL;
}

static void test_threads(void **state)
{
    static const casp_mailbox_conf_t small = {SEC(20), SEC(30), SEC(60), 16};
    casp_mailboxes_t *boxes = casp_mailboxes_create(pool, &small, NULL, "o");
    apr_thread_t *threads[THREADS];
    caller_t callers[THREADS];
    apr_status_t rv;
    int i;

    (void)state;
    for (i = 0; i < THREADS; i++) {
        callers[i].boxes = boxes;
        callers[i].spent = 1;
        assert_int_equal(apr_thread_create(&threads[i], NULL, mix, &callers[i],
                                           pool),
                         APR_SUCCESS);
    }
    for (i = 0; i < THREADS; i++) {
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(callers[i].spent, 0);
    }
}

/* --------------------------------------------------------- second level */

#define SHELF 16

typedef struct {
    struct {
        char key[64], bytes[CASP_MAILBOX_MAX];
        apr_size_t key_len, len;
        apr_time_t expires;
    } at[SHELF];
    int n, gets, puts;
} shelf_t;

static shelf_t shelf;

static int shelf_find(const char *key, apr_size_t len)
{
    int i;

    for (i = 0; i < shelf.n; i++) {
        if (shelf.at[i].key_len == len
            && memcmp(shelf.at[i].key, key, len) == 0) {
            break;
        }
    }
    return i;
}

static apr_size_t shelf_get(void *baton, const char *key, apr_size_t key_len,
                            void *buf, apr_size_t buf_len)
{
    int i = shelf_find(key, key_len);

    (void)baton;
    shelf.gets++;
    if (i == shelf.n || shelf.at[i].len > buf_len) {
        return 0;
    }
    memcpy(buf, shelf.at[i].bytes, shelf.at[i].len);
    return shelf.at[i].len;
}

static void shelf_put(void *baton, const char *key, apr_size_t key_len,
                      const void *bytes, apr_size_t len, apr_time_t expires)
{
    int i = shelf_find(key, key_len);

    (void)baton;
    assert_true(i < SHELF && key_len <= 64 && len <= CASP_MAILBOX_MAX);
    shelf.puts++;
    memcpy(shelf.at[i].key, key, key_len);
    memcpy(shelf.at[i].bytes, bytes, len);
    shelf.at[i].key_len = key_len;
    shelf.at[i].len = len;
    shelf.at[i].expires = expires;
    shelf.n += i == shelf.n;
}

static const casp_cache2_t second = {shelf_get, shelf_put, NULL};

static int set_up_shelf(void **state)
{
    memset(&shelf, 0, sizeof(shelf));
    return set_up_tame(state);
}

/* A child that has just been born. */
static casp_mailboxes_t *newborn(const char *org)
{
    return casp_mailboxes_create(pool, &usual, &second, org);
}

static void test_second_level(void **state)
{
    casp_mailboxes_t *boxes = newborn("o");
    casp_mailbox_stats_t stats;

    (void)state;
    EXPECT("ada", noon, OK, MISS, 1);
    assert_int_equal(shelf.puts, 1);
    assert_int_equal(shelf.at[0].expires, noon + SEC(3600));

    boxes = newborn("o");
    EXPECT("ada", noon + SEC(200), OK, HIT, 1);
    EXPECT("ADA", noon + SEC(200), OK, HIT, 1);
    casp_mailboxes_stats(boxes, &stats);
    assert_int_equal(stats.second, 1);
    assert_int_equal(stats.hits, 2);
    answer_t a = ask(boxes, "ada", noon + SEC(201));
    assert_int_equal(a.m->read_at, noon);
    assert_string_equal(casp_mailbox_text(a.m, CASP_MB_SAM), "ada");
    /* by the time it was read, not by the time it was fetched */
    EXPECT("ada", noon + SEC(300), OK, MISS, 2);

    /* another organisation has another ada */
    boxes = newborn("p");
    EXPECT("ada", noon + SEC(300), OK, MISS, 3);
}

static void test_second_level_stale(void **state)
{
    casp_mailboxes_t *boxes = newborn("o");

    (void)state;
    EXPECT("ada", noon, OK, MISS, 1);
    /* too old to serve while the source answers */
    boxes = newborn("o");
    EXPECT("ada", noon + SEC(300), OK, MISS, 2);
    /* good enough while it does not */
    boxes = newborn("o");
    tame.how = CASP_DIR_UNAVAILABLE;
    EXPECT("ada", noon + SEC(1000), OK, STALE, 3);
    EXPECT("ada", noon + SEC(1001), OK, STALE, 3);
    /* until it is too old for that */
    boxes = newborn("o");
    EXPECT("ada", noon + SEC(3900), AWAY, MISS, 4);
    /* and another machine's clock may be ahead, a little */
    boxes = newborn("o");
    EXPECT("ada", noon + SEC(290), OK, HIT, 4);
    boxes = newborn("o");
    EXPECT("ada", noon - SEC(100), AWAY, MISS, 5);
}

static void test_second_level_gone(void **state)
{
    casp_mailboxes_t *boxes = newborn("o");
    casp_user_key_t key = key_of(CASP_KEY_LOGON, "contoso", "ada");

    (void)state;
    /* names that nobody has stay here */
    tame.matches = 0;
    EXPECT("nobody", noon, NONE, MISS, 1);
    assert_int_equal(shelf.puts, 0);

    /* a mailbox that goes, goes from there, too */
    tame.matches = 1;
    EXPECT("ada", noon, OK, MISS, 2);
    tame.matches = 0;
    EXPECT("ada", noon + SEC(300), NONE, MISS, 3);
    boxes = newborn("o");
    tame.how = CASP_DIR_UNAVAILABLE;
    EXPECT("ada", noon + SEC(301), AWAY, MISS, 4);

    /* and so does one that is forgotten */
    tame.how = CASP_DIR_OK;
    tame.matches = 1;
    EXPECT("ada", noon + SEC(302), OK, MISS, 5);
    casp_mailboxes_forget(boxes, &key);
    EXPECT("ada", noon + SEC(302), OK, MISS, 6);
}

static void test_second_level_rubbish(void **state)
{
    static const int spoilt[] = {0, 2, 4, 100, 160, 170, -1};
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(spoilt); i++) {
        casp_mailboxes_t *boxes = newborn("o");
        apr_uint32_t calls;

        memset(&shelf, 0, sizeof(shelf));
        ask(boxes, "ada", noon);
        assert_int_equal(shelf.n, 1);
        if (spoilt[i] < 0) {
            shelf.at[0].len--;
        }
        else {
            memset(shelf.at[0].bytes + spoilt[i], 0xff,
                   shelf.at[0].len - (apr_size_t)spoilt[i]);
        }
        calls = tame.calls;
        boxes = newborn("o");
        EXPECT("ada", noon, OK, MISS, calls + 1);
    }
}

#define TEST(name, up) cmocka_unit_test_setup_teardown(name, up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hit_and_miss, set_up_tame),
        TEST(test_kinds_apart, set_up_tame),
        TEST(test_account, set_up_tame),
        TEST(test_negative, set_up_tame),
        TEST(test_ambiguous, set_up_tame),
        TEST(test_stale, set_up_tame),
        TEST(test_switched_off, set_up_tame),
        TEST(test_forget, set_up_tame),
        TEST(test_no_topology, set_up_tame),
        TEST(test_bounds, set_up_tame),
        TEST(test_one_flight, set_up_tame),
        TEST(test_waiters_are_bounded, set_up_tame),
        TEST(test_waiters_take_stale, set_up_tame),
        TEST(test_threads, set_up_tame),
        TEST(test_second_level, set_up_shelf),
        TEST(test_second_level_stale, set_up_shelf),
        TEST(test_second_level_gone, set_up_shelf),
        TEST(test_second_level_rubbish, set_up_shelf),
    };

    apr_initialize();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
