/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Whose mailbox a SOAP header names: one message per row, each also cut at
 * every byte and fed byte by byte.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "anchor.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define S11 "xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'"
#define S12 "xmlns:s='http://www.w3.org/2003/05/soap-envelope'"
#define T "xmlns:t='http://schemas.microsoft.com/exchange/services/2006/types'"
#define NS " " S11 " " T
#define BODY "<s:Body><m:GetFolder xmlns:m='m'/></s:Body></s:Envelope>"
#define WHO(x)                                     \
    "<t:ExchangeImpersonation><t:ConnectingSID>" x \
    "</t:ConnectingSID></t:ExchangeImpersonation>"
#define MSG(x) "<s:Envelope" NS "><s:Header>" WHO(x) "</s:Header>" BODY
#define ADA "<t:PrimarySmtpAddress>ada@contoso.test</t:PrimarySmtpAddress>"
#define HEADER(x) "<s:Envelope" NS "><s:Header>" x "</s:Header>" BODY

static apr_pool_t *top;

static int group_setup(void **state)
{
    (void)state;
    return apr_pool_create(&top, NULL) != APR_SUCCESS;
}

static int group_teardown(void **state)
{
    (void)state;
    apr_pool_destroy(top);
    return 0;
}

typedef struct {
    const char *what, *message;
    const char *name; /* NULL: none */
    casp_key_e kind;
} row_t;

static const row_t rows[] = {
    {"primary address", MSG(ADA), "ada@contoso.test", CASP_KEY_SMTP},
    {"any address", MSG("<t:SmtpAddress>a@b.test</t:SmtpAddress>"), "a@b.test",
     CASP_KEY_SMTP},
    {"principal name", MSG("<t:PrincipalName>ada@ad.test</t:PrincipalName>"),
     "ada@ad.test", CASP_KEY_UPN},
    {"SOAP 1.2",
     "<s:Envelope " S12 " " T "><s:Header>" WHO(ADA) "</s:Header>" BODY,
     "ada@contoso.test", CASP_KEY_SMTP},
    {"declaration, mark and comments",
     "\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>\r\n<!-- a > b -->"
     "<s:Envelope" NS
     "> <!-- </s:Header> --> <s:Header a='>'>" WHO(ADA) "</s:Header  >" BODY,
     "ada@contoso.test", CASP_KEY_SMTP},
    {"other headers before it",
     HEADER("<t:RequestServerVersion Version='Exchange2010_SP2'/>"
            "<t:TimeZoneContext><x><y/></x></t:TimeZoneContext>" WHO(ADA)),
     "ada@contoso.test", CASP_KEY_SMTP},
    {"the default namespace",
     "<Envelope xmlns='http://schemas.xmlsoap.org/soap/envelope/'><Header>"
     "<ExchangeImpersonation xmlns='http://schemas.microsoft.com/exchange/"
     "services/2006/types'><ConnectingSID><SmtpAddress>a@b.test</SmtpAddress>"
     "</ConnectingSID></ExchangeImpersonation></Header>",
     "a@b.test", CASP_KEY_SMTP},
    {"declared where it is used",
     "<s:Envelope " S11 "><s:Header><q:ExchangeImpersonation xmlns:q='http:"
     "//schemas.microsoft.com/exchange/services/2006/types'><q:ConnectingSID>"
     "<q:SmtpAddress>a@b.test</q:SmtpAddress></q:ConnectingSID>"
     "</q:ExchangeImpersonation></s:Header>",
     "a@b.test", CASP_KEY_SMTP},
    {"spaces and CDATA",
     MSG("<t:SmtpAddress>\n <![CDATA[a@]]>b<!-- -->.test </t:SmtpAddress>"),
     "a@b.test", CASP_KEY_SMTP},
    {"CDATA that looks like an end",
     HEADER("<x><![CDATA[</s:Header>]]]]></x>" WHO(ADA)), "ada@contoso.test",
     CASP_KEY_SMTP},
    {"references to characters",
     MSG("<t:SmtpAddress>o&apos;neil&#64;b.test</t:SmtpAddress>"),
     "o'neil@b.test", CASP_KEY_SMTP},
    {"not UTF-8, and said so",
     "<?xml version='1.0' encoding='iso-8859-1'?>" MSG(
         "<t:SmtpAddress>\xe4@b.test</t:SmtpAddress>"),
     "\xc3\xa4@b.test", CASP_KEY_SMTP},
    {"nothing behind the header is looked at",
     "<s:Envelope" NS "><s:Header>" WHO(ADA) "</s:Header><s:Body><<&\x01",
     "ada@contoso.test", CASP_KEY_SMTP},
    {"the first of two",
     HEADER(WHO(ADA) WHO("<t:SmtpAddress>b@b.test"
                         "</t:SmtpAddress>")),
     "ada@contoso.test", CASP_KEY_SMTP},

    {"no impersonation", HEADER("<t:RequestServerVersion/>"), NULL, 0},
    {"no header", "<s:Envelope" NS ">" BODY, NULL, 0},
    {"an empty header", "<s:Envelope" NS "><s:Header/>" BODY, NULL, 0},
    {"a header that comes later",
     "<s:Envelope" NS "><s:Body/><s:Header>" WHO(ADA) "</s:Header>"
                                                      "</s:Envelope>",
     NULL, 0},
    {"in the body",
     "<s:Envelope" NS
     "><s:Header></s:Header><s:Body>" WHO(ADA) "</s:Body></s:Envelope>",
     NULL, 0},
    {"deeper than it belongs", HEADER("<x>" WHO(ADA) "</x>"), NULL, 0},
    {"another namespace",
     "<s:Envelope " S11
     " xmlns:t='urn:t'><s:Header>" WHO(ADA) "</s:Header>" BODY,
     NULL, 0},
    {"an address of another namespace",
     MSG("<SmtpAddress>a@b.test</SmtpAddress>"), NULL, 0},
    {"no SOAP",
     "<s:Envelope xmlns:s='urn:s' " T
     "><s:Header>" WHO(ADA) "</s:Header>" BODY,
     NULL, 0},
    {"no envelope",
     "<s:Umschlag" NS "><s:Header>" WHO(ADA) "</s:Header></s:Umschlag>", NULL,
     0},
    {"a prefix that is not declared",
     "<s:Envelope " S11 "><s:Header>" WHO(ADA) "</s:Header>", NULL, 0},
    {"no @", MSG("<t:SmtpAddress>ada</t:SmtpAddress>"), NULL, 0},
    {"nothing", MSG("<t:SmtpAddress> </t:SmtpAddress>"), NULL, 0},
    {"a line's end in it", MSG("<t:SmtpAddress>a@b&#10;c</t:SmtpAddress>"),
     NULL, 0},
    {"an unknown reference", MSG("<t:SmtpAddress>a@&who;</t:SmtpAddress>"),
     NULL, 0},
    {"a document type",
     "<!DOCTYPE s:Envelope [<!ENTITY a 'a@b.test'>]>" MSG(
         "<t:SmtpAddress>&a;</t:SmtpAddress>"),
     NULL, 0},
    {"a tag in a tag", "<s:Envelope" NS "><s:Header><a <b/></s:Header>", NULL,
     0},
    {"ends that do not match", HEADER("<a><b></a></b>" WHO(ADA)), NULL, 0},
    {"too many ends", "</a></b></c>", NULL, 0},
    {"two roots", "<a/>" MSG(ADA), NULL, 0},
    {"text before it", "hello" MSG(ADA), NULL, 0},
    {"no name", "<><></>", NULL, 0},
    {"JSON", "{\"a\":1}", NULL, 0},
    {"nothing at all", "", NULL, 0}};

static const char *read_it(const char *text, size_t len, casp_key_e *kind,
                           apr_size_t *n)
{
    /* an exact copy lets a sanitizer see one byte too many */
    char *copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    const char *name = casp_anchor_read(top, copy, len, kind, n);
    free(copy);
    return name;
}

static void names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const row_t *r = &rows[i];
        casp_key_e kind = 0;
        apr_size_t n = 0;
        const char *name = read_it(r->message, strlen(r->message), &kind, &n);
        if (!r->name != !name || (name && strcmp(name, r->name)))
            fail_msg("%s: %s", r->what, name ? name : "nothing");
        if (name) {
            assert_int_equal(kind, r->kind);
            assert_int_equal(n, strlen(r->name));
        }
    }
}

/* Cut anywhere: either the whole name or none, and bytes that come one by one
 * make no difference. */
static void pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const row_t *r = &rows[i];
        size_t len = strlen(r->message);
        casp_anchor_scan_t scan = {0};
        for (size_t cut = 0; cut <= len; cut++) {
            casp_key_e kind;
            apr_size_t n;
            casp_anchor_e was = casp_anchor_scan(&scan, r->message, cut);
            const char *name =
                was == CASP_ANCHOR_FOUND
                    ? casp_anchor_parse(top, &scan, r->message, &kind, &n)
                    : NULL;
            if (cut == len)
                assert_true(!r->name == !name);
            if (name)
                assert_string_equal(name, r->name);
            name = read_it(r->message, cut, &kind, &n);
            if (name)
                assert_string_equal(name, r->name);
        }
    }
}

static void stops_early(void **state)
{
    static const char *const none[] = {"<s:Envelope" NS "><s:Body>",
                                       "<s:Envelope" NS "><s:Header/>",
                                       "<!D",
                                       "<![CDATA[",
                                       "{",
                                       "<a/>",
                                       "<\xff\xfe<"};
    (void)state;
    for (size_t i = 0; i < COUNT(none); i++) {
        casp_anchor_scan_t scan = {0};
        assert_int_equal(casp_anchor_scan(&scan, none[i], strlen(none[i])),
                         CASP_ANCHOR_NONE);
    }
    casp_anchor_scan_t scan = {0};
    const char *sofar = "<s:Envelope" NS "><s:Header><t:ExchangeImp";
    assert_int_equal(casp_anchor_scan(&scan, sofar, strlen(sofar)),
                     CASP_ANCHOR_MORE);
    static const char wide[] = "<\0s\0:\0E\0"; /* UTF-16 */
    memset(&scan, 0, sizeof(scan));
    assert_int_equal(casp_anchor_scan(&scan, wide, sizeof(wide) - 1),
                     CASP_ANCHOR_NONE);
}

static void sids(void **state)
{
    static const struct {
        const char *words;
        unsigned char sid[68];
        apr_size_t len;
    } all[] = {{"S-1-5-21-1-2-4294967295-1105",
                {1, 5, 0, 0, 0, 0, 0,   5,   21,  0,   0,    0, 1, 0,
                 0, 0, 2, 0, 0, 0, 255, 255, 255, 255, 0x51, 4, 0, 0},
                28},
               {"s-1-1-0", {1, 1, 0, 0, 0, 0, 0, 1}, 12},
               {"S-1-0-0", {1, 1}, 12},
               {"S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15",
                {1, 15, 0, 0, 0, 0,  0, 5, 1, 0,  0,  0, 2, 0, 0,  0, 3,
                 0, 0,  0, 4, 0, 0,  0, 5, 0, 0,  0,  6, 0, 0, 0,  7, 0,
                 0, 0,  8, 0, 0, 0,  9, 0, 0, 0,  10, 0, 0, 0, 11, 0, 0,
                 0, 12, 0, 0, 0, 13, 0, 0, 0, 14, 0,  0, 0, 15},
                68},
               {"S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16", {0}, 0},
               {"S-1-5", {0}, 0},
               {"S-1-5-", {0}, 0},
               {"S-1--5", {0}, 0},
               {"S-1-5-4294967296", {0}, 0},
               {"S-1-281474976710656-1", {0}, 0},
               {"S-1-5-99999999999999999999999", {0}, 0},
               {"S-2-5-1", {0}, 0},
               {"S-1-5-1x", {0}, 0},
               {"S-1-5-+1", {0}, 0},
               {"ada", {0}, 0}};
    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        const char *message =
            apr_psprintf(top, MSG("<t:SID>%s</t:SID>"), all[i].words);
        casp_key_e kind = 0;
        apr_size_t n = 0;
        const char *sid = read_it(message, strlen(message), &kind, &n);
        assert_true(!sid == !all[i].len);
        if (sid) {
            assert_int_equal(kind, CASP_KEY_ACCOUNT);
            assert_int_equal(n, all[i].len);
            assert_memory_equal(sid, all[i].sid, n);
        }
    }
}

/* A message of the most that is looked at, made to be costly. */
static char *filled(const char *before, const char *each, const char *after)
{
    size_t most = 64 * 1024, n = strlen(before), m = strlen(after);
    char *all = apr_palloc(top, most + 1), *at = all;

    memcpy(at, before, n);
    for (at += n; (size_t)(at - all) + strlen(each) + m <= most;)
        at += strlen(strcpy(at, each));
    strcpy(at, after);
    return all;
}

static void bounded(void **state)
{
    static const char open[] = "<s:Envelope" NS "><s:Header>";
    static const char close[] = WHO(ADA) "</s:Header>";
    static const struct {
        const char *before, *each, *after;
        bool found;
    } all[] = {{open, "<a>", "", false}, /* no stack is deep enough */
               {open, "<t:a xmlns:t='u'>", "", false},
               {open, "<a/>", close, true},
               {open, "<a b='c'/>", close, true},
               {open, "<!---->", close, true},
               {open, "<![CDATA[]]>", close, true},
               {open, "<?a?>", close, true},
               {open, "&amp;", close, true},
               {open, " ", close, true},
               {open, "<!--", "", false},
               {"<s:Envelope" NS " a='", "<", "", false},
               {"<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaaaaaaaa'>",
                "<!ENTITY b '&a;&a;&a;&a;'>", "]>", false}};
    casp_key_e kind;
    apr_size_t n;

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        const char *text = filled(all[i].before, all[i].each, all[i].after);
        const char *name = read_it(text, strlen(text), &kind, &n);
        if (!name != !all[i].found)
            fail_msg("%s", all[i].each);
    }
    /* each level ten of the one before: a billion in the end */
    char *laughs = apr_pstrdup(top, "<!DOCTYPE s:Envelope [<!ENTITY a0 'ha'>");
    for (int i = 1; i < 10; i++) {
        laughs = apr_psprintf(top, "%s<!ENTITY a%d '", laughs, i);
        for (int k = 0; k < 10; k++)
            laughs = apr_psprintf(top, "%s&a%d;", laughs, i - 1);
        laughs = apr_pstrcat(top, laughs, "'>", NULL);
    }
    laughs = apr_pstrcat(top, laughs, "]>",
                         MSG("<t:SmtpAddress>&a9;@b</t:SmtpAddress>"), NULL);
    assert_null(read_it(laughs, strlen(laughs), &kind, &n));
    /* a name may be long, but not endless */
    const char *endless = filled("<s:Envelope" NS "><s:Header>"
                                 "<t:ExchangeImpersonation><t:ConnectingSID>"
                                 "<t:SmtpAddress>",
                                 "a",
                                 "@b</t:SmtpAddress></t:ConnectingSID>"
                                 "</t:ExchangeImpersonation></s:Header>");
    assert_null(read_it(endless, strlen(endless), &kind, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names), cmocka_unit_test(pieces),
        cmocka_unit_test(stops_early), cmocka_unit_test(sids),
        cmocka_unit_test(bounded)};

    apr_initialize();
    int rc = cmocka_run_group_tests(tests, group_setup, group_teardown);
    apr_terminate();
    return rc;
}
