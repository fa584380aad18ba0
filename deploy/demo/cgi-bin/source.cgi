#!/bin/sh
# The text of this site's own files, for the pages that explain them.
. ./cgi.sh

file=$(field file "$QUERY_STRING")
case $file in
*.cgi | *.sh | *.html) folder=. ;;
*.js) folder=../htdocs ;;
outboard.toml) folder=.. ;;
*) refuse '404 Not Found' 'there is no such file' ;;
esac
case $file in
*[!a-z.-]* | *..*) refuse '404 Not Found' 'there is no such file' ;;
esac
[ -f "$folder/$file" ] || refuse '404 Not Found' 'there is no such file'

printf 'Content-Type: text/plain; charset=utf-8\n\n'
cat "$folder/$file"
