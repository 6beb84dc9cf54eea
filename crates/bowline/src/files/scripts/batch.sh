ln(){ set -- "$1" $(ls -ldn -- "$1" 2>/dev/null);[ "$2" ]||{ echo - - -;return;};case $2 in [bc]*)z=0;;*)z=$6;esac;echo "$2" "$z" "$(date -r "$1" +%s 2>/dev/null||echo -)";}
lk(){ if h readlink;then readlink -- "$1";else z=$(ls -ld -- "$1";echo .);z=${z%
.};printf '%s\n' "${z#*"$1 -> "}";fi;}
b(){ echo "B $#"
if z=$(stat -c '%f %s %Y' -- "$@" 2>/dev/null);then printf '%s\n' "$z";else for f do stat -c '%f %s %Y' -- "$f" 2>/dev/null||ln "$f";done;fi
for f do printf '%s\0' "$f";done
for f do [ -h "$f" ]&&{ lk "$f";printf '\0';};done
n=$#;for f do [ -f "$f" ]&&[ ! -h "$f" ]&&set -- "$@" "$f";done;shift "$n"
[ $# = 0 ]||[ $a = none ]||[ "$D" = 0 ]&&return
q=;case "$*" in *'
'*|*\\*)q=1;esac
if [ ! "$q" ]&&z=$(k "$@" 2>/dev/null);then printf '%s\n' "$z";else for f do k <"$f" 2>/dev/null||echo -;done;fi;}
