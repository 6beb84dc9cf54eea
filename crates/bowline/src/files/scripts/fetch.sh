rd(){ IFS= read -r z;case $z in *\\*)f=$(printf %b. "$z");f=${f%.};;*)f=$z;esac;}
if h dd;then d(){ dd if="$f" bs=65536 skip="$1" count="$2" 2>/dev/null;};else d(){ tail -c +$(($1*65536+1)) "$f";};fi
go(){ while IFS=' ' read -r o s n l;do case $o in
c)set --;while [ "$n" -gt 0 ];do rd;set -- "$@" "$f";n=$((n-1));done;{ cat -- "$@" 2>/dev/null;cat /dev/zero 2>/dev/null;}|c "$s"|y;;
r)rd;{ d "$s" "$n";cat /dev/zero 2>/dev/null;}|c "$l"|y;;
esac;done;}
rd;g=0;q=
h stty||q=$(cat)
if [ "$f" ]&&h gzip;then m=$(d 0 4|wc -c);n=$(d 0 4|gzip -1 2>/dev/null|wc -c);[ "$m" -gt 0 ]&&[ "$n" -gt 0 ]&&[ $((n*10)) -lt $((m*9)) ]&&g=1;fi
echo $g
if [ $g = 1 ];then y(){ gzip -1;};else y(){ cat;};fi
if [ "$q" ];then printf '%s\n' "$q"|go;else go;fi
