/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * test_ldif.c: exports as ldifde and ldapsearch write them, and as nobody
 * should: broken, hostile, huge.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "ldif.h"

static apr_pool_t *pool;

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static apr_array_header_t *entries, *problems;

static void parse_bytes(const char *text, apr_size_t len)
{
    problems = apr_array_make(pool, 1, sizeof(const char *));
    casp_ldif_parse(pool, text, len, &entries, problems);
}

static void parse(const char *text)
{
    /* A copy of its own size, so that reading past the end is seen. */
    apr_size_t len = strlen(text);
    char *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    parse_bytes(copy, len);
    free(copy);
}

static const casp_entry_t *entry(int i)
{
    assert_true(i < entries->nelts);
    return APR_ARRAY_IDX(entries, i, const casp_entry_t *);
}

static const char *problem(int i)
{
    assert_true(i < problems->nelts);
    return APR_ARRAY_IDX(problems, i, const char *);
}

/* One entry with one value of "a": all the ways to write it. */
static const struct {
    const char *text, *value;
} good[] = {
    {"dn: cn=x\na: v\n", "v"},
    {"dn: cn=x\na: v", "v"},
    {"dn: cn=x\r\na: v\r\n\r\n", "v"},
    {"dn: cn=x\na:v\n", "v"},
    {"DN:cn=x\na:   v\n", "v"},
    {"version: 1\n\ndn: cn=x\na: v\n", "v"},
    {"version: 1\ndn: cn=x\na: v\n", "v"},
    {"\xef\xbb\xbf"
     "dn: cn=x\na: v\n",
     "v"},
    {"# hello\n# a\n  folded comment\ndn: cn=x\n# b\na: v\n", "v"},
    {"dn: cn=x\nchangetype: add\na: v\n", "v"},
    {"dn: cn=x\ncontrol: 1.2.3 true\nchangetype: Add\na: v\n", "v"},
    {"dn: cn=x\na: lo\n ng\n er\n", "longer"},
    {"dn: cn=x\r\na: lo\r\n ng\r\n  er\r\n", "long er"},
    {"dn: cn\n =x\na\n :\n  v\n", "v"},
    {"dn: cn=x\na:: dg==\n", "v"},
    {"dn: cn=x\na:: TcO8bm\n NoZW4=  \n", "M\xc3\xbcnchen"},
    {"dn:: Y249eA==\na: v\n", "v"},
    {"dn: cn=x\na:\n", ""},
    {"dn: cn=x\na::\n", ""},
    {"dn: cn=x\na: a:b <c>\n", "a:b <c>"},
    {"dn: cn=x\na;binary: v\n", "v"},
    {"dn: cn=x\na;range=0-1: v\n", "v"},
    {"\n\n\r\n\ndn: cn=x\na: v\n\n\n", "v"},
    {"dn: cn=x\na: v\n\nsearch: 2\nresult: 0 Success\n\n"
     "# numResponses: 3\n# numEntries: 2\n",
     "v"},
    {"ref: ldap://other/DC=x\n\ndn: cn=x\na: v\n", "v"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        parse(good[i].text);
        if (problems->nelts) {
            fail_msg("%d: %s", (int)i, problem(0));
        }
        assert_int_equal(entries->nelts, 1);
        assert_string_equal(entry(0)->dn, "cn=x");
        assert_int_equal(entry(0)->attrs->nelts, 1);
        const casp_attr_t *a = casp_entry_attr(entry(0), "a");

        assert_non_null(a);
        assert_int_equal(a->nvalues, 1);
        assert_string_equal(a->values[0].data, good[i].value);
        assert_int_equal(a->values[0].len, strlen(good[i].value));
    }
}

/* Records that are left out, and what is said of them; the one before and
 * the one behind must be read. */
static const struct {
    const char *text, *said;
} bad[] = {
    {"dn: cn=x\na\n", "line 4: a line without a colon"},
    {"dn: cn=x\na: v\n-\n", "without a colon"},
    {"dn: cn=x\na:: d===\n", "broken base64"},
    {"dn: cn=x\na:: dg=\n", "broken base64"},
    {"dn: cn=x\na:: d g==\n", "broken base64"},
    {"dn: cn=x\na:: =dg=\n", "broken base64"},
    {"dn: cn=x\na:: ====\n", "broken base64"},
    {"dn: cn=x\na:: dgdg!===\n", "broken base64"},
    {"dn: cn=x\na:< file:///etc/passwd\n", "by URL"},
    {"dn: cn=x\na\n :\n < file:///etc/passwd\n", "by URL"},
    {"dn:< file:///etc/passwd\na: v\n", "by URL"},
    {"include: file:///etc/passwd\n", "include"},
    {"dn: cn=x\ninclude: file:///etc/passwd\n", "include"},
    {"dn: cn=x\nchangetype: modify\nreplace: a\na: v\n-\n", "without a"},
    {"dn: cn=x\nchangetype: delete\n", "changetype: add"},
    {"dn: cn=x\nchangetype: modrdn\nnewrdn: cn=y\n", "changetype: add"},
    {"a: v\n", "begin with \"dn:\""},
    {" folded: x\ndn: cn=x\na: v\n", "attribute's name"},
    {"dn: cn=x\n: v\n", "attribute's name"},
    {"dn: cn=x\na b: v\n", "attribute's name"},
    {"dn: cn=x\n\xc3\xbc: v\n", "attribute's name"},
    {"dn:: Y249eAB5\na: v\n", "holds a NUL"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        parse(apr_pstrcat(pool, "dn: cn=1\na: v\n\n", bad[i].text,
                          "\ndn: cn=2\na: v\n", NULL));
        if (entries->nelts != 2 || problems->nelts != 1) {
            fail_msg("%d: %d entries, %d problems", (int)i, entries->nelts,
                     problems->nelts);
        }
        assert_string_equal(entry(0)->dn, "cn=1");
        assert_string_equal(entry(1)->dn, "cn=2");
        if (!strstr(problem(0), bad[i].said)) {
            fail_msg("%d: %s", (int)i, problem(0));
        }
        assert_memory_equal(problem(0), "line 4: ", 8);
    }
}

static void test_nul(void **state)
{
    static const char text[] = "dn: cn=1\na: v\n\ndn: cn=x\na: v\0w\n\n"
                               "dn: cn=2\na: v\n";

    (void)state;
    parse_bytes(text, sizeof(text) - 1);
    assert_int_equal(entries->nelts, 2);
    assert_int_equal(problems->nelts, 1);
    assert_non_null(strstr(problem(0), "NUL"));
    /* In base64 a NUL is a byte like any other. */
    parse("dn: cn=x\na:: AAEA\n");
    assert_int_equal(problems->nelts, 0);
    assert_int_equal(casp_entry_attr(entry(0), "a")->values[0].len, 3);
    assert_memory_equal(casp_entry_attr(entry(0), "a")->values[0].data,
                        "\0\1\0", 4);
}

static void test_several(void **state)
{
    (void)state;
    /* Two files, one behind the other, with and without an empty line, with
     * and without marks. */
    parse("dn: cn=1\na: v\ndn: cn=2\na: v\n\n\xef\xbb\xbf"
          "dn: cn=3\n"
          "\xef\xbb\xbfversion: 1\ndn: cn=4\na: v\n");
    assert_int_equal(problems->nelts, 0);
    assert_int_equal(entries->nelts, 4);
    assert_string_equal(entry(1)->dn, "cn=2");
    assert_string_equal(entry(3)->dn, "cn=4");
    assert_int_equal(entry(0)->attrs->nelts, 1);

    /* One entry in two records, spelled differently. */
    parse("dn: CN=a, DC=b\nx: 1\n\ndn: cn=c\n\ndn: cn=A,dc=b\nx: 2\ny: 3\n");
    assert_int_equal(entries->nelts, 2);
    assert_int_equal(casp_entry_attr(entry(0), "x")->nvalues, 2);
    assert_string_equal(casp_entry_str(entry(0), "y"), "3");

    parse("");
    assert_int_equal(entries->nelts, 0);
    assert_int_equal(problems->nelts, 0);
    parse_bytes("\xff\xfe"
                "d\0n\0",
                6);
    assert_int_equal(entries->nelts, 0);
    assert_non_null(strstr(problem(0), "UTF-16"));
    /* Nobody listens: still no crash. */
    casp_ldif_parse(pool, "nonsense\n\n", 10, &entries, NULL);
    assert_int_equal(entries->nelts, 0);
}

static void test_bounds(void **state)
{
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, pool);
    /* More problems than are told. */
    apr_size_t n = 100000;
    char *text = apr_palloc(p, 3 * n + 1);

    for (apr_size_t i = 0; i < n; i++) {
        memcpy(text + 3 * i, "x\n\n", 4);
    }
    parse_bytes(text, 3 * n);
    assert_int_equal(problems->nelts, 100);
    assert_non_null(strstr(problem(99), "more problems"));

    /* An attribute name for every value would make every look-up slow. */
    apr_array_header_t *parts = apr_array_make(p, 2000, sizeof(char *));

    APR_ARRAY_PUSH(parts, const char *) = "dn: cn=x";
    for (int i = 0; i < 1001; i++) {
        APR_ARRAY_PUSH(parts, const char *) = apr_psprintf(p, "a%d: v", i);
    }
    parse(apr_array_pstrcat(p, parts, '\n'));
    assert_int_equal(entries->nelts, 0);
    assert_non_null(strstr(problem(0), "1000 attributes"));

    char *dn = apr_palloc(p, 5001);

    memset(dn, 'x', 5000);
    dn[5000] = '\0';
    parse(apr_pstrcat(p, "dn: ", dn, "\na: v\n", NULL));
    assert_int_equal(entries->nelts, 0);
    assert_non_null(strstr(problem(0), "longer than"));
    apr_pool_destroy(p);
}

/* The cost of these must grow with their length, not with its square. */
static void test_linear(void **state)
{
    static const char *const patterns[] = {"dn: cn=x\n",
                                           "a: v\n",
                                           "a\n ",
                                           "\n ",
                                           "#",
                                           "# \n",
                                           ":",
                                           "::",
                                           "a:: AAAA",
                                           "\r",
                                           "\r\n",
                                           "\xef\xbb\xbf",
                                           "dn: cn=x\na: v\na: w\n",
                                           "a: v\nb: v\n",
                                           "\n",
                                           " ",
                                           "dn: a,\n ,\"\n"};
    static const char *const heads[] = {
        "", "dn: cn=x\n", "dn: ", "dn: cn=x\na: ", "dn: cn=x\na:: "};
    apr_size_t n = 1 << 20;
    char *text = malloc(n);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < COUNT(patterns) * COUNT(heads); i++) {
        const char *head = heads[i / COUNT(patterns)];
        const char *pattern = patterns[i % COUNT(patterns)];
        apr_size_t len = strlen(pattern), head_len = strlen(head);
        apr_pool_t *outer = pool;

        memcpy(text, head, head_len);
        for (apr_size_t k = head_len; k < n; k++) {
            text[k] = pattern[(k - head_len) % len];
        }
        apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
        apr_time_t start = apr_time_now();
        parse_bytes(text, n);
        apr_time_t took = apr_time_now() - start;
        apr_pool_destroy(pool);
        pool = outer;
        if (took > apr_time_from_sec(20)) {
            fail_msg("%d took %d ms", (int)i, (int)(took / 1000));
        }
    }
    free(text);
}

static void test_noise(void **state)
{
    static const char *const words[] = {
        "dn:",          "dn: cn=x", ":",          "::",
        ":<",           " ",        "\n",         "\n\n",
        "\r\n",         "#",        "include: ",  "changetype: add\n",
        "version: 1\n", "a: b\n",   "=",          "A",
        "\xef\xbb\xbf", "\xff",     "objectClass"};

    (void)state;
    srand(11);
    for (int i = 0; i < 20000; i++) {
        apr_pool_t *outer = pool;
        char text[128];
        apr_size_t len = 0;

        while (len < 100) {
            if (rand() % 8 == 0) {
                text[len++] = (char)rand();
                continue;
            }
            const char *w = words[(size_t)rand() % COUNT(words)];

            memcpy(text + len, w, strlen(w));
            len += strlen(w);
        }
        char *copy = malloc(len);

        assert_non_null(copy);
        memcpy(copy, text, len);
        apr_pool_create(&pool, outer);
        parse_bytes(copy, len);
        apr_pool_destroy(pool);
        pool = outer;
        free(copy);
    }
}

/* Every beginning of a good export is read without a crash. */
static void test_truncated(void **state)
{
    static const char text[] =
        "version: 1\r\n\r\ndn:: Y249eA==\r\nchangetype: add\r\n"
        "objectClass: top\r\na:: TcO8bmNo\r\n ZW4=\r\n\r\ndn: cn=y\r\n"
        "b: 1\r\n";

    (void)state;
    for (apr_size_t len = 0; len < sizeof(text); len++) {
        char *copy = malloc(len ? len : 1);

        assert_non_null(copy);
        memcpy(copy, text, len);
        parse_bytes(copy, len);
        assert_true(entries->nelts <= 2);
        free(copy);
    }
}

static casp_entry_t *sample(void)
{
    casp_entry_t *e = casp_entry_make(pool, "CN=M\xc3\xbcller\\, A,DC=b");
    char all[256];

    for (int i = 0; i < 256; i++) {
        all[i] = (char)i;
    }
    casp_entry_add(pool, e, "all", all, sizeof(all));
    for (apr_size_t i = 0; i < 5; i++) {
        casp_entry_add(pool, e, "some", all, i);
    }
    static const char *const texts[] = {"plain",  "",     " lead",
                                        "trail ", ":c",   "<c",
                                        "a: b",   "# no", "line\nfeed"};

    for (size_t i = 0; i < COUNT(texts); i++) {
        casp_entry_add(pool, e, "text", texts[i], strlen(texts[i]));
    }
    for (int i = 60; i < 160; i++) {
        char *long_one = apr_palloc(pool, (apr_size_t)i + 1);

        memset(long_one, 'x', (apr_size_t)i);
        long_one[i] = '\0';
        casp_entry_add(pool, e, "folded", long_one, (apr_size_t)i);
    }
    return e;
}

static void assert_same(const casp_entry_t *a, const casp_entry_t *b)
{
    assert_string_equal(a->dn, b->dn);
    assert_int_equal(a->attrs->nelts, b->attrs->nelts);
    for (int i = 0; i < a->attrs->nelts; i++) {
        const casp_attr_t *x = &APR_ARRAY_IDX(a->attrs, i, casp_attr_t);
        const casp_attr_t *y = &APR_ARRAY_IDX(b->attrs, i, casp_attr_t);

        assert_string_equal(x->name, y->name);
        assert_int_equal(x->nvalues, y->nvalues);
        for (int k = 0; k < x->nvalues; k++) {
            assert_int_equal(x->values[k].len, y->values[k].len);
            if (x->values[k].len) {
                assert_memory_equal(x->values[k].data, y->values[k].data,
                                    x->values[k].len);
            }
        }
    }
}

static void test_files(void **state)
{
    apr_array_header_t *out = apr_array_make(pool, 2, sizeof(void *));
    const char *tmp, *path;
    apr_finfo_t info;

    (void)state;
    assert_int_equal(apr_temp_dir_get(&tmp, pool), APR_SUCCESS);
    char *dir = apr_pstrcat(pool, tmp, "/casp-ldif-XXXXXX", NULL);

    assert_non_null(mkdtemp(dir));
    path = apr_pstrcat(pool, dir, "/state.ldif", NULL);
    APR_ARRAY_PUSH(out, casp_entry_t *) = sample();
    APR_ARRAY_PUSH(out, casp_entry_t *) = casp_entry_make(pool, "cn=empty");
    assert_int_equal(casp_ldif_write(pool, path, out,
                                     "a comment\ndn: cn=forged"),
                     APR_SUCCESS);
    assert_int_equal(apr_stat(&info, path, APR_FINFO_PROT, pool), APR_SUCCESS);
    assert_int_equal(info.protection, APR_UREAD | APR_UWRITE);

    problems = apr_array_make(pool, 1, sizeof(const char *));
    assert_int_equal(casp_ldif_read(pool, path, &entries, problems),
                     APR_SUCCESS);
    assert_int_equal(problems->nelts, 0);
    assert_int_equal(entries->nelts, 2);
    assert_same(APR_ARRAY_IDX(out, 0, casp_entry_t *), entry(0));
    assert_same(APR_ARRAY_IDX(out, 1, casp_entry_t *), entry(1));

    /* Other readers are stricter than ours. */
    static char bytes[65536];
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    bytes[fread(bytes, 1, sizeof(bytes) - 1, f)] = '\0';
    fclose(f);
    assert_non_null(strstr(bytes, "\ntext:: OmM=\n"));
    assert_non_null(strstr(bytes, "\n# dn: cn=forged\n"));
    for (const char *line = bytes; *line;) {
        apr_size_t len = strcspn(line, "\n");

        assert_true(len <= 76);
        line += len + (line[len] ? 1 : 0);
    }

    /* Over the old one, and nothing else is left in the folder. */
    apr_array_clear(out);
    assert_int_equal(casp_ldif_write(pool, path, out, NULL), APR_SUCCESS);
    assert_int_equal(casp_ldif_read(pool, path, &entries, NULL), APR_SUCCESS);
    assert_int_equal(entries->nelts, 0);
    assert_int_equal(apr_file_remove(path, pool), APR_SUCCESS);

    assert_int_not_equal(casp_ldif_read(pool, path, &entries, NULL),
                         APR_SUCCESS);
    assert_int_not_equal(casp_ldif_read(pool, dir, &entries, NULL),
                         APR_SUCCESS);
    assert_int_not_equal(casp_ldif_write(pool,
                                         apr_pstrcat(pool, dir, "/no/x", NULL),
                                         out, NULL),
                         APR_SUCCESS);
    /* Renaming over a folder fails and leaves nothing behind. */
    assert_int_not_equal(casp_ldif_write(pool, dir, out, NULL), APR_SUCCESS);
    assert_int_equal(apr_dir_remove(dir, pool), APR_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_nul),    cmocka_unit_test(test_several),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_linear),
        cmocka_unit_test(test_noise),  cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_files),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
