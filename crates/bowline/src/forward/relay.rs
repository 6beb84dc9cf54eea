//! A way to other hosts that does not need the agent: a program in the container that listens on its loopback.
//!
//! It is started by an exec session, is in nobody's files, and ends with that session.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Carriage;
use super::error::ForwardError;
use super::spec::Remote;
use crate::session::exec::{Exec, ExecEvent, ExecRequest};
use crate::{Client, ResolvedTarget};

// Tuning.
/// For the program to listen, once its session is there.
const START: Duration = Duration::from_secs(30);
/// For a program to say that it cannot, after it was said to listen.
const SETTLED: Duration = Duration::from_millis(500);
/// What it says when it listens.
const READY: &str = "bowline relay at ";

/// `sh -c RELAY bowline HOST PORT`
///
/// python3 and perl choose a port that is free; for the others it is a number that hardly anybody uses, made of the
/// process id. busybox serves one connection at a time.
const RELAY: &str = r#"h=$1 q=$2 n=$(($$%20000+30000))
s(){ (sleep 0.3;echo "bowline relay at $n")& }
if command -v socat >/dev/null;then s;exec socat TCP-LISTEN:$n,bind=127.0.0.1,fork,reuseaddr "TCP:$h:$q"
elif command -v python3 >/dev/null;then exec python3 -c 'import socket,sys,threading as t
def p(a,b):
 try:
  while 1:
   d=a.recv(65536)
   if not d:break
   b.sendall(d)
 except OSError:pass
 for s in(a,b):
  try:s.shutdown(2)
  except OSError:pass
def c(a):
 try:b=socket.create_connection((sys.argv[1],int(sys.argv[2])),10)
 except OSError:a.close();return
 b.settimeout(None)
 t.Thread(target=p,args=(b,a),daemon=True).start();p(a,b)
l=socket.socket();l.bind(("127.0.0.1",0));l.listen(64)
print("bowline relay at",l.getsockname()[1],flush=True)
while 1:t.Thread(target=c,args=(l.accept()[0],),daemon=True).start()' "$h" "$q"
elif command -v perl >/dev/null;then exec perl -MIO::Socket::INET -MIO::Select -e '$|=1;$SIG{CHLD}="IGNORE";my($h,$q)=@ARGV;
my $l=IO::Socket::INET->new(Listen=>64,LocalAddr=>"127.0.0.1",Proto=>"tcp")or die;print "bowline relay at ",$l->sockport,"\n";
while(my $a=$l->accept){next if fork;my $b=IO::Socket::INET->new(PeerAddr=>$h,PeerPort=>$q,Proto=>"tcp")or exit;
my $s=IO::Select->new($a,$b);while(1){for my $x($s->can_read){sysread($x,my $d,65536)or exit;my $y=$x==$a?$b:$a;
while(length $d){my $w=syswrite($y,$d)or exit;substr($d,0,$w)=""}}}}' "$h" "$q"
elif busybox nc --help 2>&1|grep -q -e -e;then s;exec busybox nc -ll -p $n -s 127.0.0.1 -e busybox nc "$h" "$q"
else echo "it has none of socat, python3, perl and busybox with nc -e">&2;exit 3;fi"#;

/// A program that relays, as long as this is held.
pub(super) struct Relay {
    pub(super) port: u16,
    _exec: Exec,
}

impl Relay {
    pub(super) async fn start(
        client: &Client,
        target: &ResolvedTarget,
        host: &str,
        port: u16,
        carriage: &Carriage,
    ) -> Result<Self, ForwardError> {
        let port = port.to_string();
        let argv = ["sh", "-c", RELAY, "bowline", host, &port];
        let mut request = ExecRequest::new(argv);
        request.wait = carriage.wait;
        request.keep_alive = carriage.keep_alive;
        let mut exec = client.exec(target.clone(), request);
        let (mut said, mut complaint) = (String::new(), String::new());
        let mut deadline = Instant::now() + carriage.wait + START;
        let mut listens = None;
        let reason = loop {
            let Ok(event) = timeout_at(deadline, exec.next()).await else {
                match listens {
                    // It did not end: it works.
                    Some(port) => return Ok(Self { port, _exec: exec }),
                    None => break "it did not listen in time".to_owned(),
                }
            };
            match event {
                Some(ExecEvent::Stdout(bytes)) => {
                    said.push_str(&String::from_utf8_lossy(&bytes));
                    listens = said
                        .lines()
                        .find_map(|line| line.strip_prefix(READY)?.trim().parse().ok())
                        .filter(|_| said.ends_with('\n'));
                    if listens.is_some() {
                        deadline = Instant::now() + SETTLED;
                    }
                }
                Some(ExecEvent::Stderr(bytes)) => {
                    complaint.push_str(&String::from_utf8_lossy(&bytes));
                }
                Some(ExecEvent::Exit { code }) => {
                    break match complaint.trim() {
                        "" => format!("its program ended with code {code}"),
                        complaint => complaint.lines().last().unwrap_or_default().to_owned(),
                    };
                }
                Some(ExecEvent::Closed { reason }) => return Err(reason.into()),
                Some(_) => {}
                None => break "its session is gone".to_owned(),
            }
        };
        Err(ForwardError::Relay {
            container: target.container.clone(),
            remote: Remote {
                host: Some(host.to_owned()),
                port: port.parse().unwrap_or_default(),
            },
            reason,
        })
    }
}
