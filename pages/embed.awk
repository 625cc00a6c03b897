# Make casp_builtin_pages[] from the files named; a file's folder is dropped.
# Character by character, because awks differ in what a backslash in gsub()'s
# replacement means.  "?" gets one too, so that no trigraph comes about.
function escape(s,    out, c, i, n) {
    n = length(s)
    out = ""
    for (i = 1; i <= n; i++) {
        c = substr(s, i, 1)
        if (c == "\\" || c == "\"" || c == "?")
            out = out "\\"
        out = out c
    }
    return out
}
BEGIN {
    print "/* Made from pages/ by pages/embed.awk; do not edit. */"
    print "#include \"pages.h\""
    print "const casp_builtin_page_t casp_builtin_pages[] = {"
}
FNR == 1 {
    if (NR > 1)
        print "    },"
    name = FILENAME
    sub(/.*\//, "", name)
    printf "    {\"%s\",\n", name
}
{ printf "     \"%s\\n\"\n", escape($0) }
END {
    print "    },\n    {NULL, NULL}\n};"
}
