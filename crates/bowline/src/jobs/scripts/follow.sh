at "$1";o=$2 e=$3
if h tail;then from(){ tail -c +$(($2+1)) "$1";};else from(){ dd if="$1" bs=1 skip="$2" 2>/dev/null;};fi
if h head;then cut(){ head -c "$1";};else cut(){ dd bs=1 count="$1" 2>/dev/null;};fi
while :;do st
n=$(($(wc -c <"$s/out")));if [ $n -gt "$o" ];then from "$s/out" "$o"|cut $((n-o));o=$n;fi
n=$(($(wc -c <"$s/err")));if [ $n -gt "$e" ];then from "$s/err" "$e"|cut $((n-e)) >&2;e=$n;fi
case $x in ended)exit $(cat "$s/code");;lost)echo "bowline: the job is gone and has left no exit code: it was killed, or its container was started anew">&2;exit 125;;esac
nap;done
