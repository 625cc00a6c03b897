/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ldif.c: exports of a directory, in and out.
 *
 * Why: an administrator tries a configuration on an export long before a DMZ
 * host may talk to a domain controller, and the state file that lets a server
 * start without its directory is the same format, readable by people.  This
 * room must not open any file that a text names, must not stop at a broken
 * record, and must not know what an attribute means.
 *
 * libldap has a reader as well, but it opens what "include:" and ":<" name,
 * takes base64 that is none, and its header has the name of ours.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_base64.h>
#include <apr_cstr.h>
#include <apr_file_io.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "ldif.h"

#define PROBLEMS_MAX 100
/* Far above what AD allows; they keep the cost of a record linear. */
#define DN_MAX 4096
#define ATTRS_MAX 1000
/* Where a line is folded when written. */
#define LINE_WIDTH 76

typedef struct {
    const char *name;
    const char *value; /* with a NUL behind it */
    apr_size_t len;
} line_t;

typedef struct {
    apr_pool_t *p;
    apr_array_header_t *entries;
    apr_array_header_t *problems;
    apr_hash_t *by_dn; /* normal form -> casp_entry_t */
    apr_pool_t *scratch;
    apr_array_header_t *lines; /* of line_t, of the record at hand */
    char *buf; /* the record at hand, mutable */
    apr_size_t buf_size;
} reader_t;

/* One record of the text. */
typedef struct {
    const char *text;
    apr_size_t len;
    unsigned long line; /* its first one, counted from 1 */
} record_t;

/* ------------------------------------------------------------- problems */

static void tell(reader_t *r, const record_t *rec, const char *dn,
                 const char *what)
{
    apr_array_header_t *list = r->problems;

    if (!list || list->nelts >= PROBLEMS_MAX) {
        return;
    }
    const char *text;

    if (list->nelts == PROBLEMS_MAX - 1) {
        text = "more problems are not told; mend these first";
    }
    else if (dn) {
        text = apr_psprintf(r->p,
                            "line %lu: %s; the record of \"%.200s\" is left "
                            "out",
                            rec->line, what, dn);
    }
    else {
        text = apr_psprintf(r->p, "line %lu: %s; the record is left out",
                            rec->line, what);
    }
    APR_ARRAY_PUSH(list, const char *) = text;
}

/* ---------------------------------------------------------------- lines */

static bool word_is(const char *name, const char *word)
{
    return !apr_cstr_casecmp(name, word);
}

/* Cut the next line out of a record, unfolded and without its CR, all in
 * place.  NULL at the end; comments are passed over. */
static char *next_line(char **next)
{
    for (;;) {
        char *line = *next, *in = *next, *out = *next;

        if (*in == '\0') {
            return NULL;
        }
        for (; *in != '\0'; in++) {
            if (*in == '\n') {
                if (in[1] != ' ') {
                    in++;
                    break;
                }
                in++; /* the space belongs to the fold */
            }
            else if (*in != '\r') {
                *out++ = *in;
            }
        }
        *next = in;
        *out = '\0';
        if (*line != '#') {
            return line;
        }
    }
}

/* A letter or digit, then also what options are made of. */
static bool good_name(const char *name)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-;._=";

    return name[strspn(name, chars)] == '\0'
           && !strchr("-;._=", *name); /* nor empty */
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* In place, and nothing but base64: a value that is cut off must not become
 * a shorter one. */
static bool decode_base64(char *text, apr_size_t *len)
{
    apr_size_t n = strlen(text), pad = 0;

    while (pad < 2 && pad < n && text[n - 1 - pad] == '=') {
        pad++;
    }
    if (n % 4) {
        return false;
    }
    char *out = text;
    unsigned int bits = 0;

    for (apr_size_t i = 0; i < n; i++) {
        int digit = i < n - pad ? base64_digit(text[i]) : 0;

        if (digit < 0) {
            return false;
        }
        bits = (bits << 6 | (unsigned int)digit) & 0xffffff;
        if (i % 4 == 3) {
            *out++ = (char)(bits >> 16);
            *out++ = (char)(bits >> 8 & 0xff);
            *out++ = (char)(bits & 0xff);
        }
    }
    *len = (apr_size_t)(out - text) - pad;
    text[*len] = '\0';
    return true;
}

/* Read "name: value" or "name:: base64" in place.
 * Returns NULL, or what is wrong. */
static const char *read_line(char *text, line_t *line)
{
    char *value = strchr(text, ':');

    if (!value) {
        return "a line without a colon";
    }
    *value++ = '\0';
    line->name = text;
    if (!good_name(text)) {
        return "a line that does not begin with an attribute's name";
    }
    if (*value == '<') {
        return "a value by URL (\":<\"), which an export must not have";
    }
    bool base64 = *value == ':';

    value += base64 ? 1 : 0;
    value += strspn(value, " ");
    line->value = value;
    line->len = strlen(value);
    if (base64) {
        while (line->len && value[line->len - 1] == ' ') {
            value[--line->len] = '\0';
        }
        if (!decode_base64(value, &line->len)) {
            return "broken base64";
        }
    }
    return NULL;
}

/* --------------------------------------------------------------- records */

/* What ldapsearch says of itself, between the entries. */
static bool is_chatter(const char *name)
{
    return word_is(name, "search") || word_is(name, "result")
           || word_is(name, "ref") || word_is(name, "control")
           || word_is(name, "matchedDN") || word_is(name, "text");
}

static casp_entry_t *entry_of_dn(reader_t *r, const char *dn)
{
    const char *normal = casp_dn_normal(r->scratch, dn);
    casp_entry_t *e = apr_hash_get(r->by_dn, normal, APR_HASH_KEY_STRING);

    if (!e) {
        e = casp_entry_make(r->p, dn);
        APR_ARRAY_PUSH(r->entries, casp_entry_t *) = e;
        apr_hash_set(r->by_dn, normal, APR_HASH_KEY_STRING, e);
    }
    return e;
}

static const char *check_dn(const line_t *line)
{
    if (line->len > DN_MAX) {
        return "a name (DN) longer than 4096 bytes";
    }
    if (strlen(line->value) != line->len) {
        return "a name (DN) that holds a NUL";
    }
    return NULL;
}

/* The lines behind the "dn:" line.  Returns NULL, or what is wrong. */
static const char *check_lines(const reader_t *r, int first)
{
    const line_t *lines = (const line_t *)r->lines->elts;
    int names = 0;

    for (int i = first; i < r->lines->nelts; i++) {
        const char *name = lines[i].name;

        if (word_is(name, "changetype") && !word_is(lines[i].value, "add")) {
            return "a change that is not \"changetype: add\"";
        }
        if (word_is(name, "include")) {
            return "\"include:\", which an export must not have";
        }
        /* An upper bound will do: neighbours of one name are one. */
        if (i == first || !word_is(name, lines[i - 1].name)) {
            names++;
        }
    }
    return names > ATTRS_MAX ? "more than 1000 attributes" : NULL;
}

static void keep_record(reader_t *r, const record_t *rec, int first)
{
    const line_t *lines = (const line_t *)r->lines->elts;
    const char *dn = lines[first].value;
    const char *wrong = check_dn(&lines[first]);

    if (!wrong) {
        wrong = check_lines(r, first + 1);
    }
    casp_entry_t *e = NULL;

    if (!wrong) {
        e = entry_of_dn(r, dn);
        if (e->attrs->nelts >= ATTRS_MAX) {
            wrong = "more than 1000 attributes in all records of this name";
        }
    }
    if (wrong) {
        tell(r, rec, dn, wrong);
        return;
    }
    for (int i = first + 1; i < r->lines->nelts; i++) {
        if (!word_is(lines[i].name, "changetype")
            && !word_is(lines[i].name, "control")) {
            casp_entry_add(r->p, e, lines[i].name, lines[i].value,
                           lines[i].len);
        }
    }
}

static bool copy_record(reader_t *r, const record_t *rec)
{
    if (rec->len + 1 > r->buf_size) {
        apr_size_t size = 2 * (rec->len + 1);
        char *buf = realloc(r->buf, size);

        if (!buf) {
            return false;
        }
        r->buf = buf;
        r->buf_size = size;
    }
    memcpy(r->buf, rec->text, rec->len);
    r->buf[rec->len] = '\0';
    return true;
}

static const char *dn_so_far(const reader_t *r)
{
    const line_t *lines = (const line_t *)r->lines->elts;

    for (int i = 0; i < r->lines->nelts && i < 2; i++) {
        if (word_is(lines[i].name, "dn")) {
            return lines[i].value;
        }
    }
    return NULL;
}

static bool split_lines(reader_t *r, const record_t *rec)
{
    char *next = r->buf;

    apr_array_clear(r->lines);
    for (char *text; (text = next_line(&next)) != NULL;) {
        line_t line;
        const char *wrong = read_line(text, &line);

        if (wrong) {
            tell(r, rec, dn_so_far(r), wrong);
            return false;
        }
        APR_ARRAY_PUSH(r->lines, line_t) = line;
    }
    return true;
}

static void read_record(reader_t *r, const record_t *rec)
{
    if (memchr(rec->text, '\0', rec->len)) {
        tell(r, rec, NULL, "a NUL byte: this is no text");
        return;
    }
    if (!copy_record(r, rec)) {
        tell(r, rec, NULL, "no memory for a record of this size");
        return;
    }
    if (!split_lines(r, rec)) {
        return;
    }
    const line_t *lines = (const line_t *)r->lines->elts;
    int first = 0;

    if (r->lines->nelts && word_is(lines[0].name, "version")) {
        first = 1;
    }
    if (first >= r->lines->nelts || is_chatter(lines[first].name)) {
        return; /* comments, a version, or ldapsearch talking */
    }
    if (word_is(lines[first].name, "include")) {
        tell(r, rec, NULL, "\"include:\", which an export must not have");
    }
    else if (!word_is(lines[first].name, "dn")) {
        tell(r, rec, NULL, "a record that does not begin with \"dn:\"");
    }
    else {
        keep_record(r, rec, first);
    }
}

/* ------------------------------------------------------------- splitting */

static const char bom[] = "\xef\xbb\xbf";

static bool has_bom(const char *text, apr_size_t len)
{
    return len >= 3 && !memcmp(text, bom, 3);
}

static bool is_dn_line(const char *text, apr_size_t len)
{
    return len >= 3 && !apr_cstr_casecmpn(text, "dn:", 3);
}

/* Nothing in, nothing out: a record ends at an empty line, before the next
 * "dn:", and where another file begins: files are concatenated as they are,
 * the last line of one standing right before the first of the next. */
static void flush(reader_t *r, record_t *rec, const char *end)
{
    if (rec->text && end > rec->text) {
        rec->len = (apr_size_t)(end - rec->text);
        read_record(r, rec);
    }
    rec->text = NULL;
}

static void split_records(reader_t *r, const char *text, apr_size_t len)
{
    const char *end = text + len;
    record_t rec = {NULL, 0, 0};
    bool has_dn = false;
    unsigned long number = 0;

    for (const char *line = text; line < end;) {
        const char *eol = memchr(line, '\n', (apr_size_t)(end - line));
        const char *next = eol ? eol + 1 : end;
        apr_size_t size = (apr_size_t)((eol ? eol : end) - line);
        bool starts = has_bom(line, size);

        number++;
        if (starts) {
            flush(r, &rec, line);
            line += 3;
            size -= 3;
        }
        if (!size || (size == 1 && *line == '\r')) {
            flush(r, &rec, line);
        }
        else {
            bool dn = is_dn_line(line, size);

            if (dn && has_dn) {
                flush(r, &rec, line);
            }
            if (!rec.text) {
                rec.text = line;
                rec.line = number;
                has_dn = false;
            }
            has_dn = has_dn || dn;
        }
        line = next;
    }
    flush(r, &rec, end);
}

static bool is_utf16(const char *text, apr_size_t len)
{
    return len >= 2
           && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2));
}

void casp_ldif_parse(apr_pool_t *p, const char *text, apr_size_t len,
                     apr_array_header_t **entries,
                     apr_array_header_t *problems)
{
    reader_t r = {p, NULL, problems, NULL, NULL, NULL, NULL, 0};

    r.entries = apr_array_make(p, 64, sizeof(casp_entry_t *));
    *entries = r.entries;
    if (is_utf16(text, len)) {
        if (problems) {
            APR_ARRAY_PUSH(problems, const char *) =
                "the export is UTF-16: let ldifde write it without -u";
        }
        return;
    }
    if (apr_pool_create(&r.scratch, p) != APR_SUCCESS) {
        return;
    }
    apr_pool_tag(r.scratch, "casp_ldif_parse");
    r.by_dn = apr_hash_make(r.scratch);
    r.lines = apr_array_make(r.scratch, 64, sizeof(line_t));
    split_records(&r, text, len);
    free(r.buf);
    apr_pool_destroy(r.scratch);
}

/* ------------------------------------------------------------------ files */

static apr_status_t read_all(apr_pool_t *p, const char *path, char **text,
                             apr_size_t *len)
{
    apr_file_t *f;
    apr_finfo_t info;
    /* Asked before it is opened: opening a pipe waits for its writer. */
    apr_status_t rv = apr_stat(&info, path, APR_FINFO_TYPE, p);

    if (rv == APR_SUCCESS && info.filetype != APR_REG) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS) {
        rv = apr_file_open(&f, path, APR_FOPEN_READ | APR_FOPEN_BINARY,
                           APR_FPROT_OS_DEFAULT, p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, f);
    if (rv == APR_SUCCESS && info.filetype != APR_REG) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS && info.size > (apr_off_t)CASP_LDIF_MAX) {
        rv = APR_FROM_OS_ERROR(EFBIG);
    }
    if (rv == APR_SUCCESS) {
        *len = (apr_size_t)info.size;
        *text = malloc(*len + 1);
        rv = *text ? apr_file_read_full(f, *text, *len, len) : APR_ENOMEM;
        /* Shorter than it was a moment ago: somebody writes it. What is
         * there is read, and a record cut in half is told. */
        if (APR_STATUS_IS_EOF(rv)) {
            rv = APR_SUCCESS;
        }
    }
    apr_file_close(f);
    return rv;
}

apr_status_t casp_ldif_read(apr_pool_t *p, const char *path,
                            apr_array_header_t **entries,
                            apr_array_header_t *problems)
{
    char *text = NULL;
    apr_size_t len = 0;
    apr_pool_t *tmp;
    apr_status_t rv = apr_pool_create(&tmp, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_tag(tmp, "casp_ldif_read");
    rv = read_all(tmp, path, &text, &len);
    if (rv == APR_SUCCESS) {
        casp_ldif_parse(p, text, len, entries, problems);
        if (problems && len > 0 && text[len - 1] != '\n') {
            APR_ARRAY_PUSH(problems, const char *) =
                "it ends in the middle of a line, as a file that was cut off";
        }
    }
    free(text);
    apr_pool_destroy(tmp);
    return rv;
}

/* May this value stand as it is, RFC 2849's SAFE-STRING? */
static bool is_plain(const char *data, apr_size_t len)
{
    if (len && (strchr(" :<", data[0]) || data[len - 1] == ' ')) {
        return false;
    }
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];

        if (c < 0x20 || c > 0x7e) {
            return false;
        }
    }
    return true;
}

static apr_status_t put(apr_file_t *f, apr_pool_t *tmp, const char *name,
                        const char *data, apr_size_t len)
{
    const char *line;

    apr_pool_clear(tmp);
    if (!len || is_plain(data, len)) {
        line = apr_pstrcat(tmp, name, len ? ": " : ":", len ? data : "", NULL);
    }
    else {
        char *text =
            apr_palloc(tmp, (apr_size_t)apr_base64_encode_len((int)len));

        apr_base64_encode_binary(text, (const unsigned char *)data, (int)len);
        line = apr_pstrcat(tmp, name, ":: ", text, NULL);
    }
    apr_size_t left = strlen(line), room = LINE_WIDTH;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && left > room) {
        rv = apr_file_write_full(f, line, room, NULL);
        line += room;
        left -= room;
        room = LINE_WIDTH - 1;
        if (rv == APR_SUCCESS) {
            rv = apr_file_puts("\n ", f);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = apr_file_write_full(f, line, left, NULL);
    }
    return rv == APR_SUCCESS ? apr_file_putc('\n', f) : rv;
}

static apr_status_t write_entry(apr_file_t *f, apr_pool_t *tmp,
                                const casp_entry_t *e)
{
    apr_status_t rv = put(f, tmp, "dn", e->dn, strlen(e->dn));
    const casp_attr_t *attrs = (const casp_attr_t *)e->attrs->elts;

    for (int i = 0; rv == APR_SUCCESS && i < e->attrs->nelts; i++) {
        const casp_attr_t *a = &attrs[i];

        for (int k = 0; rv == APR_SUCCESS && k < a->nvalues; k++) {
            rv = a->values[k].len > CASP_LDIF_MAX
                     ? APR_EINVAL
                     : put(f, tmp, a->name, a->values[k].data,
                           a->values[k].len);
        }
    }
    return rv == APR_SUCCESS ? apr_file_putc('\n', f) : rv;
}

static apr_status_t write_all(apr_file_t *f, apr_pool_t *tmp,
                              const apr_array_header_t *entries, char *comment)
{
    apr_status_t rv = APR_SUCCESS;
    char *state;

    for (char *line = apr_strtok(comment, "\r\n", &state);
         line && rv == APR_SUCCESS; line = apr_strtok(NULL, "\r\n", &state)) {
        rv = apr_file_printf(f, "# %s\n", line) < 0 ? APR_EGENERAL
                                                    : APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = apr_file_puts("version: 1\n\n", f);
    }
    for (int i = 0; rv == APR_SUCCESS && i < entries->nelts; i++) {
        rv = write_entry(f, tmp,
                         APR_ARRAY_IDX(entries, i, const casp_entry_t *));
    }
    return rv == APR_SUCCESS ? apr_file_sync(f) : rv;
}

/* The rename itself is on disk only when its folder is. A file system that
 * cannot do this loses no more than the last refresh. */
static void sync_folder(apr_pool_t *p, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *folder =
        !slash          ? "."
        : slash == path ? "/"
                        : apr_pstrmemdup(p, path, (apr_size_t)(slash - path));
    int fd = open(folder, O_RDONLY);

    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

static apr_status_t write_whole(apr_pool_t *p, const char *path,
                                const apr_array_header_t *entries,
                                const char *comment)
{
    char *name = apr_pstrcat(p, path, ".XXXXXX", NULL);
    apr_file_t *f;
    apr_status_t rv =
        apr_file_mktemp(&f, name,
                        APR_FOPEN_CREATE | APR_FOPEN_WRITE | APR_FOPEN_EXCL
                            | APR_FOPEN_BINARY | APR_FOPEN_BUFFERED,
                        p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_t *tmp;

    rv = apr_pool_create(&tmp, p);
    if (rv == APR_SUCCESS) {
        rv =
            write_all(f, tmp, entries, apr_pstrdup(p, comment ? comment : ""));
    }
    apr_status_t closed = apr_file_close(f);

    if (rv == APR_SUCCESS) {
        rv = closed;
    }
    if (rv == APR_SUCCESS) {
        rv = apr_file_rename(name, path, p);
    }
    if (rv != APR_SUCCESS) {
        apr_file_remove(name, p);
        return rv;
    }
    sync_folder(p, path);
    return APR_SUCCESS;
}

apr_status_t casp_ldif_write(apr_pool_t *p, const char *path,
                             const apr_array_header_t *entries,
                             const char *comment)
{
    apr_pool_t *tmp;
    apr_status_t rv = apr_pool_create(&tmp, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_tag(tmp, "casp_ldif_write");
    rv = write_whole(tmp, path, entries, comment);
    apr_pool_destroy(tmp);
    return rv;
}
