/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions: a life from slot to slot with a clock that the test sets, cookies
 * that were tampered with, and rings that are rolled.
 *
 * The seal is made a second time here, from its description alone, so that
 * authentic nonsense can be sent in and a change of the format is noticed.
 */

#include <apr_encode.h>
#include <apr_thread_proc.h>
#include <openssl/core_names.h>

#include "sessionworld.h"

/* SECRET_A's bytes */
#define RAW_A "secret A secret A secret A secret A secret A !!!"

/* ---------------------------------------------------------------- parts */

static casp_ring_t *ring_of(const char *text)
{
    casp_ring_t *ring;
    const char *wrong = casp_ring_load(pool, write_ring(text), false, &ring);
    if (wrong) {
        fail_msg("%s", wrong);
    }
    return ring;
}

static casp_sealer_t *sealer_of(const char *text)
{
    casp_sealer_t *sealer =
        casp_sealer_create(pool, ring_of(text), VHOST, SEC(900), SEC(28800));
    assert_non_null(sealer);
    return sealer;
}

/* ------------------------------------------------------------- a life */

static void test_round_trip(void **state)
{
    static const int flags[] = {0, 1, 4, 5, 0x7fffffff};
    char *longest = apr_pcalloc(pool, 1025);
    memset(longest, 'n', 1024);
    const char *const names[] = {"a", "CONTOSO\\ada", "m\xc3\xbcller@x.test",
                                 longest};
    const char *const passwords[] = {"", "p", "p'q<r& s\"", longest};
    casp_sealer_t *sealer = sealer_of(SECRET_A);

    (void)state;
    for (size_t i = 0; i < 5 * 4 * 4; i++) {
        casp_session_t out,
            in = session_of(flags[i % 5], names[i / 5 % 4], passwords[i / 20]);
        in.password_set = INT64_C(132500000000000000) + (int64_t)i;
        const char *value = seal(sealer, &in, noon);
        size_t len = strlen(value);
        assert_true(len > 70 && len <= CASP_SESSION_MAX);
        assert_int_equal(strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijk"
                                       "lmnopqrstuvwxyz0123456789-_"),
                         len);
        assert_int_equal(casp_session_open(pool, sealer, value, len, noon,
                                           &out),
                         CASP_SESSION_OK);
        assert_memory_equal(out.id, in.id, sizeof(in.id));
        assert_int_equal(out.flags, in.flags);
        assert_true(out.began == noon);
        assert_true(out.password_set == in.password_set);
        assert_string_equal(out.name, in.name);
        assert_string_equal(out.password, in.password);
        assert_int_equal(out.password_len, strlen(in.password));
        assert_string_not_equal(value, seal(sealer, &in, noon));
    }
    casp_session_t a = session_of(0, "a", "b"), b = session_of(0, "a", "b");
    assert_memory_not_equal(a.id, b.id, sizeof(a.id));
    casp_session_begin(&a, 0, "a", NULL, 0, noon + 999999);
    assert_true(a.began == noon); /* to the second */
}

static void test_password_bytes(void **state)
{
    static char bytes[] = "a\0b;,\xff\n";
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    casp_session_t out, in;

    (void)state;
    assert_true(casp_session_begin(&in, 4, "ada", bytes, 7, noon));
    const char *value = seal(sealer, &in, noon);
    assert_int_equal(casp_session_open(pool, sealer, value, strlen(value),
                                       noon, &out),
                     CASP_SESSION_OK);
    assert_int_equal(out.password_len, 7);
    assert_memory_equal(out.password, bytes, 8);
}

static void test_too_long(void **state)
{
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    char *text = apr_pcalloc(pool, 8000);
    casp_session_t s = session_of(0, "", "x");

    (void)state;
    assert_null(casp_session_seal(pool, sealer, &s, noon));
    memset(text, 'x', 7000);
    s = session_of(0, apr_pstrndup(pool, text, 1025), "x");
    assert_null(casp_session_seal(pool, sealer, &s, noon));
    /* whatever the lengths are: sealed and opened again, or refused */
    size_t last = 0;
    for (size_t n = 1500; n < 4200; n++) {
        s.name = "ada";
        s.password = text;
        s.password_len = n;
        const char *value = casp_session_seal(pool, sealer, &s, noon);
        if (value) {
            assert_true(strlen(value) <= CASP_SESSION_MAX);
            assert_int_equal(open_at(sealer, value, noon), CASP_SESSION_OK);
            assert_true(last == 0 || last == n - 1);
            last = n;
        }
    }
    assert_in_range(last, 2600, 2800);
    s.password_len = (apr_size_t)-1;
    assert_null(casp_session_seal(pool, sealer, &s, noon));
}

/* A cookie's length tells a password's only to 64 bytes. */
static void test_length_is_hidden(void **state)
{
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    size_t lengths = 0, before = 0;
    char *text = apr_pcalloc(pool, 130);

    (void)state;
    for (int n = 0; n < 128; n++) {
        casp_session_t s = session_of(0, "ada", text);
        size_t len = strlen(seal(sealer, &s, noon));
        assert_true(len >= before);
        lengths += len != before;
        before = len;
        text[n] = 'p';
    }
    assert_int_equal(lengths, 3); /* 35 to 163 bytes are 1, 2 or 3 grains */
}

static void check_moment(casp_sealer_t *sealer, int family, apr_time_t sealed,
                         apr_time_t half)
{
    static const casp_session_e states[] = {
        CASP_SESSION_OK, /* at a node whose clock is a slot behind */
        CASP_SESSION_OK,      CASP_SESSION_OLD,    CASP_SESSION_OLD,
        CASP_SESSION_EXPIRED, CASP_SESSION_EXPIRED};
    casp_session_t s = session_of(family ? CASP_LOGON_PRIVATE : 0, "ada", "p");
    const char *value = seal(sealer, &s, sealed);
    apr_time_t slot = sealed / half * half;

    for (int i = 0; i < 6; i++) {
        apr_time_t begin = slot + (i - 1) * half;
        assert_int_equal(open_at(sealer, value, begin), states[i]);
        assert_int_equal(open_at(sealer, value, begin + half / 3), states[i]);
        assert_int_equal(open_at(sealer, value, begin + half - 1), states[i]);
    }
    assert_int_equal(open_at(sealer, value, slot - half - 1),
                     CASP_SESSION_BAD);
    assert_int_equal(open_at(sealer, value, 0), CASP_SESSION_BAD);
    assert_int_equal(open_at(sealer, value, -SEC(99)), CASP_SESSION_BAD);
    assert_int_equal(open_at(sealer, value, sealed + SEC(86400 * 3650)),
                     CASP_SESSION_EXPIRED);
    apr_time_t life = slot + 3 * half - sealed;
    assert_true(life >= 2 * half && life <= 3 * half);
}

static void test_life(void **state)
{
    static const apr_time_t timeouts[][2] = {
        {SEC(900), SEC(28800)}, {SEC(4), SEC(8)},      {SEC(1), SEC(3)},
        {SEC(61), SEC(901)},    {1, APR_USEC_PER_SEC}, {SEC(7), SEC(86400)}};
    casp_ring_t *ring = ring_of(SECRET_A);

    (void)state;
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        casp_sealer_t *sealer =
            casp_sealer_create(pool, ring, VHOST, timeouts[i][0],
                               timeouts[i][1]);
        for (int family = 0; family < 2; family++) {
            apr_time_t half = timeouts[i][family] / 2;
            half = half < SEC(1) ? SEC(1) : half;
            for (int k = 0; k < 23; k++) {
                check_moment(sealer, family, noon + k * half / 11 + k, half);
            }
            check_moment(sealer, family, noon / half * half, half);
            check_moment(sealer, family, noon / half * half - 1, half);
        }
    }
}

/* Measured, not computed: the last moment at which it is good. */
static void test_life_measured(void **state)
{
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    apr_time_t shortest = SEC(99999), longest = 0;

    (void)state;
    for (int k = 0; k < 200; k++) {
        apr_time_t sealed = noon + k * SEC(7) + k * 1234;
        casp_session_t s = session_of(0, "ada", "p");
        const char *value = seal(sealer, &s, sealed);
        apr_time_t low = sealed, high = sealed + SEC(3600);
        while (high - low > 1) {
            apr_time_t middle = low + (high - low) / 2;
            if (open_at(sealer, value, middle) == CASP_SESSION_EXPIRED) {
                high = middle;
            }
            else {
                low = middle;
            }
        }
        shortest = high - sealed < shortest ? high - sealed : shortest;
        longest = high - sealed > longest ? high - sealed : longest;
    }
    assert_true(shortest >= SEC(900) && shortest < SEC(910));
    assert_true(longest <= SEC(1350) && longest > SEC(1340));
}

/* ------------------------------------------------------- who opens what */

static void test_nodes(void **state)
{
    casp_sealer_t *a = sealer_of("# ring\n" SECRET_A "\n");
    casp_sealer_t *b = sealer_of("  " SECRET_A " # the same\r\n");

    (void)state;
    for (int flags = 0; flags < 6; flags++) {
        casp_session_t s = session_of(flags, "ada", "p");
        assert_int_equal(open_at(b, seal(a, &s, noon), noon), CASP_SESSION_OK);
        assert_int_equal(open_at(a, seal(b, &s, noon), noon), CASP_SESSION_OK);
    }
}

static void test_bound(void **state)
{
    casp_ring_t *ring = ring_of(SECRET_A);
    casp_ring_t *other = ring_of(SECRET_B);
    casp_sealer_t *sealer =
        casp_sealer_create(pool, ring, VHOST, SEC(900), SEC(28800));
    casp_session_t public = session_of(0, "ada", "p");
    casp_session_t private = session_of(CASP_LOGON_PRIVATE, "ada", "p");
    const char *values[] = {seal(sealer, &public, noon),
                            seal(sealer, &private, noon)};
    const struct {
        const casp_ring_t *ring;
        const char *vhost;
        int timeouts[2];
        casp_session_e how[2];
    } cases[] = {
        {ring, VHOST, {900, 28800}, {CASP_SESSION_OK, CASP_SESSION_OK}},
        {ring, VHOST ".", {900, 28800}, {CASP_SESSION_BAD, CASP_SESSION_BAD}},
        {ring, "", {900, 28800}, {CASP_SESSION_BAD, CASP_SESSION_BAD}},
        {ring, VHOST, {901, 28800}, {CASP_SESSION_BAD, CASP_SESSION_OK}},
        {ring, VHOST, {900, 28801}, {CASP_SESSION_OK, CASP_SESSION_BAD}},
        {ring, VHOST, {28800, 900}, {CASP_SESSION_BAD, CASP_SESSION_BAD}},
        {other, VHOST, {900, 28800}, {CASP_SESSION_BAD, CASP_SESSION_BAD}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        casp_sealer_t *opener =
            casp_sealer_create(pool, cases[i].ring, cases[i].vhost,
                               SEC(cases[i].timeouts[0]),
                               SEC(cases[i].timeouts[1]));
        for (int family = 0; family < 2; family++) {
            assert_int_equal(open_at(opener, values[family], noon),
                             cases[i].how[family]);
        }
    }
    /* equal time-outs do not make the families one */
    sealer = casp_sealer_create(pool, ring, VHOST, SEC(900), SEC(900));
    char *value = apr_pstrdup(pool, seal(sealer, &public, noon));
    assert_int_equal(open_at(sealer, value, noon), CASP_SESSION_OK);
    value[2] = 'F'; /* "AQA" are the bytes 1, 0 */
    assert_int_equal(open_at(sealer, value, noon), CASP_SESSION_BAD);
}

static void test_rolling(void **state)
{
    static const struct {
        const char *ring;
        casp_session_e old, middle;
    } cases[] = {
        {SECRET_A, CASP_SESSION_OK, CASP_SESSION_BAD},
        {SECRET_A "\n" SECRET_B, CASP_SESSION_OK, CASP_SESSION_OK},
        {SECRET_B "\n" SECRET_A, CASP_SESSION_OK, CASP_SESSION_OK},
        {SECRET_D "\n" SECRET_B "\n" SECRET_A, CASP_SESSION_OK,
         CASP_SESSION_OK},
        {SECRET_D "\n" SECRET_B, CASP_SESSION_BAD, CASP_SESSION_OK},
        {SECRET_D, CASP_SESSION_BAD, CASP_SESSION_BAD},
    };
    casp_session_t s = session_of(4, "ada", "p");
    const char *old = seal(sealer_of(SECRET_A), &s, noon);
    const char *middle = seal(sealer_of(SECRET_B "\n" SECRET_A), &s, noon);

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        casp_sealer_t *sealer = sealer_of(cases[i].ring);
        assert_int_equal(open_at(sealer, old, noon), cases[i].old);
        assert_int_equal(open_at(sealer, middle, noon), cases[i].middle);
        assert_int_equal(open_at(sealer, seal(sealer, &s, noon), noon),
                         CASP_SESSION_OK);
    }
}

/* --------------------------------------------------------- broken cookies */

static void test_bits(void **state)
{
    casp_sealer_t *sealer = sealer_of(SECRET_A "\n" SECRET_B);

    (void)state;
    for (int grains = 1; grains < 4; grains++) {
        char *password = apr_pcalloc(pool, 200);
        memset(password, 'p', (size_t)(grains - 1) * 64);
        casp_session_t s = session_of(grains, "ada", password);
        const char *value = seal(sealer, &s, noon);
        size_t len = strlen(value);
        for (size_t bit = 0; bit < len * 8; bit++) {
            char *flipped = apr_pstrdup(pool, value);
            casp_session_t out;
            flipped[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_equal(casp_session_open(pool, sealer, flipped, len,
                                               noon, &out),
                             CASP_SESSION_BAD);
        }
        for (size_t n = 0; n < len; n++) {
            assert_int_equal(open_at(sealer, apr_pstrndup(pool, value, n),
                                     noon),
                             CASP_SESSION_BAD);
            assert_int_equal(open_at(sealer, value + len - n, noon),
                             CASP_SESSION_BAD);
        }
        for (const char *more = "A=- \nA\""; *more; more++) {
            assert_int_equal(open_at(sealer,
                                     apr_psprintf(pool, "%s%c", value, *more),
                                     noon),
                             CASP_SESSION_BAD);
        }
        assert_int_equal(open_at(sealer, value, noon), CASP_SESSION_OK);
    }
}

/* The same bits again, in the decoded bytes: so every one is authenticated,
 * and that does not hang on the spelling. */
static void test_decoded_bits(void **state)
{
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    casp_session_t s = session_of(0, "ada", "p");
    const char *value = seal(sealer, &s, noon);
    unsigned char bytes[512];
    apr_size_t len;

    (void)state;
    assert_int_equal(apr_decode_base64_binary(bytes, value, APR_ENCODE_STRING,
                                              APR_ENCODE_BASE64URL, &len),
                     APR_SUCCESS);
    assert_int_equal(len, 10 + 12 + 64 + 16);
    for (size_t bit = 0; bit <= len * 8; bit++) {
        unsigned char copy[512];
        memcpy(copy, bytes, len);
        copy[bit / 8] ^= (unsigned char)(bit < len * 8 ? 1 << bit % 8 : 0);
        const char *text =
            apr_pencode_base64_binary(pool, copy, (apr_ssize_t)len,
                                      APR_ENCODE_BASE64URL
                                          | APR_ENCODE_NOPADDING,
                                      NULL);
        assert_int_equal(open_at(sealer, text, noon),
                         bit < len * 8 ? CASP_SESSION_BAD : CASP_SESSION_OK);
    }
}

static void test_noise(void **state)
{
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    uint32_t seed = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        char bytes[CASP_SESSION_MAX + 50];
        casp_session_t s;
        size_t len = (seed >> 8) % (i % 10 ? 300 : sizeof(bytes));
        for (size_t k = 0; k < len; k++) {
            seed = seed * 1664525 + 1013904223;
            bytes[k] = i % 2 ? (char)(seed >> 24)
                             : "ABCDEFabcdef0189-_"[(seed >> 24) % 18];
        }
        assert_int_equal(casp_session_open(pool, sealer, bytes, len, noon, &s),
                         CASP_SESSION_BAD);
        seed = seed * 1664525 + 1013904223;
    }
    char *big = apr_pcalloc(pool, 100001);
    memset(big, 'A', 100000);
    assert_int_equal(open_at(sealer, big, noon), CASP_SESSION_BAD);
}

/* -------------------------------------------------- the seal, made anew */

static void derive(const char *info, size_t info_len, unsigned char *out,
                   size_t len)
{
    char digest[] = "SHA256", salt[] = "mod_casproxy key ring 1";
    char secret[] = RAW_A;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret,
                                          sizeof(secret) - 1),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt,
                                          sizeof(salt) - 1),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
                                          (void *)(uintptr_t)info, info_len),
        OSSL_PARAM_construct_end()};
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* A cookie of sealer_of() at noon, around any plain text. */
static const char *forge(unsigned char version, unsigned char family,
                         const void *plain, size_t len)
{
    unsigned char info[20 + 14 + 32], key[32];
    unsigned char sealed[8192] = {version, family};
    uint64_t timeout = family ? SEC(28800) : SEC(900);
    uint64_t slot = (uint64_t)noon / (timeout / 2);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    memcpy(info, "mod_casproxy session", 20);
    info[20] = 1;
    info[21] = family;
    for (int i = 0; i < 8; i++) {
        info[22 + i] = (unsigned char)(timeout >> (56 - 8 * i));
    }
    for (int i = 0; i < 4; i++) {
        info[30 + i] = sealed[6 + i] = (unsigned char)(slot >> (24 - 8 * i));
    }
    EVP_Digest(VHOST, strlen(VHOST), info + 34, NULL, EVP_sha256(), NULL);
    derive((const char *)info, sizeof(info), key, sizeof(key));
    derive("mod_casproxy key id 1", 21, sealed + 2, 4);
    memset(sealed + 10, 'n', 12);
    EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed + 10);
    EVP_EncryptUpdate(ctx, NULL, &n, sealed, 10);
    EVP_EncryptUpdate(ctx, sealed + 22, &n, plain, (int)len);
    EVP_EncryptFinal_ex(ctx, sealed + 22 + n, &n);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, sealed + 22 + len);
    EVP_CIPHER_CTX_free(ctx);
    return apr_pencode_base64_binary(pool, sealed,
                                     (apr_ssize_t)(22 + len + 16),
                                     APR_ENCODE_BASE64URL
                                         | APR_ENCODE_NOPADDING,
                                     NULL);
}

/* Sixteen bytes of an id, then what the table says, then zeros. */
static void test_authentic_nonsense(void **state)
{
#define ID "0123456789abcdef"
#define SET "\0\0\0\0\0\0\0\7"
#define TIME "\0\0\0\0\1\2\3\4" SET
#define BYTES(s) s, sizeof(s) - 1
    static const struct {
        const char *what, *plain;
        size_t len, total;
        casp_session_e how;
    } cases[] = {
        {"as it should be", BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\1p"), 64,
         CASP_SESSION_OK},
        {"no password", BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\0"), 64,
         CASP_SESSION_OK},
        {"filled to the brim",
         BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\x15"
                  "123456789012345678901"),
         64, CASP_SESSION_OK},
        {"one byte more than is there",
         BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\x16"
                  "123456789012345678901"),
         64, CASP_SESSION_BAD},
        {"the flags of the other family",
         BYTES(ID "\0\0\0\4" TIME "\0\3ada\0\1p"), 64, CASP_SESSION_BAD},
        {"negative flags", BYTES(ID "\x80\0\0\1" TIME "\0\3ada\0\1p"), 64,
         CASP_SESSION_BAD},
        {"a time beyond all",
         BYTES(ID "\0\0\0\1\x7f\xff\xff\xff\xff\xff\xff"
                  "\xff" SET "\0\3ada\0\1p"),
         64, CASP_SESSION_BAD},
        {"a negative time",
         BYTES(ID "\0\0\0\1\xff\xff\xff\xff\xff\xff\xff"
                  "\xff" SET "\0\3ada\0\1p"),
         64, CASP_SESSION_BAD},
        {"no name", BYTES(ID "\0\0\0\1" TIME "\0\0\0\1p"), 64,
         CASP_SESSION_BAD},
        {"NUL in the name", BYTES(ID "\0\0\0\1" TIME "\0\3a\0a\0\1p"), 64,
         CASP_SESSION_BAD},
        {"a name over the end",
         BYTES(ID "\0\0\0\1" TIME "\0\x19"
                  "ada"),
         64, CASP_SESSION_BAD},
        {"a name over the end, to the brim",
         BYTES(ID "\0\0\0\1" TIME "\0\x19"
                  "12345678901234567890123456"),
         64, CASP_SESSION_BAD},
        {"a name just to the end, of NULs",
         BYTES(ID "\0\0\0\1" TIME "\0\x18"
                  "ada"),
         64, CASP_SESSION_BAD},
        {"a name of 65535",
         BYTES(ID "\0\0\0\1" TIME "\xff\xff"
                  "ada"),
         64, CASP_SESSION_BAD},
        {"a password of 65535", BYTES(ID "\0\0\0\1" TIME "\0\3ada\xff\xffp"),
         64, CASP_SESSION_BAD},
        {"something behind", BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\1px"), 64,
         CASP_SESSION_BAD},
        {"a grain too many", BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\1p"), 128,
         CASP_SESSION_BAD},
        {"no whole grain", BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\1p"), 63,
         CASP_SESSION_BAD},
        {"a grain and a byte", BYTES(ID "\0\0\0\1" TIME "\0\3ada\0\1p"), 65,
         CASP_SESSION_BAD},
        {"nothing", "", 0, 0, CASP_SESSION_BAD},
        {"zeros", "", 0, 64, CASP_SESSION_BAD},
        {"the biggest, of zeros", "", 0, 2752, CASP_SESSION_BAD},
        {"bigger", "", 0, 2816, CASP_SESSION_BAD},
    };
    casp_sealer_t *sealer = sealer_of(SECRET_A);

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned char plain[4096] = {0};
        memcpy(plain, cases[i].plain, cases[i].len);
        casp_session_e how =
            open_at(sealer, forge(1, 0, plain, cases[i].total), noon);
        if (how != cases[i].how) {
            fail_msg("%s: %d", cases[i].what, (int)how);
        }
        assert_int_equal(open_at(sealer, forge(2, 0, plain, cases[i].total),
                                 noon),
                         CASP_SESSION_BAD);
    }
    casp_session_t s;
    unsigned char plain[64] = ID "\0\0\0\1" TIME "\0\3ada\0\2pw";
    const char *value = forge(1, 0, plain, 64);
    assert_int_equal(casp_session_open(pool, sealer, value, strlen(value),
                                       noon, &s),
                     CASP_SESSION_OK);
    assert_string_equal(s.name, "ada");
    assert_string_equal(s.password, "pw");
    assert_true(s.began == SEC(0x01020304));
    assert_true(s.password_set == 7);
    plain[19] = 5; /* a private computer */
    assert_int_equal(open_at(sealer, forge(1, 1, plain, 64), noon),
                     CASP_SESSION_OK);
    assert_int_equal(open_at(sealer, forge(1, 2, plain, 64), noon),
                     CASP_SESSION_BAD);
    assert_string_equal(casp_session_label(pool, &s),
                        "30313233-3435-3637-3839-616263646566");
}

/* ------------------------------------------------------- Cookie headers */

/* In the headers: %a good, %b good, of another slot, %x expired, %u of
 * another ring. */
static const char *header_of(const char *plan, const char *const values[4])
{
    const char *header = "";

    for (; *plan; plan++) {
        const char *which = *plan == '%' ? strchr("abxu", plan[1]) : NULL;
        header = which
                     ? apr_pstrcat(pool, header, values[which - "abxu"], NULL)
                     : apr_psprintf(pool, "%s%c", header, *plan);
        plan += which ? 1 : 0;
    }
    return header;
}

static void test_find(void **state)
{
    static const struct {
        const char *header;
        casp_session_e how;
        int stray;
        const char *name;
    } cases[] = {
        {"", CASP_SESSION_NONE, 0, NULL},
        {";;;,, ;", CASP_SESSION_NONE, 0, NULL},
        {"a=1; b=2", CASP_SESSION_NONE, 0, NULL},
        {"cadata=%a", CASP_SESSION_OK, 0, "ada"},
        {"cadata=%b", CASP_SESSION_OLD, 0, "bob"},
        {"cadata=%x", CASP_SESSION_EXPIRED, 0, NULL},
        {"cadata=%u", CASP_SESSION_BAD, 0, NULL},
        {"cadata=", CASP_SESSION_BAD, 0, NULL},
        {"cadata=\"\"", CASP_SESSION_BAD, 0, NULL},
        {"cadata=\"", CASP_SESSION_BAD, 0, NULL},
        {"cadata", CASP_SESSION_NONE, 0, NULL},
        {"a=1; cadata=%a; b=2", CASP_SESSION_OK, 0, "ada"},
        {"a=1;cadata=%a;b=2", CASP_SESSION_OK, 0, "ada"},
        {"a=1 ;\t cadata = %a \t; b=2", CASP_SESSION_OK, 0, "ada"},
        {"cadata=\"%a\"", CASP_SESSION_OK, 0, "ada"},
        {"cadata=\"%a", CASP_SESSION_BAD, 0, NULL},
        {"cadata=\" %a\"", CASP_SESSION_BAD, 0, NULL},
        {"a=1, cadata=%a, b=2", CASP_SESSION_OK, 0, "ada"},
        /* other names are not ours to open */
        {"cadataTTL=%a; cadataKey=%a; cadataI=%a; cadat=%a; xcadata=%a",
         CASP_SESSION_NONE, 0, NULL},
        {"CADATA=%a; Cadata=%a; \"cadata\"=%a; $cadata=%a; a cadata=%a",
         CASP_SESSION_NONE, 0, NULL},
        {"=%a; =cadata=%a; a=cadata=%a", CASP_SESSION_NONE, 0, NULL},
        {"cadataTTL=x; cadata=%a; cadataSig=x", CASP_SESSION_OK, 0, "ada"},
        /* several */
        {"cadata=%a; cadata=%b", CASP_SESSION_OK, 1, "ada"},
        {"cadata=%b; cadata=%a", CASP_SESSION_OLD, 1, "bob"},
        {"cadata=x; cadata=%a", CASP_SESSION_OK, 1, "ada"},
        {"cadata=%a; cadata=x", CASP_SESSION_OK, 1, "ada"},
        {"cadata=%a; cadata=%x; cadata=%u", CASP_SESSION_OK, 2, "ada"},
        {"cadata=%x; cadata=%b", CASP_SESSION_OLD, 1, "bob"},
        {"cadata=%x; cadata=x", CASP_SESSION_EXPIRED, 1, NULL},
        {"cadata=x; cadata=%x", CASP_SESSION_EXPIRED, 1, NULL},
        {"cadata=x; cadata=y", CASP_SESSION_BAD, 1, NULL},
        {"cadata=1; cadata=2; cadata=3; cadata=%a", CASP_SESSION_OK, 3, "ada"},
        {"cadata=1; cadata=2; cadata=3; cadata=4; cadata=%a", CASP_SESSION_BAD,
         4, NULL},
        {"cadata=1; cadata=2; cadata=3; cadata=%x; cadata=%a",
         CASP_SESSION_EXPIRED, 4, NULL},
        {"cadata=%a; cadata=1; cadata=2; cadata=3; cadata=4; cadata=5",
         CASP_SESSION_OK, 5, "ada"},
        {"cadataTTL=1; cadataKey=2; cadataIV=3; cadataSig=4; cadata=%a",
         CASP_SESSION_OK, 0, "ada"},
    };
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    casp_session_t s = session_of(0, "ada", "p"),
                   t = session_of(0, "bob", "q");
    const char *const values[] = {seal(sealer, &s, noon),
                                  seal(sealer, &t, noon - SEC(450)),
                                  seal(sealer, &s, noon - SEC(1800)),
                                  seal(sealer_of(SECRET_B), &s, noon)};
    int stray = 9;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *header = header_of(cases[i].header, values);
        casp_session_e how =
            casp_session_find(pool, sealer, header, noon, &s, &stray);
        if (how != cases[i].how || stray != cases[i].stray) {
            fail_msg("%s: %d, %d strays", cases[i].header, (int)how, stray);
        }
        if (cases[i].name) {
            assert_string_equal(s.name, cases[i].name);
        }
        else {
            assert_null(s.name);
            assert_null(s.password);
        }
    }
    assert_int_equal(casp_session_find(pool, sealer, NULL, noon, &s, &stray),
                     CASP_SESSION_NONE);
    assert_int_equal(stray, 0);
    char *big = apr_pcalloc(pool, CASP_SESSION_MAX + 10);
    memset(big, 'A', CASP_SESSION_MAX + 1);
    assert_int_equal(casp_session_find(pool, sealer,
                                       apr_pstrcat(pool, "cadata=", big,
                                                   "; cadata=", values[0],
                                                   NULL),
                                       noon, &s, &stray),
                     CASP_SESSION_OK);
}

static void test_strip(void **state)
{
    static const struct {
        const char *header, *clean; /* clean: "=" for the same pointer */
    } cases[] = {
        {"", "="},
        {"a=1; b=2", "="},
        {" ; a=1,,b=2;", "="},
        {"data=1; xcadata=2; sessionids=3; casproxy=4", "="},
        {"a=cadata; b=sessionid=1", "="},
        {"cadata=x", NULL},
        {"cadata", NULL},
        {"cadata=x; ", NULL},
        {" ;cadata=x;; sessionid=y ;", NULL},
        {"cadata=x; sessionid=y; casproxy_rdr=z; cadataTTL=1", NULL},
        {"cadata=x; a=1; b=2", "a=1; b=2"},
        {"a=1; cadata=x; b=2", "a=1; b=2"},
        {"a=1; b=2; cadata=x", "a=1; b=2"},
        {"a=1;cadata=x;b=2", "a=1;b=2"},
        {"a=1; cadata=\"x\"; b=\"2\"", "a=1; b=\"2\""},
        {"a=1; cadata = x; b=2", "a=1; b=2"},
        {"a=1;\tcadata=x;\tb=2", "a=1;\tb=2"},
        {"a=1; sessionid=x; b=2; casproxy_rdr=y", "a=1; b=2"},
        {"a=1; cadataTTL=x; cadataKey=x; cadataIV=x; cadataSig=x; b=2",
         "a=1; b=2"},
        {"a=1; CADATA=x; CaDataTtl=y; b=2", "a=1; b=2"},
        {"a=1; \"cadata\"=x; \"cadata=x; b=2", "a=1; b=2"},
        {"a=1; cadata=x; cadata=y; cadata=z; cadata=1; cadata=2; b=2",
         "a=1; b=2"},
        {"a=1, cadata=x, b=2", "a=1, b=2"},
        {"a=1,,2; cadata=x; b=2", "a=1,,2; b=2"},
        {"a=x==; cadata=AA==; b===", "a=x==; b==="},
        {"a=\"1; cadata=x; 2\"", "a=\"1; 2\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *clean = casp_session_strip(pool, cases[i].header);
        const char *wanted = cases[i].clean && !strcmp(cases[i].clean, "=")
                                 ? cases[i].header
                                 : cases[i].clean;
        if (wanted == cases[i].header) {
            assert_ptr_equal(clean, wanted);
        }
        else if (!wanted != !clean || (clean && strcmp(clean, wanted))) {
            fail_msg("%s: %s", cases[i].header, clean ? clean : "NULL");
        }
    }
    assert_null(casp_session_strip(pool, NULL));
}

static void test_owns(void **state)
{
    static const struct {
        const char *name;
        bool ours;
    } cases[] = {{"cadata", true},
                 {"cadataTTL", true},
                 {"CadataSig", true},
                 {"sessionid", true},
                 {"casproxy_rdr", true},
                 {"cadat", false},
                 {"", false},
                 {"sessionid2", false},
                 {"SessionId", false},
                 {"casproxy_rd", false},
                 {"UserContext", false},
                 {"xcadata", false}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *line = apr_pstrcat(pool, cases[i].name, "=1", NULL);
        if (casp_session_owns(line, strlen(cases[i].name)) != cases[i].ours) {
            fail_msg("%s", cases[i].name);
        }
    }
}

/* ---------------------------------------------------------------- wiping */

/* A cleanup that was registered first runs last, and looks. */
typedef struct {
    const unsigned char *at[2];
    size_t len[2];
    bool wiped;
} look_t;

static apr_status_t look(void *data)
{
    look_t *l = data;

    l->wiped = true;
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < l->len[i]; k++) {
            l->wiped = l->wiped && l->at[i][k] == 0;
        }
    }
    return APR_SUCCESS;
}

static void test_wiped(void **state)
{
    look_t l = {{NULL, NULL}, {0, 0}, false};
    casp_sealer_t *sealer = sealer_of(SECRET_A);
    casp_session_t s = session_of(0, "ada", "a password"), out;
    const char *value = seal(sealer, &s, noon);
    casp_ring_t *ring;
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, NULL);
    apr_pool_cleanup_register(p, &l, look, apr_pool_cleanup_null);
    assert_int_equal(casp_session_open(p, sealer, value, strlen(value), noon,
                                       &out),
                     CASP_SESSION_OK);
    l.at[0] = (const unsigned char *)out.password;
    l.len[0] = out.password_len;
    assert_null(casp_ring_load(p, in_dir("ring"), false, &ring));
    l.at[1] = (const unsigned char *)ring;
    l.len[1] = sizeof(*ring);
    assert_int_equal(ring->n, 1);
    apr_pool_destroy(p);
    assert_true(l.wiped);
}

/* --------------------------------------------------------------- threads */

typedef struct {
    casp_sealer_t *sealer;
    casp_ended_t *ended;
    int number, wrong;
} worker_t;

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *data)
{
    worker_t *w = data;
    apr_pool_t *p;

    (void)thread;
    for (int i = 0; i < 400; i++) {
        apr_time_t now = noon + i * SEC(100) + w->number;
        char password[] = "p'q<r& s\"";
        casp_session_t in, out;
        apr_pool_create(&p, NULL);
        bool ok =
            casp_session_begin(&in, i % 2 ? 4 : 0, "ada", password, 9, now);
        const char *value =
            ok ? casp_session_seal(p, w->sealer, &in, now) : NULL;
        ok = value
             && casp_session_open(p, w->sealer, value, strlen(value),
                                  now + SEC(450) * (i % 3), &out)
                    <= CASP_SESSION_OLD
             && out.password_len == 9 && !memcmp(out.password, password, 9);
        ok = ok && !casp_ended_is(w->ended, in.id, now);
        casp_ended_note(w->ended, in.id, now + SEC(900), now);
        ok = ok && casp_ended_is(w->ended, in.id, now);
        w->wrong += !ok;
        apr_pool_destroy(p);
    }
    return NULL;
}

static void test_threads(void **state)
{
    casp_sealer_t *sealer = sealer_of(SECRET_A "\n" SECRET_B);
    casp_ended_t *ended = casp_ended_create(pool, 10000, NULL, "contoso");
    apr_thread_t *threads[4];
    worker_t workers[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        workers[i] = (worker_t){sealer, ended, i, 0};
        assert_int_equal(apr_thread_create(&threads[i], NULL, work,
                                           &workers[i], pool),
                         APR_SUCCESS);
    }
    for (int i = 0; i < 4; i++) {
        apr_status_t rv;
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(workers[i].wrong, 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_password_bytes),
        TEST(test_too_long),
        TEST(test_length_is_hidden),
        TEST(test_life),
        TEST(test_life_measured),
        TEST(test_nodes),
        TEST(test_bound),
        TEST(test_rolling),
        TEST(test_bits),
        TEST(test_decoded_bits),
        TEST(test_noise),
        TEST(test_authentic_nonsense),
        TEST(test_find),
        TEST(test_strip),
        TEST(test_owns),
        TEST(test_wiped),
        TEST(test_threads),
    };
    int rv;

    apr_initialize();
    rv = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rv;
}
