/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where a directory server is: its URL, its addresses, a connected socket.
 *
 * libldap can do this by itself, but it bounds neither the look-up of a name
 * nor the sum over a name's addresses, and it shows nobody the socket before
 * it is connected.  So it is done here, by connector threads only, and the
 * socket is handed over.  Nothing here speaks LDAP.
 */

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_strings.h>

#include "dirwire.h"

/* How often a wait that nobody can interrupt looks whether we stop. */
#define SLICE apr_time_from_msec(200)

/* ------------------------------------------------------------------ URLs */

static const char *target_ipc(apr_pool_t *p, const LDAPURLDesc *u,
                              casp_dirtarget_t *t)
{
    const char *path = u->lud_host;
    if (!path || !*path) {
        /* ldapi:///run/x is how Samba writes it. */
        path = (u->lud_dn && *u->lud_dn) ? apr_pstrcat(p, "/", u->lud_dn, NULL)
                                         : NULL;
    }
    if (!path) {
        return "ldapi:// needs the path of the socket, each / written as "
               "%2F: ldapi://%2Frun%2Fslapd%2Fldapi";
    }
    if (*path != '/'
        || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        return apr_psprintf(p,
                            "%s: the socket's path is not absolute, or "
                            "too long for the system",
                            t->url);
    }
    t->host = apr_pstrdup(p, path);
    t->port = NULL;
    t->uri = "ldapi:///";
    return NULL;
}

static const char *target_tcp(apr_pool_t *p, const LDAPURLDesc *u,
                              casp_dirtarget_t *t)
{
    if (!u->lud_host || !*u->lud_host) {
        return apr_psprintf(p, "%s: a host name is missing", t->url);
    }
    if (u->lud_dn && *u->lud_dn) {
        return apr_psprintf(p,
                            "%s: only scheme, host and port belong here; "
                            "a DN goes into CasProxyDirectoryBase",
                            t->url);
    }
    int port = u->lud_port ? u->lud_port : t->ldaps ? 636 : 389;
    if (port < 1 || port > 65535) {
        return apr_psprintf(p, "%s: the port is not between 1 and 65535",
                            t->url);
    }
    t->host = apr_pstrdup(p, u->lud_host);
    t->port = apr_itoa(p, port);
    bool v6 = strchr(t->host, ':') != NULL;
    t->uri = apr_psprintf(p, "%s://%s%s%s:%s", t->ldaps ? "ldaps" : "ldap",
                          v6 ? "[" : "", t->host, v6 ? "]" : "", t->port);
    return NULL;
}

const char *casp_dirdial_target(apr_pool_t *p, const char *url, casp_tls_e tls,
                                casp_dirtarget_t *t)
{
    memset(t, 0, sizeof(*t));
    t->url = apr_pstrdup(p, url);
    LDAPURLDesc *u = NULL;
    if (strpbrk(url, " \t\r\n,") || ldap_url_parse(url, &u) != LDAP_SUCCESS) {
        return apr_psprintf(p,
                            "%s is not an LDAP URL; write one "
                            "ldaps://host[:port], ldap://host[:port] or "
                            "ldapi://%%2Fpath per argument",
                            url);
    }
    const char *wrong = NULL;
    const char *scheme = u->lud_scheme ? u->lud_scheme : "";
    if (!apr_strnatcasecmp(scheme, "ldapi")) {
        wrong = target_ipc(p, u, t);
    }
    else if (!apr_strnatcasecmp(scheme, "ldaps")) {
        t->ldaps = true;
        wrong = target_tcp(p, u, t);
    }
    else if (!apr_strnatcasecmp(scheme, "ldap")) {
        t->starttls = (tls == CASP_TLS_STARTTLS);
        wrong = target_tcp(p, u, t);
        if (!wrong && tls == CASP_TLS_UNSET) {
            wrong = apr_psprintf(p,
                                 "%s would send passwords in plain text; "
                                 "use ldaps://, or set CasProxyDirectoryTLS "
                                 "StartTLS (Off for a laboratory)",
                                 url);
        }
    }
    else {
        wrong = apr_psprintf(p,
                             "%s: the scheme is none of ldaps, ldap and "
                             "ldapi",
                             url);
    }
    ldap_free_urldesc(u);
    return wrong;
}

/* --------------------------------------------------------------- sockets */

static void socket_options(int fd, bool tcp)
{
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (!tcp) {
        return;
    }
    /* Firewalls drop idle connections without a word to either end. */
    int on = 1, idle = 60, interval = 10, probes = 3, unacked = 15000;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
                     sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
#endif
#ifdef TCP_USER_TIMEOUT
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked,
                     sizeof(unacked));
#endif
    (void)idle, (void)interval, (void)probes, (void)unacked;
}

/* Wait for the end of a connect; 0, or an errno. */
static int wait_connected(casp_link_t *link, int fd, apr_time_t deadline)
{
    for (;;) {
        apr_interval_time_t left = deadline - apr_time_now();
        if (left <= 0) {
            return ETIMEDOUT;
        }
        if (casp_dirpool_stopping(link->pool)) {
            return ECANCELED;
        }
        struct pollfd pfd = {fd, POLLOUT, 0};
        left = left < SLICE ? left : SLICE;
        int n = poll(&pfd, 1, (int)apr_time_as_msec(left) + 1);
        if (n > 0) {
            int err = 0;
            socklen_t len = sizeof(err);
            if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0) {
                return errno;
            }
            return err;
        }
        if (n < 0 && errno != EINTR) {
            return errno;
        }
    }
}

static int dial_once(casp_link_t *link, int fd, const struct sockaddr *sa,
                     socklen_t salen, apr_time_t deadline)
{
    for (;;) {
        if (connect(fd, sa, salen) == 0) {
            return 0;
        }
        if (errno == EINPROGRESS || errno == EINTR) {
            return wait_connected(link, fd, deadline);
        }
        if (errno != EAGAIN || sa->sa_family != AF_UNIX) {
            return errno;
        }
        /* A local server's queue is full.  There is nothing to poll for. */
        if (apr_time_now() >= deadline || casp_dirpool_stopping(link->pool)) {
            return ETIMEDOUT;
        }
        (void)poll(NULL, 0, 50);
    }
}

/* A connected, blocking socket that the guard knows, or -1 and an errno. */
static int dial(casp_link_t *link, const struct sockaddr *sa, socklen_t salen,
                apr_time_t deadline, int *err)
{
    int fd = socket(sa->sa_family, SOCK_STREAM, 0);
    if (fd < 0) {
        *err = errno;
        return -1;
    }
    socket_options(fd, sa->sa_family != AF_UNIX);
    *err = dial_once(link, fd, sa, salen, deadline);
    if (!*err && !casp_dirpool_watch(link, fd)) {
        *err = ETIMEDOUT;
    }
    if (*err) {
        close(fd);
        return -1;
    }
    (void)fcntl(fd, F_SETFL, 0);
    return fd;
}

static int dial_ipc(casp_link_t *link, const casp_dirtarget_t *t,
                    apr_time_t deadline, int *err)
{
    struct sockaddr_un sun;
    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    apr_cpystrn(sun.sun_path, t->host, sizeof(sun.sun_path));
    return dial(link, (struct sockaddr *)&sun, sizeof(sun), deadline, err);
}

static int dial_tcp(casp_link_t *link, const casp_dirtarget_t *t,
                    apr_time_t deadline, int *err, casp_dirwhy_t *why)
{
    struct addrinfo hints, *list = NULL;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    int rc = getaddrinfo(t->host, t->port, &hints, &list);
    /* That may have taken minutes: are we still wanted? */
    if (rc || casp_dirpool_stopping(link->pool)) {
        if (!rc) {
            freeaddrinfo(list);
        }
        casp_dirwire_say(why,
                         "%s: the name has no address (%s); check DNS "
                         "and CasProxyDirectory",
                         t->url, rc ? gai_strerror(rc) : "stopping");
        return -1;
    }
    int left = 0;
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        left++;
    }
    int fd = -1;
    *err = ETIMEDOUT;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next, left--) {
        /* An even share each, so that a dead address leaves time. */
        apr_time_t now = apr_time_now();
        if (now >= deadline) {
            break;
        }
        fd = dial(link, a->ai_addr, a->ai_addrlen,
                  now + (deadline - now) / left, err);
    }
    freeaddrinfo(list);
    return fd;
}

int casp_dirdial_socket(casp_link_t *link, const casp_dirtarget_t *t,
                        apr_time_t deadline, int *err, casp_dirwhy_t *why)
{
    return t->port ? dial_tcp(link, t, deadline, err, why)
                   : dial_ipc(link, t, deadline, err);
}
