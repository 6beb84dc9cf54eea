D=$1;shift;export D
eval "$P"
r=0
w(){ b "$1";if [ -d "$1" ]&&[ ! -h "$1" ];then [ -r "$1" ]&&[ -x "$1" ]||{ echo "$1: cannot be read">&2;r=1;};for x in "$1"/* "$1"/.[!.]* "$1"/..?*;do { [ -e "$x" ]||[ -h "$x" ];}&&w "$x";done;fi;}
if h find&&find . -prune -exec true {} + >/dev/null 2>&1;then F=1;else F=;fi
t(){ y=$1;[ -h "$y" ]&&{ if [ -d "$y" ];then y=$y/.;elif h readlink&&z=$(readlink -f -- "$y");then y=$z;fi;}
case $y in -*)y=./$y;esac
printf 'R %s\0%s\0' "$1" "$y"
if [ "$F" ];then find "$y" -exec sh -c "$P
b \"\$@\"" sh {} +||r=1;else w "$y";fi;}
g(){ if [ -e "$1" ]||[ -h "$1" ];then t "$1";else i=$IFS;IFS=;set -- $1;IFS=$i;if [ -e "$1" ]||[ -h "$1" ];then for s do t "$s";done;else printf 'N %s\0' "$1";fi;fi;}
printf 'T %s' $a;for z in find stat gzip tar readlink stty dd;do h $z&&printf ' %s' $z;done;echo
for p do g "$p";done
echo "E $r"
