no(){ echo "bowline: $*">&2;exit 125;}
b=$1 l=$2 e=$3 o=$4 i=$5 n=$6;shift 6
while [ "$n" -gt 0 ];do export "$1";n=$((n-1));shift;done
trap : HUP INT TERM QUIT PIPE
umask 077;w=
for z in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm "$PWD";do [ -w "$z" ]&&mkdir "$z/.bowline-script-$o" 2>/dev/null&&{ w=$z/.bowline-script-$o;break;};done
[ "$w" ]||no "there is no place in the container to write the script to"
trap 'rm -rf "$w"' EXIT
f=$w/$b
if [ "$i" = - ];then cat >"$f";elif h dd;then dd bs=1 count="$l" >"$f" 2>/dev/null;else c "$l" >"$f";fi||no "the script could not be written to $w"
[ $(($(wc -c <"$f"))) = "$l" ]||no "the script did not arrive whole"
[ $a != sha256 ]||{ z=$(k <"$f");[ "${z%% *}" = "$e" ]||no "the script arrived damaged";}
chmod 700 "$f"
n=$1 g=$2;shift 2
case $g in */*)[ -x "$g" ]||{ h "${g##*/}"&&g=${g##*/};};esac
set -- "$g" "$@"
j=0;for z do j=$((j+1));[ $j -gt 1 ]||set --;set -- "$@" "$z";[ $j != "$n" ]||set -- "$@" "$f";done
umask 022
if [ "$i" = - ];then "$@" </dev/null;else "$@";fi
r=$?;exit $r
