/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ntlmhelper.c - ntlm_auth as a process: a line there, a line back.
 *
 * It is started by posix_spawn(): apr_proc_create() would fork a process that
 * has many threads and then walk all their pools in the child, would leave it
 * with the signals blocked that httpd's threads block, and needs a pool that
 * lives as long as the helper.  Its stdin and stdout are one socket, as Squid
 * has it, so that a helper that has died is an error here and no SIGPIPE.
 * Its stderr is httpd's, which is the error log.
 *
 * Must not: wait without a bound, be inherited by another process, leave a
 * zombie, know what an answer means.
 */

#include "ntlmhelper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_base64.h>
#include <apr_strings.h>

/* Takes bare NTLM and SPNEGO alike, and says whether a SPNEGO token goes
 * back with the last answer. */
#define PROTOCOL "--helper-protocol=gss-spnego"
/* A line: a word, a token of 64 K in base64, a name. */
#define LINE_MAX_BYTES (CASP_TOKEN_MAX / 3 * 4 + 2048)
/* How long one may take to end by itself when nobody speaks to it. */
#define GRACE apr_time_from_sec(2)

extern char **environ;

/* ------------------------------------------------------------------- start */

static int spawn(const char *const *argv, int fd, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, usual;
    (void)sigemptyset(&none);
    (void)sigemptyset(&usual);
    (void)sigaddset(&usual, SIGPIPE);
    (void)sigaddset(&usual, SIGTERM);
    (void)sigaddset(&usual, SIGHUP);
    (void)sigaddset(&usual, SIGINT);
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawnattr_init(&attr);
    int err = posix_spawn_file_actions_adddup2(&files, fd, STDIN_FILENO);
    if (!err) {
        err = posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
    }
    if (!err) {
        err = posix_spawnattr_setsigmask(&attr, &none);
    }
    if (!err) {
        err = posix_spawnattr_setsigdefault(&attr, &usual);
    }
    if (!err) {
        err = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK
                                                  | POSIX_SPAWN_SETSIGDEF);
    }
    if (!err) {
        err = posix_spawn(pid, argv[0], &files, &attr,
                          (char *const *)(uintptr_t)argv, environ);
    }
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&files);
    return err;
}

static const char *unstarted(apr_pool_t *p, const char *path, int err)
{
    char buf[128];
    const char *remedy =
        err == ENOENT   ? "; install the package winbind (Debian; elsewhere "
                          "samba-winbind-clients), or name the helper in "
                          "CasProxyNTLMVerify Winbind"
        : err == EACCES ? "; httpd's user must be allowed to run it"
                        : "";
    return apr_psprintf(p, "the helper %s cannot be started: %s%s", path,
                        apr_strerror(APR_FROM_OS_ERROR(err), buf, sizeof(buf)),
                        remedy);
}

casp_helper_t *casp_helper_start(apr_pool_t *p, const char *const *argv,
                                 const char **why)
{
    int n = 0, pair[2];
    while (argv[n]) {
        n++;
    }
    /* Not every posix_spawn() can tell what exec() said. */
    if (access(argv[0], X_OK) != 0) {
        *why = unstarted(p, argv[0], errno);
        return NULL;
    }
    const char **all = apr_palloc(p, sizeof(*all) * (apr_size_t)(n + 2));
    memcpy(all, argv, sizeof(*all) * (apr_size_t)n);
    all[n] = PROTOCOL;
    all[n + 1] = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        *why = unstarted(p, argv[0], errno);
        return NULL;
    }
    pid_t pid = 0;
    int err = spawn(all, pair[1], &pid);
    (void)close(pair[1]);
    if (err) {
        (void)close(pair[0]);
        *why = unstarted(p, argv[0], err);
        return NULL;
    }
    casp_helper_t *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    h->pid = (int)pid;
    h->fd = pair[0];
    return h;
}

/* --------------------------------------------------------------- ask, read */

/* Wait for the socket; false: the time is over. */
static bool await(int fd, short what, apr_time_t deadline)
{
    for (;;) {
        apr_interval_time_t left = deadline - apr_time_now();
        if (left <= 0) {
            return false;
        }
        struct pollfd pfd = {fd, what, 0};
        /* rounded up, so that the last millisecond is not spun away */
        int n = poll(&pfd, 1, (int)((left + 999) / 1000));
        if (n > 0 || (n < 0 && errno != EINTR)) {
            return true;
        }
    }
}

static const char *late(apr_pool_t *p, const casp_helper_t *h)
{
    return apr_psprintf(p,
                        "ntlm_auth (process %d) did not answer in time; is "
                        "winbindd in reach of a domain controller? "
                        "(wbinfo -P)",
                        h->pid);
}

static const char *gone(apr_pool_t *p, const casp_helper_t *h)
{
    return apr_psprintf(p,
                        "ntlm_auth (process %d) ended without an answer; the "
                        "error log may have its own words, above",
                        h->pid);
}

static const char *write_line(const casp_helper_t *h, apr_pool_t *p,
                              const char *line, apr_size_t len,
                              apr_time_t deadline)
{
    while (len > 0) {
        if (!await(h->fd, POLLOUT, deadline)) {
            return late(p, h);
        }
        ssize_t n = send(h->fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK
            && errno != EINTR) {
            return gone(p, h);
        }
        if (n > 0) {
            line += n;
            len -= (apr_size_t)n;
        }
    }
    return NULL;
}

static char *read_line(const casp_helper_t *h, apr_pool_t *p,
                       apr_time_t deadline, const char **why)
{
    apr_size_t size = 1024, len = 0;
    char *line = apr_palloc(p, size);
    for (;;) {
        if (!await(h->fd, POLLIN, deadline)) {
            *why = late(p, h);
            return NULL;
        }
        ssize_t n = recv(h->fd, line + len, size - len, MSG_DONTWAIT);
        if (n < 0
            && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            continue;
        }
        if (n <= 0) {
            *why = gone(p, h);
            return NULL;
        }
        char *end = memchr(line + len, '\n', (apr_size_t)n);
        len += (apr_size_t)n;
        if (end) {
            /* One line for one line: what follows belongs to nobody. */
            bool more = end + 1 != line + len;
            *end = '\0';
            if (more || strlen(line) != (apr_size_t)(end - line)) {
                *why = "ntlm_auth answered with more than one line, or with "
                       "a NUL; is that helper really ntlm_auth?";
                return NULL;
            }
            return line;
        }
        if (len == size) {
            if (size >= LINE_MAX_BYTES) {
                *why = "ntlm_auth's answer has no end; is that helper really "
                       "ntlm_auth?";
                return NULL;
            }
            char *longer = apr_palloc(p, size * 4);
            memcpy(longer, line, len);
            line = longer;
            size *= 4;
        }
    }
}

bool casp_helper_fit(const casp_helper_t *h)
{
    struct pollfd pfd = {h->fd, POLLIN, 0};
    return poll(&pfd, 1, 0) == 0;
}

char *casp_helper_ask(casp_helper_t *h, apr_pool_t *p, const char *word,
                      const void *token, apr_size_t len, apr_time_t deadline,
                      const char **why)
{
    apr_size_t head = strlen(word) + 1;
    char *line =
        apr_palloc(p, head + (apr_size_t)apr_base64_encode_len((int)len) + 1);
    memcpy(line, word, head - 1);
    line[head - 1] = ' ';
    (void)apr_base64_encode_binary(line + head, token, (int)len);
    apr_size_t all = strlen(line);
    line[all++] = '\n';
    *why = write_line(h, p, line, all, deadline);
    return *why ? NULL : read_line(h, p, deadline, why);
}

/* --------------------------------------------------------------------- end */

void casp_helper_interrupt(casp_helper_t *h)
{
    (void)shutdown(h->fd, SHUT_RDWR);
}

void casp_helper_end(casp_helper_t *h, bool now)
{
    /* To ntlm_auth that is the end of its input, and it goes. */
    (void)close(h->fd);
    h->fd = -1;
    h->since = apr_time_now();
    if (now) {
        (void)kill((pid_t)h->pid, SIGKILL);
    }
}

bool casp_helper_gone(casp_helper_t *h, apr_time_t now)
{
    pid_t pid = waitpid((pid_t)h->pid, NULL, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR)) {
        if (now - h->since >= GRACE) {
            (void)kill((pid_t)h->pid, SIGKILL);
        }
        return false;
    }
    free(h);
    return true;
}
