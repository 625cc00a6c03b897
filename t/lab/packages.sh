#!/bin/sh
# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# packages.sh list|missing|install GROUP... - the Debian packages that
# ./quickstart and ./runtests need.  Groups: build, lab, test, browser, mail,
# sogo.
#
# "install" needs root and is silent where nothing is missing.  Services that
# packages bring along (samba's, winbind, slapd) are neither started nor
# enabled: the lab starts its own, on loopback.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8

build='autoconf automake libtool make gcc libc6-dev pkg-config
    apache2-dev libldap-dev libssl-dev libkrb5-dev'
lab='apache2-bin samba samba-ad-provision samba-dsdb-modules
    samba-vfs-modules python3-samba winbind slapd ldap-utils openssl curl
    procps krb5-user gss-ntlmssp libapache2-mod-auth-gssapi
    libsasl2-modules-gssapi-mit util-linux'
test='libcmocka-dev libapache2-mod-perl2 libwww-perl libjson-perl perl
    valgrind clang clang-format nghttp2-client apache2-utils iproute2
    util-linux git xz-utils'
# keytool, of the JRE that DavMail brings, makes its trust store
browser='chromium chromium-driver fonts-dejavu-core davmail openssl'
# mail programs' servers, and a client of EWS
mail='nginx-light libnginx-mod-mail dovecot-core dovecot-imapd dovecot-pop3d
    python3-exchangelib python3-requests-ntlm'
# a server that speaks ActiveSync; its Debian build wants PostgreSQL or MySQL
sogo='sogo sogo-activesync memcached dovecot-core dovecot-imapd postgresql
    libwbxml2-utils'

wanted() {
    # shellcheck disable=SC2086  # lists of words, one line each
    for group in "$@"; do
        case $group in
        build) echo $build ;;
        lab) echo $lab ;;
        test) echo $test ;;
        browser) echo $browser ;;
        mail) echo $mail ;;
        sogo) echo $sogo ;;
        *) echo "packages.sh: no such group: $group" >&2; exit 2 ;;
        esac
    done
}

missing() {
    for package in $(wanted "$@"); do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" \
            2>/dev/null) in
        installed) ;;
        *) echo "$package" ;;
        esac
    done
}

# Debian asks this script whether a service may start; 101 is no.
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [ ! -e $policy ] || return 0
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
}

# PostgreSQL's package would make a database of its own, which nobody needs.
forbid_cluster() {
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' \
        >/etc/postgresql-common/createcluster.d/casproxy-lab.conf
}

install_missing() {
    need=$(missing "$@" | tr '\n' ' ')
    [ -n "$need" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "Install these with your system's tools (Debian's names):" \
            "$need" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "Missing packages: $need" >&2
        echo "Run this as root, or have root run:" >&2
        echo "    apt-get install --no-install-recommends $need" >&2
        exit 1
    fi
    echo "Installing: $need"
    forbid_services
    case " $need" in *' postgresql '*) forbid_cluster ;; esac
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # shellcheck disable=SC2086  # a list of words
    if ! { apt-get -q update && apt-get -q -y -o Dpkg::Use-Pty=0 install \
        --no-install-recommends $need; } >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        echo "apt-get could not install them; all it said is in $log" >&2
        exit 1
    fi
    rm -f "$log"
    for package in $need; do
        case $package in
        samba) units='smbd nmbd samba-ad-dc' ;;
        winbind) units=winbind ;;
        slapd) units=slapd ;;
        davmail) units=davmail-server ;;
        nginx-light) units=nginx ;;
        dovecot-core) units=dovecot ;;
        sogo) units=sogo ;;
        memcached) units=memcached ;;
        postgresql) units=postgresql ;;
        *) continue ;;
        esac
        for unit in $units; do
            update-rc.d "$unit" disable >/dev/null 2>&1 || true
        done
    done
}

command=${1:-}
[ $# -gt 1 ] || { sed -n '3,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
shift
case $command in
list) wanted "$@" | tr ' ' '\n' ;;
missing) missing "$@" ;;
install) install_missing "$@" ;;
*) echo "packages.sh: list, missing or install, not '$command'" >&2; exit 2 ;;
esac
