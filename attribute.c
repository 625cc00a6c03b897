/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * attribute.c: what single attributes of Exchange's objects say: a server's
 * version, and a URL.
 *
 * Why: an attribute is input.  Whoever may write a virtual directory's
 * object must not thereby steer requests with passwords in them to any byte
 * string he likes, so a URL is taken apart to the last character and put
 * together anew, or it is none.  This room must not look anything up.
 */

#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <apr_cstr.h>
#include <apr_strings.h>

#include "topology.h"

#define URL_MAX 2048
#define HOST_MAX 253

/* Not ctype.h: in some locales a byte of UTF-8 is a letter. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_alnum(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

/* -------------------------------------------------------------- versions */

static casp_version_e version_of_numbers(int major, int minor)
{
    switch (major) {
    case 6:
        return minor < 5 ? CASP_V2000 : CASP_V2003;
    case 8:
        return CASP_V2007;
    case 14:
        return CASP_V2010;
    case 15:
        return minor == 0   ? CASP_V2013
               : minor == 1 ? CASP_V2016
               : minor == 2 ? CASP_V2019
                            : CASP_V_NONE;
    default:
        return CASP_V_NONE;
    }
}

/* A decimal number of at most six digits. */
static bool read_number(const char **in, int *n)
{
    int digits = 0;

    *n = 0;
    while (is_digit(**in)) {
        if (++digits > 6) {
            return false;
        }
        *n = 10 * *n + (**in - '0');
        (*in)++;
    }
    return digits > 0;
}

static bool skip_word(const char **in, const char *word)
{
    apr_size_t len = strlen(word);

    if (apr_cstr_casecmpn(*in, word, len)) {
        return false;
    }
    *in += len;
    return true;
}

/* "Version 14.3 (Build 30123.4)", "Version 6.5 (Build 7638.2: Service ...)" */
static bool read_serial(const char *serial, int *major, int *minor, int *build)
{
    const char *in = serial;

    if (!skip_word(&in, "Version ") || !read_number(&in, major) || *in++ != '.'
        || !read_number(&in, minor)) {
        return false;
    }
    *build = 0;
    if (skip_word(&in, " (Build ") && read_number(&in, build) && *major >= 8) {
        /* Since 2007 the build is written with 30000 added, in between with
         * 10000; no real build is as big. */
        *build -= *build >= 30000 ? 30000 : *build >= 10000 ? 10000 : 0;
    }
    return true;
}

static bool read_version_number(int64_t v, int *major, int *minor, int *build)
{
    if (v >= 0x70000000 && v <= 0x7fffffff) {
        *major = (int)(v >> 22 & 63);
        *minor = (int)(v >> 16 & 63);
        *build = (int)(v & 0x7fff);
        return true;
    }
    if (v > 0 && v < 0x10000) {
        /* 2000 and 2003 keep the bare build; 6944 is 2003 as released. */
        *major = 6;
        *minor = v >= 6944 ? 5 : 0;
        *build = (int)v;
        return true;
    }
    return false;
}

casp_version_e casp_version_of(const char *serial, int64_t version_number,
                               int *major, int *minor, int *build)
{
    int m = 0, n = 0, b = 0;
    casp_version_e v = CASP_V_NONE;

    if (serial && read_serial(serial, &m, &n, &b)) {
        v = version_of_numbers(m, n);
    }
    if (v == CASP_V_NONE && read_version_number(version_number, &m, &n, &b)) {
        v = version_of_numbers(m, n);
    }
    if (major) {
        *major = m;
    }
    if (minor) {
        *minor = n;
    }
    if (build) {
        *build = b;
    }
    return v;
}

casp_version_e casp_version_of_object(int64_t msexch_version)
{
    if (msexch_version <= 0) {
        return CASP_V_NONE;
    }
    int format = (int)(msexch_version >> 50);
    int major = (int)(msexch_version >> 34 & 255);
    int minor = (int)(msexch_version >> 26 & 255);

    /* The format of 2016 alone carries no build. */
    if (format == 1 && major == 0) {
        return CASP_V2016;
    }
    return version_of_numbers(major, minor);
}

/* ------------------------------------------------------------------ URLs */

/* The characters that a path may have; everything else must be escaped, and
 * what only a confused reader or a proxy would want escaped is refused. */
static bool path_char(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("-._~!$&'()*+,;=:@/", c));
}

static int hex(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A segment that is "." or "..", also with escaped dots. */
static bool dot_segment(const char *from, const char *to)
{
    int dots = 0;

    while (from < to) {
        if (*from == '.') {
            from++;
        }
        else if (to - from >= 3 && !apr_cstr_casecmpn(from, "%2e", 3)) {
            from += 3;
        }
        else {
            return false;
        }
        dots++;
    }
    return dots == 1 || dots == 2;
}

static bool good_escape(const char *in)
{
    int high = hex(in[1]);
    int low = high >= 0 ? hex(in[2]) : -1;

    if (low < 0) {
        return false;
    }
    int c = high << 4 | low;

    /* Bytes that change the meaning of a path when it is decoded, once or
     * twice. */
    return c >= 0x20 && c != 0x7f && c != '/' && c != '\\' && c != '%';
}

/* "" or "/a/b": no empty segment, no dots, no query, no fragment. */
static bool good_path(const char *path, apr_size_t len)
{
    const char *end = path + len;
    const char *segment = path + 1;

    if (!len) {
        return true;
    }
    for (const char *in = path + 1; in <= end; in++) {
        if (in == end || *in == '/') {
            if (in == segment || dot_segment(segment, in)) {
                return false;
            }
            segment = in + 1;
        }
        else if (*in == '%') {
            if (end - in < 3 || !good_escape(in)) {
                return false;
            }
            in += 2;
        }
        else if (!path_char(*in)) {
            return false;
        }
    }
    return true;
}

/* Letters, digits, hyphens; the underscore too, for Windows allows it and
 * such servers exist. */
static bool good_label(const char *label, apr_size_t len)
{
    if (!len || len > 63 || label[0] == '-' || label[len - 1] == '-') {
        return false;
    }
    for (apr_size_t i = 0; i < len; i++) {
        if (!is_alnum(label[i]) && label[i] != '-' && label[i] != '_') {
            return false;
        }
    }
    return true;
}

static bool good_name(const char *host)
{
    const char *label = host;

    for (;;) {
        apr_size_t len = strcspn(label, ".");

        if (!good_label(label, len)) {
            return false;
        }
        if (label[len] == '\0') {
            break;
        }
        label += len + 1;
    }
    /* A last label of digits makes an address of it, in one of the many
     * spellings that resolvers understand differently. */
    return !is_digit(*label) || label[strspn(label, "0123456789")] != '\0';
}

/* The one spelling of a host, or NULL. */
static const char *normal_host(apr_pool_t *p, const char *host, apr_size_t len)
{
    if (!len || len > HOST_MAX + 2) {
        return NULL;
    }
    char *h = apr_pstrmemdup(p, host, len);

    for (char *c = h; *c != '\0'; c++) {
        *c = lower(*c);
    }
    if (*h == '[') {
        struct in6_addr six;
        char text[INET6_ADDRSTRLEN];

        if (h[len - 1] != ']') {
            return NULL;
        }
        h[len - 1] = '\0';
        if (inet_pton(AF_INET6, h + 1, &six) != 1
            || !inet_ntop(AF_INET6, &six, text, sizeof(text))) {
            return NULL;
        }
        return apr_pstrcat(p, "[", text, "]", NULL);
    }
    struct in_addr four;

    if (inet_pton(AF_INET, h, &four) == 1) {
        return h;
    }
    if (h[len - 1] == '.') {
        h[len - 1] = '\0'; /* the root's dot */
    }
    return strlen(h) <= HOST_MAX && good_name(h) ? h : NULL;
}

/* ":8443" to a number; nothing is 0; -1 is none. */
static int read_port(const char *from, const char *to)
{
    int port = 0;

    if (from == to) {
        return 0;
    }
    if (*from != ':' || to - from < 2 || to - from > 6) {
        return -1;
    }
    for (const char *c = from + 1; c < to; c++) {
        if (!is_digit(*c)) {
            return -1;
        }
        port = 10 * port + (*c - '0');
    }
    return port >= 1 && port <= 65535 ? port : -1;
}

const char *casp_url_check(apr_pool_t *p, const char *url)
{
    if (!url || strlen(url) > URL_MAX) {
        return NULL;
    }
    bool https = !apr_cstr_casecmpn(url, "https://", 8);

    if (!https && apr_cstr_casecmpn(url, "http://", 7)) {
        return NULL;
    }
    const char *host = url + (https ? 8 : 7);
    const char *path = host + strcspn(host, "/");
    const char *host_end;

    if (*host == '[') {
        host_end = memchr(host, ']', (apr_size_t)(path - host));
        host_end = host_end ? host_end + 1 : path;
    }
    else {
        host_end = memchr(host, ':', (apr_size_t)(path - host));
        host_end = host_end ? host_end : path;
    }
    const char *name = normal_host(p, host, (apr_size_t)(host_end - host));
    int port = read_port(host_end, path);
    apr_size_t path_len = strlen(path);

    if (path_len && path[path_len - 1] == '/') {
        path_len--;
    }
    if (!name || port < 0 || !good_path(path, path_len)) {
        return NULL;
    }
    return apr_pstrcat(p, https ? "https://" : "http://", name,
                       port && port != (https ? 443 : 80)
                           ? apr_psprintf(p, ":%d", port)
                           : "",
                       apr_pstrmemdup(p, path, path_len), NULL);
}

static const char *authority(const char *url)
{
    const char *slashes = strstr(url, "://");

    return slashes ? slashes + 3 : url;
}

const char *casp_url_host(apr_pool_t *p, const char *url)
{
    const char *host = authority(url);

    return apr_pstrmemdup(p, host, strcspn(host, "/"));
}

const char *casp_url_path(const char *url)
{
    const char *host = authority(url);

    return host + strcspn(host, "/");
}

bool casp_url_https(const char *url)
{
    return !apr_cstr_casecmpn(url, "https://", 8);
}
