//! Chores of the project: `cargo xtask VERB`.
#![expect(clippy::print_stdout, reason = "what a chore finds out is printed")]

mod bench;
mod package;
mod picture;
mod soak;
mod tables;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Soak(soak::Arguments),
    Bench(bench::Arguments),
    Package(package::Arguments),
    Picture(picture::Arguments),
    Tables(tables::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::Soak(arguments) => soak::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Package(arguments) => package::run(&arguments),
        Verb::Picture(arguments) => picture::run(&arguments),
        Verb::Tables(arguments) => tables::run(&arguments),
    }
}
