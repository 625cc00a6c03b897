/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * entry.c: entries, names and GUIDs of a directory, held in memory.
 *
 * Why: LDAP answers and exports must look alike to the rooms behind, and a
 * distinguished name can be written in many ways while objects refer to each
 * other by it: one normal form makes a reference a hash look-up.  This room
 * must not know what an attribute means, and must not fail: what it reads is
 * input, and the worst input still has some normal form.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <apr_cstr.h>
#include <apr_strings.h>
#include <openssl/sha.h>

#include "entry.h"

/* ---------------------------------------------------------------- bytes */

/* Not ctype.h: names are compared alike whatever locale the server has. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char hex_chars[] = "0123456789abcdef";

/* -------------------------------------------------------------- entries */

casp_entry_t *casp_entry_make(apr_pool_t *p, const char *dn)
{
    casp_entry_t *e = apr_palloc(p, sizeof(*e));

    e->dn = apr_pstrdup(p, dn);
    e->attrs = apr_array_make(p, 12, sizeof(casp_attr_t));
    return e;
}

/* Options say how a value was transferred, not what it is. */
static apr_size_t bare_name_len(const char *name)
{
    return strcspn(name, ";");
}

static casp_attr_t *find_attr(const casp_entry_t *e, const char *name,
                              apr_size_t len)
{
    casp_attr_t *attrs = (casp_attr_t *)e->attrs->elts;

    /* From the end: an entry is filled attribute by attribute. */
    for (int i = e->attrs->nelts - 1; i >= 0; i--) {
        if (!apr_cstr_casecmpn(attrs[i].name, name, len)
            && attrs[i].name[len] == '\0') {
            return &attrs[i];
        }
    }
    return NULL;
}

static void make_room(apr_pool_t *p, casp_attr_t *a)
{
    if (a->nvalues < a->room) {
        return;
    }
    int room = a->nvalues ? 2 * a->nvalues : 1;
    casp_value_t *values = apr_palloc(p, sizeof(*values) * (apr_size_t)room);

    if (a->nvalues) {
        memcpy(values, a->values, sizeof(*values) * (apr_size_t)a->nvalues);
    }
    a->values = values;
    a->room = room;
}

void casp_entry_add(apr_pool_t *p, casp_entry_t *e, const char *name,
                    const char *data, apr_size_t len)
{
    apr_size_t name_len = bare_name_len(name);
    casp_attr_t *a = find_attr(e, name, name_len);

    if (!a) {
        a = apr_array_push(e->attrs);
        memset(a, 0, sizeof(*a));
        a->name = apr_pstrmemdup(p, name, name_len);
    }
    make_room(p, a);
    /* Not apr_pstrmemdup: it may stop at nothing, but says it copies text. */
    char *copy = apr_palloc(p, len + 1);

    if (len) {
        memcpy(copy, data, len);
    }
    copy[len] = '\0';
    a->values[a->nvalues].data = copy;
    a->values[a->nvalues].len = len;
    a->nvalues++;
}

const casp_attr_t *casp_entry_attr(const casp_entry_t *e, const char *name)
{
    return find_attr(e, name, bare_name_len(name));
}

const char *casp_entry_str(const casp_entry_t *e, const char *name)
{
    const casp_attr_t *a = casp_entry_attr(e, name);

    if (!a || !a->nvalues || !a->values[0].len
        || memchr(a->values[0].data, '\0', a->values[0].len)) {
        return NULL;
    }
    return a->values[0].data;
}

int64_t casp_entry_int(const casp_entry_t *e, const char *name,
                       int64_t missing)
{
    const char *text = casp_entry_str(e, name);

    if (!text || (*text != '-' && (*text < '0' || *text > '9'))) {
        return missing;
    }
    char *end;

    errno = 0;
    long long n = strtoll(text, &end, 10);
    return errno || *end != '\0' || end == text ? missing : (int64_t)n;
}

bool casp_entry_has(const casp_entry_t *e, const char *name, const char *value)
{
    const casp_attr_t *a = casp_entry_attr(e, name);
    apr_size_t len = strlen(value);

    for (int i = 0; a && i < a->nvalues; i++) {
        if (a->values[i].len == len
            && !apr_cstr_casecmpn(a->values[i].data, value, len)) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------- DN */

/* What a value must hide behind a backslash: every character that means
 * something anywhere in a DN, so that in a normal form a comma, a plus or an
 * equals sign is always a separator. */
static bool must_escape(unsigned char c)
{
    return c < 0x20 || c == 0x7f || strchr(",+\"\\<>;=", c) != NULL;
}

/* One byte of a value: an escape of either spelling, or itself. */
static const char *value_byte(const char *in, const char *end, char *byte,
                              bool *escaped)
{
    *escaped = *in == '\\' && in + 1 < end;
    if (!*escaped) {
        *byte = *in;
        return in + 1;
    }
    int high = hex_digit(in[1]);
    int low = in + 2 < end ? hex_digit(in[2]) : -1;

    if (high >= 0 && low >= 0) {
        *byte = (char)(high << 4 | low);
        return in + 3;
    }
    *byte = in[1];
    return in + 2;
}

/* The end of the part that starts here: the next of these separators that is
 * neither escaped nor in quotes. */
static const char *part_end(const char *in, const char *end,
                            const char *separators)
{
    bool quoted = false;

    for (; in < end; in++) {
        if (*in == '\\' && in + 1 < end) {
            in++;
        }
        else if (*in == '"') {
            quoted = !quoted;
        }
        else if (!quoted && strchr(separators, *in)) {
            break;
        }
    }
    return in;
}

/* Quotes that never close are no quotes: else one stray quote would hide all
 * separators behind it, and with them the parent of the entry. */
static const char *rdn_end(const char *in, const char *end,
                           const char *separators)
{
    const char *found = part_end(in, end, separators);

    if (found < end) {
        return found;
    }
    bool quoted = false;
    const char *bare = end;

    for (const char *c = in; c < end; c++) {
        if (*c == '\\' && c + 1 < end) {
            c++;
        }
        else if (*c == '"') {
            quoted = !quoted;
        }
        else if (bare == end && strchr(separators, *c)) {
            bare = c;
        }
    }
    return quoted ? bare : end;
}

static void trim(const char **from, const char **to)
{
    while (*from < *to && **from == ' ') {
        (*from)++;
    }
    /* A trailing space behind a backslash belongs to the value; behind two
     * of them it does not. */
    while (*to > *from && (*to)[-1] == ' ') {
        const char *c = *to - 1;

        while (c > *from && c[-1] == '\\') {
            c--;
        }
        if (((*to - 1) - c) % 2) {
            break;
        }
        (*to)--;
    }
}

static char *put_byte(char *out, char c, bool escape)
{
    unsigned char u = (unsigned char)c;

    if (!escape) {
        *out++ = lower(c);
        return out;
    }
    *out++ = '\\';
    *out++ = hex_chars[u >> 4];
    *out++ = hex_chars[u & 15];
    return out;
}

/* The normal form of a value; at most three bytes for one. */
static char *put_value(char *out, const char *in, const char *end)
{
    trim(&in, &end);
    if (end - in >= 2 && *in == '"' && end[-1] == '"') {
        in++;
        end--;
    }
    const char *start = in;
    const char *last_start = in;
    char *last_out = out;
    bool last_space = false;

    while (in < end) {
        char byte;
        bool escaped;
        bool first = in == start;

        last_start = in;
        last_out = out;
        in = value_byte(in, end, &byte, &escaped);
        last_space = byte == ' ';
        /* A "#" in front announces BER in hexadecimal, an escaped one is
         * just a character. */
        out = put_byte(out, byte,
                       must_escape((unsigned char)byte)
                           || (first
                               && (byte == ' ' || (byte == '#' && escaped))));
    }
    if (last_space && last_start != start) {
        out = put_byte(last_out, ' ', true);
    }
    return out;
}

/* One type=value; without an equals sign all of it is value. */
static char *put_ava(char *out, const char *in, const char *end)
{
    const char *equals = part_end(in, end, "=");

    if (equals < end) {
        out = put_value(out, in, equals);
        *out++ = '=';
        in = equals + 1;
    }
    return put_value(out, in, end);
}

void casp_dn_normal_into(char *out, const char *dn)
{
    const char *in = dn, *dn_end = dn + strlen(dn);

    for (;;) {
        const char *end = rdn_end(in, dn_end, ",+");

        out = put_ava(out, in, end);
        if (end == dn_end) {
            break;
        }
        *out++ = *end;
        in = end + 1;
    }
    *out = '\0';
}

const char *casp_dn_normal(apr_pool_t *p, const char *dn)
{
    char *out = apr_palloc(p, 3 * strlen(dn) + 1);

    casp_dn_normal_into(out, dn);
    return out;
}

const char *casp_dn_parent(const char *dn)
{
    const char *dn_end = dn + strlen(dn);
    const char *end = rdn_end(dn, dn_end, ",");

    if (end == dn_end) {
        return NULL;
    }
    end++;
    while (*end == ' ') {
        end++;
    }
    return *end != '\0' ? end : NULL;
}

const char *casp_dn_leaf(apr_pool_t *p, const char *dn)
{
    const char *end = rdn_end(dn, dn + strlen(dn), ",+");
    const char *in = part_end(dn, end, "=");

    in = in < end ? in + 1 : dn;
    trim(&in, &end);
    if (end - in >= 2 && *in == '"' && end[-1] == '"') {
        in++;
        end--;
    }
    char *leaf = apr_palloc(p, (apr_size_t)(end - in) + 1);
    char *out = leaf;

    while (in < end) {
        char byte;
        bool escaped;

        in = value_byte(in, end, &byte, &escaped);
        *out++ = byte != '\0' ? byte : '?';
    }
    *out = '\0';
    return leaf;
}

bool casp_dn_below(const char *dn, const char *base)
{
    apr_size_t len = strlen(dn), base_len = strlen(base);

    if (!base_len) {
        return true;
    }
    if (len < base_len || strcmp(dn + len - base_len, base)) {
        return false;
    }
    return len == base_len || dn[len - base_len - 1] == ',';
}

/* ----------------------------------------------------------------- GUID */

/* AD keeps the first three fields little endian: where each byte of the
 * text stands in the sixteen. */
static const int guid_order[16] = {3, 2, 1,  0,  5,  4,  7,  6,
                                   8, 9, 10, 11, 12, 13, 14, 15};

casp_guid_t casp_guid_of_text(const char *text)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    casp_guid_t g;

    SHA256((const unsigned char *)text, strlen(text), hash);
    memcpy(g.b, hash, sizeof(g.b));
    /* Version 8 and the usual variant: nobody's real GUID looks like it. */
    g.b[7] = (unsigned char)((g.b[7] & 0x0f) | 0x80);
    g.b[8] = (unsigned char)((g.b[8] & 0x3f) | 0x80);
    return g;
}

bool casp_guid_equal(const casp_guid_t *a, const casp_guid_t *b)
{
    return !memcmp(a->b, b->b, sizeof(a->b));
}

bool casp_guid_zero(const casp_guid_t *g)
{
    static const casp_guid_t zero;

    return casp_guid_equal(g, &zero);
}

const char *casp_guid_text(apr_pool_t *p, const casp_guid_t *g)
{
    char *text = apr_palloc(p, 37);
    char *out = text;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = hex_chars[g->b[guid_order[i]] >> 4];
        *out++ = hex_chars[g->b[guid_order[i]] & 15];
    }
    *out = '\0';
    return text;
}

bool casp_guid_parse(const char *text, casp_guid_t *g)
{
    bool braces = *text == '{';
    casp_guid_t read;
    const char *in = text + (braces ? 1 : 0);
    /* All four hyphens or none of them. */
    bool hyphens = strlen(in) >= 9 && in[8] == '-';

    for (int i = 0; i < 16; i++) {
        if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10)) {
            if (*in++ != '-') {
                return false;
            }
        }
        int high = hex_digit(in[0]);
        int low = high >= 0 ? hex_digit(in[1]) : -1;

        if (low < 0) {
            return false;
        }
        read.b[guid_order[i]] = (unsigned char)(high << 4 | low);
        in += 2;
    }
    if (braces && *in++ != '}') {
        return false;
    }
    if (*in != '\0') {
        return false;
    }
    *g = read;
    return true;
}

/* Exports written by hand carry the text of a GUID. */
static bool guid_of_value(const casp_value_t *v, casp_guid_t *g)
{
    if (v->len == sizeof(g->b)) {
        memcpy(g->b, v->data, sizeof(g->b));
        return !casp_guid_zero(g);
    }
    return strlen(v->data) == v->len && casp_guid_parse(v->data, g)
           && !casp_guid_zero(g);
}

casp_guid_t casp_entry_guid(const casp_entry_t *e)
{
    const casp_attr_t *a = casp_entry_attr(e, "objectGUID");
    casp_guid_t g;

    if (a && a->nvalues && guid_of_value(&a->values[0], &g)) {
        return g;
    }
    /* malloc, not the entry's pool: entries of an export are read by many
     * threads at once. */
    char *normal = malloc(3 * strlen(e->dn) + 1);

    if (!normal) {
        return casp_guid_of_text(e->dn);
    }
    casp_dn_normal_into(normal, e->dn);
    g = casp_guid_of_text(normal);
    free(normal);
    return g;
}
