/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ring.c - the key ring of logons by form: from a file that only the server
 * may read to the keys that sessions are derived from.
 *
 * The file is judged by what was opened, not by what its name led to a moment
 * before.  A ring that is made here appears whole or not at all: two servers
 * that start at once on a shared folder end up with the same one.
 *
 * Must not: repeat a byte of the file in a message, keep a secret longer than
 * it takes to derive from it, or wait for anything (a FIFO, say).
 */

#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#define FILE_MAX 16384 /* bytes */
#define SECRET_MIN 32 /* bytes, decoded */
#define SECRET_MADE 48 /* bytes of a secret that is made here */

#define MAKE_ONE "\"openssl rand -base64 48\""

static const char salt[] = "mod_casproxy key ring 1";
static const char id_info[] = "mod_casproxy key id 1";

/* -------------------------------------------------------------- deriving */

/* One half of HKDF-SHA256: to extract takes a salt, to expand an info. */
static bool ring_hkdf(EVP_KDF *kdf, int mode, const void *key, size_t key_len,
                      const char *what, const void *more, size_t more_len,
                      unsigned char *out, size_t len)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
                                          (void *)(uintptr_t)key, key_len),
        OSSL_PARAM_construct_octet_string(what, (void *)(uintptr_t)more,
                                          more_len),
        OSSL_PARAM_construct_end()};
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok = ctx && EVP_KDF_derive(ctx, out, len, params) == 1;

    EVP_KDF_CTX_free(ctx);
    return ok;
}

bool casp_ring_derive(EVP_KDF *kdf, const casp_ring_key_t *key,
                      const void *info, size_t info_len, unsigned char *out,
                      size_t len)
{
    return ring_hkdf(kdf, EVP_KDF_HKDF_MODE_EXPAND_ONLY, key->prk,
                     sizeof(key->prk), OSSL_KDF_PARAM_INFO, info, info_len,
                     out, len);
}

static bool ring_key_of(EVP_KDF *kdf, const void *secret, size_t len,
                        casp_ring_key_t *key)
{
    return ring_hkdf(kdf, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, secret, len,
                     OSSL_KDF_PARAM_SALT, salt, sizeof(salt) - 1, key->prk,
                     sizeof(key->prk))
           && casp_ring_derive(kdf, key, id_info, sizeof(id_info) - 1, key->id,
                               sizeof(key->id));
}

/* --------------------------------------------------------------- parsing */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int base64_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static bool ring_is_hex(const char *s, size_t len)
{
    size_t i = 0;

    while (i < len && hex_value(s[i]) >= 0) {
        i++;
    }
    return i == len;
}

/* In place: what is decoded is shorter. */
static bool ring_decode_hex(char *s, size_t *len)
{
    unsigned char *out = (unsigned char *)s;

    if (*len % 2) {
        return false;
    }
    for (size_t i = 0; i < *len; i += 2) {
        *out++ = (unsigned char)(hex_value(s[i]) << 4 | hex_value(s[i + 1]));
    }
    *len /= 2;
    return true;
}

/* Whole groups only: half a line, lost in copying, is no secret. */
static bool ring_decode_base64(char *s, size_t *len)
{
    unsigned char *out = (unsigned char *)s;
    size_t pad = *len && s[*len - 1] == '=' ? 1 : 0;
    uint32_t bits = 0;

    pad += pad && *len > 1 && s[*len - 2] == '=' ? 1 : 0;
    if (*len % 4) {
        return false;
    }
    for (size_t i = 0; i < *len; i++) {
        int value = i < *len - pad ? base64_value(s[i]) : 0;
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            *out++ = (unsigned char)(bits >> 16);
            *out++ = (unsigned char)(bits >> 8);
            *out++ = (unsigned char)bits;
        }
    }
    *len = *len / 4 * 3 - pad;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Two that are the same show in their ids; two others with one id would shut
 * each other's sessions out, and the remedy is the same. */
static bool ring_has(const casp_ring_t *ring, const unsigned char *id)
{
    bool has = false;

    for (int i = 0; i < ring->n; i++) {
        has |= CRYPTO_memcmp(ring->keys[i].id, id, CASP_RING_ID) == 0;
    }
    return has;
}

/* A secret, without comment and blanks. */
static const char *ring_add(EVP_KDF *kdf, casp_ring_t *ring, char *s,
                            size_t len)
{
    casp_ring_key_t key;
    const char *wrong = NULL;

    if (!(ring_is_hex(s, len) ? ring_decode_hex(s, &len)
                              : ring_decode_base64(s, &len))) {
        return "is neither base64 nor hexadecimal, or is cut short; put one "
               "line there as " MAKE_ONE " prints it";
    }
    if (len < SECRET_MIN) {
        return "holds fewer than 32 bytes; put a secret there as " MAKE_ONE
               " prints it";
    }
    if (ring->n == CASP_RING_MAX) {
        return "is one secret too many; keep 8 at most and take the oldest, "
               "the last ones, away";
    }
    if (!ring_key_of(kdf, s, len, &key)) {
        wrong = "cannot be used, for OpenSSL offers no HKDF with SHA-256; see "
                "which providers its configuration loads";
    }
    else if (ring_has(ring, key.id)) {
        wrong = "repeats a secret of a line before; take one of them away, or "
                "put a new one there, made by " MAKE_ONE;
    }
    else {
        ring->keys[ring->n++] = key;
    }
    casp_wipe(&key, sizeof(key));
    return wrong;
}

const char *casp_ring_parse(char *text, size_t len, casp_ring_t *ring,
                            int *line)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    const char *wrong = NULL;
    char *end = text + len;

    ring->n = 0;
    *line = 0;
    for (char *s = text; s < end && !wrong;) {
        char *next = memchr(s, '\n', (size_t)(end - s));
        char *stop = next ? next : end;
        char *comment = memchr(s, '#', (size_t)(stop - s));
        next = next ? next + 1 : end;
        stop = comment ? comment : stop;
        while (s < stop && is_blank(*s)) {
            s++;
        }
        while (stop > s && is_blank(stop[-1])) {
            stop--;
        }
        ++*line;
        if (stop > s) {
            wrong = ring_add(kdf, ring, s, (size_t)(stop - s));
        }
        s = next;
    }
    EVP_KDF_free(kdf);
    if (!wrong) {
        *line = 0;
        wrong = ring->n ? NULL
                        : "holds no secret; put a line there as " MAKE_ONE
                          " prints it";
    }
    return wrong;
}

/* --------------------------------------------------------------- the file */

static const char *ring_why(apr_pool_t *p, const char *what, int error)
{
    char text[120];
    return apr_psprintf(p, "%s: %s", what,
                        apr_strerror(APR_FROM_OS_ERROR(error), text,
                                     sizeof(text)));
}

static const char *ring_judge(int fd)
{
    struct stat st;

    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        return "is no regular file; name one";
    }
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        return "belongs to another user, who can change it; chown it to root";
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        return "is open to others than its owner; chmod 600 it, and where "
               "they may have read it, put a new secret there as " MAKE_ONE
               " prints it";
    }
    return NULL;
}

static const char *ring_read(apr_pool_t *p, int fd, char *text, size_t *len)
{
    *len = 0;
    while (*len <= FILE_MAX) {
        ssize_t n = read(fd, text + *len, FILE_MAX + 1 - *len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ring_why(p,
                            "cannot be read; see the disk or mount it is on",
                            errno);
        }
        if (n == 0) {
            return NULL;
        }
        *len += (size_t)n;
    }
    return "is longer than 16 KiB; name the file that holds the secrets and "
           "nothing else";
}

static bool ring_write(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n ? errno : ENOSPC;
            return false;
        }
        text += n;
        len -= (size_t)n;
    }
    return true;
}

static const char made_head[] =
    "# The key ring of logons by form: one secret to a line, the newest "
    "first.\n"
    "# The same on all nodes; whoever reads it reads sessions. See\n"
    "# CasProxyFormsKey in the reference for how to replace a secret.\n";

/* The text of a new ring. */
static bool ring_invent(char *text, size_t *len)
{
    unsigned char secret[SECRET_MADE];
    bool ok = RAND_bytes(secret, sizeof(secret)) == 1;

    *len = sizeof(made_head) - 1;
    memcpy(text, made_head, *len);
    if (ok) {
        *len += (size_t)EVP_EncodeBlock((unsigned char *)text + *len, secret,
                                        sizeof(secret));
        text[(*len)++] = '\n';
    }
    casp_wipe(secret, sizeof(secret));
    return ok;
}

/* Under a name of its own first; link() then puts the whole file there, or
 * fails where somebody else was faster, whose ring is as good. */
static const char *ring_make(apr_pool_t *p, const char *path)
{
    char text[sizeof(made_head) + SECRET_MADE * 2];
    unsigned char mark[8];
    size_t len;
    int error = 0;

    if (RAND_bytes(mark, sizeof(mark)) != 1 || !ring_invent(text, &len)) {
        return "cannot be made, for OpenSSL has no random numbers; see its "
               "configuration";
    }
    char *other = apr_pstrcat(p, path, ".0123456789abcdef", NULL);
    for (size_t i = 0; i < sizeof(mark); i++) {
        apr_snprintf(other + strlen(path) + 1 + 2 * i, 3, "%02x", mark[i]);
    }
    int fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  S_IRUSR | S_IWUSR);
    if (fd < 0) {
        error = errno;
    }
    else {
        if (fchmod(fd, S_IRUSR | S_IWUSR) || !ring_write(fd, text, len)
            || fsync(fd)) {
            error = errno;
        }
        if (close(fd) && !error) {
            error = errno;
        }
        if (!error && link(other, path) && errno != EEXIST) {
            error = errno;
        }
        unlink(other);
    }
    casp_wipe(text, sizeof(text));
    return error ? ring_why(p,
                            "cannot be made; make it by hand, as " MAKE_ONE
                            " prints it, with mode 600, or let httpd's user "
                            "write to its folder",
                            error)
                 : NULL;
}

static int ring_open(const char *path)
{
    return open(path,
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static const char *ring_open_failed(apr_pool_t *p, int error)
{
    return error == ELOOP
               ? "is a symbolic link; name the file that it leads to"
           : error == ENOENT
               ? "is not there; make it as " MAKE_ONE
                 " prints it, with mode 600, or copy it from another node"
               : ring_why(p,
                          "cannot be opened; correct the path, or start httpd "
                          "as a user who may read it",
                          error);
}

static apr_status_t ring_cleanup(void *data)
{
    casp_wipe(data, sizeof(casp_ring_t));
    return APR_SUCCESS;
}

const char *casp_ring_load(apr_pool_t *p, const char *path, bool create,
                           casp_ring_t **ring)
{
    char text[FILE_MAX + 1];
    const char *wrong = NULL;
    size_t len = 0;
    int line = 0;

    *ring = NULL;
    int fd = ring_open(path);
    if (fd < 0 && errno == ENOENT && create) {
        wrong = ring_make(p, path);
        fd = wrong ? -1 : ring_open(path);
    }
    if (fd < 0 && !wrong) {
        wrong = ring_open_failed(p, errno);
    }
    if (!wrong) {
        wrong = ring_judge(fd);
    }
    if (!wrong) {
        wrong = ring_read(p, fd, text, &len);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (!wrong) {
        casp_ring_t *made = apr_pcalloc(p, sizeof(*made));
        apr_pool_cleanup_register(p, made, ring_cleanup,
                                  apr_pool_cleanup_null);
        wrong = casp_ring_parse(text, len, made, &line);
        *ring = wrong ? NULL : made;
    }
    casp_wipe(text, len);
    if (!wrong) {
        return NULL;
    }
    return line ? apr_psprintf(p, "line %d of the key ring %s %s", line, path,
                               wrong)
                : apr_psprintf(p, "the key ring %s %s", path, wrong);
}
