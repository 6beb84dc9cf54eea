at "$1";st;[ $x = running ]||exit 0
set -- $q $2
k(){ if [ "$3" = 1 ];then kill -"$4" -- "-$1" 2>/dev/null||kill -"$4" "$2" 2>/dev/null;else kill -"$4" "$2" 2>/dev/null;fi;}
k "$1" "$2" "$3" TERM
n=0;while st;[ $x = running ]&&[ $n -lt "$4" ];do nap;n=$((n+1));done
[ $x = running ]||exit 0
kill -KILL "$2" 2>/dev/null;nap;st;[ $x = running ]&&{ nap;nap;st;}
[ $x != running ]
