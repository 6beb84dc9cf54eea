//! The POSIX-sh programs that run beside the user's command.
//!
//! They must survive dash, busybox ash and bash, images without most tools, and the agent's shell-like splitting of
//! the command line: no single quote may appear in them, so that single quotes can carry them. All are called as
//! `sh -c SCRIPT bowline NONCE MODE argv…`; MODE holds `i` for stdin and `a` for an argv that comes through the
//! session as one line. Common to all:
//!
//! - `noflsh`: without it the kernel throws away unread output when Ctrl-C interrupts.
//! - `dd count=1` reads what there is, so output is seen as it comes and chunks grow only with backlog.
//! - The command runs in the foreground group with default signals. The shells and tools around it survive the signals
//!   that it may send to its whole group: they ignore them from before they are forked. Only the shell around the
//!   command traps them instead, because a trap is reset for the command and an ignored signal is not.
//! - The shell around the command sends its own stderr away, so that a shell's "Terminated" is not taken for the
//!   command's.
//! - The last `read` keeps the agent from leaving before all is read: it waits 2 s at most and drops the rest. It gives
//!   up after five minutes, so that a client that was killed does not use up one of the container's two sessions.
//! - An argv that does not arrive whole is never run.

/// Arguments, signals, the terminal, the command without and with its status, the argv that came through the session,
/// and the farewell.
macro_rules! common {
    () => {
        r#"n=$1 i=$2;shift 2
d="INT TERM QUIT"
trap "" $d
h(){ command -v $1 >/dev/null;}
r(){ case $1 in -*)echo "$1: not found">&2;exit 127;esac;exec "$@";}
a(){ set --;read -r z;eval "set -- $(printf %b "$z")"||exit 125;[ $# = 0 ]&&exit 125;main "$@";}
q(){ stty min 0 time 250 2>/dev/null;for z in 1 2 3 4 5 6 7 8 9 10 11 12;do read -r z&&break;done;}
"#
    };
}

/// Raw, but signals work; and the two outputs and the status on descriptors of their own.
macro_rules! raw {
    () => {
        r#"stty raw isig noflsh -echo 2>/dev/null&&t=1||t=0
exec 3>&1
"#
    };
}

/// The framed engine. What it prints, each line `RS NONCE` and then:
///
/// ```text
/// r<64|16|0> <0|1> <64|8>  ready: encoding of chunks (0: no tool for it, nothing is run); whether the terminal
///                          could be set up; encoding of stdin
/// o<text>, e<text>         a line of a chunk of stdout or stderr
/// o=<n> <crc> <len>        the end of chunk n, and cksum's CRC and length of its lines (`-` without cksum)
/// o.<n>                    the end of the stream after n chunks
/// f                        a tool failed, so something of a stream is missing
/// w                        stdin is wanted: answered by a length, a newline and so many characters of base64 (64),
///                          or by one line for `printf %b` (8); `0` ends it
/// x<status>                the command has ended
/// z                        nothing follows
/// ```
///
/// - Lines are short and written by one `printf` each: then a terminal keeps the lines of the two writers apart, also
///   with busybox, which writes about 1 KiB at a time.
/// - On a terminal that could not be set up stdin comes as short lines of plain characters, if it comes at all.
/// - Stdin is asked for piece by piece: a command that does not read must not stop the terminal, which carries Ctrl-C.
/// - What is left of a piece that the command did not want is read away, lest it be taken for the next length.
/// - bash reads ahead on a terminal unless it is told how much to read.
/// - Without `dd` each line of the encoder is a chunk: exact, but only as live as the encoder's own buffer.
pub(super) const FRAMED: &str = concat!(
    common!(),
    raw!(),
    r#"m=64 o=64
if h base64;then b(){ base64 $w;};g(){ base64 -d;}
elif h openssl;then b(){ openssl base64;};g(){ openssl base64 -d -A;}
elif h python3;then b(){ python3 -m base64 -e;};g(){ python3 -m base64 -d;}
elif h perl;then b(){ perl -MMIME::Base64 -0777 -ne "print encode_base64(\$_)";};g(){ perl -MMIME::Base64 -0777 -ne "print decode_base64(\$_)";}
elif h od;then m=16 o=8;b(){ od -An -v -tx1;}
else m=0;fi
if h head;then u(){ head -c $z;};elif h dd;then u(){ dd bs=1 count=$z 2>/dev/null;};else o=8;fi
[ $t = 1 ]||o=8
if h cksum;then k(){ printf %s "$c"|cksum;};else k(){ echo - ${#c};};fi
v(){ printf "\036${n}f\n">&3;}
l(){ for l in $c;do printf "\036$n$1%s\n" "$l";done;j=$((j+1));printf "\036$n$1=%s %s\n" $j "$(k)";}
e(){ IFS="
";j=0;base64 -w900 </dev/null >/dev/null 2>&1&&w=-w900||w=
if h dd;then while c=$({ dd bs=61440 count=1 2>/dev/null||v;}|b||v);[ "$c" ];do l $1;done;printf "\036$n$1.%s\n" $j
else { b||v;}|{ while read -r c;do l $1;done;printf "\036$n$1.%s\n" $j;};fi;}
y(){ read -r z;};[ "$BASH_VERSION" ]&&[ $o = 64 ]&&y(){ read -r -n 9 z;}
s(){ while printf "\036${n}w\n">&3;y&&[ "$z" != 0 ];do case $o$z in 64*[!0-9]*)break;;64*)u|{ g 2>/dev/null;while read -r z;do :;done;};;*)printf %b "$z";esac;done;}
x(){ trap : $d;exec 5>&2 2>/dev/null;(r "$@") 2>&5 3>&- 4>&- 5>&-;printf "\036${n}x%s\n" $?>&3;}
main(){ { case $i in *i*)s|x "$@";;*)x "$@" </dev/null;;esac 2>&1 >&4|e e >&3 4>&-;} 4>&1|e o >&3;}
printf "\036${n}r%s %s %s\n" $m $t $o
[ $m = 0 ]&&exit
case $i in *a*)a;;*)main "$@";esac
printf "\036${n}z\n";q"#
);

/// The plain engine: stdout through `cat` to the raw terminal, stderr in brackets of marks. A log of the session stays
/// readable. Marks end with RS, brackets are `RS NONCE e … RS NONCE .` and short enough for one write. The mark `t`
/// says that a long argv cannot be read for lack of stty.
pub(super) const PLAIN: &str = concat!(
    common!(),
    raw!(),
    r#"p(){ printf "\036${n}e%s\036$n." "$1";}
e(){ if h dd;then while c=$(dd bs=900 count=1 2>/dev/null;printf x);[ "$c" != x ];do p "${c%x}";done
else while IFS= read -r c;do p "$c
";done;[ "$c" ]&&p "$c";fi;}
o(){ if h cat;then cat;else dd bs=4096 2>/dev/null;fi;}
x(){ trap : $d;exec 5>&2 2>/dev/null;(r "$@") 2>&5 3>&- 4>&- 5>&-;printf "\036${n}x%s\036" $?>&3;}
main(){ { x "$@" </dev/null 2>&1 >&4|e >&3 4>&-;} 4>&1|o >&3;}
case $i$t in *a0)printf "\036${n}t\036";exit;esac
printf "\036${n}r\036"
case $i in *a*)a;;*)main "$@";esac
printf "\036${n}z\036";q"#
);

/// The tty engine: the command has the terminal to itself; a mark before it and one after it, with its status. After
/// the mark `g` it waits for a line: what was sent before that, such as the terminal's size, is in force by then. Keys
/// may follow only after the mark `r`: a terminal treats them by the modes in which they arrive.
pub(super) const TTY: &str = concat!(
    common!(),
    r#"main(){ [ "$t" ]&&stty $t;printf "\036${n}r\036";trap : $d;(r "$@");printf "\036${n}x%s\036" $?;}
t=$(stty -g 2>/dev/null)&&stty raw -echo
case $i$t in *a)printf "\036${n}t\036";exit;esac
[ "$t" ]&&printf "\036${n}g\036"
case $i in *a*)a;;*)[ "$t" ]&&read -r z;main "$@";esac"#
);
