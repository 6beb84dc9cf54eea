//! The ways between the steps.

use std::collections::{HashMap, HashSet, VecDeque};

use bowline_services::nearest;

use super::Checker;
use crate::action::Action;
use crate::document::{Document, Named, OnFailure, Step};
use crate::finding::Severity;
use crate::node::Node;

/// Why one step follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// It is the next in the list.
    Sequence,
    /// `nextStep` says so.
    Next,
    /// A choice of a branch, from 0.
    Choice(usize),
    /// A branch's `Default`.
    Default,
    /// Into the body of a loop.
    Body,
    /// Out of the body of a loop.
    Leave,
    /// `onFailure: step:`.
    Failure,
    /// `onFailure: Continue`.
    Continue,
    /// `onCancel`.
    Cancel,
}

/// A way from a step to another, or to the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The place of the step in [`Graph::names`].
    pub from: usize,
    /// The place of the next one; none for the end.
    pub to: Option<usize>,
    /// Why.
    pub way: Way,
}

/// Steps and the ways between them.
#[derive(Debug, Default)]
pub struct Graph {
    /// The steps' names, bodies of loops behind their loop.
    pub names: Vec<String>,
    /// All ways.
    pub edges: Vec<Edge>,
    places: HashMap<String, usize>,
}

impl Way {
    /// Whether the step before succeeded.
    pub fn is_success(self) -> bool {
        !matches!(self, Self::Failure | Self::Continue | Self::Cancel)
    }
}

impl Graph {
    /// The ways of a document. Names that do not exist lead nowhere.
    pub fn of(document: &Document) -> Self {
        let mut graph = Self::default();
        for step in document.all_steps() {
            let place = graph.names.len();
            graph.places.entry(step.name.name.clone()).or_insert(place);
            graph.names.push(step.name.name.clone());
        }
        graph.list(&document.steps, None);
        graph
    }

    /// The place of a step.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The ways out of a step.
    pub fn from(&self, place: usize) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == place)
    }

    /// `leave`: where the end of this list goes on, for the body of a loop.
    fn list(&mut self, steps: &[Step], leave: Option<Option<usize>>) {
        for (index, step) in steps.iter().enumerate() {
            let Some(from) = self.place(&step.name.name) else {
                continue;
            };
            let after = steps
                .get(index + 1)
                .and_then(|next| self.place(&next.name.name));
            let onward = |way| match (after, leave) {
                (Some(after), _) => (Some(after), way),
                (None, Some(leave)) => (leave, Way::Leave),
                (None, None) => (None, way),
            };
            let end = leave.map_or((None, Way::Sequence), |leave| (leave, Way::Leave));
            let (to, way) = match &step.next {
                _ if step.is_end => end,
                Some(next) => (self.place(&next.name), Way::Next),
                None => onward(Way::Sequence),
            };
            let default = step.input("Default").and_then(Node::as_str);
            for (choice, name) in choices(step) {
                let to = self.place(name);
                self.edges.push(Edge {
                    from,
                    to,
                    way: Way::Choice(choice),
                });
            }
            match default {
                Some(name) if step.action == Some(Action::Branch) => {
                    let to = self.place(name);
                    self.edges.push(Edge {
                        from,
                        to,
                        way: Way::Default,
                    });
                }
                _ => self.edges.push(Edge { from, to, way }),
            }
            match &step.on_failure {
                OnFailure::Abort => {}
                OnFailure::Continue => self.edges.push(Edge {
                    from,
                    to,
                    way: Way::Continue,
                }),
                OnFailure::Step(name) => {
                    let to = self.place(&name.name);
                    self.edges.push(Edge {
                        from,
                        to,
                        way: Way::Failure,
                    });
                }
            }
            if let Some(name) = &step.on_cancel {
                let to = self.place(&name.name);
                self.edges.push(Edge {
                    from,
                    to,
                    way: Way::Cancel,
                });
            }
            if let Some(first) = step.body.first() {
                let first = self.place(&first.name.name);
                self.edges.push(Edge {
                    from,
                    to: first,
                    way: Way::Body,
                });
                self.list(&step.body, Some(to));
            }
        }
    }

    /// Every step that can be reached from these, themselves included.
    pub(crate) fn reach(
        &self,
        from: impl IntoIterator<Item = usize>,
        without: Option<usize>,
    ) -> HashSet<usize> {
        let mut seen: HashSet<usize> = from.into_iter().filter(|it| Some(*it) != without).collect();
        let mut open: VecDeque<usize> = seen.iter().copied().collect();
        while let Some(place) = open.pop_front() {
            for to in self.from(place).filter_map(|edge| edge.to) {
                if Some(to) != without && seen.insert(to) {
                    open.push_back(to);
                }
            }
        }
        seen
    }

    /// Whether a step can run after another one succeeded, and whether it always does.
    pub(crate) fn follows(&self, earlier: usize, later: usize) -> Follows {
        let succeeded = self.from(earlier).filter(|edge| edge.way.is_success());
        let after = self.reach(succeeded.filter_map(|edge| edge.to), None);
        if !after.contains(&later) {
            return Follows::Never;
        }
        match self.reach([0], Some(earlier)).contains(&later) {
            true => Follows::Sometimes,
            false => Follows::Always,
        }
    }

    /// Rings of steps, each with whether no branch and no failure leaves it.
    fn rings(&self) -> Vec<(Vec<usize>, bool)> {
        let mut rings = Vec::new();
        let mut done = HashSet::new();
        let forced: HashMap<usize, usize> = (0..self.names.len())
            .filter_map(|place| {
                let mut ways = self
                    .from(place)
                    .filter(|edge| edge.way.is_success() && edge.way != Way::Body);
                let only = ways.next()?;
                (ways.next().is_none()).then_some((place, only.to?))
            })
            .collect();
        for place in 0..self.names.len() {
            if done.contains(&place) {
                continue;
            }
            if let Some(ring) = forced_ring(&forced, place) {
                done.extend(ring.iter().copied());
                rings.push((ring, true));
            } else if let Some(ring) = self.ring(place) {
                done.extend(ring.iter().copied());
                rings.push((ring, false));
            }
        }
        rings
    }

    /// The shortest way from a step back to itself.
    fn ring(&self, start: usize) -> Option<Vec<usize>> {
        let mut before: HashMap<usize, usize> = HashMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(place) = open.pop_front() {
            let ways = self.from(place).filter(|edge| edge.way != Way::Cancel);
            for to in ways.filter_map(|edge| edge.to) {
                if to == start {
                    let mut ring = vec![place];
                    while let Some(&earlier) = ring.last().and_then(|last| before.get(last)) {
                        ring.push(earlier);
                    }
                    ring.reverse();
                    return Some(ring);
                }
                if let std::collections::hash_map::Entry::Vacant(e) = before.entry(to) {
                    e.insert(place);
                    open.push_back(to);
                }
            }
        }
        None
    }
}

fn forced_ring(forced: &HashMap<usize, usize>, start: usize) -> Option<Vec<usize>> {
    let mut ring = vec![start];
    let mut place = start;
    while let Some(&next) = forced.get(&place) {
        if next == start {
            return Some(ring);
        }
        if ring.contains(&next) {
            return None;
        }
        ring.push(next);
        place = next;
    }
    None
}

/// Whether a step runs after another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    Never,
    Sometimes,
    Always,
}

/// The steps that a branch's choices name.
pub(crate) fn choices(step: &Step) -> Vec<(usize, &str)> {
    if step.action != Some(Action::Branch) {
        return Vec::new();
    }
    let choices = step.input("Choices").and_then(Node::as_list);
    let named =
        |(index, choice): (usize, _)| Some((index, Node::as_str(Node::get(choice, "NextStep")?)?));
    choices
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(named)
        .collect()
}

impl Checker<'_> {
    pub(super) fn flow(&mut self) {
        for step in self.document.all_steps() {
            self.routes(step);
        }
        let reached = self.graph.reach([0], None);
        for (place, step) in self.document.all_steps().enumerate() {
            if !reached.contains(&place) && self.graph.place(&step.name.name) == Some(place) {
                let message = format!("no step leads to {}", step.name.name);
                self.warn(8, step.name.span, step, message)
                    .suggest("name it in a nextStep, a branch or an onFailure, or take it out");
            }
        }
        for (ring, forced) in self.graph.rings() {
            let mut names: Vec<&str> = ring
                .iter()
                .filter_map(|it| self.graph.names.get(*it))
                .map(String::as_str)
                .collect();
            names.extend(names.first().copied());
            let Some(step) = names.first().and_then(|name| self.document.step(name)) else {
                continue;
            };
            let ring = names.join(" -> ");
            match forced {
                true => self
                    .error(
                        7,
                        step.name.span,
                        step,
                        format!("the steps go round for ever: {ring}"),
                    )
                    .suggest("let a branch leave the ring, or use aws:loop"),
                false => self
                    .warn(
                        7,
                        step.name.span,
                        step,
                        format!("the steps can go round: {ring}"),
                    )
                    .suggest("the service refuses rings without a way out; aws:loop has a limit"),
            }
        }
        self.handlers();
    }

    fn routes(&mut self, step: &Step) {
        if let Some(next) = &step.next {
            self.target(step, next, "nextStep");
        }
        if let OnFailure::Step(name) = &step.on_failure {
            self.target(step, name, "onFailure");
        }
        if let Some(name) = &step.on_cancel {
            self.target(step, name, "onCancel");
            let action = self.document.step(&name.name).and_then(|it| it.action);
            if let Some(action) = action.filter(|action| !action.may_clean_up()) {
                let message = format!(
                    "onCancel leads to {}, and {action} is not started after a cancellation",
                    name.name
                );
                self.error(6, name.span, step, message);
            }
        }
        if step.action != Some(Action::Branch) {
            return;
        }
        let mut named: Vec<Named> = Vec::new();
        let list = step
            .input("Choices")
            .and_then(Node::as_list)
            .unwrap_or_default();
        let nodes = list.iter().filter_map(|choice| choice.get("NextStep"));
        for node in nodes.chain(step.input("Default")) {
            if let Some(name) = node.as_str() {
                named.push(Named {
                    name: name.to_owned(),
                    span: node.span,
                });
            }
        }
        for name in &named {
            self.target(step, name, "the branch");
        }
    }

    fn target(&mut self, step: &Step, name: &Named, what: &str) {
        let wanted = name.name.as_str();
        let Some(_) = self.document.step(wanted) else {
            let message = format!("{what} leads to {wanted}, and there is no such step");
            let plain = wanted.strip_prefix("step:");
            let names: Vec<&str> = self.graph.names.iter().map(String::as_str).collect();
            let suggestion = match plain.filter(|it| names.contains(it)) {
                Some(plain) => Some(format!("write the name alone: {plain}")),
                None => nearest(wanted, names).map(|near| format!("did you mean {near}?")),
            };
            self.error(4, name.span, step, message).suggestion = suggestion;
            return;
        };
        // From the outside nobody gets into a loop.
        let owner = |name: &str| {
            let is_in = |outer: &&Step| outer.body.iter().any(|inner| inner.name.name == name);
            self.document
                .all_steps()
                .find(is_in)
                .map(|it| it.name.name.clone())
        };
        let (target_owner, own) = (owner(wanted), owner(&step.name.name));
        if target_owner.is_some() && target_owner != own {
            let message = format!(
                "{what} leads to {wanted} inside of the loop {}",
                target_owner.unwrap_or_default()
            );
            self.error(4, name.span, step, message)
                .suggest("lead to the loop itself");
        }
    }

    /// RB062: a handler that success falls into.
    fn handlers(&mut self) {
        for edge in self
            .graph
            .edges
            .iter()
            .filter(|edge| edge.way == Way::Sequence)
        {
            let Some(to) = edge.to else { continue };
            let handles = |other: &&Edge| {
                other.to == Some(to) && other.way == Way::Failure && other.from != edge.from
            };
            let Some(handled) = self.graph.edges.iter().find(handles) else {
                continue;
            };
            let name = |place: usize| self.graph.names.get(place).map_or("", String::as_str);
            let (before, handler, source) = (name(edge.from), name(to), name(handled.from));
            let Some(step) = self.document.step(handler) else {
                continue;
            };
            let message = format!(
                "{handler} handles failures of {source}, and {before} goes on to it when all is well"
            );
            self.say(Severity::Note, 62, step.name.span, Some(step), message)
                .suggest(format!(
                    "if that is not meant, give {before} isEnd: true or a nextStep"
                ));
        }
    }
}
