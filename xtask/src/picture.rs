//! `cargo xtask picture`: the terminal on top of the README, from a real recording.
//!
//! A shell on a terminal of its own is typed to, against a sandbox; what it printed is kept as an asciicast (version 2), and its
//! last screen drawn as SVG. Nothing in either is written by hand.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use avt::{Color, Pen, Terminal};
use clap::Args;
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use serde_json::json;

/// What is typed.
const TYPED: &[&str] = &[
    "bowline ls",
    "bowline exec web -- sh -c 'echo hello from $HOSTNAME; exit 7'; echo \"exit code $?\"",
    "bowline run family:job -- sh -c 'echo migrating; exit 3'; echo \"exit code $?\"",
    "bowline forward web 0:8080 --exec 'curl -s localhost:$BOWLINE_PORT_8080'",
    "bowline exec --all --group web -- uname -s",
];
const COLUMNS: u16 = 122;
const ROWS: u16 = 36;
/// Tells that the shell waits for a line; terminals do not show it.
const READY: &str = "\x1b]0;ready\x07";
/// For the sandbox to come up.
const LIMIT: Duration = Duration::from_secs(60);

const CELL: (f64, f64) = (8.0, 17.0);
const MARGIN: f64 = 14.0;
const GROUND: &str = "#10141c";
const TEXT: &str = "#d5dae3";
/// The sixteen colours of a terminal.
const PALETTE: [&str; 16] = [
    "#3b4252", "#e06c75", "#8fc379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d5dae3",
    "#6b7486", "#f08a93", "#a6d992", "#f0d197", "#82c4ff", "#d99bec", "#78cdd8", "#ffffff",
];

/// Draw the README's picture anew
#[derive(Args)]
pub(crate) struct Arguments {}

/// Records, and draws.
pub(crate) fn run(_: &Arguments) -> anyhow::Result<()> {
    let program = std::env::current_exe()?.with_file_name("bowline");
    if !program.exists() {
        bail!(
            "there is no {}: `cargo build -p bowline-cli` makes it",
            program.display()
        );
    }
    let folder = std::env::temp_dir().join(format!("bowline-picture-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let recorded = record(&program, &folder);
    fs::remove_dir_all(&folder)?;
    let recorded = recorded?;
    fs::write("docs/picture.cast", cast(&recorded))?;
    let mut screen =
        Terminal::new(COLUMNS.into(), ROWS.into()).context("no screen of that size")?;
    for (_, text) in &recorded {
        screen.feed(text.as_str());
    }
    fs::write("docs/picture.svg", svg(&screen))?;
    println!("docs/picture.cast and docs/picture.svg");
    Ok(())
}

/// What the terminal was sent, each piece with its second.
fn record(program: &Path, folder: &Path) -> anyhow::Result<Vec<(f64, String)>> {
    let env = folder.join("env");
    let sandbox = std::process::Command::new(program)
        .args(["sandbox", "--agent-start-delay", "0", "--env-file"])
        .arg(&env)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _sandbox = Ended(sandbox);
    let begun = Instant::now();
    while fs::read(&env).unwrap_or_default().is_empty() {
        if begun.elapsed() > LIMIT {
            bail!("the sandbox did not come up");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let programs = program.parent().context("a program without a folder")?;
    let (mut pty, pts) = open()?;
    pty.resize(Size::new(ROWS, COLUMNS))?;
    let shell = Command::new("bash")
        .args(["--noprofile", "--norc", "-i"])
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .env("PS1", format!("\\[{READY}\\]\\[\\e[1;32m\\]$\\[\\e[0m\\] "))
        .spawn(pts)?;
    let _shell = Ended(shell);
    let mut heard = Heard {
        begun: Instant::now(),
        pieces: Vec::new(),
    };
    heard.until_ready(&mut pty)?;
    // The environment is no part of the picture.
    pty.write_all(b". ./env; clear\n")?;
    heard.until_ready(&mut pty)?;
    heard.pieces.clear();
    heard.begun = Instant::now();
    pty.write_all(b"\n")?;
    heard.until_ready(&mut pty)?;
    for line in TYPED {
        pty.write_all(format!("{line}\n").as_bytes())?;
        heard.until_ready(&mut pty)?;
    }
    Ok(heard.pieces)
}

struct Heard {
    begun: Instant,
    pieces: Vec<(f64, String)>,
}

impl Heard {
    /// Reads to the next prompt.
    fn until_ready(&mut self, pty: &mut Pty) -> anyhow::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = Vec::new();
        loop {
            let length = pty.read(&mut buffer)?;
            bytes.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((_, prompt)) = text.split_once(READY)
                && prompt.ends_with(' ')
            {
                self.pieces.push((self.begun.elapsed().as_secs_f64(), text));
                return Ok(());
            }
            if length == 0 {
                bail!("the shell has ended");
            }
        }
    }
}

/// A program that ends with its owner.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cast(pieces: &[(f64, String)]) -> String {
    let mut text = json!({"version": 2, "width": COLUMNS, "height": ROWS}).to_string() + "\n";
    for (seconds, piece) in pieces {
        let micros = (seconds * 1e6).round() / 1e6;
        text.push_str(&(json!([micros, "o", piece]).to_string() + "\n"));
    }
    text
}

fn svg(screen: &Terminal) -> String {
    let lines: Vec<_> = screen.screen().visible_lines().collect();
    let used = lines
        .iter()
        .rposition(|line| !line.text().trim().is_empty())
        .map_or(1, |last| last + 1);
    let width = f64::from(COLUMNS) * CELL.0 + 2.0 * MARGIN;
    let height = used as f64 * CELL.1 + 2.0 * MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace, \
         SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{GROUND}\"/>\n"
    );
    for (row, line) in lines.iter().take(used).enumerate() {
        let y = MARGIN + CELL.1 * (row as f64 + 0.76);
        let mut column = 0;
        let mut cells = line.cells().iter().peekable();
        while let Some(cell) = cells.next() {
            let (start, pen) = (column, *cell.pen());
            let mut run = String::from(cell.char());
            column += usize::from(cell.width());
            while let Some(next) = cells.next_if(|next| *next.pen() == pen) {
                run.push(next.char());
                column += usize::from(next.width());
            }
            if run.trim().is_empty() {
                continue;
            }
            let lead = run.chars().take_while(|letter| *letter == ' ').count();
            let x = MARGIN + CELL.0 * (start + lead) as f64;
            let shown = run.trim();
            let cells = shown.chars().count() as f64;
            // The length is given, so that the columns stay where they are in any font.
            let _ = writeln!(
                text,
                "<text x=\"{x}\" y=\"{y:.1}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\"{}>{}</text>",
                cells * CELL.0,
                style(&pen),
                escaped(shown)
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

fn style(pen: &Pen) -> String {
    let mut style = match pen.foreground() {
        None => format!(" fill=\"{TEXT}\""),
        Some(Color::Indexed(index)) => {
            format!(
                " fill=\"{}\"",
                PALETTE.get(usize::from(index)).unwrap_or(&TEXT)
            )
        }
        Some(Color::RGB(colour)) => {
            format!(
                " fill=\"#{:02x}{:02x}{:02x}\"",
                colour.r, colour.g, colour.b
            )
        }
    };
    if pen.is_bold() {
        style.push_str(" font-weight=\"bold\"");
    }
    if pen.is_faint() {
        style.push_str(" opacity=\"0.65\"");
    }
    style
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
