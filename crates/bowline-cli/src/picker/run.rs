//! The loop: keys, news and signals in, pictures out.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use bowline::AwsError;
use bowline::inventory::{Inventory, InventoryEvent, InventoryLoad, Row};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{self, sleep_until};

use super::inline::Inline;
use super::keys::{Key, Keys};
use super::query::Scorer;
use super::state::{Outcome, State};
use super::view::{self, Layout, Theme};
use crate::exit_code::ExitCode;
use crate::logging;
use crate::output::age;
use crate::signals::Signals;
use crate::terminal::{self, RawMode};

/// How long an Escape waits for the rest of a key's sequence; what a terminal sends at once arrives at once, unless a
/// slow line is in between.
const ESCAPE: Duration = Duration::from_millis(50);
/// Between pictures that only news ask for.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a row has to be selected before its service is asked about.
const REST: Duration = Duration::from_millis(150);

/// Where rows come from besides those there are.
pub(super) enum News {
    None,
    Walk(InventoryLoad),
}

/// The end of a picker, with all it has seen.
pub(super) struct Finished {
    pub(super) how: Ended,
    pub(super) inventory: Inventory,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    Chosen(Vec<Row>),
    /// By the user or a signal.
    Left(ExitCode),
    /// There is nothing to show.
    Failed(AwsError),
}

/// Shows the picker until something is chosen. `started` is when the program was.
pub(super) async fn run(state: State, news: News, started: Instant) -> io::Result<Finished> {
    // What is logged meanwhile is shown afterwards; it goes last, when the terminal is as it was.
    let _log = logging::hold();
    let mut picker = Picker::open(state, started)?;
    let how = picker.run(news).await;
    picker.close()?;
    picker.figures.report(&picker.state);
    Ok(Finished {
        how: how?,
        inventory: picker.state.into_inventory(),
    })
}

struct Picker {
    state: State,
    scorer: Scorer,
    inline: Inline,
    theme: Theme,
    area: Rect,
    raw: Option<RawMode>,
    figures: Figures,
}

impl Picker {
    fn open(state: State, started: Instant) -> io::Result<Self> {
        let raw = RawMode::for_stderr()?;
        let mut picker = Self {
            state,
            scorer: Scorer::default(),
            inline: Inline::default(),
            theme: Theme {
                colour: terminal::stderr_has_colour(),
            },
            area: Rect::ZERO,
            raw: Some(raw),
            figures: Figures::new(started),
        };
        picker.make_room()?;
        picker.draw(Instant::now())?;
        Ok(picker)
    }

    async fn run(&mut self, news: News) -> io::Result<Ended> {
        let mut load = match news {
            News::None => None,
            News::Walk(load) => Some(load),
        };
        if load.is_none() {
            self.state.nothing_more();
        }
        let mut keyboard = Keyboard::open()?;
        let mut resized = signal(SignalKind::window_change())?;
        let mut signals = Signals::listen()?;
        let mut drawn = time::Instant::now();
        let mut stale = false;
        let mut pressed: Option<Instant> = None;
        let mut rest_ends = Some(drawn + REST);
        loop {
            // Every arm is cancel-safe: the keyboard keeps what it has read, channels and signals theirs.
            tokio::select! {
                key = keyboard.next() => {
                    let began = *pressed.get_or_insert_with(Instant::now);
                    let Some(key) = key? else {
                        return Ok(Ended::Left(ExitCode::Interrupted));
                    };
                    if key == Key::Redraw {
                        self.make_room()?;
                    }
                    match self.state.key(&key) {
                        Outcome::Stay => {}
                        Outcome::Chosen(rows) => return Ok(Ended::Chosen(rows)),
                        Outcome::Leave => return Ok(Ended::Left(ExitCode::Interrupted)),
                    }
                    rest_ends = Some(time::Instant::now() + REST);
                    stale = true;
                    // Of keys that came together only the last one's picture is needed.
                    if !keyboard.has_more()? {
                        self.draw(began)?;
                        pressed = None;
                        stale = false;
                        drawn = time::Instant::now();
                    }
                }
                event = next(&mut load), if load.is_some() => {
                    let began = Instant::now();
                    match event {
                        Some(InventoryEvent::Failed(error)) if self.state.inventory().rows().is_empty() => {
                            return Ok(Ended::Failed(error));
                        }
                        Some(event) => self.state.event(event),
                        None => load = None,
                    }
                    self.figures.taken(began);
                    stale = true;
                }
                () = sleep_until(drawn + PAUSE), if stale => {
                    if let Some(load) = &load {
                        self.state.progress(load.figures());
                    }
                    self.draw(Instant::now())?;
                    stale = false;
                    drawn = time::Instant::now();
                }
                () = sleep_until(rest_ends.unwrap_or(drawn)), if rest_ends.is_some() => {
                    rest_ends = None;
                    if let (Some(load), Some(service)) = (&load, self.state.wish()) {
                        load.describe(&service);
                    }
                }
                _ = resized.recv() => {
                    self.make_room()?;
                    self.draw(Instant::now())?;
                    stale = false;
                }
                signal = signals.next() => return Ok(Ended::Left(signal.code())),
            }
        }
    }

    /// Takes as many lines of the terminal as it is tall enough for.
    fn make_room(&mut self) -> io::Result<()> {
        let size = terminal::size();
        let columns = u16::try_from(size.cols).unwrap_or(u16::MAX);
        let rows = u16::try_from(size.rows).unwrap_or(u16::MAX);
        self.area = Rect::new(0, 0, columns.max(1), view::height(rows));
        let layout = Layout::of(self.area);
        self.state.set_height(usize::from(layout.list.height));
        let text = self.inline.open(self.area.height);
        self.write(&text)
    }

    /// `began` is when what this shows has happened.
    fn draw(&mut self, began: Instant) -> io::Result<()> {
        let mut picture = Buffer::empty(self.area);
        let caret = view::draw(
            &self.state,
            self.theme,
            age::now(),
            &mut self.scorer,
            &mut picture,
        );
        let text = self.inline.draw(&picture, caret);
        self.write(&text)?;
        self.figures
            .drawn(began, !self.state.inventory().rows().is_empty());
        self.state.settle();
        Ok(())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        if let Some(raw) = &self.raw {
            raw.shown(text.as_bytes());
        }
        let mut stderr = io::stderr().lock();
        stderr.write_all(text.as_bytes())?;
        stderr.flush()
    }

    /// Gives the terminal back as it was.
    fn close(&mut self) -> io::Result<()> {
        let text = Inline::close();
        let written = self.write(text);
        self.raw = None;
        written
    }
}

async fn next(load: &mut Option<InventoryLoad>) -> Option<InventoryEvent> {
    load.as_mut()?.next().await
}

/// The keys of the terminal at stdin.
struct Keyboard {
    tty: AsyncFd<OwnedFd>,
    keys: Keys,
    escape_ends: Option<time::Instant>,
}

impl Keyboard {
    fn open() -> io::Result<Self> {
        // The descriptor stays as it is: "non-blocking" would be so for the shell that shares it, too.
        let tty = io::stdin().as_fd().try_clone_to_owned()?;
        #[expect(
            deprecated,
            reason = "what has replaced it is unsafe for the sake of descriptors that are not owned; this one is"
        )]
        let tty = AsyncFd::new(tty)?;
        Ok(Self {
            tty,
            keys: Keys::default(),
            escape_ends: None,
        })
    }

    /// The next key; `None` when the terminal is gone. Cancel-safe: what was read is kept.
    async fn next(&mut self) -> io::Result<Option<Key>> {
        loop {
            let readable = self.tty.readable();
            let mut ready = match self.escape_ends {
                None => readable.await?,
                Some(ends) => match time::timeout_at(ends, readable).await {
                    Ok(ready) => ready?,
                    Err(_) => {
                        self.escape_ends = None;
                        return Ok(Some(self.keys.decide()));
                    }
                },
            };
            if !is_readable(ready.get_inner())? {
                ready.clear_ready();
                continue;
            }
            let mut byte = [0];
            match rustix::io::read(ready.get_inner(), &mut byte) {
                Ok(0) | Err(rustix::io::Errno::IO) => return Ok(None),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let key = self.keys.feed(byte[0]);
            let undecided = self.keys.is_undecided();
            self.escape_ends = undecided.then(|| time::Instant::now() + ESCAPE);
            if key.is_some() {
                return Ok(key);
            }
        }
    }

    fn has_more(&self) -> io::Result<bool> {
        is_readable(self.tty.get_ref())
    }
}

fn is_readable(tty: &OwnedFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(tty, PollFlags::IN)];
    match poll(
        &mut asked,
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    ) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How fast it was, for the log.
struct Figures {
    started: Instant,
    first_rows: Option<Duration>,
    pictures: usize,
    slowest: Duration,
    slowest_news: Duration,
}

impl Figures {
    fn new(started: Instant) -> Self {
        Self {
            started,
            first_rows: None,
            pictures: 0,
            slowest: Duration::ZERO,
            slowest_news: Duration::ZERO,
        }
    }

    fn drawn(&mut self, began: Instant, has_rows: bool) {
        self.pictures += 1;
        self.slowest = self.slowest.max(began.elapsed());
        if has_rows && self.first_rows.is_none() {
            self.first_rows = Some(self.started.elapsed());
        }
    }

    fn taken(&mut self, began: Instant) {
        self.slowest_news = self.slowest_news.max(began.elapsed());
    }

    fn report(&self, state: &State) {
        let walk = state.figures();
        tracing::debug!(
            first_rows_ms = self.first_rows.map(|after| after.as_millis()),
            pictures = self.pictures,
            slowest_us = self.slowest.as_micros(),
            slowest_news_us = self.slowest_news.as_micros(),
            rows = state.inventory().rows().len(),
            calls = walk.calls,
            calls_in_a_second = walk.peak,
            throttled = walk.throttled,
            "picker"
        );
    }
}
