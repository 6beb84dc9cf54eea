//! From here to a container.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::digest::{Algorithm, Digest, part_id};
use super::download::blocking;
use super::error::CopyError;
use super::listing::{self, Kind, Tools};
use super::local::{self, Feed, Item, ItemKind};
use super::names::{Refusal, shown};
use super::remote::{Conversation, Program, Remote};
use super::tree::beside;
use super::{CopyEvent, CopyOptions, CopyReport, Observer};
use crate::session::exec::{ExecError, ExecEvent};
use crate::{Client, ResolvedTarget};

/// Pieces on their way to a session.
const PIECES: usize = 4;
/// Files of a directory that are longer than this go one by one, so that each can be gone on with …
const LARGE: u64 = 8 << 20;
/// … and where there is no `tar`, those that a shell would take too long to read line by line.
const LARGE_LINES: u64 = 64 << 10;
/// How often the observer is told how much has been moved.
const TOLD: Duration = Duration::from_millis(200);
/// For removing what is left of a stream.
const REMOVAL: Duration = Duration::from_secs(10);
/// Sessions that may break, and digests that may be wrong, in one upload.
const ATTEMPTS: usize = 4;

impl Client {
    /// Copies files and directories from here to a path in a container.
    ///
    /// If the path is a directory, ends with a slash, or there are several sources, they are copied into it; else it is
    /// the copy's own name. A source that ends with a slash or `/.` means what is in the directory.
    pub async fn upload(
        &self,
        target: ResolvedTarget,
        sources: &[PathBuf],
        destination: &[u8],
        options: &CopyOptions,
        tell: Observer<'_>,
    ) -> Result<CopyReport, CopyError> {
        let remote = self.remote(target, options);
        let about = match sources {
            [source] => Some(std::fs::metadata(source).map_err(CopyError::local("read", source))?),
            _ => None,
        };
        match (sources, about) {
            ([source], Some(about)) if !about.is_dir() => {
                one(&remote, source, destination, options, tell).await
            }
            _ => many(&remote, sources, destination, options, tell).await,
        }
    }

    /// Writes what comes through a channel to a file in a container, until the channel is closed. After an error in it
    /// nothing is published. In a dry run nothing is read.
    pub async fn upload_stream(
        &self,
        target: ResolvedTarget,
        input: mpsc::Receiver<io::Result<Bytes>>,
        destination: &[u8],
        options: &CopyOptions,
        tell: Observer<'_>,
    ) -> Result<CopyReport, CopyError> {
        let remote = self.remote(target, options);
        stream(&remote, input, destination, options, tell).await
    }
}

/// What is at a place in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Nothing,
    File(u64),
    Directory { writable: bool },
    Other,
}

struct Probe {
    tools: Tools,
    there: Vec<There>,
}

async fn probe(remote: &Remote, paths: &[&[u8]]) -> Result<Probe, CopyError> {
    let output = remote.collect(Program::Probe, paths, Vec::new()).await?;
    let unreadable = || remote.failed(Program::Probe, &output.said);
    let mut lines = output.stdout.split(|&byte| byte == b'\n');
    let tools = lines.next().and_then(|line| line.strip_prefix(b"T "));
    let tools = Tools::parse(tools.ok_or_else(unreadable)?).map_err(|_| unreadable())?;
    let mut there = Vec::new();
    for line in lines {
        let words: Vec<&str> = std::str::from_utf8(line)
            .map_err(|_| unreadable())?
            .split_whitespace()
            .collect();
        there.push(match words[..] {
            ["P", "f", size] => There::File(size.parse().map_err(|_| unreadable())?),
            ["P", "d", access] => There::Directory {
                writable: access == "w",
            },
            ["P", "-"] => There::Nothing,
            ["P", _] => There::Other,
            ["E", "0"] if there.len() == paths.len() => {
                return Ok(Probe { tools, there });
            }
            _ => return Err(unreadable()),
        });
    }
    Err(unreadable())
}

/// One file, under a part's name until it is complete and right.
struct Put<'a> {
    path: &'a Path,
    size: u64,
    mode: u32,
    modified: i64,
    digest: Option<Digest>,
    part: Vec<u8>,
    to: Vec<u8>,
    compress: bool,
}

async fn one(
    remote: &Remote,
    source: &Path,
    destination: &[u8],
    options: &CopyOptions,
    tell: Observer<'_>,
) -> Result<CopyReport, CopyError> {
    let mut skipped = Vec::new();
    let item = local::walk(source, None, &mut skipped)?.into_iter().next();
    let (Some(item), Some(name)) = (item, source.file_name()) else {
        return Err(refused(skipped, source));
    };
    let size = item.size().unwrap_or(0);
    let path = source.to_owned();
    let sha = blocking(move || local::digest(&path, Algorithm::Sha256)).await?;
    let id = part_id(sha);
    let slash = destination.ends_with(b"/");
    let plain = trimmed(destination);
    let inner = join(plain, name.as_bytes());
    let parts = [part_of(plain, &id), part_of(&inner, &id)];
    let parent = parent(plain);
    let paths = [plain, &parent, &parts[0], &inner, &parts[1]];
    let probed = probe(remote, &paths).await?;
    probed.tools.say(tell);
    let (to, part, began, before) = match probed.there[..] {
        [There::Directory { writable }, _, _, before, began] => {
            check_folder(remote, plain, There::Directory { writable })?;
            (inner, &parts[1], began, before)
        }
        [_, folder, began, _, _] if !slash => {
            check_folder(remote, &parent, folder)?;
            (plain.to_vec(), &parts[0], began, probed.there[0])
        }
        _ => return Err(no_folder(remote, plain)),
    };
    if matches!(before, There::Directory { .. } | There::Other) {
        let text = format!("{} in the container is no file", shown(&to));
        return Err(CopyError::Destination(text));
    }
    let algorithm = probed.tools.algorithm;
    let path = source.to_owned();
    let gzip = probed.tools.has("gzip");
    let (digest, compress) = blocking(move || {
        let digest = match algorithm {
            Algorithm::Sha256 => sha,
            _ => local::digest(&path, algorithm)?,
        };
        Ok((digest, gzip && local::is_compressible([path.as_path()])))
    })
    .await?;
    let mut report = CopyReport {
        algorithm: Some(algorithm),
        sessions: 1,
        destination: PathBuf::from(OsStr::from_bytes(&to)),
        ..CopyReport::default()
    };
    // Another length is another content.
    let may_be_same = options.delta && before == There::File(size);
    if may_be_same && same(remote, &to, digest).await? {
        report.unchanged = 1;
        return Ok(report);
    }
    (report.files, report.bytes) = (1, size);
    if options.dry_run {
        tell(CopyEvent::Would {
            path: shown(&to),
            bytes: Some(size),
        });
        return Ok(report);
    }
    let began = match began {
        There::File(began) if began <= size && algorithm == Algorithm::Sha256 => began,
        _ => 0,
    };
    report.resumed = began;
    tell(CopyEvent::Total {
        files: 1,
        bytes: size - began,
    });
    let put = Put {
        path: source,
        size,
        mode: item.mode,
        modified: item.modified,
        digest,
        part: part.clone(),
        to,
        compress,
    };
    if began > 0 {
        tell(CopyEvent::Notice(format!(
            "going on with an interrupted copy: {began} of {size} bytes are there"
        )));
    }
    put.run(remote, began, tell).await?;
    Ok(report)
}

impl Put<'_> {
    /// Sends the file until it is there, going on after what a broken session has brought.
    async fn run(
        &self,
        remote: &Remote,
        mut offset: u64,
        tell: Observer<'_>,
    ) -> Result<(), CopyError> {
        let mut error = None;
        for _ in 0..ATTEMPTS {
            match self.once(remote, offset, tell).await {
                Ok(()) => return Ok(()),
                Err(Failed::Content) => {
                    tell(CopyEvent::Detail(
                        "the digest is wrong: the whole file is sent again".to_owned(),
                    ));
                    offset = 0;
                    error = Some(CopyError::Changed {
                        names: vec![shown(self.path.as_os_str().as_bytes())],
                    });
                }
                Err(Failed::Session(lost)) if lost.is_passing() => {
                    tell(CopyEvent::Detail(format!(
                        "a session ended early: {lost}; the copy goes on with the next"
                    )));
                    let probed = probe(remote, &[&self.part]).await?;
                    offset = match probed.there[..] {
                        [There::File(began)] if began <= self.size => began,
                        _ => 0,
                    };
                    error = Some(CopyError::Session(lost));
                }
                Err(Failed::Session(lost)) => return Err(CopyError::Session(lost)),
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        Err(error.unwrap_or_else(|| remote.failed(Program::Put, "")))
    }

    async fn once(&self, remote: &Remote, offset: u64, tell: Observer<'_>) -> Result<(), Failed> {
        let digest = self
            .digest
            .map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        let (offset_text, size) = (offset.to_string(), self.size.to_string());
        let (mode, stamp) = (format!("{:o}", self.mode), local::stamp(self.modified));
        let arguments: [&[u8]; 8] = [
            &self.part,
            &self.to,
            offset_text.as_bytes(),
            size.as_bytes(),
            digest.as_bytes(),
            mode.as_bytes(),
            stamp.as_bytes(),
            if self.compress { b"1" } else { b"0" },
        ];
        let (pieces, source) = mpsc::channel(PIECES);
        let moved = Arc::new(AtomicU64::new(0));
        let conversation = remote.start(Program::Put, &arguments, Vec::new(), Some(source));
        let (path, counter, size) = (self.path.to_owned(), moved.clone(), self.size);
        let feed = Feed::new(pieces, self.compress);
        let feeding = blocking(move || local::feed_file(&path, offset, size, feed, &counter));
        let (fed, end) = tokio::join!(feeding, talk(conversation, &moved, tell));
        let end = end.map_err(|error| Failed::Session(Box::new(error)));
        fed.map_err(Failed::Other)?;
        end?.judge(remote, Program::Put)
    }
}

/// How a program that writes ended.
struct End {
    last: String,
    said: String,
}

enum Failed {
    /// What was written is not what was sent.
    Content,
    Session(Box<ExecError>),
    Other(CopyError),
}

impl End {
    fn judge(self, remote: &Remote, program: Program) -> Result<(), Failed> {
        let words: Vec<&str> = self.last.split_whitespace().collect();
        match words[..] {
            ["K", ..] => Ok(()),
            ["F", "size" | "digest", ..] => Err(Failed::Content),
            ["F", what, ..] => {
                let said = match self.said.is_empty() {
                    true => what.to_owned(),
                    false => self.said,
                };
                Err(Failed::Other(remote.failed(program, &said)))
            }
            _ => Err(Failed::Other(remote.failed(program, &self.said))),
        }
    }
}

/// Follows a program to its end, telling how much has been moved.
async fn talk(
    mut conversation: Conversation,
    moved: &AtomicU64,
    tell: Observer<'_>,
) -> Result<End, ExecError> {
    let mut text = Vec::new();
    let mut told = 0;
    let mut tick = tokio::time::interval(TOLD);
    loop {
        let event = tokio::select! {
            event = conversation.next() => event,
            _ = tick.tick() => {
                let now = moved.load(Ordering::Relaxed);
                tell(CopyEvent::Moved(now - told));
                told = now;
                continue;
            }
        };
        match event {
            Some(ExecEvent::Stdout(bytes)) if text.len() < 64 * 1024 => {
                text.extend_from_slice(&bytes);
            }
            Some(ExecEvent::Notice(text)) => tell(CopyEvent::Notice(text)),
            Some(ExecEvent::Exit { .. }) => break,
            Some(ExecEvent::Closed { reason }) => return Err(reason),
            Some(_) => {}
            None => break,
        }
    }
    tell(CopyEvent::Moved(moved.load(Ordering::Relaxed) - told));
    let text = String::from_utf8_lossy(&text);
    for warning in text.lines().filter(|line| line.starts_with("W ")) {
        tell(CopyEvent::Detail(format!(
            "not kept: {}",
            shown(&warning.as_bytes()[2..])
        )));
    }
    Ok(End {
        last: text.lines().last().unwrap_or_default().to_owned(),
        said: conversation.said(),
    })
}

/// Several files, or what is in a directory: into a folder beside their place, checked there, then moved.
async fn many(
    remote: &Remote,
    sources: &[PathBuf],
    destination: &[u8],
    options: &CopyOptions,
    tell: Observer<'_>,
) -> Result<CopyReport, CopyError> {
    let plan = Tree::find(sources)?;
    if !plan.skipped.is_empty() && !options.skip_refused {
        return Err(CopyError::Refused {
            entries: plan.skipped,
        });
    }
    let place = plan.place(remote, destination, tell).await?;
    plan.send(remote, &place, options, tell).await
}

struct Tree {
    items: Vec<Item>,
    skipped: Vec<(String, Refusal)>,
    /// The name of the copy, unless the items go into the destination itself.
    name: Option<Vec<u8>>,
    id: String,
}

struct Place {
    tools: Tools,
    /// Where the copy is going to be.
    to: Vec<u8>,
    is_there: bool,
    stage: Vec<u8>,
    began: bool,
}

impl Tree {
    fn find(sources: &[PathBuf]) -> Result<Self, CopyError> {
        let mut skipped = Vec::new();
        let mut items = Vec::new();
        let mut name = None;
        match sources {
            [source] => {
                let text = source.as_os_str().as_bytes();
                let contents =
                    text.ends_with(b"/.") || text.ends_with(b"/") || text == b"." || text == b"..";
                name = source
                    .file_name()
                    .filter(|_| !contents)
                    .map(|name| name.as_bytes().to_vec());
                items = local::walk(source, None, &mut skipped)?;
            }
            _ => {
                for source in sources {
                    let top = source.file_name().ok_or_else(|| {
                        CopyError::Destination(format!(
                            "{} has no name to be copied under",
                            source.display()
                        ))
                    })?;
                    if items.iter().any(|item: &Item| item.parts == [top]) {
                        let text = format!("two sources are called {}", shown(top.as_bytes()));
                        return Err(CopyError::Destination(text));
                    }
                    items.extend(local::walk(source, Some(top), &mut skipped)?);
                }
            }
        }
        let mut hasher = Sha256::new();
        for item in &items {
            hasher.update(item.name());
            hasher.update(format!("\0{:?}{}\0", item.kind, item.modified));
        }
        let id = hex::encode(&hasher.finalize()[..6]);
        Ok(Self {
            items,
            skipped,
            name,
            id,
        })
    }

    async fn place(
        &self,
        remote: &Remote,
        destination: &[u8],
        tell: Observer<'_>,
    ) -> Result<Place, CopyError> {
        let slash = destination.ends_with(b"/");
        let plain = trimmed(destination).to_vec();
        let inner = self.name.as_ref().map(|name| join(&plain, name));
        let inside =
            |folder: &[u8]| join(folder, beside(OsStr::new("bowline"), &self.id).as_bytes());
        let inner = inner.unwrap_or_else(|| plain.clone());
        let parent = parent(&plain);
        let stages = [
            part_of(&plain, &self.id),
            inside(&plain),
            part_of(&inner, &self.id),
            inside(&inner),
        ];
        let mut paths: Vec<&[u8]> = vec![&plain, &parent, &inner];
        paths.extend(stages.iter().map(Vec::as_slice));
        let probed = probe(remote, &paths).await?;
        probed.tools.say(tell);
        let [at, above, within, began @ ..] = &probed.there[..] else {
            return Err(remote.failed(Program::Probe, ""));
        };
        let (to, there, stage) = match at {
            There::Directory { .. } => {
                check_folder(remote, &plain, *at)?;
                let stage = if matches!(within, There::Nothing) {
                    2
                } else {
                    3
                };
                (inner, *within, stage)
            }
            There::Nothing
                if self.name.is_some()
                    || slash
                    || matches!(self.items.first(), Some(first) if first.parts.is_empty()) =>
            {
                if slash && self.name.is_some() {
                    return Err(no_folder(remote, &plain));
                }
                check_folder(remote, &parent, *above)?;
                (plain, There::Nothing, 0)
            }
            There::Nothing => return Err(no_folder(remote, &plain)),
            _ => {
                let text = format!("{} in the container is no directory", shown(&plain));
                return Err(CopyError::Destination(text));
            }
        };
        if matches!(there, There::File(_) | There::Other) {
            let text = format!("{} in the container is no directory", shown(&to));
            return Err(CopyError::Destination(text));
        }
        Ok(Place {
            tools: probed.tools,
            to,
            is_there: there != There::Nothing,
            stage: stages[stage].clone(),
            began: matches!(began.get(stage), Some(There::Directory { .. })),
        })
    }

    async fn send(
        self,
        remote: &Remote,
        place: &Place,
        options: &CopyOptions,
        tell: Observer<'_>,
    ) -> Result<CopyReport, CopyError> {
        let algorithm = place.tools.algorithm;
        let mut report = CopyReport {
            algorithm: Some(algorithm),
            sessions: 1,
            skipped: self.skipped.clone(),
            destination: PathBuf::from(OsStr::from_bytes(&place.to)),
            ..CopyReport::default()
        };
        let items = Arc::new(self.items);
        let all = items.clone();
        let digests: Vec<Option<Digest>> = blocking(move || {
            let of = |item: &Item| match item.kind {
                ItemKind::File { .. } => local::digest(&item.path, algorithm),
                _ => Ok(None),
            };
            all.iter().map(of).collect()
        })
        .await?;
        let there = match options.delta && place.is_there {
            true => digests_below(remote, &place.to).await?,
            false => BTreeMap::new(),
        };
        let has = |there: &BTreeMap<Vec<u8>, (u64, Option<Digest>)>, at: usize| {
            let size = items[at].size();
            let same = there.get(&items[at].name());
            same.is_some_and(|(have, digest)| {
                Some(*have) == size && digest.is_some() && *digest == digests[at]
            })
        };
        let files: Vec<usize> = (0..items.len())
            .filter(|&at| items[at].size().is_some())
            .collect();
        let wanted: Vec<usize> = files
            .iter()
            .copied()
            .filter(|&at| !has(&there, at))
            .collect();
        report.unchanged = (files.len() - wanted.len()) as u64;
        let count = |kind: fn(&ItemKind) -> bool| {
            items.iter().filter(|item| kind(&item.kind)).count() as u64
        };
        report.directories = count(|kind| matches!(kind, ItemKind::Directory));
        report.links = count(|kind| matches!(kind, ItemKind::Link(_)));
        report.files = wanted.len() as u64;
        let bytes = |files: &[usize]| files.iter().filter_map(|&at| items[at].size()).sum::<u64>();
        report.bytes = bytes(&wanted);
        if options.dry_run {
            for &at in &wanted {
                tell(CopyEvent::Would {
                    path: shown(&join(&place.to, &items[at].name())),
                    bytes: items[at].size(),
                });
            }
            return Ok(report);
        }
        let mut staged = match place.began {
            true => digests_below(remote, &place.stage).await?,
            false => BTreeMap::new(),
        };
        let mut left: Vec<usize> = wanted
            .iter()
            .copied()
            .filter(|&at| !has(&staged, at))
            .collect();
        report.resumed = report.bytes - bytes(&left);
        tell(CopyEvent::Total {
            files: report.files,
            bytes: bytes(&left),
        });
        if report.resumed > 0 {
            tell(CopyEvent::Notice(format!(
                "going on with an interrupted copy: {} of {} bytes are there",
                report.resumed, report.bytes
            )));
        }
        let mut error = None;
        for _ in 0..ATTEMPTS {
            match stage(remote, place, &items, &left, &digests, tell).await {
                Ok(()) => {}
                Err(Failed::Session(lost)) if lost.is_passing() => {
                    tell(CopyEvent::Detail(format!(
                        "a session ended early: {lost}; the copy goes on with the next"
                    )));
                    error = Some(CopyError::Session(lost));
                }
                Err(Failed::Session(lost)) => return Err(CopyError::Session(lost)),
                Err(Failed::Other(error)) => return Err(error),
                Err(Failed::Content) => {}
            }
            staged = digests_below(remote, &place.stage).await?;
            left = match algorithm {
                Algorithm::None => wanted
                    .iter()
                    .copied()
                    .filter(|&at| {
                        staged.get(&items[at].name()).map(|(size, _)| Some(*size))
                            != Some(items[at].size())
                    })
                    .collect(),
                _ => wanted
                    .iter()
                    .copied()
                    .filter(|&at| !has(&staged, at))
                    .collect(),
            };
            if left.is_empty() {
                commit(remote, place, &items).await?;
                return Ok(report);
            }
        }
        let names = left
            .iter()
            .map(|&at| shown(items[at].path.as_os_str().as_bytes()))
            .collect();
        Err(error.unwrap_or(CopyError::Changed { names }))
    }
}

/// Sends files to the folder beside the copy's place, with all directories and links.
async fn stage(
    remote: &Remote,
    place: &Place,
    items: &Arc<Vec<Item>>,
    files: &[usize],
    digests: &[Option<Digest>],
    tell: Observer<'_>,
) -> Result<(), Failed> {
    let tar = place.tools.has("tar");
    let limit = if tar { LARGE } else { LARGE_LINES };
    let (small, large): (Vec<usize>, Vec<usize>) = files
        .iter()
        .partition(|&&at| items[at].size().is_some_and(|size| size <= limit));
    let mut together: Vec<Item> = items
        .iter()
        .filter(|item| item.size().is_none())
        .cloned()
        .collect();
    together.extend(small.iter().map(|&at| items[at].clone()));
    let gzip = place.tools.has("gzip");
    let (together, compress) = blocking(move || {
        let files = together.iter().filter(|item| item.size().is_some());
        let compress = gzip && local::is_compressible(files.map(|item| item.path.as_path()));
        Ok((together, compress))
    })
    .await
    .map_err(Failed::Other)?;
    let how = if tar { "tar" } else { "lines of the shell" };
    let squeezed = if compress { ", compressed by gzip" } else { "" };
    tell(CopyEvent::Detail(format!(
        "{} entries by {how}{squeezed}",
        together.len()
    )));
    let kind: &[u8] = if tar { b"tar" } else { b"lines" };
    let flag: &[u8] = if compress { b"1" } else { b"0" };
    let (pieces, source) = mpsc::channel(PIECES);
    let moved = Arc::new(AtomicU64::new(0));
    let arguments: [&[u8]; 3] = [&place.stage, flag, kind];
    let conversation = remote.start(Program::Unpack, &arguments, Vec::new(), Some(source));
    let counter = moved.clone();
    let feeding = blocking(move || {
        let feed = Feed::new(pieces, compress);
        match tar {
            true => local::feed_tar(&together, feed, &counter),
            false => local::feed_lines(&together, feed, &counter),
        }
    });
    let (fed, end) = tokio::join!(feeding, talk(conversation, &moved, &mut *tell));
    let end = end.map_err(|error| Failed::Session(Box::new(error)));
    fed.map_err(Failed::Other)?;
    end?.judge(remote, Program::Unpack)?;
    for at in large {
        let item = &items[at];
        let to = join(&place.stage, &item.name());
        let id = part_id(digests[at]);
        let part = part_of(&to, &id);
        let began = match probe(remote, &[&part]).await.map_err(of_copy)?.there[..] {
            [There::File(began)] if Some(began) <= item.size() => began,
            _ => 0,
        };
        let path = item.path.clone();
        let compress = gzip
            && blocking(move || Ok(local::is_compressible([path.as_path()])))
                .await
                .map_err(Failed::Other)?;
        let put = Put {
            path: &item.path,
            size: item.size().unwrap_or(0),
            mode: item.mode,
            modified: item.modified,
            digest: digests[at],
            part,
            to,
            compress,
        };
        put.run(remote, began, tell).await.map_err(of_copy)?;
    }
    Ok(())
}

fn of_copy(error: CopyError) -> Failed {
    match error {
        CopyError::Session(error) => Failed::Session(error),
        error => Failed::Other(error),
    }
}

/// Moves what was staged to its place; directories get their modes and times, the inner ones first.
async fn commit(remote: &Remote, place: &Place, items: &[Item]) -> Result<(), CopyError> {
    let mut lines = Vec::new();
    let folders = items
        .iter()
        .rev()
        .filter(|item| item.kind == ItemKind::Directory);
    for folder in folders.filter(|folder| !(folder.parts.is_empty() && place.is_there)) {
        lines.extend(format!("{:o} {} ", folder.mode, folder.stamp()).bytes());
        lines.extend(crate::session::exec::wrapper::escaped_bytes(&folder.name()));
    }
    let input = vec![Bytes::from(lines)];
    let output = remote
        .collect(Program::Commit, &[&place.stage, &place.to], input)
        .await?;
    let end = End {
        last: String::from_utf8_lossy(&output.stdout)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned(),
        said: output.said,
    };
    match end.judge(remote, Program::Commit) {
        Ok(()) => Ok(()),
        Err(Failed::Other(error)) => Err(error),
        Err(_) => Err(remote.failed(Program::Commit, "")),
    }
}

/// Sizes and digests of the files below a directory of the container, by their paths below it.
async fn digests_below(
    remote: &Remote,
    path: &[u8],
) -> Result<BTreeMap<Vec<u8>, (u64, Option<Digest>)>, CopyError> {
    let output = remote
        .collect(Program::List, &[b"1", path], Vec::new())
        .await?;
    let listing = listing::parse(&output.stdout)
        .map_err(|error| remote.failed(Program::List, &error.to_string()))?;
    let mut found = BTreeMap::new();
    for root in &listing.roots {
        for entry in root.entries.iter().filter(|entry| entry.kind == Kind::File) {
            if let Some(below) = entry.below(root) {
                found.insert(below.to_vec(), (entry.size, entry.digest));
            }
        }
    }
    Ok(found)
}

async fn same(remote: &Remote, path: &[u8], digest: Option<Digest>) -> Result<bool, CopyError> {
    let there = digests_below(remote, path).await?;
    Ok(digest.is_some() && there.get(&b""[..]).is_some_and(|(_, have)| *have == digest))
}

async fn stream(
    remote: &Remote,
    input: mpsc::Receiver<io::Result<Bytes>>,
    destination: &[u8],
    options: &CopyOptions,
    tell: Observer<'_>,
) -> Result<CopyReport, CopyError> {
    let to = trimmed(destination);
    let parent = parent(to);
    let probed = probe(remote, &[to, &parent]).await?;
    probed.tools.say(tell);
    match probed.there[..] {
        [There::Nothing | There::File(_), folder] if !destination.ends_with(b"/") => {
            check_folder(remote, &parent, folder)?;
        }
        _ => {
            let text = format!(
                "{} in the container is no file, and a stream has no name",
                shown(to)
            );
            return Err(CopyError::Destination(text));
        }
    }
    let algorithm = probed.tools.algorithm;
    let report = CopyReport {
        files: 1,
        algorithm: Some(algorithm),
        sessions: 1,
        destination: PathBuf::from(OsStr::from_bytes(to)),
        ..CopyReport::default()
    };
    if options.dry_run {
        let (path, bytes) = (shown(to), None);
        tell(CopyEvent::Would { path, bytes });
        return Ok(report);
    }
    let seed = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
    let part = part_of(to, &format!("{seed:012x}"));
    let leftover = Leftover::new(remote, part);
    let sent = send_stream(&leftover, input, to, algorithm, tell).await;
    match sent {
        Ok(bytes) => {
            leftover.keep();
            Ok(CopyReport { bytes, ..report })
        }
        Err(error) => {
            leftover.remove().await;
            Err(error)
        }
    }
}

/// Sends a stream to its part, and gives that its name; gives its length.
async fn send_stream(
    leftover: &Leftover,
    mut input: mpsc::Receiver<io::Result<Bytes>>,
    to: &[u8],
    algorithm: Algorithm,
    tell: Observer<'_>,
) -> Result<u64, CopyError> {
    let (remote, part) = (&leftover.remote, &leftover.part);
    let base: [&[u8]; 2] = [part, to];
    let arguments: Vec<&[u8]> = base
        .into_iter()
        .chain([&b"0"[..], b"0", b"later", b"644", b"-", b"0"])
        .collect();
    let (pieces, source) = mpsc::channel(PIECES);
    let moved = AtomicU64::new(0);
    let conversation = remote.start(Program::Put, &arguments, Vec::new(), Some(source));
    let passing = async {
        let mut hasher = algorithm.hasher();
        loop {
            let piece = tokio::select! {
                piece = input.recv() => piece,
                // Why nobody takes any more is said by the program's end.
                () = pieces.closed() => break,
            };
            let Some(piece) = piece else { break };
            let piece = piece.map_err(CopyError::local("read", "the stream"))?;
            hasher.update(&piece);
            moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
        drop(pieces);
        Ok::<_, CopyError>(hasher.finish())
    };
    let (digest, end) = tokio::join!(passing, talk(conversation, &moved, &mut *tell));
    let digest = digest?;
    judged(end?.judge(remote, Program::Put))?;
    let size = moved.load(Ordering::Relaxed);
    let (length, digest) = (
        size.to_string(),
        digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string()),
    );
    let rest: [&[u8]; 6] = [
        b"-",
        length.as_bytes(),
        digest.as_bytes(),
        b"644",
        b"-",
        b"0",
    ];
    let arguments: Vec<&[u8]> = base.into_iter().chain(rest).collect();
    let conversation = remote.start(Program::Put, &arguments, Vec::new(), None);
    judged(
        talk(conversation, &AtomicU64::new(0), tell)
            .await?
            .judge(remote, Program::Put),
    )?;
    Ok(size)
}

/// The part of a stream. It cannot be gone on with, so it is removed when the copy breaks off, even by being dropped; a
/// client that is told to finish waits for that.
struct Leftover {
    remote: Remote,
    part: Vec<u8>,
    kept: bool,
}

impl Leftover {
    fn new(remote: &Remote, part: Vec<u8>) -> Self {
        Self {
            remote: remote.clone(),
            part,
            kept: false,
        }
    }

    /// It has its name.
    fn keep(mut self) {
        self.kept = true;
    }

    async fn remove(mut self) {
        self.kept = true;
        Self::removed(self.remote.clone(), std::mem::take(&mut self.part)).await;
    }

    async fn removed(remote: Remote, part: Vec<u8>) {
        let removing = remote
            .start_text("rm -f \"$1\"", "bowline-remove", &[&part], Vec::new(), None)
            .collect();
        // Where the container cannot be entered any more, it stays.
        let _ = timeout(REMOVAL, removing).await;
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let sessions = self.remote.client.sessions().clone();
        let part = std::mem::take(&mut self.part);
        sessions.spawn_on(Self::removed(self.remote.clone(), part), &runtime);
    }
}

fn judged(result: Result<(), Failed>) -> Result<(), CopyError> {
    match result {
        Ok(()) => Ok(()),
        Err(Failed::Content) => Err(CopyError::Changed {
            names: vec!["the stream".to_owned()],
        }),
        Err(Failed::Session(error)) => Err(CopyError::Session(error)),
        Err(Failed::Other(error)) => Err(error),
    }
}

fn check_folder(remote: &Remote, path: &[u8], there: There) -> Result<(), CopyError> {
    match there {
        There::Directory { writable: true } => Ok(()),
        There::Directory { writable: false } => Err(CopyError::Destination(format!(
            "the directory {} in container {} cannot be written",
            shown(path),
            remote.target.container
        ))),
        _ => Err(no_folder(remote, path)),
    }
}

fn no_folder(remote: &Remote, path: &[u8]) -> CopyError {
    CopyError::Destination(format!(
        "there is no directory {} in container {}",
        shown(path),
        remote.target.container
    ))
}

fn refused(skipped: Vec<(String, Refusal)>, source: &Path) -> CopyError {
    match skipped.is_empty() {
        true => CopyError::Destination(format!("{} has no name", source.display())),
        false => CopyError::Refused { entries: skipped },
    }
}

/// The name of a part, beside its file.
fn part_of(path: &[u8], id: &str) -> Vec<u8> {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    join(
        &parent(path),
        beside(OsStr::from_bytes(name), id).as_bytes(),
    )
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn parent(path: &[u8]) -> Vec<u8> {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => b"/".to_vec(),
        Some(at) => path[..at].to_vec(),
        None => b".".to_vec(),
    }
}

fn trimmed(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte != b'/') {
        Some(end) => &path[..=end],
        None => b"/",
    }
}
