#!/bin/sh
# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Fails when things that must say the same have drifted apart: the table of
# directives, the reference, the sample; the members of the settings and their
# list; log tags and their register; rules, reasons and the reference; the core
# and httpd's headers.
#
#   t/drift.sh          check
#   t/drift.sh update   write the tables in docs/reference.md anew
#
# srcdir and builddir say where sources and casproxyctl are (default: here).

set -u
LC_ALL=C
export LC_ALL
srcdir=${srcdir:-.}
builddir=${builddir:-.}
ctl=${CASPROXYCTL:-$builddir/casproxyctl}
reference=$srcdir/docs/reference.md
sample=$srcdir/docs/sample-vhost.conf
register=$srcdir/logtags.txt
bad=0

# Only these may know httpd.
skin='mod_casproxy.c config.c runtime.c request.c integrated.c forms.c answer.c
backend.c worker.c backlogin.c leg.c mapping.c relay.c peek.c discover.c
mailhandler.c status.c sizing.c front.c lockout.c skin.h runtime.h request.h answer.h backend.h front.h'

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' 0
trap 'exit 1' 1 2 15

if [ ! -f "$register" ]; then
    echo "drift: logtags.txt is missing" >&2
    exit 1
fi

drift()
{
    echo "drift: $*" >&2
    bad=1
}

# --- the tables of the reference ---------------------------------------------

# Tab-separated lines as rows; | would end a cell. In code_cells, `as code`.
rows()
{
    awk -F '\t' -v code=" $1 " '{
        line = "|"
        for (i = 1; i <= NF; i++) {
            cell = $i
            gsub(/\|/, "\\|", cell)
            gsub(/</, "\\&lt;", cell)
            if (index(code, " " i " ") && cell != "-") {
                cell = "`" $i "`"
                gsub(/\|/, "\\|", cell)
            }
            line = line " " cell " |"
        }
        print line
    }'
}

table()
{
    case $1 in
    directives)
        printf '%s\n' '| directive | context | arguments | default | sets |' \
            '|---|---|---|---|---|'
        rows '1 3' < "$tmp/directives" ;;
    rules)
        printf '%s\n' '| rule | source | action | reason | in words |' \
            '|---|---|---|---|---|'
        rows '1 3 4' < "$tmp/rules" ;;
    logins)
        printf '%s\n' \
            '| CasProxyBackendAuth | login | why | in words |' '|---|---|---|---|'
        rows '2 3' < "$tmp/logins" ;;
    reasons)
        printf '%s\n' '| reason | status | in words |' '|---|---|---|'
        rows '1' < "$tmp/reasons" ;;
    logtags)
        printf '%s\n' '| tag | level | meaning; what to do |' '|---|---|---|'
        sed -n 's/^\([0-9][0-9]*\)/CP\1/p' "$register" | rows '1' ;;
    esac
}

# What stands between <!-- name --> and <!-- /name -->.
block()
{
    awk -v from="<!-- $1 -->" -v to="<!-- /$1 -->" '
        $0 == to { on = 0 }
        on
        $0 == from { on = 1 }' "$reference"
}

ask_ctl()
{
    for what in directives rules logins reasons; do
        "$ctl" $what > "$tmp/$what" || {
            echo "drift: $ctl $what failed: build casproxyctl first" >&2
            exit 1
        }
        [ -s "$tmp/$what" ] || drift "$ctl $what printed nothing"
    done
}

update()
{
    cp "$reference" "$tmp/reference" || exit 1
    for what in directives reasons rules logins logtags; do
        table $what > "$tmp/table"
        awk -v from="<!-- $what -->" -v to="<!-- /$what -->" \
            -v table="$tmp/table" '
            $0 == to { on = 0 }
            !on
            $0 == from { on = 1; while ((getline line < table) > 0) print line
            }' "$tmp/reference" > "$tmp/next" || exit 1
        mv "$tmp/next" "$tmp/reference"
    done
    cat "$tmp/reference" > "$reference"
}

check_tables()
{
    for what in directives reasons rules logins logtags; do
        table $what > "$tmp/want"
        block $what > "$tmp/have"
        if ! cmp -s "$tmp/want" "$tmp/have"; then
            drift "the table of $what in docs/reference.md is not what the" \
                  "code says; run t/drift.sh update:"
            diff "$tmp/have" "$tmp/want" | sed -n '1,10p' >&2
        fi
    done
}

# --- directives --------------------------------------------------------------

check_directives()
{
    cut -f 1 "$tmp/directives" | sort > "$tmp/names"
    sed -n 's/^### \(CasProxy[A-Za-z0-9]*\)$/\1/p' "$reference" | sort \
        > "$tmp/sections"
    sed -n 's/^[ #]*\(CasProxy[A-Za-z0-9]*\)\( .*\)*$/\1/p' "$sample" \
        | sort -u > "$tmp/sampled"
    for name in $(comm -23 "$tmp/names" "$tmp/sections"); do
        drift "docs/reference.md has no section \"### $name\""
    done
    for name in $(comm -13 "$tmp/names" "$tmp/sections"); do
        drift "docs/reference.md describes $name, which is no directive"
    done
    for name in $(comm -23 "$tmp/names" "$tmp/sampled"); do
        drift "docs/sample-vhost.conf does not show $name"
    done
    for name in $(comm -13 "$tmp/names" "$tmp/sampled"); do
        drift "docs/sample-vhost.conf shows $name, which is no directive"
    done
    for name in $(uniq -d "$tmp/names"); do
        drift "$name stands twice in the table of directives"
    done
}

# The sample's lines, those behind a # too, are lines that can be read.
check_sample()
{
    sed -e 's|^\( *\)#\(</*Location\)|\1\2|' \
        -e 's/^\( *\)#\( *CasProxy\)/\1\2/' "$sample" > "$tmp/sample.conf"
    for file in "$sample" "$tmp/sample.conf"; do
        "$ctl" explain --config "$file" --vhost mail.example.com \
            --directory ldif:/dev/null --user x --url / > "$tmp/out" 2>&1
        if grep -Eq ': line [0-9]+: |virtual host' "$tmp/out"; then
            drift "docs/sample-vhost.conf cannot be read:"
            cat "$tmp/out" >&2
        fi
    done
}

# --- members -----------------------------------------------------------------

# The members of a struct in settings.h, one a line, arrays without brackets.
members()
{
    awk -v end="} $1;" '
        /^typedef struct \{/ { text = ""; on = 1; next }
        index($0, end) == 1 { print text; exit }
        /^}/ { on = 0 }
        on { text = text " " $0 }' "$srcdir/settings.h" \
    | awk '{
        while ((from = index($0, "/*")) > 0) {
            rest = substr($0, from + 2)
            $0 = substr($0, 1, from - 1) substr(rest, index(rest, "*/") + 2)
        }
        gsub(/\[[^]]*\]/, "")
        gsub(/\*/, " ")
        n = split($0, declarations, ";")
        for (i = 1; i <= n; i++) {
            m = split(declarations[i], names, ",")
            for (j = 1; j <= m; j++) {
                words = split(names[j], word, " ")
                if (words) print word[words]
            }
        }
    }' | sort
}

# The members in a list of settings.c.
listed()
{
    awk -v start="#define $1(" '
        index($0, start) == 1 { on = 1; next }
        on
        on && !/\\$/ { exit }' "$srcdir/settings.c" \
    | sed -n 's/^ *[A-Z]*(\([a-z0-9_]*\)[][,)A-Z_].*$/\1/p' | sort -u
}

check_members()
{
    members "$1" > "$tmp/members"
    listed "$2" > "$tmp/listed"
    [ -s "$tmp/members" ] || drift "cannot read $1 in settings.h"
    for name in $(comm -23 "$tmp/members" "$tmp/listed"); do
        drift "$1.$name is not in $2 (settings.c): it would be neither" \
              "created nor merged nor completed"
    done
    for name in $(comm -13 "$tmp/members" "$tmp/listed"); do
        drift "$2 (settings.c) lists $name, which is no member of $1"
    done
    uses=$(grep -c "^    $2(" "$srcdir/settings.c")
    [ "$uses" -eq 3 ] || drift "$2 is used $uses times in settings.c;" \
        "create, merge and complete must each use it once"
}

check_timeouts()
{
    for name in $(sed -n 's/^ *\(CASP_PROTO_[A-Z]*\)[ ,=].*$/\1/p' \
                  "$srcdir/mod_casproxy.h"); do
        [ "$name" = CASP_PROTO_COUNT ] \
            || grep -q "NUMBER(timeout\[$name\]," "$srcdir/settings.c" \
            || drift "settings.c has no timeout of $name"
    done
}

# --- log tags ----------------------------------------------------------------

check_logtags()
{
    cat "$srcdir"/*.c "$srcdir"/*.h | grep -o 'CASPLOGNO([0-9]*)' \
        | tr -cd '0-9\n' | sort > "$tmp/used"
    sed -n 's/^\([0-9][0-9]*\)	.*$/\1/p' "$register" | sort > "$tmp/known"
    for tag in $(uniq -d "$tmp/used"); do
        drift "log tag CP$tag is used more than once"
    done
    for tag in $(uniq -d "$tmp/known"); do
        drift "log tag CP$tag is registered more than once in logtags.txt"
    done
    sort -u "$tmp/used" > "$tmp/tags"
    for tag in $(comm -23 "$tmp/tags" "$tmp/known"); do
        drift "log tag CP$tag is not registered in logtags.txt"
    done
    for tag in $(comm -13 "$tmp/tags" "$tmp/known"); do
        drift "logtags.txt registers CP$tag, which nothing uses"
    done
    grep -v '^[0-9][0-9][0-9][0-9]	[a-z]*	..*$' "$register" \
        | grep -Ev '^(#|$)' > "$tmp/odd"
    [ ! -s "$tmp/odd" ] || drift "lines of logtags.txt that are not" \
        "NNNN<TAB>level<TAB>meaning:" "$(cat "$tmp/odd")"
}

# --- variables and headers ---------------------------------------------------

check_variables()
{
    for name in $(cat "$srcdir"/*.c | grep -v '_FILTER "' \
                  | grep -o '"CASPROXY_[A-Z_]*"' | tr -d '"' | sort -u); do
        grep -q "^| \`$name\` |" "$reference" \
            || drift "docs/reference.md does not tell the variable $name"
    done
}

check_core()
{
    for file in "$srcdir"/*.c "$srcdir"/*.h; do
        name=${file##*/}
        case " $(echo $skin) " in
        *" $name "*) continue ;;
        esac
        sed -n 's/^ *# *include *[<"]\([^>"]*\)[>"].*$/\1/p' "$file" \
            | grep -v '^mod_casproxy\.h$' \
            | grep -E '^(httpd|scoreboard|skin)\.h$|^(http|ap|mod|util|mpm)_' \
            > "$tmp/includes"
        while read -r header; do
            drift "$name is core and includes $header"
        done < "$tmp/includes"
    done
}

ask_ctl
if [ "${1:-}" = update ]; then
    update
    exit 0
fi
check_tables
check_directives
check_sample
check_members casp_settings_t SERVER_MEMBERS
check_members casp_dir_settings_t LOCATION_MEMBERS
check_timeouts
check_logtags
check_variables
check_core
[ $bad -eq 0 ] && echo "drift: none"
exit $bad
