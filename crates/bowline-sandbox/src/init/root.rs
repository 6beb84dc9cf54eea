//! The files of an isolated container: the machine's, to be read, with a layer of its own above them that takes what it
//! writes.
//!
//! The root is a tmpfs. Each directory of the machine's root is an overlay in it, whose upper layer is in memory too: one
//! overlay of the whole root is not allowed in a user namespace, since mounts below it could be uncovered. For the same
//! reason a directory with mounts below is made again entry by entry. Where overlays are refused (Linux before 5.11, some
//! file systems), `/etc` is copied and other directories are there read-only. `/tmp`, `/var/tmp`, `/run`, `/root` and `/dev/shm` are empty, `/proc` is
//! the task's, and of `/dev` there is what a container has. All of it is gone with the mount namespace.

use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount,
};
use rustix::thread::{CapabilitySet, UnshareFlags};
use serde::{Deserialize, Serialize};

use super::{space, system_text};

/// The working directory and HOME of containers.
pub(crate) const HOME: &str = "/root";
/// Where the programs of an image are that has not all of the machine's.
pub(crate) const PROGRAMS: &str = "/run/bowline/bin";

/// Below these the container has its own; nothing of the machine's is looked at.
const OWN: [&str; 6] = ["/proc", "/sys", "/dev", "/tmp", "/run", HOME];
/// Copied where there are no overlays.
const SETTINGS: &str = "/etc";
/// How deep directories with mounts below are made again; deeper ones are empty.
const DEPTH: usize = 3;
/// Files beside mounts are copied up to this size, and read-only beyond it.
const COPIED: u64 = 1 << 20;
/// What a container runtime leaves to the root of a container, when it is not told otherwise.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// How the files of a container shall be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    /// A directory of the machine to build in, made if it is missing; nothing is left in it.
    pub(crate) base: PathBuf,
    pub(crate) hostname: String,
    /// The directory with the image's programs, to be seen at [`PROGRAMS`].
    pub(crate) programs: Option<PathBuf>,
    /// Without overlays, for tests of what is done then.
    pub(crate) plain: bool,
}

/// Moves this process into a mount namespace of its own with such files. The error says what was refused.
pub(super) fn enter(wanted: &Root) -> Result<(), String> {
    space::unshare(UnshareFlags::NEWNS).map_err(said("cannot make a mount namespace"))?;
    let base = &wanted.base;
    fs::create_dir_all(base).map_err(said("cannot make a directory"))?;
    tmpfs(base, "mode=0755").map_err(said("cannot mount a tmpfs"))?;
    let root = base.join("root");
    let build = Build {
        layers: base.join("layers"),
        mounts: mounts().map_err(said("cannot read the mounts"))?,
        root: root.clone(),
        overlays: !wanted.plain,
    };
    fs::create_dir(&build.layers).map_err(said("cannot make the layers"))?;
    fs::create_dir(&root).map_err(said("cannot make the root"))?;
    // Only a mount can become the root.
    tmpfs(&root, "mode=0755").map_err(said("cannot mount the root"))?;
    build
        .again(Path::new("/"), 0)
        .map_err(said("cannot make the root layer"))?;
    own_directories(&root).map_err(said("cannot make the container's own directories"))?;
    kernel(&root)?;
    devices(&root).map_err(said("cannot make /dev"))?;
    if let Some(programs) = &wanted.programs {
        let inside = below(&root, Path::new(PROGRAMS));
        let bound = fs::create_dir_all(&inside).and_then(|()| read_only(programs, &inside));
        bound.map_err(said("cannot show the image's programs"))?;
    }
    names(&root, &wanted.hostname).map_err(said("cannot write the host's names"))?;
    pivot(&root).map_err(said("cannot change the root"))?;
    drop_capabilities().map_err(said("cannot give up capabilities"))
}

/// What is executed from here on can do no more than root in a container, so that it cannot undo what was set up.
pub(super) fn drop_capabilities() -> io::Result<()> {
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if CAPABILITIES.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // Beyond the last that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn said<E: Into<io::Error>>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {}", system_text(&error.into()))
}

fn tmpfs(at: &Path, data: &str) -> io::Result<()> {
    let data = CString::new(data)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", at, "tmpfs", flags, data.as_c_str())?)
}

/// Where a path of the container is, seen from the machine.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

struct Build {
    root: PathBuf,
    /// Of overlays: a directory with their upper and work directories each.
    layers: PathBuf,
    /// The machine's.
    mounts: HashSet<PathBuf>,
    overlays: bool,
}

impl Build {
    /// Makes a directory of the machine again, entry by entry.
    fn again(&self, directory: &Path, depth: usize) -> io::Result<()> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // Closed to the caller outside, and so it is inside.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if OWN.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            let inside = below(&self.root, &path);
            // Gone meanwhile, or closed.
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let kind = metadata.file_type();
            if kind.is_symlink() {
                symlink(fs::read_link(&path)?, &inside)?;
            } else if kind.is_dir() {
                fs::create_dir(&inside)?;
                let mode = metadata.permissions().mode() & 0o7777;
                fs::set_permissions(&inside, Permissions::from_mode(mode))?;
                match self.has_mounts_below(&path) {
                    false => self.layer(&path, &inside, mode)?,
                    true if depth < DEPTH => self.again(&path, depth + 1)?,
                    true => {}
                }
            } else if kind.is_file() {
                self.file(&path, &inside, metadata.len())?;
            }
        }
        Ok(())
    }

    fn has_mounts_below(&self, directory: &Path) -> bool {
        let mut mounts = self.mounts.iter();
        mounts.any(|mount| mount != directory && mount.starts_with(directory))
    }

    /// A directory without mounts below: an overlay, or read-only.
    fn layer(&self, lower: &Path, inside: &Path, mode: u32) -> io::Result<()> {
        if self.overlays && self.overlay(lower, inside, mode).is_ok() {
            return Ok(());
        }
        if lower == Path::new(SETTINGS) {
            return self.copy(lower, inside);
        }
        match read_only(lower, inside) {
            // A directory that nobody may even bind stays empty.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }

    fn overlay(&self, lower: &Path, inside: &Path, mode: u32) -> io::Result<()> {
        // Flat and without anything that means something in the options.
        let name: String = lower
            .as_os_str()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let layer = self.layers.join(name);
        let (upper, work) = (layer.join("u"), layer.join("w"));
        fs::create_dir(&layer)?;
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        // The merged directory has the attributes of the upper one.
        fs::set_permissions(&upper, Permissions::from_mode(mode))?;
        let mut options = b"userxattr,lowerdir=".to_vec();
        for byte in lower.as_os_str().as_bytes() {
            if b":,\\".contains(byte) {
                options.push(b'\\');
            }
            options.push(*byte);
        }
        for (name, path) in [("upperdir", &upper), ("workdir", &work)] {
            options.extend(format!(",{name}=").bytes());
            options.extend(path.as_os_str().as_bytes());
        }
        let options = CString::new(options)?;
        let flags = MountFlags::NODEV;
        Ok(mount(
            "overlay",
            inside,
            "overlay",
            flags,
            options.as_c_str(),
        )?)
    }

    /// Copies a directory that is small and often written, as far as the caller may read it.
    fn copy(&self, directory: &Path, inside: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)?.flatten() {
            let (path, inside) = (entry.path(), inside.join(entry.file_name()));
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let kind = metadata.file_type();
            if kind.is_symlink() {
                symlink(fs::read_link(&path)?, &inside)?;
            } else if kind.is_dir() {
                fs::create_dir(&inside)?;
                // What is closed stays empty.
                let _ = self.copy(&path, &inside);
                fs::set_permissions(&inside, metadata.permissions())?;
            } else if kind.is_file()
                && metadata.len() <= COPIED
                && fs::copy(&path, &inside).is_err()
            {
                // Not to be read.
                let _ = fs::remove_file(&inside);
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path, inside: &Path, length: u64) -> io::Result<()> {
        if length <= COPIED && fs::copy(path, inside).is_ok() {
            return Ok(());
        }
        fs::File::create(inside)?;
        match read_only(path, inside) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }
}

/// Shows a file or directory of the machine that cannot be written.
fn read_only(path: &Path, inside: &Path) -> io::Result<()> {
    mount_bind_recursive(path, inside)?;
    seal(inside)
}

/// Makes a mount read-only. What else it forbids has to be said again, or a user namespace refuses.
fn seal(inside: &Path) -> io::Result<()> {
    let has = rustix::fs::statvfs(inside)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (flag, same) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(flag) {
            flags |= same;
        }
    }
    Ok(mount_remount(inside, flags, c"")?)
}

fn own_directories(root: &Path) -> io::Result<()> {
    for (path, mode) in [("/tmp", 0o1777), ("/run", 0o755), (HOME, 0o700)] {
        let inside = below(root, Path::new(path));
        fs::create_dir(&inside)?;
        fs::set_permissions(&inside, Permissions::from_mode(mode))?;
    }
    let lasting = below(root, Path::new("/var/tmp"));
    if lasting.is_dir() {
        tmpfs(&lasting, "mode=1777")?;
    }
    Ok(())
}

/// `/proc` and `/sys`. To root on the machine parts of them belong also from within a user namespace: those are read-only.
fn kernel(root: &Path) -> Result<(), String> {
    let proc = below(root, Path::new("/proc"));
    fs::create_dir(&proc).map_err(said("cannot make /proc"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &proc, "proc", flags, None).map_err(said("cannot mount /proc"))?;
    for name in ["bus", "fs", "irq", "sys", "sysrq-trigger"] {
        let part = proc.join(name);
        if part.exists() {
            let sealed = mount_bind(&part, &part)
                .map_err(io::Error::from)
                .and_then(|()| seal(&part));
            sealed.map_err(said("cannot make /proc/sys read-only"))?;
        }
    }
    let sys = below(root, Path::new("/sys"));
    fs::create_dir(&sys).map_err(said("cannot make /sys"))?;
    // Refused where the machine's is covered in part; few programs miss it.
    let _ = mount("sysfs", &sys, "sysfs", flags | MountFlags::RDONLY, None);
    Ok(())
}

fn devices(root: &Path) -> io::Result<()> {
    let dev = below(root, Path::new("/dev"));
    fs::create_dir(&dev)?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let device = dev.join(name);
        fs::File::create(&device)?;
        mount_bind(Path::new("/dev").join(name), &device)?;
    }
    let terminals = dev.join("pts");
    fs::create_dir(&terminals)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    mount("devpts", &terminals, "devpts", flags, options)?;
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    let shared = dev.join("shm");
    fs::create_dir(&shared)?;
    fs::set_permissions(&shared, Permissions::from_mode(0o1777))
}

fn names(root: &Path, hostname: &str) -> io::Result<()> {
    let etc = below(root, Path::new("/etc"));
    for (name, text) in [
        ("hostname", format!("{hostname}\n")),
        (
            "hosts",
            format!("127.0.0.1 localhost {hostname}\n::1 localhost\n"),
        ),
    ] {
        let path = etc.join(name);
        // Made anew: the old one may belong to somebody whom the user namespace does not know.
        let _ = fs::remove_file(&path);
        match fs::write(&path, text) {
            // Without overlays it is as on the machine.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            other => other?,
        }
    }
    Ok(())
}

fn pivot(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // The old root on top of the new one, which is uncovered again at once: no directory is needed for it.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

/// Where something is mounted, from the fifth field of mountinfo (proc_pid_mountinfo(5)).
fn mounts() -> io::Result<HashSet<PathBuf>> {
    let text = fs::read("/proc/self/mountinfo")?;
    let lines = text.split(|&byte| byte == b'\n');
    let fields = lines.filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    Ok(fields.map(|field| PathBuf::from(unescape(field))).collect())
}

/// Blanks, tabs, line ends and backslashes stand there as a backslash with three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::new();
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let code = digits
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(code);
                rest = &after[3..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn mount_points_are_read_as_they_are() {
        assert_eq!(unescape(br"/a\040b\134c"), OsStr::new(r"/a b\c"));
        assert_eq!(unescape(br"/end\04"), OsStr::new(r"/end\04"));
        assert!(mounts().unwrap().contains(Path::new("/")));
    }

    #[test]
    fn only_what_is_below_a_directory_counts() {
        let mounts = ["/", "/var", "/var/lib/x", "/varnish/a"];
        let build = Build {
            root: PathBuf::new(),
            layers: PathBuf::new(),
            mounts: mounts.iter().map(PathBuf::from).collect(),
            overlays: true,
        };
        let below = |path: &str| build.has_mounts_below(Path::new(path));
        assert!(below("/") && below("/var") && below("/var/lib") && below("/varnish"));
        assert!(!below("/var/lib/x") && !below("/va") && !below("/usr"));
    }
}
