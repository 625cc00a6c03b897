/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * client.c - the client that no load generator is: it logs on by NTLM, once a
 * connection, and then asks as fast as it gets answers; or does nothing but
 * log on; or writes Kerberos tokens, each good for one request, for wrk.
 *
 *   client load  PORT HOST PATH CONNECTIONS SECONDS [PASSWORD USER...]
 *   client hands PORT HOST PATH CONNECTIONS SECONDS  PASSWORD USER...
 *   client tokens HOST NUMBER        needs KRB5CCNAME; one header a line
 *
 * "load" without users logs nobody on.  It prints what t/bench/run reads from
 * wrk: {"requests", "us", "bad", "p50", "p99"}.  One thread for each
 * connection, as few as wrk has in t/bench/run.  A tool for measuring: what is
 * not as expected ends it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROOM 65536
#define SAMPLES 400000

static gss_OID_desc ntlm = {10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"};
static gss_OID_desc spnego = {6, "\x2b\x06\x01\x05\x05\x02"};

static int port;
static const char *host, *path, *password;
static double seconds;
static volatile bool begun, over;
static pthread_barrier_t ready;

typedef struct {
    pthread_t thread;
    const char *user;
    bool hands_only;
    long requests, bad;
    uint32_t *took;
    char in[ROOM];
} one_t;

static void die(const char *what)
{
    fprintf(stderr, "client: %s\n", what);
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ------------------------------------------------------------------ base64 */

static const char letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *encode(const unsigned char *in, size_t len)
{
    char *out = malloc((len + 2) / 3 * 4 + 1), *at = out;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16
                     | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0)
                     | (i + 2 < len ? in[i + 2] : 0);
        *at++ = letters[v >> 18];
        *at++ = letters[v >> 12 & 63];
        *at++ = i + 1 < len ? letters[v >> 6 & 63] : '=';
        *at++ = i + 2 < len ? letters[v & 63] : '=';
    }
    *at = '\0';
    return out;
}

static size_t decode(const char *in, unsigned char *out)
{
    uint32_t v = 0;
    size_t n = 0;
    int bits = 0;
    const char *at;

    for (; *in && (at = strchr(letters, *in)) != NULL; in++) {
        v = v << 6 | (uint32_t)(at - letters);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (unsigned char)(v >> bits);
        }
    }
    return n;
}

/* -------------------------------------------------------------------- HTTP */

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        die("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* One answer; its status, or 0 where the connection broke. */
static int hear(one_t *o, int fd)
{
    size_t have = 0, want = 0;
    char *end = NULL, *length;

    while (!end || have < want) {
        ssize_t n = read(fd, o->in + have, ROOM - 1 - have);
        if (n <= 0)
            return 0;
        have += (size_t)n;
        o->in[have] = '\0';
        if (!end && (end = strstr(o->in, "\r\n\r\n")) != NULL) {
            length = strcasestr(o->in, "\r\nContent-Length:");
            want = (size_t)(end + 4 - o->in)
                   + (length && length < end ? (size_t)atol(length + 17) : 0);
            if (want >= ROOM)
                die("an answer too long");
        }
    }
    return atoi(o->in + 9);
}

static int ask(one_t *o, int fd, const char *scheme, const gss_buffer_t token)
{
    char line[ROOM];
    char *text = token ? encode(token->value, token->length) : NULL;
    int len = snprintf(line, sizeof line,
                       "GET %s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s\r\n", path,
                       host, text ? "Authorization: " : "",
                       text ? scheme : "", text ? text : "",
                       text ? "\r\n" : "");

    free(text);
    if (len >= (int)sizeof line || write(fd, line, (size_t)len) != len)
        return 0;
    return hear(o, fd);
}

/* --------------------------------------------------------------------- NTLM */

static gss_name_t name_of(const char *text, gss_OID type)
{
    gss_buffer_desc b = {strlen(text), (void *)(uintptr_t)text};
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 minor;

    if (gss_import_name(&minor, &b, type, &name))
        die("a name that GSSAPI does not take");
    return name;
}

/* @return the status of the request that ends the handshake */
static int log_on(one_t *o, int fd)
{
    gss_OID_set_desc only = {1, &ntlm};
    gss_buffer_desc word = {strlen(password), (void *)(uintptr_t)password};
    gss_buffer_desc in = GSS_C_EMPTY_BUFFER, out = GSS_C_EMPTY_BUFFER;
    gss_name_t user = name_of(o->user, GSS_C_NT_USER_NAME);
    gss_name_t server = name_of("HTTP@front", GSS_C_NT_HOSTBASED_SERVICE);
    gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    unsigned char challenge[ROOM];
    OM_uint32 minor, major;
    char *text;
    int status = 0;

    if (gss_acquire_cred_with_password(&minor, user, &word, 0, &only,
                                       GSS_C_INITIATE, &cred, NULL, NULL))
        die("no NTLM credential: is gss-ntlmssp installed?");
    for (int leg = 0; leg < 2; leg++) {
        major = gss_init_sec_context(&minor, cred, &context, server, &ntlm, 0,
                                     0, GSS_C_NO_CHANNEL_BINDINGS, &in, NULL,
                                     &out, NULL, NULL);
        if (GSS_ERROR(major))
            die("NTLM: a challenge that is none");
        status = ask(o, fd, "NTLM ", &out);
        gss_release_buffer(&minor, &out);
        if (leg || status != 401)
            break;
        text = strcasestr(o->in, "\r\nWWW-Authenticate: NTLM ");
        if (!text)
            break;
        in.length = decode(text + 25, challenge);
        in.value = challenge;
    }
    gss_delete_sec_context(&minor, &context, NULL);
    gss_release_cred(&minor, &cred);
    gss_release_name(&minor, &user);
    gss_release_name(&minor, &server);
    return status;
}

static void count(one_t *o, int status, double from)
{
    if (!begun || over)
        return;
    if (o->requests < SAMPLES)
        o->took[o->requests] = (uint32_t)((now() - from) * 1e6);
    o->requests++;
    if (status != 200)
        o->bad++;
}

static void *run(void *data)
{
    one_t *o = data;
    int fd = dial();

    if (o->user && !o->hands_only && log_on(o, fd) != 200)
        die("a logon by NTLM was not answered with 200");
    pthread_barrier_wait(&ready);
    while (!over) {
        double from = now();
        int status;
        if (o->hands_only) {
            close(fd);
            fd = dial();
            status = log_on(o, fd);
        }
        else {
            status = ask(o, fd, NULL, NULL);
        }
        count(o, status, from);
        if (!status) {
            close(fd);
            fd = dial();
        }
    }
    close(fd);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void report(one_t *all, int n, double took)
{
    uint32_t *sorted = malloc(sizeof *sorted * SAMPLES * (size_t)n);
    long requests = 0, bad = 0, kept = 0;

    for (int i = 0; i < n; i++) {
        long have =
            all[i].requests < SAMPLES ? all[i].requests : SAMPLES;
        memcpy(sorted + kept, all[i].took, sizeof *sorted * (size_t)have);
        kept += have;
        requests += all[i].requests;
        bad += all[i].bad;
    }
    qsort(sorted, (size_t)kept, sizeof *sorted, by_size);
    printf("@{\"requests\":%ld,\"us\":%.0f,\"bad\":%ld,\"p50\":%u,"
           "\"p99\":%u}\n",
           requests, took * 1e6, bad, kept ? sorted[kept / 2] : 0,
           kept ? sorted[kept * 99 / 100] : 0);
}

static void load(int n, char **users, int nusers, bool hands_only)
{
    one_t *all = calloc((size_t)n, sizeof *all);
    double from;

    pthread_barrier_init(&ready, NULL, (unsigned)n + 1);
    for (int i = 0; i < n; i++) {
        all[i].user = nusers ? users[i % nusers] : NULL;
        all[i].hands_only = hands_only;
        all[i].took = malloc(sizeof *all[i].took * SAMPLES);
        if (pthread_create(&all[i].thread, NULL, run, &all[i]))
            die("no thread");
    }
    pthread_barrier_wait(&ready);
    from = now();
    begun = true;
    usleep((useconds_t)(seconds * 1e6));
    over = true;
    from = now() - from;
    for (int i = 0; i < n; i++)
        pthread_join(all[i].thread, NULL);
    report(all, n, from);
}

/* ------------------------------------------------------------------ tokens */

static void tokens(const char *name, long n)
{
    char service[300];
    gss_name_t server;
    OM_uint32 minor;

    snprintf(service, sizeof service, "HTTP@%s", name);
    server = name_of(service, GSS_C_NT_HOSTBASED_SERVICE);
    for (long i = 0; i < n; i++) {
        gss_ctx_id_t context = GSS_C_NO_CONTEXT;
        gss_buffer_desc out = GSS_C_EMPTY_BUFFER;
        char *text;
        if (GSS_ERROR(gss_init_sec_context(
                &minor, GSS_C_NO_CREDENTIAL, &context, server, &spnego, 0, 0,
                GSS_C_NO_CHANNEL_BINDINGS, GSS_C_NO_BUFFER, NULL, &out, NULL,
                NULL)))
            die("no Kerberos token: is there a ticket in KRB5CCNAME?");
        text = encode(out.value, out.length);
        printf("Authorization: Negotiate %s\n", text);
        free(text);
        gss_release_buffer(&minor, &out);
        gss_delete_sec_context(&minor, &context, NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "tokens")) {
        tokens(argv[2], atol(argv[3]));
        return 0;
    }
    if (argc < 7)
        die("see the head of client.c");
    port = atoi(argv[2]);
    host = argv[3];
    path = argv[4];
    seconds = atof(argv[6]);
    password = argc > 7 ? argv[7] : NULL;
    load(atoi(argv[5]), argv + 8, argc > 8 ? argc - 8 : 0,
         !strcmp(argv[1], "hands"));
    return 0;
}
