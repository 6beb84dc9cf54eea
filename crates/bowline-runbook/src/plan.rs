//! What a run would do, as far as that is known before it.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::action::Action;
use crate::check::{Graph, Way};
use crate::document::{Document, OnFailure, Step};
use crate::engine::condition;
use crate::engine::resolve::{Absent, Lookup, resolve};
use crate::node::Node;
use crate::parameters::Parameters;
use crate::reference::Reference;

/// Stands before and behind what is not known yet.
pub(crate) const UNKNOWN: (char, char) = ('\u{2039}', '\u{203a}');

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The steps in the order in which they would run; those that only failures reach come last.
    pub steps: Vec<Planned>,
}

/// A step of a plan.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The step.
    pub step: String,
    /// Its action.
    pub action: String,
    /// Whether it runs.
    pub runs: Runs,
    /// Whether it runs here at all.
    pub is_supported: bool,
    /// The operation that it calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<String>,
    /// Its inputs. `‹step.output: Type›` is not known before the run.
    pub inputs: Map<String, Value>,
    /// Seconds for an attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Attempts.
    pub attempts: u32,
    /// Where it goes on.
    pub next: Vec<Onward>,
    /// What happens when it fails.
    pub on_failure: String,
    /// How the run ends then, if nothing else fails.
    pub ends: String,
}

/// Whether a step runs, if no step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// It does.
    Yes,
    /// A result decides.
    Maybe,
    /// Only after a failure or a cancellation, or never.
    No,
}

/// A way on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Onward {
    /// The step; none for the end.
    pub to: Option<String>,
    /// Why: `sequence`, `nextStep`, `branch:1`, `branch:default`, `isEnd`.
    pub why: String,
}

/// What a run with these parameters would do. `system` gives what `global:` and `automation:` references stand for, where
/// that is known.
pub fn plan(
    document: &Document,
    parameters: &Parameters,
    system: &dyn Fn(&Reference) -> Option<String>,
) -> Plan {
    let graph = Graph::of(document);
    let planner = Planner {
        document,
        parameters: &parameters.values,
        system,
    };
    let mut order: Vec<(String, Runs)> = Vec::new();
    let mut open: VecDeque<(String, Runs)> = VecDeque::new();
    open.extend(
        document
            .steps
            .first()
            .map(|step| (step.name.name.clone(), Runs::Yes)),
    );
    while let Some((name, runs)) = open.pop_front() {
        if let Some(known) = order.iter_mut().find(|it| it.0 == name) {
            if runs == Runs::Yes && known.1 == Runs::Maybe {
                known.1 = Runs::Yes;
            } else {
                continue;
            }
        } else {
            order.push((name.clone(), runs));
        }
        let Some(step) = document.step(&name) else {
            continue;
        };
        let onward = planner.onward(step, &graph);
        let next = if onward.len() > 1 { Runs::Maybe } else { runs };
        for way in onward.into_iter().filter_map(|it| it.to) {
            open.push_back((way, next));
        }
    }
    let place = |name: &str| graph.place(name).unwrap_or(usize::MAX);
    order.sort_by_key(|(name, _)| place(name));
    for step in document.all_steps() {
        if !order.iter().any(|it| it.0 == step.name.name) {
            order.push((step.name.name.clone(), Runs::No));
        }
    }
    let steps = order
        .into_iter()
        .filter_map(|(name, runs)| Some(planner.planned(document.step(&name)?, runs, &graph)));
    Plan {
        steps: steps.collect(),
    }
}

/// The operations of actions that are several calls; those after the first few looks are the same again.
fn called(action: Action) -> Option<&'static str> {
    Some(match action {
        Action::RunCommand => "ssm SendCommand, ssm ListCommandInvocations",
        Action::ChangeInstanceState => {
            "ec2 Start-, Stop- or TerminateInstances, ec2 DescribeInstanceStatus"
        }
        Action::CreateStack => "cloudformation CreateStack, cloudformation DescribeStacks",
        Action::DeleteStack => "cloudformation DescribeStacks, cloudformation DeleteStack",
        Action::CreateImage => "ec2 CreateImage, ec2 DescribeImages",
        Action::DeleteImage => "ec2 DescribeImages, ec2 DeregisterImage, ec2 DeleteSnapshot",
        Action::CreateTags => "ec2 CreateTags or ssm AddTagsToResource",
        Action::RunInstances => "ec2 RunInstances, ec2 DescribeInstanceStatus",
        Action::ExecuteStateMachine => {
            "stepfunctions StartExecution, stepfunctions DescribeExecution"
        }
        _ => return None,
    })
}

struct Planner<'d> {
    document: &'d Document,
    parameters: &'d BTreeMap<String, Value>,
    system: &'d dyn Fn(&Reference) -> Option<String>,
}

impl Planner<'_> {
    fn lookup(&self, reference: &Reference) -> Lookup {
        let known = match reference {
            Reference::Parameter(name) => self.parameters.get(name).cloned(),
            Reference::Global(name) if name.starts_with("DATE") => None,
            Reference::Global(_) | Reference::Automation(_) => {
                (self.system)(reference).map(Value::from)
            }
            _ => None,
        };
        Lookup::Value(known.unwrap_or_else(|| {
            let kind = crate::check::type_name_of(self.document, reference);
            format!("{}{reference}: {kind}{}", UNKNOWN.0, UNKNOWN.1).into()
        }))
    }

    fn resolve(&self, value: &Value) -> Value {
        resolve(value, Absent::IsNull, &|it| self.lookup(it)).unwrap_or(Value::Null)
    }

    fn planned(&self, step: &Step, runs: Runs, graph: &Graph) -> Planned {
        let mut inputs = Map::new();
        for entry in step.inputs.iter().filter(|it| !it.value.is_null()) {
            let is_flow = matches!(entry.key.as_str(), "Choices" | "Default" | "Steps");
            if is_flow || ["Service", "Api"].contains(&entry.key.as_str()) {
                continue;
            }
            let value = match entry.key.as_str() {
                "Script" => Value::from(format!(
                    "({} lines)",
                    entry.value.as_str().map_or(0, |it| it.lines().count())
                )),
                _ => self.resolve(&entry.value.value()),
            };
            inputs.insert(entry.key.clone(), value);
        }
        let calls = match step.action {
            Some(Action::InvokeLambdaFunction) => Some("lambda Invoke".to_owned()),
            Some(action) if called(action).is_some() => called(action).map(str::to_owned),
            _ => crate::check::call_name(step),
        };
        let (on_failure, ends) = self.failure(step);
        Planned {
            step: step.name.name.clone(),
            action: step.action.map_or("?", Action::name).to_owned(),
            runs,
            is_supported: step.action.is_some() && step.obstacle().is_none(),
            calls,
            inputs,
            limit: step.limit(),
            attempts: step.max_attempts,
            next: self.onward(step, graph),
            on_failure,
            ends,
        }
    }

    /// Where a step goes on when it succeeds; several ways where a result decides.
    fn onward(&self, step: &Step, graph: &Graph) -> Vec<Onward> {
        let Some(place) = graph.place(&step.name.name) else {
            return Vec::new();
        };
        let to = |to: Option<usize>| to.and_then(|it| graph.names.get(it)).cloned();
        let mut ways = Vec::new();
        let choices = step.input("Choices").map(Node::value).unwrap_or_default();
        for edge in graph.from(place).filter(|edge| edge.way.is_success()) {
            let why = match edge.way {
                Way::Choice(index) => {
                    let choice = choices.get(index).cloned().unwrap_or_default();
                    match self.holds(&choice) {
                        Some(false) => continue,
                        Some(true) => {
                            ways.push(Onward {
                                to: to(edge.to),
                                why: format!("branch:{}", index + 1),
                            });
                            return ways;
                        }
                        None => format!("branch:{}", index + 1),
                    }
                }
                Way::Default => "branch:default".to_owned(),
                Way::Next => "nextStep".to_owned(),
                Way::Body => "loop".to_owned(),
                Way::Leave => "loop ends".to_owned(),
                _ if step.is_end => "isEnd".to_owned(),
                _ => "sequence".to_owned(),
            };
            ways.push(Onward {
                to: to(edge.to),
                why,
            });
        }
        ways
    }

    /// Whether a condition holds; none where a result decides.
    fn holds(&self, condition: &Value) -> Option<bool> {
        if let Some(inner) = condition.get("Not") {
            return self.holds(inner).map(|it| !it);
        }
        for (name, all) in [("And", true), ("Or", false)] {
            let Some(list) = condition.get(name).and_then(Value::as_array) else {
                continue;
            };
            let each: Vec<Option<bool>> = list.iter().map(|it| self.holds(it)).collect();
            return match (each.contains(&Some(!all)), each.contains(&None)) {
                (true, _) => Some(!all),
                (false, true) => None,
                (false, false) => Some(all),
            };
        }
        let resolved = self.resolve(condition);
        let open = |value: &Value| value.as_str().is_some_and(|text| text.contains(UNKNOWN.0));
        let members = resolved
            .as_object()?
            .iter()
            .filter(|(name, _)| *name != "NextStep");
        if members.into_iter().any(|(_, value)| open(value)) {
            return None;
        }
        condition::evaluate(&resolved, &Value::clone).ok()
    }

    fn failure(&self, step: &Step) -> (String, String) {
        let route = match &step.on_failure {
            OnFailure::Abort => "END".to_owned(),
            OnFailure::Continue => "goes on".to_owned(),
            OnFailure::Step(name) => name.name.clone(),
        };
        let ends = match step.is_critical() {
            true => "Failed or TimedOut",
            false => "Success",
        };
        (route, ends.to_owned())
    }
}
