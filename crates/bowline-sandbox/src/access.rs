//! Who called what: a line for each call and session, and the last of them for the page.
//!
//! Nothing of a request's content is in it, so no secret either. What a client chose freely is shortened, and anything but
//! plain characters in it replaced: a line stays a line.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use http::Response;
use hyper::body::Body as _;

/// Calls that the page shows.
const RECENT: usize = 100;
/// Lines that wait for a slow reader; what comes beyond is counted and left out.
const QUEUE: usize = 4096;
/// Longer words are cut.
const WORD: usize = 100;

/// Where lines go. A reader that stops does not stop the sandbox: what it misses is counted.
#[derive(Clone)]
pub struct AccessLog(Arc<Mutex<Box<dyn Write + Send>>>);

impl AccessLog {
    /// Each line is written and flushed at once.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(sink))))
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(line.as_bytes())?;
        sink.flush()
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

/// Who called, and what: carried by a response on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The caller's ARN, once the signature was found good.
    pub(crate) caller: Option<String>,
    /// `service.Operation`.
    pub(crate) operation: String,
}

/// The code of an error: carried in the same way.
#[derive(Clone, Debug)]
pub(crate) struct Code(pub(crate) Cow<'static, str>);

/// One call as it is told.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: SystemTime,
    pub(crate) account: String,
    pub(crate) principal: String,
    pub(crate) operation: String,
    /// The status, and behind a slash the error's code.
    pub(crate) outcome: String,
    pub(crate) took: Duration,
}

/// What is told, and what was told last.
pub(crate) struct Access {
    lines: Option<Lines>,
    recent: Mutex<VecDeque<Entry>>,
}

impl Access {
    /// Keeps the last calls, and writes all of them if there is a log.
    pub(crate) fn new(log: Option<AccessLog>) -> Self {
        Self {
            lines: log.map(Lines::start),
            recent: Mutex::default(),
        }
    }

    /// A request was answered; `begun` and `received` are its start and the bytes of its body.
    pub(crate) fn call(
        &self,
        response: &Response<Body>,
        what: &str,
        begun: Instant,
        received: u64,
    ) {
        let told = response.extensions().get::<Told>();
        let caller = told.and_then(|told| told.caller.as_deref());
        let (account, principal) = caller.map_or_else(|| ("-".to_owned(), "-".to_owned()), split);
        let operation = told.map_or(what, |told| &told.operation);
        let mut outcome = response.status().as_u16().to_string();
        if let Some(Code(code)) = response.extensions().get::<Code>() {
            outcome = format!("{outcome}/{}", plain(code));
        }
        let entry = Entry {
            at: SystemTime::now(),
            account,
            principal,
            operation: plain(operation),
            outcome,
            took: begun.elapsed(),
        };
        if let Some(lines) = &self.lines {
            let sent = match response.body().size_hint().exact() {
                Some(bytes) => bytes.to_string(),
                None => "?".to_owned(),
            };
            let id = ["x-amzn-requestid", "x-amz-request-id"]
                .iter()
                .find_map(|name| response.headers().get(*name));
            let id = id.and_then(|id| id.to_str().ok()).unwrap_or("-");
            lines.send(format!(
                "{} {} {} {} {} {}ms {received}+{sent}B {id}\n",
                time(entry.at),
                entry.account,
                entry.principal,
                entry.operation,
                entry.outcome,
                entry.took.as_millis(),
            ));
        }
        let mut recent = self.recent();
        recent.push_front(entry);
        recent.truncate(RECENT);
    }

    /// A session was opened by this caller.
    pub(crate) fn opened(&self, id: &str, owner: &str, document: &str, target: &str) {
        self.session(owner, "session.open", id, &[document, target]);
    }

    /// It is over.
    pub(crate) fn closed(&self, id: &str, owner: &str, lasted: Duration) {
        let lasted = format!("{}ms", lasted.as_millis());
        self.session(owner, "session.close", id, &[&lasted]);
    }

    fn session(&self, owner: &str, what: &str, id: &str, rest: &[&str]) {
        let Some(lines) = &self.lines else { return };
        let (account, principal) = split(owner);
        let rest: Vec<String> = rest.iter().map(|word| plain(word)).collect();
        let now = time(SystemTime::now());
        let (id, rest) = (plain(id), rest.join(" "));
        lines.send(format!("{now} {account} {principal} {what} {id} {rest}\n"));
    }

    /// The last calls, newest first.
    pub(crate) fn last(&self) -> Vec<Entry> {
        self.recent().iter().cloned().collect()
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the thread that writes; it ends, with all written, when this is dropped.
struct Lines {
    sender: Option<SyncSender<String>>,
    missed: Mutex<u64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lines {
    fn start(log: AccessLog) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("access log".to_owned());
        let thread = thread.spawn(move || write(&log, &receiver)).ok();
        Self {
            sender: Some(sender),
            missed: Mutex::new(0),
            thread,
        }
    }

    fn send(&self, line: String) {
        let Some(sender) = &self.sender else { return };
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let line = match *missed {
            0 => line,
            missed => format!("- - - log.missed {missed}\n{line}"),
        };
        match sender.try_send(line) {
            Ok(()) => *missed = 0,
            Err(TrySendError::Full(_)) => *missed += 1,
            // It was said why.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.sender.take());
        // A reader that has stopped must not hold the end up.
        if let Some(thread) = self.thread.take() {
            let deadline = Instant::now() + Duration::from_secs(1);
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn write(log: &AccessLog, lines: &Receiver<String>) {
    for line in lines {
        if let Err(error) = log.write(&line) {
            tracing::warn!(%error, "the access log cannot be written any more");
            return;
        }
    }
}

/// Account and name of a caller's ARN. Names of roles and sessions are not all the sandbox's.
fn split(arn: &str) -> (String, String) {
    let mut parts = arn.splitn(6, ':').skip(4);
    let (account, name) = parts.next().zip(parts.next()).unwrap_or_default();
    (plain(account), plain(name))
}

fn plain(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:/#+@".contains(letter);
    let shown: String = word
        .chars()
        .take(WORD)
        .map(|letter| if is_plain(letter) { letter } else { '?' })
        .collect();
    match shown.is_empty() {
        true => "-".to_owned(),
        false => shown,
    }
}

fn time(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_caller_is_one_word_whatever_its_name_is() {
        let kept = Kept::default();
        let access = Access::new(Some(AccessLog::new(kept.clone())));
        let forged = "arn:aws:sts::1 2\n3:assumed-role/r\n2026-01-01 - root ecs.X 200/t";
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Told {
            caller: Some(forged.to_owned()),
            operation: "ecs.ListTasks".to_owned(),
        });
        access.call(&response, "http", Instant::now(), 0);
        access.opened("id", forged, "document", "target");
        let principal = "assumed-role/r?2026-01-01?-?root?ecs.X?200/t";
        assert_eq!(access.last()[0].principal, principal);
        drop(access);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[1..3], ["1?2?3", principal], "{line}");
        }
    }

    #[test]
    fn a_call_is_one_line_whatever_its_client_named_it() {
        let kept = Kept::default();
        let access = Access::new(Some(AccessLog::new(kept.clone())));
        let mut response = Response::new(Body::from("{}"));
        response.extensions_mut().insert(Told {
            caller: Some("arn:aws:iam::123456789012:user/sandbox".to_owned()),
            operation: format!("ecs.List\nTasks {}", "x".repeat(200)),
        });
        response
            .extensions_mut()
            .insert(Code("AccessDenied".into()));
        access.call(&response, "http", Instant::now(), 7);
        access.closed("a b", "not an arn", Duration::from_millis(1500));
        assert_eq!(access.last().len(), 1);
        drop(access);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split(' ').skip(1).collect())
            .collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0][..2], ["123456789012", "user/sandbox"]);
        assert!(lines[0][2].starts_with("ecs.List?Tasks?xxx"), "{text}");
        assert_eq!(lines[0][2].len(), WORD);
        assert_eq!(lines[0][3], "200/AccessDenied");
        assert_eq!(lines[0][5..], ["7+2B", "-"]);
        assert_eq!(lines[1], ["-", "-", "session.close", "a?b", "1500ms"]);
    }
}
