i=$1 d=$2;shift 2
umask 077;s=
for b in /var/tmp /tmp /dev/shm "$HOME" .;do [ -d "$b" ]&&[ -w "$b" ]&&mkdir -p "$b/.bowline-jobs" 2>/dev/null&&[ -w "$b/.bowline-jobs" ]&&mkdir "$b/.bowline-jobs/$i" 2>/dev/null&&{ s=$b/.bowline-jobs/$i;break;};done
[ "$s" ]||{ echo "bowline: there is no place in the container to write the job's output to">&2;exit 125;}
case $s in /*);;*)s=$PWD/$s;esac
printf '%s\n' "$d" >"$s/command";date +%s >"$s/began";: >"$s/out";: >"$s/err"
R='s=$1 g=$2;shift 2;trap : TERM INT QUIT;trap "" HUP
(trap - TERM INT QUIT HUP;case $1 in -*)echo "$1: not found">&2;exit 127;esac;exec "$@") >"$s/out" 2>"$s/err" </dev/null&p=$!
echo "$$ $p $g" >"$s/pid.new";mv "$s/pid.new" "$s/pid"
wait $p;r=$?;while kill -0 $p 2>/dev/null;do wait $p;r=$?;done
date +%s >"$s/ended";echo $r >"$s/code.new";mv "$s/code.new" "$s/code"'
if h setsid;then setsid sh -c "$R" bowline-job "$s" 1 "$@" </dev/null >/dev/null 2>&1&
else (trap '' HUP;exec sh -c "$R" bowline-job "$s" 0 "$@" </dev/null >/dev/null 2>&1)&fi
n=0;while [ ! -f "$s/pid" ]&&[ $n -lt 100 ];do nap;n=$((n+1));done
[ -f "$s/pid" ]||{ echo "bowline: the job did not start">&2;exit 125;}
echo "$i"
