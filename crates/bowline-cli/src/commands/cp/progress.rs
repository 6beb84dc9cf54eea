//! What is seen of a copy: a bar on a terminal, the last line everywhere, details with -v.

use std::time::Duration;

use bowline::files::CopyEvent;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printer::Printer;
use crate::terminal;

/// How often the bar is drawn.
const DRAWN: u8 = 8;

/// The bar.
pub(crate) struct Progress {
    printer: Printer,
    bar: Option<ProgressBar>,
    /// What would be written goes to stdout.
    listing: bool,
}

impl Progress {
    pub(crate) fn new(printer: Printer, listing: bool) -> Self {
        Self {
            printer,
            bar: None,
            listing,
        }
    }

    /// Shows an event.
    pub(crate) fn take(&mut self, event: CopyEvent) {
        match event {
            CopyEvent::Detail(text) => self.around(|_| tracing::info!("{text}")),
            CopyEvent::Notice(text) => self.around(|printer| printer.note(&text)),
            CopyEvent::Total { bytes, .. } => self.begin(bytes),
            CopyEvent::Moved(bytes) => {
                if let Some(bar) = &self.bar {
                    bar.inc(bytes);
                }
            }
            CopyEvent::Would { path, bytes } if self.listing => {
                let bytes = bytes.map_or_else(String::new, |bytes| format!("  {}", size(bytes)));
                // A reader that has left is found out at the end.
                let _ = self.printer.document(&format!("{path}{bytes}\n"));
            }
            _ => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn begin(&mut self, bytes: u64) {
        if !terminal::stderr_is_terminal() {
            return;
        }
        let bar =
            ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(DRAWN));
        let form = "{wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        self.bar = Some(bar);
    }

    /// Writes a line without the bar getting in its way.
    fn around(&self, write: impl FnOnce(Printer)) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write(self.printer)),
            None => write(self.printer),
        }
    }
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                unit => format!("{value:.1} {unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (73_000_000, "73.0 MB"),
        ] {
            assert_eq!(super::size(bytes), text);
        }
    }
}
