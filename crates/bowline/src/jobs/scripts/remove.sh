at "$1";st;[ $x = running ]&&{ echo "bowline: $1 is running">&2;exit 4;}
rm -rf "$s"
