//! `cargo xtask package`: what a release consists of, made from a binary that is there already.
//!
//! A folder with the binary, man pages, completions and licences; the same as `.tar.gz`; and a Debian package. With the same
//! binary the same bytes come out, whenever and wherever: names are sorted, owners are root, and times are
//! `SOURCE_DATE_EPOCH`, else that of the last commit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use bowline_cli::cli::Cli;
use clap::{Args, CommandFactory as _};

/// What completion scripts call the program.
const INSTALLED: &str = "/usr/bin/bowline";

/// Make the files of a release
#[derive(Args)]
pub(crate) struct Arguments {
    /// The program to package
    #[arg(long, default_value = "target/release/bowline", value_name = "FILE")]
    binary: PathBuf,
    /// Where the files go
    #[arg(long, default_value = "target/package", value_name = "DIR")]
    out: PathBuf,
    /// Take debug information away first, and compress little: for a debug build
    #[arg(long)]
    quick: bool,
}

/// Makes them.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.binary.exists() {
        bail!(
            "there is no {}: packaging/build-release makes it",
            arguments.binary.display()
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
    let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(epoch) => epoch,
        Err(_) => said(Command::new("git").args(["log", "-1", "--format=%ct"]))?,
    };
    if arguments.out.exists() {
        fs::remove_dir_all(&arguments.out)?;
    }
    let root = arguments.out.join("root");
    let program = root.join("usr/bin/bowline");
    copy(&arguments.binary, &program, 0o755)?;
    if arguments.quick {
        done(Command::new("strip").arg(&program))?;
    }
    man_pages(&root.join("usr/share/man/man1"))?;
    completions(&arguments.binary, &root.join("usr/share"))?;
    let docs = root.join("usr/share/doc/bowline");
    for name in [
        "README.md",
        "CHANGELOG.md",
        "NOTICE",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ] {
        copy(Path::new(name), &docs.join(name), 0o644)?;
    }
    write(&docs.join("copyright"), COPYRIGHT)?;
    let archive = format!(
        "bowline-{version}-{}-linux-{}.tar.gz",
        std::env::consts::ARCH,
        libc()
    );
    let archive = arguments.out.join(archive);
    let tar = "tar --sort=name --owner=0 --group=0 --numeric-owner --mode=go+u,go-w --format=ustar";
    let script = format!("{tar} --mtime=@{epoch} -C \"$1\" -cf - . | gzip -n -9 >\"$2\"");
    done(
        Command::new("sh")
            .args(["-ec", &script, "sh"])
            .arg(root.join("usr"))
            .arg(&archive),
    )?;
    println!("{}", archive.display());
    let package = debian(arguments, &root, version, &architecture, &epoch)?;
    println!("{}", package.display());
    Ok(())
}

/// The files under `root` as a Debian package.
fn debian(
    arguments: &Arguments,
    root: &Path,
    version: &str,
    architecture: &str,
    epoch: &str,
) -> anyhow::Result<PathBuf> {
    let bytes = said(
        Command::new("du")
            .args(["-sk", "--apparent-size"])
            .arg(root),
    )?;
    let size = bytes.split_whitespace().next().unwrap_or_default();
    let libc = libc_version(&fs::read(root.join("usr/bin/bowline"))?);
    let libc = libc.context("the program names no version of glibc")?;
    let control = format!(
        "Package: bowline\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: the bowline maintainers <bowline@localhost>\n\
         Installed-Size: {size}\nDepends: libc6 (>= {libc}), libgcc-s1\nSuggests: postgresql-client, redis-tools\nSection: admin\nPriority: optional\n\
         Description: Work inside Amazon ECS and Fargate tasks\n One short command opens a shell in a container, runs a command with every byte of its\n \
         output and its real exit code, starts one-off tasks, forwards ports and copies files.\n No session-manager-plugin, AWS CLI or bastion host is needed.\n"
    );
    write(&root.join("DEBIAN/control"), &control)?;
    let package = arguments
        .out
        .join(format!("bowline_{version}_{architecture}.deb"));
    let mut command = Command::new("dpkg-deb");
    command
        .env("SOURCE_DATE_EPOCH", epoch)
        .arg("--root-owner-group");
    match arguments.quick {
        true => command.args(["-Zgzip", "-z1"]),
        false => command.arg("-Zxz"),
    };
    // What it says about a folder's mode is for machines where the umask is not 022.
    done(Command::new("chmod").arg("-R").arg("u=rwX,go=rX").arg(root))?;
    done(
        command
            .arg("--build")
            .arg(root)
            .arg(&package)
            .stdout(std::process::Stdio::null()),
    )?;
    Ok(package)
}

/// The newest version of glibc that a program asks for: the names of versions stand in it as `GLIBC_2.34`.
fn libc_version(program: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"GLIBC_2.";
    let named = program.windows(NAME.len()).enumerate();
    let minors = named.filter_map(|(at, window)| {
        let digits = program[at..].get(NAME.len()..).filter(|_| window == NAME)?;
        let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
        let text: String = digits.map(|byte| char::from(*byte)).collect();
        text.parse::<u32>().ok()
    });
    minors.max().map(|minor| format!("2.{minor}"))
}

/// A page for each command.
fn man_pages(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)?;
    for entry in fs::read_dir(folder)? {
        done(Command::new("gzip").arg("-n9").arg(entry?.path()))?;
    }
    Ok(())
}

/// The program writes the scripts, with its own path in them.
fn completions(binary: &Path, share: &Path) -> anyhow::Result<()> {
    let binary = binary.canonicalize()?;
    let path = binary.to_str().context("a path that is no text")?;
    for (shell, file) in [
        ("bash", "bash-completion/completions/bowline"),
        ("zsh", "zsh/vendor-completions/_bowline"),
        ("fish", "fish/vendor_completions.d/bowline.fish"),
    ] {
        let script = said(Command::new(&binary).args(["completion", shell]))?;
        if !script.contains(path) {
            bail!("the completion for {shell} does not name the program");
        }
        write(&share.join(file), &(script.replace(path, INSTALLED) + "\n"))?;
    }
    Ok(())
}

fn libc() -> &'static str {
    if cfg!(target_env = "musl") {
        "musl"
    } else {
        "gnu"
    }
}

fn copy(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    fs::create_dir_all(to.parent().context("a file without a folder")?)?;
    fs::write(to, bytes)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

fn write(to: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().context("a file without a folder")?)?;
    fs::write(to, text)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o644))?)
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("{name} cannot be run"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("{name} ended with {status}"),
    }
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("{name} cannot be run"))?;
    if !output.status.success() {
        bail!("{name} ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: bowline

Files: *
Copyright: the bowline contributors
License: Expat or Apache-2.0
 The texts are in LICENSE-MIT and LICENSE-APACHE beside this file.
";
