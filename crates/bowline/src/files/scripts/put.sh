p=$1 f=$2 o=$3 l=$4 e=$5 m=$6 t=$7 g=$8
umask 077
no(){ echo "F $*";exit 1;}
if [ "$g" = 1 ];then x(){ gzip -dc;};else x(){ cat;};fi
if [ "$o" = 0 ];then rm -f "$p"&&x >"$p"||no write;elif [ "$o" != - ];then x >>"$p"||no write;fi
[ "$e" = later ]&&{ echo "K $(($(wc -c <"$p")))";exit;}
n=$(($(wc -c <"$p")))
[ "$n" = "$l" ]||no size "$n"
case $a in none);;*)z=$(k <"$p");case $a in cksum)z=${z%% *};;*)z=${z%% *};esac;[ "$z" = "$e" ]||no digest "$z";esac
[ -d "$f" ]&&no directory
chmod "$m" "$p"||no chmod
[ "$t" = - ]||TZ=UTC0 touch -t "$t" "$p" 2>/dev/null||echo "W times"
mv -f "$p" "$f"||no rename
echo "K $a"
