//! The body of the fuzz target: any text in, a panic where something that must hold does not.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{Answer, Execution, Options, Parameters, Surroundings, check, draw, plan};

/// Requests of a run that are answered.
const ANSWERS: usize = 50;

/// A document: findings have places in the text and names of rules; what can be planned is; what can be run ends or waits.
pub fn document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let report = check(text);
    for finding in &report.findings {
        assert!(finding.span.end <= text.len() && !finding.code.title().is_empty());
        let _ = crate::excerpt(text, finding.span);
    }
    let Some(document) = report.document else {
        return;
    };
    let _ = (
        draw::terminal(&document),
        draw::mermaid(&document),
        draw::svg(&document),
    );
    let parameters = Parameters::new(&document, &Default::default(), &|_| None, &|_| {
        Err(String::new())
    })
    .unwrap_or_default();
    let planned = plan(&document, &parameters, &|_| None);
    assert!(planned.steps.len() <= document.all_steps().count());
    let document = Arc::new(document);
    let mut now = Timestamp::UNIX_EPOCH;
    let surroundings = Surroundings::default();
    let mut run = Execution::new(document, parameters, surroundings, Options::default(), now);
    for _ in 0..ANSWERS {
        while run.poll_event().is_some() {}
        if let Some(request) = run.poll_request() {
            run.answer(
                now,
                request.id,
                Answer::Called(serde_json::json!({ "a": ["b", 1] })),
            );
        } else if let Some(at) = run.poll_timeout() {
            now = now.max(at);
            run.handle_timeout(now);
        } else {
            break;
        }
    }
    assert!(run.is_ended() || run.poll_timeout().is_some() || run.wanted().is_some());
}
