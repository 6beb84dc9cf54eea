//! What is printed while it runs: one of several forms.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bowline::fleet::{FleetEvent, FleetTarget, Problem};
use bytes::Bytes;

use super::board::Board;
use super::folder::Folder;
use super::groups::Groups;
use super::json;
use super::lines::Lines;
use super::options::FleetArgs;
use super::summary::Summary;
use crate::commands::Context;
use crate::error::CommandError;
use crate::writer::Stream;

/// Bytes for our outputs, in order.
pub(super) type Pieces = VecDeque<(Stream, Bytes)>;

/// Where output goes.
enum Form {
    /// To stdout and stderr, each line with its target in front.
    Lines(Lines),
    /// Kept, to be compared at the end.
    Groups(Groups),
    /// To files.
    Folder(Folder),
    /// As JSON lines on stdout.
    Json,
}

/// Why the end is not shown.
pub(super) enum Unfinished {
    /// Our output.
    Output(io::Error),
    Other(CommandError),
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<CommandError> for Unfinished {
    fn from(error: CommandError) -> Self {
        Self::Other(error)
    }
}

/// The form, and on a terminal the table of what runs.
pub(super) struct Show {
    form: Form,
    board: Option<Board>,
}

impl Show {
    pub(super) fn new(args: &FleetArgs, json: bool) -> Result<Self, CommandError> {
        let form = match (&args.out_dir, args.group, json) {
            (Some(_), _, true) | (_, true, true) => {
                return Err(CommandError::usage(
                    "-o json prints every event: leave out --group and --out-dir",
                ));
            }
            (Some(folder), ..) => Form::Folder(Folder::open(folder)?),
            (None, true, _) => Form::Groups(Groups::new()?),
            (None, false, true) => Form::Json,
            (None, false, false) => Form::Lines(Lines::default()),
        };
        let board = (!json).then(Board::on_terminal).flatten();
        Ok(Self { form, board })
    }

    /// Before anything happens.
    pub(super) fn begin(&mut self, targets: &[FleetTarget], problems: &[Problem]) -> Pieces {
        match &mut self.form {
            Form::Json => json::begin(targets, problems),
            Form::Lines(lines) => {
                lines.fit(targets);
                Pieces::new()
            }
            _ => Pieces::new(),
        }
    }

    /// Takes an event; what it gives is for our outputs.
    pub(super) fn event(
        &mut self,
        event: FleetEvent,
        targets: &[FleetTarget],
        context: &Context,
    ) -> Result<Pieces, CommandError> {
        if let Some(board) = &mut self.board {
            board.note(&event);
        }
        if let Form::Json = self.form {
            return Ok(json::event(&event, targets));
        }
        if let FleetEvent::Notice { target, text } = &event
            && self.board.is_none()
        {
            let label = &targets[*target].label;
            tracing::info!(target = label, text, "notice");
        }
        if let FleetEvent::Again { target, reason } = &event {
            let text = format!("{}: {reason}; it is tried again", targets[*target].label);
            self.make_room(context);
            context.printer.note(&text);
        }
        match &mut self.form {
            Form::Lines(lines) => Ok(lines.event(event, targets)),
            Form::Groups(groups) => groups.event(event).map(|()| Pieces::new()),
            Form::Folder(folder) => folder.event(event, targets).map(|()| Pieces::new()),
            Form::Json => Ok(Pieces::new()),
        }
    }

    /// Whether there is a table.
    pub(super) fn is_on_terminal(&self) -> bool {
        self.board.is_some()
    }

    /// Takes the table off the terminal, for what comes in its place.
    pub(super) fn make_room(&mut self, context: &Context) {
        if let Some(board) = &mut self.board {
            board.clear(context);
        }
    }

    /// Draws the table anew.
    pub(super) fn draw(
        &mut self,
        targets: &[FleetTarget],
        summary: &Summary,
        elapsed: Duration,
        context: &Context,
    ) {
        if let Some(board) = &mut self.board {
            board.draw(targets, summary, elapsed, context);
        }
    }

    /// After the last event.
    pub(super) fn end(&mut self, summary: &Summary, elapsed: Duration) -> Pieces {
        match self.form {
            Form::Json => json::end(summary, elapsed),
            _ => Pieces::new(),
        }
    }

    /// What is only known at the end.
    pub(super) async fn finish(
        &mut self,
        targets: &[FleetTarget],
        problems: &[Problem],
        summary: &Summary,
    ) -> Result<(), Unfinished> {
        match &mut self.form {
            Form::Groups(groups) => Ok(groups.print(targets, summary).await?),
            Form::Folder(folder) => Ok(folder.finish(targets, problems, summary)?),
            Form::Lines(_) | Form::Json => Ok(()),
        }
    }
}
