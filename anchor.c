/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * anchor.c - whose mailbox an EWS request is about, by its SOAP header.
 *
 * A message may be large and its rest not here yet, while an XML parser wants
 * a document.  So a scanner of a dozen rules finds the byte that the header
 * ends at; what stands before it, closed by an end tag of ours, is read by
 * apr_xml, which knows about namespaces and character sets.
 *
 * The scanner refuses what SOAP forbids, a document type: there are no
 * entities then that could grow.  It bounds the depth, and whoever calls it
 * the length.  What is found is a claim and looked up only for a known user;
 * what cannot be read is no error here: the backend will say what it thinks.
 */

#include "anchor.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <apr_xml.h>

#include "identity.h"

#define DEEPEST 32
#define SOAP11 "http://schemas.xmlsoap.org/soap/envelope/"
#define SOAP12 "http://www.w3.org/2003/05/soap-envelope"
#define TYPES "http://schemas.microsoft.com/exchange/services/2006/types"

/* ----------------------------------------------------------------- scanner */

enum {
    TEXT = 0,
    MARKUP, /* behind a "<" */
    DECLARED, /* behind "<!" */
    COMMENT,
    CDATA,
    INSTRUCTION,
    START,
    END,
    FOUND,
    NOTHING
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Do the bytes before this one, but for the opening's own, say so? */
static bool ends(const casp_anchor_scan_t *s, const char *data, size_t opening,
                 const char *by)
{
    size_t n = strlen(by);

    return s->at >= s->markup + opening + n
           && !memcmp(data + s->at - n, by, n);
}

/* Spaces and a byte order mark may stand before the first element. */
static int text(const casp_anchor_scan_t *s, char c)
{
    if (c == '<')
        return MARKUP;
    return s->depth || is_space(c) || (s->at < 3 && (c & 0x80)) ? TEXT
                                                                : NOTHING;
}

static int declared(const casp_anchor_scan_t *s, const char *data)
{
    const char *here = data + s->markup;
    size_t n = s->at + 1 - s->markup;

    if (n <= 4 && !strncmp(here, "<!--", n))
        return n == 4 ? COMMENT : DECLARED;
    if (n <= 9 && !strncmp(here, "<![CDATA[", n))
        return n < 9 ? DECLARED : s->depth ? CDATA : NOTHING;
    return NOTHING; /* a document type */
}

/* A name up to its end; without its prefix where that is not wanted. */
static size_t name_of(const char *data, size_t from, size_t to, bool whole,
                      size_t *len)
{
    size_t end = from;

    while (end < to && !is_space(data[end]) && data[end] != '/')
        end++;
    if (!whole) {
        const char *colon = memchr(data + from, ':', end - from);
        if (colon)
            from = (size_t)(colon - data) + 1;
    }
    *len = end - from;
    return from;
}

static int started(casp_anchor_scan_t *s, const char *data)
{
    bool empty = data[s->at - 1] == '/';
    size_t len, at;

    if (s->depth == 0 && !s->root_len) {
        s->root = name_of(data, s->markup + 1, s->at, true, &s->root_len);
        if (!s->root_len || empty)
            return NOTHING;
    }
    else if (s->depth == 0) {
        return NOTHING;
    }
    else if (s->depth == 1) { /* the header is the first, or there is none */
        at = name_of(data, s->markup + 1, s->at, false, &len);
        if (empty || len != 6 || memcmp(data + at, "Header", 6))
            return NOTHING;
    }
    if (!empty && ++s->depth > DEEPEST)
        return NOTHING;
    return TEXT;
}

static int start(casp_anchor_scan_t *s, const char *data, char c)
{
    if (s->quote) {
        if (c == s->quote)
            s->quote = '\0';
    }
    else if (c == '"' || c == '\'') {
        s->quote = c;
    }
    else if (c == '>') {
        return started(s, data);
    }
    return c == '<' || c == '\0' ? NOTHING : START;
}

static int ended(casp_anchor_scan_t *s)
{
    if (--s->depth > 1)
        return TEXT;
    s->end = s->at + 1;
    return s->depth == 1 ? FOUND : NOTHING;
}

static int step(casp_anchor_scan_t *s, const char *data, char c)
{
    switch (s->state) {
    case TEXT:
        if (c == '<')
            s->markup = s->at;
        return text(s, c);
    case MARKUP:
        return c == '!'                  ? DECLARED
               : c == '?'                ? INSTRUCTION
               : c == '/'                ? END
               : is_space(c) || c == '>' ? NOTHING
                                         : start(s, data, c);
    case DECLARED:
        return declared(s, data);
    case COMMENT:
        return c == '>' && ends(s, data, 4, "--") ? TEXT : COMMENT;
    case CDATA:
        return c == '>' && ends(s, data, 9, "]]") ? TEXT : CDATA;
    case INSTRUCTION:
        return c == '>' && ends(s, data, 2, "?") ? TEXT : INSTRUCTION;
    case START:
        return start(s, data, c);
    case END:
        return c == '>' ? ended(s) : c == '<' || c == '\0' ? NOTHING : END;
    default:
        return s->state;
    }
}

casp_anchor_e casp_anchor_scan(casp_anchor_scan_t *scan, const char *data,
                               apr_size_t len)
{
    while (scan->at < len && scan->state != FOUND && scan->state != NOTHING) {
        scan->state = step(scan, data, data[scan->at]);
        scan->at++;
    }
    return scan->state == FOUND     ? CASP_ANCHOR_FOUND
           : scan->state == NOTHING ? CASP_ANCHOR_NONE
                                    : CASP_ANCHOR_MORE;
}

/* ------------------------------------------------------------------ parser */

static bool is_named(const apr_xml_doc *doc, const apr_xml_elem *e,
                     const char *space, const char *name)
{
    return e && e->ns >= 0 && e->ns < doc->namespaces->nelts
           && !strcmp(APR_XML_GET_URI_ITEM(doc->namespaces, e->ns), space)
           && !strcmp(e->name, name);
}

static const apr_xml_elem *child(const apr_xml_doc *doc,
                                 const apr_xml_elem *of, const char *space,
                                 const char *name)
{
    const apr_xml_elem *e = of ? of->first_child : NULL;

    while (e && !is_named(doc, e, space, name))
        e = e->next;
    return e;
}

/* ExchangeImpersonation/ConnectingSID of an envelope, or NULL. */
static const apr_xml_elem *connecting(const apr_xml_doc *doc)
{
    static const char *const soaps[] = {SOAP11, SOAP12};

    for (size_t i = 0; i < sizeof soaps / sizeof *soaps; i++) {
        const apr_xml_elem *e;
        if (!is_named(doc, doc->root, soaps[i], "Envelope"))
            continue;
        e = child(doc, doc->root, soaps[i], "Header");
        e = child(doc, e, TYPES, "ExchangeImpersonation");
        return child(doc, e, TYPES, "ConnectingSID");
    }
    return NULL;
}

/* An element's text without the spaces around it; NULL: nothing that could
 * name anybody. */
static char *name_in(apr_pool_t *p, const apr_xml_elem *e)
{
    char *all, *end;
    const apr_text *t;
    size_t len = 0;

    for (t = e->first_cdata.first; t; t = t->next)
        len += strlen(t->text);
    if (len > CASP_NAME_MAX)
        return NULL;
    all = end = apr_palloc(p, len + 1);
    for (t = e->first_cdata.first; t; t = t->next)
        end = apr_cpystrn(end, t->text, strlen(t->text) + 1);
    *end = '\0';
    while (is_space(*all))
        all++;
    for (end = all + strlen(all); end > all && is_space(end[-1]); end--)
        end[-1] = '\0';
    for (const char *c = all; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return NULL;
    return *all ? all : NULL;
}

/* "S-1-5-21-..." in the directory's form.  @return its length, 0: none */
static apr_size_t sid_in(const char *words, unsigned char sid[68])
{
    apr_uint64_t authority = 0;
    char *end = NULL;
    int n = 0;

    if (strncmp(words, "S-1-", 4) && strncmp(words, "s-1-", 4))
        return 0;
    for (const char *at = words + 4;; at = end + 1) {
        apr_uint64_t v;
        if (*at < '0' || *at > '9' || strspn(at, "0123456789") > 15)
            return 0;
        v = (apr_uint64_t)strtoull(at, &end, 10);
        if (at == words + 4) {
            if (v >> 48)
                return 0;
            authority = v;
        }
        else {
            if (v > 0xffffffffU || n == 15)
                return 0;
            for (int i = 0; i < 4; i++)
                sid[8 + 4 * n + i] = (unsigned char)(v >> (8 * i));
            n++;
        }
        if (*end != '-')
            break;
    }
    if (*end || !n)
        return 0;
    sid[0] = 1;
    sid[1] = (unsigned char)n;
    for (int i = 0; i < 6; i++)
        sid[2 + i] = (unsigned char)(authority >> (8 * (5 - i)));
    return 8 + 4 * (apr_size_t)n;
}

/* What is in it, as a key of the directory. */
static const char *key_in(apr_pool_t *p, const apr_xml_doc *doc,
                          const apr_xml_elem *sid, casp_key_e *kind,
                          apr_size_t *name_len)
{
    static const struct {
        const char *name;
        casp_key_e kind;
    } words[] = {{"PrincipalName", CASP_KEY_UPN},
                 /* not CASP_KEY_SID: that would take a user on whom this SID
                  * was left over before the account itself */
                 {"SID", CASP_KEY_ACCOUNT},
                 {"PrimarySmtpAddress", CASP_KEY_SMTP},
                 {"SmtpAddress", CASP_KEY_SMTP}};

    for (size_t i = 0; sid && i < sizeof words / sizeof *words; i++) {
        const apr_xml_elem *e = child(doc, sid, TYPES, words[i].name);
        char *name = e ? name_in(p, e) : NULL;
        if (!name)
            continue;
        *kind = words[i].kind;
        if (*kind == CASP_KEY_ACCOUNT) {
            unsigned char binary[68];
            *name_len = sid_in(name, binary);
            return *name_len ? apr_pmemdup(p, binary, *name_len) : NULL;
        }
        *name_len = strlen(name);
        return strchr(name, '@') ? name : NULL;
    }
    return NULL;
}

const char *casp_anchor_parse(apr_pool_t *p, const casp_anchor_scan_t *scan,
                              const char *data, casp_key_e *kind,
                              apr_size_t *name_len)
{
    apr_xml_parser *parser;
    apr_xml_doc *doc = NULL;
    const char *name = NULL, *close;
    apr_pool_t *own; /* a tree is many times as large as its text */

    if (scan->state != FOUND || apr_pool_create(&own, p) != APR_SUCCESS)
        return NULL;
    close = apr_pstrcat(own, "</",
                        apr_pstrmemdup(own, data + scan->root, scan->root_len),
                        ">", NULL);
    parser = apr_xml_parser_create(own);
    if (apr_xml_parser_feed(parser, data, scan->end) == APR_SUCCESS
        && apr_xml_parser_feed(parser, close, strlen(close)) == APR_SUCCESS
        && apr_xml_parser_done(parser, &doc) == APR_SUCCESS)
        name = key_in(p, doc, connecting(doc), kind, name_len);
    apr_pool_destroy(own);
    return name;
}

const char *casp_anchor_read(apr_pool_t *p, const char *data, apr_size_t len,
                             casp_key_e *kind, apr_size_t *name_len)
{
    casp_anchor_scan_t scan = {0};

    return casp_anchor_scan(&scan, data, len) == CASP_ANCHOR_FOUND
               ? casp_anchor_parse(p, &scan, data, kind, name_len)
               : NULL;
}
