/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * eas.c - what an ActiveSync request says about itself.
 *
 * A device names its command, itself and its protocol version either in a
 * query that people can read and a header, or packed into a few bytes that
 * stand in base64 where the query would be (MS-ASHTTP 2.2.1.1.1).  A front
 * that took the packed form for a request without a version would proxy a
 * device that is to be redirected.
 *
 * All of it is a stranger's claim: lengths are checked before they are
 * followed, what has not the whole shape is not taken in part, and nothing
 * here may serve for more than routing by version and a line in a log.
 */

#include "eas.h"

#include <string.h>

#include <apr_base64.h>
#include <apr_cstr.h>
#include <apr_escape.h>
#include <apr_lib.h>
#include <apr_strings.h>

/* Longer than any device's; whatever is longer is not read at all. */
#define LONGEST_PACKED 4096

/* In the order of their codes in the packed form. */
static const char *const commands[] = {"Sync",
                                       "SendMail",
                                       "SmartForward",
                                       "SmartReply",
                                       "GetAttachment",
                                       "GetHierarchy",
                                       "CreateCollection",
                                       "DeleteCollection",
                                       "MoveCollection",
                                       "FolderSync",
                                       "FolderCreate",
                                       "FolderDelete",
                                       "FolderUpdate",
                                       "MoveItems",
                                       "GetItemEstimate",
                                       "MeetingResponse",
                                       "Search",
                                       "Settings",
                                       "Ping",
                                       "ItemOperations",
                                       "Provision",
                                       "ResolveRecipients",
                                       "ValidateCert",
                                       "Find"};

enum { COMMANDS = sizeof commands / sizeof *commands };

/* The packed form's parameter that has a user's name. */
#define TAG_USER 8

/* ------------------------------------------------------------- packed form */

/* What is left of the bytes. */
typedef struct {
    const unsigned char *at;
    apr_size_t left;
} bytes_t;

static bool take(bytes_t *b, apr_size_t n, const unsigned char **out)
{
    if (n > b->left) {
        return false;
    }
    *out = b->at;
    b->at += n;
    b->left -= n;
    return true;
}

/* A length of one byte, and so many bytes. */
static bool take_counted(bytes_t *b, const unsigned char **out, apr_size_t *n)
{
    const unsigned char *len;
    if (!take(b, 1, &len)) {
        return false;
    }
    *n = *len;
    return take(b, *n, out);
}

static bool is_text(const unsigned char *s, apr_size_t n, bool spaces)
{
    for (apr_size_t i = 0; i < n; i++) {
        if (s[i] < (spaces ? ' ' : '!') || s[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Devices pack their id as its letters or as 16 raw bytes; those in capitals,
 * as the same device writes them in a plain query. */
static const char *as_id(apr_pool_t *p, const unsigned char *s, apr_size_t n)
{
    if (n == 0) {
        return NULL;
    }
    for (apr_size_t i = 0; i < n; i++) {
        if (s[i] >= 0x7f || s[i] <= ' ') {
            char *hex = apr_palloc(p, 2 * n + 1);
            apr_escape_hex(hex, s, n, 0, NULL);
            for (char *h = hex; *h != '\0'; h++) {
                *h = (char)apr_toupper(*h);
            }
            return hex;
        }
    }
    return apr_pstrmemdup(p, (const char *)s, n);
}

static const char *as_text(apr_pool_t *p, const unsigned char *s, apr_size_t n)
{
    return n != 0 && is_text(s, n, true)
               ? apr_pstrmemdup(p, (const char *)s, n)
               : NULL;
}

static bool unpack_parameters(apr_pool_t *p, bytes_t *b, casp_eas_t *eas)
{
    const unsigned char *tag, *value;
    apr_size_t n;

    while (b->left != 0) {
        if (!take(b, 1, &tag) || !take_counted(b, &value, &n)) {
            return false;
        }
        if (*tag == TAG_USER && !eas->user) {
            eas->user = as_text(p, value, n);
        }
    }
    return true;
}

/* Version, command and locale; id, policy key and type of the device, each
 * behind its length; parameters to the very end. */
static bool unpack(apr_pool_t *p, bytes_t b, casp_eas_t *eas)
{
    const unsigned char *head, *id, *key, *type;
    apr_size_t nid, nkey, ntype;

    if (!take(&b, 4, &head) || head[0] == 0 || !take_counted(&b, &id, &nid)
        || !take_counted(&b, &key, &nkey) || (nkey != 0 && nkey != 4)
        || !take_counted(&b, &type, &ntype)
        || !unpack_parameters(p, &b, eas)) {
        return false;
    }
    eas->version = head[0];
    eas->command = head[1] < COMMANDS ? commands[head[1]] : NULL;
    eas->device_id = as_id(p, id, nid);
    eas->device_type = as_text(p, type, ntype);
    eas->encoded = true;
    return true;
}

/* APR's decoder stops at what it does not know, and says nothing. */
static bool is_base64(const char *s)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789+/";
    apr_size_t n = strspn(s, alphabet);
    apr_size_t padding = strspn(s + n, "=");

    return n != 0 && s[n + padding] == '\0' && n % 4 != 1
           && (padding == 0 || (padding < 3 && (n + padding) % 4 == 0));
}

static bool read_packed(apr_pool_t *p, const char *part, casp_eas_t *eas)
{
    casp_eas_t found;

    /* a device may have escaped what base64 puts into a URL; its "+" is no
     * space */
    part = apr_punescape_url(p, part, NULL, NULL, 0);
    if (!part || strlen(part) > LONGEST_PACKED || !is_base64(part)) {
        return false;
    }
    unsigned char *raw =
        apr_palloc(p, (apr_size_t)apr_base64_decode_len(part) + 1);
    int n = apr_base64_decode_binary(raw, part);
    bytes_t b = {raw, n > 0 ? (apr_size_t)n : 0};
    memset(&found, 0, sizeof found);
    if (!unpack(p, b, &found)) {
        return false;
    }
    *eas = found;
    return true;
}

/* -------------------------------------------------------------- plain form */

static const char *known_command(const char *name)
{
    for (int i = 0; name && i < COMMANDS; i++) {
        if (!apr_cstr_casecmp(name, commands[i])) {
            return commands[i];
        }
    }
    return NULL;
}

static const char *plain_value(apr_pool_t *p, const char *value)
{
    value = apr_punescape_url(p, value, NULL, NULL, 1);
    if (!value
        || !is_text((const unsigned char *)value, strlen(value), true)) {
        return NULL;
    }
    return *value ? value : NULL;
}

static void read_plain(apr_pool_t *p, const char *query, casp_eas_t *eas)
{
    char *rest = apr_pstrdup(p, query);
    char *state = NULL;
    const char *command = NULL;
    const struct {
        const char *name, **to;
    } keys[] = {{"Cmd", &command},
                {"User", &eas->user},
                {"DeviceId", &eas->device_id},
                {"DeviceType", &eas->device_type}};

    for (char *part = apr_strtok(rest, "&", &state); part;
         part = apr_strtok(NULL, "&", &state)) {
        char *value = strchr(part, '=');
        if (!value) {
            continue;
        }
        *value++ = '\0';
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            /* the first one counts, as a server would have it */
            if (!apr_cstr_casecmp(part, keys[i].name) && !*keys[i].to) {
                *keys[i].to = plain_value(p, value);
            }
        }
    }
    eas->command = known_command(command);
}

/* "14.1" is 141; whatever is not said that way is not said. */
static int read_version(const char *header)
{
    int major = 0, digits = 0;

    header += strspn(header, " \t");
    for (; *header >= '0' && *header <= '9' && digits < 3; digits++) {
        major = major * 10 + (*header++ - '0');
    }
    if (digits == 0 || digits > 2 || *header++ != '.' || *header < '0'
        || *header > '9') {
        return 0;
    }
    int version = major * 10 + (*header - '0');
    header++;
    return header[strspn(header, " \t")] == '\0' ? version : 0;
}

/* -------------------------------------------------------------------- both */

void casp_eas_read(apr_pool_t *p, const char *query, const char *header,
                   casp_eas_t *eas)
{
    memset(eas, 0, sizeof *eas);
    if (query && *query) {
        const char *part = apr_pstrmemdup(p, query, strcspn(query, "&"));
        if (read_packed(p, part, eas)) {
            return;
        }
        read_plain(p, query, eas);
    }
    if (header) {
        eas->version = read_version(header);
    }
}
