/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What an ActiveSync request says about itself, in both forms; and what is
 * neither, which must say nothing.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <apr_base64.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "eas.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
/* bytes and their number, without the NUL */
#define B(s) s, sizeof(s) - 1

static apr_pool_t *pool;

static void same(const char *what, const char *got, const char *wanted)
{
    if ((!got) != (!wanted) || (got && strcmp(got, wanted) != 0)) {
        fail_msg("%s: got %s, wanted %s", what, got ? got : "(null)",
                 wanted ? wanted : "(null)");
    }
}

/* ------------------------------------------------------------------- plain */

typedef struct {
    const char *query, *header;
    int version;
    const char *command, *user, *id, *type;
} plain_t;

static const plain_t plains[] = {
    {"Cmd=Sync&User=ada&DeviceId=v140Device&DeviceType=SmartPhone", "14.1",
     141, "Sync", "ada", "v140Device", "SmartPhone"},
    /* S000's and S002's own lines */
    {"User=testUser&DeviceId=xxx&DeviceType=PocketPC", NULL, 0, NULL,
     "testUser", "xxx", "PocketPC"},
    {"User=user&DeviceId=foo&DeviceType=PocketPC&Cmd=Settings", "12.1", 121,
     "Settings", "user", "foo", "PocketPC"},
    /* keys and commands in any case; the first of its kind counts */
    {"cmd=pInG&USER=a&deviceid=b&DEVICETYPE=c&Cmd=Sync&User=d", "2.5", 25,
     "Ping", "a", "b", "c"},
    /* escapes and spaces */
    {"Cmd=Folder%53ync&User=CONTOSO%5cada+l&DeviceType=Windows%20Phone",
     "16.1", 161, "FolderSync", "CONTOSO\\ada l", NULL, "Windows Phone"},
    {"User=j%C3%BCrgen&Cmd=Sync", "14.0", 140, "Sync", "j\xc3\xbcrgen", NULL,
     NULL},
    /* nothing to be had */
    {NULL, NULL, 0, NULL, NULL, NULL, NULL},
    {"", "", 0, NULL, NULL, NULL, NULL},
    {"&&&=&=x&Cmd&User=&DeviceId", "x", 0, NULL, NULL, NULL, NULL},
    {"Cmd=Format&User=a", "1.0", 10, NULL, "a", NULL, NULL},
    {"Cmd=", NULL, 0, NULL, NULL, NULL, NULL},
    {"Cmd=ProxyLogin", NULL, 0, NULL, NULL, NULL, NULL},
    /* what no log should hold */
    {"User=a%0d%0aX&DeviceId=b%00c&DeviceType=%zz&Cmd=Sync%09", NULL, 0, NULL,
     NULL, NULL, NULL},
    {"User=%7f&DeviceId=ok", NULL, 0, NULL, NULL, "ok", NULL},
    {"&Cmd=Ping&User=a", "14.0", 140, "Ping", "a", NULL, NULL},
};

static void test_plain(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(plains); i++) {
        const plain_t *c = &plains[i];
        casp_eas_t eas;
        casp_eas_read(pool, c->query, c->header, &eas);
        print_message("%s\n", c->query ? c->query : "(none)");
        assert_false(eas.encoded);
        assert_int_equal(eas.version, c->version);
        same("command", eas.command, c->command);
        same("user", eas.user, c->user);
        same("id", eas.device_id, c->id);
        same("type", eas.device_type, c->type);
    }
}

static void test_header(void **state)
{
    static const struct {
        const char *header;
        int version;
    } cases[] = {{"2.5", 25},
                 {"1.0", 10},
                 {"12.0", 120},
                 {"12.1", 121},
                 {" 14.1\t", 141},
                 {"16.1", 161},
                 {"99.9", 999},
                 {"140", 0},
                 {"14", 0},
                 {"14.", 0},
                 {".1", 0},
                 {"14.10", 0},
                 {"14.1.2", 0},
                 {"-14.1", 0},
                 {"+14.1", 0},
                 {"0x14.1", 0},
                 {"140.1", 0},
                 {"14 .1", 0},
                 {"14.0, 14.1", 0},
                 {"14.1, 14.1", 0},
                 {"4294967310.1", 0},
                 {"14.1;x", 0},
                 {"", 0}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        casp_eas_t eas;
        casp_eas_read(pool, "Cmd=Sync", cases[i].header, &eas);
        print_message("\"%s\"\n", cases[i].header);
        assert_int_equal(eas.version, cases[i].version);
        same("command", eas.command, "Sync");
    }
}

/* ------------------------------------------------------------------ packed */

typedef struct {
    const char *bytes;
    size_t len;
    bool encoded;
    int version;
    const char *command, *user, *id, *type;
} packed_t;

#define DEVICE \
    "\x06"     \
    "phone1"
#define KEY "\x04\x9f\x38\x9f\x04"
#define TYPE \
    "\x0a"   \
    "SmartPhone"
#define REST DEVICE KEY TYPE

static const packed_t packed[] = {
    {B("\x8d\x00\x09\x04" REST), true, 141, "Sync", NULL, "phone1",
     "SmartPhone"},
    {B("\x79\x12\x09\x04" REST), true, 121, "Ping", NULL, "phone1",
     "SmartPhone"},
    {B("\xa1\x17\x09\x04" REST), true, 161, "Find", NULL, "phone1",
     "SmartPhone"},
    {B("\x8c\x05\x09\x04" REST), true, 140, "GetHierarchy", NULL, "phone1",
     "SmartPhone"},
    {B("\x8c\x09\x07\x04" DEVICE "\x00" TYPE), true, 140, "FolderSync", NULL,
     "phone1", "SmartPhone"},
    /* an id of raw bytes; a command that nobody knows */
    {B("\x8c\x18\x07\x04\x04\x00\xff\x20\x41\x00" TYPE), true, 140, NULL, NULL,
     "00FF2041", "SmartPhone"},
    /* whose base64 is full of "+" */
    {B("\x8c\x00\x07\x04\x04\x01\xfb\xef\xbe\x00\x00"), true, 140, "Sync",
     NULL, "01FBEFBE", NULL},
    {B("\x8c\xff\x07\x04" REST), true, 140, NULL, NULL, "phone1",
     "SmartPhone"},
    /* parameters: attachment, user, options */
    {B("\x8d\x00\x09\x04" REST "\x00\x03"
       "a:b"
       "\x08\x05"
       "ada l"
       "\x07\x01"
       "\x02"),
     true, 141, "Sync", "ada l", "phone1", "SmartPhone"},
    {B("\x8d\x00\x09\x04" REST "\x08\x03"
       "ada"
       "\x08\x03"
       "bob"),
     true, 141, "Sync", "ada", "phone1", "SmartPhone"},
    {B("\x8d\x00\x09\x04" REST "\x08\x00"), true, 141, "Sync", NULL, "phone1",
     "SmartPhone"},
    {B("\x8d\x00\x09\x04" REST "\x08\x03"
       "a\nb"),
     true, 141, "Sync", NULL, "phone1", "SmartPhone"},
    {B("\x8d\x00\x00\x00\x00\x00\x00"), true, 141, "Sync", NULL, NULL, NULL},
    {B("\x8d\x00\x00\x00\x00\x00\x02\x01\x02"), true, 141, "Sync", NULL, NULL,
     NULL},
    /* not the shape */
    {B(""), false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d"), false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04"), false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04\x00\x00"), false, 0, NULL, NULL, NULL, NULL},
    {B("\x00\x00\x09\x04" REST), false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04\xff"
       "phone1"),
     false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04" DEVICE "\x03"
       "abc" TYPE),
     false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04" DEVICE KEY "\x0b"
       "SmartPhone"),
     false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04" REST "\x08"), false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04" REST "\x08\x04"
       "ada"),
     false, 0, NULL, NULL, NULL, NULL},
    {B("\x8d\x00\x09\x04" REST "\x08\x03"
       "ada"
       "\x00"),
     false, 0, NULL, NULL, NULL, NULL},
};

static char *coded(const void *bytes, size_t len)
{
    char *s = apr_palloc(pool, (apr_size_t)apr_base64_encode_len((int)len));
    apr_base64_encode_binary(s, bytes, (int)len);
    return s;
}

/* As a careful device escapes it. */
static char *escaped(const char *s)
{
    char *out = apr_palloc(pool, 3 * strlen(s) + 1), *to = out;
    for (; *s; s++) {
        to += snprintf(to, 4, strchr("+/=", *s) ? "%%%02X" : "%c", *s);
    }
    *to = '\0';
    return out;
}

static void check_packed(const packed_t *c, const char *query)
{
    casp_eas_t eas;

    print_message("%s\n", query);
    casp_eas_read(pool, query, "16.0", &eas);
    assert_int_equal(eas.encoded, c->encoded);
    /* the header is heard where the query is no packed one */
    assert_int_equal(eas.version, c->encoded ? c->version : 160);
    same("command", eas.command, c->command);
    same("user", eas.user, c->user);
    same("id", eas.device_id, c->id);
    same("type", eas.device_type, c->type);
}

static void test_packed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(packed); i++) {
        char *query = coded(packed[i].bytes, packed[i].len);
        check_packed(&packed[i], query);
        check_packed(&packed[i], escaped(query));
        check_packed(&packed[i], apr_pstrcat(pool, query, "&x=y", NULL));
        query[strcspn(query, "=")] = '\0'; /* without its padding */
        check_packed(&packed[i], query);
    }
}

/* The specification's vector: no header at all, first byte 141. */
static void test_first_byte(void **state)
{
    casp_eas_t eas;

    (void)state;
    casp_eas_read(pool, coded(B("\x8d\x00\x09\x04" REST)), NULL, &eas);
    assert_true(eas.encoded);
    assert_int_equal(eas.version, 141);
}

static void test_not_base64(void **state)
{
    const char *good = coded(B("\x8d\x00\x09\x04" REST));
    char *bad;
    casp_eas_t eas;

    (void)state;
    for (size_t i = 0; good[i]; i++) {
        static const char wrong[] = "-_ %.,;*\x80\x01";
        for (size_t w = 0; w < sizeof wrong - 1; w++) {
            bad = apr_pstrdup(pool, good);
            bad[i] = wrong[w];
            casp_eas_read(pool, bad, "14.0", &eas);
            assert_false(eas.encoded);
            assert_int_equal(eas.version, 140);
        }
    }
    /* escapes that are none, or hide a NUL; padding in odd places */
    static const char *const odd[] = {"%", "%3", "%3G", "%00",
                                      "=", "==", "===", "%3D%3D%3D"};
    for (size_t i = 0; i < COUNT(odd); i++) {
        casp_eas_read(pool, apr_pstrcat(pool, good, odd[i], "A", NULL), NULL,
                      &eas);
        assert_false(eas.encoded);
        casp_eas_read(pool, apr_pstrcat(pool, odd[i], good, NULL), NULL, &eas);
        assert_false(eas.encoded);
    }
    casp_eas_read(pool, apr_pstrcat(pool, good, "A", NULL), NULL, &eas);
    assert_false(eas.encoded); /* six bits too many */
    casp_eas_read(pool, apr_pstrcat(pool, "x=y&", good, NULL), "14.0", &eas);
    assert_false(eas.encoded);
    assert_int_equal(eas.version, 140);
}

/* Longer than any device's is not read. */
static void test_long(void **state)
{
    unsigned char bytes[4096] = {0x8d, 0, 9, 4, 0, 0, 0};
    casp_eas_t eas;

    (void)state;
    /* all of it parameters of no length: the shape is right */
    casp_eas_read(pool, coded(bytes, 1025), NULL, &eas);
    assert_true(eas.encoded);
    casp_eas_read(pool, coded(bytes, 4095), NULL, &eas);
    assert_false(eas.encoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),      cmocka_unit_test(test_header),
        cmocka_unit_test(test_packed),     cmocka_unit_test(test_first_byte),
        cmocka_unit_test(test_not_base64), cmocka_unit_test(test_long),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
