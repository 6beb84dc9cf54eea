//! Containers as their callers and the rest of the machine see them: real processes, real signals, nothing left over.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bowline_sandbox::process::{Container, ContainerSpec, Exit, InitCommand, Output};
use tempfile::TempDir;

const MARK: &str = "ECS_CONTAINER_METADATA_URI_V4";
const LIMIT: Duration = Duration::from_secs(30);
/// Tells `owner` below where to work; it does nothing useful without.
const OWNER_FOLDER: &str = "BOWLINE_TEST_OWNER_FOLDER";

/// A folder for one container's log and a number nobody else uses: as the fraction of a second that its `sleep`
/// processes are given, it finds them again whatever they did to their environment and their parents.
struct Place {
    folder: TempDir,
    number: String,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = format!(
            "{}{:04}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            folder: tempfile::tempdir().unwrap(),
            number,
        }
    }

    fn spec(&self, argv: &[&str]) -> ContainerSpec {
        spec(self.folder.path(), &self.number, argv)
    }

    fn shell(&self, script: &str) -> ContainerSpec {
        self.spec(&["sh", "-c", &script.replace("SLEEP", &self.nap())])
    }

    fn nap(&self) -> String {
        format!("sleep 1000.{}", self.number)
    }

    fn mark(&self) -> String {
        mark(&self.number)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn log_with(&self, text: &str) {
        until(&format!("{text:?} in the log"), || {
            self.log().contains(text)
        })
        .await;
    }

    /// The processes whose own arguments (not a script they run) are this place's `sleep`.
    fn naps(&self) -> Vec<i32> {
        let arguments = format!("{}\0", self.nap().replace(' ', "\0"));
        pids()
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it == arguments.as_bytes())
            })
            .collect()
    }
}

fn mark(number: &str) -> String {
    format!("http://127.0.0.1:1/v4/{number}")
}

fn spec(folder: &Path, number: &str, argv: &[&str]) -> ContainerSpec {
    let init = InitCommand {
        program: PathBuf::from(env!("CARGO_BIN_EXE_bowline-container-init")),
        arguments: Vec::new(),
    };
    let environment = vec![
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        (MARK.to_owned(), mark(number)),
    ];
    ContainerSpec {
        init,
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        environment,
        directory: folder.to_owned(),
        programs: None,
        output: Output::File(folder.join("log")),
    }
}

/// All processes that live; a zombie has ended.
fn pids() -> impl Iterator<Item = i32> {
    let names = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names
        .filter_map(|name| name.parse().ok())
        .filter(|&pid| stat(pid).is_some_and(|(state, _)| state != 'Z'))
}

/// State and parent of a process.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The children of a process, zombies included.
fn children(parent: i32) -> Vec<(i32, char)> {
    let names = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let stats = names
        .filter_map(|name| name.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)));
    stats
        .filter(|(_, (_, of))| *of == parent)
        .map(|(pid, (state, _))| (pid, state))
        .collect()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn end(container: &Container) -> Exit {
    tokio::time::timeout(LIMIT, container.wait())
        .await
        .expect("the container did not end")
}

async fn run(spec: ContainerSpec) -> Exit {
    end(&Container::start(spec).await.unwrap()).await
}

async fn start_error(spec: ContainerSpec) -> String {
    Container::start(spec)
        .await
        .expect_err("it started")
        .to_string()
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("exit 143", Exit::Code(143)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("kill -KILL $$", Exit::Signal(9)),
    ] {
        let place = Place::new();
        assert_eq!(run(place.shell(script)).await, exit, "{script}");
    }
}

#[tokio::test]
async fn several_callers_learn_the_end_and_so_does_a_late_one() {
    let place = Place::new();
    let container = Container::start(place.shell("exit 3")).await.unwrap();
    let (first, second) = tokio::join!(end(&container), end(&container));
    assert_eq!([first, second, end(&container).await], [Exit::Code(3); 3]);
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let place = Place::new();
    let file = |name: &str, content: &str, mode| {
        let path = place.folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("plain", "", 0o644);
    file("orphan", "#!/no/such/interpreter\n", 0o755);
    for (word, text) in [
        (
            "nope",
            r#"exec: "nope": executable file not found in $PATH"#,
        ),
        (
            "/no/such/program",
            "fork/exec /no/such/program: no such file or directory",
        ),
        ("./plain", r#"exec: "./plain": permission denied"#),
        ("./orphan", "fork/exec ./orphan: no such file or directory"),
    ] {
        assert_eq!(start_error(place.spec(&[word])).await, text);
    }
    assert_eq!(start_error(place.spec(&[])).await, "no command specified");
    let nowhere = ContainerSpec {
        directory: PathBuf::from("/no/such"),
        ..place.spec(&["true"])
    };
    assert_eq!(
        start_error(nowhere).await,
        "chdir /no/such: no such file or directory"
    );
    let mut no_init = place.spec(&["true"]);
    no_init.init.program = PathBuf::from("/no/such/init");
    assert!(
        start_error(no_init)
            .await
            .starts_with("cannot start the container's init: ")
    );
    let mut wrong_init = place.spec(&["true"]);
    wrong_init.init.arguments = vec!["nonsense".into()];
    let text = start_error(wrong_init).await;
    assert!(text.contains("the container's init"), "{text}");
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given() {
    let place = Place::new();
    let given = [
        ("PATH", "/usr/bin:/bin"),
        ("EMPTY", ""),
        ("QUOTES", "a 'b' \"c\" $d \\e"),
        ("UNICODE", "日本語"),
        (MARK, &place.mark()),
    ];
    let mut spec = place.spec(&["env", "-0"]);
    spec.environment = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(run(spec).await, Exit::Code(0));

    let log = place.log();
    let mut seen: Vec<_> = log.trim_end_matches('\0').split('\0').collect();
    let mut expected: Vec<_> = given
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn descriptors_directory_and_name_are_a_containers_own() {
    let place = Place::new();
    let spec =
        place.shell("pwd -P; readlink /proc/self/fd/0; cat /proc/$PPID/comm; ls /proc/self/fd");
    assert_eq!(run(spec).await, Exit::Code(0));
    let folder = place.folder.path().canonicalize().unwrap();
    let log = place.log();
    let descriptors = log
        .strip_prefix(&format!(
            "{}\n/dev/null\ncontainer-init\n",
            folder.display()
        ))
        .expect(&log);
    // What this test inherited from whoever started it is passed on: without unsafe code it cannot be closed.
    let inherited = inherited_descriptors();
    let own: Vec<_> = descriptors
        .lines()
        .filter(|number| !inherited.contains(&(*number).to_owned()))
        .collect();
    assert_eq!(
        own.len(),
        4,
        "the standard streams, and the directory that ls itself reads: {own:?}"
    );
    assert_eq!(own[..3], ["0", "1", "2"]);
}

/// Descriptors above the standard streams that are not closed on exec.
fn inherited_descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fdinfo")
        .unwrap()
        .map(|entry| entry.unwrap());
    let names = entries.filter(|entry| {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .map(str::trim);
        flags.is_some_and(|flags| u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 == 0)
    });
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.parse::<u32>().unwrap() > 2)
        .collect()
}

#[tokio::test]
async fn a_megabyte_of_output_is_in_the_log_when_the_end_is_known() {
    let place = Place::new();
    fs::write(place.folder.path().join("log"), "earlier\n").unwrap();
    let spec = place.shell(
        "i=0; while [ $i -lt 100 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done; seq 160000",
    );
    assert_eq!(run(spec).await, Exit::Code(0));

    let mut expected = "earlier\n".to_owned();
    expected.extend((0..100).map(|i| format!("out{i}\nerr{i}\n")));
    expected.extend((1..=160_000).map(|i| format!("{i}\n")));
    assert!(expected.len() > 1_000_000);
    assert!(
        place.log() == expected,
        "{} bytes instead of {}",
        place.log().len(),
        expected.len()
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_stop_the_container() {
    let place = Place::new();
    let mut spec = place.shell("seq 160000; exit 4");
    spec.output = Output::File(PathBuf::from("/dev/full"));
    assert_eq!(run(spec).await, Exit::Code(4));
}

#[tokio::test]
async fn a_signal_is_for_the_main_process_alone() {
    let place = Place::new();
    // The child would say so if the signal reached it; it answers the main process's own signal at the end.
    let child = "trap 'echo child got TERM' TERM; trap 'echo child got USR1; exit' USR1; sleep 600 >/dev/null 2>&1 & echo child; while :; do wait; done";
    let main = format!(
        "trap 'kill -USR1 $!; wait; wait; exit 5' TERM; sh -c \"{child}\" & echo main; wait"
    );
    let container = Container::start(place.shell(&main)).await.unwrap();
    place.log_with("main\n").await;
    place.log_with("child\n").await;
    container.stop(15);
    assert_eq!(end(&container).await, Exit::Code(5));
    assert!(place.log().contains("child got USR1"), "{}", place.log());
    assert!(!place.log().contains("child got TERM"), "{}", place.log());
}

#[tokio::test]
async fn default_actions_are_not_inherited_from_the_sandbox() {
    let place = Place::new();
    let container = Container::start(place.shell("echo up; exec SLEEP"))
        .await
        .unwrap();
    place.log_with("up\n").await;
    container.stop(999); // no such signal: nothing happens
    container.stop(2);
    assert_eq!(end(&container).await, Exit::Signal(2));
}

/// Starts processes in every way that could get away from their container, and waits for them.
const FUGITIVES: &str = "SLEEP & setsid SLEEP & (setsid sh -c 'SLEEP & SLEEP & exit' &) ; \
    (env -i PATH=$PATH setsid sh -c '(SLEEP &) ; exit' &) ; trap '' TERM; SLEEP; SLEEP";

async fn fugitives(place: &Place) -> Container {
    let container = Container::start(place.shell(FUGITIVES)).await.unwrap();
    until("all processes", || place.naps().len() == 6).await;
    container
}

#[tokio::test]
async fn killing_ends_whatever_the_container_started() {
    let place = Place::new();
    let container = fugitives(&place).await;
    // A session's process is a child of the sandbox; here, of this test.
    let mut session = Command::new("sleep")
        .arg("600")
        .env(MARK, place.mark())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();

    container.kill();
    assert_eq!(end(&container).await, Exit::Signal(9));
    assert_eq!(place.naps(), Vec::<i32>::new());
    let mut ended = None;
    until("the session's process to end", || {
        ended = session.try_wait().unwrap();
        ended.is_some()
    })
    .await;
    assert_eq!(ended.and_then(|status| status.signal()), Some(9));
}

#[tokio::test]
async fn killing_overtakes_processes_that_never_stop_forking() {
    let place = Place::new();
    let script = "f() { while :; do (env -i PATH=$PATH setsid SLEEP &) ; done; }; f & f";
    let container = Container::start(place.shell(script)).await.unwrap();
    until("a few processes", || place.naps().len() >= 10).await;
    container.kill();
    assert_eq!(end(&container).await, Exit::Signal(9));
    assert_eq!(place.naps(), Vec::<i32>::new());
}

#[tokio::test]
async fn the_end_of_the_main_process_ends_everything_else() {
    let place = Place::new();
    let spec = place.shell("(setsid SLEEP &) ; SLEEP & echo up; read line < pipe; exit 6");
    assert!(
        Command::new("mkfifo")
            .arg(place.folder.path().join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let container = Container::start(spec).await.unwrap();
    until("both processes", || place.naps().len() == 2).await;
    fs::write(place.folder.path().join("pipe"), "go\n").unwrap();
    assert_eq!(end(&container).await, Exit::Code(6));
    assert_eq!(place.naps(), Vec::<i32>::new());
}

#[tokio::test]
async fn dropping_a_container_kills_it() {
    let place = Place::new();
    drop(fugitives(&place).await);
    until("its processes to go", || place.naps().is_empty()).await;
}

#[tokio::test]
async fn terminating_the_init_ends_the_container() {
    let place = Place::new();
    let container = fugitives(&place).await;
    let init = init_of(&place);
    assert!(
        Command::new("kill")
            .arg(init.to_string())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(end(&container).await, Exit::Signal(9));
    assert_eq!(place.naps(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_killed_init_is_cleaned_up_after() {
    let place = Place::new();
    let container = Container::start(place.shell("SLEEP & (setsid SLEEP &) ; wait"))
        .await
        .unwrap();
    until("both processes", || place.naps().len() == 2).await;
    let init = init_of(&place);
    assert!(
        Command::new("kill")
            .args(["-9", &init.to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(end(&container).await, Exit::Signal(9));
    assert_eq!(place.naps(), Vec::<i32>::new());
}

/// The init above this place's processes.
fn init_of(place: &Place) -> i32 {
    let mut pid = place.naps()[0];
    while fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() != "container-init\n" {
        pid = stat(pid).unwrap().1;
    }
    pid
}

#[tokio::test]
async fn a_sandbox_killed_with_kill_9_leaves_nothing_behind() {
    let place = Place::new();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["owner", "--exact", "--ignored", "--nocapture"])
        .env(OWNER_FOLDER, place.folder.path())
        .env("BOWLINE_TEST_OWNER_NUMBER", &place.number)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("all processes", || place.naps().len() == 6).await;
    let init = init_of(&place);
    assert_eq!(stat(init).unwrap().1, i32::try_from(owner.id()).unwrap());

    owner.kill().unwrap();
    assert_eq!(owner.wait().unwrap().signal(), Some(9));
    until("the container to vanish", || {
        place.naps().is_empty() && !pids().any(|pid| pid == init)
    })
    .await;
}

#[tokio::test]
#[ignore = "run by a_sandbox_killed_with_kill_9_leaves_nothing_behind, as a process of its own"]
async fn owner() {
    // `cargo test -- --include-ignored` runs this too, without the folder.
    let Some(folder) = std::env::var_os(OWNER_FOLDER) else {
        return;
    };
    let place = Place {
        folder: tempfile::tempdir_in(folder).unwrap(),
        number: std::env::var("BOWLINE_TEST_OWNER_NUMBER").unwrap(),
    };
    let container = fugitives(&place).await;
    end(&container).await;
}

#[tokio::test]
async fn orphans_are_reaped_and_so_is_the_init() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 20 ]; do (true & ) ; i=$((i+1)); done; echo init $PPID main $$.; exec SLEEP";
    let container = Container::start(place.shell(script)).await.unwrap();
    place.log_with(".\n").await;
    let log = place.log();
    let numbers: Vec<i32> = log
        .split([' ', '.'])
        .filter_map(|word| word.parse().ok())
        .collect();
    let &[init, main] = &numbers[..] else {
        panic!("{log}")
    };
    until("the orphans to be reaped", || {
        children(init) == [(main, 'S')]
    })
    .await;

    container.kill();
    end(&container).await;
    assert_eq!(
        (stat(init), stat(main)),
        (None, None),
        "not even a zombie is left"
    );
}

#[tokio::test]
async fn fifty_containers_at_once() {
    let places: Vec<_> = (0..50).map(|_| Place::new()).collect();
    let mut all = tokio::task::JoinSet::new();
    for (code, place) in places.iter().enumerate() {
        let spec = place.shell(&format!("(setsid SLEEP &) ; echo I am {code}; exit {code}"));
        all.spawn(async move { (code, run(spec).await) });
    }
    while let Some(ended) = all.join_next().await {
        let (code, exit) = ended.unwrap();
        assert_eq!(exit, Exit::Code(i32::try_from(code).unwrap()));
        assert_eq!(places[code].log(), format!("I am {code}\n"));
        assert_eq!(places[code].naps(), Vec::<i32>::new());
    }
}

#[tokio::test]
async fn starting_and_killing_take_milliseconds() {
    let place = Place::new();
    let (mut starts, mut kills) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        let spec = place.spec(&["sleep", "600"]);
        let before = Instant::now();
        let container = Container::start(spec).await.unwrap();
        starts.push(before.elapsed());
        let before = Instant::now();
        container.kill();
        end(&container).await;
        kills.push(before.elapsed());
    }
    for (what, times) in [("start", &mut starts), ("kill and wait", &mut kills)] {
        times.sort_unstable();
        println!(
            "{what}: median {:?}, fastest {:?}, slowest {:?}",
            times[25], times[0], times[49]
        );
        assert!(times[25] < Duration::from_secs(1), "{what}: {times:?}");
    }
}

#[tokio::test]
async fn the_built_in_web_server_answers_logs_and_stops() {
    let place = Place::new();
    let mut spec = place.spec(&["bowline-demo-web"]);
    spec.environment
        .push(("BOWLINE_LISTEN".to_owned(), "127.0.0.1:0".to_owned()));
    spec.environment
        .push(("BOWLINE_TASK_ID".to_owned(), "0123abcd".to_owned()));
    let container = Container::start(spec).await.unwrap();
    place.log_with("listening on 127.0.0.1:").await;
    until("the whole line", || place.log().ends_with('\n')).await;
    let address = place
        .log()
        .trim_end()
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned();

    let mut kept = TcpStream::connect(&address).unwrap();
    kept.set_read_timeout(Some(LIMIT)).unwrap();
    for path in ["/one", "/two?x=1"] {
        write!(kept, "GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(read_body(&mut kept), "task 0123abcd\n");
    }
    let mut closed = TcpStream::connect(&address).unwrap();
    closed.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        closed,
        "POST /three HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    closed.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");

    container.stop(15);
    assert_eq!(end(&container).await, Exit::Code(0));
    let log = place.log();
    for request in [
        "\"GET /one\" 200\n",
        "\"GET /two?x=1\" 200\n",
        "\"POST /three\" 405\n",
    ] {
        assert_eq!(log.matches(request).count(), 1, "{log}");
    }
    assert_eq!(log.lines().count(), 4, "{log}");
}

/// Reads one answer off a connection that stays open.
fn read_body(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        assert_ne!(
            reader.read_line(&mut line).unwrap(),
            0,
            "closed in the head"
        );
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn a_web_server_that_cannot_listen_says_so_and_fails() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new();
    let mut spec = place.spec(&["bowline-demo-web"]);
    spec.environment
        .push(("BOWLINE_LISTEN".to_owned(), address.clone()));
    spec.environment
        .push(("BOWLINE_TASK_ID".to_owned(), "1".to_owned()));
    assert_eq!(run(spec).await, Exit::Code(1));
    let expected = format!(
        "bowline-demo-web: cannot listen on {address}: Address already in use (os error 98)\n"
    );
    assert_eq!(place.log(), expected);
}

#[tokio::test]
async fn secrets_stay_out_of_argument_lists_and_debug_output() {
    let place = Place::new();
    let mut spec = place.shell("echo up; exec SLEEP");
    spec.environment
        .push(("SECRET".to_owned(), "swordfish".to_owned()));
    assert!(!format!("{spec:?}").contains("swordfish"));
    let container = Container::start(spec).await.unwrap();
    until("the process", || place.naps().len() == 1).await;
    let init = init_of(&place);
    for file in ["cmdline", "environ"] {
        let content = fs::read(format!("/proc/{init}/{file}")).unwrap();
        assert!(
            !String::from_utf8_lossy(&content).contains("swordfish"),
            "{file}"
        );
    }
    container.kill();
    end(&container).await;
}
