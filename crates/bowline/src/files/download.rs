//! From a container to here.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::digest::{Algorithm, Digest};
use super::error::CopyError;
use super::fetch::{self, Chunk, News, Piece, SESSIONS, Source, fetch};
use super::listing::{self, Entry, Kind, Listing, Root, Tools};
use super::names::{self, Refusal, What, shown};
use super::remote::{Program, Remote};
use super::sink::{Doubtful, Sink, Wanted};
use super::tree::{There, Tree, make};
use super::{CopyEvent, CopyOptions, CopyReport, Observer};
use crate::session::exec::wrapper::escaped_bytes;
use crate::{Client, ResolvedTarget};

/// Chunks on their way to the disk.
const CHUNKS: usize = 16;
/// How often a file that changes meanwhile is copied again.
const ATTEMPTS: usize = 3;

impl Client {
    /// Copies files, directories and what patterns match from a container to a path here.
    ///
    /// If the path is a directory, ends with a slash, or there are several sources, they are copied into it; else it is
    /// the copy's own name. A source that ends with `/.` means what is in the directory.
    pub async fn download(
        &self,
        target: ResolvedTarget,
        sources: &[Vec<u8>],
        destination: &Path,
        options: &CopyOptions,
        tell: Observer<'_>,
    ) -> Result<CopyReport, CopyError> {
        let remote = self.remote(target, options);
        let listing = list(&remote, sources, true, options, tell).await?;
        let plan = Plan::make(&remote, &listing, sources, destination, options)?;
        plan.run(&remote, options, tell).await
    }

    /// Reads one file of a container into a channel, in order. What was sent is right only if this returns well.
    pub async fn download_stream(
        &self,
        target: ResolvedTarget,
        source: &[u8],
        output: mpsc::Sender<Bytes>,
        options: &CopyOptions,
        tell: Observer<'_>,
    ) -> Result<CopyReport, CopyError> {
        let remote = self.remote(target, options);
        let sources = [source.to_vec()];
        let listing = list(&remote, &sources, true, options, tell).await?;
        stream(&remote, &listing, output, tell).await
    }

    pub(super) fn remote(&self, target: ResolvedTarget, options: &CopyOptions) -> Remote {
        Remote {
            client: self.clone(),
            target,
            wait: options.wait,
            reconnect_for: options.reconnect_for,
        }
    }
}

/// Lists sources in a container.
pub(super) async fn list(
    remote: &Remote,
    sources: &[Vec<u8>],
    digests: bool,
    options: &CopyOptions,
    tell: Observer<'_>,
) -> Result<Listing, CopyError> {
    let sources: Vec<&[u8]> = sources.iter().map(|source| trimmed(source)).collect();
    let flag: &[u8] = if digests { b"1" } else { b"0" };
    let arguments: Vec<&[u8]> = [flag].into_iter().chain(sources).collect();
    let output = remote
        .collect(Program::List, &arguments, Vec::new())
        .await?;
    let unreadable = |error: listing::Unreadable| {
        let said = match output.code {
            0 => output.said.clone(),
            code => format!("code {code}: {}", output.said),
        };
        remote.failed(Program::List, &format!("{error} {said}"))
    };
    let listing = listing::parse(&output.stdout).map_err(unreadable)?;
    if let Some(missing) = listing.missing.first() {
        return Err(CopyError::NotFound {
            path: shown(missing),
            container: remote.target.container.clone(),
        });
    }
    listing.tools.say(tell);
    if !listing.complete {
        if !options.skip_refused {
            return Err(remote.failed(Program::List, &output.said));
        }
        tell(CopyEvent::Notice(format!(
            "not all could be listed: {}",
            output.said
        )));
    }
    Ok(listing)
}

/// Without slashes at its end.
fn trimmed(source: &[u8]) -> &[u8] {
    let end = source.iter().rposition(|&byte| byte != b'/');
    match end {
        Some(end) => &source[..=end],
        None if source.is_empty() => b".",
        None => b"/",
    }
}

/// The last part of a path; `None` if it means what is in a directory.
fn name(path: &[u8]) -> Option<&[u8]> {
    match trimmed(path).rsplit(|&byte| byte == b'/').next() {
        None | Some(b"" | b"." | b"..") => None,
        name => name,
    }
}

/// What is to be written where, checked.
struct Plan {
    base: PathBuf,
    /// The base has to be made.
    make: bool,
    algorithm: Algorithm,
    /// All content has to be asked for before any of it comes.
    at_once: bool,
    sources: Vec<Source>,
    files: Vec<Wanted>,
    folders: Vec<(Vec<OsString>, u32, Option<i64>)>,
    links: Vec<(Vec<OsString>, Vec<u8>, Option<i64>)>,
    skipped: Vec<(String, Refusal)>,
}

impl Plan {
    fn make(
        remote: &Remote,
        listing: &Listing,
        asked: &[Vec<u8>],
        destination: &Path,
        options: &CopyOptions,
    ) -> Result<Self, CopyError> {
        let several = listing.roots.len() > 1 || asked.len() > 1;
        let slash = destination.as_os_str().as_bytes().ends_with(b"/");
        let is_folder = destination.is_dir();
        let into = several || slash || is_folder;
        let mut plan = Self {
            base: PathBuf::new(),
            make: false,
            algorithm: listing.tools.algorithm,
            at_once: at_once(&listing.tools),
            sources: Vec::new(),
            files: Vec::new(),
            folders: Vec::new(),
            links: Vec::new(),
            skipped: Vec::new(),
        };
        let contents = listing.roots.iter().any(|root| name(&root.asked).is_none());
        let top = if into || contents {
            plan.base = destination.to_owned();
            plan.make = !is_folder;
            if !is_folder && destination.symlink_metadata().is_ok() {
                let shown = destination.display();
                return Err(CopyError::Destination(format!("{shown} is no directory")));
            }
            None
        } else {
            let parent = destination
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            plan.base = parent.unwrap_or_else(|| Path::new(".")).to_owned();
            if !plan.base.is_dir() {
                let shown = plan.base.display();
                return Err(CopyError::Destination(format!(
                    "there is no directory {shown}"
                )));
            }
            let Some(top) = destination.file_name() else {
                return Err(CopyError::Destination(
                    "the destination has no name".to_owned(),
                ));
            };
            Some(top.to_owned())
        };
        let mut refused = Vec::new();
        let tops: Vec<Vec<u8>> = listing
            .roots
            .iter()
            .map(|root| name(&root.asked).unwrap_or_default().to_vec())
            .collect();
        let named = tops.iter().filter(|top| !top.is_empty());
        let named: Vec<_> = named.map(|top| (top.as_slice(), What::File)).collect();
        let bad_tops: Vec<_> = names::check(named.iter().copied(), options.case_twins)
            .into_iter()
            .map(|(at, why)| (named[at].0.to_vec(), why))
            .collect();
        for (root, own) in listing.roots.iter().zip(&tops) {
            if let Some((_, why)) = bad_tops.iter().find(|(bad, _)| bad == own) {
                refused.push((shown(&root.asked), why.clone()));
                continue;
            }
            let top = match (&top, own.as_slice()) {
                (Some(top), _) => Some(top.clone()),
                (None, b"") => None,
                (None, own) => Some(OsStr::from_bytes(own).to_owned()),
            };
            plan.add(root, top.as_ref(), options, &mut refused);
        }
        if !refused.is_empty() && !options.skip_refused {
            return Err(CopyError::Refused { entries: refused });
        }
        plan.skipped = refused;
        let nothing = plan.files.is_empty() && plan.folders.is_empty() && plan.links.is_empty();
        if nothing && plan.skipped.is_empty() {
            return Err(remote.failed(Program::List, "what was asked for went away"));
        }
        Ok(plan)
    }

    /// Takes over what may be written of a source.
    fn add(
        &mut self,
        root: &Root,
        top: Option<&OsString>,
        options: &CopyOptions,
        refused: &mut Vec<(String, Refusal)>,
    ) {
        let mut below: Vec<(&Entry, &[u8])> = Vec::new();
        for entry in root.entries.iter().filter(|entry| entry.kind != Kind::Gone) {
            match entry.below(root) {
                Some(path) => below.push((entry, path)),
                None => refused.push((shown(&entry.path), Refusal::Outside)),
            }
        }
        below.sort_by_key(|(_, path)| *path);
        let inner: Vec<_> = below
            .iter()
            .filter(|(_, path)| !path.is_empty())
            .copied()
            .collect();
        let checked = inner.iter().map(|(entry, path)| (*path, what(entry)));
        let bad = names::check(checked, options.case_twins);
        let bad_paths: BTreeSet<&[u8]> = bad.iter().map(|(at, _)| inner[*at].1).collect();
        for (place, why) in &bad {
            refused.push((shown(&inner[*place].0.path), why.clone()));
        }
        for (entry, path) in below {
            if bad_paths.contains(path) {
                continue;
            }
            let own = path
                .split(|&byte| byte == b'/')
                .filter(|part| !part.is_empty());
            let own = own.map(|part| OsStr::from_bytes(part).to_owned());
            let parts: Vec<OsString> = top.into_iter().cloned().chain(own).collect();
            match entry.kind {
                Kind::File if entry.digest.is_none() && self.algorithm != Algorithm::None => {
                    refused.push((shown(&entry.path), Refusal::Unreadable));
                }
                Kind::File => {
                    self.sources.push(Source {
                        path: entry.path.clone(),
                        size: entry.size,
                    });
                    self.files.push(Wanted {
                        parts,
                        size: entry.size,
                        mode: entry.mode,
                        modified: entry.modified,
                        digest: entry.digest,
                    });
                }
                Kind::Directory if parts.is_empty() => {}
                Kind::Directory => self.folders.push((parts, entry.mode, entry.modified)),
                Kind::Link if path.is_empty() => {
                    // A source that is a link leads to nothing, or it would have been followed.
                    refused.push((shown(&entry.path), Refusal::LinkOut(shown(&entry.link))));
                }
                Kind::Link => self.links.push((parts, entry.link.clone(), entry.modified)),
                Kind::Special(kind) => refused.push((shown(&entry.path), Refusal::Special(kind))),
                Kind::Gone => {}
            }
        }
    }

    async fn run(
        self,
        remote: &Remote,
        options: &CopyOptions,
        tell: Observer<'_>,
    ) -> Result<CopyReport, CopyError> {
        let mut report = CopyReport {
            algorithm: Some(self.algorithm),
            skipped: self.skipped.clone(),
            destination: self.base.clone(),
            directories: self.folders.len() as u64,
            ..CopyReport::default()
        };
        if options.dry_run {
            return self.dry_run(options, report, tell).await;
        }
        if self.make {
            make(&self.base).map_err(CopyError::local("make", &self.base))?;
        }
        let delta = options.delta;
        let plan = std::sync::Arc::new(self);
        let (mut missing, unchanged) = blocking({
            let plan = plan.clone();
            move || plan.prepare(delta)
        })
        .await?;
        let total: u64 = missing.iter().map(|(file, _)| plan.files[*file].size).sum();
        let to_move: u64 = missing
            .iter()
            .flat_map(|(_, ranges)| ranges)
            .map(|(start, end)| end - start)
            .sum();
        report.unchanged = unchanged;
        report.files = missing.len() as u64;
        report.bytes = total;
        report.resumed = total - to_move;
        report.links = plan.links.len() as u64;
        tell(CopyEvent::Total {
            files: report.files,
            bytes: to_move,
        });
        if report.resumed > 0 {
            tell(CopyEvent::Notice(format!(
                "going on with an interrupted copy: {} of {total} bytes are here",
                report.resumed
            )));
        }
        let mut anew = false;
        for attempt in 1.. {
            let (used, doubtful) = plan.attempt(remote, missing, anew, options, tell).await?;
            report.sessions = report.sessions.max(used);
            if doubtful.is_empty() {
                break;
            }
            let left = plan.settle(remote, doubtful).await?;
            if left.is_empty() {
                break;
            }
            if attempt == ATTEMPTS {
                let names = left
                    .iter()
                    .map(|&file| shown(&plan.sources[file].path))
                    .collect();
                return Err(CopyError::Changed { names });
            }
            tell(CopyEvent::Detail(format!(
                "{} files were changed meanwhile, or damaged: they are copied again",
                left.len()
            )));
            missing = left
                .into_iter()
                .map(|file| (file, vec![(0, plan.files[file].size)]))
                .collect();
            anew = true;
        }
        let done = plan.clone();
        blocking(move || done.finish()).await?;
        Ok(report)
    }

    async fn dry_run(
        self,
        options: &CopyOptions,
        mut report: CopyReport,
        tell: Observer<'_>,
    ) -> Result<CopyReport, CopyError> {
        let delta = options.delta && self.base.is_dir();
        let (plan, unchanged) = blocking(move || {
            let unchanged = match delta {
                true => self.unchanged(
                    &Tree::open(&self.base).map_err(CopyError::local("open", &self.base))?,
                ),
                false => vec![false; self.files.len()],
            };
            Ok((self, unchanged))
        })
        .await?;
        let place = |parts: &[OsString]| {
            let path = plan.base.join(parts.iter().collect::<PathBuf>());
            shown(path.as_os_str().as_bytes())
        };
        for (parts, _, _) in &plan.folders {
            tell(CopyEvent::Would {
                path: format!("{}/", place(parts)),
                bytes: None,
            });
        }
        for (file, same) in plan.files.iter().zip(&unchanged) {
            if *same {
                report.unchanged += 1;
                continue;
            }
            report.files += 1;
            report.bytes += file.size;
            tell(CopyEvent::Would {
                path: place(&file.parts),
                bytes: Some(file.size),
            });
        }
        for (parts, target, _) in &plan.links {
            report.links += 1;
            tell(CopyEvent::Would {
                path: format!("{} -> {}", place(parts), shown(target)),
                bytes: None,
            });
        }
        Ok(report)
    }

    fn unchanged(&self, tree: &Tree) -> Vec<bool> {
        let same = |file: &Wanted| {
            let Some(digest) = file.digest else {
                return false;
            };
            // Whatever cannot be read here is not the same.
            tree.read(&file.parts)
                .and_then(|here| match here.metadata()?.len() == file.size {
                    true => self.algorithm.of_reader(here),
                    false => Ok(None),
                })
                .is_ok_and(|here| here == Some(digest))
        };
        self.files.iter().map(same).collect()
    }

    /// Checks what is here, makes directories, links and empty files, and finds out what has to be fetched.
    #[expect(
        clippy::type_complexity,
        reason = "file and ranges, and how many need not be fetched"
    )]
    fn prepare(&self, delta: bool) -> Result<(Vec<(usize, Vec<(u64, u64)>)>, u64), CopyError> {
        let tree = self.tree()?;
        let unchanged = match delta {
            true => self.unchanged(&tree),
            false => vec![false; self.files.len()],
        };
        self.check_conflicts(&tree)?;
        let mut sink = Sink::new(&tree, &self.files, self.algorithm, false);
        let needed: u64 = unchanged
            .iter()
            .enumerate()
            .filter(|(_, same)| !**same)
            .map(|(file, _)| sink.needed(file))
            .sum();
        let free = tree
            .free()
            .map_err(CopyError::local("look at", &self.base))?;
        if needed > free {
            return Err(CopyError::NoRoom { needed, free });
        }
        let failed = |parts: &[OsString]| CopyError::local("make", tree.shown(parts));
        for (parts, _, _) in &self.folders {
            tree.folder(parts, true).map_err(failed(parts))?;
        }
        for (parts, target, modified) in &self.links {
            tree.link(parts, target, *modified).map_err(failed(parts))?;
        }
        let mut missing = Vec::new();
        for (file, same) in unchanged.iter().enumerate() {
            if *same {
                continue;
            }
            missing.push((file, sink.missing(file)?));
        }
        let count = unchanged.iter().filter(|same| **same).count() as u64;
        Ok((missing, count))
    }

    /// A file where there is a directory, or the other way round, is found before anything is changed.
    fn check_conflicts(&self, tree: &Tree) -> Result<(), CopyError> {
        let there = |parts: &[OsString]| {
            tree.there(parts).map_err(|error| {
                let shown = shown(tree.shown(parts).as_os_str().as_bytes());
                CopyError::Destination(format!(
                    "{shown} would be written through what is no directory here: {error}"
                ))
            })
        };
        let conflict = |parts: &[OsString], what: &str| {
            let shown = shown(tree.shown(parts).as_os_str().as_bytes());
            Err(CopyError::Destination(format!("{shown} is {what} here")))
        };
        for (parts, _, _) in &self.folders {
            match there(parts)? {
                There::Nothing | There::Directory => {}
                There::Link => return conflict(parts, "a link"),
                _ => return conflict(parts, "a file"),
            }
        }
        let files = self.files.iter().map(|file| &file.parts);
        for parts in files.chain(self.links.iter().map(|(parts, _, _)| parts)) {
            if there(parts)? == There::Directory {
                return conflict(parts, "a directory");
            }
        }
        Ok(())
    }

    fn tree(&self) -> Result<Tree, CopyError> {
        Tree::open(&self.base).map_err(CopyError::local("open", &self.base))
    }

    /// Fetches what is missing and writes it.
    async fn attempt(
        self: &std::sync::Arc<Self>,
        remote: &Remote,
        missing: Vec<(usize, Vec<(u64, u64)>)>,
        anew: bool,
        options: &CopyOptions,
        tell: Observer<'_>,
    ) -> Result<(usize, Vec<Doubtful>), CopyError> {
        let is_whole = |(file, ranges): &(usize, Vec<(u64, u64)>)| {
            self.files[*file].size == 0 || ranges.is_empty()
        };
        let whole: Vec<usize> = missing
            .iter()
            .filter(|one| is_whole(one))
            .map(|(file, _)| *file)
            .collect();
        let wanted: Vec<_> = missing.into_iter().filter(|one| !is_whole(one)).collect();
        let pieces = fetch::pieces(&self.sources, wanted);
        let (chunks, mut received) = mpsc::channel::<Chunk>(CHUNKS);
        let plan = self.clone();
        let writing = blocking(move || {
            let tree = plan.tree()?;
            let mut sink = Sink::new(&tree, &plan.files, plan.algorithm, anew);
            let mut doubtful = Vec::new();
            for file in whole {
                doubtful.extend(sink.complete(file)?);
            }
            doubtful.extend(sink.take(&mut received)?);
            Ok(doubtful)
        });
        let fetching = async {
            let mut news = |news| tell_of(news, &mut *tell);
            let most = options.sessions.unwrap_or(SESSIONS);
            let used = fetch(
                remote,
                &self.sources,
                pieces,
                most,
                self.at_once,
                &chunks,
                &mut news,
            )
            .await;
            drop(chunks);
            used
        };
        let (used, doubtful) = tokio::join!(fetching, writing);
        // What cannot be written is the cause of what was not fetched.
        let doubtful = doubtful?;
        Ok((used?, doubtful))
    }

    /// Files with another digest than was listed: one that only grew meanwhile has come as it was. Gives back those
    /// that have not.
    async fn settle(
        self: &std::sync::Arc<Self>,
        remote: &Remote,
        doubtful: Vec<Doubtful>,
    ) -> Result<Vec<usize>, CopyError> {
        let mut lines = Vec::new();
        for one in &doubtful {
            lines.extend(format!("{} ", self.files[one.file].size).bytes());
            lines.extend(escaped_bytes(&self.sources[one.file].path));
        }
        let output = remote
            .collect(Program::Again, &[], vec![lines.into()])
            .await?;
        let mut now = output
            .stdout
            .split(|&byte| byte == b'\n')
            .map(|line| self.algorithm.parse(line));
        let plan = self.clone();
        let judged: Vec<(Doubtful, Option<Digest>)> = doubtful
            .into_iter()
            .map(|one| (one, now.next().flatten()))
            .collect();
        blocking(move || {
            let tree = plan.tree()?;
            let sink = Sink::new(&tree, &plan.files, plan.algorithm, true);
            let mut left = Vec::new();
            for (one, now) in judged {
                match now.is_some() && now == one.digest {
                    true => sink.publish(one.file)?,
                    false => {
                        sink.discard(one.file)?;
                        left.push(one.file);
                    }
                }
            }
            Ok(left)
        })
        .await
    }

    /// Directories get their modes and times last, the inner ones first.
    fn finish(&self) -> Result<(), CopyError> {
        let tree = self.tree()?;
        for (parts, mode, modified) in self.folders.iter().rev() {
            tree.finish_folder(parts, *mode, *modified)
                .map_err(CopyError::local("set the mode of", tree.shown(parts)))?;
        }
        Ok(())
    }
}

/// One file in order into a channel.
async fn stream(
    remote: &Remote,
    listing: &Listing,
    output: mpsc::Sender<Bytes>,
    tell: Observer<'_>,
) -> Result<CopyReport, CopyError> {
    let entry = match &listing.roots[..] {
        [root] => root.entries.first(),
        _ => None,
    };
    let Some(entry) = entry.filter(|entry| entry.kind == Kind::File) else {
        return Err(CopyError::Destination(
            "only one file can be copied to a stream".to_owned(),
        ));
    };
    let algorithm = listing.tools.algorithm;
    let at_once = at_once(&listing.tools);
    let sources = [Source {
        path: entry.path.clone(),
        size: entry.size,
    }];
    tell(CopyEvent::Total {
        files: 1,
        bytes: entry.size,
    });
    let (chunks, mut received) = mpsc::channel::<Chunk>(CHUNKS);
    let mut ranges = fetch::pieces(&sources, [(0, vec![(0, entry.size)])]);
    ranges.retain(|piece| matches!(piece, Piece::Range { .. }) || entry.size > 0);
    let passing = async {
        let mut hasher = algorithm.hasher();
        let mut at = 0;
        while let Some(mut chunk) = received.recv().await {
            // A session that broke leaves off anywhere, and the next begins at a block.
            let again = at - u64::min(at, chunk.offset);
            let again = usize::try_from(again)
                .unwrap_or(usize::MAX)
                .min(chunk.bytes.len());
            let fresh = chunk.bytes.split_off(again);
            hasher.update(&fresh);
            at += fresh.len() as u64;
            if !fresh.is_empty() && output.send(fresh).await.is_err() {
                let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                return Err(CopyError::Unwanted(gone));
            }
        }
        Ok((hasher.finish(), at))
    };
    let fetching = async {
        let mut news = |news| tell_of(news, &mut *tell);
        let used = fetch(remote, &sources, ranges, 1, at_once, &chunks, &mut news).await;
        drop(chunks);
        used
    };
    let (used, passed) = tokio::join!(fetching, passing);
    let (digest, at) = passed?;
    used?;
    if digest != entry.digest || at != entry.size {
        let lines = [
            format!("{} ", entry.size).into_bytes(),
            escaped_bytes(&entry.path),
        ]
        .concat();
        let again = remote
            .collect(Program::Again, &[], vec![lines.into()])
            .await?;
        let now = algorithm.parse(
            again
                .stdout
                .split(|&byte| byte == b'\n')
                .next()
                .unwrap_or_default(),
        );
        if at != entry.size || now != digest {
            return Err(CopyError::Changed {
                names: vec![shown(&entry.path)],
            });
        }
    }
    Ok(CopyReport {
        files: 1,
        bytes: at,
        algorithm: Some(algorithm),
        sessions: 1,
        ..CopyReport::default()
    })
}

/// Without stty the terminal echoes what is sent into what comes; without dd the last of what comes is held back until
/// there is more.
fn at_once(tools: &Tools) -> bool {
    !tools.has("stty") || !tools.has("dd")
}

fn what(entry: &Entry) -> What<'_> {
    match entry.kind {
        Kind::File | Kind::Gone => What::File,
        Kind::Directory => What::Directory,
        Kind::Link => What::Link(&entry.link),
        Kind::Special(kind) => What::Special(kind),
    }
}

pub(super) fn tell_of(news: News, tell: &mut (dyn FnMut(CopyEvent) + Send)) {
    tell(match news {
        News::Bytes(bytes) => CopyEvent::Moved(bytes),
        News::Detail(text) => CopyEvent::Detail(text),
        News::Notice(text) => CopyEvent::Notice(text),
    });
}

/// Work with files, on a thread where it holds nobody up. It is finished even if this is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CopyError> + Send + 'static,
) -> Result<T, CopyError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(CopyError::Unwanted(std::io::Error::other(error))),
        },
    }
}
