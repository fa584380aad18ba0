//! What is certain about the order of one log's events: a graph whose arrows are statements.

use std::collections::{HashMap, VecDeque};

use super::history::Time;

/// Who says that one stands before the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Witness {
    Client(String),
    Readback(String),
    Numbers,
    Publisher(usize),
    Clock,
}

/// An event, or a moment at which something was known to be done or not yet begun.
pub(super) type Node = usize;

#[derive(Default)]
pub(super) struct Order<'a> {
    names: Vec<Name<'a>>,
    by_data: HashMap<&'a str, Node>,
    after: Vec<Vec<(Node, Witness)>>,
    before: Vec<Vec<Node>>,
    moments: Vec<(Time, Node)>,
}

type Ways<'s> = Box<dyn Iterator<Item = Node> + 's>;

enum Name<'a> {
    Event(&'a str),
    Moment(Time),
}

impl<'a> Order<'a> {
    /// The event's node, made if need be.
    pub(super) fn event(&mut self, data: &'a str) -> Node {
        if let Some(&node) = self.by_data.get(data) {
            return node;
        }
        let node = self.node(Name::Event(data));
        self.by_data.insert(data, node);
        node
    }

    pub(super) fn find(&self, data: &str) -> Option<Node> {
        self.by_data.get(data).copied()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = (&'a str, Node)> {
        self.by_data.iter().map(|(data, node)| (*data, *node))
    }

    fn node(&mut self, name: Name<'a>) -> Node {
        self.names.push(name);
        self.after.push(Vec::new());
        self.before.push(Vec::new());
        self.names.len() - 1
    }

    pub(super) fn say(&mut self, first: Node, then: Node, witness: Witness) {
        if first != then {
            self.after[first].push((then, witness));
            self.before[then].push(first);
        }
    }

    /// Says that each stands before the next.
    pub(super) fn chain(&mut self, nodes: impl IntoIterator<Item = Node>, witness: &Witness) {
        let mut last = None;
        for node in nodes {
            if let Some(last) = last {
                self.say(last, node, witness.clone());
            }
            last = Some(node);
        }
    }

    /// Sets up the moments of which [`Order::done_by`] and [`Order::begun_after`] are to be told.
    pub(super) fn set_clock(&mut self, mut times: Vec<Time>) {
        times.sort_unstable();
        times.dedup();
        self.moments = times.into_iter().map(|time| (time, self.node(Name::Moment(time)))).collect();
        let nodes: Vec<Node> = self.moments.iter().map(|(_, node)| *node).collect();
        self.chain(nodes, &Witness::Clock);
    }

    /// The event was in the log at this moment, which the clock was told of.
    pub(super) fn done_by(&mut self, node: Node, time: Time) {
        if let Some(moment) = self.moment(time) {
            self.say(node, moment, Witness::Clock);
        }
    }

    /// The event was not sent before this time.
    pub(super) fn begun_after(&mut self, node: Node, time: Time) {
        let earlier = self.moments.partition_point(|(moment, _)| *moment < time);
        if let Some(&(_, moment)) = earlier.checked_sub(1).and_then(|last| self.moments.get(last)) {
            self.say(moment, node, Witness::Clock);
        }
    }

    pub(super) fn moment(&self, time: Time) -> Option<Node> {
        let at = self.moments.binary_search_by_key(&time, |(moment, _)| *moment).ok()?;
        Some(self.moments[at].1)
    }

    /// Everything that certainly stands after one of these, or is one.
    pub(super) fn all_after(&self, roots: &[Node]) -> Vec<bool> {
        self.reach(roots, |node| Box::new(self.after[node].iter().map(|(next, _)| *next)))
    }

    /// Everything that certainly stands before this, and itself.
    pub(super) fn all_before(&self, root: Node) -> Vec<bool> {
        self.reach(&[root], |node| Box::new(self.before[node].iter().copied()))
    }

    fn reach<'s>(&self, roots: &[Node], next: impl Fn(Node) -> Ways<'s>) -> Vec<bool> {
        let mut reached = vec![false; self.names.len()];
        let mut waiting = roots.to_vec();
        while let Some(node) = waiting.pop() {
            if !std::mem::replace(&mut reached[node], true) {
                waiting.extend(next(node));
            }
        }
        reached
    }

    /// The shortest contradiction in words, if there is any.
    pub(super) fn contradiction(&self) -> Option<String> {
        let circle = self.nodes_in_circles();
        // Enough of them to find a short one, few enough to be done soon.
        let shortest = circle.iter().take(2000).filter_map(|&node| self.way_back(node)).min_by_key(Vec::len);
        Some(shortest?.join("; "))
    }

    /// What is left when nodes nobody stands before, and those behind nobody, are taken away again
    /// and again.
    fn nodes_in_circles(&self) -> Vec<Node> {
        let mut left = vec![true; self.names.len()];
        let forward: Vec<usize> = self.before.iter().map(Vec::len).collect();
        self.peel(&mut left, forward, |node| Box::new(self.after[node].iter().map(|(next, _)| *next)));
        let backward: Vec<usize> = (0..self.names.len())
            .map(|node| self.after[node].iter().filter(|(next, _)| left[*next]).count())
            .collect();
        self.peel(&mut left, backward, |node| Box::new(self.before[node].iter().copied()));
        (0..self.names.len()).filter(|&node| left[node]).collect()
    }

    fn peel<'s>(&self, left: &mut [bool], mut degrees: Vec<usize>, next: impl Fn(Node) -> Ways<'s>) {
        let mut free: Vec<Node> = (0..left.len()).filter(|&node| left[node] && degrees[node] == 0).collect();
        while let Some(node) = free.pop() {
            left[node] = false;
            for next in next(node).filter(|&next| left[next]) {
                degrees[next] -= 1;
                if degrees[next] == 0 {
                    free.push(next);
                }
            }
        }
    }

    /// The shortest way from a node to itself.
    fn way_back(&self, start: Node) -> Option<Vec<String>> {
        let mut from: HashMap<Node, (Node, &Witness)> = HashMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(node) = waiting.pop_front() {
            for (next, witness) in &self.after[node] {
                if from.contains_key(next) {
                    continue;
                }
                from.insert(*next, (node, witness));
                if *next == start {
                    return Some(self.told(start, &from));
                }
                waiting.push_back(*next);
            }
        }
        None
    }

    fn told(&self, start: Node, from: &HashMap<Node, (Node, &Witness)>) -> Vec<String> {
        let mut steps = Vec::new();
        let mut node = start;
        loop {
            let (earlier, witness) = from[&node];
            steps.push(self.step(earlier, node, witness));
            node = earlier;
            if node == start {
                break;
            }
        }
        steps.reverse();
        steps
    }

    fn step(&self, first: Node, then: Node, witness: &Witness) -> String {
        match (&self.names[first], &self.names[then]) {
            (Name::Event(event), Name::Moment(time)) => {
                format!("`{}` was acknowledged by {}", short(event), seconds(*time))
            }
            (Name::Moment(time), Name::Event(event)) => {
                format!("`{}` was sent after {}", short(event), seconds(*time))
            }
            (Name::Moment(_), Name::Moment(time)) => format!("then came {}", seconds(*time)),
            (Name::Event(first), Name::Event(then)) => {
                let who = match witness {
                    Witness::Client(name) => format!("client {name} got"),
                    Witness::Readback(channel) => format!("the log of `{channel}` has"),
                    Witness::Numbers => "the sequence numbers put".into(),
                    Witness::Publisher(number) => format!("publisher {number} sent"),
                    Witness::Clock => "the clock puts".into(),
                };
                format!("{who} `{}` before `{}`", short(first), short(then))
            }
        }
    }
}

/// Enough of an event's data to find it in a log.
pub(super) fn short(data: &str) -> &str {
    let end = data.find(' ').unwrap_or(data.len()).min(40);
    data.get(..end).unwrap_or(data)
}

pub(super) fn seconds(time: Time) -> String {
    format!("{}.{:06} s", time / 1_000_000, time % 1_000_000)
}
