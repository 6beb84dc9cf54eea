for b in /var/tmp /tmp /dev/shm "$HOME" .;do for s in "$b"/.bowline-jobs/job-*;do [ -d "$s" ]||continue;st
r=-;[ -f "$s/code" ]&&r=$(cat "$s/code")
echo "${s##*/} $x $r $(cat "$s/began" 2>/dev/null||echo -) $(cat "$s/ended" 2>/dev/null||echo -) $(($(wc -c <"$s/out"))) $(($(wc -c <"$s/err"))) $(head -n 1 "$s/command" 2>/dev/null)"
done;done
