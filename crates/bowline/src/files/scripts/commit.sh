s=$1 f=$2
no(){ echo "F $*";exit 1;}
mk(){ [ $# = 0 ]||mv -f -- "$@" "$f$d/"||no rename;}
m(){ mkdir -p "$f$1"||no mkdir;d=$1;set --
for x in "$s$d"/* "$s$d"/.[!.]* "$s$d"/..?*;do
if [ -h "$x" ]||{ [ -e "$x" ]&&[ ! -d "$x" ];};then set -- "$@" "$x";[ $# -lt 200 ]||{ mk "$@";set --;};fi;done;mk "$@"
for x in "$s$d"/* "$s$d"/.[!.]* "$s$d"/..?*;do [ -d "$x" ]&&[ ! -h "$x" ]&&m "${x#"$s"}";done;:;}
if [ -e "$f" ]||[ -h "$f" ];then [ -d "$f" ]||no directory;m '';rm -rf "$s"
else mv "$s" "$f"||no rename;fi
while IFS=' ' read -r o t n;do n=$(printf %b. "$n");n=$f/${n%.}
chmod "$o" "$n"||no chmod;[ "$t" = - ]||TZ=UTC0 touch -t "$t" "$n" 2>/dev/null;done
echo "K $a"
