/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where a secret comes from: a file, a command's output, a variable of the
 * environment.  Read once, by the parent at each (re)start, because only the
 * parent may still be root; the configuration holds nothing but the
 * reference.
 *
 * No message of this room repeats a byte of what was read, a command runs
 * without a shell and no longer than ten seconds, and every copy is wiped.
 */

#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

#define SECRET_MAX 65536 /* bytes, of a file or an output */
#define PATIENCE apr_time_from_sec(10) /* for a command */
#define GLANCE 20000 /* microseconds between two looks */

typedef struct {
    char data[SECRET_MAX + 1];
    apr_size_t len;
} buffer_t;

/* Wipe the pool's copy with the pool. */
typedef struct {
    char *data;
    apr_size_t len;
} copy_t;

static apr_status_t wipe_copy(void *baton)
{
    copy_t *copy = baton;
    casp_wipe(copy->data, copy->len);
    return APR_SUCCESS;
}

/* Without its last newline, which every editor and echo adds. */
static const char *take(apr_pool_t *p, buffer_t *buffer, const char **secret)
{
    apr_size_t len = buffer->len;
    if (len && buffer->data[len - 1] == '\n') {
        len--;
        len -= len && buffer->data[len - 1] == '\r' ? 1 : 0;
    }
    if (!len) {
        return "is empty; put the password there";
    }
    if (memchr(buffer->data, '\0', len)) {
        return "holds a NUL byte, which no password has; put the password "
               "there as text";
    }
    copy_t *copy = apr_palloc(p, sizeof(*copy));
    copy->data = apr_pstrmemdup(p, buffer->data, len);
    copy->len = len;
    apr_pool_cleanup_register(p, copy, wipe_copy, apr_pool_cleanup_null);
    *secret = copy->data;
    return NULL;
}

static const char *why(apr_pool_t *p, const char *what, int error)
{
    char text[120];
    return apr_psprintf(p, "%s: %s", what,
                        apr_strerror(APR_FROM_OS_ERROR(error), text,
                                     sizeof(text)));
}

/* ------------------------------------------------------------------- file */

/* O_NONBLOCK: somebody's FIFO must not hold up the start. */
static const char *read_file(apr_pool_t *p, const char *path, buffer_t *buffer)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return why(p,
                   "cannot be opened; correct the path, or start httpd "
                   "as a user who may read it",
                   errno);
    }
    const char *wrong = NULL;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        wrong = "is no regular file; name one";
    }
    while (!wrong && buffer->len <= SECRET_MAX) {
        ssize_t n = read(fd, buffer->data + buffer->len,
                         sizeof(buffer->data) - buffer->len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            wrong = why(p, "cannot be read", errno);
        }
        if (n <= 0) {
            break;
        }
        buffer->len += (apr_size_t)n;
    }
    close(fd);
    return !wrong && buffer->len > SECRET_MAX
               ? "is longer than 64 KiB; name the file that holds nothing "
                 "but the password"
               : wrong;
}

/* ---------------------------------------------------------------- command */

/* Between fork and exec only what is safe there. */
static void run_child(int out, char *const *argv)
{
    sigset_t none;
    int in = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0) {
        _exit(126);
    }
    execv(argv[0], argv);
    _exit(127);
}

/* Read until the command closes its output or the time is up. */
static const char *drain(apr_pool_t *p, int fd, apr_time_t deadline,
                         buffer_t *buffer)
{
    while (buffer->len <= SECRET_MAX) {
        apr_interval_time_t left = deadline - apr_time_now();
        struct pollfd look = {fd, POLLIN, 0};
        if (left <= 0) {
            return "took longer than ten seconds and was ended; run it by "
                   "hand and see what it waits for";
        }
        int ready = poll(&look, 1, (int)apr_time_as_msec(left) + 1);
        if (ready <= 0) {
            continue;
        }
        ssize_t n = read(fd, buffer->data + buffer->len,
                         sizeof(buffer->data) - buffer->len);
        if (n < 0 && errno != EINTR) {
            return why(p, "cannot be read from", errno);
        }
        if (n == 0) {
            return NULL;
        }
        buffer->len += n > 0 ? (apr_size_t)n : 0;
    }
    return "printed more than 64 KiB; it must print the password and nothing "
           "else";
}

/* Whatever happened, nothing of the command is left behind.  It is looked at
 * without being buried first, so that the group still is its own when it is
 * killed. */
static const char *reap(apr_pool_t *p, pid_t pid, apr_time_t deadline,
                        const char *wrong)
{
    bool ended = false;
    int status = 0;
    while (!wrong && !ended && apr_time_now() < deadline) {
        siginfo_t info;
        info.si_pid = 0;
        ended = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT)
                || info.si_pid == pid;
        if (!ended) {
            apr_sleep(GLANCE);
        }
    }
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        continue;
    }
    if (wrong) {
        return wrong;
    }
    if (!ended) {
        return "did not end within ten seconds and was ended; run it by hand "
               "and see what it waits for";
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        return "could not be run; correct the path, or make it executable";
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        return apr_psprintf(p,
                            "failed with %s %d; run it by hand and see "
                            "why",
                            WIFEXITED(status) ? "exit code" : "signal",
                            WIFEXITED(status) ? WEXITSTATUS(status)
                                              : WTERMSIG(status));
    }
    return NULL;
}

/* The words of a command, split at blanks: there is no shell, and no quotes.*/
static char **split(apr_pool_t *p, const char *command)
{
    apr_array_header_t *words = apr_array_make(p, 4, sizeof(char *));
    char *state = NULL;
    char *copy = apr_pstrdup(p, command);
    for (char *word = apr_strtok(copy, " \t", &state); word;
         word = apr_strtok(NULL, " \t", &state)) {
        APR_ARRAY_PUSH(words, char *) = word;
    }
    APR_ARRAY_PUSH(words, char *) = NULL;
    return (char **)words->elts;
}

static const char *read_command(apr_pool_t *p, const char *command,
                                buffer_t *buffer)
{
    char **argv = split(p, command);
    apr_time_t deadline = apr_time_now() + PATIENCE;
    int fds[2];
    if (pipe(fds)) {
        return why(p, "cannot be run", errno);
    }
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        run_child(fds[1], argv);
    }
    close(fds[1]);
    const char *wrong = pid < 0 ? why(p, "cannot be run", errno) : NULL;
    if (!wrong) {
        setpgid(pid, pid); /* the child does too; whoever is first */
        wrong = drain(p, fds[0], deadline, buffer);
        wrong = reap(p, pid, deadline, wrong);
    }
    close(fds[0]);
    return wrong;
}

/* ------------------------------------------------------------ environment */

static const char *read_variable(const char *name, buffer_t *buffer)
{
    const char *value = getenv(name);
    if (!value) {
        return "is not in the environment; set it where httpd is started";
    }
    apr_size_t len = strlen(value);
    if (len > SECRET_MAX) {
        return "is longer than 64 KiB; set it to the password";
    }
    memcpy(buffer->data, value, len);
    buffer->len = len;
    return NULL;
}

const char *casp_secret_read(apr_pool_t *p, const char *reference,
                             const char **secret)
{
    const char *wrong = NULL;
    apr_pool_t *own = NULL;
    *secret = NULL;
    if (apr_pool_create(&own, p) != APR_SUCCESS) {
        return "out of memory";
    }
    buffer_t *buffer = apr_palloc(own, sizeof(*buffer));
    buffer->len = 0;
    if (!strncmp(reference, "file:/", 6)) {
        wrong = read_file(p, reference + 5, buffer);
    }
    else if (!strncmp(reference, "exec:/", 6)) {
        wrong = read_command(p, reference + 5, buffer);
    }
    else if (!strncmp(reference, "env:", 4)) {
        wrong = read_variable(reference + 4, buffer);
    }
    else {
        wrong = "";
    }
    if (!wrong) {
        wrong = take(p, buffer, secret);
    }
    casp_wipe(buffer, sizeof(*buffer));
    apr_pool_destroy(own);
    if (wrong && !*wrong) {
        return "a secret must be a reference: write file:/PATH, exec:/PATH "
               "ARGS or env:NAME";
    }
    return wrong ? apr_psprintf(p, "%s %s", reference, wrong) : NULL;
}
