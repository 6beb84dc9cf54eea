s=$1 g=$2 k=$3
no(){ echo "F $*";exit 1;}
umask 077;mkdir -p "$s"||no mkdir;umask 022
if [ "$g" = 1 ];then x(){ gzip -dc;};else x(){ cat;};fi
nm(){ case $1 in *\\*)n=$(printf %b. "$1");n=${n%.};;*)n=$1;esac;}
if [ "$k" = tar ];then x|tar -xpof - -C "$s"||no unpack
else x|{ while IFS=' ' read -r o m t n;do nm "$n";v=$s/$n;case $o in
d)mkdir -p "$v"||no mkdir;;
l)IFS= read -r z;nm "$z";rm -f "$v"&&ln -s "$n" "$v"||no link;;
f)rm -f "$v";while IFS= read -r z&&[ "$z" != : ];do printf %b "$z";done >"$v"||no write
[ "$m" = 644 ]||chmod "$m" "$v"||no chmod
TZ=UTC0 touch -t "$t" "$v" 2>/dev/null;;
esac;done;[ "$o" != z ]||:;}||exit 1;fi
echo "K $k"
