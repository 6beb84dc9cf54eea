s(){ if [ -d "$1" ];then echo d;elif [ -f "$1" ];then echo f;elif [ -e "$1" ];then echo o;elif [ -h "$1" ];then echo l;else echo -;fi;}
printf 'T %s' $a;for z in find stat gzip tar readlink stty dd;do h $z&&printf ' %s' $z;done;echo
for p do z=$(s "$p");case $z in f)printf 'P f %s\n' $(wc -c <"$p");;d)if [ -w "$p" ];then echo "P d w";else echo "P d r";fi;;*)echo "P $z";esac;done
echo "E 0"
