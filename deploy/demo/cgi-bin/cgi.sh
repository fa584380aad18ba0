# cgi.sh: what a CGI script needs to read its request with care.
#
# Nothing that came from the outside is ever run, nor used in the name of a file
# or a channel before it has been compared with what it may be.

# The decoded value of field $1 in the form-encoded text $2. awk turns each %XX
# into an octal escape, and printf that into the byte: so every awk can do it.
field() {
    printf '%b' "$(printf '%s' "$2" | tr '&' '\n' | LC_ALL=C awk -v name="$1" '
        BEGIN { hex = "0123456789abcdef" }
        substr($0, 1, length(name) + 1) == name "=" {
            text = substr($0, length(name) + 2)
            for (i = 1; i <= length(text); i++) {
                c = substr(text, i, 1)
                if (c == "+") c = " "
                else if (c == "\\") c = "\\0134"
                else if (substr(text, i, 3) ~ /^%[0-9A-Fa-f][0-9A-Fa-f]$/) {
                    pair = tolower(substr(text, i + 1, 2))
                    high = index(hex, substr(pair, 1, 1)) - 1
                    code = 16 * high + index(hex, substr(pair, 2)) - 1
                    c = code ? sprintf("\\0%03o", code) : ""
                    i += 2
                }
                printf "%s", c
            }
            exit
        }')"
}

# The request's body; fails if it has more than 8 KiB.
body() {
    length=${CONTENT_LENGTH:-0}
    case $length in *[!0-9]* | ?????*) return 1 ;; esac
    [ "$length" -le 8192 ] && dd bs=1 count="$length" 2>/dev/null
}

# Ends the script with status $1 and the text $2.
refuse() {
    printf 'Status: %s\nContent-Type: text/plain; charset=utf-8\n\n%s\n' "$1" "$2"
    exit
}

# 16 hexadecimal digits that nobody can guess.
random_id() { od -An -N8 -tx1 /dev/urandom | tr -d ' \n'; }

# Whether $1 looks like something that random_id made.
is_id() {
    case $1 in *[!0-9a-f]*) return 1 ;; esac
    [ ${#1} -eq 16 ]
}

# Whether $1 is a job that one of the scripts has started.
known_job() { is_id "$1" && [ -e "$STATE/job-$1" ]; }

# The session that the cookie names.
session() {
    printf '%s' "${HTTP_COOKIE-}" | tr ';' '\n' |
        sed -n 's/^ *session=\([0-9a-f]*\)$/\1/p' | head -n 1
}

# The user whose session it is; fails for everybody else.
logged_in_user() {
    session=$(session)
    is_id "$session" && cat "$STATE/session-$session" 2>/dev/null
}
