//! Whoever runs bowline: permissions, clock, network.
//!
//! None of these is mended by a call: nobody should widen his own permissions in passing.

use super::{Looked, by_policies, join};
use crate::doctor::facts::{Facts, Known, Verdict};
use crate::doctor::{Check, Severity, State};

pub(super) fn identity(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new("caller", 50, "sts:GetCallerIdentity");
    match &facts.caller {
        Ok(caller) => LOOK.ok(format!("the caller is {}", caller.arn)),
        Err(why) => LOOK.unknown("who the caller is", why),
    }
}

pub(super) fn execute(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "caller-execute",
        1,
        "iam:SimulatePrincipalPolicy on the caller, for cluster and task",
    );
    judge(LOOK, &facts.rights.execute, Severity::Blocks, "", || {
        "the caller may execute commands in the task".to_owned()
    })
}

pub(super) fn open(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "caller-open",
        3,
        "iam:SimulatePrincipalPolicy on the caller, for its sessions",
    );
    let consequence = "; the connection of a session is refused with HTTP 403";
    judge(
        LOOK,
        &facts.rights.open,
        Severity::Blocks,
        consequence,
        || "the caller may open data channels".to_owned(),
    )
}

pub(super) fn key(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "caller-kms",
        4,
        "iam:SimulatePrincipalPolicy on the caller; the key's own policy is not looked at",
    );
    let consequence = "; without it no session is encrypted, and the cluster wants it";
    judge(
        LOOK,
        &facts.rights.caller_key,
        by_policies(&facts.rights.caller_key),
        consequence,
        || "the caller may use the key of sessions, or there is none".to_owned(),
    )
}

pub(super) fn sessions(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "caller-sessions",
        40,
        "iam:SimulatePrincipalPolicy on the caller, for its sessions",
    );
    let consequence = "; lost connections are not restored, or sessions not ended";
    judge(
        LOOK,
        &facts.rights.sessions,
        Severity::Note,
        consequence,
        || "the caller may resume and end its sessions".to_owned(),
    )
}

/// Allowed and not allowed are both what somebody may want.
pub(super) fn start(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "caller-start-session",
        41,
        "iam:SimulatePrincipalPolicy on the caller, for the task",
    );
    match &facts.rights.start {
        Err(why) => LOOK.unknown("whether the caller may start SSM sessions", why),
        Ok(verdict) if verdict.denied.is_empty() => LOOK.ok(
            "the caller may start SSM sessions on the task, which port forwarding needs and session logs do not show",
        ),
        Ok(_) => LOOK.ok("the caller may not start SSM sessions on the task: no port forwarding"),
    }
}

/// Signatures are refused beyond this.
const REFUSED: i64 = 15 * 60;
/// Worth a word from here on.
const NOTED: i64 = 5 * 60;

pub(super) fn clock(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new("clock", 2, "the Date of AWS's answers");
    let Some(skew) = facts.skew else {
        let why = super::Unknown::new("no answer of AWS told the time");
        return LOOK.unknown("whether the clock of this machine is right", &why);
    };
    let wrong = || {
        let side = if skew > 0 { "slow" } else { "fast" };
        let minutes = skew.abs() / 60;
        format!("the clock of this machine is {minutes} minutes {side}")
    };
    match skew.abs() {
        REFUSED.. => LOOK.problem(
            Severity::Blocks,
            format!("{}; AWS refuses signatures from 15 minutes on", wrong()),
            "set the clock of this machine",
            Vec::new(),
        ),
        NOTED.. => LOOK.problem(
            Severity::Note,
            format!("{}; AWS refuses signatures from 15 minutes on", wrong()),
            "set the clock of this machine",
            Vec::new(),
        ),
        _ => LOOK.ok("the clock of this machine is right"),
    }
}

pub(super) fn reach(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "reach",
        4,
        "a connection from here, closed again without a request",
    );
    match &facts.reach {
        Ok(Ok(host)) => LOOK.ok(format!("{host} can be reached from here")),
        Ok(Err(words)) => LOOK.problem(
            Severity::Blocks,
            format!("the host of data channels cannot be reached from here: {words}"),
            "check the network, the proxy settings and --stream-host",
            Vec::new(),
        ),
        Err(why) => LOOK.unknown(
            "whether the host of data channels can be reached from here",
            why,
        ),
    }
}

fn judge(
    look: Looked,
    verdict: &Known<Verdict>,
    severity: Severity,
    consequence: &str,
    fine: impl FnOnce() -> String,
) -> Vec<Check> {
    match verdict {
        Err(why) => look.unknown("what the caller may do", why),
        Ok(verdict) if verdict.nobody => {
            vec![look.found(
                State::Unknown,
                "what the caller may do: IAM does not know it",
            )]
        }
        Ok(verdict) if verdict.denied.is_empty() => look.ok(fine()),
        Ok(verdict) => {
            let denied = join(&verdict.denied);
            let (what, fix) = match verdict.explicit {
                true => (
                    format!("a policy forbids {denied} to the caller{consequence}"),
                    "have the statement with Effect Deny removed".to_owned(),
                ),
                false => (
                    format!("the caller may not {denied}{consequence}"),
                    format!("have {denied} allowed in a policy of the caller"),
                ),
            };
            look.problem(severity, what, fix, Vec::new())
        }
    }
}
