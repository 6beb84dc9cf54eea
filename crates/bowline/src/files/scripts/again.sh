while IFS=' ' read -r l z;do f=$(printf %b. "$z");f=${f%.}
{ c "$l" <"$f" 2>/dev/null;}|k;done
